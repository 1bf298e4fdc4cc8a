"""Whether the process lives, and whether it can serve."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app import SOFTWARE
from app.api.dependencies import State
from app.api.documentation import answers, reference, refuses
from app.api.responses import reply
from app.errors import Busy

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """How the service is."""

    status: Literal["alive", "ready"] = Field(description="`alive`, or `ready` to serve.", examples=["ready"])
    software: str = Field(description="Name and version of the service.", examples=[SOFTWARE])


@router.get(
    "/livez",
    operation_id="getLiveness",
    summary="Is the process alive?",
    responses={200: answers("It is.", reference(Health)), **refuses()},
)
async def livez() -> Response:
    """Answers whenever the process can answer at all; neither the database nor any library is asked."""
    return reply({"status": "alive", "software": SOFTWARE})


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can the service serve?",
    responses={200: answers("It can.", reference(Health)), **refuses()},
)
async def readyz(state: State) -> Response:
    """Answers 503 unless the database can be reached and has the tables of this version. Looked up once a second at
    most.
    """
    if not await state.readiness.is_ready():
        raise Busy("The database cannot be reached, or its tables are not those of this version.")
    return reply({"status": "ready", "software": SOFTWARE})
