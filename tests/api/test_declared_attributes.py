"""Attributes of patients that a protocol declares: read, kept, exported, grouped by, and refused where not declared."""

import json

from app.protocol.presets import SEED_2008
from tests.api.examples import codes, make_study, timeline

CENTRES = SEED_2008.model_dump(mode="json") | {
    "id": "centres",
    "attributes": {"centre": ["Kyoto", "Osaka"], "autoantibody": ["anti-SRP", "none"]},
}
STATED = {"centre": "Kyoto", "autoantibody": "anti-SRP"}


def stating(patient: str, **attributes: str) -> dict:
    document = timeline(patient)
    return document | {"patient": document["patient"] | {"attributes": attributes}}


def test_declared_attributes_are_kept_and_given_back_exactly(anywhere):
    home = make_study(anywhere)
    assert anywhere.put(f"{home}/protocol", json=CENTRES).status_code == 200
    assert anywhere.put(f"{home}/patients/P01", json=stating("P01", **STATED)).status_code == 201
    read = anywhere.get(f"{home}/patients/P01")
    assert read.json()["patient"]["attributes"] == STATED
    again = anywhere.put(f"{home}/patients/P01", json=read.json(), headers={"If-Match": read.headers["etag"]})
    assert again.json()["status"] == "unchanged"
    [listed] = anywhere.get(f"{home}/patients").json()["items"]
    assert listed["patient"]["attributes"] == STATED
    grouped = anywhere.get(f"{home}/analyses/response-rates?by=centre").json()
    assert {row["group"]["centre"] for row in grouped["results"]} == {"Kyoto"}


def test_a_later_statement_is_a_version_and_the_older_one_stays_in_the_history(anywhere):
    home = make_study(anywhere)
    anywhere.put(f"{home}/protocol", json=CENTRES)
    anywhere.put(f"{home}/patients/P01", json=stating("P01", **STATED))
    moved = {"patient": {"id": "P01", "attributes": STATED | {"centre": "Osaka"}}}
    assert anywhere.post(f"{home}/patients/P01/events", json=moved).status_code == 200
    assert anywhere.get(f"{home}/patients/P01").json()["patient"]["attributes"]["centre"] == "Osaka"
    told = anywhere.get(f"{home}/patients/P01/history")
    assert told.status_code == 200
    assert "Kyoto" in told.text
    assert "Osaka" in told.text


def test_an_undeclared_attribute_and_a_value_that_is_not_allowed_are_refused(anywhere):
    home = make_study(anywhere)
    refused = anywhere.put(f"{home}/patients/P01", json=stating("P01", centre="Kyoto"))
    assert (refused.status_code, codes(refused)) == (422, [("/patient/attributes", "unknown_field")])
    anywhere.put(f"{home}/protocol", json=CENTRES)
    for attributes, expected in (
        ({"site": "Kyoto"}, ("/patient/attributes", "unknown_field")),
        ({"centre": "Nara"}, ("/patient/attributes/centre", "unknown_value")),
    ):
        for answer in (
            anywhere.put(f"{home}/patients/P01", json=stating("P01", **attributes)),
            anywhere.post(f"{home}/patients/P01/events", json=stating("P01", **attributes)),
        ):
            assert (answer.status_code, codes(answer)) == (422, [expected])
            assert "Nara" not in answer.text
        lines = json.dumps(stating("P01", **attributes))
        stream = anywhere.post(f"{home}/timelines", content=lines, headers={"Content-Type": "application/x-ndjson"})
        assert expected[1] in stream.text
        unstored = {"protocol": CENTRES, "timelines": [stating("P01", **attributes)]}
        assert codes(anywhere.post("/v1/analyses", json=unstored)) == [(f"/timelines/0{expected[0]}", expected[1])]
    assert anywhere.get(f"{home}/patients").json()["items"] == []


def test_an_erasure_takes_the_attributes(anywhere):
    home = make_study(anywhere)
    anywhere.put(f"{home}/protocol", json=CENTRES)
    anywhere.put(f"{home}/patients/P01", json=stating("P01", **STATED))
    assert _attributes_stored(anywhere) > 0
    assert anywhere.delete(f"{home}/patients/P01?erase=true").status_code == 204
    assert _attributes_stored(anywhere) == 0


def _attributes_stored(client):
    with client.app_state["app_state"].database.reading() as connection:
        return connection.exec_driver_sql("select count(*) from patient_attributes").scalar()


def test_a_grouping_that_is_not_declared_is_refused_with_what_is_accepted(anywhere):
    home = make_study(anywhere)
    anywhere.put(f"{home}/protocol", json=CENTRES)
    for address in (
        "analyses/response-rates?by=site",
        "analyses?by=course",
        "analyses/comparisons?by=sex&stratify=site",
    ):
        answer = anywhere.get(f"{home}/{address}")
        assert answer.status_code == 422
        assert [code for _, code in codes(answer)] == ["unknown_value"]
        assert "autoantibody" in answer.text


def test_a_timeline_that_is_read_and_put_into_another_study_gives_the_same_data(anywhere):
    document, digests = stating("P01", **STATED), []
    for name in ("trial", "other"):
        home = make_study(anywhere, name)
        anywhere.put(f"{home}/protocol", json=CENTRES)
        assert anywhere.put(f"{home}/patients/P01", json=document).status_code == 201
        document = anywhere.get(f"{home}/patients/P01").json()
        digests.append(anywhere.get(f"{home}/analyses/response-rates").json()["provenance"]["data"])
    assert digests[0] == digests[1]
