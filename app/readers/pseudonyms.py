"""Pseudonyms: the identifiers of a hospital are replaced before anything is stored.

A pseudonym is the HMAC-SHA256 of the identifier with a key of the study, cut to 128 bits and written in hexadecimal
digits. Without the key, nobody can find the person, not even by trying all numbers. With the key, the same person gets
the same pseudonym in every format and at every time. The key is derived from one secret outside the database.
"""

import hmac
import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple
from unicodedata import normalize

from app.errors import FaultCode
from app.timeline.document import IDENTIFIER_PATTERN, normalised
from app.timeline.resource import SUBJECT_SYSTEM

_IDENTIFIER = re.compile(IDENTIFIER_PATTERN[:-1] + r"\Z")

MOST_AUTHORITIES = 20
_HASHED = re.compile(r"[0-9a-f]{32}", re.ASCII)
_COMPUTED = re.compile(r"[-+]?(?:\d(?:[.,]\d+)?E\+\d+|\d+[.,]0+)", re.ASCII | re.IGNORECASE)
_ERROR = re.compile(r"#(?!\d)")
_UNKNOWN = frozenset(
    {"n.a", "n.a.", "n/a", "na", "nan", "nil", "none", "not available", "null", "undefined", "unk", "unknown"}
)
_A_WORD = "This looks like a word for a missing number."
_BRACKETS = "()<>[]{}'\""


class Identifier(NamedTuple):
    """An identifier as a feed gives it, with the authority that assigned it (a system or an assigning authority).

    The authority is "" if the message does not give it, and `None` if the format has no place for it.
    """

    authority: str | None
    value: str


def no_number(number: str) -> str | None:
    """Why a normalised text cannot be the number of a patient or a result; `None` if it can be one.

    All unknown numbers are written alike, and different numbers may be equal after a spreadsheet has rounded them: they
    would become one patient. A number with and without decimals or invisible characters would become two patients.
    """
    if number.isascii() and number.replace("-", "").isalnum():  # most numbers
        return _A_WORD if number.lower() in _UNKNOWN else None
    if _COMPUTED.fullmatch(number):
        return "This looks like a number that a program has rounded or given decimals."
    if not any(map(str.isalnum, number)) or _ERROR.match(number) or number.strip(_BRACKETS).lower() in _UNKNOWN:
        return _A_WORD
    if not number.isprintable() or not (number.isascii() or normalize("NFKC", number) == number):
        return "It contains invisible characters, or characters that can be written in more than one way."
    return None


def no_patient(number: str) -> str | None:
    """The same for the number of a patient, which may not be zeros alone either."""
    return no_number(number if number.strip("0") else "")


class Pseudonyms:
    """Replaces the identifiers of the feeds of one study. Without a key they are pseudonyms already and are kept.

    `authorities` are the names, in all formats, of the authority whose identifiers identify a patient. If it is
    declared, the pseudonym depends on the identifier alone, so that feeds may name the authority differently.
    """

    def __init__(self, key: bytes | None, authorities: Sequence[str] = ()) -> None:
        self._key = key
        self._hash = None if key is None else _KeyedHash(key)
        self._authorities = frozenset(authorities)
        self._undeclared: Counter[str] = Counter()

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the key; `None` if identifiers are not replaced."""
        return None if self._key is None else fingerprint(self._key)

    def patient(self, given: Sequence[Identifier]) -> str | FaultCode:
        """The subject identifier of the person with these identifiers, or the code of the fault.

        Blank identifiers are ignored, and words for a missing number are refused. Otherwise all persons without a
        number would become one person.
        """
        given = [Identifier(each.authority, number) for each in given if (number := normalised(each.value))]
        self._see({known.authority for known in given if known.authority})
        ours = {known.value for known in given if known.authority == SUBJECT_SYSTEM and self._may_be_ours(known.value)}
        if ours:  # the sender got it from this service
            return ours.pop() if len(ours) == 1 else FaultCode.AMBIGUOUS_SUBJECT
        chosen = set(given)
        if self._authorities:
            chosen = {identifier for identifier in given if identifier.authority in self._authorities}
        if not chosen and len(given) == 1 and given[0].authority is None:
            chosen = set(given)  # a table has no authorities; its patients have identifiers of the declared one
        if not chosen:
            return FaultCode.AMBIGUOUS_SUBJECT if given else FaultCode.NO_SUBJECT
        if len({identifier.value for identifier in chosen} if self._authorities else chosen) > 1:
            return FaultCode.AMBIGUOUS_SUBJECT
        authority, value = next(iter(chosen))
        if no_patient(value) is not None:
            return FaultCode.BAD_IDENTIFIER
        if self._hash is None:
            return self._kept(value)
        return "s-" + self._hash.digest("patient", "" if self._authorities else authority or "", value)

    def candidates(self, given: Identifier) -> set[str]:
        """Every subject identifier that a person with this identifier may have or get, whatever the study declares."""
        value = normalised(given.value)
        if given.authority == SUBJECT_SYSTEM and self._may_be_ours(value):
            return {value}
        if not value or no_patient(value) is not None:
            return set()
        if self._hash is None:
            kept = self._kept(value)
            return set() if isinstance(kept, FaultCode) else {kept}
        return {"s-" + self._hash.digest("patient", authority, value) for authority in ("", given.authority or "")}

    def number(self, source: str | None, value: str, part: str = "") -> str | FaultCode:
        """The number of a fact as it is stored, or the code of its fault.

        `part` distinguishes several facts with this number (a sub-id of HL7 v2).
        """
        value = normalised(value)
        if no_number(value) is not None:
            return FaultCode.BAD_IDENTIFIER
        if part:
            value = f"{value}.{part}"
        return self._kept(value) if self._hash is None else self._hash.digest("number", source or "", value)

    def take_undeclared(self) -> Counter[str]:
        """How often each authority was read since the last call that is not declared; only a few are counted."""
        taken, self._undeclared = self._undeclared, Counter()
        return taken

    def may_be_kept(self, number: str) -> bool:
        """Whether a number may be a result of `number`."""
        return isinstance(self._kept(number), str) if self._key is None else _HASHED.fullmatch(number) is not None

    def alias(self, kind: str, value: str) -> str:
        """An identifier that a client gave a resource, as it is stored to find the resource."""
        return value if self._hash is None else self._hash.digest(kind, "", value)

    def _see(self, authorities: set[str]) -> None:
        for authority in authorities - self._authorities - {SUBJECT_SYSTEM}:
            if authority in self._undeclared or len(self._undeclared) < MOST_AUTHORITIES:
                self._undeclared[authority] += 1

    def _may_be_ours(self, subject: str) -> bool:
        """Whether this may be a result of `patient`: a number is not kept, even if it is sent as ours."""
        if self._key is None:
            return isinstance(self._kept(subject), str) and no_patient(subject) is None
        return subject.startswith("s-") and _HASHED.fullmatch(subject[2:]) is not None

    def _kept(self, value: str) -> str | FaultCode:
        return value if _IDENTIFIER.match(value) and value.strip(".") else FaultCode.BAD_IDENTIFIER


class _KeyedHash:
    """HMAC-SHA256 with one key. The key is hashed once and its state is copied, which saves half of the work."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod=sha256)

    def digest(self, purpose: str, source: str, value: str) -> str:
        """The first 128 bits of the hash of three texts, in hexadecimal digits."""
        # Each part follows its length, so that different lists of parts give different texts.
        text = f"{len(purpose)}:{purpose}{len(source)}:{source}{len(value)}:{value}"
        hashed = self._keyed.copy()
        hashed.update(text.encode("utf-8", "surrogatepass"))
        return hashed.hexdigest()[:32]


def study_key(secret: str, study: str) -> bytes:
    """The key of one study; a person has unrelated pseudonyms in two studies."""
    return hmac.digest(secret.encode(), f"myoresponse pseudonyms of study {study}".encode(), "sha256")


def fingerprint(key: bytes) -> str:
    """A hash that is stored with pseudonyms to recognise their key; the key cannot be computed from it."""
    return hmac.digest(key, b"fingerprint", "sha256").hex()[:32]
