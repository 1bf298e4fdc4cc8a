"""A page says when its study has changed."""

import json

LAB = {"code": "CK", "time": "2006-10-04T09:00:00+09:00", "value": 150, "unit": "U/L", "upper_limit": 163}


def test_a_page_that_is_open_says_that_its_study_has_changed_and_shows_it_on_request(opened, site):
    assert site.ask("PUT", "/v1/studies/followed", {"name": "Followed", "protocol": "seed-2008"})[0] == 201
    page = opened()
    news = page.locator("#news")
    with page.expect_request("**/changes/stream**"):
        page.goto("/v1/studies/followed/protocol.html")
    assert not news.is_visible()
    body = {"patient": {"id": "P01"}, "labs": [LAB]}
    assert site.ask("POST", "/v1/studies/followed/patients/P01/events", body)[0] == 201
    news.wait_for(state="visible")
    page.get_by_role("link", name="Show it as it is now").click()
    news.wait_for(state="hidden")
    assert json.loads(site.ask("GET", "/v1/studies/followed")[1])["revision"] == 1
