"""How many requests a client has sent in a window of time, for processes that limit rates together.

A row has a keyed hash of client and window instead of their names, and is deleted when its window is of no use any
more. No hash covers these counts, and nothing but the limits depends on them.
"""

import hmac
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.dialects import postgresql, sqlite

from app.store.ledger_keys import keys_of
from app.store.queries import Query, filled, listed, listed_names
from app.store.tables import request_counts

_SIZE = 16
_LOCK = Query(text("SELECT pg_advisory_xact_lock(20080121)"))
_PRUNE = Query(request_counts.delete().where(request_counts.c.expires_at <= bindparam("now")), "now")


class Counted(NamedTuple):
    """How many requests to add to the count of a counter, and until when it is needed, in microseconds since 1970."""

    more: int
    expires_at: int


def _addition(insert: Any) -> Query:  # noqa: ANN401 - the insert of a dialect
    clause = insert(request_counts).values(
        counter=bindparam("named"), count=bindparam("more"), expires_at=bindparam("until")
    )
    more = {"count": request_counts.c.count + clause.excluded.count}
    return Query(clause.on_conflict_do_update(index_elements=["counter"], set_=more), "named", "more", "until")


_ADD = {"sqlite": _addition(sqlite.insert), "postgresql": _addition(postgresql.insert)}


@cache
def _counts_of(length: int) -> Query:
    clause = select(request_counts.c.counter, request_counts.c.count)
    return Query(clause.where(request_counts.c.counter.in_(listed(length))), *listed_names(length))


def add(connection: Connection, added: Mapping[str, Counted], now: int) -> None:
    """Add to counts, and delete those that are of no use any more."""
    if connection.dialect.name == "postgresql":
        _LOCK.rows(connection)  # processes that change the same rows in another order would block each other
    _ADD[connection.dialect.name].run_many(
        connection,
        [(_hashed(connection, counter), each.more, each.expires_at) for counter, each in added.items()],
    )
    _PRUNE.run(connection, now)


def totals(connection: Connection, counters: Iterable[str]) -> dict[str, int]:
    """The counts of all processes together."""
    names = {_hashed(connection, counter): counter for counter in counters}
    return {
        names[bytes(hashed)]: count
        for chunk in filled(names)
        for hashed, count in _counts_of(len(chunk)).rows(connection, *chunk)
    }


def _hashed(connection: Connection, counter: str) -> bytes:
    return hmac.digest(keys_of(connection).secret.key("rates"), counter.encode(), "sha256")[:_SIZE]
