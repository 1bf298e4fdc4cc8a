"""The specification grid: the alternative definitions of response and remission of a specification curve.

A definition of the grid (a specification) has five parts: a criterion, a window, a baseline rule, a set of patients and
a rule for missing values (Simonsohn, Simmons and Nelson, Nature Human Behaviour 2020; 4: 1208-1214). The protocol
declares the grid in advance; for a protocol without a grid `default_grid` makes one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from pydantic import Field

from app.protocol.criteria import (
    Criterion,
    DaysWindow,
    Missing,
    Remission,
    Threshold,
    VisitWindow,
    Window,
    objections_to_criterion,
    objections_to_window,
)
from app.protocol.endpoints import ResponseRule, general_form
from app.protocol.parts import Measure, Part, Scale, Scaled, scale_of

MOST_SPECIFICATIONS = 5_000
"""Greatest number of definitions in a grid."""


BaselineRule = Literal[
    "last_on_or_before_day_0",
    "arithmetic_mean_before_dose",
    "geometric_mean_before_dose",
    "first_before_dose",
    "worst_before_dose",
]
AnalysisSet = Literal["efficacy", "safety", "complete_case"]
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
    """A declared response rule as a definition of the grid, with the baseline of the protocol."""
    own = general_form(rule)
    analysis_set: AnalysisSet = "efficacy" if own.missing == "left_out" else "safety"
    return Specification(own.criterion, own.window, "last_on_or_before_day_0", analysis_set, own.missing)


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
                yield from (
                    f"{where}.{name}.{j}: {says}" for says in objections_to_criterion(criterion, own.measure, scale)
                )
        for j, window in enumerate(own.windows):
            yield from (f"{where}.windows.{j}: {says}" for says in objections_to_window(window, weeks))
        if own.measure != "CK" and "geometric_mean_before_dose" in own.baselines:
            yield f"{where}.baselines: a geometric mean is for CK; a score may be 0."
        if own.measure != "CK" and scale is None:
            yield f"{where}: this measure needs its scale and direction in scales."


def _repeated(choices: Sequence[object]) -> Iterator[int]:
    yield from (j for j, choice in enumerate(choices) if choice in choices[:j])
