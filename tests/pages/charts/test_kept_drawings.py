"""What is drawn again for another revision, and what is not."""

import re

import pytest

from app.derive.known_estimates import known_or_made
from app.pages.charts import CHARTS, files
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
def test_a_drawing_that_was_known_is_the_one_that_would_be_made(name, study, width):
    found = document(name, study) | {"revision": 987}
    spec = CHARTS[name].draw(found, width)
    pattern = CHARTS[name].draw(files._of_any_revision(found), width)
    assert pattern != spec
    assert svg_of(spec, files.drawing_of(files.to_json(pattern))) == svg_of(spec)


def test_another_revision_with_the_same_figures_is_not_drawn_again_and_says_its_number(drawn):
    study = people(4)
    shown = [of_revision(number, study).decode() for number in (16, 17, 18)]
    assert len(drawn) == 1
    assert [re.findall(r"revision (\d+)", each) for each in shown] == [[str(each)] * 2 for each in (16, 17, 18)]


def test_other_figures_another_width_and_a_longer_number_are_drawn_again(drawn):
    study = people(4)
    kept = study.estimated
    of_revision(16, study)
    of_revision(16, study, width="wide")
    of_revision(100, study)
    more = people(5)
    more.estimated.update(kept)
    of_revision(16, more)
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
    of_revision(100, study)
    assert study.estimated == {}


def test_a_chart_of_the_demonstration_is_that_of_before(drawn):
    found = document("flow")
    assert of_revision(16, cohort("demo"), "flow").decode() == svg_of(CHARTS["flow"].draw(found, "narrow"))
