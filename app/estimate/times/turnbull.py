"""Turnbull's estimate, the nonparametric maximum likelihood of times known only to lie in (L, R]: the algorithm.

Only the maximal intersections of the intervals can carry mass (Peto 1973, Turnbull 1976): the (q, p] where q begins an
interval, p ends one and nothing begins or ends between. At every maximal intersection another interval begins, so the
matrix of intervals by intersections has full column rank, the likelihood is strictly concave in the masses, and the
estimate is unique. Each interval covers neighbouring intersections; sums over them are differences of cumulative
sums, so that a step costs as much as there are intervals and intersections.

Steps are those of the EM algorithm (self-consistency) and, because these are slow, Newton steps on the intersections
that carry mass and, between any two of them, the one with the greatest slope: non-negative least squares with the
masses adding up to 1 (Wang, J R Stat Soc B 2007;69:185; Dax 1990). No step lowers the likelihood.

The Kuhn-Tucker conditions show whether the maximum is reached: no intersection has a mean of [covered]/P(L < T <=
R) above 1. The largest excess times the number of patients bounds what the log-likelihood could still gain.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from app.estimate.results import Reason
from app.estimate.times.survival import HALF_TOLERANCE, HalfRule

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TARGET = 1e-10
"""The search ends at this excess; it also ends if rounding errors prevent any improvement."""
ACCEPTED = 1e-6
"""The largest excess with which a result is accepted as the estimate."""
MOST_STEPS = 300
LARGEST_SUPPORT = 1000
"""With more intersections in a Newton step, whose time grows with their cube, an EM step is used instead. EM steps
converge if most intervals are narrow; if they do not, the sample is too large. 100,000 patients on ten years of whole
days with visits a month apart have some 800.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The distinct intervals (points[begin], points[end]] in ascending order, and how many patients have each.

    `points` holds every limit once, ascending, with infinity if a patient is right-censored.
    """

    points: Floats
    begin: Ints
    end: Ints
    count: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Intersections:
    """The maximal intersections (points[left], points[right]], ascending; interval i covers those from `first[i]` up
    to, not including, `beyond[i]`, at least one.
    """

    left: Ints
    right: Ints
    first: Ints
    beyond: Ints

    def chances(self, mass: Floats) -> Floats:
        """P(L < T <= R) of each interval."""
        cumulative = np.zeros(len(mass) + 1)
        mass.cumsum(out=cumulative[1:])
        chances: Floats = cumulative[self.beyond] - cumulative[self.first]
        return chances

    def totals(self, amount: Floats) -> Floats:
        """For each intersection the sum of `amount` over the intervals that cover it."""
        size = len(self.left) + 1
        begun = np.bincount(self.first, amount, size) - np.bincount(self.beyond, amount, size)
        totals: Floats = begun.cumsum()[:-1]
        return totals


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The mass of each intersection, the log-likelihood and the largest excess over the Kuhn-Tucker bound."""

    mass: Floats
    log_likelihood: float
    excess: float


def distinct_intervals(left: Floats, right: Floats) -> Sample:
    """The distinct intervals (left, right] and their counts, which do not depend on the order of the patients."""
    order = np.lexsort((right, left))
    left, right = left[order], right[order]
    new = np.concatenate(([True], (left[1:] != left[:-1]) | (right[1:] != right[:-1])))
    starts = np.flatnonzero(new)
    points = np.unique(np.concatenate((left[starts], right[starts])))
    return Sample(
        points,
        np.searchsorted(points, left[starts]),
        np.searchsorted(points, right[starts]),
        np.diff(np.append(starts, len(left))),
    )


def intersections(begin: Ints, end: Ints, size: int) -> Intersections:
    """The maximal intersections of intervals whose limits are places among `size` points."""
    begins, ends = np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
    begins[begin] = True
    ends[end] = True
    used = np.flatnonzero(begins | ends)
    here = np.flatnonzero(begins[used[:-1]] & ends[used[1:]])
    left, right = used[here], used[here + 1]
    passed = np.zeros(size, dtype=np.int64)
    passed[right] = 1
    passed = np.cumsum(passed)
    return Intersections(left, right, passed[begin], passed[end])


def maximise(part: Intersections, count: Floats, start: Floats | None = None, target: float = TARGET) -> Fit:
    """The masses that maximise the likelihood of the intervals, each observed `count` > 0 times.

    `start` may be any masses that give every interval a positive probability. The method is that of Wang 2007 (above).
    """
    patients = float(count.sum())
    mass = hitting_set(part) if start is None else start
    chance = part.chances(mass)
    value = float(count @ np.log(chance))
    gradient = part.totals(count / chance) / patients
    for _ in range(MOST_STEPS):
        if gradient.max() - 1 <= target:
            break
        before, excess = value, gradient.max() - 1
        aim = _newton(part, count, mass, chance, gradient)
        mass, chance, value = _line_search(part, count, aim, gradient, (mass, chance, value))
        if value <= before:
            # Near the maximum the rise of the likelihood is smaller than its rounding error. The Kuhn-Tucker conditions
            # still show which masses are better.
            mass, chance = _smaller_excess(part, count, (aim, mass * gradient), excess, (mass, chance))
            value = float(count @ np.log(chance))
        gradient = part.totals(count / chance) / patients
        if value <= before and gradient.max() - 1 >= excess:
            break
    return Fit(mass, value, max(0.0, float(gradient.max() - 1)))


def median_interval(points: Floats, part: Intersections, mass: Floats, rule: HalfRule) -> tuple[float, float]:
    """The interval in which the curve falls to one half; infinite on the right if it does not.

    While S is one half between two masses, the rule is applied to the left ends and to the right ends. The open last
    interval is such a mass only for `not_reached`, so that the median then has no right end.
    """
    carrying = np.flatnonzero(mass > 0)
    lefts, rights = points[part.left[carrying]], points[part.right[carrying]]
    after = 1 - np.cumsum(mass[carrying])
    finite = np.isfinite(rights)
    crossed = np.flatnonzero(finite & (after < 0.5 + HALF_TOLERANCE))
    if not len(crossed):
        return float(lefts[-1]), math.inf
    seen = slice(crossed[0], len(finite) - int(not finite[-1] and rule.plateau != "not_reached"))
    survival = after[seen].tolist()
    last = float(points[-1] if math.isfinite(points[-1]) else points[-2])
    low = rule.crossing(list(zip(lefts[seen].tolist(), survival, strict=True)), last)
    high = rule.crossing(list(zip(rights[seen].tolist(), survival, strict=True)), last)
    if low is None or high is None:
        raise AssertionError("a curve that has crossed one half has a median")
    return low, high


def hitting_set(part: Intersections) -> Floats:
    """Equal masses on the fewest intersections that meet every interval: each interval then has a probability."""
    latest = np.full(len(part.left), -1, dtype=np.int64)
    np.maximum.at(latest, part.beyond - 1, part.first)
    chosen, last = [], -1
    for place, first in enumerate(latest.tolist()):
        if first > last:
            chosen.append(place)
            last = place
    mass = np.zeros(len(part.left))
    mass[chosen] = 1 / len(chosen)
    return mass


def _newton(part: Intersections, count: Floats, mass: Floats, chance: Floats, gradient: Floats) -> Floats:
    """The masses that maximise the second-order approximation of the log-likelihood about `mass`.

    Minimise |sqrt(count) (A/chance p - 2)| over p >= 0 adding up to 1, where A says which interval covers what. With 1
    = sum of p this is |P p| with P = sqrt(count) (A/chance - 2), and the method of Dax makes it a plain non-negative
    least squares problem: minimise |P x|^2 + (sum of x - 1)^2, then scale x to 1. Only its normal equations are
    computed.
    """
    from scipy.optimize import nnls

    places = _candidates(mass, gradient)
    size = len(places)
    if size > LARGEST_SUPPORT:
        return mass * gradient
    number = np.zeros(len(mass) + 1, dtype=np.int64)
    number[places + 1] = 1
    number = number.cumsum()
    covered = number[part.first] * size + number[part.beyond] - 1
    curvature = np.bincount(covered, count / chance**2, size * size).reshape(size, size)
    reaching = curvature.cumsum(axis=0)[:, ::-1].cumsum(axis=1)[:, ::-1] / count.sum()
    # Row k, column l sums over the intervals that begin at k or before and end at l or later. For k <= l these are the
    # intervals that cover both, as needed here.
    hessian = np.minimum(reaching, reaching.T)
    slope = gradient[places]
    normal = hessian - 2 * (slope[:, None] + slope) + 5
    aim = np.zeros(len(mass))
    try:
        kept = np.arange(size)
        solution = np.linalg.solve(normal, np.ones(size))
        while not solution.min() >= 0:
            kept = kept[solution > 0]
            solution = np.linalg.solve(normal[np.ix_(kept, kept)], np.ones(len(kept)))
        solution /= solution.sum()
        if slope[kept] @ solution <= 1:  # no rise: too many masses were removed
            root = np.linalg.cholesky(normal)
            kept, (solution, _) = np.arange(size), nnls(root.T, np.linalg.solve(root, np.ones(size)))
            solution /= solution.sum()
    except (np.linalg.LinAlgError, RuntimeError, ValueError):
        return mass * gradient
    aim[places[kept]] = solution
    return aim


def _candidates(mass: Floats, gradient: Floats) -> Ints:
    """The intersections with mass and, between any two of them, the one with the greatest slope if it is above 1."""
    carrying = mass > 0
    steepest = np.maximum.reduceat(gradient, np.concatenate(([0], carrying.nonzero()[0])))
    between = steepest[carrying.cumsum()]
    places: Ints = (carrying | ((gradient == between) & (gradient > 1))).nonzero()[0]
    return places


def _line_search(
    part: Intersections, count: Floats, aim: Floats, gradient: Floats, at: tuple[Floats, Floats, float]
) -> tuple[Floats, Floats, float]:
    """Move to `aim`, or half of the way, or a quarter ..., until the likelihood has risen enough (Armijo).

    At the maximum no interval has a probability below 1/patients. Masses that give one a far smaller probability are
    not tried, because the difference of cumulative sums would be a rounding error.
    """
    mass, _, value = at
    patients = count.sum()
    rise = float(patients * (gradient @ (aim - mass)))
    share = 1.0
    while share > 1e-6:
        mixed = aim if share == 1.0 else mass + share * (aim - mass)
        chance = part.chances(mixed)
        if chance.min() > 1e-3 / patients:
            found = float(count @ np.log(chance))
            if found > value and found >= value + 0.01 * share * rise:
                return mixed, chance, found
        share /= 2
    return at


def _smaller_excess(
    part: Intersections, count: Floats, offered: tuple[Floats, ...], excess: float, at: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """The first of the `offered` masses that reduces the largest excess, or else the current masses."""
    patients = count.sum()
    for mass in offered:
        chance = part.chances(mass)
        if chance.min() > 1e-3 / patients and part.totals(count / chance).max() / patients - 1 < 0.9 * excess:
            return mass, chance
    return at


LARGEST = 1_000_000
"""The largest number of distinct intervals times resamples: some seconds of work."""
ENOUGH = 1e-8
"""The largest excess at which the search for the estimate of a resample ends."""
STEPS_TOGETHER = 20
"""The EM steps for all resamples together before the first check which of them have converged."""


@dataclass(frozen=True, slots=True)
class BootstrapLimits:
    """The limits of the median, and the number of resamples that do not reach it. Null limits have a reason."""

    low: float | None
    high: float | None
    not_reached: int | None
    reason: Reason | None


def percentile_limits(
    sample: Sample, part: Intersections, mass: Floats, rule: HalfRule, level: float, resamples: int, seed: int
) -> BootstrapLimits:
    """Percentile limits (Efron) of the median of patients drawn with replacement, `mass` being the estimate of all.

    Each resample has its own maximal intersections and its own median (left, right]. With B resamples and k = floor((B
    + 1)(1 - level)/2), the lower limit is the k-th smallest left end and the upper limit the k-th largest right end,
    where a median that is not reached has an infinite right end. The patients are numbered in the order of the sorted
    intervals, so that their original order has no effect.
    """
    patients = int(sample.count.sum())
    tail = math.floor((resamples + 1) * (1 - Fraction(repr(level))) / 2)
    reasons = (
        (Reason.NO_EVENTS, not np.isfinite(sample.points[sample.end]).any()),
        (Reason.TOO_FEW_VALUES, patients < 2),
        (Reason.TOO_LARGE, len(sample.count) * resamples > LARGEST),
        (Reason.TOO_FEW_RESAMPLES, tail < 1),
    )
    for reason, holds in reasons:
        if holds:
            return BootstrapLimits(None, None, None, reason)
    medians = _medians(sample, part, mass, rule, _resample_counts(sample, resamples, seed))
    if medians is None:
        return BootstrapLimits(None, None, None, Reason.NOT_CONVERGED)
    left, right = np.sort(medians, axis=0).T
    low, high = float(left[tail - 1]), float(right[-tail])
    not_reached = int(np.isinf(right).sum())
    if math.isinf(high):
        return BootstrapLimits(low, None, not_reached, Reason.NOT_REACHED)
    return BootstrapLimits(low, high, not_reached, None)


def _resample_counts(sample: Sample, resamples: int, seed: int) -> Floats:
    """How often each distinct interval is in each resample: one column a resample."""
    interval = np.repeat(np.arange(len(sample.count)), sample.count)
    generator = np.random.default_rng(seed)
    drawn = np.empty((len(sample.count), resamples))
    for column in range(resamples):
        chosen = interval[generator.integers(len(interval), size=len(interval))]
        drawn[:, column] = np.bincount(chosen, minlength=len(sample.count))
    return drawn


def _medians(
    sample: Sample, part: Intersections, mass: Floats, rule: HalfRule, drawn: Floats
) -> list[tuple[float, float]] | None:
    """The median of each resample; `None` if one estimate did not converge.

    EM steps are computed for all resamples together. On a grid of visits they are enough. Other resamples continue one
    by one from there, without the small masses that EM steps remove slowly.
    """
    together, arrived = _em_steps(part, mass, drawn)
    medians = []
    for column in range(drawn.shape[1]):
        inside = drawn[:, column] > 0
        own = intersections(sample.begin[inside], sample.end[inside], len(sample.points))
        reached = _cumulative(part, together[:, column], len(sample.points))
        found = reached[own.right] - reached[own.left]
        if not arrived[column]:
            found[found < 0.1 / len(found)] = 0
            start = found + 0.01 * hitting_set(own)
            fit = maximise(own, drawn[inside, column], start / start.sum(), ENOUGH)
            if not fit.excess <= ACCEPTED:
                return None
            found = fit.mass
        medians.append(median_interval(sample.points, own, found / found.sum(), rule))
    return medians


def _cumulative(part: Intersections, mass: Floats, size: int) -> Floats:
    """The distribution function at each point, of masses that sit at the right ends of their intersections."""
    at_points = np.zeros(size)
    at_points[part.right] = mass
    cumulative: Floats = np.cumsum(at_points)
    return cumulative


def _em_steps(part: Intersections, mass: Floats, drawn: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """EM steps of all resamples at once on the intersections of all patients, and which of them are at their maximum.

    Every intersection of a resample holds one of all patients, so the conditions checked here are those of the
    resample. A second or third round follows only if most resamples converged in the round before.
    """
    size = len(mass)
    masses = np.repeat((0.9 * mass + 0.1 / size)[:, None], drawn.shape[1], axis=1)
    cumulative = np.zeros((size + 1, drawn.shape[1]))
    by_first, by_beyond = np.argsort(part.first, kind="stable"), np.argsort(part.beyond, kind="stable")
    firsts, first_rows = np.unique(part.first[by_first], return_index=True)
    beyonds, beyond_rows = np.unique(part.beyond[by_beyond], return_index=True)
    patients = drawn[:, 0].sum()
    excess = np.full(drawn.shape[1], np.inf)
    for step in range(3 * STEPS_TOGETHER):
        np.cumsum(masses, axis=0, out=cumulative[1:])
        weight = drawn / np.maximum(cumulative[part.beyond] - cumulative[part.first], 1e-300)
        begun = np.zeros_like(cumulative)
        begun[firsts] = np.add.reduceat(weight[by_first], first_rows, axis=0)
        begun[beyonds] -= np.add.reduceat(weight[by_beyond], beyond_rows, axis=0)
        gradient = np.cumsum(begun, axis=0)[:-1] / patients
        if step % STEPS_TOGETHER == STEPS_TOGETHER - 1:
            excess = gradient.max(axis=0) - 1
            arrived = np.mean(excess <= ENOUGH)
            if arrived < 0.5 or arrived == 1:
                break
        masses *= gradient
    return masses, excess <= ENOUGH
