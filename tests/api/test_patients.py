"""Timelines: read, replaced, added to, erased; one at a time and many at once."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.api.patients import PatientPage
from app.timeline.document import Patient
from tests.api.examples import JSON, NDJSON, codes, events, fill, lab, make_study, timeline


def ck_values(client, home: str, patient: str, **query) -> list[float]:
    return [each["value"] for each in client.get(f"{home}/patients/{patient}", params=query).json()["labs"]]


class TestAnEhrIntegration:
    """Posts laboratory series again and again, out of order, twice and corrected."""

    def test_events_for_an_unknown_patient_create_the_patient(self, anywhere):
        home = make_study(anywhere)
        answer = anywhere.post(f"{home}/patients/P1/events", json=events("P1", lab(0, 900)))
        assert answer.status_code == 201
        assert answer.headers["location"] == f"{home}/patients/P1"
        outcome = answer.json()
        assert (outcome["patient"], outcome["status"], outcome["counts"]["added"]) == ("P1", "created", 1)
        assert outcome["revision"] == anywhere.get(home).json()["revision"]
        assert ck_values(anywhere, home, "P1") == [900]

    def test_a_retry_changes_nothing(self, anywhere):
        home = make_study(anywhere)
        sent = events("P1", lab(0, 900), lab(7, 800))
        anywhere.post(f"{home}/patients/P1/events", json=sent)
        before = anywhere.get(home).json()
        again = anywhere.post(f"{home}/patients/P1/events", json=sent)
        assert again.status_code == 200
        assert (again.json()["status"], again.json()["revision"]) == ("unchanged", None)
        assert anywhere.get(home).json() == before

    def test_a_correction_supersedes_and_a_late_retry_of_what_it_corrected_does_not(self, anywhere):
        home = make_study(anywhere)
        path = f"{home}/patients/P1/events"
        anywhere.post(path, json=events("P1", lab(0, 100, id="a", version=1)))
        corrected = anywhere.post(path, json=events("P1", lab(0, 120, id="a", version=2))).json()
        assert (corrected["status"], corrected["counts"]["superseded"]) == ("changed", 1)
        late = anywhere.post(path, json=events("P1", lab(0, 100, id="a", version=1))).json()
        assert (late["status"], late["revision"]) == ("stale", None)
        assert ck_values(anywhere, home, "P1") == [120]

    def test_a_whole_batch_is_answered_item_by_item_in_order(self, anywhere):
        home = fill(anywhere, 1)
        latest = anywhere.get(home).json()["revision"]
        batch = [
            timeline("P00", ck=900, sex="male"),
            timeline("P10"),
            {"patient": {"id": "P 11"}},
            {"patient": {"id": "P12"}, "labs": [lab(0, -5), {**lab(1, 5), "unit": "mg"}]},
            events("P00", lab(200, 140)),
            timeline("P10"),
            7,
        ]
        answer = anywhere.post(f"{home}/timelines", json=batch)
        assert answer.status_code == 200
        items = answer.json()["items"]
        assert [item["index"] for item in items] == list(range(7))
        assert [item["status"] for item in items] == [
            "unchanged", "created", "rejected", "rejected", "changed", "unchanged", "rejected"]  # fmt: skip
        assert [item["revision"] for item in items] == [None, latest + 1, None, None, latest + 2, None, None]
        assert answer.json()["counts"] == {"created": 1, "changed": 1, "unchanged": 2, "rejected": 3}
        assert [(f["pointer"], f["code"]) for f in items[3]["problem"]["errors"]][:1] == [
            ("/labs/0/value", "out_of_range")
        ]
        assert items[2]["problem"]["type"] == "/problems/invalid"
        assert [item["problem"] for item in items if item["status"] != "rejected"] == [None] * 4
        assert anywhere.get(home).json()["patients"] == 2

    def test_an_atomic_batch_is_one_revision_or_nothing(self, anywhere):
        home = make_study(anywhere)
        before = anywhere.get(home).json()
        wrong = [timeline("P1"), {"patient": {"id": "P 2"}}, {"patient": {"id": "P3"}, "labs": [lab(0, -5)]}]
        refused = anywhere.post(f"{home}/timelines?atomic=true", json=wrong)
        assert refused.status_code == 422
        assert codes(refused) == [("/1/patient/id", "bad_identifier"), ("/2/labs/0/value", "out_of_range")]
        assert anywhere.get(home).json() == before
        whole = anywhere.post(f"{home}/timelines?atomic=true", json=[timeline("P1"), timeline("P2")]).json()
        assert [item["status"] for item in whole["items"]] == ["created", "created"]
        assert [item["revision"] for item in whole["items"]] == [before["revision"] + 1] * 2

    def test_lines_of_json_are_read_like_an_array(self, anywhere):
        home = make_study(anywhere)
        lines = b"\n".join(json.dumps(timeline(f"P{n}")).encode() for n in range(3)) + b"\n{oops\n"
        answer = anywhere.post(f"{home}/timelines", content=lines, headers=NDJSON)
        items = [json.loads(line) for line in answer.text.splitlines()][:-1]
        assert [item["status"] for item in items] == ["created"] * 3 + ["rejected"]
        assert items[3]["problem"]["type"] == "/problems/malformed"
        assert {record["format"] for record in anywhere.get(f"{home}/revisions").json()["items"]} >= {"native-ndjson"}

    def test_an_empty_batch_is_answered_with_no_outcome(self, client):
        home = make_study(client)
        for headers, body, query in ((JSON, b"[]", ""), (JSON, b"[]", "?atomic=true"), (NDJSON, b"", "?atomic=true")):
            answer = client.post(f"{home}/timelines{query}", content=body, headers=headers)
            facts = {"kept": 0, "not_applied": 0, "set_aside": 0, "not_ours": 0, "refused": 0}
            assert (answer.status_code, answer.json()) == (200, {"items": [], "counts": {}, "facts": facts})

    def test_a_long_batch_is_stored_in_groups_and_answered_in_order(self, client):
        home = make_study(client)
        batch = [events(f"P{n:03}", lab(0, 100 + n)) for n in range(250)]
        batch[120] = {"patient": {}}
        items = client.post(f"{home}/timelines", json=batch).json()["items"]
        assert [item["index"] for item in items] == list(range(250))
        assert [item["patient"] for item in items if item["status"] == "created"] == [
            f"P{n:03}" for n in range(250) if n != 120
        ]
        revisions = [item["revision"] for item in items if item["revision"]]
        assert revisions == list(range(revisions[0], revisions[0] + 249))

    def test_items_that_were_not_tried_when_the_database_was_busy_are_skipped(self, client, monkeypatch):
        from app.errors import Busy
        from app.store import ledger

        stored, submit_each = [], ledger.submit_each

        def busy_after_the_first_group(connection, study, histories, **more):
            if stored:
                raise Busy
            stored.append(len(histories))
            return submit_each(connection, study, histories, **more)

        home = make_study(client)
        monkeypatch.setattr(ledger, "submit_each", busy_after_the_first_group)
        batch = [events(f"P{n:03}", lab(0, 100)) for n in range(150)]
        answer = client.post(f"{home}/timelines", json=batch)
        assert answer.json()["counts"] == {"created": 100, "skipped": 50}
        assert answer.json()["items"][149]["problem"]["type"] == "/problems/busy"
        assert client.post(f"{home}/timelines", json=batch).status_code == 503
        monkeypatch.undo()
        assert client.post(f"{home}/timelines", json=batch).json()["counts"] == {"created": 50, "unchanged": 100}


class TestReplacing:
    """PUT of a timeline, and what keeps one writer from undoing another."""

    def test_what_is_got_can_be_put_back_without_a_revision(self, anywhere):
        home = fill(anywhere, 1)
        before = anywhere.get(home).json()
        got = anywhere.get(f"{home}/patients/P00")
        put = anywhere.put(
            f"{home}/patients/P00", content=got.content, headers={**JSON, "If-Match": got.headers["etag"]}
        )
        assert (put.status_code, put.json()["status"]) == (200, "unchanged")
        assert anywhere.get(home).json() == before

    def test_a_new_timeline_needs_no_precondition_and_a_known_one_does(self, anywhere):
        home = make_study(anywhere)
        path = f"{home}/patients/P1"
        assert anywhere.put(path, json=timeline("P1")).status_code == 201
        assert anywhere.put(path, json=timeline("P1", ck=500)).status_code == 428
        tag = anywhere.get(path).headers["etag"]
        assert anywhere.put(path, json=timeline("P1", ck=500), headers={"If-Match": tag}).status_code == 200
        assert anywhere.put(path, json=timeline("P1", ck=600), headers={"If-Match": tag}).status_code == 412
        for condition in ('W/"x"', '"x", "y"', "nonsense"):
            assert anywhere.put(path, json=timeline("P1", ck=600), headers={"If-Match": condition}).status_code == 412
        assert anywhere.get(path).json()["labs"][1]["value"] == 500

    def test_what_a_put_leaves_out_is_withdrawn(self, anywhere):
        home = fill(anywhere, 1)
        path = f"{home}/patients/P00"
        before = anywhere.get(home).json()["revision"]
        tag = anywhere.get(path).headers["etag"]
        shorter = timeline("P00", ck=900, sex="male")
        shorter["labs"] = shorter["labs"][:2]
        outcome = anywhere.put(path, json=shorter, headers={"If-Match": tag}).json()
        assert (outcome["status"], outcome["counts"]["withdrawn"]) == ("changed", 5)
        assert len(ck_values(anywhere, home, "P00")) == 2
        assert len(ck_values(anywhere, home, "P00", revision=before)) == 7

    def test_if_none_match_only_ever_makes(self, anywhere):
        home = make_study(anywhere)
        path, only_make = f"{home}/patients/P1", {"If-None-Match": "*"}
        assert anywhere.put(path, json=timeline("P1"), headers=only_make).status_code == 201
        assert anywhere.put(path, json=timeline("P1", ck=500), headers=only_make).status_code == 412
        odd = anywhere.put(path, json=timeline("P1", ck=500), headers={"If-None-Match": '"x"'})
        assert codes(odd) == [("/header/If-None-Match", "unknown_value")]
        assert anywhere.put(f"{home}/patients/P2", json=timeline("P2"), headers={"If-Match": "*"}).status_code == 412

    @pytest.mark.slow
    def test_nobody_s_change_is_lost(self, anywhere):
        """Eight writers read, change and write back, each until it succeeds: every change is there in the end."""
        home = make_study(anywhere)
        path = f"{home}/patients/P1"
        anywhere.put(path, json={"patient": {"id": "P1"}})

        def add(number: int) -> int:
            attempts = 0
            while True:
                attempts += 1
                got = anywhere.get(path)
                document = got.json()
                document["labs"].append(lab(number, 100 + number))
                put = anywhere.put(path, json=document, headers={"If-Match": got.headers["etag"]})
                if put.status_code == 200:
                    return attempts
                assert put.status_code in {412, 503}

        with ThreadPoolExecutor(8) as writers:
            attempts = sum(writers.map(add, range(24)))
        assert sorted(ck_values(anywhere, home, "P1")) == [100 + number for number in range(24)]
        assert attempts >= 24

    def test_a_timeline_is_sent_once_to_a_client_that_keeps_it(self, anywhere):
        home = fill(anywhere, 1)
        path = f"{home}/patients/P00"
        anywhere.headers["Accept-Encoding"] = "identity"  # the compressed form: test_compression
        got = anywhere.get(path)
        tag = got.headers["etag"]
        assert got.headers["cache-control"] == "no-store"
        assert tag.startswith('"')
        for condition in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            kept = anywhere.get(path, headers={"If-None-Match": condition})
            assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", tag)
        assert anywhere.get(path, headers={"If-None-Match": '"x"'}).content == got.content
        anywhere.post(f"{path}/events", json=events("P00", lab(300, 90)))
        assert anywhere.get(path, headers={"If-None-Match": tag}).status_code == 200
        assert anywhere.get(path).headers["etag"] != tag


class TestErasing:
    """The right to be forgotten: no revision keeps the person."""

    def test_to_erase_must_be_said(self, anywhere):
        home = fill(anywhere, 1)
        assert codes(anywhere.delete(f"{home}/patients/P00")) == [("/query/erase", "missing")]
        assert codes(anywhere.delete(f"{home}/patients/P00?erase=yes")) == [("/query/erase", "unknown_value")]
        assert anywhere.get(f"{home}/patients/P00").status_code == 200

    def test_an_erased_person_is_gone_from_every_revision(self, anywhere):
        home = fill(anywhere, 3)
        latest = anywhere.get(home).json()["revision"]
        first = latest - 1  # the revision of P01
        report = f"{home}/analyses/response-rates"
        kept = anywhere.get(f"{report}?revision={first - 1}").content
        assert anywhere.get(f"{report}?revision={latest}").json()["populations"]["all"] == 3
        erased = anywhere.delete(f"{home}/patients/P01?erase=true")
        assert (erased.status_code, erased.content) == (204, b"")
        for address in (
            f"{home}/patients/P01",
            f"{home}/patients?revision={latest}",
            f"{home}/patients/P00?revision={first}",
            f"{report}?revision={latest}",
            f"{home}/analyses?revision={first}",
        ):
            gone = anywhere.get(address)
            assert (gone.status_code, gone.json()["type"]) == (410, "/problems/erased"), address
        assert anywhere.get(f"{report}?revision={first - 1}").content == kept
        assert anywhere.get(report).json()["populations"]["all"] == 2
        assert [each["patient"]["id"] for each in anywhere.get(f"{home}/patients").json()["items"]] == ["P00", "P02"]
        records = anywhere.get(f"{home}/revisions").json()["items"]
        assert [each["revision"] for each in records if each["erased"]] == [first, latest]

    def test_a_kept_answer_is_not_confirmed_after_an_erasure(self, anywhere):
        home = fill(anywhere, 2)
        revision = anywhere.get(home).json()["revision"]
        address = f"{home}/analyses/ck-change?revision={revision}"
        tag = anywhere.get(address).headers["etag"]
        assert anywhere.get(address, headers={"If-None-Match": tag}).status_code == 304
        anywhere.delete(f"{home}/patients/P01?erase=true")
        assert anywhere.get(address, headers={"If-None-Match": tag}).status_code == 410

    def test_later_posts_for_that_person_are_refused_until_they_are_readmitted(self, anywhere):
        home = fill(anywhere, 1)
        path = f"{home}/patients/P00"
        anywhere.delete(f"{path}?erase=true")
        assert anywhere.post(f"{path}/events", json=events("P00", lab(0, 1))).status_code == 410
        assert anywhere.put(path, json=timeline("P00")).status_code == 410
        assert anywhere.post(f"{home}/timelines?atomic=true", json=[timeline("P00"), timeline("P5")]).status_code == 410
        items = anywhere.post(f"{home}/timelines", json=[timeline("P00"), timeline("P5")]).json()["items"]
        assert [item["status"] for item in items] == ["rejected", "created"]
        assert items[0]["problem"]["type"] == "/problems/erased"
        assert anywhere.delete(f"{path}?erase=true").status_code == 410
        assert anywhere.put(f"{path}?readmit=true", json=timeline("P00", ck=700)).status_code == 201
        assert anywhere.get(path).json()["labs"][1]["value"] == 700

    def test_an_erasure_is_based_on_the_version_that_was_read_where_one_is_named(self, anywhere):
        home = fill(anywhere, 1)
        path = f"{home}/patients/P00?erase=true"
        assert anywhere.delete(path, headers={"If-Match": '"x"'}).status_code == 412
        tag = anywhere.get(f"{home}/patients/P00").headers["etag"]
        assert anywhere.delete(path, headers={"If-Match": tag}).status_code == 204
        assert anywhere.delete(f"{home}/patients/P77?erase=true").status_code == 404

    def test_no_byte_of_the_person_stays_in_the_file(self, serve, sqlite_url, tmp_path):
        client = serve(sqlite_url)
        home = make_study(client)
        client.put(
            f"{home}/patients/REMEMBERME", json=timeline("REMEMBERME", adverse_events=[{"term": "UNMISTAKABLE"}])
        )
        assert any(b"UNMISTAKABLE" in file.read_bytes() for file in tmp_path.glob("x.db*"))
        client.delete(f"{home}/patients/REMEMBERME?erase=true")
        for file in tmp_path.glob("x.db*"):
            assert b"UNMISTAKABLE" not in file.read_bytes()
            assert b"REMEMBERME" not in file.read_bytes()


class TestListing:
    """Pages of patients."""

    def test_a_walk_from_page_to_page_stays_at_its_revision_while_posts_arrive(self, anywhere):
        home = fill(anywhere, 5)
        page = anywhere.get(f"{home}/patients?limit=2").json()
        seen = [each["patient"]["id"] for each in page["items"]]
        arrivals = iter(["P00x", "P01x", "P03x", "A", "Z"])
        while page["next"]:
            newcomer = next(arrivals)
            anywhere.put(f"{home}/patients/{newcomer}", json=timeline(newcomer))
            anywhere.post(f"{home}/patients/P04/events", json=events("P04", lab(400 + len(seen), 50)))
            page = anywhere.get(page["next"]).json()
            seen += [each["patient"]["id"] for each in page["items"]]
            assert all(each["counts"]["labs"] == 7 for each in page["items"])
        assert seen == ["P00", "P01", "P02", "P03", "P04"]
        assert len(anywhere.get(f"{home}/patients").json()["items"]) > 5

    def test_patients_are_listed_with_what_is_known_of_them(self, anywhere):
        home = fill(anywhere, 1)
        [only] = anywhere.get(f"{home}/patients").json()["items"]
        assert only["patient"] == {"id": "P00", "sex": "male", "birth_year": 1953, "diagnosis": "polymyositis"}
        assert (only["counts"]["labs"], only["counts"]["assessments"], only["counts"]["infusions"]) == (7, 10, 1)

    def test_filters_hold_on_every_page(self, anywhere):
        home = fill(anywhere, 5)
        page = anywhere.get(f"{home}/patients?sex=male&limit=2").json()
        assert [each["patient"]["id"] for each in page["items"]] == ["P00", "P02"]
        assert "sex=male" in page["next"]
        rest = anywhere.get(page["next"]).json()
        assert ([each["patient"]["id"] for each in rest["items"]], rest["next"]) == (["P04"], None)
        assert anywhere.get(f"{home}/patients?diagnosis=dermatomyositis").json()["items"] == []

    def test_a_search_covers_all_patients_and_holds_on_every_page(self, anywhere):
        home = fill(anywhere, 13)
        page = anywhere.get(f"{home}/patients?q=p1&limit=2").json()
        assert [each["patient"]["id"] for each in page["items"]] == ["P10", "P11"]
        anywhere.post(f"{home}/patients/P13/events", json=events("P13", lab(0, 900)))
        rest = anywhere.get(page["next"]).json()
        assert ([each["patient"]["id"] for each in rest["items"]], rest["next"]) == (["P12"], None)
        other = anywhere.get(page["next"].replace("q=p1", "q=p0"))
        assert (other.status_code, codes(other)) == (400, [("/query/cursor", "malformed")])
        refused = anywhere.get(f"{home}/patients?q=P 1")
        assert (refused.status_code, codes(refused)) == (422, [("/query/q", "bad_text")])

    def test_a_list_can_be_asked_for_as_it_was(self, anywhere):
        home = fill(anywhere, 3)
        latest = anywhere.get(home).json()["revision"]
        then = anywhere.get(f"{home}/patients?revision={latest - 2}").json()
        assert [each["patient"]["id"] for each in then["items"]] == ["P00"]
        assert anywhere.get(f"{home}/patients?revision={latest + 1}").status_code == 404

    @pytest.mark.parametrize("root", ["/myoresponse", "/a/b"])
    def test_addresses_hold_behind_a_proxy_that_strips_a_prefix(self, serve, sqlite_url, root):
        client = serve(sqlite_url, root_path=root)
        home = fill(client, 3)
        page = client.get(f"{home}/patients?limit=2").json()
        assert page["next"].startswith(f"{root}{home}/patients?limit=2&cursor=")
        stripped = client.get(page["next"].removeprefix(root)).json()
        assert [each["patient"]["id"] for each in stripped["items"]] == ["P02"]
        assert client.get(page["next"]).json() == stripped  # a proxy that strips nothing
        made = client.put(f"{home}/patients/P9", json=timeline("P9"))
        assert made.headers["location"] == f"{root}{home}/patients/P9"
        assert f'"{root}/docs/files/swagger-ui-bundle.js"' in client.get("/docs/api").text
        assert client.get("/openapi.json").json()["servers"] == [{"url": root}]
        assert client.get("/nowhere").headers["link"].startswith(f"<{root}/problems/")
        assert client.post("/v1/studies").headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_list_says_of_a_patient_who_left_what_the_timeline_says_and_its_schema_allows(client):
    home = make_study(client)
    ended = {"date": "2006-09-01", "reason": "completed"}
    client.post(f"{home}/timelines", json=[{"patient": {"id": "P1", "sex": "female"}, "ended": ended}])
    [listed] = client.get(f"{home}/patients").json()["items"]
    assert listed["ended"] == ended
    assert set(listed["patient"]) <= set(Patient.model_fields)
    PatientPage.model_validate({"items": [listed], "next": None}, strict=True, extra="forbid")
