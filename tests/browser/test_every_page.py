"""Every page: accessible, light and dark, as wide as the window, the same without scripts, safe with any text.

The pages are those that the site has: a new one is opened here without being named.
"""

from urllib.parse import quote

import pytest

from app.pages.site import PAGES
from tests.browser.checks import (
    WIDTHS,
    check_accessible,
    check_dark,
    check_harmless,
    check_policy,
    check_width,
    content_as_sent,
    content_of,
)
from tests.browser.studies import LABEL, UNIT

_NAMES = {
    "study": "demo", "name": "ck-normal-time", "other": "pair", "patient": "P16", "protocol": "imacs-2004",
    "plan": "proportion",
}  # fmt: skip
"""What stands for the names in an address. A page with another name needs a line here."""
_QUERIES = {
    "/v1/studies/{study}/changes": "?from=14",
    "/v1/studies/{study}/patients/{patient}/history": "?code=CK",
    "/v1/audit": "?limit=20",
    "/v1/verify": "?kind=proportion&k=14&n=15&value=93.3&low=68.1&high=99.8",
    "/v1/planning/{plan}": "?rate=0.8&n=15&half_width=0.1",
}
"""What a page needs beside its address, or what keeps it short."""
_OTHERS = ("/problems.html", "/v1/studies/none.html", "/v1/studies/demo/patients.html?revision=14")
"""A page that is made field by field, that of a refusal, and one of an earlier revision."""
_LOOKED_AT = {page.template: page.of for page in reversed(PAGES)}
"""The first page of each template: only this one is looked at by axe."""
_IN_THE_DARK = {"overview.html", "question.html", "patient.html", "changes.html", "add_data.html"}
"""The templates that have all colours between them."""
_OF_HARMFUL = (
    "analyses/response-rates.html?by=centre&patients=true",
    "analyses/adverse-reactions.html?by=centre&patients=true",
    "charts/adverse-events.svg",
    "charts/response-forest.svg?by=centre",
    f"patients.html?q={quote(LABEL)}",
    f"analyses/response-rates.html?level={quote(LABEL)}",
    f"patients/P01/history.html?code={quote(LABEL)}",
)
"""More of the study with harmful texts: its groups and charts, and pages that repeat what an address says."""


def _address(page, **names):
    path = page.of.format(**_NAMES | names)
    return path if path == "/" else f"{path}.html{_QUERIES.get(page.of, '')}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.of)
def test_it_is_accessible_fits_each_screen_and_says_the_same_without_a_script(opened, page):
    look(
        opened(),
        _address(page),
        axe=_LOOKED_AT[page.template] == page.of,
        dark=page.template in _IN_THE_DARK,
    )


@pytest.mark.parametrize("path", _OTHERS)
def test_a_page_that_is_not_designed_or_of_another_time_is_accessible_too(opened, path):
    look(opened(), path)


def look(page, path, *, axe=True, dark=False):
    answer = page.goto(path)
    check_policy(page, answer.headers.get("content-security-policy"))
    if axe:
        check_accessible(page)
    if axe and dark:
        check_dark(page)
    check_width(page, *WIDTHS)
    words = content_of(page)
    assert len(words) > 50
    assert content_as_sent(page, answer.text()) == words


def test_a_study_without_data_has_every_page(opened):
    page = opened(width=390)
    for each in PAGES:
        if "{study}" in each.of and "{patient}" not in each.of:
            answer = page.goto(_address(each, study="empty", other="pair").replace("from=14", "from=0"))
            assert answer.status == 200, page.url
            assert page.locator("main h1").count() == 1, page.url
            check_width(page)


def test_no_text_of_a_study_of_a_patient_or_of_a_message_runs_on_any_page(opened):
    page = opened(width=390)
    shown = set()
    own = [each for each in PAGES if "{study}" in each.of or "{" not in each.of]
    paths = [_address(each, study="harmful", patient="P01").replace("from=14", "from=0") for each in own]
    for path in [*paths, *(f"/v1/studies/harmful/{each}" for each in _OF_HARMFUL)]:
        assert page.goto(path).status in {200, 422}, page.url
        check_harmless(page)
        if ".svg" not in path:
            check_width(page)
        if "data-harm" in page.locator(":root").text_content() or page.locator("[value*=data-harm]").count():
            shown.add(path)
    page.goto("/v1/studies/harmful/patients/P01.html")
    page.get_by_role("row").filter(has_text="alert(1)").get_by_role("button", name="Take back").first.click()
    page.get_by_role("heading", name="Take back this row?").wait_for()
    page.get_by_text("alert(1)").first.wait_for()
    check_harmless(page)
    assert len(shown) >= 17, f"the texts are on these pages alone, so that they prove little: {shown}"


def test_a_file_with_harmful_texts_is_told_as_text(opened):
    page = opened("/v1/studies/harmful/intake.html")
    rows = f"patient,time,code,value,unit,id\nP01,2005-03-16,CK,900,{UNIT},a2\n"
    page.get_by_label("File", exact=True).set_input_files(
        {"name": f"{LABEL}.csv", "mimeType": "text/csv", "buffer": rows.encode()}
    )
    page.get_by_role("button", name="Load").click()
    page.get_by_role("heading", name="is loaded").wait_for()
    assert "data-harm" in page.locator("#outcome").inner_text()
    check_harmless(page)


def test_the_browser_runs_no_text_that_gets_into_a_page(opened, windows):
    page = opened("/v1/studies/demo.html")
    page.evaluate(
        """() => {
          window.ran = []
          window.stopped = []
          addEventListener("securitypolicyviolation", (event) => stopped.push(event.effectiveDirective))
          const script = document.createElement("script")
          script.textContent = "ran.push('inline')"
          const picture = document.createElement("div")
          picture.innerHTML = "<img src='data:,' onerror=\\"ran.push('attribute')\\">"
          const link = document.createElement("a")
          link.href = "javascript:ran.push('address')"
          document.body.append(script, picture, link)
          link.click()
        }"""
    )
    page.wait_for_function("() => stopped.length >= 3")
    assert page.evaluate("ran") == []
    assert set(page.evaluate("stopped")) == {"script-src-elem", "script-src-attr"}
    assert windows.faults, "the other tests see what the policy stops"
    windows.faults.clear()
