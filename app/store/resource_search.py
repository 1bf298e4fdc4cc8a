"""Search facts as FHIR resources: filtered in SQL, at one revision, one page at a time.

A page begins after the last resource of the page before, in the order (kind, patient, identity). The tables have the
same order, so a page does not read earlier pages; and a search for some patients does not read other patients.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    BigInteger,
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
    true,
)

from app.errors import Erased
from app.store.fact_tables import FACT_TABLES, LATEST, ordered, shown, stands_at, when
from app.store.queries import Query, Row, filled, listed, listed_names
from app.store.resources import Identities, locate, patient_key
from app.store.studies import study_key
from app.store.tables import FACTS, patient_attributes, patients, revisions
from app.timeline.facts import KINDS, AttributeFact, attribute
from app.timeline.resource import KINDS_OF, StoredResource, SupportedType
from app.timeline.times import DAY_MICROSECONDS, NO_DAY
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]
Scope = Literal["exact", "patient", "study"]
Order = Literal["time", "received"]
"""What resources may be sorted by: the time of the fact, or the revision that stored the version."""


class Bound(NamedTuple):
    """A comparison of a time with the range from `low` to `high`, without `high` itself.

    The unit is days or microseconds since 1970. The time of a resource is a range as well, as in FHIR: a date is a
    whole day.
    """

    unit: Literal["day", "instant"]
    prefix: Prefix
    low: int
    high: int


class Number(NamedTuple):
    """The number of a sender: one of `ids` (`None`: any number), given by `source` (`None`: any source).

    With `without_source`, only facts that have no source.
    """

    source: str | None
    ids: tuple[str, ...] | None
    without_source: bool = False


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a resource must meet. `None`, and empty `dates` and `updated`, exclude nothing.

    `patients` are identifiers of patients, `ids` are identifiers of resources, `codes` and `statuses` are words of the
    vocabulary, `kinds` kinds of facts. `dates` compares the time of the fact, `updated` the time of receipt of the
    revision that stored it. Without an `order` resources are in the order of the tables; with `backwards` the latest
    comes first.
    """

    resource: SupportedType
    patients: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    codes: tuple[str, ...] | None = None
    statuses: tuple[str, ...] | None = None
    numbers: tuple[Number, ...] | None = None
    dates: tuple[Bound, ...] = ()
    updated: tuple[Bound, ...] = ()
    kinds: tuple[str, ...] | None = None
    order: Order | None = None
    backwards: bool = False


class _FactPlace(NamedTuple):
    """The place of a fact in the order of a search. Draws of one number are in the order in which they were stored."""

    kind: str
    patient: str
    key: int
    identity: str
    draw: str
    added: int
    ordinal: int


class _Run(NamedTuple):
    """One query of a search, after the place `after`.

    The scope says what `owner` and `after` are: for `patient` the key of a patient and an identity, for `study` the key
    of a study and the identifier of a patient, for `exact` the key of a patient and the identity of the only fact.
    `place` is that of this fact, if there is one.
    """

    scope: Scope
    owner: int
    after: str
    place: _FactPlace | None = None


@dataclass(frozen=True, slots=True)
class _Search:
    """Criteria for a study at a revision. `updated` has revisions in the place of times of receipt."""

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
    """Resources that stand at a revision and meet the criteria: at most `limit`, after the resource `after`.

    `after` is the identifier of the last resource of the page before. Withdrawn facts are left out unless `statuses`
    has their status.
    """
    prepared = _begin(connection, study_id, criteria, revision)
    if criteria.resource == "Patient":
        return _patients(prepared, after or "", limit)
    if criteria.order is not None:
        return _in_order(prepared, after, limit)
    start = None if after is None else _place(prepared, after)
    if after is not None and start is None:
        return []
    rows: list[tuple[str, Row]] = []
    for kind in _kinds(criteria):
        if start is not None and KINDS.index(kind) < KINDS.index(start.kind):
            continue
        columns = _columns(kind)
        for run in _runs(prepared, kind, start if start is not None and start.kind == kind else None):
            left = limit - len(rows)
            if left <= 0:
                break
            query = _query(prepared, kind, run.scope, columns, run.place)
            rows += [(kind, row) for row in query.rows(connection, run.owner, run.after, left)]
    return _resources(prepared, rows)


def count(connection: Connection, study_id: str, criteria: Criteria, revision: int) -> int:
    """How many resources stand at a revision and meet the criteria."""
    prepared = _begin(connection, study_id, criteria, revision)
    if criteria.resource == "Patient":
        return len(_patient_rows(prepared, "", LATEST))
    total = 0
    for kind in _kinds(criteria):
        for run in _runs(prepared, kind, None):
            row = _query(prepared, kind, run.scope, None, run.place).row(connection, run.owner, run.after)
            total += row[0] if row else 0
    return total


def _begin(connection: Connection, study_id: str, criteria: Criteria, revision: int) -> _Search:
    study = study_key(connection, study_id)
    updated = tuple(
        bound._replace(low=_first_since(connection, study, bound.low), high=_first_since(connection, study, bound.high))
        for bound in criteria.updated
    )
    return _Search(connection, study_id, study, revision, criteria, updated, Identities(connection))


def _kinds(criteria: Criteria) -> Iterator[str]:
    """The kinds of facts that may meet the criteria, in order."""
    for kind in KINDS_OF[criteria.resource]:
        words: Sequence[str] | None = _WORDS.get(kind)
        if criteria.kinds is not None and kind not in criteria.kinds:
            continue
        if criteria.codes is None or words is None or not set(words).isdisjoint(criteria.codes):
            yield kind


_WORDS: dict[str, Sequence[str]] = {"labs": LAB_CODES, "assessments": ASSESSMENT_CODES}


def _runs(prepared: _Search, kind: str, start: _FactPlace | None) -> Iterator[_Run]:
    """The queries to run, in order, after the place where the page before ended."""
    criteria, begin = prepared.criteria, start.patient if start else ""
    if criteria.ids is not None:
        places = {place for name in criteria.ids if (place := _place(prepared, name)) is not None}
        for place in sorted(places):
            in_patients = criteria.patients is None or place.patient in criteria.patients
            if in_patients and place.kind == kind and (start is None or place > start):
                yield _Run("exact", place.key, place.identity, place)
    elif criteria.patients is not None:
        for patient in sorted(set(criteria.patients)):
            key = patient_key(prepared.connection, prepared.study, patient) if patient >= begin else None
            if key is not None:
                resumed = start if start is not None and patient == begin else None
                yield _Run("patient", key, "" if resumed is None else resumed.identity, resumed)
    else:
        if start is not None:
            yield _Run("patient", start.key, start.identity, start)
        yield _Run("study", prepared.study, begin)


def _query(
    prepared: _Search, kind: str, scope: Scope, columns: list[Any] | None, fact: _FactPlace | None = None
) -> Query:
    """The query for the facts of a run (parameters owner, after, limit).

    Without columns it counts them (parameters owner, after).
    """
    table = FACTS[kind][0]
    owner: Any = bindparam("owner")
    after: Any = bindparam("after")
    place: tuple[ColumnElement[bool], ...] = {
        "exact": (
            table.c.patient_key == owner,
            table.c.identity == after,
            table.c.draw == literal(fact.draw if fact else ""),
        ),
        "patient": (
            table.c.patient_key == owner,
            table.c.identity > after if fact is None else _behind(table, after, fact),
        ),
        "study": (patients.c.study == owner, patients.c.id > after),
    }[scope]
    clause: Any = select(*columns) if columns else select(func.count())
    clause = clause.select_from(patients.join(table, table.c.patient_key == patients.c.key))
    clause = clause.where(*place, *_conditions(prepared, kind, table))
    if columns is None:
        return Query(clause, "owner", "after")
    ordered = clause.order_by(patients.c.id, table.c.identity, table.c.added, table.c.ordinal)
    return Query(ordered.limit(bindparam("limit")), "owner", "after", "limit")


def _in_order(prepared: _Search, after: str | None, limit: int) -> list[StoredResource]:
    """The same in the order of the criteria. Equal ones are in the order of the tables.

    There is no index for this: without patients or identifiers, it reads all facts of the study.
    """
    start = None if after is None else _sorted_place(prepared, after)
    if after is not None and start is None:
        return []
    found: list[tuple[tuple[int, int], str, Row]] = []
    for kind in _kinds(prepared.criteria):
        table = FACTS[kind][0]
        key = _sort_key(prepared.criteria, table)
        order = [key, patients.c.id, table.c.identity, table.c.added, table.c.ordinal]
        clause = _among_named(prepared, kind, select(*_columns(kind), key))
        if start is not None:
            value, place = start
            rank = KINDS.index(kind) - KINDS.index(place.kind)
            behind = [value, place.patient, place.identity, place.added, place.ordinal]
            clause = clause.where(_beyond(order, behind) if rank == 0 else key >= value if rank > 0 else key > value)
        query = Query(clause.order_by(*order).limit(bindparam("limit")), "study", "limit")
        for row in query.rows(prepared.connection, prepared.study, limit):
            found.append(((row[-1], KINDS.index(kind)), kind, row[:-1]))
    found.sort(key=lambda each: each[0])  # it is stable
    return _resources(prepared, [(kind, row) for _, kind, row in found[:limit]])


def _among_named(prepared: _Search, kind: str, clause: Any) -> Any:  # noqa: ANN401 - statements of SQLAlchemy
    """The facts of one kind that meet the criteria (parameter study)."""
    table, criteria = FACTS[kind][0], prepared.criteria
    clause = clause.select_from(patients.join(table, table.c.patient_key == patients.c.key))
    clause = clause.where(patients.c.study == bindparam("study"), *_conditions(prepared, kind, table))
    if criteria.patients is not None:
        clause = clause.where(_among(patients.c.id, criteria.patients))
    if criteria.ids is not None:
        places = [place for name in criteria.ids if (place := _place(prepared, name)) is not None]
        clause = clause.where(or_(false(), *[_is_at(table, place) for place in places if place.kind == kind]))
    return clause


def _is_at(table: Table, place: _FactPlace) -> ColumnElement[bool]:
    return and_(
        table.c.patient_key == place.key,
        table.c.identity == literal(place.identity),
        table.c.draw == literal(place.draw),
    )


def _sort_key(criteria: Criteria, table: Table) -> ColumnElement[Any]:
    """What facts are sorted by, always ascending. A fact without a time comes last."""
    day, instant = when(table)
    at: ColumnElement[Any] = table.c.added
    if criteria.order == "time":
        at = func.coalesce(instant, day * DAY_MICROSECONDS)
    if criteria.backwards:
        at = -at
    if criteria.order == "received":
        return at
    return case((or_(day == NO_DAY, at.is_(None)), literal(LATEST, BigInteger)), else_=at)


def _sorted_place(prepared: _Search, name: str) -> tuple[int, _FactPlace] | None:
    """What the resource with this identifier is sorted by, and its place; `None` if there is none."""
    place = _place(prepared, name)
    if place is None:
        return None
    table = FACTS[place.kind][0]
    clause = select(_sort_key(prepared.criteria, table)).where(
        _is_at(table, place), table.c.added == place.added, table.c.ordinal == place.ordinal
    )
    row = Query(clause).row(prepared.connection)
    return None if row is None else (row[0], place)


def _beyond(columns: Sequence[ColumnElement[Any]], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether a row is after these values, in the order of the columns."""
    [first, *others], [value, *rest] = columns, values
    here: ColumnElement[bool] = first > value
    if not others:
        return here
    return or_(here, and_(first == value, _beyond(others, rest)))


def _behind(table: Table, identity: Any, place: _FactPlace) -> ColumnElement[bool]:  # noqa: ANN401 - a parameter
    """Whether a row is after a fact, in the order of the table."""
    later = or_(
        table.c.added > literal(place.added),
        and_(table.c.added == literal(place.added), table.c.ordinal > literal(place.ordinal)),
    )
    return and_(table.c.identity >= identity, or_(table.c.identity > identity, later))


def _columns(kind: str) -> list[Any]:
    table, fact = FACTS[kind]
    return [
        patients.c.id,
        patients.c.key,
        table.c.added,
        table.c.ordinal,
        table.c.draw,
        *[table.c[name] for name in fact._fields],
    ]


def _conditions(prepared: _Search, kind: str, table: Table) -> Iterator[ColumnElement[bool]]:
    criteria = prepared.criteria
    yield table.c.added <= prepared.revision
    yield or_(table.c.removed.is_(None), table.c.removed > prepared.revision)
    if kind == "medications":
        yield ordered(table) if criteria.resource == "MedicationRequest" else not_(ordered(table))
    yield shown(table) if criteria.statuses is None else _among(table.c.status, criteria.statuses)
    if criteria.codes is not None:
        yield _among(table.c["product" if kind == "infusions" else "code"], criteria.codes)
    if criteria.numbers is not None:
        yield or_(false(), *[_has_number(table, number) for number in criteria.numbers])
    if criteria.dates:
        yield when(table)[0] != NO_DAY
    for bound in criteria.dates:
        yield _compare(*_span(table, bound.unit), bound)
    for bound in prepared.updated:
        yield _compare(table.c.added, table.c.added + 1, bound)


def _among(column: ColumnElement[Any], words: Sequence[str]) -> ColumnElement[bool]:
    return column.in_([literal(word) for word in words]) if words else false()


def _has_number(table: Table, number: Number) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [table.c.id.is_not(None)]
    if number.ids is not None:
        conditions.append(_among(table.c.id, number.ids))
    if number.source is not None:
        conditions.append(table.c.source == literal(number.source))
    elif number.without_source:
        conditions.append(table.c.source.is_(None))
    return and_(*conditions)


def _span(table: Table, unit: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """The range of the time of a fact: its day as written, or its instant. A date is the whole day in UTC."""
    day, instant = when(table)
    if unit == "day":
        return day, day + 1
    return func.coalesce(instant, day * DAY_MICROSECONDS), func.coalesce(instant + 1, (day + 1) * DAY_MICROSECONDS)


def _compare(low: ColumnElement[Any], high: ColumnElement[Any], bound: Bound) -> ColumnElement[bool]:
    """Compare the range from `low` to `high` of a resource with a bound, by FHIR R4, section 3.1.1.5.4."""
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


def _place(prepared: _Search, name: str) -> _FactPlace | None:
    """The place of the fact with this identifier; `None` if there is none or its person was erased."""
    try:
        found = locate(prepared.connection, prepared.study_id, prepared.criteria.resource, name, prepared.identities)
    except Erased:
        return None
    if found is None:
        return None
    kind, _, key, identity, draw = found
    for row in FACT_TABLES[kind].known(prepared.connection, key, [identity]):
        ended = row.removed is not None and row.removed <= prepared.revision
        if row.draw == draw and row.added <= prepared.revision and not ended:
            return _FactPlace(*found, row.added, row.ordinal)
    return _FactPlace(*found, LATEST, 0)


def _resources(prepared: _Search, rows: Sequence[tuple[str, Row]]) -> list[StoredResource]:
    received = _received(prepared, [row[2] for _, row in rows])
    found = []
    for kind, (who, key, added, ordinal, draw, *fact) in rows:
        make: Any = FACTS[kind][1]
        plain = make(*FACT_TABLES[kind].plain(tuple(fact)))
        found.append(StoredResource(who, key, kind, plain, added, received[added], ordinal=ordinal, draw=draw))
    return found


def _received(prepared: _Search, numbers: Iterable[int]) -> dict[int, int]:
    """The time of receipt of each of these revisions, in microseconds since 1970."""
    received: dict[int, int] = {}
    for chunk in filled(sorted(set(numbers))):
        received.update(_received_of(len(chunk)).rows(prepared.connection, prepared.study, *chunk))
    return received


@cache
def _received_of(length: int) -> Query:
    clause = select(revisions.c.number, revisions.c.received_at).where(
        revisions.c.study == bindparam("study"), revisions.c.number.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


def _first_since(connection: Connection, study: int, instant: int) -> int:
    """The first revision that was received at an instant or later; the number of the next one if there is none."""
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


def _patients(prepared: _Search, after: str, limit: int) -> list[StoredResource]:
    rows = _patient_rows(prepared, after, limit)
    stated: dict[int, list[AttributeFact]] = {key: [] for _, key, _ in rows}
    for chunk in filled(stated):
        for key, name, value in _attributes(len(chunk)).rows(prepared.connection, prepared.revision, *chunk):
            stated[key].append(attribute(name, value))
    received = _received(prepared, [changed for _, _, changed in rows])
    return [
        StoredResource(who, key, "patient", None, changed, received[changed], attributes=tuple(stated[key]))
        for who, key, changed in rows
    ]


def _patient_rows(prepared: _Search, after: str, limit: int) -> list[Row]:
    """The identifier, the key and the revision of the last change of each patient."""
    criteria, table, revision = prepared.criteria, patient_attributes, prepared.revision
    change = case((table.c.removed <= revision, table.c.removed), else_=table.c.added)
    latest = (
        select(func.max(change))
        .where(table.c.patient_key == patients.c.key, table.c.added <= revision)
        .scalar_subquery()
    )
    changed = func.coalesce(latest, patients.c.first_revision)
    order = [patients.c.id]
    behind: ColumnElement[bool] = patients.c.id > bindparam("after")
    if criteria.order is not None:
        key: Any = -changed if criteria.backwards else changed
        order = [key, patients.c.id]
        here = select(key).where(patients.c.study == bindparam("study"), patients.c.id == bindparam("id"))
        start = Query(here, "study", "id").row(prepared.connection, prepared.study, after)
        if after and start is None:
            return []
        behind = true() if start is None else _beyond(order, [start[0], after])
    clause = select(patients.c.id, patients.c.key, changed).where(
        patients.c.study == bindparam("study"),
        behind,
        patients.c.first_revision <= revision,
        *[_among(patients.c.id, names) for names in (criteria.ids, criteria.patients) if names is not None],
        *[_compare(changed, changed + 1, bound) for bound in prepared.updated],
    )
    ordered = clause.order_by(*order).limit(bindparam("limit"))
    return Query(ordered, "study", "after", "limit").rows(prepared.connection, prepared.study, after, limit)


@cache
def _attributes(length: int) -> Query:
    table = patient_attributes
    clause = (
        select(table.c.patient_key, table.c.identity, table.c.value)
        .where(table.c.patient_key.in_(listed(length)), stands_at(table), shown(table))
        .order_by(table.c.patient_key, table.c.identity)
    )
    return Query(clause, "revision", *listed_names(length))
