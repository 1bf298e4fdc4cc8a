"""How patients did course by course, each course with a baseline, windows and a response of its own."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from app.analyses.frame import (
    Answer,
    Context,
    Definition,
    Findings,
    Flag,
    Grouped,
    Options,
    Question,
    contexts,
    not_listed,
    shared,
)
from app.analyses.safety.course_list import CourseOfPatient, listed_courses
from app.analyses.weekly_change import difference_reasons, differences, scales_of
from app.derive.courses.course_study import CourseStudy
from app.derive.study import DerivedStudy
from app.estimate.arithmetic import deviation_of, mean_of, quantile_of, sorted_values
from app.estimate.changes.ratio import geometric_mean_ratio
from app.estimate.rates.clustered import ClusteredProportion, clustered_proportion
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Reason, Result, Summary, WhyNull
from app.estimate.summary import summarise
from app.protocol.response import Response
from app.timeline.cohort import Bools, Floats

NAME = "courses"
LAST_PLACE = 3
"""Third and later courses are shown together."""


class PatientsByCourses(Result):
    """How many patients had so many courses."""

    courses: int = Field(description="Courses.", examples=[1])
    patients: int = Field(description="Patients.", examples=[16])


class LeftOutCourses(Result):
    """Courses that a rule could not judge, or that have no change, for one reason."""

    reason: str = Field(description="Why, as patients are left out elsewhere.", examples=["no_baseline"])
    count: int = Field(description="How many courses.", examples=[1])


class CourseCount(Grouped):
    """The courses given."""

    safety: int = Field(description="Patients with at least one infusion started.", examples=[16])
    courses: int = Field(description="Courses, by the gap rule.", examples=[16])
    infusions: int = Field(description="Infusions.", examples=[80])
    by_courses: tuple[PatientsByCourses, ...] = Field(
        description="Patients by their number of courses.", examples=[[{"courses": 1, "patients": 16}]]
    )
    days_between_starts: Summary = Field(description="Days from the first infusion of a course to that of the next.")
    days_between: Summary = Field(
        description="Days from the last infusion of a course to the first of the next; negative where courses of two "
        "products overlap."
    )
    grams: Summary = Field(description="Grams in a course, where every dose (and a weight it needs) is known.")
    grams_per_kg: Summary = Field(description="The same per kg of body weight.")
    courses_listed: tuple[CourseOfPatient, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each course, where `patients=true`.", examples=[[]]
    )


class AtPlace(Grouped):
    """Which courses an entry is about."""

    course: int | None = Field(
        description="First, second, ... course of the patients who had one; null for all courses.", examples=[1, None]
    )
    and_later: bool = Field(description="Whether later courses are in it.", examples=[False])


class CourseRate(AtPlace):
    """Courses after which the patient responded, by a primary rule."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    definition: Definition = Field(description="The rule.")
    responders: int = Field(description="Courses with a response.", examples=[14])
    evaluable: int = Field(description="Courses that the rule could judge.", examples=[15])
    rate: Number | None = Field(description="responders / evaluable, a fraction.", examples=[0.933333333333])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(
        description="Intervals of the rate that count each course as if it were another patient's.", examples=[[]]
    )
    clustered: ClusteredProportion = Field(description="The same with patients as what varies.")
    left_out: tuple[LeftOutCourses, ...] = Field(description="The other courses, by reason.", examples=[[]])


class CourseBaseline(AtPlace):
    """Values before a course."""

    measure: str = Field(description="The measure.", examples=["CK"])
    values: Summary = Field(description="Last values on or before the first infusion of the course, in U/L or points.")
    after_previous_course: int = Field(
        description="Baselines taken after the first infusion of the course before; the others of later courses are "
        "older than that course.",
        examples=[0],
    )
    too_old: int = Field(description="Baselines older than the protocol likes.", examples=[0])


class CourseChange(AtPlace):
    """Change from the baseline of a course to one week after its first infusion; described, not tested."""

    measure: str = Field(description="The measure.", examples=["CK"])
    scale: str = Field(description="`ln`: differences of ln(CK); `raw`: in points.", examples=["ln"])
    week: int = Field(description="The week.", examples=[1])
    n: int = Field(description="Courses with both values.", examples=[15])
    mean: Number | None = Field(description="Mean difference, week minus baseline.", examples=[-0.53])
    median: Number | None = Field(description="Median difference.", examples=[-0.46])
    sd: Number | None = Field(description="Standard deviation of the differences.", examples=[0.23])
    geometric_mean_ratio: Number | None = Field(
        default=None,
        exclude_if=lambda ratio: ratio is None,
        description="exp(mean) on the ln scale: the week's CK over the baseline's.",
        examples=[0.5873],
    )
    reason: WhyNull = None
    left_out: tuple[LeftOutCourses, ...] = Field(description="The other courses, by reason.", examples=[[]])


class RepeatedCourses(Answer):
    """Courses one by one: how many, how far apart, and how patients did after each."""

    results: tuple[CourseCount, ...] = Field(description="One entry (or one a subgroup).", examples=[[]])
    rates: tuple[CourseRate, ...] = Field(
        description="One entry a primary rule and course; first all courses.", examples=[[]]
    )
    baselines: tuple[CourseBaseline, ...] = Field(description="One entry a measure and course.", examples=[[]])
    changes: tuple[CourseChange, ...] = Field(description="One entry a measure, week and course.", examples=[[]])


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """The courses of one place; none is named for all."""

    course: int | None
    and_later: bool
    rows: Bools

    def named(self, context: Context) -> dict[str, Any]:
        """The fields of `AtPlace`."""
        return {"group": context.group, "course": self.course, "and_later": self.and_later}


def courses(study: DerivedStudy, options: Options) -> RepeatedCourses:
    """Every primary rule, baseline and declared week, course by course."""
    found = Findings()
    counts: list[CourseCount] = []
    rates: list[CourseRate] = []
    baselines: list[CourseBaseline] = []
    changes: list[CourseChange] = []
    weekly = study.protocol.weekly_change
    for context in contexts(study, options):
        view = CourseStudy(context.study)
        places = list(_places(view))
        counts.append(_count(context, view))
        found.excluded += context.excluded(context.untreated, "courses")
        found.flags += _flags(context, view)
        declared = [each for each in study.protocol.responses if each.primary]
        rates += [_rate(context, view, each, place) for each in declared for place in places]
        baselines += [_baseline(context, view, each, place) for each in study.protocol.measures for place in places]
        for measure in weekly.measures:
            for week in weekly.weeks:
                changes += _changes(context, view, measure, week, places)
    parameters = {"truncated_at_next_course": True, "response_rules": "primary"}
    definition = Definition(id="each_course_from_its_own_day_0", parameters=parameters)
    caveats = ("later_courses_selected", "courses_not_independent", "uncontrolled_pre_post", "definitions_are_ours")
    return RepeatedCourses(
        results=tuple(counts),
        rates=tuple(rates),
        baselines=tuple(baselines),
        changes=tuple(changes),
        **shared(NAME, study, options, found, caveats, definition),
    )


def _places(view: CourseStudy) -> Iterator[_Place]:
    """All courses, then the first, the second, and the third with all later ones, as far as anybody had them."""
    place = view.courses.place
    yield _Place(None, True, np.ones(len(place), dtype=np.bool_))
    for number in range(1, min(LAST_PLACE, int(place.max(initial=1))) + 1):
        later = number == LAST_PLACE
        yield _Place(number, later, place >= number if later else place == number)


def _count(context: Context, view: CourseStudy) -> CourseCount:
    study, each = context.study, view.courses
    had = Counter(study.exposure.courses[study.safety].tolist())
    later = np.flatnonzero(each.previous >= 0)
    before = each.previous[later]
    return CourseCount(
        group=context.group,
        safety=int(study.safety.sum()),
        courses=len(each),
        infusions=int(each.infusions.sum()),
        by_courses=tuple(PatientsByCourses(courses=number, patients=had[number]) for number in sorted(had)),
        days_between_starts=summarise(each.first_day[later] - each.first_day[before]),
        days_between=summarise(each.first_day[later] - each.last_day[before]),
        grams=summarise(each.grams[~np.isnan(each.grams)]),
        grams_per_kg=summarise(each.grams_per_kg[~np.isnan(each.grams_per_kg)]),
        courses_listed=listed_courses(context, view) if context.listed else None,
    )


def _rate(context: Context, view: CourseStudy, declared: Response, place: _Place) -> CourseRate:
    rule = declared.rule
    verdict = view.response(rule)
    evaluable, responder = verdict.evaluable & place.rows, verdict.responder & place.rows
    size, owner = len(context.study.cohort), view.courses.patient
    k, n = (np.bincount(owner[chosen], minlength=size) for chosen in (responder, evaluable))
    methods = tuple(dict.fromkeys((context.conventions.proportion, "wilson")))
    estimate = proportion(int(k.sum()), int(n.sum()), level=context.level, methods=methods)
    return CourseRate(
        **place.named(context),
        measure=rule.measure,
        definition=Definition(id=rule.id, parameters=rule.model_dump(mode="json", exclude={"id", "measure"})),
        responders=estimate.k,
        evaluable=estimate.n,
        rate=estimate.rate,
        reason=estimate.reason,
        intervals=estimate.intervals,
        clustered=clustered_proportion(k, n, level=context.level),
        left_out=_left_out(verdict.reason, place),
    )


def _baseline(context: Context, view: CourseStudy, measure: str, place: _Place) -> CourseBaseline:
    records, rows = view.records(measure), view.weeks(measure)[0]
    values = records.at(rows)[place.rows]
    return CourseBaseline(
        **place.named(context),
        measure=measure,
        values=summarise(values[~np.isnan(values)]),
        after_previous_course=int((view.baseline_after_previous(measure) & place.rows).sum()),
        too_old=int((view.baseline_too_old(measure) & place.rows).sum()),
    )


def _changes(
    context: Context, view: CourseStudy, measure: str, week: int, places: Sequence[_Place]
) -> Iterator[CourseChange]:
    scale = scales_of(measure)[0]
    difference = differences(view, measure, scale, week)
    reasons = difference_reasons(view, difference, measure, week)
    for place in places:
        chosen: Floats = difference[place.rows & ~np.isnan(difference)]
        ordered = sorted_values(chosen).tolist()
        mean = mean_of(ordered) if ordered else None
        yield CourseChange(
            **place.named(context),
            measure=measure,
            scale=scale,
            week=week,
            n=len(ordered),
            mean=mean,
            median=quantile_of(ordered, 0.5) if ordered else None,
            sd=deviation_of(ordered) if len(ordered) > 1 else None,
            geometric_mean_ratio=geometric_mean_ratio(mean) if scale == "ln" else None,
            reason=None if len(ordered) > 1 else Reason.TOO_FEW_VALUES if ordered else Reason.NO_PATIENTS,
            left_out=_left_out(reasons, place),
        )


def _left_out(reasons: Sequence[str], place: _Place) -> tuple[LeftOutCourses, ...]:
    counts = Counter(reasons[i] for i in np.flatnonzero(place.rows).tolist() if reasons[i])
    return tuple(LeftOutCourses(reason=reason, count=counts[reason]) for reason in sorted(counts))


def _flags(context: Context, view: CourseStudy) -> list[Flag]:
    """What concerns courses: values of their first days, and old baselines. A value may concern two courses."""
    flags = context.flags(context.study.exposure.flags, "infusions")
    for measure in context.protocol.measures:
        post_dose = view.records(measure).flags["day_0_post_dose"]
        too_old = int(view.baseline_too_old(measure).sum())
        flags += context.flags({"day_0_post_dose": post_dose, "baseline_too_old": too_old}, measure)
    return flags


QUESTION = Question(
    NAME, "How many courses did patients have, and how did they do after each?", RepeatedCourses, courses
)
