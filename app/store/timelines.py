"""Read the stored facts of patients: as a timeline document, as a list of patients, as a cohort, and as its sources.

`timeline.normalize.normalise` reads such a document to exactly the same facts, so that a client may send back what it
received. Values, units, limits and times are as they were sent. A field without a value is left out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection, bindparam, exists, func, select

from app.errors import Erased, NotFound, PreconditionFailed
from app.readers.gc_pause import gc_paused
from app.store.etags import keyed_etag
from app.store.fact_tables import FACT_TABLES, LATEST, read_columns, shown, stands_at
from app.store.hashes import tombstone
from app.store.ledger_keys import keys_of
from app.store.queries import Query, filled, listed, listed_names
from app.store.standing_facts import asserted_facts, listed_pairs, standing_of, undecided_of
from app.store.studies import TIME_ZONE, study_key
from app.store.tables import FACTS, erasures, patient_attributes, patients, studies
from app.timeline.cohort import (
    TABLES,
    Cohort,
    Piece,
    Row,
    Words,
    columns_of,
    content_of,
    patient_row,
    rows_of_facts,
)
from app.timeline.document import ITEMS, Sourced
from app.timeline.facts import (
    FIELDS,
    READ_BY_ANALYSES,
    AnyFact,
    AttributeFact,
    Field,
    MedicationFact,
)
from app.timeline.merged_records import MERGED_INTO, persons, proven_between, stated_as_one, undecided_between
from app.timeline.normalize import PATIENT_ATTRIBUTES, SECTIONS
from app.timeline.number_rule import standing
from app.timeline.same_facts import KIND_OF, NAMED, PREFIX, Decision, Pair, counted, decisions_in
from app.timeline.source_facts import Source, Sources, addresses, aligned, aligned_facts, words_of
from app.timeline.times import day_text, instant_text

PERSONS_WITH_SOURCES, FIRST_PERSONS = 200, 20
"""Number of persons in a part of a study that is read with its sources, and in the first part, which is there soon."""
PERSONS_AT_ONCE = 2_048
"""The number of persons whose rows are in memory together."""
_BEFORE, _AFTER = -(2**63), 2**63

_FIND = Query(
    select(patients.c.key, patients.c.first_revision, studies.c.key, studies.c.locked_secret)
    .select_from(
        studies.outerjoin(patients, (patients.c.study == studies.c.key) & (patients.c.id == bindparam("patient")))
    )
    .where(studies.c.id == bindparam("study")),
    "study",
    "patient",
)
_IS_ERASED = Query(
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
    """The timeline of a patient as it stood at a revision (default: the latest). Raises `NotFound` and `Erased`."""
    at = LATEST if revision is None else revision
    _, key = find_patient(connection, study_id, patient, at)
    facts: dict[str, list[Any]] = {kind: table.shown_at(connection, key, at) for kind, table in FACT_TABLES.items()}
    attributes = _attribute_values({fact.identity: fact.value for fact in facts["attributes"]})
    decisions = [decision_document(fact) for fact in facts["attributes"] if fact.identity.startswith(PREFIX)]
    ended = attributes.pop("ended", None)
    written: dict[str, Any] = {"patient": {"id": patient, **attributes}}
    for kind, section in SECTIONS.items():
        written[section] = [fact_document(kind, fact) for fact in sorted(facts[kind], key=_sort_key)]
    if ended is not None:
        written["ended"] = ended
    if decisions:
        written["decisions"] = sorted(decisions, key=lambda decision: decision["facts"])
    return written


def decision_document(fact: AttributeFact) -> dict[str, Any]:
    """A decision about two facts as a timeline shows it."""
    at = {} if fact.issued is None else {"at": instant_text(fact.issued)}
    content: dict[str, Any] = json.loads(fact.value)
    return content | at


def timeline_etag(connection: Connection, study_id: str, document: Mapping[str, Any]) -> str:
    """The strong ETag of a timeline document, with its quotes."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return keyed_etag(connection, study_id, text)


def fact_document(kind: str, fact: AnyFact) -> dict[str, Any]:
    """One fact as a timeline shows it. `kind` is a kind of `History`. An attribute has its name and value."""
    document = {}
    for field in _document_fields(kind):
        value = getattr(fact, field.name)
        if field.sent.given is not None:
            given = getattr(fact, field.sent.given)
            value = value if given is None else given
        if value is None or value == "":  # a withdrawal may have no time
            continue
        sent = field.sent.write(value) if field.sent.write else value
        if sent is not None:
            document[field.sent.name or field.name] = _number(sent)
    return document


@cache
def _document_fields(kind: str) -> list[Field]:
    """The fields of this kind in the order of a document, and after them the fields of the source of the fact."""
    by_name = {field.sent.name or field.name: field for field in FIELDS[kind]}
    source = [name for name in by_name if name in Sourced.model_fields]
    own = ITEMS[SECTIONS[kind]].model_fields if kind in SECTIONS else by_name
    return [by_name[name] for name in (*[name for name in own if name in by_name and name not in source], *source)]


def _attribute_values(attributes: Mapping[str, str]) -> dict[str, Any]:
    """The attributes of a patient by name, in a fixed order, from their JSON texts."""
    named = (name for name in (*PATIENT_ATTRIBUTES, "ended") if name in attributes)
    return {name: _number(json.loads(attributes[name])) for name in named}


def _number(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """The value; a whole number is an integer, so that it is written without `.0`, as it was sent."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _sort_key(fact: Any) -> tuple[int, int, str]:  # noqa: ANN401 - any fact with a day
    """The sort key of a fact within its section."""
    day = fact.start_day if isinstance(fact, MedicationFact) else fact.day
    instant = getattr(fact, "instant", None)
    return (_AFTER if day is None else day, _BEFORE if instant is None else instant, fact.identity)


def find_patient(connection: Connection, study_id: str, patient: str, revision: int) -> tuple[int, int]:
    """The keys of a study and of a patient whom it knew at a revision.

    Raises `NotFound` if it did not know the patient then, and `Erased` if the person was erased.
    """
    found = _FIND.row(connection, study_id, patient)
    if found is None:
        raise NotFound("There is no study of this name.")
    key, first, study, secret = found
    if key is None:
        stone = tombstone(keys_of(connection).unlock(secret), patient)
        if (_IS_ERASED.row(connection, study, stone) or (False,))[0]:
            raise Erased
    if key is None or first > revision:
        raise NotFound("The study has no patient of this name.")
    return study, key


def check_etag(connection: Connection, study_id: str, patient: str, if_match: str) -> None:
    """Raise `PreconditionFailed` if the header If-Match does not name the current version of the timeline."""
    named = {tag.strip() for tag in if_match.split(",")}
    if "*" not in named and timeline_etag(connection, study_id, document(connection, study_id, patient)) not in named:
        raise PreconditionFailed


@dataclass(frozen=True, slots=True)
class ListedPatient:
    """One patient of a list: the attributes, and the number of facts in each section of the timeline."""

    id: str
    attributes: dict[str, Any]
    counts: dict[str, int]


class Filters(NamedTuple):
    """Which patients a list has; `None`: any. `part`: characters that the identifier contains, in either case."""

    sex: str | None = None
    diagnosis: str | None = None
    part: str | None = None


EVERYBODY = Filters()


def list_patients(
    connection: Connection,
    study_id: str,
    revision: int,
    filters: Filters = EVERYBODY,
    *,
    after: str | None = None,
    limit: int = 100,
) -> list[ListedPatient]:
    """Patients of a study at a revision, in code-point order of their identifiers: at most `limit`, after `after`."""
    study = study_key(connection, study_id)
    required = {"sex": filters.sex, "diagnosis": filters.diagnosis}
    names = tuple(name for name, value in required.items() if value is not None)
    values = [json.dumps(required[name]) for name in names]
    parts = [] if filters.part is None else [filters.part.lower()]
    page = _page(names, bool(parts))
    people = page.rows(connection, study, after or "", limit, revision, *parts, *values)
    ids: dict[int, str] = dict(people)
    attributes: dict[int, dict[str, str]] = {key: {} for key in ids}
    counts: dict[int, dict[str, int]] = {key: dict.fromkeys(SECTIONS.values(), 0) for key in ids}
    for chunk in filled(ids):
        for key, name, value in _attributes(len(chunk)).rows(connection, revision, *chunk):
            attributes[key][name] = value
        for kind, section in SECTIONS.items():
            for key, count in _counts(kind, len(chunk)).rows(connection, revision, *chunk):
                counts[key][section] = count
    return [ListedPatient(patient, _attribute_values(attributes[key]), counts[key]) for key, patient in ids.items()]


def cohort(connection: Connection, study_id: str, revision: int) -> Cohort:
    """Everything that analyses read of a study at a revision. Days are in the time zone that was declared then."""
    return cohort_and_links(connection, study_key(connection, study_id), revision)[0]


def cohort_and_links(connection: Connection, study: int, revision: int) -> tuple[Cohort, dict[str, str]]:
    """The cohort of a study at a revision, and for each merged record the record that it names as the surviving one.

    The rows of some patients after those of others become columns: most of them are never in memory together.
    """
    keys: dict[str, int] = dict(_PATIENTS.rows(connection, study, revision))
    links = {record: json.loads(into) for record, into in _LINKS.rows(connection, study, revision)}
    linked = persons(links, keys)
    merged = {record for records in linked.values() for record in records}
    everybody = sorted(keys.keys() - merged)
    parts = []
    for first in range(0, len(everybody), PERSONS_AT_ONCE):
        some = {person: [person, *linked.get(person, ())] for person in everybody[first : first + PERSONS_AT_ONCE]}
        records = {record: keys[record] for own in some.values() for record in own}
        parts.append(cohort_of_persons(connection, study, revision, some, records))
    whole = [Piece(part, 0, len(part)) for part in parts]
    return Cohort.of_pieces(whole or [Piece(cohort_of_persons(connection, study, revision, {}, {}), 0, 0)]), links


def cohort_of_persons(
    connection: Connection, study: int, revision: int, records_of: Mapping[str, list[str]], keys: Mapping[str, int]
) -> Cohort:
    """The cohort of some persons, each with the records that are read as one; `keys` are those of the records."""
    with gc_paused():
        names = {key: record for record, key in keys.items()}
        attributes_of: dict[str, dict[str, str]] = {record: {} for record in keys}
        rows: dict[str, list[Row]] = {kind: [] for kind in TABLES}
        for chunk in filled(names):
            for key, name, value in _standing_of_keys("attributes", len(chunk)).rows(connection, revision, *chunk):
                attributes_of[names[key]][name] = value
            for kind in TABLES:
                rows[kind] += _standing_of_keys(kind, len(chunk)).rows(connection, revision, *chunk)
        linked = {person: records[1:] for person, records in records_of.items() if len(records) > 1}
        time_zone = zone_of(connection, study, revision)
        waiting = listed_pairs(connection, study, revision, keys)
        if not linked and not waiting and not decided_persons(attributes_of):
            people = [patient_row(patient, attributes) for patient, attributes in attributes_of.items()]
            return Cohort.assemble(people, **rows, time_zone=time_zone, names=names)
        rows = {kind: [(names[row[0]], *row[1:]) for row in found] for kind, found in rows.items()}
        zone = ZoneInfo(time_zone) if time_zone else None
        if linked:
            _join_merged_records(connection, revision, linked, keys, attributes_of, rows, waiting, zone)
        if decided := decided_persons(attributes_of):
            names = {keys[record]: record for person in decided for record in records_of[person]}
            for kind in KIND_OF.values():
                asserted = asserted_facts(connection, kind, revision, names)
                rows[kind] = [row for row in rows[kind] if row[0] not in decided]
                for person, decisions in decided.items():
                    stated = [asserted.get(record, ()) for record in records_of[person]]
                    counting = counted(kind, standing_of(kind, stated), decisions, zone)
                    rows[kind] += rows_of_facts(kind, person, counting)
        pairs = undecided_of(connection, revision, waiting, records_of, keys, decided, zone)
        people = [patient_row(person, stated, pairs.get(person, ())) for person, stated in attributes_of.items()]
        return Cohort.assemble(people, **rows, time_zone=time_zone, names=None)


def decided_persons(attributes_of: Mapping[str, Mapping[str, str]]) -> dict[str, list[Decision]]:
    """The decisions about facts of each person who has some, from the attributes of the persons."""
    found = {person: decisions_in(attributes) for person, attributes in attributes_of.items()}
    return {person: decisions for person, decisions in found.items() if decisions}


def proven_of(kind: str, records: Sequence[Sequence[Any]], decided: Mapping[str, str]) -> dict[str, str]:
    """The decisions that the content of facts of two records of a person makes, as attributes."""
    if len(records) < 2 or kind not in NAMED:
        return {}
    return {fact.identity: fact.value for fact in proven_between(NAMED[kind], records, decided)}


def links_of_keys(connection: Connection, revision: int, keys: Mapping[str, int]) -> dict[str, str]:
    """For each merged record of these, given with their keys, the record that it names as the surviving one."""
    names = {key: record for record, key in keys.items()}
    return {
        names[key]: json.loads(value)
        for chunk in filled(names)
        for key, name, value in _standing_of_keys("attributes", len(chunk)).rows(connection, revision, *chunk)
        if name == MERGED_INTO
    }


def merged_records(connection: Connection, study: int, revision: int) -> tuple[dict[str, list[str]], dict[str, int]]:
    """The merged records of each surviving record of a study at a revision, and the keys of all patients."""
    links = {record: json.loads(into) for record, into in _LINKS.rows(connection, study, revision)}
    keys: dict[str, int] = dict(_PATIENTS.rows(connection, study, revision))
    return persons(links, keys), keys


def cohort_of_person(connection: Connection, study_id: str, patient: str, revision: int) -> Cohort:
    """What `cohort` has of one person; nobody, if this record was merged into another one.

    Only the facts of this person are read. Raises `NotFound` and `Erased`.
    """
    study, _ = find_patient(connection, study_id, patient, revision)
    merged, keys = merged_records(connection, study, revision)
    others = {record for records in merged.values() for record in records}
    records = [] if patient in others else [patient, *merged.get(patient, ())]
    of_person = {patient: records} if records else {}
    return cohort_of_persons(connection, study, revision, of_person, {record: keys[record] for record in records})


def zone_of(connection: Connection, study: int, revision: int) -> str | None:
    """The time zone that a study declares at a revision."""
    zone = TIME_ZONE.row(connection, study, revision)
    return json.loads(zone[0]) if zone else None


def zone_at(connection: Connection, study: int, revision: int) -> ZoneInfo | None:
    """The same as an object."""
    name = zone_of(connection, study, revision)
    return ZoneInfo(name) if name else None


def _join_merged_records(
    connection: Connection,
    revision: int,
    linked: dict[str, list[str]],
    keys: Mapping[str, int],
    attributes_of: dict[str, dict[str, str]],
    rows: dict[str, list[Row]],
    waiting: dict[str, list[Pair]],
    zone: ZoneInfo | None,
) -> None:
    """Replace the records of each linked person by one: the attributes in `attributes_of`, the facts in `rows`, and the
    pairs that wait for a decision in `waiting`, with those of two records.

    For each fact, the assertion that stands is chosen again among all records of the person, also from withdrawals.
    """
    records_of = {survivor: (survivor, *merged) for survivor, merged in linked.items()}
    names = {keys[record]: record for records in records_of.values() for record in records}
    for survivor, records in records_of.items():
        attributes_of[survivor] = stated_as_one([attributes_of.pop(record) for record in records])
        if pairs := [pair for record in records for pair in waiting.pop(record, ())]:
            waiting[survivor] = pairs
    for kind in TABLES:
        asserted = asserted_facts(connection, kind, revision, names)
        rows[kind] = [row for row in rows[kind] if row[0] in attributes_of and row[0] not in linked]
        for survivor, records in records_of.items():
            stated = [asserted.get(record, ()) for record in records]
            rows[kind] += rows_of_facts(kind, survivor, standing(kind, *stated))
            attributes_of[survivor] |= proven_of(kind, stated, attributes_of[survivor])
            if kind in NAMED and (pairs := [*undecided_between(NAMED[kind], stated, attributes_of[survivor], zone)]):
                waiting.setdefault(survivor, []).extend(pairs)


def attributes_of_keys(connection: Connection, revision: int, names: Mapping[int, str]) -> dict[str, dict[str, str]]:
    """The attributes of these patients (by key) by their names, by the identifiers of the patients."""
    stated: dict[str, dict[str, str]] = {}
    for chunk in filled(names):
        for key, name, value in _standing_of_keys("attributes", len(chunk)).rows(connection, revision, *chunk):
            stated.setdefault(names[key], {})[name] = value
    return stated


def sources(connection: Connection, study_id: str, revision: int, cohort: Cohort) -> Sources:
    """The source of each fact of a cohort: its record, number, sender and time. Exports name these.

    The cohort must come from this study at this revision and from the same transaction. Analyses do not read sources.
    """
    study = study_key(connection, study_id)
    if _unmerged(connection, study, revision):
        joined = Sources.joined([found for _, found in cohorts_with_sources(connection, study_id, revision)])
        if any(len(getattr(joined, kind)) != len(getattr(cohort, kind)) for kind in TABLES):
            raise LookupError("the cohort is not of this study at this revision")
        return joined
    with gc_paused():
        keys: dict[str, int] = dict(_PATIENTS.rows(connection, study, revision))
        links = {record: json.loads(into) for record, into in _LINKS.rows(connection, study, revision)}
        merged = persons(links, keys)
        person_of = {record: survivor for survivor, records in merged.items() for record in records}
        records_decided: list[str] = [row[0] for row in _DECIDED.rows(connection, study, revision)]
        decided = [person_of.get(record, record) for record in records_decided]
        apart: dict[str, Sequence[str]] = {**dict.fromkeys(decided, ()), **merged}
        linked = {record for survivor, records in apart.items() for record in (survivor, *records)}
        zone = zone_at(connection, study, revision)
        by_kind = {
            kind: [
                *(source for source in _unlinked(connection, study, revision, kind) if source.record not in linked),
                *_of_persons(connection, revision, kind, keys, apart, zone),
            ]
            for kind in TABLES
        }
        return aligned(cohort, by_kind, merged)


def cohorts_with_sources(connection: Connection, study_id: str, revision: int) -> Iterator[tuple[Cohort, Sources]]:
    """The cohort and its sources in parts of some persons each, in order, at least one: memory does not grow with the
    study. A study with merged records is one part.
    """
    study = study_key(connection, study_id)
    names = _unmerged(connection, study, revision)
    if not names:
        whole = cohort(connection, study_id, revision)
        yield whole, sources(connection, study_id, revision, whole)
        return
    zone = zone_at(connection, study, revision)
    for first, stop in pairwise([0, *range(FIRST_PERSONS, len(names), PERSONS_WITH_SOURCES), len(names)]):
        with gc_paused():
            part = _part(connection, study, revision, names[first:stop], zone)
        yield part


def _unmerged(connection: Connection, study: int, revision: int) -> list[str]:
    """The patients of a study in the order of the cohort; nobody if records were merged."""
    merged = _LINKS.row(connection, study, revision)
    return [] if merged else sorted(name for name, _ in _PATIENTS.rows(connection, study, revision))


def _part(
    connection: Connection, study: int, revision: int, names: list[str], zone: ZoneInfo | None
) -> tuple[Cohort, Sources]:
    """The cohort of some neighbouring persons without merged records, and its sources.

    Of equal rows the first has the first address.
    """
    between = (study, revision, names[0], names[-1])
    place = {name: number for number, name in enumerate(names)}
    attributes: dict[str, dict[str, str]] = {name: {} for name in names}
    for record, name, value in _ATTRIBUTES_BETWEEN.rows(connection, *between):
        attributes[record][name] = value
    tables: dict[str, Any] = {}
    found_at: dict[str, Words] = {}
    said, waiting = decided_persons(attributes), listed_pairs(connection, study, revision, names)
    apart = dict.fromkeys(said, ())
    keys: dict[str, int] = dict(_PATIENTS.rows(connection, study, revision)) if apart or waiting else {}
    pairs = undecided_of(connection, revision, waiting, {name: [name] for name in waiting}, keys, said, zone)
    for kind, table in TABLES.items():
        facts = _SOURCES_BETWEEN[kind].rows(connection, *between)
        if apart:
            decided = _of_persons(connection, revision, kind, keys, apart, zone)
            facts = [fact for fact in facts if fact[0] not in apart]
            facts += [(each.record, each.id, each.source, each.time, *each.content) for each in decided]
        record, number, source, time, *content = columns_of(facts, 4 + len(_CONTENT[kind]))
        if kind == "medications":
            time = [_time_text(day) for day in time]
        where = addresses(kind, record, number, source, time, content)
        rank = np.empty(len(where), dtype=np.int64)
        rank[sorted(range(len(where)), key=where.__getitem__)] = np.arange(len(where))
        tables[kind], order = table.in_order(record, content, place, zone, rank)
        found_at[kind] = words_of(where)[order]
    people = tuple(patient_row(name, attributes[name], pairs.get(name, ())) for name in names)
    return (
        Cohort(people, **tables, zoned=zone is not None),
        Sources(**found_at, records=tuple((name,) for name in names)),
    )


def records_of_persons(connection: Connection, study_id: str, revision: int) -> dict[str, list[str]]:
    """The records of each person of a study at a revision, in the order of a cohort: the surviving record, which names
    the person, and those that were merged into it.
    """
    study = study_key(connection, study_id)
    merged, keys = merged_records(connection, study, revision)
    others = {record for records in merged.values() for record in records}
    return {person: [person, *merged.get(person, ())] for person in sorted(keys.keys() - others)}


def facts_of_rows(
    connection: Connection, study_id: str, revision: int, kind: str, cohort: Cohort, records: Mapping[str, list[str]]
) -> list[tuple[str, str | None]]:
    """The address of the fact of each row of one kind of a cohort of few persons, and its time as written.

    The cohort must come from this study at this revision; `records` are those of each of its persons
    (`records_of_persons`).
    """
    study = study_key(connection, study_id)
    keys: dict[str, int] = dict(_PATIENTS.rows(connection, study, revision))
    merged = {person: own[1:] for person, own in records.items()}
    zone = zone_at(connection, study, revision)
    return aligned_facts(kind, cohort, _of_persons(connection, revision, kind, keys, merged, zone))


def _unlinked(connection: Connection, study: int, revision: int, kind: str) -> Iterator[Source]:
    for record, number, source, time, *content in _SOURCES[kind].rows(connection, study, revision):
        yield Source(record, record, tuple(content), number, source, _time_text(time))


def _of_persons(
    connection: Connection,
    revision: int,
    kind: str,
    keys: Mapping[str, int],
    merged: Mapping[str, Sequence[str]],
    zone: ZoneInfo | None,
) -> Iterator[Source]:
    """The sources of the facts that count, chosen among all records of each person, by the decisions about them."""
    names = {keys[record]: record for survivor, records in merged.items() for record in (survivor, *records)}
    facts = asserted_facts(connection, kind, revision, names) if names else {}
    stated = attributes_of_keys(connection, revision, names) if kind in NAMED else {}
    for survivor, records in merged.items():
        asserted = {record: facts.get(record, ()) for record in (survivor, *records)}
        record_of = {id(fact): record for record, mine in asserted.items() for fact in mine}
        said = stated_as_one([stated.get(record, {}) for record in asserted])
        decisions = decisions_in(said | proven_of(kind, list(asserted.values()), said))
        for fact in counted(kind, standing_of(kind, list(asserted.values())), decisions, zone):
            content = content_of(kind, fact)
            if content is not None:
                time = _time_text(getattr(fact, _TIME_OF.get(kind, "time")))
                yield Source(survivor, record_of[id(fact)], content, fact.id, fact.source, time)


def _time_text(time: str | int | None) -> str | None:
    """A time as text, as it was written. A medication has a day number."""
    return day_text(time) if isinstance(time, int) else time


_TIME_OF = {"medications": "start_day", "events": "onset"}
"""The field with the time of a fact as it was written, for kinds where it is not `time`."""


def _standing_of(kind: str, *names: str, between: bool = False) -> Query:
    """The query for the facts of a kind that stand and that analyses read: the patient and these fields. With
    `between` only those of the patients from a `first` to a `last` one.
    """
    table, _ = FACTS[kind]
    clause = (
        select(patients.c.id, *read_columns(table, names))
        .join_from(patients, table, table.c.patient_key == patients.c.key)
        .where(patients.c.study == bindparam("study"), stands_at(table), shown(table))
    )
    if not between:
        return Query(clause, "study", "revision")
    clause = clause.where(patients.c.id >= bindparam("first"), patients.c.id <= bindparam("last"))
    return Query(clause, "study", "revision", "first", "last")


_CONTENT = {kind: [field.name for field in found] for kind, found in READ_BY_ANALYSES.items()}
_SOURCED = {kind: ("id", "source", _TIME_OF.get(kind, "time"), *_CONTENT[kind]) for kind in TABLES}
_SOURCES = {kind: _standing_of(kind, *names) for kind, names in _SOURCED.items()}
_SOURCES_BETWEEN = {kind: _standing_of(kind, *names, between=True) for kind, names in _SOURCED.items()}
_ATTRIBUTES_BETWEEN = _standing_of("attributes", *_CONTENT["attributes"], between=True)


@cache
def _standing_of_keys(kind: str, length: int) -> Query:
    """The query for the facts that analyses read of the patients with these keys."""
    table, _ = FACTS[kind]
    clause = select(table.c.patient_key, *read_columns(table, _CONTENT[kind])).where(
        table.c.patient_key.in_(listed(length)), stands_at(table), shown(table)
    )
    return Query(clause, "revision", *listed_names(length))


_PATIENTS = Query(
    select(patients.c.id, patients.c.key).where(
        patients.c.study == bindparam("study"), patients.c.first_revision <= bindparam("revision")
    ),
    "study",
    "revision",
)
_DECIDED = Query(
    select(patients.c.id)
    .join_from(patients, patient_attributes, patient_attributes.c.patient_key == patients.c.key)
    .where(
        patients.c.study == bindparam("study"),
        patient_attributes.c.identity.startswith(PREFIX),
        stands_at(patient_attributes),
        shown(patient_attributes),
    ),
    "study",
    "revision",
)
"""The patients with a decision about facts that may be the same."""
_LINKS = Query(
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


@cache
def _page(filters: tuple[str, ...], of_a_part: bool) -> Query:
    """The patients after an identifier: the index of the identifiers is read in order until the page is full."""
    clause = select(patients.c.key, patients.c.id).where(
        patients.c.study == bindparam("study"),
        patients.c.id > bindparam("after"),
        patients.c.first_revision <= bindparam("revision"),
    )
    if of_a_part:
        clause = clause.where(func.lower(patients.c.id).contains(bindparam("part")))
    for name in filters:
        attribute: Any = patient_attributes.alias(name)
        clause = clause.where(
            exists().where(
                attribute.c.patient_key == patients.c.key,
                attribute.c.identity == name,
                attribute.c.value == bindparam(f"value_of_{name}"),
                stands_at(attribute),
                shown(attribute),
            )
        )
    clause = clause.order_by(patients.c.id).limit(bindparam("limit"))
    parts = ["part"] if of_a_part else []
    return Query(clause, "study", "after", "limit", "revision", *parts, *[f"value_of_{name}" for name in filters])


@cache
def _attributes(length: int) -> Query:
    table = patient_attributes
    clause = select(table.c.patient_key, table.c.identity, table.c.value).where(
        table.c.patient_key.in_(listed(length)), stands_at(table), shown(table)
    )
    return Query(clause, "revision", *listed_names(length))


@cache
def _counts(kind: str, length: int) -> Query:
    table, _ = FACTS[kind]
    clause = (
        select(table.c.patient_key, func.count())
        .where(table.c.patient_key.in_(listed(length)), stands_at(table), shown(table))
        .group_by(table.c.patient_key)
    )
    return Query(clause, "revision", *listed_names(length))
