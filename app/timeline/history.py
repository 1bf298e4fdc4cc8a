"""What a patient's history is once it has been read: facts by kind, in canonical units, each with its identity."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, TypeVar

from app.timeline.vocabulary import STATUS_ORDER, WITHDRAWN


class AttributeFact(NamedTuple):
    """One attribute of the patient; `value` is JSON text.

    Attributes carry no version: when they were issued decides between two, where that was sent, else arrival.
    """

    identity: str
    source: str | None
    id: str | None
    version: int | None
    issued: int | None
    status: str
    value: str


class LabFact(NamedTuple):
    """One laboratory result. `value` and limits are in the canonical unit of the analyte; `unit` is the unit as sent.

    The `given_*` fields hold the numbers as sent where the unit is not the canonical one, else `None`.
    """

    identity: str
    source: str | None
    id: str | None
    version: int | None
    issued: int | None
    status: str
    code: str
    time: str
    day: int
    instant: int | None
    utc: bool
    value: float | None
    upper_limit: float | None
    lower_limit: float | None
    comparator: str | None
    unit: str | None
    given_value: float | None
    given_upper_limit: float | None
    given_lower_limit: float | None
    lab: str | None


class AssessmentFact(NamedTuple):
    """One score."""

    identity: str
    source: str | None
    id: str | None
    version: int | None
    issued: int | None
    status: str
    code: str
    time: str
    day: int
    instant: int | None
    utc: bool
    score: float | None
    scale_max: float | None


class InfusionFact(NamedTuple):
    """One infusion that was started; `dose` in `unit` as sent."""

    identity: str
    source: str | None
    id: str | None
    version: int | None
    issued: int | None
    status: str
    time: str
    day: int
    instant: int | None
    utc: bool
    product: str
    dose: float | None
    unit: str | None
    course: int | None


class MedicationFact(NamedTuple):
    """One drug at one dose from `start_day` to `end_day` (days since 1970-01-01; `None` while it goes on)."""

    identity: str
    source: str | None
    id: str | None
    version: int | None
    issued: int | None
    status: str
    drug: str
    start_day: int
    end_day: int | None
    dose: float | None
    unit: str | None


class EventFact(NamedTuple):
    """One adverse event; `related` is the word sent, or `true`/`false` where the sender answered yes or no."""

    identity: str
    source: str | None
    id: str | None
    version: int | None
    issued: int | None
    status: str
    onset: str | None
    day: int | None
    instant: int | None
    utc: bool
    term: str
    severity: str | None
    serious: bool | None
    related: str | None


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


KINDS: tuple[str, ...] = tuple(part.name for part in fields(History) if part.name not in {"patient", "repeats"})
