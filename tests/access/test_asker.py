"""Who counts as one client where questions wait for their turns."""

import asyncio

import pytest
from starlette.requests import Request

from app.access.callers import LOCAL, Caller
from app.http.answers import _asker


@pytest.mark.parametrize(
    ("caller", "address", "client"),
    [
        (Caller("key:ab12cd34", frozenset(), None), "192.0.2.7", "key:ab12cd34"),
        (LOCAL, "192.0.2.7", "192.0.2.7"),
        (LOCAL, "2001:db8::1", "2001:db8::/64"),
    ],
)
def test_a_client_is_the_caller_or_without_a_name_the_address(caller, address, client):
    state = {"app_state": None, "caller": caller}
    asker = asyncio.run(_asker(Request({"type": "http", "client": (address, 5000), "state": state})))
    assert asker.client == client
