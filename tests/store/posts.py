"""Documents for the tests of the store, and short functions to post and to read them."""

import itertools
import json
from typing import Any

from app.protocol.presets import SEED_2008
from app.store.engine import Database
from app.store.ledger import Outcome, replace, submit
from app.store.revisions import RevisionRecord, list_revisions
from app.store.studies import StudyDeclaration, put_study
from app.store.timelines import cohort, cohort_of_person, document, timeline_etag
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import History, normalise

LATEST = 4 * 10**15
_clock = itertools.count(1_600_000_000_000_000, 1_000_000)


def now() -> int:
    """An instant, one second later with each call."""
    return next(_clock)


def ck(number: str = "k1", value: float | None = 1101, **more: Any) -> dict[str, Any]:
    """A numbered CK result of laboratory A."""
    return {"code": "CK", "time": "2005-03-16", "value": value, "unit": "U/L", "lab": "A", "id": number} | more


def timeline(who: str, *labs: dict[str, Any], about: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """A timeline document; `about` holds attributes of the patient."""
    return {"patient": {"id": who} | (about or {}), "labs": list(labs)} | sections


def history(written: dict[str, Any]) -> History:
    """The facts of a document, made as in a post."""
    return normalise(Timeline.model_validate_json(json.dumps(written)), LATEST)


FULL: dict[str, Any] = {
    "patient": {
        "id": "P01",
        "sex": "female",
        "birth_year": 1953,
        "diagnosis": "polymyositis",
        "weight_kg": 49,
        "steroid_resistant": True,
    },
    "labs": [
        ck("acc-77", time="2005-03-16T09:48:00+09:00", upper_limit=163, status="final"),
        {"code": "CK", "time": "2005-03-17T00:48:00Z", "value": 11.5, "unit": "ukat/L", "upper_limit": 3.1, "lab": "B"},
    ],
    "lab_series": [
        {"code": "LDH", "unit": "U/L", "upper_limit": 229, "lab": "A", "times": ["2005-03-23"], "values": [1005.5]}
    ],
    "assessments": [{"code": "MMT", "time": "2005-03-16", "score": 62, "scale_max": 100, "version": 3}],
    "infusions": [{"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg", "course": 1}],
    "medications": [{"drug": "prednisolone", "start": "2005-01-20", "end": None, "dose": 50, "unit": "mg/d"}],
    "adverse_events": [
        {
            "id": "ae-1",
            "onset": "2005-04-12",
            "term": "headache",
            "severity": "mild",
            "serious": False,
            "related": True,
        },
        {"term": "rash", "issued": "2005-04-15T08:00:00+09:00"},
    ],
    "ended": {"date": "2006-09-01", "reason": "completed"},
}
"""A timeline with every section and nearly every field."""


def begin_study(database: Database, name: str, **more: Any) -> str:
    """Create a study."""
    definition = StudyDeclaration("A trial", more.pop("protocol", SEED_2008), **more)
    with database.writing() as connection:
        put_study(connection, name, definition, client=None, received_at=now())
    return name


def post(database: Database, study: str, *written: dict[str, Any], at: int | None = None) -> Outcome:
    """Submit documents as one submission. The outcome of the last one."""
    with database.writing() as connection:
        done = submit(
            connection,
            study,
            [history(document) for document in written],
            format="native",
            client="ehr",
            received_at=now() if at is None else at,
        )
    return done.outcomes[-1]


def put(database: Database, study: str, written: dict[str, Any], if_match: str | None = None, **more: Any) -> Outcome:
    """Replace a timeline."""
    with database.writing() as connection:
        return replace(
            connection,
            study,
            history(written),
            if_match=if_match,
            format="native",
            client="ehr",
            received_at=now(),
            **more,
        )


def got(database: Database, study: str, patient: str, revision: int | None = None) -> dict[str, Any]:
    """The stored timeline of a patient."""
    with database.reading() as connection:
        return document(connection, study, patient, revision)


def etag(database: Database, study: str, patient: str) -> str:
    """The ETag of a timeline."""
    with database.reading() as connection:
        return timeline_etag(connection, study, document(connection, study, patient))


def values(database: Database, study: str, patient: str, revision: int | None = None) -> list[float]:
    """The values of the stored results of a patient."""
    return [lab["value"] for lab in got(database, study, patient, revision)["labs"]]


def columns(database: Database, study: str, revision: int) -> Cohort:
    """The cohort that analyses read."""
    with database.reading() as connection:
        return cohort(connection, study, revision)


def columns_of(database: Database, study: str, patient: str, revision: int) -> Cohort:
    """What analyses read of one person."""
    with database.reading() as connection:
        return cohort_of_person(connection, study, patient, revision)


def revisions(database: Database, study: str) -> list[RevisionRecord]:
    """All revisions of a study."""
    with database.reading() as connection:
        return list_revisions(connection, study, limit=10_000)
