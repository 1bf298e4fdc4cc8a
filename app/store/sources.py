"""Where each fact that analyses read at a revision is shown; for exports, which name their sources.

Analyses do not read this: identities, sources and numbers of facts stay out of the columns (`timelines.cohort`).
"""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, bindparam, select

from app.store.assertions import shown, stands_at
from app.store.collector import collector_paused
from app.store.statements import Statement
from app.store.studies import study_key
from app.store.tables import FACTS, patient_attributes, patients
from app.store.timelines import READ_BY_ANALYSES, standing_facts
from app.timeline.columns import Cohort
from app.timeline.history import standing
from app.timeline.moments import day_text
from app.timeline.persons import MERGED_INTO, persons
from app.timeline.sources import KINDS, Source, Sources, aligned

_WRITTEN = {"labs": "time", "assessments": "time", "infusions": "time", "medications": "start_day", "events": "onset"}
_REQUIRED = {"labs": "value", "assessments": "score"}


def sources(connection: Connection, study_id: str, revision: int, cohort: Cohort) -> Sources:
    """The addresses of the facts of a cohort that was read from this study at this revision, in one transaction."""
    with collector_paused():
        study = study_key(connection, study_id)
        keys: dict[str, int] = dict(_PATIENTS.rows(connection, study, revision))
        links = {one: json.loads(into) for one, into in _LINKS.rows(connection, study, revision)}
        merged = persons(links, keys)
        linked = {one for survivor, records in merged.items() for one in (survivor, *records)}
        found = {
            kind: [
                *(one for one in _unlinked(connection, study, revision, kind) if one.record not in linked),
                *_of_persons(connection, revision, kind, keys, merged),
            ]
            for kind in KINDS
        }
        return aligned(cohort, found, merged)


def _unlinked(connection: Connection, study: int, revision: int, kind: str) -> Iterator[Source]:
    for record, number, source, time, *content in _FOUND[kind].rows(connection, study, revision):
        yield Source(record, record, tuple(content), number, source, _text(time))


def _of_persons(
    connection: Connection, revision: int, kind: str, keys: dict[str, int], merged: dict[str, list[str]]
) -> Iterator[Source]:
    """What stands of the facts of merged records, decided over all records of a person (`persons.as_one`)."""
    names = {keys[one]: one for survivor, records in merged.items() for one in (survivor, *records)}
    facts = standing_facts(connection, kind, revision, names) if names else {}
    required, written = _REQUIRED.get(kind, "identity"), _WRITTEN[kind]
    for survivor, records in merged.items():
        said = [(fact, one) for one in (survivor, *records) for fact in facts.get(one, ())]
        record_of = {id(fact): one for fact, one in said}
        for fact in standing([fact for fact, _ in said]):
            if getattr(fact, required) is not None:
                content = tuple(getattr(fact, name) for name in READ_BY_ANALYSES[kind])
                time = _text(getattr(fact, written))
                yield Source(survivor, record_of[id(fact)], content, fact.id, fact.source, time)


def _text(time: str | int | None) -> str | None:
    """A time as written; a medication has a day."""
    return day_text(time) if isinstance(time, int) else time


def _found_of(kind: str) -> Statement:
    table, _ = FACTS[kind]
    columns: list[Any] = [table.c[name] for name in ("id", "source", _WRITTEN[kind], *READ_BY_ANALYSES[kind])]
    clause = (
        select(patients.c.id, *columns)
        .join_from(patients, table, table.c.patient_key == patients.c.key)
        .where(patients.c.study == bindparam("study"), stands_at(table), shown(table))
    )
    if kind in _REQUIRED:
        clause = clause.where(table.c[_REQUIRED[kind]].is_not(None))
    return Statement(clause, "study", "revision")


_FOUND = {kind: _found_of(kind) for kind in KINDS}
_PATIENTS = Statement(
    select(patients.c.id, patients.c.key).where(
        patients.c.study == bindparam("study"), patients.c.first_revision <= bindparam("revision")
    ),
    "study",
    "revision",
)
_LINKS = Statement(
    select(patients.c.id, patient_attributes.c.value)
    .join_from(patients, patient_attributes, patient_attributes.c.patient_key == patients.c.key)
    .where(
        patients.c.study == bindparam("study"),
        patient_attributes.c.identity == MERGED_INTO,
        stands_at(patient_attributes),
        shown(patient_attributes),
    ),
    "study",
    "revision",
)
