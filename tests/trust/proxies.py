"""Proxies in front of servers, as small as they can be."""

import asyncio
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Self


class LoopbackProxy(ABC):
    """Listens on a port of its own inside a `with` block, in a thread. What it does with a connection is its kind's."""

    def __init__(self) -> None:
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    @abstractmethod
    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""


class Balancer(LoopbackProxy):
    """Passes the bytes of each connection to one of these ports, in turns, for as long as both ends are there: to the
    next one that accepts it. What a server that dies had begun to answer is cut; nothing is sent to another one a
    second time.
    """

    def __init__(self, ports: list[int]) -> None:
        super().__init__()
        self.ports = ports
        """The ports now: whoever starts a server again puts its new one here."""
        self.passed = [0] * len(ports)
        self._next = 0

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            there, back = await self._accepted()
            await asyncio.gather(_pass(reader, back), _pass(there, writer))

    async def _accepted(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the next server that accepts one. It is tried for ten seconds."""
        for attempt in range(100 * len(self.ports)):
            place = self._next = (self._next + 1) % len(self.ports)
            with suppress(OSError):
                found = await asyncio.open_connection("127.0.0.1", self.ports[place])
                self.passed[place] += 1
                return found
            await asyncio.sleep(0.1 * (attempt % len(self.ports) == 0))
        raise ConnectionRefusedError


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass on what comes until there is no more, and close the other end."""
    with suppress(OSError):
        while part := await source.read(65_536):
            target.write(part)
            await target.drain()
    target.close()
