"""Many cohorts as one: the same patients again and again, with other values after treatment.

The derivation of a patient uses only the rows of that patient. So the derivation of the one cohort, cut into parts of
equal length, equals the derivations of the single cohorts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np

from app.derive.exposure import Exposure
from app.derive.study import DerivedStudy
from app.protocol.model import Protocol
from app.timeline.cohort import COMPARATORS, NO_TIME, Assessments, Cohort, Floats, Ints, Labs, Table
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

OneTable = TypeVar("OneTable", bound=Table)


@dataclass(frozen=True, slots=True, eq=False)
class LaterRows:
    """All results of one measure after day 0 of treated patients: their rows in the table of the cohort, sorted by
    patient and day. `day` counts from day 0. `decimals` is how many decimals the values of the measure have, at most 3.
    """

    rows: Ints
    patient: Ints
    day: Ints
    decimals: int


@dataclass(frozen=True, slots=True, eq=False)
class RepeatedCohorts:
    """The cohort of a study with only what derivations from its measures read: no adverse events, no other results."""

    cohort: Cohort
    protocol: Protocol
    exposure: Exposure
    _derived: dict[tuple[int, frozenset[str]], DerivedStudy] = field(default_factory=dict)
    """The first study that was made for a number of times and for measures."""

    @classmethod
    def of(cls, study: DerivedStudy) -> "RepeatedCohorts":
        """The cohort of a study."""
        cohort, used = study.cohort, study.protocol.measures
        labs, scores = ([place for place, code in enumerate(codes) if code in used]
                        for codes in (LAB_CODES, ASSESSMENT_CODES))  # fmt: skip
        read = replace(
            cohort,
            labs=cohort.labs.where(np.isin(cohort.labs.code, labs)),
            assessments=cohort.assessments.where(np.isin(cohort.assessments.code, scores)),
            events=cohort.events.where(np.zeros(len(cohort.events), dtype=np.bool_)),
        )
        return cls(read, study.protocol, study.exposure)

    @property
    def rows(self) -> int:
        """Results and scores of one cohort."""
        return len(self.cohort.labs) + len(self.cohort.assessments)

    def later_rows(self, measure: str) -> LaterRows:
        """The rows whose values a repetition replaces."""
        labs, scores = self.cohort.labs, self.cohort.assessments
        table: Labs | Assessments = labs if measure in LAB_CODES else scores
        place = LAB_CODES.index(measure) if measure in LAB_CODES else ASSESSMENT_CODES.index(measure)
        values, of_measure = labs.value if measure in LAB_CODES else scores.score, table.code == place
        digits = next((n for n in range(3) if np.array_equal(np.round(values, n)[of_measure], values[of_measure])), 3)
        day0 = self.exposure.day0[table.patient]
        rows = np.flatnonzero(of_measure & (day0 != NO_TIME) & (table.day > day0))
        return LaterRows(rows, table.patient[rows], (table.day - day0)[rows], digits)

    def repeated(self, times: int, values: Mapping[str, tuple[LaterRows, Floats]]) -> DerivedStudy:
        """The study `times` times, as patients of one cohort. `values` has for some measures the exact values of their
        `later_rows`, one row for each time; those of one day are equal. So which records are kept, and which serve a
        visit, is the same each time. It is derived for the first study with these measures, and not for later ones.
        """
        cohort, size = self.cohort, len(self.cohort)
        labs, scores = _repeated(cohort.labs, times, size), _repeated(cohort.assessments, times, size)
        value, comparator = np.tile(cohort.labs.value, (times, 1)), np.tile(cohort.labs.comparator, (times, 1))
        score = np.tile(cohort.assessments.score, (times, 1))
        for measure, (later, drawn) in values.items():
            if measure in LAB_CODES:
                value[:, later.rows], comparator[:, later.rows] = drawn, COMPARATORS[None]
            else:
                score[:, later.rows] = drawn
        whole = replace(
            cohort,
            patients=cohort.patients * times,
            labs=replace(labs, value=value.ravel(), comparator=comparator.ravel()),
            assessments=replace(scores, score=score.ravel()),
            infusions=_repeated(cohort.infusions, times, size),
            medications=_repeated(cohort.medications, times, size),
        )
        whole.know_death_day(np.tile(cohort.death_day, times))
        known = self._derived.get((times, frozenset(values)))
        if known is not None:
            return known.with_values(whole)
        study = DerivedStudy(whole, self.protocol, _repeated_exposure(self.exposure, times, size))
        return self._derived.setdefault((times, frozenset(values)), study)


def _repeated(table: OneTable, times: int, size: int) -> OneTable:
    if times == 1:
        return table
    columns: dict[str, Any] = {part.name: np.tile(getattr(table, part.name), times) for part in fields(table)}
    columns["patient"] = columns["patient"] + np.repeat(np.arange(times) * size, len(table))
    return type(table)(**columns)


def _repeated_exposure(exposure: Exposure, times: int, size: int) -> Exposure:
    arrays = {part.name: getattr(exposure, part.name) for part in fields(exposure) if part.name not in _NO_ARRAY}
    tiled: dict[str, Any] = {name: np.tile(array, times) for name, array in arrays.items()}
    return replace(exposure, given=_repeated(exposure.given, times, size), **tiled)


_NO_ARRAY = ("given", "flags")
"""The fields of `Exposure` that are no array. Flags are counted for the one cohort."""
