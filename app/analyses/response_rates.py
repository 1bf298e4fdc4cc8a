"""How many patients responded, by each declared rule."""

from pydantic import Field

from app.analyses.frame import (
    Answer,
    Context,
    Contribution,
    Definition,
    Findings,
    Flag,
    Grouped,
    Options,
    Question,
    contexts,
    not_listed,
    shared,
)
from app.derive.response import Response as Verdicts
from app.derive.study import DerivedStudy
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, WhyNull
from app.protocol.response import Response

NAME = "response-rates"


class Verdict(Contribution):
    """Whether one patient responded."""

    responder: bool | None = Field(description="The verdict; null where the rule could not judge.", examples=[True])
    reason: str | None = Field(description="Why it could not.", examples=[None, "no_baseline"])


class ResponseRate(Grouped):
    """The response rate of one measure by one rule."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    definition: Definition = Field(description="The rule.")
    primary: bool = Field(description="Whether it is the pre-declared main rule of the measure.", examples=[True])
    responders: int = Field(description="Patients who responded.", examples=[14])
    evaluable: int = Field(description="Patients whom the rule could judge.", examples=[15])
    rate: Number | None = Field(description="responders / evaluable, a fraction.", examples=[0.933333333333])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the rate.", examples=[[]])
    patients: tuple[Verdict, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class ResponseRates(Answer):
    """Response rates: k of n with exact intervals, for every declared rule."""

    results: tuple[ResponseRate, ...] = Field(description="One entry a rule (and subgroup).", examples=[[]])


def response_rates(study: DerivedStudy, options: Options) -> ResponseRates:
    """Every response definition of the protocol, in its order."""
    results: list[ResponseRate] = []
    found = Findings()
    for context in contexts(study, options):
        results += [_rate(context, declared, found) for declared in study.protocol.responses]
        found.flags += _flags(context)
    best = any(getattr(declared.rule, "value", None) == "best" for declared in study.protocol.responses)
    caveats = ("definitions_are_ours", "uncontrolled_pre_post", *(["best_of_many"] if best else []))
    return ResponseRates(results=tuple(results), **shared(NAME, study, options, found, caveats))


def _rate(context: Context, declared: Response, found: Findings) -> ResponseRate:
    rule = declared.rule
    verdict = context.study.response(rule)
    methods = dict.fromkeys((context.conventions.proportion, "wilson"))
    k, n = int(verdict.responder.sum()), int(verdict.evaluable.sum())
    estimate = proportion(k, n, level=context.level, methods=tuple(methods))
    definition = Definition(id=rule.id, parameters=rule.model_dump(mode="json", exclude={"id", "measure"}))
    found.excluded += context.excluded(verdict.reason, rule.measure, definition=definition)
    return ResponseRate(
        group=context.group,
        measure=rule.measure,
        definition=definition,
        primary=declared.primary,
        responders=k,
        evaluable=n,
        rate=estimate.rate,
        reason=estimate.reason,
        intervals=estimate.intervals,
        patients=_verdicts(context, verdict) if context.listed else None,
    )


def _verdicts(context: Context, verdict: Verdicts) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(patient=patient, responder=None if reason else bool(responder), reason=reason or None)
        for patient, responder, reason in zip(context.ids, verdict.responder, verdict.reason, strict=True)
    )


def _flags(context: Context) -> list[Flag]:
    study = context.study
    flags: list[Flag] = []
    for measure in dict.fromkeys(response.rule.measure for response in context.protocol.responses):
        counts = dict(study.records(measure).flags)
        verdicts = [
            study.response(r.rule) for r in context.protocol.responses if r.rule.measure == measure and r.primary
        ]
        if measure != "CK":
            counts["near_ceiling"] = sum(verdict.flags.get("near_ceiling", 0) for verdict in verdicts)
        counts["baseline_too_old"] = int((study.baseline_too_old(measure) & study.efficacy).sum())
        flags += context.flags(counts, measure)
    return flags


QUESTION = Question(
    NAME, "How many patients responded, by each declared rule?", ResponseRates, response_rates, in_report=True
)
