"""How much one patient decides about a median time: the Kaplan-Meier curve again with each patient left out once."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.estimate.influence import LeftOut, farthest, influence
from app.estimate.times.survival import HALF_TOLERANCE, kaplan_meier

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def influence_on_median(
    durations: ArrayLike,
    events: ArrayLike,
    *,
    median: Literal["midpoint", "lower"] = "midpoint",
    plateau: Literal["left_end", "midpoint_to_last"] = "left_end",
) -> LeftOut:
    """Influence on the median of durations >= 0 that end in an event (true) or in censoring (false), one a patient.

    A patient was at risk up to their own time: without them the factors 1 - d/n up to then become 1 - d/(n - 1), that
    of their own event 1 - (d - 1)/(n - 1), and the later ones stay. So every curve is a piece of one curve of reduced
    factors, one own factor and a piece of the full curve, and each crossing is found by bisection: O(n log n).
    """
    times, observed = np.asarray(durations, dtype=np.float64), np.asarray(events, dtype=np.bool_)
    full = kaplan_meier(times, observed, median=median, plateau=plateau).median
    left_out = np.full(len(times), np.nan)
    if len(times) > 1 and observed.any():
        left_out = _Curves(times, observed).medians(median, plateau)
    found = influence("median", f"kaplan-meier/{median}", full.value, left_out)
    reason = found.reason or full.reason
    found = found.model_copy(update={"reason": reason if found.low is None or found.value is None else None})
    return LeftOut(found, farthest(left_out, full.value))


class _Curves:
    """The curves without each patient. Entry j of a curve is its value from event time j on."""

    def __init__(self, times: Floats, observed: NDArray[np.bool_]) -> None:
        self.times = times
        self.event_times, deaths = np.unique(times[observed], return_counts=True)
        at_risk = len(times) - np.searchsorted(np.sort(times), self.event_times, side="left")
        fewer = np.maximum(at_risk - 1, 1)
        alone = at_risk == 1
        self.whole = np.cumprod(1 - deaths / at_risk)
        self.reduced = np.cumprod(np.where(alone, 1.0, 1 - deaths / fewer))
        own = np.where(alone, 1.0, 1 - (deaths - 1) / fewer)
        # Before their own time, and up to it, this many event times have passed for each patient.
        self.before: Ints = np.searchsorted(self.event_times, times, side="left")
        self.past: Ints = np.searchsorted(self.event_times, times, side="right")
        here = np.minimum(self.before, len(deaths) - 1)
        until = _after(self.reduced, self.before)
        factor = np.where(observed, own[here], np.where(alone[here], 1.0, 1 - deaths[here] / fewer[here]))
        self.at_own_time = np.where(self.past > self.before, until * factor, until)

    def medians(self, median: str, plateau: str) -> Floats:
        """The median without each patient, NaN where it is not reached; the rules are those of `HalfRule`."""
        first = self._first_below(0.5 + HALF_TOLERANCE)
        second = self._first_below(0.5 - HALF_TOLERANCE)
        start, end = self._time(first), self._time(second)
        if median == "lower":
            return start
        last = self._last_times() if plateau == "midpoint_to_last" else start
        return (start + np.where(np.isnan(end), last, end)) / 2 if len(start) else start

    def _first_below(self, threshold: float) -> Ints:
        """The first event time from which each curve lies below a threshold; as many as there are for none."""
        early = np.searchsorted(-self.reduced, -threshold, side="right")
        left = _after(self.whole, self.past)
        with np.errstate(divide="ignore", invalid="ignore"):
            bound = np.where(self.at_own_time > 0, threshold * left / self.at_own_time, 0.0)
        late = np.maximum(np.searchsorted(-self.whole, -bound, side="right"), self.past)
        at_own = np.where((self.past > self.before) & (self.at_own_time < threshold), self.before, late)
        return np.where(early < self.before, early, at_own)

    def _time(self, place: Ints) -> Floats:
        last = len(self.event_times) - 1
        return np.where(place <= last, self.event_times[np.minimum(place, last)], np.nan)

    def _last_times(self) -> Floats:
        next_greatest, greatest = np.sort(self.times)[-2:].tolist()
        last: Floats = np.where(self.times == greatest, next_greatest, greatest)
        return last


def _after(curve: NDArray[Any], passed: Ints) -> Floats:
    """The value of a curve after so many of its event times; 1 before the first."""
    value: Floats = np.concatenate([[1.0], curve])[passed]
    return value
