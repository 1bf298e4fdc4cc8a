"""Groups of one study, endpoints of the same patients, and two studies against each other."""

import pytest

from app import SOFTWARE
from app.protocol.presets import RELATIVE_20, SEED_2008
from tests.api.examples import codes, events, fill, lab, make_study, timeline


@pytest.fixture
def two(client) -> str:
    """The address that compares a study of four patients with one of three."""
    fill(client, 4)
    fill(client, 3, "other")
    return "/v1/studies/trial/comparisons/other"


def test_two_groups_of_a_study_are_compared(anywhere):
    home = fill(anywhere, 5)
    body = anywhere.get(f"{home}/analyses/comparisons?by=sex").json()
    assert (body["groups"], body["unassigned"], body["reason"]) == (["female", "male"], 0, None)
    [mmt, *_] = body["results"]
    assert (mmt["group"], mmt["against"], mmt["measure"]) == ("female", "male", "MMT")
    assert (mmt["first"]["k"], mmt["first"]["n"], mmt["second"]["k"], mmt["second"]["n"]) == (2, 2, 3, 3)
    assert (mmt["difference"]["estimate"], mmt["test"]["p"]) == (0, 1)
    assert "stratified" not in mmt


def test_without_groups_the_answer_says_so_and_endpoints_are_compared(client):
    body = client.get(f"{fill(client, 3)}/analyses/comparisons").json()
    assert (body["reason"], body["results"], body["changes"], body["forest"]) == ("no_groups", [], [], [])
    assert [
        (pair["first"]["measure"], pair["second"]["measure"], pair["both"]) for pair in body["paired_endpoints"]
    ] == [
        ("MMT", "ADL", 3),
        ("MMT", "CK", 3),
        ("ADL", "CK", 3),
    ]


def test_groups_are_not_stratified_by_what_forms_them(client):
    home = fill(client, 2)
    answer = client.get(f"{home}/analyses/comparisons?by=sex&stratify=sex")
    assert (answer.status_code, codes(answer)) == (422, [("/query", "contradiction")])
    assert client.get(f"{home}/analyses/comparisons?by=sex&stratify=diagnosis").status_code == 200


@pytest.mark.parametrize("query", ["reference=polymyositis", "stratify=sex", "reference=female&stratify=diagnosis"])
def test_a_reference_or_strata_without_groups_are_refused(client, query):
    answer = client.get(f"{fill(client, 2)}/analyses/comparisons?{query}")
    assert (answer.status_code, codes(answer)) == (422, [("/query", "contradiction")])


def test_a_question_of_groups_can_be_asked_with_another_protocol(client):
    home = fill(client, 4)
    body = client.post(f"{home}/analyses/comparisons?by=sex", json={"protocol": "relative-20"}).json()
    assert body["provenance"]["protocol_id"] == "relative-20"
    assert {row["definition"]["id"] for row in body["results"]} == {
        "percent_above_baseline",
        "ck_decrease_or_normal_at_week",
    }


def test_the_mixed_model_is_answered_with_its_assumptions(client):
    body = client.get(f"{fill(client, 4)}/analyses/repeated-measures?by=sex").json()
    assert "missing_at_random" in {caveat["code"] for caveat in body["caveats"]}
    assert {(row["model"]["reason"], row["instead"]) for row in body["results"] if row["measure"] == "CK"} == {
        ("too_few", "weekly-change")
    }
    assert {(row["group"]["sex"], row["measure"]) for row in body["results"]} == {
        (sex, measure) for sex in ("female", "male") for measure in ("CK", "MMT", "ADL")
    }
    assert [row["measure"] for row in body["interactions"]] == ["CK", "MMT", "ADL"]


def test_two_studies_are_compared_by_the_first_ones_protocol(anywhere):
    fill(anywhere, 4)
    fill(anywhere, 3, "other")
    body = anywhere.get("/v1/studies/trial/comparisons/other").json()
    assert list(body)[:6] == ["analysis", "study", "revision", "as_of", "provenance", "other"]
    assert (body["analysis"], body["study"], body["other"]["study"]) == ("study-comparison", "trial", "other")
    assert (body["by"], body["populations"]["all"], body["other_populations"]["all"]) == ("study", 4, 3)
    assert {(row["group"], row["against"]) for row in body["results"] + body["changes"]} == {("trial", "other")}
    for part in (body, body["other"]):
        assert part["revision"] == anywhere.get(f"/v1/studies/{part['study']}").json()["revision"]
        assert part["provenance"]["protocol"] == SEED_2008.digest
        assert part["provenance"]["software"] == SOFTWARE
        alone = anywhere.get(f"/v1/studies/{part['study']}/analyses/response-rates").json()
        assert part["provenance"] == alone["provenance"]
    assert "other_protocol" not in {caveat["code"] for caveat in body["caveats"]}
    assert body["other"]["declared_protocol"] == SEED_2008.digest


def test_a_study_is_a_group_like_any_other(client):
    """Two studies of one sex each say of each other what two sexes of one study do."""
    people = [timeline(f"P{n}", ck=900 + 50 * n, sex="female" if n < 3 else "male") for n in range(7)]
    del people[5]["assessments"][-1], people[1]["assessments"][-1]
    for study in ("both", "female", "male"):
        make_study(client, study)
    for each in people:
        for study in ("both", each["patient"]["sex"]):
            client.put(f"/v1/studies/{study}/patients/{each['patient']['id']}", json=each)
    within = client.get("/v1/studies/both/analyses/comparisons?by=sex&stratify=diagnosis&level=0.9").json()
    between = client.get("/v1/studies/female/comparisons/male?stratify=diagnosis&level=0.9").json()
    for name in ("results", "changes", "forest"):
        assert between[name] == within[name]
        assert between[name]


def test_another_protocol_of_the_other_study_is_reported(client):
    """The other study declared its protocol before its first outcome; the one applied came after."""
    fill(client, 2)
    make_study(client, "other", protocol="relative-20")
    client.put("/v1/studies/other/patients/P00", json=timeline("P00"))
    alone = client.get("/v1/studies/other/analyses/response-rates").json()["provenance"]
    assert alone["protocol_changed_after_first_outcome"] is False
    body = client.get("/v1/studies/trial/comparisons/other").json()
    assert [each["code"] for each in body["caveats"]][-2:] == ["other_protocol", "bounds_as_values"]
    assert body["other"]["declared_protocol"] == RELATIVE_20.digest
    assert body["other"]["provenance"] == {
        **alone,
        "protocol": SEED_2008.digest,
        "protocol_id": SEED_2008.id,
        "protocol_changed_after_first_outcome": True,
    }
    assert body["provenance"]["protocol_changed_after_first_outcome"] is False


def test_each_study_can_be_read_as_it_stood(client, two):
    before = client.get(two)
    for study in ("trial", "other"):
        then = client.get(f"/v1/studies/{study}").json()["revision"]
        client.post(f"/v1/studies/{study}/patients/P00/events", json=events("P00", lab(7, 5000)))
        assert client.get(two).content != before.content
        pinned = {"trial": f"revision={then}", "other": f"other_revision={then}"}
        if study == "trial":
            first = pinned["trial"]
            assert client.get(f"{two}?{first}").content == before.content
        else:
            again = client.get(f"{two}?{first}&{pinned['other']}")
            assert (again.content, again.headers["etag"]) == (before.content, before.headers["etag"])
    assert client.get(f"{two}?as_of={before.json()['other']['as_of']}").content == before.content
    assert client.get(f"{two}?other_revision=999").status_code == 404


def test_a_client_that_has_the_comparison_gets_304(client, two, monkeypatch):
    first = client.get(two)
    tags = {first.headers["etag"]}
    monkeypatch.setattr("app.access.study_answers.study_comparison", None)
    kept = client.get(two, headers={"If-None-Match": first.headers["etag"]})
    assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", first.headers["etag"])
    monkeypatch.undo()
    tags |= {client.get(two + query).headers["etag"] for query in ("?level=0.9", "?stratify=sex", "?multiplicity=none")}
    tags.add(client.get("/v1/studies/other/comparisons/trial").headers["etag"])
    assert len(tags) == 5


def test_an_erased_patient_is_not_in_a_comparison(client, two):
    then = client.get("/v1/studies/other").json()["revision"]
    assert client.get(two).json()["other_populations"]["all"] == 3
    assert client.delete("/v1/studies/other/patients/P00?erase=true").status_code in {200, 204}
    assert client.get(two).json()["other_populations"]["all"] == 2
    assert client.get(f"{two}?other_revision={then}").status_code == 410


def test_a_comparison_that_makes_no_sense_is_refused(client, two):
    same = client.get("/v1/studies/trial/comparisons/trial")
    assert (same.status_code, codes(same)) == (422, [("/path/other", "contradiction")])
    assert client.get("/v1/studies/trial/comparisons/none").status_code == 404
    assert client.get("/v1/studies/none/comparisons/trial").status_code == 404
    for query, code in (
        ("level=95", "out_of_range"),
        ("stratify=age", "unknown_value"),
        ("other_revision=-1", "out_of_range"),
    ):
        answer = client.get(f"{two}?{query}")
        assert (answer.status_code, codes(answer)) == (422, [(f"/query/{query.split('=')[0]}", code)])
    assert codes(client.get(f"{two}?by=sex")) == [("/query", "unknown_parameter")]


def test_an_empty_study_is_compared_with_nulls(client, two):
    make_study(client, "empty")
    body = client.get("/v1/studies/empty/comparisons/other").json()
    assert {row["difference"]["reason"] for row in body["results"]} == {"no_patients"}
    assert {row["shift"]["reason"] for row in body["changes"]} == {"no_patients"}
    assert {row["test"]["p"] for row in body["results"] + body["changes"]} == {None}
