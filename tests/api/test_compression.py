"""Answers are compressed for clients that take it, and stay the same answers."""

import gzip
import json
import time

import pytest

from app.http.compression import SMALLEST, takes_gzip
from tests.api.examples import events, fill, lab
from tests.api.test_live import stream

PLAIN, GZIP = {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("br, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, identity", False),
        ("gzip;q=0.5, identity;q=1", False),
        ("gzip;q=1, identity;q=0.5", True),
        ("identity;q=0, gzip;q=0.1", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("br", False),
        ("notgzip", False),
        ("gzip;q=2", False),
    ],
)
def test_gzip_is_sent_to_who_takes_it_and_likes_nothing_better(accepted, taken):
    assert takes_gzip(accepted) == taken


@pytest.mark.parametrize(
    "path",
    ["/analyses", "/patients/P00", "/datasets/adeff.csv", "/series?measure=CK", "/revisions", "/datasets",
     "/analyses/weekly-change?code=R"],
)  # fmt: skip
def test_both_forms_say_the_same_and_have_tags_of_their_own(anywhere, path):
    home = fill(anywhere, 2)
    plain, packed = (anywhere.get(f"{home}{path}", headers=headers) for headers in (PLAIN, GZIP))
    assert (plain.status_code, packed.status_code) == (200, 200)
    assert plain.content == packed.content
    assert len(plain.content) >= SMALLEST
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    for answer in (plain, packed):
        assert "Accept-Encoding" in answer.headers["vary"]
    head = anywhere.head(f"{home}{path}", headers=GZIP)
    assert {name: head.headers.get(name) for name in ("content-length", "etag", "content-encoding")} == {
        name: packed.headers.get(name) for name in ("content-length", "etag", "content-encoding")
    }
    if "etag" not in plain.headers:
        return
    assert packed.headers["etag"] == plain.headers["etag"][:-1] + '-gzip"'
    for headers, answer in ((PLAIN, plain), (GZIP, packed)):
        for named in (answer.headers["etag"], f'"other", W/{answer.headers["etag"]}'):
            again = anywhere.get(f"{home}{path}", headers={**headers, "If-None-Match": named})
            assert (again.status_code, again.headers["etag"]) == (304, answer.headers["etag"])
    assert anywhere.get(f"{home}{path}", headers={**PLAIN, "If-None-Match": packed.headers["etag"]}).status_code == 200


def test_the_tag_of_the_compressed_form_guards_a_change(anywhere):
    home = fill(anywhere, 1)
    known = anywhere.get(f"{home}/patients/P00", headers=GZIP)
    assert known.headers["etag"].endswith('-gzip"')
    changed = known.json() | {"adverse_events": [{"term": "rash"}]}
    tag = {"If-Match": known.headers["etag"]}
    assert anywhere.put(f"{home}/patients/P00", json=changed, headers=tag).status_code == 200
    assert anywhere.put(f"{home}/patients/P00", json=known.json(), headers=tag).status_code == 412


def test_what_is_small_sent_in_parts_or_compressed_already_is_left_as_it_is(client):
    home = fill(client, 2)
    for path in ("/livez", f"{home}/datasets/adsl.parquet", f"{home}/datasets/adsl.xpt", f"{home}/patients?limit=1"):
        assert "content-encoding" not in client.get(path, headers=GZIP).headers, path
    assert stream(client, home, "from=0&seconds=1", **GZIP).startswith("id: 0\n")
    lines = b"".join(json.dumps(events("P00", lab(day, day))).encode() + b"\n" for day in range(1, 40))
    answer = client.post(f"{home}/timelines", content=lines, headers={**GZIP, "Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers
    described = client.get("/openapi.json", headers=GZIP)
    assert (described.headers["content-encoding"], described.headers["etag"].endswith('-gzip"')) == ("gzip", False)


def test_an_answer_with_a_secret_is_not_compressed(serve, sqlite_url, monkeypatch):
    """Its compressed size would tell the secret, if somebody can choose another part of the answer."""
    monkeypatch.setattr("app.http.compression.SMALLEST", 1)
    client = serve(sqlite_url, require_keys=True)
    keys = client.app_state["app_state"].authenticator.keys
    key = keys.create("x", ["read"], None, now=time.time_ns() // 1000)
    origin = {"Origin": "http://127.0.0.1:8000"}
    begun = client.post("/v1/session", headers={"Authorization": f"Bearer {key.text}", **origin, **GZIP})
    assert "set-cookie" in begun.headers
    answers = [begun, client.get("/v1/session", headers=GZIP), client.get("/", headers={**GZIP, "Accept": "text/html"})]
    assert [answer.headers["content-type"].split(";")[0] for answer in answers][-1] == "text/html"
    assert all("content-encoding" not in answer.headers for answer in answers)
    assert client.get("/v1/protocols", headers=GZIP).headers["content-encoding"] == "gzip"
    client.cookies.clear()
    assert client.get("/", headers={**GZIP, "Accept": "text/html"}).headers["content-encoding"] == "gzip"


def test_the_compressed_bytes_are_the_same_every_time(client):
    home = fill(client, 2)
    sizes = {client.get(f"{home}/analyses", headers=GZIP).headers["content-length"] for _ in range(2)}
    assert len(sizes) == 1
    assert gzip.compress(b"x", 5, mtime=0)[4:8] == bytes(4)
