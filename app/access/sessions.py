"""Sessions: a signed cookie in place of a key, for pages in a browser.

A session is made from a key and ends with it, after an hour, or when it is ended: then all sessions of the key end,
because the row of the key notes the moment. The cookie holds what the key allows, and is signed
with a key of the secret file; nothing is stored. A browser sends a cookie by itself, also if another page makes it do
so. Therefore a request that changes something must also show the session's token, which another page cannot read.
"""

import base64
import hmac
import json
from dataclasses import dataclass

from app.access.callers import Caller, Scope
from app.access.keys import ApiKeys
from app.errors import Forbidden
from app.secret_file import SecretFile

HOUR = 3_600_000_000
LONGEST = 4_096
_KEY, _SESSION = "key:", "session:"


@dataclass(frozen=True, slots=True)
class Session:
    """A session: its caller, its cookie, the token that a change needs, and when it ends in microseconds since 1970."""

    caller: Caller
    cookie: str
    token: str
    expires_at: int


def open_session(secret: SecretFile, caller: Caller, now: int) -> Session:
    """A session with the rights of the key of the caller. Raises `Forbidden` for a caller without a key."""
    if caller.name is None or not caller.name.startswith(_KEY):
        raise Forbidden("A session is made from an API key.")
    prefix, ends = caller.name.removeprefix(_KEY), now + HOUR
    studies = None if caller.studies is None else sorted(caller.studies)
    content = _encoded(json.dumps([prefix, ends, sorted(caller.scopes), studies]).encode())
    return _session(secret, content, prefix, ends, Caller(f"{_SESSION}{prefix}", caller.scopes, caller.studies))


def read_session(secret: SecretFile, keys: ApiKeys, cookie: str, now: int) -> Session | None:
    """The session of a cookie; `None` if it was not signed here, has ended, or its key is not valid any more."""
    content, _, signature = cookie.partition(".")
    if len(cookie) > LONGEST or not hmac.compare_digest(
        _signature(secret, "cookie", content).encode(), signature.encode("utf-8", "replace")
    ):
        return None
    prefix, ends, scopes, studies = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    if now >= ends or not keys.has_session(prefix, ends - HOUR, now):
        return None
    named = None if studies is None else frozenset(studies)
    return _session(secret, content, prefix, ends, Caller(f"{_SESSION}{prefix}", frozenset(map(Scope, scopes)), named))


def end_sessions(keys: ApiKeys, caller: Caller, now: int) -> None:
    """End every session of the key of the caller. A caller without a key has none."""
    kind, _, prefix = (caller.name or "").partition(":")
    if f"{kind}:" in {_KEY, _SESSION}:
        keys.end_sessions(prefix, now)


def _session(secret: SecretFile, content: str, prefix: str, ends: int, caller: Caller) -> Session:
    cookie = f"{content}.{_signature(secret, 'cookie', content)}"
    return Session(caller, cookie, _signature(secret, "token", content), ends)


def _signature(secret: SecretFile, use: str, content: str) -> str:
    signed = f"{use}:{content}".encode("utf-8", "replace")
    return _encoded(hmac.digest(secret.key("session"), signed, "sha256"))


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
