"""A study that is joined from parts gives the report of the whole study, byte for byte, however it was divided."""

import json
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import NullOptions, Options, answer, report, report_of_derived
from app.analyses.answer_document import Header, Provenance, report_document
from app.analyses.preset_difference import compared_with
from app.derive.parts import PartsRead, joined, measures_read, part_of
from app.derive.study import DerivedStudy
from app.protocol.presets import MYOSITIS_2026, SEED_2008
from app.timeline.cohort import Cohort, InfusionRow, LabRow, PatientRow
from tests.repetition import repeats
from tests.spark.studies import demonstration
from tests.twin.cohorts import cohorts, protocols

WITHOUT_SIMULATION = NullOptions(null=False)


@pytest.fixture(scope="module")
def demo():
    return demonstration()


def document(found):
    provenance = Provenance(
        protocol="", protocol_id="", protocol_changed_after_first_outcome=None, data="", software=""
    )
    return report_document(Header(study=None, revision=None, as_of=None, provenance=provenance), found)


def divided(cohort, protocol, seed, all_facts=False):
    """The parts of a cohort: patients dealt at random, most of them to one part, one part empty, all out of order."""
    rng = random.Random(seed)
    hands = [rng.choice([0, 0, 0, 1, 2, 3]) for _ in cohort.patients]
    of_protocols = (protocol, *compared_with(protocol))
    measures = measures_read(DerivedStudy(cohort, protocol).values_sent, protocol)
    wanted = PartsRead(of_protocols, measures, all_facts)
    parts = [
        part_of(cohort.select(np.array([hand == number for hand in hands], dtype=np.bool_)), wanted)
        for number in range(5)
    ]
    rng.shuffle(parts)
    sent = [pickle.loads(pickle.dumps(part)) for part in parts]  # noqa: S301 - our own bytes
    return joined(sent, wanted)


@settings(max_examples=repeats(25, thorough=200), deadline=None)
@given(cohorts(), st.one_of(st.just(SEED_2008), protocols()), st.integers(0, 99))
def test_the_report_of_joined_parts_is_that_of_the_whole_study(cohort, protocol, seed):
    whole = document(report(cohort, protocol, WITHOUT_SIMULATION))
    assert document(report_of_derived(divided(cohort, protocol, seed), WITHOUT_SIMULATION)) == whole


@pytest.mark.parametrize("protocol", [SEED_2008, MYOSITIS_2026], ids=["seed", "myositis"])
def test_the_demonstration_study_is_the_same_from_parts(demo, protocol):
    whole = document(report(demo, protocol, WITHOUT_SIMULATION))
    assert document(report_of_derived(divided(demo, protocol, 1), WITHOUT_SIMULATION)) == whole


def test_what_is_counted_is_counted_over_all_parts():
    """Two patients, each with a laboratory of its own, a CK without a limit, and a zero before treatment."""
    people, day0 = ("A", "B"), 12_884
    labs = [
        LabRow(who, "CK", day0 + day, None, False, value, limit, sign, None, f"LAB-{who}")
        for who in people
        for day, value, limit, sign in ((-7, 0.0, 163.0, None), (0, 500.0, 163.0, None), (7, 400.0, None, "<"))
    ]
    infusions = [InfusionRow(who, "IVIG", day0, None, False, 0.4, "g/kg", None) for who in people]
    cohort = Cohort.assemble([PatientRow(who) for who in people], labs, [], infusions, [], [])
    wanted = PartsRead((SEED_2008,), ["CK"])
    found = joined([part_of(cohort.between(place, place + 1), wanted) for place in (1, 0)], wanted)
    assert found.ck_draws.laboratories == {"LAB-A", "LAB-B"}
    assert (found.ck_undetermined, found.run_in.zero_values) == (2, 2)
    assert found.values_sent == {"CK": 6}
    assert {code: count for code, count in found.flags("CK").items() if count} == {"no_upper_limit": 2, "comparator": 2}
    assert found.ck_draws.count.tolist() == [3, 3]


def test_with_all_facts_the_simulation_is_the_same_too(demo):
    whole = document(report(demo, SEED_2008, Options()))
    found = report_of_derived(divided(demo, SEED_2008, 2, all_facts=True), NullOptions(null=None))
    assert document(found) == document(report(demo, SEED_2008, NullOptions(null=None)))
    assert json.loads(document(found))["populations"] == json.loads(whole)["populations"]


def test_what_the_parts_do_not_hold_is_never_answered_from_a_part(demo):
    study = divided(demo, SEED_2008, 3)
    for ask in (
        lambda: study.analysis_values("CK"),
        lambda: len(study.cohort.labs),
        lambda: study.before_rescue.efficacy,
        lambda: report_of_derived(study, Options(by="sex")),
        lambda: report_of_derived(study, NullOptions(null=True)),
        lambda: answer("what-is-missing", study.cohort, SEED_2008, Options()),
    ):
        with pytest.raises(LookupError, match="has no results and scores"):
            ask()


def test_a_patient_of_two_parts_is_refused(demo):
    wanted = PartsRead((MYOSITIS_2026,), ["CK"])
    part = part_of(demo, wanted)
    with pytest.raises(ValueError, match="twice"):
        joined([part, part], wanted)
