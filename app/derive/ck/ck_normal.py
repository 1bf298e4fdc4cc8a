"""Whether a CK is normal, how long it took to become so, and how long it stayed so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.derive.records import Records
from app.derive.segments import any_where, first_reason, first_where, last_where, pick_int
from app.timeline.cohort import NO_TIME, Bools, Ints, Labs

NORMAL, ABNORMAL, UNKNOWN = 1, 0, -1
_BELOW, _AT_MOST, _AT_LEAST, _ABOVE = 1, 2, 3, 4


@dataclass(frozen=True, slots=True, eq=False)
class Spells:
    """One row per patient: the first spell of normal CK after treatment.

    `reason` is empty for the patients in the risk set, else why not. `start` is the day of the first normal CK after
    day 0 (`NO_TIME` if there is none), `duration` the days from it to the first later abnormal CK (`relapsed`) or to
    the last CK whose normality is known.
    """

    reason: tuple[str, ...]
    start: Ints
    duration: Ints
    relapsed: Bools


@dataclass(frozen=True, slots=True, eq=False)
class FirstNormal:
    """One row per patient: days from day 0 to the first normal CK (`reached`) or to the last one of known normality."""

    evaluable: Bools
    time: Ints
    reached: Bools


def normality(records: Records) -> Ints:
    """NORMAL, ABNORMAL or UNKNOWN for each record: a value equal to its own upper limit is normal.

    A comparator leaves normality known only where the bound settles it: `<x` with x at most the limit is normal, `>x`
    with x at least the limit is abnormal. Without an upper limit nothing is known.
    """
    value, limit, sign = records.value, records.upper_limit, records.comparator
    within = value <= limit
    normal = within & ((sign == 0) | (sign == _BELOW) | (sign == _AT_MOST))
    abnormal = (
        (value > limit) & (sign == 0) | (value >= limit) & (sign == _ABOVE) | (value > limit) & (sign == _AT_LEAST)
    )
    return np.where(normal, NORMAL, np.where(abnormal, ABNORMAL, UNKNOWN))


def spells(records: Records, known: Ints, base: Ints, excluded: Sequence[tuple[str, Bools]]) -> Spells:
    """The first normal spell of each patient whose baseline CK was abnormal.

    `known` is `normality(records)`, `base` the baseline rows, `excluded` the reasons with their masks that come before
    these.
    """
    size = records.size
    after = records.day > 0
    origin = first_where(records.patient, size, after & (known == NORMAL))
    start = pick_int(records.day, origin, NO_TIME)
    later = records.day > start[records.patient] if size else after
    relapse = first_where(
        records.patient, size, after & later & (known == ABNORMAL) & (start[records.patient] != NO_TIME)
    )
    last = last_where(records.patient, size, after & (known != UNKNOWN))
    end = np.where(relapse >= 0, pick_int(records.day, relapse, 0), pick_int(records.day, last, 0))
    at_baseline = pick_int(known, base, UNKNOWN)
    checks = (
        *excluded,
        ("no_baseline", base < 0),
        ("normal_at_baseline", at_baseline == NORMAL),
        ("baseline_normality_unknown", at_baseline == UNKNOWN),
        ("no_value_after_baseline", ~any_where(records.patient, size, after)),
        ("normality_unknown", last < 0),
        ("never_normal", origin < 0),
    )
    return Spells(first_reason(checks, size), start, np.where(origin >= 0, end - start, 0), relapse >= 0)


def time_to_first_normal(records: Records, known: Ints, efficacy: Bools) -> FirstNormal:
    """Days from day 0 to the first normal CK, for the efficacy set with a CK of known normality after day 0."""
    size = records.size
    after = (records.day > 0) & (known != UNKNOWN)
    first = first_where(records.patient, size, after & (known == NORMAL))
    last = last_where(records.patient, size, after)
    day = np.where(first >= 0, pick_int(records.day, first, 0), pick_int(records.day, last, 0))
    return FirstNormal(efficacy & (last >= 0), day, first >= 0)


def borrow_limits(records: Records, labs: Labs, day0: Ints) -> Records:
    """Records with the limits that they lack taken from the same patient and laboratory; the flags say how many.

    The limit nearest in time serves; of two equally near the earlier, then the smaller; one without a clock
    time comes first on its day. `labs` are all results of CK.
    """
    limits = records.upper_limit.copy()
    known = labs.where(~np.isnan(labs.upper_limit))
    bounds = np.searchsorted(known.patient, np.arange(records.size + 1))
    for i in np.flatnonzero(np.isnan(limits)):
        patient = records.patient[i]
        own = slice(bounds[patient], bounds[patient + 1])
        same = known.lab[own] == records.lab[i]
        days, offered = (known.day[own] - day0[patient])[same], known.upper_limit[own][same]
        if records.lab[i] is not None and len(days):
            at = known.instant[own][same]
            limits[i] = offered[np.lexsort((offered, at, days, np.abs(days - records.day[i])))[0]]
    missing = int(np.isnan(limits).sum())
    borrowed = int(np.isnan(records.upper_limit).sum()) - missing
    flags = {**records.flags, "borrowed_upper_limit": borrowed, "no_upper_limit": missing}
    return replace(records, upper_limit=limits, flags=flags)
