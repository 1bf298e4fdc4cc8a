"""An effect: one number that compares two groups, such as a difference, a ratio or an odds ratio."""

from collections.abc import Sequence

from pydantic import Field, JsonValue

from app.estimate.results import Interval, Number, Reason, Result, WhyNull

DIFFERENCE_INTERVAL: dict[str, JsonValue] = {
    "of": "difference",
    "method": "newcombe",
    "level": 0.95,
    "low": 0.0524,
    "high": 0.3339,
    "reason": None,
}


class EffectEstimate(Result):
    """One number that compares two groups, with its intervals."""

    estimate: Number | None = Field(description="The first group against the second.", examples=[0.2])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(
        description="One interval of it for each method.", examples=[[DIFFERENCE_INTERVAL]]
    )


def unknown_effect(of: str, methods: Sequence[str], level: float, reason: Reason) -> EffectEstimate:
    """An effect that is null with this reason, and with null limits for each method."""
    intervals = tuple(
        Interval(of=of, method=method, level=level, low=None, high=None, reason=reason) for method in methods
    )
    return EffectEstimate(estimate=None, reason=reason, intervals=intervals)
