"""How much glucocorticoid was taken after treatment, when the dose became low, and who responded without it."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated, of_all_treated
from app.analyses.answer import (
    Answer,
    Basis,
    Claim,
    Context,
    Contribution,
    Definition,
    Excluded,
    Findings,
    Flag,
    Grouped,
    Options,
    Question,
    not_listed,
)
from app.analyses.ck_normal.ck_normal_time import treated_again
from app.analyses.claims import description, median_time, rate, undeclared
from app.analyses.paper_table import NOTHING, PaperTable, column_of, days, limits, number, percent, side_by_side
from app.analyses.paper_table import rate as as_percent
from app.analyses.response_rates import rule_in_words
from app.analyses.sensitivity.key_results import last_day
from app.derive.dose_steps import DIGITS
from app.derive.per_patient import included, pick_int
from app.derive.reasons import ExclusionReason, FlagCode
from app.derive.steroid_doses import LowDose, low_dose
from app.estimate.rates.proportion import proportion
from app.estimate.results import (
    CurvePoint,
    Interval,
    Median,
    Number,
    NumberAtRisk,
    Reason,
    Summary,
    WhyNull,
)
from app.estimate.summary import summarise
from app.estimate.times.survival import kaplan_meier
from app.protocol.endpoints import DailyDose, Response, SteroidSparing
from app.timeline.cohort import NO_TIME, Bools, Ints

MEASURE = "glucocorticoids"
"""What `excluded` and `flags` name where they are about doses."""


class SteroidOptions(Options):
    """The common options, and the doses that the protocol declares."""

    low_dose: DailyDose | None = Field(
        default=None,
        description="Greatest daily dose that is low, in mg of prednisolone equivalents; the protocol's where left "
        "out.",
        examples=[7.5],
    )
    steroid_free_dose: DailyDose | None = Field(
        default=None,
        description="Greatest daily dose of a steroid-free response, in mg of prednisolone equivalents; the "
        "protocol's where left out.",
        examples=[0],
    )


class DoseOfPatient(Contribution):
    """The doses of one patient (course) up to the end of one window."""

    milligrams: Number | None = Field(
        description="Sum in mg of prednisolone equivalents; null where the dose of a day is not known.", examples=[1400]
    )
    daily_milligrams: Number | None = Field(description="The same for each day.", examples=[16.6666666667])
    days_known: int = Field(description="Days of the window whose dose is known.", examples=[84])
    reason: str | None = Field(description="Why there is no sum.", examples=[None, "steroid_gap"])


class CumulativeDose(Grouped):
    """The sum of the doses from day 0 to the end of one window."""

    days: int = Field(description="Days of the window, day 0 included.", examples=[84])
    n: int = Field(description="Patients whose dose is known on each of these days.", examples=[14])
    milligrams: Summary = Field(description="Their sums, in mg of prednisolone equivalents.")
    daily_milligrams: Summary = Field(description="Their mean daily doses: the sums divided by `days`.")
    patients: tuple[DoseOfPatient, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class TimeToLowDose(Contribution):
    """The time to a low dose of one patient (course)."""

    dose_at_start: Number | None = Field(
        description="Dose on day 0, in mg of prednisolone equivalents a day; null where it is not known.", examples=[50]
    )
    days: int | None = Field(
        description="Days from day 0 to the low dose, or to the last day up to which each dose is known; null for a "
        "patient who is not at risk.",
        examples=[56],
    )
    reached: bool | None = Field(description="Whether the dose became low.", examples=[True])
    reason: str | None = Field(description="Why the patient is not at risk.", examples=[None, "low_dose_at_start"])


class LowDoseTime(Grouped):
    """The time from day 0 to a low dose."""

    n: int = Field(description="Patients whose dose on day 0 is known and not low.", examples=[14])
    events: int = Field(description="Of these, patients whose dose became low.", examples=[9])
    low_at_start: int = Field(description="Patients whose dose was low on day 0; not at risk.", examples=[1])
    died: int = Field(
        description="Patients at risk who died without a low dose; they are censored on the day of death or before.",
        examples=[0],
    )
    median: Median = Field(description="Median time to a low dose.")
    curve: tuple[CurvePoint, ...] = Field(
        description="Kaplan-Meier curve: share of patients whose dose is not low yet.", examples=[[]]
    )
    numbers_at_risk: tuple[NumberAtRisk, ...] = Field(description="Patients at risk, every 30 or 90 d.", examples=[[]])
    patients: tuple[TimeToLowDose, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class SteroidFreeVerdict(Contribution):
    """Whether one patient (course) responded, and by which dose."""

    responder: bool | None = Field(
        description="The verdict of the rule; null where it could not judge.", examples=[True]
    )
    day: int | None = Field(description="Day of the value that was judged.", examples=[56])
    daily_milligrams: Number | None = Field(
        description="Dose on this day, in mg of prednisolone equivalents; null where it is not known.", examples=[5]
    )
    steroid_free: bool | None = Field(
        description="Whether it is a steroid-free response; null where that is not known.", examples=[False]
    )
    reason: str | None = Field(description="Why that is not known.", examples=[None, "steroid_gap"])


class SteroidFreeResponse(Grouped):
    """Patients who responded by a primary rule, and whose dose on the day of the judged value was low enough."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    definition: Definition = Field(description="The rule.")
    steroid_free_dose: Number = Field(
        description="Greatest daily dose, in mg of prednisolone equivalents.", examples=[0]
    )
    steroid_free: int = Field(description="Patients with a steroid-free response.", examples=[3])
    responders: int = Field(description="Patients who responded, by whatever dose.", examples=[14])
    dose_unknown: int = Field(
        description="Of these, patients whose dose on that day is not known; they are not evaluable.", examples=[1]
    )
    evaluable: int = Field(description="Patients of whom it is known.", examples=[14])
    rate: Number | None = Field(description="steroid_free / evaluable, a fraction.", examples=[0.214285714286])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the rate.", examples=[[]])
    all_treated: AllTreated = Field(description="The same over all treated patients.")
    patients: tuple[SteroidFreeVerdict, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class SteroidsSpared(Answer):
    """Cumulative doses, the time to a low dose, and responses without glucocorticoids."""

    results: tuple[LowDoseTime, ...] = Field(description="One entry, or one for each subgroup.", examples=[[]])
    cumulative: tuple[CumulativeDose, ...] = Field(description="One entry for each window.", examples=[[]])
    responses: tuple[SteroidFreeResponse, ...] = Field(
        description="One entry for each primary response rule.", examples=[[]]
    )
    table: PaperTable = Field(description="The same as a table of a paper.")


def steroid_sparing(whole: Context) -> Findings:
    """The doses of the study or of each subgroup."""
    contexts = list(whole.subgroups())
    parts = [_of_group(context) for context in contexts]
    columns = [column_of(context.group, int(context.study.safety.sum())) for context in contexts]
    names = ("results", "cumulative", "responses")
    return Findings(
        {name: [row for part in parts for row in part.results[name]] for name in names},
        [row for part in parts for row in part.excluded],
        [flag for part in parts for flag in part.flags],
        claims=[
            claim.model_copy(update={"group": context.group})
            for context, part in zip(contexts, parts, strict=True)
            for claim in part.claims
        ],
        fields={"table": PaperTable(columns=tuple(columns), rows=side_by_side([list(_texts(part)) for part in parts]))},
    )


def declared_doses(context: Context) -> SteroidSparing:
    """What the protocol declares, with the doses of the request."""
    options = context.options_as(SteroidOptions)
    given = {name: getattr(options, name) for name in ("low_dose", "steroid_free_dose")}
    return context.protocol.doses.model_copy(update={name: value for name, value in given.items() if value is not None})


def _of_group(context: Context) -> Findings:
    """The answer for one (sub)group."""
    declared, doses = declared_doses(context), context.study.dosing
    low = low_dose(doses, declared.low_dose, declared.sustained_days)
    primary = [each for each in context.protocol.responses if each.primary]
    free = [_Judged(context, each, declared.steroid_free_dose) for each in primary]
    time, sums = _low_dose_time(context, low), [_cumulative(context, window) for window in declared.windows]
    responses = [each.row() for each in free]
    excluded = context.excluded(low.reason, MEASURE, estimate="time_to_low_dose")
    for window in declared.windows:
        excluded += context.excluded(doses.unknown(window), MEASURE, estimate=f"cumulative_dose_{window}_d")
    for each in free:
        excluded += each.excluded()
    return Findings(
        {"results": [time], "cumulative": sums, "responses": responses},
        excluded,
        _flags(context),
        claims=[
            _claim(context, declared, low, time),
            description(max(row.n for row in sums), "the sums of doses"),
            *([_response_claim(row) for row in responses] or [undeclared("responses")]),
        ],
    )


def _low_dose_time(context: Context, low: LowDose) -> LowDoseTime:
    curve = kaplan_meier(low.day[low.at_risk], low.reached[low.at_risk], **context.curve)
    died, end = context.study.rescues.died, context.study.dosing.end
    return LowDoseTime(
        group=context.group,
        n=curve.n,
        events=curve.events,
        low_at_start=low.reason.count(ExclusionReason.LOW_DOSE_AT_START),
        died=int((low.at_risk & ~low.reached & (died != NO_TIME) & (died <= end)).sum()),
        median=curve.median,
        curve=curve.curve,
        numbers_at_risk=curve.numbers_at_risk,
        patients=tuple(_times(context, low)) if context.listed else None,
    )


def _times(context: Context, low: LowDose) -> Iterator[TimeToLowDose]:
    at_start = context.study.dosing.at_start
    for i, patient in enumerate(context.ids):
        if context.lists(patient):
            yield TimeToLowDose(
                patient=patient,
                dose_at_start=_known(at_start[i]),
                days=int(low.day[i]) if low.at_risk[i] else None,
                reached=bool(low.reached[i]) if low.at_risk[i] else None,
                reason=low.reason[i],
            )


def _cumulative(context: Context, window: int) -> CumulativeDose:
    doses = context.study.dosing
    sums, reasons = doses.milligrams(window), doses.unknown(window)
    known = sums[included(reasons)]
    return CumulativeDose(
        group=context.group,
        days=window,
        n=len(known),
        milligrams=summarise(known),
        daily_milligrams=summarise(known / window),
        patients=tuple(
            DoseOfPatient(
                patient=patient,
                milligrams=_known(total),
                daily_milligrams=_known(total / window),
                days_known=int(days_known),
                reason=reason,
            )
            for patient, total, days_known, reason in zip(
                context.ids, sums, doses.known_days(window), reasons, strict=True
            )
            if context.lists(patient)
        )
        if context.listed
        else None,
    )


class _Judged:
    """The verdicts of one rule, each with the day of the judged value and the dose on it."""

    def __init__(self, context: Context, declared: Response, at_most: float) -> None:
        study, self.rule = context.study, declared.rule
        self.context, self.at_most = context, at_most
        self.verdict = study.response(self.rule)
        records = study.analysis_values(self.rule.measure)
        self.day: Ints = pick_int(records.day, study.judged_row(self.rule), NO_TIME)
        self.dose = study.dosing_of_values.at(self.day)
        self.responder = self.verdict.responder
        self.free: Bools = self.responder & (self.dose <= round(at_most, DIGITS))
        self.unknown: Bools = self.responder & np.isnan(self.dose)
        self.evaluable: Bools = self.verdict.evaluable & ~self.unknown

    @property
    def reasons(self) -> tuple[ExclusionReason | None, ...]:
        """Why it is not known of a patient whether the response was steroid-free: that of the rule, or of the dose."""
        of_dose = self.context.study.dosing_of_values.unknown_at(self.day)
        return tuple(
            of_rule or (unknown if responded else None)
            for of_rule, unknown, responded in zip(self.verdict.reason, of_dose, self.unknown.tolist(), strict=True)
        )

    def excluded(self) -> list[Excluded]:
        """The patients of whom it is not known."""
        definition = Definition.of_rule(self.rule)
        return self.context.excluded(
            self.reasons, self.rule.measure, definition=definition, estimate="steroid_free_response"
        )

    def row(self) -> SteroidFreeResponse:
        """The entry of the answer."""
        context = self.context
        k, n = int(self.free.sum()), int(self.evaluable.sum())
        estimate = proportion(k, n, level=context.level, methods=context.proportion_methods)
        until = last_day(context.study, self.rule)
        return SteroidFreeResponse(
            group=context.group,
            measure=self.rule.measure,
            definition=Definition.of_rule(self.rule),
            steroid_free_dose=self.at_most,
            steroid_free=k,
            responders=int(self.responder.sum()),
            dose_unknown=int(self.unknown.sum()),
            evaluable=n,
            rate=estimate.rate,
            reason=estimate.reason,
            intervals=estimate.intervals,
            all_treated=of_all_treated(context, self.free, ~self.verdict.judged | self.unknown, until),
            patients=tuple(self.patients()) if context.listed else None,
        )

    def patients(self) -> Iterator[SteroidFreeVerdict]:
        """The verdict of each patient that is listed."""
        for i, (patient, reason) in enumerate(zip(self.context.ids, self.reasons, strict=True)):
            if self.context.lists(patient):
                yield SteroidFreeVerdict(
                    patient=patient,
                    responder=bool(self.responder[i]) if self.verdict.evaluable[i] else None,
                    day=None if self.day[i] == NO_TIME else int(self.day[i]),
                    daily_milligrams=_known(self.dose[i]),
                    steroid_free=None if reason else bool(self.free[i]),
                    reason=reason,
                )


def _known(amount: float) -> float | None:
    return None if np.isnan(amount) else float(amount)


def _flags(context: Context) -> list[Flag]:
    not_daily = int((~context.study.dosing.periods.convertible).sum())
    return [*context.flags({FlagCode.DOSE_NOT_CONVERTIBLE: not_daily}, MEASURE), *context.flags_of_orders(MEASURE)]


def _claim(context: Context, declared: SteroidSparing, low: LowDose, row: LowDoseTime) -> Claim:
    at_risk, value = low.at_risk, row.median.value
    after = 0 if value is None else int((low.day[at_risk] > value).sum())
    before = treated_again(context, low.day, at_risk)
    subject = f"Time to a dose of at most {declared.low_dose:g} mg of prednisolone equivalents a day"
    return median_time("median_time_to_low_dose", subject, value, row.n, after, before)


def _response_claim(row: SteroidFreeResponse) -> Claim:
    return rate(
        f"{row.measure} response by {rule_in_words(row.definition)} with a dose of at most "
        f"{row.steroid_free_dose:g} mg of prednisolone equivalents on the judged day",
        row.all_treated,
        row.steroid_free,
        row.all_treated.of - row.all_treated.not_judged,
        measure=row.measure,
    )


def _texts(part: Findings) -> Iterator[tuple[str, str, str]]:
    """The rows of one column of the printed table: section, label and text."""
    for row in cast("Sequence[CumulativeDose]", part.results["cumulative"]):
        for name, known in (("Sum (mg)", row.milligrams), ("Mean a day (mg)", row.daily_milligrams)):
            text = f"{number(known.median)} [{number(known.q1)}, {number(known.q3)}]" if known.n else NOTHING
            yield "cumulative_dose", f"{name}, {row.days} days, median [quartiles]", text
        yield "cumulative_dose", f"Known on each of {row.days} days", str(row.n)
    for time in cast("Sequence[LowDoseTime]", part.results["results"]):
        median = time.median
        reached = "not reached" if median.reason == Reason.NOT_REACHED else days(median.value)
        yield "low_dose", "Low dose reached", percent(time.events, time.n)
        yield "low_dose", "Days to a low dose, median [interval]", f"{reached} [{limits(median.intervals[0], days)}]"
    for free in cast("Sequence[SteroidFreeResponse]", part.results["responses"]):
        of = f"{free.measure} response, steroid-free"
        yield "steroid_free_response", of, percent(free.steroid_free, free.evaluable)
        yield "steroid_free_response", f"{of}: interval", limits(free.intervals[0], as_percent)


def _basis(whole: Context) -> Basis:
    parameters: dict[str, Any] = declared_doses(whole).model_dump(mode="json")
    parameters["unit"] = "mg of prednisolone equivalents"
    parameters["judged_day"] = "day of the value that the response rule judges"
    caveats = (
        "steroid_record_incomplete",
        "doses_as_reported",
        "equivalents_by_convention",
        "dose_is_a_decision",
        "uncontrolled_pre_post",
        "definitions_are_ours",
        "new_immunosuppressant",
        "second_course",
        "death",
    )
    return Basis(caveats, Definition(id="glucocorticoid_doses", parameters=parameters))


QUESTION = Question(
    "steroid-sparing",
    "How much glucocorticoid was taken, and who responded without it?",
    SteroidsSpared,
    steroid_sparing,
    _basis,
    options_type=SteroidOptions,
    compares_groups=True,
    by_course=True,
)
