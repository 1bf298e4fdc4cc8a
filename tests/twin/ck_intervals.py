"""A second implementation of the intervals of normal CK: one patient after the other, in plain Python.

Built on the twin of the derivations only. `None` stands for an event that was not seen.
"""

from dataclasses import dataclass
from itertools import pairwise

from app.protocol.model import Protocol
from app.timeline.cohort import Cohort
from tests.twin import derivations as twin


@dataclass(frozen=True)
class Seen:
    """Days from the first normal CK; `gaps` between draws of known normality in the spell."""

    left: int
    right: int | None
    longest: int | None
    seen_longest: int
    gaps: list[int]


def spell(patient: twin.Patient, protocol: Protocol) -> Seen | None:
    """The draws of the first normal spell, if the patient is in the risk set."""
    found = twin.normal_spell(patient, protocol)
    if isinstance(found, str):
        return None
    draws = [
        (record.day, twin.normality(patient, protocol, record)[0])
        for record in twin.kept(patient, protocol, "CK").records
    ]
    known = [(day, state) for day, state in draws if state != "unknown"]
    start_after = max([0, *(day for day, state in known if state == "abnormal" and day < found.origin)])
    spell_days = []
    relapse = None
    for day, state in known:
        if day >= found.origin and relapse is None:
            if state == "abnormal":
                relapse = day
            else:
                spell_days.append(day)
    whole = spell_days if relapse is None else [*spell_days, relapse]
    return Seen(
        left=spell_days[-1] - found.origin,
        right=None if relapse is None else relapse - found.origin,
        longest=None if relapse is None else relapse - start_after,
        seen_longest=whole[-1] - start_after,
        gaps=[after - before for before, after in pairwise(whole)],
    )


def first_normal(patient: twin.Patient, protocol: Protocol) -> tuple[int, int | None] | None:
    """The interval in which CK first became normal, if the patient is in that estimate."""
    found = twin.first_normal(patient, protocol)
    if isinstance(found, str):
        return None
    if not found.event:
        return found.duration, None
    records = twin.kept(patient, protocol, "CK").records
    abnormal = [
        record.day
        for record in records
        if 0 < record.day < found.duration and twin.normality(patient, protocol, record)[0] == "abnormal"
    ]
    return max([0, *abnormal]), found.duration


def spells(cohort: Cohort, protocol: Protocol) -> list[Seen | None]:
    return [spell(patient, protocol) for patient in twin.patients_of(cohort)]


def first_normals(cohort: Cohort, protocol: Protocol) -> list[tuple[int, int | None] | None]:
    return [first_normal(patient, protocol) for patient in twin.patients_of(cohort)]
