"""The record of a patient over HTTP, and records that are of one person."""

import pytest
from jsonschema import Draft202012Validator

from tests.api.examples import JSON, codes, events, fill, lab, make_study, timeline
from tests.documented import description


def walk(client, address):
    """Every item of a list, page by page."""
    seen = []
    while address:
        page = client.get(address)
        assert page.status_code == 200, page.text
        seen += page.json()["items"]
        address = page.json()["next"]
        assert page.headers.get("link") == (f'<{address}>; rel="next"' if address else None)
    return seen


def corrected(client):
    """A patient with a result that was corrected, one that was withdrawn, one that a PUT left out; the address."""
    home = make_study(client)
    post = f"{home}/patients/P1/events"
    for document in (
        events("P1", lab(0, 900, id="a"), lab(1, 800, id="b"), lab(2, 700, id="c")),
        events("P1", lab(0, 910, id="a", status="corrected")),
        events("P1", {**lab(1, 800, id="b", status="entered-in-error"), "value": None}),
    ):
        assert client.post(post, json=document).status_code in {200, 201}
    document = client.get(f"{home}/patients/P1")
    kept = document.json() | {"labs": [one for one in document.json()["labs"] if one["id"] != "c"]}
    assert client.put(f"{home}/patients/P1", json=kept, headers={"If-Match": document.headers["etag"]}).is_success
    assert client.post(post, json=events("P1", lab(0, 890, id="a", status="preliminary"))).status_code == 200
    return f"{home}/patients/P1/history"


def test_the_record_tells_every_version_and_why_it_does_not_stand(anywhere):
    found = walk(anywhere, corrected(anywhere))
    assert [
        (one["fact"]["id"], one["fact"].get("value"), one["added"]["revision"], one["reason"], one["standing"])
        for one in found
    ] == [
        ("a", 900, 1, "superseded", False),
        ("b", 800, 1, "withdrawn", False),
        ("c", 700, 1, "left_out", False),
        ("a", 910, 2, None, True),
        ("b", None, 3, "withdrawal", False),
        ("a", 890, 5, "late", False),
    ]
    first = found[0]
    assert first["kind"] == "lab_result"
    assert first["fact"] == {**lab(0, 900, id="a"), "source": "A", "status": "final"}
    assert (first["removed"]["revision"], found[3]["removed"]) == (2, None)
    assert first["added"].keys() == {"revision", "received_at", "format", "client"}
    assert first["added"]["format"] == "native-json"
    assert first["added"]["received_at"] < first["removed"]["received_at"]


def test_a_version_says_by_which_revision_of_the_ledger_it_came(client):
    address = corrected(client)
    ledger = {one["revision"]: one for one in client.get("/v1/studies/trial/revisions").json()["items"]}
    for one in walk(client, address):
        for event in (one["added"], one["removed"] or one["added"]):
            assert event == {name: ledger[event["revision"]][name] for name in event}


def test_pages_stay_at_the_revision_at_which_the_walk_began(anywhere):
    address = corrected(anywhere)
    whole = walk(anywhere, address)
    page = anywhere.get(f"{address}?limit=4").json()
    post = address.replace("history", "events")
    assert anywhere.post(post, json=events("P1", lab(0, 920, id="a", version=1), lab(9, 5, id="z"))).status_code == 200
    assert page["items"] + walk(anywhere, page["next"]) == whole
    assert len(walk(anywhere, address)) == len(whole) + 2
    assert walk(anywhere, f"{address}?revision=5") == whole


def test_the_record_is_asked_for_as_it_was_known(client):
    address = corrected(client)
    assert [one["reason"] for one in walk(client, f"{address}?revision=2")] == ["superseded", None, None, None]
    received = client.get("/v1/studies/trial/revisions").json()["items"][1]["received_at"]
    assert walk(client, f"{address}?as_of={received}") == walk(client, f"{address}?revision=1")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("id=a", ["a", "a", "a"]),
        ("id=b&kind=lab_result", ["b", "b"]),
        ("code=CK&limit=2", ["a", "b", "c", "a", "b", "a"]),
        ("code=LDH", []),
        ("kind=infusion", []),
        ("kind=infusion&code=CK", []),
    ],
)
def test_the_record_is_asked_for_a_kind_a_code_or_a_number(client, query, ids):
    assert [one["fact"]["id"] for one in walk(client, f"{corrected(client)}?{query}")] == ids


def test_everything_of_a_timeline_is_in_the_record(client):
    home = fill(client, 1)
    found = walk(client, f"{home}/patients/P00/history?limit=3")
    shown = client.get(f"{home}/patients/P00").json()
    for kind, section in (("lab_result", "labs"), ("assessment", "assessments"), ("infusion", "infusions")):
        assert sorted(str(one["fact"]) for one in found if one["kind"] == kind) == sorted(map(str, shown[section]))
    attributes = {one["fact"]["name"]: one["fact"]["value"] for one in found if one["kind"] == "attribute"}
    assert {"id": "P00", **attributes} == shown["patient"]


def test_a_version_has_the_notes_of_its_receipt(anywhere):
    home = make_study(anywhere)
    address = f"{home}/patients/P1"
    unlimited = {**lab(0, 900, id="a"), "upper_limit": None}
    second = {**lab(1, 800, id="a"), "comparator": "<"}
    corrected = lab(1, 700, id="a", status="corrected")
    for sent in (unlimited, second, corrected, unlimited):
        assert anywhere.post(f"{address}/events", json=events("P1", sent)).is_success
    notes = [
        [{"code": "no_upper_limit"}],
        [{"code": "bound"}, {"code": "same_number_other_time"}],
        [{"code": "issued_from_receipt"}, {"code": "same_number_other_time"}],
    ]
    found = walk(anywhere, f"{address}/history?limit=2")
    assert [one.get("notes") for one in found if one["kind"] == "lab_result"] == notes
    before = anywhere.get(f"{address}/history?revision=2&kind=lab_result").json()["items"]
    assert [one["notes"] for one in before] == notes[:2]
    assert "notes" not in str(anywhere.get(address).json())
    assert anywhere.delete(f"{address}?erase=true").status_code == 204
    assert anywhere.get(f"{address}/history?revision=2").status_code == 410


def test_notes_are_not_part_of_what_is_put_again_or_of_digests(client):
    digests, noted = set(), []
    for study, order in (("one", (0, 1)), ("two", (1, 0))):
        home = make_study(client, study)
        address = f"{home}/patients/P1"
        for day in order:
            assert client.post(f"{address}/events", json=events("P1", lab(day, 900, id="a"))).is_success
        shown = client.get(address)
        again = client.put(address, json=shown.json(), headers={"If-Match": shown.headers["etag"]})
        assert again.json()["status"] == "unchanged"
        digests.add((shown.text, client.get(f"{home}/analyses/ck-change").json()["provenance"]["data"]))
        history = client.get(f"{address}/history?kind=lab_result").json()["items"]
        noted.append({one["fact"]["time"]: "notes" in one for one in history})
    assert len(digests) == 1
    assert noted[0] != noted[1]


def test_what_cannot_be_asked_for_is_named(client):
    address = corrected(client)
    assert codes(client.get(f"{address}?kind=labs")) == [("/query/kind", "unknown_value")]
    assert codes(client.get(f"{address}?code=IVIG")) == [("/query/code", "unknown_value")]
    assert codes(client.get(f"{address}?id=a%20b")) == [("/query/id", "bad_text")]
    assert codes(client.get(f"{address}?limit=0")) == [("/query/limit", "out_of_range")]
    cursor = client.get(f"{address}?limit=1").json()["next"].rpartition("cursor=")[2]
    assert codes(client.get(f"{address}?revision=1&cursor={cursor}")) == [("/query/cursor", "contradiction")]
    for other in (f"{address}?kind=lab_result", f"{address.replace('P1', 'P2')}?limit=1"):
        answer = client.get(f"{other}&cursor={cursor}")
        assert (answer.status_code, codes(answer)) == (400, [("/query/cursor", "malformed")])


def test_unknown_and_erased_persons_have_no_record(anywhere):
    address = corrected(anywhere)
    assert anywhere.get(address.replace("P1", "P2")).status_code == 404
    assert anywhere.get(address.replace("trial", "elsewhere")).status_code == 404
    assert anywhere.get(f"{address}?revision=0").status_code == 404
    assert anywhere.get(f"{address}?revision=99").status_code == 404
    assert anywhere.delete(f"{address.removesuffix('/history')}?erase=true").status_code == 204
    assert anywhere.get(address).status_code == 410
    assert anywhere.get(f"{address}?revision=1").status_code == 410


def test_the_answer_is_what_the_description_says(client):
    address = corrected(client)
    full = timeline(
        "P2",
        medications=[{"drug": "prednisolone", "start": "2005-01-20"}],
        adverse_events=[{"term": "headache", "related": True, "serious": False}],
        ended={"date": "2006-09-01", "reason": "completed"},
    )
    full["patient"] |= {"merged_into": "P1", "weight_kg": 49.5, "steroid_resistant": True}
    assert client.put("/v1/studies/trial/patients/P2", json=full).status_code == 201
    document = description()
    schema = {"$ref": "#/components/schemas/HistoryPage", "components": document["components"]}
    for of in (address, address.replace("P1", "P2")):
        answer = client.get(of).json()
        assert list(Draft202012Validator(schema).iter_errors(answer)) == []
        assert answer["items"]


def test_merged_records_are_one_patient_of_an_analysis_and_two_again_when_that_is_undone(anywhere):
    home = fill(anywhere, 3)
    before = anywhere.get(f"{home}/analyses").json()
    link = {"patient": {"id": "P02", "merged_into": "P01"}}
    assert anywhere.post(f"{home}/patients/P02/events", json=link).status_code == 200
    merged = anywhere.get(f"{home}/analyses").json()
    assert (before["populations"]["all"], merged["populations"]["all"]) == (3, 2)
    assert before["provenance"]["data"] != merged["provenance"]["data"]
    read = anywhere.get(f"{home}/patients/P02")
    assert read.json()["patient"]["merged_into"] == "P01"
    tag = {"If-Match": read.headers["etag"]}
    assert anywhere.put(f"{home}/patients/P02", content=read.content, headers=JSON | tag).json()["revision"] is None
    apart = read.json()
    del apart["patient"]["merged_into"]
    assert anywhere.put(f"{home}/patients/P02", json=apart, headers=tag).json()["status"] == "changed"
    after = anywhere.get(f"{home}/analyses").json()
    same = ("populations", "flow", "analyses")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert after["provenance"]["data"] == before["provenance"]["data"]
    again = anywhere.get(f"{home}/analyses?revision={merged['revision']}").json()
    assert again == merged


def test_a_record_into_which_another_is_merged_is_not_erased(anywhere):
    home = fill(anywhere, 2)
    anywhere.post(f"{home}/patients/P01/events", json={"patient": {"id": "P01", "merged_into": "P00"}})
    refused = anywhere.delete(f"{home}/patients/P00?erase=true")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict")
    assert "P0" not in refused.text
    assert anywhere.get(f"{home}/patients/P00").status_code == 200
    assert anywhere.delete(f"{home}/patients/P01?erase=true").status_code == 204
    assert anywhere.delete(f"{home}/patients/P00?erase=true").status_code == 204


def test_a_record_is_not_merged_into_itself(client):
    home = fill(client, 1)
    answer = client.post(f"{home}/patients/P00/events", json={"patient": {"id": "P00", "merged_into": "P00"}})
    assert (answer.status_code, codes(answer)) == (422, [("/patient/merged_into", "contradiction")])
    assert answer.json()["errors"][0]["detail"] == "A record cannot be merged into itself."
