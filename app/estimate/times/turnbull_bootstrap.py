"""How far the median of interval-censored times would move if other patients of the same kind had been seen."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from app.estimate.results import Reason
from app.estimate.times.survival import HalfRule
from app.estimate.times.turnbull import (
    ACCEPTED,
    Floats,
    Intersections,
    Sample,
    intersections,
    maximise,
    median_interval,
    stabbing,
)

LARGEST = 1_000_000
"""Distinct intervals times resamples beyond which nothing is drawn: some seconds of work."""
ENOUGH = 1e-8
"""The largest excess at which the search for the estimate of a resample ends."""
STEPS_TOGETHER = 20
"""EM steps that all resamples take together before the first look at who has arrived."""


@dataclass(frozen=True, slots=True)
class BootstrapLimits:
    """The limits of the median, and how many resamples did not reach one; null limits have a reason."""

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
    where a median that is not reached has an infinite right end. The patients are numbered along the sorted intervals,
    so that the order they came in changes nothing.
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
    medians = _medians(sample, part, mass, rule, _drawn(sample, resamples, seed))
    if medians is None:
        return BootstrapLimits(None, None, None, Reason.NOT_CONVERGED)
    left, right = np.sort(medians, axis=0).T
    low, high = float(left[tail - 1]), float(right[-tail])
    not_reached = int(np.isinf(right).sum())
    if math.isinf(high):
        return BootstrapLimits(low, None, not_reached, Reason.NOT_REACHED)
    return BootstrapLimits(low, high, not_reached, None)


def _drawn(sample: Sample, resamples: int, seed: int) -> Floats:
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
    """The median of each resample, `None` if an estimate was not found.

    All take EM steps together, which is enough on a grid of visits. The others go on from there one by one, without the
    small masses that EM steps are slow to remove.
    """
    together, arrived = _together(part, mass, drawn)
    medians = []
    for column in range(drawn.shape[1]):
        inside = drawn[:, column] > 0
        own = intersections(sample.begin[inside], sample.end[inside], len(sample.points))
        reached = _cumulative(part, together[:, column], len(sample.points))
        found = reached[own.right] - reached[own.left]
        if not arrived[column]:
            found[found < 0.1 / len(found)] = 0
            start = found + 0.01 * stabbing(own)
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


def _together(part: Intersections, mass: Floats, drawn: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """EM steps of all resamples at once on the intersections of all patients, and which of them are at their maximum.

    Every intersection of a resample holds one of all patients, so the conditions checked here are those of the
    resample. A second and third round is worth while only where the one before brought most of them home.
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
