"""The FHIR facade in the API description: its schemas, its responses, and its refusals as OperationOutcome."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument, ServiceError
from app.fhir.operation_outcome import EXAMPLE_INSTANCE, FHIR_JSON, OperationOutcome, refused
from app.http.openapi import ALWAYS, JSON, READING, Responses, answers, headers_of, reads, reference, shared, together


class FhirResource(BaseModel):
    """A resource of FHIR R4 (4.0.1); its other elements depend on its type. `GET metadata` lists the types."""

    model_config = ConfigDict(extra="allow")

    resourceType: str = Field(description="Type of the resource.", examples=["Observation"])  # noqa: N815 - FHIR
    id: str | None = Field(
        default=None, description="Identifier of the resource in addresses.", examples=["g2v7k5mdyq3ha"]
    )
    meta: dict[str, Any] | None = Field(
        default=None,
        description="`versionId`, the revision that stored this version, and `lastUpdated`.",
        examples=[{"versionId": "17", "lastUpdated": "2026-11-22T10:00:00Z"}],
    )


class FhirBundle(BaseModel):
    """A Bundle of FHIR R4."""

    model_config = ConfigDict(extra="allow")

    resourceType: Literal["Bundle"] = Field(description="Always this.", examples=["Bundle"])  # noqa: N815 - FHIR
    type: str = Field(description="What kind of bundle it is.", examples=["transaction"])
    entry: list[dict[str, Any]] | None = Field(
        default=None,
        description="The entries. In a submission: `resource` and, in a transaction or batch, `request`. In the answer "
        "to it: `response`, in the same order. In a search: `resource`.",
        examples=[[{"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}}]],
    )


def reads_fhir(model: type[BaseModel], description: str) -> dict[str, Any]:
    """The request body of an operation, for `openapi_extra`."""
    return reads({FHIR_JSON: reference(model), JSON: reference(model)}, description)


def answers_fhir(description: str, model: type[BaseModel], *headers: str) -> dict[str, Any]:
    """One documented response."""
    return answers(description, reference(model), *headers, media_type=FHIR_JSON)


def refuses_fhir(*kinds: type[ServiceError], reading: bool = False) -> Responses:
    """The documented refusals of an operation of the facade: those of `kinds` and those that every operation has."""
    chosen = sorted({*kinds, *ALWAYS, *(READING if reading else ())}, key=lambda kind: kind.status)
    return {kind.status: _refusal(kind) for kind in chosen}


def examples_of(kind: type[ServiceError]) -> dict[str, Any]:
    """An example of a refusal of this kind, for the content of a response."""
    faults = {
        InvalidDocument: [Fault("Observation.valueQuantity.code", FaultCode.UNKNOWN_UNIT)],
        MalformedDocument: [Fault("", FaultCode.MALFORMED)],
    }.get(kind, [])
    return {kind.slug: {"summary": kind.title(), "value": refused(kind(faults=faults), EXAMPLE_INSTANCE)}}


def _refusal(kind: type[ServiceError]) -> dict[str, Any]:
    kinds = together(kind)
    documented = answers_fhir(" ".join(f"{each.title()}." for each in kinds), OperationOutcome, *headers_of(kind))
    documented["content"][FHIR_JSON]["examples"] = {
        name: example for each in kinds for name, example in examples_of(each).items()
    }
    return shared(f"Fhir{kind.__name__}", documented)
