"""Who calls: no key is asked of a program on this machine; everybody else needs one.

The rule looks at each request and not at how the service was started, so that it holds below any server. A request is
local if it arrived at a loopback address, from a loopback address, names a loopback host, and carries no header that a
proxy adds. What cannot be recognised as local is not local. A proxy on this machine that adds no such header looks
like a local program: `MYORESPONSE_REQUIRE_KEYS=true` asks for a key there, too.

The middleware finds the caller before a route is looked for, so that nobody learns which addresses exist. `authorised`
runs before every other dependency of an operation, and refuses what the caller may not do.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated, cast

from fastapi import Depends, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.callers import LOCAL, STRANGER, Caller
from app.access.operations import FORMS, KNOWN, NEEDS, OPEN
from app.access.rates import RateState
from app.access.sessions import Session
from app.errors import Forbidden, ServiceError, TooManyRequests, Unauthorized
from app.http.addresses import path_of
from app.http.middleware import SAFE_METHODS
from app.http.repeated import RATED
from app.http.state import AppState
from app.settings import Settings, is_loopback
from app.timeline.times import microseconds

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""The names of this machine in a Host header."""
_FORWARDED = re.compile(
    r"forwarded|via|cdn-loop|x-real-ip|true-client-ip|x-(?:forwarded|original-|remote-|envoy-).*|"
    r"(?:x-)?(?:cf|cluster|fly|fastly|azure|appengine|proxyuser|connecting|client)-?[a-z-]*ip"
)
"""The names of the headers that proxies add."""
PART = "myoresponse.part"
"""Marks a request of a page that is a part of one that was counted."""
TOKEN_HEADER = "X-CSRF-Token"  # noqa: S105 - the name of a header
STILL_VALID = "still_valid"
"""Where the state of a request has the function that looks at its credentials again."""
_PORT = re.compile(r":\d*$")
_REALM = 'Bearer realm="myoresponse"'
_OPEN_PATHS = frozenset(operation.removeprefix("GET ") for operation in OPEN if "{" not in operation)
_PROBES = frozenset({"/livez", "/readyz"})
"""Addresses without a limit: who watches the service must see that it runs."""
_OPEN_BELOW = ("/docs/", "/pages/files/", "/problems/")
_FORMS = "/pages/"
_OPEN_FORMS = frozenset({"/pages/sign-in", "/pages/sign-out"})
"""The forms that a sender without a key may fill in. Every other one is refused before it is read."""


def needs_key(settings: Settings, scope: Scope) -> bool:
    """Whether the sender of a request must say who it is."""
    if settings.allow_unauthenticated:
        return False
    if settings.require_keys or not settings.listens_on_loopback:
        return True
    ends = (scope.get("server"), scope.get("client"))
    if not all(end and is_loopback(str(end[0])) for end in ends):
        return True
    headers = Headers(scope=scope)
    if any(_FORWARDED.fullmatch(name) for name in headers):
        return True
    return _PORT.sub("", headers.get("host", "").lower()) not in LOOPBACK_NAMES


def who_is_asked(settings: Settings) -> str:
    """Who needs a key, as a sentence for people."""
    if settings.allow_unauthenticated:
        return "Nobody is asked for a key, at any address."
    if settings.asks_for_keys:
        return "Every request needs an API key or a token."
    return "Programs on this machine need no key; every other request needs one."


class Authentication:
    """Finds the caller of each request. Raises `Unauthorized`, which the request guard answers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            caller = await self.caller(scope)
        except Unauthorized:
            self.counted(scope, network_of(scope))
            raise
        rate = self.count(scope, caller)
        scope["state"] = {**scope["state"], "caller": caller, STILL_VALID: partial(self.is_still, dict(scope), caller)}
        _check_token(scope)

        async def sending(message: Message) -> None:
            if rate is not None and message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(rate.headers)
            await send(message)

        await self.app(scope, receive, sending)

    async def is_still(self, scope: Scope, caller: Caller) -> bool:
        """Whether the credentials of a request, which was let in before, still stand for the same caller."""
        try:
            return await self.caller(scope) == caller
        except ServiceError:
            return False

    def count(self, scope: Scope, caller: Caller) -> RateState | None:
        """Count a request by its caller, else by its address; `None` if there is no limit for it.

        Raises `TooManyRequests`.
        """
        if caller is LOCAL or path_of(scope) in _PROBES or scope.get(PART):
            return None
        client = scope[RATED] = caller.name or network_of(scope)
        return self.counted(scope, client)

    def counted(self, scope: Scope, client: str) -> RateState | None:
        """The rate of a client after this request; `None` if there is no limit. Raises `TooManyRequests`."""
        rates = cast(AppState, scope["state"]["app_state"]).rates
        if rates is None:
            return None
        rate = rates.count(client)
        if not rate.allowed:
            raise TooManyRequests(headers=rate.headers)
        return rate

    async def refuse_flood(self, scope: Scope, credential: str) -> None:
        """Raise `TooManyRequests` for a guessed key from an address that has used up its rate: no guess is looked up
        any more. The keys of others behind the same address, for example a proxy, go on.
        """
        state: AppState = scope["state"]["app_state"]
        if state.rates is None or (rate := state.rates.look(network_of(scope))).allowed:
            return
        if await state.authenticator.is_guess(credential):
            raise TooManyRequests(headers=rate.headers)

    async def caller(self, scope: Scope) -> Caller:
        """Who sends a request."""
        given = Headers(scope=scope).getlist("authorization")
        optional = not needs_key(self.settings, scope)
        state: AppState = scope["state"]["app_state"]
        kind, _, credential = given[0].strip().partition(" ") if len(given) == 1 else ("", "", "")
        known = kind.lower() == "bearer" and state.authenticator.reads(credential.strip())
        if optional and not known:
            return LOCAL  # a header that is meant for somebody else is not read
        if known:
            await self.refuse_flood(scope, credential.strip())
            now = microseconds(datetime.now(UTC))
            caller = await state.authenticator.caller(credential.strip(), now)
            if caller is not None:
                return caller
        if given:
            raise Unauthorized(headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token"'})
        if cookie := HTTPConnection(scope).cookies.get(cookie_name(scope)):
            session = await state.authenticator.session(state.secret, cookie, microseconds(datetime.now(UTC)))
            if session is not None:
                scope["state"] = {**scope["state"], "session": session}
                return session.caller
        if self.is_open(scope):
            return STRANGER
        raise Unauthorized(headers={"WWW-Authenticate": _REALM})

    def is_open(self, scope: Scope) -> bool:
        """Whether everybody may read this address."""
        path = path_of(scope)
        if scope["method"] == "POST":
            return path in _OPEN_FORMS
        return scope["method"] == "GET" and (path in _OPEN_PATHS or path.startswith(_OPEN_BELOW))


def _check_token(scope: Scope) -> None:
    """Raise `Forbidden` for a change in a session without its token. The caller is known by now, also to the audit.

    A form of a page has it in a field, and sends it on with each request that it makes.
    """
    session: Session | None = scope["state"].get("session")
    if session is None or scope["method"] in SAFE_METHODS or path_of(scope).startswith(_FORMS):
        return
    shown = Headers(scope=scope).get(TOKEN_HEADER, "")
    if not hmac.compare_digest(shown.encode(), session.token.encode()):
        raise Forbidden(f"In a session, a change needs the header {TOKEN_HEADER} with the token of the session.")


def is_https(scope: Scope) -> bool:
    """Whether the browser uses HTTPS, as the server or the proxy in front of it says."""
    return "https" in {scope.get("scheme"), Headers(scope=scope).get("x-forwarded-proto", "").lower()}


def cookie_name(scope: Scope) -> str:
    """The name of the cookie. With HTTPS, browsers let nobody but this host set it."""
    return "__Host-myoresponse" if is_https(scope) else "myoresponse"


def network_of(scope: Scope) -> str:
    """The address that a request comes from; of IPv6 its network, because one client has all addresses of a network."""
    sent_from = scope.get("client")
    try:
        address = ip_address(str(sent_from[0]) if sent_from else "")
    except ValueError:
        return "-"
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
    return str(address)


async def _caller(request: Request) -> Caller:
    return cast(Caller, request.state.caller)


async def _client(request: Request) -> str | None:
    return cast(Caller, request.state.caller).name


async def _still_valid(request: Request) -> Callable[[], Awaitable[bool]]:
    return cast(Callable[[], Awaitable[bool]], getattr(request.state, STILL_VALID))


StillValid = Annotated[Callable[[], Awaitable[bool]], Depends(_still_valid)]
"""Says later whether the key, token or session of the request is still valid."""
CallerOf = Annotated[Caller, Depends(_caller)]
"""Who sends the request."""
Client = Annotated[str | None, Depends(_client)]
"""The name of the caller in the ledger."""


async def authorised(request: Request) -> None:
    """Refuse an operation for which the caller has no scope, and a study of which the caller may not know."""
    caller = cast(Caller, request.state.caller)
    operation = f"{request.method} {request.scope['route'].path}"
    if operation in OPEN | KNOWN | FORMS:
        return
    if operation not in NEEDS:
        raise Forbidden
    request.state.scope = NEEDS[operation]
    caller.require(NEEDS[operation])
    for name in ("study", "other"):
        if name in request.path_params:
            caller.require_study(request.path_params[name])
