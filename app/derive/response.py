"""Which patients responded by a declared rule, and why the rule could not judge the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.ck_normality import NORMAL
from app.derive.exact_comparison import at_most_zero
from app.derive.per_patient import any_where, first_reason, included, last_where, pick, pick_int
from app.derive.reasons import ExclusionReason, FlagCode
from app.protocol.endpoints import (
    CkDecreaseOrNormal,
    CkDecreaseOrNormalAtWeek,
    PercentAboveBaseline,
    PointsAboveBaseline,
    ResponseRule,
)
from app.protocol.parts import Scale
from app.timeline.cohort import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class ResponseVerdicts:
    """One row per patient: `responder` is the verdict of the rule, `reason` says why it could not judge the patient.

    `reason` is None for `evaluable` patients.
    """

    reason: tuple[ExclusionReason | None, ...]
    evaluable: Bools
    responder: Bools
    flags: Mapping[FlagCode, int]


@dataclass(frozen=True, slots=True, eq=False)
class RuleInput:
    """The data that a rule judges: the records of its measure, the rows of each week, the patients already excluded.

    `known` is the normality of each CK record; `scale` is None for CK.
    """

    records: AnalysisValues
    weeks: Mapping[int, Ints]
    known: Ints
    scale: Scale | None
    excluded: Sequence[tuple[ExclusionReason, Bools]]

    @property
    def base(self) -> Ints:
        """The baseline row of each patient."""
        return self.weeks[0]


def response(rule: ResponseRule, given: RuleInput) -> ResponseVerdicts:
    """The verdict of one rule on every patient.

    A `ValueError` is raised if the measure is a score and no scale is given.
    """
    chosen = chosen_rows(rule, given.records, given.weeks)
    seen = given.records.patient[chosen]
    satisfied, best_end = _satisfied(rule, given, chosen)
    size, base = given.records.size, given.base
    at_baseline = pick(given.records.value, base)
    checks = [*given.excluded, (ExclusionReason.NO_BASELINE, base < 0)]
    flags: dict[FlagCode, int] = {}
    if given.scale is None:
        checks.append((ExclusionReason.NORMAL_AT_BASELINE, pick_int(given.known, base, 0) == NORMAL))
    else:
        checks.append((ExclusionReason.AT_SCALE_MAXIMUM, at_baseline == best_end))
    if not isinstance(rule, PointsAboveBaseline):
        checks.append((ExclusionReason.ZERO_BASELINE, at_baseline == 0))
    checks.append((ExclusionReason.NO_VALUE_IN_WINDOW, np.bincount(seen, minlength=size) == 0))
    reason = first_reason(checks, size)
    evaluable = included(reason)
    if not isinstance(rule, CkDecreaseOrNormal | CkDecreaseOrNormalAtWeek):
        flags[FlagCode.NEAR_CEILING] = int((_near_ceiling(rule, at_baseline, best_end) & evaluable).sum())
    responder = any_where(seen, size, satisfied)
    return ResponseVerdicts(reason, evaluable, responder & evaluable, flags)


def _near_ceiling(rule: PointsAboveBaseline | PercentAboveBaseline, at_baseline: Floats, best_end: float) -> Bools:
    """Whether the best end of the scale is no further from the baseline than the improvement that the rule requires."""
    room = np.abs(best_end - at_baseline)
    if isinstance(rule, PointsAboveBaseline):
        near = at_most_zero((1, room), (-1, rule.points))
    else:
        near = at_most_zero((100, room), (-rule.percent, at_baseline))
    flagged: Bools = near & (at_baseline != best_end)
    return flagged


def chosen_rows(rule: ResponseRule, records: AnalysisValues, weeks: Mapping[int, Ints]) -> Ints:
    """The rows that a rule judges: those of a visit, or all or the last of a window of days."""
    if isinstance(rule, PercentAboveBaseline | CkDecreaseOrNormalAtWeek):
        rows = weeks[rule.week]
    else:
        window = (records.day >= rule.days[0]) & (records.day <= rule.days[1])
        if rule.value == "best":
            return np.flatnonzero(window)
        rows = last_where(records.patient, records.size, window)
    return rows[rows >= 0]


def _satisfied(rule: ResponseRule, given: RuleInput, rows: Ints) -> tuple[Bools, float]:
    """Whether each of these rows satisfies a rule against its patient's baseline, and the best score of the scale."""
    records = given.records
    value, base = records.value[rows], given.base[records.patient[rows]]
    before = pick(records.value, base)
    if isinstance(rule, CkDecreaseOrNormal | CkDecreaseOrNormalAtWeek):
        low_enough = at_most_zero((100, value), (-rule.percent_of_baseline, before))
        # `<x` is compared as x, its least favourable value. `>x` proves no fall. A baseline of `<x` proves none either.
        unproven = (records.comparator[rows] >= 3) | np.isin(pick_int(records.comparator, base, 0), (1, 2))
        return (given.known[rows] == NORMAL) | low_enough & ~unproven, np.nan
    if given.scale is None:
        raise ValueError("a score is judged by the scale that the protocol declares")
    sign = 1 if given.scale.better == "higher" else -1
    best_end = given.scale.maximum if sign == 1 else given.scale.minimum
    if isinstance(rule, PercentAboveBaseline):
        hundred = 100 * sign
        return at_most_zero((rule.percent, before), (-hundred, value), (hundred, before)), best_end
    return at_most_zero((rule.points, _ones(before)), (sign, before), (-sign, value)), best_end


def _ones(like: Floats) -> Floats:
    return np.ones(len(like), dtype=np.float64)
