"""Slow twins of the time with normal CK under the strategies for a rescue, of sustained normality and of days normal.

`cohorts_with_rescue()` gives cohorts in which further treatment and death lie before, inside and after a remission
episode.
"""

from dataclasses import replace
from itertools import pairwise

from hypothesis import strategies as st

from app.protocol.model import Protocol
from app.timeline.cohort import Cohort, MedicationRow
from tests.twin import derivations as twin
from tests.twin import steroids
from tests.twin.cohorts import FIRST_DATE, rows

DRUGS = st.sampled_from(["azathioprine", "Methotrexate", "MTX", " tacrolimus", "prednisolone", "mPSL"])
DRUG_DAYS = st.sampled_from([-40, -1, 0, 1, 2, 7, 8, 17, 18, 28, 29, 42, 56, 57, 58, 70, 300, 301, 400])
DEATHS = st.sampled_from([None, None, 8, 18, 28, 42, 58, 70, 300, 301, 500])


@st.composite
def cohorts_with_rescue(draw: st.DrawFn) -> Cohort:
    """Cohorts with new immunosuppressants, further courses and deaths on and around the days of the draws."""
    table = draw(rows(6))
    for place, patient in enumerate(table.patients):
        for _ in range(draw(st.integers(0, 2))):
            start = FIRST_DATE + draw(DRUG_DAYS)
            table.medications.append(MedicationRow(patient.id, draw(DRUGS), start, None, 50.0, "mg/d"))
        if (day := draw(DEATHS)) is not None:
            died = patient._replace(ended_day=FIRST_DATE + day, ended_reason="died")
            table.patients[place] = died
    return table.cohort()


def rescue_day(cohort: Cohort, place: int, protocol: Protocol) -> int | None:
    """The first day after day 0 on which a second course or a listed drug that was not given before began, or of a
    steroid rescue that the protocol declares.
    """
    patient = twin.patients_of(cohort)[place]
    treatment = twin.course(patient, protocol)
    if treatment.treated:
        taken = steroids.periods(cohort, place, treatment.date)
        patient = replace(patient, steroids=steroids.rescue(taken, protocol.ck_normal_time.steroid_rescue))
    return twin.rescue_day(patient, protocol)


def outcome(
    patient: twin.Patient, protocol: Protocol, rescue: int | None, strategy: str
) -> tuple[int, str | None] | None:
    """How long the time with normal CK lasted and what ended it; nothing for patients outside the risk set."""
    spell = twin.normal_spell(patient, protocol)
    if isinstance(spell, str):
        return None
    end = spell.origin + spell.duration
    last = (end, "abnormal") if spell.event else (end, None)
    death = patient.ended_date - twin.course(patient, protocol).date if patient.ended_reason == "died" else None
    if strategy == "treatment_policy":
        return last[0] - spell.origin, last[1]
    if strategy == "hypothetical":
        stops = [(rescue, None)] if rescue is not None and (death is None or rescue <= death) else []
        day, why = min([last, *stops], key=lambda each: (each[0], each[1] is None))
        return max(day - spell.origin, 0), why
    happened = [(end, 0, "abnormal")] if spell.event else []
    happened += [] if rescue is None or rescue > end else [(rescue, 1, "rescue")]
    happened += [] if death is None or death > end else [(death, 2, "death")]
    day, _, why = min(happened, default=(end, 3, None))
    return max(day - spell.origin, 0), why


def after_last_ck(patient: twin.Patient, protocol: Protocol, rescue: int | None, strategy: str) -> tuple[bool, bool]:
    """Whether a rescue, and death, came after the last CK of known normality at which the time was censored."""
    found = outcome(patient, protocol, rescue, strategy)
    if found is None or found[1] is not None:
        return False, False
    last = known_after_day_0(patient, protocol)[-1][0]
    if strategy == "hypothetical" and rescue is not None and rescue <= last:
        return False, False
    died = patient.ended_reason == "died"
    death = patient.ended_date - twin.course(patient, protocol).date if died else None
    return rescue is not None and rescue > last, death is not None and death > last


def known_after_day_0(patient: twin.Patient, protocol: Protocol) -> list[tuple[int, str]]:
    """Days and states of the CKs after day 0 whose normality is known."""
    records = twin.kept(patient, protocol, "CK").records
    states = [(record.day, twin.normality(patient, protocol, record)[0]) for record in records]
    return [(day, state) for day, state in states if day > 0 and state != "unknown"]


def confirmed(patient: twin.Patient, protocol: Protocol) -> tuple[int | None, int | None, int | None]:
    """The days of sustained normality, of confirmed relapse after it, and of the last known CK."""
    known = known_after_day_0(patient, protocol)
    start = end = None
    for (day, state), (_, following) in pairwise(known):
        if start is None and state == following == "normal":
            start = day
        elif start is not None and end is None and state == following == "abnormal":
            end = day
    return start, end, known[-1][0] if known else None


def days_normal(patient: twin.Patient, protocol: Protocol) -> tuple[int, float, float] | None:
    """Days followed and how many were normal by either rule, counted quarter-day by quarter-day."""
    base = twin.baseline(patient, protocol, "CK")
    known = known_after_day_0(patient, protocol)
    if base is not None and (state := twin.normality(patient, protocol, base)[0]) != "unknown":
        known = [(0, state), *known]
    if len(known) < 2:
        return None
    first, last = known[0][0], known[-1][0]
    moments = [first + quarter / 4 for quarter in range(1, 4 * (last - first), 2)]
    carried = [max(each for each in known if each[0] < moment)[1] for moment in moments]
    nearest = [min(known, key=lambda each, at=moment: abs(each[0] - at))[1] for moment in moments]
    return last - first, carried.count("normal") / 2, nearest.count("normal") / 2
