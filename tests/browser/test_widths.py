"""A wide screen is used, and nothing is cut or drawn too small to be read on it or on a phone."""

import pytest

CUT = "all => all.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.textContent.slice(0, 80))"
"""The texts of the elements whose content needs more room than they have."""


def test_on_a_wide_screen_charts_stand_beside_each_other(opened):
    page = opened("/v1/studies/demo.html", width=2560)
    charts = [each.bounding_box() for each in page.locator("figure.chart.wide").all()]
    assert len(charts) > 3
    columns = {round(each["x"]) for each in charts}
    assert len(columns) == 2
    assert len({round(each["y"]) for each in charts}) > 2
    assert all(each["width"] > 740 for each in charts)
    assert (min(columns) + max(columns) + charts[0]["width"]) / 2 == pytest.approx(1280, abs=12)


@pytest.mark.parametrize(
    "path", ["/v1/studies/demo/analyses/response-rates.html", "/v1/studies/demo/analyses/weekly-change.html",
             "/v1/protocols.html"]
)  # fmt: skip
def test_on_a_wide_screen_a_table_shows_all_its_columns(opened, path):
    page = opened(path, width=2560)
    assert page.locator(".scroll:visible").count()
    assert page.locator(".scroll:visible").evaluate_all(CUT) == []


@pytest.mark.parametrize("width", [390, 1440])
def test_a_heading_of_a_row_does_not_run_into_its_value(opened, width):
    page = opened("/v1/studies/demo/analyses/ck-normal-time.html", width=width)
    assert page.locator(".upright th").count() > 30
    assert page.locator(".upright th:visible").evaluate_all(CUT) == []


def test_a_chart_of_the_report_is_not_shrunk_on_a_phone_and_moves_by_the_keyboard(opened):
    page = opened("/v1/studies/demo/report.html", width=390)
    chart = page.locator("figure.chart").first
    assert chart.locator("svg").bounding_box()["width"] >= 640
    chart.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.activeElement.scrollLeft > 0")


def test_the_claims_of_the_report_can_be_read_on_a_phone_without_moving_them(opened):
    page = opened("/v1/studies/demo/report.html", width=390)
    claims = page.locator(".report th.sentence:visible")
    assert claims.count() > 20
    assert all(each["width"] < 320 for each in (claim.bounding_box() for claim in claims.all()))
