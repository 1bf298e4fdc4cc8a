"""The options of the command `import` that say how tables are written and what their columns mean."""

from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from app.errors import InvalidDocument
from app.readers.charsets import CHARSETS
from app.readers.table_dates import DATE_FORMS
from app.readers.table_kinds import KINDS_OF_TABLES, TableKind
from app.readers.table_layout import Layout, one_kind
from app.readers.table_rows import Dialect
from app.store.engine import Database
from app.submission.feeds import mapping_of
from app.timeline.zones import zone_names


class InvalidCommand(Exception):
    """The options of the command cannot be used. Nothing was done."""


class TableOptions(NamedTuple):
    """The options as they are given; an empty text is an option that is not given."""

    delimiter: str
    decimal: str
    missing: str
    dates: str
    charset: str
    time_zone: str
    kind: str
    columns: str
    constants: str
    mapping: str

    def declared(self, database: Database, study: str) -> tuple[Dialect, Layout | None]:
        """The dialect and the layout; no layout if the header of each table shows its kind.

        Raises `InvalidCommand` and `NotFound`.
        """
        kind: TableKind | None = _one_of("kind", self.kind, KINDS_OF_TABLES) if self.kind else None
        zone = _one_of("time-zone", self.time_zone, zone_names()) if self.time_zone else None
        delimiter: Any = "\t" if self.delimiter == "tab" else self.delimiter
        decimal: Any = self.decimal
        dialect = Dialect(
            delimiter, decimal, frozenset(word.strip() for word in self.missing.split(",")),
            _one_of("dates", self.dates, DATE_FORMS), _one_of("charset", self.charset, CHARSETS),
            ZoneInfo(zone) if zone else None,
        )  # fmt: skip
        names = [name for name in ("columns", "constants") if getattr(self, name)]
        if self.mapping and (kind or names or dialect != Dialect(missing=frozenset({""}))):
            raise InvalidCommand("With --mapping, the study declares everything about a table: give no other option.")
        if names and kind is None:
            raise InvalidCommand(f"With --{names[0]}, the kind of the tables must be given: use --kind.")
        try:
            if self.mapping:
                layout = mapping_of(database, study, self.mapping)
                return layout.dialect, layout
            return dialect, one_kind(kind, self.columns, self.constants) if kind else None
        except InvalidDocument as refused:
            option = refused.faults[0].pointer.rpartition("/")[2]
            raise InvalidCommand(f"--{option}: {refused.faults[0].explanation}") from None


def _one_of(option: str, given: str, accepted: Any) -> Any:  # noqa: ANN401 - a word of a literal type
    if given not in accepted:
        some = ", ".join(accepted) if len(accepted) < 20 else "a name such as Asia/Tokyo"
        raise InvalidCommand(f"--{option} accepts {some}.")
    return given
