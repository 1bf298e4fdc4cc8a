"""Patients with core set measures, from what was recorded at baseline and at planned weeks."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.timeline.cohort import AssessmentRow, Cohort, InfusionRow, LabRow, PatientRow
from app.timeline.vocabulary import LAB_CODES

DAY0 = 20_000
LIMIT = 200.0
CORE = ("PHYSICIAN_GLOBAL", "PATIENT_GLOBAL", "MMT8", "HAQ", "CK", "EXTRAMUSCULAR")

Visit = Mapping[str, Any]
"""Values by code; a laboratory value may be (value, limit) or (value, limit, comparator)."""


def visit(*values: Any, codes: Sequence[str] = CORE) -> dict[str, Any]:
    """The values of the six measures in the order of `CORE`; None for one that is missing."""
    return {code: value for code, value in zip(codes, values, strict=True) if value is not None}


def cohort(*patients: Mapping[int, Visit]) -> Cohort:
    """A cohort of patients, each given as what was recorded at which week; week 0 is day 0."""
    people, labs, scores, infusions = [], [], [], []
    for number, weeks in enumerate(patients):
        who = f"P{number:06}"
        people.append(PatientRow(who))
        infusions.append(InfusionRow(who, "IVIG", DAY0, None, False, 0.4, "g/kg", None))
        for week, values in weeks.items():
            day = DAY0 + 7 * week
            for code, value in values.items():
                if code in LAB_CODES:
                    result, limit, sign = (*value, None)[:3] if isinstance(value, tuple) else (value, LIMIT, None)
                    labs.append(LabRow(who, code, day, None, False, float(result), limit, sign, None, "A"))
                else:
                    scores.append(AssessmentRow(who, code, day, None, False, float(value), None, None))
    return Cohort.assemble(people, labs, scores, infusions, [], [])
