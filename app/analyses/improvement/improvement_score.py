"""The ACR/EULAR 2016 Total Improvement Score of each patient at each visit, its levels, and worsening."""

from typing import Any

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated
from app.analyses.answer import (
    Answer,
    Basis,
    Claim,
    Context,
    Contribution,
    Definition,
    Findings,
    Grouped,
    Question,
    not_listed,
)
from app.analyses.ck_normal.ck_normal_interval import IntervalOptions
from app.analyses.claims import rate, undeclared
from app.analyses.improvement.core_set_answers import (
    CAVEATS,
    MeasureAt,
    Share,
    flags,
    left_out,
    recorded_measures,
    share,
    up_to_week,
    visit_reasons,
)
from app.analyses.improvement.improvement_course import ImprovementCourse, course_claims, course_of
from app.derive.core_set import CoreSetCourse
from app.derive.relative_change import BoundedVerdict
from app.derive.total_improvement_score import (
    ImprovementScores,
    MeasureScore,
    WorseningCourse,
    improvement_scores,
    measure_score,
    worsening_course,
)
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Reason, Result, Summary, WhyNull
from app.estimate.summary import summarise
from app.protocol.improvement import TABLE, TABLE_SOURCE, ImprovementScore, judged_weeks
from app.protocol.model import Protocol
from app.timeline.cohort import Bools, Words


class MeasureContribution(MeasureAt):
    """What one core set measure adds to a score."""

    percent: Number | None = Field(
        description="100 x improvement / range of the measure; null where a value is missing or known as a bound only.",
        examples=[50],
    )
    score: Number | None = Field(description="Its score; null where the bounds differ.", examples=[7.5])
    lower_bound: Number = Field(description="Its lowest possible score.", examples=[7.5])
    upper_bound: Number = Field(description="Its highest possible score.", examples=[7.5])
    reason: str | None = Field(
        description="Why there is no score: `no_baseline`, `no_value_in_window` (for an enzyme also where a result has "
        "no upper limit of normal), `bound_only` (a value is known as a bound only), `enzyme_undecided` (bounds hide "
        "which enzyme was the most abnormal).",
        examples=[None, "no_baseline"],
    )


class PatientScore(Contribution):
    """The score of one patient at one visit."""

    score: Number | None = Field(description="0 to 100; null where a missing measure could change it.", examples=[52.5])
    lower_bound: Number | None = Field(description="The score if every missing measure scored 0.", examples=[52.5])
    upper_bound: Number | None = Field(
        description="The score if every missing measure scored its maximum.", examples=[52.5]
    )
    category: str | None = Field(
        description="`none`, `minimal`, `moderate` or `major`; null where the bounds disagree.", examples=["moderate"]
    )
    worse: bool | None = Field(description="Whether the visit is worse; null where it is not known.", examples=[False])
    confirmed_worsening: bool | None = Field(
        description="Whether worsening was confirmed by this visit or an earlier one.", examples=[False]
    )
    reason: str | None = Field(
        description="Why there is no score: the visit is not judged, or missing measures leave it `undecided`.",
        examples=[None, "no_value_in_window"],
    )
    measures: tuple[MeasureContribution, ...] = Field(description="The six measures.", examples=[[]])


def patient_scores(
    context: Context,
    declared: ImprovementScore,
    course: CoreSetCourse,
    scores: ImprovementScores,
    worsening: WorseningCourse,
) -> list[tuple[PatientScore, ...]]:
    """The scores of the patients, one tuple for each week."""
    measures_at, ids = recorded_measures(declared, course), context.ids
    categories = categories_of(declared, scores)
    by_week = []
    for column, reasons in enumerate(visit_reasons(context, course)):
        rows = []
        for i, (patient, reason) in enumerate(zip(ids, reasons, strict=True)):
            if not context.lists(patient):
                continue
            low, high = float(scores.lower[i, column]), float(scores.upper[i, column])
            if reason:
                rows.append(_not_seen(patient, reason))
                continue
            measures = zip(measures_at(i, column), scores.measures, strict=True)
            rows.append(
                PatientScore(
                    patient=patient,
                    score=low if low == high else None,
                    lower_bound=low,
                    upper_bound=high,
                    category=categories[i, column],
                    worse=worsening.worse.verdict_at((i, column)),
                    confirmed_worsening=worsening.confirmed.verdict_at((i, column)),
                    reason=None if low == high else Reason.UNDECIDED,
                    measures=tuple(
                        MeasureContribution(**row, **_contribution(each, (i, column))) for row, each in measures
                    ),
                )
            )
        by_week.append(tuple(rows))
    return by_week


def _not_seen(patient: str, reason: str) -> PatientScore:
    nothing: dict[str, Any] = dict.fromkeys(
        ("score", "lower_bound", "upper_bound", "category", "worse", "confirmed_worsening")
    )
    return PatientScore(patient=patient, reason=reason, measures=(), **nothing)


def _contribution(scored: MeasureScore, at: tuple[int, int]) -> dict[str, Any]:
    low, high, change = float(scored.lower[at]), float(scored.upper[at]), float(scored.percent[at])
    return {
        "percent": change if np.isfinite(change) else None,
        "score": low if low == high else None,
        "lower_bound": low,
        "upper_bound": high,
    }


def categories_of(declared: ImprovementScore, scores: ImprovementScores) -> Words:
    """The category of each patient at each week (patients x weeks): the level that both bounds reach, else None."""
    categories: Words = np.full(scores.attended.shape, None, dtype=np.object_)
    categories[scores.attended] = "none"
    for level, threshold in declared.thresholds.items():
        categories[scores.surely(threshold)] = level
    for threshold in declared.thresholds.values():
        categories[scores.surely(threshold) != scores.possibly(threshold)] = None
    return categories


class LevelRate(Grouped):
    """The patients who reach one level at one visit; a level includes the higher levels."""

    level: str = Field(description="`minimal`, `moderate` or `major`.", examples=["minimal"])
    threshold: int = Field(description="The lowest score of the level.", examples=[20])
    responders: int = Field(description="Patients with a score who reach it.", examples=[9])
    rate: Number | None = Field(description="responders / evaluable of the visit, a fraction.", examples=[0.6])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the rate.", examples=[[]])
    responders_at_least: int = Field(
        description="Patients who certainly reach it, those with bounds only included.", examples=[10]
    )
    responders_at_most: int = Field(description="Patients who certainly or possibly reach it.", examples=[12])
    all_treated: AllTreated = Field(description="The same over all treated patients.")
    not_worsened: Share = Field(
        description="Patients who reach it without confirmed worsening up to this visit, of all patients seen."
    )


class MeasureMean(Result):
    """What one core set measure adds to the mean score of a visit."""

    measure: str = Field(description="The core set measure.", examples=["enzyme"])
    mean: Number | None = Field(description="Mean of its score in the evaluable patients.", examples=[5.2])
    share: Number | None = Field(description="mean / mean score, a fraction; null where that is 0.", examples=[0.11])
    most: Number = Field(description="The most that it can add.", examples=[7.5])
    reason: WhyNull = None


class VisitScores(Grouped):
    """The scores of one visit."""

    week: int = Field(description="The week.", examples=[16])
    evaluable: int = Field(description="Patients with a score.", examples=[15])
    bounded: int = Field(description="Patients whose score is known as bounds only.", examples=[2])
    score: Summary = Field(description="The scores of the evaluable patients.")
    measures: tuple[MeasureMean, ...] = Field(
        description="What each measure adds to the mean score; the parts add up to it.", examples=[[]]
    )
    levels: tuple[LevelRate, ...] = Field(description="One entry for each level.", examples=[[]])
    worse: Share = Field(description="Patients who are worse than at baseline, of all patients seen.")
    confirmed_worsening: Share = Field(
        description="Patients whose worsening was confirmed by this visit or an earlier one, of all patients seen."
    )
    patients: tuple[PatientScore, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class ImprovementScoreAnswer(Answer):
    """The Total Improvement Score at each visit, then over all visits."""

    reason: WhyNull = Field(
        description="`not_declared` where the protocol has no `improvement_score`.", examples=[None, "not_declared"]
    )
    results: tuple[VisitScores, ...] = Field(description="One entry for each week (and subgroup).", examples=[[]])
    courses: tuple[ImprovementCourse, ...] = Field(description="One entry, or one for each subgroup.", examples=[[]])


def improvement_score(context: Context) -> Findings:
    """The declared score at every judged week, its levels, and the rule of worsening."""
    declared = context.protocol.improvement_score
    if declared is None:
        return Findings(claims=[undeclared("improvement_score")])
    course = context.study.core_set(declared)
    scores, worsening = improvement_scores(declared, course), worsening_course(declared.worsening, course)
    flag_rows = flags(
        context,
        declared,
        course,
        lambda best: measure_score(best, np.full((len(best.before.low), 1), best.span)).upper == 0,
    )
    visits = _visits(context, declared, course, scores, worsening)
    over_all = course_of(context, declared, course, scores, worsening)
    return Findings(
        {"results": visits, "courses": [over_all]},
        left_out(context, course),
        flag_rows,
        claims=[*_claims(visits), *course_claims(context, over_all, course, scores)],
    )


def _basis(whole: Context) -> Basis:
    declared = whole.protocol.improvement_score
    if declared is None:
        return Basis(fields={"reason": Reason.NOT_DECLARED})
    unverified = any(declared.range_of(enzyme).source == "unverified" for enzyme in declared.core_set.enzymes)
    caveats = (
        *(["enzyme_ranges_unverified"] if unverified else []),
        "incomplete_visits",
        "response_seen_at_visits",
        "visits_not_random",
        "resampling_is_approximate",
        "uncontrolled_pre_post",
        *CAVEATS,
    )
    return Basis(caveats, _definition(declared, whole.protocol), {"reason": None})


def _definition(declared: ImprovementScore, protocol: Protocol) -> Definition:
    """All parameters of the score, with the published table."""
    parameters: dict[str, Any] = declared.model_dump(mode="json")
    parameters["weeks"] = list(judged_weeks(declared, protocol.visits.weeks))
    parameters["thresholds"] = dict(declared.thresholds)
    parameters["table"] = {name: bands._asdict() for name, bands in TABLE.items()}
    parameters["table_source"] = TABLE_SOURCE
    return Definition(id="total_improvement_score", parameters=parameters)


def _claims(visits: list[VisitScores]) -> list[Claim]:
    """A claim for each level at each visit."""
    return [
        rate(f"A score of at least {row.threshold} ({row.level}) at week {visit.week}", row.all_treated,
             row.responders, visit.evaluable, week=visit.week)
        for visit in visits
        for row in visit.levels
    ]  # fmt: skip


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
                measures=_measure_means(scores, complete, column),
                levels=tuple(
                    _level(context, level, threshold, scores, worsening, column)
                    for level, threshold in declared.thresholds.items()
                ),
                worse=share(context, worsening.worse.at_week(column), seen, week),
                confirmed_worsening=share(context, worsening.confirmed.at_week(column), seen, week),
                patients=None if listed is None else listed[column],
            )
        )
    return rows


def _measure_means(scores: ImprovementScores, complete: Bools, column: int) -> tuple[MeasureMean, ...]:
    """All scores are multiples of 2.5, so that their sums are exact."""
    n, total = int(complete.sum()), float(scores.lower[complete, column].sum())
    rows = []
    for each in scores.measures:
        added = float(each.lower[complete, column].sum())
        rows.append(
            MeasureMean(
                measure=each.name,
                mean=added / n if n else None,
                share=added / total if total else None,
                most=TABLE[each.name].scores[-1],
                reason=None if total else Reason.ZERO_DENOMINATOR if n else Reason.NO_PATIENTS,
            )
        )
    return tuple(rows)


def _level(
    context: Context,
    level: str,
    threshold: int,
    scores: ImprovementScores,
    worsening: WorseningCourse,
    column: int,
) -> LevelRate:
    reached = BoundedVerdict(scores.surely(threshold)[:, column], scores.possibly(threshold)[:, column])
    complete, seen = scores.complete[:, column], scores.attended[:, column]
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
        all_treated=up_to_week(context, reached, seen, scores.weeks[column]),
        not_worsened=share(context, stayed, seen, scores.weeks[column]),
    )


QUESTION = Question(
    "improvement-score",
    "How much did the patients improve, by the total improvement score?",
    ImprovementScoreAnswer,
    improvement_score,
    _basis,
    options_type=IntervalOptions,
)
