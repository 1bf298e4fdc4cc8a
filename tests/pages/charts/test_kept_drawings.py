"""What is drawn again for another revision, and what is not."""

import re

import pytest
from pydantic_core import to_json

from app.derive.known_estimates import known_or_made
from app.pages.charts import CHARTS, chart, files
from app.pages.charts.files import ChartOptions, chart_file
from app.pages.charts.rendering import PDF, PNG, SVG, VEGA_LITE, svg_of
from app.protocol.presets import SEED_2008
from tests.api.examples import timeline
from tests.pages.charts.documents import cohort, cohort_of, document, header


@pytest.fixture
def drawn(monkeypatch):
    """The specifications that are drawn."""
    specs, draw = [], files.drawing_of

    def counting(spec):
        specs.append(spec)
        return draw(spec)

    monkeypatch.setattr(files, "drawing_of", counting)
    return specs


def of_revision(number, study, name="weekly-change", media_type=SVG, width="narrow"):
    head = header("demo", SEED_2008.id).model_copy(update={"revision": number})
    return chart_file(name, media_type, ChartOptions(width=width), head, study, SEED_2008)


def people(count):
    return cohort_of([timeline(f"P{number}", ck=900 + 10 * number) for number in range(count)])


EACH = [(name, "demo", "narrow") for name in CHARTS if name != "without-effect"]


@pytest.mark.parametrize(
    ("name", "study", "width"), [*EACH, ("adverse-events", "hostile", "wide"), ("weekly-change", "empty", "wide")]
)
def test_a_drawing_with_its_words_written_into_it_is_that_of_the_whole_specification(name, study, width):
    spec = CHARTS[name].draw(document(name, study), width)
    assert svg_of(spec, files.drawing_of(to_json(spec))) == svg_of(spec)


def test_another_revision_with_the_same_figures_is_not_drawn_again_and_says_its_number(drawn):
    study, numbers = people(4), (16, 17, 98765)
    shown = [of_revision(number, study).decode() for number in numbers]
    assert len(drawn) == 1
    assert [re.findall(r"revision (\d+)", each) for each in shown] == [[str(each)] * 2 for each in numbers]


def test_other_figures_another_width_and_more_lines_below_the_title_are_drawn_again(drawn, monkeypatch):
    study = people(4)
    kept = study.estimated
    of_revision(16, study)
    of_revision(16, study, width="wide")
    more = people(5)
    more.estimated.update(kept)
    of_revision(16, more)
    monkeypatch.setattr(chart, "source", lambda document: "A name that needs two lines. " * 2)
    of_revision(16, study)
    assert len(drawn) == 4


def test_one_drawing_serves_all_pictures_and_a_specification_needs_none(drawn):
    study = people(4)
    assert of_revision(16, study, media_type=VEGA_LITE).startswith(b"{")
    assert drawn == []
    assert of_revision(16, study, media_type=PNG).startswith(b"\x89PNG")
    assert of_revision(16, study, media_type=PDF).startswith(b"%PDF")
    assert len(drawn) == 1


def test_a_drawing_counts_with_the_length_of_its_text():
    kept = {}
    assert known_or_made(kept, lambda spec: 50 * spec.decode(), b"ab") == 50 * "ab"
    assert [size for _, size in kept.values()] == [100]


def test_drawings_have_the_limit_of_estimates(monkeypatch):
    study = people(4)
    of_revision(16, study)
    monkeypatch.setattr(files, "room_for_estimates", lambda patients: 1)
    of_revision(17, study)
    assert study.estimated == {}


def test_a_chart_of_the_demonstration_is_that_of_before(drawn):
    found = document("flow")
    assert of_revision(16, cohort("demo"), "flow").decode() == svg_of(CHARTS["flow"].draw(found, "narrow"))
