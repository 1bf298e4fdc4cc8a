"""The IMACS 2004 definition of improvement at each visit; percentages are relative to the baseline.

A patient improved if at least three of six measures improved by 20 %, no more than two are worse by 25 %, and muscle
strength is not one of these. The numbers are the defaults of the protocol. The enzyme is the most abnormal one at
baseline, in multiples of the upper limit of its own draw.
"""

from dataclasses import dataclass

import numpy as np

from app.derive.core_set import CoreSetCourse
from app.derive.relative_change import BoundedVerdict, at_least, improved, worsened
from app.protocol.improvement import CoreSetMeasure, DefinitionOfImprovement
from app.timeline.cohort import Bools


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Patients x weeks: the verdict, the verdicts on each measure, and the visits where nothing is missing."""

    weeks: tuple[int, ...]
    attended: Bools
    complete: Bools
    improved: BoundedVerdict
    by_measure: tuple[tuple[CoreSetMeasure, BoundedVerdict, BoundedVerdict], ...]


def definition_of_improvement(declared: DefinitionOfImprovement, course: CoreSetCourse) -> Judgement:
    """The verdict on every visit. `by_measure` says of each measure whether it improved and whether it is worse.

    A visit is complete if both are known of each measure.
    """
    floor = declared.zero_baseline_floor_percent
    by_measure = tuple(
        (each.name, improved(each, declared.improved_percent), worsened(each, declared.worse_percent, floor))
        for each in course.measures
    )
    enough = at_least(declared.improved_measures, [better for _, better, _ in by_measure])
    too_many = at_least(declared.worse_measures + 1, [worse for _, _, worse in by_measure])
    muscle = next(worse for name, _, worse in by_measure if name == "muscle_strength")
    verdict = enough & ~too_many & ~muscle
    attended = course.attended
    settled = np.logical_and.reduce([better.decided & worse.decided for _, better, worse in by_measure])
    return Judgement(
        course.weeks,
        attended,
        attended & settled,
        BoundedVerdict(verdict.surely & attended, verdict.possibly & attended),
        by_measure,
    )
