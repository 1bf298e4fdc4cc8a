"""Only programs on this machine, and no web page of somebody else."""

import asyncio

import pytest

from app.errors import BodyTimeout
from app.http.middleware import RequestGuard
from app.settings import Settings
from tests.api.examples import JSON, codes, fill, make_study, timeline

APP = "https://trial.example.org"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.org",
        "evil.example.org:8000",
        "127.0.0.1.evil.example.org",
        "localhost.",
        "10.0.0.7",
        "",
        "a b",
        "[::2]",
    ],
)
def test_a_name_that_somebody_lets_point_here_is_not_answered(client, host):
    """DNS rebinding: the browser sends the page's own host name."""
    for method, path in (("GET", "/v1/studies"), ("GET", "/livez"), ("PUT", "/v1/studies/trial"), ("GET", "/nothing")):
        answer = client.request(method, path, headers={"Host": host})
        assert answer.status_code == 403
        assert answer.json()["type"] == "/problems/foreign-origin"
        assert "evil" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:9", "localhost", "[::1]:8000", "127.0.0.1:1"])
def test_a_loopback_name_is_answered_whatever_its_port(client, host):
    assert client.get("/livez", headers={"Host": host}).status_code == 200


def test_an_operator_names_the_hosts_that_the_proxy_forwards(serve, sqlite_url):
    client = serve(sqlite_url, allowed_hosts="Myo.hospital.example, other")
    assert client.get("/livez", headers={"Host": "myo.hospital.example"}).status_code == 200
    assert client.get("/livez", headers={"Host": "myo.hospital.example.org"}).status_code == 403


@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", "null", "http://127.0.0.1:9999", "https://evil@127.0.0.1:8000"]
)
def test_a_page_of_a_foreign_origin_changes_nothing(client, origin):
    home = fill(client, 1)
    before = client.get(f"{home}/revisions").json()
    for method, path in (
        ("PUT", home),
        ("PUT", f"{home}/protocol"),
        ("POST", f"{home}/timelines"),
        ("POST", f"{home}/patients/P00/events"),
        ("DELETE", f"{home}/patients/P00?erase=true"),
        ("POST", "/v1/analyses"),
    ):
        answer = client.request(method, path, headers={"Origin": origin, **JSON}, content=b"{}")
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/foreign-origin")
    assert client.get(f"{home}/revisions").json() == before


def test_the_service_s_own_pages_and_the_applications_of_the_settings_may_write(serve, sqlite_url):
    client = serve(sqlite_url, cors_origins=f"{APP},https://second.example.org")
    for origin in ("http://127.0.0.1:8000", "https://127.0.0.1:8000", APP, "https://second.example.org"):
        sent = client.put("/v1/studies/trial", json={"name": "T", "protocol": "seed-2008"}, headers={"Origin": origin})
        assert sent.status_code in {200, 201}


def test_an_application_of_the_settings_reads_the_headers_that_it_needs(serve, sqlite_url):
    client = serve(sqlite_url, cors_origins=APP)
    home = fill(client, 1)
    answer = client.get(f"{home}/patients/P00", headers={"Origin": APP})
    assert answer.headers["access-control-allow-origin"] == APP
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed == {
        "Content-Disposition", "ETag", "Idempotent-Replayed", "Last-Modified", "Link", "Location", "Retry-After"
    }  # fmt: skip
    assert "Origin" in answer.headers["vary"]
    refused = client.get("/v1/studies/nobody", headers={"Origin": APP})
    assert refused.status_code == 404
    assert refused.headers["access-control-allow-origin"] == APP
    stranger = client.get(f"{home}/patients/P00", headers={"Origin": "https://evil.example.org"})
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.parametrize(
    ("origin", "method", "headers", "allowed"),
    [
        (APP, "PUT", "content-type, if-match", True),
        (APP, "DELETE", "", True),
        (APP, "GET", "if-none-match", True),
        (APP, "PATCH", "", False),
        (APP, "PUT", "x-other", False),
        ("https://evil.example.org", "PUT", "", False),
        ("null", "PUT", "", False),
    ],
)
def test_a_preflight_is_granted_to_the_applications_of_the_settings(
    serve, sqlite_url, origin, method, headers, allowed
):
    client = serve(sqlite_url, cors_origins=APP)
    answer = client.options(
        "/v1/studies/trial",
        headers={"Origin": origin, "Access-Control-Request-Method": method}
        | ({"Access-Control-Request-Headers": headers} if headers else {}),
    )
    assert answer.status_code == (204 if allowed else 403)
    if allowed:
        assert answer.headers["access-control-allow-origin"] == origin
        assert method in answer.headers["access-control-allow-methods"]
    else:
        assert answer.json()["type"] == "/problems/foreign-origin"
        assert "evil" not in answer.text


def test_without_settings_no_preflight_is_granted(client):
    asked = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    assert client.options("/v1/studies", headers=asked).status_code == 403
    asked.pop("Origin")
    assert client.options("/v1/studies", headers=asked).status_code == 403


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "x"])
def test_an_encoded_body_is_refused_before_it_is_read(client, coding):
    home = make_study(client)
    answer = client.post(f"{home}/timelines", content=b"x" * 10, headers={**JSON, "Content-Encoding": coding})
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    assert (
        client.post(f"{home}/timelines", content=b"[]", headers={**JSON, "Content-Encoding": "Identity"}).status_code
        == 200
    )


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-8; x=y",
        "application/jsonl",
        "application/fhir+json",
        "application/json, text/plain",
        "*/*",
    ],
)
def test_a_body_of_another_media_type_is_refused_and_the_accepted_ones_are_named(client, content_type):
    home = make_study(client)
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = client.post(f"{home}/timelines", content=b'[{"patient": {"id": "P1"}}]', headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept-post"] == "application/json, application/x-ndjson"
    assert answer.json()["type"] == "/problems/unsupported-media-type"
    assert client.get(f"{home}/patients").json()["items"] == []


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "APPLICATION/JSON", "application/json;charset=UTF-8", 'application/json; charset="utf-8"'],
)
def test_json_is_utf_8_however_that_is_spelt(client, content_type):
    home = make_study(client)
    assert client.post(f"{home}/timelines", content=b"[]", headers={"Content-Type": content_type}).status_code == 200


def test_two_content_types_are_none(client):
    home = make_study(client)
    headers = [("Content-Type", "application/json"), ("Content-Type", "application/json")]
    assert client.post(f"{home}/timelines", content=b"[]", headers=headers).status_code == 415


def test_a_body_is_read_up_to_the_limit_of_the_settings_with_and_without_its_length(serve, sqlite_url):
    client = serve(sqlite_url, max_body_bytes=5_000)
    home = make_study(client)
    body = b"[" + b" " * 4_998 + b"]"

    def pieces(whole):
        yield from (whole[i : i + 1000] for i in range(0, len(whole), 1000))

    for content in (body, pieces(body)):
        assert client.post(f"{home}/timelines", content=content, headers=JSON).status_code == 200
    for content in (body + b" ", pieces(body + b" ")):
        answer = client.post(f"{home}/timelines", content=content, headers=JSON)
        assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")
    huge = client.post(f"{home}/timelines", content=b"[]", headers={**JSON, "Content-Length": "9" * 30})
    assert huge.status_code == 413


def test_a_long_address_and_large_headers_are_refused(client):
    address = client.get(f"/v1/studies?cursor={'a' * 9_000}")
    assert (address.status_code, address.json()["type"]) == (414, "/problems/address-too-long")
    headers = client.get("/v1/studies", headers={"X-Filler": "a" * 40_000})
    assert (headers.status_code, headers.json()["type"]) == (431, "/problems/headers-too-large")


def test_a_body_that_stops_arriving_is_given_up():
    """Through the protocol of the server, because a test client never stops half-way."""
    sent: list[dict] = []

    async def never():
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    async def reads_the_body(scope, receive, send):
        while (await receive())["more_body"]:
            pass

    scope = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
    }  # fmt: skip
    asyncio.run(RequestGuard(reads_the_body, Settings(body_timeout_seconds=0.05))(scope, never, send))
    assert sent[0]["status"] == BodyTimeout.status
    assert (b"connection", b"close") in sent[0]["headers"]


def test_a_body_that_trickles_in_is_given_up_as_well():
    """Every byte comes in time, and the body would never end."""
    sent: list[dict] = []

    async def trickle():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message):
        sent.append(message)

    async def reads_the_body(scope, receive, send):
        while (await receive())["more_body"]:
            pass

    scope = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
    }  # fmt: skip
    guard = RequestGuard(reads_the_body, Settings(body_timeout_seconds=0.1))
    asyncio.run(asyncio.wait_for(guard(scope, trickle, send), timeout=20))
    assert sent[0]["status"] == BodyTimeout.status


def test_waiting_for_the_end_of_the_connection_is_not_waiting_for_the_body():
    """A streamed answer listens for the client's leaving as long as it lasts."""

    async def app(scope, receive, send):
        assert not (await receive())["more_body"]
        assert await receive() == {"type": "http.disconnect"}

    async def slow_end():
        if messages:
            return messages.pop()
        await asyncio.sleep(0.2)
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError(message)

    messages = [{"type": "http.request", "body": b"", "more_body": False}]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    asyncio.run(RequestGuard(app, Settings(body_timeout_seconds=0.05))(scope, slow_end, send))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("colour=red", [("/query", "unknown_parameter")]),
        ("limit=1&limit=2", [("/query/limit", "repeated_parameter")]),
        ("limit=1&limit=2&x=1&x=2", [("/query", "unknown_parameter"), ("/query/limit", "repeated_parameter")]),
        ("Limit=5", [("/query", "unknown_parameter")]),
        ("limit=0", [("/query/limit", "out_of_range")]),
        ("limit=-1", [("/query/limit", "out_of_range")]),
        ("limit=501", [("/query/limit", "out_of_range")]),
        ("limit=" + "9" * 400, [("/query/limit", "out_of_range")]),
        ("limit=ten", [("/query/limit", "wrong_type")]),
        ("limit=", [("/query/limit", "wrong_type")]),
        ("sex=F", [("/query/sex", "unknown_value")]),
        ("diagnosis=PM%00", [("/query/diagnosis", "unknown_value")]),
        ("revision=-1", [("/query/revision", "out_of_range")]),
        ("revision=1&as_of=2026-01-01T00:00:00Z", [("/query/as_of", "contradiction")]),
    ],
)
def test_a_query_parameter_is_understood_or_refused_never_ignored(client, query, expected):
    home = fill(client, 1)
    answer = client.get(f"{home}/patients?{query}")
    assert answer.status_code == 422
    assert codes(answer) == expected


def test_an_operation_without_parameters_takes_none(client):
    for path in ("/livez", "/readyz", "/v1/protocols", "/docs", "/openapi.yaml", "/problems"):
        assert client.get(path).status_code == 200
        assert codes(client.get(f"{path}?a=1")) == [("/query", "unknown_parameter")]


@pytest.mark.parametrize("name", ["...", "a b", "ä", "a" * 65, "%3Cscript%3E", "a%E2%80%AEb", "a:b", "a%3Fb"])
def test_an_identifier_in_an_address_has_no_character_that_means_something_elsewhere(client, name):
    home = make_study(client)
    body = {"patient": {"id": "P1"}}
    assert codes(client.get(f"{home}/patients/{name}")) == [("/path/patient", "bad_identifier")]
    assert codes(client.put(f"{home}/patients/{name}", json=body)) == [("/path/patient", "bad_identifier")]
    assert codes(client.put(f"/v1/studies/{name}", json={"name": "T", "protocol": "seed-2008"})) == [
        ("/path/study", "bad_identifier")
    ]
    assert client.get("/v1/studies").json()["items"][1:] == []


@pytest.mark.parametrize("name", ["a", "A.b-9", ".a", "-a", "a" * 64, "P..1"])
def test_any_other_identifier_of_the_documented_alphabet_is_accepted(client, name):
    home = make_study(client)
    assert client.put(f"{home}/patients/{name}", json=timeline(name)).status_code == 201
    assert client.get(f"{home}/patients/{name}").json()["patient"]["id"] == name
