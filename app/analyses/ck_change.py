"""Before/after comparison: whether ln(CK) fell more in the weeks after treatment than in the weeks before it."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from app.analyses.answer import (
    Answer,
    Basis,
    Claim,
    Context,
    Definition,
    Findings,
    Grouped,
    Question,
    not_listed,
)
from app.analyses.claims import change, change_test
from app.analyses.patient_values import PatientValues, values_at
from app.analyses.weekly_change import Bounds, LimitOfBound, known_or_limits
from app.analyses.without_effect import Headline, NullOptions, Simulated, without_effect
from app.derive.bounded_values import BoundedValues, ln_ratio_within
from app.derive.per_patient import first_reason
from app.derive.reasons import ExclusionReason
from app.derive.study import DerivedStudy
from app.estimate.changes.bounded_change import censored_normal, change_within_bounds
from app.estimate.changes.ratio import geometric_mean_ratio, ratio_interval
from app.estimate.results import Interval, Number, Reason, Result, TestResult, WhyNull
from app.timeline.cohort import Floats


class Period(Result):
    """The change of ln(CK) over one period."""

    weeks: tuple[int, int] = Field(description="First and last week.", examples=[[-4, 0]])
    mean: Number | None = Field(description="Mean change of ln(CK).", examples=[-0.097330051834])
    geometric_mean_ratio: Number | None = Field(
        description="exp(mean): CK at the end divided by CK at the start.", examples=[0.907256515036]
    )
    reason: WhyNull = None
    bounds: Bounds = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the mean and of the ratio.", examples=[[]])


class ChangeOfChange(Result):
    """The change after minus the change before: ln C(after) - 2 ln C(0) + ln C(before), for each patient."""

    mean: Number | None = Field(description="Mean of the differences.", examples=[-1.408388201483])
    median: Number | None = Field(description="Median of the differences.", examples=[-1.192753362065])
    sd: Number | None = Field(description="Standard deviation of the differences.", examples=[0.5468])
    ratio_of_ratios: Number | None = Field(
        description="exp(mean): the ratio after divided by the ratio before.", examples=[0.2445]
    )
    reason: WhyNull = None
    bounds: Bounds = None
    tests: tuple[TestResult, ...] = Field(description="One-sample t test, then signed-rank test.", examples=[[]])
    intervals: tuple[Interval, ...] = Field(
        description="Intervals of the mean, the pseudomedian and the ratio of ratios.", examples=[[]]
    )


class PatientChange(PatientValues):
    """The changes of ln(CK) of one patient. The value is that after treatment."""

    start: Number | None = Field(description="CK at the week before treatment, in U/L.", examples=[1310])
    start_day: int | None = Field(description="Its day.", examples=[-28])
    before: Number | None = Field(description="ln C(0) - ln C(before).", examples=[-0.09])
    after: Number | None = Field(description="ln C(after) - ln C(0).", examples=[-1.5])
    difference: Number | None = Field(description="After minus before.", examples=[-1.41])
    low: LimitOfBound = None
    high: LimitOfBound = None
    reason: str | None = Field(description="Why there are none.", examples=[None, "no_value_in_window"])


class BeforeAfter(Grouped):
    """The comparison in the patients who have all three values."""

    n: int = Field(description="Patients with a CK at all three weeks.", examples=[15])
    before: Period = Field(description="The period before treatment.")
    after: Period = Field(description="The period after treatment.")
    difference: ChangeOfChange = Field(description="After minus before.")
    patients: tuple[PatientChange, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class CkChange(Answer):
    """The before/after comparison of ln(CK)."""

    results: tuple[BeforeAfter, ...] = Field(description="One entry, or one for each subgroup.", examples=[[]])
    nothing: Simulated


def ck_change(context: Context) -> Findings:
    """The before/after comparison at the protocol's weeks."""
    difference = changes_within(context.study)
    reasons = change_reasons(context.study, difference.point)
    excluded = context.excluded(reasons, "CK")
    flags = context.flags_of("CK", upper_limits=False)
    compared = _compare(context, difference, reasons)
    rows: dict[str, Sequence[Result]] = {"results": [compared], "nothing": without_effect(context, ["CK"], _headlines)}
    return Findings(rows, excluded, flags, claims=[_claim(context, compared)])


def _headlines(study: DerivedStudy, cohorts: int) -> list[Headline]:
    """The mean difference: where one is known only as a bound that of the censored normal, as in the answer."""
    within = changes_within(study)
    difference, low, high = (each.reshape(cohorts, -1) for each in (within.point, within.low, within.high))
    n = (~np.isnan(difference)).sum(axis=1)
    means = np.divide(np.nansum(difference, axis=1), n, out=np.full(cohorts, np.nan), where=n > 0)
    reason = None
    for cohort in np.flatnonzero(within.bounded.reshape(cohorts, -1).any(axis=1)):
        known = ~np.isnan(difference[cohort])
        fit = censored_normal(low[cohort, known], high[cohort, known])
        means[cohort], reason = np.nan if fit.mean is None else fit.mean, reason or fit.reason
    return [Headline("change_of_change", "CK", "lower", means, reason=reason or Reason.NO_PATIENTS)]


def _basis(whole: Context) -> Basis:
    weeks = whole.protocol.ck_change.model_dump(mode="json")
    caveats = (
        "uncontrolled_pre_post",
        "selection_on_baseline",
        "definitions_are_ours",
        "regression_to_the_mean",
        "comparators",
        "bounds_in_run_in",
        "steroid_increase",
        "new_immunosuppressant",
        "second_course",
        "death",
    )
    return Basis(caveats, Definition(id="ln_ck_change_of_change", parameters=weeks))


def changes(study: DerivedStudy) -> Floats:
    """The change of ln(CK) after treatment minus the change before it, NaN where a value is missing; a bound has its
    substitute.
    """
    return changes_within(study).point


def changes_within(study: DerivedStudy) -> BoundedValues:
    """The same with the limits between which each lies."""
    weeks, base = study.protocol.ck_change, study.ck_within(0)
    return ln_ratio_within([study.ck_within(weeks.after_week), study.ck_within(weeks.before_week)], [base, base])


def _compare(context: Context, difference: BoundedValues, reasons: Sequence[ExclusionReason | None]) -> BeforeAfter:
    study, weeks = context.study, context.protocol.ck_change
    start, base, end = (study.ck_within(week) for week in (weeks.before_week, 0, weeks.after_week))
    complete = ~np.isnan(difference.point)
    before, after = ln_ratio_within([base], [start]), ln_ratio_within([end], [base])
    return BeforeAfter(
        group=context.group,
        n=int(complete.sum()),
        before=_period((weeks.before_week, 0), before.where(complete), context),
        after=_period((0, weeks.after_week), after.where(complete), context),
        difference=_difference(difference.where(complete), context),
        patients=_listed(context, reasons, before, after, difference) if context.listed else None,
    )


def _claim(context: Context, row: BeforeAfter) -> Claim:
    """Whether ln(CK) changed otherwise after treatment than before it, by the t test on the differences."""
    found = row.difference
    return change(
        "change_of_change",
        "the change of ln(CK) after treatment",
        "the change before it",
        change_test(row.n, found.tests[0], found.mean),
        better="lower",
        alpha=context.protocol.weekly_change.alpha,
        family="t, one test",
        measure="CK",
        week=context.protocol.ck_change.after_week,
    )


def _listed(
    context: Context,
    reasons: Sequence[ExclusionReason | None],
    before: BoundedValues,
    after: BoundedValues,
    difference: BoundedValues,
) -> tuple[PatientChange, ...]:
    study, weeks = context.study, context.protocol.ck_change
    starts, ends = (values_at(study, "CK", study.weeks("CK")[week]) for week in (weeks.before_week, weeks.after_week))
    return tuple(
        PatientChange(
            patient=patient,
            before=known_or_limits(i, before, reason)["difference"],
            after=known_or_limits(i, after, reason)["difference"],
            **known_or_limits(i, difference, reason),
            start=starts[i]["value"],
            start_day=starts[i]["day"],
            **ends[i],
        )
        for i, (patient, reason) in enumerate(zip(context.ids, reasons, strict=True))
        if context.lists(patient)
    )


def _period(weeks: tuple[int, int], change: BoundedValues, context: Context) -> Period:
    estimate = context.study.estimated(change_within_bounds, change.point, change.low, change.high, level=context.level)
    interval, bounds = estimate.intervals[0], estimate.bounds
    return Period(
        weeks=weeks,
        mean=estimate.mean,
        geometric_mean_ratio=geometric_mean_ratio(estimate.mean),
        reason=bounds.reason if bounds else estimate.reason,
        bounds=bounds,
        intervals=(interval, ratio_interval(interval)),
    )


def _difference(difference: BoundedValues, context: Context) -> ChangeOfChange:
    estimate = context.study.estimated(
        change_within_bounds,
        difference.point,
        difference.low,
        difference.high,
        level=context.level,
        zeros=context.conventions.zeros,
        signed_rank_p=context.conventions.signed_rank_p,
        t_name="one_sample_t",
    )
    rank, t = estimate.tests
    return ChangeOfChange(
        mean=estimate.mean,
        median=estimate.median,
        sd=estimate.sd,
        ratio_of_ratios=geometric_mean_ratio(estimate.mean),
        reason=estimate.reason,
        bounds=estimate.bounds,
        tests=(t, rank),
        intervals=(*estimate.intervals, ratio_interval(estimate.intervals[0], "ratio_of_ratios")),
    )


def change_reasons(study: DerivedStudy, difference: Floats) -> tuple[ExclusionReason | None, ...]:
    """Why each patient has no difference; None where there is one."""
    weeks = study.protocol.ck_change
    before, base, after = (~study.at_visit("CK", week).present for week in (weeks.before_week, 0, weeks.after_week))
    return first_reason(
        (
            *study.left_out,
            (ExclusionReason.NO_BASELINE, base),
            (ExclusionReason.NO_VALUE_IN_WINDOW, before | after),
            (ExclusionReason.ZERO_VALUE, np.isnan(difference)),
        ),
        len(study.cohort),
    )


QUESTION = Question(
    "ck-change",
    "Did ln(CK) fall more after treatment than before it?",
    CkChange,
    ck_change,
    _basis,
    options_type=NullOptions,
    in_report=True,
    by_course=True,
)
