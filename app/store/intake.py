"""The intake of a study: how much of what arrived, from which sender and in which format.

These are counts for the operators of a feed. They are not part of revisions, and no hash covers them. They hold no
values and no numbers of persons. The number of rows of a study is limited: what has no row of its own is counted
together.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from app.store.queries import Query, Row
from app.store.tables import intake, studies

MOST_NAMED = 1_000
"""The largest number of rows of a study that have a code of a sender."""
MOST_PLAIN = 1_000
"""The largest number of its other rows."""
MOST_AT_ONCE = 100
"""The largest number of rows that one submission changes."""
OTHER = "other"
"""The reason of rows that count together what has no row of its own."""
_LONGEST = 300


class Arrival(NamedTuple):
    """What a row counts. `subject` is a disposition, `noted`, or what a study could declare: a unit, a character set.

    `reason` is that of the receipt, or the code of a note or fault. `code` is `system|code`, or the unit, character set
    or authority as it was sent. `suggests` is what it might mean. A text is empty if there is none.
    """

    sender: str
    format: str
    subject: str
    reason: str = ""
    code: str = ""
    suggests: str | None = None


class ArrivalCount(NamedTuple):
    """A row: what arrived, how often, and when first and last (microseconds since 1970)."""

    arrival: Arrival
    times: int
    first_seen: int
    last_seen: int


_STUDY: Any = select(studies.c.key).where(studies.c.id == bindparam("of_study"))
_KEY = ("sender", "format", "subject", "reason", "code")
_THIS = [intake.c[name] == bindparam(f"the_{name}") for name in _KEY]
_ADD = Query(
    intake.update()
    .where(intake.c.study == _STUDY.scalar_subquery(), *_THIS)
    .values(count=intake.c.count + bindparam("more"), last_seen=bindparam("seen")),
    "more", "seen", "of_study", *[f"the_{name}" for name in _KEY],
)  # fmt: skip


def _insertion(insert: Callable[..., Any]) -> Query:
    values: list[Any] = [bindparam(f"the_{name}") for name in (*_KEY, "suggests")]
    row = select(
        studies.c.key, *values, bindparam("more"), bindparam("seen"), bindparam("seen").label("last")
    ).where(studies.c.id == bindparam("of_study"))  # fmt: skip
    clause = insert(intake).from_select([column.name for column in intake.columns], row)
    clause = clause.on_conflict_do_update(
        index_elements=["study", *_KEY],
        set_={"count": intake.c.count + clause.excluded.count, "last_seen": clause.excluded.last_seen},
    )
    return Query(clause, *[f"the_{name}" for name in (*_KEY, "suggests")], "more", "seen", "of_study")


_INSERT = {"sqlite": _insertion(sqlite.insert), "postgresql": _insertion(postgresql.insert)}


def _count(condition: Any) -> Query:  # noqa: ANN401 - a condition of SQL
    clause = select(func.count()).where(intake.c.study == _STUDY.scalar_subquery(), condition)
    return Query(clause, "of_study")


_NAMED_ROWS, _PLAIN_ROWS = _count(intake.c.code != literal("")), _count(intake.c.code == literal(""))
_ROWS = Query(
    select(*[intake.c[name] for name in (*_KEY, "suggests", "count", "first_seen", "last_seen")])
    .where(intake.c.study == bindparam("of_study"))
    .order_by(*[intake.c[name] for name in _KEY]),
    "of_study",
)


def add(connection: Connection, study_id: str, arrived: Mapping[Arrival, int], seen: int) -> None:
    """Add to the counts of a study. Nothing happens if there is no such study.

    Rows are changed in one order, so that two transactions cannot wait for each other.
    """
    for arrival, count in sorted(_limited(arrived).items(), key=lambda item: item[0][:5]):
        _add(connection, study_id, arrival, count, seen)


def counts_of(connection: Connection, study: int) -> list[ArrivalCount]:
    """All counts of a study (given by its key), by sender and format."""
    return [ArrivalCount(Arrival(*row[:6]), *row[6:]) for row in _ROWS.rows(connection, study)]


def _add(connection: Connection, study_id: str, arrival: Arrival, count: int, seen: int) -> None:
    if _ADD.run(connection, count, seen, study_id, *arrival[:5]):
        return
    limit, query = (MOST_NAMED, _NAMED_ROWS) if arrival.code else (MOST_PLAIN, _PLAIN_ROWS)
    found: Row = query.rows(connection, study_id)[0]
    if found[0] >= limit:
        arrival = _together(arrival)
        if _ADD.run(connection, count, seen, study_id, *arrival[:5]):
            return
    _INSERT[connection.dialect.name].run(connection, *arrival, count, seen, study_id)


def _limited(arrived: Mapping[Arrival, int]) -> Mapping[Arrival, int]:
    """The counts with texts that can be stored, the rarest together if there are many."""
    tidy: Counter[Arrival] = Counter()
    for arrival, count in arrived.items():
        tidy[_tidied(arrival)] += count
    if len(tidy) > MOST_AT_ONCE:
        frequent = tidy.most_common()
        tidy = Counter(dict(frequent[:MOST_AT_ONCE]))
        for arrival, count in frequent[MOST_AT_ONCE:]:
            tidy[_together(arrival)] += count
    return tidy


def _tidied(arrival: Arrival) -> Arrival:
    if all(len(text) <= _LONGEST and (text.isprintable() or not text) for text in arrival[:5]):
        return arrival
    return _together(arrival)


def _together(arrival: Arrival) -> Arrival:
    return Arrival("", arrival.format, arrival.subject, OTHER)
