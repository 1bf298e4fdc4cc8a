"""The search parameters of each resource type, for GET and for POST with a form."""

from typing import Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field

from app.store.resource_search import Order
from app.timeline.resource import SupportedType

LARGEST_PAGE = 500
"""The greatest number of resources on a page."""
DEFAULT_PAGE = 100
TimeOrder = Literal["date", "-date", "_lastUpdated", "-_lastUpdated"]
EffectiveOrder = Literal["effective-time", "-effective-time", "_lastUpdated", "-_lastUpdated"]
ORDERS: dict[str, Order] = {"date": "time", "effective-time": "time", "effective": "time", "_lastUpdated": "received"}
"""What each word of `_sort` means."""


def _text(name: str, description: str, value: str, longest: int = 1_000) -> Any:  # noqa: ANN401 - as Field is typed
    return Field(default=None, alias=name, max_length=longest, description=description, examples=[value])


def _times(name: str, description: str, value: str) -> Any:  # noqa: ANN401 - as Field is typed
    return Field(default=[], alias=name, description=description, examples=[[value]])


def _sort(example: str = "-date") -> Any:  # noqa: ANN401 - as Field is typed
    return Field(
        default=None,
        alias="_sort",
        description="The order, with `-` the latest first. Without it, resources are in a fixed order. A day is sorted "
        "as its midnight in UTC; resources without a time come last.",
        examples=[example],
    )


def _never_null(schema: dict[str, Any]) -> None:
    """Describe a field of a form: it is absent or given, and never null."""
    for field in schema["properties"].values():
        if {"type": "null"} in field.get("anyOf", ()):
            [given] = (choice for choice in field.pop("anyOf") if choice != {"type": "null"})
            field.update(given)


class Presentation(BaseModel):
    """The parameters of every address of the facade."""

    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra=_never_null)

    format: (
        Literal["json", "application/json", "application/fhir+json", "application/fhir json", "text/json"] | None
    ) = Field(default=None, alias="_format", description="JSON is the only format.", examples=["json"])
    pretty: Literal["true", "false"] | None = Field(
        default=None,
        alias="_pretty",
        description="Accepted and ignored: answers are always indented.",
        examples=["true"],
    )


def _elements(what: str) -> Any:  # noqa: ANN401 - as Field is typed
    return Field(
        default=None,
        alias="_elements",
        max_length=1_000,
        pattern=r"^[a-z][A-Za-z]*(,[a-z][A-Za-z]*)*$",
        description=f"The names of the elements to show, separated by commas. Then {what} have the tag `SUBSETTED`; "
        "`id`, `meta` and what R4 requires are always shown, and such a part cannot be sent back.",
        examples=["status,code,valueQuantity"],
    )


class ReadPresentation(Presentation):
    """The parameters of the addresses that show one resource."""

    elements: str | None = _elements("the resource")


class VersionsPage(Presentation):
    """The parameters of the versions of a resource."""

    count: int = Field(
        default=DEFAULT_PAGE,
        alias="_count",
        ge=1,
        description=f"Greatest number of versions on a page. A page has at most {LARGEST_PAGE}.",
        examples=[50],
    )
    since: str | None = Field(
        default=None,
        alias="_since",
        max_length=40,
        description="Only versions that were received at this time or later: a date (in UTC), or a time with offset.",
        examples=["2026-11-22T10:00:00Z"],
    )
    cursor: str | None = Field(
        default=None,
        alias="_cursor",
        max_length=1_000,
        description="The position of a page, from the link `next`. Only `_count` may be sent with it.",
        examples=["WzE2LCJQMTYiXQ"],
    )


class WritePresentation(Presentation):
    """The parameters of every address that stores resources."""

    receipt: Literal["full"] | None = Field(
        default=None, description="`full`: the receipt lists every fact.", examples=["full"]
    )


class PageSearch(Presentation):
    """The parameters of every search."""

    count: int = Field(
        default=DEFAULT_PAGE,
        alias="_count",
        ge=0,
        description="Greatest number of resources on a page; 0 gives the total only. A page has at most "
        f"{LARGEST_PAGE}, also if more are asked for: the link `self` has the number that is used.",
        examples=[50],
    )
    summary: Literal["count", "false"] | None = Field(
        default=None, alias="_summary", description="`count`: the total only.", examples=["count"]
    )
    elements: str | None = _elements("the resources")
    total: Literal["none", "estimate", "accurate"] | None = Field(
        default=None,
        alias="_total",
        description="`accurate` always gives the total; `none` never. Otherwise it is given if patients or identifiers "
        "are named, or if one page holds all resources.",
        examples=["accurate"],
    )
    total_method: Literal["count"] | None = Field(
        default=None, alias="_totalMethod", description="The same as `_total=accurate`.", examples=["count"]
    )
    ids: str | None = _text(
        "_id", "Identifiers of resources, separated by commas.", "g2v7k5mdyq3ha-x2uqyyj6cwmq7yzwn3tjqkdvqe", 4_000
    )
    last_updated: list[str] = _times(
        "_lastUpdated",
        "When the current version was received, with a prefix (`ge2026-11-22`); a date is a day in UTC. May be "
        "repeated.",
        "ge2026-11-22T10:00:00Z",
    )
    identifier: str | None = _text(
        "identifier", "The sender's numbers as `system|value`, separated by commas.", "urn:oid:1.2.3.4|acc-77"
    )
    cursor: str | None = Field(
        default=None,
        alias="_cursor",
        max_length=8_000,
        description="The position of a page, from the link `next`. Of the other parameters, only `_count` fits it.",
        examples=["WzE2LCJQMTYiXQ"],
    )


class FactSearch(PageSearch):
    """The parameters of every search for facts."""

    patient: str | None = _text("patient", "Patients, separated by commas: `P01` or `Patient/P01`.", "P01")
    subject: str | None = _text("subject", "The same as `patient`.", "Patient/P01")
    subject_patient: str | None = _text("subject:Patient", "The same as `patient`.", "P01")
    patient_identifier: str | None = _text(
        "patient.identifier", "Identifiers of patients as `system|value`, separated by commas.", "urn:oid:1.2.3.9|1234"
    )
    subject_identifier: str | None = _text(
        "subject.identifier", "The same as `patient.identifier`.", "urn:oid:1.2.3.9|1234"
    )


class ObservationSearch(FactSearch):
    """The search parameters of Observation."""

    category: str | None = _text(
        "category",
        "Categories as `system|code` or `code`, separated by commas: `laboratory` for laboratory results, `exam` for "
        "assessments. There are no others here.",
        "laboratory",
    )
    sort: TimeOrder | None = _sort()
    code: str | None = _text(
        "code",
        "What was measured, as `system|code` or `code`, separated by commas. The systems are LOINC, "
        "`urn:myoresponse:codes`, and those of the study's own codes.",
        "http://loinc.org|2157-6",
    )
    date: list[str] = _times(
        "date",
        "The effective time, with a prefix (eq, ne, gt, lt, ge, le, sa, eb) and any precision. A date is compared with "
        "the calendar day as the sender wrote it, a time (with offset) with the instant. May be repeated.",
        "ge2005-03-16",
    )
    status: str | None = _text(
        "status",
        "Statuses, separated by commas. Without this parameter, withdrawn resources (`cancelled`, `entered-in-error`) "
        "are left out.",
        "final,corrected",
    )


class MedicationAdministrationSearch(FactSearch):
    """The search parameters of MedicationAdministration."""

    sort: EffectiveOrder | None = _sort("-effective-time")
    code: str | None = _text(
        "code", "What was given, as `system|code` or `code`, separated by commas.", "http://www.whocc.no/atc|J06BA02"
    )
    effective_time: list[str] = _times(
        "effective-time", "The start, with a prefix, as for `date` of Observation. May be repeated.", "lt2005-12-31"
    )
    status: str | None = _text(
        "status",
        "Statuses, separated by commas. Without this parameter, `not-done` and `entered-in-error` are left out.",
        "completed",
    )


class MedicationStatementSearch(FactSearch):
    """The search parameters of MedicationStatement."""

    sort: Literal["effective", "-effective", "_lastUpdated", "-_lastUpdated"] | None = _sort("-effective")
    effective: list[str] = _times(
        "effective", "The first day, with a prefix, as for `date` of Observation. May be repeated.", "lt2005-12-31"
    )


class MedicationRequestSearch(FactSearch):
    """The search parameters of MedicationRequest."""

    sort: TimeOrder | None = _sort()
    date: list[str] = _times(
        "date", "The first day, with a prefix, as for `date` of Observation. May be repeated.", "lt2005-12-31"
    )


class AdverseEventSearch(FactSearch):
    """The search parameters of AdverseEvent."""

    sort: TimeOrder | None = _sort()

    date: list[str] = _times(
        "date", "The onset, with a prefix, as for `date` of Observation. May be repeated.", "ge2005-04"
    )


class PatientSearch(PageSearch):
    """The search parameters of Patient."""

    sort: Literal["_lastUpdated", "-_lastUpdated"] | None = _sort("-_lastUpdated")


SEARCHES: dict[SupportedType, type[PageSearch]] = {
    "Patient": PatientSearch,
    "Observation": ObservationSearch,
    "MedicationAdministration": MedicationAdministrationSearch,
    "MedicationStatement": MedicationStatementSearch,
    "MedicationRequest": MedicationRequestSearch,
    "AdverseEvent": AdverseEventSearch,
}
TIMES = ("date", "effective_time", "effective")
"""The fields for the time of a fact."""

REPEATABLE = frozenset(
    str(field.alias)
    for model in SEARCHES.values()
    for field in model.model_fields.values()
    if get_origin(field.annotation) is list
)
"""The parameters that may be repeated; a resource must meet all of them."""
