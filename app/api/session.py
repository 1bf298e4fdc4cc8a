"""The routes of a session, for pages in a browser: make it from a key, read it, end it."""

from fastapi import Request, Response

from app.access.callers import Caller
from app.access.sessions import HOUR, Session, end_sessions, open_session
from app.http.authentication import CallerOf, cookie_name, is_https
from app.http.dependencies import Now, State
from app.http.responses import reply
from app.http.routing import Operations
from app.timeline.times import instant_text

router = Operations()


@router.post("/v1/session", include_in_schema=False)
def begin_session(request: Request, state: State, caller: CallerOf, now: Now) -> Response:
    """Make a session from the key in the header Authorization."""
    session = open_session(state.secret, caller, now)
    answer = reply(_document(session.caller, session), 201)
    _set(request, answer, session.cookie, HOUR // 1_000_000)
    return answer


@router.get("/v1/session", include_in_schema=False)
def read_own_session(request: Request, caller: CallerOf) -> Response:
    """What the caller may do; in a session also its token."""
    return reply(_document(caller, getattr(request.state, "session", None)))


@router.delete("/v1/session", include_in_schema=False)
def end_session(request: Request, state: State, caller: CallerOf, now: Now) -> Response:
    """End the sessions of the key, and take the cookie back: a copy of it is worth nothing any more."""
    end_sessions(state.authenticator.keys, caller, now)
    answer = Response(status_code=204)
    _set(request, answer, "", 0)
    return answer


def _document(caller: Caller, session: Session | None) -> dict[str, object]:
    return {
        "caller": caller.name,
        "scopes": sorted(caller.scopes),
        "studies": None if caller.studies is None else sorted(caller.studies),
        "token": None if session is None else session.token,
        "expires_at": None if session is None else instant_text(session.expires_at),
    }


def _set(request: Request, answer: Response, cookie: str, seconds: int) -> None:
    secure = is_https(request.scope)
    answer.set_cookie(
        cookie_name(request.scope), cookie, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict"
    )
