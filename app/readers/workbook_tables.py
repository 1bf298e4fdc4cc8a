"""The tables of a workbook: which kind each sheet is, by its name, and its rows for the reader of tables.

A workbook has one sheet for each kind, named after it. A workbook with one sheet may be sent as a table of one kind;
then the sheet may have any name but that of another kind.
"""

from collections.abc import Iterator
from typing import BinaryIO

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, ServiceError
from app.readers.table_kinds import KINDS_OF_TABLES, TableKind, kind_with
from app.readers.table_layout import Layout, OneKind, plain
from app.readers.table_rows import Dialect, GatheredRows
from app.readers.tables import Sheet
from app.readers.workbooks import Workbook, Worksheet, hidden_sheet

_KINDS = Accepts(one_of=KINDS_OF_TABLES)


def sheets_by_kind(opened: BinaryIO, dialect: Dialect) -> Iterator[Sheet]:
    """The sheets of a workbook, each of the kind that its name says, the patients first.

    The place of each is its kind. Raises `InvalidDocument` with the faults of the names of sheets, and what `Workbook`
    raises; reading the rows of a sheet raises what `Workbook.rows` does.
    """
    workbook = Workbook(opened, dialect)
    faults: list[Fault] = []
    found: dict[TableKind, Worksheet] = {}
    for sheet in workbook.sheets:
        kind, place = kind_named(sheet.name), f"/sheets/{sheet.number}"
        if kind is None:
            faults.append(Fault(place, FaultCode.UNKNOWN_SHEET, None, _KINDS))
        elif kind in found:
            faults.append(Fault(place, FaultCode.REPEATED_SHEET, None, _KINDS))
        else:
            found[kind] = sheet
            faults += [hidden_sheet(place)] if sheet.hidden else []
    if not workbook.sheets:
        faults.append(Fault("/sheets", FaultCode.MISSING, None, _KINDS))
    if faults:
        raise InvalidDocument(faults=faults)
    for kind in KINDS_OF_TABLES:
        if kind in found:
            yield Sheet(GatheredRows(workbook.rows(found[kind], f"/{kind}")), OneKind(kind), f"/{kind}")


def only_sheet(opened: BinaryIO, dialect: Dialect, layout: Layout) -> Iterator[Sheet]:
    """The only sheet of a workbook, with this layout. Its place is empty, as that of a CSV.

    Raises the same, and `InvalidDocument` if there are several sheets, or if the sheet is named as another kind.
    """
    workbook = Workbook(opened, dialect)
    first, *others = workbook.sheets or [None]
    if first is None or others:
        accepts = Accepts(form="a workbook with one sheet; one with a sheet for each kind goes to `/tables`")
        raise InvalidDocument(faults=[Fault("/sheets/2", FaultCode.UNKNOWN_SHEET, None, accepts)])
    kind = kind_named(first.name)
    if isinstance(layout, OneKind) and kind not in {None, layout.kind}:
        raise InvalidDocument(
            faults=[Fault("/sheets/1", FaultCode.UNKNOWN_SHEET, None, Accepts(one_of=(layout.kind,)))]
        )
    if first.hidden:
        raise InvalidDocument(faults=[hidden_sheet("/sheets/1")])
    yield Sheet(GatheredRows(workbook.rows(first)), layout)


def sheets_of(opened: BinaryIO, dialect: Dialect, layout: Layout | None) -> Iterator[Sheet]:
    """The sheets of a file: the only one with this layout, or with that of the kind that its header shows; else each of
    the kind that its name says.
    """
    if layout is None and (kind := kind_within(opened)) is not None:
        layout = OneKind(kind)
    return sheets_by_kind(opened, dialect) if layout is None else only_sheet(opened, dialect, layout)


def kind_within(opened: BinaryIO) -> TableKind | None:
    """The kind of the only sheet of a workbook, by its header; `None` if there are several sheets, if its name says the
    kind, or if the workbook cannot be read.
    """
    try:
        workbook = Workbook(opened, Dialect())
        if len(workbook.sheets) != 1 or kind_named(workbook.sheets[0].name) is not None:
            return None
        header = next(workbook.rows(workbook.sheets[0]))
    except ServiceError:
        return None
    return kind_with(list(map(plain, header[1])))


def kind_named(name: str) -> TableKind | None:
    """The kind of table that the name of a sheet says, in any case, with blanks or hyphens for underscores."""
    words = "_".join(name.replace("-", " ").replace("_", " ").casefold().split())
    return next((kind for kind in KINDS_OF_TABLES if kind == words), None)
