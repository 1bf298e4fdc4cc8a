"""Routes for tables of every kind: a table of one kind, a table whose layout the study declares, and the templates."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.timelines import CSV, EXAMPLES, REFUSED_BATCH, BatchItem, Facts, LabRow, batch_reply
from app.errors import Conflict, Erased, Fault, FaultCode, InvalidDocument, NotFound, NothingKept
from app.http.authentication import Client
from app.http.dependencies import Flag, Now, State, StudyId, Writing, body_of, media_type
from app.http.idempotency import KeyedRoute
from app.http.openapi import answers, reads, reference, refuses, specimen, text
from app.http.problems import Proposed
from app.http.receipts import ReceiptWanted, Short
from app.http.routing import Operations
from app.readers.charsets import Charset
from app.readers.csv_lines import lines
from app.readers.gc_pause import gc_paused
from app.readers.table_dates import ISO, DateForm
from app.readers.table_kinds import COLUMNS_OF, KINDS_OF_TABLES, PATIENT, REQUIRED_OF, TableKind
from app.readers.table_layout import Layout, TableMapping, one_kind
from app.readers.table_rows import DecimalMark, Delimiter, Dialect, TableBody
from app.readers.tables import Sheet
from app.readers.workbook_tables import only_sheet, sheets_by_kind
from app.readers.workbook_writer import XLSX, written_workbook
from app.store.engine import Database
from app.submission.batches import ItemStatus, TableOutcome, store_sheets
from app.submission.feeds import mapping_of
from app.timeline.document import ITEMS, AdverseEvent, Assessment, Ended, Infusion, Medication, Patient
from app.timeline.zones import TimeZone

router = Operations(tags=["patients"], route_class=KeyedRoute)

KindName = Literal["patients", "labs", "assessments", "infusions", "medications", "adverse-events"]
Kind = Annotated[KindName, Path(description="What each row is about.", examples=["assessments"])]
Atomic = Annotated[
    Flag,
    Query(description="`true`: the whole table is stored in one revision, or nothing.", examples=["true"]),
]


class TableStored(BaseModel):
    """The outcomes of a table."""

    items: list[BatchItem] = Field(
        description="One outcome for each patient, in the order of their first rows. Patients are named by their "
        "subject identifiers. All rows without a patient are one item, whose patient is null. Places are line and "
        "column: `/7/score`.",
        examples=[[specimen(BatchItem)]],
    )
    counts: dict[ItemStatus, int] = Field(description="Items by status.", examples=[{"created": 15, "rejected": 1}])
    facts: Facts
    rows: int = Field(description="Rows of the table below its header.", examples=[412])
    skipped: dict[Literal["code", "value", "row"], int] = Field(
        description="What is not ours: results of another analyte (`code`), without a value or score (`value`), and "
        "rows that have no part of the mapping (`row`).",
        examples=[{"code": 3, "value": 1}],
    )
    unread: list[int] = Field(
        description="The numbers of the columns that are not read, from 1: the layout does not name them.",
        examples=[[7, 12]],
    )
    short: Short = None
    proposals: Proposed = None


_ABOUT: tuple[type[BaseModel], ...] = (Patient, LabRow, Assessment, Infusion, Medication, AdverseEvent)
_FACTS = [reference(model) for model in _ABOUT]
"""What rows of each kind are about. A column means the same as the field of this name, which is written as text."""
_TABLE = text(CSV, {"type": "array", "items": {"anyOf": _FACTS}})


async def _dialect(
    delimiter: Annotated[
        Literal[",", ";", "tab"], Query(description="The separator of the cells.", examples=[";"])
    ] = ",",
    decimal: Annotated[DecimalMark, Query(description="The decimal mark of all numbers.", examples=[","])] = ".",
    missing: Annotated[
        str,
        Query(
            max_length=200,
            description="Words for a missing value, separated by commas. An empty cell is always one.",
            examples=["NA,-"],
        ),
    ] = "",
    dates: Annotated[DateForm, Query(description="The form of all dates.", examples=["DD.MM.YYYY"])] = ISO,
    charset: Annotated[
        Charset, Query(description="The character set of the text.", examples=["windows-1252"])
    ] = "UTF-8",
    time_zone: Annotated[
        TimeZone | None,
        Query(
            description="Time zone of times without an offset; without it, that of the study.", examples=["Asia/Tokyo"]
        ),
    ] = None,
) -> Dialect:
    between: Delimiter = "\t" if delimiter == "tab" else delimiter
    words = frozenset(word.strip() for word in missing.split(","))
    return Dialect(between, decimal, words, dates, charset, ZoneInfo(time_zone) if time_zone else None)


WorkbookOrCsv = Annotated[bytes, Depends(body_of(CSV, f"{CSV}; charset=utf-8", f"{CSV};charset=utf-8", XLSX))]
_WORKBOOK = {"type": "string", "format": "binary", "description": "A workbook, up to 200 MB when it is unpacked."}


def _sheets(request: Request, body: bytes, dialect: Dialect, layout: Layout) -> Iterator[Sheet]:
    """The only table of a body: that of a CSV, or the only sheet of a workbook."""
    if media_type(request) == XLSX:
        return only_sheet(BytesIO(body), dialect, layout)
    return iter([Sheet(TableBody(body, dialect), layout)])


@router.post(
    "/v1/studies/{study}/tables/{kind}",
    operation_id="postTable",
    summary="Add a table of one kind",
    openapi_extra=reads(
        {CSV: _TABLE, XLSX: _WORKBOOK},
        "A table, or a workbook with one sheet: a header, then one fact or patient a row.",
    ),
    responses={
        200: answers("One outcome for each patient.", reference(TableStored)),
        **refuses(NotFound, Conflict, Erased, reading=True),
        NothingKept.status: REFUSED_BATCH,
    },
)
@gc_paused()  # what the answer was made of is gone before the collector would examine it
def post_table(
    request: Request,
    study: StudyId,
    kind: Kind,
    state: State,
    store: Writing,
    body: WorkbookOrCsv,
    now: Now,
    client: Client,
    dialect: Annotated[Dialect, Depends(_dialect)],
    columns: Annotated[
        str,
        Query(
            max_length=4_000,
            description="Columns whose names are not those of the template, each with its field, separated by commas. "
            "A column without a field is not read.",
            examples=["Pat. No.:patient,Comment:"],
        ),
    ] = "",
    constants: Annotated[
        str,
        Query(
            max_length=1_000,
            description="Fields that have one cell in all rows and no column, separated by commas.",
            examples=["code:MMT,scale_max:100"],
        ),
    ] = "",
    atomic: Atomic = "false",
    receipt: ReceiptWanted = None,
) -> Response:
    """Add facts of one kind, as `events` does for one patient. The header names the columns of the template, in any
    order and any case. A row that cannot be read is set aside, and the receipt of its patient says so; the other rows
    are stored. With `atomic=true` such a row refuses the table. The table may be sent again. Nothing is
    guessed.
    """
    layout = one_kind(_kind_of(kind), columns, constants)
    stored = store_sheets(
        store, study, _sheets(request, body, dialect, layout), dialect, secret=state.settings.secret, now=now,
        client=client, atomic=atomic == "true", full=receipt is not None, format=_format(request),
    )  # fmt: skip
    return table_reply(request, store, study, stored)


async def _workbook_dialect(
    decimal: Annotated[
        DecimalMark | None,
        Query(description="The decimal mark of numbers that are texts; default `.`.", examples=[","]),
    ] = None,
    missing: Annotated[
        str | None, Query(max_length=200, description="As for a table of one kind.", examples=["NA,-"])
    ] = None,
    dates: Annotated[
        DateForm | None,
        Query(description="The form of dates that are texts; default `YYYY-MM-DD`.", examples=["DD.MM.YYYY"]),
    ] = None,
    time_zone: Annotated[
        TimeZone | None, Query(description="As for a table of one kind.", examples=["Asia/Tokyo"])
    ] = None,
) -> Dialect | None:
    """How the texts of a workbook are written; `None` if nothing is declared."""
    if (decimal, missing, dates, time_zone) == (None,) * 4:
        return None
    words = frozenset(word.strip() for word in (missing or "").split(","))
    zone = ZoneInfo(time_zone) if time_zone else None
    return Dialect(decimal=decimal or ".", missing=words, dates=dates or ISO, zone=zone)


@router.post(
    "/v1/studies/{study}/tables",
    operation_id="postTables",
    summary="Add a workbook, or a table whose layout the study declares",
    openapi_extra=reads(
        {XLSX: _WORKBOOK, CSV: text(CSV, {"type": "string"})},
        "A workbook with a sheet for each kind; with `mapping`, a table or a workbook with one sheet.",
    ),
    responses={
        200: answers("One outcome for each patient.", reference(TableStored)),
        **refuses(NotFound, Conflict, Erased, reading=True),
        NothingKept.status: REFUSED_BATCH,
    },
)
@gc_paused()  # as above
def post_tables(
    request: Request,
    study: StudyId,
    state: State,
    store: Writing,
    body: WorkbookOrCsv,
    now: Now,
    client: Client,
    declared: Annotated[Dialect | None, Depends(_workbook_dialect)],
    mapping: Annotated[
        str | None,
        Query(max_length=32, description="The name of the layout in the study's `tables`.", examples=["redcap"]),
    ] = None,
    atomic: Atomic = "false",
    receipt: ReceiptWanted = None,
) -> Response:
    """Add facts of several kinds at once. In a workbook, each sheet is a table of the kind that its name says; what is
    said of a patient in all sheets is stored together. Places begin with the kind: `/labs/7/value`. With `mapping`, the
    study declares under `tables` how one table is written and what its columns mean, such as an export of REDCap.
    Columns that this layout does not name are not read: `unread` has their numbers. Everything else is as for a table
    of one kind.

    A number in a cell is read as it is stored, and a date as the workbook counts days. Refused are formulas, merged
    cells, what is hidden, and cells that show another number than they store; nothing is stored then.
    """
    layout = None if mapping is None else mapping_of(store, study, mapping)
    _check_declared(request, layout, declared)
    if layout is None:
        dialect = declared or Dialect()
        sheets = sheets_by_kind(BytesIO(body), dialect)
    else:
        dialect = layout.dialect
        sheets = _sheets(request, body, dialect, layout)
    stored = store_sheets(
        store, study, sheets, dialect, secret=state.settings.secret, now=now, client=client,
        atomic=atomic == "true", full=receipt is not None, format=_format(request),
    )  # fmt: skip
    return table_reply(request, store, study, stored)


def _check_declared(request: Request, layout: TableMapping | None, declared: Dialect | None) -> None:
    """A table that is no workbook needs a mapping, and a mapping declares how it is written."""
    if layout is None and media_type(request) != XLSX:
        raise InvalidDocument(faults=[Fault("/query/mapping", FaultCode.MISSING)])
    if layout is not None and declared is not None:
        detail = "The mapping declares how the table is written."
        raise InvalidDocument(faults=[Fault("/query/mapping", FaultCode.CONTRADICTION, detail)])


def _format(request: Request) -> str:
    return "xlsx" if media_type(request) == XLSX else "csv"


def table_reply(request: Request, store: Database, study: str, stored: TableOutcome) -> Response:
    """The outcomes of a table as JSON."""
    return batch_reply(
        request, store, study, stored.items, stored.short, stored.faults,
        rows=stored.rows, skipped=stored.skipped, unread=stored.unread,
    )  # fmt: skip


@router.get(
    "/v1/templates/tables.xlsx",
    operation_id="getWorkbookTemplate",
    summary="Read a template for a workbook",
    responses={200: answers("The template.", {"type": "string", "format": "binary"}, media_type=XLSX), **refuses()},
)
async def get_workbook_template() -> Response:
    """A workbook with a sheet for each kind, which has every column and two invented rows. All cells are texts, so that
    a spreadsheet does not change what is typed. Fill it in, delete the invented rows, and post it to `/tables`.
    """
    sheets: dict[str, list[Sequence[str | None]]] = {}
    for kind in KINDS_OF_TABLES:
        sheets[kind] = [COLUMNS_OF[kind], *template_rows(kind)]
    headers = {"Content-Disposition": 'attachment; filename="tables.xlsx"'}
    return Response(written_workbook(sheets), headers=headers, media_type=XLSX)


@router.get(
    "/v1/templates/{kind}.csv",
    operation_id="getTableTemplate",
    summary="Read a template for a table of one kind",
    responses={200: answers("The template.", _TABLE, media_type=CSV), **refuses()},
)
async def get_table_template(
    kind: Annotated[
        Literal["patients", "assessments", "infusions", "medications", "adverse-events"],
        Path(description="What each row is about; results have their own template.", examples=["assessments"]),
    ],
) -> Response:
    """A table with every column and two invented rows. It can be filled in a spreadsheet and then posted."""
    table = _kind_of(kind)
    headers = {"Content-Disposition": f'attachment; filename="{kind}.csv"'}
    return Response("".join(lines(COLUMNS_OF[table], template_rows(table))), headers=headers, media_type=CSV)


def template_rows(kind: TableKind) -> list[list[str | None]]:
    """Invented rows that the service accepts: one with every column, one with those that are required. Those of results
    are the rows of their own template.
    """
    if kind == "labs":
        cells = ([row.get(name) for name in COLUMNS_OF[kind]] for row in EXAMPLES)
        return [[None if cell is None else str(cell) for cell in row] for row in cells]
    full = {name: _example(kind, name) for name in COLUMNS_OF[kind] if name != "merged_into"}
    brief = {name: full[name] for name in REQUIRED_OF[kind]} | {PATIENT: "P02"}
    return [[row.get(name) for name in COLUMNS_OF[kind]] for row in (full, brief)]


def _example(kind: TableKind, name: str) -> str:
    """The example of the field of this name in a timeline."""
    if name == PATIENT:
        return "P01"
    if kind == "patients":
        about = name.removeprefix("ended_")
        field = Ended.model_fields[about] if about != name else Patient.model_fields[name]
    else:
        field = ITEMS[kind].model_fields[name]
    [example] = field.examples or [""]
    return str(example).lower() if isinstance(example, bool) else str(example)


def _kind_of(name: KindName) -> TableKind:
    return "adverse_events" if name == "adverse-events" else name
