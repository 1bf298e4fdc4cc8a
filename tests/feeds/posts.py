"""A study to which four senders tell results, at a clock that stands still, and what it then holds."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from app.fhir.submit import store_bundle
from app.hl7v2.submit import store_message
from app.main import create_app
from app.protocol.presets import SEED_2008
from app.readers.json_timelines import read_timeline
from app.readers.pseudonyms import Identifier, Pseudonyms, study_key
from app.readers.table_rows import Dialect
from app.settings import Settings
from app.store import ledger, studies
from app.store import tables as stored
from app.store.engine import Database
from app.submission.batches import store_table
from app.timeline.facts import LabFact
from tests.documented import Documented
from tests.feeds import writers
from tests.feeds.cohorts import FIRST
from tests.feeds.writers import HOSPITAL, ZONE, Person
from tests.timeline.documents import LATEST, NOW

SECRET = "x" * 32
RECEIVED = int(NOW.timestamp()) * 1_000_000
AUTHORITIES = (f"urn:oid:{HOSPITAL}", "WARD7")
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Post:
    """A study of its own."""

    database: Database
    study: str
    identifiers: studies.Identifiers

    def open(self) -> "Post":
        """Declare the study."""
        feeds = studies.FeedDefinition(self.identifiers, AUTHORITIES, {})
        definition = studies.StudyDeclaration("Trial", SEED_2008, ZONE, feeds=feeds)
        with self.database.writing() as connection:
            studies.put_study(connection, self.study, definition, client=None, received_at=RECEIVED)
        return self

    def subject(self, person: Person) -> str:
        """What the study calls a patient."""
        if self.identifiers == "pseudonyms":
            return person.number
        key = study_key(SECRET, self.study)
        return str(Pseudonyms(key, AUTHORITIES).patient([Identifier("WARD7", person.number)]))

    def native(self, body: bytes) -> None:
        """Take a timeline in native JSON."""
        history = read_timeline(body, LATEST)
        with self.database.writing() as connection:
            ledger.submit(connection, self.study, [history], format="native-json", client=None, received_at=RECEIVED)

    def rest(self, people: Sequence[Person]) -> None:
        """Tell, as native JSON, what not every format has a place for."""
        for person in people:
            about = {"id": self.subject(person), "sex": person.sex, "birth_year": int(person.born[:4])}
            infusions = [{"time": str(FIRST), "product": "IVIG", "dose": 0.4, "unit": "g/kg"}]
            self.native(json.dumps({"patient": about, "infusions": infusions}).encode())

    def facts(self) -> list[Row]:
        """All that is stored of results: patient, every column of every version, the revisions that added and removed
        it.
        """
        (table, _), patients = stored.FACTS["labs"], stored.patients
        columns = [table.c[name] for name in (*LabFact._fields, "added", "removed")]
        study = select(stored.studies.c.key).where(stored.studies.c.id == self.study).scalar_subquery()
        clause = select(patients.c.id, *columns).join_from(table, patients).where(patients.c.study == study)
        with self.database.reading() as connection:
            return sorted((tuple(row) for row in connection.execute(clause)), key=repr)

    def standing(self) -> list[Row]:
        """What stands of the results, without the revisions, in which it arrived."""
        return [row[:-2] for row in self.facts() if row[-1] is None]

    def report(self) -> bytes:
        """The whole report, with the contribution of each patient."""
        settings = Settings(database_url=str(self.database.engine.url), pseudonym_secret=SECRET)
        with Documented(create_app(settings), base_url="http://127.0.0.1:8000") as client:
            answer = client.get(f"/v1/studies/{self.study}/analyses?patients=true")
            assert answer.status_code == 200, answer.text
            return answer.content


Sender = Callable[[Post, Sequence[Person]], None]


def send_native(post: Post, people: Sequence[Person]) -> None:
    for person in people:
        post.native(writers.native(person, post.subject(person)))


def send_fhir(post: Post, people: Sequence[Person]) -> None:
    for person in people:
        taken = store_bundle(post.database, post.study, writers.fhir(person), secret=SECRET, now=RECEIVED)
        became = [result.status for result in taken.results]
        assert (became.count("skipped"), became.count("refused")) == (len(person.results), 0)


def send_hl7v2(post: Post, people: Sequence[Person], *, offsets: bool = False) -> None:
    for person in people:
        message = writers.hl7v2(person, offsets=offsets)
        reply = store_message(post.database, post.study, message, secret=SECRET, now=RECEIVED)
        assert (reply.code, reply.faults) == ("AA", ())
        assert reply.skipped["code"] == len(person.results)


def send_table(post: Post, people: Sequence[Person], *, offsets: bool = False) -> None:
    body, dialect = writers.table(people, offsets=offsets), Dialect(";", ",", frozenset({"NA"}))
    taken = store_table(post.database, post.study, body, dialect, secret=SECRET, now=RECEIVED, atomic=False)
    assert [item.error for item in taken.items] == [None] * len(people)
    assert taken.skipped == {"code": sum(len(person.results) for person in people)}


def _with_offsets(send: Callable[..., None]) -> Sender:
    return lambda post, people: send(post, people, offsets=True)


SENDERS: dict[str, Sender] = {
    "native": send_native,
    "fhir": send_fhir,
    "hl7v2": send_hl7v2,
    "csv": send_table,
    "hl7v2 with offsets": _with_offsets(send_hl7v2),
    "csv with offsets": _with_offsets(send_table),
}
