"""The values behind what a patient contributes: at baseline and at the time that is compared with it."""

from typing import Any

from pydantic import Field

from app.analyses.answer import Contribution
from app.derive.study import DerivedStudy
from app.estimate.results import Number, is_none
from app.timeline.cohort import COMPARATORS, Ints

_SIGNS = {code: sign for sign, code in COMPARATORS.items()}


class PatientValues(Contribution):
    """The baseline and the compared value of one treated patient, each null where there is none."""

    baseline: Number | None = Field(description="Value at baseline, in U/L or points.", examples=[1240])
    baseline_comparator: str | None = Field(
        default=None, exclude_if=is_none, description="`<` or `>` where only a bound is known.", examples=[None]
    )
    value: Number | None = Field(description="The value compared with it.", examples=[310])
    value_comparator: str | None = Field(
        default=None, exclude_if=is_none, description="`<` or `>` where only a bound is known.", examples=[None]
    )
    day: int | None = Field(description="Its day, counted from day 0.", examples=[28])


def values_at(study: DerivedStudy, measure: str, rows: Ints) -> list[dict[str, Any]]:
    """The fields of `PatientValues` for each patient; `rows` are those of the compared values, -1 for none."""
    records, base = study.analysis_values(measure), study.weeks(measure)[0]
    columns = [
        [None if row < 0 or not treated else int(row) for row, treated in zip(each, study.safety, strict=True)]
        for each in (base, rows)
    ]
    return [
        {
            "baseline": None if before is None else float(records.value[before]),
            "baseline_comparator": None if before is None else _SIGNS[int(records.comparator[before])],
            "value": None if row is None else float(records.value[row]),
            "value_comparator": None if row is None else _SIGNS[int(records.comparator[row])],
            "day": None if row is None else int(records.day[row]),
        }
        for before, row in zip(*columns, strict=True)
    ]


def change_of(found: dict[str, Any]) -> float | None:
    """Value minus baseline of one patient; None where either is missing or known only as a bound."""
    bounded = found["baseline_comparator"] or found["value_comparator"]
    return None if bounded or None in (found["baseline"], found["value"]) else found["value"] - found["baseline"]
