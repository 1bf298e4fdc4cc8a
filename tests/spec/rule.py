"""The classes of a definition: a rule in clinical words, and cases on either side of each of its boundaries.

A case has the record of one patient (or of groups of patients) and the expected answers. Days are counted from the
first infusion: (28, 700) is a value of 700 on day 28. The function `on` gives more details of a value. Unless a case
says otherwise the only infusion is IVIG on day 0 without a clock time, a CK is in U/L with an upper limit of normal of
200, clock times are those of Japan, and the protocol is the preset `seed-2008`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

FIRST_INFUSION = "2005-04-11"
UPPER_LIMIT = 200.0
OFFSET = "+09:00"

Day = int | str
"""Days from the first infusion, or a calendar date if the case is about the calendar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One laboratory result or score; `value` is None if a status withdraws it. A limit of `...` is the usual limit of
    the patient.
    """

    day: Day
    value: float | None
    at: str | None = None
    limit: float | EllipsisType | None = ...
    sign: str | None = None
    unit: str | None = "U/L"
    lab: str | None = None
    issued: str | None = None
    status: str | None = None
    id: str | None = None
    scale_max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Infusion:
    """One infusion that was started."""

    day: Day
    at: str | None = None
    product: str = "IVIG"
    course: int | None = None
    status: str | None = None
    dose: float | None = None
    unit: str | None = None
    source: str | None = None
    """The source that gave it a number; without one, it has no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One adverse event; a day of None is an unknown onset."""

    day: Day | None
    at: str | None = None
    term: str = "headache"
    related: str | bool | None = "possible"
    serious: bool | None = False
    status: str | None = None
    severity: str | None = None
    source: str | None = None


Recorded = Value | tuple[Day, float]


@dataclass(frozen=True, kw_only=True)
class Patient:
    """The record of one patient. `others` holds results and scores of further codes, `limit` the usual upper
    limit, `prednisolone` periods as (first day, last day or None, mg/d), `drugs` others by name, with their unit, and
    `orders` the same of what was ordered.
    A `source` gave an infusion or event a number. `decided` is a decision about the first two infusions, or about the
    first two events if there is one infusion.
    """

    ck: Sequence[Recorded] = ()
    mmt: Sequence[Recorded] = ()
    adl: Sequence[Recorded] = ()
    others: Mapping[str, Sequence[Recorded]] | None = None
    infusions: Sequence[Infusion | Day] = (0,)
    events: Sequence[Event] = ()
    immunosuppressant_from: Day | None = None
    prednisolone: Sequence[tuple[Day, Day | None, float]] = ()
    drugs: Sequence[tuple[str, Day, Day | None, float, str]] = ()
    orders: Sequence[tuple[str, Day, Day | None, float, str]] = ()
    ended: tuple[Day, str] | None = None
    weight: float | None = None
    limit: float | None = UPPER_LIMIT
    first_infusion: str = FIRST_INFUSION
    decided: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Several patients, and the words that describe them in the document."""

    words: str
    patients: tuple[Patient, ...]


@dataclass(frozen=True, kw_only=True)
class Case(Patient):
    """One patient, several groups of patients, or the synthetic `reference` cohort, and the expected answers.

    `expect` names readings of the answers (`readings.py`) and their values. `refused` is the code of the fault with
    which the patient's document or the protocol is refused. `changes` replace parts of the preset; `query` has the
    query parameters of the question.
    """

    says: str
    reference: bool = False
    expect: Mapping[str, Any] | None = None
    refused: str | None = None
    groups: Sequence[Group] = ()
    time_zone: str | None = None
    preset: str = "seed-2008"
    changes: Mapping[str, Any] | None = None
    query: Mapping[str, Any] | None = None

    @property
    def patients(self) -> tuple[Patient, ...]:
        """All patients of the case."""
        return tuple(patient for group in self.groups for patient in group.patients) if self.groups else (self,)


@dataclass(frozen=True, slots=True)
class Rule:
    """One definition. `row` is its row in the specification, `words` the rule in one to three sentences of our own."""

    row: str
    name: str
    words: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Rounded:
    """A number from a published table, with the decimals that the table gives."""

    value: float

    @property
    def decimals(self) -> int:
        """The number of published decimals."""
        return len(repr(self.value).partition(".")[2])


def on(day: Day, value: float | None, **more: Any) -> Value:
    """A result or score with more details: its clock time `at`, its `limit`, its `sign`, ..."""
    return Value(day=day, value=value, **more)


def infused(day: Day, **more: Any) -> Infusion:
    """An infusion with more details."""
    return Infusion(day=day, **more)


def event(day: Day | None, **more: Any) -> Event:
    """An adverse event; by default its relation is `possible` and it is not serious."""
    return Event(day=day, **more)


def alike(count: int, words: str, **patient: Any) -> Group:
    """Several patients with the same record."""
    return Group(f"{count} {'patient' if count == 1 else 'patients'} {words}", (Patient(**patient),) * count)


def relapsing(*days: int) -> Group:
    """Patients whose CK is normal from day 7 on and abnormal again after each number of `days`."""
    patients = tuple(Patient(ck=[(0, 1000), (7, 150), (7 + later, 400)]) for later in days)
    return Group(f"CK normal on day 7 and abnormal again {listed(days)} days later", patients)


def staying_normal(*days: int) -> Group:
    """Patients whose CK is normal on day 7 and at their last draw, which is each number of `days` later."""
    records = ([(0, 1000), (7, 150), (7 + later, 150)] if later else [(0, 1000), (7, 150)] for later in days)
    patients = tuple(Patient(ck=record) for record in records)
    return Group(f"CK normal on day 7 and at the last draw {listed(days)} days later", patients)


def changing(measure: str, start: float, **weeks: Sequence[float]) -> Group:
    """Patients whose measure is `start` at baseline, with the changes from it at each week (w1=, w2=, ...)."""
    size = max(len(changes) for changes in weeks.values())
    patients = []
    for i in range(size):
        visits = [(7 * int(week[1:]), start + changes[i]) for week, changes in weeks.items() if i < len(changes)]
        patients.append(Patient(**{measure.lower(): [(0, start), *visits]}))
    words = "; ".join(
        f"at week {week[1:]} by {', '.join(f'{c:+g}' for c in changes)}" for week, changes in weeks.items()
    )
    unit = " U/L" if measure == "CK" else ""
    return Group(f"{measure} {start:g}{unit} at baseline; changed {words}", tuple(patients))


def listed(items: Iterable[object]) -> str:
    """Items with commas, and "and" before the last."""
    texts = [str(item) for item in items]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
