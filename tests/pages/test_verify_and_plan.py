"""A printed figure is checked, and a study planned, by forms that need no script and whose addresses can be kept."""

import pytest

from app.access.callers import Scope
from app.analyses.verify import PrintedProportion, PrintedRate
from app.pages.plan import SIZES, curve
from app.pages.verify_figure import figure_of
from tests.pages.shown import shown
from tests.pages.test_sign_in import signed_in

SEEN = "/v1/verify.html?kind=proportion&k=14&n=15&printed_in=percent&value=93.3&low=68.1&high=99.8&level="


def test_a_printed_figure_is_checked_at_an_address_that_can_be_printed(client):
    page = shown(client, SEEN)
    assert "Reproduced" in page.headings
    assert "The interval is that of Clopper-Pearson" in page.words
    assert "Printed 93.3; the counts give 93.333: agrees." in page.words
    assert page.controls["low"]["value"] == "68.1"


def test_a_figure_that_no_method_gives_is_not_reproduced(client):
    page = shown(client, "/v1/verify.html?kind=proportion&k=8&n=19&value=42.0&low=19.6&high=64.6")
    assert "Not reproduced" in page.headings
    assert ["Clopper-Pearson", "95 %", "20.252", "differs", "66.5", "differs"] in page.tables[""]


def test_the_last_zero_of_a_printed_figure_is_kept():
    sent = {"k": "8", "n": "19", "value": "42.0", "low": "19.60", "level": "0.95"}
    assert figure_of("proportion", PrintedProportion, sent) == {
        "kind": "proportion", "k": 8, "n": 19, "printed_in": "percent", "value": "42.0",
        "interval": {"low": "19.60", "level": 0.95},
    }  # fmt: skip
    assert figure_of("rate", PrintedRate, {"events": "10", "exposure": "1e3"}) == {
        "kind": "rate", "events": 10, "exposure": "1e3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "control"),
    [("k=8", "n"), ("k=x&n=19", "k"), ("k=8&n=19&value=4,2", "value"), ("k=8&n=19&low=1", "high"),
     ("kind=rate&events=2", "exposure"), ("kind=difference&k1=1&n1=2&k2=3", "n2")],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_control(client, query, control):
    page = shown(client, f"/v1/verify.html?{query}", status=422)
    assert page.controls[control]["aria-invalid"] == "true"


def test_a_contradiction_of_two_controls_is_said_above_them(client):
    assert "k: must not exceed n." in shown(client, "/v1/verify.html?k=20&n=19", status=422).words


def test_it_is_checked_in_a_session_too_and_not_for_a_stranger(service):
    browser = signed_in(service)
    assert "Reproduced" in shown(browser, SEEN).headings
    stranger = service.with_key("")
    del stranger.headers["Authorization"]
    assert stranger.get(SEEN).status_code == 401
    reader = signed_in(service, Scope.READ)
    assert reader.get(SEEN).status_code == 403


@pytest.mark.parametrize(
    ("query", "sentences"),
    [
        ("proportion.html?rate=0.8&n=15&half_width=0.1&level=",
         ["15 patients give a 95 % confidence interval that is expected to reach from 52.7 % to 94.7 %",
          "For 10 % to either side: 68 patients are needed."]),
        ("paired-change.html?sd=0.55&n=15&difference=0.4",
         ["15 patients show a true mean difference of 0.428 with a power of 80 %.",
          "by the paired t test: 17 patients."]),
        ("median-time.html?events=8&ratio=2",
         ["the upper one is 4.18 times the lower one.", "33 events are needed."]),
    ],
)  # fmt: skip
def test_a_plan_is_told_in_sentences_with_what_other_sizes_give(client, query, sentences):
    page = shown(client, f"/v1/planning/{query}")
    for sentence in sentences:
        assert sentence in page.words
    assert len(page.tables[""]) == len(SIZES) + 1


def test_a_plan_without_a_goal_says_what_to_give(client):
    assert "n or half_width" in shown(client, "/v1/planning/proportion.html?rate=0.8", status=422).words
    page = shown(client, "/v1/planning/proportion.html?rate=8&n=5", status=422)
    assert page.controls["rate"]["aria-invalid"] == "true"


def test_the_form_of_a_plan_is_there_before_anything_is_asked(client):
    for name in ("proportion", "paired-change", "median-time"):
        assert shown(client, f"/v1/planning/{name}.html").headings == ["Plan a study"]
    assert client.get("/v1/planning/nonsense.html").status_code == 404


def test_the_picture_has_a_point_for_each_size_inside_its_frame():
    drawn = curve([(10, 0.5), (20, 0.25)], str)
    (x1, y1), (x2, y2) = drawn.points
    assert x1 < x2 <= 540
    assert 20 <= y1 < y2 < 216
    assert curve([(10, 0.5)], str) is None
