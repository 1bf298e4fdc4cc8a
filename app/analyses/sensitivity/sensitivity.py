"""Sensitivity analysis: how far the key results depend on a choice, on one patient, and on regression to the mean."""

from typing import Any

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated, of_all_treated
from app.analyses.answer import (
    Answer,
    Basis,
    Context,
    Definition,
    Excluded,
    Findings,
    Grouped,
    Question,
    not_listed,
)
from app.analyses.claims import description
from app.analyses.sensitivity.key_results import KeyResult, key_results
from app.analyses.sensitivity.regression_to_the_mean import Regression, regression
from app.analyses.sensitivity.sensitivity_cases import SENSITIVITY_CASES, SensitivityCase, sensitivity_cases
from app.estimate.changes.bounded_change import change_within_bounds
from app.estimate.leave_one_out import (
    Influence,
    InfluenceOnTest,
    influence_on_change,
    influence_on_median,
    influence_on_rate,
)
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Reason, TestResult, is_none
from app.estimate.times.survival import kaplan_meier
from app.timeline.cohort import Bools


class KeyResultEntry(Grouped):
    """The fields that identify the key result of a row."""

    analysis: str = Field(description="The question that gives the figure.", examples=["ck-change"])
    measure: str = Field(description="The measure.", examples=["CK"])
    scale: str | None = Field(
        description="`ln` or `raw` for differences; null for other figures.", examples=["ln", None]
    )
    week: int | None = Field(description="The week, where the figure is of one week.", examples=[4, None])
    definition: Definition = Field(description="The declared definition of the figure.")


class SensitivityRow(KeyResultEntry):
    """One key result under one sensitivity case."""

    variant: Definition = Field(
        description="The sensitivity case. "
        + " ".join(f"`{name}`: {words}" for name, words in SENSITIVITY_CASES.items())
    )
    of: str = Field(
        description="What is estimated: `rate`, `mean` (of differences) or `median` (of times).", examples=["mean"]
    )
    n: int = Field(description="Patients of this row.", examples=[15])
    estimate: Number | None = Field(description="The figure.", examples=[-1.408388201483])
    difference: Number | None = Field(
        description="The figure minus the main one; null where one of them is null, or where their units differ.",
        examples=[0],
    )
    reason: Reason | None = Field(
        description="Why the estimate is null; null where it is not.", examples=[None, "no_patients"]
    )
    difference_reason: Reason | None = Field(
        description="Why the difference is null; null where it is not.", examples=[None, "other_unit"]
    )
    interval: Interval = Field(description="Its interval.")
    all_treated: AllTreated | None = Field(
        default=None,
        exclude_if=is_none,
        description="For rates: the count over all treated patients. Who is left out here could not be judged.",
    )
    tests: tuple[TestResult, ...] = Field(
        description="For differences: the signed-rank test and the t test, not adjusted.", examples=[[]]
    )


class LeaveOneOut(KeyResultEntry):
    """One key result without each patient in turn."""

    n: int = Field(description="Patients of the main row.", examples=[15])
    estimate: Influence = Field(description="Range of the figure over all ways to leave out one patient.")
    tests: tuple[InfluenceOnTest, ...] = Field(
        description="For differences: the range of p of the signed-rank test and of the t test, not adjusted.",
        examples=[[]],
    )
    most_influential: str | None = Field(
        default=None,
        exclude_if=not_listed,
        description="The patient without whom the figure differs most, where `patients=true`.",
        examples=["P01"],
    )


class Sensitivity(Answer):
    """The key results under other choices and without each patient, and the expected regression to the mean."""

    results: tuple[SensitivityRow, ...] = Field(
        description="One entry for each key result and sensitivity case.", examples=[[]]
    )
    leave_one_out: tuple[LeaveOneOut, ...] = Field(description="One entry for each key result.", examples=[[]])
    regression_to_the_mean: tuple[Regression, ...] = Field(
        description="One entry, or one for each subgroup.", examples=[[]]
    )


def sensitivity(context: Context) -> Findings:
    """Every key result under every sensitivity case that applies to it."""
    rows: list[SensitivityRow] = []
    without_one: list[LeaveOneOut] = []
    excluded: list[Excluded] = []
    for main in key_results(context):
        rows += _rows(context, main)
        without_one.append(_leave_one_out(context, main))
        excluded += context.excluded(main.reasons, main.measure, main.week, main.definition, main.analysis)
    return Findings(
        {"results": rows, "leave_one_out": without_one, "regression_to_the_mean": [regression(context)]},
        excluded,
        claims=[description(int(context.study.safety.sum()), "the key results under other choices")],
    )


def _rows(context: Context, main: KeyResult) -> list[SensitivityRow]:
    rows: list[SensitivityRow] = []
    as_declared = estimate_of(context, main)
    for case in sensitivity_cases(context.study, main):
        bounds_kept = (case.result.within is None) == (main.within is None)
        same = bounds_kept and np.array_equal(case.result.values, main.values, equal_nan=True)
        estimate, reason, interval, tests = as_declared if same else estimate_of(context, case.result)
        reference = rows[0].estimate if rows else estimate
        difference = None
        if estimate is not None and reference is not None and case.comparable:
            difference = estimate - reference
        rows.append(
            SensitivityRow(
                **_about(context, main),
                variant=case.definition,
                of=main.kind,
                n=int(case.result.included.sum()),
                estimate=estimate,
                difference=difference,
                reason=reason,
                difference_reason=reason or _why_no_difference(case, reference),
                interval=interval,
                all_treated=_all_treated(context, case.result),
                tests=tests,
            )
        )
    return rows


def _all_treated(context: Context, result: KeyResult) -> AllTreated | None:
    if result.judged is None:
        return None
    until = int(result.until.max(initial=0))
    return of_all_treated(context, result.values == 1, ~result.judged, until)


def _why_no_difference(case: SensitivityCase, reference: float | None) -> Reason | None:
    if reference is None:
        return Reason.NO_MAIN_ESTIMATE
    return None if case.comparable else Reason.OTHER_UNIT


def _about(context: Context, main: KeyResult) -> dict[str, Any]:
    return {
        "group": context.group,
        "analysis": main.analysis,
        "measure": main.measure,
        "scale": main.scale,
        "week": main.week,
        "definition": main.definition,
    }


def estimate_of(
    context: Context, result: KeyResult
) -> tuple[float | None, Reason | None, Interval, tuple[TestResult, ...]]:
    """The estimate, the reason why it is null, its interval and tests, by the methods of the question itself.

    Where only the spread is missing, the interval and the tests have the reason.
    """
    kept, conventions = result.included, context.conventions
    values = result.values[kept]
    if result.kind == "rate":
        rate = proportion(int(values.sum()), len(values), level=context.level, methods=(conventions.proportion,))
        return rate.rate, rate.reason, rate.intervals[0], ()
    if result.events is not None:
        median = kaplan_meier(values, result.events[kept], **context.curve).median
        return median.value, median.reason, median.intervals[0], ()
    within = result.differences
    change = change_within_bounds(
        within.point,
        within.low,
        within.high,
        level=context.level,
        zeros=conventions.zeros,
        signed_rank_p=conventions.signed_rank_p,
    )
    return change.mean, change.reason if change.mean is None else None, change.intervals[0], change.tests


def _leave_one_out(context: Context, main: KeyResult) -> LeaveOneOut:
    kept, conventions = main.included, context.conventions
    values = main.values[kept]
    if main.kind == "rate":
        influence = influence_on_rate(values)
    elif main.events is not None:
        influence = influence_on_median(
            values, main.events[kept], median=conventions.median, plateau=conventions.plateau
        )
    else:
        within = main.differences
        influence = influence_on_change(
            values,
            within=(within.low, within.high),
            alpha=context.protocol.weekly_change.alpha,
            zeros=conventions.zeros,
            signed_rank_p=conventions.signed_rank_p,
        )
    return LeaveOneOut(
        **_about(context, main),
        n=int(kept.sum()),
        estimate=influence.estimate,
        tests=influence.tests,
        most_influential=_name(context, kept, influence.position) if context.listed else None,
    )


def _name(context: Context, kept: Bools, position: int | None) -> str | None:
    name = None if position is None else context.ids[int(np.flatnonzero(kept)[position])]
    return name if name is not None and context.lists(name) else None


QUESTION = Question(
    "sensitivity",
    "How far do the key results depend on a choice, on one patient, and on regression to the mean?",
    Sensitivity,
    sensitivity,
    lambda _: Basis(
        ("uncontrolled_pre_post", "selection_on_baseline", "definitions_are_ours", "comparators", "bounds_in_run_in")
    ),
)
