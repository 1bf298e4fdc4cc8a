"""Sensitivity cases: a key result computed again under one changed choice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from app.analyses.answer import Definition
from app.analyses.sensitivity.key_results import KeyResult, response_result, week_result
from app.derive.exact_comparison import difference, ln_ratio
from app.derive.intercurrent_events import RESCUE
from app.derive.per_patient import any_where
from app.derive.run_in import SLOPE_DAYS, run_in, slopes
from app.derive.study import DerivedStudy
from app.protocol.endpoints import Response
from app.timeline.cohort import Bools, Floats, Ints

SENSITIVITY_CASES: dict[str, str] = {
    "main": "As the protocol declares it; the time with normal CK under `treatment_policy`.",
    "baseline_run_in_mean": "The baseline is the mean of all values on or before day 0, for CK the geometric "
    "mean; without regression to the mean if patients with one earlier value were chosen by its rise.",
    "baseline_earlier_mean": "The baseline is that mean without the last value; without regression to the mean if "
    "patients were chosen by the last value alone.",
    "slopes": "Slope of ln(CK) after treatment minus the slope before it, both per 28 days by least squares.",
    "complete_cases": "Only patients with a value at baseline and at every declared week.",
    "without_further_treatment": "Patients with a second course, a new immunosuppressant or more glucocorticoid by "
    "the end of the window are left out.",
    "while_on_treatment": "Values after the day of a second course, a new immunosuppressant or more glucocorticoid do "
    "not count; the last value up to that day stands for the week.",
    "without_comparators": "Patients with a value that was sent as `<x` or `>x` are left out of logarithms.",
    "bounds_substituted": "In logarithms `<x` counts as x/2 and `>x` as x, as in the cases with other values.",
}
"""Each sensitivity case with a sentence about it."""


@dataclass(frozen=True, slots=True, eq=False)
class SensitivityCase:
    """A key result under one changed choice; it is `comparable` with the main one where both have the same unit."""

    definition: Definition
    result: KeyResult
    comparable: bool = True


def sensitivity_cases(study: DerivedStudy, main: KeyResult) -> Iterator[SensitivityCase]:
    """Every case that applies to a key result, the main one first."""
    yield SensitivityCase(Definition(id="main", parameters={}), main)
    makers: dict[str, tuple[Callable[[DerivedStudy, KeyResult], Iterator[SensitivityCase]], ...]] = {
        "response-rates": (_without_further_treatment, _while_on_treatment),
        "weekly-change": (
            _other_baselines,
            _complete_cases,
            _without_further_treatment,
            _while_on_treatment,
            _without_comparators,
            _bounds_substituted,
        ),
        "ck-change": (
            _slopes,
            _without_further_treatment,
            _while_on_treatment,
            _without_comparators,
            _bounds_substituted,
        ),
        # Patients with a longer time have more opportunity for further treatment: to leave them out selects by outcome.
        "ck-normal-time": (),
    }
    for make in makers[main.analysis]:
        yield from make(study, main)


def _other_baselines(study: DerivedStudy, main: KeyResult) -> Iterator[SensitivityCase]:
    """The last value before day 0 was perhaps why a patient was treated that day; a mean of several is less extreme."""
    if main.week is None:
        return
    is_ck = main.scale == "ln"
    records, rows = study.analysis_values(main.measure), study.weeks(main.measure)
    before = run_in(records, rows[0], study.protocol.baseline.run_in_days, logarithm=is_ck)
    after = study.at_week(main.measure, main.week)
    level = np.log(np.where(after > 0, after, np.nan)) if is_ck else after
    for name, mean in (("baseline_run_in_mean", before.mean), ("baseline_earlier_mean", before.earlier_mean)):
        # Only patients of the main estimate, so that the two figures differ by the baselines only.
        values = np.where(main.included, level - mean, np.nan)
        definition = Definition(id=name, parameters={"mean": "geometric" if is_ck else "arithmetic"})
        yield SensitivityCase(definition, main.with_values(np.where(main.included & _is_rounding(values), 0.0, values)))


def _is_rounding(values: Floats) -> Bools:
    """Whether a difference is only rounding error, which a signed-rank test would rank."""
    small: Bools = np.abs(values) < 1e-12
    return small


def _slopes(study: DerivedStudy, main: KeyResult) -> Iterator[SensitivityCase]:
    weeks = study.protocol.ck_change
    periods = slopes(study.analysis_values("CK"), study.weeks("CK")[0], study.protocol.visits, weeks)
    values = np.where(study.efficacy, periods.after - periods.before, np.nan)
    days = {"before_days": [periods.first_day, 0], "after_days": [0, periods.last_day], "per_days": SLOPE_DAYS}
    values = np.where(_is_rounding(values), 0.0, values)
    same_unit = 7 * weeks.after_week == -7 * weeks.before_week == SLOPE_DAYS
    yield SensitivityCase(Definition(id="slopes", parameters=days), main.with_values(values), comparable=same_unit)


def _complete_cases(study: DerivedStudy, main: KeyResult) -> Iterator[SensitivityCase]:
    weeks = study.protocol.weekly_change.weeks
    values = [week_result(study, main.measure, week).values for week in weeks]
    complete: Bools = np.logical_and.reduce([~np.isnan(at_week) for at_week in values])
    yield SensitivityCase(
        Definition(id="complete_cases", parameters={"weeks": list(weeks)}), main.restricted_to(complete)
    )


def _without_further_treatment(study: DerivedStudy, main: KeyResult) -> Iterator[SensitivityCase]:
    treated_further = study.intercurrent_events.within(main.until, *RESCUE)
    yield SensitivityCase(
        _about_further_treatment("without_further_treatment", study, main), main.restricted_to(~treated_further)
    )


def _while_on_treatment(study: DerivedStudy, main: KeyResult) -> Iterator[SensitivityCase]:
    treated_further = study.intercurrent_events.within(main.until, *RESCUE)
    definition = _about_further_treatment("while_on_treatment", study, main)
    before = study.before_rescue
    if main.rule is not None:
        early = response_result(before, Response(rule=main.rule))
        values, judged = (np.where(treated_further, getattr(early, name), getattr(main, name))
                          for name in ("values", "judged"))  # fmt: skip
        yield SensitivityCase(definition, replace(main.with_values(values), judged=judged))
        return
    last = _last_point(before, main.measure, main.until)
    base = study.at_week(main.measure, 0)
    if main.analysis == "ck-change":
        earlier = study.ck_at(study.protocol.ck_change.before_week)
        values = ln_ratio([last, earlier], [base, base])
    else:
        values = ln_ratio([last], [base]) if main.scale == "ln" else difference(last, base)
    values = np.where(study.efficacy, values, np.nan)
    yield SensitivityCase(definition, main.with_values(np.where(treated_further, values, main.values)))


def _last_point(before: DerivedStudy, measure: str, until: Ints) -> Floats:
    """The last value after day 0 and not after the day `until`, NaN where there is none."""
    records = before.analysis_values(measure)
    chosen = (records.day > 0) & (records.day <= until[records.patient])
    rows = np.full(records.size, -1, dtype=np.int64)
    rows[records.patient[chosen]] = np.flatnonzero(chosen)
    return records.at(rows)


def _without_comparators(study: DerivedStudy, main: KeyResult) -> Iterator[SensitivityCase]:
    if main.scale != "ln" or main.week is None:
        return
    weeks = (0, main.week) if main.analysis == "weekly-change" else (study.protocol.ck_change.before_week, 0, main.week)
    records = study.analysis_values("CK")
    bound = np.zeros(len(study.cohort), dtype=np.bool_)
    for week in weeks:
        used = study.weeks("CK")[week]
        chosen = np.zeros(len(records.day), dtype=np.bool_)
        chosen[used[used >= 0]] = True
        bound |= any_where(records.patient, records.size, chosen & (records.comparator != 0))
    yield SensitivityCase(
        Definition(id="without_comparators", parameters={"weeks": list(weeks)}), main.restricted_to(~bound)
    )


def _bounds_substituted(_: DerivedStudy, main: KeyResult) -> Iterator[SensitivityCase]:
    """Only where there is a bound: elsewhere it is the main case."""
    if main.within is not None and main.within.bounded.any():
        yield SensitivityCase(Definition(id="bounds_substituted", parameters={}), replace(main, within=None))


def _about_further_treatment(name: str, study: DerivedStudy, main: KeyResult) -> Definition:
    """The definition of further treatment, with the window of all patients."""
    window = {"days": [0, int(main.until.max())]} if len(main.until) else {}
    declared = study.protocol.ck_normal_time.steroid_rescue is not None
    events = [event for event in RESCUE if declared or event != "steroid_rescue"]
    return Definition(id=name, parameters={"events": events, **window})
