"""The server process: it listens, prints what to try first, and finishes open requests before it stops."""

import socket
import sys

import uvicorn
from fastapi import FastAPI

from app.api.home import first_steps
from app.log import log_to_stdout
from app.settings import Settings

GRACE_SECONDS = 25


class Server(uvicorn.Server):
    """The server. It prints what to try first when it begins to listen."""

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
        """The address where it listens. If the port is set to 0, this has the port that the system chose."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        bracketed = f"[{host}]" if ":" in host else host
        return f"http://{bracketed}:{port}{self._settings.root_path}"


def run(app: FastAPI, settings: Settings) -> None:
    """Serve until stopped. The access log of uvicorn is off: it would write addresses, which contain identifiers of
    patients.
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
