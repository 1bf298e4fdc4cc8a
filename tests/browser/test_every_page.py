"""Every page, at every width, light and dark, with and without a script."""

import pytest

from tests.browser.checks import check_accessible, check_width, content_of

PAGES = (
    "/v1/studies.html",
    "/v1/studies/demo.html",
    "/v1/studies/demo/analyses.html",
    "/v1/studies/demo/analyses/response-rates.html?level=2",
    "/v1/studies/demo/analyses/ck-normal-time.html",
    "/v1/verify.html?kind=proportion&k=14&n=15&value=93.3&low=68.1&high=99.8",
    "/v1/planning/proportion.html?rate=0.8&n=15&half_width=0.1",
    "/v1/studies/demo/patients.html",
    "/v1/protocols.html",
    "/problems.html",
    "/v1/studies/demo/report.html",
    "/v1/studies/none.html",
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
    plain = opened(path, script=False)
    assert content_of(plain) == words


@pytest.mark.parametrize("study", ["empty", "pair", "harmful"])
def test_a_study_with_little_or_harmful_data_is_shown_as_text(opened, study):
    for path in ("", "/patients", "/analyses/response-rates", "/protocol"):
        page = opened(f"/v1/studies/{study}{path}.html", width=390)
        check_width(page)
        assert page.locator("main h1").count() == 1
