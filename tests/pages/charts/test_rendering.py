"""The SVG of every chart stands in a page under a strict policy, holds every label, and runs nothing."""

import json
import re
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from xml.etree import ElementTree

import pytest
import vl_convert
from pydantic_core import to_json

from app.pages.charts import CHARTS
from app.pages.charts.rendering import PDF, PNG, SVG, VEGA_LITE, drawing_of, rendered, svg_of
from tests.pages.charts.documents import HOSTILE, WIDTHS, document
from tests.repetition import repeats

ELEMENTS = {"svg", "title", "rect", "g", "path", "line", "text", "tspan", "defs", "clipPath", "linearGradient", "stop"}
BUSY = ("hostile", "demo", "two")[: repeats(3)]
"""Studies with much to show, the one with the longest labels first."""


def drawn(name, study, width):
    return CHARTS[name].draw(document(name, study), width)


@cache
def pictures(name, study, width):
    """The picture as the engine makes it of the whole specification, and the one that is given."""
    spec = drawn(name, study, width)
    return drawing_of(to_json(spec)), svg_of(spec)


def tree(svg):
    return ElementTree.fromstring(svg)  # noqa: S314 - it was written here


def parts(svg):
    return [(element.tag.rpartition("}")[2], element.attrib, element.text or "")
            for element in tree(svg).iter()]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("study", BUSY)
def test_no_label_leaves_a_chart_and_it_is_as_wide_as_it_says(name, study):
    """The engine makes a picture as large as all that it shows: if a label left the plot, it would be too wide."""
    for width, pixels in WIDTHS.items():
        needed, svg = pictures(name, study, width)
        assert float(re.search(r' width="([\d.]+)"', needed)[1]) <= pixels, (study, width)
        root = tree(svg)
        assert (root.get("width"), root.get("viewBox").split()[2]) == (str(pixels), str(pixels))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ck-normal-time", "response-forest"])
def test_subgroups_have_room_for_their_names(name):
    for width, pixels in WIDTHS.items():
        spec = CHARTS[name].draw(document(name, "hostile", by="diagnosis"), width)
        needed = vl_convert.vegalite_to_svg(spec, vl_version="6.4", allowed_base_urls=[])
        assert float(re.search(r' width="([\d.]+)"', needed)[1]) <= pixels, width


@pytest.mark.slow
@pytest.mark.parametrize("name", CHARTS)
def test_an_svg_has_neither_style_nor_script_and_its_text_is_text(name):
    spec = drawn(name, "hostile", "narrow")
    _, svg = pictures(name, "hostile", "narrow")
    for tag, attributes, _ in parts(svg):
        assert tag in ELEMENTS
        assert not {each for each in attributes if each == "style" or each.startswith("on") or each.endswith("href")}
        assert "javascript:" not in "".join(attributes.values())
    root = tree(svg)
    title = root[0]
    assert (title.tag.rpartition("}")[2], title.text) == ("title", spec["description"])
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == title.get("id")
    assert "<script" not in svg
    assert "<img" not in svg


def test_hostile_terms_are_shown_as_they_are():
    svg = svg_of(drawn("adverse-events", "hostile", "wide"))
    shown = " ".join(text for tag, _, text in parts(svg) if tag == "text")
    assert HOSTILE[0] in shown
    assert "{{7*7}} ${7*7}" in shown
    assert "49" not in shown


def test_two_charts_of_one_page_share_no_identifier():
    first, second = (svg_of(drawn("weekly-change", study, "narrow")) for study in ("demo", "two"))
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0].isdisjoint(ids[1])
    for svg, known in ((first, ids[0]), (second, ids[1])):
        assert len(known) > 1
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= known
    assert svg_of(drawn("weekly-change", "demo", "narrow")) == first


def test_each_format_is_what_it_says():
    spec = drawn("flow", "two", "narrow")
    assert json.loads(rendered(spec, VEGA_LITE)) == spec
    assert rendered(spec, SVG).startswith(b"<svg ")
    png = rendered(spec, PNG)
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20]) == 2 * WIDTHS["narrow"]
    assert rendered(spec, PDF).startswith(b"%PDF")


def test_the_engine_fetches_nothing(httpserver_that_counts):
    address, asked = httpserver_that_counts
    spec = drawn("flow", "two", "narrow") | {"data": {"url": f"{address}/data.json"}, "mark": "point", "encoding": {}}
    spec.pop("layer")
    with pytest.raises(ValueError, match=r"allowed"):
        svg_of(spec)
    assert asked == []


@pytest.fixture
def httpserver_that_counts():
    asked = []

    class Counts(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Counts)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()
