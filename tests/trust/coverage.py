"""Cohorts are simulated whose truth has a closed form (`python -m app simulate`, 40 patients, the default visits), and
each interval that the house gives is held against the truth that it is about: how many contain it. A limit that is not
reached counts as infinite. The Kaplan-Meier median is of the days up to the visit at which the end was seen, so it is
held against that truth, and beside it against the true time, which it is not about.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import inf

import numpy as np

from app.analyses import QUESTIONS, Options
from app.analyses.ck_normal.ck_normal_interval import IntervalOptions
from app.demo.simulation import Design, lines, truth, values
from app.derive.study import DerivedStudy
from app.estimate.results import Interval
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from app.timeline.vocabulary import ASSESSMENT_CODES
from tests.repetition import repeats
from tests.trust.figures import Figure

PATIENTS, LATEST = 40, 2**62
WEEK = 8


def read(design: Design) -> Cohort:
    """The cohort of a design, by way of its timelines."""
    timelines = [Timeline.model_validate_json(line) for line in lines(design)]
    return Cohort.of_histories([normalise(each, LATEST) for each in timelines], None)


def with_values(frame: Cohort, design: Design) -> Cohort:
    """The same, from a cohort of the same visits: only the values differ."""
    drawn = values(design)
    labs, scores = frame.labs, frame.assessments
    score = scores.score.copy()
    for code in ("MMT", "ADL"):
        rows = np.flatnonzero(scores.code == ASSESSMENT_CODES.index(code))
        rows = rows[np.lexsort((scores.day[rows], scores.patient[rows]))]
        score[rows] = drawn[code].ravel()
    value = labs.value.copy()
    value[np.lexsort((labs.day, labs.patient))] = drawn["CK"].ravel()
    return replace(frame, labs=replace(labs, value=value), assessments=replace(scores, score=score))


def intervals(cohort: Cohort, design: Design) -> Iterator[tuple[str, Interval, float]]:
    """Each interval with the truth that it is held against."""
    study, true = DerivedStudy(cohort, SEED_2008), truth(design)

    def ask(name: str, options: Options) -> dict:
        return QUESTIONS[name].ask(study, options, lambda _context, _codes: ())

    for row in ask("response-rates", Options()).results:
        if row.measure == "CK":
            which = row.definition.parameters["value"]
            for interval in row.intervals:
                name = f"CK response rate by the {which} value, {interval.method}"
                yield name, interval, true["ck_response_by_day_59"][which]
    for row in ask("weekly-change", Options()).results:
        if row.week == WEEK and row.scale in ("ln" if row.measure == "CK" else "raw"):
            measure = "ln(CK)" if row.measure == "CK" else row.measure
            [interval] = [each for each in row.intervals if each.of == "mean"]
            yield f"mean change of {measure} at week {WEEK}, t", interval, true["mean_change"][measure][str(WEEK)]
    [difference] = [each for each in ask("ck-change", Options()).results[0].difference.intervals if each.of == "mean"]
    yield "D of `ck-change`, t", difference, true["mean_change"]["ln(CK)"]["4"]
    [kaplan_meier] = ask("ck-normal-time", Options()).results[0].median.intervals
    yield "Kaplan-Meier median of the time as seen, log-log", kaplan_meier, true["median_days_normal_as_seen"]
    yield "the same limits, against the true time", kaplan_meier, true["median_days_normal"]
    [resampled] = ask("ck-normal-interval", IntervalOptions()).results[0].estimate.median.intervals
    yield "interval-censored median, percentile bootstrap", resampled, true["median_days_normal"]


def contains(interval: Interval, value: float) -> bool:
    """Whether the truth lies between the limits; a limit that is null because it is not reached is infinite."""
    low = inf if interval.low is None else interval.low
    high = inf if interval.high is None else interval.high
    return low <= value <= high


def count(cohorts: int) -> tuple[Counter, Counter]:
    """How many intervals of each kind there were, and how many contained the truth."""
    frame = read(Design(PATIENTS))
    made, covered = Counter(), Counter()
    for seed in range(cohorts):
        design = Design(PATIENTS, seed=seed)
        for name, interval, value in intervals(with_values(frame, design), design):
            made[name] += 1
            covered[name] += contains(interval, value)
    return made, covered


HELD = (
    "CK response rate by the best value, clopper-pearson",
    "CK response rate by the last value, clopper-pearson",
    f"mean change of ln(CK) at week {WEEK}, t",
    f"mean change of MMT at week {WEEK}, t",
    f"mean change of ADL at week {WEEK}, t",
    "D of `ck-change`, t",
)
"""The intervals that promise their level; the others are approximate, and are only counted."""


def run(full: bool) -> list[Figure]:
    """Count how many 95 % intervals contain the truth. Those that promise it may not contain it clearly less often."""
    cohorts = 1000 if full else repeats(20)
    made, covered = count(cohorts)
    error = np.sqrt(0.95 * 0.05 / cohorts)
    short = {name: covered[name] / made[name] for name in HELD if covered[name] / made[name] < 0.94 - 3 * error}
    assert short == {}, f"of {cohorts} cohorts"
    return [
        Figure("P25", f"{PATIENTS} patients: {name}", f"{covered[name]} of {made[name]} ({share:.1f} %)")
        for name in made
        for share in [100 * covered[name] / made[name]]
    ]
