"""The pages of patients, revisions and protocols in a browser: typing, taking back, comparing, trying; by keyboard."""

import json

import pytest

from tests.browser.checks import check_accessible, check_width, content_of

PAGES = (
    "/v1/studies/demo/patients/P02.html",
    "/v1/studies/demo/patients/P02/history.html?code=CK",
    "/v1/studies/demo/revisions.html",
    "/v1/studies/demo/changes.html?from=14",
    "/v1/studies/demo/protocol.html",
    "/v1/protocols.html",
    "/v1/protocols/imacs-2004.html",
    "/v1/studies/demo/datasets.html",
    "/v1/audit.html?limit=20",
)


@pytest.mark.parametrize("path", PAGES)
def test_it_is_accessible_fits_each_screen_and_says_the_same_without_a_script(opened, path):
    page = opened(path)
    check_accessible(page)
    words = content_of(page)
    for width in (390, 820, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        check_width(page)
    page.emulate_media(color_scheme="dark")
    check_accessible(page)
    if "audit" not in path:  # to read the audit has a row, too
        assert content_of(opened(path, script=False)) == words


def test_a_search_sends_one_request_after_a_pause_and_finds_what_the_form_finds(opened, site):
    page, plain = opened("/v1/studies/demo/patients.html"), opened("/v1/studies/demo/patients.html", script=False)
    asked = []
    page.on("request", lambda sent: asked.append(sent.url) if "/patients" in sent.url else None)
    box = page.get_by_label("Identifier contains")
    box.press_sequentially("p1", delay=30)
    page.get_by_text("7 patients found").wait_for()
    assert [url.partition("?")[2] for url in asked] == ["q=p1"]
    assert page.url.endswith("/patients.html?q=p1")
    assert box.evaluate("each => each === document.activeElement")
    box.fill("nobody")
    page.get_by_text("No patient found").wait_for()
    assert len(asked) == 2
    plain.get_by_label("Identifier contains").fill("p1")
    plain.keyboard.press("Enter")
    plain.get_by_text("7 patients found").wait_for()
    box.fill("p1")
    page.get_by_text("7 patients found").wait_for()
    assert content_of(page) == content_of(plain)


def test_a_wrong_row_is_taken_back_by_keyboard(opened, site):
    wrong = {"code": "CK", "time": "2005-06-01", "value": 99999, "unit": "U/L", "upper_limit": 163}
    site.ask("POST", "/v1/studies/pair/patients/P01/events", {"patient": {"id": "P01"}, "labs": [wrong]})
    page = opened("/v1/studies/pair/patients/P01.html")
    page.get_by_role("row").filter(has_text="99\u202f999").get_by_role("button", name="Take back").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Take back this row?").wait_for()
    check_accessible(page)
    page.get_by_role("button", name="Take it back").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="The row was taken back").wait_for()
    check_accessible(page)
    page.get_by_role("link", name="Back to P01").click()
    assert page.get_by_role("row").filter(has_text="99\u202f999").count() == 0
    labs = json.loads(site.ask("GET", "/v1/studies/pair/patients/P01")[1])["labs"]
    assert 99999 not in [each["value"] for each in labs]


def test_another_protocol_is_tried_and_saved_and_what_it_moved_is_said(opened):
    page = opened("/v1/studies/pair/protocol.html", script=False)
    page.get_by_label("MMT: least improvement in points").first.fill("14")
    page.get_by_role("button", name="Try these values").click()
    check_width(page)
    assert page.get_by_role("row").filter(has_text="Response by MMT").get_by_text("differs").count() == 1
    page.get_by_role("button", name="Save and declare it").click()
    assert page.get_by_role("heading", name="Protocol seed-2008-changed").count() == 1
    page.get_by_role("link", name="Revisions").first.click()
    page.get_by_role("button", name="Show what changed").click()
    assert page.get_by_text("The response rate by MMT fell from 100").count() > 0


def test_harmful_texts_are_texts_on_every_page_of_a_patient(opened):
    for path in ("patients/P01.html", "patients/P01/history.html", "revisions.html", "protocol.html", "datasets.html"):
        page = opened(f"/v1/studies/harmful/{path}", width=390)
        check_width(page)
    page = opened("/v1/studies/harmful/patients/P01.html")
    page.get_by_role("row").filter(has_text="alert(1)").get_by_role("button", name="Take back").click()
    page.get_by_text("alert(1)").first.wait_for()
