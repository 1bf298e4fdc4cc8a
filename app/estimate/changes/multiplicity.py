"""The adjustment of the p values of several weeks for multiple testing."""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Literal

Adjustment = Literal["holm", "hochberg", "fixed_sequence_backward", "none"]


def adjust(p: Sequence[float | None], method: Adjustment) -> tuple[float | None, ...]:
    """Adjusted p values, in the order given, which is the order of the weeks. Weeks without a p stay `None`.

    `holm` and `hochberg` equal R `p.adjust` over the weeks that have a p; Hochberg assumes that the tests are not
    negatively dependent; weeks that are compared with one common baseline satisfy this. `fixed_sequence_backward` tests
    the last week first, then the one before it, each at the full alpha, and stops at the first that is not significant
    (Maurer, Hothorn and Lehmacher 1995): the adjusted p is the largest from that week to the last. A week without a p
    stops the sequence: every earlier week gets `None` (`chain_broken`), because it was not tested. `none` changes
    nothing. A `ValueError` is raised for an unknown method, or a p outside 0 to 1.
    """
    if method not in PROCEDURES:
        raise ValueError(f"`method` must be one of {', '.join(PROCEDURES)}.")
    if not all(0 <= each <= 1 for each in p if each is not None):
        raise ValueError("`p` must be between 0 and 1.")
    return tuple(PROCEDURES[method](p))


def _holm(p: Sequence[float | None]) -> list[float | None]:
    """The smallest of m p values times m, the next times m - 1, ..., made non-decreasing (Holm 1979)."""
    ascending = sorted((each, week) for week, each in enumerate(p) if each is not None)
    scaled = [(len(ascending) - step) * each for step, (each, _) in enumerate(ascending)]
    return _put_back(p, [week for _, week in ascending], accumulate(scaled, max))


def _hochberg(p: Sequence[float | None]) -> list[float | None]:
    """The largest p value times 1, the next times 2, ..., made non-increasing (Hochberg 1988)."""
    descending = sorted(((each, week) for week, each in enumerate(p) if each is not None), reverse=True)
    scaled = [(step + 1) * each for step, (each, _) in enumerate(descending)]
    return _put_back(p, [week for _, week in descending], accumulate(scaled, min))


def _put_back(p: Sequence[float | None], weeks: Iterable[int], adjusted: Iterable[float]) -> list[float | None]:
    result: list[float | None] = [None] * len(p)
    for week, value in zip(weeks, adjusted, strict=True):
        result[week] = min(1.0, value)
    return result


def _fixed_sequence_backward(p: Sequence[float | None]) -> list[float | None]:
    result: list[float | None] = []
    largest: float | None = 0.0
    for each in reversed(p):
        largest = None if largest is None or each is None else max(largest, each)
        result.append(largest)
    return result[::-1]


PROCEDURES: dict[str, Callable[[Sequence[float | None]], list[float | None]]] = {
    "holm": _holm,
    "hochberg": _hochberg,
    "fixed_sequence_backward": _fixed_sequence_backward,
    "none": list,
}
