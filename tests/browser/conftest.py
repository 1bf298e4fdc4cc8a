"""The pages in the system's Chromium: one service, one browser and its windows for tests in a row.

A test that opens a page fails if the console shows an error, if a request leaves the machine, or if a dialog opens.
Where there is no Chromium, the tests are skipped and say so.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_server import Process, running
from tests.browser.studies import fill
from tests.tables import with_tables

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs a browser, and takes its time."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip("no Chromium: none of chromium, chromium-browser and $CHROMIUM"))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service with the studies of `studies.py`."""
    url = with_tables(f"sqlite:///{tmp_path_factory.mktemp('site') / 'x.db'}")
    with running(url, COMPUTE_WORKERS="1") as service:
        fill(service)
        yield service


class Windows:
    """The windows of one browser, with and without scripts. They are used again, because a new one takes time."""

    def __init__(self, browser: Any, home: str) -> None:
        self.faults: list[str] = []
        self._home = home
        self._idle: dict[bool, list[Any]] = {True: [], False: []}
        self._contexts = {
            script: browser.new_context(base_url=home, java_script_enabled=script, reduced_motion="reduce")
            for script in (True, False)
        }

    def take(self, script: bool) -> Any:
        """A window that nobody uses."""
        return self._idle[script].pop() if self._idle[script] else self._new(script)

    def give_back(self, script: bool, page: Any) -> None:
        """Empty a window for the next test, so that the page in it ends what it does."""
        page.goto("about:blank")
        self._idle[script].append(page)

    def _new(self, script: bool) -> Any:
        page = self._contexts[script].new_page()
        page.set_default_timeout(60_000)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: (self.faults.append("a dialog"), dialog.dismiss()))
        page.on("request", self._asked)
        return page

    def _heard(self, said: Any) -> None:
        """The browser calls it an error that a page of a refusal has the status of the refusal."""
        if said.type == "error" and "the server responded with a status of 4" not in said.text:
            self.faults.append(said.text)

    def _asked(self, sent: Any) -> None:
        if not sent.url.startswith((f"{self._home}/", "data:", "blob:")):
            self.faults.append(sent.url)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium without a screen. While it is there, an event loop runs in this thread: other tests could begin none."""
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="package")
def windows(site: Process, browser: Any) -> Windows:
    """The windows of all tests."""
    return Windows(browser, f"http://127.0.0.1:{site.port}")


Open = Callable[..., Any]
"""Opens a page: `opened("/v1/studies/demo.html", width=390, script=False)`. Without an address, the test goes on."""


@pytest.fixture
def opened(windows: Windows) -> Iterator[Open]:
    """Opens pages, and checks at the end of the test what happened on them."""
    used = []
    windows.faults.clear()

    def opening(path: str = "", *, width: int = 1440, script: bool = True) -> Any:
        page = windows.take(script)
        used.append((script, page))
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="light", media="screen")
        if path:
            page.goto(path)
        return page

    yield opening
    for each in used:
        windows.give_back(*each)
    assert not windows.faults, windows.faults
