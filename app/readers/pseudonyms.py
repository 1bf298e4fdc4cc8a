"""De-identification at the door: the numbers of a hospital become pseudonyms before anything is kept.

A pseudonym is an HMAC-SHA256 of the identifier under a key of the study, cut to 128 bits and written in hexadecimal
digits. Without the key nobody can tell whose it is, not even by trying all numbers; with it the same person is the same
subject in every format and on every day. The key is derived from one secret that stays outside the database.
"""

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from app.errors import FaultCode
from app.timeline.document import IDENTIFIER_PATTERN
from app.timeline.resource import SUBJECT_SYSTEM

_IDENTIFIER = re.compile(IDENTIFIER_PATTERN[:-1] + r"\Z")

_HASHED = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Identifier(NamedTuple):
    """An identifier as a feed gives it, with the authority that assigned it (a system or an assigning authority).

    An authority of "" was not given where the format has a place for it; `None` says that the format has none.
    """

    authority: str | None
    value: str


class Pseudonyms:
    """How the identifiers of one study's feeds are replaced; without a key they are pseudonyms already and are kept.

    `authorities` are the names, in any format, of the one authority whose identifiers say who a patient is. Where it is
    declared, the pseudonym rests on the identifier alone, so that feeds that name the authority differently agree.
    """

    def __init__(self, key: bytes | None, authorities: Sequence[str] = ()) -> None:
        self._key = key
        self._hash = None if key is None else _KeyedHash(key)
        self._authorities = frozenset(authorities)

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the key, if identifiers are replaced."""
        return None if self._key is None else fingerprint(self._key)

    def patient(self, given: Sequence[Identifier]) -> str | FaultCode:
        """The subject identifier of whom these identifiers of one person name, or why that cannot be said.

        A blank one names nobody: whoever has no number must not become one person with all others who have none.
        """
        given = [one for one in given if one.value.strip()]
        ours = {one.value for one in given if one.authority == SUBJECT_SYSTEM and self._may_be_ours(one.value)}
        if ours:  # what we answered comes back
            return ours.pop() if len(ours) == 1 else FaultCode.AMBIGUOUS_SUBJECT
        chosen = {one for one in given if one.authority in self._authorities} if self._authorities else set(given)
        if not chosen and len(given) == 1 and given[0].authority is None:
            chosen = set(given)  # a table has no authorities: its one column of patients is of the one declared
        if not chosen:
            return FaultCode.AMBIGUOUS_SUBJECT if given else FaultCode.NO_SUBJECT
        if len({one.value for one in chosen} if self._authorities else chosen) > 1:
            return FaultCode.AMBIGUOUS_SUBJECT
        one = next(iter(chosen))
        if self._hash is None:
            return self._kept(one.value)
        return "s-" + self._hash.of("patient", "" if self._authorities else one.authority or "", one.value)

    def number(self, source: str | None, value: str) -> str | FaultCode:
        """The number of a result or another fact, as it is kept."""
        if not value.strip():
            return FaultCode.BAD_IDENTIFIER
        return self._kept(value) if self._hash is None else self._hash.of("number", source or "", value)

    def may_be_kept(self, number: str) -> bool:
        """Whether a number may be one that `number` has made."""
        return isinstance(self._kept(number), str) if self._key is None else _HASHED.fullmatch(number) is not None

    def alias(self, kind: str, value: str) -> str:
        """An identifier that a client gave a resource, as it is kept to find the resource by it."""
        return value if self._hash is None else self._hash.of(kind, "", value)

    def _may_be_ours(self, subject: str) -> bool:
        """Whether this may be a subject that `patient` has named: under our system, too, a number is not kept."""
        if self._key is None:
            return isinstance(self._kept(subject), str)
        return subject.startswith("s-") and _HASHED.fullmatch(subject[2:]) is not None

    def _kept(self, value: str) -> str | FaultCode:
        return value if _IDENTIFIER.match(value) and value.strip(".") else FaultCode.BAD_IDENTIFIER


class _KeyedHash:
    """HMAC-SHA256 under one key, which is hashed once and then copied: half the work for a text as short as these."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod=sha256)

    def of(self, purpose: str, source: str, value: str) -> str:
        """The first 128 bits of the hash of three texts, in hexadecimal digits."""
        # Each part is preceded by its length: no two lists of parts are written alike.
        text = f"{len(purpose)}:{purpose}{len(source)}:{source}{len(value)}:{value}"
        hashed = self._keyed.copy()
        hashed.update(text.encode("utf-8", "surrogatepass"))
        return hashed.hexdigest()[:32]


def study_key(secret: str, study: str) -> bytes:
    """The key of one study, so that the same person has unrelated pseudonyms in two studies."""
    return hmac.digest(secret.encode(), f"myoresponse pseudonyms of study {study}".encode(), "sha256")


def fingerprint(key: bytes) -> str:
    """What is stored beside pseudonyms to recognise the key by which they were made; it says nothing about the key."""
    return hmac.digest(key, b"fingerprint", "sha256").hex()[:32]
