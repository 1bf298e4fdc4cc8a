"""One sender's connection: a message, its acknowledgement, the next message.

The next frame is looked at only after the last acknowledgement has been handed to the network. What a sender sends
meanwhile waits in the buffers of the network, so that a fast sender costs no memory and its messages keep their order.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from app.errors import Busy
from app.hl7v2.message_handler import MessageHandler
from app.hl7v2.mllp_framing import BrokenFraming, Frames, framed
from app.log import places

PART = 65_536
FAREWELL_SECONDS = 2.0
"""How long the other side may take to agree that the connection is closed; nothing depends on it any more."""
Result = TypeVar("Result")
log = logging.getLogger("myoresponse")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sender may ask of us.

    `largest` is bytes of a message; `patience` the seconds that a frame may take from its first byte to its last, an
    acknowledgement to be sent, or TLS to begin; `idle` the seconds of silence between two messages.
    """

    largest: int
    patience: float
    idle: float


class Over(Exception):
    """The conversation has ended; the text is the reason in a word."""


class Connection:
    """The conversation with one sender, whose messages are answered by the handler in the thread of `worker`.

    While `working`, a whole message has arrived and its acknowledgement is not sent yet: `serve` must not be cancelled
    then, and ends by itself after `stop`.
    """

    def __init__(self, sender: str, handler: MessageHandler, worker: Executor, limits: Limits) -> None:
        self.sender = sender
        self.working = False
        self._stopped = False
        self._handler = handler
        self._worker = worker
        self._limits = limits
        self._frames = Frames(limits.largest)

    def stop(self) -> None:
        """Take no further message."""
        self._stopped = True

    async def serve(self, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
        """Answer messages until either side ends the conversation."""
        try:
            reader, writer = await self._streams(accepted, context)
        except OSError:
            accepted.close()
            log.warning("event=turned-away sender=%s why=handshake", self.sender)
            return
        answered = 0
        end = "stopped"
        try:
            while not self._stopped:
                content = await self._next(reader)
                self.working = True
                await self._send(writer, await self._ask(partial(self._handler.answers, content, self.sender)))
                self.working = False
                answered += 1
        except Over as reason:
            end = str(reason)
        except Exception as error:
            end = "failure"
            self._note(error)
        finally:
            log.info("event=connection sender=%s messages=%d end=%s", self.sender, answered, end)
            await self._close(writer)

    async def _streams(
        self, accepted: socket.socket, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The two directions of the connection, after the handshake where there is one."""
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a sender that lost its power never leaves
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(PART)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            accepted,
            ssl=context,
            ssl_handshake_timeout=self._limits.patience if context else None,
            ssl_shutdown_timeout=FAREWELL_SECONDS if context else None,
        )
        transport.set_write_buffer_limits(1)  # drained: the network has it; with 0 asyncio never resumes under TLS
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        """The content of the next frame.

        Silence may last for the idle time; once something has come, the end of a frame must follow in time.
        """
        loop = asyncio.get_running_loop()
        until, begun = loop.time() + self._limits.idle, False
        while (content := await self._frame()) is None:
            if self._frames.begun and not begun:
                until, begun = loop.time() + self._limits.patience, True
            try:
                async with asyncio.timeout_at(until):
                    part = await reader.read(PART)
            except TimeoutError:
                raise Over("slow" if begun else "idle") from None
            except OSError:
                raise Over("lost") from None
            if not part:
                raise Over("lost" if begun else "left")
            self._frames.feed(part)
        return content

    async def _frame(self) -> bytes | None:
        """The next frame, if all of it has arrived."""
        try:
            return self._frames.next()
        except BrokenFraming as broken:
            found = broken
        if found.content:
            self.working = True
            await self._ask(partial(self._handler.keep_broken, found, self.sender))
        raise Over(f"framing-{found.code}")

    async def _ask(self, work: Callable[[], Result]) -> Result:
        """The result of the handler; if it raises, the connection is closed and the sender sends again."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except Busy:
            raise Over("busy") from None
        except Exception as error:
            self._note(error)
            raise Over("failure") from None

    async def _send(self, writer: asyncio.StreamWriter, answers: list[bytes]) -> None:
        """Hand the acknowledgements to the network."""
        try:
            writer.writelines(framed(answer) for answer in answers)
            async with asyncio.timeout(self._limits.patience):
                await writer.drain()
        except TimeoutError:
            raise Over("deaf") from None
        except OSError:
            raise Over("lost") from None

    def _note(self, error: Exception) -> None:
        log.error("event=failure type=%s at=%s sender=%s", type(error).__name__, places(error), self.sender)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        """Close the connection; what the other side does not take in time is given up."""
        writer.close()
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await writer.wait_closed()
        except OSError:  # a timeout is one
            pass
        finally:
            writer.transport.abort()
