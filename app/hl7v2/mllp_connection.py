"""One sender's connection: a message, its acknowledgement, the next message.

The next frame is read only after the last acknowledgement has been handed to the network. Messages that a sender sends
meanwhile wait in the buffers of the network: a fast sender needs no memory here, and its messages keep their order.
"""

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from app.errors import Busy
from app.hl7v2.message_handler import MessageHandler
from app.hl7v2.mllp_framing import BrokenFraming, Frames, framed
from app.log import places

PART = 65_536
NO_CERTIFICATE, NOT_ALLOWED, NO_ROOM = 401, 403, 503
"""The statuses of senders that are turned away, in the audit."""
CLOSE_SECONDS = 2.0
"""How long the other side may take to close the connection; no message depends on it any more."""
Result = TypeVar("Result")
log = logging.getLogger("myoresponse")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a connection.

    `largest` is the greatest size of a message in bytes. `patience` is the time in seconds for a frame from its first
    byte to its last, for sending an acknowledgement, and for starting TLS. `idle` is the greatest time in seconds
    between two messages.
    """

    largest: int
    patience: float
    idle: float


def certificate_names(certificate: Mapping[str, Any] | None) -> list[str]:
    """The names of the subject of a certificate that was verified: its common name, then its DNS names."""
    if not certificate:
        return []
    parts = [part for group in certificate.get("subject", ()) for part in group]
    common = [value for kind, value in parts if kind == "commonName"]
    return [*common, *(value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS")]


class ConnectionEnd(Exception):
    """The connection must be closed; the text is the reason in one word. `why` says more, in one word."""

    def __init__(self, reason: str, why: str = "") -> None:
        super().__init__(reason)
        self.why = why


def handshake_fault(error: OSError) -> str:
    """Why TLS could not begin, in one word: as OpenSSL names it, and for a certificate also what is wrong with it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        named = f"certificate_{error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        named = error.reason or "tls"
    else:  # asyncio: nothing came in time
        named = "timeout" if isinstance(error, ConnectionAbortedError) else "disconnected"
    return re.sub(r"[^a-z0-9]+", "_", named.lower()).strip("_")


class Connection:
    """The connection of one sender; the handler answers its messages in the thread of `worker`.

    `client` names the sender in the ledger: by the name of its certificate that may send, else by its address.
    `accepted` says which of the names of a certificate may send: `None` if it is refused. While `working` is true, a
    complete message has arrived and its acknowledgement is not sent yet: `serve` must not be cancelled then. It ends
    by itself after `stop`.
    """

    def __init__(
        self,
        sender: str,
        handler: MessageHandler,
        worker: Executor,
        limits: Limits,
        accepted: Callable[[Sequence[str]], Sequence[str] | None],
    ) -> None:
        self.sender = sender
        self.client = f"mllp:{sender}"
        self._accepted = accepted
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
        """Answer messages until either side ends the connection."""
        try:
            reader, writer = await self._streams(accepted, context)
        except OSError as error:
            accepted.close()
            log.warning("event=turned-away sender=%s why=handshake tls=%s", self.sender, handshake_fault(error))
            self._handler.note(self.sender, None, NO_CERTIFICATE)
            return
        names = certificate_names(writer.get_extra_info("peercert"))
        accepted_names = self._accepted(names)
        if accepted_names is None:
            log.warning("event=turned-away sender=%s why=subject", self.sender)
            self._handler.note(self.sender, f"mllp:{names[0]}" if names else None, NOT_ALLOWED)
            await self._close(writer)
            return
        self.client = f"mllp:{accepted_names[0]}" if accepted_names else self.client
        answered = 0
        end, why = "stopped", ""
        try:
            while not self._stopped:
                content = await self._next(reader)
                self.working = True
                await self._send(
                    writer, await self._run(partial(self._handler.answers, content, self.sender, self.client))
                )
                self.working = False
                answered += 1
        except ConnectionEnd as reason:
            end, why = str(reason), f" why={reason.why}" if reason.why else ""
        except Exception as error:
            end = "failure"
            self._log_failure(error)
        finally:
            log.info("event=connection sender=%s messages=%d end=%s%s", self.sender, answered, end, why)
            await self._close(writer)

    async def _streams(
        self, accepted: socket.socket, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The two directions of the connection, after the TLS handshake if there is one."""
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # to notice a sender that lost its power
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(PART)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            accepted,
            ssl=context,
            ssl_handshake_timeout=self._limits.patience if context else None,
            ssl_shutdown_timeout=CLOSE_SECONDS if context else None,
        )
        # So that drain() waits for the network; with 0 asyncio never resumes under TLS.
        transport.set_write_buffer_limits(1)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        """The content of the next frame.

        Silence may last for `idle` seconds; after the first byte, the frame must end within `patience` seconds.
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
                raise self._end_within("slow") if begun else ConnectionEnd("idle") from None
            except OSError:
                raise self._end_within("lost") from None
            if not part:
                raise self._end_within("lost") if begun else ConnectionEnd("left")
            self._frames.feed(part)
        return content

    async def _frame(self) -> bytes | None:
        """The content of the next frame; `None` if it is not complete."""
        try:
            return self._frames.next()
        except BrokenFraming as error:
            broken = error
        if broken.content:
            self.working = True
            await self._run(partial(self._handler.keep_broken, broken, self.sender, self.client))
        raise ConnectionEnd(f"framing-{broken.code}", broken.why)

    def _end_within(self, reason: str) -> ConnectionEnd:
        """The end of a connection whose last frame is not complete, if one has begun."""
        return ConnectionEnd(reason, self._frames.why_incomplete if self._frames.begun else "")

    async def _run(self, work: Callable[[], Result]) -> Result:
        """The result of the handler; if it raises, the connection is closed and the sender sends again."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except Busy as busy:
            raise ConnectionEnd(busy.cause or "busy") from None
        except Exception as error:
            self._log_failure(error)
            raise ConnectionEnd("failure") from None

    async def _send(self, writer: asyncio.StreamWriter, answers: list[bytes]) -> None:
        """Hand the acknowledgements to the network."""
        try:
            writer.writelines(framed(answer) for answer in answers)
            async with asyncio.timeout(self._limits.patience):
                await writer.drain()
        except TimeoutError:
            raise ConnectionEnd("deaf") from None
        except OSError:
            raise ConnectionEnd("lost") from None

    def _log_failure(self, error: Exception) -> None:
        log.error("event=failure type=%s at=%s sender=%s", type(error).__name__, places(error), self.sender)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        """Close the connection; bytes that the other side does not read in time are dropped."""
        writer.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await writer.wait_closed()
        except OSError:  # a timeout is one
            pass
        finally:
            writer.transport.abort()
