"""Routes for tables of every kind: a table of one kind, a table whose layout the study declares, and the templates."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.timelines import CSV, REFUSED_BATCH, BatchItem, CsvBody, Facts, LabRow, batch_reply
from app.errors import Conflict, Erased, NotFound, NothingKept
from app.http.authentication import Client
from app.http.dependencies import Flag, Now, State, StudyId, Writing
from app.http.idempotency import KeyedRoute
from app.http.openapi import answers, reads, reference, refuses, specimen, text
from app.http.problems import Proposed
from app.http.receipts import ReceiptWanted, Short
from app.http.routing import Operations
from app.readers.charsets import Charset
from app.readers.csv_lines import lines
from app.readers.table_dates import ISO, DateForm
from app.readers.table_kinds import COLUMNS_OF, PATIENT, REQUIRED_OF, TableKind
from app.readers.table_layout import one_kind
from app.readers.table_rows import DecimalMark, Delimiter, Dialect
from app.store.engine import Database
from app.store.gc_pause import gc_paused
from app.submission.batches import ItemStatus, TableOutcome, store_table
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


@router.post(
    "/v1/studies/{study}/tables/{kind}",
    operation_id="postTable",
    summary="Add a table of one kind",
    openapi_extra=reads({CSV: _TABLE}, "A table: a header, then one fact or patient in each row."),
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
    body: CsvBody,
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
    stored = store_table(
        store, study, body, dialect, layout, secret=state.settings.secret, now=now, client=client,
        atomic=atomic == "true", full=receipt is not None,
    )  # fmt: skip
    return table_reply(request, store, study, stored)


@router.post(
    "/v1/studies/{study}/tables",
    operation_id="postTables",
    summary="Add a table whose layout the study declares",
    openapi_extra=reads({CSV: text(CSV, {"type": "string"})}, "A table: a header, then the rows."),
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
    body: CsvBody,
    now: Now,
    client: Client,
    mapping: Annotated[
        str, Query(max_length=32, description="The name of the layout in the study's `tables`.", examples=["redcap"])
    ],
    atomic: Atomic = "false",
    receipt: ReceiptWanted = None,
) -> Response:
    """Add facts of several kinds from one table, such as an export of REDCap. The study declares under `tables` how it
    is written, and what its columns mean. Everything else is as for a table of one kind. Columns that the layout does
    not name are not read: `unread` has their numbers.
    """
    layout = mapping_of(store, study, mapping)
    stored = store_table(
        store, study, body, layout.dialect, layout, secret=state.settings.secret, now=now, client=client,
        atomic=atomic == "true", full=receipt is not None,
    )  # fmt: skip
    return table_reply(request, store, study, stored)


def table_reply(request: Request, store: Database, study: str, stored: TableOutcome) -> Response:
    """The outcomes of a table as JSON."""
    return batch_reply(
        request, store, study, stored.items, stored.short, stored.faults,
        rows=stored.rows, skipped=stored.skipped, unread=stored.unread,
    )  # fmt: skip


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
    """Two invented rows, which the service accepts: one with every column, one with those that are required."""
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
