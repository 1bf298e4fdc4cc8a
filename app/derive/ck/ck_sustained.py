"""Normal CK confirmed by a second draw, and the share of the time for which CK was normal.

Only draws whose normality is known count: a draw that tells nothing stands between two others as if it were not there.
"""

from dataclasses import dataclass

import numpy as np

from app.derive.ck.ck_normal import ABNORMAL, NORMAL, UNKNOWN
from app.derive.records import Records
from app.derive.segments import first_where, last_where, pick_int
from app.timeline.cohort import NO_TIME, Bools, Ints


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
    """One row per patient: the days followed, and how many of them were normal by each rule, both times two.

    Twice the days, because the midpoint between two draws may fall on a half day. `days` is 0 for a patient with one
    known CK or none, of whom no share can be told.
    """

    days: Ints
    carried_forward: Ints
    midpoint: Ints


def sustained(records: Records, known: Ints) -> Sustained:
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


def days_normal(records: Records, known: Ints, base: Ints) -> DaysNormal:
    """How long CK was normal between the first and the last known draw, the baseline (row `base`) counted as day 0.

    `carried_forward`: each state lasts until the next draw. `midpoint`: it changes half-way between two draws.
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
    """Whether each row but the last is followed by one of the same patient."""
    same: Bools = patient[1:] == patient[:-1]
    return same
