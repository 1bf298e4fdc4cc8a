"""The ends and marks of axes with a scale of logarithms: Vega's own go to whole powers of ten."""

import math
from collections.abc import Sequence

_STEPS = (1.0, 2.0, 5.0)


def decade_part(values: Sequence[float]) -> list[float]:
    """Ends of an axis that holds all these positive values, at one of 1, 2 or 5 times a power of ten."""
    marks = _marks(min(values), max(values))
    return [marks[0], marks[-1]]


def log_ticks(values: Sequence[float], most: int = 7) -> list[float]:
    """The marks of that axis; where there would be too many only powers of ten, at equal steps."""
    marks = _marks(min(values), max(values))
    if len(marks) <= most:
        return marks
    powers = [mark for mark in marks if f"{mark:e}".startswith("1.0")]
    return powers[:: -(-len(powers) // most)]


def whole_ticks(last: int, most: int = 6) -> list[int]:
    """Whole numbers from 0 at equal steps of 1, 2 or 5 times a power of ten, not more than so many."""
    steps = (int(step) * 10**power for power in range(10) for step in _STEPS)
    step = next(step for step in steps if last // step < most)
    return list(range(0, last + 1, step))


def within(values: Sequence[float], ends: Sequence[float], factor: float = 50) -> list[float]:
    """The values with those ends of intervals that are not farther than so many times from all of them."""
    low, high = min(values) / factor, max(values) * factor
    return [*values, *(min(max(end, low), high) for end in ends)]


def _marks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [float(f"{step}e{power}") for power in range(first, last + 1) for step in _STEPS]
    below = max(mark for mark in every if mark <= low * (1 + 1e-9))
    above = min(mark for mark in every if mark >= high * (1 - 1e-9))
    if below == above:
        above = every[every.index(above) + 1]
    return [mark for mark in every if below <= mark <= above]
