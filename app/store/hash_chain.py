"""Verify a study: compute everything that the hash chain and the seal cover again from the rows, and compare.

If a stored value was changed, deleted or exchanged, a leaf, a digest, a hash or the seal differs. If the latest
revisions were removed with everything that they did, only the heads outside the database show it (`heads`). Rows are
read in the order in which they are compared, so that memory does not grow with the study.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, select

from app.errors import NotFound
from app.secret_file import UnusableSecretFile
from app.store.assertions import Assertion, Changes
from app.store.erasure import erased_entry, readmitted_entry
from app.store.fact_tables import FACT_TABLES
from app.store.hashes import NO_HASH, Link, patient_leaf, revision_digest, study_leaf
from app.store.ledger_keys import keys_of
from app.store.queries import Query, Row
from app.store.seals import is_whole
from app.store.studies import fact_entry, protocol_entry
from app.store.tables import erasures, leaves, patients, protocols, revisions, studies, study_facts
from app.store.worklist import ledger_entries


def _all_of(table: Any, order: str, *names: str) -> Query:  # noqa: ANN401 - a Table
    columns = [table.c[name] for name in names]
    return Query(select(*columns).where(table.c.study == bindparam("study")).order_by(table.c[order]), "study")


_STUDY = Query(
    select(studies.c.key, studies.c.locked_secret, studies.c.created_at).where(studies.c.id == bindparam("study")),
    "study",
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
_LEAVES_BY_REVISION = Query(
    select(leaves.c.number, leaves.c.patient_key, leaves.c.leaf)
    .where(leaves.c.study == bindparam("study"))
    .order_by(leaves.c.number, leaves.c.patient_key),
    "study",
)
_LEAVES_BY_PATIENT = Query(
    select(leaves.c.patient_key, leaves.c.number, leaves.c.leaf)
    .where(leaves.c.study == bindparam("study"), leaves.c.patient_key != 0)
    .order_by(leaves.c.patient_key, leaves.c.number),
    "study",
)
_LEAVES_OF_STUDY = Query(
    select(leaves.c.number, leaves.c.leaf)
    .where(leaves.c.study == bindparam("study"), leaves.c.patient_key == 0)
    .order_by(leaves.c.number),
    "study",
)
_PATIENTS = _all_of(patients, "key", "id", "key", "salt", "first_revision")
_FACTS = _all_of(study_facts, "key", "name", "value", "added", "removed")
_PROTOCOLS = _all_of(protocols, "key", "id", "digest", "document", "added", "removed")
_ERASURES = _all_of(
    erasures, "erased_revision", "erased_revision", "first_revision", "readmitted_revision", "tombstone", "patient_key"
)

MOST_FAULTS = 1_000
"""The greatest number of faults that are kept of one study; the first ones say enough."""


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
    """Compute the leaves, digests, hashes and the seal of a study again. Faults name revisions, never patients.

    Raises `NotFound` for an unknown study.
    """
    found = _STUDY.row(connection, study_id)
    if found is None:
        raise NotFound("There is no study of this name.")
    key, stored, created_at = found
    try:
        secret = keys_of(connection).unlock(stored)
    except UnusableSecretFile as reason:
        return ChainVerification(0, 0, 0, (f"studies: {reason}",), NO_HASH.hex())
    verification = _Verification(connection, study_id, key, secret, created_at)
    verification.check_study()
    verification.check_patients()
    verification.check_chain()
    verification.check_seal()
    return ChainVerification(
        verification.length,
        verification.leaf_count,
        verification.erased,
        tuple(fault for _, fault in sorted(verification.faults, key=itemgetter(0))),
        verification.head.hex(),
    )


_SEALED = "aliases, erased_names, pseudonym_keys, study_seals, or ordinal, notes, draw or mark of a fact"


@dataclass(slots=True)
class _Verification:
    connection: Connection
    study: str
    key: int
    secret: bytes
    created_at: int
    faults: list[tuple[int, str]] = field(default_factory=list)
    length: int = 0
    people: int = 0
    leaf_count: int = 0
    erased: int = 0
    head: bytes = NO_HASH

    def check_study(self) -> None:
        """Compare the leaves of the study itself with its rows."""
        entries = groupby(merge(*self._study_entries(), key=itemgetter(0)), itemgetter(0))
        made = (
            (number, study_leaf(self.secret, number, [entry for _, entry in changed])) for number, changed in entries
        )
        self._compare(made, _LEAVES_OF_STUDY.stream(self.connection, self.key))

    def check_patients(self) -> None:
        """Compare the leaves of all patients with their facts."""
        erased_at = {key: (first, until) for until, first, _, _, key in _ERASURES.stream(self.connection, self.key)}
        known = _PATIENTS.stream(self.connection, self.key)
        person = next(known, None)
        stored = groupby(_LEAVES_BY_PATIENT.stream(self.connection, self.key), itemgetter(0))
        for key, rows in stored:
            while person is not None and person[1] < key:
                self._check_patient(person, [])
                person = next(known, None)
            mine = [(number, leaf) for _, number, leaf in rows]
            if person is not None and person[1] == key:
                self._check_patient(person, mine)
                person = next(known, None)
                continue
            if key in erased_at and all(erased_at[key][0] <= number < erased_at[key][1] for number, _ in mine):
                self.erased += len(mine)
            else:
                self._fault(mine[0][0], "a leaf belongs to no patient")
        while person is not None:
            self._check_patient(person, [])
            person = next(known, None)

    def check_chain(self) -> None:
        """Compare every revision with its leaves and with the revision before it."""
        leaves = groupby(_LEAVES_BY_REVISION.stream(self.connection, self.key), itemgetter(0))
        group = next(leaves, None)
        before, held = self.created_at, 0
        for row in _REVISIONS.stream(self.connection, self.key):
            number, received_at, client, format, counts, held, first_outcome, digest, previous, hashed = row
            if self.length == 0 and (number, received_at) != (0, self.created_at):
                self._fault(0, "it is missing or not as old as the study")
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
            mine: list[tuple[int, bytes]] = []
            while group is not None and group[0] <= number:
                listed = [(key, bytes(leaf)) for _, key, leaf in group[1]]
                self.leaf_count += len(listed)
                if group[0] == number:
                    mine = listed
                else:
                    self._fault(group[0], "a leaf belongs to no revision")
                group = next(leaves, None)
            self._check(number == self.length, number, "its number does not follow the number of the revision before")
            self._check(link.previous_hash == self.head, number, "it does not hold the hash of the revision before")
            self._check(link.digest == revision_digest(mine), number, "its digest is not the digest of its leaves")
            self._check(link.hash(self.secret) == bytes(hashed), number, "its hash is not the hash of its content")
            self._check(received_at >= before, number, "its time is before the time of the revision before")
            before, self.head = received_at, bytes(hashed)
            self.length = number + 1
        if self.length == 0:
            self._fault(0, "it is missing or not as old as the study")
        else:
            self._check(held == self.people, self.length - 1, "the number of patients is wrong")
        if group is not None:
            self._fault(group[0], "a leaf belongs to no revision")

    def check_seal(self) -> None:
        """Compare the seal with what no leaf covers."""
        if not is_whole(self.connection, self.key):
            self._fault(self.length, f"the seal is not the seal of the rows ({_SEALED})", after=True)

    def _fault(self, number: int, fault: str, *, after: bool = False) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append((number, fault if after else f"revision {number}: {fault}"))

    def _check(self, holds: bool, number: int, fault: str) -> None:
        if not holds:
            self._fault(number, fault)

    def _check_patient(self, person: Row, stored: list[Row]) -> None:
        self.people += 1
        patient, key, salt, first = person
        self._compare(iter(sorted(self._patient_leaves(patient, key, bytes(salt), first).items())), iter(stored))

    def _compare(self, made: Iterator[tuple[int, bytes]], stored: Iterator[Row]) -> None:
        """Compare leaves that were computed with those that are stored, each in the order of the revisions."""
        expected, found = next(made, None), next(stored, None)
        while expected is not None or found is not None:
            number = min(each[0] for each in (expected, found) if each is not None)
            ours = theirs = None
            if expected is not None and expected[0] == number:
                ours, expected = expected[1], next(made, None)
            if found is not None and found[0] == number:
                theirs, found = bytes(found[1]), next(stored, None)
            self._check(ours == theirs, number, "a leaf is not the leaf of its rows")

    def _study_entries(self) -> Iterator[Iterator[tuple[int, list[Any]]]]:
        """The entries of each table, each in the order of the revisions."""
        yield iter(sorted(self._declared_entries(), key=itemgetter(0)))
        yield from ledger_entries(self.connection, self.key)

    def _declared_entries(self) -> Iterator[tuple[int, list[Any]]]:
        for name, value, added, removed in _FACTS.stream(self.connection, self.key):
            yield added, fact_entry("added", name, value)
            if removed is not None:
                yield removed, [*fact_entry("removed", name, value), added]
        for protocol, digest, document, added, removed in _PROTOCOLS.stream(self.connection, self.key):
            yield added, protocol_entry("added", protocol, digest, document)
            if removed is not None:
                yield removed, [*protocol_entry("removed", protocol, digest, document), added]
        for number, first, readmitted, stone, key in _ERASURES.stream(self.connection, self.key):
            yield number, erased_entry(bytes(stone), key, first)
            if readmitted is not None:
                yield readmitted, readmitted_entry(bytes(stone), number)

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
