"""The server process: it listens, prints what to try first, and finishes open requests before it stops."""

import gc
import logging
import signal
import socket
import sys
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app import __version__
from app.api.connections import limited
from app.api.home import first_steps
from app.http.authentication import who_is_asked
from app.log import log_to_stdout, switched
from app.settings import Settings
from app.store.engine import kind_of
from app.store.tables import SCHEMA_REVISION

GRACE_SECONDS = 25
YOUNG_OBJECTS = 20_000
"""After so many new objects the garbage collector looks at them. A hundred results are 700 objects, the number that
Python has by itself: then it would look at each timeline once or twice, and find nothing.
"""
log = logging.getLogger("myoresponse")


class Server(uvicorn.Server):
    """The server. It logs its start and its end, and prints what to try first when it begins to listen."""

    def __init__(self, config: uvicorn.Config, settings: Settings, app: FastAPI, says_what_to_try: bool) -> None:
        super().__init__(config)
        self._app = app
        self._says_what_to_try = says_what_to_try and settings.log == "text"
        self._settings = settings
        self._began = time.monotonic()
        self._reason = "-"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            log.info(
                "event=start service=http version=%s database=%s tables=%s address=%s pseudonyms=%s "
                "unauthenticated=%s cors=%s cache_bytes=%d",
                __version__,
                kind_of(self._settings.database_url),
                SCHEMA_REVISION,
                self.address(),
                switched(self._settings.secret is not None),
                switched(self._settings.allow_unauthenticated),
                switched(bool(self._settings.origins)),
                self._settings.cache_bytes,
            )
            if self._says_what_to_try:
                steps = first_steps(self.address(), with_key=self._settings.asks_for_keys)
                sys.stdout.write(f"\n{who_is_asked(self._settings)}\n")
                sys.stdout.write("\nTry:\n" + "".join(f"  {command}\n" for _, command in steps))
                sys.stdout.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop because of a signal."""
        self._reason = signal.Signals(sig).name
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish open requests and stop. Clients that follow a study are sent away first: they would not end."""
        self._app.state.live.end()
        await super().shutdown(sockets)
        log.info(
            "event=stop service=http reason=%s uptime_s=%.1f requests=%d",
            self._reason,
            time.monotonic() - self._began,
            self.server_state.total_requests,
        )

    def address(self) -> str:
        """The address where it listens. If the port is set to 0, this has the port that the system chose."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        bracketed = f"[{host}]" if ":" in host else host
        return f"http://{bracketed}:{port}{self._settings.root_path}"


def run(
    app: FastAPI, settings: Settings, listening: socket.socket | None = None, *, says_what_to_try: bool = True
) -> None:
    """Serve until stopped, at the address of the settings or on a socket that another process has bound.

    The access log of uvicorn is off: it would write addresses, which contain identifiers of patients.
    """
    log_to_stdout(settings.log)
    gc.set_threshold(YOUNG_OBJECTS)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        http=limited(settings.head_timeout_seconds, settings.connections),
        ws="none",
        timeout_keep_alive=settings.idle_timeout_seconds,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    Server(config, settings, app, says_what_to_try).run(None if listening is None else [listening])
