"""The server process: it listens, says what to try, and stops without dropping what it has begun."""

import socket
import sys

import uvicorn
from fastapi import FastAPI

from app.api.home import first_steps
from app.log import log_to_stdout
from app.settings import Settings

GRACE_SECONDS = 25


class Server(uvicorn.Server):
    """The server, which prints what to try once it listens."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            sys.stdout.write("\nTry:\n" + "".join(f"  {command}\n" for _, command in first_steps(self.address())))
            sys.stdout.flush()

    def address(self) -> str:
        """Where it listens, with the port that the system chose where 0 was asked for."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        named = f"[{host}]" if ":" in host else host
        return f"http://{named}:{port}{self._settings.root_path}"


def run(app: FastAPI, settings: Settings) -> None:
    """Serve until stopped. The server's own access log is off: it would write addresses, and patients are named in
    them.
    """
    log_to_stdout()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    Server(config, settings).run()
