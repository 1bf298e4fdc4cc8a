"""The operations of a room, with the checks that all operations share."""

from typing import Any

from fastapi import APIRouter, Depends, Response

from app.http.authentication import authorised
from app.http.dependencies import only_known_parameters
from app.http.problems import no_search_as_resource

ON_EVERY_OPERATION = (Depends(authorised), Depends(no_search_as_resource), Depends(only_known_parameters))


class Operations(APIRouter):
    """A router whose operations are complete when they are declared: the application takes its routes as they are.

    A router that is included builds each of its operations a second time, and looks for each address twice.
    """

    def __init__(self, **more: Any) -> None:  # noqa: ANN401 - the options of `APIRouter`
        super().__init__(dependencies=ON_EVERY_OPERATION, default_response_class=Response, **more)
