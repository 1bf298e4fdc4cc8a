"""What each course was and what came of it, one entry a course."""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from app.analyses.frame import Context, Contribution
from app.derive.courses.course_study import CourseStudy
from app.derive.segments import NONE, pick, pick_int
from app.estimate.results import Number, Result
from app.protocol.response import Response


class CourseVerdict(Result):
    """Whether a patient responded to a course, by one primary rule."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    responder: bool | None = Field(description="The verdict; null where the rule could not judge.", examples=[True])
    reason: str | None = Field(description="Why it could not.", examples=[None, "no_baseline"])
    baseline: Number | None = Field(
        description="The baseline, in U/L or points; null where there is none.", examples=[62]
    )
    baseline_day: int | None = Field(
        description="Its day, counted from the first infusion of the course.", examples=[-1]
    )
    baseline_after_previous_course: bool | None = Field(
        description="Whether it was taken after the first infusion of the course before; null for a first course or "
        "without a baseline.",
        examples=[None, True],
    )


class CourseOfPatient(Contribution):
    """One course of one patient; its days count from the patient's first infusion."""

    course: int = Field(description="First, second, ... course of the patient.", examples=[1])
    product: str = Field(description="The product, as sent with the first infusion of the course.", examples=["IVIG"])
    first_day: int = Field(description="Day of the first infusion.", examples=[0])
    last_day: int = Field(description="Day of the last infusion.", examples=[4])
    infusions: int = Field(description="Infusions.", examples=[5])
    grams: Number | None = Field(description="Sum in g; null where a dose or the weight is unknown.", examples=[120])
    grams_per_kg: Number | None = Field(description="Sum in g per kg of body weight, likewise.", examples=[2])
    verdicts: tuple[CourseVerdict, ...] = Field(description="One entry a primary rule.", examples=[[]])


def listed_courses(context: Context, view: CourseStudy) -> tuple[CourseOfPatient, ...]:
    """Every course, by patient and then in the order in which they began."""
    courses, exposure = view.courses, context.study.exposure
    ids = context.ids
    begins = np.full(len(courses), len(exposure.given), dtype=np.int64)
    np.minimum.at(begins, courses.infused, np.arange(len(exposure.given)))
    first = courses.first_day - exposure.day0[courses.patient]
    declared = [each for each in context.protocol.responses if each.primary]
    verdicts = [list(_verdicts(view, each)) for each in declared]
    return tuple(
        CourseOfPatient(
            patient=ids[int(courses.patient[i])],
            course=int(courses.place[i]),
            product=str(exposure.given.product[begins[i]]),
            first_day=int(first[i]),
            last_day=int(first[i] + courses.last_day[i] - courses.first_day[i]),
            infusions=int(courses.infusions[i]),
            grams=_known(courses.grams[i]),
            grams_per_kg=_known(courses.grams_per_kg[i]),
            verdicts=tuple(each[i] for each in verdicts),
        )
        for i in range(len(courses))
    )


def _verdicts(view: CourseStudy, declared: Response) -> Iterator[CourseVerdict]:
    measure = declared.rule.measure
    verdict, rows, records = view.response(declared.rule), view.weeks(measure)[0], view.records(measure)
    values, days = pick(records.value, rows), pick_int(records.day, rows, 0)
    later = (rows != NONE) & (view.courses.previous != NONE)
    after = view.baseline_after_previous(measure)
    for i, reason in enumerate(verdict.reason):
        known = rows[i] != NONE
        yield CourseVerdict(
            measure=measure,
            responder=None if reason else bool(verdict.responder[i]),
            reason=reason,
            baseline=float(values[i]) if known else None,
            baseline_day=int(days[i]) if known else None,
            baseline_after_previous_course=bool(after[i]) if later[i] else None,
        )


def _known(amount: float) -> float | None:
    return None if np.isnan(amount) else float(amount)
