"""The values that each patient lacks for each endpoint, and the days on which they should have been recorded.

An endpoint is out of reach of a patient if no further value can make the patient evaluable: CK normal at baseline, a
score at its best end, death before the days in question, CK that was seen abnormal last and never became normal (or,
where the protocol asks for it, never twice in a row), or no treatment. All other patients who are not evaluable
lack values that may be found in a record or measured later.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from app.derive.ck_normality import ABNORMAL, UNKNOWN
from app.derive.core_set import CoreSetCourse, enzyme_names
from app.derive.exact_comparison import ln_ratio
from app.derive.per_patient import any_where, count_where, first_where, included, last_where, pick_int
from app.derive.reasons import ExclusionReason
from app.derive.response import judged_rows
from app.derive.study import DerivedStudy
from app.derive.visits import confirming_week, judged_days, window
from app.protocol.criteria import VisitWindow
from app.protocol.endpoints import CriterionInWindow, ResponseRule, general_form
from app.protocol.improvement import CoreSet, ImprovementScore
from app.timeline.cohort import NO_TIME, Bools, Ints

Lacking = Literal["value", "upper_limit"]
Purpose = Literal["baseline", "window", "normality"]
EndpointName = Literal["response", "weekly_change", "ck_change", "ck_normal_time", "improvement_score"]
OUT_OF_REACH = frozenset(
    {
        ExclusionReason.NORMAL_AT_BASELINE,
        ExclusionReason.AT_SCALE_MAXIMUM,
        ExclusionReason.ZERO_BASELINE,
        ExclusionReason.NEVER_NORMAL,
        ExclusionReason.NEVER_SUSTAINED,
        ExclusionReason.ZERO_VALUE,
    }
)
"""Reasons that no value which is missing can change: they say what was seen."""


@dataclass(frozen=True, slots=True, eq=False)
class MissingValue:
    """A value of a measure that some patients lack, or the upper limit of a recorded value.

    `first` and `last` are the days on which it is needed, counted from day 0 of each patient, both included. `NO_TIME`
    means that there is no limit.
    """

    measure: str
    what: Lacking
    purpose: Purpose
    patients: Bools
    first: Ints
    last: Ints


@dataclass(frozen=True, slots=True, eq=False)
class EndpointStatus:
    """One endpoint: the evaluable patients, the patients who cannot become evaluable, and what the others lack."""

    name: EndpointName
    measure: str
    week: int | None
    evaluable: Bools
    out_of_reach: Bools
    missing: tuple[MissingValue, ...]


def endpoints(study: DerivedStudy) -> Iterator[EndpointStatus]:
    """Every primary response, every week of every weekly change, the before/after comparison, the time with normal CK
    and, where it is declared, every visit of the improvement score.
    """
    death = np.array(
        [row.ended_day if row.ended_reason == "died" and row.ended_day is not None else -NO_TIME
         for row in study.cohort.patients], dtype=np.int64,
    )  # fmt: skip
    died = np.where(death == -NO_TIME, death, death - study.exposure.day0)
    return (_while_alive(endpoint, died) for endpoint in _endpoints(study, died))


def _endpoints(study: DerivedStudy, died: Ints) -> Iterator[EndpointStatus]:
    for declared in study.protocol.responses:
        if declared.primary:
            yield _response(study, declared.rule)
    for measure in study.protocol.weekly_change.measures:
        for week in study.protocol.weekly_change.weeks:
            yield _weekly(study, measure, week)
    yield _ck_change(study)
    yield _normal_time(study, died)
    if study.protocol.improvement_score is not None:
        yield from _improvement(study, study.protocol.improvement_score)


def _while_alive(endpoint: EndpointStatus, died: Ints) -> EndpointStatus:
    """The endpoint with windows that end at death. It is out of reach of a patient who died before a window."""
    lost = endpoint.out_of_reach.copy()
    for lacked in endpoint.missing:
        lost |= lacked.patients & (lacked.first != NO_TIME) & (lacked.first > died)
    missing = tuple(
        replace(
            lacked,
            patients=lacked.patients & ~lost,
            last=np.where(
                died == -NO_TIME, lacked.last, np.where(lacked.last == NO_TIME, died, np.minimum(lacked.last, died))
            ),
        )
        for lacked in endpoint.missing
    )
    return replace(endpoint, out_of_reach=lost, missing=_with_patients(missing))


def _response(study: DerivedStudy, rule: ResponseRule) -> EndpointStatus:
    rule = general_form(rule).model_copy(update={"missing": "left_out"})
    verdict, records = study.response(rule), study.analysis_values(rule.measure)
    out_of_reach = _out_of_reach(verdict.reason)
    open_ = study.safety & ~verdict.evaluable & ~out_of_reach
    first, last = judged_days(rule.window, study.protocol.visits)
    seen = np.zeros(len(open_), dtype=np.bool_)
    seen[records.patient[judged_rows(rule.window, records, study.weeks(rule.measure))]] = True
    missing = [_baseline(study, rule.measure, open_), _value(study, rule.measure, open_ & ~seen, first, last)]
    if rule.measure == "CK":
        missing.append(_baseline_limit(study, open_))
    if rule.window.confirmed is not None:
        missing.append(_confirming_value(study, rule, verdict.reason))
    return EndpointStatus("response", rule.measure, None, verdict.evaluable, out_of_reach, _with_patients(missing))


def _confirming_value(
    study: DerivedStudy, rule: CriterionInWindow, reasons: Sequence[ExclusionReason | None]
) -> MissingValue:
    """The second value of patients with a value that meets the criterion and is not confirmed."""
    pending = np.array([reason == ExclusionReason.NO_CONFIRMING_VALUE for reason in reasons], dtype=np.bool_)
    if isinstance(rule.window, VisitWindow) and rule.window.confirmed == "next_visit":
        week = confirming_week(rule.window.week, study.protocol.visits)
        return _value(study, rule.measure, pending, *window(week, study.protocol.visits))
    records = study.analysis_values(rule.measure)
    last = last_where(records.patient, records.size, records.day > 0)
    after = pick_int(records.day, last, 0) + 1
    return MissingValue(rule.measure, "value", "window", pending, after, np.full(len(after), NO_TIME))


def _out_of_reach(reasons: Sequence[ExclusionReason | None]) -> Bools:
    return np.array([reason in OUT_OF_REACH for reason in reasons], dtype=np.bool_)


def _weekly(study: DerivedStudy, measure: str, week: int) -> EndpointStatus:
    evaluable = ~np.isnan(
        ln_ratio([study.ck_at(week)], [study.ck_at(0)]) if measure == "CK" else study.difference(measure, week)
    )
    rows = study.weeks(measure)
    out_of_reach = study.efficacy & ~evaluable & (rows[0] >= 0) & (rows[week] >= 0)
    open_ = study.safety & ~evaluable & ~out_of_reach
    missing = [_baseline(study, measure, open_), *_visit(study, measure, week, open_)]
    if week < 0:  # the efficacy set has a value after day 0
        missing.append(_value(study, measure, open_ & ~study.efficacy, 1, NO_TIME))
    return EndpointStatus("weekly_change", measure, week, evaluable, out_of_reach, _with_patients(missing))


def _ck_change(study: DerivedStudy) -> EndpointStatus:
    weeks, base = study.protocol.ck_change, study.ck_at(0)
    evaluable = ~np.isnan(ln_ratio([study.ck_at(weeks.after_week), study.ck_at(weeks.before_week)], [base, base]))
    rows = study.weeks("CK")
    there = np.logical_and.reduce([rows[week] >= 0 for week in (weeks.before_week, 0, weeks.after_week)])
    out_of_reach = study.efficacy & ~evaluable & there
    open_ = study.safety & ~evaluable & ~out_of_reach
    missing = (
        *_visit(study, "CK", weeks.before_week, open_),
        _baseline(study, "CK", open_),
        *_visit(study, "CK", weeks.after_week, open_),
    )
    return EndpointStatus("ck_change", "CK", None, evaluable, out_of_reach, _with_patients(missing))


def _normal_time(study: DerivedStudy, died: Ints) -> EndpointStatus:
    records, reasons = study.analysis_values("CK"), study.remission_episodes.reason
    patient, size = records.patient, records.size
    after, known = records.day > 0, study.ck_known != UNKNOWN
    ended_abnormal = pick_int(study.ck_known, last_where(patient, size, after & known), UNKNOWN) == ABNORMAL
    never = np.array([reason == ExclusionReason.NEVER_SUSTAINED for reason in reasons], dtype=np.bool_)
    evaluable, out_of_reach = included(reasons), _out_of_reach(reasons) | never & ended_abnormal
    open_ = study.safety & ~evaluable & ~out_of_reach
    first, last = (find(patient, size, after & ~known) for find in (first_where, last_where))
    seen = any_where(patient, size, after)
    blind = open_ & seen & ~any_where(patient, size, after & known)
    twice = study.protocol.ck_normal_time.sustained
    before_death = np.where(died == -NO_TIME, NO_TIME, died - 1) if twice else np.full(size, NO_TIME)
    missing = [
        _baseline(study, "CK", open_),
        _baseline_limit(study, open_),
        MissingValue("CK", "value", "window", open_ & ~seen, np.full(size, 1), before_death),
        MissingValue(
            "CK",
            "upper_limit",
            "normality",
            blind,
            pick_int(records.day, first, NO_TIME),
            pick_int(records.day, last, NO_TIME),
        ),
    ]
    if twice:
        alone = count_where(patient, size, after) == 1
        pending = ~seen | blind & alone | ~blind & ~ended_abnormal & (study.sustained.start == NO_TIME)
        begin = np.where(seen, pick_int(records.day, last_where(patient, size, after), 0) + 1, 2)
        missing.append(MissingValue("CK", "value", "window", open_ & pending, begin, np.full(size, NO_TIME)))
    return EndpointStatus("ck_normal_time", "CK", None, evaluable, out_of_reach, _with_patients(missing))


def _improvement(study: DerivedStudy, score: ImprovementScore) -> Iterator[EndpointStatus]:
    declared, course = score.core_set, study.core_set(score)
    nobody = np.zeros(len(study.cohort), dtype=np.bool_)
    codes = (
        declared.physician_global,
        declared.patient_global,
        declared.muscle_strength,
        declared.function,
        declared.extramuscular,
    )
    for column, week in enumerate(course.weeks):
        known = np.logical_and.reduce([each.known[:, column] for each in course.measures])
        open_ = study.safety & ~known
        missing = [lacked for code in codes for lacked in _scored(study, code, week, open_)]
        missing += _enzyme(study, declared, course, week, open_)
        yield EndpointStatus(
            "improvement_score", "core_set", week, known & study.safety, nobody, _with_patients(missing)
        )


def _scored(study: DerivedStudy, code: str, week: int, open_: Bools) -> tuple[MissingValue, ...]:
    return _baseline(study, code, open_), *_visit(study, code, week, open_)


def _enzyme(
    study: DerivedStudy, declared: CoreSet, course: CoreSetCourse, week: int, open_: Bools
) -> Iterator[MissingValue]:
    """The followed enzyme at the visit; where no enzyme is followed, any of the declared enzymes at baseline."""
    followed = enzyme_names(declared, course.enzyme)
    none = np.array([name is None for name in followed], dtype=np.bool_)
    first = declared.enzymes[0]
    any_value = np.logical_or.reduce([study.weeks(code)[0] >= 0 for code in declared.enzymes])
    day = pick_int(study.analysis_values(first).day, study.weeks(first)[0], NO_TIME)
    yield _value(study, first, open_ & none & ~any_value, _oldest(study), 0, "baseline")
    yield MissingValue(first, "upper_limit", "baseline", open_ & none & any_value & ~course.undecided, day, day)
    for code in declared.enzymes:
        mine, rows = open_ & (followed == code), study.weeks(code)[week]
        records = study.analysis_values(code)
        there = pick_int(records.day, rows, NO_TIME)
        limit = np.isnan(records.upper_limit)[np.maximum(rows, 0)] if len(records.day) else mine
        yield from _visit(study, code, week, mine)
        yield MissingValue(code, "upper_limit", "window", mine & (rows >= 0) & limit, there, there)


def _baseline(study: DerivedStudy, measure: str, open_: Bools) -> MissingValue:
    return _value(study, measure, open_ & (study.weeks(measure)[0] < 0), _oldest(study), 0, "baseline")


def _oldest(study: DerivedStudy) -> int:
    """The first day whose value may be a baseline."""
    days = study.protocol.baseline.exclude_older_than_days
    return NO_TIME if days is None else -days


def _baseline_limit(study: DerivedStudy, open_: Bools) -> MissingValue:
    """The upper limit of a baseline CK of unknown normality."""
    base = study.weeks("CK")[0]
    day = pick_int(study.analysis_values("CK").day, base, NO_TIME)
    hidden = open_ & (base >= 0) & (pick_int(study.ck_known, base, UNKNOWN) == UNKNOWN)
    return MissingValue("CK", "upper_limit", "baseline", hidden, day, day)


def _visit(study: DerivedStudy, measure: str, week: int, open_: Bools) -> tuple[MissingValue, ...]:
    """A value in the window of a week.

    The last value before treatment is the baseline and serves no other week. So if the baseline lies before the end of
    a window before treatment, a value in the window is not enough: a later baseline is needed too.
    """
    if week == 0:
        return (_baseline(study, measure, open_),)
    low, high = window(week, study.protocol.visits)
    lacking = open_ & (study.weeks(measure)[week] < 0)
    if week > 0:
        return (_value(study, measure, lacking, max(low, 1), high),)
    high = min(high, -1)
    base = pick_int(study.analysis_values(measure).day, study.weeks(measure)[0], NO_TIME)
    replaced = lacking & (base != NO_TIME) & (base <= high)
    return (
        _value(study, measure, lacking, low, high),
        _value(study, measure, replaced, high + 1, 0, "baseline"),
    )


def _value(
    study: DerivedStudy, measure: str, patients: Bools, first: int, last: int, purpose: Purpose = "window"
) -> MissingValue:
    size = len(study.cohort)
    return MissingValue(measure, "value", purpose, patients, np.full(size, first), np.full(size, last))


def _with_patients(missing: Iterable[MissingValue]) -> tuple[MissingValue, ...]:
    """The missing values that at least one patient lacks."""
    return tuple(lacked for lacked in missing if lacked.patients.any())
