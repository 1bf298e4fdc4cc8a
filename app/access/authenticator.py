"""From the credentials of a request to its caller."""

from app.access.callers import Caller
from app.access.keys import KEY_MARK, ApiKeys


class Authenticator:
    """Knows all ways to say who one is."""

    def __init__(self, keys: ApiKeys) -> None:
        self.keys = keys

    def reads(self, credential: str) -> bool:
        """Whether a credential is of a kind that this service gives or trusts."""
        return credential.startswith(KEY_MARK)

    def caller(self, credential: str, now: int) -> Caller | None:
        """Whom a credential stands for; `None` if it is not a valid one. It may wait for the database."""
        return self.keys.caller(credential, now)
