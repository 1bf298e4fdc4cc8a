"""What the answers about the core set measures share: counts with their bounds, who is left out, flags."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import Field

from app.analyses.answer import Context, Excluded, Flag
from app.derive.core_set import CoreSetCourse, FollowedMeasure, at_best_end, enzyme_names
from app.derive.per_patient import first_reason
from app.derive.reasons import ExclusionReason, FlagCode, MeasureReason
from app.derive.relative_change import BoundedVerdict
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Reason, Result, WhyNull
from app.protocol.improvement import Composite
from app.timeline.cohort import Bools

MEASURE = "CORE_SET"
"""Stands for the six measures together where an answer names one."""


class Share(Result):
    """How many of some patients: for certain, and at most, where missing measures leave it open.

    The interval of the bounds holds the rate at its level or above, whatever the missing measures were: limits rise
    with the count, so that those of the true count lie within.
    """

    patients: int = Field(description="Patients who have it for certain.", examples=[9])
    possible: int = Field(description="These, and the patients who might have it.", examples=[11])
    of: int = Field(
        description="Patients of whom any core set measure was recorded that has a baseline.", examples=[15]
    )
    rate: Number | None = Field(
        description="patients / of, a fraction; null (`undecided`) where `possible` is more than `patients`.",
        examples=[None, 0.6],
    )
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the rate, null where it is.", examples=[[]])
    rate_at_least: Number | None = Field(description="patients / of, whatever was missing.", examples=[0.6])
    rate_at_most: Number | None = Field(description="possible / of.", examples=[0.733333333333])
    interval_of_bounds: Interval = Field(
        description="From the lower limit of the rate at least to the upper limit of the rate at most, by the method "
        "in force."
    )


class MeasureAt(Result):
    """One core set measure of one patient at one visit; what all these parts have in common."""

    measure: str = Field(description="Which of the six.", examples=["enzyme"])
    instrument: str | None = Field(
        description="What was recorded; null where no enzyme is followed.", examples=["CK", "HAQ"]
    )
    baseline: Number | None = Field(
        description="Value at baseline; null where missing or known as a bound only.", examples=[3000]
    )
    value: Number | None = Field(description="Value at the visit, likewise.", examples=[1500])


def share(context: Context, verdict: BoundedVerdict, among: Bools) -> Share:
    """The patients of a verdict (one entry a patient) among some of them."""
    n = int(among.sum())
    least, most = (
        proportion(int((each & among).sum()), n, level=context.level, methods=context.proportion_methods)
        for each in (verdict.surely, verdict.possibly)
    )
    undecided = least.k < most.k
    low, high = least.intervals[0], most.intervals[0]
    return Share(
        patients=least.k,
        possible=most.k,
        of=n,
        rate=None if undecided else least.rate,
        reason=Reason.UNDECIDED if undecided else least.reason,
        intervals=tuple(map(_left_open, least.intervals)) if undecided else least.intervals,
        rate_at_least=least.rate,
        rate_at_most=most.rate,
        interval_of_bounds=low.model_copy(update={"method": f"{low.method}/bounds", "high": high.high}),
    )


def _left_open(interval: Interval) -> Interval:
    return interval.model_copy(update={"low": None, "high": None, "reason": Reason.UNDECIDED})


def visit_reasons(context: Context, course: CoreSetCourse) -> list[tuple[ExclusionReason | None, ...]]:
    """For each week why a patient was not seen."""
    checks = (
        (ExclusionReason.NOT_TREATED, ~context.study.safety),
        (ExclusionReason.NO_BASELINE, ~course.at_baseline),
    )
    missed = ~course.attended
    return [
        first_reason((*checks, (ExclusionReason.NO_VALUE_IN_WINDOW, missed[:, column])), len(missed))
        for column in range(len(course.weeks))
    ]


def left_out(context: Context, course: CoreSetCourse) -> list[Excluded]:
    """The patients without any measure at each week, counted by reason."""
    reasons = zip(course.weeks, visit_reasons(context, course), strict=True)
    return [row for week, each in reasons for row in context.excluded(each, MEASURE, week)]


def flags(
    context: Context, declared: Composite, course: CoreSetCourse, no_room: Callable[[FollowedMeasure], Bools]
) -> list[Flag]:
    """What was noticed about each instrument and enzyme.

    `no_room` tells in which patients even the best score of an instrument would count for nothing.
    """
    found: list[Flag] = []
    instruments, seen = codes(declared), course.attended.any(axis=1)
    for measure in declared.core_set.measures:
        near: dict[FlagCode, int] = {}
        followed = [each for each in course.measures if instruments.get(each.name) == measure]
        for each in followed:
            stuck = no_room(at_best_end(each, context.protocol.scale(measure)))[:, 0]
            near[FlagCode.NEAR_CEILING] = int((stuck & seen).sum())
        found += context.flags_of(measure, near)
    return found


def codes(declared: Composite) -> dict[str, str]:
    """The instrument of each core set measure that is a score."""
    core_set = declared.core_set
    return {name: getattr(core_set, name) for name in type(core_set).model_fields
            if name not in {"population", "enzymes"}}  # fmt: skip


def recorded(declared: Composite, course: CoreSetCourse) -> Callable[[int, int], list[dict[str, Any]]]:
    """What was recorded of a patient at a week, given by their numbers: the fields of `MeasureAt` and a `reason`."""
    enzymes, instruments = enzyme_names(declared.core_set, course.enzyme), codes(declared)

    def measures_at(patient: int, column: int) -> list[dict[str, Any]]:
        rows = []
        for each in course.measures:
            before, after = float(each.before.low[patient, 0]), float(each.after.low[patient, column])
            known = bool(each.before.exact[patient, 0]), bool(each.after.exact[patient, column])
            reason: ExclusionReason | MeasureReason | None = None if all(known) else MeasureReason.BOUND_ONLY
            if np.isnan(after):
                reason = ExclusionReason.NO_VALUE_IN_WINDOW
            if np.isnan(before):
                reason = ExclusionReason.NO_BASELINE
            if each.name == "enzyme" and course.undecided[patient]:
                reason = MeasureReason.ENZYME_UNDECIDED
            rows.append(
                {
                    "measure": each.name,
                    "instrument": enzymes[patient] if each.name == "enzyme" else instruments[each.name],
                    "baseline": before if known[0] else None,
                    "value": after if known[1] else None,
                    "reason": reason,
                }
            )
        return rows

    return measures_at
