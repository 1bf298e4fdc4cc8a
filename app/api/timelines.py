"""Routes for many patients in one request: timelines as an array or as lines, a table of results, and its template."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, Field, create_model
from starlette.types import Message

from app.api.intake import rehearsed_proposals
from app.api.streaming import StopReason, StreamedOutcomes, item_document
from app.errors import Absent, Conflict, Erased, Fault, InvalidDocument, NotFound, NothingKept
from app.http.authentication import Client
from app.http.dependencies import IDENTIFIER, Flag, Now, State, StudyId, Writing, body_of, latest, media_type
from app.http.idempotency import KeyedRoute
from app.http.openapi import JSON, NDJSON, answers, reads, reference, refused_with, refuses, shared, specimen, text
from app.http.problems import Problem, Proposed, count_refused
from app.http.receipts import (
    FACTS_EXAMPLE,
    NotListed,
    ReceiptBody,
    ReceiptWanted,
    Short,
    facts_document,
    short_document,
)
from app.http.responses import reply
from app.http.routing import Operations
from app.readers import READERS
from app.readers.csv_lines import Cell, lines
from app.readers.gc_pause import gc_paused
from app.readers.table_kinds import COLUMNS_OF
from app.readers.table_rows import DecimalMark, Delimiter, Dialect
from app.store.engine import Database
from app.submission.batches import ItemOutcome, ItemStatus, counted, facts_of, lost, store_table, store_timelines
from app.submission.exports import Exports, whole_exports
from app.submission.loop import Submitter
from app.submission.native_patients import NativePatients
from app.submission.streams import Stream
from app.timeline.document import LabResult, Timeline
from app.timeline.receipts import Disposition, ShortReceipts

router = Operations(tags=["patients"], route_class=KeyedRoute)

CSV = "text/csv"
FORMATS = {JSON: "native-json", NDJSON: "native-ndjson"}
Atomic = Annotated[
    Flag,
    Query(description="`true`: all are stored in one revision, or none if one has a fault.", examples=["true"]),
]


async def _batch_body(request: Request, atomic: Atomic = "false") -> bytes | None:
    """The body; `None` for a body that is stored while it arrives. Then only the headers are checked here."""
    if media_type(request) == NDJSON and atomic == "false":
        await body_of(JSON, NDJSON)(Request(request.scope, _empty_message))
        return None
    return await body_of(JSON, NDJSON)(request)


async def _empty_message() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


BatchBody = Annotated[bytes | None, Depends(_batch_body)]
MovedFrom = Annotated[
    str | None,
    Query(
        max_length=64,
        pattern=IDENTIFIER,
        description="Name of another study whose export (`python -m app export`) is to be added to this one.",
        examples=["trial"],
    ),
]


Facts = Annotated[
    dict[Disposition, int],
    Field(description="The sum of the `counts` of all receipts.", examples=[FACTS_EXAMPLE]),
]


class BatchItem(BaseModel):
    """The outcome of one timeline of many."""

    index: int = Field(description="Its place in the array or among the lines, from 0.", examples=[0])
    patient: str | None = Field(description="The patient; null if the item could not be read.", examples=["P01"])
    status: ItemStatus = Field(
        description="`created`, `changed`, `unchanged` and `stale` as for one timeline; `rejected`: see `problem`; "
        "`skipped`: not tried, send it again.",
        examples=["created"],
    )
    revision: int | None = Field(description="The revision that stored it; null if nothing was stored.", examples=[17])
    receipt: ReceiptBody | None = Field(
        description="What happened to each fact; null if the item was not stored.", examples=[specimen(ReceiptBody)]
    )
    problem: Problem | None = Field(description="Why it was not stored; pointers begin at the item.", examples=[None])


class BatchOutcome(BaseModel):
    """The outcomes of many timelines, in the order in which they were sent."""

    items: list[BatchItem] = Field(description="One outcome for each item.", examples=[[specimen(BatchItem)]])
    counts: dict[ItemStatus, int] = Field(description="Items by status.", examples=[{"created": 15, "rejected": 1}])
    facts: Facts
    short: Short = None
    proposals: Proposed = None


class BatchRefusal(Problem):
    """A refusal of many timelines or of a table. If nothing of what was read was kept, it has the outcomes."""

    type: str = Field(
        description="The kind of problem.",
        examples=["/problems/nothing-kept"],
        json_schema_extra={"enum": [f"/problems/{each.slug}" for each in (InvalidDocument, NothingKept)]},
    )
    items: list[BatchItem] | Absent = Field(default=None, description="One outcome for each item.", examples=[[]])
    counts: dict[ItemStatus, int] | Absent = Field(
        default=None, description="Items by status.", examples=[{"created": 15, "rejected": 1}]
    )
    facts: dict[Disposition, int] | Absent = Field(
        default=None, description="The sum of the `counts` of all receipts.", examples=[FACTS_EXAMPLE]
    )
    short: NotListed | Absent = Field(default=None, description="As in the outcome.", examples=[specimen(NotListed)])
    rows: int | Absent = Field(default=None, description="As in the outcome.", examples=[412])
    skipped: dict[Literal["code", "value", "row"], int] | Absent = Field(
        default=None, description="As in the outcome.", examples=[{"code": 3}]
    )
    unread: list[int] | Absent = Field(default=None, description="As in the outcome.", examples=[[7]])


class LineOutcome(BatchItem):
    """The outcome of one line of many."""

    line: int = Field(description="Its line in the body, from 1; blank lines have no outcome.", examples=[1])


class ShortOutcome(BaseModel):
    """The outcome of a rejected line, if enough lines were rejected for such a reason."""

    index: int = Field(description="As above.", examples=[300])
    line: int = Field(description="As above.", examples=[301])
    status: Literal["rejected"] = Field(description="As above.", examples=["rejected"])


class ImportedExport(BaseModel):
    """An export among the lines, as its first line names it."""

    study: str = Field(description="The study that it was made of.", examples=["trial"])
    revision: int = Field(description="The revision that it shows.", examples=[1246])
    whole: bool = Field(
        description="Whether all of its lines came, unchanged. If not, what the outcomes say is stored.",
        examples=[True],
    )


class StreamEnd(BaseModel):
    """The last line of a complete answer."""

    counts: dict[ItemStatus, int] = Field(description="Lines by status.", examples=[{"created": 15, "rejected": 1}])
    facts: Facts
    lines: int = Field(description="Number of lines that are not blank; each has an outcome.", examples=[16])
    digest: str = Field(
        description="SHA-256 of the received body. It equals that of the file (`sha256sum`) if all of it arrived.",
        examples=["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    )
    exports: list[ImportedExport] | Absent = Field(
        default=None,
        description="The exports among the lines. The first line of an export has no outcome.",
        examples=[[specimen(ImportedExport)]],
    )
    short: int | None = Field(default=None, description="Lines with a short outcome, if any.", examples=[None])
    stopped: StopReason | None = Field(
        default=None,
        description="Why no line after the last outcome was read: `rejected`, too many are; `unread`, the client did "
        "not read. Send those lines again.",
        examples=[None],
    )
    proposals: Proposed = None


REFUSED_BATCH = shared("BatchRefusal", refused_with(BatchRefusal, InvalidDocument))
_OUTCOMES = answers("One outcome for each item or line.", reference(BatchOutcome))
_OUTCOMES["content"][NDJSON] = {
    "schema": {"anyOf": [reference(LineOutcome), reference(ShortOutcome), reference(StreamEnd)]}
}


@router.post(
    "/v1/studies/{study}/timelines",
    operation_id="postTimelines",
    summary="Add many timelines",
    openapi_extra=reads(
        {JSON: {"type": "array", "items": reference(Timeline)}, NDJSON: text(NDJSON, reference(Timeline))},
        "An array of timelines, or one timeline on each line.",
    ),
    responses={
        200: _OUTCOMES,
        **refuses(NotFound, Conflict, Erased, reading=True),
        NothingKept.status: REFUSED_BATCH,
    },
)
@gc_paused()  # what the answer was made of is gone before the collector would examine it
def post_timelines(
    request: Request,
    study: StudyId,
    state: State,
    store: Writing,
    body: BatchBody,
    now: Now,
    client: Client,
    atomic: Atomic = "false",
    receipt: ReceiptWanted = None,
    moved_from: MovedFrom = None,
) -> Response:
    """Add many timelines, as `events` does for one. Without `atomic=true` each item is stored separately, in
    its own revision; a rejected one does not affect the others. The request may be sent again.

    Lines are stored while they arrive; their number is not limited. Each line is answered by one line, in the same
    order, after it was stored; after a hundred problems of a kind, briefly. The last line has counts and a digest. It
    says if reading stopped early. If the stream breaks, that last line is missing.
    All lines that were answered are stored; send the others again. With `atomic=true`, lines are answered as an array.

    An export begins with a line about itself, which has no outcome. The export of another study is refused without
    `moved_from`, and one whose pseudonyms were made with another key is refused.
    """
    content_type = media_type(request) or JSON
    if body is None:
        stream = Stream(
            store, study, FORMATS[content_type], state.settings.max_body_bytes,
            secret=state.settings.secret, client=client, full=receipt is not None, moved_from=moved_from,
        )  # fmt: skip
        stream.check_study()
        return StreamedOutcomes(stream, state.settings, lambda: rehearsed_proposals(store, study))
    submitter = Submitter(store, study, FORMATS[content_type], now, client=client, full=receipt is not None)
    patients = NativePatients(store, study, state.settings.secret, now)
    exports = Exports(store, study, state.settings.secret, moved_from)
    with submitter.refusals_counted():
        body = whole_exports(exports, body) if content_type == NDJSON else body
        patients.made_with = exports.made_with
        items = READERS[content_type](body, latest(now), patients.who)
        outcomes = store_timelines(submitter, patients, items, atomic=atomic == "true")
    return batch_reply(request, store, study, outcomes, submitter.short)


def batch_reply(
    request: Request,
    store: Database,
    study: str,
    outcomes: Sequence[ItemOutcome],
    short: ShortReceipts,
    faults: Sequence[Fault] = (),
    **more: Any,  # noqa: ANN401 - JSON
) -> Response:
    """The outcomes as JSON. Raises `NothingKept` with them if every item was lost.

    `faults` are those of all items, also of what was set aside.
    """
    refused = [outcome.error for outcome in outcomes]
    count_refused(request.scope, [each for each in refused if not faults or not isinstance(each, InvalidDocument)])
    facts = facts_document(facts_of(outcomes))
    items = (item_document(outcome) for outcome in outcomes)  # made when they are written: all need much memory
    counts = (
        {"counts": counted(outcomes), "facts": facts, **more}
        | short_document(short)
        | rehearsed_proposals(store, study)
    )
    if outcomes and all(map(lost, outcomes)):
        raise NothingKept(faults=faults, members={"items": list(items)} | counts)
    count_refused(request.scope, [InvalidDocument(faults=faults)] if faults else [])
    return reply({"items": items} | counts)


CsvBody = Annotated[bytes, Depends(body_of(CSV, f"{CSV}; charset=utf-8", f"{CSV};charset=utf-8"))]


class _DescribedColumns(BaseModel):
    """One row of a table of results. The columns may be in any order. Columns that are not required may be left out.

    A column means the same as the field of that name in a timeline.
    """

    patient: str = Field(
        description="The patient, as the study's `identifiers` declare: a number of a hospital, which becomes a "
        "pseudonym, or a pseudonym.",
        examples=["P01"],
    )
    time: str = Field(
        description="When the sample was drawn: a date, or a date and time with its offset. Where the study declares a "
        "`time_zone`, the offset may be left out.",
        examples=["2005-03-16T09:48:00+09:00"],
    )
    code: str = Field(
        description="Short name or LOINC code of the analyte; with `code_system`, a code of that system. A row with "
        "another code is not ours.",
        examples=["CK"],
    )
    value: str = Field(
        description="The result in digits, with the declared decimal mark; `<`, `<=`, `>=` or `>` may stand before it. "
        "A row without a value is not ours, unless its status withdraws the result.",
        examples=["1101"],
    )
    unit: str = Field(description="Unit of value and limits; never guessed.", examples=["U/L"])
    comparator: str | None = Field(
        default=None,
        description="`<`, `<=`, `>=` or `>`, if it is not written before the value.",
        examples=["<"],
    )
    upper_limit: str | None = Field(default=None, description="Upper limit of normal of this result.", examples=["163"])
    lower_limit: str | None = Field(default=None, description="Lower limit of normal of this result.", examples=["45"])
    lab: str | None = Field(default=None, description="The laboratory that measured.", examples=["A"])
    source: str | None = Field(default=None, description="Who gave the number `id`; default: `lab`.", examples=["A"])
    id: str | None = Field(
        default=None, description="The sender's number of the result, for example an accession number.", examples=["77"]
    )
    version: str | None = Field(default=None, description="Version of the result at its source.", examples=["2"])
    issued: str | None = Field(
        default=None,
        description="When the source released this version; written as `time`, but never a date alone.",
        examples=["2005-03-17T08:00:00+09:00"],
    )
    status: str | None = Field(default=None, description="`final` if absent.", examples=["final"])
    code_system: str | None = Field(
        default=None,
        description="The system of the code: `http://loinc.org` or `LN`, or one that the study's `local_codes` name.",
        examples=["http://loinc.org"],
    )
    code_text: str | None = Field(
        default=None,
        description="The laboratory's name of the test. It is not stored. A row is refused if it names another test.",
        examples=["Creatine kinase"],
    )
    reference_range: str | None = Field(
        default=None, description="The limits of normal as one text; it gives what is missing.", examples=["45-163"]
    )


def _column(name: str) -> Any:  # noqa: ANN401 - a field of pydantic
    """A column with the meaning and the description of the field of this name in a timeline."""
    field = LabResult.model_fields[name]
    return str | None, Field(default=None, description=field.description, examples=[*map(str, field.examples or ())])


LabRow = create_model(
    "LabRow",
    __base__=_DescribedColumns,
    __doc__=_DescribedColumns.__doc__,
    **{name: _column(name) for name in COLUMNS_OF["labs"] if name not in _DescribedColumns.model_fields},
)
"""A row of the table with all columns that are read, in the order of the template."""


class LabsOutcome(BaseModel):
    """The outcomes of a table of results."""

    items: list[BatchItem] = Field(
        description="One outcome for each patient, in the order of their first rows. Patients are named by their "
        "subject identifiers. All rows without a patient are one item, whose patient is null. Places are line and "
        "column: `/7/value`.",
        examples=[[specimen(BatchItem)]],
    )
    counts: dict[ItemStatus, int] = Field(description="Items by status.", examples=[{"created": 15, "rejected": 1}])
    facts: Facts
    rows: int = Field(description="Rows of the table below its header.", examples=[412])
    skipped: dict[Literal["code", "value"], int] = Field(
        description="Rows that are not ours: another analyte (`code`), or no value (`value`).",
        examples=[{"code": 3, "value": 1}],
    )
    short: Short = None
    proposals: Proposed = None


_TABLE = text(CSV, {"type": "array", "items": reference(LabRow)})
EXAMPLES: tuple[dict[str, Cell], ...] = (
    {
        "patient": "P01", "time": "2005-03-16T09:48:00+09:00", "code": "CK", "value": 1101, "unit": "U/L",
        "upper_limit": 163, "lower_limit": 45, "lab": "A", "id": "acc-77", "issued": "2005-03-17T08:00:00+09:00",
        "status": "final",
    },
    {
        "patient": "P01", "time": "2005-03-23", "code": "2157-6", "value": 16.75, "unit": "ukat/L",
        "upper_limit": 2.72, "lab": "B", "code_system": "http://loinc.org", "code_text": "Creatine kinase",
    },
    {
        "patient": "P02", "time": "2005-03-16T10:05:00+09:00", "code": "LDH", "value": 100, "comparator": "<",
        "unit": "U/L", "upper_limit": 225, "lab": "A",
    },
)  # fmt: skip
"""Rows of the template. They are invented, and the service accepts them."""


@router.post(
    "/v1/studies/{study}/labs",
    operation_id="postLabs",
    summary="Add a table of laboratory results",
    openapi_extra=reads({CSV: _TABLE}, "A table in UTF-8: a header, then one result in each row."),
    responses={
        200: answers("One outcome for each patient.", reference(LabsOutcome)),
        **refuses(NotFound, Conflict, Erased, reading=True),
        NothingKept.status: REFUSED_BATCH,
    },
)
@gc_paused()  # as above
def post_labs(
    request: Request,
    study: StudyId,
    state: State,
    store: Writing,
    body: CsvBody,
    now: Now,
    client: Client,
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
    atomic: Annotated[
        Flag,
        Query(description="`true`: the whole table is stored in one revision, or nothing.", examples=["true"]),
    ] = "false",
    receipt: ReceiptWanted = None,
) -> Response:
    """Add results, as `events` does for one patient. A row that cannot be read is set aside, and the receipt of its
    patient says so; the other rows are stored. With `atomic=true` such a row refuses the table. The table may be sent
    again. Nothing about the dialect is guessed.
    """
    between: Delimiter = "\t" if delimiter == "tab" else delimiter
    dialect = Dialect(between, decimal, frozenset(word.strip() for word in missing.split(",")))
    secret = state.settings.secret
    stored = store_table(
        store, study, body, dialect, secret=secret, now=now, client=client, atomic=atomic == "true",
        full=receipt is not None,
    )  # fmt: skip
    return batch_reply(
        request, store, study, stored.items, stored.short, stored.faults, rows=stored.rows, skipped=stored.skipped
    )


@router.get(
    "/v1/templates/labs.csv",
    operation_id="getLabsTemplate",
    summary="Read a template for laboratory results",
    responses={
        200: answers("The template.", _TABLE, media_type=CSV),
        **refuses(),
    },
)
async def get_labs_template() -> Response:
    """A table with every column and three invented results. It can be filled in a spreadsheet and then posted."""
    rows = ([example.get(column) for column in LabRow.model_fields] for example in EXAMPLES)
    headers = {"Content-Disposition": 'attachment; filename="labs.csv"'}
    return Response("".join(lines(tuple(LabRow.model_fields), rows)), headers=headers, media_type=CSV)
