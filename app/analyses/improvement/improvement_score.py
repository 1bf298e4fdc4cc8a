"""How much each patient improved by the ACR/EULAR 2016 Total Improvement Score, and who worsened."""

from typing import Any

import numpy as np
from pydantic import Field

from app.analyses.frame import (
    Answer,
    Basis,
    Context,
    Definition,
    Findings,
    Grouped,
    Question,
    not_listed,
)
from app.analyses.improvement.core_set import Share, flags, left_out, share
from app.analyses.improvement.improvement_course import ImprovementCourse, course_of
from app.analyses.improvement.improvement_patients import PatientScore, patient_scores
from app.derive.improvement.core_set import CoreSetCourse
from app.derive.improvement.improvement_score import ImprovementScores, improvement_scores, measure_score
from app.derive.improvement.relative_change import Verdict
from app.derive.improvement.worsening import WorseningCourse, worsening_course
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Reason, Summary, WhyNull
from app.estimate.summary import summarise
from app.protocol.improvement import TABLE, TABLE_SOURCE, ImprovementScore, judged_weeks
from app.protocol.model import Protocol


class LevelRate(Grouped):
    """The patients who reach one level at one visit; a level includes the ones above it."""

    level: str = Field(description="`minimal`, `moderate` or `major`.", examples=["minimal"])
    threshold: int = Field(description="Its least score.", examples=[20])
    responders: int = Field(description="Patients with a score who reach it.", examples=[9])
    rate: Number | None = Field(description="responders / evaluable of the visit, a fraction.", examples=[0.6])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the rate.", examples=[[]])
    responders_at_least: int = Field(
        description="With the patients whose score is known as bounds: who reach it for certain.", examples=[10]
    )
    responders_at_most: int = Field(description="And who reach it or might.", examples=[12])
    not_worsened: Share = Field(
        description="Who reach it without confirmed worsening up to this visit, of all patients seen."
    )


class VisitScores(Grouped):
    """The scores of one visit."""

    week: int = Field(description="The week.", examples=[16])
    evaluable: int = Field(description="Patients with a score.", examples=[15])
    bounded: int = Field(description="Patients whose score is known as bounds only.", examples=[2])
    score: Summary = Field(description="The scores of the evaluable patients.")
    levels: tuple[LevelRate, ...] = Field(description="One entry a level.", examples=[[]])
    worse: Share = Field(description="Patients who are worse than at baseline, of all patients seen.")
    confirmed_worsening: Share = Field(
        description="Patients whose worsening was confirmed by this visit or an earlier one, of all patients seen."
    )
    patients: tuple[PatientScore, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class ImprovementScoreAnswer(Answer):
    """The Total Improvement Score visit by visit, then the course of the patients over their visits."""

    reason: WhyNull = Field(
        description="`not_declared` where the protocol has no `improvement_score`.", examples=[None, "not_declared"]
    )
    results: tuple[VisitScores, ...] = Field(description="One entry a week (and subgroup).", examples=[[]])
    courses: tuple[ImprovementCourse, ...] = Field(description="One entry (or one a subgroup).", examples=[[]])


def improvement_score(context: Context) -> Findings:
    """The declared score at every judged week, its levels, and the rule of worsening beside it."""
    declared = context.protocol.improvement_score
    if declared is None:
        return Findings()
    course = context.study.core_set(declared)
    scores, worsening = improvement_scores(declared, course), worsening_course(declared.worsening, course)
    noticed = flags(
        context,
        declared,
        course,
        lambda best: measure_score(best, np.full((len(best.before.low), 1), best.span)).upper == 0,
    )
    return Findings(
        {
            "results": _visits(context, declared, course, scores, worsening),
            "courses": [course_of(context, declared, course, scores, worsening)],
        },
        left_out(context, course),
        noticed,
    )


def _basis(whole: Context) -> Basis:
    declared = whole.protocol.improvement_score
    if declared is None:
        return Basis(fields={"reason": Reason.NOT_DECLARED})
    unverified = any(declared.range_of(each).source == "unverified" for each in declared.core_set.enzymes)
    caveats = (
        *(["enzyme_ranges_unverified"] if unverified else []),
        "incomplete_visits",
        "response_seen_at_visits",
        "uncontrolled_pre_post",
    )
    return Basis(caveats, _definition(declared, whole.protocol), {"reason": None})


def _definition(declared: ImprovementScore, protocol: Protocol) -> Definition:
    """Everything that the score was computed with, the published table included."""
    parameters: dict[str, Any] = declared.model_dump(mode="json")
    parameters["weeks"] = list(judged_weeks(declared, protocol.visits.weeks))
    parameters["thresholds"] = dict(declared.thresholds)
    parameters["table"] = {name: bands._asdict() for name, bands in TABLE.items()}
    parameters["table_source"] = TABLE_SOURCE
    return Definition(id="total_improvement_score", parameters=parameters)


def _visits(
    context: Context,
    declared: ImprovementScore,
    course: CoreSetCourse,
    scores: ImprovementScores,
    worsening: WorseningCourse,
) -> list[VisitScores]:
    listed = patient_scores(context, declared, course, scores, worsening) if context.listed else None
    rows = []
    for column, week in enumerate(scores.weeks):
        seen, complete = scores.attended[:, column], scores.complete[:, column]
        rows.append(
            VisitScores(
                group=context.group,
                week=week,
                evaluable=int(complete.sum()),
                bounded=int((seen & ~complete).sum()),
                score=summarise(scores.lower[complete, column]),
                levels=tuple(
                    _level(context, level, threshold, scores, worsening, column)
                    for level, threshold in declared.thresholds.items()
                ),
                worse=share(context, worsening.worse.at_week(column), seen),
                confirmed_worsening=share(context, worsening.confirmed.at_week(column), seen),
                patients=None if listed is None else listed[column],
            )
        )
    return rows


def _level(
    context: Context,
    level: str,
    threshold: int,
    scores: ImprovementScores,
    worsening: WorseningCourse,
    column: int,
) -> LevelRate:
    reached = Verdict(scores.surely(threshold)[:, column], scores.possibly(threshold)[:, column])
    complete = scores.complete[:, column]
    k = int((reached.surely & complete).sum())
    estimate = proportion(k, int(complete.sum()), level=context.level, methods=context.proportion_methods)
    stayed = reached & ~worsening.confirmed.at_week(column)
    return LevelRate(
        group=context.group,
        level=level,
        threshold=threshold,
        responders=k,
        rate=estimate.rate,
        reason=estimate.reason,
        intervals=estimate.intervals,
        responders_at_least=int(reached.surely.sum()),
        responders_at_most=int(reached.possibly.sum()),
        not_worsened=share(context, stayed, scores.attended[:, column]),
    )


QUESTION = Question(
    "improvement-score",
    "How much did the patients improve, by the total improvement score?",
    ImprovementScoreAnswer,
    improvement_score,
    _basis,
)
