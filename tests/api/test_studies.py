"""Studies, their protocols and the ledger of what they accepted."""

import pytest

from app.protocol.presets import MYOSITIS_2026, PRESETS, RELATIVE_20, SEED_2008
from app.store.tables import protocols, study_facts
from tests.api.examples import JSON, codes, events, fill, lab, make_study, timeline

DEFINITION = {
    "name": "IVIG in steroid-resistant myositis",
    "protocol": "seed-2008",
    "time_zone": "Asia/Tokyo",
    "test": True,
}


def test_a_study_is_made_by_declaring_it_and_may_be_declared_again(anywhere):
    made = anywhere.put("/v1/studies/trial", json=DEFINITION)
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/studies/trial"
    study = made.json()
    assert study["protocol"] == {"id": "seed-2008", "digest": SEED_2008.digest}
    assert (study["name"], study["time_zone"], study["test"], study["patients"]) == (
        DEFINITION["name"],
        "Asia/Tokyo",
        True,
        0,
    )
    again = anywhere.put("/v1/studies/trial", json=DEFINITION)
    assert (again.status_code, again.json()) == (200, study)
    assert anywhere.get("/v1/studies/trial").json() == study


def test_a_changed_declaration_is_a_revision(anywhere):
    first = anywhere.put("/v1/studies/trial", json=DEFINITION).json()
    changed = anywhere.put("/v1/studies/trial", json={**DEFINITION, "name": "Another name"}).json()
    assert changed["name"] == "Another name"
    assert changed["revision"] == first["revision"] + 1


FEEDS = {
    "identifiers": "pseudonyms",
    "authorities": ["urn:oid:1.2.392.200119.4.1", "WARD7"],
    "local_codes": {"L|CK": "CK", "http://ward.example|MMT": "MMT", "|IVG": "IVIG"},
}


def test_what_a_study_declares_of_its_feeds_is_kept_and_versioned(anywhere):
    plain = anywhere.put("/v1/studies/trial", json=DEFINITION).json()
    assert {name: plain[name] for name in FEEDS} == {
        "identifiers": "medical_record",
        "authorities": [],
        "local_codes": {},
    }
    declared = anywhere.put("/v1/studies/trial", json=DEFINITION | FEEDS).json()
    assert {name: declared[name] for name in FEEDS} == FEEDS
    assert declared["revision"] == plain["revision"] + 1
    turned = FEEDS | {"local_codes": dict(reversed(FEEDS["local_codes"].items()))}
    assert anywhere.put("/v1/studies/trial", json=DEFINITION | turned).json() == declared
    again = anywhere.put("/v1/studies/trial", json=DEFINITION).json()
    assert (again["revision"], again["local_codes"]) == (plain["revision"] + 2, {})


def test_a_local_code_may_only_mean_what_is_kept(client):
    answer = client.put("/v1/studies/trial", json=DEFINITION | {"local_codes": {"L|KNOWN": "CK", "L|CKM": "CK-MB"}})
    assert (answer.status_code, [place for place, _ in codes(answer)]) == (422, ["/local_codes"])
    assert "CKM" not in answer.text
    assert client.get("/v1/studies/trial").status_code == 404


@pytest.mark.parametrize(
    ("aliases", "code"),
    [
        ({"E/L": "E/L"}, "unknown_unit"),
        ({"E/L": "mg/dL"}, "unknown_unit"),
        ({" ": "U/L"}, "contradiction"),
        ({"kU/L": "U/L"}, "contradiction"),
        ({"ng/mL": "U/L"}, "contradiction"),
    ],
)
def test_an_alias_of_a_unit_means_an_accepted_unit_and_is_none_itself(client, aliases, code):
    answer = client.put("/v1/studies/trial", json=DEFINITION | {"unit_aliases": aliases})
    assert (answer.status_code, codes(answer)) == (422, [("/unit_aliases", code)])
    assert client.get("/v1/studies/trial").status_code == 404


def test_a_unit_that_a_study_declares_is_read_in_its_feeds_and_not_in_native_json(client):
    home = make_study(client, identifiers="pseudonyms", unit_aliases={"kE/L": "kU/L"})
    table = "patient,time,code,value,unit,reference_range\nP01,2005-03-16,CK,1.101,kE/L,30 - 170 E/L\n"
    results = "PID|1||P02\rOBR|1||77^LAB|CK|||20050316\rOBX|1|NM|2157-6^CK^LN||1.101|kE/L|0.03-0.17||||F"
    assert client.post(f"{home}/labs", content=table, headers={"Content-Type": "text/csv"}).status_code == 200
    header = "MSH|^~\\&|A|B|C|D|20050317080000+0900||ORU^R01|1|P|2.5.1\r"
    message = client.post(f"{home}/hl7v2", content=header + results, headers={"Content-Type": "application/hl7-v2"})
    assert message.status_code == 200, message.text
    for patient, limit in (("P01", None), ("P02", 0.17)):
        [result] = client.get(f"{home}/patients/{patient}").json()["labs"]
        assert (result["value"], result["unit"], result.get("upper_limit")) == (1.101, "kU/L", limit)
    native = client.post(f"{home}/patients/P03/events", json=events("P03", lab(0, 5, unit="kE/L")))
    assert codes(native) == [("/labs/0/unit", "unknown_unit")]


def test_the_order_of_authorities_is_kept(client):
    turned = FEEDS | {"authorities": FEEDS["authorities"][::-1]}
    first = client.put("/v1/studies/trial", json=DEFINITION | FEEDS).json()
    second = client.put("/v1/studies/trial", json=DEFINITION | turned).json()
    assert (second["authorities"], second["revision"]) == (turned["authorities"], first["revision"] + 1)


def test_a_study_that_was_made_before_feeds_is_not_changed_by_declaring_it_again(anywhere):
    """The rows of what it says of its feeds are taken away, as they were never there before."""
    made = anywhere.put("/v1/studies/trial", json=DEFINITION).json()
    with anywhere.app_state["app_state"].database.writing() as connection:
        for name in FEEDS:
            connection.execute(study_facts.delete().where(study_facts.c.name == name))
    assert anywhere.get("/v1/studies/trial").json() == made
    again = anywhere.put("/v1/studies/trial", json=DEFINITION)
    assert (again.status_code, again.json()) == (200, made)
    changed = anywhere.put("/v1/studies/trial", json=DEFINITION | FEEDS).json()
    assert (changed["revision"], changed["authorities"]) == (made["revision"] + 1, FEEDS["authorities"])


def test_the_etag_of_a_study_changes_with_what_it_holds(anywhere):
    home = make_study(anywhere)
    tag = anywhere.get(home).headers["etag"]
    assert anywhere.get(home, headers={"If-None-Match": tag}).status_code == 304
    anywhere.put(f"{home}/patients/P1", json=timeline("P1"))
    fresh = anywhere.get(home, headers={"If-None-Match": tag})
    assert fresh.status_code == 200
    assert fresh.json()["patients"] == 1


HAQ_RULE = {"id": "percent_above_baseline", "measure": "HAQ", "percent": 101, "week": 4}
MMT_RULE = {"id": "points_above_baseline", "measure": "MMT8", "points": 9, "days": [1, 59], "value": "best"}


@pytest.mark.parametrize(
    ("parts", "place", "named"),
    [
        ({"responses": [{"rule": HAQ_RULE}]}, "/protocol", "responses.0: no score falls by more than 100 per cent"),
        ({"responses": [{"rule": MMT_RULE, "primary": False}] * 2}, "/protocol", "responses: declare each rule once"),
        ({"scales": {"MMT": {"maximum": 5e-324, "better": "higher"}}}, "/protocol/scales/MMT", "scales: the greatest"),
        ({"scales": {"MMT": {"maximum": 10, "better": "up"}}}, "/protocol/scales/MMT/better", None),
        ({"scales": {"MMT": {"maximum": 10}}}, "/protocol/scales/MMT/better", None),
        ({"visits": {"weeks": list(range(1, 62)), "tolerance_days": 0}}, "/protocol/visits/weeks", None),
        ({"weekly_change": {"measures": ["XYZ"]}}, "/protocol/weekly_change/measures/0", None),
        ({"weekly_change": {"measures": ["CK", "ADL"]}}, "/protocol", "weekly_change.measures.1: this measure needs"),
        ({"weekly_change": {"measures": ["CK"], "weeks": [1, 3]}}, "/protocol", "weekly_change.weeks.1: this week is"),
    ],
)
def test_a_protocol_that_contradicts_itself_is_refused_and_the_definition_is_named(client, parts, place, named):
    parts = {"weekly_change": {"measures": ["CK"]}} | parts
    answer = client.put("/v1/studies/trial", json={"name": "T", "protocol": {"id": "x"} | parts})

    [fault] = answer.json()["errors"]
    assert (answer.status_code, fault["pointer"]) == (422, place)
    assert named is None or (fault["code"] == "contradiction" and named in fault["detail"])


@pytest.mark.parametrize(
    ("document", "faults"),
    [
        ({}, [("/name", "missing")]),
        ({"name": "", "protocol": "seed-2008"}, [("/name", "too_short")]),
        ({"name": "T", "protocol": "nothing"}, [("/protocol", "unknown_value")]),
        ({"name": "T", "protocol": 3}, [("/protocol", "wrong_type")]),
        ({"name": "T", "protocol": None}, [("/protocol", "wrong_type")]),
        ({"name": "T", "protocol": {"id": "x", "visits": {"weeks": [1, 1]}}}, [("/protocol/visits", "contradiction")]),
        ({"name": "T", "protocol": {"title": "no id"}}, [("/protocol/id", "missing")]),
        ({"name": "T", "protocol": "seed-2008", "time_zone": "Mars/Base"}, [("/time_zone", "unknown_value")]),
        ({"name": "T", "protocol": "seed-2008", "time_zone": "../../etc/passwd"}, [("/time_zone", "unknown_value")]),
        ({"name": "T", "protocol": "seed-2008", "time_zone": "Asia"}, [("/time_zone", "unknown_value")]),
        ({"name": "T", "protocol": "seed-2008", "time_zone": "asia/tokyo"}, [("/time_zone", "unknown_value")]),
        ({"name": "T", "protocol": "seed-2008", "test": "true"}, [("/test", "wrong_type")]),
        ({"name": "T", "protocol": "seed-2008", "identifiers": "mrn"}, [("/identifiers", "unknown_value")]),
        ({"name": "T", "protocol": "seed-2008", "authorities": "WARD7"}, [("/authorities", "wrong_type")]),
        ({"name": "T", "protocol": "seed-2008", "authorities": ["A", ""]}, [("/authorities/1", "too_short")]),
        ({"name": "T", "protocol": "seed-2008", "local_codes": ["L|CK"]}, [("/local_codes", "wrong_type")]),
        ({"name": "T", "protocol": "seed-2008", "local_codes": {"CK": "CK"}}, [("/local_codes", "unknown_field")]),
        ({"name": "T", "protocol": "seed-2008", "colour": 1}, [("", "unknown_field")]),
    ],
)
def test_a_declaration_that_cannot_be_used_names_every_place(client, document, faults):
    answer = client.put("/v1/studies/trial", json=document)
    assert answer.status_code == 422
    assert codes(answer) == faults
    assert client.get("/v1/studies/trial").status_code == 404


def test_a_protocol_of_one_s_own_is_written_out_in_full(anywhere):
    own = {
        "id": "mine",
        "scales": {"MMT": {"maximum": 80, "better": "higher"}, "ADL": {"maximum": 50, "better": "higher"}},
    }
    home = make_study(anywhere, protocol=own)
    stored = anywhere.get(f"{home}/protocol").json()
    assert stored["scales"]["MMT"] == {"minimum": 0, "maximum": 80, "better": "higher"}
    assert stored["treatment"]["products"] == ["IVIG"]
    assert anywhere.put(f"{home}/protocol", json=stored).json() == stored


def test_the_presets_can_be_read(client):
    listed = client.get("/v1/protocols").json()
    assert [each["id"] for each in listed["items"]] == list(PRESETS)
    assert listed["next"] is None
    assert client.get("/v1/protocols/relative-20").json() == RELATIVE_20.model_dump(mode="json")


def test_a_protocol_is_versioned_like_any_fact(anywhere):
    home = fill(anywhere, 1)
    before = anywhere.get(home).json()["revision"]
    old = anywhere.get(f"{home}/protocol")
    assert old.json() == SEED_2008.model_dump(mode="json")
    declared = anywhere.put(
        f"{home}/protocol", json=RELATIVE_20.model_dump(mode="json"), headers={"If-Match": old.headers["etag"]}
    )
    assert declared.status_code == 200
    new = anywhere.get(f"{home}/protocol", headers={"If-None-Match": old.headers["etag"]})
    assert (new.status_code, new.json()["id"]) == (200, "relative-20")
    assert anywhere.get(f"{home}/protocol?revision={before}").content == old.content
    stale = anywhere.put(
        f"{home}/protocol", json=SEED_2008.model_dump(mode="json"), headers={"If-Match": old.headers["etag"]}
    )
    assert stale.status_code == 412
    assert anywhere.get(home).json()["revision"] == before + 1


def test_studies_are_listed_in_pages(anywhere):
    for name in ("c", "a", "b", "B", "a.1"):
        make_study(anywhere, name)
    seen, address = [], "/v1/studies?limit=2"
    while address:
        page = anywhere.get(address)
        seen += [study["id"] for study in page.json()["items"]]
        address = page.json()["next"]
        assert page.headers.get("link") == (f'<{address}>; rel="next"' if address else None)
    assert seen == ["B", "a", "a.1", "b", "c"]


def test_nothing_of_one_study_is_seen_in_another(anywhere):
    first, second = make_study(anywhere, "first"), make_study(anywhere, "second")
    anywhere.put(f"{first}/patients/P1", json=timeline("P1"))
    assert anywhere.get(f"{second}/patients").json()["items"] == []
    assert anywhere.get(f"{second}/patients/P1").status_code == 404
    assert anywhere.get(second).json()["revision"] == anywhere.get(first).json()["revision"] - 1
    assert anywhere.put(f"{second}/patients/P1", json=timeline("P1", ck=500)).status_code == 201
    assert anywhere.get(f"{first}/patients/P1").json()["labs"][1]["value"] == 1000


def test_the_ledger_lists_what_was_accepted_and_nothing_else(anywhere):
    home = fill(anywhere, 2)
    anywhere.post(f"{home}/patients/P00/events", json=events("P00", lab(40, 150)))
    length = anywhere.get(home).json()["revision"]
    anywhere.post(f"{home}/patients/P00/events", json=events("P00", lab(40, 150)))
    anywhere.post(f"{home}/patients/P00/events", json=events("P00", lab(40, -150)))
    seen, address = [], f"{home}/revisions?limit=2"
    while address:
        page = anywhere.get(address).json()
        seen += page["items"]
        address = page["next"]
    assert [each["revision"] for each in seen] == list(range(length + 1))
    assert seen[-1]["counts"]["added"] == 1
    assert not any(each["erased"] for each in seen)
    assert len({each["hash"] for each in seen}) == length + 1
    assert sorted(each["received_at"] for each in seen) == [each["received_at"] for each in seen]


def test_a_cursor_belongs_to_one_list_of_one_study(client):
    first, second = fill(client, 3, "first"), fill(client, 3, "second")
    cursor = client.get(f"{first}/patients?limit=1").json()["next"].rpartition("cursor=")[2]
    assert client.get(f"{first}/patients?limit=1&cursor={cursor}").status_code == 200
    for address in (
        f"{second}/patients?cursor={cursor}",
        f"{first}/patients?sex=female&cursor={cursor}",
        f"{first}/revisions?cursor={cursor}",
        f"/v1/studies?cursor={cursor}",
        f"{first}/patients?cursor={cursor[:-2]}AA",
        f"{first}/patients?cursor=x{cursor}",
        f"{first}/patients?cursor=",
        f"{first}/patients?cursor=%00",
        f"{first}/patients?cursor=WzEsIlAwMCJd",
    ):
        answer = client.get(address)
        assert answer.status_code == 400, address
        assert codes(answer) == [("/query/cursor", "malformed")]
    assert codes(client.get(f"{first}/patients?revision=1&cursor={cursor}")) == [("/query/cursor", "contradiction")]


def test_cursors_outlive_the_process_where_the_operator_gives_a_key(serve, sqlite_url):
    home = fill(serve(sqlite_url, cursor_key="secret"), 3)
    address = serve(sqlite_url, cursor_key="secret").get(f"{home}/patients?limit=1").json()["next"]
    assert serve(sqlite_url, cursor_key="secret").get(address).status_code == 200
    assert serve(sqlite_url, cursor_key="other").get(address).status_code == 400
    assert serve(sqlite_url).get(address).status_code == 400


def test_a_study_that_is_not_there_has_nothing(client):
    for address in ("", "/protocol", "/patients", "/patients/P1", "/revisions", "/analyses", "/analyses/ck-change"):
        assert client.get(f"/v1/studies/nobody{address}").status_code == 404
    assert client.post("/v1/studies/nobody/timelines", content=b"[]", headers=JSON).status_code == 404
    assert client.put("/v1/studies/nobody/patients/P1", json=timeline("P1")).status_code == 404
    assert client.delete("/v1/studies/nobody/patients/P1?erase=true").status_code == 404


def test_a_changed_preset_needs_an_id_of_its_own(anywhere):
    home = make_study(anywhere)
    own = SEED_2008.model_dump(mode="json")
    changed = own | {"baseline": {"flag_older_than_days": 41}}
    for answer in (
        anywhere.put(f"{home}/protocol", json=changed),
        anywhere.put("/v1/studies/other", json=DEFINITION | {"protocol": changed}),
        anywhere.post(f"{home}/analyses/response-rates", json={"protocol": changed}),
    ):
        assert (answer.status_code, [code for _, code in codes(answer)]) == (422, ["contradiction"])
        assert "choose an id of your own" in answer.text
    assert anywhere.put(f"{home}/protocol", json=own).status_code == 200
    assert anywhere.put(f"{home}/protocol", json=changed | {"id": "ours"}).status_code == 200


def test_a_stored_protocol_with_the_name_of_a_preset_is_answered_and_said_to_differ(anywhere):
    home = make_study(anywhere)
    stored = SEED_2008.model_copy(update={"upper_limit": "nearest_same_laboratory"})
    with anywhere.app_state["app_state"].database.writing() as connection:
        connection.execute(protocols.update().values(document=stored.model_dump_json(), digest=stored.digest))
    told = anywhere.get(f"{home}/analyses/response-rates").json()["provenance"]
    assert (told["protocol_id"], told["differs_from_preset"]) == ("seed-2008", True)
    assert anywhere.put(f"{home}/protocol", json=SEED_2008.model_dump(mode="json")).status_code == 200
    assert "differs_from_preset" not in anywhere.get(f"{home}/analyses/response-rates").json()["provenance"]


def test_a_new_study_that_names_no_protocol_gets_the_preset_for_new_studies(anywhere):
    made = anywhere.put("/v1/studies/trial", json={"name": "A new one"})
    assert made.status_code == 201
    assert made.json()["protocol"] == {"id": "myositis-2026", "digest": MYOSITIS_2026.digest}


def test_a_study_that_is_declared_again_without_a_protocol_keeps_its_own(anywhere):
    anywhere.put("/v1/studies/trial", json=DEFINITION)
    again = anywhere.put("/v1/studies/trial", json={"name": "Renamed", "time_zone": "Asia/Tokyo", "test": True})
    assert (again.status_code, again.json()["name"]) == (200, "Renamed")
    assert again.json()["protocol"] == {"id": "seed-2008", "digest": SEED_2008.digest}
