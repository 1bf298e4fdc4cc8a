"""The routes of the studies. A study is a name, a protocol and patients; studies share nothing."""

from dataclasses import fields
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from pydantic_core import PydanticCustomError

from app.api.protocols import Declared, protocol_of
from app.errors import Accepts, MalformedDocument, NotFound, PreconditionFailed
from app.http.authentication import CallerOf, Client
from app.http.dependencies import (
    Cursor,
    IfMatch,
    IfNoneMatch,
    JsonBody,
    Limit,
    Now,
    OnlyIfAbsent,
    State,
    Store,
    StudyId,
    Writing,
)
from app.http.openapi import JSON, NOT_MODIFIED, answers, reads, reference, refuses, specimen
from app.http.responses import address, page, reply, tagged, written
from app.http.routing import Operations
from app.protocol.parts import contradiction
from app.protocol.presets import SEED_2008
from app.readers.charsets import Charset
from app.readers.json_timelines import read_model
from app.readers.table_layout import TableMapping
from app.store import snapshot, studies
from app.store.engine import Transaction
from app.store.etags import keyed_etag
from app.store.snapshot import study_at
from app.submission.loop import Submitter
from app.timeline.document import TEXT_PATTERN, Document, Text
from app.timeline.times import instant_text
from app.timeline.vocabulary import UNITS, Meaning, unit_alias_fault
from app.timeline.zones import TimeZone

router = Operations(tags=["studies"])


LOCAL_CODE = r"^[^|\x00-\x1f\x7f-\x9f]{0,200}\|[^\x00-\x1f\x7f-\x9f]{1,100}$"
CHARSET_NAME = r"^[A-Za-z0-9 ._/:\-]*$"
Identifiers = Annotated[
    studies.Identifiers,
    Field(
        description="What the identifiers in FHIR, HL7 v2 and CSV are. `medical_record`: numbers of a hospital. They "
        "are never stored; each becomes a pseudonym by the secret of the service. `pseudonyms`: stored unchanged.",
        examples=["pseudonyms"],
    ),
]
Authorities = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=TEXT_PATTERN)], ...],
    Field(
        max_length=20,
        description="The names that feeds use for the one authority whose identifiers identify patients: a FHIR "
        "system, an assigning authority of HL7 v2. Identifiers of other authorities are ignored. A later change can "
        "assign data to another patient: declare it before the first message.",
        examples=[["urn:oid:1.2.392.200119.4.1", "WARD7"]],
    ),
]
LocalCodes = Annotated[
    dict[Annotated[str, StringConstraints(pattern=LOCAL_CODE)], Meaning],
    Field(
        max_length=1_000,
        description="Codes of feeds in addition to LOINC, ATC and our own codes: `system|code` and its meaning (a "
        "laboratory code, a code of an assessment, or IVIG).",
        examples=[{"L|CK": "CK"}],
    ),
]


def _known_unit(spelling: str) -> str:
    if spelling not in UNITS:
        accepts = Accepts(one_of=tuple(UNITS))
        raise PydanticCustomError("unknown_unit", "no unit of the vocabulary", {"accepts": accepts})
    return spelling


def _new_spellings(aliases: dict[str, str]) -> dict[str, str]:
    if any(unit_alias_fault(alias, unit) for alias, unit in aliases.items()):
        raise contradiction("An alias of a unit is blank, or an accepted unit that means another one.")
    return aliases


UnitAliases = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=TEXT_PATTERN)],
        Annotated[str, AfterValidator(_known_unit)],
    ],
    AfterValidator(_new_spellings),
    Field(
        max_length=200,
        description="Units as feeds write them, and the unit that each means.",
        examples=[{"E/L": "U/L"}],
    ),
]
Charsets = Annotated[
    dict[Annotated[str, StringConstraints(max_length=40, pattern=CHARSET_NAME)], Charset],
    Field(
        max_length=20,
        description="Names of character sets as MSH-18 of HL7 v2 has them (empty: MSH-18 is empty), and the character "
        "set that each means.",
        examples=[{"": "ISO-8859-1"}],
    ),
]
MessageOffset = Annotated[
    studies.MessageOffset,
    Field(
        description="`default`: times of an HL7 v2 message without an offset have that of MSH-7, if the study has no "
        "`time_zone`. `ignore`: the offset of MSH-7 says nothing about other times.",
        examples=["default"],
    ),
]
ResultTime = Annotated[
    studies.ResultTime,
    Field(
        description="`OBX-14`: each result of an HL7 v2 message has its own specimen time there. `OBR-7`: results have "
        "the specimen time of their order.",
        examples=["OBR-7"],
    ),
]
NativeIds = Annotated[
    studies.NativeIds,
    Field(
        description="`known`: native JSON may name only patients that the study has; new ones need an `identifier`.",
        examples=["any"],
    ),
]


def _named_once(tables: tuple[TableMapping, ...]) -> tuple[TableMapping, ...]:
    if len({table.name for table in tables}) < len(tables):
        raise contradiction("Two tables have the same name.")
    return tables


Tables = Annotated[
    tuple[TableMapping, ...],
    Field(
        max_length=50,
        description="Layouts of tables that other systems write. A request names one as its `mapping`.",
        examples=[[specimen(TableMapping)]],
    ),
    AfterValidator(_named_once),
]
EnrolledOnly = Annotated[
    bool,
    Field(description="Whether feeds may not add patients: results of others are set aside.", examples=[False]),
]


class StudyDefinition(Document):
    """What a client declares about a study."""

    name: Text = Field(description="Name for people to read.", examples=["IVIG in steroid-resistant myositis"])
    protocol: Declared = Field(
        default="myositis-2026",
        description="Name of a preset, or the definitions themselves. Without it a new study gets `myositis-2026`, and "
        "another keeps its own.",
        examples=["seed-2008"],
    )
    time_zone: TimeZone | None = Field(
        default=None,
        max_length=64,
        description="IANA name of the time zone in which days are counted. Without it, the day is the date as it is "
        "written.",
        examples=["Asia/Tokyo"],
    )
    test: bool = Field(default=False, description="Whether it is a test without real patients.", examples=[False])
    identifiers: Identifiers = "medical_record"
    authorities: Authorities = ()
    local_codes: LocalCodes = Field(default_factory=dict)
    unit_aliases: UnitAliases = Field(default_factory=dict)
    charsets: Charsets = Field(default_factory=dict)
    message_offset: MessageOffset = "default"
    result_time: ResultTime = "OBR-7"
    native_ids: NativeIds = "any"
    enrolled_only: EnrolledOnly = False
    tables: Tables = ()


class ProtocolName(BaseModel):
    """Which protocol a study has."""

    id: str = Field(description="Name of the protocol.", examples=["seed-2008"])
    digest: str = Field(description="Digest of its definitions, as in every answer.", examples=[SEED_2008.digest])


class StudySummary(BaseModel):
    """The current state of a study."""

    id: str = Field(description="Identifier in addresses.", examples=["demo"])
    name: str = Field(description="Name for people to read.", examples=["IVIG in steroid-resistant myositis"])
    protocol: ProtocolName = Field(
        description="The protocol in force.", examples=[{"id": "seed-2008", "digest": "sha256:..."}]
    )
    time_zone: str | None = Field(description="Time zone in which days are counted.", examples=["Asia/Tokyo"])
    test: bool = Field(description="Whether it is a test without real patients.", examples=[False])
    identifiers: Identifiers
    authorities: Authorities
    local_codes: LocalCodes
    unit_aliases: UnitAliases
    charsets: Charsets
    message_offset: MessageOffset
    result_time: ResultTime
    native_ids: NativeIds
    enrolled_only: EnrolledOnly
    tables: Tables
    revision: int = Field(description="The latest revision.", examples=[16])
    patients: int = Field(description="Patients at that revision.", examples=[16])
    created_at: str = Field(description="When the study was created.", examples=["2026-11-22T09:59:00Z"])
    received_at: str = Field(description="When the latest revision was received.", examples=["2026-11-22T10:00:00Z"])


class StudyPage(BaseModel):
    """A page of studies, by identifier."""

    items: list[StudySummary] = Field(description="The studies.", examples=[[specimen(StudySummary)]])
    next: str | None = Field(description="Address of the next page.", examples=["/v1/studies?cursor=WyJkZW1vIl0"])


def summary(study: studies.Study) -> dict[str, Any]:
    """A study as a JSON object."""
    return {
        "id": study.id,
        "name": study.name,
        "protocol": {"id": study.protocol.id, "digest": study.protocol_digest},
        "time_zone": study.time_zone,
        "test": study.test,
        "identifiers": study.feeds.identifiers,
        "authorities": study.feeds.authorities,
        "local_codes": dict(sorted(study.feeds.local_codes.items())),
        "unit_aliases": dict(sorted(study.feeds.unit_aliases.items())),
        "charsets": dict(sorted(study.feeds.charsets.items())),
        "message_offset": study.feeds.message_offset,
        "result_time": study.feeds.result_time,
        "native_ids": study.feeds.native_ids,
        "enrolled_only": study.feeds.enrolled_only,
        "tables": study.feeds.tables,
        "revision": study.revision,
        "patients": study.patients,
        "created_at": instant_text(study.created_at),
        "received_at": instant_text(study.received_at),
    }


@router.get(
    "/v1/studies",
    operation_id="listStudies",
    summary="List the studies",
    responses={200: answers("A page of studies.", reference(StudyPage), "Link"), **refuses(MalformedDocument)},
)
def list_studies(
    request: Request, state: State, caller: CallerOf, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """The studies that the caller may know of, in order of their identifiers."""
    question = ("studies",)
    after = state.cursors.read(question, cursor)[0] if cursor else None
    found = snapshot.list_studies(state.database, after=after, limit=limit + 1, among=caller.studies)
    following = state.cursors.sign(question, [found[limit - 1].id]) if len(found) > limit else None
    return page(request, [summary(each) for each in found[:limit]], following)


@router.get(
    "/v1/studies/{study}",
    operation_id="getStudy",
    summary="Read a study",
    responses={
        200: answers("The study.", reference(StudySummary), "ETag"),
        304: NOT_MODIFIED,
        **refuses(NotFound),
    },
)
def get_study(study: StudyId, store: Store, if_none_match: IfNoneMatch = None) -> Response:
    """The current state of the study. Its ETag changes with every revision."""
    with study_at(store, study) as found:
        body = written(summary(found.declared))
        tag = found.etag(body.decode())
    return tagged(body, tag, if_none_match)


def check_unchanged(transaction: Transaction, study: str, if_match: str | None) -> None:
    """Raise `PreconditionFailed` if If-Match does not name the current study (strong comparison)."""
    if if_match is None:
        return
    named = {tag.strip() for tag in if_match.split(",")}
    if not studies.lock(transaction, study):
        raise PreconditionFailed("If-Match was sent, but the study does not exist.")
    body = written(summary(studies.get_study(transaction, study))).decode()
    if "*" not in named and keyed_etag(transaction, study, body) not in named:
        raise PreconditionFailed


@router.put(
    "/v1/studies/{study}",
    operation_id="putStudy",
    summary="Create or change a study",
    openapi_extra=reads({JSON: reference(StudyDefinition)}, "The declaration of the study."),
    responses={
        200: answers("The study; it existed.", reference(StudySummary)),
        201: answers("The study; it is new.", reference(StudySummary), "Location"),
        **refuses(NotFound, PreconditionFailed, reading=True),
    },
)
def put_study(
    request: Request,
    study: StudyId,
    store: Writing,
    body: JsonBody,
    now: Now,
    client: Client,
    if_match: IfMatch = None,
    if_none_match: OnlyIfAbsent = None,
) -> Response:
    """Create or change a study. The same content again changes nothing. A change makes a new revision.
    `If-None-Match: *` allows only to create.
    """
    declared = read_model(body, StudyDefinition)
    names = [field.name for field in fields(studies.FeedDefinition)]
    tables = tuple(table.model_dump(mode="json", exclude_defaults=True) for table in declared.tables)
    feeds = studies.FeedDefinition(**{name: getattr(declared, name) for name in names} | {"tables": tables})
    protocol = protocol_of(declared.protocol) if "protocol" in declared.model_fields_set else None
    definition = studies.StudyDeclaration(declared.name, protocol, declared.time_zone, declared.test, feeds)
    only_new = if_none_match is not None

    def declare(transaction: Transaction) -> tuple[studies.StudyOutcome, studies.Study]:
        check_unchanged(transaction, study, if_match)
        outcome = studies.put_study(transaction, study, definition, client=client, received_at=now, only_new=only_new)
        return outcome, studies.get_study(transaction, study)

    outcome, stored = Submitter(store, study, "study", now).commit(declare)
    if outcome.status == "created":
        return reply(summary(stored), 201, {"Location": address(request, f"/v1/studies/{study}")})
    return reply(summary(stored))
