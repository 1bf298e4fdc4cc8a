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


def random_intercept(values, columns):
    """REML by a search over the share of the variance between patients, every patient's covariance written out.

    `values` holds one list a patient, None where missing; `columns` gives the coefficients of a patient and a visit.
    Coefficients, their standard errors, both variances and the restricted log-likelihood.
    """
    people = [
        (
            np.array([v for v in row if v is not None]),
            np.array([columns(i, j) for j, v in enumerate(row) if v is not None]),
        )
        for i, row in enumerate(values)
    ]
    people = [(y, x) for y, x in people if len(y)]
    n, width = sum(len(y) for y, _ in people), people[0][1].shape[1]

    def fit(ratio):
        inverses = [np.linalg.inv(np.eye(len(y)) + ratio) for y, _ in people]
        information = sum(x.T @ w @ x for (_, x), w in zip(people, inverses, strict=True))
        beta = np.linalg.solve(information, sum(x.T @ w @ y for (y, x), w in zip(people, inverses, strict=True)))
        rest = sum((y - x @ beta) @ w @ (y - x @ beta) for (y, x), w in zip(people, inverses, strict=True))
        within = rest / (n - width)
        shape = sum(math.log(1 + ratio * len(y)) for y, _ in people) + np.linalg.slogdet(information)[1]
        likelihood = -((n - width) * (math.log(2 * math.pi * within) + 1) + shape) / 2
        return likelihood, beta, np.sqrt(within * np.diag(np.linalg.inv(information))), within * ratio, within

    low, high = -12.0, 8.0
    for _ in range(30):
        grid = np.linspace(low, high, 9)
        best = int(np.argmax([fit(math.exp(x))[0] for x in grid]))
        low, high = grid[max(0, best - 1)], grid[min(8, best + 1)]
    return fit(math.exp(grid[best]))


def restricted_heights(values, ratios):
    """Restricted log-likelihood at each ratio, from the contrasts of the values that no coefficient can change.

    `values` is an array of patients by visits, NaN where missing, every visit with a value; each visit is compared with
    the first. The contrasts' covariance is turned to its axes once, where it is 1 + ratio x eigenvalue (Patterson and
    Thompson 1971); their density counts log|X'X| / 2 more than `lme4` does.
    """
    who, visit = np.nonzero(~np.isnan(values))
    y, own = values[who, visit], who[:, None] == np.unique(who)
    x = np.column_stack([np.ones(len(y)), *(visit == k for k in range(1, values.shape[1]))])
    contrasts = np.linalg.qr(x, mode="complete")[0][:, x.shape[1] :].T
    spread, axes = np.linalg.eigh(contrasts @ own @ (contrasts @ own).T)
    turned, grown = axes.T @ contrasts @ y, 1 + np.outer(ratios, np.maximum(spread, 0))
    free = len(y) - x.shape[1]
    within = (turned**2 / grown).sum(axis=1) / free
    shape = np.log(grown).sum(axis=1) + np.linalg.slogdet(x.T @ x)[1]
    return -(free * (np.log(2 * math.pi * within) + 1) + shape) / 2
