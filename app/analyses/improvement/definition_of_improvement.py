"""How many patients improved by the IMACS 2004 definition, visit by visit."""

from typing import Any

from pydantic import Field

from app.analyses.answer import (
    Answer,
    Basis,
    Context,
    Contribution,
    Definition,
    Findings,
    Grouped,
    Question,
    not_listed,
)
from app.analyses.improvement.core_set_answers import MeasureAt, flags, left_out, recorded, visit_reasons
from app.derive.core_set import CoreSetCourse
from app.derive.imacs_definition_of_improvement import Judgement
from app.derive.imacs_definition_of_improvement import definition_of_improvement as judge
from app.derive.relative_change import improved
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Reason, WhyNull
from app.protocol.improvement import DefinitionOfImprovement, judged_weeks


class MeasureVerdict(MeasureAt):
    """Whether one core set measure improved and whether it is worse, relative to its baseline."""

    improved: bool | None = Field(description="Null where it cannot be told.", examples=[True])
    worse: bool | None = Field(description="Null where it cannot be told.", examples=[False])
    reason: str | None = Field(
        description="Why it is missing: `no_baseline`, `no_value_in_window`, `bound_only`, `enzyme_undecided`.",
        examples=[None, "no_baseline"],
    )


class PatientVerdict(Contribution):
    """The verdict on one patient at one visit."""

    improved: bool | None = Field(description="Null where a missing measure could change it.", examples=[True])
    reason: str | None = Field(
        description="Why there is no verdict: the visit is not judged, or it is `undecided` by what is missing.",
        examples=[None, "no_value_in_window"],
    )
    measures: tuple[MeasureVerdict, ...] = Field(description="The six measures.", examples=[[]])


class VisitVerdicts(Grouped):
    """The patients who improved at one visit."""

    week: int = Field(description="The week.", examples=[16])
    evaluable: int = Field(description="Patients of whom nothing is missing.", examples=[15])
    bounded: int = Field(description="Patients of whom a measure is missing or known as a bound.", examples=[2])
    improved: int = Field(description="Evaluable patients who improved.", examples=[9])
    rate: Number | None = Field(description="improved / evaluable, a fraction.", examples=[0.6])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the rate.", examples=[[]])
    improved_at_least: int = Field(
        description="With the bounded patients: who improved whatever the missing measures were.", examples=[10]
    )
    improved_at_most: int = Field(description="And who improved or might have.", examples=[11])
    patients: tuple[PatientVerdict, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class DefinitionOfImprovementAnswer(Answer):
    """Who improved by the IMACS definition, visit by visit."""

    reason: WhyNull = Field(
        description="`not_declared` where the protocol has no `definition_of_improvement`.",
        examples=[None, "not_declared"],
    )
    results: tuple[VisitVerdicts, ...] = Field(description="One entry a week (and subgroup).", examples=[[]])


def definition_of_improvement(context: Context) -> Findings:
    """The declared definition at every judged week."""
    declared = context.protocol.definition_of_improvement
    if declared is None:
        return Findings()
    percent, course = declared.improved_percent, context.study.core_set(declared)
    noticed = flags(context, declared, course, lambda best: ~improved(best, percent).possibly)
    return Findings({"results": _visits(context, declared, course)}, left_out(context, course), noticed)


def _basis(whole: Context) -> Basis:
    declared = whole.protocol.definition_of_improvement
    if declared is None:
        return Basis(fields={"reason": Reason.NOT_DECLARED})
    parameters: dict[str, Any] = declared.model_dump(mode="json")
    parameters["weeks"] = list(judged_weeks(declared, whole.protocol.visits.weeks))
    definition = Definition(id="imacs_definition_of_improvement", parameters=parameters)
    caveats = ("incomplete_visits", "response_seen_at_visits", "uncontrolled_pre_post")
    return Basis(caveats, definition, {"reason": None})


def _visits(context: Context, declared: DefinitionOfImprovement, course: CoreSetCourse) -> list[VisitVerdicts]:
    judgement = judge(declared, course)
    listed = _listed(context, declared, course, judgement) if context.listed else None
    rows = []
    for column, week in enumerate(judgement.weeks):
        complete, surely = judgement.complete[:, column], judgement.improved.surely[:, column]
        k, n = int((surely & complete).sum()), int(complete.sum())
        estimate = proportion(k, n, level=context.level, methods=context.proportion_methods)
        rows.append(
            VisitVerdicts(
                group=context.group,
                week=week,
                evaluable=n,
                bounded=int(judgement.attended[:, column].sum()) - n,
                improved=k,
                rate=estimate.rate,
                reason=estimate.reason,
                intervals=estimate.intervals,
                improved_at_least=int(surely.sum()),
                improved_at_most=int(judgement.improved.possibly[:, column].sum()),
                patients=None if listed is None else listed[column],
            )
        )
    return rows


def _listed(
    context: Context, declared: DefinitionOfImprovement, course: CoreSetCourse, judgement: Judgement
) -> list[tuple[PatientVerdict, ...]]:
    measures_at = recorded(declared, course)
    found = []
    for column, reasons in enumerate(visit_reasons(context, course)):
        rows = []
        for i, (patient, reason) in enumerate(zip(context.ids, reasons, strict=True)):
            at = (i, column)
            measures = () if reason else tuple(
                MeasureVerdict(**row, improved=better.verdict_at(at), worse=worse.verdict_at(at))
                for row, (_, better, worse) in zip(measures_at(i, column), judgement.by_measure, strict=True)
            )  # fmt: skip
            verdict = None if reason else judgement.improved.verdict_at(at)
            why = reason or (Reason.UNDECIDED if verdict is None else None)
            rows.append(PatientVerdict(patient=patient, improved=verdict, reason=why, measures=measures))
        found.append(tuple(rows))
    return found


QUESTION = Question(
    "definition-of-improvement",
    "How many patients improved, by the IMACS definition?",
    DefinitionOfImprovementAnswer,
    definition_of_improvement,
    _basis,
)
