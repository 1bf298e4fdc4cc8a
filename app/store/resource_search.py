"""Searching facts as resources: filtered in SQL, at one revision, a page at a time.

A page begins behind the last resource of the page before, by (kind, patient, identity). That is the order in which the
tables lie, so that neither earlier pages nor, where patients are named, other patients are read.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    case,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)

from app.errors import Erased
from app.store.fact_tables import FACT_TABLES, LATEST, shown, stands_at
from app.store.queries import Query, Row, filled, listed, listed_names
from app.store.resources import Identities, locate, patient_key
from app.store.studies import study_key
from app.store.tables import FACTS, patient_attributes, patients, revisions
from app.timeline.facts import KINDS, AttributeFact, attribute
from app.timeline.resource import KINDS_OF, StoredResource, SupportedType
from app.timeline.times import DAY_MICROSECONDS
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]
PREFIXES: tuple[Prefix, ...] = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
Scope = Literal["exact", "patient", "study"]


class Bound(NamedTuple):
    """A comparison of a time with the range from `low` up to, not including, `high`, in days or in microseconds since
    1970: a time is a range, too, as FHIR has it (a date is a whole day).
    """

    unit: Literal["day", "instant"]
    prefix: Prefix
    low: int
    high: int


class Number(NamedTuple):
    """A sender's number: any of `ids` (`None`: whatever it is) given by `source` (`None`: whoever gave it)."""

    source: str | None
    ids: tuple[str, ...] | None
    without_source: bool = False


@dataclass(frozen=True, slots=True)
class Criteria:
    """What is searched for; `None` and empty tuples of `dates` and `updated` leave a question open.

    `patients` are subject identifiers, `ids` identifiers of resources, `codes` and `statuses` our own words. `dates`
    is about when something happened, `updated` about when the revision that stored it was received.
    """

    resource: SupportedType
    patients: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    codes: tuple[str, ...] | None = None
    statuses: tuple[str, ...] | None = None
    numbers: tuple[Number, ...] | None = None
    dates: tuple[Bound, ...] = ()
    updated: tuple[Bound, ...] = ()


class _FactPlace(NamedTuple):
    """Where a fact stands in the order of a search."""

    kind: str
    patient: str
    key: int
    identity: str


class _Run(NamedTuple):
    """One statement of a search: the facts of one patient (`owner` is the key) or of the patients of a study behind
    the place `after`; with the scope `exact` the fact of that identity.
    """

    scope: Scope
    owner: int
    after: str


@dataclass(frozen=True, slots=True)
class _Question:
    """Criteria in a study at a revision, with times of receipt as revisions."""

    connection: Connection
    study_id: str
    study: int
    revision: int
    criteria: Criteria
    updated: tuple[Bound, ...]
    identities: Identities


def search(
    connection: Connection, study_id: str, criteria: Criteria, revision: int, *, after: str | None = None, limit: int
) -> list[StoredResource]:
    """What stands at a revision and meets the criteria: at most `limit` resources, those behind `after`, the identifier
    of a resource of an earlier page.

    Withdrawn facts are left out unless `statuses` names their status.
    """
    question = _question(connection, study_id, criteria, revision)
    if criteria.resource == "Patient":
        return _patients(question, after or "", limit)
    start = None if after is None else _place(question, after)
    if after is not None and start is None:
        return []
    rows: list[tuple[str, Row]] = []
    for kind in _kinds(criteria):
        if start is not None and KINDS.index(kind) < KINDS.index(start.kind):
            continue
        columns = _columns(kind)
        for run in _runs(question, kind, start if start is not None and start.kind == kind else None):
            left = limit - len(rows)
            if left <= 0:
                break
            statement = _statement(question, kind, run.scope, columns)
            rows += [(kind, row) for row in statement.rows(connection, run.owner, run.after, left)]
    return _found(question, rows)


def count(connection: Connection, study_id: str, criteria: Criteria, revision: int) -> int:
    """How many resources stand at a revision and meet the criteria."""
    question = _question(connection, study_id, criteria, revision)
    if criteria.resource == "Patient":
        return len(_patient_rows(question, "", LATEST))
    total = 0
    for kind in _kinds(criteria):
        for run in _runs(question, kind, None):
            row = _statement(question, kind, run.scope, None).row(connection, run.owner, run.after)
            total += row[0] if row else 0
    return total


def _question(connection: Connection, study_id: str, criteria: Criteria, revision: int) -> _Question:
    study = study_key(connection, study_id)
    updated = tuple(
        bound._replace(low=_first_since(connection, study, bound.low), high=_first_since(connection, study, bound.high))
        for bound in criteria.updated
    )
    return _Question(connection, study_id, study, revision, criteria, updated, Identities(connection))


def _kinds(criteria: Criteria) -> Iterator[str]:
    """The kinds of facts that can meet the criteria, in their order."""
    for kind in KINDS_OF[criteria.resource]:
        words: Sequence[str] | None = _WORDS.get(kind)
        if criteria.codes is None or words is None or not set(words).isdisjoint(criteria.codes):
            yield kind


_WORDS: dict[str, Sequence[str]] = {"labs": LAB_CODES, "assessments": ASSESSMENT_CODES}


def _runs(question: _Question, kind: str, start: _FactPlace | None) -> Iterator[_Run]:
    """What to ask for, in order, behind the place where an earlier page ended."""
    criteria, begin = question.criteria, start.patient if start else ""
    if criteria.ids is not None:
        places = {place for name in criteria.ids if (place := _place(question, name)) is not None}
        for place in sorted(places):
            wanted = criteria.patients is None or place.patient in criteria.patients
            if wanted and place.kind == kind and (start is None or place > start):
                yield _Run("exact", place.key, place.identity)
    elif criteria.patients is not None:
        for patient in sorted(set(criteria.patients)):
            key = patient_key(question.connection, question.study, patient) if patient >= begin else None
            if key is not None:
                yield _Run("patient", key, start.identity if start and patient == begin else "")
    else:
        if start is not None:
            yield _Run("patient", start.key, start.identity)
        yield _Run("study", question.study, begin)


def _statement(question: _Question, kind: str, scope: Scope, columns: list[Any] | None) -> Query:
    """The facts of a run (parameters owner, after, limit), or how many they are (owner, after) without columns."""
    table = FACTS[kind][0]
    owner: Any = bindparam("owner")
    after: Any = bindparam("after")
    place: tuple[ColumnElement[bool], ...] = {
        "exact": (table.c.patient_key == owner, table.c.identity == after),
        "patient": (table.c.patient_key == owner, table.c.identity > after),
        "study": (patients.c.study == owner, patients.c.id > after),
    }[scope]
    clause: Any = select(*columns) if columns else select(func.count())
    clause = clause.select_from(patients.join(table, table.c.patient_key == patients.c.key))
    clause = clause.where(*place, *_conditions(question, kind, table))
    if columns is None:
        return Query(clause, "owner", "after")
    ordered = clause.order_by(patients.c.id, table.c.identity).limit(bindparam("limit"))
    return Query(ordered, "owner", "after", "limit")


def _columns(kind: str) -> list[Any]:
    table, fact = FACTS[kind]
    return [patients.c.id, patients.c.key, table.c.added, table.c.ordinal, *[table.c[name] for name in fact._fields]]


def _conditions(question: _Question, kind: str, table: Table) -> Iterator[ColumnElement[bool]]:
    criteria = question.criteria
    yield table.c.added <= question.revision
    yield or_(table.c.removed.is_(None), table.c.removed > question.revision)
    yield shown(table) if criteria.statuses is None else _among(table.c.status, criteria.statuses)
    if criteria.codes is not None:
        yield _among(table.c["product" if kind == "infusions" else "code"], criteria.codes)
    if criteria.numbers is not None:
        yield or_(false(), *[_numbered(table, number) for number in criteria.numbers])
    for bound in criteria.dates:
        yield _compared(*_span(table, bound.unit), bound)
    for bound in question.updated:
        yield _compared(table.c.added, table.c.added + 1, bound)


def _among(column: ColumnElement[Any], words: Sequence[str]) -> ColumnElement[bool]:
    return column.in_([literal(word) for word in words]) if words else false()


def _numbered(table: Table, number: Number) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [table.c.id.is_not(None)]
    if number.ids is not None:
        conditions.append(_among(table.c.id, number.ids))
    if number.source is not None:
        conditions.append(table.c.source == literal(number.source))
    elif number.without_source:
        conditions.append(table.c.source.is_(None))
    return and_(*conditions)


def _span(table: Table, unit: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """The range that a fact's time is: its day as it was written, or its instant; a date is the whole day in UTC."""
    day = table.c.day
    if unit == "day":
        return day, day + 1
    instant = table.c.instant
    return func.coalesce(instant, day * DAY_MICROSECONDS), func.coalesce(instant + 1, (day + 1) * DAY_MICROSECONDS)


def _compared(low: ColumnElement[Any], high: ColumnElement[Any], bound: Bound) -> ColumnElement[bool]:
    """FHIR R4, section 3.1.1.5.4: the range from `low` to `high` of a resource beside the range that was asked for."""
    inside = and_(low >= bound.low, high <= bound.high)
    compared: dict[str, ColumnElement[bool]] = {
        "eq": inside,
        "ne": not_(inside),
        "gt": high > bound.high,
        "lt": low < bound.low,
        "ge": or_(high > bound.high, inside),
        "le": or_(low < bound.low, inside),
        "sa": low >= bound.high,
        "eb": high <= bound.low,
    }
    return compared[bound.prefix]


def _place(question: _Question, name: str) -> _FactPlace | None:
    """Where the fact with this identifier stands; nowhere if its person has been erased."""
    try:
        found = locate(question.connection, question.study_id, question.criteria.resource, name, question.identities)
    except Erased:
        return None
    return None if found is None else _FactPlace(*found)


def _found(question: _Question, rows: Sequence[tuple[str, Row]]) -> list[StoredResource]:
    received = _received(question, [row[2] for _, row in rows])
    found = []
    for kind, (who, key, added, ordinal, *fact) in rows:
        make: Any = FACTS[kind][1]
        plain = make(*FACT_TABLES[kind].plain(tuple(fact)))
        found.append(StoredResource(who, key, kind, plain, added, received[added], ordinal=ordinal))
    return found


def _received(question: _Question, numbers: Iterable[int]) -> dict[int, int]:
    """When each of these revisions was received."""
    received: dict[int, int] = {}
    for chunk in filled(sorted(set(numbers))):
        received.update(_received_of(len(chunk)).rows(question.connection, question.study, *chunk))
    return received


@cache
def _received_of(length: int) -> Query:
    clause = select(revisions.c.number, revisions.c.received_at).where(
        revisions.c.study == bindparam("study"), revisions.c.number.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


def _first_since(connection: Connection, study: int, instant: int) -> int:
    """The first revision received at an instant or later; the one to come where there is none."""
    row = _LAST_BEFORE.row(connection, study, min(max(instant, -LATEST), LATEST))
    return 0 if row is None else int(row[0]) + 1


_LAST_BEFORE = Query(
    select(revisions.c.number)
    .where(revisions.c.study == bindparam("study"), revisions.c.received_at < bindparam("instant"))
    .order_by(revisions.c.number.desc())
    .limit(1),
    "study",
    "instant",
)


def _patients(question: _Question, after: str, limit: int) -> list[StoredResource]:
    rows = _patient_rows(question, after, limit)
    stated: dict[int, list[AttributeFact]] = {key: [] for _, key, _ in rows}
    for chunk in filled(stated):
        for key, name, value in _attributes(len(chunk)).rows(question.connection, question.revision, *chunk):
            stated[key].append(attribute(name, value))
    received = _received(question, [changed for _, _, changed in rows])
    return [
        StoredResource(who, key, "patient", None, changed, received[changed], attributes=tuple(stated[key]))
        for who, key, changed in rows
    ]


def _patient_rows(question: _Question, after: str, limit: int) -> list[Row]:
    """Identifier, key and the revision of the last change of each patient."""
    criteria, table, revision = question.criteria, patient_attributes, question.revision
    change = case((table.c.removed <= revision, table.c.removed), else_=table.c.added)
    latest = (
        select(func.max(change))
        .where(table.c.patient_key == patients.c.key, table.c.added <= revision)
        .scalar_subquery()
    )
    changed = func.coalesce(latest, patients.c.first_revision)
    clause = select(patients.c.id, patients.c.key, changed).where(
        patients.c.study == bindparam("study"),
        patients.c.id > bindparam("after"),
        patients.c.first_revision <= revision,
        *[_among(patients.c.id, names) for names in (criteria.ids, criteria.patients) if names is not None],
        *[_compared(changed, changed + 1, bound) for bound in question.updated],
    )
    ordered = clause.order_by(patients.c.id).limit(bindparam("limit"))
    return Query(ordered, "study", "after", "limit").rows(question.connection, question.study, after, limit)


@cache
def _attributes(length: int) -> Query:
    table = patient_attributes
    clause = (
        select(table.c.patient_key, table.c.identity, table.c.value)
        .where(table.c.patient_key.in_(listed(length)), stands_at(table), shown(table))
        .order_by(table.c.patient_key, table.c.identity)
    )
    return Query(clause, "revision", *listed_names(length))
