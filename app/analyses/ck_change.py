"""Whether ln(CK) fell more in the weeks after treatment than in the weeks before it."""

import numpy as np
from pydantic import Field

from app.analyses.frame import (
    Answer,
    Context,
    Definition,
    Excluded,
    Flag,
    Grouped,
    Options,
    Question,
    baseline_definition,
    caveats,
    groups,
    populations,
    visits_definition,
)
from app.derive.exact import ln_ratio
from app.derive.segments import first_reason
from app.derive.study import DerivedStudy
from app.estimate.paired_change import paired_change
from app.estimate.ratio import geometric_mean_ratio, ratio_interval
from app.estimate.results import Change, Interval, Number, Result, TestResult, WhyNull
from app.timeline.columns import Floats

NAME = "ck-change"


class Period(Result):
    """The change of ln(CK) over one period."""

    weeks: tuple[int, int] = Field(description="First and last week.", examples=[[-4, 0]])
    mean: Number | None = Field(description="Mean change of ln(CK).", examples=[-0.097330051834])
    geometric_mean_ratio: Number | None = Field(
        description="exp(mean): CK at the end over CK at the start.", examples=[0.907256515036]
    )
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Of the mean and of the ratio.", examples=[[]])


class ChangeOfChange(Result):
    """The change after minus the change before: ln C(after) - 2 ln C(0) + ln C(before), one number a patient."""

    mean: Number | None = Field(description="Mean of the differences.", examples=[-1.408388201483])
    median: Number | None = Field(description="Median of the differences.", examples=[-1.192753362065])
    sd: Number | None = Field(description="Standard deviation of the differences.", examples=[0.5468])
    ratio_of_ratios: Number | None = Field(
        description="exp(mean): the ratio after over the ratio before.", examples=[0.2445]
    )
    reason: WhyNull = None
    tests: tuple[TestResult, ...] = Field(description="One-sample t test, then signed-rank test.", examples=[[]])
    intervals: tuple[Interval, ...] = Field(
        description="Of the mean, the pseudomedian and the ratio of ratios.", examples=[[]]
    )


class BeforeAfter(Grouped):
    """The comparison in the patients who have all three values."""

    n: int = Field(description="Patients with a CK at all three weeks.", examples=[15])
    before: Period = Field(description="The period before treatment.")
    after: Period = Field(description="The period after treatment.")
    difference: ChangeOfChange = Field(description="After minus before.")


class CkChange(Answer):
    """The before/after comparison of ln(CK)."""

    results: tuple[BeforeAfter, ...] = Field(description="One entry (or one a subgroup).", examples=[[]])


def ck_change(study: DerivedStudy, options: Options) -> CkChange:
    """The before/after comparison at the protocol's weeks."""
    conventions = options.conventions(study.protocol.conventions)
    results: list[BeforeAfter] = []
    excluded: list[Excluded] = []
    flags: list[Flag] = []
    for group, part in groups(study, options.by):
        context = Context(part, group, options.level, conventions, options.patients)
        results.append(_compare(context, excluded))
        flags += _flags(context)
    return CkChange(
        analysis=NAME,
        populations=populations(study),
        by=options.by,
        level=options.level,
        conventions=conventions,
        definitions=(
            baseline_definition(study.protocol),
            visits_definition(study.protocol),
            Definition(id="ln_ck_change_of_change", parameters=study.protocol.ck_change.model_dump(mode="json")),
        ),
        results=tuple(results),
        excluded=tuple(excluded),
        flags=tuple(flags),
        caveats=caveats("uncontrolled_pre_post", "selection_on_baseline", "definitions_are_ours"),
    )


def _compare(context: Context, excluded: list[Excluded]) -> BeforeAfter:
    study, weeks = context.study, context.protocol.ck_change
    start, base, end = (study.ck_at(week) for week in (weeks.before_week, 0, weeks.after_week))
    difference = ln_ratio([end, start], [base, base])
    complete = ~np.isnan(difference)
    excluded += context.excluded(_reasons(study, difference), "CK")
    before, after = ln_ratio([base], [start])[complete], ln_ratio([end], [base])[complete]
    return BeforeAfter(
        group=context.group,
        n=int(complete.sum()),
        before=_period((weeks.before_week, 0), before, context),
        after=_period((0, weeks.after_week), after, context),
        difference=_difference(difference[complete], context),
    )


def _period(weeks: tuple[int, int], change: Floats, context: Context) -> Period:
    estimate = paired_change(change, level=context.level)
    interval = estimate.intervals[0]
    return Period(
        weeks=weeks,
        mean=estimate.mean,
        geometric_mean_ratio=geometric_mean_ratio(estimate.mean),
        reason=estimate.reason,
        intervals=(interval, ratio_interval(interval)),
    )


def _difference(difference: Floats, context: Context) -> ChangeOfChange:
    estimate: Change = paired_change(
        difference, level=context.level, zeros=context.conventions.zeros, t_name="one_sample_t"
    )
    rank, t = estimate.tests
    return ChangeOfChange(
        mean=estimate.mean,
        median=estimate.median,
        sd=estimate.sd,
        ratio_of_ratios=geometric_mean_ratio(estimate.mean),
        reason=estimate.reason,
        tests=(t, rank),
        intervals=(*estimate.intervals, ratio_interval(estimate.intervals[0], "ratio_of_ratios")),
    )


def _reasons(study: DerivedStudy, difference: Floats) -> tuple[str, ...]:
    weeks, rows = study.protocol.ck_change, study.weeks("CK")
    return first_reason(
        (
            *study.left_out,
            ("no_baseline", rows[0] < 0),
            ("no_value_in_window", (rows[weeks.before_week] < 0) | (rows[weeks.after_week] < 0)),
            ("zero_value", np.isnan(difference)),
        ),
        len(study.cohort),
    )


def _flags(context: Context) -> list[Flag]:
    study = context.study
    records, rows, weeks = study.records("CK"), study.weeks("CK"), context.protocol.ck_change
    used = np.concatenate([rows[week] for week in (weeks.before_week, 0, weeks.after_week)])
    counts = dict(records.flags)
    counts.pop("no_upper_limit", None)
    counts["comparator"] = int((records.comparator[used[used >= 0]] != 0).sum())
    counts["baseline_too_old"] = int((study.baseline_too_old("CK") & study.efficacy).sum())
    return context.flags(counts, "CK")


QUESTION = Question(NAME, "Did ln(CK) fall more after treatment than before it?", CkChange, ck_change)
