"""A second implementation of the interval-censored estimate: plain Python, one interval and one step at a time.

An interval is a pair (left, right], `None` for no right end. Nothing of `app.estimate` is used. Masses are given as
`[(left, right, mass)]`; the probability of an interval is the sum of the masses that lie inside it.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

Interval = tuple[float, float | None]
Masses = Sequence[tuple[float, float | None, float]]


def end(right: float | None) -> float:
    return math.inf if right is None else right


def pieces(intervals: Sequence[Interval]) -> list[Interval]:
    """The line cut at every limit of an interval."""
    cuts = sorted({left for left, _ in intervals} | {end(right) for _, right in intervals})
    return [(a, None if b == math.inf else b) for a, b in pairwise(cuts)]


def covers(interval: Interval, piece: Interval) -> bool:
    return interval[0] <= piece[0] and end(piece[1]) <= end(interval[1])


def maximal(intervals: Sequence[Interval]) -> list[Interval]:
    """The pieces whose set of covering intervals is not part of another piece's: what alone can carry mass."""
    sets = {
        piece: frozenset(i for i, interval in enumerate(intervals) if covers(interval, piece))
        for piece in pieces(intervals)
    }
    return [piece for piece, mine in sets.items() if mine and not any(mine < other for other in sets.values())]


def chance(interval: Interval, masses: Masses) -> float:
    return math.fsum(mass for left, right, mass in masses if covers(interval, (left, right)))


def log_likelihood(intervals: Sequence[Interval], masses: Masses) -> float:
    return math.fsum(math.log(chance(interval, masses)) for interval in intervals)


def excess(intervals: Sequence[Interval], masses: Masses) -> float:
    """The largest mean of [covered]/chance over all pieces of the line, minus 1: at most 0 at the maximum only."""
    chances = [chance(interval, masses) for interval in intervals]
    return (
        max(
            math.fsum(1 / p for interval, p in zip(intervals, chances, strict=True) if covers(interval, piece))
            for piece in pieces(intervals)
        )
        / len(intervals)
        - 1
    )


def self_consistent(intervals: Sequence[Interval], steps: int) -> list[tuple[float, float | None, float]]:
    """So many EM steps from equal masses on every piece of the line."""
    parts = pieces(intervals)
    masses = [1 / len(parts)] * len(parts)
    inside = [[k for k, piece in enumerate(parts) if covers(interval, piece)] for interval in intervals]
    for _ in range(steps):
        shares = [0.0] * len(parts)
        for mine in inside:
            total = math.fsum(masses[k] for k in mine)
            for k in mine:
                shares[k] += masses[k] / total / len(intervals)
        masses = shares
    return [(left, right, mass) for (left, right), mass in zip(parts, masses, strict=True)]


def median(masses: Masses, convention: str, plateau: str, last: float) -> tuple[float, float | None]:
    """Where the curve comes to one half: by the words of the specification, `last` being the last time seen."""
    left_to_go = 1.0
    after = []
    for _, _, mass in masses:
        left_to_go -= mass
        after.append(left_to_go)
    for k, (left, right, _) in enumerate(masses):
        if right is None:
            return left, None
        if after[k] > 0.5 + 1e-8:
            continue
        if after[k] < 0.5 - 1e-8 or convention == "lower":
            return left, right
        later = masses[k + 1]
        if later[1] is not None:
            return (left + later[0]) / 2, (right + later[1]) / 2
        if plateau == "not_reached":
            return (left + later[0]) / 2, None
        return (left, right) if plateau == "left_end" else ((left + last) / 2, (right + last) / 2)
    raise AssertionError("the masses do not add up to 1")
