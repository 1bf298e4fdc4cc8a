"""The operations of a room, with the checks that all operations share."""

import threading
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match, compile_path, get_name
from starlette.types import Scope

from app.http.authentication import authorised
from app.http.dependencies import only_known_parameters
from app.http.problems import no_search_as_resource


async def _checked(request: Request) -> None:
    """The checks of every operation as one dependency: FastAPI needs longer to call one than each of them takes."""
    await authorised(request)
    await no_search_as_resource(request)
    await only_known_parameters(request)


ON_EVERY_OPERATION = (Depends(_checked),)
_BUILDING = threading.RLock()


class Operation(APIRoute):
    """A route that is built when it is used for the first time. Until then it has only what finds it: to read the
    parameters of all operations takes FastAPI longer than everything else at a start.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:  # noqa: ANN401 - as `APIRoute`
        self._declared = (path, endpoint, more)
        self.path = path
        self.endpoint = endpoint
        self.name = more.get("name") or get_name(endpoint)
        self.methods = {method.upper() for method in more.get("methods") or ("GET",)}
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        self.end = path.rpartition("}")[2]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As in `APIRoute`, after a look at the end of the address: most operations end otherwise."""
        if not scope["path"].endswith(self.end):
            return Match.NONE, {}
        return super().matches(scope)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - an attribute of `APIRoute`
        with _BUILDING:  # the description of the API is written in a thread
            declared = self.__dict__.pop("_declared", None)
            if declared is not None:
                path, endpoint, more = declared
                try:
                    # A file in a form would be written to a temporary file.
                    super().__init__(path, endpoint, form_limits={"max_files": 0}, **more)
                except BaseException:
                    self._declared = declared  # so that the next use builds it
                    raise
            if name in self.__dict__:
                return self.__dict__[name]
        raise AttributeError(name)


class Operations(APIRouter):
    """A router whose operations are complete when they are declared: the application takes its routes as they are.

    A router that is included builds each of its operations a second time, and looks for each address twice.
    """

    def __init__(self, route_class: type[Operation] = Operation, **more: Any) -> None:  # noqa: ANN401 - as `APIRouter`
        super().__init__(
            dependencies=ON_EVERY_OPERATION, default_response_class=Response, route_class=route_class, **more
        )
