"""The grid of a protocol that declares none; it is made without looking at any outcome."""

from decimal import Decimal
from typing import TypeVar

from app.protocol.criteria import (
    BestEnd,
    CkNormal,
    CkPercentOfBaseline,
    DaysWindow,
    PercentBetter,
    PointsBetter,
    Threshold,
    VisitWindow,
    Window,
)
from app.protocol.endpoints import ResponseRule
from app.protocol.model import Protocol
from app.protocol.parts import Measure, Scale
from app.protocol.specification import MeasureGrid, SpecificationGrid, specification_of
from app.timeline.vocabulary import ASSESSMENT_CODES

Choice = TypeVar("Choice")

SHARES_OF_SCALE = (5, 10, 15, 20)
"""Improvements in per cent of the range of a scale."""
PERCENT_BETTER = 20
"""The improvement of a core set measure in the IMACS definition (Rider 2004)."""
CK_PERCENTS = (75, 70, 50, 30)
LAST_DAY = 3650
"""The last day that a protocol can name."""


def default_grid(protocol: Protocol) -> SpecificationGrid:
    """The grid for CK and each score of the protocol.

    Criteria and windows: those of the primary rule and the following. Scores: 5, 10, 15 and 20 % of the range of the
    scale in points, and 20 % of the baseline (unless the scale has negative values); remission is the best end of the
    scale. CK: at most 75, 70, 50 and 30 % of the baseline or normal; remission is a normal CK, and two in a row.
    Windows: best and last value up to the last planned week, and the visits of the last two planned weeks after
    treatment. Baselines: the last value before the dose, the mean (geometric for CK), the first and the worst. Efficacy
    and safety set. Missing values left out, and counted as no response.
    """
    measures = [each for each in protocol.measures if each == "CK" or each in ASSESSMENT_CODES]
    return SpecificationGrid(measures=tuple(_measure(each, protocol) for each in measures))  # type: ignore[arg-type]


def primary_rule(protocol: Protocol, measure: str) -> ResponseRule | None:
    """The primary response rule of a measure, if there is one."""
    rules = (each.rule for each in protocol.responses if each.primary and each.rule.measure == measure)
    return next(rules, None)


def _measure(measure: Measure, protocol: Protocol) -> MeasureGrid:
    rule = primary_rule(protocol, measure)
    thresholds = _of_ck() if measure == "CK" else _of_score(protocol.scale(measure))
    windows = _windows(protocol)
    if rule is not None:
        own = specification_of(rule)
        thresholds = _with(own.criterion, thresholds)  # type: ignore[arg-type]
        windows = _with(own.window, windows)
    return MeasureGrid(
        measure=measure,
        thresholds=thresholds,
        remissions=(CkNormal(id="ck_normal"), CkNormal(id="ck_normal", sustained=True))
        if measure == "CK"
        else (BestEnd(id="best_end_of_scale"),),
        windows=windows,
        baselines=(
            "last_on_or_before_day_0",
            "geometric_mean_before_dose" if measure == "CK" else "arithmetic_mean_before_dose",
            "first_before_dose",
            "worst_before_dose",
        ),
        analysis_sets=("efficacy", "safety"),
        missing=("left_out", "non_responder"),
    )


def _of_ck() -> tuple[Threshold, ...]:
    return tuple(CkPercentOfBaseline(id="percent_of_baseline", percent_of_baseline=each) for each in CK_PERCENTS)


def _of_score(scale: Scale) -> tuple[Threshold, ...]:
    width = Decimal(repr(scale.maximum)) - Decimal(repr(scale.minimum))
    points = tuple(PointsBetter(id="points_better", points=float(width * each / 100)) for each in SHARES_OF_SCALE)
    return points if scale.minimum < 0 else (*points, PercentBetter(id="percent_better", percent=PERCENT_BETTER))


def _windows(protocol: Protocol) -> tuple[Window, ...]:
    planned = [week for week in protocol.visits.weeks if week > 0]  # at least ck_change.after_week
    last = min(7 * planned[-1] + protocol.visits.tolerance_days, LAST_DAY)
    return (
        *(DaysWindow(id="days", days=(1, last), value=value) for value in ("best", "last")),
        *(VisitWindow(id="visit", week=week) for week in planned[-2:]),
    )


def _with(declared: Choice, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    return choices if declared in choices else (declared, *choices)
