"""How many patients responded, by each declared rule."""

from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated, of_all_treated
from app.analyses.answer import (
    Answer,
    Basis,
    Claim,
    Context,
    Definition,
    Excluded,
    Findings,
    Flag,
    Grouped,
    Question,
    not_listed,
)
from app.analyses.claims import rate, undeclared
from app.analyses.patient_values import PatientValues, change_of, values_at
from app.analyses.preset_difference import Differs, response_difference
from app.analyses.sensitivity.key_results import last_day
from app.analyses.weekly_change import OTHER_TREATMENT
from app.analyses.without_effect import Headline, NullOptions, Simulated, without_effect
from app.derive.reasons import FlagCode
from app.derive.response import ResponseVerdicts
from app.derive.study import DerivedStudy
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, WhyNull
from app.protocol.criteria import DaysWindow
from app.protocol.endpoints import Response, ResponseRule, general_form
from app.protocol.model import Protocol


class Verdict(PatientValues):
    """Whether one patient responded. The value is the one that was judged, the best where several were."""

    change: Number | None = Field(
        description="Value minus baseline; null where either is missing or a bound.", examples=[-930]
    )
    responder: bool | None = Field(description="The verdict; null where the rule could not judge.", examples=[True])
    reason: str | None = Field(description="Why there is no verdict.", examples=[None, "no_baseline"])


class ResponseRate(Grouped):
    """The response rate of one measure by one rule."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    definition: Definition = Field(description="The rule.")
    primary: bool = Field(description="Whether it is the primary rule of the measure.", examples=[True])
    responders: int = Field(description="Patients who responded.", examples=[14])
    evaluable: int = Field(description="Patients whom the rule could judge.", examples=[15])
    rate: Number | None = Field(description="responders / evaluable, a fraction.", examples=[0.933333333333])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the rate.", examples=[[]])
    all_treated: AllTreated = Field(description="The same over all treated patients.")
    patients: tuple[Verdict, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class ResponseRates(Answer):
    """Response rates: k of n with exact intervals, for every declared rule."""

    results: tuple[ResponseRate, ...] = Field(description="One entry for each rule (and subgroup).", examples=[[]])
    preset_for_new_studies: Differs = None
    nothing: Simulated


def response_rates(context: Context) -> Findings:
    """The rate by every response definition of the protocol, in the order of the protocol."""
    rates: list[ResponseRate] = []
    excluded: list[Excluded] = []
    for declared in context.protocol.responses:
        verdict = context.study.response(declared.rule)
        definition = Definition.of_rule(declared.rule)
        rates.append(_rate(context, declared, definition, verdict))
        excluded += context.excluded(verdict.reason, declared.rule.measure, definition=definition)
    measures = [declared.rule.measure for declared in context.protocol.responses]
    return Findings(
        {"results": rates, "nothing": without_effect(context, measures, _headlines)},
        excluded,
        _flags(context),
        claims=[_claim(row) for row in rates] or [undeclared("responses")],
    )


def _headlines(study: DerivedStudy, cohorts: int) -> list[Headline]:
    """The rate by every rule."""
    return [_headline(declared.rule, study.response(declared.rule), cohorts) for declared in study.protocol.responses]


def _headline(rule: ResponseRule, verdict: ResponseVerdicts, cohorts: int) -> Headline:
    k, n = (each.reshape(cohorts, -1).sum(axis=1) for each in (verdict.responder, verdict.evaluable))
    rates = np.divide(k, n, out=np.full(cohorts, np.nan), where=n > 0)
    return Headline("response_rate", rule.measure, "higher", rates, definition=Definition.of_rule(rule))


def takes_the_best(protocol: Protocol) -> bool:
    """Whether any response rule takes the best of several values."""
    return any(judges_the_best(declared.rule) for declared in protocol.responses)


def judges_the_best(rule: ResponseRule) -> bool:
    """Whether a rule takes the best of several values."""
    window = general_form(rule).window
    return isinstance(window, DaysWindow) and window.value != "last"


def _basis(whole: Context) -> Basis:
    best = ["best_of_many"] if takes_the_best(whole.protocol) else []
    fields = {"preset_for_new_studies": response_difference(whole)}
    depend = ("selected_high", "ceiling_at_baseline", "upper_limit_moved", "missing_data", *OTHER_TREATMENT)
    return Basis(("definitions_are_ours", "uncontrolled_pre_post", *best, *depend), fields=fields)


def _rate(context: Context, declared: Response, definition: Definition, verdict: ResponseVerdicts) -> ResponseRate:
    rule = declared.rule
    k, n = int(verdict.responder.sum()), int(verdict.evaluable.sum())
    estimate = proportion(k, n, level=context.level, methods=context.proportion_methods)
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
        all_treated=of_all_treated(context, verdict.responder, ~verdict.judged, last_day(context.study, rule)),
        patients=verdicts(context, rule) if context.listed else None,
    )


def _claim(row: ResponseRate) -> Claim:
    return rate(
        f"{row.measure} response by {rule_in_words(row.definition)}",
        row.all_treated,
        row.responders,
        row.all_treated.of - row.all_treated.not_judged,
        measure=row.measure,
    )


def rule_in_words(definition: Definition) -> str:
    """The name of a rule with its parameters: those of a part in brackets behind its name, two limits as a range."""
    return _in_words({"id": definition.id, **definition.parameters})


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        name, given = value.get("id"), {key: each for key, each in value.items() if key != "id" and each is not None}
        return (
            f"{name} ({', '.join(f'{key} {_in_words(each)}' for key, each in given.items())})" if given else str(name)
        )
    if isinstance(value, list):
        return " to ".join(map(_in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def verdicts(context: Context, rule: ResponseRule) -> tuple[Verdict, ...]:
    """What a rule says of each patient that is listed."""
    verdict = context.study.response(rule)
    values = values_at(context.study, rule.measure, context.study.judged_row(rule))
    rows = zip(context.ids, verdict.responder, verdict.reason, values, strict=True)
    return tuple(
        Verdict(
            patient=patient,
            responder=None if reason else bool(responder),
            reason=reason,
            change=change_of(found),
            **found,
        )
        for patient, responder, reason, found in rows
        if context.lists(patient)
    )


def _flags(context: Context) -> list[Flag]:
    rules = [declared.rule for declared in context.protocol.responses]
    primary = [declared.rule for declared in context.protocol.responses if declared.primary]
    return response_flags(context, dict.fromkeys(rule.measure for rule in rules), primary)


def response_flags(context: Context, measures: Iterable[str], primary: Sequence[ResponseRule]) -> list[Flag]:
    """The flags of some measures, with the baselines that are near the ceiling for a primary rule."""
    flags: list[Flag] = []
    for measure in measures:
        verdicts = [context.study.response(rule) for rule in primary if rule.measure == measure]
        near = sum(verdict.flags.get(FlagCode.NEAR_CEILING, 0) for verdict in verdicts)
        more = {} if measure == "CK" else {FlagCode.NEAR_CEILING: near}
        for verdict in verdicts:
            if (counted := verdict.flags.get(FlagCode.COUNTED_AS_NON_RESPONDER)) is not None:
                more[FlagCode.COUNTED_AS_NON_RESPONDER] = counted
        flags += context.flags_of(measure, more)
    return flags


QUESTION = Question(
    "response-rates",
    "How many patients responded, by each declared rule?",
    ResponseRates,
    response_rates,
    _basis,
    options_type=NullOptions,
    in_report=True,
    by_course=True,
)
