"""The results of an answer as tables that can be read: an estimate with its interval in one cell, a test as its p.

The labels and explanations are those of the models of the answers. Nothing is left out but what stands elsewhere on the
page; the numbers with all their digits are in the JSON.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.pages.cells import Given, ShownCell, interval_cell, listed, number_cell, p_cell, small_result
from app.pages.labels import group, label, method
from app.pages.wording import NO_FIGURE, level_text, words
from app.timeline.accepts import Schema, schema_of

ELSEWHERE = frozenset(
    {"analysis", "study", "revision", "as_of", "provenance", "populations", "by", "level", "conventions", "profile",
     "definitions", "multiplicity", "excluded", "flags", "claims", "caveats", "preset_for_new_studies", "other",
     "other_populations", "picture", "reason"}
)  # fmt: skip
"""The fields of an answer that the page shows in their own places, or that only a chart reads."""
SHOWN = 25
"""Rows of a table unless all are asked for."""
MOST = 1_000
"""Rows of a table at most: a page of more is no page to read."""
_FOLDED = frozenset({"curve", "numbers_at_risk", "masses", "covariances", "choices", "nothing"})
"""Tables for those who look for them."""
_IN_CELLS = frozenset({"unit", "plateau", "level", "p_below", "statistic", "df", "n_used", "n_zero"})
"""Fields of a part that its cell or the conventions hold."""
_NEVER = frozenset({"reason", "censorings", "same_as", "picture"})
"""Fields that explain others, or that only a program reads."""
_OUTER = frozenset({"results", "facts"})
"""Tables whose name says nothing in front of the name of a table inside them."""
_CENTRES = ("value", "estimate", "ratio", "rate", "difference")
"""The field that an interval belongs to, where none has its name."""
_WHOSE = ("which", "measure", "strategy", "estimate", "rule", "endpoint", "term", "kind", "scale", "course")
"""The fields that say what a row is about, for the tables inside it."""


@dataclass(frozen=True, slots=True)
class ColumnHeading:
    """A heading, and what explains it."""

    label: str
    note: str = ""


@dataclass(slots=True)
class ShownTable:
    """A table. `more` are the rows that are not shown; an `upright` one has a row for each field."""

    name: str
    title: str
    columns: list[ColumnHeading]
    rows: list[list[ShownCell]]
    more: int = 0
    upright: bool = False

    @property
    def folded(self) -> bool:
        """Whether it is shown only to those who open it."""
        return self.name.rpartition(".")[2] in _FOLDED

    @property
    def notes(self) -> list[ColumnHeading]:
        """The columns with an explanation."""
        return [column for column in self.columns if column.note]


@dataclass(slots=True)
class _Inside:
    """Rows inside rows: a table of their own, with what each is about."""

    schema: Schema
    rows: list[tuple[str, Given]] = field(default_factory=list)


Found = Iterator[tuple[str, ColumnHeading, ShownCell]]
"""The cells of a row, each with its key and its column."""
Row = dict[str, tuple[ColumnHeading, ShownCell]]


def tables_of(answer: Given, kind: Any, *, whole: bool = False) -> list[ShownTable]:  # noqa: ANN401 - a model
    """The tables of an answer whose model is `kind`: each with its first rows, or on the `whole` page with `MOST`."""
    return _Writer(schema_of(kind), MOST if whole else SHOWN).answer(answer)


class _Writer:
    def __init__(self, root: Schema, most: int) -> None:
        self.root = root
        self.most = most

    def answer(self, answer: Given) -> list[ShownTable]:
        found: list[ShownTable] = []
        facts: dict[str, Any] = {}
        for name, value in answer.items():
            if name in ELSEWHERE or value is None or value == []:
                continue
            if _are_rows(value):
                found += self.rows(name, label(name), value, self._part(self.root, name))
            elif isinstance(value, Mapping) and value.keys() == {"columns", "rows"}:
                found.insert(0, _paper(name, value))
            else:
                facts[name] = value
        return found + (self.rows("facts", "In short", [facts], self.root) if facts else [])

    def rows(self, name: str, title: str, rows: Sequence[Given], schema: Schema) -> list[ShownTable]:
        """A table of rows, and the tables inside them."""
        shown = rows[: self.most]
        written: list[Row] = []
        inside: dict[str, _Inside] = {}
        for row in shown:
            cells = self._fields(row, schema, "", inside, _identity(row))
            written.append({key: (column, cell) for key, column, cell in cells})
        table = _laid_out(name, title, written, len(rows) - len(shown))
        found = [table] if table.rows else []
        for key, inner in inside.items():
            several = len({whose for whose, _ in inner.rows}) > 1
            placed = [{**({"which": whose} if several and whose else {}), **part} for whose, part in inner.rows]
            inner_title = _title(key) if name in _OUTER else f"{title}: {_lower(_title(key))}"
            found += self.rows(key, inner_title, placed, inner.schema)
        return found

    def _fields(self, row: Given, schema: Schema, prefix: str, inside: dict[str, _Inside], whose: str) -> Found:
        own = _Intervals.of_row(row)
        for name, value in row.items():
            if (
                name in _NEVER
                or (name in _IN_CELLS and (prefix or "value" in row))
                or (prefix and name == "convention")
            ):
                continue
            key, part = f"{prefix}{name}", self._part(schema, name)
            if name == "group" and not isinstance(value, str):
                for each, of in (value or {}).items():
                    yield f"group.{each}", ColumnHeading(words(each)), ShownCell(of or "not known")
            elif name in {"interval", "intervals"}:
                for of, interval in own.others:
                    place = f"{key}.{of}.{interval['method']}"
                    yield place, _interval_column(prefix, of, interval), interval_cell(row, interval)
            elif name == "tests" or _is_test(value):
                for test in value if isinstance(value, list) else [value]:
                    yield f"{key}.{test['method']}", _test_column(prefix, name, test), p_cell(test)
            elif isinstance(value, Mapping) and not _is_interval(value) and small_result(name, value) is None:
                yield from self._fields(value, part, f"{key}.", inside, whose)
            elif _are_rows(value):
                inside.setdefault(key, _Inside(part)).rows.extend((whose, each) for each in value)
            else:
                column = ColumnHeading(_heading(prefix, name), _note(part))
                yield self._single(row, name, key, column, own)

    def _single(
        self, row: Given, name: str, key: str, column: ColumnHeading, own: "_Intervals"
    ) -> tuple[str, ColumnHeading, ShownCell]:
        value = row[name]
        if _is_interval(value):
            return key, _with_interval(column, value), interval_cell(row, value)
        if (small := small_result(name, value)) is not None:
            return key, column, small
        if isinstance(value, list):
            return key, column, listed(value)
        interval = own.belongs.get(name)
        return key, column if interval is None else _with_interval(column, interval), number_cell(row, name, interval)

    def _part(self, schema: Schema, name: str) -> Schema:
        for each in self._alternatives(schema):
            if name in each.get("properties", {}):
                inner: Schema = each["properties"][name]
                return inner
        return {}

    def _alternatives(self, schema: Schema) -> Iterator[Schema]:
        if "$ref" in schema:
            yield from self._alternatives(self.root["$defs"][schema["$ref"].rpartition("/")[2]])
        elif "items" in schema:
            yield from self._alternatives(schema["items"])
        elif members := schema.get("anyOf") or schema.get("oneOf"):
            for member in members:
                yield from self._alternatives(member)
        else:
            yield schema


@dataclass(slots=True)
class _Intervals:
    """The intervals of a row: those that stand behind the number of a field, and the others."""

    belongs: dict[str, Given] = field(default_factory=dict)
    others: list[tuple[str, Given]] = field(default_factory=list)

    @classmethod
    def of_row(cls, row: Given) -> "_Intervals":
        found = cls()
        given = row.get("intervals") or row.get("interval") or []
        for interval in given if isinstance(given, list) else [given]:
            of = interval["of"]
            centre = of if of in row else next((name for name in _CENTRES if name in row), None)
            if "estimate" in interval or centre is None or centre in found.belongs:
                found.others.append((of, interval))
            else:
                found.belongs[centre] = interval
        return found


def _are_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _is_interval(value: object) -> bool:
    return isinstance(value, Mapping) and value.keys() >= {"of", "method", "level", "low", "high"}


def _is_test(value: object) -> bool:
    return isinstance(value, Mapping) and value.keys() >= {"method", "p", "n_used"}


def _paper(name: str, value: Given) -> ShownTable:
    """A table that the answer has as text already."""
    columns = [ColumnHeading("Characteristic"), *(ColumnHeading(column["label"]) for column in value["columns"])]
    rows, section = [], None
    for row in value["rows"]:
        if row.get("section") != section:
            section = row.get("section")
            rows.append([ShownCell(words(str(section))), *(ShownCell("") for _ in value["columns"])])
        rows.append([ShownCell(row["label"]), *(ShownCell(text, number=True) for text in row["cells"])])
    return ShownTable(name, "As a paper prints it", columns, rows)


def _identity(row: Given) -> str:
    """What a row is about, for the tables inside it."""
    named = [group(row.get("group"))]
    for name in _WHOSE:
        if isinstance(value := row.get(name), str) and value:
            named.append(value if name in {"measure", "which", "term"} else words(value))
    if isinstance(row.get("week"), int):
        named.append(f"week {row['week']}")
    return ", ".join(filter(None, named))


def _note(part: Schema) -> str:
    return str(part.get("description", "")).partition("\n")[0].replace("`", "")


def _heading(prefix: str, name: str) -> str:
    before = _title(prefix.strip(".")) if prefix else ""
    if not before:
        return label(name)
    return before if name in {"value", "estimate"} else f"{before}: {_lower(label(name))}"


def _title(key: str) -> str:
    first, *others = key.split(".")
    return ": ".join([label(first), *(_lower(label(part)) for part in others)])


def _lower(text: str) -> str:
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _level(interval: Given) -> str:
    return f"{level_text(interval['level'])} CI"


def _with_interval(column: ColumnHeading, interval: Given) -> ColumnHeading:
    note = f"{column.note} Confidence interval: {method(interval['method'])}."
    return ColumnHeading(f"{column.label} ({_level(interval)})", note.strip())


def _interval_column(prefix: str, of: str, interval: Given) -> ColumnHeading:
    if "estimate" in interval:
        return _with_interval(ColumnHeading(_heading(prefix, of)), interval)
    return ColumnHeading(f"{_heading(prefix, of)}: {_level(interval)}, {method(interval['method'])}")


def _test_column(prefix: str, name: str, test: Given) -> ColumnHeading:
    before = _title(prefix.strip(".")) if prefix else "" if name in {"test", "tests"} else label(name)
    adjusted = f"adjusted by {method(test['adjustment'])}" if test.get("adjustment") else "not adjusted"
    heading = f"p, {method(test['method'])}" if name in {"test", "tests"} else "p"
    note = f"Two-sided p value: {method(test['method'])}, {adjusted}."
    return ColumnHeading(f"{before}: {heading}" if before else heading, note)


def _laid_out(name: str, title: str, rows: Sequence[Row], more: int) -> ShownTable:
    """The rows under the union of their columns, without those that are empty everywhere."""
    columns: dict[str, ColumnHeading] = {}
    for row in rows:
        for key, (column, _) in row.items():
            columns.setdefault(key, column)
    kept = [key for key in columns if not _is_empty(row.get(key) for row in rows)]
    absent = {key: ShownCell(NO_FIGURE, number=any(row[key][1].number for row in rows if key in row)) for key in kept}
    cells = [[row[key][1] if key in row else absent[key] for key in kept] for row in rows]
    return ShownTable(
        name, title, [columns[key] for key in kept], cells if kept else [], more, len(rows) < 5 < len(kept)
    )


def _is_empty(cells: Iterable[tuple[ColumnHeading, ShownCell] | None]) -> bool:
    return all(cell is None or (cell[1].text == NO_FIGURE and not cell[1].why) for cell in cells)
