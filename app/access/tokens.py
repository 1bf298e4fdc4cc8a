"""Bearer tokens: JSON Web Tokens that an identity provider signed.

A token is accepted only if one of the provider's keys verifies it with an algorithm that this key may use. The token
does not choose: an address or a key in its head (`jku`, `jwk`, `x5u`, `x5c`) is never read. Issuer, audience, subject
and expiry must be there. Its scopes and its studies come from two declared claims.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.access.callers import Caller, Scope
from app.access.key_sets import KeySet, by_discovery, from_file
from app.settings import Settings

LEEWAY_SECONDS = 60
LONGEST = 16_384
LONGEST_NAME = 120
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_NAME = re.compile(r"[!-~]+")
_TYPES = frozenset({None, "jwt", "at+jwt", "application/at+jwt"})
_REQUIRED = ["iss", "aud", "sub", "exp"]
ALL_STUDIES = "*"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Verifies the tokens of one issuer for one audience."""

    issuer: str
    audience: str
    scopes_claim: str
    studies_claim: str
    keys: KeySet

    @classmethod
    def of(cls, settings: Settings) -> "Tokens | None":
        """Those that the settings trust; `None` if they name no issuer."""
        if not settings.token_issuer:
            return None
        file = settings.token_keys_file
        load = by_discovery(settings.token_issuer) if file is None else from_file(file)
        return cls(
            settings.token_issuer,
            settings.token_audience,
            settings.token_scopes_claim,
            settings.token_studies_claim,
            KeySet(load),
        )

    def caller(self, token: str) -> Caller | None:
        """Whom a token stands for; `None` if it is not valid. Raises `Busy` if no key is known to verify it with.

        It may wait for the identity provider.
        """
        if len(token) > LONGEST or _TOKEN.fullmatch(token) is None:
            return None
        import jwt

        try:
            head = jwt.get_unverified_header(token)
            if not self._is_plain(head):
                return None
            known = self.keys.key(head.get("kid"))
            if known is None:
                return None
            claims = jwt.decode(
                token,
                known.key,
                algorithms=list(known.algorithms),
                audience=self.audience,
                issuer=self.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        return self._caller(claims)

    @staticmethod
    def _is_plain(head: Mapping[str, Any]) -> bool:
        """Whether the head is that of a token that we read: an access token without critical extensions."""
        name, kind = head.get("kid"), head.get("typ")
        if "crit" in head or not (name is None or isinstance(name, str)):
            return False
        return kind is None or (isinstance(kind, str) and kind.lower() in _TYPES)

    def _caller(self, claims: Mapping[str, Any]) -> Caller | None:
        if not claims["sub"]:
            return None
        given = frozenset(_words(claims.get(self.scopes_claim)))
        scopes = frozenset(scope for scope in Scope if scope.value in given)
        studies = frozenset(_words(claims.get(self.studies_claim)))
        return Caller(self._name(claims["sub"]), scopes, None if ALL_STUDIES in studies else studies)

    def _name(self, subject: str) -> str:
        """The name in the ledger. A long or odd subject is named by its digest."""
        issuer = self.issuer.partition("://")[2] or self.issuer
        name = f"token:{issuer}#{subject}"
        if len(name) <= LONGEST_NAME and _NAME.fullmatch(subject):
            return name
        digest = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return f"token:{issuer[:60]}#sha256:{digest}"


def _words(claim: object) -> list[str]:
    """The words of a claim: a list of texts, or one text with spaces between them."""
    if isinstance(claim, str):
        return claim.split()
    if isinstance(claim, list):
        return [word for word in claim if isinstance(word, str)]
    return []
