"""The common part of the answers about the core set: counts with bounds, patients left out, and flags."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated, of_all_treated
from app.analyses.answer import Context, Excluded, Flag
from app.analyses.weekly_change import OTHER_TREATMENT
from app.derive.core_set import CoreSetCourse, FollowedMeasure, at_best_end, enzyme_names
from app.derive.per_patient import first_reason
from app.derive.reasons import ExclusionReason, FlagCode, MeasureReason
from app.derive.relative_change import BoundedVerdict
from app.derive.visits import window
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Reason, Result, WhyNull
from app.protocol.improvement import Composite
from app.timeline.cohort import Bools

CAVEATS = ("ceiling_at_baseline", *OTHER_TREATMENT)
"""The caveats about data of every improvement."""
MEASURE = "CORE_SET"
"""The name of the six measures together, where an answer has a field for one measure."""


class Share(Result):
    """How many of some patients have a property: for certain, and at most, where missing measures leave it open.

    The interval of the bounds covers the rate with at least its confidence level for all possible values of the missing
    measures: limits increase with the count, so that the limits of the true count lie inside.
    """

    patients: int = Field(description="Patients who certainly have it.", examples=[9])
    possible: int = Field(description="Patients who certainly or possibly have it.", examples=[11])
    of: int = Field(
        description="Patients with at least one recorded core set measure that has a baseline.", examples=[15]
    )
    rate: Number | None = Field(
        description="patients / of, a fraction; null (`undecided`) where `possible` is more than `patients`.",
        examples=[None, 0.6],
    )
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(
        description="Intervals of the rate; null where the rate is null.", examples=[[]]
    )
    rate_at_least: Number | None = Field(description="patients / of: the least possible rate.", examples=[0.6])
    rate_at_most: Number | None = Field(
        description="possible / of: the greatest possible rate.", examples=[0.733333333333]
    )
    interval_of_bounds: Interval = Field(
        description="From the lower limit of `rate_at_least` to the upper limit of `rate_at_most`, by the method in "
        "force."
    )
    all_treated: AllTreated = Field(description="The same over all treated patients.")


class MeasureAt(Result):
    """One core set measure of one patient at one visit: the common fields."""

    measure: str = Field(description="The core set measure.", examples=["enzyme"])
    instrument: str | None = Field(
        description="The instrument or enzyme; null where no enzyme is followed.", examples=["CK", "HAQ"]
    )
    baseline: Number | None = Field(
        description="Value at baseline; null where missing or known as a bound only.", examples=[3000]
    )
    value: Number | None = Field(
        description="Value at the visit; null where missing or known as a bound only.", examples=[1500]
    )


def share(context: Context, verdict: BoundedVerdict, among: Bools, week: int) -> Share:
    """The share of the patients `among` for whom a verdict (one entry for each patient) holds, up to a week."""
    n = int(among.sum())
    least, most = (
        proportion(int((bound & among).sum()), n, level=context.level, methods=context.proportion_methods)
        for bound in (verdict.surely, verdict.possibly)
    )
    undecided = least.k < most.k
    low, high = least.intervals[0], most.intervals[0]
    return Share(
        patients=least.k,
        possible=most.k,
        of=n,
        rate=None if undecided else least.rate,
        reason=Reason.UNDECIDED if undecided else least.reason,
        intervals=tuple(map(_undecided, least.intervals)) if undecided else least.intervals,
        rate_at_least=least.rate,
        rate_at_most=most.rate,
        interval_of_bounds=low.model_copy(update={"method": f"{low.method}/bounds", "high": high.high}),
        all_treated=up_to_week(context, verdict, among, week),
    )


def up_to_week(context: Context, verdict: BoundedVerdict, among: Bools, week: int) -> AllTreated:
    """The count over everybody who was treated; patients who are not `among` those seen could not be judged."""
    until = window(week, context.protocol.visits)[1]
    return of_all_treated(context, verdict.surely & among, verdict.possibly | ~among, until)


def _undecided(interval: Interval) -> Interval:
    return interval.model_copy(update={"low": None, "high": None, "reason": Reason.UNDECIDED})


def visit_reasons(context: Context, course: CoreSetCourse) -> list[tuple[ExclusionReason | None, ...]]:
    """For each week, why each patient was not seen; None where seen."""
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
    by_week = zip(course.weeks, visit_reasons(context, course), strict=True)
    return [row for week, reasons in by_week for row in context.excluded(reasons, MEASURE, week)]


def flags(
    context: Context, declared: Composite, course: CoreSetCourse, no_room: Callable[[FollowedMeasure], Bools]
) -> list[Flag]:
    """The flags of each instrument and enzyme.

    `no_room` gives the patients in whom even the best score of an instrument adds nothing.
    """
    rows: list[Flag] = []
    instruments, seen = instrument_codes(declared), course.attended.any(axis=1)
    for measure in declared.core_set.measures:
        near: dict[FlagCode, int] = {}
        followed = [each for each in course.measures if instruments.get(each.name) == measure]
        for each in followed:
            stuck = no_room(at_best_end(each, context.protocol.scale(measure)))[:, 0]
            near[FlagCode.NEAR_CEILING] = int((stuck & seen).sum())
        rows += context.flags_of(measure, near)
    return rows


def instrument_codes(declared: Composite) -> dict[str, str]:
    """The instrument of each core set measure that is a score."""
    core_set = declared.core_set
    return {name: getattr(core_set, name) for name in type(core_set).model_fields
            if name not in {"population", "enzymes"}}  # fmt: skip


def recorded_measures(declared: Composite, course: CoreSetCourse) -> Callable[[int, int], list[dict[str, Any]]]:
    """A function of a patient's row and a week's column: the fields of `MeasureAt` and a `reason` for each measure."""
    enzymes, instruments = enzyme_names(declared.core_set, course.enzyme), instrument_codes(declared)

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
