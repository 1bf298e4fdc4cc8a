"""Streams: which lines are answered, when, and what is stored after a stream broke."""

import hashlib
import itertools
import json
from collections.abc import Iterator

import pytest

from app.errors import Busy, ServiceError
from app.http.spool import Spool
from app.store import ledger
from app.submission import loop
from app.timeline.receipts import Disposition
from tests.api.examples import NDJSON, codes, events, lab, make_study, timeline


def joined(*documents: object) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def many(count: int, first: int = 0) -> bytes:
    return joined(*(events(f"P{n:04}", lab(0, 100)) for n in range(first, first + count)))


def parsed(answer) -> tuple[list[dict], dict]:
    """The outcomes and the end of an answer."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    *outcomes, end = [json.loads(line) for line in answer.text.splitlines()]
    assert set(end) == {"counts", "facts", "lines", "digest"}
    receipts = [each["receipt"]["counts"] for each in outcomes if each["receipt"] is not None]
    assert end["facts"] == {word: sum(counts[word] for counts in receipts) for word in Disposition}
    return outcomes, end


def post(client, home: str, body, **headers: str):
    return client.post(f"{home}/timelines", content=body, headers=NDJSON | headers)


class TestTheAnswer:
    """One line for a line, in their order, and an end."""

    def test_every_line_has_its_outcome_in_order_and_the_end_proves_that_all_of_it_arrived(self, anywhere):
        home = make_study(anywhere)
        latest = anywhere.get(home).json()["revision"]
        body = joined(timeline("P1"), timeline("P2"), timeline("P1")) + b"{oops\n\n \r\n"
        body += joined({"patient": {"id": "P 4"}, "labs": [lab(0, -5)]}, events("P1", lab(200, 140))).rstrip(b"\n")
        outcomes, end = parsed(post(anywhere, home, body))
        assert [each["index"] for each in outcomes] == list(range(6))
        assert [each["line"] for each in outcomes] == [1, 2, 3, 4, 7, 8]
        assert [each["status"] for each in outcomes] == [
            "created", "created", "unchanged", "rejected", "rejected", "changed"]  # fmt: skip
        assert [each["patient"] for each in outcomes] == ["P1", "P2", "P1", None, None, "P1"]
        assert [each["revision"] for each in outcomes] == [latest + 1, latest + 2, None, None, None, latest + 3]
        assert [each["problem"]["type"] for each in outcomes[3:5]] == ["/problems/malformed", "/problems/invalid"]
        faults = [(fault["pointer"], fault["code"]) for fault in outcomes[4]["problem"]["errors"]]
        assert faults == [("/labs/0/value", "out_of_range"), ("/patient/id", "bad_identifier")]
        assert end == {
            "counts": {"created": 2, "changed": 1, "unchanged": 1, "rejected": 2},
            "facts": {"kept": end["facts"]["kept"], "not_applied": 0, "set_aside": 0, "not_ours": 0, "refused": 0},
            "lines": 6,
            "digest": f"sha256:{hashlib.sha256(body).hexdigest()}",
        }

    def test_it_is_what_the_description_says(self, client):
        from jsonschema import Draft202012Validator

        document = client.get("/openapi.json").json()
        operation = document["paths"]["/v1/studies/{study}/timelines"]["post"]
        schema = operation["responses"]["200"]["content"]["application/x-ndjson"]["schema"]
        validator = Draft202012Validator({**schema, "components": document["components"]})
        answer = post(client, make_study(client), joined(timeline("P1")) + b"{\n")
        for line in answer.text.splitlines():
            assert list(validator.iter_errors(json.loads(line))) == []

    def test_no_line_at_all_is_an_end_without_outcomes(self, client):
        home = make_study(client)
        for body in (b"", b"\n", b"\n \r\n\n"):
            outcomes, end = parsed(post(client, home, body))
            assert (outcomes, end["counts"], end["lines"]) == ([], {}, 0)
            assert end["digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
        assert client.get(home).json()["revision"] == 0

    def test_an_atomic_body_of_lines_is_answered_like_an_array(self, client):
        home = make_study(client)
        answer = client.post(f"{home}/timelines?atomic=true", content=many(3), headers=NDJSON).json()
        assert answer["counts"] == {"created": 3}
        assert {item["revision"] for item in answer["items"]} == {1}
        refused = client.post(f"{home}/timelines?atomic=true", content=many(2, 7) + b"{\n", headers=NDJSON)
        assert refused.status_code == 400
        assert codes(refused) == [("/2", "malformed")]
        assert client.get(home).json()["revision"] == 1

    @pytest.mark.parametrize("size", [1, 7, 4096])
    def test_lines_may_be_cut_anywhere_in_transit(self, client, size):
        home = make_study(client)
        body = joined(timeline("P1", adverse_events=[{"term": "K\u00f6pfschmerz"}])) + b"\n" + many(3)
        parts = (body[at : at + size] for at in range(0, len(body), size))
        outcomes, end = parsed(post(client, home, parts))
        assert [each["line"] for each in outcomes] == [1, 3, 4, 5]
        assert end["counts"] == {"created": 4}
        assert end["digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"

    def test_a_long_body_is_stored_in_groups_and_a_bad_line_harms_no_other(self, client, monkeypatch):
        groups, submit_each = [], ledger.submit_each

        def noted(connection, study, histories, **more):
            groups.append(len(histories))
            return submit_each(connection, study, histories, **more)

        monkeypatch.setattr(ledger, "submit_each", noted)
        home = make_study(client)
        lines = many(250).splitlines(keepends=True)
        lines[120] = b'{"patient": {}}\n'
        outcomes, end = parsed(post(client, home, b"".join(lines)))
        assert [each["index"] for each in outcomes if each["status"] != "created"] == [120]
        revisions = [each["revision"] for each in outcomes if each["revision"]]
        assert revisions == list(range(1, 250))
        assert end["counts"] == {"created": 249, "rejected": 1}
        assert groups == [100, 99, 50]

    def test_large_lines_make_smaller_groups(self, client, monkeypatch):
        groups, submit_each = [], ledger.submit_each

        def noted(connection, study, histories, **more):
            groups.append(len(histories))
            return submit_each(connection, study, histories, **more)

        monkeypatch.setattr(ledger, "submit_each", noted)
        home = make_study(client)
        line = json.dumps(events("P1", *(lab(n % 30, n, id=f"a{n}") for n in range(4000)))).encode() + b"\n"
        assert 400_000 < len(line) < 1_000_000
        _, end = parsed(post(client, home, line * 5))
        assert end["counts"] == {"created": 1, "unchanged": 4}
        assert max(groups) <= 3


class TestRefusals:
    """A fault before the first outcome is a problem document; a fault in a line is in the outcome of the line."""

    def test_an_unknown_study_a_foreign_type_and_a_coding_are_refused_before_anything_is_read(self, client):
        home = make_study(client)
        unread = itertools.chain([b"{"], (pytest.fail("it was read") for _ in range(1)))
        assert post(client, "/v1/studies/nobody", unread).status_code == 404
        assert post(client, "/v1/studies/nobody", b"").status_code == 404
        assert post(client, home, b"{}\n", **{"Content-Type": "application/ndjson"}).status_code == 415
        assert post(client, home, b"{}\n", **{"Content-Encoding": "gzip"}).status_code == 415
        unknown = client.post(f"{home}/timelines?x=1", content=b"{}\n", headers=NDJSON)
        assert (unknown.status_code, codes(unknown)) == (422, [("/query", "unknown_parameter")])

    def test_the_body_may_be_larger_than_others_and_a_line_may_not(self, serve, sqlite_url):
        client = serve(sqlite_url, max_body_bytes=2000, max_stream_bytes=40_000)
        home = make_study(client)
        body = many(20) + b"[" * 2001 + b"\n" + b"x" * 9000 + b"\n" + many(1, 20) + b"y" * 2001
        assert len(body) > 10_000
        for sent in (body, (body[at : at + 999] for at in range(0, len(body), 999))):
            outcomes, _ = parsed(post(client, home, sent))
            assert [each["problem"]["type"] for each in outcomes if each["status"] == "rejected"] == [
                "/problems/too-large"
            ] * 3
            assert [each["line"] for each in outcomes if each["status"] == "rejected"] == [21, 22, 24]
        assert client.get(home).json()["patients"] == 21
        assert client.post(f"{home}/timelines?atomic=true", content=body, headers=NDJSON).status_code == 413
        assert client.post(f"{home}/timelines", json=[timeline("P1"), timeline("P2")]).status_code == 413
        assert post(client, home, b"\n" * 40_001).status_code == 413
        assert post(client, home, (b"\n" * 999 for _ in range(41))).status_code == 413

    def test_an_erased_person_and_a_key_given_twice_are_refused_in_their_line(self, client):
        home = make_study(client)
        parsed(post(client, home, many(2)))
        tag = client.get(f"{home}/patients/P0001").headers["etag"]
        assert client.delete(f"{home}/patients/P0001?erase=true", headers={"If-Match": tag}).status_code in {200, 204}
        twice = b'{"patient": {"id": "P0009"}, "patient": {"id": "P0009"}}\n'
        outcomes, _ = parsed(post(client, home, many(3) + twice))
        assert [each["status"] for each in outcomes] == ["unchanged", "rejected", "created", "rejected"]
        assert outcomes[1]["problem"]["type"] == "/problems/erased"
        assert outcomes[3]["problem"]["errors"][0]["code"] == "duplicate_key"


class TestManyRejectedLines:
    """A body of bad lines costs little to read and is not answered with more bytes than it needs."""

    def test_after_a_hundred_problems_of_a_kind_further_ones_are_short_and_counted(self, client):
        body = b"1\n" * 150 + b"{\n" * 2 + many(2) + b"1\n"
        *outcomes, end = map(json.loads, post(client, make_study(client), body).text.splitlines())
        assert all(each["problem"]["type"] == "/problems/invalid" for each in outcomes[:100])
        assert outcomes[100] == {"index": 100, "line": 101, "status": "rejected"}
        assert [len(each) for each in outcomes[100:]] == [3] * 50 + [len(outcomes[0])] * 4 + [3]
        assert (end["short"], end["counts"]) == (51, {"created": 2, "rejected": 153})
        assert "stopped" not in end

    def test_problems_with_many_faults_are_short_after_a_thousand_faults(self, client):
        line = joined({"patient": {"id": "P1"}, "labs": [lab(0, 1, unit="parsec")] * 400})
        *outcomes, end = map(json.loads, post(client, make_study(client), line * 5).text.splitlines())
        assert [len(each.get("problem", {}).get("errors", ())) for each in outcomes] == [400, 400, 400, 0, 0]
        assert end["short"] == 2

    def test_after_the_declared_number_of_them_the_rest_of_the_body_is_not_read(self, serve, sqlite_url):
        client = serve(sqlite_url, max_rejected_lines=250)
        home = make_study(client)
        *outcomes, end = map(json.loads, post(client, home, b"1\n" * 1_000 + many(3)).text.splitlines())
        assert (len(outcomes), end["lines"], end["stopped"]) == (300, 300, "rejected")
        assert client.get(home).json()["patients"] == 0
        _, end = parsed(post(client, home, b"1\n" * 99 + many(3)))
        assert end["counts"] == {"created": 3, "rejected": 99}

    def test_its_answer_is_what_the_description_says(self, serve, sqlite_url):
        from jsonschema import Draft202012Validator

        client = serve(sqlite_url, max_rejected_lines=100)
        document = client.get("/openapi.json").json()
        operation = document["paths"]["/v1/studies/{study}/timelines"]["post"]
        schema = operation["responses"]["200"]["content"]["application/x-ndjson"]["schema"]
        validator = Draft202012Validator({**schema, "components": document["components"]})
        body = b"1\n" * 60 + b"{\n" * 30 + b"1\n" * 300
        for line in post(client, make_study(client), body).text.splitlines():
            assert list(validator.iter_errors(json.loads(line))) == []


class TestABusyDatabase:
    """A group is tried again, then the other lines are answered as skipped."""

    @pytest.fixture
    def busy(self, monkeypatch) -> Iterator[list[bool]]:
        """Whether each of the next transactions finds the database busy; after them none does."""
        following: list[bool] = []
        submit_each = ledger.submit_each

        def perhaps(*given, **more):
            if following and following.pop(0):
                raise Busy
            return submit_each(*given, **more)

        monkeypatch.setattr(ledger, "submit_each", perhaps)
        monkeypatch.setattr(loop, "PAUSES", (0.0, 0.0))
        return following

    def test_a_moment_without_a_turn_is_not_noticed(self, client, busy):
        busy += [True, False, True, True]
        _, end = parsed(post(client, make_study(client), many(150)))
        assert end["counts"] == {"created": 150}

    def test_lines_that_were_not_tried_are_answered_and_may_be_sent_again(self, client, busy):
        home = make_study(client)
        busy += [False, True, True, True]
        outcomes, end = parsed(post(client, home, many(110) + b"{\n" + many(200, 110)))
        assert end["counts"] == {"created": 100, "skipped": 210, "rejected": 1}
        assert outcomes[309]["problem"]["type"] == "/problems/busy"
        assert outcomes[110]["problem"]["type"] == "/problems/malformed"
        assert client.get(home).json()["patients"] == 100
        _, end = parsed(post(client, home, many(310)))
        assert end["counts"] == {"created": 210, "unchanged": 100}

    def test_nothing_stored_at_all_is_a_refusal_of_the_request(self, client, busy):
        busy += [True] * 3
        refused = post(client, make_study(client), many(150))
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"

    def test_another_error_of_the_database_ends_the_answer_without_an_end(self, serve, sqlite_url, monkeypatch, caplog):
        client = serve(sqlite_url)
        home = make_study(client)
        submit_each, calls = ledger.submit_each, itertools.count()

        def broken(*given, **more):
            if next(calls) == 1:
                raise ServiceError("IntegrityError")
            return submit_each(*given, **more)

        monkeypatch.setattr(ledger, "submit_each", broken)
        answer = post(client, home, many(150))
        assert len(answer.text.splitlines()) == 100
        assert "event=stream broken=internal lines=100" in caplog.text
        assert client.get(home).json()["patients"] == 100


def test_a_spool_gives_back_what_was_written_whatever_the_turns(monkeypatch):
    monkeypatch.setattr("app.http.spool.IN_MEMORY", 100)
    spool, found = Spool(200_000), b""
    written = [bytes([n % 256]) * (n * 37 % 90_000) for n in range(60)]
    for n, part in enumerate(written):
        spool.write(part)
        if n % 3 == 0:
            found += spool.read()
        if n % 17 == 0:
            found += b"".join(iter(spool.read, b""))
    assert spool.is_full == (sum(map(len, written)) - len(found) >= 200_000)
    found += b"".join(iter(spool.read, b""))
    assert found == b"".join(written)
    assert (spool.taken, spool.is_full) == (len(found), False)
    spool.close()
    spool.close()
