"""Several processes that serve one address. They share the database and the secret file.

The parent binds the address, starts the workers, starts a new one for each that dies, and stops all when it is asked
to: each finishes its open requests first. If the parent dies, its workers stop. Each process has its own caches, limits
and metrics; rates are counted together, and nothing that a client keeps (cursor, ETag, session) belongs to one of them.

On Linux each worker has a socket of its own, and the system deals new connections out among them. Of one socket for
all, a worker that wakes first takes every connection that waits. The parent keeps the sockets, so that a connection
that waits for a worker that has died is answered by the next one in its place.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from app.api.server import GRACE_SECONDS, run
from app.log import log_to_stdout
from app.settings import Settings

MakeApp = Callable[[Settings], FastAPI]
BACKLOG = 2048
SHORT_LIFE_SECONDS = 5.0
"""A worker that dies sooner is replaced after a second."""
log = logging.getLogger("myoresponse")


def run_workers(make_app: MakeApp, settings: Settings) -> int:
    """Serve with several processes until stopped. The exit code, if no signal ended it."""
    log_to_stdout(settings.log)
    return ServingProcesses(make_app, settings, bound(settings)).run()


def bound(settings: Settings) -> list[socket.socket]:
    """A socket for each worker, all at the address of the settings. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    only = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    if sys.platform != "linux":
        return [only] * settings.workers
    address = only.getsockname()
    only.close()  # no other program listens there
    return [_one_of_several(family, address) for _ in range(settings.workers)]


def _one_of_several(family: int, address: tuple[Any, ...]) -> socket.socket:
    """A socket that listens at an address beside others. The system gives each connection to one of them."""
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind(address)
    made.listen(BACKLOG)
    return made


class ServingProcesses:
    """The parent of the workers."""

    def __init__(self, make_app: MakeApp, settings: Settings, sockets: list[socket.socket]) -> None:
        self._make_app = make_app
        self._settings = settings
        self._sockets = sockets
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[BaseProcess, tuple[int, float]] = {}
        """The place of each worker, and when it began."""
        self._signal: int | None = None
        self._woken, self._wake = socket.socketpair()

    def run(self) -> int:
        """Watch over the workers until a signal arrives."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._noted)
        for place in range(self._settings.workers):
            self._start(place, first=place == 0)
        code = 0
        while self._signal is None and code == 0:
            wait([self._woken, *(worker.sentinel for worker in self._workers)])
            code = self._replace_dead()
        self._stop()
        if self._signal is not None:
            signal.signal(self._signal, signal.SIG_DFL)
            signal.raise_signal(self._signal)
        return code

    def _noted(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None:  # a second signal: nobody waits any longer
            for worker in self._workers:
                worker.kill()
        self._signal = number
        self._wake.send(b"s")

    def _start(self, place: int, *, first: bool = False) -> None:
        worker = self._context.Process(
            target=_serve, args=(self._make_app, self._settings, self._sockets[place], first), name="worker"
        )
        worker.start()
        self._workers[worker] = place, time.monotonic()

    def _replace_dead(self) -> int:
        """Start a worker for each that has died. The exit code if none can be started, else 0."""
        for worker, (place, began) in list(self._workers.items()):
            if worker.exitcode is None or self._signal is not None:
                continue
            del self._workers[worker]
            lived = time.monotonic() - began
            if worker.exitcode == STARTUP_FAILURE:
                return STARTUP_FAILURE
            log.warning("event=worker status=died exit=%d lived_s=%.1f", worker.exitcode, lived)
            if lived < SHORT_LIFE_SECONDS:
                time.sleep(1)
            self._start(place)
        return 0

    def _stop(self) -> None:
        """Stop all workers. They have `GRACE_SECONDS` for open requests."""
        for each in self._sockets:
            each.close()
        for worker in self._workers:
            worker.terminate()
        until = time.monotonic() + GRACE_SECONDS + 5
        for worker in self._workers:
            worker.join(max(0.0, until - time.monotonic()))
            if worker.exitcode is None:
                worker.kill()
                worker.join()


def _serve(make_app: MakeApp, settings: Settings, listening: socket.socket, first: bool) -> None:
    """A worker."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    run(make_app(settings), settings, listening, says_what_to_try=first)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
