"""Small, difficult cohorts and protocols: every boundary of docs/definitions.md, and both sides of it.

`rows()` gives the rows of a cohort (`.cohort()` assembles it), `cohorts()` the cohort, `protocols()` a protocol. All
clock times have offset 0, so that the day as written is the day in UTC; `Rows.time_zone` may move it. No two draws of a
patient differ in nothing but comparator or laboratory: which of those is kept is not defined.
"""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from pydantic import TypeAdapter

from app.protocol.endpoints import (
    CkDecreaseOrNormal,
    CkDecreaseOrNormalAtWeek,
    CkNormalTime,
    CriterionInWindow,
    PercentAboveBaseline,
    PointsAboveBaseline,
    Response,
)
from app.protocol.model import AdverseReactions, Baseline, CkChangeWeeks, Protocol, Treatment, Visits, WeeklyChange
from app.protocol.parts import Scale
from app.protocol.presets import RELATIVE_20, SEED_2008
from app.timeline.cohort import AssessmentRow, Cohort, EventRow, InfusionRow, LabRow, MedicationRow, PatientRow
from app.timeline.times import DAY_MICROSECONDS

FIRST_DATE = 13_938
"""2008-02-29; the weeks after it hold the change of clocks in New York and Berlin."""

BASELINE_DAYS = [*range(-45, -38), *range(-31, -23), -15, -14, -8, -7, -6, *range(-3, 1), 0, 0]
TREATED_DAYS = [*range(1, 12), 17, 18, 21, *range(24, 33), 42, 43, *range(53, 61), 70, 71, 300, 301]
VISIT_DAYS = [-28, 0, 7, 14, 28, 56]

# Strategies are made once: making them again for each row takes longer than drawing from them.
YES_OR_NO = st.booleans()
SOME_DAYS = st.lists(st.sampled_from(BASELINE_DAYS + TREATED_DAYS), max_size=4)
SHIFTS = st.sampled_from([0, 0, 3, -3, 4, -4])
ONE_IN_THREE = st.sampled_from([False, False, True])

CLOCKS = st.sampled_from([None, None, None, 0, 1, 28_800_000_000, 43_200_000_000, 43_200_000_001, DAY_MICROSECONDS - 1])
"""Microseconds after midnight UTC; `None` is a date without a clock time."""

ISSUED = st.sampled_from([None, None, 1_300_000_000_000_000, 1_300_000_000_000_001])
LABS = st.sampled_from([None, "LAB-A", "LAB-A", "LAB-A", "LAB-B"])
ZONES = st.sampled_from([None, None, None, "UTC", "Asia/Tokyo", "America/New_York", "Europe/Berlin", "Etc/GMT-14"])

LAB_CODES = st.sampled_from(["CK"] * 9 + ["LDH"])
CK_BASES = st.sampled_from(["1.1", "0.77", "11", "1100", "163.3", "20000", "0.1", "3"])
CK_FACTORS = st.sampled_from(["1", "1", "0.7", "0.7", "0.69", "0.71", "0.3", "0.5", "1.4", "0", "2"])
LIMIT_FACTORS = st.sampled_from([None, None, None, "0.5", "0.5", "0.5", "0.5", "0.7", "0.3", "0.71", "0.69", "1"])
COMPARED = st.sampled_from([None] * 6 + ["<", "<=", ">", ">="])

INSTRUMENTS = st.sampled_from(
    [("MMT",), ("MMT", "ADL"), ("MMT", "ADL"), ("ADL", "HAQ"), ("PHYSICIAN_GLOBAL", "MMT"), ()]
)
SCORES = {
    "MMT": [0, 0.1, 5.1, 50, 54.9, 55, 55, 60, 60, 60.1, 65, 65.1, 66, 72, 72.1, 94.9, 95, 95.1, 99.9, 100, 100.1],
    "ADL": [0, 0.3, 2.3, 2.3, 3.3, 5.3, 20, 20, 22.9, 23, 24, 24.1, 40, 43, 46.9, 47, 47.1, 48, 49.9, 50, 50.1],
    "HAQ": [0, 0.1, 0.4, 0.7, 1, 1.3, 2.4, 2.7, 3, 3.1],
    "PHYSICIAN_GLOBAL": [0, 0.1, 1.1, 2, 2.1, 7.7, 8.8, 9.9, 10, 11],
}
SCORE = {code: st.sampled_from([float(score) for score in scores]) for code, scores in SCORES.items()}
SCALE_MAX = {
    "MMT": st.sampled_from([None] * 5 + [100.0] * 5 + [80.0]),
    "ADL": st.sampled_from([None] * 5 + [50.0] * 5 + [100.0]),
    "HAQ": st.none(),
    "PHYSICIAN_GLOBAL": st.none(),
}

UNTREATED = st.sampled_from([False] * 7 + [True])
STEPS: list[list[int]] = [[], [], [1], [1, 1], [0, 1], [14], [13, 14], [15], [1, 13, 15], [14, 15], [28], [300]]
GAPS = st.sampled_from(STEPS)
OTHER_START = st.sampled_from([None, None, None, None, -20, -14, -1, 0, 1, 14, 15, 40])
COURSE_NUMBERS = st.sampled_from([None, None, None, None, None, 1, 1, 2])

ONSETS = st.lists(st.sampled_from([None, -20, -1, 0, 0, 0, 1, 59, 301]), max_size=4)
TERMS = st.sampled_from(["Headache", "Nausea", "Rash"])
SEVERITIES = st.sampled_from([None, "mild", "severe"])
MAYBE = st.sampled_from([None, False, True])
RELATIONS = st.sampled_from(
    [None, "true", "false", "definite", "probable", "possible", "unlikely", "unrelated", "unknown"]
)

STARTS = st.sampled_from([0, 8, 27, 30])
SEXES = st.sampled_from([None, "female", "male"])
DIAGNOSES = st.sampled_from([None, "polymyositis", "dermatomyositis"])
ENDS = st.sampled_from(
    [None] * 10 + [("died", 28), ("died", 56), ("died", 300), ("died", 1), ("died", -1), ("lost", 28)]
)


@dataclass(frozen=True)
class Rows:
    """What `Cohort.assemble` takes."""

    patients: list[PatientRow]
    labs: list[LabRow]
    assessments: list[AssessmentRow]
    infusions: list[InfusionRow]
    medications: list[MedicationRow]
    events: list[EventRow]
    time_zone: str | None

    def cohort(self) -> Cohort:
        return Cohort.assemble(
            self.patients,
            self.labs,
            self.assessments,
            self.infusions,
            self.medications,
            self.events,
            self.time_zone,
        )


# --- protocols --------------------------------------------------------------------------------------------------------


def changed(preset: Protocol, **parts: Any) -> Protocol:
    """The preset with some parts replaced, checked as any protocol is."""
    return Protocol(**{name: getattr(preset, name) for name in Protocol.model_fields} | {"id": "changed"} | parts)


_POINTS: Any = "points_above_baseline"
_PERCENT: Any = "percent_above_baseline"
_OTHER_SCALES = {
    "MMT": Scale(minimum=0, maximum=100, better="lower"),
    "ADL": Scale(minimum=2.3, maximum=50, better="higher"),
}
_OTHER_RULES = (
    Response(rule=PointsAboveBaseline(id=_POINTS, measure="HAQ", points=0.3, days=(1, 28), value="best")),
    Response(rule=PointsAboveBaseline(id=_POINTS, measure="PHYSICIAN_GLOBAL", points=1.1, days=(4, 60), value="last")),
    Response(rule=PercentAboveBaseline(id=_PERCENT, measure="MMT", percent=0.2, week=8), primary=False),
    Response(rule=PercentAboveBaseline(id=_PERCENT, measure="ADL", percent=20.5, week=1), primary=False),
    Response(rule=CkDecreaseOrNormal(id="ck_decrease_or_normal", percent_of_baseline=100, days=(2, 18), value="last")),
    Response(
        rule=CkDecreaseOrNormalAtWeek(id="ck_decrease_or_normal_at_week", percent_of_baseline=50, week=2),
        primary=False,
    ),
)


def _general(measure: str, criterion: Any, judged: Any, missing: str = "left_out") -> Response:
    document = {"id": "criterion_in_window", "measure": measure, "criterion": criterion, "window": judged}
    rule = TypeAdapter(CriterionInWindow).validate_json(json.dumps(document | {"missing": missing}))
    return Response(rule=rule, primary=False)


_POINT_RULE, _PERCENT_RULE = {"id": "points_better", "points": 3}, {"id": "percent_better", "percent": 20}
_FALL = {"id": "percent_of_baseline", "percent_of_baseline": 70}
_ANY = {"id": "days", "days": [1, 60], "value": "any"}
_LAST = _ANY | {"value": "last"}
_VISIT = {"id": "visit", "week": 4}
_GENERAL = (
    _general("MMT", _PERCENT_RULE, _ANY),
    _general("MMT", _POINT_RULE, _ANY | {"confirmed": "next_value"}),
    _general("MMT", _POINT_RULE, _VISIT | {"confirmed": "next_value"}, "non_responder"),
    _general("ADL", _PERCENT_RULE, _LAST | {"confirmed": "next_value"}),
    _general("ADL", _POINT_RULE, _VISIT | {"week": 1, "confirmed": "next_visit"}, "non_responder"),
    _general("CK", _FALL, _ANY | {"confirmed": "next_value"}),
    _general("CK", _FALL | {"or_normal": False}, _ANY | {"confirmed": "next_value"}),
    _general("CK", _FALL, _VISIT | {"confirmed": "next_visit"}),
    _general("CK", _FALL, _VISIT | {"confirmed": "next_visit"}, "non_responder"),
    _general("CK", _FALL | {"or_normal": False}, _LAST),
)
_BOTH = Treatment(products=("IVIG", "SCIG"))

PROTOCOLS: list[Protocol] = [
    SEED_2008,
    RELATIVE_20,
    changed(SEED_2008, upper_limit="nearest_same_laboratory"),
    changed(RELATIVE_20, upper_limit="nearest_same_laboratory", treatment=_BOTH),
    changed(SEED_2008, upper_limit="nearest_same_laboratory", baseline=Baseline(flag_older_than_days=41)),
    changed(
        SEED_2008,
        treatment=_BOTH,
        baseline=Baseline(flag_older_than_days=0, exclude_older_than_days=30, run_in_days=60),
    ),
    changed(SEED_2008, treatment=Treatment(products=("SCIG",), course_gap_days=1), visits=Visits(tolerance_days=0)),
    changed(SEED_2008, treatment=Treatment(course_gap_days=13), baseline=Baseline(flag_older_than_days=28)),
    changed(
        SEED_2008,
        scales=_OTHER_SCALES,
        responses=(*SEED_2008.responses[:2], *_OTHER_RULES),
        weekly_change=WeeklyChange(measures=("ADL", "HAQ", "CK"), weeks=(-4, 8)),
        adverse_reactions=AdverseReactions(related=("definite", "true", "unlikely")),
    ),
    changed(
        RELATIVE_20,
        scales=_OTHER_SCALES,
        visits=Visits(rule="contiguous", weeks=(-6, -4, 1, 2, 4, 8, 43)),
        responses=(*RELATIVE_20.responses, _OTHER_RULES[5]),
        weekly_change=WeeklyChange(weeks=(1, 43)),
        ck_change=CkChangeWeeks(before_week=-6, after_week=8),
    ),
    changed(
        SEED_2008,
        visits=Visits(weeks=(-4, -1, 1, 4, 8), tolerance_days=6),
        weekly_change=WeeklyChange(weeks=(-1, 1, 8)),
        ck_change=CkChangeWeeks(before_week=-1, after_week=1),
    ),
    changed(
        RELATIVE_20,
        visits=Visits(rule="contiguous", weeks=(-1, 4)),
        weekly_change=WeeklyChange(measures=("CK",), weeks=(4,)),
        ck_change=CkChangeWeeks(before_week=-1),
    ),
    changed(SEED_2008, response_rescue="composite", responses=(*SEED_2008.responses[:3], *_GENERAL)),
    changed(RELATIVE_20, scales=_OTHER_SCALES, responses=_GENERAL, ck_normal_time=CkNormalTime(sustained=True)),
    changed(SEED_2008, upper_limit="nearest_same_laboratory", responses=_GENERAL, response_rescue="composite"),
]


def protocols() -> st.SearchStrategy[Protocol]:
    """One of the presets or of their neighbours."""
    return st.sampled_from(PROTOCOLS)


# --- rows -------------------------------------------------------------------------------------------------------------


def _instant(date: int, clock: int | None) -> int | None:
    return None if clock is None else date * DAY_MICROSECONDS + clock


def _scaled(base: str, factor: str) -> float:
    """The product as a sender would write it: exact in decimals, so that 70 % of 1.1 is 0.77."""
    return float(Decimal(base) * Decimal(factor))


def _days(draw: st.DrawFn) -> list[int]:
    """Relative days of one measure: perhaps the planned visits, jittered or not; days near a boundary; ties."""
    days = draw(SOME_DAYS)
    if not draw(ONE_IN_THREE):
        shift = draw(SHIFTS)
        days = days + [day + (shift if day not in (0, -28) else 0) for day in VISIT_DAYS]
    if draw(ONE_IN_THREE):
        days = days + days[:1]
    if draw(ONE_IN_THREE):
        days = [*days, 0, 0]
    return days


def _labs_of(draw: st.DrawFn, patient: str, start: int) -> list[LabRow]:
    base = draw(CK_BASES)
    found = []
    for day in _days(draw):
        limit = draw(LIMIT_FACTORS)
        clock = draw(CLOCKS)
        found.append(
            LabRow(
                patient,
                draw(LAB_CODES),
                start + day,
                _instant(start + day, clock),
                clock is not None and draw(YES_OR_NO),
                _scaled(base, draw(CK_FACTORS)),
                None if limit is None else _scaled(base, limit),
                draw(COMPARED),
                draw(ISSUED),
                draw(LABS),
            )
        )
    defined = {(row.code, row.day, row.instant, row.issued, row.value, row.upper_limit): row for row in found}
    return list(defined.values())


def _scores_of(draw: st.DrawFn, patient: str, start: int) -> list[AssessmentRow]:
    found = []
    for code in draw(INSTRUMENTS):
        for day in _days(draw):
            clock = draw(CLOCKS)
            found.append(
                AssessmentRow(
                    patient,
                    code,
                    start + day,
                    _instant(start + day, clock),
                    clock is not None and draw(YES_OR_NO),
                    draw(SCORE[code]),
                    draw(SCALE_MAX[code]),
                    draw(ISSUED),
                )
            )
    return found


def _infusions_of(draw: st.DrawFn, patient: str, start: int) -> list[InfusionRow]:
    """No infusion, one course, or several about the gap that separates two; perhaps of two products."""
    if draw(UNTREATED):
        return []
    plan = [("IVIG", 0, draw(GAPS))]
    other = draw(OTHER_START)
    if other is not None:
        plan.append(("SCIG", other, draw(GAPS)))
    found = []
    for product, offset, steps in plan:
        day = start + offset
        for step in [0, *steps]:
            day += step
            clock = draw(CLOCKS)
            found.append(
                InfusionRow(
                    patient,
                    product,
                    day,
                    _instant(day, clock),
                    clock is not None and draw(YES_OR_NO),
                    0.4,
                    "g/kg",
                    draw(COURSE_NUMBERS),
                )
            )
    return found


def _events_of(draw: st.DrawFn, patient: str, start: int) -> list[EventRow]:
    found = []
    for day in draw(ONSETS):
        clock = None if day is None else draw(CLOCKS)
        found.append(
            EventRow(
                patient,
                None if day is None else start + day,
                None if day is None else _instant(start + day, clock),
                clock is not None and draw(YES_OR_NO),
                draw(TERMS),
                draw(SEVERITIES),
                draw(MAYBE),
                draw(RELATIONS),
            )
        )
    return found


@st.composite
def rows(draw: st.DrawFn, max_patients: int = 8) -> Rows:
    """The rows of 0 to `max_patients` patients, in an order that no database promised."""
    found = Rows([], [], [], [], [], [], draw(ZONES))
    for number in range(draw(st.integers(0, max_patients))):
        patient = f"P{number:02d}"
        start = FIRST_DATE + draw(STARTS)
        ended = draw(ENDS)
        found.patients.append(
            PatientRow(
                patient,
                sex=draw(SEXES),
                diagnosis=draw(DIAGNOSES),
                ended_day=start + ended[1] if ended else None,
                ended_reason=ended[0] if ended else None,
            )
        )
        found.labs.extend(_labs_of(draw, patient, start))
        found.assessments.extend(_scores_of(draw, patient, start))
        found.infusions.extend(_infusions_of(draw, patient, start))
        found.events.extend(_events_of(draw, patient, start))
        if draw(YES_OR_NO):
            found.medications.append(MedicationRow(patient, "prednisolone", start - 30, None, 30.0, "mg/d"))
    if draw(YES_OR_NO):
        for table in (found.patients, found.labs, found.assessments, found.infusions, found.events):
            table.reverse()
    return found


def cohorts(max_patients: int = 8) -> st.SearchStrategy[Cohort]:
    """The same, assembled."""
    return rows(max_patients).map(Rows.cohort)
