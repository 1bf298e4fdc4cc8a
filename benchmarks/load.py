"""Clients that ask a server at once, each again as soon as it has its answer; the same ones for every server."""

import asyncio
import time
from collections.abc import Iterator
from typing import Self

import httptools
import uvloop

from benchmarks.pairs import Load


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """The bytes of a request with JSON, or without a body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Wire(asyncio.Protocol):
    """A connection that is kept open, with one request at a time. asyncio and httptools call it by names of theirs."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[None] | None = None
        self._body = b""
        self._stays_open = True
        self.closed = False

    @classmethod
    async def opened(cls, port: int) -> Self:
        """A new connection."""
        _, wire = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return wire

    async def ask(self, sent: bytes) -> int:
        """Send a request; the status of its answer."""
        self._answered = asyncio.get_running_loop().create_future()
        self._body = b""
        self._transport.write(sent)
        await self._answered
        status = self._parser.get_status_code()
        if status >= 300:
            raise ConnectionError(f"{sent[:200]!r}: {status} {self._body[:500]!r}")
        if not self._stays_open:
            self.close()
        return status

    def close(self) -> None:
        """Ask no more."""
        self.closed = True
        self._transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body[:500]

    def on_message_complete(self) -> None:
        self._stays_open = self._parser.should_keep_alive()  # only here the parser knows
        self._answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._answered and not self._answered.done():
            self._answered.set_exception(ConnectionError(f"the server closed a connection before its answer: {exc}"))


def loaded(port: int, seconds: float, **kinds: list[Iterator[bytes]]) -> dict[str, Load]:
    """What the clients of each kind see in so many seconds; a client is an iterator over its requests.

    At least one request is made, and what began in time is finished: a server has stored exactly what was answered.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_together(port, seconds, kinds))
    except ConnectionError as error:
        raise SystemExit(str(error)) from error


async def _together(port: int, seconds: float, kinds: dict[str, list[Iterator[bytes]]]) -> dict[str, Load]:
    latencies: dict[str, list[float]] = {kind: [] for kind in kinds}
    began = time.perf_counter()
    ends = await asyncio.gather(
        *(_client(port, each, began + seconds, latencies[kind]) for kind, clients in kinds.items() for each in clients)
    )
    return {kind: Load(max(ends) - began, found) for kind, found in latencies.items()}


async def _client(port: int, requests: Iterator[bytes], until: float, latencies: list[float]) -> float:
    """Ask until it is time; when the last answer came."""
    wire = await Wire.opened(port)
    try:
        while (began := time.perf_counter()) < until or not latencies:
            if wire.closed:
                wire = await Wire.opened(port)
            await wire.ask(next(requests))
            latencies.append(time.perf_counter() - began)
    finally:
        wire.close()
    return time.perf_counter()
