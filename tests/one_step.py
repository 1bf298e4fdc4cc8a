"""The test client gets each answer in one step.

Starlette's crosses to the event loop and back eight times for a request, so that an answer can be read while it is
written. That takes longer than most requests, and only `TestClient.stream` needs it.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
from starlette.testclient import TestClient, _TestClientTransport

_send, _in_parts = TestClient.send, _TestClientTransport.handle_request


def install() -> None:
    """Let every test client do so."""
    TestClient.send, _TestClientTransport.handle_request = _sent, _answered  # type: ignore[method-assign]


def _sent(client: TestClient, request: httpx2.Request, *, stream: bool = False, **more: Any) -> httpx2.Response:
    request.extensions = {**request.extensions, "in_parts": stream}
    return _send(client, request, stream=stream, **more)


class _Body(httpx2.AsyncByteStream):
    """The body of a request, which is read when the application asks for it."""

    def __init__(self, request: httpx2.Request) -> None:
        self.request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.request.read()


def _answered(transport: _TestClientTransport, request: httpx2.Request) -> httpx2.Response:
    if request.extensions["in_parts"]:
        return _in_parts(transport, request)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        ended = False

        async def noted(message: Any) -> None:
            nonlocal ended
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        await transport.app({**scope, "state": transport.app_state.copy()}, receive, noted)
        if not ended:  # a file that breaks has no end
            await send({"type": "http.response.body"})

    async def whole() -> httpx2.Response:
        asked = httpx2.ASGITransport(app, transport.raise_server_exceptions, transport.root_path, transport.client)
        sent = httpx2.Request(request.method, request.url, headers=request.headers, stream=_Body(request))
        answer = await asked.handle_async_request(sent)
        content = b"".join([part async for part in answer.aiter_raw()])
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=httpx2.ByteStream(content))

    with transport.portal_factory() as portal:
        return portal.call(whole)
