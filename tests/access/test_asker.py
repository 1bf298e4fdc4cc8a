"""Who counts as one client where questions wait for their turns."""

import asyncio
from types import SimpleNamespace

import pytest
from starlette.requests import Request

from app.http.answers import _asker


@pytest.mark.parametrize(
    ("caller", "client"),
    [
        (SimpleNamespace(name="key:ab12cd34"), "key:ab12cd34"),
        (SimpleNamespace(name=None), "192.0.2.7"),
        (None, "192.0.2.7"),
    ],
)
def test_a_client_is_the_caller_or_without_a_name_the_address(caller, client):
    state = {"app_state": None} | ({"caller": caller} if caller else {})
    asker = asyncio.run(_asker(Request({"type": "http", "client": ("192.0.2.7", 5000), "state": state})))
    assert asker.client == client
