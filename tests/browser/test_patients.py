"""The pages of patients and protocols in a browser: searching while typing, and trying another protocol."""

from tests.browser.checks import check_accessible, check_width, content_of

TYPED = """(box, texts) => texts.forEach((text) => {
    box.value = text
    box.dispatchEvent(new Event("input", { bubbles: true }))
})"""
"""One text after the other in a box. Keys that the test presses may come later than the pause of the page lasts."""


def test_a_search_sends_one_request_after_a_pause_and_finds_what_the_form_finds(opened, site):
    page, plain = opened("/v1/studies/demo/patients.html"), opened("/v1/studies/demo/patients.html", script=False)
    asked = []
    page.on("request", lambda sent: asked.append(sent.url) if "/patients" in sent.url else None)
    box = page.get_by_label("Identifier contains")
    box.focus()
    box.evaluate(TYPED, ["p", "p1"])
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


def test_another_protocol_is_tried_and_saved_and_what_it_moved_is_said(opened):
    page = opened("/v1/studies/pair/protocol.html", width=390)
    page.get_by_label("MMT: least improvement in points").first.fill("14")
    page.get_by_role("button", name="Try these values").click()
    page.get_by_role("row").filter(has_text="Response by MMT").get_by_text("differs").wait_for()
    check_width(page)
    check_accessible(page)
    page.get_by_role("button", name="Save and declare it").click()
    page.get_by_role("heading", name="Protocol seed-2008-changed").wait_for()
    page.get_by_role("link", name="Revisions").first.click()
    page.get_by_role("button", name="Show what changed").click()
    page.get_by_text("The response rate by MMT fell from 100").first.wait_for()
