"""The public keys of the identity provider (JWKS): from a file, or found by OpenID Connect discovery.

They are kept. A key identifier that is not among them makes us load them again, at most once a minute, so that a
provider may change its keys, and nobody can make us ask it more often. While the provider cannot be reached, the keys
that are kept stay in use.
"""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from app.errors import Busy
from app.settings import is_loopback

ALGORITHMS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
"""The algorithms that a key of each type and curve may sign with. There is none with a shared secret."""
LEAST_RSA_BITS = 2_048
MOST_BYTES = 262_144
MOST_KEYS = 100
SECONDS = 5.0
"""The longest time for one document of the provider."""
AGAIN_SECONDS = 60.0
"""The least time between two loads because of an unknown key."""
FIRST_SECONDS = 5.0
"""The least time between two attempts while no key is known."""
STALE_SECONDS = 600.0
"""The time after which the keys are loaded again, so that a key that the provider withdraws ends here, too."""
UNREACHABLE = "The identity provider cannot be reached or gives no usable keys, and none are known from before."


log = logging.getLogger("myoresponse")


class NoKeySet(Exception):
    """The keys could not be loaded; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key and the algorithms that it may have signed with."""

    key: Any
    algorithms: tuple[str, ...]


class KeySet:
    """The keys that `load` returns as the text of a JWKS. Threads may share it; it waits for one load at a time."""

    def __init__(self, load: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._keys: dict[str | None, VerifyingKey] = {}
        self._loaded = self._tried = float("-inf")
        self._lock = threading.Lock()

    def key(self, name: str | None) -> VerifyingKey | None:
        """The key with this identifier; without one, the only key. Raises `Busy` if no key was ever loaded."""
        known = self._find(name)
        if known is None:
            with self._lock:
                self._refresh(name)
        elif self._is_stale() and self._lock.acquire(blocking=False):
            try:
                self._refresh(name)
            finally:
                self._lock.release()
        if not self._keys:
            raise Busy(UNREACHABLE)
        return self._find(name)

    def _is_stale(self) -> bool:
        return self._clock() - self._loaded > STALE_SECONDS

    def _find(self, name: str | None) -> VerifyingKey | None:
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return None if name is None else self._keys.get(name)

    def _refresh(self, name: str | None) -> None:
        """Load the keys, unless that was tried a moment ago or another thread has just done it."""
        since = self._clock() - self._tried
        if (self._find(name) and not self._is_stale()) or since < (AGAIN_SECONDS if self._keys else FIRST_SECONDS):
            return
        try:
            self._keys = verifying_keys(self._load())
            self._loaded = self._clock()
        except NoKeySet as reason:
            log.warning("event=key-set status=failed why=%s", str(reason).replace(" ", "-"))
        finally:
            self._tried = self._clock()


def verifying_keys(document: bytes) -> dict[str | None, VerifyingKey]:
    """The usable keys of a JWKS by their identifiers. Others are left out; raises `NoKeySet` if none is left."""
    found: dict[str | None, VerifyingKey] = {}
    listed = _object(document).get("keys")
    for each in listed[:MOST_KEYS] if isinstance(listed, list) else []:
        name = each.get("kid") if isinstance(each, dict) else None
        key = _verifying_key(each) if isinstance(each, dict) else None
        if key is not None and (name is None or isinstance(name, str)):
            found[name] = key
    if not found:
        raise NoKeySet("the key set has no usable key")
    return found


def _verifying_key(each: Mapping[str, Any]) -> VerifyingKey | None:
    """The key of an entry; `None` if it is not a public key for signatures by an allowed algorithm."""
    kind, curve, named = each.get("kty"), each.get("crv"), each.get("alg")
    algorithms = ALGORITHMS.get((str(kind), None if kind == "RSA" else str(curve)), ())
    allowed = algorithms if named is None else tuple(name for name in algorithms if name == named)
    if not allowed or each.get("use", "sig") != "sig" or "verify" not in each.get("key_ops", ["verify"]):
        return None
    public = {name: value for name, value in each.items() if name in {"kty", "crv", "n", "e", "x", "y"}}
    import jwt

    try:
        key = jwt.PyJWK(public, algorithm=allowed[0]).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if kind == "RSA" and key.key_size < LEAST_RSA_BITS:
        return None
    return VerifyingKey(key, allowed)


def from_file(path: Path) -> Callable[[], bytes]:
    """Reads a JWKS from a file."""

    def load() -> bytes:
        try:
            return path.read_bytes()[: MOST_BYTES + 1]
        except OSError as error:
            raise NoKeySet(f"the file of the key set cannot be read: {error.strerror}") from None

    return load


def by_discovery(issuer: str) -> Callable[[], bytes]:
    """Asks the provider where its keys are, and then for the keys."""

    def load() -> bytes:
        about = _object(_fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration"))
        if about.get("issuer") != issuer:
            raise NoKeySet("the configuration is that of another issuer")
        return _fetch(str(about.get("jwks_uri")))

    return load


def is_fetched(address: str) -> bool:
    """Whether a document may be fetched from an address: by HTTPS, or from this machine."""
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        )
    except ValueError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> NoReturn:
        """Refuse: a redirect could lead to another machine."""
        raise NoKeySet("the provider redirects")


def _fetch(address: str) -> bytes:
    """A document of the provider. Raises `NoKeySet` if it is too large, too slow, or somewhere else."""
    if not is_fetched(address):
        raise NoKeySet("the address is neither HTTPS nor on this machine")
    until = time.monotonic() + SECONDS
    request = urllib.request.Request(address, headers={"Accept": "application/json"})  # noqa: S310 - checked above
    proxies = [urllib.request.ProxyHandler({})] if is_loopback(urlsplit(address).hostname or "") else []
    try:
        with urllib.request.build_opener(_NoRedirect(), *proxies).open(request, timeout=SECONDS) as answer:
            body = b""
            while part := answer.read1(65_536):
                body += part
                if len(body) > MOST_BYTES or time.monotonic() > until:
                    raise NoKeySet("the answer is too large or too slow")
            return body
    except (OSError, ValueError) as error:
        raise NoKeySet(f"the provider cannot be reached: {type(error).__name__}") from None


def _object(document: bytes) -> dict[str, Any]:
    if len(document) > MOST_BYTES:
        raise NoKeySet("the document is too large")
    try:
        read = json.loads(document)
    except (ValueError, RecursionError):
        raise NoKeySet("the document is no JSON") from None
    if not isinstance(read, dict):
        raise NoKeySet("the document is no JSON object")
    return read
