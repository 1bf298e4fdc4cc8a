"""The keyed hashes of the ledger: leaf, digest and link of the chain.

A leaf is a hash of what one revision did to one patient. Its key is the salt of the patient: without a key, somebody
could try all values of creatine kinase until the hash is equal. After the salt is erased, nobody can do that any more.
The digest of a revision is the hash of its sorted leaves. The hash of a revision has the secret of the study as its
key, and covers the digest, the circumstances and the hash of the revision before. The text under each hash is JSON in
ASCII without spaces, so that a person who has the keys can compute it again with any tool.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from app.store.assertions import IDENTITY, Changes, Fact
from app.timeline.facts import FIELDS, KINDS, LATER

NO_HASH = bytes(32)
"""The hash that the first revision holds as the one before it."""

_PIECE = 5_000
"""Of how many facts the text is made at once. With more it would need as much memory as the facts themselves."""
canonical = json.JSONEncoder(ensure_ascii=True, check_circular=False, separators=(",", ":")).encode
"""JSON in ASCII without spaces."""


@dataclass(frozen=True, slots=True)
class Link:
    """Everything of one revision that its hash covers. `received_at` is in microseconds since 1970."""

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
        """The hash of the revision, 32 bytes."""
        text = [self.previous_hash.hex(), self.study, self.number, self.received_at, self.client, self.format,
                self.counts, self.patients, self.first_outcome, self.digest.hex()]  # fmt: skip
        return _keyed(secret, text)


def patient_leaf(salt: bytes, number: int, patient: str, first: int, changes: Mapping[str, Changes]) -> bytes:
    """The leaf for what revision `number` did to a patient; `first` is the first revision with this patient.

    For each kind it holds the facts that stand from this revision on, the late ones, and those that were removed. Facts
    are written by column: a field is the list of its values, or one value if all facts have the same. In a lab series
    most fields have the same value.
    """
    entries = []
    for kind in KINDS:
        change = changes.get(kind)
        if change is None or not (change.added or change.removed):
            continue
        standing = [new.fact for new in change.added if new.removed != new.added]
        late = [new.fact for new in change.added if new.removed == new.added]
        removed = [(*old.fact, old.added) for old in change.removed]
        entries.append((kind, [_leaf_fields(kind, facts) for facts in (standing, late, removed)]))
    if sum(len(facts) for _, lists in entries for facts in lists) <= _PIECE:
        whole = [[kind, *[[len(facts), *_columns(facts)] for facts in lists]] for kind, lists in entries]
        return _keyed(salt, [number, patient, first, whole])
    leaf = hmac.new(salt, digestmod="sha256")
    for part in _leaf_text(canonical([number, patient, first]), entries):
        leaf.update(part.encode("ascii"))
    return leaf.digest()


def study_leaf(secret: bytes, number: int, entries: Sequence[Sequence[Any]]) -> bytes:
    """The leaf for what revision `number` did to the study itself. The order of the entries does not matter."""
    return _keyed(secret, [number, sorted(canonical(entry) for entry in entries)])


def revision_digest(leaves: Iterable[tuple[int, bytes]]) -> bytes:
    """The digest of a revision: SHA-256 of the patient keys, each followed by its leaf, in the order of the keys."""
    return hashlib.sha256(b"".join(key.to_bytes(8, "big", signed=True) + leaf for key, leaf in sorted(leaves))).digest()


def tombstone(secret: bytes, patient: str) -> bytes:
    """The hash that remains of an erased identifier. It recognises the identifier, and does not show it."""
    return _keyed(secret, ["erased", patient])


def name_tombstone(secret: bytes, name: str) -> bytes:
    """The hash that remains of a client id of an erased patient."""
    return _keyed(secret, ["erased name", name])


def item_digest(salt: bytes, content: Sequence[Any]) -> bytes:
    """The hash of an item of the worklist. After its salt is erased, nobody can find the content by trying."""
    return _keyed(salt, content)


def sent_hash(secret: bytes, content: Sequence[Any]) -> bytes:
    """The hash that recognises what was sent before."""
    return _keyed(secret, ["sent", *content])


def _keyed(key: bytes, content: Any) -> bytes:  # noqa: ANN401 - JSON
    return hmac.digest(key, canonical(content).encode("ascii"), "sha256")


_LATER = {kind: [place for place, field in enumerate(FIELDS[kind]) if LATER in field.marks] for kind in KINDS}


def _leaf_fields(kind: str, facts: list[Fact]) -> list[Fact]:
    """Facts as a leaf holds them: without the fields that are younger than the first release, if no fact has them."""
    for place in reversed(_LATER[kind]):
        if any(fact[place] is not None for fact in facts):
            break
        facts = [(*fact[:place], *fact[place + 1 :]) for fact in facts]
    return facts


def _leaf_text(begin: str, entries: Sequence[tuple[str, list[list[Fact]]]]) -> Iterator[str]:
    """The text under a leaf in parts, a column of facts at a time: together they may be as large as all the facts."""
    yield begin[:-1] + ",["
    for i, (kind, lists) in enumerate(entries):
        yield f'{"," if i else ""}["{kind}"'
        for facts in lists:
            yield f",[{len(facts)}"
            for column in _columns(facts):
                yield ","
                yield from _in_pieces(column)
            yield "]"
        yield "]"
    yield "]]"


def _in_pieces(column: Any) -> Iterator[str]:  # noqa: ANN401 - a list or one value
    """The text of a column, of some thousand values at a time."""
    if not isinstance(column, list | tuple) or len(column) <= _PIECE:
        yield canonical(column)
        return
    for first in range(0, len(column), _PIECE):
        yield ("," if first else "[") + canonical(column[first : first + _PIECE])[1:-1]
    yield "]"


def _columns(facts: list[Fact]) -> Iterator[Any]:
    """Each column of facts, or its value if all facts have the same."""
    ordered, count = _sorted(facts), len(facts)
    columns: Iterable[Sequence[Any]] = (
        zip(*ordered, strict=True)
        if count <= _PIECE
        else ([*map(itemgetter(place), ordered)] for place in range(len(ordered[0])))
    )
    return (column[0] if column.count(column[0]) == count else column for column in columns)


def _sorted(facts: list[Fact]) -> list[Fact]:
    """Sorted by identity, or by the whole content if two facts have the same identity."""
    if len(set(map(itemgetter(IDENTITY), facts))) < len(facts):
        return sorted(facts, key=canonical)
    return sorted(facts, key=itemgetter(IDENTITY))
