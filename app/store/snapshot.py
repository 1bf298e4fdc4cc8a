"""A study as it stood at one revision: everything that other rooms read of it, in one transaction, without SQL."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import chain
from typing import Any

from sqlalchemy import Connection

from app.protocol.model import Protocol
from app.store import (
    audit,
    client_ids,
    decisions,
    history,
    intake,
    known_cohorts,
    resource_search,
    resources,
    revisions,
    steps,
    studies,
    timelines,
    worklist,
)
from app.store.decisions import ListedDecision
from app.store.engine import Database
from app.store.etags import keyed_etag
from app.store.history import Version, Wanted
from app.store.intake import ArrivalCount
from app.store.known_cohorts import KnownCohort
from app.store.resource_search import Criteria
from app.store.revisions import AS_IT_STANDS, AsOf, RevisionRecord
from app.store.segments import Segments
from app.store.steps import RevisionStep
from app.store.studies import Study
from app.store.timelines import EVERYBODY, Filters, ListedPatient
from app.store.worklist import SetAside, SetAsideStep
from app.timeline.cohort import Cohort
from app.timeline.resource import StoredResource, SupportedType
from app.timeline.same_facts import Pair
from app.timeline.source_facts import Sources
from app.timeline.times import instant_text, microseconds


@contextmanager
def study_at(
    database: Database, study_id: str, at: AsOf = AS_IT_STANDS, *, though_erased: bool = False
) -> Iterator["StudyAt"]:
    """A study at the revision that `at` means. Everything in the block is read from one state of the database.

    Raises `NotFound`, `InvalidDocument` for an instant in the future, and `Erased` if the revision held a person who
    was erased since. With `though_erased`, the rest of such a revision is read.
    """
    with database.reading() as connection:
        yield StudyAt.find(connection, study_id, at, though_erased=though_erased, segments=database.segments)


def list_studies(
    database: Database, *, after: str | None = None, limit: int = 100, among: Collection[str] | None = None
) -> list[Study]:
    """The studies at their latest revisions in order of their identifiers, those after `after`; only those `among` the
    identifiers, if they are given.
    """
    with database.reading() as connection:
        return studies.list_studies(connection, after=after, limit=limit, among=among)


def audit_rows(
    database: Database, study: str | None, patient: str | None, *, after: tuple[int, int, int], until: int, limit: int
) -> list[tuple[str | None, audit.Listed]]:
    """Rows of the audit (`audit.listing`), each with the study that it belongs to."""
    with database.reading() as connection:
        found = audit.listing(connection, study=study, patient=patient, after=after, until=until, limit=limit)
        names = studies.names(connection)
        return [(names.get(row.chain), row) for row in found]


def erasures_of(database: Database, study_id: str) -> int:
    """How often a person was erased from a study."""
    with database.reading() as connection:
        return revisions.count_erasures(connection, study_id)


def latest_revisions(database: Database, study_ids: Iterable[str]) -> dict[str, int]:
    """The number of the latest revision of each of these studies."""
    with database.reading() as connection:
        return {study: revisions.latest_number(connection, study) for study in study_ids}


@dataclass(frozen=True)
class StudyAt:
    """A study as it stood at `revision`. Its methods read the database, inside the block of `study_at` only."""

    _connection: Connection
    id: str
    revision: int
    received_at: int
    _segments: Segments | None = None

    @classmethod
    def find(
        cls,
        connection: Connection,
        study_id: str,
        at: AsOf = AS_IT_STANDS,
        *,
        though_erased: bool = False,
        segments: Segments | None = None,
    ) -> "StudyAt":
        """The study at the revision that `at` means, in a transaction that is already open."""
        now = microseconds(datetime.now(UTC))
        point = revisions.resolve(connection, study_id, at, now=now, though_erased=though_erased)
        audit.was_read(study_id, (), point.number)
        return cls(connection, study_id, point.number, point.received_at, segments)

    def other_study(self, study_id: str, at: AsOf) -> "StudyAt":
        """Another study in the same state of the database."""
        return self.find(self._connection, study_id, at, segments=self._segments)

    @property
    def as_of(self) -> str:
        """The time of receipt of the revision, as text."""
        return instant_text(self.received_at)

    @cached_property
    def declared(self) -> Study:
        """What the study declares: name, time zone, feeds, protocol."""
        return studies.get_study(self._connection, self.id, self.revision)

    @property
    def protocol(self) -> Protocol:
        """The protocol in force."""
        return self.declared.protocol

    def tag(self, protocol: Protocol | None = None) -> tuple[str, int, int, str]:
        """The content of an ETag: equal study, revision and protocol (default: that of the study) give equal answers.

        It also has the instant of the revision, because a number may mean another revision after a restore. The study
        is named by a keyed hash.
        """
        return self.etag("study"), self.revision, self.received_at, (protocol or self.protocol).digest

    def etag(self, content: str) -> str:
        """The strong ETag of a representation of this study, with its quotes."""
        return keyed_etag(self._connection, self.id, content)

    def timeline_etag(self, document: Mapping[str, Any]) -> str:
        """The strong ETag of a timeline document, with its quotes."""
        return timelines.timeline_etag(self._connection, self.id, document)

    def protocol_changed_after_first_outcome(self) -> bool:
        """Whether the protocol in force was declared after the study had its first outcome."""
        return studies.protocol_changed_after_first_outcome(self._connection, self.id, self.revision)

    def erasures(self) -> int:
        """How often a person was erased from the study, until now."""
        return revisions.count_erasures(self._connection, self.id)

    def cohort(self) -> Cohort:
        """Everything that analyses read."""
        return self.known_cohort().cohort

    def known_cohort(self, known: Iterable[KnownCohort] = ()) -> KnownCohort:
        """Everything that analyses read: from the first of these cohorts of the study that helps, or from its segment,
        and from the rows of the patients who changed; else from all rows.
        """
        study = studies.study_key(self._connection, self.id)
        segment = [] if self._segments is None else [partial(self._segments.read, self._connection, study)]
        bases = chain(known, (read() for read in segment))
        return known_cohorts.known_cohort(self._connection, study, self.revision, bases)

    def cohort_of_person(self, patient: str) -> Cohort:
        """What analyses read of one person; nobody, if the record was merged. Raises `NotFound` and `Erased`."""
        found = timelines.cohort_of_person(self._connection, self.id, patient, self.revision)
        audit.was_read(self.id, [patient])
        return found

    def sources(self, cohort: Cohort) -> Sources:
        """Where each fact of this `cohort` is found in the timelines."""
        return timelines.sources(self._connection, self.id, self.revision, cohort)

    def cohorts_with_sources(self) -> Iterator[tuple[Cohort, Sources]]:
        """Both in parts of some persons each, in order, at least one part."""
        return timelines.cohorts_with_sources(self._connection, self.id, self.revision)

    def persons(self) -> dict[str, list[str]]:
        """The records of each person, in the order of the cohort: the surviving record names the person."""
        return timelines.records_of_persons(self._connection, self.id, self.revision)

    def require_patient(self, patient: str) -> None:
        """Raise `NotFound` or `Erased` unless the study has this patient at the revision."""
        timelines.find_patient(self._connection, self.id, patient, self.revision)

    def facts_of_rows(
        self, kind: str, cohort: Cohort, records: Mapping[str, list[str]]
    ) -> list[tuple[str, str | None]]:
        """The address of the fact of each row of one kind, and its time as written; for a cohort of few persons."""
        return timelines.facts_of_rows(self._connection, self.id, self.revision, kind, cohort, records)

    def timeline(self, patient: str) -> dict[str, Any]:
        """The timeline document of a patient. Raises `NotFound` and `Erased`."""
        document = timelines.document(self._connection, self.id, patient, self.revision)
        audit.was_read(self.id, [patient])
        return document

    def patients(
        self, filters: Filters = EVERYBODY, *, after: str | None = None, limit: int = 100
    ) -> list[ListedPatient]:
        """Patients in code-point order of their identifiers: at most `limit`, after the identifier `after`."""
        return timelines.list_patients(self._connection, self.id, self.revision, filters, after=after, limit=limit)

    def history(self, patient: str, wanted: Wanted, *, offset: int = 0, limit: int = 100) -> list[Version]:
        """Versions of a patient's facts in the order in which they were stored. Raises `NotFound` and `Erased`."""
        found = history.versions(self._connection, self.id, patient, self.revision, wanted, offset=offset, limit=limit)
        audit.was_read(self.id, [patient])
        return found

    def revisions(
        self, *, after: int | None = None, limit: int = 100, newest_first: bool = False
    ) -> list[RevisionRecord]:
        """The revisions up to this one in ascending or descending order: at most `limit`, after the number `after`."""
        listed = revisions.list_revisions(
            self._connection, self.id, after=after, limit=limit, newest_first=newest_first
        )
        return [record for record in listed if record.number <= self.revision]

    def steps(self, *, after: int) -> dict[int, RevisionStep]:
        """What each revision after `after`, up to this one, did to the facts of the study."""
        return steps.steps(self._connection, studies.study_key(self._connection, self.id), after, self.revision)

    def set_aside_steps(self, *, after: int) -> dict[int, SetAsideStep]:
        """What each revision after `after`, up to this one, did to the worklist; without those that did nothing."""
        key = studies.study_key(self._connection, self.id)
        return worklist.set_aside_steps(self._connection, key, after, self.revision)

    def set_aside(self, *, after: int | str = 0, limit: int = 100) -> list[SetAside]:
        """The worklist, oldest item first, then what waits of merged records: at most `limit`, `after` the place of an
        item (`SetAside.at`).
        """
        key = studies.study_key(self._connection, self.id)
        found: list[SetAside] = []
        if isinstance(after, int):
            found = worklist.listed_items(self._connection, key, self.revision, after=after, limit=limit)
            after = ""
        if len(found) < limit:
            found += decisions.waiting_between(
                self._connection, key, self.revision, after=after, limit=limit - len(found)
            )
        return found

    def decisions(self, *, after: tuple[str, str] = ("", ""), limit: int = 100) -> list[ListedDecision]:
        """The decisions about facts that may be the same: at most `limit`, after this patient and name of a pair."""
        key = studies.study_key(self._connection, self.id)
        return decisions.listed_decisions(self._connection, key, self.revision, after=after, limit=limit)

    def facts_of_pairs(self, asked: Sequence[tuple[str, Pair]]) -> list[list[dict[str, Any]]]:
        """The facts of each of these pairs of a patient, as a timeline shows them."""
        key = studies.study_key(self._connection, self.id)
        return decisions.facts_of_pairs(self._connection, key, self.revision, asked)

    def intake(self) -> list[ArrivalCount]:
        """How much of what has arrived until now, whatever the revision."""
        return intake.counts_of(self._connection, studies.study_key(self._connection, self.id))

    def search(self, criteria: Criteria, *, after: str | None = None, limit: int) -> list[StoredResource]:
        """Resources that meet the criteria: at most `limit`, after the resource with the identifier `after`."""
        return resource_search.search(self._connection, self.id, criteria, self.revision, after=after, limit=limit)

    def count(self, criteria: Criteria) -> int:
        """The number of resources that meet the criteria."""
        return resource_search.count(self._connection, self.id, criteria, self.revision)

    def versions(self, resource: SupportedType, logical_id: str) -> list[StoredResource]:
        """The versions of a resource up to this revision, newest first; empty if it is unknown. Raises `Erased`."""
        known = resources.history(self._connection, self.id, resource, logical_id)
        audit.was_read(self.id, [version.patient for version in known])
        return [version for version in known if version.added <= self.revision]

    def operations(self, versions: Iterable[StoredResource]) -> dict[int, str]:
        """The name of the operation that stored each of these versions, by its revision, as far as it is known."""
        key = studies.study_key(self._connection, self.id)
        return audit.operations_of(self._connection, key, {version.received_at for version in versions})

    def knows(self, patient: str) -> bool:
        """Whether the study has a patient with this identifier now, at its latest revision."""
        return (
            resources.patient_key(self._connection, studies.study_key(self._connection, self.id), patient) is not None
        )

    def client_id(self, resource: SupportedType, name: str) -> client_ids.ClientId | None:
        """What a client id, in its stored form, names now, at the latest revision. Raises `Erased`."""
        return client_ids.find(self._connection, self.id, resource, name)

    def pseudonyms_made_with(self) -> str | None:
        """The fingerprint of the key that made the pseudonyms of the study; `None` if it has none."""
        return studies.pseudonym_key(self._connection, self.id)
