"""Several processes that serve one address. They share the listening socket, the database and the secret file.

The parent binds the address, starts the workers, starts a new one for each that dies, and stops all when it is asked
to: each finishes its open requests first. If the parent dies, its workers stop. Each process has its own caches, limits
and metrics; rates are counted together, and nothing that a client keeps (cursor, ETag, session) belongs to one of them.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from app.api.server import GRACE_SECONDS, run
from app.log import log_to_stdout
from app.settings import Settings

MakeApp = Callable[[Settings], FastAPI]
SHORT_LIFE_SECONDS = 5.0
"""A worker that dies sooner is replaced after a second."""
log = logging.getLogger("myoresponse")


def run_workers(make_app: MakeApp, settings: Settings) -> int:
    """Serve with several processes until stopped. The exit code, if no signal ended it."""
    log_to_stdout(settings.log)
    listening = bound(settings)
    return ServingProcesses(make_app, settings, listening).run()


def bound(settings: Settings) -> socket.socket:
    """The socket that all workers listen on. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=2048)


class ServingProcesses:
    """The parent of the workers."""

    def __init__(self, make_app: MakeApp, settings: Settings, listening: socket.socket) -> None:
        self._make_app = make_app
        self._settings = settings
        self._listening = listening
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[BaseProcess, float] = {}
        self._signal: int | None = None
        self._woken, self._wake = socket.socketpair()

    def run(self) -> int:
        """Watch over the workers until a signal arrives."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._noted)
        for place in range(self._settings.workers):
            self._start(first=place == 0)
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

    def _start(self, *, first: bool = False) -> None:
        worker = self._context.Process(
            target=_serve, args=(self._make_app, self._settings, self._listening, first), name="worker"
        )
        worker.start()
        self._workers[worker] = time.monotonic()

    def _replace_dead(self) -> int:
        """Start a worker for each that has died. The exit code if none can be started, else 0."""
        for worker, began in list(self._workers.items()):
            if worker.exitcode is None or self._signal is not None:
                continue
            del self._workers[worker]
            lived = time.monotonic() - began
            if worker.exitcode == STARTUP_FAILURE:
                return STARTUP_FAILURE
            log.warning("event=worker status=died exit=%d lived_s=%.1f", worker.exitcode, lived)
            if lived < SHORT_LIFE_SECONDS:
                time.sleep(1)
            self._start()
        return 0

    def _stop(self) -> None:
        """Stop all workers. They have `GRACE_SECONDS` for open requests."""
        self._listening.close()
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
