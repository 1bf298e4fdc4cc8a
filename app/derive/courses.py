"""Every course of every treated patient: its days, infusions and dose, and the courses before and after it."""

from dataclasses import dataclass

import numpy as np

from app.derive.doses import infusion_doses
from app.derive.exposure import Exposure
from app.derive.per_patient import first_where, pick_int
from app.timeline.cohort import NO_TIME, Cohort, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Courses:
    """One row per course, by patient and then in the order in which the courses began.

    `patient` is the row in `Cohort.patients`, `place` counts the courses of a patient from 1, of all products together.
    `infused` gives the course of each row of `Exposure.given`. Days are dates (days since 1970-01-01), `first_instant`
    is the time of the first infusion where one was sent. Grams are sums over the infusions, NaN where one is unknown.
    """

    patient: Ints
    place: Ints
    first_day: Ints
    first_instant: Ints
    last_day: Ints
    infusions: Ints
    grams: Floats
    grams_per_kg: Floats
    infused: Ints

    def __len__(self) -> int:
        return len(self.patient)

    @property
    def previous(self) -> Ints:
        """The row of the patient's previous course, -1 for the first course."""
        return np.where(self.place > 1, np.arange(len(self)) - 1, -1)

    @property
    def next(self) -> Ints:
        """The row of the patient's next course, -1 for the last course."""
        last = np.ones(len(self), dtype=np.bool_)
        last[:-1] = self.patient[1:] != self.patient[:-1]
        return np.where(last, -1, np.arange(len(self)) + 1)

    def neighbour(self, rows: Ints) -> tuple[Ints, Ints]:
        """First day and instant of the courses in some rows, `NO_TIME` where there is none."""
        return pick_int(self.first_day, rows, NO_TIME), pick_int(self.first_instant, rows, NO_TIME)


def courses(cohort: Cohort, exposure: Exposure) -> Courses:
    """The courses by the gap rule, in order of their begin. Of two with the same begin the product first in code-point
    order comes first.
    """
    given = exposure.given
    infused, begins = _course_of_each(exposure)
    size = len(begins)
    doses = infusion_doses(cohort, given)
    patient = given.patient[begins]
    first = first_where(patient, len(cohort), np.ones(size, dtype=np.bool_))
    last_day = given.day[begins].copy()
    np.maximum.at(last_day, infused, given.day)
    return Courses(
        patient=patient,
        place=np.arange(size) - first[patient] + 1,
        first_day=given.day[begins],
        first_instant=given.instant[begins],
        last_day=last_day,
        infusions=np.bincount(infused, minlength=size).astype(np.int64),
        grams=np.bincount(infused, weights=doses.grams, minlength=size).astype(np.float64),
        grams_per_kg=np.bincount(infused, weights=doses.per_kg, minlength=size).astype(np.float64),
        infused=infused,
    )


def _course_of_each(exposure: Exposure) -> tuple[Ints, Ints]:
    """The course of each infusion, and the first infusion of each course. Infusions are in order of time."""
    given = exposure.given
    if not len(given):
        return given.patient, given.patient
    products, most = int(exposure.product.max()) + 1, int(exposure.number.max()) + 1
    key = (given.patient * products + exposure.product) * most + exposure.number
    _, begins, inverse = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(begins)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[inverse.ravel()], begins[order]
