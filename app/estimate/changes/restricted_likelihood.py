"""The restricted likelihood of a linear model with a random intercept for each patient, and its maximum.

Given the ratio r of the variance between patients to the residual one, the best coefficients and residual variance are
known in closed form (generalised least squares), so that only one number, r, must be searched. Laird and Ware,
Biometrics 38 (1982), 963; Bates, Maechler, Bolker and Walker, Journal of Statistical Software 67 (2015), section 3.4:
the constants are those of R `lme4::lmer(REML = TRUE)`.

The inverse covariance of a patient's n values, in units of the residual variance, does not change their
deviations from their mean and weights the mean by 1 / (1 + n r). So the search of r needs only sums of squares and
products within patients, and between patients with the same number of values: one pass over the values is enough.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOWEST, HIGHEST, TRIALS = 1e-8, 1e10, 145
"""The ratios above 0 at which the slope is computed, eight in each power of ten."""
STEPS, PARTS = 12, 33
"""The number of steps that narrow the interval in which the slope changes sign, each to a 32nd: to all digits."""
SAME = 1e-10
"""Columns are dependent within patients if their products have an eigenvalue below this share of the largest."""
ROUNDING = 1e-12
"""Deviations below this share of the largest value are rounding errors."""


@dataclass(frozen=True, eq=False)
class Maximum:
    """The best fit: p coefficients with standard errors, two variances in squared units, the log-likelihood."""

    coefficients: Floats
    standard_errors: Floats
    between: float
    within: float
    log_likelihood: float


@dataclass(frozen=True, eq=False)
class _Profile:
    """The best fit at each of k ratios."""

    coefficients: Floats
    """Shape (k, p), less the offset."""
    information: Floats
    """Shape (k, p, p), in units of the residual variance."""
    rest: Floats
    """Weighted residual sums of squares, shape (k,)."""
    height: Floats
    """Log-likelihood, shape (k,)."""
    slope: Floats
    """Its derivative by the ratio, shape (k,)."""


@dataclass(frozen=True, eq=False)
class RestrictedLikelihood:
    """The data that the likelihood needs: products of the p columns and, as the last column, of the values minus an
    offset.
    """

    values: int
    offset: Floats
    """Coefficients, shape (p,), subtracted from the values first, so that no sum of squares is a difference of large
    ones.
    """
    unit: float
    """The largest remaining value; all values are divided by it."""
    rounding: float
    """The rounding error as a share of that largest value."""
    within: Floats
    """Products of the deviations from the mean of their patient, shape (p + 1, p + 1)."""
    size: Floats
    """How many values some patients have, each number once, shape (s,)."""
    patients: Floats
    """How many patients have so many values, shape (s,)."""
    between: Floats
    """Products of these patients' means, times the number of their values, shape (s, p + 1, p + 1)."""

    @classmethod
    def from_values(cls, y: Floats, x: Floats, who: NDArray[np.int64]) -> "RestrictedLikelihood":
        """Build it from N values, N rows of p independent columns, and N ascending numbers of patients.

        The offset is the least squares fit within patients, so that the remaining values within patients are exact.
        """
        start = np.asarray(np.linalg.solve(x.T @ x, x.T @ y), dtype=np.float64)
        first = cls._around(y, x, who, start)
        more, *_ = np.linalg.lstsq(first.within[:-1, :-1], first.within[:-1, -1], rcond=SAME)
        return cls._around(y, x, who, np.asarray(start + first.unit * more, dtype=np.float64))

    @classmethod
    def _around(cls, y: Floats, x: Floats, who: NDArray[np.int64], offset: Floats) -> "RestrictedLikelihood":
        rest = y - x @ offset
        largest = float(np.max(np.abs(y), initial=0.0))
        unit = float(np.max(np.abs(rest), initial=0.0)) or 1.0
        table = np.column_stack((x, rest / unit))
        first = np.flatnonzero(np.diff(who, prepend=-1))
        count = np.diff(first, append=len(y))
        means = np.add.reduceat(table, first) / count[:, None]
        apart = table - np.repeat(means, count, axis=0)
        size, patients = np.unique(count, return_counts=True)
        between = np.array([n * means[count == n].T @ means[count == n] for n in size])
        return cls(
            len(y),
            offset,
            unit,
            ROUNDING * largest / unit,
            apart.T @ apart,
            size.astype(np.float64),
            patients.astype(np.float64),
            between,
        )

    @property
    def degrees_within(self) -> int:
        """Degrees of freedom of the residual variance.

        This is the number of values minus that of patients minus that of coefficients that can be estimated within
        patients.
        """
        rank = int(np.linalg.matrix_rank(self.within[:-1, :-1], rtol=SAME, hermitian=True))
        return self.values - int(self.patients.sum()) - rank

    @property
    def constant_within(self) -> bool:
        """Whether all patients have the same changes: within patients only rounding errors remain."""
        return float(self.within[-1, -1]) <= self.values * self.rounding**2

    def profile(self, ratio: Floats) -> _Profile:
        """The best fit at each ratio, shape (k,), each at least 0."""
        p, degrees = len(self.offset), self.values - len(self.offset)
        grown = 1 + ratio[:, None] * self.size
        products = self.within + np.tensordot(1 / grown, self.between, 1)
        turned = -np.tensordot(self.size / grown**2, self.between, 1)
        information, right = products[:, :p, :p], products[:, :p, p]
        solved = np.linalg.solve(information, np.concatenate((right[:, :, None], turned[:, :p, :p]), axis=2))
        coefficients = np.asarray(solved[:, :, 0], dtype=np.float64)
        rest = products[:, p, p] - (coefficients * right).sum(axis=1)
        residual = np.column_stack((-coefficients, np.ones(len(ratio))))
        steepness = np.einsum("ki,kij,kj->k", residual, turned, residual) / rest
        traces = np.trace(solved[:, :, 1:], axis1=1, axis2=2)
        shape = np.log(grown) @ self.patients + np.linalg.slogdet(information)[1]
        variance = 2 * math.pi * rest / degrees
        height = -(degrees * (np.log(variance) + 1 + 2 * math.log(self.unit)) + shape) / 2
        slope = -(degrees * steepness + (self.size / grown) @ self.patients + traces) / 2
        return _Profile(coefficients, information, rest, height, slope)

    def maximum(self) -> Maximum | None:
        """The highest maximum, of equal ones that with the smallest ratio; `None` if it is above the ratio `HIGHEST`.

        There is a maximum at 0 if the likelihood falls from 0 on, and wherever its slope changes from up to down.
        """
        trials = np.concatenate(([0.0], np.geomspace(LOWEST, HIGHEST, TRIALS)))
        slope = self.profile(trials).slope
        if slope[-1] > 0:
            return None
        tops = [0.0] if slope[0] <= 0 else []
        tops += [self._top(trials[k], trials[k + 1]) for k in np.flatnonzero((slope[:-1] > 0) & (slope[1:] <= 0))]
        ratio = np.array(tops)
        fits = self.profile(ratio)
        best = int(np.argmax(fits.height))
        variance = float(fits.rest[best]) / (self.values - len(self.offset))
        errors = np.sqrt(variance * np.diag(np.linalg.inv(fits.information[best])))
        within = variance * self.unit**2
        return Maximum(
            self.offset + self.unit * fits.coefficients[best],
            self.unit * errors,
            float(ratio[best]) * within,
            within,
            float(fits.height[best]),
        )

    def _top(self, low: float, high: float) -> float:
        """The ratio between `low` and `high` where the slope changes from up to down."""
        for _ in range(STEPS):
            parts = np.linspace(low, high, PARTS)
            up = self.profile(parts[1:-1]).slope > 0
            down = int(np.argmin(np.append(up, False))) + 1
            low, high = parts[down - 1], parts[down]
        return float(low + (high - low) / 2)
