"""Sessions: a cookie in place of a key, and a token for each change."""

import re
from concurrent.futures import Future

import pytest

from app.access.callers import ALL_SCOPES, Scope
from app.access.sessions import HOUR, open_session, read_session
from app.store import audit
from tests.access.conftest import now
from tests.api.examples import make_study


@pytest.fixture
def browser(service):
    """A client without a key, and the answer that gave it a cookie."""
    made = service.client(studies=["trial"]).post("/v1/session")
    assert made.status_code == 201
    service.stranger.cookies.set("myoresponse", cookie_of(made), domain="127.0.0.1")
    return service.stranger, made.json()


def cookie_of(answer) -> str:
    return re.match(r"[\w-]+=([^;]*)", answer.headers["set-cookie"])[1]


def test_a_cookie_stands_for_its_key_and_names_the_session_in_the_ledger(service, browser):
    client, session = browser
    token = {"X-CSRF-Token": session["token"]}
    declared = {"name": "T", "protocol": "seed-2008"}
    assert client.put("/v1/studies/trial", json=declared, headers=token).status_code == 201
    assert client.get("/v1/studies/trial").status_code == 200
    assert client.put("/v1/studies/other", json=declared, headers=token).status_code == 404
    [revision] = client.get("/v1/studies/trial/revisions").json()["items"]
    assert re.fullmatch("session:[0-9a-f]{8}", revision["client"])
    assert client.get("/v1/session").json() == session


@pytest.mark.parametrize("shown", [None, "", "x", "other session"])
def test_a_change_without_the_token_of_the_session_is_refused(service, browser, shown):
    client, _ = browser
    if shown == "other session":
        shown = service.client().post("/v1/session").json()["token"]
    headers = {} if shown is None else {"X-CSRF-Token": shown}
    for method, path in (
        ("PUT", "/v1/studies/trial"),
        ("POST", "/v1/studies/trial/timelines"),
        ("DELETE", "/v1/session"),
    ):
        refused = client.request(method, path, headers=headers)
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")
    assert client.get("/v1/studies").status_code == 200


def test_the_cookie_is_for_this_host_and_for_no_script(service):
    client = service.client()
    plain = client.post("/v1/session").headers["set-cookie"]
    assert re.fullmatch(r"myoresponse=[\w.-]+; HttpOnly; Max-Age=3600; Path=/; SameSite=strict", plain)
    secure = client.post("/v1/session", headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    assert re.fullmatch(r"__Host-myoresponse=[\w.-]+; HttpOnly; Max-Age=3600; Path=/; SameSite=strict; Secure", secure)


def test_over_https_the_cookie_that_anybody_may_set_is_not_read(browser):
    client, _ = browser
    assert client.get("/v1/studies").status_code == 200
    assert client.get("/v1/studies", headers={"X-Forwarded-Proto": "https"}).status_code == 401


def test_a_session_ends_with_its_key_and_after_an_hour(service):
    keys = service.keys
    secret = service.stranger.app_state["app_state"].secret
    begun = now()
    key = service.key()
    session = open_session(secret, keys.caller(key, begun), begun)
    assert read_session(secret, keys, session.cookie, begun + HOUR - 1) == session
    assert read_session(secret, keys, session.cookie, begun + HOUR) is None
    keys.revoke(key.split("_")[1], begun)
    assert read_session(secret, keys, session.cookie, begun + 1) is None


def test_a_cookie_with_one_character_changed_is_none(service):
    keys, secret = service.keys, service.stranger.app_state["app_state"].secret
    session = open_session(secret, keys.caller(service.key([Scope.READ]), now()), now())
    for place in range(len(session.cookie)):
        for character in "A_b.":
            changed = session.cookie[:place] + character + session.cookie[place + 1 :]
            if changed != session.cookie:
                assert read_session(secret, keys, changed, now()) is None
    for odd in ("", ".", "a.b", "x" * 10_000, "\ud800.x", "é.é", session.token, f"{session.cookie}.x"):
        assert read_session(secret, keys, odd, now()) is None


def test_a_session_is_made_from_a_key_only(start, url, service):
    assert service.stranger.post("/v1/session").status_code == 401
    local = start(url, require_keys=False).stranger
    assert local.post("/v1/session").status_code == 403
    made = service.client().post("/v1/session")
    service.stranger.cookies.set("myoresponse", cookie_of(made), domain="127.0.0.1")
    again = service.stranger.post("/v1/session", headers={"X-CSRF-Token": made.json()["token"]})
    assert again.status_code == 403, "no session is prolonged by itself"


def test_a_session_can_be_ended_and_a_copy_of_its_cookie_is_worth_nothing(service, start, url, browser):
    client, session = browser
    copied = client.cookies["myoresponse"]
    other = start(url).stranger
    for each in (client, other):
        each.cookies.set("myoresponse", copied, domain="127.0.0.1")
        assert each.get("/v1/studies").status_code == 200
    ended = client.delete("/v1/session", headers={"X-CSRF-Token": session["token"]})
    assert ended.status_code == 204
    assert "Max-Age=0" in ended.headers["set-cookie"]
    for each in (client, other):
        each.cookies.set("myoresponse", copied, domain="127.0.0.1")
        assert each.get("/v1/studies").status_code == 401


def test_the_end_of_a_session_ends_those_of_its_key_and_no_others_and_the_key_stays(service):
    key, another = service.key(), service.key()
    mine, also_mine, foreign = (
        service.with_key(text).post("/v1/session").headers["set-cookie"].partition("=")[2].partition(";")[0]
        for text in (key, key, another)
    )
    assert service.with_key(key).delete("/v1/session").status_code == 204
    statuses = []
    for cookie in (mine, also_mine, foreign):
        service.stranger.cookies.set("myoresponse", cookie, domain="127.0.0.1")
        statuses.append(service.stranger.get("/v1/studies").status_code)
    assert statuses == [401, 401, 200]
    assert service.with_key(key).get("/v1/studies").status_code == 200
    again = service.with_key(key).post("/v1/session")
    service.stranger.cookies.set("myoresponse", cookie_of(again), domain="127.0.0.1")
    assert service.stranger.get("/v1/studies").status_code == 200


def test_the_end_of_a_session_and_a_change_without_its_token_have_rows_with_their_caller(browser, service):
    client, session = browser
    assert client.put("/v1/studies/trial", json={}).status_code == 403
    assert client.delete("/v1/session", headers={"X-CSRF-Token": session["token"]}).status_code == 204
    state = service.stranger.app_state["app_state"]
    state.trail.close()
    with state.database.reading() as connection:
        rows = audit.listing(connection, after=(0, -1, -1), until=2**62, limit=500)
    refused, ended = rows[-2:]
    assert (refused.status, refused.caller) == (403, session["caller"])
    assert (ended.operation, ended.status, ended.caller) == ("end_session", 204, session["caller"])


def test_a_wrong_cookie_is_none_and_a_key_comes_before_it(service):
    make_study(service.client())
    service.stranger.cookies.set("myoresponse", "nonsense", domain="127.0.0.1")
    assert service.stranger.get("/v1/studies").status_code == 401
    assert service.stranger.get("/problems").status_code == 200
    with_key = {"Authorization": f"Bearer {service.key(ALL_SCOPES)}"}
    assert service.stranger.get("/v1/studies/trial", headers=with_key).status_code == 200


def test_a_page_of_another_origin_makes_no_change_in_a_session(browser):
    client, session = browser
    sent = {"X-CSRF-Token": session["token"], "Origin": "https://evil.example"}
    answer = client.put("/v1/studies/trial", json={}, headers=sent)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/foreign-origin")


def test_a_login_has_a_row_in_the_audit_and_is_refused_without_one(service, monkeypatch):
    client = service.client([Scope.READ])
    state = service.stranger.app_state["app_state"]
    assert client.post("/v1/session").status_code == 201
    assert client.get("/v1/session").status_code == 200
    state.trail.close()
    with state.database.reading() as connection:
        rows = audit.listing(connection, after=(0, -1, -1), until=2**62, limit=500)
        assert audit.verify(connection) == (len(rows), [])
    *keys, login = rows
    assert [row.operation.split()[:2] for row in keys] == [["keys", "create"]]
    assert (login.operation, login.door, login.status, login.extent) == ("begin_session", "http", 201, "nothing")
    assert (login.chain, login.caller) == (audit.NO_STUDY, f"key:{keys[0].operation.split()[2]}")

    def full(_: object) -> Future[None]:
        raised: Future[None] = Future()
        raised.set_exception(OSError("full"))
        return raised

    monkeypatch.setattr(state.trail, "add", full)
    refused = client.post("/v1/session")
    assert (refused.status_code, "set-cookie" in refused.headers) == (503, False)
