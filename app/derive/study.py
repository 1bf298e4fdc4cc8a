"""All derivations of one cohort under one protocol. Each is computed once, when a question first needs it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from app.derive.adverse_reactions import Reactions, reactions
from app.derive.analysis_values import AnalysisValues, lab_records, on_own_scales, score_records
from app.derive.bounded_values import BoundedValues
from app.derive.chunks import Chunk, Derived, chunks, concatenated
from app.derive.ck_draws import CkDraws, ck_draws
from app.derive.ck_normality import (
    UNKNOWN,
    DaysNormal,
    FirstNormal,
    FirstNormalIntervals,
    RemissionEpisodes,
    RemissionIntervals,
    Sustained,
    borrow_limits,
    days_normal,
    first_normal_intervals,
    normality,
    remission_episodes,
    remission_intervals,
    sustained,
    time_to_first_normal,
)
from app.derive.core_set import CoreSetCourse, core_set_course
from app.derive.courses import Courses, courses
from app.derive.dose_steps import dose_periods
from app.derive.doses import is_glucocorticoid
from app.derive.exact_comparison import difference
from app.derive.exposure import Exposure, exposure
from app.derive.intercurrent_events import IntercurrentEvents, intercurrent_events, until_rescue
from app.derive.known_estimates import Estimate, Given, Kept, known_or_made
from app.derive.ordered_drugs import OrderCounts, order_counts
from app.derive.per_patient import best_of
from app.derive.reasons import ExclusionReason, FlagCode
from app.derive.rescue_treatment import Outcomes, Rescues, earlier, outcomes, rescues
from app.derive.response import ResponseVerdicts, RuleInput, judged_rows, response
from app.derive.run_in import RunIn, run_in
from app.derive.steroid_doses import Dosing, dosing
from app.derive.undecided_pairs import undecided_pairs
from app.derive.visit_values import VisitValues, visit_values
from app.derive.visits import judged_days, visit_rows
from app.protocol.endpoints import RescueStrategy, ResponseRule, general_form
from app.protocol.improvement import Composite, judged_weeks
from app.protocol.model import Protocol
from app.timeline.cohort import NO_TIME, Bools, Cohort, Floats, Ints, Words
from app.timeline.same_facts import PairKind
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES


@dataclass(frozen=True, slots=True, eq=False)
class Derivations:
    """Derivations of a study by name: properties of `DerivedStudy`, verdicts by rule, flags by measure, and values by
    measure and week.
    """

    properties: Mapping[str, Any]
    responses: Mapping[ResponseRule, ResponseVerdicts]
    flags: Mapping[str, Mapping[FlagCode, int]]
    visits: Mapping[tuple[str, int], VisitValues]


class DerivedStudy:
    """The derivations of one cohort under one protocol. Their rows are the patients of `cohort.patients`, in order."""

    def __init__(self, cohort: Cohort, protocol: Protocol, known: Exposure | None = None) -> None:
        self._given = cohort
        self.protocol = protocol
        self._known_exposure = known
        self._analysis_values: dict[str, AnalysisValues] = {}
        self._weeks: dict[str, dict[int, Ints]] = {}
        self._visits: dict[tuple[str, int], VisitValues] = {}
        self._points: dict[tuple[str, int], Floats] = {}
        self._flags: dict[str, Mapping[FlagCode, int]] = {}
        self._responses: dict[ResponseRule, ResponseVerdicts] = {}
        self._under: dict[str, DerivedStudy] = {}
        self._estimated: Kept = cohort.estimated

    @classmethod
    def of(cls, cohort: Cohort, protocol: Protocol) -> "DerivedStudy":
        """The study, which takes from the cohort what was kept with it."""
        study = DerivedStudy(cohort, protocol)
        if kept := cohort.derived.get(protocol.digest):
            study.know(kept[1])
        return study

    @property
    def given(self) -> Cohort:
        """The cohort as it was given: with scores as they were sent."""
        return self._given

    @property
    def others(self) -> "tuple[DerivedStudy, ...]":
        """The same cohort under the other protocols that were asked about."""
        return tuple(self._under.values())

    def known(self, names: Iterable[str]) -> Derivations:
        """What was derived until now; of the properties, those of these names."""
        for at in tuple(self._points):
            self.at_visit(*at)
        properties = {name: vars(self)[name] for name in names if name in vars(self)}
        return Derivations(properties, {**self._responses}, {**self._flags}, {**self._visits})

    def know(self, derived: Derivations) -> None:
        """Take derivations from where they are known: they are not computed again."""
        vars(self).update(derived.properties)
        self._responses.update(derived.responses)
        self._flags.update(derived.flags)
        self._visits.update(derived.visits)

    def estimated(
        self, estimate: Callable[Given, Estimate], *values: Given.args, **conventions: Given.kwargs
    ) -> Estimate:
        """What `estimate` makes of these values; it is not called for values that it had before."""
        return known_or_made(self._estimated, estimate, *values, **conventions)

    def with_values(self, cohort: Cohort) -> "DerivedStudy":
        """The study of a cohort that differs from this one only in values that do not decide which results and scores
        are kept. What is known here of records, visits and treatment is not derived again.
        """
        other = DerivedStudy(cohort, self.protocol, self.exposure)
        vars(other).update({name: vars(self)[name] for name in _WITHOUT_VALUES if name in vars(self)})
        for measure, records in self._analysis_values.items():
            if len(records.row) == len(records.day):
                other._analysis_values[measure] = replace(records, value=_sent(cohort, measure)[records.row])
                if measure in self._weeks:
                    other._weeks[measure] = self._weeks[measure]
        return other

    @cached_property
    def cohort(self) -> Cohort:
        """The cohort, with scores on the scales of the instruments."""
        return on_own_scales(self._given, self.protocol.sent_scales)

    @cached_property
    def values_sent(self) -> Mapping[str, int]:
        """How many results and scores were sent for each analyte and instrument that has any."""
        tables = ((LAB_CODES, self.cohort.labs.code), (ASSESSMENT_CODES, self.cohort.assessments.code))
        counted = [(codes, np.bincount(column, minlength=len(codes)).tolist()) for codes, column in tables]
        return {code: n for codes, counts in counted for code, n in zip(codes, counts, strict=True) if n}

    @cached_property
    def exposure(self) -> Exposure:
        """Day 0 and courses."""
        return self._known_exposure or exposure(self.cohort, self.protocol.treatment)

    @cached_property
    def courses(self) -> Courses:
        """Every course of every patient, one row for each course."""
        return courses(self.cohort, self.exposure)

    @cached_property
    def safety(self) -> Bools:
        """Patients with at least one infusion started."""
        return self.exposure.treated

    @cached_property
    def efficacy(self) -> Bools:
        """Patients of the safety set with an analysis value after day 0 of CK, MMT, ADL or another measure of the
        protocol.
        """
        after = np.zeros(len(self.cohort), dtype=np.bool_)
        for measure in self.protocol.measures:
            after |= self.analysis_values(measure).is_seen_after
        return self.safety & after

    @cached_property
    def left_out(self) -> tuple[tuple[ExclusionReason, Bools], ...]:
        """The reasons for not being in the efficacy set, each with its patients."""
        return (
            (ExclusionReason.NOT_TREATED, ~self.safety),
            (ExclusionReason.NO_VALUE_AFTER_BASELINE, self.safety & ~self.efficacy),
        )

    def analysis_values(self, measure: str) -> AnalysisValues:
        """The analysis values of an analyte or instrument."""
        if measure not in self._analysis_values:
            if measure in LAB_CODES:
                self._analysis_values[measure] = self._lab_records(measure)
            else:
                scale = self.protocol.scale(measure)
                self._analysis_values[measure] = score_records(self.cohort, self.exposure, measure, scale)
        return self._analysis_values[measure]

    def weeks(self, measure: str) -> dict[int, Ints]:
        """The row of each patient for week 0 (the baseline) and every declared week."""
        if measure not in self._weeks:
            self._weeks[measure] = visit_rows(
                self.analysis_values(measure), self.protocol.visits, self.protocol.baseline.exclude_older_than_days
            )
        return self._weeks[measure]

    def at_visit(self, measure: str, week: int) -> VisitValues:
        """The value of each patient at a week."""
        if (measure, week) not in self._visits:
            records, rows = self.analysis_values(measure), self.weeks(measure)[week]
            self._visits[measure, week] = visit_values(records, rows, self._points.pop((measure, week), None))
        return self._visits[measure, week]

    def at_week(self, measure: str, week: int) -> Floats:
        """The number that calculations use for each patient's value at a week, NaN for none."""
        if (measure, week) in self._visits:
            return self._visits[measure, week].point
        if (measure, week) not in self._points:
            self._points[measure, week] = self.analysis_values(measure).at(self.weeks(measure)[week])
        return self._points[measure, week]

    def flags(self, measure: str) -> Mapping[FlagCode, int]:
        """The flags of the analysis values of a measure."""
        if measure not in self._flags:
            self._flags[measure] = self.analysis_values(measure).flags
        return self._flags[measure]

    @cached_property
    def ck_known(self) -> Ints:
        """Normality of each CK record."""
        return normality(self.analysis_values("CK"))

    @cached_property
    def ck_undetermined(self) -> int:
        """The number of CK records of unknown normality."""
        return int((self.ck_known == UNKNOWN).sum())

    @property
    def ck_laboratories(self) -> Words:
        """The laboratory of each CK record."""
        laboratories: Words = self.cohort.labs.of("CK").lab[self.analysis_values("CK").row]
        return laboratories

    @cached_property
    def ck_draws(self) -> CkDraws:
        """What all CK records of each patient show."""
        rules = [declared.rule for declared in self.protocol.responses if declared.primary]
        windows = [general_form(rule).window for rule in rules if rule.measure == "CK"]
        until = max((judged_days(window, self.protocol.visits)[1] for window in windows), default=0)
        limit = self.at_visit("CK", 0).upper_limit
        records, lab = self.analysis_values("CK"), self.ck_laboratories
        return ck_draws(records, lab, self.ck_known, self.remission_episodes, limit, until)

    def response(self, rule: ResponseRule) -> ResponseVerdicts:
        """The verdict of one rule on every patient."""
        if rule not in self._responses:
            self._responses[rule] = self._judge(rule)
        return self._responses[rule]

    def judged_row(self, rule: ResponseRule) -> Ints:
        """The record of each patient that a response rule judges, the best of them where it judges several."""
        records = self.analysis_values(rule.measure)
        rows = judged_rows(general_form(rule).window, records, self.weeks(rule.measure))
        higher = rule.measure != "CK" and self.protocol.scale(rule.measure).better == "higher"
        return best_of(records.patient, records.size, rows, records.value[rows], higher=higher)

    def _judge(self, rule: ResponseRule) -> ResponseVerdicts:
        measure = rule.measure
        is_ck = measure == "CK"
        records = self.analysis_values(measure)
        known = self.ck_known if is_ck else np.zeros(len(records.day), dtype=np.int64)
        scale = None if is_ck else self.protocol.scale(measure)
        given = RuleInput(
            records,
            self.weeks(measure),
            known,
            scale,
            self.protocol.visits,
            self.safety,
            self.response_ended,
            self.left_out,
        )
        return response(rule, given)

    @cached_property
    def response_ended(self) -> Ints:
        """The day, from day 0, after which no value of a patient is a response: the first rescue or death under the
        strategy `composite`; `NO_TIME` for none.
        """
        if self.protocol.response_rescue == "treatment_policy":
            return np.full(len(self.cohort), NO_TIME)
        return earlier(self.rescues.treated, self.rescues.died)

    def _derive_from_ck(self, derive: Callable[[Chunk, AnalysisValues, Ints, Ints], Derived]) -> Derived:
        """Call `derive` for each chunk with its CK records, their normality and the baseline rows; join the results."""
        records, known, base = self.analysis_values("CK"), self.ck_known, self.weeks("CK")[0]
        return concatenated(
            derive(chunk, records.of_chunk(chunk), known[chunk.rows], chunk.local_rows(base))
            for chunk in chunks(records.patient, records.size)
        )

    def difference(self, measure: str, week: int) -> Floats:
        """The value at a week minus the baseline; NaN outside the efficacy set or where a value is missing."""
        return np.where(self.efficacy, difference(self.at_week(measure, week), self.at_week(measure, 0)), np.nan)

    def ck_at(self, week: int) -> Floats:
        """The CK at a week; NaN outside the efficacy set or where it is missing."""
        return np.where(self.efficacy, self.at_week("CK", week), np.nan)

    def ck_within(self, week: int) -> BoundedValues:
        """The same with the limits between which the true CK lies."""
        return self.at_visit("CK", week).within.unless(~self.efficacy)

    def core_set(self, declared: Composite) -> CoreSetCourse:
        """The six core set measures of every patient, at baseline and at the weeks that a definition judges."""
        weeks = judged_weeks(declared, self.protocol.visits.weeks)
        return core_set_course(
            declared.core_set, weeks, lambda code: (self.analysis_values(code), self.weeks(code)), self.protocol.scale
        )

    @cached_property
    def remission_episodes(self) -> RemissionEpisodes:
        """The first remission episode of each patient."""
        confirmed = self.protocol.ck_normal_time.sustained
        return self._derive_from_ck(
            lambda chunk, records, known, base: remission_episodes(
                records, known, base, chunk.masks(self.left_out), confirmed=confirmed
            )
        )

    @cached_property
    def first_normal(self) -> FirstNormal:
        """Days to the first normal CK."""
        return self._derive_from_ck(
            lambda chunk, records, known, base: time_to_first_normal(records, known, base, chunk.masks(self.left_out))
        )

    @cached_property
    def remission_intervals(self) -> RemissionIntervals:
        """The intervals between draws in which the first remission episode began and ended."""
        return remission_intervals(self.analysis_values("CK"), self.ck_known, self.remission_episodes)

    @cached_property
    def first_normal_intervals(self) -> FirstNormalIntervals:
        """The interval between draws in which CK first became normal."""
        return first_normal_intervals(self.analysis_values("CK"), self.ck_known, self.first_normal)

    @cached_property
    def rescues(self) -> Rescues:
        """The day of the first rescue treatment and of death."""
        return rescues(self.cohort, self.exposure, self.protocol.ck_normal_time)

    def outcomes(self, strategy: RescueStrategy) -> Outcomes:
        """What ended the first remission episode under one strategy for rescue."""
        return outcomes(self.remission_episodes, self.rescues, strategy)

    @cached_property
    def sustained(self) -> Sustained:
        """Normality and relapse that a second CK confirms."""
        return self._derive_from_ck(lambda _chunk, records, known, _base: sustained(records, known))

    @cached_property
    def days_normal(self) -> DaysNormal:
        """The days followed and the days with normal CK."""
        return self._derive_from_ck(lambda _chunk, records, known, base: days_normal(records, known, base))

    @cached_property
    def reactions(self) -> Reactions:
        """Adverse events on or after treatment."""
        return reactions(self.cohort, self.exposure, self.protocol.adverse_reactions)

    @cached_property
    def intercurrent_events(self) -> IntercurrentEvents:
        """Events after day 0 that change the meaning of later values."""
        return intercurrent_events(self.cohort, self.exposure, self.protocol.ck_normal_time)

    @cached_property
    def dosing(self) -> Dosing:
        """The reported glucocorticoid doses of each day, up to the last fact or the death of a patient. The end of an
        order was planned: nobody saw the patient until then.
        """
        periods = dose_periods(self.cohort, self.exposure)
        end = np.where(self.safety, self.follow_up_days - 1, NO_TIME)
        seen = periods.ended & ~periods.ordered
        np.maximum.at(end, periods.patient, np.where(seen, periods.stop - 1, periods.start))
        died = self.rescues.died
        end = np.where((died != NO_TIME) & (died >= 0), np.minimum(end, died), end)
        stopped = self.protocol.doses.after_last_period == "stopped"
        return dosing(periods, end, self.safety, stopped=stopped)

    def orders(self, *, steroids: bool) -> OrderCounts:
        """The orders of treated patients: of glucocorticoids, or of all drugs."""
        table = self.cohort.medications
        treated = self.exposure.treated[table.patient]
        return order_counts(self.cohort, treated & is_glucocorticoid(table.drug) if steroids else treated)

    def undecided(self, kind: PairKind) -> Ints:
        """How many pairs of facts of each patient count twice here until a person decides whether they are one."""
        return undecided_pairs(self.cohort, self.exposure, self.protocol.treatment, kind)

    @property
    def dosing_of_values(self) -> Dosing:
        """The doses on the days of values: those of each day."""
        return self.dosing

    def under(self, protocol: Protocol) -> "DerivedStudy":
        """The same cohort under another protocol."""
        digest = protocol.digest
        if digest not in self._under:
            self._under[digest] = DerivedStudy.of(self.cohort, protocol)
            self._under[digest]._estimated = self._estimated
        return self._under[digest]

    @cached_property
    def before_rescue(self) -> "DerivedStudy":
        """The same study without the values after the day of a patient's first rescue."""
        return DerivedStudy(until_rescue(self.cohort, self.exposure, self.intercurrent_events), self.protocol)

    @cached_property
    def run_in(self) -> RunIn:
        """The logarithms of the CK values on or before day 0, as far back as the protocol looks."""
        return self.run_in_of("CK")

    def run_in_of(self, measure: str) -> RunIn:
        """The values of a measure on or before day 0, as far back as the protocol looks; the logarithms of CK."""
        days = self.protocol.baseline.run_in_days
        return run_in(self.analysis_values(measure), self.weeks(measure)[0], days, logarithm=measure == "CK")

    def baseline_too_old(self, measure: str) -> Bools:
        """Whether the baseline of a measure is older than the protocol allows without a flag."""
        days = self.protocol.baseline.flag_older_than_days
        return self.at_visit(measure, 0).older_than(days)

    @cached_property
    def follow_up_days(self) -> Ints:
        """Days from day 0 to the last fact of a treated patient, both days counted; 0 for untreated patients.

        The last fact is the latest of all laboratory results, scores, infusions, adverse events and the end of
        participation. It is at most the day of death: nobody is at risk later. An adverse event that is dated later
        still counts, and is flagged.
        """
        last = np.where(self.safety, self.exposure.day0, NO_TIME)
        cohort = self.cohort
        for table in (cohort.labs, cohort.assessments, cohort.infusions, cohort.events):
            np.maximum.at(last, table.patient, table.day)
        last = np.maximum(last, self._ended)
        died = self.rescues.died
        last = np.where((died != NO_TIME) & (died >= 0), np.minimum(last, self.exposure.day0 + died), last)
        return np.where(self.safety, last - self.exposure.day0 + 1, 0)

    @cached_property
    def ended_before_treatment(self) -> int:
        """The number of treated patients whose participation ended before day 0, as it was sent."""
        return int((self.safety & (self._ended != NO_TIME) & (self._ended < self.exposure.day0)).sum())

    @cached_property
    def _ended(self) -> Ints:
        days = [NO_TIME if row.ended_day is None else row.ended_day for row in self.cohort.patients]
        return np.array(days, dtype=np.int64)

    def _lab_records(self, code: str) -> AnalysisValues:
        records = lab_records(self.cohort, self.exposure, code)
        if code != "CK" or self.protocol.upper_limit == "own":
            return records
        labs = self.cohort.labs.of("CK")
        return borrow_limits(records, labs.lab[records.row], labs, self.exposure.day0)


def _sent(cohort: Cohort, measure: str) -> Floats:
    """The values of a measure, in the order of the cohort's rows of its code."""
    labs, scores = cohort.labs, cohort.assessments
    found: Floats = (
        labs.value[labs.code == LAB_CODES.index(measure)]
        if measure in LAB_CODES
        else scores.score[scores.code == ASSESSMENT_CODES.index(measure)]
    )
    return found


_WITHOUT_VALUES = ("efficacy", "left_out", "rescues")
"""Derivations that read no value of a result or score."""
