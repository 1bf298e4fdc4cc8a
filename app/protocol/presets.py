"""The protocols that ship with the service."""

from app.protocol.criteria import CkPercentOfBaseline, PercentBetter, Threshold, VisitWindow
from app.protocol.endpoints import (
    CkDecreaseOrNormal,
    CkDecreaseOrNormalAtWeek,
    CkNormalTime,
    CriterionInWindow,
    PercentAboveBaseline,
    PointsAboveBaseline,
    Response,
)
from app.protocol.improvement import CoreSet, DefinitionOfImprovement, ImprovementScore
from app.protocol.model import Baseline, Protocol, Visits, WeeklyChange
from app.protocol.parts import Measure, Scale, Scaled, contradiction

_SCALES: dict[Scaled, Scale] = {"MMT": Scale(maximum=100, better="higher"), "ADL": Scale(maximum=50, better="higher")}
_EIGHT_WEEKS = (1, 59)
"""Day 59 is week 8 with its three days of tolerance."""

SEED_2008 = Protocol(
    id="seed-2008",
    title="Our definitions, chosen to give the headline figures of an open IVIG trial of 2008 on the reference cohort; "
    "the trial's own are not public",
    scales=_SCALES,
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
    scales=_SCALES,
    visits=Visits(rule="contiguous"),
    responses=(
        Response(rule=PercentAboveBaseline(id="percent_above_baseline", measure="MMT", percent=20, week=4)),
        Response(rule=PercentAboveBaseline(id="percent_above_baseline", measure="ADL", percent=20, week=4)),
        Response(
            rule=CkDecreaseOrNormalAtWeek(id="ck_decrease_or_normal_at_week", percent_of_baseline=70, week=4),
        ),
    ),
)

_CONFIRMED = VisitWindow(id="visit", week=4, confirmed="next_visit")
_FIFTH = PercentBetter(id="percent_better", percent=20)


def _confirmed(measure: Measure, criterion: Threshold) -> Response:
    """Met at week 4 and at week 8; a treated patient without a verdict is a non-responder."""
    return Response(
        rule=CriterionInWindow(
            id="criterion_in_window", measure=measure, criterion=criterion, window=_CONFIRMED, missing="non_responder"
        )
    )


MYOSITIS_2026 = Protocol(
    id="myositis-2026",
    title="For new studies: response at week 4 that week 8 confirms, of all treated patients, rescue as failure; "
    "sustained normal CK, interval-censored",
    baseline=Baseline(flag_older_than_days=28),
    visits=Visits(rule="contiguous"),
    scales=_SCALES,
    responses=(
        _confirmed("MMT", _FIFTH),
        _confirmed("ADL", _FIFTH),
        _confirmed("CK", CkPercentOfBaseline(id="percent_of_baseline", percent_of_baseline=70)),
    ),
    response_rescue="composite",
    ck_normal_time=CkNormalTime(rescue="composite", sustained=True, primary_estimate="interval"),
)
"""What a new study gets that names no protocol. `docs/presets.md` has the alternatives and sources of each choice."""

_TRIAL_VISITS = Visits(weeks=(-4, 4, 8, 12, 16, 24, 40, 52), tolerance_days=10)
"""Every four weeks up to the usual primary endpoint at week 16, then up to a year. The windows do not overlap."""
_TRIAL_WEEKS = (4, 8, 12, 16, 24, 40, 52)
_ADULT = CoreSet(population="adult", muscle_strength="MMT8", function="HAQ")
_JUVENILE = CoreSet(population="juvenile", muscle_strength="MMT8", function="CHAQ")


def _changes(core_set: CoreSet) -> WeeklyChange:
    """The change of CK and of the five scores of a core set at every visit of a trial."""
    scores = (core_set.physician_global, core_set.patient_global, core_set.muscle_strength, core_set.function)
    return WeeklyChange(measures=("CK", *scores, core_set.extramuscular), weeks=_TRIAL_WEEKS)


ACR_EULAR_2016_ADULT = Protocol(
    id="acr-eular-2016-adult",
    title="ACR/EULAR 2016 Total Improvement Score for adults: minimal, moderate and major at 20, 40 and 60; the ranges "
    "of the enzymes are unverified",
    visits=_TRIAL_VISITS,
    weekly_change=_changes(_ADULT),
    improvement_score=ImprovementScore(core_set=_ADULT),
)

ACR_EULAR_2016_JUVENILE = Protocol(
    id="acr-eular-2016-juvenile",
    title="ACR/EULAR 2016 Total Improvement Score for children: minimal, moderate and major at 30, 45 and 70; the "
    "ranges of the enzymes are unverified",
    visits=_TRIAL_VISITS,
    weekly_change=_changes(_JUVENILE),
    improvement_score=ImprovementScore(core_set=_JUVENILE),
)

IMACS_2004 = Protocol(
    id="imacs-2004",
    title="IMACS preliminary definition of improvement: three of six measures improved by 20 %, no more than two worse "
    "by 25 %, muscle strength not among these",
    visits=_TRIAL_VISITS,
    weekly_change=_changes(_ADULT),
    definition_of_improvement=DefinitionOfImprovement(core_set=_ADULT),
)

PRESETS: dict[str, Protocol] = {
    preset.id: preset
    for preset in (SEED_2008, MYOSITIS_2026, RELATIVE_20, ACR_EULAR_2016_ADULT, ACR_EULAR_2016_JUVENILE, IMACS_2004)
}
_DIGESTS = {name: preset.digest for name, preset in PRESETS.items()}


def differs_from_preset(protocol: Protocol) -> bool:
    """Whether a protocol has the name of a preset and other definitions."""
    return _DIGESTS.get(protocol.id, protocol.digest) != protocol.digest


def with_own_id(protocol: Protocol) -> Protocol:
    """The protocol; a contradiction if other definitions have the name of a preset."""
    if differs_from_preset(protocol):
        raise contradiction(
            "id: a preset of the service has this name and other definitions; choose an id of your own."
        )
    return protocol
