"""The parts of a response rule, and of a definition of the grid: a criterion, and the window whose values it judges."""

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field

from app.protocol.parts import Day, Measure, Part, Scale, Week


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
    """The values of some days after day 0. With `any` or `best` one of them must meet the criterion, with `last` the
    last one.
    """

    id: Literal["days"] = Field(description="Name of the window.", examples=["days"])
    days: tuple[Day, Day] = Field(description="First and last day after the first infusion.", examples=[[1, 59]])
    value: Literal["any", "best", "last"] = Field(
        description="Which value of these days is judged; `any` and `best` mean the same.", examples=["best"]
    )
    confirmed: Literal["next_value"] | None = Field(
        default=None,
        exclude_if=lambda confirmed: confirmed is None,
        description="`next_value`: the patient's next value, on whatever later day, must meet the criterion too.",
        examples=["next_value"],
    )


class VisitWindow(Part):
    """The value of one planned visit, selected by the rule of `visits`."""

    id: Literal["visit"] = Field(description="Name of the window.", examples=["visit"])
    week: Week = Field(description="Week whose visit is judged.", examples=[4])
    confirmed: Literal["next_value", "next_visit"] | None = Field(
        default=None,
        exclude_if=lambda confirmed: confirmed is None,
        description="`next_visit`: the visit of the next planned week must meet the criterion too; `next_value`: the "
        "patient's next value, on whatever later day.",
        examples=["next_visit"],
    )


Threshold = Annotated[PointsBetter | PercentBetter | CkPercentOfBaseline, Field(discriminator="id")]
Remission = Annotated[CkNormal | BestEnd, Field(discriminator="id")]
Window = Annotated[DaysWindow | VisitWindow, Field(discriminator="id")]
Criterion = PointsBetter | PercentBetter | CkPercentOfBaseline | CkNormal | BestEnd
Missing = Literal["left_out", "non_responder"]


def objections_to_criterion(criterion: Criterion, measure: Measure, scale: Scale | None) -> Iterator[str]:
    """The contradictions between a criterion and the scale of its measure (None for CK)."""
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


def objections_to_window(window: DaysWindow | VisitWindow, weeks: Collection[int]) -> Iterator[str]:
    """The contradictions between a window and the planned weeks."""
    if isinstance(window, DaysWindow):
        if not 1 <= window.days[0] <= window.days[1]:
            yield "days must be an ascending pair after day 0."
    elif window.week <= 0:
        yield "a response is judged at a week after treatment."
    elif window.week not in weeks:
        yield "this week is not among visits.weeks."
    elif window.confirmed == "next_visit" and window.week == max(weeks):
        yield "the last visit cannot be confirmed, because no planned visit follows it."
