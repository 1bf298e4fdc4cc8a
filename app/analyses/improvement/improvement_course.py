"""The total improvement score over the visits of a patient: best and sustained response, time to the first."""

import numpy as np
from pydantic import Field

from app.analyses.frame import Context, Contribution, Grouped, not_listed
from app.analyses.improvement.core_set import Share, share
from app.derive.improvement.core_set import CoreSetCourse
from app.derive.improvement.improvement_score import ImprovementScores
from app.derive.improvement.relative_change import Verdict
from app.derive.improvement.worsening import WorseningCourse, at_last_visit, twice_running
from app.estimate.results import Number, Result, Summary, Survival
from app.estimate.summary import summarise
from app.estimate.times.survival import kaplan_meier
from app.protocol.improvement import ImprovementScore


class LevelCourse(Result):
    """One level over the visits; a level includes the ones above it."""

    level: str = Field(description="`minimal`, `moderate` or `major`.", examples=["minimal"])
    threshold: int = Field(description="Its least score.", examples=[20])
    best: Share = Field(description="Patients who reached it at any visit (best response).")
    sustained: Share = Field(
        description="Patients who reached it at two visits in a row; a visit without any core set measure is no visit."
    )
    at_last_visit: Share = Field(description="Patients who had it at their last visit.")
    time_to_first: Survival = Field(
        description="Kaplan-Meier: days from day 0 to the first visit whose score, or its lower bound, reaches the "
        "level; censored at the last visit."
    )


class PatientCourse(Contribution):
    """One patient over the visits."""

    best_score: Number | None = Field(description="Highest score of a complete visit.", examples=[65])
    best_category: str | None = Field(
        description="Highest level that was reached for certain, `none`; null without a visit.", examples=["major"]
    )
    first_day: dict[str, int | None] = Field(
        description="Day of the first visit that reached each level for certain.", examples=[{"minimal": 28}]
    )


class ImprovementCourse(Grouped):
    """What became of the patients over all judged visits."""

    n: int = Field(description="Patients with any visit.", examples=[15])
    best_score: Summary = Field(description="The highest score of each patient with a complete visit.")
    levels: tuple[LevelCourse, ...] = Field(description="One entry a level.", examples=[[]])
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
    confirmed = Verdict(worsening.confirmed.surely[:, -1], worsening.confirmed.possibly[:, -1])
    return ImprovementCourse(
        group=context.group,
        n=int(seen.sum()),
        best_score=summarise(best[best >= 0]),
        levels=tuple(
            _level(context, level, threshold, course, scores) for level, threshold in declared.thresholds.items()
        ),
        confirmed_worsening=share(context, confirmed, seen),
        patients=_patients(context, declared, course, scores) if context.listed else None,
    )


def _level(
    context: Context, level: str, threshold: int, course: CoreSetCourse, scores: ImprovementScores
) -> LevelCourse:
    reached = Verdict(scores.surely(threshold), scores.possibly(threshold))
    attended, seen = scores.attended, scores.ever_attended
    ever = reached.ever
    sustained = Verdict(twice_running(attended, reached.surely), twice_running(attended, reached.possibly)).ever
    last = Verdict(at_last_visit(attended, reached.surely), at_last_visit(attended, reached.possibly))
    day = course.day
    first = day[np.arange(len(day)), np.argmax(reached.surely, axis=1)]
    conventions = context.conventions
    return LevelCourse(
        level=level,
        threshold=threshold,
        best=share(context, ever, seen),
        sustained=share(context, sustained, seen),
        at_last_visit=share(context, last, seen),
        time_to_first=kaplan_meier(
            np.where(ever.surely, first, day.max(axis=1))[seen],
            ever.surely[seen],
            level=context.level,
            interval=conventions.interval,
            median=conventions.median,
            plateau=conventions.plateau,
        ),
    )


def _patients(
    context: Context, declared: ImprovementScore, course: CoreSetCourse, scores: ImprovementScores
) -> tuple[PatientCourse, ...]:
    day, rows = course.day, []
    for i, patient in enumerate(context.ids):
        known = scores.lower[i, scores.complete[i]]
        reached = {level: np.flatnonzero(scores.lower[i] >= least) for level, least in declared.thresholds.items()}
        best = [level for level, visits in reached.items() if visits.size]
        rows.append(
            PatientCourse(
                patient=patient,
                best_score=float(known.max()) if known.size else None,
                best_category=(best[-1] if best else "none") if scores.attended[i].any() else None,
                first_day={level: int(day[i, visits[0]]) if visits.size else None for level, visits in reached.items()},
            )
        )
    return tuple(rows)
