"""The facts that analyses read, one row each; `columns.py` makes columns of them."""

import json
from datetime import date
from typing import NamedTuple

from app.timeline.moments import EPOCH_DAY


class PatientRow(NamedTuple):
    """One patient's attributes; `None` where never stated."""

    id: str
    sex: str | None = None
    birth_year: int | None = None
    diagnosis: str | None = None
    weight_kg: float | None = None
    steroid_resistant: bool | None = None
    ended_day: int | None = None
    ended_reason: str | None = None


class LabRow(NamedTuple):
    """One laboratory result in canonical units; `patient` is the identifier."""

    patient: str
    code: str
    day: int
    instant: int | None
    utc: bool
    value: float
    upper_limit: float | None
    comparator: str | None
    issued: int | None
    lab: str | None


class AssessmentRow(NamedTuple):
    """One score."""

    patient: str
    code: str
    day: int
    instant: int | None
    utc: bool
    score: float
    scale_max: float | None
    issued: int | None


class InfusionRow(NamedTuple):
    """One infusion."""

    patient: str
    product: str
    day: int
    instant: int | None
    utc: bool
    dose: float | None
    unit: str | None
    course: int | None


class MedicationRow(NamedTuple):
    """One drug at one dose over a period."""

    patient: str
    drug: str
    start_day: int
    end_day: int | None
    dose: float | None
    unit: str | None


class EventRow(NamedTuple):
    """One adverse event."""

    patient: str
    day: int | None
    instant: int | None
    utc: bool
    term: str
    severity: str | None
    serious: bool | None
    related: str | None


def patient_row(patient: str, attributes: dict[str, str]) -> PatientRow:
    """A patient's row from the JSON text of each attribute."""
    read = {name: json.loads(text) for name, text in attributes.items()}
    ended = read.get("ended")
    weight = read.get("weight_kg")
    return PatientRow(
        patient,
        read.get("sex"),
        read.get("birth_year"),
        read.get("diagnosis"),
        float(weight) if weight is not None else None,
        read.get("steroid_resistant"),
        date.fromisoformat(ended["date"]).toordinal() - EPOCH_DAY if ended else None,
        ended["reason"] if ended else None,
    )
