"""The courses of treatment one by one, each with its own baseline, windows and response."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated, counted_of, further_events
from app.analyses.answer import (
    Answer,
    Basis,
    Claim,
    Context,
    Contribution,
    Definition,
    Findings,
    Flag,
    Grouped,
    Question,
    not_listed,
)
from app.analyses.claims import rate, undeclared
from app.analyses.sensitivity.key_results import last_day
from app.analyses.weekly_change import difference_reasons, differences, scales_of
from app.derive.per_patient import NONE, pick, pick_int
from app.derive.reasons import ExclusionReason, FlagCode
from app.derive.study_by_course import CourseStudy
from app.estimate.arithmetic import deviation_of, mean_of, quantile_of, sorted_values
from app.estimate.changes.ratio import geometric_mean_ratio
from app.estimate.rates.clustered import ClusteredProportion, clustered_proportion
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Omitting, Reason, Result, Summary, WhyNull
from app.estimate.summary import summarise
from app.protocol.endpoints import Response
from app.timeline.cohort import Bools, Floats

LAST_PLACE = 3
"""Third and later courses are shown together."""


class CourseVerdict(Result):
    """Whether a patient responded to a course, by one primary rule."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    responder: bool | None = Field(description="The verdict; null where the rule could not judge.", examples=[True])
    reason: str | None = Field(description="Why there is no verdict.", examples=[None, "no_baseline"])
    baseline: Number | None = Field(
        description="The baseline, in U/L or points; null where there is none.", examples=[62]
    )
    baseline_day: int | None = Field(
        description="Its day, counted from the first infusion of the course.", examples=[-1]
    )
    baseline_after_previous_course: bool | None = Field(
        description="Whether it was taken after the first infusion of the previous course; null for a first course or "
        "without a baseline.",
        examples=[None, True],
    )


class CourseOfPatient(Contribution):
    """One course of one patient; days are counted from the patient's first infusion."""

    course: int = Field(description="First, second, ... course of the patient.", examples=[1])
    product: str = Field(description="The product, as sent with the first infusion of the course.", examples=["IVIG"])
    first_day: int = Field(description="Day of the first infusion.", examples=[0])
    last_day: int = Field(description="Day of the last infusion.", examples=[4])
    infusions: int = Field(description="Infusions.", examples=[5])
    grams: Number | None = Field(description="Sum in g; null where a dose or the weight is unknown.", examples=[120])
    grams_per_kg: Number | None = Field(
        description="Sum in g per kg of body weight; null where a dose or the weight is unknown.", examples=[2]
    )
    verdicts: tuple[CourseVerdict, ...] = Field(description="One entry for each primary rule.", examples=[[]])


def listed_courses(context: Context, view: CourseStudy) -> tuple[CourseOfPatient, ...]:
    """Every course, by patient and then in the order in which they began."""
    courses, exposure = view.courses, context.study.exposure
    ids = context.ids
    begins = np.full(len(courses), len(exposure.given), dtype=np.int64)
    np.minimum.at(begins, courses.infused, np.arange(len(exposure.given)))
    first = courses.first_day - exposure.day0[courses.patient]
    primary = [declared for declared in context.protocol.responses if declared.primary]
    verdicts = [list(_verdicts(view, declared)) for declared in primary]
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
            verdicts=tuple(by_rule[i] for by_rule in verdicts),
        )
        for i in range(len(courses))
        if context.lists(ids[int(courses.patient[i])])
    )


def _verdicts(view: CourseStudy, declared: Response) -> Iterator[CourseVerdict]:
    measure = declared.rule.measure
    verdict, rows, records = view.response(declared.rule), view.weeks(measure)[0], view.analysis_values(measure)
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


class PatientsByCourses(Result):
    """The number of patients with one number of courses."""

    courses: int = Field(description="Courses.", examples=[1])
    patients: int = Field(description="Patients.", examples=[16])


class LeftOutCourses(Result):
    """Courses left out for one reason: a rule could not judge them, or they have no change."""

    reason: str = Field(description="The reason, by the codes of `excluded`.", examples=["no_baseline"])
    count: int = Field(description="How many courses.", examples=[1])


class CourseCount(Grouped):
    """The courses that were given."""

    safety: int = Field(description="Patients with at least one infusion started.", examples=[16])
    courses: int = Field(description="Courses, by the gap rule.", examples=[16])
    infusions: int = Field(description="Infusions.", examples=[80])
    by_courses: tuple[PatientsByCourses, ...] = Field(
        description="Patients by their number of courses.", examples=[[{"courses": 1, "patients": 16}]]
    )
    days_between_starts: Summary = Field(description="Days from the first infusion of a course to that of the next.")
    days_between: Summary = Field(
        description="Days from the last infusion of a course to the first infusion of the next; negative where courses "
        "of two products overlap."
    )
    grams: Summary = Field(description="Grams in a course, where every dose (and the weight, if needed) is known.")
    grams_per_kg: Summary = Field(description="Grams per kg of body weight in a course, where known.")
    courses_listed: tuple[CourseOfPatient, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each course, where `patients=true`.", examples=[[]]
    )


class CourseEntry(Grouped):
    """Which courses an entry is about."""

    course: int | None = Field(
        description="First, second, ... course of the patients who had one; null for all courses.", examples=[1, None]
    )
    and_later: bool = Field(description="Whether later courses are included.", examples=[False])


class CourseRate(CourseEntry):
    """Courses after which the patient responded, by a primary rule."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    definition: Definition = Field(description="The rule.")
    responders: int = Field(description="Courses with a response.", examples=[14])
    evaluable: int = Field(description="Courses that the rule could judge.", examples=[15])
    rate: Number | None = Field(description="responders / evaluable, a fraction.", examples=[0.933333333333])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(
        description="Intervals of the rate that treat courses as independent.", examples=[[]]
    )
    all_treated: AllTreated = Field(description="The same over all of these courses.")
    clustered: ClusteredProportion = Field(description="The rate with patients, not courses, as the independent units.")
    left_out: tuple[LeftOutCourses, ...] = Field(description="Courses left out, by reason.", examples=[[]])


class CourseBaseline(CourseEntry):
    """Values before a course."""

    measure: str = Field(description="The measure.", examples=["CK"])
    values: Summary = Field(description="Last values on or before the first infusion of the course, in U/L or points.")
    after_previous_course: int = Field(
        description="Baselines taken after the first infusion of the previous course; other baselines of later courses "
        "are older than the previous course.",
        examples=[0],
    )
    too_old: int = Field(description="Baselines older than the protocol's limit.", examples=[0])


class CourseChange(Omitting, CourseEntry):
    """Change from the baseline of a course to one week after its first infusion; without a test."""

    measure: str = Field(description="The measure.", examples=["CK"])
    scale: str = Field(description="`ln`: differences of ln(CK); `raw`: in points.", examples=["ln"])
    week: int = Field(description="The week.", examples=[1])
    n: int = Field(description="Courses with both values.", examples=[15])
    mean: Number | None = Field(description="Mean difference, week minus baseline.", examples=[-0.53])
    median: Number | None = Field(description="Median difference.", examples=[-0.46])
    sd: Number | None = Field(description="Standard deviation of the differences.", examples=[0.23])
    geometric_mean_ratio: Number | None = Field(
        default=None,
        description="exp(mean) on the ln scale: CK at the week divided by CK at baseline.",
        examples=[0.5873],
    )
    reason: WhyNull = None
    left_out: tuple[LeftOutCourses, ...] = Field(description="Courses left out, by reason.", examples=[[]])

    def omits(self, name: str) -> bool:
        """On the raw scale there is no ratio."""
        return name == "geometric_mean_ratio" and self.scale == "raw"


class RepeatedCourses(Answer):
    """The courses one by one: how many, the days between them, and responses and changes after each."""

    results: tuple[CourseCount, ...] = Field(description="One entry, or one for each subgroup.", examples=[[]])
    rates: tuple[CourseRate, ...] = Field(
        description="One entry for each primary rule and course; first all courses.", examples=[[]]
    )
    baselines: tuple[CourseBaseline, ...] = Field(description="One entry for each measure and course.", examples=[[]])
    changes: tuple[CourseChange, ...] = Field(description="One entry for each measure, week and course.", examples=[[]])


@dataclass(frozen=True, slots=True, eq=False)
class _CoursePlace:
    """The courses of one place (first, second, ...); `course` is None for all courses."""

    course: int | None
    and_later: bool
    rows: Bools

    def fields(self, context: Context) -> dict[str, Any]:
        """The fields of `CourseEntry`."""
        return {"group": context.group, "course": self.course, "and_later": self.and_later}


def courses(context: Context) -> Findings:
    """Every primary rule, baseline and declared week, for each course."""
    view, protocol = CourseStudy(context.study), context.protocol
    places, weekly = list(_places(view)), protocol.weekly_change
    primary = [declared for declared in protocol.responses if declared.primary]
    rates = [_rate(context, view, declared, place) for declared in primary for place in places]
    return Findings(
        {
            "results": [_count(context, view)],
            "rates": rates,
            "baselines": [
                _baseline(context, view, measure, place) for measure in protocol.measures for place in places
            ],
            "changes": [
                change
                for measure in weekly.measures
                for week in weekly.weeks
                for change in _changes(context, view, measure, week, places)
            ],
        },
        context.excluded(context.untreated, "courses"),
        _flags(context, view),
        claims=[_claim(row) for row in rates] or [undeclared("responses")],
    )


def _basis(_: Context) -> Basis:
    parameters = {"truncated_at_next_course": True, "response_rules": "primary"}
    caveats = (
        "later_courses_selected",
        "courses_not_independent",
        "uncontrolled_pre_post",
        "definitions_are_ours",
        "bounds_in_courses",
    )
    return Basis(caveats, Definition(id="each_course_from_its_own_day_0", parameters=parameters))


def _places(view: CourseStudy) -> Iterator[_CoursePlace]:
    """All courses, then the first, the second, and the third with all later ones, if any patient had them."""
    place = view.courses.place
    yield _CoursePlace(None, True, np.ones(len(place), dtype=np.bool_))
    for number in range(1, min(LAST_PLACE, int(place.max(initial=1))) + 1):
        later = number == LAST_PLACE
        yield _CoursePlace(number, later, place >= number if later else place == number)


def _count(context: Context, view: CourseStudy) -> CourseCount:
    study, courses = context.study, view.courses
    by_courses = Counter(study.exposure.courses[study.safety].tolist())
    later = np.flatnonzero(courses.previous >= 0)
    before = courses.previous[later]
    return CourseCount(
        group=context.group,
        safety=int(study.safety.sum()),
        courses=len(courses),
        infusions=int(courses.infusions.sum()),
        by_courses=tuple(
            PatientsByCourses(courses=number, patients=by_courses[number]) for number in sorted(by_courses)
        ),
        days_between_starts=summarise(courses.first_day[later] - courses.first_day[before]),
        days_between=summarise(courses.first_day[later] - courses.last_day[before]),
        grams=summarise(courses.grams[~np.isnan(courses.grams)]),
        grams_per_kg=summarise(courses.grams_per_kg[~np.isnan(courses.grams_per_kg)]),
        courses_listed=listed_courses(context, view) if context.listed else None,
    )


def _rate(context: Context, view: CourseStudy, declared: Response, place: _CoursePlace) -> CourseRate:
    rule = declared.rule
    verdict = view.response(rule)
    evaluable, responder = verdict.evaluable & place.rows, verdict.responder & place.rows
    size, owner = len(context.study.cohort), view.courses.patient
    k, n = (np.bincount(owner[chosen], minlength=size) for chosen in (responder, evaluable))
    estimate = proportion(int(k.sum()), int(n.sum()), level=context.level, methods=context.proportion_methods)
    return CourseRate(
        **place.fields(context),
        measure=rule.measure,
        definition=Definition.of_rule(rule),
        responders=estimate.k,
        evaluable=estimate.n,
        rate=estimate.rate,
        reason=estimate.reason,
        intervals=estimate.intervals,
        all_treated=counted_of(
            place.rows,
            responder,
            ~verdict.judged,
            further_events(view, last_day(context.study, rule)),
            level=context.level,
            methods=context.proportion_methods,
        ),
        clustered=clustered_proportion(k, n, level=context.level),
        left_out=_left_out(verdict.reason, place),
    )


def _claim(row: CourseRate) -> Claim:
    place = "all courses" if row.course is None else f"course {row.course}{' and later' if row.and_later else ''}"
    subject = f"{row.measure} response by {row.definition.id}, {place}"
    return rate(subject, row.all_treated, row.responders, row.evaluable, measure=row.measure, unit="courses")


def _baseline(context: Context, view: CourseStudy, measure: str, place: _CoursePlace) -> CourseBaseline:
    records, rows = view.analysis_values(measure), view.weeks(measure)[0]
    values = records.at(rows)[place.rows]
    return CourseBaseline(
        **place.fields(context),
        measure=measure,
        values=summarise(values[~np.isnan(values)]),
        after_previous_course=int((view.baseline_after_previous(measure) & place.rows).sum()),
        too_old=int((view.baseline_too_old(measure) & place.rows).sum()),
    )


def _changes(
    context: Context, view: CourseStudy, measure: str, week: int, places: Sequence[_CoursePlace]
) -> Iterator[CourseChange]:
    scale = scales_of(measure)[0]
    difference = differences(view, measure, scale, week)
    reasons = difference_reasons(view, difference, measure, week)
    for place in places:
        chosen: Floats = difference[place.rows & ~np.isnan(difference)]
        ordered = sorted_values(chosen).tolist()
        mean = mean_of(ordered) if ordered else None
        yield CourseChange(
            **place.fields(context),
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


def _left_out(reasons: Sequence[ExclusionReason | None], place: _CoursePlace) -> tuple[LeftOutCourses, ...]:
    at_place = (reasons[i] for i in np.flatnonzero(place.rows).tolist())
    counts = Counter(reason for reason in at_place if reason is not None)
    return tuple(LeftOutCourses(reason=reason, count=counts[reason]) for reason in sorted(counts))


def _flags(context: Context, view: CourseStudy) -> list[Flag]:
    """The flags of infusions, of values on the first day of a course, and of old baselines.

    One value may be counted for two courses.
    """
    flags = context.flags(context.study.exposure.flags, "infusions")
    for measure in context.protocol.measures:
        counts = {
            FlagCode.DAY_0_POST_DOSE: view.analysis_values(measure).flags[FlagCode.DAY_0_POST_DOSE],
            FlagCode.BASELINE_TOO_OLD: int(view.baseline_too_old(measure).sum()),
        }
        flags += context.flags(counts, measure)
    return flags


QUESTION = Question(
    "courses",
    "How many courses did patients have, and how did they respond to each?",
    RepeatedCourses,
    courses,
    _basis,
)
