"""The medians and restricted means of many curves at once.

`kaplan_meier` and `event_free` describe one curve with its limits. That takes milliseconds, mostly in lifelines, which
is too long for hundreds of simulated cohorts, of which only the median and the restricted mean are needed.
"""

import numpy as np
from numpy.typing import NDArray

from app.estimate.times.survival import HalfRule

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def medians_and_means(
    cohort: Ints, cohorts: int, durations: Ints, causes: Ints, *, competing: bool, until: float, rule: HalfRule
) -> tuple[Floats, Floats]:
    """The median and the restricted mean of the time to the first cause in each cohort.

    They are those of `event_free` and `restricted_mean_event_free`, where `competing`; else every cause is an event,
    and they are those of `kaplan_meier` and `restricted_mean`. The arrays have one entry for each patient: the number
    of the cohort, the duration, and 0 where it is censored, else the cause. A median that is not reached is infinite;
    a cohort without patients has none (NaN), and a mean beyond follow-up is NaN.
    """
    order = np.lexsort((durations, cohort))
    cohort, durations, causes = cohort[order], durations[order], causes[order]
    sizes = np.bincount(cohort, minlength=cohorts)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    own = causes == 1 if competing else causes != 0
    new = np.ones(len(cohort), dtype=np.bool_)
    new[1:] = (cohort[1:] != cohort[:-1]) | (durations[1:] != durations[:-1])
    first = np.flatnonzero(new)
    counted = [np.add.reduceat(each.astype(np.float64), first) if len(first) else np.zeros(0)
               for each in (own, causes != 0)]  # fmt: skip
    at_risk = (starts[cohort[first] + 1] - first).astype(np.float64)
    steps = np.bincount(cohort[first], minlength=cohorts)
    bounds = np.concatenate([[0], np.cumsum(steps)])
    medians, means = np.full(cohorts, np.nan), np.full(cohorts, np.nan)
    for i in np.flatnonzero(sizes):
        mine = slice(bounds[i], bounds[i + 1])
        time, (events, all_events) = durations[first][mine].astype(np.float64), (each[mine] for each in counted)
        everyone = at_risk[mine]
        left = np.cumprod((everyone - all_events) / everyone)
        before = np.concatenate([[1.0], left[:-1]])
        curve = left + np.cumsum(before * (all_events - events) / everyone) if competing else left
        seen = events > 0
        points = list(zip(time[seen].tolist(), curve[seen].tolist(), strict=True))
        reached = rule.crossing(points, float(time[-1]))
        medians[i] = np.inf if reached is None else reached
        if until <= time[-1] or everyone[-1] == all_events[-1]:
            ends = np.minimum(np.concatenate([[0.0], time, [max(until, time[-1])]]), until)
            means[i] = float((np.concatenate([[1.0], curve]) * np.diff(ends)).sum())
    return medians, means
