"""Doses: prednisolone on a day, immunoglobulin per kg of the index course and of each infusion."""

from dataclasses import dataclass

import numpy as np

from app.derive.exposure import Exposure, are_named
from app.timeline.cohort import NO_TIME, Cohort, Floats, Infusions
from app.timeline.vocabulary import DAILY_MILLIGRAMS

GLUCOCORTICOID = "prednisolone"
"""The only drug whose dose analyses read."""

_GRAMS = {"g/kg": 1.0, "mg/kg": 1e-3, "g": 1.0, "mg": 1e-3}


@dataclass(frozen=True, slots=True, eq=False)
class Doses:
    """The daily dose of each patient in mg, NaN where unknown.

    `not_convertible` counts the periods whose unit is not a daily dose.
    """

    daily_milligrams: Floats
    not_convertible: int


def prednisolone(cohort: Cohort, exposure: Exposure, day: int) -> Doses:
    """The prednisolone dose in mg on a day counted from day 0: the sum over the periods that cover this day.

    A period that ends on the day on which another period begins does not count on that day: a change of dose is often
    sent so.

    The dose is 0 for a patient who had prednisolone at other times only. It is unknown for a patient without any
    reported prednisolone, and for a patient whose dose on this day has no daily unit.
    """
    table = cohort.medications
    named = are_named(table.drug, GLUCOCORTICOID)
    periods = table.where(named & exposure.treated[table.patient])
    factor = np.array(
        [float(DAILY_MILLIGRAMS[unit]) if unit in DAILY_MILLIGRAMS else np.nan for unit in periods.unit],
        dtype=np.float64,
    )
    at = exposure.day0[periods.patient] + day
    covers = (periods.start_day <= at) & ((periods.end_day == NO_TIME) | (at <= periods.end_day))
    begins = np.bincount(periods.patient[periods.start_day == at], minlength=len(cohort)) > 0
    covers &= ~((periods.end_day == at) & (periods.start_day < at) & begins[periods.patient])
    total = np.full(len(cohort), np.nan)
    total[periods.patient] = 0.0
    np.add.at(total, periods.patient[covers], (periods.dose * factor)[covers])
    return Doses(total, int(np.isnan(factor).sum()))


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
    weight = np.array([np.nan if row.weight_kg is None else row.weight_kg for row in cohort.patients], dtype=np.float64)
    own = weight[given.patient]
    written = given.dose * np.array([_GRAMS.get(unit, np.nan) for unit in given.unit], dtype=np.float64)
    absolute = np.array([unit in {"g", "mg"} for unit in given.unit], dtype=np.bool_)
    return InfusionDoses(written * np.where(absolute, 1.0, own), written / np.where(absolute, own, 1.0))
