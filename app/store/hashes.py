"""The keyed hashes of the ledger: leaf, digest and link of the chain.

A leaf says what one revision did to one patient. It is keyed with that patient's salt, because the bare digest of a
single creatine kinase value can be found by trying all of them; once the salt is erased it says nothing any more. The
digest of a revision is the hash of its sorted leaves, and its hash, keyed with the secret of the study, covers the
digest, the circumstances and the hash before it. The text under each hash is JSON in ASCII without spaces, so that
whoever holds the keys can recompute it with any tool.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from app.store.supersession import IDENTITY, Changes, Fact
from app.timeline.facts import FIELDS, KINDS, LATER

NO_HASH = bytes(32)
"""The hash before the first one."""

_canonical = json.JSONEncoder(ensure_ascii=True, check_circular=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Link:
    """The circumstances of one revision, all of which its hash covers."""

    study: str
    number: int
    received_at: int
    client: str | None
    format: str
    counts: str
    patients: int
    first_outcome: int | None
    digest: bytes
    previous_hash: bytes

    def hash(self, secret: bytes) -> bytes:
        """The hash of the revision."""
        text = [self.previous_hash.hex(), self.study, self.number, self.received_at, self.client, self.format,
                self.counts, self.patients, self.first_outcome, self.digest.hex()]  # fmt: skip
        return _keyed(secret, text)


def patient_leaf(salt: bytes, number: int, patient: str, first: int, changes: Mapping[str, Changes]) -> bytes:
    """What revision `number` did to a patient whom the study has known since `first`.

    It tells by kind the facts that stand since, those that came late and those that were removed. Facts are told by
    column, each field as the list of its values or, where all facts agree, as one value: most fields of a series are
    the same throughout.
    """
    told = []
    for kind in KINDS:
        change = changes.get(kind)
        if change is None or not (change.added or change.removed):
            continue
        standing = [one.fact for one in change.added if one.removed != one.added]
        late = [one.fact for one in change.added if one.removed == one.added]
        removed = [(*one.fact, one.added) for one in change.removed]
        told.append([kind, *[_columns(_held(kind, facts)) for facts in (standing, late, removed)]])
    return _keyed(salt, [number, patient, first, told])


def study_leaf(secret: bytes, number: int, entries: Sequence[Sequence[Any]]) -> bytes:
    """What revision `number` did to the study itself; entries are in any order."""
    return _keyed(secret, [number, sorted(_canonical(entry) for entry in entries)])


def revision_digest(leaves: Iterable[tuple[int, bytes]]) -> bytes:
    """The digest of a revision: over its leaves, each after the key of its patient, in the order of the keys."""
    return hashlib.sha256(b"".join(key.to_bytes(8, "big", signed=True) + leaf for key, leaf in sorted(leaves))).digest()


def tombstone(secret: bytes, patient: str) -> bytes:
    """What remains of an erased identifier: enough to recognise it when it comes again, and nothing to read it from."""
    return _keyed(secret, ["erased", patient])


def name_tombstone(secret: bytes, name: str) -> bytes:
    """The same of a name that a client had given an erased patient."""
    return _keyed(secret, ["erased name", name])


def _keyed(key: bytes, content: Any) -> bytes:  # noqa: ANN401 - JSON
    return hmac.digest(key, _canonical(content).encode("ascii"), "sha256")


_LATER = {kind: [place for place, field in enumerate(FIELDS[kind]) if LATER in field.marks] for kind in KINDS}


def _held(kind: str, facts: list[Fact]) -> list[Fact]:
    """What a leaf holds of facts: all fields but the last ones that came after the first release and that none has."""
    for place in reversed(_LATER[kind]):
        if any(fact[place] is not None for fact in facts):
            break
        facts = [(*fact[:place], *fact[place + 1 :]) for fact in facts]
    return facts


def _columns(facts: list[Fact]) -> list[Any]:
    columns = zip(*_sorted(facts), strict=True)
    count = len(facts)
    return [count, *[column[0] if column.count(column[0]) == count else column for column in columns]]


def _sorted(facts: list[Fact]) -> list[Fact]:
    """By identity, which nearly always tells all facts of a revision apart; else by all they say."""
    if len(set(map(itemgetter(IDENTITY), facts))) < len(facts):
        return sorted(facts, key=_canonical)
    return sorted(facts, key=itemgetter(IDENTITY))
