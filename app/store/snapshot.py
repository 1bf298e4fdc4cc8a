"""A study as it stood at one revision: all that is read of it, in one transaction, for callers that know no SQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from app.protocol.model import Protocol
from app.store import client_ids, history, resource_search, resources, revisions, studies, timelines
from app.store.engine import Database
from app.store.history import Version, Wanted
from app.store.resource_search import Criteria
from app.store.revisions import AS_IT_STANDS, AsOf, RevisionRecord
from app.store.studies import Study
from app.store.timelines import ListedPatient
from app.timeline.cohort import Cohort
from app.timeline.resource import StoredResource, SupportedType
from app.timeline.source_facts import Sources
from app.timeline.times import instant_text, microseconds


@contextmanager
def study_at(
    database: Database, study_id: str, at: AsOf = AS_IT_STANDS, *, though_erased: bool = False
) -> Iterator["StudyAt"]:
    """A study at the revision that is meant. What is read inside the block is one state of the database.

    Raises `NotFound`, `InvalidDocument` for an instant that is still to come and `Erased` where the revision held a
    person who has been erased since; with `though_erased`, what is left of that revision is read.
    """
    with database.reading() as connection:
        yield StudyAt.find(connection, study_id, at, though_erased=though_erased)


@dataclass(frozen=True)
class StudyAt:
    """A study as it stood at `revision`. Every method reads the database while the block of `study_at` is open."""

    _connection: Connection
    id: str
    revision: int
    received_at: int

    @classmethod
    def find(
        cls, connection: Connection, study_id: str, at: AsOf = AS_IT_STANDS, *, though_erased: bool = False
    ) -> "StudyAt":
        """The study at the revision that is meant, in a transaction that is open."""
        now = microseconds(datetime.now(UTC))
        point = revisions.resolve(connection, study_id, at, now=now, though_erased=though_erased)
        return cls(connection, study_id, point.number, point.received_at)

    def beside(self, study_id: str, at: AsOf) -> "StudyAt":
        """Another study in the same state of the database."""
        return self.find(self._connection, study_id, at)

    @property
    def as_of(self) -> str:
        """When the revision was received, as text."""
        return instant_text(self.received_at)

    @cached_property
    def declared(self) -> Study:
        """What the study says of itself: name, time zone, feeds, protocol."""
        return studies.get_study(self._connection, self.id, self.revision)

    @property
    def protocol(self) -> Protocol:
        """The protocol in force."""
        return self.declared.protocol

    def tag(self, protocol: Protocol | None = None) -> tuple[str, int, int, str]:
        """What an ETag is made of: an answer from the same study, revision and protocol (default: the study's own) is
        the same.

        The instant of the revision is in it for the case that a database was put back and revisions were counted anew.
        """
        return self.id, self.revision, self.received_at, (protocol or self.protocol).digest

    def protocol_changed_after_first_outcome(self) -> bool:
        """Whether the protocol in force was declared after the study held its first outcome."""
        return studies.protocol_changed_after_first_outcome(self._connection, self.id, self.revision)

    def cohort(self) -> Cohort:
        """All that analyses read."""
        return timelines.cohort(self._connection, self.id, self.revision)

    def sources(self, cohort: Cohort) -> Sources:
        """Where each fact of this study's `cohort` is shown."""
        return timelines.sources(self._connection, self.id, self.revision, cohort)

    def timeline(self, patient: str) -> dict[str, Any]:
        """The timeline document of a patient. Raises `NotFound` and `Erased`."""
        return timelines.document(self._connection, self.id, patient, self.revision)

    def patients(
        self, *, after: str | None = None, limit: int = 100, sex: str | None = None, diagnosis: str | None = None
    ) -> list[ListedPatient]:
        """Patients in code-point order of their identifiers, those after `after`."""
        return timelines.list_patients(
            self._connection, self.id, self.revision, after=after, limit=limit, sex=sex, diagnosis=diagnosis
        )

    def history(self, patient: str, wanted: Wanted, *, offset: int = 0, limit: int = 100) -> list[Version]:
        """Versions of a patient's facts in the order in which they were stored. Raises `NotFound` and `Erased`."""
        return history.versions(self._connection, self.id, patient, self.revision, wanted, offset=offset, limit=limit)

    def revisions(self, *, after: int | None = None, limit: int = 100) -> list[RevisionRecord]:
        """The revisions up to this one in ascending order, those after the number `after`."""
        found = revisions.list_revisions(self._connection, self.id, after=after, limit=limit)
        return [each for each in found if each.number <= self.revision]

    def search(self, criteria: Criteria, *, after: str | None = None, limit: int) -> list[StoredResource]:
        """Resources that meet the criteria, those behind the one with the identifier `after`."""
        return resource_search.search(self._connection, self.id, criteria, self.revision, after=after, limit=limit)

    def count(self, criteria: Criteria) -> int:
        """How many resources meet the criteria."""
        return resource_search.count(self._connection, self.id, criteria, self.revision)

    def versions(self, resource: SupportedType, logical_id: str) -> list[StoredResource]:
        """The versions of a resource up to this revision, newest first; empty where there is none of this identifier.
        Raises `Erased`.
        """
        found = resources.history(self._connection, self.id, resource, logical_id)
        return [each for each in found if each.added <= self.revision]

    def knows(self, patient: str) -> bool:
        """Whether the study has, by now, a patient of this identifier."""
        return (
            resources.patient_key(self._connection, studies.study_key(self._connection, self.id), patient) is not None
        )

    def client_id(self, resource: SupportedType, name: str) -> client_ids.ClientId | None:
        """What a client's own id of a resource, as it is kept, names by now, if anything. Raises `Erased`."""
        return client_ids.find(self._connection, self.id, resource, name)

    def pseudonyms_made_with(self) -> str | None:
        """The fingerprint of the key by which the study's pseudonyms were made; `None` where it holds none."""
        return studies.pseudonym_key(self._connection, self.id)
