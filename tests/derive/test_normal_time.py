"""Rescue strategies, sustained normality and days with normal CK equal their slow twins."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import Options, answer
from app.analyses.ck_normal.ck_normal_time import NormalTimeOptions
from app.derive.rescue_treatment import CAUSES, outcome_intervals
from app.derive.study import DerivedStudy
from app.protocol.endpoints import SteroidRescue
from app.protocol.presets import SEED_2008
from app.timeline.cohort import NO_TIME
from tests.repetition import repeats
from tests.twin import ck_intervals
from tests.twin import derivations as twin
from tests.twin import normal_time as slow
from tests.twin.cohorts import changed, cohorts, protocols

STEROIDS = st.sampled_from([None, SteroidRescue(rise=20.0), SteroidRescue(rise=20.0, over="lowest", pulse=60.0)])


def _with_steroids(protocol, rule):
    return changed(protocol, ck_normal_time=protocol.ck_normal_time.model_copy(update={"steroid_rescue": rule}))


OWN_LIMITS = st.builds(_with_steroids, protocols().filter(lambda protocol: protocol.upper_limit == "own"), STEROIDS)
STRATEGIES = ("treatment_policy", "composite", "hypothetical", "competing")


def missing(day):
    return None if day == NO_TIME else int(day)


@settings(max_examples=repeats(30, thorough=60))
@given(slow.cohorts_with_rescue(), OWN_LIMITS)
def test_what_ends_a_time_under_each_strategy_is_what_the_twin_says(cohort, protocol):
    study, patients = DerivedStudy(cohort, protocol), twin.patients_of(cohort)
    names = (None, *CAUSES)
    for strategy in STRATEGIES:
        outcomes = study.outcomes(strategy)
        ignored = study.outcomes("treatment_policy")
        for i, patient in enumerate(patients):
            expected = slow.outcome(patient, protocol, slow.rescue_day(cohort, i, protocol), strategy)
            found = (int(outcomes.duration[i]), names[outcomes.cause[i]])
            assert (expected is None) == (study.remission_episodes.reason[i] is not None)
            late = (bool(outcomes.rescue_after_last_ck[i]), bool(outcomes.death_after_last_ck[i]))
            assert late == slow.after_last_ck(patient, protocol, slow.rescue_day(cohort, i, protocol), strategy)
            if expected is not None:
                assert found == expected
                before = (int(ignored.duration[i]), names[ignored.cause[i]])
                assert found == before or outcomes.cut[i]


@settings(max_examples=repeats(30, thorough=60))
@given(slow.cohorts_with_rescue(), OWN_LIMITS)
def test_the_interval_in_which_a_time_ended_is_between_draws_or_the_day_of_a_rescue(cohort, protocol):
    study, patients = DerivedStudy(cohort, protocol), twin.patients_of(cohort)
    for strategy in STRATEGIES[:3]:
        left, right = outcome_intervals(study.remission_intervals, study.outcomes(strategy))
        for i, patient in enumerate(patients):
            rescue = slow.rescue_day(cohort, i, protocol)
            expected = slow.outcome(patient, protocol, rescue, strategy)
            if expected is None:
                continue
            ignored = slow.outcome(patient, protocol, rescue, "treatment_policy")
            seen = ck_intervals.spell(patient, protocol)
            by_draws = (seen.left, seen.right)
            if expected[1] in {"rescue", "death"}:
                by_draws = (max(expected[0] - 1, 0), max(expected[0], 1))
            elif expected != ignored or (strategy == "hypothetical" and study.outcomes(strategy).cut[i]):
                by_draws = (expected[0], None)
            assert (int(left[i]), missing(right[i])) == by_draws


@settings(max_examples=repeats(30))
@given(slow.cohorts_with_rescue())
def test_no_strategy_follows_a_patient_beyond_the_last_ck_of_known_normality(cohort):
    """Else only patients with a late rescue or death would be at risk at late times."""
    study = DerivedStudy(cohort, SEED_2008)
    longest = study.outcomes("treatment_policy").duration
    for strategy in STRATEGIES:
        assert (study.outcomes(strategy).duration <= longest).all()


@settings(max_examples=repeats(30, thorough=60))
@given(cohorts(), OWN_LIMITS)
def test_sustained_normality_and_days_normal_are_those_of_the_twin(cohort, protocol):
    study = DerivedStudy(cohort, protocol)
    sustained, days = study.sustained, study.days_normal
    for i, patient in enumerate(twin.patients_of(cohort)):
        if not study.safety[i]:
            continue
        found = tuple(missing(column[i]) for column in (sustained.start, sustained.end, sustained.last))
        assert found == slow.confirmed(patient, protocol)
        actual = (int(days.days[i]) / 2, int(days.carried_forward[i]) / 2, int(days.midpoint[i]) / 2)
        assert (actual if days.days[i] else None) == slow.days_normal(patient, protocol)


@settings(max_examples=repeats(10))
@given(slow.cohorts_with_rescue())
def test_the_strategies_stand_side_by_side_and_the_one_in_force_is_the_answer(cohort):
    whole = answer("ck-normal-time", cohort, SEED_2008, Options()).results[0]
    for strategy in STRATEGIES:
        options = NormalTimeOptions(rescue=strategy)
        asked = answer("ck-normal-time", cohort, SEED_2008, options)
        declared = answer("ck-normal-time", cohort, changed(SEED_2008, ck_normal_time={"rescue": strategy}), Options())
        (one,), (other,) = asked.results, declared.results
        row = next(each for each in one.strategies if each.strategy == strategy)
        assert (row.in_force, row.n, row.events, row.rmst) == (True, one.n, one.events, one.rmst)
        assert row.medians[0] == one.median
        assert (one.median, one.curve, one.rmst, one.events) == (other.median, other.curve, other.rmst, other.events)
        assert asked.definitions == declared.definitions
        assert [each.strategy for each in one.strategies if each.declared] == ["treatment_policy"]
        assert [each.strategy for each in other.strategies if each.declared] == [strategy]
        same = {"in_force": None, "declared": None}
        assert [each.model_copy(update=same) for each in one.strategies] == [
            each.model_copy(update=same) for each in whole.strategies
        ]
        assert {each.n for each in one.strategies} == {one.n}


@settings(max_examples=repeats(20))
@given(slow.cohorts_with_rescue())
def test_under_competing_every_patient_of_the_risk_set_has_one_end_or_none(cohort):
    (row,) = answer("ck-normal-time", cohort, SEED_2008, NormalTimeOptions(rescue="competing", patients=True)).results
    competing = row.strategies[-1]
    ends = [patient.ended_by for patient in row.patients if patient.reason is None]
    assert [each.cause for each in competing.incidence] == list(CAUSES)
    assert [each.events for each in competing.incidence] == [ends.count(cause) for cause in CAUSES]
    assert (competing.by_rescue, competing.by_death) == (ends.count("rescue"), ends.count("death"))
    assert row.follow_up.censored == ends.count(None)
    composite = row.strategies[1]
    assert composite.events == len(ends) - ends.count(None)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_empty_study_has_nulls_under_every_strategy(strategy):
    from app.timeline.cohort import Cohort

    empty = Cohort.assemble([], [], [], [], [], [])
    (row,) = answer("ck-normal-time", empty, SEED_2008, NormalTimeOptions(rescue=strategy)).results
    assert [each.rmst.reason for each in row.strategies] == ["no_patients"] * 4
    assert row.strategies[-1].incidence[0].reason == "no_patients"
    assert row.follow_up.median.reason == "no_patients"
    assert row.sustained.time_to_sustained.median.reason == "no_patients"
    assert [each.reason for each in row.proportion_of_time_normal.by_rule] == ["no_patients"] * 2
