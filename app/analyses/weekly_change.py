"""Weekly change: how much a measure changed from baseline to each week, and the onset of a significant change."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from app.analyses.answer import (
    Answer,
    Basis,
    Claim,
    Context,
    Definition,
    Excluded,
    Findings,
    Flag,
    Grouped,
    Question,
    not_listed,
)
from app.analyses.claims import ChangeTest, NoOnset, OnsetWeek, Side, change, change_test, onset, onset_week
from app.analyses.patient_values import PatientValues, values_at
from app.analyses.without_effect import Headline, NullOptions, Simulated, without_effect
from app.derive.bounded_values import BoundedValues, ln_ratio_within
from app.derive.per_patient import first_reason
from app.derive.reasons import ExclusionReason, MeasureReason
from app.derive.study import DerivedStudy
from app.estimate.changes.bounded_change import change_within_bounds, rank_p_within_bounds
from app.estimate.changes.multiplicity import adjust
from app.estimate.changes.ratio import geometric_mean_ratio, ratio_interval
from app.estimate.changes.signed_rank_rows import signed_rank_rows
from app.estimate.results import BoundedMean, Change, Interval, Number, Omitting, Reason, TestResult, WhyNull
from app.protocol.conventions import Conventions
from app.protocol.model import Protocol
from app.timeline.cohort import Floats
from app.timeline.vocabulary import Direction

OTHER_TREATMENT = ("steroid_increase", "new_immunosuppressant", "second_course", "death")
"""The caveats of every figure that other treatment or death may have moved."""
Scale = Literal["ln", "raw"]
Bounds = Annotated[
    BoundedMean | None,
    Field(
        exclude_if=not_listed,
        description="Present where a CK is a bound.",
    ),
]
LimitOfBound = Annotated[
    Number | None, Field(exclude_if=not_listed, description="Limit where it is a bound.", examples=[None])
]


class PatientDifference(PatientValues):
    """The change of one patient."""

    difference: Number | None = Field(description="Week minus baseline, on the scale of the row.", examples=[-0.46])
    low: LimitOfBound = None
    high: LimitOfBound = None
    reason: str | None = Field(description="Why there is none.", examples=[None, "no_value_in_window"])


class WeekChange(Omitting, Grouped):
    """The change of one measure from baseline to one week."""

    measure: str = Field(description="The measure.", examples=["CK"])
    scale: Scale = Field(description="`ln`: differences of ln(CK); `raw`: in U/L or points.", examples=["ln"])
    week: int = Field(description="The week.", examples=[1])
    n: int = Field(description="Patients with a value at baseline and at this week.", examples=[15])
    mean: Number | None = Field(description="Mean difference, week minus baseline.", examples=[-0.532302162668])
    median: Number | None = Field(description="Median difference.", examples=[-0.462135768045])
    sd: Number | None = Field(description="Standard deviation of the differences.", examples=[0.2338])
    geometric_mean_ratio: Number | None = Field(
        default=None,
        description="exp(mean) on the ln scale: CK at the week divided by CK at baseline.",
        examples=[0.5873],
    )
    reason: WhyNull = None
    bounds: Bounds = None
    tests: tuple[TestResult, ...] = Field(description="Signed-rank test, then paired t test.", examples=[[]])
    patients: tuple[PatientDifference, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )
    intervals: tuple[Interval, ...] = Field(
        description="Intervals of the mean, the pseudomedian and the ratio.", examples=[[]]
    )

    def omits(self, name: str) -> bool:
        """On the raw scale there is no ratio."""
        return name == "geometric_mean_ratio" and self.scale == "raw"


class Onset(Grouped):
    """The first week from which a measure differs significantly from baseline at every later week, in one direction."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    scale: Scale = Field(description="Scale of the differences.", examples=["raw"])
    test: str = Field(description="The test that decides.", examples=["wilcoxon"])
    alpha: Number = Field(description="Level of significance for the adjusted p.", examples=[0.05])
    week: int | None = Field(
        description="First week from which every later week is significant; null where the last week is not.",
        examples=[2],
    )
    direction: Side | None = Field(
        description="Of the change from that week on; null where neither end is better.", examples=["improvement"]
    )
    reason: NoOnset | None = Field(
        default=None, description="Why there is no week or no direction.", examples=[None, "last_week_not_significant"]
    )


class WeeklyChanges(Answer):
    """Change from baseline by week, with tests adjusted over the weeks of a measure."""

    results: tuple[WeekChange, ...] = Field(description="One entry for each measure, scale and week.", examples=[[]])
    onset: tuple[Onset, ...] = Field(description="One entry for each measure and scale.", examples=[[]])
    nothing: Simulated


def weekly_change(context: Context) -> Findings:
    """Every measure and week that the protocol compares with the baseline."""
    rows: list[WeekChange] = []
    onsets: list[Onset] = []
    excluded: list[Excluded] = []
    flags: list[Flag] = []
    claims: list[Claim] = []
    for measure in context.protocol.weekly_change.measures:
        for scale in scales_of(measure):
            weeks, left_out = _weeks(context, measure, scale)
            rows += weeks
            excluded += left_out
            claims += _changes(context, weeks)
            after = [row for row in weeks if row.week > 0]
            if after:
                found = onset_of(context.protocol, after)
                onsets.append(_onset(context, after, found))
                claims += _onset_claims(context, after, found)
        flags += context.flags_of(measure, upper_limits=False)
    nothing = without_effect(context, context.protocol.weekly_change.measures, partial(_headlines, context.conventions))
    return Findings({"results": rows, "onset": onsets, "nothing": nothing}, excluded, flags, claims=claims)


def _headlines(conventions: Conventions, study: DerivedStudy, cohorts: int) -> list[Headline]:
    """Whether each measure has an onset of improvement."""
    compared = study.protocol.weekly_change
    if not any(week > 0 for week in compared.weeks):
        return []
    found = []
    for measure, scale in ((code, scale) for code in compared.measures for scale in scales_of(code)):
        weeks = [differences_within(study, measure, scale, week) for week in compared.weeks]
        first = _onset_weeks(conventions, study.protocol, measure, weeks, cohorts)
        known = np.any([~np.isnan(week.point.reshape(cohorts, -1)).all(axis=1) for week in weeks], axis=0)
        values = np.where(known, np.isfinite(first), np.nan)
        found.append(Headline("onset", measure, "higher", values, goodness=-first, scale=scale))
    return found


def _ranked_within_bounds(conventions: Conventions, week: BoundedValues, cohorts: int) -> dict[int, float | None]:
    """The p of the rank test in each cohort that has a difference known only as a bound."""
    found = {}
    for i in np.flatnonzero(week.bounded.reshape(cohorts, -1).any(axis=1)).tolist():
        points, low, high = (each.reshape(cohorts, -1)[i] for each in (week.point, week.low, week.high))
        known = ~np.isnan(points)
        found[i] = rank_p_within_bounds(
            points[known], low[known], high[known], conventions.zeros, conventions.signed_rank_p
        )
    return found


def _onset_weeks(
    conventions: Conventions, protocol: Protocol, measure: str, differences: Sequence[BoundedValues], cohorts: int
) -> Floats:
    """The week of the onset of improvement in each cohort, by the rules of the answer; infinite without one.

    `differences` are those of each week, one cohort after the other. With bounds there is no direction.
    """
    compared, better = protocol.weekly_change, better_end(protocol, measure)
    weeks = [week.point.reshape(cohorts, -1) for week in differences]
    tested = [signed_rank_rows(week, conventions.zeros, conventions.signed_rank_p) for week in weeks]
    bounds = [_ranked_within_bounds(conventions, week, cohorts) for week in differences]
    found = np.full(cohorts, np.inf)
    for i, of_cohort in enumerate(zip(*tested, strict=True)):
        p = [hidden.get(i, row.p) for hidden, row in zip(bounds, of_cohort, strict=True)]
        p_adjusted = adjust(p, conventions.multiplicity)
        tests: dict[int, ChangeTest] = {}
        for week, row, hidden, adjusted in zip(compared.weeks, of_cohort, bounds, p_adjusted, strict=True):
            above = None if i in hidden else row.rises
            tests[week] = ChangeTest(0, adjusted, None if above is None else 1.0 if above else -1.0)
        after = {week: test for week, test in tests.items() if week > 0}
        onset = onset_week(after, better=better, alpha=compared.alpha)
        if onset.week is not None and onset.direction == "improvement":
            found[i] = onset.week
    return found


def change_definition(protocol: Protocol) -> Definition:
    """The definition of a change from baseline."""
    return Definition(id="change_from_baseline", parameters=protocol.weekly_change.model_dump(mode="json"))


def _basis(whole: Context) -> Basis:
    caveats = (
        "definitions_are_ours",
        "uncontrolled_pre_post",
        "selection_on_baseline",
        "regression_to_the_mean",
        "missing_data",
        "few_pairs",
        "comparators",
        "bounds_in_run_in",
        "steroid_taper",
        *OTHER_TREATMENT,
    )
    return Basis(caveats, change_definition(whole.protocol))


def scales_of(measure: str) -> tuple[Scale, ...]:
    """The scales on which a measure is compared, the main one first."""
    return ("ln", "raw") if measure == "CK" else ("raw",)


def differences(study: DerivedStudy, measure: str, scale: Scale, week: int) -> Floats:
    """Week minus baseline of each patient, on a scale, NaN where a value is missing; a bound has its substitute."""
    return differences_within(study, measure, scale, week).point


def differences_within(study: DerivedStudy, measure: str, scale: Scale, week: int) -> BoundedValues:
    """The same, on the ln scale with the limits between which each lies."""
    if scale == "ln":
        return ln_ratio_within([study.ck_within(week)], [study.ck_within(0)])
    return BoundedValues.known(study.difference(measure, week))


def _weeks(context: Context, measure: str, scale: Scale) -> tuple[list[WeekChange], list[Excluded]]:
    study, weeks = context.study, context.protocol.weekly_change.weeks
    changes: list[Change] = []
    excluded: list[Excluded] = []
    listed: list[tuple[PatientDifference, ...] | None] = []
    for week in weeks:
        within = differences_within(study, measure, scale, week)
        difference = within.point
        kept = within.where(~np.isnan(difference))
        changes.append(
            study.estimated(
                change_within_bounds,
                kept.point,
                kept.low,
                kept.high,
                level=context.level,
                zeros=context.conventions.zeros,
                signed_rank_p=context.conventions.signed_rank_p,
            )
        )
        reasons = difference_reasons(study, difference, measure, week)
        excluded += context.excluded(reasons, measure, week, estimate=scale if measure == "CK" else None)
        listed.append(_listed(context, measure, week, within, reasons) if context.listed else None)
    adjusted = _adjusted(changes, context)
    rows = [
        WeekChange(
            group=context.group,
            measure=measure,
            scale=scale,
            week=week,
            n=change.n,
            mean=change.mean,
            median=change.median,
            sd=change.sd,
            geometric_mean_ratio=geometric_mean_ratio(change.mean) if scale == "ln" else None,
            reason=change.reason,
            bounds=change.bounds,
            tests=tests,
            intervals=_intervals(change, scale),
            patients=patients,
        )
        for week, change, tests, patients in zip(weeks, changes, adjusted, listed, strict=True)
    ]
    return rows, excluded


def _listed(
    context: Context, measure: str, week: int, within: BoundedValues, reasons: Sequence[ExclusionReason | None]
) -> tuple[PatientDifference, ...]:
    values = values_at(context.study, measure, context.study.weeks(measure)[week])
    return tuple(
        PatientDifference(patient=patient, **known_or_limits(i, within, reason), **values[i])
        for i, (patient, reason) in enumerate(zip(context.ids, reasons, strict=True))
        if context.lists(patient)
    )


def known_or_limits(place: int, within: BoundedValues, reason: str | None) -> dict[str, Any]:
    """One patient's difference; where it is known only as a bound its limits, where there is none the reason."""
    if reason:
        return {"difference": None, "reason": reason}
    low, high = float(within.low[place]), float(within.high[place])
    if low == high:
        return {"difference": low, "reason": None}
    return {
        "difference": None,
        "low": low if math.isfinite(low) else None,
        "high": high if math.isfinite(high) else None,
        "reason": MeasureReason.BOUND_ONLY,
    }


def _intervals(change: Change, scale: Scale) -> tuple[Interval, ...]:
    if scale == "raw":
        return change.intervals
    return (*change.intervals, ratio_interval(change.intervals[0]))


def _adjusted(changes: Sequence[Change], context: Context) -> list[tuple[TestResult, ...]]:
    """The tests of each week, with p adjusted over the weeks: the signed-rank tests together, the t tests together."""
    families = zip(*(change.tests for change in changes), strict=True)
    return list(zip(*(adjusted_over_weeks(family, context) for family in families), strict=True))


def adjusted_over_weeks(family: Sequence[TestResult], context: Context) -> list[TestResult]:
    """The tests of one family, one for each week, with p adjusted as the answer declares."""
    method = context.conventions.multiplicity
    return [
        test.model_copy(update={"p_adjusted": p, "adjustment": method} | _chain(test, p))
        for test, p in zip(family, adjust([test.p_at_most for test in family], method), strict=True)
    ]


def _chain(test: TestResult, adjusted: float | None) -> dict[str, Reason]:
    broken = adjusted is None and test.p is not None and test.reason is None
    return {"reason": Reason.CHAIN_BROKEN} if broken else {}


def better_end(protocol: Protocol, measure: str) -> Direction:
    """Which end of a measure is better: a lower CK, and the declared end of a scale."""
    return "lower" if measure == "CK" else protocol.scale(measure).better


def tested(row: WeekChange) -> ChangeTest:
    """The test that decides about a change: the signed-rank test, adjusted over the weeks, and the pseudomedian."""
    centre = next(interval.estimate for interval in row.intervals if interval.of == "pseudomedian")
    return change_test(row.n, row.tests[0], centre)


def onset_of(protocol: Protocol, rows: Sequence[WeekChange]) -> OnsetWeek:
    """The onset over the rows of the weeks after treatment."""
    better, alpha = better_end(protocol, rows[0].measure), protocol.weekly_change.alpha
    return onset_week({row.week: tested(row) for row in rows}, better=better, alpha=alpha)


def _onset(context: Context, rows: Sequence[WeekChange], found: OnsetWeek) -> Onset:
    return Onset(
        group=context.group,
        measure=rows[0].measure,
        scale=rows[0].scale,
        test=rows[-1].tests[0].method,
        alpha=context.protocol.weekly_change.alpha,
        week=found.week,
        direction=found.direction,
        reason=found.reason,
    )


def _changes(context: Context, rows: Sequence[WeekChange]) -> list[Claim]:
    """A claim for each week of one measure on one scale."""
    return [
        change(
            "change",
            f"{_subject(row)} at week {row.week}",
            "baseline",
            tested(row),
            better=better_end(context.protocol, row.measure),
            alpha=context.protocol.weekly_change.alpha,
            family=_family(rows),
            measure=row.measure,
            week=row.week,
            scale=row.scale,
        )
        for row in rows
    ]


def _onset_claims(context: Context, rows: Sequence[WeekChange], found: OnsetWeek) -> list[Claim]:
    weeks = {row.week: tested(row) for row in rows}
    measure, scale = rows[0].measure, rows[0].scale
    return onset(_subject(rows[0]), found, weeks, family=_family(rows), measure=measure, scale=scale)


def _subject(row: WeekChange) -> str:
    return {"ln": "ln(CK)", "raw": "CK in U/L"}[row.scale] if row.measure == "CK" else row.measure


def _family(rows: Sequence[WeekChange]) -> str:
    """The family of the signed-rank tests of one measure on one scale."""
    size = sum(row.tests[0].p_at_most is not None for row in rows)
    return f"signed-rank, adjustment {rows[0].tests[0].adjustment} over the {size} weeks of this measure"


def difference_reasons(
    study: DerivedStudy, difference: Floats, measure: str, week: int
) -> tuple[ExclusionReason | None, ...]:
    """Why each patient has no difference; None where there is one."""
    missing = (
        *study.left_out,
        (ExclusionReason.NO_BASELINE, ~study.at_visit(measure, 0).present),
        (ExclusionReason.NO_VALUE_IN_WINDOW, ~study.at_visit(measure, week).present),
        (ExclusionReason.ZERO_VALUE, np.isnan(difference)),
    )
    return first_reason(missing, len(study.cohort))


QUESTION = Question(
    "weekly-change",
    "How much did each measure change from baseline, week by week?",
    WeeklyChanges,
    weekly_change,
    _basis,
    options_type=NullOptions,
    in_report=True,
    by_course=True,
    adjusted_over="the weeks of one measure and scale (signed-rank and t tests each for themselves)",
)
