"""Many cohorts as one: the same patients again and again, with other values after treatment.

The derivation of a patient uses only the rows of that patient. So the derivation of the one cohort, cut into parts of
equal length, equals the derivations of the single cohorts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from app.derive.study import DerivedStudy
from app.timeline.cohort import COMPARATORS, NO_TIME, Assessments, Cohort, Floats, Ints, Labs, Table
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

OneTable = TypeVar("OneTable", bound=Table)
Coded = Labs | Assessments


@dataclass(frozen=True, slots=True, eq=False)
class LaterRows:
    """The rows of one measure after day 0, in the cohort's table, sorted by patient and day (from day 0)."""

    rows: Ints
    patient: Ints
    day: Ints


def later_rows(study: DerivedStudy, measure: str) -> LaterRows:
    """All results of a measure after day 0 of treated patients."""
    table, code = _table_of(study.cohort, measure)
    day0 = study.exposure.day0[table.patient]
    rows = np.flatnonzero((table.code == code) & (day0 != NO_TIME) & (table.day > day0))
    return LaterRows(rows, table.patient[rows], table.day[rows] - day0[rows])


def decimals(study: DerivedStudy, measure: str) -> int:
    """How many decimals the values of a measure have, at most three."""
    table, code = _table_of(study.cohort, measure)
    values = _values(table)[table.code == code]
    return next((digits for digits in range(3) if np.array_equal(np.round(values, digits), values)), 3)


def repeated_cohort(study: DerivedStudy, times: int, values: Mapping[str, Floats]) -> Cohort:
    """The cohort `times` times, as patients of one cohort. `values` has for some measures the exact values of their
    `later_rows`, one row for each time. Results of measures that the protocol does not use and adverse events are left
    out.
    """
    cohort, used = study.cohort, study.protocol.measures
    labs, scores = _repeated(cohort.labs, times, len(cohort)), _repeated(cohort.assessments, times, len(cohort))
    value, comparator = np.tile(cohort.labs.value, (times, 1)), np.tile(cohort.labs.comparator, (times, 1))
    score = np.tile(cohort.assessments.score, (times, 1))
    for measure, drawn in values.items():
        rows = later_rows(study, measure).rows
        if measure in LAB_CODES:
            value[:, rows], comparator[:, rows] = drawn, COMPARATORS[None]
        else:
            score[:, rows] = drawn
    labs = replace(labs, value=value.ravel(), comparator=comparator.ravel())
    scores = replace(scores, score=score.ravel())
    return replace(
        cohort,
        patients=cohort.patients * times,
        labs=labs.where(np.isin(labs.code, [place for place, code in enumerate(LAB_CODES) if code in used])),
        assessments=scores.where(
            np.isin(scores.code, [place for place, code in enumerate(ASSESSMENT_CODES) if code in used])
        ),
        infusions=_repeated(cohort.infusions, times, len(cohort)),
        medications=_repeated(cohort.medications, times, len(cohort)),
        events=cohort.events.where(np.zeros(len(cohort.events), dtype=np.bool_)),
    )


def _table_of(cohort: Cohort, measure: str) -> tuple[Coded, int]:
    if measure in LAB_CODES:
        return cohort.labs, LAB_CODES.index(measure)
    return cohort.assessments, ASSESSMENT_CODES.index(measure)


def _values(table: Coded) -> Floats:
    return table.value if isinstance(table, Labs) else table.score


def _repeated(table: OneTable, times: int, size: int) -> OneTable:
    columns: dict[str, Any] = {part.name: np.tile(getattr(table, part.name), times) for part in fields(table)}
    columns["patient"] = columns["patient"] + np.repeat(np.arange(times) * size, len(table))
    return type(table)(**columns)
