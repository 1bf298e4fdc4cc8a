"""The protocols that ship with the service."""

from app.protocol.model import Protocol, Scale, Visits
from app.protocol.response import (
    CkDecreaseOrNormal,
    CkDecreaseOrNormalAtWeek,
    PercentAboveBaseline,
    PointsAboveBaseline,
    Response,
)

_SCALES = {"MMT": Scale(maximum=100, better="higher"), "ADL": Scale(maximum=50, better="higher")}
_EIGHT_WEEKS = (1, 59)
"""Day 59 is week 8 with its three days of tolerance."""

SEED_2008 = Protocol(
    id="seed-2008",
    title="Our definitions, chosen to give the headline figures of an open IVIG trial of 2008 on the reference cohort; "
    "the trial's own are not public",
    scales=_SCALES,  # type: ignore[arg-type]
    responses=tuple(
        Response(rule=rule, primary=rule.value == "best")
        for value in ("best", "last")
        for rule in (
            PointsAboveBaseline(id="points_above_baseline", measure="MMT", points=5, days=_EIGHT_WEEKS, value=value),
            PointsAboveBaseline(id="points_above_baseline", measure="ADL", points=3, days=_EIGHT_WEEKS, value=value),
            CkDecreaseOrNormal(id="ck_decrease_or_normal", percent_of_baseline=70, days=_EIGHT_WEEKS, value=value),
        )
    ),
)

RELATIVE_20 = Protocol(
    id="relative-20",
    title="MMT and ADL at least 20 % above baseline, CK at least 30 % below it or normal, each at week 4; "
    "contiguous windows",
    scales=_SCALES,  # type: ignore[arg-type]
    visits=Visits(rule="contiguous"),
    responses=(
        Response(rule=PercentAboveBaseline(id="percent_above_baseline", measure="MMT", percent=20, week=4)),
        Response(rule=PercentAboveBaseline(id="percent_above_baseline", measure="ADL", percent=20, week=4)),
        Response(
            rule=CkDecreaseOrNormalAtWeek(id="ck_decrease_or_normal_at_week", percent_of_baseline=70, week=4),
        ),
    ),
)

PRESETS: dict[str, Protocol] = {preset.id: preset for preset in (SEED_2008, RELATIVE_20)}
