"""Doses: glucocorticoids on a day, immunoglobulin per kg of the index course and of each infusion."""

from dataclasses import dataclass, fields

import numpy as np

from app.derive.exposure import Exposure
from app.derive.ordered_drugs import counted_drugs
from app.timeline.cohort import NO_TIME, Bools, Cohort, Floats, Infusions, Medications, Words
from app.timeline.drugs import drug_of
from app.timeline.vocabulary import DAILY_MILLIGRAMS

_GRAMS = {"g/kg": 1.0, "mg/kg": 1e-3, "g": 1.0, "mg": 1e-3}
_PER_KG = "mg/kg/d"


def gives_daily_dose(unit: str) -> bool:
    """Whether a dose in this unit is a dose a day: for `mg/kg/d` if the weight of the patient is known."""
    return unit in DAILY_MILLIGRAMS or unit == _PER_KG


@dataclass(frozen=True, slots=True, eq=False)
class Doses:
    """The daily dose of each patient in mg of prednisolone equivalents, NaN where unknown.

    `not_convertible` counts the periods whose unit is not a daily dose, or is one per kg of an unknown weight.
    """

    daily_milligrams: Floats
    not_convertible: int


@dataclass(frozen=True, slots=True, eq=False)
class GlucocorticoidPeriods:
    """The periods of the glucocorticoids of treated patients, in the order of the cohort.

    `daily_milligrams` is the dose of each period in mg of prednisolone equivalents a day (`drugs.Drug`), NaN where none
    was sent or its unit is no daily dose. `convertible` marks the units that are one. `doubtful` marks the periods in
    which several orders of a drug are valid (`ordered_drugs`): they have no dose.
    """

    periods: Medications
    daily_milligrams: Floats
    convertible: Bools
    doubtful: Bools


def glucocorticoid_periods(cohort: Cohort, exposure: Exposure) -> GlucocorticoidPeriods:
    """What is known of systemic glucocorticoids: their drug, by any of its names, and their daily dose.

    A dose per kg needs the weight of the patient. Doses in other units that are not daily are unknown, never guessed.
    """
    counted = counted_drugs(cohort)
    table, doubtful = counted.taken, np.zeros(len(counted.taken), dtype=np.bool_)
    if len(counted.doubtful):
        both = Medications(**{part.name: np.concatenate([getattr(each, part.name) for each in
                                                         (counted.taken, counted.doubtful)])
                              for part in fields(Medications)})  # fmt: skip
        order = np.argsort(both.patient, kind="stable")
        table, doubtful = both.where(order), order >= len(counted.taken)
    equivalent = _equivalents(table.drug)
    ours = ~np.isnan(equivalent) & exposure.treated[table.patient]
    periods = table.where(ours)
    factor = np.array([float(DAILY_MILLIGRAMS.get(unit, np.nan)) for unit in periods.unit], dtype=np.float64)
    per_kg = np.array([unit == _PER_KG for unit in periods.unit], dtype=np.bool_)
    factor = np.where(per_kg, _weights(cohort)[periods.patient], factor)
    doubtful = doubtful[ours]
    return GlucocorticoidPeriods(
        periods, periods.dose * factor * equivalent[ours], ~np.isnan(factor) | doubtful, doubtful
    )


def is_glucocorticoid(drugs: Words) -> Bools:
    """Which of these names of drugs are a systemic glucocorticoid of the drug dictionary."""
    found: Bools = ~np.isnan(_equivalents(drugs))
    return found


def _equivalents(drugs: Words) -> Floats:
    """Milligrams of prednisolone equal to 1 mg of each drug, NaN if it is no glucocorticoid."""
    words = drugs.tolist()
    factors = {word: drug.prednisolone_equivalent for word in set(words) if (drug := drug_of(word)) is not None}
    known = {word: float(factor) for word, factor in factors.items() if factor is not None}
    return np.array([known.get(word, np.nan) for word in words], dtype=np.float64)


def prednisolone(cohort: Cohort, exposure: Exposure, day: int) -> Doses:
    """The dose of glucocorticoids in mg of prednisolone equivalents on a day counted from day 0: the sum over the
    periods that cover this day, of all glucocorticoids.

    A period that ends on the day on which another period begins does not count on that day: a change of dose or of the
    glucocorticoid is often sent so.

    The dose is 0 for a patient who had glucocorticoids at other times only. It is unknown for a patient without any
    reported glucocorticoid, and for a patient whose dose on this day has no daily unit.
    """
    known = glucocorticoid_periods(cohort, exposure)
    periods = known.periods
    at = exposure.day0[periods.patient] + day
    covers = (periods.start_day <= at) & ((periods.end_day == NO_TIME) | (at <= periods.end_day))
    begins = np.bincount(periods.patient[periods.start_day == at], minlength=len(cohort)) > 0
    covers &= ~((periods.end_day == at) & (periods.start_day < at) & begins[periods.patient])
    total = np.full(len(cohort), np.nan)
    total[periods.patient] = 0.0
    np.add.at(total, periods.patient[covers], known.daily_milligrams[covers])
    return Doses(total, int((~known.convertible).sum()))


def index_dose_per_kg(cohort: Cohort, exposure: Exposure) -> Floats:
    """Immunoglobulin of the index course in g per kg of body weight, NaN where a dose or the weight is missing."""
    given = exposure.given.where(exposure.index)
    total = np.full(len(cohort), np.nan)
    total[given.patient] = 0.0
    np.add.at(total, given.patient, infusion_doses(cohort, given).per_kg)
    return total


@dataclass(frozen=True, slots=True, eq=False)
class InfusionDoses:
    """Immunoglobulin of each infusion in g and in g per kg of body weight; NaN where the dose, or a weight that is
    needed, is unknown.
    """

    grams: Floats
    per_kg: Floats


def infusion_doses(cohort: Cohort, given: Infusions) -> InfusionDoses:
    """The doses of some infusions of a cohort. The weight is needed to convert between g and g per kg."""
    own, units = _weights(cohort)[given.patient], given.unit.tolist()
    written = given.dose * np.array([_GRAMS.get(unit, np.nan) for unit in units], dtype=np.float64)
    absolute = np.array([unit in {"g", "mg"} for unit in units], dtype=np.bool_)
    return InfusionDoses(written * np.where(absolute, 1.0, own), written / np.where(absolute, own, 1.0))


def _weights(cohort: Cohort) -> Floats:
    return np.array([np.nan if row.weight_kg is None else row.weight_kg for row in cohort.patients], dtype=np.float64)
