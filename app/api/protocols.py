"""The routes of the protocols: the presets, and the protocol of a study."""

from typing import Annotated, Literal, Self

from fastapi import Path, Response
from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, model_validator

from app.errors import Erased, NotFound, PreconditionFailed
from app.http.authentication import Client
from app.http.dependencies import IDENTIFIER, At, IfMatch, IfNoneMatch, JsonBody, Now, Store, StudyId, Writing
from app.http.openapi import JSON, NOT_MODIFIED, answers, reads, reference, refuses
from app.http.problems import unknown_name
from app.http.responses import reply, tagged, written
from app.http.routing import Operations
from app.protocol.model import Protocol
from app.protocol.presets import PRESETS, with_own_id
from app.readers.json_timelines import read_model
from app.store import studies
from app.store.snapshot import study_at
from app.submission.loop import Submitter

router = Operations(tags=["protocols"])

PresetId = Literal[
    "seed-2008", "myositis-2026", "relative-20", "acr-eular-2016-adult", "acr-eular-2016-juvenile", "imacs-2004"
]
ProtocolId = Annotated[
    str, Path(max_length=64, pattern=IDENTIFIER, description="Name of the preset.", examples=["seed-2008"])
]


def _form(value: object) -> str:
    return "preset" if isinstance(value, str) else "definitions"


Declared = Annotated[
    Annotated[PresetId, Tag("preset")] | Annotated[Protocol, AfterValidator(with_own_id), Tag("definitions")],
    Discriminator(_form),
]
"""A protocol in a document: the name of a preset, or the definitions themselves."""


def protocol_of(declared: PresetId | Protocol) -> Protocol:
    """The protocol: the preset of that name, or the definitions as they were sent."""
    return PRESETS[declared] if isinstance(declared, str) else declared


class OwnProtocol(Protocol):
    """A protocol that a client declares for a study."""

    @model_validator(mode="after")
    def _id_must_be_its_own(self) -> Self:
        with_own_id(self)
        return self


class Presets(BaseModel):
    """The protocols that ship with the service."""

    items: list[Protocol] = Field(description="The presets.", examples=[[{"id": "seed-2008"}]])
    next: None = Field(description="There is one page.", examples=[None])


def _protocol_reply(protocol: Protocol, status: int = 200) -> Response:
    return reply(protocol.model_dump(mode="json"), status)


@router.get(
    "/v1/protocols",
    operation_id="listProtocols",
    summary="List the preset protocols",
    responses={200: answers("The presets.", reference(Presets)), **refuses()},
)
async def list_protocols() -> Response:
    """The protocols that ship with the service, with every definition written out."""
    return reply({"items": [preset.model_dump(mode="json") for preset in PRESETS.values()], "next": None})


@router.get(
    "/v1/protocols/{protocol}",
    operation_id="getProtocol",
    summary="Read a preset protocol",
    responses={200: answers("The preset.", reference(Protocol)), **refuses(NotFound)},
)
async def get_protocol(protocol: ProtocolId) -> Response:
    """One preset, with every definition written out. It can be the start of your own protocol."""
    if protocol not in PRESETS:
        raise unknown_name(PRESETS)
    return _protocol_reply(PRESETS[protocol])


@router.get(
    "/v1/studies/{study}/protocol",
    operation_id="getStudyProtocol",
    summary="Read the protocol of a study",
    responses={
        200: answers("The protocol.", reference(Protocol), "ETag"),
        304: NOT_MODIFIED,
        **refuses(NotFound, Erased),
    },
)
def get_study_protocol(study: StudyId, store: Store, at: At, if_none_match: IfNoneMatch = None) -> Response:
    """The definitions in force at a revision."""
    with study_at(store, study, at) as found:
        declared = found.declared
        tag = found.etag(declared.protocol_digest)
    return tagged(written(declared.protocol.model_dump(mode="json")), tag, if_none_match)


@router.put(
    "/v1/studies/{study}/protocol",
    operation_id="putStudyProtocol",
    summary="Declare the protocol of a study",
    openapi_extra=reads({JSON: reference(Protocol)}, "Every definition; what is left out has the documented default."),
    responses={
        200: answers("The protocol that is now in force.", reference(Protocol)),
        **refuses(NotFound, PreconditionFailed, reading=True),
    },
)
def put_study_protocol(
    study: StudyId, store: Writing, body: JsonBody, now: Now, client: Client, if_match: IfMatch = None
) -> Response:
    """Declare a protocol. Past revisions keep theirs. Every answer says whether the protocol in force was
    declared after the first outcome had arrived. The same protocol again changes nothing.
    """
    protocol = read_model(body, OwnProtocol)
    Submitter(store, study, "protocol", now).commit(
        lambda transaction: studies.put_protocol(
            transaction, study, protocol, client=client, received_at=now, if_match=if_match
        )
    )
    return _protocol_reply(protocol)
