"""Slow second implementations of what compares two groups."""

import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np


def hypergeometric(k1, n1, k2, n2):
    """The probability of each first cell, given the totals."""
    k = k1 + k2
    return {
        x: Fraction(math.comb(n1, x) * math.comb(n2, k - x), math.comb(n1 + n2, k))
        for x in range(max(0, k - n2), min(k, n1) + 1)
    }


def fisher(k1, n1, k2, n2):
    """The tables no likelier than the observed one, exactly."""
    tables = hypergeometric(k1, n1, k2, n2)
    return sum((p for p in tables.values() if p <= tables[k1]), Fraction(0))


def tails_and_mean(k1, n1, k2, n2, odds_ratio):
    """P(X >= k1), P(X <= k1) and the mean of X where the odds ratio is this float."""
    tables = hypergeometric(k1, n1, k2, n2)
    weights = {x: p * Fraction(odds_ratio) ** x for x, p in tables.items()}
    total = sum(weights.values())
    return (
        sum(w for x, w in weights.items() if x >= k1) / total,
        sum(w for x, w in weights.items() if x <= k1) / total,
        sum(x * w for x, w in weights.items()) / total,
    )


def score_difference(counts, difference):
    """Miettinen and Nurminen's squared statistic: the likelihood is searched over a grid, then over finer ones."""
    return _score(counts, lambda p2: p2 + difference, max(0.0, -difference), min(1.0, 1 - difference), difference, 1.0)


def score_ratio(counts, ratio):
    return _score(counts, lambda p2: ratio * p2, 0.0, min(1.0, 1 / ratio), 0.0, ratio)


def _score(counts, first, low, high, shift, factor):
    k1, n1, k2, n2 = counts
    for _ in range(9):
        grid = np.linspace(low, high, 201)
        likelihood = _log_likelihood(counts, np.clip(first(grid), 0, 1), grid)
        best = int(np.argmax(likelihood))
        low, high = grid[max(0, best - 1)], grid[min(200, best + 1)]
    p2 = grid[best]
    p1 = min(1.0, max(0.0, first(p2)))
    variance = (p1 * (1 - p1) / n1 + factor**2 * p2 * (1 - p2) / n2) * (n1 + n2) / (n1 + n2 - 1)
    distance = k1 / n1 - factor * k2 / n2 - shift
    return math.inf if variance <= 0 and distance else distance**2 / variance if distance else 0.0


def _log_likelihood(counts, p1, p2):
    k1, n1, k2, n2 = counts
    total = np.zeros(len(p2))
    for count, rate in ((k1, p1), (n1 - k1, 1 - p1), (k2, p2), (n2 - k2, 1 - p2)):
        if count:
            with np.errstate(divide="ignore"):
                total = total + count * np.log(rate)
    return total


def mann_whitney(first, second):
    """W and its exact two-sided p, by trying every selection of the pooled values."""
    pooled = [*first, *second]
    total = len(first) * len(second)

    def w(chosen):
        others = [value for i, value in enumerate(pooled) if i not in chosen]
        pairs = product([pooled[i] for i in chosen], others)
        return sum((Fraction(a > b) + Fraction(a == b, 2) for a, b in pairs), Fraction(0))

    middle = Fraction(total, 2)
    observed = w(set(range(len(first))))
    selections = [w(set(chosen)) for chosen in combinations(range(len(pooled)), len(first))]
    far = sum(abs(each - middle) >= abs(observed - middle) for each in selections)
    return float(observed), float(Fraction(far, len(selections)))


def shift(first, second, level):
    """Median of all differences and the limits, C counted over all ways to rank values without ties."""
    n, m = len(first), len(second)
    differences = sorted(a - b for a, b in product(first, second))
    middle = (differences[(n * m - 1) // 2] + differences[n * m // 2]) / 2
    statistics = [sum(chosen) - n * (n + 1) // 2 for chosen in combinations(range(1, n + m + 1), n)]
    tail = (1 - Fraction(str(level))) / 2

    def at_most(w):
        return Fraction(sum(each <= w for each in statistics), len(statistics))

    c = max(1, next(w for w in range(n * m + 1) if at_most(w) >= tail))
    return (middle, differences[c - 1], differences[-c]) if at_most(c - 1) <= tail else (middle, None, None)


def restricted_height(values, groups, covariance):
    """The restricted log-likelihood of a covariance of visits, from the contrasts of values that no mean can change.

    `values` holds one list a patient, None where missing. The covariance of all values is written out, and the
    contrasts are a basis of what is orthogonal to the means of each group and visit (Patterson and Thompson 1971);
    their density counts log|X'X| / 2 more than `lme4` and `nlme` do.
    """
    cells = [(i, j) for i, row in enumerate(values) for j, v in enumerate(row) if v is not None]
    y = np.array([values[i][j] for i, j in cells])
    means = sorted({(groups[i], j) for i, j in cells})
    x = np.array([[float((groups[i], j) == mean) for mean in means] for i, j in cells])
    v = np.array([[covariance[j][m] if i == k else 0.0 for k, m in cells] for i, j in cells])
    contrasts = np.linalg.qr(x, mode="complete")[0][:, len(means) :]
    spread, z = contrasts.T @ v @ contrasts, contrasts.T @ y
    free = len(y) - len(means)
    density = free * math.log(2 * math.pi) + np.linalg.slogdet(spread)[1] + z @ np.linalg.solve(spread, z)
    return -(density + np.linalg.slogdet(x.T @ x)[1]) / 2


def satterthwaite(values, groups, covariance, weights):
    """The variance and the degrees of freedom of a sum of means, by differences of the likelihood and the variance.

    `weights` holds the weight of each (group, visit).
    """
    visits = len(covariance)
    places = [(j, k) for j in range(visits) for k in range(j, visits)]
    size = 2e-4 * math.sqrt(min(covariance[j][j] for j in range(visits)) * max(covariance[j][j] for j in range(visits)))

    def moved(*steps):
        matrix = [list(row) for row in covariance]
        for place, step in steps:
            j, k = places[place]
            matrix[j][k] += step * size
            if j != k:
                matrix[k][j] += step * size
        return matrix

    def variance(matrix):
        total = 0.0
        for group in set(groups):
            information = np.zeros((visits, visits))
            for row, own in zip(values, groups, strict=True):
                seen = [j for j, v in enumerate(row) if v is not None]
                if own == group and seen:
                    information[np.ix_(seen, seen)] += np.linalg.inv([[matrix[j][k] for k in seen] for j in seen])
            weight = np.array([weights.get((group, j), 0.0) for j in range(visits)])
            total += weight @ np.linalg.solve(information, weight)
        return total

    def height(*steps):
        return restricted_height(values, groups, moved(*steps))

    q = range(len(places))
    slope = np.array([(variance(moved((a, 1))) - variance(moved((a, -1)))) / (2 * size) for a in q])
    information = np.empty((len(places), len(places)))
    for a in q:
        for b in range(a + 1):
            bends = (
                height((a, 1), (b, 1)) - height((a, 1), (b, -1)) - height((a, -1), (b, 1)) + height((a, -1), (b, -1))
            )
            information[a, b] = information[b, a] = -bends / (4 * size**2)
    here = variance(covariance)
    return here, 2 * here**2 / (slope @ np.linalg.solve(information, slope))
