"""Arithmetic that the estimates share: sums without rounding errors, quantiles, checks of arguments."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

NOISE = 2.0**-53
"""Half the distance between neighbouring floats, relative to their size."""
LARGEST = 1e100
"""Squares of larger values could overflow. Clinical values are far smaller."""


def sorted_values(values: ArrayLike) -> NDArray[np.float64]:
    """Return the values in ascending order, so that no result can depend on their order.

    A `ValueError` is raised if they are not one-dimensional, or if one is NaN, infinite or larger than 1e100.
    """
    given = np.asarray(values, dtype=np.float64)
    ordered = np.sort(given, axis=None)
    if given.ndim != 1 or not np.all(np.abs(ordered) <= LARGEST):
        raise ValueError("`values` must be one-dimensional and finite.")
    return ordered


def to_twelve_digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value to 12 significant digits, as `float(f"{x:.12g}")` gives it.

    A whole number below 2^53 times or by a power of ten up to 10^22 has one rounding only, that of the result. A value
    that is closer to the middle between two such numbers than its product can tell is written as text, and so are very
    large and very small ones.
    """
    size = np.abs(values)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shift = 11 - np.floor(np.log10(size))
        power = 10.0 ** np.clip(np.abs(shift), 0, 22)
        scaled = np.where(shift < 0, size / power, size * power)
        whole = np.rint(scaled)
        sure = (np.abs(shift) <= 22) & (scaled >= 1e11) & (scaled < 1e12) & (np.abs(scaled - whole) < 0.499)
        found = np.copysign(np.where(shift < 0, whole * power, whole / power), values)
    for place in np.flatnonzero(~sure & (size > 0)):
        found[place] = float(f"{values[place]:.12g}")
    return np.where(size > 0, found, values)


def check_level(level: float) -> None:
    """Raise a `ValueError` unless the confidence level lies between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError("`level` must be between 0 and 1, such as 0.95.")


def normal_quantile(level: float) -> float:
    """Return z with P(|Z| <= z) = level for a standard normal Z: 1.96 for 0.95."""
    check_level(level)
    return -NormalDist().inv_cdf((1 - level) / 2)


def mean_of(values: Sequence[float]) -> float:
    """Arithmetic mean of at least one value, from an exactly rounded sum.

    Values such as 0.1, 0.2 and -0.3 have the mean 0, though the sum of their floats is not 0: a
    mean smaller than the rounding error of the values counts as 0.
    """
    mean = math.fsum(values) / len(values)
    least, greatest = min(values), max(values)
    return mean if abs(mean) > NOISE * max(greatest, -least) else 0.0


def deviation_of(values: Sequence[float] | NDArray[np.float64], mean: float | None = None) -> float:
    """Standard deviation of at least two values, divisor n - 1, from an exactly rounded sum of squares.

    For equal values it is exactly 0. `mean` is `mean_of` the values, if it is known.
    """
    given = np.asarray(values, dtype=np.float64)
    if given.min() == given.max():
        return 0.0
    from_mean = given - (mean_of(given.tolist()) if mean is None else mean)
    return math.sqrt(math.fsum((from_mean * from_mean).tolist()) / (len(values) - 1))


def quantile_of(ordered: Sequence[float], fraction: float) -> float:
    """Quantile of at least one ascending value: type 7 of Hyndman and Fan (1996), the default of R and NumPy.

    It interpolates linearly between the neighbours of position (n - 1) x fraction, counted from 0; the median is the
    middle value, or the mean of the two middle ones.
    """
    position = (len(ordered) - 1) * fraction
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    weight = position - below
    return (1 - weight) * ordered[below] + weight * ordered[above]
