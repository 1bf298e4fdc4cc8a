"""The preset for new studies, how it differs in a study of another preset, and the declared family of tests."""

import json

import pytest

from app.analyses import Options, answer, report
from app.derive.study import DerivedStudy
from app.protocol.model import Protocol
from app.protocol.presets import MYOSITIS_2026, RELATIVE_20, SEED_2008
from app.timeline.cohort import Cohort
from tests.analyses.reference import reference_cohort
from tests.twin.cohorts import changed

COHORT = reference_cohort()
NOBODY = Cohort.assemble([], [], [], [], [], [])


def test_under_seed_2008_the_answers_give_both_figures_of_the_reference_cohort():
    rates = answer("response-rates", COHORT, SEED_2008, Options()).preset_for_new_studies
    assert [(each.endpoint, each.own, each.other) for each in rates.figures] == [
        ("response:MMT", "14 of 15", "4 of 16"),
        ("response:ADL", "12 of 15", "6 of 16"),
        ("response:CK", "15 of 15", "15 of 16"),
    ]
    assert rates.applies
    assert "MMT responders are 4 of 16 instead of 14 of 15" in rates.text
    time = answer("ck-normal-time", COHORT, SEED_2008, Options()).preset_for_new_studies
    assert [(each.own, each.other) for each in time.figures] == [("334.5 d", "later than 313 and at most 334.5 d")]
    inside = report(COHORT, SEED_2008, Options(by="sex")).answers
    assert inside["response-rates"].preset_for_new_studies == rates
    assert inside["ck-normal-time"].preset_for_new_studies == time


def test_the_other_figures_are_those_of_the_preset_itself():
    told = answer("response-rates", COHORT, SEED_2008, Options()).preset_for_new_studies
    own = answer("response-rates", COHORT, MYOSITIS_2026, Options()).results
    assert [each.other for each in told.figures] == [f"{row.responders} of {row.evaluable}" for row in own]
    (row,) = answer("ck-normal-time", COHORT, MYOSITIS_2026, Options()).results
    assert (row.interval_censored.median.left, row.interval_censored.median.right) == (313, 334.5)


@pytest.mark.parametrize("protocol", [MYOSITIS_2026, RELATIVE_20, changed(SEED_2008)], ids=lambda each: each.id)
def test_under_any_other_protocol_nothing_is_said(protocol):
    for name in ("response-rates", "ck-normal-time"):
        assert answer(name, COHORT, protocol, Options()).preset_for_new_studies is None


def test_of_nobody_nothing_differs():
    for name in ("response-rates", "ck-normal-time"):
        told = answer(name, NOBODY, SEED_2008, Options()).preset_for_new_studies
        assert not told.applies
        assert "every figure is the same in this study" in told.text


def test_an_interval_is_the_primary_estimate_only_where_it_is_declared():
    assert [row.interval_censored for row in answer("ck-normal-time", COHORT, SEED_2008, Options()).results] == [None]
    document = json.loads(MYOSITIS_2026.model_dump_json())
    document["ck_normal_time"]["rescue"] = "competing"
    with pytest.raises(ValueError, match=r"ck_normal_time\.primary_estimate"):
        Protocol.model_validate_json(json.dumps(document))


def test_the_patients_of_the_preset_are_all_treated():
    study = DerivedStudy(COHORT, MYOSITIS_2026)
    for declared in MYOSITIS_2026.responses:
        assert (study.response(declared.rule).evaluable == study.safety).all()


@pytest.mark.parametrize(
    ("family", "where"),
    [
        (["response:CK", "nonsense"], "primary_family.1"),
        (["weekly_change:CK:3"], "primary_family.0"),
        (["response:LDH"], "primary_family.0"),
        (["ck_change", "ck_change"], "primary_family.1"),
        ([], "primary_family"),
    ],
)
def test_a_family_names_endpoints_of_its_protocol_each_once(family, where):
    document = SEED_2008.model_dump(mode="json") | {"id": "own", "primary_family": family}
    with pytest.raises(ValueError, match=where):
        Protocol.model_validate_json(json.dumps(document))


def test_every_endpoint_may_be_in_the_family_and_only_a_declared_one_changes_the_digest():
    assert changed(SEED_2008, primary_family=SEED_2008.endpoints).primary_family == SEED_2008.endpoints
    assert "primary_family" not in SEED_2008.model_dump(mode="json")
    assert len(SEED_2008.endpoints) == 3 + 12 + 3
    assert changed(SEED_2008, primary_family=("ck_change",)).digest != changed(SEED_2008).digest


DIGESTS = {
    "seed-2008": "8d0e1e2f",
    "relative-20": "34c34b8a",
}


@pytest.mark.parametrize("preset", [SEED_2008, RELATIVE_20], ids=lambda preset: preset.id)
def test_the_digests_of_older_presets_are_what_they_were(preset):
    assert preset.digest.removeprefix("sha256:").startswith(DIGESTS[preset.id])
