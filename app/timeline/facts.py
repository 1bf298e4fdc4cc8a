"""The schema of facts: each kind of fact is one type, and each of its fields is declared here once.

The declared type of a field is the stored type; the text after it is its meaning. `Read` says that analyses read the
field, `Sent` how a document writes it, `FINITE` and `LATER` what the store needs to know. The tables of the store, the
rows and columns of a cohort and the documents that are sent are made from this schema.

Numbers are in canonical units. A time is kept as it was written, together with its calendar day and its instant.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

from app.timeline.receipts import Note, ReceiptLine
from app.timeline.times import NO_DAY, day_text, instant_text
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES, STATUS_ORDER, WITHDRAWN, Comparator


@dataclass(frozen=True, slots=True)
class Read:
    """Analyses read this field: it is a column of the cohort.

    `place` is its place in a row, after the patient; `sort` its place among the keys that rows are sorted by. If there
    are `words`, the column has the index of the text in them. `absent` is the number for a missing whole number, if it
    is not `cohort.NO_TIME`. Analyses leave out a fact without a value in a `required` field.
    """

    place: int
    sort: int
    words: tuple[str | None, ...] = ()
    absent: int | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """How a document writes this field, if its name or its value differs from what is stored.

    `name` is its name in the document. `write` turns the stored value into the value that is sent. `given` is the field
    with the number as it was sent, if it was sent in another unit than the canonical one.
    """

    name: str | None = None
    write: Callable[[Any], Any] | None = None
    given: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """What else the store needs to know about a field."""

    meaning: str


FINITE = Mark("The database refuses infinity and NaN here.")
LATER = Mark(
    "The field was added after the first release. The leaf of a revision contains it only if the fact has a value in "
    "it, so that older leaves do not change. Such fields are the last ones of their kind."
)


def _truth(related: str) -> bool | str:
    return {"true": True, "false": False}.get(related, related)


# Fields that several kinds have
Identity = Annotated[str, "key of the fact; a second statement with the same key is a correction"]
NumberedBy = Annotated[str | None, "the laboratory or system that gave `id`"]
Number = Annotated[str | None, "the source's own number of the fact"]
Version = Annotated[int | None, "version of the fact at its source"]
Issued = Annotated[
    int | None, "when the source released this version, in microseconds since 1970", Sent(write=instant_text)
]
StatusWord = Annotated[str, "one of `vocabulary.STATUSES`"]
WrittenTime = Annotated[str, "date or time as it was written"]
Day = Annotated[int, "calendar day as it was written, in days since 1970-01-01"]
Instant = Annotated[int | None, "microseconds since 1970-01-01T00:00Z; absent if only a date was written"]
WrittenInUtc = Annotated[bool, "the time was written in UTC, so the day at the laboratory is not known"]
Dose = Annotated[float | None, "dose in `unit`", FINITE]
SentUnit = Annotated[str | None, "unit as it was sent"]


class AttributeFact(NamedTuple):
    """One attribute of the patient, under its name.

    Attributes have no version. Of two statements the one that was issued later is valid; without issue times, the one
    that arrived later.
    """

    identity: Annotated[str, "name of the attribute", Read(1, sort=1), Sent("name")]
    source: NumberedBy
    id: Number
    version: Version
    issued: Issued
    status: StatusWord
    value: Annotated[str, "JSON text", Read(2, sort=2), Sent(write=json.loads)]


def attribute(name: str, value: str, issued: int | None = None, status: str = "final") -> AttributeFact:
    """A fact about the patient; `value` is JSON text."""
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
        "the result in the canonical unit of the analyte; absent if the status withdraws it",
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
    given_value: Annotated[float | None, "`value` in `unit`, if that is not the canonical unit"]
    given_upper_limit: Annotated[float | None, "`upper_limit` in `unit`, if that is not the canonical unit"]
    given_lower_limit: Annotated[float | None, "`lower_limit` in `unit`, if that is not the canonical unit"]
    lab: Annotated[str | None, "the laboratory that measured", Read(9, sort=8)]


class AssessmentFact(NamedTuple):
    """One score of a clinical instrument."""

    identity: Identity
    source: NumberedBy
    id: Number
    version: Version
    issued: Annotated[Issued, Read(7, sort=4)]
    status: StatusWord
    code: Annotated[str, "the instrument", Read(1, sort=1, words=ASSESSMENT_CODES)]
    time: WrittenTime
    day: Annotated[Day, Read(2, sort=2)]
    instant: Annotated[Instant, Read(3, sort=3)]
    utc: Annotated[WrittenInUtc, Read(4, sort=7)]
    score: Annotated[
        float | None,
        "points on the scale of the instrument; absent if the status withdraws it",
        Read(5, sort=5, required=True),
        FINITE,
    ]
    scale_max: Annotated[float | None, "greatest score of the scale, if the sender declared it", Read(6, sort=6)]


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
    product: Annotated[str, "the product", Read(1, sort=3)]
    dose: Annotated[Dose, Read(5, sort=4)]
    unit: Annotated[SentUnit, Read(6, sort=5)]
    course: Annotated[int | None, "number of the course as the sender counts", Read(7, sort=6, absent=0)]


_ORDERED = "order|"
"""How the identity of an order goes on after the number of the sender, which may be empty."""


def names_an_order(identity: str) -> bool:
    """Whether the medication with this identity was ordered. An identity without a number begins with a day, or is
    that of an order.
    """
    number, _, rest = identity.partition("|")
    return rest.startswith(_ORDERED) and (number == "@" or number.startswith("#"))


def identity_of_order(number: str | None, source: str | None, start: str, drug: str) -> str:
    """The identity of an order: it is never that of a medication that was taken."""
    return f"@|{_ORDERED}{start}|{drug}" if number is None else f"#{number}|{_ORDERED}{source or ''}"


def _true_of_an_order(identity: str) -> bool | None:
    return names_an_order(identity) or None


class MedicationFact(NamedTuple):
    """One drug at one dose over a period: it was taken, or it was ordered."""

    identity: Annotated[Identity, Sent("ordered", write=_true_of_an_order)]
    source: NumberedBy
    id: Number
    version: Version
    issued: Issued
    status: StatusWord
    drug: Annotated[str, "name of the drug", Read(1, sort=2)]
    start_day: Annotated[int, "first day, in days since 1970-01-01", Read(2, sort=1), Sent("start", day_text)]
    end_day: Annotated[
        int | None, "last day; absent while the drug is still taken", Read(3, sort=3), Sent("end", day_text)
    ]
    dose: Annotated[Dose, Read(4, sort=4)]
    unit: Annotated[SentUnit, Read(5, sort=5)]

    @property
    def ordered(self) -> bool:
        """Whether it was ordered; nobody says that it was taken."""
        return names_an_order(self.identity)


class EventFact(NamedTuple):
    """One adverse event."""

    identity: Identity
    source: NumberedBy
    id: Number
    version: Version
    issued: Issued
    status: StatusWord
    onset: Annotated[str | None, "time of the onset, as it was written"]
    day: Annotated[int | None, "calendar day of the onset, in days since 1970-01-01", Read(1, sort=1)]
    instant: Annotated[Instant, Read(2, sort=2)]
    utc: Annotated[WrittenInUtc, Read(3, sort=7)]
    term: Annotated[str, "what happened, in the sender's words", Read(4, sort=3)]
    severity: Annotated[str | None, "one of `vocabulary.Severity`", Read(5, sort=6)]
    serious: Annotated[bool | None, "whether the event met a criterion of seriousness", Read(6, sort=4)]
    related: Annotated[
        str | None,
        "relation to the infusion: the word that was sent, or `true` and `false` for yes and no",
        Read(7, sort=5),
        Sent(write=_truth),
    ]


Order = tuple[int, int, int]
NEVER = -(2**63)
MINUTE = 60_000_000
_STATUS = LabFact._fields.index("status")
"""Before every time of issue."""


def assertion_order(version: int | None, issued: int | None, status: str) -> Order:
    """The order of the assertions of one fact: the greatest one stands. Only between equal ones arrival decides.

    An absent version or issue time is less than any other.
    """
    return (-1 if version is None else version, NEVER if issued is None else issued, STATUS_ORDER[status])


class FactTime(NamedTuple):
    """The time of a fact, as statements about one number are compared.

    `day` is the day as written, absent if no time was given. `minute` is in minutes since 1970, absent for a date.
    """

    day: int | None
    minute: int | None

    def agrees(self, other: "FactTime") -> bool:
        """Whether two times may be the same: the same minute, or the same day if one of them has no clock time."""
        if self.minute is None or other.minute is None:
            return self.day == other.day
        return self.minute == other.minute


def fact_time(day: int | None, instant: int | None) -> FactTime:
    """The time of a fact from its stored day and instant."""
    return FactTime(None if day == NO_DAY else day, None if instant is None else instant // MINUTE)


AnyFact = AttributeFact | LabFact | AssessmentFact | InfusionFact | MedicationFact | EventFact


@dataclass(frozen=True, slots=True)
class Instruction:
    """A request about one resource, which says more than its statement.

    `delete`: the fact is withdrawn, and may be created again. `create`: a deleted fact is created again. `update`: the
    fact takes the place of the named draw, even if its time is another one. `draws` has the draws that the client
    named, by kind and identity.
    """

    action: Literal["create", "update", "delete"]
    draws: Mapping[tuple[str, str], str] = field(default_factory=dict)


def _nowhere(kind: str, index: int) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class History:
    """The facts of one patient, each assertion once; `repeats` counts the identical ones that were left out.

    `place` gives the place of a fact in what was sent, by its kind and its index there. `notes` are what the receipt
    says of facts, by the same two. `aside` are lines of facts that were sent and are not in the history. `instruction`
    is the request about one resource that the history is, if it is more than statements. `plain_id`: native JSON names
    the patient by a plain identifier.
    """

    patient: str
    attributes: tuple[AttributeFact, ...] = ()
    labs: tuple[LabFact, ...] = ()
    assessments: tuple[AssessmentFact, ...] = ()
    infusions: tuple[InfusionFact, ...] = ()
    medications: tuple[MedicationFact, ...] = ()
    events: tuple[EventFact, ...] = ()
    repeats: int = 0
    place: Callable[[str, int], str] = field(default=_nowhere, compare=False)
    notes: Mapping[tuple[str, int], tuple[Note, ...]] = field(default_factory=dict, compare=False)
    aside: tuple[ReceiptLine, ...] = field(default=(), compare=False)
    instruction: Instruction | None = field(default=None, compare=False)
    plain_id: bool = field(default=False, compare=False)

    def kinds(self) -> tuple[tuple[str, Sequence[AnyFact]], ...]:
        """The facts of each kind, always in the same order of kinds."""
        return tuple(zip(KINDS, _FACTS_OF(self), strict=True))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind of fact, as the schema above describes it.

    `optional` says that it may be absent. The place in `read` is 0 if analyses do not read the field.
    """

    name: str
    type: type
    optional: bool
    meaning: str
    read: Read
    sent: Sent
    marks: frozenset[Mark]


def _field(name: str, hint: Any) -> Field:  # noqa: ANN401 - an Annotated type
    stored, *notes = get_args(hint)
    types = get_args(stored) or (stored,)
    [meaning] = [note for note in notes if isinstance(note, str)]
    read = next((note for note in notes if isinstance(note, Read)), Read(0, sort=0))
    sent = next((note for note in notes if isinstance(note, Sent)), Sent())
    marks = frozenset(note for note in notes if isinstance(note, Mark))
    return Field(name, types[0], types[-1] is type(None), meaning, read, sent, marks)


_NO_FACTS = {"patient", "repeats", "place", "notes", "aside", "instruction", "plain_id"}
KINDS: tuple[str, ...] = tuple(part.name for part in fields(History) if part.name not in _NO_FACTS)
_FACTS_OF = attrgetter(*KINDS)
FACT_TYPES: dict[str, type[AnyFact]] = {kind: get_args(get_type_hints(History)[kind])[0] for kind in KINDS}
"""The type of the facts of each kind."""

FIELDS: dict[str, tuple[Field, ...]] = {
    kind: tuple(_field(name, hint) for name, hint in get_type_hints(fact, include_extras=True).items())
    for kind, fact in FACT_TYPES.items()
}
"""The fields of each kind, in the order of the fact type and of the table."""

_PLACES = {kind: {field.name: place for place, field in enumerate(declared)} for kind, declared in FIELDS.items()}
_TIME_PLACES = {
    kind: (places.get("day", places.get("start_day", 0)), places.get("instant"))
    for kind, places in _PLACES.items()
    if kind != "attributes"
}
VALUE_PLACE: dict[str, int | None] = {
    kind: next((place for place, field in enumerate(declared) if field.read.required), None)
    for kind, declared in FIELDS.items()
}
"""The place of the value in a fact, for kinds in which a result may be no number; then it is absent."""


def time_of(kind: str, fact: Sequence[Any]) -> FactTime:
    """The time of a fact that is not an attribute, given as a tuple."""
    day_place, instant_place = _TIME_PLACES[kind]
    return fact_time(fact[day_place], None if instant_place is None else fact[instant_place])


def statement_key(kind: str, fact: Sequence[Any]) -> tuple[Any, ...]:
    """What two statements have in common if only the order of arrival decides between them."""
    version, issued, status = fact[_STATUS - 2 : _STATUS + 1]
    return kind, fact[0], version, issued, status, None if kind == "attributes" else time_of(kind, fact)


def counts_nowhere(kind: str, fact: Sequence[Any]) -> bool:
    """Whether a statement has no value for timelines and analyses: a withdrawal, or a result that is no number."""
    value = VALUE_PLACE[kind]
    return fact[_STATUS] in WITHDRAWN or (value is not None and fact[value] is None)


ORDERED = Field("ordered", bool, False, "whether it was ordered, and not taken", Read(6, sort=6), Sent(), frozenset())
"""What the identity of a medication says. No table has a column of it."""
READ_BY_ANALYSES: dict[str, tuple[Field, ...]] = {
    kind: tuple(sorted((field for field in declared if field.read.place), key=lambda field: field.read.place))
    for kind, declared in (FIELDS | {"medications": (*FIELDS["medications"], ORDERED)}).items()
}
"""The fields of each kind that analyses read, in the order of a row."""
