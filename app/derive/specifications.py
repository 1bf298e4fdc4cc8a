"""Who responded, or was in remission, under every definition of a grid: one measure at a time, each part once.

What a window shows and what a baseline is are found once for every patient; a definition then only compares two
columns. With p patients, r records and s definitions that is r for each window and p for each definition.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np

from app.derive.before_dose import BeforeDose, all_at, before_dose
from app.derive.ck.ck_normal import NORMAL, UNKNOWN
from app.derive.exact import at_most_zero
from app.derive.segments import any_where, last_where
from app.derive.study import DerivedStudy
from app.protocol.specification import (
    AnalysisSet,
    BaselineRule,
    BestEnd,
    CkNormal,
    CkPercentOfBaseline,
    Criterion,
    DaysWindow,
    Kind,
    MeasureGrid,
    PercentBetter,
    PointsBetter,
    Specification,
    VisitWindow,
)
from app.timeline.cohort import Bools, Floats

_AT_LEAST = 3
"""Comparators from this one on say that the value may be any higher one, which proves no fall."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """One row per patient: whether a definition counts the patient (`evaluable`) and calls it a responder."""

    evaluable: Bools
    responder: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a window shows of each patient.

    `best` is the best value judged, NaN where there is none (of a CK, the lowest that is no bound from below). For a
    CK `normal` and `sustained` say whether one judged is normal, and whether the next of known normality is normal too;
    `known` whether the normality of one judged is known.
    """

    present: Bools
    best: Floats
    normal: Bools
    sustained: Bools
    known: Bools


class SpecificationVerdicts:
    """The verdicts of every definition of one measure."""

    def __init__(self, study: DerivedStudy, grid: MeasureGrid, look_back_days: int | None) -> None:
        self.study = study
        self.grid = grid
        self._look_back_days = look_back_days
        self._records = study.records(grid.measure)
        self._is_ck = grid.measure == "CK"
        self._known = study.ck_known if self._is_ck else np.full(len(self._records.day), UNKNOWN)
        self._scale = None if self._is_ck else study.protocol.scale(grid.measure)
        self._better = 1 if self._scale is not None and self._scale.better == "higher" else -1
        self._baselines: dict[BaselineRule, BeforeDose] = {}
        self._windows: dict[DaysWindow | VisitWindow, Seen] = {}

    def each(self, kind: Kind) -> Iterator[tuple[Specification, Verdicts]]:
        """Every definition of response or remission with its verdicts, in the order of the grid."""
        judged: tuple[Bools, Bools] | None = None
        before: tuple[object, ...] = ()
        for specification in self.grid.specifications(kind):
            parts = (specification.criterion, specification.window, specification.baseline)
            if judged is None or parts != before:
                judged, before = self._judge(specification), parts
            yield specification, self._counted(specification, *judged)

    def verdicts(self, specification: Specification) -> Verdicts:
        """The verdicts of one definition."""
        return self._counted(specification, *self._judge(specification))

    def _counted(self, specification: Specification, judged: Bools, satisfied: Bools) -> Verdicts:
        """A set and a rule for missing values laid over who could be judged and who satisfied the criterion."""
        members = self._members(specification.analysis_set)
        evaluable = members & judged if specification.missing == "left_out" else members
        return Verdicts(evaluable, members & judged & satisfied)

    def _members(self, analysis_set: AnalysisSet) -> Bools:
        if analysis_set == "safety":
            return self.study.safety
        return self.study.efficacy if analysis_set == "efficacy" else self._complete

    @cached_property
    def _complete(self) -> Bools:
        """Patients of the efficacy set whom every definition of the grid can judge."""
        complete = self.study.efficacy
        for criterion in (*self.grid.thresholds, *self.grid.remissions):
            for window in self.grid.windows:
                for baseline in self.grid.baselines:
                    complete = complete & self._judged(criterion, self._seen(window), self._before(baseline))
        return complete

    def _judge(self, specification: Specification) -> tuple[Bools, Bools]:
        """Who can be judged by a criterion, window and baseline, and who satisfies it."""
        seen, before = self._seen(specification.window), self._before(specification.baseline)
        judged = self._judged(specification.criterion, seen, before)
        return judged, self._satisfied(specification.criterion, seen, before)

    def _judged(self, criterion: Criterion, seen: Seen, before: BeforeDose) -> Bools:
        """As for a declared rule: there is a baseline from which the patient can improve, and a value to judge."""
        judged = ~before.missing & seen.present
        if self._scale is None:
            judged &= ~before.normal
        else:
            judged &= ~all_at(before, self._best_end)
        if isinstance(criterion, PercentBetter | CkPercentOfBaseline):
            judged &= before.value != 0
        return judged & seen.known if isinstance(criterion, CkNormal) else judged

    def _satisfied(self, criterion: Criterion, seen: Seen, before: BeforeDose) -> Bools:
        sign = self._better
        if isinstance(criterion, CkPercentOfBaseline):
            fallen = before.at_most_zero(-criterion.percent_of_baseline, 100, seen.best) & ~before.unproven
            return fallen | seen.normal if criterion.or_normal else fallen
        if isinstance(criterion, CkNormal):
            return seen.sustained if criterion.sustained else seen.normal
        if isinstance(criterion, BestEnd):
            ends = (sign, np.full(len(seen.best), self._best_end)), (-sign, seen.best)
            return at_most_zero(*ends, (-criterion.within_points, np.ones(len(seen.best))))
        if isinstance(criterion, PointsBetter):
            return before.at_most_zero(sign, -sign, seen.best, criterion.points)
        share = float(Decimal(repr(criterion.percent)) + 100 * sign)  # the decimal that a sum of floats may miss
        return before.at_most_zero(share, -100 * sign, seen.best)

    @property
    def _best_end(self) -> float:
        if self._scale is None:
            raise ValueError("a CK has no scale")
        return self._scale.maximum if self._better == 1 else self._scale.minimum

    def _before(self, rule: BaselineRule) -> BeforeDose:
        if rule not in self._baselines:
            self._baselines[rule] = before_dose(self._records, rule, self._known, self._better, self._look_back_days)
        return self._baselines[rule]

    def _seen(self, window: DaysWindow | VisitWindow) -> Seen:
        if window not in self._windows:
            self._windows[window] = self._look(self._chosen(window))
        return self._windows[window]

    def _chosen(self, window: DaysWindow | VisitWindow) -> Bools:
        """The records that a window judges: all or the last of its days, or the one of a visit."""
        records = self._records
        if isinstance(window, DaysWindow):
            inside: Bools = (records.day >= window.days[0]) & (records.day <= window.days[1])
            if window.value == "best":
                return inside
            rows = last_where(records.patient, records.size, inside)
        else:
            rows = self.study.weeks(self.grid.measure)[window.week]
        chosen = np.zeros(len(records.day), dtype=np.bool_)
        chosen[rows[rows >= 0]] = True
        return chosen

    def _look(self, chosen: Bools) -> Seen:
        records = self._records

        def some(rows: Bools) -> Bools:
            return any_where(records.patient, records.size, chosen & rows)

        exact = chosen & (records.comparator < _AT_LEAST)
        best = np.full(records.size, -np.inf)
        np.maximum.at(best, records.patient[exact], self._better * records.value[exact])
        return Seen(
            present=some(chosen),
            best=np.where(np.isinf(best), np.nan, self._better * best),
            normal=some(self._known == NORMAL),
            sustained=some(self._sustained),
            known=some(self._known != UNKNOWN),
        )

    @cached_property
    def _sustained(self) -> Bools:
        """Whether a CK is normal and so is the next one of its patient whose normality is known.

        The last of all is not confirmed.
        """
        rows = np.flatnonzero(self._known != UNKNOWN)
        patient, normal = self._records.patient[rows], self._known[rows] == NORMAL
        sustained = np.zeros(len(self._known), dtype=np.bool_)
        sustained[rows[:-1]] = normal[:-1] & normal[1:] & (patient[:-1] == patient[1:])
        return sustained
