"""The report: the answers in one document, with the flow of patients from the study to each estimate (CONSORT)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from pydantic import Field

from app.analyses.answer import Answer, Context, Grouped, Options, Populations, populations
from app.analyses.ck_change import change_reasons, changes
from app.analyses.outcome_table import OutcomeTable, outcome_table
from app.derive.reasons import ExclusionReason
from app.derive.study import DerivedStudy
from app.estimate.results import Result


class LeftOut(Result):
    """Patients left out at one step, for one reason."""

    reason: str = Field(description="The reason.", examples=["not_treated"])
    count: int = Field(description="How many.", examples=[0])


class FlowStep(Grouped):
    """One step of the flow: the patients who remain, and those left out since the step `of`."""

    step: str = Field(description="The step.", examples=["efficacy"])
    of: str | None = Field(description="The step before it; null for the first.", examples=["safety"])
    n: int = Field(description="Patients who remain.", examples=[15])
    reasons: tuple[LeftOut, ...] = Field(description="Patients left out, by reason.", examples=[[]])


@dataclass(frozen=True, slots=True)
class Report:
    """The answers by name, the populations, the flow, and the table of outcomes."""

    populations: Populations
    flow: tuple[FlowStep, ...]
    answers: Mapping[str, Answer]
    outcomes: OutcomeTable


def report_of(study: DerivedStudy, answers: Mapping[str, Answer], options: Options) -> Report:
    """The report of the answers about one study; with `by`, the flow of each subgroup follows that of the study."""
    groups = [step for part in Context.of(study, options).subgroups() for step in flow(part.study, part.group)]
    return Report(populations(study), (*flow(study), *(groups if options.by else ())), answers, outcome_table(answers))


def flow(study: DerivedStudy, group: dict[str, str | None] | None = None) -> tuple[FlowStep, ...]:
    """From all patients to the patients of each estimate; at each step the reasons add up to the difference."""
    return tuple(step.model_copy(update={"group": group}) for step in _steps(study))


def _steps(study: DerivedStudy) -> list[FlowStep]:
    counts = populations(study)
    steps = [
        FlowStep(step="all", of=None, n=counts.all, reasons=()),
        FlowStep(
            step="safety",
            of="all",
            n=counts.safety,
            reasons=_left_out(ExclusionReason.NOT_TREATED, counts.all - counts.safety),
        ),
        FlowStep(
            step="efficacy",
            of="safety",
            n=counts.efficacy,
            reasons=_left_out(ExclusionReason.NO_VALUE_AFTER_BASELINE, counts.safety - counts.efficacy),
        ),
    ]
    for declared in study.protocol.responses:
        if declared.primary:
            verdict = study.response(declared.rule)
            steps.append(_from_efficacy(study, f"response:{declared.rule.measure}", verdict.reason))
    steps.append(_from_efficacy(study, "ck_change", change_reasons(study, changes(study))))
    steps.append(_from_efficacy(study, "ck_normal_time", study.remission_episodes.reason))
    steps.append(_from_efficacy(study, "time_to_first_normal", study.first_normal.reason))
    return steps


def _from_efficacy(study: DerivedStudy, name: str, reasons: Sequence[ExclusionReason | None]) -> FlowStep:
    counts = Counter(compress(reasons, study.efficacy.tolist()))
    left_out = sorted((reason, count) for reason, count in counts.items() if reason is not None)
    return FlowStep(
        step=name,
        of="efficacy",
        n=counts[None],
        reasons=tuple(LeftOut(reason=reason, count=count) for reason, count in left_out),
    )


def _left_out(reason: ExclusionReason, count: int) -> tuple[LeftOut, ...]:
    return (LeftOut(reason=reason, count=count),) if count else ()
