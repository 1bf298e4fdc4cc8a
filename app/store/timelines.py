"""Reading what is stored of patients: one as a document, many as a list, all as the columns of a cohort."""

import json
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, cast

from sqlalchemy import Connection, bindparam, exists, func, select

from app.errors import Erased, NotFound, PreconditionFailed
from app.store.assertions import LATEST, SHELVES, shown, stands_at
from app.store.collector import collector_paused
from app.store.documents import stated, timeline_document, timeline_etag
from app.store.hashes import tombstone
from app.store.statements import Row, Statement, filled, listed, listed_names
from app.store.studies import TIME_ZONE, study_key
from app.store.tables import FACTS, erasures, patient_attributes, patients, studies
from app.timeline.columns import Cohort
from app.timeline.facts import SECTIONS
from app.timeline.history import AttributeFact, History, standing
from app.timeline.persons import MERGED_INTO, as_one, persons
from app.timeline.rows import PatientRow, patient_row

__all__ = ["PatientSummary", "check_etag", "cohort", "document", "list_patients", "timeline_etag"]

_FIND = Statement(
    select(patients.c.key, patients.c.first_revision, studies.c.key, studies.c.secret)
    .select_from(
        studies.outerjoin(patients, (patients.c.study == studies.c.key) & (patients.c.id == bindparam("patient")))
    )
    .where(studies.c.id == bindparam("study")),
    "study",
    "patient",
)
_IS_ERASED = Statement(
    select(
        exists().where(
            erasures.c.study == bindparam("study"),
            erasures.c.tombstone == bindparam("stone"),
            erasures.c.readmitted_revision.is_(None),
        )
    ),
    "study",
    "stone",
)


def document(connection: Connection, study_id: str, patient: str, revision: int | None = None) -> dict[str, Any]:
    """A patient's timeline as it stood at a revision (default: now). Raises `Erased` for a person who has been
    erased.
    """
    at = LATEST if revision is None else revision
    _, key = find_patient(connection, study_id, patient, at)
    return timeline_document(patient, {kind: shelf.shown_at(connection, key, at) for kind, shelf in SHELVES.items()})


def find_patient(connection: Connection, study_id: str, patient: str, revision: int) -> tuple[int, int]:
    """The keys of a study and of a patient whom it knew at a revision.

    Raises `NotFound` where it did not, and `Erased` where the person has been erased.
    """
    found = _FIND.row(connection, study_id, patient)
    if found is None:
        raise NotFound("There is no study of this name.")
    key, first, study, secret = found
    if key is None and (_IS_ERASED.row(connection, study, tombstone(bytes(secret), patient)) or (False,))[0]:
        raise Erased
    if key is None or first > revision:
        raise NotFound("The study has no patient of this name.")
    return study, key


def check_etag(connection: Connection, study_id: str, patient: str, if_match: str) -> None:
    """Refuse where the header If-Match names no version of the timeline that is the current one."""
    named = {tag.strip() for tag in if_match.split(",")}
    if "*" not in named and timeline_etag(document(connection, study_id, patient)) not in named:
        raise PreconditionFailed


@dataclass(frozen=True, slots=True)
class PatientSummary:
    """One patient of a list: their attributes, and how many facts each section of their timeline has."""

    id: str
    attributes: dict[str, Any]
    counts: dict[str, int]


def list_patients(
    connection: Connection,
    study_id: str,
    revision: int,
    *,
    after: str | None = None,
    limit: int = 100,
    sex: str | None = None,
    diagnosis: str | None = None,
) -> list[PatientSummary]:
    """Patients of a study at a revision in code-point order of their identifiers, those after `after`."""
    study = study_key(connection, study_id)
    wanted = {"sex": sex, "diagnosis": diagnosis}
    filters = tuple(name for name, value in wanted.items() if value is not None)
    values = [json.dumps(wanted[name]) for name in filters]
    people = _page(filters).rows(connection, study, after or "", limit, revision, *values)
    ids: dict[int, str] = dict(people)
    attributes: dict[int, list[AttributeFact]] = {key: [] for key in ids}
    counts: dict[int, dict[str, int]] = {key: dict.fromkeys(SECTIONS.values(), 0) for key in ids}
    for chunk in filled(ids):
        for key, name, value in _attributes(len(chunk)).rows(connection, revision, *chunk):
            attributes[key].append(AttributeFact(name, None, None, None, None, "final", value))
        for kind, section in SECTIONS.items():
            for key, count in _counts(kind, len(chunk)).rows(connection, revision, *chunk):
                counts[key][section] = count
    return [PatientSummary(patient, stated(attributes[key]), counts[key]) for key, patient in ids.items()]


def cohort(connection: Connection, study_id: str, revision: int) -> Cohort:
    """All that analyses read of a study at a revision, days counted in the time zone that was declared then."""
    with collector_paused():
        return _load_cohort(connection, study_key(connection, study_id), revision)


def _load_cohort(connection: Connection, study: int, revision: int) -> Cohort:
    keys: dict[str, int] = dict(_PATIENTS.rows(connection, study, revision))
    stated_of: dict[str, dict[str, str]] = {patient: {} for patient in keys}
    for patient, name, value in _COHORT["attributes"].rows(connection, study, revision):
        stated_of[patient][name] = value
    rows = {kind: _COHORT[kind].rows(connection, study, revision) for kind in SECTIONS}
    links = {one: json.loads(told[MERGED_INTO]) for one, told in stated_of.items() if MERGED_INTO in told}
    if linked := persons(links, keys):
        _read_as_one(connection, revision, linked, keys, stated_of, rows)
    people: list[PatientRow] = [patient_row(patient, attributes) for patient, attributes in stated_of.items()]
    labs, assessments, infusions, medications, events = (cast(Any, rows[kind]) for kind in SECTIONS)
    zone = TIME_ZONE.row(connection, study, revision)
    return Cohort.assemble(
        people, labs, assessments, infusions, medications, events, json.loads(zone[0]) if zone else None
    )


def _read_as_one(
    connection: Connection,
    revision: int,
    linked: dict[str, list[str]],
    keys: dict[str, int],
    stated_of: dict[str, dict[str, str]],
    rows: dict[str, list[Row]],
) -> None:
    """Put one person in the place of linked records: their attributes in `stated_of`, their facts in `rows`.

    Which assertion of a fact stands is decided anew over all records of a person, those that withdraw it included.
    """
    records = {one for survivor, merged in linked.items() for one in (survivor, *merged)}
    asserted = {
        kind: standing_facts(connection, kind, revision, {keys[one]: one for one in records}) for kind in SECTIONS
    }
    for kind, found in rows.items():
        rows[kind] = [row for row in found if row[0] not in records]
    for survivor, merged in linked.items():
        person = as_one([_record(one, stated_of.pop(one), asserted) for one in (survivor, *merged)])
        stated_of[survivor] = {fact.identity: fact.value for fact in person.attributes}
        for kind in SECTIONS:
            required = attrgetter(_REQUIRED.get(kind, "identity"))
            facts = [fact for fact in standing(getattr(person, kind)) if required(fact) is not None]
            rows[kind] += [(survivor, *_READ[kind](fact)) for fact in facts]


def _record(patient: str, stated_of: dict[str, str], asserted: dict[str, dict[str, list[Any]]]) -> History:
    attributes = tuple(AttributeFact(name, None, None, None, None, "final", value) for name, value in stated_of.items())
    facts: dict[str, Any] = {kind: tuple(of_kind.get(patient, ())) for kind, of_kind in asserted.items()}
    return History(patient, attributes, **facts)


def standing_facts(connection: Connection, kind: str, revision: int, names: dict[int, str]) -> dict[str, list[Any]]:
    """What stands of the facts of these patients (by key), withdrawals included, by their identifiers."""
    make: Any = FACTS[kind][1]
    found: dict[str, list[Any]] = {}
    for chunk in filled(names):
        for key, *fact in _asserted_of(kind, len(chunk)).rows(connection, revision, *chunk):
            found.setdefault(names[key], []).append(make(*fact))
    return found


READ_BY_ANALYSES: dict[str, tuple[str, ...]] = {
    "attributes": ("identity", "value"),
    "labs": ("code", "day", "instant", "utc", "value", "upper_limit", "comparator", "issued", "lab"),
    "assessments": ("code", "day", "instant", "utc", "score", "scale_max", "issued"),
    "infusions": ("product", "day", "instant", "utc", "dose", "unit", "course"),
    "medications": ("drug", "start_day", "end_day", "dose", "unit"),
    "events": ("day", "instant", "utc", "term", "severity", "serious", "related"),
}
"""The columns of `LabRow`, `AssessmentRow`, ... after the patient, in their order."""

_READ = {kind: attrgetter(*names) for kind, names in READ_BY_ANALYSES.items()}
_REQUIRED = {"labs": "value", "assessments": "score"}


def _cohort_of(kind: str) -> Statement:
    table, _ = FACTS[kind]
    clause = (
        select(patients.c.id, *[table.c[name] for name in READ_BY_ANALYSES[kind]])
        .join_from(patients, table, table.c.patient_key == patients.c.key)
        .where(patients.c.study == bindparam("study"), stands_at(table), shown(table))
    )
    if kind in _REQUIRED:
        clause = clause.where(table.c[_REQUIRED[kind]].is_not(None))
    return Statement(clause, "study", "revision")


_COHORT = {kind: _cohort_of(kind) for kind in FACTS}
_PATIENTS = Statement(
    select(patients.c.id, patients.c.key).where(
        patients.c.study == bindparam("study"), patients.c.first_revision <= bindparam("revision")
    ),
    "study",
    "revision",
)


@cache
def _page(filters: tuple[str, ...]) -> Statement:
    clause = select(patients.c.key, patients.c.id).where(
        patients.c.study == bindparam("study"),
        patients.c.id > bindparam("after"),
        patients.c.first_revision <= bindparam("revision"),
    )
    for name in filters:
        stated_so: Any = patient_attributes.alias(name)
        clause = clause.where(
            exists().where(
                stated_so.c.patient_key == patients.c.key,
                stated_so.c.identity == name,
                stated_so.c.value == bindparam(f"wanted_{name}"),
                stands_at(stated_so),
                shown(stated_so),
            )
        )
    clause = clause.order_by(patients.c.id).limit(bindparam("limit"))
    return Statement(clause, "study", "after", "limit", "revision", *[f"wanted_{name}" for name in filters])


@cache
def _attributes(length: int) -> Statement:
    table = patient_attributes
    clause = select(table.c.patient_key, table.c.identity, table.c.value).where(
        table.c.patient_key.in_(listed(length)), stands_at(table), shown(table)
    )
    return Statement(clause, "revision", *listed_names(length))


@cache
def _counts(kind: str, length: int) -> Statement:
    table, _ = FACTS[kind]
    clause = (
        select(table.c.patient_key, func.count())
        .where(table.c.patient_key.in_(listed(length)), stands_at(table), shown(table))
        .group_by(table.c.patient_key)
    )
    return Statement(clause, "revision", *listed_names(length))


@cache
def _asserted_of(kind: str, length: int) -> Statement:
    table, fact = FACTS[kind]
    clause = select(table.c.patient_key, *[table.c[name] for name in fact._fields]).where(
        table.c.patient_key.in_(listed(length)), stands_at(table)
    )
    return Statement(clause, "revision", *listed_names(length))
