"""Whether a CK is normal, the days until it first was, and how long it stayed normal.

The times are given as single days (remission episodes, first normal CK), as intervals between two draws, confirmed by a
second CK, and as the share of days with normal CK.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.chunks import ROWS_AT_ONCE
from app.derive.per_patient import any_where, first_reason, first_where, included, last_where, pick_int
from app.derive.reasons import ExclusionReason, FlagCode
from app.derive.visit_values import VisitValues
from app.timeline.cohort import NO_TIME, Bools, Ints, Labs, Words

NORMAL, ABNORMAL, UNKNOWN = 1, 0, -1
"""The normality of a value: abnormal is one more than unknown, normal is two more."""
_BELOW, _AT_MOST, _AT_LEAST, _ABOVE = 1, 2, 3, 4


@dataclass(frozen=True, slots=True, eq=False)
class RemissionEpisodes:
    """One row per patient: the first remission episode after treatment.

    `reason` says why a patient is not in the risk set; it is None for the patients who are. `start` is the day of the
    first normal CK after day 0 (`NO_TIME` if there is none), `duration` the days from it to the first later abnormal CK
    (`relapsed`) or to the last CK whose normality is known.
    """

    reason: tuple[ExclusionReason | None, ...]
    start: Ints
    duration: Ints
    relapsed: Bools


@dataclass(frozen=True, slots=True, eq=False)
class FirstNormal:
    """One row per patient: days from day 0 to the first normal CK (`reached`) or to the last one of known normality.

    `reason` says why a patient is not in the estimate; it is None for the patients who are (`evaluable`).
    """

    reason: tuple[ExclusionReason | None, ...]
    evaluable: Bools
    time: Ints
    reached: Bools


def normality(records: AnalysisValues | VisitValues) -> Ints:
    """NORMAL, ABNORMAL or UNKNOWN for each record: a value equal to its own upper limit is normal.

    A bound is judged only where it decides: `<x` is normal if x is at most the limit, `>x` is abnormal if x is at
    least the limit. Without an upper limit the normality is unknown.
    """
    known = np.empty(len(records.value), dtype=np.int64)
    for start in range(0, len(known), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        value, limit, sign = records.value[part], records.upper_limit[part], records.comparator[part]
        normal, abnormal = value <= limit, value > limit
        if sign.any():
            abnormal = abnormal & ((sign == 0) | (sign == _AT_LEAST)) | (value >= limit) & (sign == _ABOVE)
            normal = normal & ((sign == 0) | (sign == _BELOW) | (sign == _AT_MOST))
        known[part] = UNKNOWN + abnormal.view(np.int8) + 2 * normal.view(np.int8)  # never both
    return known


def remission_episodes(
    records: AnalysisValues,
    known: Ints,
    base: Ints,
    excluded: Sequence[tuple[ExclusionReason, Bools]],
    *,
    confirmed: bool = False,
) -> RemissionEpisodes:
    """The first remission episode of each patient whose baseline CK was abnormal.

    With `confirmed` it begins at the first normal CK whose next CK of known normality is normal too.

    `known` is `normality(records)`. `base` is the baseline row of each patient. `excluded` holds reasons with their
    masks; they are checked before the reasons of this function.
    """
    size = records.size
    after = records.day > 0
    last = last_where(records.patient, size, after & (known != UNKNOWN))
    normal = after & (known == NORMAL)
    origin = first_where(records.patient, size, normal & normal_twice(records, known) if confirmed else normal)
    start = pick_int(records.day, origin, NO_TIME)
    from_day = np.where(start == NO_TIME, -NO_TIME, start)  # for those who have none, after all days
    later = records.day > from_day[records.patient]
    relapse = first_where(records.patient, size, later & (known == ABNORMAL))
    end = np.where(relapse >= 0, pick_int(records.day, relapse, 0), pick_int(records.day, last, 0))
    checks = (
        *may_become_normal(records, known, base, last, excluded),
        (ExclusionReason.NEVER_NORMAL, ~any_where(records.patient, size, normal) if confirmed else origin < 0),
        (ExclusionReason.NEVER_SUSTAINED, origin < 0),
    )
    return RemissionEpisodes(first_reason(checks, size), start, np.where(origin >= 0, end - start, 0), relapse >= 0)


def not_abnormal_at_baseline(known: Ints, base: Ints) -> tuple[tuple[ExclusionReason, Bools], ...]:
    """The one rule by which a CK response and the times with normal CK leave patients out because of their baseline."""
    at_baseline = pick_int(known, base, UNKNOWN)
    return (
        (ExclusionReason.NO_BASELINE, base < 0),
        (ExclusionReason.NORMAL_AT_BASELINE, at_baseline == NORMAL),
        (ExclusionReason.BASELINE_NORMALITY_UNKNOWN, at_baseline == UNKNOWN),
    )


def may_become_normal(
    records: AnalysisValues, known: Ints, base: Ints, last: Ints, excluded: Sequence[tuple[ExclusionReason, Bools]]
) -> tuple[tuple[ExclusionReason, Bools], ...]:
    """Why patients are left out of the time to the first normal CK, in every question; the first reason counts. `last`
    is the row of the last CK of known normality after day 0.
    """
    return (
        *excluded,
        *not_abnormal_at_baseline(known, base),
        (ExclusionReason.NO_VALUE_AFTER_BASELINE, ~records.is_seen_after),
        (ExclusionReason.NORMALITY_UNKNOWN, last < 0),
    )


def time_to_first_normal(
    records: AnalysisValues, known: Ints, base: Ints, excluded: Sequence[tuple[ExclusionReason, Bools]]
) -> FirstNormal:
    """Days from day 0 to the first normal CK, for patients whose baseline CK was abnormal and who have a CK of known
    normality after day 0. The parameters are those of `remission_episodes`.
    """
    size = records.size
    after = (records.day > 0) & (known != UNKNOWN)
    first = first_where(records.patient, size, after & (known == NORMAL))
    last = last_where(records.patient, size, after)
    day = np.where(first >= 0, pick_int(records.day, first, 0), pick_int(records.day, last, 0))
    reason = first_reason(may_become_normal(records, known, base, last, excluded), size)
    return FirstNormal(reason, included(reason), day, first >= 0)


def borrow_limits(records: AnalysisValues, lab: Words, labs: Labs, day0: Ints) -> AnalysisValues:
    """The records, with missing upper limits borrowed from other results of the same patient and laboratory.

    The limit nearest in time is used. Of two equally near limits the earlier is used, then the smaller; a result
    without a clock time is the first of its day. `lab` is the laboratory of each record, `labs` are all results of CK.
    Flags count the borrowed limits and those that are still missing.
    """
    limits = records.upper_limit.copy()
    known = labs.where(~np.isnan(labs.upper_limit))
    bounds = np.searchsorted(known.patient, np.arange(records.size + 1))
    for i in np.flatnonzero(np.isnan(limits)):
        patient = records.patient[i]
        own = slice(bounds[patient], bounds[patient + 1])
        same = known.lab[own] == lab[i]
        days, offered = (known.day[own] - day0[patient])[same], known.upper_limit[own][same]
        if lab[i] is not None and len(days):
            at = known.instant[own][same]
            limits[i] = offered[np.lexsort((offered, at, days, np.abs(days - records.day[i])))[0]]
    missing = int(np.isnan(limits).sum())
    borrowed = int(np.isnan(records.upper_limit).sum()) - missing
    flags = {**records.flags, FlagCode.BORROWED_UPPER_LIMIT: borrowed, FlagCode.NO_UPPER_LIMIT: missing}
    return replace(records, upper_limit=limits, flags=flags)


@dataclass(frozen=True, slots=True, eq=False)
class Sustained:
    """One row per patient, in days from day 0.

    `start` is the day of the first of two consecutive normal CKs after day 0, `end` the day of the first of two
    consecutive abnormal ones after that (`NO_TIME` if there is none), `last` the last CK after day 0.
    """

    start: Ints
    end: Ints
    last: Ints


@dataclass(frozen=True, slots=True, eq=False)
class DaysNormal:
    """One row per patient: twice the days followed, and twice the days with normal CK by each of two rules.

    The days are doubled because the midpoint between two draws may be a half day. `days` is 0 for a patient with fewer
    than two CKs of known normality; such a patient has no share.
    """

    days: Ints
    carried_forward: Ints
    midpoint: Ints


def normal_twice(records: AnalysisValues, known: Ints) -> Bools:
    """Whether each CK is normal, and the patient's next CK of known normality is normal too.

    The last CK of a patient is not confirmed.
    """
    rows = np.flatnonzero(known != UNKNOWN)
    normal = known[rows] == NORMAL
    twice = np.zeros(len(known), dtype=np.bool_)
    twice[rows[:-1]] = normal[:-1] & normal[1:] & _same_patient(records.patient[rows])
    return twice


def sustained(records: AnalysisValues, known: Ints) -> Sustained:
    """Confirmed normality and confirmed relapse. `known` is `normality(records)`."""
    rows = np.flatnonzero((records.day > 0) & (known != UNKNOWN))
    patient, day, state, size = records.patient[rows], records.day[rows], known[rows], records.size
    again = _same_patient(patient) & (state[1:] == state[:-1])
    confirmed = np.concatenate([again, [False]]) if len(rows) else np.zeros(0, dtype=np.bool_)
    start = pick_int(day, first_where(patient, size, confirmed & (state == NORMAL)), NO_TIME)
    later = (start[patient] != NO_TIME) & (day > start[patient])
    end = pick_int(day, first_where(patient, size, confirmed & later & (state == ABNORMAL)), NO_TIME)
    last = pick_int(day, last_where(patient, size, np.ones(len(rows), dtype=np.bool_)), NO_TIME)
    return Sustained(start, end, last)


def days_normal(records: AnalysisValues, known: Ints, base: Ints) -> DaysNormal:
    """How long CK was normal between the first and the last draw of known normality.

    The baseline (row `base`) counts as day 0. `carried_forward`: each state lasts until the next draw. `midpoint`: the
    state changes half-way between two draws.
    """
    is_base = np.zeros(len(known), dtype=np.bool_)
    is_base[base[base >= 0]] = True
    rows = np.flatnonzero((is_base | (records.day > 0)) & (known != UNKNOWN))
    patient, day = records.patient[rows], np.maximum(records.day[rows], 0)
    normal = (known[rows] == NORMAL).astype(np.int64)
    gap = np.where(_same_patient(patient), day[1:] - day[:-1], 0)
    owner = patient[:-1]

    def total(twice: Ints) -> Ints:
        return np.bincount(owner, weights=twice, minlength=records.size).astype(np.int64)

    return DaysNormal(total(2 * gap), total(2 * gap * normal[:-1]), total(gap * (normal[:-1] + normal[1:])))


def _same_patient(patient: Ints) -> Bools:
    """Whether the next row belongs to the same patient; one entry for each row except the last."""
    same: Bools = patient[1:] == patient[:-1]
    return same


@dataclass(frozen=True, slots=True, eq=False)
class RemissionIntervals:
    """One row per patient; only the rows of the risk set of `RemissionEpisodes` (`in_set`) have a meaning.

    The episode began in (`start_after`, `start`]. Both are days from day 0: `start` is the first normal CK,
    `start_after` the last abnormal CK before it, or day 0 if that is later.

    The other days count from `start`. CK became abnormal in (`left`, `right`]; `right` is `NO_TIME` if no abnormal CK
    followed. So the episode lasted longer than `left` and less than `longest`, the days from `start_after` to the first
    abnormal CK (`NO_TIME` if none followed). `seen_longest` is the same, but up to the last CK if none followed.
    `gaps` holds the days between neighbouring CKs of known normality within an episode, up to the CK that ended it,
    for all patients in the risk set.
    """

    in_set: Bools
    start_after: Ints
    start: Ints
    left: Ints
    right: Ints
    longest: Ints
    seen_longest: Ints
    gaps: Ints

    @property
    def ended(self) -> Bools:
        """Whether an abnormal CK followed."""
        ended: Bools = self.right != NO_TIME
        return ended

    @property
    def seen(self) -> Ints:
        """The days to the first abnormal CK, or to the last CK of known normality if no abnormal CK followed."""
        return np.where(self.ended, self.right, self.left)


@dataclass(frozen=True, slots=True, eq=False)
class FirstNormalIntervals:
    """One row per patient, in days from day 0; only the rows of `evaluable` patients have a meaning.

    CK became normal in (`left`, `right`]: `left` is the
    last abnormal CK after day 0 (or day 0), `right` the first normal CK (`NO_TIME` if there is none).
    """

    evaluable: Bools
    left: Ints
    right: Ints


def remission_intervals(records: AnalysisValues, known: Ints, episodes: RemissionEpisodes) -> RemissionIntervals:
    """The intervals in which the first remission episode of each patient began and ended.

    `known` is `normality(records)`.
    """
    patient, day, size = records.patient, records.day, records.size
    in_set = included(episodes.reason)
    start = np.where(in_set, episodes.start, 0)
    inside = in_set[patient]
    relapse = first_where(patient, size, inside & (known == ABNORMAL) & (day > start[patient]))
    end = pick_int(day, relapse, NO_TIME)
    ended = end != NO_TIME
    within = inside & (known != UNKNOWN) & (day >= start[patient]) & (~ended[patient] | (day <= end[patient]))
    last_normal = last_where(patient, size, within & (known == NORMAL))
    before = last_where(patient, size, inside & (known == ABNORMAL) & (day < start[patient]))
    start_after = np.maximum(pick_int(day, before, 0), 0)
    left = np.where(in_set, pick_int(day, last_normal, 0) - start, 0)
    right = np.where(ended, end - start, NO_TIME)
    earlier = start - start_after
    return RemissionIntervals(
        in_set,
        start_after,
        start,
        left,
        right,
        np.where(ended, right + earlier, NO_TIME),
        np.where(ended, right, left) + earlier,
        _gaps(patient[within], day[within]),
    )


def first_normal_intervals(records: AnalysisValues, known: Ints, first: FirstNormal) -> FirstNormalIntervals:
    """The intervals in which CK first became normal; `known` is `normality(records)`.

    `first` says which patients are evaluable.
    """
    patient, day, size = records.patient, records.day, records.size
    before = last_where(patient, size, (known == ABNORMAL) & (day > 0) & (day < first.time[patient]))
    left = np.where(first.reached, np.maximum(pick_int(day, before, 0), 0), first.time)
    return FirstNormalIntervals(first.evaluable, left, np.where(first.reached, first.time, NO_TIME))


def _gaps(patient: Ints, day: Ints) -> Ints:
    """Days between neighbouring rows of one patient."""
    gaps: Ints = np.diff(day)[patient[1:] == patient[:-1]]
    return gaps
