"""How many patients improved at each visit by the IMACS 2004 definition of improvement."""

from typing import Any

from pydantic import Field

from app.analyses.all_treated import AllTreated
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
from app.analyses.claims import rate, undeclared
from app.analyses.improvement.core_set_answers import (
    CAVEATS,
    MeasureAt,
    flags,
    left_out,
    recorded_measures,
    up_to_week,
    visit_reasons,
)
from app.derive.core_set import CoreSetCourse
from app.derive.imacs_definition_of_improvement import Judgement
from app.derive.imacs_definition_of_improvement import definition_of_improvement as judge
from app.derive.relative_change import improved
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Reason, WhyNull
from app.protocol.improvement import DefinitionOfImprovement, judged_weeks


class MeasureVerdict(MeasureAt):
    """Whether one core set measure is better or worse than its baseline, by relative change."""

    improved: bool | None = Field(description="Whether it improved; null where it is not known.", examples=[True])
    worse: bool | None = Field(description="Whether it is worse; null where it is not known.", examples=[False])
    reason: str | None = Field(
        description="Why it is not known: `no_baseline`, `no_value_in_window`, `bound_only`, `enzyme_undecided`.",
        examples=[None, "no_baseline"],
    )


class PatientVerdict(Contribution):
    """The verdict on one patient at one visit."""

    improved: bool | None = Field(
        description="Whether the patient improved; null where a missing measure could change the verdict.",
        examples=[True],
    )
    reason: str | None = Field(
        description="Why there is no verdict: the visit is not judged, or missing measures leave it `undecided`.",
        examples=[None, "no_value_in_window"],
    )
    measures: tuple[MeasureVerdict, ...] = Field(description="The six measures.", examples=[[]])


class VisitVerdicts(Grouped):
    """The patients who improved at one visit."""

    week: int = Field(description="The week.", examples=[16])
    evaluable: int = Field(description="Patients without a missing measure.", examples=[15])
    bounded: int = Field(description="Patients with a measure that is missing or known as a bound only.", examples=[2])
    improved: int = Field(description="Evaluable patients who improved.", examples=[9])
    rate: Number | None = Field(description="improved / evaluable, a fraction.", examples=[0.6])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the rate.", examples=[[]])
    improved_at_least: int = Field(
        description="Patients who certainly improved, the bounded ones included.", examples=[10]
    )
    improved_at_most: int = Field(description="Patients who certainly or possibly improved.", examples=[11])
    all_treated: AllTreated = Field(description="The same over all treated patients.")
    patients: tuple[PatientVerdict, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class DefinitionOfImprovementAnswer(Answer):
    """The patients who improved at each visit by the IMACS definition."""

    reason: WhyNull = Field(
        description="`not_declared` where the protocol has no `definition_of_improvement`.",
        examples=[None, "not_declared"],
    )
    results: tuple[VisitVerdicts, ...] = Field(description="One entry for each week (and subgroup).", examples=[[]])


def definition_of_improvement(context: Context) -> Findings:
    """The declared definition at every judged week."""
    declared = context.protocol.definition_of_improvement
    if declared is None:
        return Findings(claims=[undeclared("definition_of_improvement")])
    percent, course = declared.improved_percent, context.study.core_set(declared)
    flag_rows = flags(context, declared, course, lambda best: ~improved(best, percent).possibly)
    rows = _visits(context, declared, course)
    claims = [
        rate(f"Improvement by the IMACS definition at week {row.week}", row.all_treated, row.improved, row.evaluable,
             week=row.week)
        for row in rows
    ]  # fmt: skip
    return Findings({"results": rows}, left_out(context, course), flag_rows, claims=claims)


def _basis(whole: Context) -> Basis:
    declared = whole.protocol.definition_of_improvement
    if declared is None:
        return Basis(fields={"reason": Reason.NOT_DECLARED})
    parameters: dict[str, Any] = declared.model_dump(mode="json")
    parameters["weeks"] = list(judged_weeks(declared, whole.protocol.visits.weeks))
    definition = Definition(id="imacs_definition_of_improvement", parameters=parameters)
    caveats = ("incomplete_visits", "response_seen_at_visits", "uncontrolled_pre_post", *CAVEATS)
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
                all_treated=up_to_week(
                    context, judgement.improved.at_week(column), judgement.attended[:, column], week
                ),
                patients=None if listed is None else listed[column],
            )
        )
    return rows


def _listed(
    context: Context, declared: DefinitionOfImprovement, course: CoreSetCourse, judgement: Judgement
) -> list[tuple[PatientVerdict, ...]]:
    measures_at = recorded_measures(declared, course)
    by_week = []
    for column, reasons in enumerate(visit_reasons(context, course)):
        rows = []
        for i, (patient, reason) in enumerate(zip(context.ids, reasons, strict=True)):
            if not context.lists(patient):
                continue
            at = (i, column)
            measures = () if reason else tuple(
                MeasureVerdict(**row, improved=better.verdict_at(at), worse=worse.verdict_at(at))
                for row, (_, better, worse) in zip(measures_at(i, column), judgement.by_measure, strict=True)
            )  # fmt: skip
            verdict = None if reason else judgement.improved.verdict_at(at)
            verdict_reason = reason or (Reason.UNDECIDED if verdict is None else None)
            rows.append(PatientVerdict(patient=patient, improved=verdict, reason=verdict_reason, measures=measures))
        by_week.append(tuple(rows))
    return by_week


QUESTION = Question(
    "definition-of-improvement",
    "How many patients improved, by the IMACS definition?",
    DefinitionOfImprovementAnswer,
    definition_of_improvement,
    _basis,
)
