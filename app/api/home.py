"""The root: what this service is and where it goes on, and the commands to try first."""

from fastapi import Request, Response

from app import __version__
from app.access.callers import LOCAL, STRANGER
from app.http.authentication import CallerOf, who_is_asked
from app.http.dependencies import State
from app.http.responses import address, reply
from app.http.routing import Operations

router = Operations()
PLACES = {
    "studies": "/v1/studies",
    "protocols": "/v1/protocols",
    "problems": "/problems",
    "docs": "/docs",
    "openapi": "/openapi.yaml",
}


def first_steps(at: str, *, with_key: bool = False) -> tuple[tuple[str, str], ...]:
    """The first commands to try at an address of the service, each with its title."""
    curl = 'curl -H "Authorization: Bearer $KEY" ' if with_key else "curl "
    return (
        ("Who responded?", f"{curl}{at}/v1/studies/demo/analyses/response-rates"),
        ("For how long does CK stay normal?", f"{curl}{at}/v1/studies/demo/analyses/ck-normal-time"),
        (
            "Post a result. Sent again, it changes nothing.",
            f"{curl}{at}/v1/studies/demo/patients/P01/events -H 'Content-Type: application/json' "
            """-d '{"patient": {"id": "P01"}, "labs": [{"code": "CK", "time": "2006-09-04T09:00:00+09:00", """
            """"value": 152, "unit": "U/L", "upper_limit": 163}]}'""",
        ),
    )


@router.get("/", include_in_schema=False)
async def home(request: Request, state: State, caller: CallerOf) -> Response:
    """The links of the service. A browser gets the page of the studies."""
    links = {name: address(request, place) for name, place in PLACES.items()}
    service = {"service": "MyoResponse"} if caller is STRANGER else {"service": "MyoResponse", "version": __version__}
    at = f"{request.base_url}".rstrip("/")
    steps = [{"title": title, "command": command} for title, command in first_steps(at, with_key=caller is not LOCAL)]
    return reply(
        {**service, "keys": who_is_asked(state.settings), **links, "first_steps": steps}, headers={"Vary": "Accept"}
    )
