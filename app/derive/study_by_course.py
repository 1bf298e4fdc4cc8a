"""A study whose rows are courses: day 0, baseline, visits and response of each course.

A value after the first infusion of the next course serves that next course only. Any value before a course may be its
baseline, so a value may serve the previous course and be the baseline of the next.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from app.derive.analysis_values import AnalysisValues, after_death, lab_records, on_scale, post_dose_on_day_0
from app.derive.ck_normality import borrow_limits
from app.derive.courses import Courses
from app.derive.intercurrent_events import IntercurrentEvents, intercurrent_events
from app.derive.ordered_drugs import OrderCounts
from app.derive.per_patient import NONE
from app.derive.steroid_doses import Dosing, dosing, periods_of, rows_of_owners
from app.derive.study import DerivedStudy
from app.derive.visits import window
from app.protocol.model import Protocol
from app.timeline.cohort import NO_TIME, Assessments, Bools, Cohort, Ints, Labs
from app.timeline.vocabulary import LAB_CODES

Values = TypeVar("Values", Labs, Assessments)
_NO_ROWS = np.zeros(0, dtype=np.int64)


class CourseStudy(DerivedStudy):
    """The study whose patients are the courses of another study. The rows of all derivations are those of `courses`."""

    def __init__(self, study: DerivedStudy, chosen: Bools | None = None) -> None:
        """The study of all courses, or of the `chosen` ones."""
        self.courses = study.courses
        self._owner = study.courses.patient if chosen is None else study.courses.patient[chosen]
        cohort = _cohort_of_courses(study)
        super().__init__(cohort if chosen is None else cohort.select(chosen), study.protocol)
        self._donors = study.cohort.labs
        self._of_patients = study
        self._rows = np.arange(len(study.courses)) if chosen is None else np.flatnonzero(chosen)

    def baseline_after_previous(self, measure: str) -> Bools:
        """Whether the baseline of a course was taken after the first infusion of the previous course."""
        records, rows = self.analysis_values(measure), self.weeks(measure)[0]
        table = (self.cohort.labs if measure in LAB_CODES else self.cohort.assessments).of(measure)
        after = np.zeros(len(self.courses), dtype=np.bool_)
        known = np.flatnonzero((rows != NONE) & (self.courses.previous != NONE))
        place = records.row[rows[known]]
        begun, at = self.courses.neighbour(self.courses.previous[known])
        day, instant = table.day[place], table.instant[place]
        after[known] = (day > begun) | post_dose_on_day_0(day, instant, begun, at)
        return after

    @cached_property
    def dosing(self) -> Dosing:
        """The glucocorticoid doses of the patient of each course, from day 0 of the course to the day before the next
        course.
        """
        return self._doses(last=self._next - 1)

    def orders(self, *, steroids: bool) -> OrderCounts:
        """The orders of the patients: they are not divided among courses."""
        return self._of_patients.orders(steroids=steroids)

    @cached_property
    def dosing_of_values(self) -> Dosing:
        """The same with the first day of the next course: a value before its first infusion is a value of this one."""
        return self._doses(last=self._next)

    @cached_property
    def _next(self) -> Ints:
        """The day of the next course, counted from day 0 of each course; `-NO_TIME` for none."""
        next_day, _ = self.courses.neighbour(self.courses.next[self._rows])
        return np.where(next_day == NO_TIME, -NO_TIME, next_day - self.courses.first_day[self._rows])

    def _doses(self, last: Ints) -> Dosing:
        whole, rows = self._of_patients.dosing, self._rows
        owner = self.courses.patient[rows]
        shift = self.courses.first_day[rows] - self._of_patients.exposure.day0[owner]
        stopped = self.protocol.doses.after_last_period == "stopped"
        end = np.minimum(whole.end[owner] - shift, last)
        return dosing(periods_of(whole.periods, owner, shift), end, self.safety, stopped=stopped)

    @cached_property
    def intercurrent_events(self) -> IntercurrentEvents:
        """Those of the patient of each course after its day 0. The next course is its second course."""
        table = self._of_patients.cohort.medications
        course, rows = rows_of_owners(table.patient, self.courses.patient[self._rows])
        taken = replace(self.cohort, medications=replace(table.where(rows), patient=course))
        events = intercurrent_events(taken, self.exposure, self.protocol.ck_normal_time)
        return replace(events, second_course=np.where(self._next == -NO_TIME, NO_TIME, self._next))

    def _lab_records(self, code: str) -> AnalysisValues:
        """As in any study. Upper limits may be borrowed from all results of the patient, of all courses."""
        records = lab_records(self.cohort, self.exposure, code)
        if code != "CK" or self.protocol.upper_limit == "own":
            return records
        day0, owner, lab = self.exposure.day0, self._owner, self.cohort.labs.of("CK").lab[records.row]
        size = int(owner.max()) + 1 if len(owner) else 0
        dated = replace(records, size=size, patient=owner[records.patient], day=records.day + day0[records.patient])
        borrowed = borrow_limits(dated, lab, self._donors.of("CK"), np.zeros(size, dtype=np.int64))
        return replace(records, upper_limit=borrowed.upper_limit, flags=borrowed.flags)


def _cohort_of_courses(study: DerivedStudy) -> Cohort:
    """The cohort in which each course is a patient: its patient's attributes, its infusions, the values it is served
    by. Adverse events and drugs are not divided among courses.
    """
    cohort, courses = study.cohort, study.courses
    labs, scores = [cohort.labs.where(_NO_ROWS)], [cohort.assessments.where(_NO_ROWS)]
    for measure in study.protocol.measures:
        if measure in LAB_CODES:
            lab = cohort.labs.of(measure)
            labs.append(_values_by_course(lab.where(~after_death(lab, cohort)), courses, study.protocol))
        else:
            score = cohort.assessments.of(measure)
            fitting = on_scale(score, study.protocol.scale(measure)) & ~after_death(score, cohort)
            scores.append(_values_by_course(score.where(fitting), courses, study.protocol))
    by_course = np.argsort(courses.infused, kind="stable")
    given = study.exposure.given.where(by_course)
    return Cohort(
        tuple(cohort.patients[i] for i in courses.patient.tolist()),
        _concatenated(labs),
        _concatenated(scores),
        replace(given, patient=courses.infused[by_course]),
        cohort.medications.where(_NO_ROWS),
        cohort.events.where(_NO_ROWS),
        cohort.zoned,
    )


def _values_by_course(table: Values, courses: Courses, protocol: Protocol) -> Values:
    """The values of one measure that may serve each course, course by course in order of time.

    They begin with the first day of the earliest window before the course, or with the last day with a value before the
    course if that is earlier. They end with the first infusion of the next course. So each value is copied to few
    courses, even if a patient has many.
    """
    if not len(table) or not len(courses):
        return table.where(_NO_ROWS)
    span = int(np.ptp(table.day)) + 3
    floor = int(table.day.min()) - 1
    keys = table.patient * span + (table.day - floor)

    def at(day: Ints) -> Ints:
        return courses.patient * span + np.clip(day - floor, 0, span - 1)

    before = np.searchsorted(keys, at(courses.first_day), side="left") - 1
    mine = (before >= 0) & (table.patient[np.maximum(before, 0)] == courses.patient)
    begins = courses.first_day + min([0, *(window(week, protocol.visits)[0] for week in protocol.visits.weeks)])
    begins = np.where(mine, np.minimum(begins, table.day[np.maximum(before, 0)]), begins)
    next_day, next_instant = courses.neighbour(courses.next)
    ends = np.where(next_day == NO_TIME, -NO_TIME, next_day)
    start, stop = np.searchsorted(keys, at(begins), side="left"), np.searchsorted(keys, at(ends), side="right")
    count = stop - start
    course = np.repeat(np.arange(len(courses)), count)
    rows = np.arange(len(course)) - np.repeat(np.cumsum(count) - count - start, count)
    late = post_dose_on_day_0(table.day[rows], table.instant[rows], next_day[course], next_instant[course])
    return replace(table.where(rows[~late]), patient=course[~late])


def _concatenated(tables: Sequence[Values]) -> Values:
    """All tables in one, sorted by patient. Rows of one patient keep their order."""
    columns = {part.name: np.concatenate([getattr(table, part.name) for table in tables]) for part in fields(tables[0])}
    table = replace(tables[0], **columns)
    return table.where(np.argsort(table.patient, kind="stable"))
