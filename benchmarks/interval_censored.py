"""An interval-censored median with its resampled limits, against one interval-censored fit without any limits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.estimate.times.interval_censored import interval_censored
from benchmarks.pairs import Counts, Measured, Row, in_turn, took
from benchmarks.programs import program, python, r
from tests.trust.figures import NotHere

RESAMPLES = 200

Floats = NDArray[np.float64]
PEERS: dict[str, tuple[Callable[[Path], list[str]], float | None]] = {
    "lifelines": (lambda file: python("lifelines_intervals.py", file), 1),
    "R survival": (lambda file: r("survival_intervals.R", file), None),
}
"""How each peer is started, and the ratio that is asked for."""


def measure(counts: Counts, folder: Path) -> Measured:
    """The same patients on all sides: visits on the planned day, and within three days of it."""
    rows = []
    for when, jitter in (("on the planned day", 0), ("within 3 days of it", 3)):
        left, right = patients(counts.patients, jitter)
        file = folder / f"intervals{jitter}.csv"
        np.savetxt(file, np.column_stack((left, right)), fmt="%g", delimiter=",")
        rows += [_row(counts, f"{peer}, {when}", peer, (left, right), file) for peer in PEERS]
    return Measured(rows)


def _row(counts: Counts, name: str, peer: str, cohort: tuple[Floats, Floats], file: Path) -> Row:
    seen = name.removeprefix(f"{peer}, ")
    work = f"interval-censored median, {counts.patients:,} patients seen {seen}, {RESAMPLES} resamples"
    start, asked = PEERS[peer]
    [median] = [
        each for each in interval_censored(*cohort, resamples=RESAMPLES).median.intervals if each.low is not None
    ]
    try:
        command = start(file)
    except NotHere as missing:
        return Row(f"intervals: {name}", work, peer, asked=asked, skipped=str(missing))
    with program(command) as theirs:
        _, found = theirs.once()
        if not median.low <= found <= median.high:
            raise SystemExit(f"the median of {theirs.name} is {found}, outside {median.low} to {median.high}")
        pairs = in_turn(
            counts.pairs, lambda: took(lambda: interval_censored(*cohort, resamples=RESAMPLES)), theirs.took
        )
        return Row(f"intervals: {name}", work, f"{theirs.name} fitting them once, without limits", pairs, asked)


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
