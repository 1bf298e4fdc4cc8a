"""The specification grid: the alternative definitions of response and remission of a specification curve.

A definition of the grid (a specification) has five parts: a criterion, a window, a baseline rule, a set of patients and
a rule for missing values (Simonsohn, Simmons and Nelson, Nature Human Behaviour 2020; 4: 1208-1214). The protocol
declares the grid in advance; for a protocol without a grid `default_grid` makes one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

from pydantic import Field

from app.protocol.endpoints import CkDecreaseOrNormal, PercentAboveBaseline, PointsAboveBaseline, ResponseRule
from app.protocol.parts import Day, Measure, Part, Scale, Scaled, Week, scale_of

MOST_SPECIFICATIONS = 5_000
"""Greatest number of definitions in a grid."""


class PointsBetter(Part):
    """Response: at least `points` better than the baseline; the scale says whether higher or lower is better."""

    id: Literal["points_better"] = Field(description="Name of the criterion.", examples=["points_better"])
    points: float = Field(gt=0, description="Least improvement in points of the scale.", examples=[5])


class PercentBetter(Part):
    """Response: better than the baseline by at least `percent` of the baseline."""

    id: Literal["percent_better"] = Field(description="Name of the criterion.", examples=["percent_better"])
    percent: float = Field(gt=0, le=1000, description="Least improvement in per cent of the baseline.", examples=[20])


class CkPercentOfBaseline(Part):
    """Response: CK is at most `percent_of_baseline` of the baseline, or (with `or_normal`) normal."""

    id: Literal["percent_of_baseline"] = Field(description="Name of the criterion.", examples=["percent_of_baseline"])
    percent_of_baseline: int = Field(
        ge=1, le=100, description="Greatest CK of a responder in per cent of the baseline.", examples=[70]
    )
    or_normal: bool = Field(default=True, description="Whether a normal CK is a response too.", examples=[True])


class CkNormal(Part):
    """Remission: CK is normal. With `sustained`, the next CK of known normality must be normal too."""

    id: Literal["ck_normal"] = Field(description="Name of the criterion.", examples=["ck_normal"])
    sustained: bool = Field(
        default=False, description="Whether two consecutive CK values must be normal.", examples=[False]
    )


class BestEnd(Part):
    """Remission: the score is at the best end of its scale, or at most `within_points` away from it."""

    id: Literal["best_end_of_scale"] = Field(description="Name of the criterion.", examples=["best_end_of_scale"])
    within_points: float = Field(default=0, ge=0, description="Greatest distance from the best end.", examples=[0])


class DaysWindow(Part):
    """The best or the last value of some days after day 0. With `best`, any of these values may meet the criterion."""

    id: Literal["days"] = Field(description="Name of the window.", examples=["days"])
    days: tuple[Day, Day] = Field(description="First and last day after the first infusion.", examples=[[1, 59]])
    value: Literal["best", "last"] = Field(description="Which value of these days is judged.", examples=["best"])


class VisitWindow(Part):
    """The value of one planned visit, selected by the rule of `visits`."""

    id: Literal["visit"] = Field(description="Name of the window.", examples=["visit"])
    week: Week = Field(description="Week whose visit is judged.", examples=[4])


Threshold = Annotated[PointsBetter | PercentBetter | CkPercentOfBaseline, Field(discriminator="id")]
Remission = Annotated[CkNormal | BestEnd, Field(discriminator="id")]
Window = Annotated[DaysWindow | VisitWindow, Field(discriminator="id")]
Criterion = PointsBetter | PercentBetter | CkPercentOfBaseline | CkNormal | BestEnd
BaselineRule = Literal[
    "last_on_or_before_day_0",
    "arithmetic_mean_before_dose",
    "geometric_mean_before_dose",
    "first_before_dose",
    "worst_before_dose",
]
AnalysisSet = Literal["efficacy", "safety", "complete_case"]
Missing = Literal["left_out", "non_responder"]
Kind = Literal["response", "remission"]


@dataclass(frozen=True, slots=True)
class Specification:
    """One definition: one choice in each of the five dimensions."""

    criterion: Criterion
    window: DaysWindow | VisitWindow
    baseline: BaselineRule
    analysis_set: AnalysisSet
    missing: Missing


class MeasureGrid(Part):
    """The choices of one measure; every combination of them is one definition."""

    measure: Measure = Field(description="The measure.", examples=["MMT"])
    thresholds: tuple[Threshold, ...] = Field(
        min_length=1,
        max_length=100,
        description="Criteria of response.",
        examples=[[{"id": "points_better", "points": 5}]],
    )
    remissions: tuple[Remission, ...] = Field(
        default=(),
        max_length=100,
        description="Criteria of remission; they are combined with the same windows, baselines, sets and rules.",
        examples=[[{"id": "best_end_of_scale"}]],
    )
    windows: tuple[Window, ...] = Field(
        min_length=1,
        max_length=100,
        description="Which value is judged.",
        examples=[[{"id": "days", "days": [1, 59], "value": "best"}]],
    )
    baselines: tuple[BaselineRule, ...] = Field(
        min_length=1,
        description="The baseline: the last value on or before day 0, or of the values before the dose the mean (the "
        "geometric one for CK), the first (at screening) or the worst.",
        examples=[["last_on_or_before_day_0", "arithmetic_mean_before_dose"]],
    )
    analysis_sets: tuple[AnalysisSet, ...] = Field(
        default=("efficacy",),
        min_length=1,
        description="The patients of the rate: the efficacy set, the safety set, or the patients of the efficacy set "
        "who are evaluable by every definition of this measure.",
        examples=[["efficacy", "safety"]],
    )
    missing: tuple[Missing, ...] = Field(
        default=("left_out", "non_responder"),
        min_length=1,
        description="Whether a patient of the set who is not evaluable is left out or counts as a non-responder.",
        examples=[["left_out", "non_responder"]],
    )

    def criteria(self, kind: Kind) -> tuple[Criterion, ...]:
        """The criteria of response or of remission."""
        return self.thresholds if kind == "response" else self.remissions

    def specifications(self, kind: Kind) -> Iterator[Specification]:
        """All definitions, in the order of the grid."""
        dimensions = (self.criteria(kind), self.windows, self.baselines, self.analysis_sets, self.missing)
        for criterion, window, baseline, analysis_set, missing in product(*dimensions):
            yield Specification(criterion, window, baseline, analysis_set, missing)

    @property
    def size(self) -> int:
        """The number of definitions."""
        criteria = len(self.thresholds) + len(self.remissions)
        return criteria * len(self.windows) * len(self.baselines) * len(self.analysis_sets) * len(self.missing)


class SpecificationGrid(Part):
    """All definitions of response and remission that are compared."""

    measures: tuple[MeasureGrid, ...] = Field(
        min_length=1,
        description="One entry for each measure.",
        examples=[
            [
                {
                    "measure": "MMT",
                    "thresholds": [{"id": "points_better", "points": 5}],
                    "windows": [{"id": "visit", "week": 8}],
                    "baselines": ["last_on_or_before_day_0"],
                }
            ]
        ],
    )
    look_back_days: int | None = Field(
        default=None,
        ge=0,
        le=3650,
        description="Number of days before day 0 in which the mean, first and worst values are taken; null: no limit. "
        "The last value on or before day 0 is the baseline of the protocol and has no such limit.",
        examples=[None, 28],
    )

    @property
    def size(self) -> int:
        """The number of definitions."""
        return sum(grid.size for grid in self.measures)


def specification_of(rule: ResponseRule) -> Specification:
    """A declared response rule as a definition of the grid: the baseline of the protocol, the efficacy set, missing
    values left out.
    """
    criterion: Criterion
    if isinstance(rule, PointsAboveBaseline):
        criterion = PointsBetter(id="points_better", points=rule.points)
    elif isinstance(rule, PercentAboveBaseline):
        criterion = PercentBetter(id="percent_better", percent=rule.percent)
    else:
        criterion = CkPercentOfBaseline(id="percent_of_baseline", percent_of_baseline=rule.percent_of_baseline)
    window: DaysWindow | VisitWindow
    if isinstance(rule, PointsAboveBaseline | CkDecreaseOrNormal):
        window = DaysWindow(id="days", days=rule.days, value=rule.value)
    else:
        window = VisitWindow(id="visit", week=rule.week)
    return Specification(criterion, window, "last_on_or_before_day_0", "efficacy", "left_out")


def grid_objections(grid: SpecificationGrid, weeks: Collection[int], scales: Mapping[Scaled, Scale]) -> Iterator[str]:
    """The contradictions of a grid, in itself or with the planned weeks and declared scales of its protocol. Each
    sentence names the definition.
    """
    if grid.size > MOST_SPECIFICATIONS:
        yield f"specification_grid: more than {MOST_SPECIFICATIONS} definitions."
    named = [each.measure for each in grid.measures]
    for i, own in enumerate(grid.measures):
        where = f"specification_grid.measures.{i}"
        scale = None if own.measure == "CK" else scale_of(own.measure, scales)
        if own.measure in named[:i]:
            yield f"{where}: this measure has a grid already."
        for name in ("thresholds", "remissions", "windows", "baselines", "analysis_sets", "missing"):
            yield from (f"{where}.{name}.{j}: this is declared twice." for j in _repeated(getattr(own, name)))
        for name, choices in (("thresholds", own.thresholds), ("remissions", own.remissions)):
            for j, criterion in enumerate(choices):
                yield from (f"{where}.{name}.{j}: {says}" for says in _of_criterion(criterion, own.measure, scale))
        for j, window in enumerate(own.windows):
            yield from (f"{where}.windows.{j}: {says}" for says in _of_window(window, weeks))
        if own.measure != "CK" and "geometric_mean_before_dose" in own.baselines:
            yield f"{where}.baselines: a geometric mean is for CK; a score may be 0."
        if own.measure != "CK" and scale is None:
            yield f"{where}: this measure needs its scale and direction in scales."


def _repeated(choices: Sequence[object]) -> Iterator[int]:
    yield from (j for j, choice in enumerate(choices) if choice in choices[:j])


def _of_criterion(criterion: Criterion, measure: Measure, scale: Scale | None) -> Iterator[str]:
    if isinstance(criterion, CkPercentOfBaseline | CkNormal) is not (measure == "CK"):
        yield "this criterion is for CK." if measure != "CK" else "this criterion is for scores."
        return
    if scale is None:
        return
    width = scale.maximum - scale.minimum
    if isinstance(criterion, PointsBetter) and criterion.points > width:
        yield "points exceed the range of the scale."
    if isinstance(criterion, PercentBetter) and scale.minimum < 0:
        yield "a percentage of a baseline that may be negative has no meaning."
    if isinstance(criterion, PercentBetter) and scale.better == "lower" and criterion.percent > 100:
        yield "no score falls by more than 100 per cent."
    if isinstance(criterion, BestEnd) and criterion.within_points >= width:
        yield "within_points reaches over the whole scale."


def _of_window(window: DaysWindow | VisitWindow, weeks: Collection[int]) -> Iterator[str]:
    if isinstance(window, DaysWindow):
        if not 1 <= window.days[0] <= window.days[1]:
            yield "days must be an ascending pair after day 0."
    elif window.week <= 0:
        yield "a response is judged at a week after treatment."
    elif window.week not in weeks:
        yield "this week is not among visits.weeks."
