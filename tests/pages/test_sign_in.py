"""Who has no key sees how to sign in; a session shows what its key may read, and ends."""

import re

from app.access.callers import Scope

HTML = {"Accept": "text/html"}


def signed_in(service, *scopes, studies=None):
    """A browser with a session, and the key."""
    browser = service.with_key("")
    del browser.headers["Authorization"]
    key = service.key(scopes or tuple(Scope), studies)
    answer = browser.post("/pages/sign-in", data={"key": key, "to": "/v1/studies.html"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/v1/studies.html")
    return browser


def stranger(service):
    browser = service.with_key("")
    del browser.headers["Authorization"]
    return browser


def test_who_has_no_key_is_asked_for_one_and_sees_nothing_of_a_study(service):
    browser = stranger(service)
    for path in ("/v1/studies.html", "/v1/studies/mine.html", "/v1/studies/none.html"):
        answer = browser.get(path)
        assert answer.status_code == 401
        assert 'action="/pages/sign-in"' in answer.text
        assert "mine" not in answer.text.replace(path, "")
    assert browser.get("/", headers=HTML).status_code == 200


def test_a_key_opens_the_site_and_signing_out_closes_it(service):
    browser = signed_in(service)
    page = browser.get("/v1/studies.html")
    assert page.status_code == 200
    token = re.search(r'name="token" value="([^"]+)"', page.text)[1]
    assert browser.post("/pages/sign-out", data={"token": token}, follow_redirects=False).status_code == 303
    assert browser.get("/v1/studies.html").status_code == 401


def test_a_form_without_the_token_of_the_session_ends_no_session(service):
    browser = signed_in(service)
    browser.post("/pages/sign-out", data={"token": "guessed"})
    assert browser.get("/v1/studies.html").status_code == 200


def test_a_wrong_key_is_refused_in_words_and_begins_no_session(service):
    browser = stranger(service)
    answer = browser.post("/pages/sign-in", data={"key": "wrong", "to": "/v1/studies.html"})
    assert "This key is not accepted" in answer.text
    assert browser.get("/v1/studies.html").status_code == 401


def test_after_signing_in_nobody_is_led_to_another_site(service):
    browser = stranger(service)
    for to in ("https://elsewhere.example/", "//elsewhere.example", "javascript:alert(1)", "/\\elsewhere.example"):
        key = service.key(tuple(Scope))
        answer = browser.post("/pages/sign-in", data={"key": key, "to": to}, follow_redirects=False)
        assert answer.headers["location"] == "/", to


def test_a_key_of_one_study_sees_the_pages_of_that_study_alone(service):
    service.client().put("/v1/studies/other", json={"name": "Other", "protocol": "seed-2008"})
    service.client().put("/v1/studies/mine", json={"name": "Mine", "protocol": "seed-2008"})
    browser = signed_in(service, studies=["mine"])
    assert "Other" not in browser.get("/v1/studies.html").text
    unknown, foreign = (browser.get(f"/v1/studies/{name}/protocol.html") for name in ("nobody", "other"))
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert foreign.text.replace("other", "nobody") == unknown.text
