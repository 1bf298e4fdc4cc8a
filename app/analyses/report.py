"""All answers in one, with the flow of patients from the study to each estimate (as in CONSORT)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from app.analyses.answer import Answer, Populations, populations
from app.analyses.ck_change import change_reasons, changes
from app.analyses.ck_normal.ck_normal_time import first_normal_reasons
from app.derive.reasons import ExclusionReason
from app.derive.study import DerivedStudy
from app.estimate.results import Result


class LeftOut(Result):
    """Patients who did not go on to a step."""

    reason: str = Field(description="Why.", examples=["not_treated"])
    count: int = Field(description="How many.", examples=[0])


class FlowStep(Result):
    """One step of the flow: those who remain and those who fell out since the step that `of` names."""

    step: str = Field(description="The step.", examples=["efficacy"])
    of: str | None = Field(
        description="The step whose patients it starts from; null for the first.", examples=["safety"]
    )
    n: int = Field(description="Patients who remain.", examples=[15])
    reasons: tuple[LeftOut, ...] = Field(description="Who fell out, by reason.", examples=[[]])


@dataclass(frozen=True, slots=True)
class Report:
    """The answers by name, what they share, and the flow."""

    populations: Populations
    flow: tuple[FlowStep, ...]
    answers: Mapping[str, Answer]


def report_of(study: DerivedStudy, answers: Mapping[str, Answer]) -> Report:
    """The report of answers that were given on one study."""
    return Report(populations(study), flow(study), answers)


def flow(study: DerivedStudy) -> tuple[FlowStep, ...]:
    """From all patients to the patients of each estimate; at every step the reasons add up to the difference."""
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
    steps.append(_from_efficacy(study, "time_to_first_normal", first_normal_reasons(study)))
    return tuple(steps)


def _from_efficacy(study: DerivedStudy, name: str, reasons: Sequence[ExclusionReason | None]) -> FlowStep:
    kept = [reason for reason, inside in zip(reasons, study.efficacy, strict=True) if inside]
    found = sorted({reason for reason in kept if reason is not None})
    return FlowStep(
        step=name,
        of="efficacy",
        n=kept.count(None),
        reasons=tuple(LeftOut(reason=reason, count=kept.count(reason)) for reason in found),
    )


def _left_out(reason: ExclusionReason, count: int) -> tuple[LeftOut, ...]:
    return (LeftOut(reason=reason, count=count),) if count else ()
