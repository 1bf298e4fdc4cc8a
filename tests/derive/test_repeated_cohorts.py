"""Cohorts with other values, derived with what the first of them has in common with all."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.derive.repeated_cohorts import RepeatedCohorts
from app.derive.study import DerivedStudy
from app.timeline.vocabulary import LAB_CODES
from tests.repetition import repeats
from tests.twin.cohorts import cohorts, protocols

COLUMNS = ("patient", "day", "value", "upper_limit", "comparator", "row")


def drawn(repeated: RepeatedCohorts, times: int, seed: int) -> dict:
    """Values for each measure on its scale; those of one patient and day are equal."""
    values, random = {}, np.random.default_rng(seed)
    for measure in repeated.protocol.measures:
        later = repeated.later_rows(measure)
        if not len(later.rows):
            continue  # no value of it is simulated
        low, high = (1, 900) if measure in LAB_CODES else _scale(repeated, measure)
        _, place = np.unique(np.stack([later.patient, later.day]), axis=1, return_inverse=True)
        values[measure] = (later, random.uniform(low, high, (times, len(later.rows) + 1))[:, place.ravel()])
    return values


def _scale(repeated: RepeatedCohorts, measure: str) -> tuple[float, float]:
    scale = repeated.protocol.scale(measure)
    return scale.minimum, scale.maximum


def derive(study: DerivedStudy) -> list:
    """What a later study takes from the first one, and what follows from it."""
    found = [np.array(study.efficacy), study.left_out, study.rescues.treated, study.rescues.died]
    for measure in study.protocol.measures:
        records = study.analysis_values(measure)
        found += [getattr(records, name) for name in COLUMNS]
        found += [study.weeks(measure)[week] for week in study.weeks(measure)]
    found += [study.response(declared.rule).reason for declared in study.protocol.responses]
    found += [study.remission_episodes.reason, study.remission_episodes.start, study.remission_episodes.duration]
    return found


@settings(max_examples=repeats(100))
@given(cohorts(), protocols(), st.integers(1, 3))
def test_a_later_study_is_that_which_is_derived_alone(cohort, protocol, times):
    study = DerivedStudy(cohort, protocol)
    often, once = RepeatedCohorts.of(study), RepeatedCohorts.of(study)
    derive(often.repeated(times, drawn(often, times, 1)))

    later = often.repeated(times, drawn(often, times, 2))
    alone = once.repeated(times, drawn(once, times, 2))
    np.testing.assert_equal(derive(later), derive(alone))
