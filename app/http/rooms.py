"""The rooms of the application that are loaded when somebody asks for them."""

import gc
import threading
from collections.abc import Callable, Iterable, Iterator

from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from app.http.addresses import path_of
from app.readers.gc_pause import gc_paused

_ENTERING = threading.Lock()


class Room(BaseRoute):
    """The routes of a room. They are loaded, and stand in its place, when an address below `prefix` is first asked for.

    So a process serves before it has read all of its code, and what nobody asks for takes no memory.
    """

    def __init__(self, prefix: str, load: Callable[[], Iterable[BaseRoute]]) -> None:
        self._prefix = prefix
        self._load = load

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the address is below the prefix; of the methods nothing is known yet."""
        below = scope["type"] == "http" and path_of(scope).startswith(self._prefix)
        return (Match.FULL if below else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Load the routes, in a thread, and let the application look for the address again."""
        await run_sync(self.enter, scope["app"])
        await scope["app"].router(scope, receive, send)

    def enter(self, app: FastAPI) -> None:
        """Put the routes in the place of this room."""
        routes = app.router.routes
        with _ENTERING:  # two threads that load what belongs together could each wait for the other
            if self in routes:
                with gc_paused():  # what is loaded stays
                    loaded = list(self._load())
                    gc.freeze()
                place = routes.index(self)
                routes[place : place + 1] = loaded


def every_route(app: FastAPI) -> Iterator[RouteContext]:
    """The routes of all rooms, which are loaded for it."""
    for room in [each for each in app.router.routes if isinstance(each, Room)]:
        room.enter(app)
    return loaded_routes(app)


def loaded_routes(app: FastAPI) -> Iterator[RouteContext]:
    """The routes of the rooms that were entered. An address that was looked for is in none of the others."""
    return iter_route_contexts([route for route in app.router.routes if not isinstance(route, Room)])
