"""The values that serve one visit, one row for each patient."""

from dataclasses import dataclass

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.bounded_values import BoundedValues
from app.derive.per_patient import pick, pick_int
from app.timeline.cohort import COMPARATORS, NO_TIME, Bools, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class VisitValues:
    """One row per patient: the analysis value that serves a week. Where there is none, `day` is `NO_TIME`, numbers are
    NaN and `comparator` is 0.

    `point` is the number that calculations use, as in `AnalysisValues`.
    """

    day: Ints
    value: Floats
    upper_limit: Floats
    comparator: Ints
    point: Floats

    @property
    def present(self) -> Bools:
        """Which patients have a value."""
        present: Bools = self.day != NO_TIME
        return present

    @property
    def within(self) -> BoundedValues:
        """The same numbers with the limits between which the true values lie."""
        sign = self.comparator
        below = (sign == COMPARATORS["<"]) | (sign == COMPARATORS["<="])
        above = (sign == COMPARATORS[">"]) | (sign == COMPARATORS[">="])
        low = np.where(below, 0.0, self.value)
        return BoundedValues(self.point, low, np.where(above & ~np.isnan(self.value), np.inf, self.value))

    def older_than(self, days: int) -> Bools:
        """Which values were taken more than `days` days before day 0."""
        return self.present & (self.day < -days)


def visit_values(records: AnalysisValues, rows: Ints, point: Floats | None = None) -> VisitValues:
    """The values at the row of each patient, with their `point` if it is known."""
    point = records.at(rows) if point is None else point
    return VisitValues(
        pick_int(records.day, rows, NO_TIME),
        point if records.are_exact else pick(records.value, rows),
        pick(records.upper_limit, rows),
        pick_int(records.comparator, rows, COMPARATORS[None]),
        point,
    )
