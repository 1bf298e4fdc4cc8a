"""Slow, obvious second implementations in plain Python and exact fractions, for comparison with the fast ones."""

import math
from fractions import Fraction
from itertools import combinations, product

HALF = Fraction(1, 2)


def midranks(values):
    """The mean position, from 1, of each value among all of them."""
    return [
        Fraction(sum(other < value for other in values)) + Fraction(sum(other == value for other in values) + 1, 2)
        for value in values
    ]


def signed_rank(differences, zeros):
    """V and its two-sided p, by trying all 2^n signs of the differences that are not zero."""
    ranked = [d for d in differences if d != 0] if zeros == "drop" else list(differences)
    ranks = midranks([abs(d) for d in ranked])
    carried = [(rank, d > 0) for rank, d in zip(ranks, ranked, strict=True) if d != 0]
    v = sum((rank for rank, positive in carried if positive), Fraction(0))
    sums = [
        sum((rank for (rank, _), sign in zip(carried, signs, strict=True) if sign), Fraction(0))
        for signs in product((False, True), repeat=len(carried))
    ]
    tail = min(sum(s <= v for s in sums), sum(s >= v for s in sums))
    return float(v), float(min(Fraction(1), Fraction(2 * tail, len(sums))))


def walsh_averages(values):
    return sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])


def pseudomedian(values, level):
    """Estimate and limits as R's wilcox.test takes them from qsignrank, null where even the range covers too little."""
    averages = walsh_averages(values)
    middle = (averages[(len(averages) - 1) // 2] + averages[len(averages) // 2]) / 2
    ranks = range(1, len(values) + 1)
    sums = [sum(kept) for size in range(len(values) + 1) for kept in combinations(ranks, size)]
    tail = (1 - Fraction(str(level))) / 2

    def at_most(v):
        return Fraction(sum(s <= v for s in sums), len(sums))

    c = max(1, next(v for v in range(len(averages) + 1) if at_most(v) >= tail))
    return (middle, averages[c - 1], averages[-c]) if at_most(c - 1) <= tail else (middle, None, None)


def steps(pairs):
    """The event times of (duration, event) pairs with numbers at risk and of events, and S as a fraction."""
    survival, result = Fraction(1), []
    for time in sorted({duration for duration, event in pairs if event}):
        at_risk = sum(duration >= time for duration, _ in pairs)
        deaths = sum(duration == time and event for duration, event in pairs)
        survival *= 1 - Fraction(deaths, at_risk)
        result.append((time, at_risk, deaths, survival))
    return result


def median(pairs, convention, plateau):
    """The median by the words of the definition, on exact fractions."""
    curve = steps(pairs)
    at_or_below = [(time, survival) for time, _, _, survival in curve if survival <= HALF]
    if not at_or_below:
        return None
    first, survival = at_or_below[0]
    if convention == "lower" or survival < HALF:
        return first
    if len(at_or_below) > 1:
        return (first + at_or_below[1][0]) / 2
    if plateau == "not_reached":
        return None
    return (first + max(duration for duration, _ in pairs)) / 2 if plateau == "midpoint_to_last" else first


def greenwood(curve):
    """Greenwood's variance of S at each event time, null where S is 0."""
    total, result = Fraction(0), []
    for _, at_risk, deaths, survival in curve:
        total = total + Fraction(deaths, at_risk * (at_risk - deaths)) if survival else total
        result.append(survival**2 * total if survival else None)
    return result


def band(survival, variance, z, transform):
    """Limits of S, straight from the textbook."""
    s, error = float(survival), math.sqrt(variance)
    if transform == "plain":
        return max(0.0, s - z * error), min(1.0, s + z * error)
    if transform == "log":
        return math.exp(math.log(s) - z * error / s), min(1.0, math.exp(math.log(s) + z * error / s))
    centre, width = math.log(-math.log(s)), z * error / (s * abs(math.log(s)))
    return math.exp(-math.exp(centre + width)), math.exp(-math.exp(centre - width))


def area(pairs, start, until):
    """The area under S between two times, as a fraction."""
    survival, at, total = Fraction(1), Fraction(0), Fraction(0)
    for time, _, _, after in [*steps(pairs), (math.inf, 0, 0, Fraction(0))]:
        left, right = (
            max(at, Fraction(start)),
            min(Fraction(until), Fraction(time) if time < math.inf else Fraction(until)),
        )
        total += survival * max(Fraction(0), right - left)
        survival, at = after, Fraction(time) if time < math.inf else at
    return total


def restricted_mean(pairs, until):
    """The restricted mean and its variance, each area computed anew."""
    variance = sum(
        area(pairs, time, until) ** 2 * Fraction(deaths, at_risk * (at_risk - deaths))
        for time, at_risk, deaths, survival in steps(pairs)
        if time <= until and survival
    )
    return area(pairs, 0, until), variance


def holm(p):
    """Closed testing: a hypothesis falls with every group of hypotheses it belongs to, each tested by Bonferroni."""
    groups = [[i for i in range(len(p)) if bits >> i & 1] for bits in range(1, 2 ** len(p))]
    return [
        max(min(1.0, len(group) * min(p[j] for j in group)) for group in groups if i in group) for i in range(len(p))
    ]


def hochberg_rejects(p, alpha):
    """Hochberg's procedure as he states it: from the largest p down, all fall with the first that is small enough."""
    largest_first = sorted(p, reverse=True)
    bound = next((value for step, value in enumerate(largest_first) if value <= alpha / (step + 1)), -1.0)
    return [value <= bound for value in p]


def tail_at_least(k, n, rate):
    """P(X >= k) for a binomial X, exactly, at the rate that a float stands for."""
    rate = Fraction(rate)
    return sum((math.comb(n, x) * rate**x * (1 - rate) ** (n - x) for x in range(k, n + 1)), Fraction(0))
