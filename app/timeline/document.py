"""The timeline document as a client writes it: our own JSON format.

These models check shape, type and range of each field. Checks that need more than one field or the calendar are in
`normalize.py`, which turns the document into facts; a reader reports the faults of both together.
"""

from typing import Annotated, Any, Literal, TypeVar
from unicodedata import decomposition

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from app.timeline.same_facts import Decided, PairKind
from app.timeline.times import DATE_PATTERN, PARTIAL_PATTERN, TIME_PATTERN
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
"""Every enzyme activity in U/L and every myoglobin in ug/L is far below it; a greater number is an error."""

IDENTIFIER_PATTERN = r"^[A-Za-z0-9.\-]{1,64}$"
TEXT_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"


def normalised(written: str) -> str:
    """A number as it is compared: without blanks around it, and with characters of the usual width.

    Nothing else changes: zeros at the beginning, small letters and punctuation are parts of a number.
    """
    written = written.strip()
    return written if written.isascii() else "".join(map(_of_usual_width, written)).strip()


def _of_usual_width(character: str) -> str:
    width, _, code = decomposition(character).partition(" ")
    return chr(int(code, 16)) if width in {"<wide>", "<narrow>"} else character


_WIDE_BLANKS = str.maketrans("\u00a0\u3000", "  ")


def _normalised(written: object) -> object:
    """The identifier without blanks. One with line breaks or control characters stays as it is, and is refused."""
    plain = isinstance(written, str) and written.translate(_WIDE_BLANKS).isprintable()
    return normalised(written) if isinstance(written, str) and plain else written


Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER_PATTERN)]
PatientIdentifier = Annotated[Identifier, BeforeValidator(_normalised)]
"""An identifier of a patient, normalised as the numbers of patients in all formats."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=TEXT_PATTERN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=TEXT_PATTERN)]
AttributeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
CalendarDate = Annotated[str, WithJsonSchema({"type": "string", "pattern": DATE_PATTERN})]
Time = Annotated[str, WithJsonSchema({"type": "string", "pattern": TIME_PATTERN})]
"""The model accepts any text; `times.py` checks the time when it reads it."""
PartialTime = Annotated[str, WithJsonSchema({"type": "string", "pattern": PARTIAL_PATTERN})]
AnyLabCode = Literal[LabCode, Loinc]
FactKey = Annotated[str, StringConstraints(min_length=2, max_length=400, pattern=TEXT_PATTERN)]
MOST_DECISIONS = 10_000
Element = TypeVar("Element")
Many = Annotated[tuple[Element, ...], Field(fail_fast=True, strict=False)]
"""A list whose check ends at the first bad element, because eight million errors of Pydantic would use all memory. To
list all faults, `readers.faults.structure` checks the elements one by one.
"""
Measured = Annotated[float, Field(ge=0, le=GREATEST_VALUE)]
Limit = Annotated[float, Field(gt=0, le=GREATEST_VALUE)]


class Document(BaseModel):
    """The common base of all parts of a document: no unknown fields, no conversion, no later change."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def example(description: str, value: Any, **limits: Any) -> Any:  # noqa: ANN401 - pydantic's own Field is typed so
    """A required field with its description and an example for the documentation."""
    return Field(description=description, examples=[value], **limits)


def optional(description: str, value: Any, **limits: Any) -> Any:  # noqa: ANN401 - pydantic's own Field is typed so
    """A field that may be absent or `null`, with its description and an example for the documentation."""
    return Field(default=None, description=description, examples=[value], **limits)


class Sourced(Document):
    """What a sender may state of any fact in addition to its content: number, source, version, issue time, status."""

    id: Identifier | None = optional("The sender's own number of this fact, for example an accession number.", "acc-77")
    source: Label | None = optional(
        "The laboratory or system that gave `id`. A laboratory result without it uses `lab`.", "A"
    )
    version: int | None = optional(
        "Version of the fact at its source. The greater of two versions is valid, in any order of arrival.",
        2,
        ge=0,
        le=2**53 - 1,
    )
    issued: Time | None = optional(
        "When the source released this version (date-time with offset). Of equal versions the later is valid.",
        "2005-03-17T08:00:00+09:00",
    )
    status: Status | None = optional(
        "`final` if absent; `entered-in-error` and `cancelled` withdraw the fact.", "final"
    )


class PatientNumber(Document):
    """A number of a patient, as a feed gives it. It becomes a pseudonym and is not stored."""

    value: Text = example("The number.", "00123")
    system: Text = example("The authority that assigned it, as the study's `authorities` name it.", "urn:oid:1.2.3")


class Patient(Document):
    """The patient of the timeline: no name, no address, and of the date of birth the year only."""

    id: PatientIdentifier | None = optional("Subject identifier within the study, a pseudonym.", "P01")
    identifier: PatientNumber | None = optional(
        "Instead of `id`: a number of the patient. It gives the same pseudonym as in feeds. No answer has it.", None
    )
    sex: Sex | None = optional("Sex as recorded.", "female")
    birth_year: int | None = optional("Year of birth.", 1953, ge=1900, le=2200)
    diagnosis: Diagnosis | None = optional("Diagnosis at the start of treatment.", "polymyositis")
    weight_kg: float | None = optional("Body weight in kg.", 49, gt=0, le=700)
    steroid_resistant: bool | None = optional("Whether corticosteroids had failed before.", True)
    attributes: dict[AttributeName, Label] | None = optional(
        "The attributes that the study's protocol declares.",
        {"centre": "Kyoto"},
        min_length=1,
        max_length=20,
    )
    merged_into: PatientIdentifier | None = optional(
        "The record of the same person that this record is merged into; analyses read both as one.", "P07"
    )


class LabResult(Sourced):
    """One laboratory result with its own upper limit of normal."""

    code: AnyLabCode = example("Short name or LOINC code of the analyte.", "CK")
    time: Time = example("When the sample was drawn.", "2005-03-16T09:48:00+09:00")
    value: Measured | None = optional("The result, in `unit`. Required unless the status withdraws the result.", 1101)
    unit: str | None = optional(
        "UCUM unit or a documented alias; it is never guessed. Required with `value`.", "U/L", max_length=32
    )
    comparator: Comparator | None = optional("The result is known only to be below or above `value`.", "<")
    upper_limit: Limit | None = optional("Upper limit of normal of this result, in `unit`.", 163)
    lower_limit: Measured | None = optional("Lower limit of normal of this result, in `unit`.", 45)
    lab: Label | None = optional("The laboratory that measured.", "A")
    code_text: Text | None = optional(
        "The laboratory's name of the test. It is not stored. A result is refused if it names another test.",
        "Creatine kinase",
    )


class LabSeries(Document):
    """Many results of one analyte as columns: the same facts as `LabResult`, faster to send and to read."""

    code: AnyLabCode = example("Short name or LOINC code of the analyte.", "CK")
    unit: str = example("UCUM unit or a documented alias; it applies to all values and limits.", "U/L", max_length=32)
    upper_limit: Limit | None = optional(
        "Upper limit of normal of every result without an own one in `upper_limits`.", 163
    )
    lower_limit: Measured | None = optional("Lower limit of normal of every result.", 45)
    lab: Label | None = optional("The laboratory that measured.", "A")
    source: Label | None = optional("The laboratory or system that gave the `ids`; without it `lab` is used.", "A")
    times: Many[Time] = example("When each sample was drawn.", ["2005-03-23T11:33:00+09:00"])
    values: Many[Measured] = example("The results, in `unit`.", [1005])
    ids: Many[Identifier | None] | None = optional("The sender's number of each result.", ["acc-78"])
    statuses: Many[Status | None] | None = optional("Status of each result.", ["final"])
    comparators: Many[Comparator | None] | None = optional("Comparator of each result.", [None])
    upper_limits: Many[Limit | None] | None = optional("Upper limit of normal of each result.", [163])


class Assessment(Sourced):
    """One score of a clinical instrument."""

    code: AssessmentCode = example("The instrument.", "MMT")
    time: Time = example("When it was assessed.", "2005-03-16")
    score: float | None = optional("The score. Required unless the status withdraws the assessment.", 62, ge=0, le=1000)
    scale_max: float | None = optional(
        "Greatest score of the scale that was used; for MMT, ADL and visual analogue scales only.", 100, gt=0, le=1000
    )


class Infusion(Sourced):
    """One infusion that was started."""

    time: Time = example("When the infusion started.", "2005-04-11")
    product: Label = example("The product; the protocol names the products that count as treatment.", "IVIG")
    dose: float | None = optional("Dose in `unit`.", 0.4, ge=0, le=1e6)
    unit: InfusionUnit | None = optional("Unit of the dose.", "g/kg")
    course: int | None = optional(
        "Number of the course as the sender counts. Analyses use the gap rule of the protocol instead.",
        1,
        ge=1,
        le=1000,
    )


class Medication(Sourced):
    """One drug at one dose over a period."""

    drug: Label = example("Name of the drug.", "prednisolone")
    start: CalendarDate = example("First day.", "2005-01-20")
    end: CalendarDate | None = optional("Last day; `null` while the drug is still taken.", "2005-06-30")
    dose: float | None = optional("Dose in `unit`.", 50, ge=0, le=1e6)
    unit: MedicationUnit | None = optional("Unit of the dose.", "mg/d")
    ordered: bool | None = optional("`true`: it was ordered, and nobody says that it was taken.", False)


class AdverseEvent(Sourced):
    """One adverse event."""

    onset: PartialTime | None = optional(
        "When the event began. Without it, or with a month or a year alone, the event counts as one of unknown onset.",
        "2005-04-12",
    )
    term: Text = example("What happened, in the sender's words or dictionary.", "headache")
    severity: Severity | None = optional("Severity.", "mild")
    serious: bool | None = optional("Whether the event met a criterion of seriousness.", False)
    related: Relation | bool | None = optional(
        "Relation to the infusion. An absent one is unknown, which counts as related.", "possible"
    )


class Ended(Document):
    """When and why the patient left the study."""

    date: CalendarDate = example("Last day in the study.", "2006-09-01")
    reason: EndReason = example("Reason for leaving the study.", "completed")


class FactDecision(Document):
    """Whether two infusions, periods of a drug or adverse events of the patient are one. An export has it, so that an
    import counts the same.
    """

    kind: PairKind = example("What the two facts are.", "infusion")
    facts: Annotated[tuple[FactKey, FactKey], Field(strict=False)] = example(
        "The keys of the two facts, as the service writes them.", ["#7||EHR", "@d12884|IVIG"]
    )
    decision: Decided = example(
        "`same`: only one of them counts. `different`: both count. `proven`: the service found that their content is "
        "the same, and one counts while it is.",
        "same",
    )
    by: Label | None = optional("Who decided.", "registry")
    at: Time | None = optional(
        "When it was decided (date-time with offset). The latest decision about two facts is valid.",
        "2026-11-22T10:00:00Z",
    )
    reason: Text | None = optional("Why, without data of the patient.", "Both are the dose of one morning.")


class Timeline(Document):
    """The facts of one patient, or some of them."""

    patient: Patient = example("The patient.", {"id": "P01", "sex": "female", "diagnosis": "polymyositis"})
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
    decisions: Many[FactDecision] = Field(
        default=(),
        description="Decisions about facts that may be the same; absent if there are none. One that is left out stays.",
        examples=[[]],
        max_length=MOST_DECISIONS,
    )


Kind = Literal["attribute", "lab_result", "assessment", "infusion", "medication", "adverse_event"]

ITEMS: dict[str, type[Sourced]] = {
    "labs": LabResult,
    "assessments": Assessment,
    "infusions": Infusion,
    "medications": Medication,
    "adverse_events": AdverseEvent,
}
"""The model of the items in each section of a timeline."""
