"""Which patients responded by a declared rule, and why the rule could not judge the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.ck_normality import NORMAL, not_abnormal_at_baseline
from app.derive.exact_comparison import at_most_zero
from app.derive.per_patient import any_where, first_reason, included, last_where, pick, pick_int
from app.derive.reasons import ExclusionReason, FlagCode
from app.derive.visits import confirming_week, judged_days
from app.protocol.criteria import CkPercentOfBaseline, DaysWindow, PercentBetter, PointsBetter, Threshold, VisitWindow
from app.protocol.endpoints import ResponseRule, general_form
from app.protocol.model import Visits
from app.protocol.parts import Scale
from app.timeline.cohort import NO_TIME, Bools, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class ResponseVerdicts:
    """One row per patient: `responder` is the verdict of the rule, `reason` says why it could not judge the patient.

    `reason` is None for `evaluable` patients. `judged` are those whose values decided; under `missing` `non_responder`
    the others are evaluable, too.
    """

    reason: tuple[ExclusionReason | None, ...]
    evaluable: Bools
    judged: Bools
    responder: Bools
    flags: Mapping[FlagCode, int]


@dataclass(frozen=True, slots=True, eq=False)
class RuleInput:
    """The data that a rule judges: the records of its measure, the rows of each week, the patients already excluded.

    `known` is the normality of each CK record; `scale` is None for CK. `rescued` is the day of the first rescue or of
    death where the protocol says that no later value is a response, else `NO_TIME`.
    """

    records: AnalysisValues
    weeks: Mapping[int, Ints]
    known: Ints
    scale: Scale | None
    visits: Visits
    treated: Bools
    rescued: Ints
    excluded: Sequence[tuple[ExclusionReason, Bools]]

    @property
    def base(self) -> Ints:
        """The baseline row of each patient."""
        return self.weeks[0]


def response(rule: ResponseRule, given: RuleInput) -> ResponseVerdicts:
    """The verdict of one rule on every patient.

    A `ValueError` is raised if the measure is a score and no scale is given.
    """
    form = general_form(rule)
    criterion = form.criterion
    rows = judged_rows(form.window, given.records, given.weeks)
    met, best_end = _satisfied(criterion, given, rows)
    size, seen = given.records.size, given.records.patient[rows]
    rescued = given.rescued != NO_TIME
    pending = np.zeros(size, dtype=np.bool_)
    if form.window.confirmed is not None:
        second = confirming_rows(form.window, given.records, given.weeks, given.visits, rows)
        confirmed = met & (second >= 0) & _satisfied(criterion, given, np.maximum(second, 0))[0]
        pending = any_where(seen, size, met & (second < 0)) & ~any_where(seen, size, confirmed) & ~rescued
        met = confirmed
    responder = any_where(seen, size, met)
    at_baseline = pick(given.records.value, given.base)
    failed = rescued & (given.rescued <= judged_days(form.window, given.visits)[1])
    checks = [*given.excluded]
    if given.scale is None:
        checks += not_abnormal_at_baseline(given.known, given.base)
    else:
        checks += (
            (ExclusionReason.NO_BASELINE, given.base < 0),
            (ExclusionReason.AT_SCALE_MAXIMUM, at_baseline == best_end),
        )
    if not isinstance(criterion, PointsBetter):
        checks.append((ExclusionReason.ZERO_BASELINE, at_baseline == 0))
    nothing = np.bincount(seen, minlength=size) == 0
    checks += (
        (ExclusionReason.NO_VALUE_IN_WINDOW, nothing & ~failed),
        (ExclusionReason.NO_CONFIRMING_VALUE, pending),
    )
    reason = first_reason(checks, size)
    evaluable = judged = included(reason)
    responder &= judged
    flags: dict[FlagCode, int] = {}
    if not isinstance(criterion, CkPercentOfBaseline):
        flags[FlagCode.NEAR_CEILING] = int((_near_ceiling(criterion, at_baseline, best_end) & evaluable).sum())
    if form.missing == "non_responder":
        flags[FlagCode.COUNTED_AS_NON_RESPONDER] = int((given.treated & ~evaluable).sum())
        reason = first_reason([(ExclusionReason.NOT_TREATED, ~given.treated)], size)
        evaluable = given.treated
    return ResponseVerdicts(reason, evaluable, judged, responder, flags)


def _near_ceiling(criterion: PointsBetter | PercentBetter, at_baseline: Floats, best_end: float) -> Bools:
    """Whether the best end of the scale is no further from the baseline than the improvement that the rule requires."""
    room = np.abs(best_end - at_baseline)
    if isinstance(criterion, PointsBetter):
        near = at_most_zero((1, room), (-1, criterion.points))
    else:
        near = at_most_zero((100, room), (-criterion.percent, at_baseline))
    flagged: Bools = near & (at_baseline != best_end)
    return flagged


def judged_rows(judged: DaysWindow | VisitWindow, records: AnalysisValues, weeks: Mapping[int, Ints]) -> Ints:
    """The rows that a criterion judges: the one of a visit, or all or the last of a window of days."""
    if isinstance(judged, VisitWindow):
        rows = weeks[judged.week]
    else:
        inside = (records.day >= judged.days[0]) & (records.day <= judged.days[1])
        if judged.value != "last":
            return np.flatnonzero(inside)
        rows = last_where(records.patient, records.size, inside)
    return rows[rows >= 0]


def confirming_rows(
    judged: DaysWindow | VisitWindow, records: AnalysisValues, weeks: Mapping[int, Ints], visits: Visits, rows: Ints
) -> Ints:
    """The row that may confirm each judged row, -1 for none: the patient's next one, or that of the next visit."""
    if isinstance(judged, VisitWindow) and judged.confirmed == "next_visit":
        return weeks[confirming_week(judged.week, visits)][records.patient[rows]]
    following = np.minimum(rows + 1, len(records.day) - 1)
    same = (following > rows) & (records.patient[following] == records.patient[rows])
    return np.where(same, following, -1)


def _satisfied(criterion: Threshold, given: RuleInput, rows: Ints) -> tuple[Bools, float]:
    """Whether each of these rows meets a criterion against its patient's baseline, and the best score of the scale."""
    records = given.records
    patient = records.patient[rows]
    value, base, rescued = records.value[rows], given.base[patient], given.rescued[patient]
    before = pick(records.value, base)
    in_time = (rescued == NO_TIME) | (records.day[rows] <= rescued)
    if isinstance(criterion, CkPercentOfBaseline):
        low_enough = at_most_zero((100, value), (-criterion.percent_of_baseline, before))
        # `<x` is compared as x, its least favourable value. `>x` proves no fall. A baseline of `<x` proves none either.
        unproven = (records.comparator[rows] >= 3) | np.isin(pick_int(records.comparator, base, 0), (1, 2))
        fallen = low_enough & ~unproven
        return (fallen | (given.known[rows] == NORMAL) if criterion.or_normal else fallen) & in_time, np.nan
    if given.scale is None:
        raise ValueError("a score is judged by the scale that the protocol declares")
    sign = 1 if given.scale.better == "higher" else -1
    best_end = given.scale.maximum if sign == 1 else given.scale.minimum
    if isinstance(criterion, PercentBetter):
        hundred = 100 * sign
        better = at_most_zero((criterion.percent, before), (-hundred, value), (hundred, before))
    else:
        better = at_most_zero((criterion.points, np.ones(len(before))), (sign, before), (-sign, value))
    return better & in_time, best_end
