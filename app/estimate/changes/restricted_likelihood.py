"""The restricted likelihood of visits with an unstructured covariance, its maximum, Satterthwaite's degrees of freedom.

Each group of patients has a mean for each visit; all share one covariance of the visits, which may be any matrix with
an inverse. The likelihood of a patient is that of the visits that were seen. Laird and Ware, Biometrics 38 (1982), 963;
Jennrich and Schluchter, Biometrics 42 (1986), 805: REML as R `nlme::gls(correlation = corSymm(form = ~ visit | id),
weights = varIdent(form = ~ 1 | visit))`, with the constants of `lme4`.

Patients of one group who were seen at the same visits enter only by their number, mean and products, so the cost of
a step does not grow with their number. All arrays begin with an axis of b cohorts, which are fitted at the same time.
Letters: k patterns (a group, and the visits seen), g groups, v visits, q = v (v + 1) / 2 parameters of the covariance.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

STEPS = 200
"""Steps after which the search has failed."""
GAIN = 1e-12
"""The search makes its last step when that step of Newton adds less than this to the log-likelihood."""
PARTS = (1.0, 0.5, 0.25, 0.125)
"""Parts of a step of Newton that are tried."""
SINGULAR = 1e-8
"""A covariance has no inverse if an eigenvalue of its correlations is below this; an information if its smallest
eigenvalue is below this share of the largest."""
ROUNDING = 1e-12
"""Standard deviations below this share of the largest value are rounding errors."""


@dataclass(frozen=True, eq=False)
class Patterns:
    """The values of b cohorts, in units of the standard deviation of their visit, around its mean."""

    seen: Bools
    """Which visits the patients of a pattern have, shape (k, v)."""
    group: Bools
    """The group of a pattern, shape (g, k)."""
    count: Floats
    """Patients, shape (b, k)."""
    mean: Floats
    """Their means, shape (b, k, v), 0 where not seen."""
    product: Floats
    """Sums of the products of their deviations from these means, shape (b, k, v, v)."""
    centre: Floats
    """The mean of each visit, shape (b, v)."""
    unit: Floats
    """The standard deviation of each visit, shape (b, v); 0 where its values are equal."""

    @classmethod
    def of_values(cls, values: Floats, group: NDArray[np.int64]) -> "Patterns":
        """Build it from values of shape (b, n, v), NaN where missing, and the groups 0, 1, ... of the n patients.

        Each visit has a value in each group of each cohort.
        """
        seen = ~np.isnan(values)
        known = np.where(seen, values, 0.0)
        number = seen.sum(axis=1)
        centre = known.sum(axis=1) / number
        apart = np.where(seen, values - centre[:, None], 0.0)
        unit = np.sqrt((apart**2).sum(axis=1) / number)
        unit = np.where(unit > ROUNDING * np.abs(known).max(axis=1), unit, 0.0)
        apart /= np.where(unit > 0, unit, 1.0)[:, None]
        codes = seen @ (1 << np.arange(values.shape[2])) + (group << values.shape[2])
        patterns = np.unique(codes[seen.any(axis=2)])
        members = (codes[:, None] == patterns[:, None]).astype(np.float64)
        count = members.sum(axis=2)
        mean = (members @ apart) / np.maximum(count, 1.0)[:, :, None]
        product = np.empty((*mean.shape, values.shape[2]))
        for k in range(len(patterns)):
            rest = (apart - mean[:, k, None]) * members[:, k, :, None]
            product[:, k] = rest.swapaxes(1, 2) @ rest
        visits = (patterns[:, None] >> np.arange(values.shape[2])) & 1 == 1
        sides = patterns >> values.shape[2] == np.arange(int(group.max(initial=0)) + 1)[:, None]
        return cls(visits, sides, count, mean, product, centre, unit)

    def together(self) -> Floats:
        """The covariance of each two visits, from the patients who were seen at both, shape (b, v, v)."""
        products = (self.product + _times(self.count, self.mean[..., :, None] * self.mean[..., None, :])).sum(axis=1)
        both = self.seen[:, :, None] & self.seen[:, None, :]
        return np.asarray(products / np.maximum(np.tensordot(self.count, both.astype(np.float64), 1), 1.0))

    def of_cohorts(self, chosen: Bools) -> "Patterns":
        """The chosen cohorts."""
        return Patterns(
            self.seen,
            self.group,
            self.count[chosen],
            self.mean[chosen],
            self.product[chosen],
            self.centre[chosen],
            self.unit[chosen],
        )


@dataclass(frozen=True, eq=False)
class _Point:
    """The restricted likelihood at one covariance for each cohort."""

    inverse: Floats
    """Inverse covariance of the visits of each pattern, 0 elsewhere, shape (b, k, v, v)."""
    spread: Floats
    """Covariance of the means of each group, shape (b, g, v, v)."""
    means: Floats
    """Means, shape (b, g, v)."""
    pull: Floats
    """The inverse covariance times the sum of residuals, shape (b, k, v)."""
    outer: Floats
    """The inverse covariance times the products of residuals times the inverse covariance, shape (b, k, v, v)."""
    height: Floats
    """Log-likelihood, shape (b,)."""

    @classmethod
    def of(cls, data: Patterns, covariance: Floats) -> "_Point":
        both = data.seen[:, :, None] & data.seen[:, None, :]
        blocks = np.where(both, covariance[:, None], np.eye(data.seen.shape[1]))
        inverse = np.where(both, np.linalg.inv(blocks), 0.0)
        weighted = data.count[:, :, None, None] * inverse
        side = data.group.astype(np.float64)
        information = np.einsum("gk,bkvw->bgvw", side, weighted)
        spread = np.linalg.inv(information)
        right = np.einsum("gk,bkvw,bkw->bgv", side, weighted, data.mean)
        means = (spread @ right[..., None])[..., 0]
        rest = np.where(data.seen, data.mean - np.einsum("gk,bgv->bkv", side, means), 0.0)
        products = data.product + data.count[:, :, None, None] * rest[..., :, None] * rest[..., None, :]
        values = data.count @ data.seen.sum(axis=1)
        height = (
            -(values - side.shape[0] * data.seen.shape[1]) * math.log(2 * math.pi)
            - (data.count * np.linalg.slogdet(blocks)[1]).sum(axis=1)
            - np.linalg.slogdet(information)[1].sum(axis=1)
            - np.einsum("bkvw,bkvw->b", inverse, products)
        ) / 2
        pull = (weighted @ rest[..., None])[..., 0]
        return cls(inverse, spread, means, pull, inverse @ products @ inverse, height)

    def slope(self, data: Patterns) -> Floats:
        """Twice the derivative of the log-likelihood by the covariance, shape (b, v, v)."""
        return np.asarray((self.outer + self._known(data) - _times(data.count, self.inverse)).sum(axis=1))

    def information(self, data: Patterns, basis: Floats) -> Floats:
        """The observed information of the q parameters: minus the second derivatives, shape (b, q, q).

        With V = the covariance of all values, P = V^-1 - V^-1 X (X' V^-1 X)^-1 X' V^-1, and E and F = the derivatives
        of V by two parameters, this is y' P E P F P y - tr(P E P F) / 2.
        """
        v = self.inverse.shape[-1]
        inner = self.outer + self._known(data) - _times(data.count, self.inverse) / 2
        total = basis.T @ _kronecker(self.inverse, inner) @ basis
        weighted = _times(data.count, self.inverse)
        for g, side in enumerate(data.group):
            spread = self.spread[:, g]
            moved = _kronecker(self.inverse[:, side], weighted[:, side]) @ basis
            # The rows of `moved` are (second, first) index of the turned matrix, which is symmetric.
            turned = moved.reshape(*moved.shape[:1], v, v, -1)
            left = np.einsum("bvw,bwxq,bxy->bvyq", spread, turned, spread, optimize=True)
            total -= np.einsum("bvyq,bvyr->bqr", left, turned, optimize=True) / 2
            pulled = np.einsum("bkvw,bkx->bvwx", self.inverse[:, side], self.pull[:, side], optimize=True)
            pulled = pulled.reshape(len(pulled), v, v * v) @ basis
            total -= pulled.swapaxes(1, 2) @ spread @ pulled
        return np.asarray((total + total.swapaxes(1, 2)) / 2)

    def _known(self, data: Patterns) -> Floats:
        """What the estimated means take away: the inverse covariance times that of the means, on both sides."""
        spread = np.einsum("gk,bgvw->bkvw", data.group.astype(np.float64), self.spread)
        return _times(data.count, self.inverse @ spread @ self.inverse)


@dataclass(frozen=True, eq=False)
class Maximum:
    """The best fit of each cohort, in the unit of the values. Where `converged` is false, the numbers mean nothing."""

    covariance: Floats
    """Shape (b, v, v)."""
    means: Floats
    """Shape (b, g, v)."""
    log_likelihood: Floats
    """Shape (b,)."""
    converged: Bools
    """Whether the search ended at a maximum, shape (b,)."""
    singular: Bools
    """Whether it ended because the best covariance has no inverse, shape (b,)."""
    data: Patterns
    point: _Point
    information: Floats

    def contrasts(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Estimate, standard error and degrees of freedom of m sums of means, each of shape (b, m).

        The `weights` of the means have the shape (m, g, v). Satterthwaite's degrees of freedom are 2 V^2 / (d' I^-1 d)
        for the variance V of the sum, its derivatives d by the parameters of the covariance, and their observed
        information I. Fai and Cornelius, J Statist Comput Simul 54 (1996), 363; R `lmerTest`, and `emmeans` of `gls`.
        """
        basis = _basis(weights.shape[2])
        scaled = weights * self.data.unit[:, None, None, :]
        known = np.einsum("bmgv,bgvw->bmgw", scaled, self.point.spread)
        variance = np.einsum("bmgv,bmgv->bm", known, scaled)
        at = np.einsum("gk,bmgv,bkvw->bkmw", self.data.group.astype(np.float64), known, self.point.inverse)
        slope = np.einsum("bk,bkmv,bkmw->bmvw", self.data.count, at, at, optimize=True)
        slope = slope.reshape(*slope.shape[:2], -1) @ basis
        spread = np.zeros(variance.shape)
        done = self.converged
        solved = np.linalg.solve(self.information[done], slope[done].swapaxes(1, 2)).swapaxes(1, 2)
        spread[done] = (solved * slope[done]).sum(axis=2)
        estimate = np.einsum("mgv,bgv->bm", weights, self.means)
        with np.errstate(divide="ignore", invalid="ignore"):
            return estimate, np.sqrt(variance), 2 * variance**2 / spread


def maximum(data: Patterns) -> Maximum:
    """Find the best fit of each cohort.

    A step is Newton's, or a part of it, where that leads upwards to a covariance with an inverse, and else one of
    expectation and maximisation, which always does. The search starts at the covariance of each two visits where both
    were seen, if that has an inverse, and else without correlations. It ends where Newton's step gains next to nothing
    and the information is positive definite.
    """
    basis = _basis(data.seen.shape[1])
    b, v = data.centre.shape
    covariance = data.together()
    alone = np.eye(v) * np.where(data.unit > 0, 1.0, 0.0)[:, None]
    covariance = np.where(_without_inverse(covariance)[:, None, None], alone, covariance)
    converged, singular = np.zeros(b, dtype=np.bool_), (data.unit == 0).any(axis=1)
    for _ in range(STEPS):
        active = ~converged & ~singular
        if not active.any():
            break
        part, here = data.of_cohorts(active), covariance[active]
        point = _Point.of(part, here)
        here, ended = _step(part, here, point, basis)
        covariance[active], converged[active], singular[active] = here, ended, _without_inverse(here) & ~ended
    covariance[singular] = np.eye(v)
    point = _Point.of(data, covariance)
    unit = np.where(data.unit > 0, data.unit, 1.0)
    free = np.einsum("bk,kv->bv", data.count, data.seen.astype(np.float64)) - len(data.group)
    return Maximum(
        covariance * unit[:, :, None] * unit[:, None, :],
        data.centre[:, None] + unit[:, None] * point.means,
        point.height - (free * np.log(unit)).sum(axis=1),
        converged,
        singular,
        data,
        point,
        point.information(data, basis),
    )


def _step(data: Patterns, covariance: Floats, point: _Point, basis: Floats) -> tuple[Floats, Bools]:
    """The next covariance of each cohort, and whether it is the last one."""
    b, v = covariance.shape[:2]
    slope, information = point.slope(data), point.information(data, basis)
    first = slope.reshape(b, 1, -1) @ basis / 2
    regular = np.linalg.slogdet(information)[0] != 0
    safe = np.where(regular[:, None, None], information, np.eye(len(basis.T)))
    step = np.linalg.solve(safe, first.swapaxes(1, 2))
    gain = (first @ step)[:, 0, 0] / 2
    near = regular & (np.abs(gain) < GAIN)
    near[near] = _definite(information[near], covariance[near])
    change = (basis @ step).reshape(b, v, v)
    patients = data.count.sum(axis=1)[:, None, None]
    following = covariance + covariance @ slope @ covariance / patients
    ended, waiting = np.zeros(b, dtype=np.bool_), near | (regular & (gain >= GAIN))
    for part in PARTS:
        newton = covariance + part * change
        tried = waiting & ~_without_inverse(newton)
        last = tried & near if part == 1 else np.zeros(b, dtype=np.bool_)
        higher = np.zeros(b, dtype=np.bool_)
        higher[tried] = _Point.of(data.of_cohorts(tried), newton[tried]).height > point.height[tried]
        taken = last | higher
        following[taken] = newton[taken]
        ended, waiting = ended | last, waiting & ~taken
        if not waiting.any():
            break
    return (following + following.swapaxes(1, 2)) / 2, ended


def _definite(information: Floats, covariance: Floats) -> Bools:
    """Whether each information, by the covariances as shares of both standard deviations, is positive definite."""
    rows, columns = np.triu_indices(covariance.shape[1])
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    size = deviation[:, rows] * deviation[:, columns]
    values = np.linalg.eigvalsh(information * size[:, :, None] * size[:, None, :])
    return np.asarray(values[:, 0] > SINGULAR * values[:, -1])


def _without_inverse(covariance: Floats) -> Bools:
    """Whether each covariance is singular, or no covariance at all."""
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    positive = np.all(variance > 0, axis=1, keepdims=True)
    deviation = np.sqrt(np.where(positive, variance, 1.0))
    correlation = covariance / deviation[:, :, None] / deviation[:, None, :]
    return np.asarray(~positive[:, 0] | (np.linalg.eigvalsh(correlation)[:, 0] < SINGULAR))


def _basis(v: int) -> Floats:
    """The derivatives of a covariance by its q different entries, one column each, shape (v v, q)."""
    rows, columns = np.triu_indices(v)
    basis = np.zeros((v, v, len(rows)))
    basis[rows, columns, range(len(rows))] = basis[columns, rows, range(len(rows))] = 1.0
    return basis.reshape(v * v, -1)


def _times(count: Floats, matrices: Floats) -> Floats:
    return np.asarray(count[:, :, None, None] * matrices)


def _kronecker(first: Floats, second: Floats) -> Floats:
    """The sums over patterns of Kronecker products: of E and F, tr(first E second F) = vec(E)' result vec(F)."""
    b, k, v, _ = first.shape
    sums = first.reshape(b, k, v * v).swapaxes(1, 2) @ second.reshape(b, k, v * v)
    return sums.reshape(b, v, v, v, v).transpose(0, 1, 3, 2, 4).reshape(b, v * v, v * v)
