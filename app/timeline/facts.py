"""The schema of facts: what a patient's history consists of once it has been read.

Each kind of fact is one type, and each of its fields is written here once, with all that the other parts of the service
have to know of it. Its type is the type that is stored. The text beside the type says what the field means. `Read` says
that analyses read it, `Sent` how a document writes it, `FINITE` and `LATER` what the store has to know. The tables of
the store, the rows and columns of a cohort and the documents that are sent follow from this.

Numbers are in canonical units. A time is kept as it was written; beside it stand its calendar day and its instant.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_type_hints

from app.timeline.times import day_text, instant_text
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES, STATUS_ORDER, WITHDRAWN, Comparator


@dataclass(frozen=True, slots=True)
class Read:
    """Analyses read this field: it is a column of the cohort.

    `place` is its place in a row, after the patient; `sort` its place in the order of the rows. Of a text with `words`
    the column holds the place in them. `absent` stands for a missing whole number, where that is not
    `columns.NO_TIME`. Analyses leave a fact out that has no value in a `required` field.
    """

    place: int
    sort: int
    words: tuple[str | None, ...] = ()
    absent: int | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """How a document says this field, where not by its name and as it is stored.

    `write` makes of the stored value what is sent. `given` is the field that holds the number as it was sent, where
    that was in another unit than the canonical one.
    """

    name: str | None = None
    write: Callable[[Any], Any] | None = None
    given: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """What else the store has to know of a field."""

    meaning: str


FINITE = Mark("The database refuses infinity and NaN here.")
LATER = Mark(
    "The field came after the first release. The leaf of a revision holds it only where a fact has a value in it, so "
    "that leaves that were made before stay what they are. Such fields are the last ones of their kind."
)


def _truth(related: str) -> bool | str:
    return {"true": True, "false": False}.get(related, related)


# What fields of several kinds mean
Identity = Annotated[str, "what the fact is kept by; a second statement with the same is a correction"]
NumberedBy = Annotated[str | None, "who gave `id`: a laboratory or a system"]
Number = Annotated[str | None, "the source's own number of the fact"]
Version = Annotated[int | None, "version of the fact at its source"]
Issued = Annotated[
    int | None, "when the source released this version, in microseconds since 1970", Sent(write=instant_text)
]
StatusWord = Annotated[str, "one of `vocabulary.STATUSES`"]
WrittenTime = Annotated[str, "date or time as it was written"]
Day = Annotated[int, "calendar day as it was written, in days since 1970-01-01"]
Instant = Annotated[int | None, "microseconds since 1970-01-01T00:00Z; a date alone has none"]
WrittenInUtc = Annotated[bool, "the time was written in UTC, which does not say the day at the laboratory"]
Dose = Annotated[float | None, "dose in `unit`", FINITE]
SentUnit = Annotated[str | None, "unit as it was sent"]


class AttributeFact(NamedTuple):
    """One attribute of the patient, under its name.

    Attributes carry no version: when they were issued decides between two, where that was sent, else arrival.
    """

    identity: Annotated[str, "name of the attribute", Read(1, sort=1), Sent("name")]
    source: NumberedBy
    id: Number
    version: Version
    issued: Issued
    status: StatusWord
    value: Annotated[str, "JSON text", Read(2, sort=2), Sent(write=json.loads)]


def attribute(name: str, value: str, issued: int | None = None, status: str = "final") -> AttributeFact:
    """A statement about the patient; `value` is JSON text."""
    return AttributeFact(name, None, None, None, issued, status, value)


class LabFact(NamedTuple):
    """One laboratory result."""

    identity: Identity
    source: NumberedBy
    id: Number
    version: Version
    issued: Annotated[Issued, Read(8, sort=4)]
    status: StatusWord
    code: Annotated[str, "short name of the analyte", Read(1, sort=1, words=LAB_CODES)]
    time: WrittenTime
    day: Annotated[Day, Read(2, sort=2)]
    instant: Annotated[Instant, Read(3, sort=3)]
    utc: Annotated[WrittenInUtc, Read(4, sort=9)]
    value: Annotated[
        float | None,
        "the result in the canonical unit of the analyte; absent where the status withdraws it",
        Read(5, sort=5, required=True),
        Sent(given="given_value"),
        FINITE,
    ]
    upper_limit: Annotated[
        float | None,
        "upper limit of normal of this result, in the canonical unit",
        Read(6, sort=6),
        Sent(given="given_upper_limit"),
        FINITE,
    ]
    lower_limit: Annotated[
        float | None, "lower limit of normal of this result, in the canonical unit", Sent(given="given_lower_limit")
    ]
    comparator: Annotated[
        str | None,
        "the result is known only to be below or above `value`",
        Read(7, sort=7, words=(None, *get_args(Comparator))),
    ]
    unit: SentUnit
    given_value: Annotated[float | None, "`value` in `unit`, where that is not the canonical one"]
    given_upper_limit: Annotated[float | None, "`upper_limit` in `unit`, where that is not the canonical one"]
    given_lower_limit: Annotated[float | None, "`lower_limit` in `unit`, where that is not the canonical one"]
    lab: Annotated[str | None, "the laboratory that measured", Read(9, sort=8)]


class AssessmentFact(NamedTuple):
    """One score of a clinical instrument."""

    identity: Identity
    source: NumberedBy
    id: Number
    version: Version
    issued: Annotated[Issued, Read(7, sort=4)]
    status: StatusWord
    code: Annotated[str, "which instrument", Read(1, sort=1, words=ASSESSMENT_CODES)]
    time: WrittenTime
    day: Annotated[Day, Read(2, sort=2)]
    instant: Annotated[Instant, Read(3, sort=3)]
    utc: Annotated[WrittenInUtc, Read(4, sort=7)]
    score: Annotated[
        float | None,
        "points on the scale of the instrument; absent where the status withdraws it",
        Read(5, sort=5, required=True),
        FINITE,
    ]
    scale_max: Annotated[float | None, "greatest score of the scale, where the sender declared it", Read(6, sort=6)]


class InfusionFact(NamedTuple):
    """One infusion that was started."""

    identity: Identity
    source: NumberedBy
    id: Number
    version: Version
    issued: Issued
    status: StatusWord
    time: WrittenTime
    day: Annotated[Day, Read(2, sort=1)]
    instant: Annotated[Instant, Read(3, sort=2)]
    utc: Annotated[WrittenInUtc, Read(4, sort=7)]
    product: Annotated[str, "what was infused", Read(1, sort=3)]
    dose: Annotated[Dose, Read(5, sort=4)]
    unit: Annotated[SentUnit, Read(6, sort=5)]
    course: Annotated[int | None, "number of the course as the sender counts", Read(7, sort=6, absent=0)]


class MedicationFact(NamedTuple):
    """One drug at one dose over a period."""

    identity: Identity
    source: NumberedBy
    id: Number
    version: Version
    issued: Issued
    status: StatusWord
    drug: Annotated[str, "name of the drug", Read(1, sort=2)]
    start_day: Annotated[int, "first day, in days since 1970-01-01", Read(2, sort=1), Sent("start", day_text)]
    end_day: Annotated[int | None, "last day; absent while it goes on", Read(3, sort=3), Sent("end", day_text)]
    dose: Annotated[Dose, Read(4, sort=4)]
    unit: Annotated[SentUnit, Read(5, sort=5)]


class EventFact(NamedTuple):
    """One adverse event."""

    identity: Identity
    source: NumberedBy
    id: Number
    version: Version
    issued: Issued
    status: StatusWord
    onset: Annotated[str | None, "when it began, as it was written"]
    day: Annotated[int | None, "calendar day of the onset, in days since 1970-01-01", Read(1, sort=1)]
    instant: Annotated[Instant, Read(2, sort=2)]
    utc: Annotated[WrittenInUtc, Read(3, sort=7)]
    term: Annotated[str, "what happened, in the sender's words", Read(4, sort=3)]
    severity: Annotated[str | None, "one of `vocabulary.Severity`", Read(5, sort=6)]
    serious: Annotated[bool | None, "whether it met a criterion of seriousness", Read(6, sort=4)]
    related: Annotated[
        str | None,
        "relation to the infusion: the word that was sent, or `true` and `false` for yes and no",
        Read(7, sort=5),
        Sent(write=_truth),
    ]


Order = tuple[int, int, int]
_NEVER = -(2**63)


def assertion_order(version: int | None, issued: int | None, status: str) -> Order:
    """What decides between two assertions of one fact, before arrival does: the greater stands.

    An absent version or issue time is less than any.
    """
    return (-1 if version is None else version, _NEVER if issued is None else issued, STATUS_ORDER[status])


AnyFact = AttributeFact | LabFact | AssessmentFact | InfusionFact | MedicationFact | EventFact


@dataclass(frozen=True, slots=True)
class History:
    """One patient's facts, each assertion once; `repeats` counts the identical ones that fell away."""

    patient: str
    attributes: tuple[AttributeFact, ...] = ()
    labs: tuple[LabFact, ...] = ()
    assessments: tuple[AssessmentFact, ...] = ()
    infusions: tuple[InfusionFact, ...] = ()
    medications: tuple[MedicationFact, ...] = ()
    events: tuple[EventFact, ...] = ()
    repeats: int = 0

    def kinds(self) -> tuple[tuple[str, Sequence[AnyFact]], ...]:
        """The facts by kind, always in the same order."""
        return tuple((name, getattr(self, name)) for name in KINDS)


AFact = TypeVar("AFact", LabFact, AssessmentFact, InfusionFact, MedicationFact, EventFact)


def standing(facts: Sequence[AFact]) -> list[AFact]:
    """Of the assertions of each fact the one that stands, without the facts that are withdrawn."""
    greatest: dict[str, AFact] = {}
    for fact in facts:
        known = greatest.get(fact.identity)
        if known is None or _order(fact) > _order(known):
            greatest[fact.identity] = fact
    return [fact for fact in greatest.values() if fact.status not in WITHDRAWN]


def _order(fact: LabFact | AssessmentFact | InfusionFact | MedicationFact | EventFact) -> Order:
    return assertion_order(fact.version, fact.issued, fact.status)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind of fact, as the schema above describes it.

    `optional` says that it may be absent. The place in `read` is 0 where analyses do not read the field.
    """

    name: str
    type: type
    optional: bool
    meaning: str
    read: Read
    sent: Sent
    marks: frozenset[Mark]


def _field(name: str, hint: Any) -> Field:  # noqa: ANN401 - an Annotated type
    stored, *said = get_args(hint)
    types = get_args(stored) or (stored,)
    [meaning] = [one for one in said if isinstance(one, str)]
    read = next((one for one in said if isinstance(one, Read)), Read(0, sort=0))
    sent = next((one for one in said if isinstance(one, Sent)), Sent())
    marks = frozenset(one for one in said if isinstance(one, Mark))
    return Field(name, types[0], types[-1] is type(None), meaning, read, sent, marks)


KINDS: tuple[str, ...] = tuple(part.name for part in fields(History) if part.name not in {"patient", "repeats"})
FACT_TYPES: dict[str, type[AnyFact]] = {kind: get_args(get_type_hints(History)[kind])[0] for kind in KINDS}
"""What each kind of `History` consists of."""

FIELDS: dict[str, tuple[Field, ...]] = {
    kind: tuple(_field(*each) for each in get_type_hints(fact, include_extras=True).items())
    for kind, fact in FACT_TYPES.items()
}
"""The fields of each kind, in the order in which its facts hold and its table stores them."""

READ_BY_ANALYSES: dict[str, tuple[Field, ...]] = {
    kind: tuple(sorted((each for each in found if each.read.place), key=lambda each: each.read.place))
    for kind, found in FIELDS.items()
}
"""The fields of each kind that analyses read, in the order of a row."""
