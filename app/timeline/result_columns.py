"""Laboratory results read by columns: the usual ones, of which nothing has to be said.

Where a result needs a closer look, there are no facts, and `normalize.Reading` reads each by itself. So both ways give
the same facts, and only that one finds faults.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import repeat
from operator import itemgetter
from typing import Annotated, Any

from pydantic import BaseModel, create_model

from app.timeline.document import Document, LabResult, LabSeries, Many
from app.timeline.facts import LabFact
from app.timeline.times import Moments, read_times
from app.timeline.vocabulary import ANALYTES, LAB_CODE_OF, UNITS

_NAMES = (
    "code", "time", "value", "unit", "upper_limit", "lower_limit", "comparator", "source", "id", "status", "lab",
    "issued",
)  # fmt: skip
_OF_FIELDS = itemgetter(*_NAMES)
_OF_MODEL = itemgetter(*_NAMES, "version", "code_text")
_CANONICAL = frozenset(
    (code, unit.spelling)
    for code, analyte in ANALYTES.items()
    for unit in UNITS.values()
    if unit.quantity == analyte.quantity and unit.factor == 1
)
"""Analytes with the units in which their results are stored."""
_make = partial(tuple.__new__, LabFact)


@dataclass(frozen=True, slots=True)
class LabsByColumn:
    """Items of `labs` with the same fields, checked by columns. An item is made a model when somebody asks for it."""

    items: Sequence[dict[str, Any]]
    columns: Mapping[str, Sequence[Any] | None]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[LabResult]:
        return map(LabResult.model_validate, self.items)


def labs_by_column(items: Sequence[Any]) -> LabsByColumn | None:
    """Parsed items by columns; `None` if their fields differ or something is wrong with one of them.

    To check a column takes a quarter of the time of as many models.
    """
    try:
        names = tuple(items[0])
        if {*map(len, items)} != {len(names)}:
            return None
        columns = zip(*map(itemgetter(*names), items), strict=True)
        checked = _model_of_columns().model_validate(dict(zip(names, columns, strict=True)))
    except (LookupError, TypeError, ValueError):
        return None
    return LabsByColumn(items, vars(checked))


@cache
def _model_of_columns() -> type[BaseModel]:
    """The fields of `LabResult`, each as a list of values. It is made when it is needed: so the start is faster."""
    fields: dict[str, Any] = {}
    for name, field in LabResult.model_fields.items():
        element: Any = field.annotation
        for mark in field.metadata:
            element = Annotated[element, mark]
        fields[name] = (Many[element], ...) if field.is_required() else (Many[element] | None, None)
    return create_model("Columns", __base__=Document, **fields)


def facts_of_labs(
    labs: Sequence[LabResult] | Sequence[Mapping[str, Any]] | LabsByColumn, latest: int, born: int
) -> list[LabFact] | None:
    """The facts of the items of `labs`: all given as models, all as fields that a reader of feeds has checked, or by
    column. `None` if one of them needs a closer look.
    """
    rows: Any = labs
    nothing: Any = (None,) * len(labs)
    if isinstance(rows, LabsByColumn):
        *columns, versions, titles = (nothing if each is None else each for each in _OF_MODEL(rows.columns))
    elif isinstance(rows[0], LabResult):
        *columns, versions, titles = zip(*map(_OF_MODEL, map(vars, rows)), strict=True)
    else:
        columns, versions, titles = [*zip(*map(_OF_FIELDS, rows), strict=True)], nothing, nothing
    names, times, values, units, uppers, lowers, comparators, sources, numbers, statuses, labs_named, issued = columns
    if None in values or titles.count(None) < len(titles):
        return None
    codes = [LAB_CODE_OF[name] for name in names]
    if not _CANONICAL.issuperset(zip(codes, units, strict=True)):
        return None
    of_whom = [lab if source is None else source for source, lab in zip(sources, labs_named, strict=True)]
    moments, released = read_times(times, latest, born), _released(issued, latest, born)
    if moments is None or released is None or _reversed(lowers, uppers):
        return None
    identities = _identities(codes, moments, numbers, of_whom)
    return _facts(identities, of_whom, numbers, versions, released, statuses, codes, times, moments, values, uppers,
                  lowers, comparators, units, labs_named)  # fmt: skip


def _released(issued: Sequence[str | None], latest: int, born: int) -> Sequence[int | None] | None:
    """The instants at which results were issued; `None` if one of them needs a closer look."""
    given = [text for text in issued if text is not None]
    if not given:
        return (None,) * len(issued)
    moments = read_times(given, latest, born)
    if moments is None or None in moments.instants:
        return None
    instants = iter(moments.instants)
    return [None if text is None else next(instants) for text in issued]


def facts_of_series(series: LabSeries, latest: int, born: int) -> list[LabFact] | None:
    """The facts of one item of `lab_series`, one for each of its times; `None` if it needs a closer look."""
    code, times = LAB_CODE_OF[series.code], series.times
    count = len(times)
    columns = (series.values, series.upper_limits, series.ids, series.comparators, series.statuses)
    if (code, series.unit) not in _CANONICAL or any(each is not None and len(each) != count for each in columns):
        return None
    empty = (None,) * count
    limits, numbers = series.upper_limits or empty, series.ids or empty
    uppers = [series.upper_limit if upper is None else upper for upper in limits]
    lowers = (series.lower_limit,) * count
    moments = read_times(times, latest, born)
    if moments is None or _reversed((series.lower_limit, *lowers), (series.upper_limit, *uppers)):
        return None
    codes, source = (code,) * count, series.lab if series.source is None else series.source
    sources = (source,) * count
    identities = _identities(codes, moments, numbers, sources)
    statuses, comparators = series.statuses or empty, series.comparators or empty
    return _facts(identities, sources, numbers, empty, empty, statuses, codes, times, moments, series.values, uppers,
                  lowers, comparators, (series.unit,) * count, (series.lab,) * count)  # fmt: skip


def _reversed(lowers: Iterable[float | None], uppers: Iterable[float | None]) -> bool:
    pairs = zip(lowers, uppers, strict=True)
    return any(lower is not None and upper is not None and lower > upper for lower, upper in pairs)


def _identities(
    codes: Sequence[str], moments: Moments, numbers: Sequence[str | None], sources: Sequence[str | None]
) -> list[str]:
    """As `normalize` writes them."""
    rows = zip(codes, moments.days, moments.instants, numbers, sources, strict=True)
    return [
        f"#{number}|{code}|{source or ''}" if number is not None
        else f"@{code}|d{day}|{source or ''}" if instant is None
        else f"@{code}|{instant}|{source or ''}"
        for code, day, instant, number, source in rows
    ]  # fmt: skip


def _facts(
    identities: Sequence[str],
    sources: Sequence[str | None],
    numbers: Sequence[str | None],
    versions: Sequence[int | None],
    issued: Sequence[int | None],
    statuses: Sequence[str | None],
    codes: Sequence[str],
    times: Sequence[str],
    moments: Moments,
    values: Sequence[float],
    uppers: Sequence[float | None],
    lowers: Sequence[float | None],
    comparators: Sequence[str | None],
    units: Sequence[str],
    labs: Sequence[str | None],
) -> list[LabFact]:
    """The facts in the order of their fields. Adding 0.0 turns -0.0 into 0.0."""
    nothing = repeat(None)
    return [
        *map(
            _make,
            zip(
                identities, sources, numbers, versions, issued, [status or "final" for status in statuses], codes,
                times, moments.days, moments.instants, moments.utc, [value + 0.0 for value in values], uppers,
                [None if lower is None else lower + 0.0 for lower in lowers], comparators, units, nothing, nothing,
                nothing, labs, strict=False,
            ),
        )
    ]  # fmt: skip
