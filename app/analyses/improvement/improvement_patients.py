"""The total improvement score of each patient at each visit, measure by measure."""

from typing import Any

import numpy as np
from pydantic import Field

from app.analyses.frame import Context, Contribution
from app.analyses.improvement.core_set import MeasureAt, recorded, visit_reasons
from app.derive.improvement.core_set import CoreSetCourse
from app.derive.improvement.improvement_score import ImprovementScores, MeasureScore
from app.derive.improvement.worsening import WorseningCourse
from app.estimate.results import Number, Reason
from app.protocol.improvement import ImprovementScore
from app.timeline.cohort import Words


class MeasureContribution(MeasureAt):
    """What one core set measure adds to a score."""

    percent: Number | None = Field(
        description="100 x improvement / range of the measure; null where a value is missing or a bound.", examples=[50]
    )
    score: Number | None = Field(description="Its score; null where the bounds differ.", examples=[7.5])
    lower_bound: Number = Field(description="Its least possible score.", examples=[7.5])
    upper_bound: Number = Field(description="Its greatest possible score.", examples=[7.5])
    reason: str | None = Field(
        description="Why there is none: `no_baseline`, `no_value_in_window` (for an enzyme also where a result has no "
        "upper limit of normal), `bound_only` (a value is known as a bound only), `enzyme_undecided` (bounds hide "
        "which enzyme was the most abnormal).",
        examples=[None, "no_baseline"],
    )


class PatientScore(Contribution):
    """The score of one patient at one visit."""

    score: Number | None = Field(description="0 to 100; null where a missing measure could change it.", examples=[52.5])
    lower_bound: Number | None = Field(description="The score if what is missing scored 0.", examples=[52.5])
    upper_bound: Number | None = Field(description="The score if it scored its maximum.", examples=[52.5])
    category: str | None = Field(
        description="`none`, `minimal`, `moderate` or `major`; null where the bounds disagree.", examples=["moderate"]
    )
    worse: bool | None = Field(
        description="Whether the visit is worse; null where it cannot be told.", examples=[False]
    )
    confirmed_worsening: bool | None = Field(
        description="Whether worsening was confirmed by this visit or an earlier one.", examples=[False]
    )
    reason: str | None = Field(
        description="Why there is no score: the visit is not judged, or it is `undecided` by what is missing.",
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
    """Each patient at each week."""
    told, ids = recorded(declared, course), context.ids
    categories = judged(declared, scores)
    found = []
    for column, reasons in enumerate(visit_reasons(context, course)):
        rows = []
        for i, (patient, reason) in enumerate(zip(ids, reasons, strict=True)):
            low, high = float(scores.lower[i, column]), float(scores.upper[i, column])
            if reason:
                rows.append(_not_seen(patient, reason))
                continue
            measures = zip(told(i, column), scores.measures, strict=True)
            rows.append(
                PatientScore(
                    patient=patient,
                    score=low if low == high else None,
                    lower_bound=low,
                    upper_bound=high,
                    category=categories[i, column],
                    worse=worsening.worse.told((i, column)),
                    confirmed_worsening=worsening.confirmed.told((i, column)),
                    reason=None if low == high else Reason.UNDECIDED,
                    measures=tuple(
                        MeasureContribution(**row, **_contribution(each, (i, column))) for row, each in measures
                    ),
                )
            )
        found.append(tuple(rows))
    return found


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


def judged(declared: ImprovementScore, scores: ImprovementScores) -> Words:
    """The category of each patient at each week: the level that both bounds agree on, else None."""
    found: Words = np.full(scores.attended.shape, None, dtype=np.object_)
    found[scores.attended] = "none"
    for level, threshold in declared.thresholds.items():
        found[scores.surely(threshold)] = level
    for threshold in declared.thresholds.values():
        found[scores.surely(threshold) != scores.possibly(threshold)] = None
    return found
