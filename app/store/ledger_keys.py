"""The keys of the ledger, and the secret file that they are locked with.

Each study has a random secret. The database holds it locked: XORed with a keyed hash of a nonce, and followed by a tag.
So a copy of the database is a whole ledger, which nobody can read the keys of or continue without the secret file.
The salts of patients stay as they are: they only keep a leaf from being guessed after an erasure, and the erasure
deletes them; who knows them still cannot change a leaf, because the hash of the revision covers it.
"""

import hmac
import secrets
from functools import cached_property, lru_cache
from pathlib import Path

from sqlalchemy import Connection, bindparam, select

from app.secret_file import SecretFile, UnusableSecretFile
from app.store.queries import Query
from app.store.tables import secret_fingerprint, studies

_PLAIN, _NONCE, _TAG = 32, 16, 16
LOCKED = _NONCE + _PLAIN + _TAG
"""The length of a locked secret. An earlier release stored secrets of 32 bytes, which are not locked."""

FINGERPRINT = Query(select(secret_fingerprint.c.fingerprint, secret_fingerprint.c.database))
_SECRETS = Query(select(studies.c.key, studies.c.locked_secret).order_by(studies.c.key))
_CHANGE = Query(
    studies.update().where(studies.c.key == bindparam("study")).values(locked_secret=bindparam("locked")),
    "locked",
    "study",
)


class LedgerKeys:
    """What the secret file is for in the ledger. The file is read when the first key is needed.

    With `make`, it is made if there is none. The service makes it only for a database without a ledger (`opening`).
    """

    def __init__(self, path: Path, *, make: bool = False) -> None:
        self.path = path
        self._make = make

    @cached_property
    def secret(self) -> SecretFile:
        """The secret file. Raises `UnusableSecretFile`."""
        return SecretFile.create(self.path) if self._make else SecretFile.read(self.path)

    def read(self) -> SecretFile:
        """The secret file, which must exist. Raises `UnusableSecretFile`."""
        self.__dict__["secret"] = found = SecretFile.read(self.path)
        return found

    @cached_property
    def _ledger(self) -> bytes:
        return self.secret.key("ledger")

    @cached_property
    def seal(self) -> bytes:
        """The key of the seals."""
        return hmac.digest(self._ledger, b"seal", "sha256")

    @cached_property
    def heads(self) -> bytes:
        """The key of the heads outside the database."""
        return hmac.digest(self._ledger, b"heads", "sha256")

    @cached_property
    def segments(self) -> bytes:
        """The key of the segments beside the database."""
        return hmac.digest(self._ledger, b"segments", "sha256")

    @cached_property
    def audit(self) -> bytes:
        """The key of the audit."""
        return self.secret.key("audit")

    @cached_property
    def etag(self) -> bytes:
        """The key of the ETags."""
        return self.secret.key("etag")

    def new(self) -> bytes:
        """A new secret of a study, locked."""
        return self.lock(secrets.token_bytes(_PLAIN))

    def lock(self, secret: bytes) -> bytes:
        """A secret as the database holds it."""
        nonce = secrets.token_bytes(_NONCE)
        hidden = _xor(secret, hmac.digest(self._ledger, b"lock" + nonce, "sha256"))
        return nonce + hidden + self._tag(nonce + hidden)

    def unlock(self, stored: bytes) -> bytes:
        """The secret that the database holds. Raises `UnusableSecretFile` if another file locked it."""
        return _unlocked(self, bytes(stored))

    def _tag(self, content: bytes) -> bytes:
        return hmac.digest(self._ledger, b"tag" + content, "sha256")[:_TAG]


@lru_cache(maxsize=1024)
def _unlocked(keys: LedgerKeys, stored: bytes) -> bytes:
    if len(stored) == _PLAIN:
        return stored
    content, tag = stored[:-_TAG], stored[-_TAG:]
    if not hmac.compare_digest(keys._tag(content), tag):
        raise UnusableSecretFile("the secret of a study was changed, or locked with another secret file")
    nonce, hidden = content[:_NONCE], content[_NONCE:]
    return _xor(hidden, hmac.digest(keys._ledger, b"lock" + nonce, "sha256"))


def keys_of(connection: Connection) -> LedgerKeys:
    """The keys of the database of a transaction."""
    keys: LedgerKeys = connection.get_execution_options()["keys"]
    return keys


def lock_studies(connection: Connection) -> int:
    """Lock the secrets that an earlier release stored. How many there were."""
    keys = keys_of(connection)
    plain = [(keys.lock(bytes(secret)), key) for key, secret in _SECRETS.rows(connection) if len(secret) == _PLAIN]
    _CHANGE.run_many(connection, plain)
    return len(plain)


def unlock_studies(connection: Connection) -> None:
    """Store the secrets as an earlier release reads them. Raises `UnusableSecretFile`."""
    keys = keys_of(connection)
    locked = [(key, secret) for key, secret in _SECRETS.rows(connection) if len(secret) == LOCKED]
    if locked:
        keys.read()
    _CHANGE.run_many(connection, [(keys.unlock(secret), key) for key, secret in locked])


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
