"""The charts of a page are drawn at the revision that it shows, and those of patients for their readers alone."""

import asyncio
from types import SimpleNamespace

import pytest

from app.access.callers import Scope
from app.pages.pictures import OF_OVERVIEW, OF_PATIENTS, pictures


class PageReading:
    """Remembers what is asked for; one chart is not there."""

    def __init__(self, *scopes):
        self.asked = SimpleNamespace(caller=SimpleNamespace(scopes=frozenset(scopes)))
        self.read = []

    async def text(self, path, query):
        self.read.append((path, dict(query)))
        return None if "flow" in path else "<svg/>"


def test_each_chart_is_asked_for_in_two_widths_at_the_revision_of_the_page():
    reading = PageReading(Scope.READ_PATIENTS)
    options = [("by", "sex"), ("as_of", "2026-01-01T00:00:00Z")]
    drawn = asyncio.run(pictures(reading, "demo", ("ck-normal-time", "flow"), 7, options))
    asked = {"by": "sex", "revision": "7"}
    assert reading.read == [
        (f"/v1/studies/demo/charts/{name}.svg", asked | {"width": width})
        for name in ("ck-normal-time", "flow")
        for width in ("wide", "narrow")
    ]
    assert [each.name for each in drawn] == ["ck-normal-time"]


def test_who_may_not_read_patients_sees_no_mark_of_one():
    reading = PageReading(Scope.ANALYSE)
    drawn = asyncio.run(pictures(reading, "demo", OF_OVERVIEW, 7))
    assert not {each.name for each in drawn} & OF_PATIENTS
    assert not [path for path, _ in reading.read if "waterfall" in path]


@pytest.mark.slow
def test_the_overview_has_its_charts_in_it(demo):
    text = demo.get("/v1/studies/demo.html").text
    assert text.count('<figure class="chart wide"><svg') == text.count('<figure class="chart narrow"><svg') == 5
