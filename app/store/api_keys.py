"""The stored API keys: as hashes, with what each of them allows."""

import hmac
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from app.store.queries import Insertion, Query, Row
from app.store.seals import NO_STUDY, change, key_rows, lock_keys, seal_keys, seal_of_key
from app.store.tables import api_keys

_COLUMNS = (
    api_keys.c.prefix, api_keys.c.hash, api_keys.c.name, api_keys.c.scopes, api_keys.c.studies, api_keys.c.created_at,
    api_keys.c.expires_at, api_keys.c.revoked_at, api_keys.c.successor, api_keys.c.sessions_after,
    api_keys.c.last_used_at, api_keys.c.seal,
)  # fmt: skip
_FIND = Query(select(*_COLUMNS).where(api_keys.c.prefix == bindparam("named")), "named")
_LIST = Query(select(*_COLUMNS).order_by(api_keys.c.created_at, api_keys.c.prefix))
_ANY = Query(select(api_keys.c.prefix).limit(1))
_INSERT = Insertion(api_keys)
_REVOKE = Query(
    api_keys.update()
    .where(api_keys.c.prefix == bindparam("named"), api_keys.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at")),
    "at",
    "named",
)
_SUCCEED = Query(
    api_keys.update()
    .where(api_keys.c.prefix == bindparam("named"))
    .values(expires_at=bindparam("at"), successor=bindparam("next")),
    "at",
    "next",
    "named",
)
_END_SESSIONS = Query(
    api_keys.update().where(api_keys.c.prefix == bindparam("named")).values(sessions_after=bindparam("at")),
    "at",
    "named",
)
_USED = Query(
    api_keys.update().where(api_keys.c.prefix == bindparam("named")).values(last_used_at=bindparam("at")),
    "at",
    "named",
)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key without its secret part. Times are in microseconds since 1970; `studies` is `None` for all studies.

    `is_sealed` says that its row has the seal that it was stored with.
    """

    prefix: str
    hash: bytes
    name: str
    scopes: tuple[str, ...]
    studies: tuple[str, ...] | None
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    successor: str | None = None
    sessions_after: int | None = None
    last_used_at: int | None = None
    is_sealed: bool = True

    def valid(self, now: int) -> bool:
        """Whether it is neither revoked nor expired, and nobody else has changed it."""
        return self.is_sealed and self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def _stored(connection: Connection, row: Row) -> StoredKey:
    *sealed, used, seal = row
    right = seal is not None and hmac.compare_digest(bytes(seal), seal_of_key(connection, tuple(sealed)))
    prefix, hashed, name, scopes, studies, *times = sealed
    more: list[Any] = [*times, used, right]
    listed = None if studies is None else tuple(json.loads(studies))
    return StoredKey(prefix, bytes(hashed), name, tuple(json.loads(scopes)), listed, *more)


def find(connection: Connection, prefix: str) -> StoredKey | None:
    """The key with this prefix."""
    row = _FIND.row(connection, prefix)
    return None if row is None else _stored(connection, row)


def listed_keys(connection: Connection) -> list[StoredKey]:
    """All keys, the oldest first."""
    return [_stored(connection, row) for row in _LIST.rows(connection)]


def any_key(connection: Connection) -> bool:
    """Whether a key was ever made. Nobody else can make one until the transaction ends."""
    lock_keys(connection)
    return _ANY.row(connection) is not None


def add(connection: Connection, key: StoredKey) -> None:
    """Store a new key."""
    studies = None if key.studies is None else json.dumps(key.studies)
    row = (
        key.prefix, key.hash, key.name, json.dumps(key.scopes), studies, key.created_at, key.expires_at,
        key.revoked_at, key.last_used_at, key.successor, None, key.sessions_after,
    )  # fmt: skip
    _INSERT.run(connection, [row])
    change(connection, NO_STUDY, key_rows(connection, [key.prefix]))
    seal_keys(connection, [key.prefix])


def revoke(connection: Connection, prefix: str, at: int) -> bool:
    """Revoke a key from now on. `False` if there is none of this prefix that is not revoked yet."""
    with _changed(connection, prefix):
        return _REVOKE.run(connection, at, prefix) > 0


def succeed(connection: Connection, prefix: str, successor: str, until: int) -> None:
    """Let a key expire, because another one replaces it."""
    with _changed(connection, prefix):
        _SUCCEED.run(connection, until, successor, prefix)


def end_sessions(connection: Connection, prefix: str, at: int) -> None:
    """End the sessions that were made from a key up to now."""
    with _changed(connection, prefix):
        _END_SESSIONS.run(connection, at, prefix)


@contextmanager
def _changed(connection: Connection, prefix: str) -> Iterator[None]:
    """Seal a key again after the block has changed it. A key that somebody else has changed stays without a seal."""
    before = key_rows(connection, [prefix])
    known = find(connection, prefix)
    yield
    change(connection, NO_STUDY, key_rows(connection, [prefix]), before)
    if known is not None and known.is_sealed:
        seal_keys(connection, [prefix])


def mark_used(connection: Connection, uses: Iterable[tuple[str, int]]) -> None:
    """Store when keys were used last."""
    for prefix, at in uses:
        _USED.run(connection, at, prefix)
