"""The stored API keys: as hashes, with what each of them allows."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from app.store.queries import Insertion, Query, Row
from app.store.seals import NO_STUDY, change, key_rows
from app.store.tables import api_keys

_COLUMNS = (
    api_keys.c.prefix, api_keys.c.hash, api_keys.c.name, api_keys.c.scopes, api_keys.c.studies, api_keys.c.created_at,
    api_keys.c.expires_at, api_keys.c.revoked_at, api_keys.c.last_used_at, api_keys.c.successor,
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
_USED = Query(
    api_keys.update().where(api_keys.c.prefix == bindparam("named")).values(last_used_at=bindparam("at")),
    "at",
    "named",
)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key without its secret part. Times are in microseconds since 1970; `studies` is `None` for all studies."""

    prefix: str
    hash: bytes
    name: str
    scopes: tuple[str, ...]
    studies: tuple[str, ...] | None
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    successor: str | None = None

    def valid(self, now: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def _stored(row: Row) -> StoredKey:
    prefix, hashed, name, scopes, studies, *times = row
    listed = None if studies is None else tuple(json.loads(studies))
    return StoredKey(prefix, bytes(hashed), name, tuple(json.loads(scopes)), listed, *times)


def find(connection: Connection, prefix: str) -> StoredKey | None:
    """The key with this prefix."""
    row = _FIND.row(connection, prefix)
    return None if row is None else _stored(row)


def listed_keys(connection: Connection) -> list[StoredKey]:
    """All keys, the oldest first."""
    return [_stored(row) for row in _LIST.rows(connection)]


def any_key(connection: Connection) -> bool:
    """Whether a key was ever made."""
    return _ANY.row(connection) is not None


def add(connection: Connection, key: StoredKey) -> None:
    """Store a new key."""
    studies = None if key.studies is None else json.dumps(key.studies)
    row = (
        key.prefix, key.hash, key.name, json.dumps(key.scopes), studies, key.created_at, key.expires_at,
        key.revoked_at, key.last_used_at, key.successor,
    )  # fmt: skip
    _INSERT.run(connection, [row])
    change(connection, NO_STUDY, key_rows(connection, [key.prefix]))


def revoke(connection: Connection, prefix: str, at: int) -> bool:
    """Revoke a key from now on. `False` if there is none of this prefix that is not revoked yet."""
    before = key_rows(connection, [prefix])
    revoked = _REVOKE.run(connection, at, prefix) > 0
    change(connection, NO_STUDY, key_rows(connection, [prefix]), before)
    return revoked


def succeed(connection: Connection, prefix: str, successor: str, until: int) -> None:
    """Let a key expire, because another one replaces it."""
    before = key_rows(connection, [prefix])
    _SUCCEED.run(connection, until, successor, prefix)
    change(connection, NO_STUDY, key_rows(connection, [prefix]), before)


def mark_used(connection: Connection, uses: Iterable[tuple[str, int]]) -> None:
    """Store when keys were used last."""
    for prefix, at in uses:
        _USED.run(connection, at, prefix)
