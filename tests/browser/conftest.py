"""The pages in the system's Chromium: one service and one browser for all tests of a process.

A test that opens a page fails if the console shows an error, if a request leaves the machine, or if the page is wider
than its window. Where there is no Chromium, the tests are skipped and say so.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.store import migrations
from tests.api.test_server import ROOT, Process, environment, running

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
HARMFUL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'{{7*7}}"
"""A text that does something wherever it is not escaped."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs a browser, and takes its time."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip("no Chromium: none of chromium, chromium-browser and $CHROMIUM"))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service with the demonstration study, one without data (`empty`), one with two patients (`pair`) and one whose
    every text is harmful (`harmful`).
    """
    url = f"sqlite:///{tmp_path_factory.mktemp('site') / 'x.db'}"
    migrations.upgrade(url)
    subprocess.run([sys.executable, "-m", "app", "demo"], cwd=ROOT, env=environment(url), check=True)
    with running(url) as service:
        for study, name in (("empty", "Without data"), ("pair", "Two patients"), ("harmful", HARMFUL)):
            _put(service, study, name)
        demo = [_read(service, f"/v1/studies/demo/patients/P0{number}") for number in (1, 2)]
        for timeline in demo:
            _post(service, "pair", timeline)
        first = demo[0] | {"adverse_events": [{"id": "e1", "onset": "2005-04-12", "term": HARMFUL, "serious": False}]}
        _post(service, "harmful", first)
        yield service


def _put(service: Process, study: str, name: str) -> None:
    assert service.ask("PUT", f"/v1/studies/{study}", {"name": name, "protocol": "seed-2008"})[0] == 201


def _read(service: Process, path: str) -> Any:
    return json.loads(service.ask("GET", path)[1])


def _post(service: Process, study: str, timeline: dict[str, Any]) -> None:
    patient = timeline["patient"]["id"]
    status, answer = service.ask("POST", f"/v1/studies/{study}/patients/{patient}/events", timeline)
    assert status == 201, answer


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


Open = Callable[..., Any]
"""Opens a page: `opened("/v1/studies/demo.html", width=390, dark=True, script=False)`."""


@pytest.fixture
def opened(site: Process, browser: Any) -> Iterator[Open]:
    """Opens pages, and checks at the end of the test what happened on them."""
    contexts, faults = [], []
    home = f"http://127.0.0.1:{site.port}"
    own = (f"{home}/", "data:", "blob:")

    def watch(page: Any) -> None:
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" and not _expected(said) else 0)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda sent: None if sent.url.startswith(own) else faults.append(sent.url))

    def opening(path: str, *, width: int = 1440, dark: bool = False, script: bool = True) -> Any:
        context = browser.new_context(
            base_url=home,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        watch(page)
        page.goto(path)
        return page

    yield opening
    for context in contexts:
        context.close()
    assert not faults, faults


def _expected(said: Any) -> bool:
    """The browser calls it an error that a page of a refusal has the status of the refusal."""
    return "the server responded with a status of 4" in said.text
