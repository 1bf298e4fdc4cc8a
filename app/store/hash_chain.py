"""Verify a study: compute everything that the hash chain covers again from the rows, and compare.

If a stored value was changed, deleted or exchanged, a leaf, a digest or a hash differs. If the latest revisions were
removed with everything that they did, only a person who wrote down the later `head` can see it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, select

from app.errors import NotFound
from app.store.assertions import Assertion, Changes
from app.store.erasure import erased_entry, readmitted_entry
from app.store.fact_tables import FACT_TABLES
from app.store.hashes import NO_HASH, Link, patient_leaf, revision_digest, study_leaf
from app.store.queries import Query, Row
from app.store.studies import fact_entry, protocol_entry
from app.store.tables import erasures, leaves, patients, protocols, revisions, studies, study_facts
from app.store.worklist import ledger_entries


def _all_of(table: Any, *names: str) -> Query:  # noqa: ANN401 - a Table
    columns = [table.c[name] for name in names]
    return Query(select(*columns).where(table.c.study == bindparam("study")), "study")


_STUDY = Query(
    select(studies.c.key, studies.c.secret, studies.c.created_at).where(studies.c.id == bindparam("study")), "study"
)
_REVISIONS = Query(
    select(
        revisions.c.number, revisions.c.received_at, revisions.c.client, revisions.c.format, revisions.c.counts,
        revisions.c.patients, revisions.c.first_outcome, revisions.c.digest, revisions.c.previous_hash,
        revisions.c.hash,
    )
    .where(revisions.c.study == bindparam("study"))
    .order_by(revisions.c.number),
    "study",
)  # fmt: skip
_LEAVES = _all_of(leaves, "number", "patient_key", "leaf")
_PATIENTS = _all_of(patients, "id", "key", "salt", "first_revision")
_FACTS = _all_of(study_facts, "name", "value", "added", "removed")
_PROTOCOLS = _all_of(protocols, "id", "digest", "document", "added", "removed")
_ERASURES = _all_of(erasures, "erased_revision", "first_revision", "readmitted_revision", "tombstone", "patient_key")

_STUDY_ITSELF = 0


@dataclass(frozen=True, slots=True)
class ChainVerification:
    """How many revisions and leaves there are, how many leaves were erased, and what does not match.

    An erased leaf cannot be computed again. `head` is the hash of the latest revision, in hexadecimal digits.
    """

    revisions: int
    leaves: int
    erased_leaves: int
    faults: tuple[str, ...]
    head: str


def verify(connection: Connection, study_id: str) -> ChainVerification:
    """Compute the leaves, digests and hashes of a study again. Faults name revisions, never patients.

    Raises `NotFound` for an unknown study.
    """
    found = _STUDY.row(connection, study_id)
    if found is None:
        raise NotFound("There is no study of this name.")
    verification = _Verification(connection, study_id, *found)
    verification.check_leaves()
    verification.check_chain()
    return ChainVerification(
        len(verification.links),
        verification.leaf_count,
        verification.erased,
        tuple(verification.faults),
        verification.head.hex(),
    )


@dataclass(slots=True)
class _Verification:
    connection: Connection
    study: str
    key: int
    secret: bytes
    created_at: int
    leaves: dict[int, dict[int, bytes]] = field(default_factory=dict)
    links: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    leaf_count: int = 0
    erased: int = 0
    head: bytes = NO_HASH

    def check_leaves(self) -> None:
        """Compare every leaf with the rows that it was made from."""
        for number, patient, leaf in _LEAVES.rows(self.connection, self.key):
            self.leaves.setdefault(patient, {})[number] = bytes(leaf)
            self.leaf_count += 1
        erased = _ERASURES.rows(self.connection, self.key)
        self._compare(_STUDY_ITSELF, self._study_leaves(erased))
        people = _PATIENTS.rows(self.connection, self.key)
        for patient, key, salt, first in people:
            self._compare(key, self._patient_leaves(patient, key, bytes(salt), first))
        known = {_STUDY_ITSELF, *(key for _, key, _, _ in people)}
        erased_at = {key: (first, until) for until, first, _, _, key in erased}
        for key in sorted(set(self.leaves) - known):
            if key in erased_at and all(erased_at[key][0] <= number < erased_at[key][1] for number in self.leaves[key]):
                self.erased += len(self.leaves[key])
            else:
                self.faults.append(f"revision {min(self.leaves[key])}: a leaf belongs to no patient")

    def check_chain(self) -> None:
        """Compare every revision with its leaves and with the revision before it."""
        leaves: dict[int, list[tuple[int, bytes]]] = {}
        for key, patient_leaves in self.leaves.items():
            for number, leaf in patient_leaves.items():
                leaves.setdefault(number, []).append((key, leaf))
        self.links = _REVISIONS.rows(self.connection, self.key)
        before = self.created_at
        for expected, row in enumerate(self.links):
            number, received_at, client, format, counts, held, first_outcome, digest, previous, hashed = row
            link = Link(
                self.study,
                number,
                received_at,
                client,
                format,
                counts,
                held,
                first_outcome,
                bytes(digest),
                bytes(previous),
            )
            self._check(number == expected, number, "its number does not follow the number of the revision before")
            self._check(link.previous_hash == self.head, number, "it does not hold the hash of the revision before")
            self._check(
                link.digest == revision_digest(leaves.get(number, ())),
                number,
                "its digest is not the digest of its leaves",
            )
            self._check(
                link.hash(bytes(self.secret)) == bytes(hashed), number, "its hash is not the hash of its content"
            )
            self._check(received_at >= before, number, "its time is before the time of the revision before")
            before, self.head = received_at, bytes(hashed)
        if not self.links or self.links[0][1] != self.created_at:
            self.faults.append("revision 0: it is missing or not as old as the study")
        elif self.links[-1][5] != len(_PATIENTS.rows(self.connection, self.key)):
            self.faults.append(f"revision {self.links[-1][0]}: the number of patients is wrong")

    def _check(self, holds: bool, number: int, fault: str) -> None:
        if not holds:
            self.faults.append(f"revision {number}: {fault}")

    def _compare(self, key: int, expected: dict[int, bytes]) -> None:
        stored = self.leaves.get(key, {})
        for number in sorted(expected.keys() | stored.keys()):
            self._check(expected.get(number) == stored.get(number), number, "a leaf is not the leaf of its rows")

    def _study_leaves(self, erased: list[Row]) -> dict[int, bytes]:
        entries: dict[int, list[list[Any]]] = {}
        for number, entry in self._study_entries(erased):
            entries.setdefault(number, []).append(entry)
        return {number: study_leaf(bytes(self.secret), number, changed) for number, changed in entries.items()}

    def _study_entries(self, erased: list[Row]) -> Iterator[tuple[int, list[Any]]]:
        for name, value, added, removed in _FACTS.rows(self.connection, self.key):
            yield added, fact_entry("added", name, value)
            if removed is not None:
                yield removed, [*fact_entry("removed", name, value), added]
        for protocol, digest, document, added, removed in _PROTOCOLS.rows(self.connection, self.key):
            yield added, protocol_entry("added", protocol, digest, document)
            if removed is not None:
                yield removed, [*protocol_entry("removed", protocol, digest, document), added]
        for number, first, readmitted, stone, key in erased:
            yield number, erased_entry(bytes(stone), key, first)
            if readmitted is not None:
                yield readmitted, readmitted_entry(bytes(stone), number)
        yield from ledger_entries(self.connection, self.key)

    def _patient_leaves(self, patient: str, key: int, salt: bytes, first: int) -> dict[int, bytes]:
        changes: dict[int, dict[str, Changes]] = {first: {}}

        def changes_of(number: int, kind: str) -> Changes:
            return changes.setdefault(number, {}).setdefault(kind, Changes())

        for kind, table in FACT_TABLES.items():
            for row in table.all_of(self.connection, key):
                assertion = Assertion(table.plain(row.fact), row.added, row.removed)
                changes_of(assertion.added, kind).added.append(assertion)
                if assertion.removed is not None and assertion.removed != assertion.added:
                    changes_of(assertion.removed, kind).removed.append(assertion)
        return {number: patient_leaf(salt, number, patient, first, by_kind) for number, by_kind in changes.items()}
