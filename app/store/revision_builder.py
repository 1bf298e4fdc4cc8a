"""`RevisionBuilder` makes new revisions: it reads what is stored, collects the changes in memory, and writes them.

A builder locks its study, reads the latest revision, and collects what new revisions do to the study. It writes nothing
before `write`, so a submission that is refused changes nothing in the transaction.
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
from app.store import audit
from app.store.assertions import Assertion, Changes, Counts, Fact
from app.store.engine import origin_of
from app.store.fact_tables import FACT_TABLES
from app.store.hashes import NO_HASH, Link, patient_leaf, revision_digest, study_leaf, tombstone
from app.store.heads import note
from app.store.ledger_keys import keys_of
from app.store.queries import Insertion, Query, Row, filled, listed, listed_names
from app.store.seals import change, row_of_mark, rows_of_assertion
from app.store.tables import erasures, leaves, patients, revisions, studies
from app.timeline.facts import KINDS, AnyFact
from app.timeline.same_facts import Pair

_STUDY = select(studies.c.key, studies.c.locked_secret).where(studies.c.id == bindparam("study"))
LOCK_STUDY = Query(_STUDY.with_for_update(), "study")
"""On PostgreSQL, writers of one study wait here for each other. SQLite has no FOR UPDATE: it has one writer anyway."""

HEAD = Query(
    select(
        revisions.c.number, revisions.c.received_at, revisions.c.hash, revisions.c.patients, revisions.c.first_outcome
    )
    .where(revisions.c.study == bindparam("study"))
    .order_by(revisions.c.number.desc())
    .limit(1),
    "study",
)
_RECEIVED = Query(
    select(revisions.c.received_at).where(
        revisions.c.study == bindparam("study"), revisions.c.number == bindparam("number")
    ),
    "study",
    "number",
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
    """A new key for a patient, from the clock: it is greater than all older keys, and no key is given twice."""
    return (time.time_ns() // 1000 << 11) | secrets.randbits(11)


@dataclass(frozen=True, slots=True)
class Head:
    """The latest revision of a study. Before the first revision, `number` is -1."""

    number: int = -1
    received_at: int = 0
    hash: bytes = NO_HASH
    patients: int = 0
    first_outcome: int | None = None


@dataclass(slots=True, eq=False)
class PatientState:
    """What the builder knows of a patient: earlier assertions by kind and identity, and the new changes."""

    id: str
    key: int
    salt: bytes
    first_revision: int
    complete: bool = False
    """Whether `known` holds all assertions of the patient, so that no query is needed."""
    known: dict[str, dict[str, list[Assertion]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    changes: dict[str, Changes] = field(default_factory=dict)
    undecided: list[tuple[AnyFact, Pair]] = field(default_factory=list)
    """Facts of this submission that may be the same as others, each with the pair, if nobody has decided it."""

    def changing(self, kind: str) -> Changes:
        """The changes of this revision to one kind of facts."""
        return self.changes.setdefault(kind, Changes())


class RevisionBuilder:
    """Makes new revisions of one study. The next one will have the number `number`."""

    def __init__(self, connection: Connection, study: str, received_at: int) -> None:
        row = LOCK_STUDY.row(connection, study)
        if row is None:
            raise NotFound("There is no study of this name.")
        self.connection = connection
        self.study = study
        self.key: int = row[0]
        self.secret: bytes = keys_of(connection).unlock(row[1])
        self.people: dict[str, PatientState] = {}
        self._looked_up: set[str] = set()
        self._erased: set[str] = set()
        self._new_patients: list[PatientState] = []
        self._insertions: dict[str, list[tuple[int, list[Assertion]]]] = {}
        self._closings: dict[str, list[tuple[int, Assertion]]] = {}
        self._revisions: list[tuple[Any, ...]] = []
        self._leaves: list[tuple[int, int, int, bytes]] = []
        self._touched: dict[int, bytes] = {}
        self._also: list[PatientState] = []
        self._last_key = 0
        self.received_at = received_at
        """When the submission arrived that is being stored."""
        self._audited = 0
        self._writes: list[Row] = []
        self._received: dict[int, int] = {}
        self._marks: dict[str, dict[Assertion, tuple[int, str | None]]] = {}
        # This is a separate query, begun after the lock was given: it sees the revision of the writer before.
        latest = HEAD.row(connection, self.key)
        self.head = Head(*latest) if latest else Head()

    def received(self, number: int) -> int:
        """When a revision was received, up to the one that is being made."""
        if number == self.number:
            return max(self.received_at, self.head.received_at)
        if number not in self._received:
            row = _RECEIVED.row(self.connection, self.key, number)
            self._received[number] = row[0] if row else self.received_at
        return self._received[number]

    @property
    def number(self) -> int:
        """The number of the revision that is being made."""
        return self.head.number + 1

    def load_patients(self, ids: Iterable[str]) -> None:
        """Read which of these patients the study knows, and which it has erased."""
        unread = sorted({patient for patient in ids if patient not in self.people} - self._looked_up)
        self._looked_up.update(unread)
        if (origin := origin_of(self.connection)) is not None:
            origin.bring_patients(self.connection, unread)
        for chunk in filled(unread):
            for patient, key, salt, first in _find_patients(len(chunk)).rows(self.connection, self.key, *chunk):
                self.people[patient] = PatientState(patient, key, bytes(salt), first)
        stones = {tombstone(self.secret, patient): patient for patient in unread if patient not in self.people}
        for chunk in filled(stones):
            for (stone,) in _find_tombstones(len(chunk)).rows(self.connection, self.key, *chunk):
                self._erased.add(stones[bytes(stone)])

    def is_erased(self, patient: str) -> bool:
        """Whether the study has erased this person and not stored them again. Call `load_patients` first."""
        return patient in self._erased

    def readmit(self, patient: str) -> None:
        """Treat an erased person as a person whom the study does not know."""
        self._erased.discard(patient)

    def person(self, patient: str) -> PatientState:
        """The state of a patient, who may be new. Call `load_patients` first. Raises `Erased`."""
        if patient in self._erased:
            raise Erased
        state = self.people.get(patient)
        if state is None:
            self._last_key = self._last_key + 1 if self._new_patients else _new_key()
            salt = secrets.token_bytes(32)
            state = self.people[patient] = PatientState(patient, self._last_key, salt, self.number, complete=True)
            self._new_patients.append(state)
        return state

    def load_assertions(self, person: PatientState, kind: str, facts: Iterable[Fact]) -> dict[str, list[Assertion]]:
        """The earlier assertions of the identities of these facts. For a new patient nothing is read."""
        known = person.known[kind]
        if not person.complete:
            unread = {fact[0] for fact in facts if fact[0] not in known}
            if unread:
                known.update({identity: [] for identity in unread})
                for assertion in FACT_TABLES[kind].known(self.connection, person.key, unread):
                    known[assertion.fact[0]].append(assertion)
        return known

    def load_all_assertions(self, person: PatientState) -> None:
        """Read all earlier assertions of a patient."""
        for kind, table in FACT_TABLES.items():
            known: dict[str, list[Assertion]] = {}
            for assertion in table.all_of(self.connection, person.key):
                known.setdefault(assertion.fact[0], []).append(assertion)
            person.known[kind] = known
        person.complete = True

    def touch(self, others: Iterable[PatientState]) -> None:
        """Let the revision that is being made change these patients, too: its submission does not name them."""
        self._also += others

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
        """Make one revision from the changes of the `touched` patients and of the study itself (`entries`).

        `erased` is the number of patients that it erases. Returns the number of the revision.
        """
        number, head = self.number, self.head
        client = client if client is not None else audit.caller()
        people = list({person.key: person for person in (*touched, *self._also)}.values())
        self._also = []
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
            max(self.received_at, head.received_at),
            client,
            format,
            json.dumps(counts.as_dict(), separators=(",", ":")),
            head.patients + sum(1 for person in people if person.first_revision == number) - erased,
            number if head.first_outcome is None and outcome else head.first_outcome,
            revision_digest(new_leaves),
            head.hash,
        )
        hashed = link.hash(self.secret)
        self._received[number] = link.received_at
        self._leaves += [(self.key, number, key, leaf) for key, leaf in new_leaves]
        self._revisions.append((self.key, number, link.received_at, client, format, link.counts, link.patients,
                                link.first_outcome, link.digest, link.previous_hash, hashed))  # fmt: skip
        for person in people:
            self._touched[person.key] = person.salt
            self._collect(person)
        self.head = Head(number, link.received_at, hashed, link.patients, link.first_outcome)
        return number

    def write(self) -> None:
        """Store everything. An assertion that no longer stands is closed before the next one is inserted."""
        _INSERT_PATIENTS.run(
            self.connection, [(p.key, self.key, p.id, p.salt, p.first_revision) for p in self._new_patients]
        )
        for kind, ended in self._closings.items():
            FACT_TABLES[kind].end(self.connection, ended)
        for kind, marked in self._marks.items():
            FACT_TABLES[kind].mark(self.connection, [(patient, each) for each, (patient, _) in marked.items()])
        for kind, fresh in self._insertions.items():
            FACT_TABLES[kind].write(self.connection, fresh)
        _INSERT_REVISIONS.run(self.connection, self._revisions)
        _INSERT_LEAVES.run(self.connection, self._leaves)
        self._seal()
        self.end_submission()
        if self._revisions:
            note(self.connection, ("study", self.key), self.head.number, self.head.hash)
        if self._writes:
            audit.wrote(self.connection, self.key, self._writes)

    def end_submission(self) -> None:
        """Name who acts now as who made the revisions since the last submission. A rehearsal names nobody."""
        made = self._revisions[self._audited :]
        if made and origin_of(self.connection) is None:
            first, last = made[0][1], made[-1][1]
            self._writes.append(audit.row_of_write(first, last, self._touched.values(), self.head.received_at))
        self._audited = len(self._revisions)
        self._touched = {}

    def _seal(self) -> None:
        """Seal what the leaves do not cover of the new assertions, and the marks that changed."""
        added = [
            row
            for kind, groups in self._insertions.items()
            for patient, fresh in groups
            for each in fresh
            if each.ordinal or each.notes is not None or each.draw or each.mark is not None
            for row in rows_of_assertion(
                kind, patient, each.fact[0], each.added, each.ordinal, each.notes, each.draw, each.mark
            )
        ]
        removed: list[Row] = []
        for kind, marked in self._marks.items():
            for each, (patient, before) in marked.items():
                for rows, mark in ((removed, before), (added, each.mark)):
                    if mark is not None:
                        rows.append(row_of_mark(kind, patient, each.fact[0], each.added, each.ordinal, mark))
        change(self.connection, self.key, added, removed)

    def _plain(self, person: PatientState) -> dict[str, Changes]:
        """The changes of a patient. Facts that were read from the database get their Booleans back."""
        for kind, mine in person.changes.items():
            for assertion in (*mine.removed, *mine.added):
                if type(assertion.fact) is tuple:
                    assertion.fact = FACT_TABLES[kind].plain(assertion.fact)
        return person.changes

    def _collect(self, person: PatientState) -> None:
        for kind, mine in person.changes.items():
            self._insertions.setdefault(kind, []).append((person.key, mine.added))
            self._closings.setdefault(kind, []).extend([(person.key, old) for old in mine.removed if old.stored])
            if mine.marked:
                known = self._marks.setdefault(kind, {})
                for old, before in mine.marked.items():
                    if old.stored:
                        known.setdefault(old, (person.key, before))
        person.changes = {}
