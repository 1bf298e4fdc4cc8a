"""Pages are asked of the applications that the tests of the API and of the keys use."""

import pytest

from app.pages import overview, question
from tests.access.conftest import service, start, url
from tests.api.conftest import anywhere, client, serve
from tests.journeys.conftest import demo

__all__ = ["anywhere", "client", "demo", "serve", "service", "start", "undrawn", "url"]


@pytest.fixture
def undrawn(monkeypatch):
    """Pages without their charts: to draw them takes seconds, and the tests of the charts do it."""

    async def none(*_):
        return []

    for page in (overview, question):
        monkeypatch.setattr(page, "pictures", none)
