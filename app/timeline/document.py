"""The timeline document as a client writes it: our native JSON, strict and frozen.

These models check shape, type and range, one field at a time, from the raw bytes. What needs more than one field, or
the calendar, is checked where the document becomes facts (`facts.py`), so that a reader can report both kinds together.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from app.timeline.times import DATE_PATTERN, TIME_PATTERN
from app.timeline.vocabulary import (
    AssessmentCode,
    Comparator,
    Diagnosis,
    EndReason,
    InfusionUnit,
    LabCode,
    Loinc,
    MedicationUnit,
    Relation,
    Severity,
    Sex,
    Status,
)

GREATEST_VALUE = 1e7
"""No enzyme activity in U/L and no myoglobin in ug/L comes near it; a greater number is a fault of the sender."""

IDENTIFIER_PATTERN = r"^[A-Za-z0-9.\-]{1,64}$"
TEXT_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"

Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=TEXT_PATTERN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=TEXT_PATTERN)]
CalendarDate = Annotated[str, WithJsonSchema({"type": "string", "pattern": DATE_PATTERN})]
Time = Annotated[str, WithJsonSchema({"type": "string", "pattern": TIME_PATTERN})]
"""Any text passes here: what is wrong with a time is found where it is read, `moments.py`, and nowhere else."""
AnyLabCode = Literal[LabCode, Loinc]
Element = TypeVar("Element")
Many = Annotated[tuple[Element, ...], Field(fail_fast=True)]
"""A list whose checking ends at the first bad element: an error is many times larger than what it is about, and eight
million of them would take all memory. Whoever refuses the document looks at the elements one by one.
"""
Measured = Annotated[float, Field(ge=0, le=GREATEST_VALUE)]
Limit = Annotated[float, Field(gt=0, le=GREATEST_VALUE)]


class Document(BaseModel):
    """What all parts of a document share: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def example(description: str, value: Any, **limits: Any) -> Any:  # noqa: ANN401 - pydantic's own Field is typed so
    """A required field with what the documentation says of it."""
    return Field(description=description, examples=[value], **limits)


def optional(description: str, value: Any, **limits: Any) -> Any:  # noqa: ANN401 - pydantic's own Field is typed so
    """A field that may be left out or `null`, with what the documentation says of it."""
    return Field(default=None, description=description, examples=[value], **limits)


class Sourced(Document):
    """What a sender may say of any fact beside its content: who says it, under which number, in which version."""

    id: Identifier | None = optional("The sender's own number of this fact, for example an accession number.", "acc-77")
    source: Label | None = optional(
        "Who gave `id`: a laboratory or system. A laboratory result falls back to `lab`.", "A"
    )
    version: int | None = optional(
        "Version of the fact at its source; of two versions the greater stands, in whatever order they arrive.",
        2,
        ge=0,
        le=2**53 - 1,
    )
    issued: Time | None = optional(
        "When the source released this version (date-time with offset); decides between equal versions.",
        "2005-03-17T08:00:00+09:00",
    )
    status: Status | None = optional(
        "`final` where absent; `entered-in-error` and `cancelled` withdraw the fact.", "final"
    )


class Patient(Document):
    """Who the timeline is about; no name, no address, no date of birth beyond the year."""

    id: Identifier = example("Subject identifier within the study, a pseudonym.", "P01")
    sex: Sex | None = optional("Sex as recorded.", "female")
    birth_year: int | None = optional("Year of birth.", 1953, ge=1900, le=2200)
    diagnosis: Diagnosis | None = optional("Diagnosis as at the start of treatment.", "polymyositis")
    weight_kg: float | None = optional("Body weight in kg.", 49, gt=0, le=700)
    steroid_resistant: bool | None = optional("Whether corticosteroids had failed before.", True)
    merged_into: Identifier | None = optional(
        "This record is of the same person as that one; analyses read both as one.", "P07"
    )


class LabResult(Sourced):
    """One laboratory result with the upper limit of normal that belongs to it."""

    code: AnyLabCode = example("Short name or LOINC code of the analyte.", "CK")
    time: Time = example("When the sample was drawn.", "2005-03-16T09:48:00+09:00")
    value: Measured | None = optional("The result, in `unit`. Required unless the status withdraws the result.", 1101)
    unit: str | None = optional(
        "UCUM unit or a documented alias; never guessed. Required with `value`.", "U/L", max_length=32
    )
    comparator: Comparator | None = optional("The result is known only to be below or above `value`.", "<")
    upper_limit: Limit | None = optional("Upper limit of normal of this result, in `unit`.", 163)
    lower_limit: Measured | None = optional("Lower limit of normal of this result, in `unit`.", 45)
    lab: Label | None = optional("The laboratory that measured.", "A")


class LabSeries(Document):
    """Many results of one analyte as columns: the facts of `LabResult`, several times cheaper to send and to read."""

    code: AnyLabCode = example("Short name or LOINC code of the analyte.", "CK")
    unit: str = example("UCUM unit or a documented alias, of all values and limits.", "U/L", max_length=32)
    upper_limit: Limit | None = optional(
        "Upper limit of normal of every result that `upper_limits` does not name.", 163
    )
    lower_limit: Measured | None = optional("Lower limit of normal of every result.", 45)
    lab: Label | None = optional("The laboratory that measured.", "A")
    source: Label | None = optional("Who gave the `ids`; falls back to `lab`.", "A")
    times: Many[Time] = example("When each sample was drawn.", ["2005-03-23T11:33:00+09:00"])
    values: Many[Measured] = example("The results, in `unit`.", [1005])
    ids: Many[Identifier | None] | None = optional("The sender's number of each result.", ["acc-78"])
    statuses: Many[Status | None] | None = optional("Status of each result.", ["final"])
    comparators: Many[Comparator | None] | None = optional("Comparator of each result.", [None])
    upper_limits: Many[Limit | None] | None = optional("Upper limit of normal of each result.", [163])


class Assessment(Sourced):
    """One score of a clinical instrument."""

    code: AssessmentCode = example("Which instrument.", "MMT")
    time: Time = example("When it was assessed.", "2005-03-16")
    score: float | None = optional("The score. Required unless the status withdraws the assessment.", 62, ge=0, le=1000)
    scale_max: float | None = optional("Greatest score of the scale used; MMT and ADL only.", 100, gt=0, le=1000)


class Infusion(Sourced):
    """One infusion that was started."""

    time: Time = example("When the infusion started.", "2005-04-11")
    product: Label = example("What was infused; the protocol names the products that count.", "IVIG")
    dose: float | None = optional("Dose in `unit`.", 0.4, ge=0, le=1e6)
    unit: InfusionUnit | None = optional("Unit of the dose.", "g/kg")
    course: int | None = optional(
        "Number of the course as the sender counts; the protocol's gap rule decides.", 1, ge=1, le=1000
    )


class Medication(Sourced):
    """One drug at one dose over a period."""

    drug: Label = example("Name of the drug.", "prednisolone")
    start: CalendarDate = example("First day.", "2005-01-20")
    end: CalendarDate | None = optional("Last day; `null` while it goes on.", "2005-06-30")
    dose: float | None = optional("Dose in `unit`.", 50, ge=0, le=1e6)
    unit: MedicationUnit | None = optional("Unit of the dose.", "mg/d")


class AdverseEvent(Sourced):
    """One adverse event."""

    onset: Time | None = optional("When it began; without it the event is counted and flagged.", "2005-04-12")
    term: Text = example("What happened, in the sender's words or dictionary.", "headache")
    severity: Severity | None = optional("Severity.", "mild")
    serious: bool | None = optional("Whether it met a criterion of seriousness.", False)
    related: Relation | bool | None = optional(
        "Relation to the infusion; absent means unknown, which counts as related.", "possible"
    )


class Ended(Document):
    """When and why the patient left the study."""

    date: CalendarDate = example("Last day in the study.", "2006-09-01")
    reason: EndReason = example("Why.", "completed")


class Timeline(Document):
    """One patient's history, or a part of it."""

    patient: Patient = example("Who it is about.", {"id": "P01", "sex": "female", "diagnosis": "polymyositis"})
    labs: Many[LabResult] = Field(
        default=(),
        description="Laboratory results, one object each.",
        examples=[[{"code": "CK", "time": "2005-03-16", "value": 1101, "unit": "U/L", "upper_limit": 163}]],
    )
    lab_series: Many[LabSeries] = Field(
        default=(),
        description="Laboratory results as columns.",
        examples=[[{"code": "CK", "unit": "U/L", "upper_limit": 163, "times": ["2005-03-23"], "values": [1005]}]],
    )
    assessments: Many[Assessment] = Field(
        default=(), description="Scores.", examples=[[{"code": "MMT", "time": "2005-03-16", "score": 62}]]
    )
    infusions: Many[Infusion] = Field(
        default=(),
        description="Infusions.",
        examples=[[{"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg", "course": 1}]],
    )
    medications: Many[Medication] = Field(
        default=(),
        description="Other drugs over time.",
        examples=[[{"drug": "prednisolone", "start": "2005-01-20", "end": None, "dose": 50, "unit": "mg/d"}]],
    )
    adverse_events: Many[AdverseEvent] = Field(
        default=(),
        description="Adverse events.",
        examples=[[{"id": "ae-1", "onset": "2005-04-12", "term": "headache", "related": "possible"}]],
    )
    ended: Ended | None = optional("End of participation.", {"date": "2006-09-01", "reason": "completed"})


Kind = Literal["attribute", "lab_result", "assessment", "infusion", "medication", "adverse_event"]

ITEMS: dict[str, type[Sourced]] = {
    "labs": LabResult,
    "assessments": Assessment,
    "infusions": Infusion,
    "medications": Medication,
    "adverse_events": AdverseEvent,
}
"""What each section of a timeline that holds facts consists of."""
