"""Which patients responded, or were in remission, under every definition of a grid, for one measure at a time.

The values of each window and each baseline are computed once for all patients. A definition then only compares two
columns. So the cost is proportional to the records for each window, and to the patients for each definition.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from math import prod

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.ck_normality import ABNORMAL, NORMAL, UNKNOWN, normal_twice
from app.derive.exact_comparison import EXACT, as_written, at_most_zero
from app.derive.per_patient import any_where, count_where, first_where, last_where, pick, pick_int
from app.derive.response import confirming_rows, judged_rows
from app.derive.study import DerivedStudy
from app.derive.visits import before_treatment, judged_days
from app.protocol.criteria import (
    BestEnd,
    CkNormal,
    CkPercentOfBaseline,
    Criterion,
    DaysWindow,
    PercentBetter,
    PointsBetter,
    VisitWindow,
)
from app.protocol.specification import AnalysisSet, BaselineRule, Kind, MeasureGrid, Specification
from app.timeline.cohort import COMPARATORS, NO_TIME, Bools, Floats, Ints

_AT_LEAST = 3
"""Comparators from this number on (`>`, `>=`) allow any higher value, so they prove no fall."""


_NEARLY = 1e-10
"""Far above the rounding error of a mean, also of logarithms. Nearer values are compared exactly."""
_BOUNDED_ABOVE = (1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class BaselineValues:
    """One row per patient: the baseline by one rule, NaN for none.

    `abnormal`: CK is known to be above its upper limit. `unproven`: CK is known only as `<x` or `<=x`, so no fall from
    it can be proved. `mean` holds the values of which a mean was computed.
    """

    value: Floats
    abnormal: Bools
    unproven: Bools
    mean: "Mean | None" = None

    @property
    def missing(self) -> Bools:
        """Whether a patient has no baseline."""
        return np.isnan(self.value)

    def at_most_zero(self, share: float, factor: float, values: Floats, constant: float = 0.0) -> Bools:
        """Whether share x baseline + factor x value + constant is zero or less, for each patient, exactly.

        It is false for a patient without a baseline or a value. For a geometric mean the constant must be 0.
        """
        if self.mean is None:
            return at_most_zero((share, self.value), (factor, values), (constant, np.ones(len(values))))
        return self.mean.at_most_zero(self.value, share, factor, values, constant)


@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """The values of which the mean of each patient is computed: rows `start` to `stop` of the values before the dose.

    `total` is their sum (for a geometric mean, the sum of their logarithms). `whole` says whether all are whole
    numbers.
    """

    geometric: bool
    values: Floats
    start: Ints
    stop: Ints
    total: Floats
    whole: Bools

    def at_most_zero(self, mean: Floats, share: float, factor: float, values: Floats, constant: float) -> Bools:
        """See `BaselineValues.at_most_zero`."""
        terms = (share * mean, factor * values, np.full(len(values), constant))
        total = np.add.reduce(terms)
        answer: Bools = total <= 0
        near = np.abs(total) <= _NEARLY * np.add.reduce([np.abs(term) for term in terms])
        if not self.geometric:
            whole, sums = self._in_whole_numbers(share, factor, values, constant)
            answer[near & whole] = (sums <= 0)[near & whole]
            near &= ~whole
        for i in np.flatnonzero(near):
            rest = as_written(factor) * as_written(float(values[i])) + as_written(constant)
            answer[i] = self._exactly(int(i), as_written(share), rest)
        return answer

    def _in_whole_numbers(self, share: float, factor: float, values: Floats, constant: float) -> tuple[Bools, Floats]:
        """Where every term is a whole number, and the sum of the terms times n, which is then exact."""
        count = self.stop - self.start
        terms = (share * self.total, factor * values * count, constant * count)
        whole = self.whole & (values == np.rint(values)) & (np.add.reduce([np.abs(term) for term in terms]) < EXACT)
        whole &= float(share).is_integer() and float(factor).is_integer() and float(constant).is_integer()
        return whole, np.add.reduce(terms)

    def _exactly(self, patient: int, share: Fraction, rest: Fraction) -> bool:
        """Whether share x mean + rest is zero or less."""
        own = [as_written(float(value)) for value in self.values[self.start[patient] : self.stop[patient]]]
        if not self.geometric:
            return share * sum(own, Fraction(0)) / len(own) + rest <= 0
        bound, product = -rest / share, prod(own, start=Fraction(1))  # mean <= bound, or >= where the share is negative
        if share > 0:
            return bound >= 0 and product <= bound ** len(own)
        return bound <= 0 or product >= bound ** len(own)


def baseline_values(
    records: AnalysisValues,
    rule: BaselineRule,
    known: Ints,
    better: int,
    look_back_days: int | None,
    oldest_days: int | None = None,
) -> BaselineValues:
    """The baseline of every patient by one rule.

    `known` is the normality of each CK record (all unknown for a score). `better` is 1 where higher values are better,
    -1 where lower values are. The worst value is the highest CK or the worst score, and the last of equal values. A CK
    of `<x` or `<=x` is the worst value only if there is no other. The last value is a baseline if it is at most
    `oldest_days` old; the other rules look back `look_back_days`.
    """
    if rule == "last_on_or_before_day_0":
        recent = before_treatment(records, oldest_days)
        return _of_rows(records, last_where(records.patient, records.size, recent), known)
    before = records.day <= 0
    if look_back_days is not None:
        before = before & (records.day >= -look_back_days)
    if rule == "first_before_dose":
        return _of_rows(records, first_where(records.patient, records.size, before), known)
    if rule == "worst_before_dose":
        return _of_rows(records, _worst(records, before, better), known)
    return _mean(records, before, geometric=rule == "geometric_mean_before_dose")


def all_at(before: BaselineValues, score: float) -> Bools:
    """Whether a baseline is exactly this score, one end of its scale. A mean is if all its values are."""
    at: Bools = before.value == score
    if (mean := before.mean) is not None:
        others = np.concatenate([[0], np.cumsum(mean.values != score)])
        at = ~before.missing & (others[mean.stop] == others[mean.start])
    return at


def _of_rows(records: AnalysisValues, rows: Ints, known: Ints) -> BaselineValues:
    unproven = np.isin(pick_int(records.comparator, rows, 0), _BOUNDED_ABOVE)
    return BaselineValues(pick(records.value, rows), pick_int(known, rows, UNKNOWN) == ABNORMAL, unproven)


def _worst(records: AnalysisValues, before: Bools, better: int) -> Ints:
    rows = np.flatnonzero(before)
    proven = ~np.isin(records.comparator[rows], _BOUNDED_ABOVE)
    ranked = rows[np.lexsort((rows, -better * records.value[rows], proven, records.patient[rows]))]
    worst = np.full(records.size, -1, dtype=np.int64)
    worst[records.patient[ranked]] = ranked
    return worst


def _mean(records: AnalysisValues, before: Bools, *, geometric: bool) -> BaselineValues:
    """The mean of all values. It is abnormal if it is known to exceed the upper limit of the last value."""
    rows = np.flatnonzero(before)
    values, patient = records.value[rows], records.patient[rows]
    count = np.bincount(patient, minlength=records.size)
    stop = np.cumsum(count)
    with np.errstate(divide="ignore"):  # the logarithm of 0, whose geometric mean is 0
        terms = np.log(values) if geometric else values
    total: Floats = np.bincount(patient, weights=terms, minlength=records.size).astype(np.float64)
    fractions = np.bincount(patient[values != np.rint(values)], minlength=records.size)
    mean = Mean(geometric, values, stop - count, stop, total, fractions == 0)
    centre = total / np.where(count, count, np.nan)
    nowhere = np.zeros(records.size, dtype=np.bool_)
    found = BaselineValues(np.exp(centre) if geometric else centre, nowhere, nowhere, mean)
    limit = pick(records.upper_limit, last_where(records.patient, records.size, before))
    sign = records.comparator
    exceeds = count_where(records.patient, records.size, before & (sign == COMPARATORS[">"])) > 0
    from_above = count_where(records.patient, records.size, before & np.isin(sign, _BOUNDED_ABOVE)) > 0
    above = ~found.at_most_zero(1, -1, limit) & ~np.isnan(limit) | exceeds & found.at_most_zero(-1, 1, limit)
    return BaselineValues(found.value, above & ~from_above, from_above, mean)


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """One row per patient: whether a definition counts the patient (`evaluable`), whether the patient responded, and
    whether there were values to judge (`judged`): without them the patient may still count, as a non-responder.
    """

    evaluable: Bools
    responder: Bools
    judged: Bools


@dataclass(frozen=True, slots=True, eq=False)
class WindowValues:
    """The values of each patient in one window.

    `present`: there is a value. `best` is the best value, NaN for none (for CK, the lowest that is not a bound `>x`).
    The others are about CK. `best_or_normal` is `best`, where a normal value counts as better than any other and is NaN
    itself. `normal`: a value is normal. `sustained`: a value is normal, and so is the next CK of known normality.
    `known`: the normality of a value is known.

    Where the window asks for confirmation, each of them is about pairs of a value and the one that may confirm it; the
    worse value of a pair counts. `unconfirmed` is then about the values that no second one can confirm.
    """

    present: Bools
    best: Floats
    best_or_normal: Floats
    normal: Bools
    sustained: Bools
    known: Bools
    unconfirmed: "WindowValues | None" = None


class SpecificationVerdicts:
    """The verdicts of every definition of one measure."""

    def __init__(self, study: DerivedStudy, grid: MeasureGrid, look_back_days: int | None) -> None:
        self.study = study
        self.grid = grid
        self._look_back_days = look_back_days
        self._analysis_values = study.analysis_values(grid.measure)
        self._is_ck = grid.measure == "CK"
        self._known = study.ck_known if self._is_ck else np.full(len(self._analysis_values.day), UNKNOWN)
        self._scale = None if self._is_ck else study.protocol.scale(grid.measure)
        self._better = 1 if self._scale is not None and self._scale.better == "higher" else -1
        self._baselines: dict[BaselineRule, BaselineValues] = {}
        self._windows: dict[DaysWindow | VisitWindow, WindowValues] = {}

    def each(self, kind: Kind) -> Iterator[tuple[Specification, Verdicts]]:
        """Every definition of response or remission with its verdicts, in the order of the grid."""
        judged: tuple[Bools, Bools] | None = None
        before: tuple[object, ...] = ()
        for specification in self.grid.specifications(kind):
            parts = (specification.criterion, specification.window, specification.baseline)
            if judged is None or parts != before:
                judged, before = self._judge(specification), parts
            yield specification, self._counted(specification, *judged)

    def verdicts(self, specification: Specification) -> Verdicts:
        """The verdicts of one definition."""
        return self._counted(specification, *self._judge(specification))

    def _counted(self, specification: Specification, judged: Bools, satisfied: Bools) -> Verdicts:
        """Apply the analysis set and the rule for missing values to the judged patients."""
        members = self._members(specification.analysis_set)
        evaluable = members & judged if specification.missing == "left_out" else members
        return Verdicts(evaluable, members & judged & satisfied, members & judged)

    def _members(self, analysis_set: AnalysisSet) -> Bools:
        if analysis_set == "safety":
            return self.study.safety
        return self.study.efficacy if analysis_set == "efficacy" else self._complete

    @cached_property
    def _complete(self) -> Bools:
        """Patients of the efficacy set that every definition of the grid can judge."""
        complete = self.study.efficacy
        for criterion in (*self.grid.thresholds, *self.grid.remissions):
            for window in self.grid.windows:
                for baseline in self.grid.baselines:
                    complete = complete & self._judged(criterion, self._seen(window), self._before(baseline))
        return complete

    def _judge(self, specification: Specification) -> tuple[Bools, Bools]:
        """Which patients a criterion, window and baseline can judge, and which of them satisfy the criterion."""
        seen, before = self._seen(specification.window), self._before(specification.baseline)
        judged = self._judged(specification.criterion, seen, before)
        return judged, self._satisfied(specification.criterion, seen, before)

    def _judged(self, criterion: Criterion, seen: WindowValues, before: BaselineValues) -> Bools:
        """As for a declared rule: the patient has a baseline that can improve, and a value to judge."""
        judged = ~before.missing & seen.present
        if self._scale is None:
            judged &= before.abnormal
        else:
            judged &= ~all_at(before, self._best_end)
        if isinstance(criterion, PercentBetter | CkPercentOfBaseline):
            judged &= before.value != 0
        if isinstance(criterion, CkNormal):
            judged &= seen.known
        if seen.unconfirmed is not None:
            pending = self._satisfied(criterion, seen.unconfirmed, before) & ~self._satisfied(criterion, seen, before)
            judged &= ~pending | (self.study.response_ended != NO_TIME)
        return judged

    def _satisfied(self, criterion: Criterion, seen: WindowValues, before: BaselineValues) -> Bools:
        sign = self._better
        if isinstance(criterion, CkPercentOfBaseline):
            lowest = seen.best_or_normal if criterion.or_normal else seen.best
            fallen = before.at_most_zero(-criterion.percent_of_baseline, 100, lowest) & ~before.unproven
            return fallen | seen.normal if criterion.or_normal else fallen
        if isinstance(criterion, CkNormal):
            return seen.sustained if criterion.sustained else seen.normal
        if isinstance(criterion, BestEnd):
            ends = (sign, np.full(len(seen.best), self._best_end)), (-sign, seen.best)
            return at_most_zero(*ends, (-criterion.within_points, np.ones(len(seen.best))))
        if isinstance(criterion, PointsBetter):
            return before.at_most_zero(sign, -sign, seen.best, criterion.points)
        share = float(Decimal(repr(criterion.percent)) + 100 * sign)  # the decimal that a sum of floats may miss
        return before.at_most_zero(share, -100 * sign, seen.best)

    @property
    def _best_end(self) -> float:
        if self._scale is None:
            raise ValueError("a CK has no scale")
        return self._scale.maximum if self._better == 1 else self._scale.minimum

    def _before(self, rule: BaselineRule) -> BaselineValues:
        if rule not in self._baselines:
            self._baselines[rule] = baseline_values(
                self._analysis_values,
                rule,
                self._known,
                self._better,
                self._look_back_days,
                self.study.protocol.baseline.exclude_older_than_days,
            )
        return self._baselines[rule]

    def _seen(self, window: DaysWindow | VisitWindow) -> WindowValues:
        if window not in self._windows:
            self._windows[window] = self._window_values(window)
        return self._windows[window]

    def _window_values(self, window: DaysWindow | VisitWindow) -> WindowValues:
        records, weeks = self._analysis_values, self.study.weeks(self.grid.measure)
        rows = judged_rows(window, records, weeks)
        ended = self.study.response_ended
        failed = (ended != NO_TIME) & (ended <= judged_days(window, self.study.protocol.visits)[1])
        if window.confirmed is None:
            return self._of_rows(rows, rows, failed)
        second = confirming_rows(window, records, weeks, self.study.protocol.visits, rows)
        pair = second >= 0
        every, alone = self._of_rows(rows, rows, failed), self._of_rows(rows[~pair], rows[~pair], failed)
        pairs = self._of_rows(rows[pair], second[pair], failed)
        return replace(pairs, present=every.present, known=every.known, unconfirmed=alone)

    def _of_rows(self, rows: Ints, second: Ints, failed: Bools) -> WindowValues:
        """The values of some rows, each together with a second one, which may be itself. `failed` patients count as
        seen, because an intercurrent event decides on them.
        """
        records = self._analysis_values
        patient, ended = records.patient[rows], self.study.response_ended[records.patient]
        in_time = (ended == NO_TIME) | (records.day <= ended)
        usable = in_time & (records.comparator < _AT_LEAST)
        gain = np.where(usable, self._better * records.value, -np.inf)
        normal = in_time & (self._known == NORMAL)

        def some(marked: Bools) -> Bools:
            return any_where(patient, records.size, marked[rows] & marked[second])

        def best(of_each: Floats) -> Floats:
            found = np.full(records.size, -np.inf)
            np.maximum.at(found, patient, np.minimum(of_each[rows], of_each[second]))
            return np.where(np.isinf(found), np.nan, self._better * found)

        return WindowValues(
            present=(np.bincount(patient, minlength=records.size) > 0) | failed,
            best=best(gain),
            best_or_normal=best(np.where(normal, np.inf, gain)),
            normal=some(normal),
            sustained=some(in_time & self._sustained),
            known=some(self._known != UNKNOWN) | failed,
        )

    @cached_property
    def _sustained(self) -> Bools:
        return normal_twice(self._analysis_values, self._known)
