"""What moved each key result: the steps from revision to revision."""

import pytest

from app.api import revisions
from tests.api.examples import codes, events, fill, lab, make_study, timeline


def moved(step):
    return {(each["analysis"], each["measure"]): (each["before"], each["after"]) for each in step["figures"]}


def test_each_step_names_its_facts_and_the_figures_that_it_moved(anywhere):
    home = fill(anywhere, 2)
    body = anywhere.get(f"{home}/changes?from=0&to=2").json()
    assert (body["from"], body["to"], [each["revision"] for each in body["items"]]) == (0, 2, [1, 2])
    first, second = body["items"]
    assert first["facts"] == [
        {"kind": "assessment", "added": 10, "ended": 0},
        {"kind": "attribute", "added": 3, "ended": 0},
        {"kind": "infusion", "added": 1, "ended": 0},
        {"kind": "lab_result", "added": 7, "ended": 0},
    ]
    assert moved(first)[("response-rates", "MMT")] == (None, 1)
    rate = next(each for each in second["figures"] if each["measure"] == "MMT" and each["of"] == "rate")
    assert (rate["before"], rate["after"], rate["difference"], rate["n_before"], rate["n_after"]) == (1, 1, 0, 1, 2)
    assert "patients" not in first


def test_every_figure_of_a_step_is_the_one_of_the_report_at_its_revision(client):
    home = fill(client, 3)
    client.post(f"{home}/patients/P01/events", json=events("P01", lab(56, 900)))
    for step in client.get(f"{home}/changes").json()["items"]:
        report = client.get(f"{home}/analyses?revision={step['revision']}").json()["analyses"]
        rates = {row["measure"]: row["rate"] for row in report["response-rates"]["results"] if row["primary"]}
        for each in step["figures"]:
            if each["of"] == "rate":
                assert each["after"] == rates[each["measure"]]
            elif each["analysis"] == "ck-change":
                assert each["after"] == report["ck-change"]["results"][0]["difference"]["mean"]
            elif each["analysis"] == "ck-normal-time":
                assert each["after"] == report["ck-normal-time"]["results"][0]["median"]["value"]
            else:
                [row] = [
                    row for row in report["weekly-change"]["results"]
                    if (row["measure"], row["week"], row["scale"]) == (each["measure"], each["week"], each["scale"])
                ]  # fmt: skip
                assert each["after"] == row["mean"]


def test_the_figures_at_both_ends_are_all_there_and_the_empty_study_has_none(client):
    home = fill(client, 2)
    body = client.get(f"{home}/changes").json()
    assert len(body["figures"]) == 8
    assert {each["before"] for each in body["figures"]} == {None}
    assert {(each["difference"], each["n_before"], each["reason_before"]) for each in body["figures"]} == {
        (None, 0, "no_patients")
    }
    same = client.get(f"{home}/changes?from=2&to=2").json()
    assert (same["items"], {each["difference"] for each in same["figures"]}) == ([], {0, None})


def test_a_correction_ends_one_fact_and_adds_one_and_another_protocol_is_named(client):
    home = fill(client, 1)
    client.post(f"{home}/patients/P00/events", json=events("P00", lab(56, 900, status="corrected")))
    put = client.put(
        f"{home}/protocol", json="relative-20", headers={"If-Match": client.get(f"{home}/protocol").headers["ETag"]}
    )
    if put.status_code != 200:
        put = client.put(f"{home}", json={"name": "Trial", "protocol": "relative-20"})
    assert put.status_code == 200, put.text
    correction, protocol = client.get(f"{home}/changes?from=1").json()["items"]
    assert correction["facts"] == [{"kind": "lab_result", "added": 1, "ended": 1}]
    assert not correction["protocol_changed"]
    assert (protocol["facts"], protocol["protocol_changed"]) == ([], True)


def test_a_step_whose_person_was_erased_has_null_figures_and_says_so(client):
    home = fill(client, 2)
    assert client.delete(f"{home}/patients/P01?erase=true").status_code == 204
    body = client.get(f"{home}/changes").json()
    _, second, third = body["items"]
    assert [each["erased"] for each in body["items"]] == [False, True, False]
    assert {(each["after"], each["n_after"], each["reason_after"]) for each in second["figures"]} == {
        (None, None, "erased")
    }
    assert {each["reason_before"] for each in third["figures"]} == {"erased"}
    assert client.get(f"{home}/changes?from=2").status_code == 410
    assert client.get(f"{home}/changes?to=2").status_code == 410


def test_pages_give_the_same_steps_and_are_pinned_to_the_revision_of_the_first(client):
    home = fill(client, 3)
    whole = client.get(f"{home}/changes").json()["items"]
    seen, address = [], f"{home}/changes?limit=1"
    while address:
        answer = client.get(address)
        assert answer.json()["to"] == 3
        seen += answer.json()["items"]
        address = answer.json()["next"]
        assert (address in answer.headers["Link"]) if address else ("Link" not in answer.headers)
        client.put(f"{home}/patients/P9{len(seen)}", json=timeline(f"P9{len(seen)}"))
    assert seen == whole


def test_a_page_of_a_large_study_has_fewer_revisions_and_at_least_one(client, monkeypatch):
    home = fill(client, 3)
    whole = client.get(f"{home}/changes").json()["items"]
    monkeypatch.setattr(revisions, "FACTS_OF_A_PAGE", 1)
    seen, address, pages = [], f"{home}/changes?limit=100", 0
    while address:
        found = client.get(address).json()
        seen, address, pages = seen + found["items"], found["next"], pages + 1
    assert (seen, pages) == (whole, 3)


@pytest.mark.parametrize(
    ("query", "status", "expected"),
    [
        ("from=2&to=1", 422, [("/query/from", "contradiction")]),
        ("from=-1", 422, None),
        ("limit=0", 422, None),
        ("limit=101", 422, None),
        ("from=9&to=2", 404, None),
        ("to=9", 404, None),
        ("cursor=x", 400, [("/query/cursor", "malformed")]),
    ],
)
def test_what_cannot_be_is_refused(client, query, status, expected):
    answer = client.get(f"{fill(client, 2)}/changes?{query}")
    assert answer.status_code == status
    assert expected is None or codes(answer) == expected


def test_a_cursor_is_good_for_its_own_question_only(client):
    home = fill(client, 3)
    cursor = client.get(f"{home}/changes?limit=1").json()["next"].rpartition("cursor=")[2]
    assert client.get(f"{home}/changes?from=1&cursor={cursor}").status_code == 400
    make_study(client, "other")
    assert client.get(f"/v1/studies/other/changes?cursor={cursor}").status_code == 400


def test_the_same_question_is_not_answered_again_and_a_new_revision_is(client):
    home = fill(client, 1)
    tag = client.get(f"{home}/changes").headers["ETag"]
    assert client.get(f"{home}/changes", headers={"If-None-Match": tag}).status_code == 304
    client.put(f"{home}/patients/P77", json=timeline("P77"))
    assert client.get(f"{home}/changes", headers={"If-None-Match": tag}).status_code == 200
