"""Revisions in the making: read once, merged in memory, written in bulk.

A builder locks its study, knows the revision that the study stands at, and collects what new revisions do to it.
Nothing is written before `write`, so a submission that is refused on the way leaves the transaction as it was.
"""

import json
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, select

from app.errors import Erased, NotFound
from app.store.fact_tables import FACT_TABLES
from app.store.hashes import NO_HASH, Link, patient_leaf, revision_digest, study_leaf, tombstone
from app.store.queries import Insertion, Query, filled, listed, listed_names
from app.store.supersession import Assertion, Changes, Counts, Fact
from app.store.tables import erasures, leaves, patients, revisions, studies
from app.timeline.facts import KINDS

_STUDY = select(studies.c.key, studies.c.secret).where(studies.c.id == bindparam("study"))
LOCK_STUDY = Query(_STUDY.with_for_update(), "study")
"""PostgreSQL takes one writer of a study after the other here; SQLite leaves FOR UPDATE out, as it has one writer
anyway.
"""

HEAD = Query(
    select(
        revisions.c.number, revisions.c.received_at, revisions.c.hash, revisions.c.patients, revisions.c.first_outcome
    )
    .where(revisions.c.study == bindparam("study"))
    .order_by(revisions.c.number.desc())
    .limit(1),
    "study",
)
_INSERT_PATIENTS = Insertion(patients)
_INSERT_REVISIONS = Insertion(revisions)
_INSERT_LEAVES = Insertion(leaves)


@cache
def _find_patients(length: int) -> Query:
    clause = select(patients.c.id, patients.c.key, patients.c.salt, patients.c.first_revision).where(
        patients.c.study == bindparam("study"), patients.c.id.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


@cache
def _find_tombstones(length: int) -> Query:
    clause = select(erasures.c.tombstone).where(
        erasures.c.study == bindparam("study"),
        erasures.c.tombstone.in_(listed(length)),
        erasures.c.readmitted_revision.is_(None),
    )
    return Query(clause, "study", *listed_names(length))


def _new_key() -> int:
    """A key for a patient: by the clock, so that a new one is written behind the others, and never given again."""
    return (time.time_ns() // 1000 << 11) | secrets.randbits(11)


@dataclass(frozen=True, slots=True)
class Head:
    """The latest revision of a study and what it sums up."""

    number: int = -1
    received_at: int = 0
    hash: bytes = NO_HASH
    patients: int = 0
    first_outcome: int | None = None


@dataclass(slots=True, eq=False)
class PatientState:
    """A patient as the builder knows them: what was asserted so far, by kind and identity, and what this revision
    changes.
    """

    id: str
    key: int
    salt: bytes
    first_revision: int
    complete: bool = False
    """Whether `known` holds all there is, so that nothing need be looked up."""
    known: dict[str, dict[str, list[Assertion]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    changes: dict[str, Changes] = field(default_factory=dict)

    def changing(self, kind: str) -> Changes:
        """The changes of this revision to one kind of facts."""
        return self.changes.setdefault(kind, Changes())


class RevisionBuilder:
    """New revisions of one study, the first of which will be `number`."""

    def __init__(self, connection: Connection, study: str, received_at: int) -> None:
        found = LOCK_STUDY.row(connection, study)
        if found is None:
            raise NotFound("There is no study of this name.")
        self.connection = connection
        self.study = study
        self.key: int = found[0]
        self.secret: bytes = bytes(found[1])
        self.people: dict[str, PatientState] = {}
        self._erased: set[str] = set()
        self._newcomers: list[PatientState] = []
        self._insertions: dict[str, list[tuple[int, list[Assertion]]]] = {}
        self._closings: dict[str, list[tuple[int, Assertion]]] = {}
        self._revisions: list[tuple[Any, ...]] = []
        self._leaves: list[tuple[int, int, int, bytes]] = []
        self._last_key = 0
        self._received_at = received_at
        # A statement of its own: begun after the lock was given, it sees the revision of whoever held the lock before.
        latest = HEAD.row(connection, self.key)
        self.head = Head(*latest) if latest else Head()

    @property
    def number(self) -> int:
        """The revision that is being made."""
        return self.head.number + 1

    def load_patients(self, ids: Iterable[str]) -> None:
        """Look up whom the study knows among these patients, and whom it has erased."""
        wanted = sorted({one for one in ids if one not in self.people})
        for chunk in filled(wanted):
            for patient, key, salt, first in _find_patients(len(chunk)).rows(self.connection, self.key, *chunk):
                self.people[patient] = PatientState(patient, key, bytes(salt), first)
        stones = {tombstone(self.secret, one): one for one in wanted if one not in self.people}
        for chunk in filled(stones):
            for (stone,) in _find_tombstones(len(chunk)).rows(self.connection, self.key, *chunk):
                self._erased.add(stones[bytes(stone)])

    def is_erased(self, patient: str) -> bool:
        """Whether the study has erased this person and not readmitted them; after `load_patients`."""
        return patient in self._erased

    def readmit(self, patient: str) -> None:
        """Treat an erased person as one whom the study does not know."""
        self._erased.discard(patient)

    def person(self, patient: str) -> PatientState:
        """The patient, known or new; after `load_patients`."""
        if patient in self._erased:
            raise Erased
        found = self.people.get(patient)
        if found is None:
            self._last_key = self._last_key + 1 if self._newcomers else _new_key()
            salt = secrets.token_bytes(32)
            found = self.people[patient] = PatientState(patient, self._last_key, salt, self.number, complete=True)
            self._newcomers.append(found)
        return found

    def load_assertions(self, person: PatientState, kind: str, facts: Iterable[Fact]) -> dict[str, list[Assertion]]:
        """What is known of the identities of these facts; for a new patient nothing is looked up."""
        known = person.known[kind]
        if not person.complete:
            unread = {fact[0] for fact in facts if fact[0] not in known}
            if unread:
                known.update({identity: [] for identity in unread})
                for assertion in FACT_TABLES[kind].known(self.connection, person.key, unread):
                    known[assertion.fact[0]].append(assertion)
        return known

    def load_all_assertions(self, person: PatientState) -> None:
        """Read all that was ever asserted of a patient."""
        for kind, shelf in FACT_TABLES.items():
            known: dict[str, list[Assertion]] = {}
            for assertion in shelf.all_of(self.connection, person.key):
                known.setdefault(assertion.fact[0], []).append(assertion)
            person.known[kind] = known
        person.complete = True

    def append_revision(
        self,
        touched: Iterable[PatientState],
        counts: Counts,
        *,
        format: str,
        client: str | None,
        entries: Sequence[Sequence[Any]] = (),
        erased: int = 0,
    ) -> int:
        """Make one revision of what `touched` and the study itself (`entries`) went through; the number of it."""
        number, head = self.number, self.head
        people = list({person.key: person for person in touched}.values())
        new_leaves = [
            (person.key, patient_leaf(person.salt, number, person.id, person.first_revision, self._plain(person)))
            for person in people
        ]
        if entries:
            new_leaves.append((0, study_leaf(self.secret, number, entries)))
        outcome = any(person.changes[kind].added for person in people for kind in ("labs", "assessments")
                      if kind in person.changes)  # fmt: skip
        link = Link(
            self.study,
            number,
            max(self._received_at, head.received_at),
            client,
            format,
            json.dumps(counts.as_dict(), separators=(",", ":")),
            head.patients + sum(1 for person in people if person.first_revision == number) - erased,
            number if head.first_outcome is None and outcome else head.first_outcome,
            revision_digest(new_leaves),
            head.hash,
        )
        hashed = link.hash(self.secret)
        self._leaves += [(self.key, number, key, leaf) for key, leaf in new_leaves]
        self._revisions.append((self.key, number, link.received_at, client, format, link.counts, link.patients,
                                link.first_outcome, link.digest, link.previous_hash, hashed))  # fmt: skip
        for person in people:
            self._collect(person)
        self.head = Head(number, link.received_at, hashed, link.patients, link.first_outcome)
        return number

    def write(self) -> None:
        """Store everything: what no longer stands is closed before its successor is inserted."""
        _INSERT_PATIENTS.run(
            self.connection, [(p.key, self.key, p.id, p.salt, p.first_revision) for p in self._newcomers]
        )
        for kind, ended in self._closings.items():
            FACT_TABLES[kind].end(self.connection, ended)
        for kind, fresh in self._insertions.items():
            FACT_TABLES[kind].write(self.connection, fresh)
        _INSERT_REVISIONS.run(self.connection, self._revisions)
        _INSERT_LEAVES.run(self.connection, self._leaves)

    def _plain(self, person: PatientState) -> dict[str, Changes]:
        """The changes as they were asserted: facts that were read back are given their truth values again."""
        for kind, change in person.changes.items():
            for one in change.removed:
                if one.stored:
                    one.fact = FACT_TABLES[kind].plain(one.fact)
        return person.changes

    def _collect(self, person: PatientState) -> None:
        for kind, change in person.changes.items():
            self._insertions.setdefault(kind, []).append((person.key, change.added))
            self._closings.setdefault(kind, []).extend([(person.key, one) for one in change.removed if one.stored])
        person.changes = {}
