"""The question whether subgroups differ in the times to normal and to abnormal CK."""

import pytest
from hypothesis import given, settings

from app.analyses import Options, answer
from app.analyses.ck_normal.ck_normal_time import NormalTimeOptions
from app.estimate.times.group_survival import cox, log_rank
from app.estimate.times.survival import kaplan_meier, restricted_mean
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort, InfusionRow, LabRow, PatientRow
from tests.repetition import repeats
from tests.twin.cohorts import FIRST_DATE, changed
from tests.twin.normal_time import cohorts_with_rescue

NAME = "ck-normal-groups"


def cohort(*people):
    """Patients given as (sex, days that CK stays normal from day 7 on, whether it then becomes abnormal)."""
    patients, labs, infusions = [], [], []
    for number, (sex, days, abnormal) in enumerate(people):
        who = f"P{number:02}"
        patients.append(PatientRow(who, sex=sex))
        infusions.append(InfusionRow(who, "IVIG", FIRST_DATE, None, False, 0.4, "g/kg", None))
        for day, value in ((0, 1000.0), (7, 150.0), (7 + days, 400.0 if abnormal else 150.0)):
            labs.append(LabRow(who, "CK", FIRST_DATE + day, None, False, value, 200.0, None, None, None))
    return Cohort.assemble(patients, labs, [], infusions, [], [])


WOMEN = [("female", 100, True), ("female", 250, True), ("female", 300, True), ("female", 400, False)]
MEN = [("male", 60, True), ("male", 120, True), ("male", 260, True), ("male", 370, False)]


def comparison(found, name="time_normal"):
    return next(each for each in found.results if each.estimate == name)


def test_the_groups_are_compared_with_the_first_by_the_tests_of_the_same_times():
    found = comparison(answer(NAME, cohort(*WOMEN, *MEN), SEED_2008, Options(by="sex", level=0.9)))
    women, men = found.groups
    times, events = ([each[place] for each in (*WOMEN, *MEN)] for place in (1, 2))
    group = [0] * 4 + [1] * 4
    tested, model = log_rank(times, events, group, 2), cox(times, events, group, 2, level=0.9)
    assert found.log_rank == tested.test
    assert (found.likelihood_ratio, found.proportional_hazards) == (model.likelihood_ratio, model.proportional_hazards)
    assert (women.group, women.n, women.events, women.reason) == ({"sex": "female"}, 4, 3, "reference_group")
    assert (women.expected, men.expected) == tested.expected
    assert men.hazard_ratio == model.hazard_ratios[1]
    assert men.hazard_ratio.value > 1
    assert men.median.value == kaplan_meier(times[4:], events[4:]).median.value
    means = [restricted_mean(times[k : k + 4], events[k : k + 4], until=365) for k in (0, 4)]
    assert men.rmst_difference.value == means[1].value - means[0].value
    assert women.rmst_difference is None


def test_without_groups_every_test_is_null_with_a_reason():
    for found in answer(NAME, cohort(*WOMEN, *MEN), SEED_2008, Options()).results:
        assert found.reason == "no_groups"
        assert {found.log_rank.reason, found.likelihood_ratio.reason, found.proportional_hazards.reason} == {
            "no_groups"
        }
        (row,) = found.groups
        assert (row.group, row.n, row.hazard_ratio, row.reason) == (None, 8, None, "no_groups")


def test_an_empty_study_has_no_groups():
    empty = Cohort.assemble([], [], [], [], [], [])
    for options, reason in ((Options(), "no_groups"), (Options(by="sex"), "no_patients")):
        for found in answer(NAME, empty, SEED_2008, options).results:
            assert (found.log_rank.p, found.log_rank.reason, found.reason) == (None, reason, reason)


def test_patients_without_the_attribute_come_last_and_are_not_compared():
    people = [*WOMEN, *MEN, (None, 30, True), ("unknown", 40, True)]
    with_others = comparison(answer(NAME, cohort(*people), SEED_2008, Options(by="sex")))
    without = comparison(answer(NAME, cohort(*people[:8]), SEED_2008, Options(by="sex")))
    assert with_others.log_rank == without.log_rank
    assert [row.group["sex"] for row in with_others.groups] == ["female", "male", "unknown", None]
    assert [row.reason for row in with_others.groups[2:]] == ["not_compared"] * 2
    assert with_others.groups[:2] == without.groups


def test_a_single_group_is_not_compared():
    found = comparison(answer(NAME, cohort(*MEN), SEED_2008, Options(by="sex")))
    assert (found.reason, found.groups[0].n) == ("one_group", 4)


def test_beyond_the_follow_up_of_a_group_the_restricted_means_are_not_compared():
    short = [("male", 60, True), ("male", 120, True), ("male", 200, False)]
    men = comparison(answer(NAME, cohort(*WOMEN, *short), SEED_2008, Options(by="sex"))).groups[1]
    assert (men.rmst_difference.value, men.rmst_difference.reason) == (None, "beyond_follow_up")
    assert men.hazard_ratio.value is not None


@pytest.mark.parametrize(("events", "applies"), [(9, True), (10, False)])
def test_a_group_with_fewer_than_ten_events_has_a_caveat(events, applies):
    many = [("female", 20 + k, True) for k in range(25)]
    few = [("male", 15 + 7 * k, k < events) for k in range(20)]
    found = answer(NAME, cohort(*many, *few), SEED_2008, Options(by="sex"))
    codes = {caveat.code for caveat in found.caveats}
    assert ("few_events" in codes) == applies
    assert "small_counts" not in codes
    assert {"not_randomised", "conditioned_on_normalising"} <= codes


def test_under_competing_the_tests_are_of_cause_specific_hazards():
    """Two women have a second course before CK is abnormal: the tests censor them on that day, the curve does not."""
    base = cohort(*WOMEN, *MEN)
    infusions = [InfusionRow(p.id, "IVIG", FIRST_DATE, None, False, 0.4, "g/kg", None) for p in base.patients]
    infusions += [InfusionRow(f"P0{k}", "IVIG", FIRST_DATE + 57, None, False, 0.4, "g/kg", None) for k in (0, 1)]
    labs = [
        LabRow(f"P{p:02}", "CK", int(d), None, False, float(v), 200.0, None, None, None)
        for p, d, v in zip(base.labs.patient, base.labs.day, base.labs.value, strict=True)
    ]
    rescued = Cohort.assemble(base.patients, labs, [], infusions, [], [])
    found = answer(NAME, rescued, SEED_2008, NormalTimeOptions(by="sex", rescue="competing"))
    times = [50, 50, 300, 400, 60, 120, 260, 370]
    events = [False, False, True, False, True, True, True, False]
    assert comparison(found).log_rank == log_rank(times, events, [0] * 4 + [1] * 4, 2).test
    assert comparison(found).groups[0].rmst.value == 365 - 65 / 4
    assert "cause_specific_hazards" in {caveat.code for caveat in found.caveats}
    assert found.definitions[-1].parameters["rescue"] == "competing"
    composite = answer(NAME, rescued, changed(SEED_2008, ck_normal_time={"rescue": "composite"}), Options(by="sex"))
    assert comparison(composite).groups[0].events == 3
    assert "cause_specific_hazards" not in {caveat.code for caveat in composite.caveats}


@settings(max_examples=repeats(15))
@given(cohorts_with_rescue())
def test_the_groups_are_those_of_the_time_with_normal_ck(people):
    for strategy in ("treatment_policy", "competing"):
        options = NormalTimeOptions(by="sex", rescue=strategy)
        found = comparison(answer(NAME, people, SEED_2008, options))
        usual = answer("ck-normal-time", people, SEED_2008, options).results
        shown = {str(row.group): (row.n, row.events, row.median, row.rmst) for row in found.groups}
        assert shown == {str(row.group): (row.n, row.events, row.median, row.rmst) for row in usual}


def test_a_rescue_after_the_last_ck_is_no_event_in_any_group():
    """Ten women and ten men last seen on day 107; one of the women is rescued on day 300."""
    base = cohort(*[("female", 100, False)] * 10, *[("male", 100, k < 5) for k in range(10)])
    given = [InfusionRow(p.id, "IVIG", FIRST_DATE, None, False, 0.4, "g/kg", None) for p in base.patients]
    late = [*given, InfusionRow("P00", "IVIG", FIRST_DATE + 300, None, False, 0.4, "g/kg", None)]
    labs = [
        LabRow(f"P{p:02}", "CK", int(d), None, False, float(v), 200.0, None, None, None)
        for p, d, v in zip(base.labs.patient, base.labs.day, base.labs.value, strict=True)
    ]
    options = NormalTimeOptions(by="sex", rescue="composite")
    one, other = (
        answer(NAME, Cohort.assemble(base.patients, labs, [], infusions, [], []), SEED_2008, options)
        for infusions in (late, given)
    )
    assert one.results == other.results
    assert [row.events for row in comparison(one).groups] == [0, 5]


def test_a_patient_with_normal_ck_at_baseline_is_left_out_of_the_time_to_first_normal():
    labs = [
        LabRow(who, "CK", FIRST_DATE + day, None, False, value, 200.0, None, None, None)
        for who, before in (("P00", 200.0), ("P01", 201.0))
        for day, value in ((0, before), (7, 150.0))
    ]
    given = [InfusionRow(who, "IVIG", FIRST_DATE, None, False, 0.4, "g/kg", None) for who in ("P00", "P01")]
    people = Cohort.assemble([PatientRow("P00"), PatientRow("P01")], labs, [], given, [], [])
    found = answer(NAME, people, SEED_2008, Options())
    (row,) = comparison(found, "time_to_first_normal").groups
    assert (row.n, row.events) == (1, 1)
    reasons = {(each.estimate, each.reason): each.count for each in found.excluded}
    assert reasons["time_to_first_normal", "normal_at_baseline"] == 1
    (usual,) = answer("ck-normal-time", people, SEED_2008, Options()).results
    first = usual.time_to_first_normal
    assert (first.n, first.normal_at_baseline, first.events) == (1, 1, 1)
