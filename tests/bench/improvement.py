"""The improvement score of a large trial: columns of values to scores, against a loop over patients in decimal."""

import random
import statistics
import time
from collections.abc import Callable
from decimal import Decimal

import numpy as np

from app.derive.core_set import CoreSetCourse
from app.derive.study import DerivedStudy
from app.derive.total_improvement_score import improvement_scores
from app.protocol.improvement import TABLE, ImprovementScore
from app.protocol.model import Protocol, Visits, WeeklyChange
from app.protocol.presets import ACR_EULAR_2016_ADULT
from app.timeline.cohort import AssessmentRow, Cohort, InfusionRow, LabRow, PatientRow

PATIENTS = 10_000
WEEKS = tuple(range(4, 52, 4))
PAIRS = 5
LOOPED = 1_000
"""Patients that the loop goes through in one pair; its time is in proportion to them and is scaled up."""

_DAY0 = 20_000
_SCORES = (("PHYSICIAN_GLOBAL", 10, 100), ("PATIENT_GLOBAL", 10, 100), ("MMT8", 1, 150), ("HAQ", 8, 24),
           ("EXTRAMUSCULAR", 10, 100))  # fmt: skip
"""Instrument, steps in one point, greatest score in steps."""
_ENZYMES = (("CK", 200.0, 6000), ("LDH", 250.0, 1500))

Visit = list[float]


def improvement_score(pairs: int = PAIRS) -> list[tuple[str, str, str]]:
    """The score of each patient at each of 12 visits from values that are already set against their visit.

    The peer does the same in decimal, one patient after the other, as a careful script would. The scores must agree.
    """
    protocol = _protocol()
    declared = protocol.improvement_score
    if declared is None:
        raise SystemExit("the preset declares no score")
    cohort = _cohort()
    start = time.perf_counter()
    course = DerivedStudy(cohort, protocol).core_set(declared)
    deriving = time.perf_counter() - start
    histories = _histories(course)
    _same_scores(declared, course, histories)
    costs = []
    for _ in range(pairs):
        ours = _seconds(lambda: improvement_scores(declared, course))
        costs.append((ours, _seconds(lambda: [by_decimals(each) for each in histories]) * PATIENTS / LOOPED))
    ratio = statistics.median(ours / theirs for ours, theirs in costs)
    ours, theirs = (statistics.median(column) for column in zip(*costs, strict=True))
    return [
        (
            f"improvement score of {PATIENTS:,} patients x {len(WEEKS)} visits ({ours * 1e3:.0f} ms; choosing their "
            f"values from the records {deriving:.2f} s)",
            f"a loop over the patients in decimal ({theirs:.1f} s, scaled from {LOOPED:,} patients)",
            f"{ratio:.4f} (1/{1 / ratio:.0f}); asked: under 1/50",
        )
    ]


def by_decimals(history: list[Visit]) -> list[Decimal]:
    """The scores of one patient: the visits in order, the baseline first; of an enzyme value and limit."""
    baseline, scores = history[0], []
    multiples = [Decimal(repr(baseline[place])) / Decimal(repr(baseline[place + 1])) for place in (5, 7)]
    followed = 5 if multiples[0] >= multiples[1] else 7
    enzyme_range = Decimal(15 if followed == 5 else 3)
    for visit in history[1:]:
        total = Decimal(0)
        for place, (name, span, better) in enumerate(_MEASURES):
            before, after = Decimal(repr(baseline[place])), Decimal(repr(visit[place]))
            gain = after - before if better == "higher" else before - after
            total += _score(name, 100 * gain / span)
        before = Decimal(repr(baseline[followed])) / Decimal(repr(baseline[followed + 1]))
        after = Decimal(repr(visit[followed])) / Decimal(repr(visit[followed + 1]))
        total += _score("enzyme", 100 * (before - after) / enzyme_range)
        scores.append(total)
    return scores


_MEASURES = (
    ("physician_global", Decimal(10), "lower"),
    ("patient_global", Decimal(10), "lower"),
    ("muscle_strength", Decimal(150), "higher"),
    ("function", Decimal(3), "lower"),
    ("extramuscular", Decimal(10), "lower"),
)
_BANDS = {name: (bands.cuts, [Decimal(repr(score)) for score in bands.scores]) for name, bands in TABLE.items()}


def _score(name: str, percent: Decimal) -> Decimal:
    cuts, scores = _BANDS[name]
    for band, cut in enumerate(cuts):
        if percent <= cut:
            return scores[band]
    return scores[-1]


def _protocol() -> Protocol:
    parts = {name: getattr(ACR_EULAR_2016_ADULT, name) for name in Protocol.model_fields}
    changes = {"visits": Visits(weeks=(-4, *WEEKS)), "weekly_change": WeeklyChange(measures=("CK",), weeks=WEEKS)}
    return Protocol(**parts | changes)


def _cohort() -> Cohort:
    """Every measure of every patient at baseline and at every visit, on scales as fine as they are recorded."""
    rng = random.Random(7)
    people, labs, scores, infusions = [], [], [], []
    for number in range(PATIENTS):
        who = f"P{number:06}"
        people.append(PatientRow(who))
        infusions.append(InfusionRow(who, "IVIG", _DAY0, None, False, 0.4, "g/kg", None))
        for week in (0, *WEEKS):
            day = _DAY0 + 7 * week
            for code, steps, most in _SCORES:
                scores.append(AssessmentRow(who, code, day, None, False, rng.randint(0, most) / steps, None, None))
            for code, limit, most in _ENZYMES:
                labs.append(LabRow(who, code, day, None, False, float(rng.randint(20, most)), limit, None, None, "A"))
    return Cohort.assemble(people, labs, scores, infusions, [], [])


def _histories(course: CoreSetCourse) -> list[list[Visit]]:
    """The same values as lists of plain numbers, for the patients that the loop goes through."""
    five = [each for each in course.measures if each.name != "enzyme"]
    enzyme = course.of("enzyme")
    histories = []
    for i in range(LOOPED):
        followed = int(course.enzyme[i])
        other = [0.0, 1.0]
        visits = []
        for readings, columns in (("before", range(1)), ("after", range(len(WEEKS)))):
            for column in columns:
                row = [float(getattr(each, readings).low[i, column]) for each in five]
                reading = getattr(enzyme, readings)
                mine = [float(reading.low[i, column]), float(reading.unit[i, column])]
                visits.append(row + (mine + other if followed == 0 else other + mine))
        histories.append(visits)
    return histories


def _same_scores(declared: ImprovementScore, course: CoreSetCourse, histories: list[list[Visit]]) -> None:
    """Both sides must have found the same scores, and all visits must be complete."""
    found = improvement_scores(declared, course)
    theirs = np.array([[float(score) for score in by_decimals(each)] for each in histories])
    if not found.complete.all() or (found.lower[:LOOPED] != theirs).any():
        raise SystemExit("the scores differ")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
