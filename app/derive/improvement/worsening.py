"""Visits that are worse than the baseline, and worsening that a second visit confirms."""

from dataclasses import dataclass

import numpy as np

from app.derive.improvement.core_set import CoreSetCourse
from app.derive.improvement.relative_change import Verdict, at_least, worse_by_points, worsened
from app.protocol.improvement import Worsening
from app.timeline.cohort import Bools


@dataclass(frozen=True, slots=True, eq=False)
class WorseningCourse:
    """Patients x weeks: whether a visit is worse than the baseline, and whether worsening is confirmed by it."""

    worse: Verdict
    confirmed: Verdict


def worsening_course(rule: Worsening, course: CoreSetCourse) -> WorseningCourse:
    """The rule of worsening at every visit; a visit that was not attended is neither worse nor possibly so."""
    floor = rule.zero_baseline_floor_percent
    global_and_muscle = worse_by_points(course.of("physician_global"), rule.physician_global_points) & worsened(
        course.of("muscle_strength"), rule.muscle_percent, floor
    )
    extramuscular = worse_by_points(course.of("extramuscular"), rule.extramuscular_points)
    counted = [each for each in course.measures if rule.count_enzyme or each.name != "enzyme"]
    several = at_least(rule.measures, [worsened(each, rule.measures_percent, floor) for each in counted])
    either = global_and_muscle | extramuscular | several
    attended = course.attended
    worse = Verdict(either.surely & attended, either.possibly & attended)
    confirmed = Verdict(
        np.logical_or.accumulate(twice_running(attended, worse.surely), axis=1),
        np.logical_or.accumulate(twice_running(attended, worse.possibly), axis=1),
    )
    return WorseningCourse(worse, confirmed)


def twice_running(attended: Bools, holds: Bools) -> Bools:
    """The visits at which something holds as it did at the patient's visit before; a missed visit does not count."""
    found = np.zeros(holds.shape, dtype=np.bool_)
    before = np.zeros(len(holds), dtype=np.bool_)
    for week in range(holds.shape[1]):
        now = holds[:, week] & attended[:, week]
        found[:, week] = now & before
        before = np.where(attended[:, week], now, before)
    return found


def at_last_visit(attended: Bools, holds: Bools) -> Bools:
    """Whether something holds at each patient's last visit."""
    last = attended.shape[1] - 1 - np.argmax(attended[:, ::-1], axis=1)
    held: Bools = np.logical_or.reduce(attended, axis=1) & holds[np.arange(len(holds)), last]
    return held
