"""An interval-censored median with its resampled limits, against one interval-censored fit of lifelines without any."""

import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from app.estimate.times.interval_censored import IntervalCensored, interval_censored

PATIENTS = 1000
RESAMPLES = 200
PAIRS = 7

Floats = NDArray[np.float64]


def interval_medians(pairs: int = PAIRS) -> list[tuple[str, str, str]]:
    """The same patients on both sides: visits on the planned day, and within three days of it."""
    return [
        _row("on the planned day", patients(PATIENTS, jitter=0), pairs),
        _row("within 3 days of it", patients(PATIENTS, jitter=3), pairs),
    ]


def patients(number: int, jitter: int) -> tuple[Floats, Floats]:
    """Times seen at visits every 28 days for a year, of which one in seven is missed."""
    generator = np.random.default_rng(1)
    times = generator.exponential(200, number)
    left, right = np.zeros(number), np.full(number, np.inf)
    for i, event in enumerate(times):
        planned = 28 * np.arange(1, 14) + generator.integers(-jitter, jitter + 1, 13)
        visits = np.concatenate(([0], planned[generator.random(13) < 6 / 7]))
        place = int(np.searchsorted(visits, event))
        left[i] = visits[place - 1]
        if place < len(visits):
            right[i] = visits[place]
    return left, right


def _row(when: str, cohort: tuple[Floats, Floats], pairs: int) -> tuple[str, str, str]:
    from lifelines import KaplanMeierFitter

    def ours() -> IntervalCensored:
        return interval_censored(*cohort, resamples=RESAMPLES)

    def theirs() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            KaplanMeierFitter().fit_interval_censoring(*cohort)

    found = ours()
    if found.reason or found.median.intervals[0].low is None:
        raise SystemExit("there is no estimate")
    theirs()  # what is imported at the first use is no part of it
    costs = [(_seconds(ours), _seconds(theirs)) for _ in range(pairs)]
    mine, other = (statistics.median(side) for side in zip(*costs, strict=True))
    ratio = statistics.median(one / two for one, two in costs)
    return (
        f"interval-censored median, {PATIENTS} patients seen {when}, {RESAMPLES} resamples ({mine * 1e3:.0f} ms)",
        f"lifelines {version('lifelines')} fitting them once, without limits ({other * 1e3:.0f} ms)",
        f"{ratio:.2f}; asked: at most 1",
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
