"""The search parameters that each type of resource takes, by GET and (as a form) by POST."""

from typing import Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field

from app.timeline.resource import SupportedType

MOST = 500
"""Resources on a page."""
USUAL = 100


def _text(name: str, description: str, value: str, longest: int = 1_000) -> Any:  # noqa: ANN401 - as Field is typed
    return Field(default=None, alias=name, max_length=longest, description=description, examples=[value])


def _times(name: str, description: str, value: str) -> Any:  # noqa: ANN401
    return Field(default=[], alias=name, description=description, examples=[[value]])


class Presentation(BaseModel):
    """What any address of the facade takes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: (
        Literal["json", "application/json", "application/fhir+json", "application/fhir json", "text/json"] | None
    ) = Field(default=None, alias="_format", description="JSON is the only format.", examples=["json"])
    pretty: Literal["true", "false"] | None = Field(
        default=None,
        alias="_pretty",
        description="Taken and passed over: answers are always indented.",
        examples=["true"],
    )


class PageSearch(Presentation):
    """What every search takes."""

    count: int = Field(
        default=USUAL,
        alias="_count",
        ge=0,
        le=MOST,
        description="Greatest number of resources on a page; 0 asks for the total only.",
        examples=[50],
    )
    total: Literal["none", "estimate", "accurate"] | None = Field(
        default=None,
        alias="_total",
        description="`accurate` asks for the total where it is not given anyway; it is given where patients or "
        "identifiers are named, and where one page holds all.",
        examples=["accurate"],
    )
    ids: str | None = _text(
        "_id", "Identifiers of resources, comma separated.", "g2v7k5mdyq3ha-x2uqyyj6cwmq7yzwn3tjqkdvqe", 4_000
    )
    last_updated: list[str] = _times(
        "_lastUpdated",
        "When the version that stands was received, with a prefix (`ge2026-11-22`); a date is that day in UTC. May be "
        "given more than once.",
        "ge2026-11-22T10:00:00Z",
    )
    identifier: str | None = _text(
        "identifier", "The sender's numbers as `system|value`, comma separated.", "urn:oid:1.2.3.4|acc-77"
    )
    cursor: str | None = Field(
        default=None,
        alias="_cursor",
        max_length=8_000,
        description="Where a page begins; only ever taken from the `next` link, and given alone.",
        examples=["WzE2LCJQMTYiXQ"],
    )


class FactSearch(PageSearch):
    """What every search for facts takes."""

    patient: str | None = _text("patient", "Patients, comma separated: `P01` or `Patient/P01`.", "P01")
    subject: str | None = _text("subject", "The same as `patient`.", "Patient/P01")
    subject_patient: str | None = _text("subject:Patient", "The same as `patient`.", "P01")
    patient_identifier: str | None = _text(
        "patient.identifier", "Identifiers of the patient as `system|value`, comma separated.", "urn:oid:1.2.3.9|1234"
    )
    subject_identifier: str | None = _text(
        "subject.identifier", "The same as `patient.identifier`.", "urn:oid:1.2.3.9|1234"
    )


class ObservationSearch(FactSearch):
    """The search parameters of Observation."""

    code: str | None = _text(
        "code",
        "What was measured, as `system|code` or `code`, comma separated: LOINC, `urn:myoresponse:codes`, and the "
        "study's own codes.",
        "http://loinc.org|2157-6",
    )
    date: list[str] = _times(
        "date",
        "When, with a prefix (eq, ne, gt, lt, ge, le, sa, eb) and any precision. A date is compared with the calendar "
        "day as the sender wrote it, a time (with offset) with the instant. May be given more than once.",
        "ge2005-03-16",
    )
    status: str | None = _text(
        "status",
        "Statuses, comma separated. Without it what is withdrawn (`cancelled`, `entered-in-error`) is left out.",
        "final,corrected",
    )


class MedicationAdministrationSearch(FactSearch):
    """The search parameters of MedicationAdministration."""

    code: str | None = _text(
        "code", "What was given, as `system|code` or `code`, comma separated.", "http://www.whocc.no/atc|J06BA02"
    )
    effective_time: list[str] = _times(
        "effective-time", "When it began, with a prefix; as `date` of Observation. May be repeated.", "lt2005-12-31"
    )
    status: str | None = _text(
        "status", "Statuses, comma separated. Without it `not-done` and `entered-in-error` are left out.", "completed"
    )


class AdverseEventSearch(FactSearch):
    """The search parameters of AdverseEvent."""

    date: list[str] = _times(
        "date", "The onset, with a prefix; as `date` of Observation. May be repeated.", "ge2005-04"
    )


class PatientSearch(PageSearch):
    """The search parameters of Patient."""


SEARCHES: dict[SupportedType, type[PageSearch]] = {
    "Patient": PatientSearch,
    "Observation": ObservationSearch,
    "MedicationAdministration": MedicationAdministrationSearch,
    "AdverseEvent": AdverseEventSearch,
}
TIMES = ("date", "effective_time")
"""The fields that ask when something happened."""

REPEATABLE = frozenset(
    str(field.alias)
    for model in SEARCHES.values()
    for field in model.model_fields.values()
    if get_origin(field.annotation) is list
)
"""The parameters that may be given more than once; all of them must then be met."""
