"""What stands for the time before treatment, by every rule of the specification grid, and comparisons with it.

A mean is a computed number: its comparison with a value is decided by the decimals that were written wherever the
floats nearly tie, as in `exact.py`. The arithmetic mean is compared as S/n, the geometric one by its n-th power.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from app.derive.ck.ck_normal import NORMAL, UNKNOWN
from app.derive.exact import EXACT, at_most_zero, written
from app.derive.records import Records
from app.derive.segments import count_where, first_where, last_where, pick, pick_int
from app.protocol.specification import BaselineRule
from app.timeline.cohort import Bools, Floats, Ints

_NEARLY = 1e-10
"""Well above the rounding error of a mean, also of one taken over logarithms; what is nearer is decided exactly."""
_BOUNDED_ABOVE = (1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class BeforeDose:
    """One row per patient: the baseline by one rule, NaN where there is none.

    `normal` says that a CK is known to be within its upper limit, `unproven` that it is known only from above, so that
    no fall from it can be proved. `mean` holds what a mean was taken over.
    """

    value: Floats
    normal: Bools
    unproven: Bools
    mean: "Mean | None" = None

    @property
    def missing(self) -> Bools:
        """Whether a patient has no baseline."""
        return np.isnan(self.value)

    def at_most_zero(self, share: float, factor: float, values: Floats, constant: float = 0.0) -> Bools:
        """Whether share x baseline + factor x value + constant is zero or less, patient by patient, exactly.

        A patient without a baseline or a value is not at most zero. For a geometric mean the constant must be 0.
        """
        if self.mean is None:
            return at_most_zero((share, self.value), (factor, values), (constant, np.ones(len(values))))
        return self.mean.at_most_zero(self.value, share, factor, values, constant)


@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """What the mean of each patient was taken over: rows `start` to `stop` of the values before the dose, their `total`
    (of their logarithms, for a geometric mean), and whether they are whole numbers.
    """

    geometric: bool
    values: Floats
    start: Ints
    stop: Ints
    total: Floats
    whole: Bools

    def at_most_zero(self, mean: Floats, share: float, factor: float, values: Floats, constant: float) -> Bools:
        """See `BeforeDose.at_most_zero`."""
        terms = (share * mean, factor * values, np.full(len(values), constant))
        total = np.add.reduce(terms)
        answer: Bools = total <= 0
        near = np.abs(total) <= _NEARLY * np.add.reduce([np.abs(term) for term in terms])
        if not self.geometric:
            whole, sums = self._in_whole_numbers(share, factor, values, constant)
            answer[near & whole] = (sums <= 0)[near & whole]
            near &= ~whole
        for i in np.flatnonzero(near):
            rest = written(factor) * written(float(values[i])) + written(constant)
            answer[i] = self._exactly(int(i), written(share), rest)
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
        own = [written(float(value)) for value in self.values[self.start[patient] : self.stop[patient]]]
        if not self.geometric:
            return share * sum(own, Fraction(0)) / len(own) + rest <= 0
        bound, product = -rest / share, prod(own, start=Fraction(1))  # mean <= bound, or >= where the share is negative
        if share > 0:
            return bound >= 0 and product <= bound ** len(own)
        return bound <= 0 or product >= bound ** len(own)


def before_dose(
    records: Records, rule: BaselineRule, known: Ints, better: int, look_back_days: int | None
) -> BeforeDose:
    """The baseline of every patient by one rule.

    `known` is the normality of each CK record (all unknown for a score) and `better` 1 where higher values are better,
    -1 where lower ones are. The worst value is the highest CK or the worst score; of several equal ones the last, and a
    CK known only from above only where there is no other.
    """
    before = records.day <= 0
    if rule == "last_on_or_before_day_0":
        return _of_rows(records, last_where(records.patient, records.size, before), known)
    if look_back_days is not None:
        before = before & (records.day >= -look_back_days)
    if rule == "first_before_dose":
        return _of_rows(records, first_where(records.patient, records.size, before), known)
    if rule == "worst_before_dose":
        return _of_rows(records, _worst(records, before, better), known)
    return _mean(records, before, geometric=rule == "geometric_mean_before_dose")


def all_at(before: BeforeDose, score: float) -> Bools:
    """Whether a baseline is exactly this score, one end of its scale: a mean is where all its values are."""
    at: Bools = before.value == score
    if (mean := before.mean) is not None:
        others = np.concatenate([[0], np.cumsum(mean.values != score)])
        at = ~before.missing & (others[mean.stop] == others[mean.start])
    return at


def _of_rows(records: Records, rows: Ints, known: Ints) -> BeforeDose:
    unproven = np.isin(pick_int(records.comparator, rows, 0), _BOUNDED_ABOVE)
    return BeforeDose(pick(records.value, rows), pick_int(known, rows, UNKNOWN) == NORMAL, unproven)


def _worst(records: Records, before: Bools, better: int) -> Ints:
    rows = np.flatnonzero(before)
    proven = ~np.isin(records.comparator[rows], _BOUNDED_ABOVE)
    ranked = rows[np.lexsort((rows, -better * records.value[rows], proven, records.patient[rows]))]
    worst = np.full(records.size, -1, dtype=np.int64)
    worst[records.patient[ranked]] = ranked
    return worst


def _mean(records: Records, before: Bools, *, geometric: bool) -> BeforeDose:
    """The mean of all values; it is normal where it is known not to exceed the upper limit of the last of them."""
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
    found = BeforeDose(np.exp(centre) if geometric else centre, nowhere, nowhere, mean)
    limit = pick(records.upper_limit, last_where(records.patient, records.size, before))
    sign = records.comparator
    from_below = count_where(records.patient, records.size, before & (sign > 2)) > 0
    from_above = count_where(records.patient, records.size, before & np.isin(sign, _BOUNDED_ABOVE)) > 0
    within = found.at_most_zero(1, -1, limit)
    return BeforeDose(found.value, within & ~from_below, from_above, mean)
