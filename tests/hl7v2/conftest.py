"""A listener on a port of its own, with an intake that the test decides about."""

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from app.errors import Fault, FaultCode
from app.hl7v2.message_handler import MessageHandler
from app.hl7v2.mllp_connection import Limits
from app.hl7v2.mllp_framing import Frames, framed
from app.hl7v2.mllp_listener import Listener
from app.hl7v2.submit import Reply
from app.store.audit import AuditEntry
from app.submission.dead_letters import DeadLetters, LetterKeys

WAIT = 30
KEYS = LetterKeys("a secret of thirty-two characters", lambda: b"root" * 8)
FAULTS = (Fault("OBX[2]-6", FaultCode.UNKNOWN_UNIT),)


def reply(message: bytes, code: str = "AA") -> Reply:
    """An acknowledgement that names what it acknowledges."""
    return Reply(code.encode() + b" " + message, code, () if code == "AA" else FAULTS, None, {})


def until(true: Callable[[], bool]) -> None:
    """Wait for what nobody tells us of."""
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Sender:
    """A sender's end of a connection."""

    def __init__(self, port: int, wrap: Callable[[socket.socket], socket.socket] | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
        self.socket = wrap(plain) if wrap is not None else plain
        self._frames = Frames(1_000_000)

    def send(self, *messages: bytes) -> None:
        """Send messages, not waiting for an answer."""
        self.socket.sendall(b"".join(map(framed, messages)))

    def answer(self) -> bytes | None:
        """The next acknowledgement; `None` where the listener has closed the connection instead."""
        while (found := self._frames.next()) is None:
            try:
                part = self.socket.recv(65_536)
            except (ConnectionError, ssl.SSLError):
                return None
            if not part:
                return None
            self._frames.feed(part)
        return found

    def ask(self, message: bytes) -> bytes | None:
        """The acknowledgement of a message; `None` where the connection is closed instead."""
        with suppress(ConnectionError, ssl.SSLError):
            self.send(message)
        return self.answer()

    def has_answer(self, within: float) -> bool:
        """Whether anything comes within so many seconds."""
        self.socket.settimeout(within)
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(WAIT)


class Running:
    """A listener in a thread, with the loop that it runs in."""

    def __init__(self, listener: Listener, listening: socket.socket) -> None:
        self.port = listening.getsockname()[1]
        self._stack = ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        begun = threading.Event()

        async def run() -> None:
            self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
            begun.set()
            await listener.run(listening, self._stopping)

        self.thread = threading.Thread(target=lambda: asyncio.run(run()))
        self.thread.start()
        begun.wait(WAIT)

    def sender(self, wrap: Callable[[socket.socket], socket.socket] | None = None) -> Sender:
        """A new sender."""
        found = Sender(self.port, wrap)
        self._stack.callback(found.socket.close)
        return found

    def stop(self) -> None:
        """Ask the listener to stop."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    def end(self) -> None:
        """Stop, and wait until it has."""
        if self.thread.is_alive():
            self.stop()
        self._stack.close()
        self.thread.join(WAIT)
        assert not self.thread.is_alive()


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    """An empty directory of dead letters."""
    letters = DeadLetters(tmp_path / "letters", KEYS)
    letters.prepare()
    return letters


@pytest.fixture
def listen(letters: DeadLetters) -> Iterator[Callable[..., Running]]:
    """Start a listener whose messages a function of the test takes."""
    with ExitStack() as running:

        def start(
            take: Callable[[bytes], Reply] = reply,
            *,
            largest: int = 1_000,
            patience: float = WAIT,
            idle: float = WAIT,
            most: int = 4,
            record: Callable[[AuditEntry], object] = lambda row: None,
            may_send: Callable[[str], bool] = lambda address: True,
            **more: object,
        ) -> Running:
            desk = MessageHandler("ward7", lambda message, client: take(message), letters, record)
            listener = Listener(desk, Limits(largest, patience, idle), most=most, may_send=may_send, **more)
            found = Running(listener, socket.create_server(("127.0.0.1", 0)))
            running.callback(found.end)
            return found

        yield start


class Gate:
    """An intake that says when it has begun with a message and goes on when it is told to."""

    def __init__(self, code: str = "AA") -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.taken: list[bytes] = []
        self._code = code

    def take(self, message: bytes) -> Reply:
        """Take a message, after having been told to."""
        self.begun.release()
        assert self.go_on.acquire(timeout=WAIT)
        self.taken.append(message)
        return reply(message, self._code)

    def wait(self) -> None:
        """Wait until a message has come in."""
        assert self.begun.acquire(timeout=WAIT)


@contextmanager
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """What the service writes into its log meanwhile."""
    with caplog.at_level(logging.INFO, "myoresponse"):
        yield lambda: "\n".join(record.getMessage() for record in caplog.records)
