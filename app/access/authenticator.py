"""From the credentials of a request to its caller."""

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from app.access.callers import Caller
from app.access.keys import KEY_MARK, ApiKeys
from app.access.sessions import Session, read_session
from app.access.tokens import Tokens
from app.secret_file import SecretFile


class Authenticator:
    """Knows all ways to say who one is."""

    def __init__(self, keys: ApiKeys, tokens: Tokens | None = None) -> None:
        self.keys = keys
        self.tokens = tokens
        self._threads = CapacityLimiter(4)

    def reads(self, credential: str) -> bool:
        """Whether a credential is of a kind that this service gives or trusts."""
        return credential.startswith(KEY_MARK) or self.tokens is not None

    async def is_guess(self, credential: str) -> bool:
        """Whether a credential looks like an API key and is none that was ever made. Many guesses cost one read."""
        return credential.startswith(KEY_MARK) and not await run_sync(self.keys.was_made, credential)

    async def session(self, secret: SecretFile, cookie: str, now: int) -> Session | None:
        """The session of a cookie, if it is a valid one."""
        return await run_sync(read_session, secret, self.keys, cookie, now)

    async def caller(self, credential: str, now: int) -> Caller | None:
        """Whom a credential stands for; `None` if it is not a valid one.

        Raises `Busy` if the database or the identity provider is needed and does not answer. Who waits for the
        provider does so in threads that nobody else uses.
        """
        if credential.startswith(KEY_MARK):
            return await run_sync(self.keys.caller, credential, now)
        return None if self.tokens is None else await run_sync(self.tokens.caller, credential, limiter=self._threads)
