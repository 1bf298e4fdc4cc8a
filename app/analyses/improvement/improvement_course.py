"""The total improvement score over all visits: best, sustained and last response, and time to the first response."""

import numpy as np
from pydantic import Field

from app.analyses.answer import Claim, Context, Contribution, Grouped, not_listed
from app.analyses.ck_normal.ck_normal_interval import (
    IntervalOptions,
    interval_censored_days,
    interval_median_claim,
)
from app.analyses.ck_normal.ck_normal_time import treated_again
from app.analyses.claims import rate
from app.analyses.improvement.core_set_answers import Share, share
from app.derive.core_set import CoreSetCourse
from app.derive.relative_change import BoundedVerdict
from app.derive.total_improvement_score import (
    ImprovementScores,
    WorseningCourse,
    at_last_visit,
    lost_between,
    reached_between,
    twice_running,
)
from app.estimate.results import Number, Result, Summary, Survival
from app.estimate.summary import summarise
from app.estimate.times.interval_censored import IntervalCensored
from app.estimate.times.survival import kaplan_meier
from app.protocol.improvement import ImprovementScore
from app.timeline.cohort import NO_TIME, Bools, Floats, Ints


class TimeToFirst(Result):
    """Two Kaplan-Meier curves of the days from day 0 to the first visit that reaches a level, censored at the last one.

    One curve counts every visit whose bounds leave the level open, the other counts none of them. They are not limits
    of the curve that complete visits would give, because a patient who responds earlier leaves the risk set earlier.
    """

    undecided: int = Field(
        description="Patients for whom the bounds leave open whether or when they first reached it; if 0, the two "
        "curves are equal.",
        examples=[2],
    )
    at_earliest: Survival = Field(
        description="To the first visit whose score or upper bound reaches the level: every open visit counts."
    )
    at_latest: Survival = Field(
        description="To the first visit whose score or lower bound reaches the level: no open visit counts."
    )


class LevelCourse(Result):
    """One level over all visits; a level includes the higher levels."""

    level: str = Field(description="`minimal`, `moderate` or `major`.", examples=["minimal"])
    threshold: int = Field(description="The lowest score of the level.", examples=[20])
    best: Share = Field(description="Patients who reached it at any visit (best response).")
    sustained: Share = Field(
        description="Patients who reached it at two visits in a row; a visit counts if a core set measure with a "
        "baseline was recorded."
    )
    at_last_visit: Share = Field(description="Patients who had it at their last visit.")
    time_to_first: TimeToFirst = Field(description="Time to the first visit that reached it.")
    time_between_visits: IntervalCensored = Field(
        description="Days from day 0 until it was reached, between the last visit that certainly had not and the first "
        "that certainly had."
    )
    kept: IntervalCensored = Field(
        description="Of those who certainly reached it: days from that visit until it was lost, between the last visit "
        "that certainly had it and the first that certainly had not."
    )


class PatientCourse(Contribution):
    """One patient over all visits."""

    best_score: Number | None = Field(description="Highest score of a complete visit.", examples=[65])
    best_category: str | None = Field(
        description="Highest level reached, or `none`; null without a visit or where the bounds disagree.",
        examples=["major"],
    )
    first_day: dict[str, int | None] = Field(
        description="Day of the first visit that certainly reached each level.", examples=[{"minimal": 28}]
    )
    first_day_at_earliest: dict[str, int | None] = Field(
        description="Day of the first visit that certainly or possibly reached each level.", examples=[{"minimal": 28}]
    )


class ImprovementCourse(Grouped):
    """The patients over all judged visits."""

    n: int = Field(description="Patients with at least one visit.", examples=[15])
    best_score: Summary = Field(description="The highest score of each patient with a complete visit.")
    levels: tuple[LevelCourse, ...] = Field(description="One entry for each level.", examples=[[]])
    confirmed_worsening: Share = Field(description="Patients who were worse at two visits in a row.")
    patients: tuple[PatientCourse, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


def course_of(
    context: Context,
    declared: ImprovementScore,
    course: CoreSetCourse,
    scores: ImprovementScores,
    worsening: WorseningCourse,
) -> ImprovementCourse:
    """The course of the patients of one (sub)cohort."""
    seen = scores.ever_attended
    best = np.max(np.where(scores.complete, scores.lower, -1), axis=1)
    confirmed = BoundedVerdict(worsening.confirmed.surely[:, -1], worsening.confirmed.possibly[:, -1])
    return ImprovementCourse(
        group=context.group,
        n=int(seen.sum()),
        best_score=summarise(best[best >= 0]),
        levels=tuple(
            _level(context, level, threshold, course, scores) for level, threshold in declared.thresholds.items()
        ),
        confirmed_worsening=share(context, confirmed, seen, scores.weeks[-1]),
        patients=_patients(context, declared, course, scores) if context.listed else None,
    )


def course_claims(
    context: Context, over_all: ImprovementCourse, course: CoreSetCourse, scores: ImprovementScores
) -> list[Claim]:
    """A claim for each level over all visits, for worsening, and for the median times to each level and with it."""
    named = [
        (f"A score of at least {row.threshold} ({row.level}) {words}", counted)
        for row in over_all.levels
        for words, counted in (
            ("at any visit", row.best),
            ("at two visits in a row", row.sustained),
            ("at the last visit", row.at_last_visit),
        )
    ]
    named.append(("Confirmed worsening", over_all.confirmed_worsening))
    rates = [rate(subject, counted.all_treated, counted.patients, counted.of) for subject, counted in named]
    return [*rates, *(claim for row in over_all.levels for claim in _median_claims(context, row, course, scores))]


def _median_claims(context: Context, row: LevelCourse, course: CoreSetCourse, scores: ImprovementScores) -> list[Claim]:
    """The median times until a level was reached and for which it was kept, each with the treatments before its end."""
    seen = scores.ever_attended
    day, reached = course.day[seen], _of_seen(scores, row.threshold)
    first, lost = reached_between(day, reached), lost_between(day, reached)
    until, ever = _end(first), first[1] != NO_TIME
    of_seen = np.flatnonzero(seen)
    level = f"a score of at least {row.threshold} ({row.level})"
    return [
        interval_median_claim("median_time_to_score", f"Time to {level}", row.time_between_visits,
                              _treated_again(context, of_seen, until)),
        interval_median_claim("median_time_with_score", f"Time with {level}", row.kept,
                              _treated_again(context, of_seen[ever], first[1][ever] + _end(lost))),
    ]  # fmt: skip


def _end(between: tuple[Ints, Ints]) -> Ints:
    """The day on which the end was seen, or else the last day without it."""
    return np.where(between[1] == NO_TIME, *between)


def _treated_again(context: Context, patients: Ints, until: Ints) -> dict[str, int]:
    """As `treated_again`, of some patients by their rows."""
    days, among = np.zeros(len(context.ids), dtype=np.int64), np.zeros(len(context.ids), dtype=np.bool_)
    days[patients], among[patients] = until, True
    return treated_again(context, days, among)


def _of_seen(scores: ImprovementScores, threshold: int) -> BoundedVerdict:
    """Whether each patient seen reached a level at each visit."""
    seen = scores.ever_attended
    return BoundedVerdict(scores.surely(threshold)[seen], scores.possibly(threshold)[seen])


def _level(
    context: Context, level: str, threshold: int, course: CoreSetCourse, scores: ImprovementScores
) -> LevelCourse:
    reached = BoundedVerdict(scores.surely(threshold), scores.possibly(threshold))
    attended, seen = scores.attended, scores.ever_attended
    reached_of_seen = _of_seen(scores, threshold)
    sustained = BoundedVerdict(twice_running(attended, reached.surely), twice_running(attended, reached.possibly)).ever
    last = BoundedVerdict(at_last_visit(attended, reached.surely), at_last_visit(attended, reached.possibly))
    return LevelCourse(
        level=level,
        threshold=threshold,
        best=share(context, reached.ever, seen, scores.weeks[-1]),
        sustained=share(context, sustained, seen, scores.weeks[-1]),
        at_last_visit=share(context, last, seen, scores.weeks[-1]),
        time_to_first=_time_to_first(context, reached, course.day[seen], seen),
        time_between_visits=_between(context, *reached_between(course.day[seen], reached_of_seen)),
        kept=_between(context, *lost_between(course.day[seen], reached_of_seen)),
    )


def _between(context: Context, left: Ints, right: Ints) -> IntervalCensored:
    return interval_censored_days(context, context.options_as(IntervalOptions), left, right)


def _time_to_first(context: Context, reached: BoundedVerdict, day: Ints, seen: Bools) -> TimeToFirst:
    """`day` (patients seen x visits) is `NO_TIME` where a visit was missed."""
    earliest, latest = (_first(holds[seen], day) for holds in (reached.possibly, reached.surely))
    undecided = (earliest[0] != latest[0]) | (earliest[1] != latest[1])
    return TimeToFirst(
        undecided=int(undecided.sum()),
        at_earliest=kaplan_meier(*earliest, **context.curve),
        at_latest=kaplan_meier(*latest, **context.curve),
    )


def _first(holds: Bools, day: Ints) -> tuple[Ints, Bools]:
    """The day of the first visit at which `holds` is true, else of the last visit; and whether it ever is."""
    ever: Bools = np.logical_or.reduce(holds, axis=1)
    first = day[np.arange(len(day)), np.argmax(holds, axis=1)]
    return np.where(ever, first, day.max(axis=1)), ever


def _patients(
    context: Context, declared: ImprovementScore, course: CoreSetCourse, scores: ImprovementScores
) -> tuple[PatientCourse, ...]:
    rows = []
    for i, patient in enumerate(context.ids):
        if not context.lists(patient):
            continue
        known = scores.lower[i, scores.complete[i]]
        surely, possibly = (_first_days(declared, course.day[i], bound[i]) for bound in (scores.lower, scores.upper))
        agreed = _best(surely) == _best(possibly) and scores.attended[i].any()
        rows.append(
            PatientCourse(
                patient=patient,
                best_score=float(known.max()) if known.size else None,
                best_category=_best(surely) if agreed else None,
                first_day=surely,
                first_day_at_earliest=possibly,
            )
        )
    return tuple(rows)


def _first_days(declared: ImprovementScore, day: Ints, bound: Floats) -> dict[str, int | None]:
    """The day of the first visit of one patient at which a bound of the score reaches each level."""
    reached = {level: np.flatnonzero(bound >= least) for level, least in declared.thresholds.items()}
    return {level: int(day[visits[0]]) if visits.size else None for level, visits in reached.items()}


def _best(first_days: dict[str, int | None]) -> str:
    return ["none", *(level for level, day in first_days.items() if day is not None)][-1]
