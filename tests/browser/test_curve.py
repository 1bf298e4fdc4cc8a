"""The page in TypeScript of the examples, compiled and opened on an origin of its own."""

import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.demo import TIMELINES
from tests.api.test_server import Process, running
from tests.clients.installing import ROOT, installed_typescript, run
from tests.tables import with_tables

PAGE = ROOT / "examples" / "curve"


class _Silent(SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page after its steps of docs/examples.md."""
    packages = installed_typescript(tmp_path_factory.getbasetemp())
    folder = tmp_path_factory.mktemp("curve")
    for file in (*(PAGE / name for name in ("index.html", "curve.ts", "tsconfig.json")), packages / "api.d.ts"):
        shutil.copy(file, folder)
    told = run(packages, "tsc", "-p", folder, "--skipLibCheck")
    assert told.stdout == ""
    return folder


@pytest.fixture(scope="module")
def origin(compiled: Path) -> Iterator[str]:
    """Where the page is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=compiled)) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def service(origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service that admits the origin of the page, with the demonstration study and one without data."""
    url = with_tables(f"sqlite:///{tmp_path_factory.mktemp('service') / 'x.db'}")
    with running(url, CORS_ORIGINS=origin) as process:
        for study in ("demo", "empty"):
            declared = {"name": study, "protocol": "seed-2008"}
            assert process.ask("PUT", f"/v1/studies/{study}", declared)[0] == 201
        sent = process.ask("POST", "/v1/studies/demo/timelines", json.loads(TIMELINES.read_bytes()))
        assert sent[0] == 200, sent
        yield process


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page on which no error may occur."""
    faults: list[str] = []
    with browser.new_context() as context:
        opened = context.new_page()
        opened.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("request", lambda sent: None if "//127.0.0.1:" in sent.url else faults.append(sent.url))
        opened.faults = faults
        yield opened


def said(page: Any) -> str:
    """What the page says, once it has an answer."""
    loading = page.get_by_role("status")
    loading.filter(has_not_text="loading").wait_for()
    return str(loading.text_content())


def test_the_page_has_about_sixty_lines_and_no_dependency():
    text = (PAGE / "curve.ts").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 65
    assert [line for line in text.splitlines() if "import" in line] == ['import type { components } from "./api.js"']


def test_the_curve_is_drawn_from_day_0_with_its_band_and_its_censor_ticks(page, origin, service):
    page.goto(f"{origin}/?service=http://127.0.0.1:{service.port}")
    assert said(page).endswith("Median: 334.5 days.")
    [result] = json.loads(service.ask("GET", "/v1/studies/demo/analyses/ck-normal-time")[1])["results"]
    curve = result["curve"]
    points = [tuple(map(float, each.split(","))) for each in page.locator(".steps").get_attribute("points").split()]
    (left, top), (right, _) = points[0], points[-1]
    (bottom,) = page.locator("path").last.evaluate_all(
        "found => found.map((each) => each.getBBox().y + each.getBBox().height)"
    )
    last = max(each["time"] for each in curve[-1]["censorings"])
    drawn = [((x - left) / (right - left) * last, (bottom - y) / (bottom - top)) for x, y in points]
    times = [row["time"] for row in curve]
    steps = zip(times, [*times[1:], last], [row["survival"] for row in curve], strict=True)
    expected = [pair for begin, end, survival in steps for pair in ((begin, survival), (end, survival))]
    assert drawn == [pytest.approx(pair, abs=1e-9) for pair in expected]
    assert page.locator(".censored").count() == sum(len(row["censorings"]) for row in curve) == 5
    bands = page.locator(".band").evaluate_all("found => found.map((each) => Number(each.getAttribute('height')))")
    assert bands == [pytest.approx((row["high"] - row["low"]) * (bottom - top)) for row in curve]
    assert page.faults == []


def test_a_study_without_data_is_said_to_have_no_curve(page, origin, service):
    page.goto(f"{origin}/?service=http://127.0.0.1:{service.port}&study=empty")
    assert said(page) == "No patient of this study had a normal CK yet."
    assert page.locator("#curve *").count() == 0
    assert page.faults == []


@pytest.mark.parametrize(
    ("query", "says"),
    [("study=none", "The service answered 404."), ("study=a%2Fb", "The service answered 400.")],
)
def test_a_refusal_is_said(page, origin, service, query, says):
    page.goto(f"{origin}/?service=http://127.0.0.1:{service.port}&{query}")
    assert said(page) == says


def test_a_page_of_another_origin_may_not_read_the_answer(page, origin, service):
    page.goto(f"{origin.replace('127.0.0.1', 'localhost')}/?service=http://127.0.0.1:{service.port}")
    assert said(page) == "The service cannot be reached."
