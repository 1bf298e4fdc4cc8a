"""Between which two draws CK became normal, and between which two it became abnormal again.

A spell of normal CK is seen from its first normal draw; it began after the last abnormal draw before that. It was still
there at its last normal draw and over at the first abnormal one. Draws of unknown normality count for nothing.
"""

from dataclasses import dataclass

import numpy as np

from app.derive.ck.ck_normal import ABNORMAL, NORMAL, UNKNOWN, FirstNormal, Spells
from app.derive.records import Records
from app.derive.segments import INCLUDED, first_where, last_where, pick_int
from app.timeline.cohort import NO_TIME, Bools, Ints


@dataclass(frozen=True, slots=True, eq=False)
class SpellIntervals:
    """One row per patient, of those in the risk set of `Spells` (`in_set`); days from the first normal CK, its `start`.

    CK became abnormal in (`left`, `right`], where `right` is `NO_TIME` if it was never seen to. The spell began in
    (`start_after`, `start`], two days counted from day 0: the last abnormal CK before it, or day 0 if that is later. So
    it lasted longer than `left` and less than `longest`, the days from `start_after` to the first abnormal CK
    (`NO_TIME` likewise); `seen_longest` is the same up to the end of what was seen. `gaps` holds the days between
    neighbouring CKs of known normality in a spell, up to the one that ended it, of all patients in the risk set.
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
        """Whether CK was seen abnormal again."""
        ended: Bools = self.right != NO_TIME
        return ended

    @property
    def seen(self) -> Ints:
        """The days to the draw at which CK was found abnormal, or to the last one of known normality."""
        return np.where(self.ended, self.right, self.left)


@dataclass(frozen=True, slots=True, eq=False)
class FirstNormalIntervals:
    """One row per patient, of those who are `evaluable`; days from day 0. A CK that was normal before is none of them.

    CK became normal in (`left`, `right`]: after the last abnormal CK after day 0 (or day 0), and at the first normal
    one at the latest; `right` is `NO_TIME` if there is none.
    """

    evaluable: Bools
    left: Ints
    right: Ints


def spell_intervals(records: Records, known: Ints, spells: Spells) -> SpellIntervals:
    """The intervals of the first normal spell of each patient; `known` is `normality(records)`."""
    patient, day, size = records.patient, records.day, records.size
    in_set = np.array([reason == INCLUDED for reason in spells.reason], dtype=np.bool_)
    start = np.where(in_set, spells.start, 0)
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
    return SpellIntervals(
        in_set,
        start_after,
        start,
        left,
        right,
        np.where(ended, right + earlier, NO_TIME),
        np.where(ended, right, left) + earlier,
        _gaps(patient[within], day[within]),
    )


def first_normal_intervals(records: Records, known: Ints, first: FirstNormal) -> FirstNormalIntervals:
    """The intervals in which CK first became normal; `known` is `normality(records)`.

    `first` says who is evaluable: not who was known to be normal before, for then nothing became normal after day 0.
    """
    patient, day, size = records.patient, records.day, records.size
    before = last_where(patient, size, (known == ABNORMAL) & (day > 0) & (day < first.time[patient]))
    left = np.where(first.reached, np.maximum(pick_int(day, before, 0), 0), first.time)
    return FirstNormalIntervals(first.evaluable, left, np.where(first.reached, first.time, NO_TIME))


def _gaps(patient: Ints, day: Ints) -> Ints:
    """Days between neighbouring rows of one patient."""
    gaps: Ints = np.diff(day)[patient[1:] == patient[:-1]]
    return gaps
