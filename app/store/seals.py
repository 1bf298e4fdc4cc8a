"""Seals: what no leaf covers is covered by one keyed sum for each study.

A leaf is made once and never again, but client ids come and go, and the mark of an assertion changes with later
arrivals. So each of these rows has a keyed hash, a study has the sum of the hashes modulo 2^256, and who stores,
changes or deletes a row adds or subtracts its hash. The stored sum is hidden behind a keyed hash of the number of its
changes: from two sums nobody can learn the hash of a row, to take the row out of the sum again.

The API keys have a sum of their own, with the key 0 instead of that of a study. To use a key must not read all of them:
so each has a seal of its own, too, a keyed hash of its row. Who restored an old row and an old sum together would be
seen through the heads outside the database only.

An assertion is part of the sum where it differs from the usual one: it has notes, a draw, an ordinal or a mark.
"""

import hmac
from collections.abc import Container, Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, text

from app.store.hashes import canonical
from app.store.heads import note
from app.store.ledger_keys import keys_of
from app.store.queries import Insertion, Query, Row
from app.store.tables import FACTS, api_keys, client_ids, erased_names, patients, pseudonym_keys, study_seals

_SIZE = 32
_MODULUS = 1 << (8 * _SIZE)
_SEAL = Query(
    select(study_seals.c.changes, study_seals.c.seal).where(study_seals.c.study == bindparam("study")), "study"
)
_INSERT = Insertion(study_seals)
_UPDATE = Query(
    study_seals.update()
    .where(study_seals.c.study == bindparam("of_study"))
    .values(changes=bindparam("times"), seal=bindparam("sum")),
    "times",
    "sum",
    "of_study",
)


def _of_study(table: Any) -> Query:  # noqa: ANN401 - a Table
    return Query(select(*[each for each in table.c if each.name != "study"]).where(table.c.study == bindparam("study")),
                 "study")  # fmt: skip


NO_STUDY = 0
"""Instead of the key of a study: the sum over the API keys."""
_LOCK = Query(text("SELECT pg_advisory_xact_lock(20080120)"))
_SEALED_OF_KEYS = [each for each in api_keys.c if each.name not in {"last_used_at", "seal", "sessions_after"}]
_SEALS_OF_KEYS = Query(select(*_SEALED_OF_KEYS, api_keys.c.sessions_after, api_keys.c.seal))
_SET_SEAL = Query(
    api_keys.update().where(api_keys.c.prefix == bindparam("named")).values(seal=bindparam("own")), "own", "named"
)
_KEYS = Query(select(*_SEALED_OF_KEYS))
_KEY = Query(select(*_SEALED_OF_KEYS).where(api_keys.c.prefix == bindparam("named")), "named")
_TABLES = {table.name: _of_study(table) for table in (client_ids, erased_names, pseudonym_keys)}


def _fact_query(kind: str, *conditions: Any) -> Any:  # noqa: ANN401 - a Select
    facts, _ = FACTS[kind]
    unusual = or_(facts.c.ordinal != 0, facts.c.notes.is_not(None), facts.c.draw != "", facts.c.mark.is_not(None))
    columns = ("patient_key", "identity", "added", "ordinal", "notes", "draw", "mark")
    return select(*[facts.c[name] for name in columns]).where(unusual, *conditions)


_FACTS_OF_STUDY = {
    kind: Query(
        _fact_query(kind)
        .join(patients, patients.c.key == FACTS[kind][0].c.patient_key)
        .where(patients.c.study == bindparam("study")),
        "study",
    )
    for kind in FACTS
}
_FACTS_OF_PATIENT = {
    kind: Query(_fact_query(kind, facts.c.patient_key == bindparam("patient")), "patient")
    for kind, (facts, _) in FACTS.items()
}


def row_of(table: str, *values: Any) -> Row:  # noqa: ANN401 - a column's value
    """A row of client ids, erased names, pseudonym keys or API keys, without the column of the study."""
    return (table, *[value.hex() if isinstance(value, bytes) else value for value in values])


def rows_of_assertion(
    kind: str, patient: int, identity: str, added: int, ordinal: int, notes: str | None, draw: str, mark: str | None
) -> Iterator[Row]:
    """What the seal covers of an assertion: nothing of a usual one."""
    if ordinal or notes is not None or draw:
        yield (kind, patient, identity, added, ordinal, notes, draw)
    if mark is not None:
        yield row_of_mark(kind, patient, identity, added, ordinal, mark)


def row_of_mark(kind: str, patient: int, identity: str, added: int, ordinal: int, mark: str) -> Row:
    """The mark of an assertion, which can change."""
    return ("mark", kind, patient, identity, added, ordinal, mark)


def rows_of_patient(connection: Connection, patient: int) -> Iterator[Row]:
    """What the seal covers of the assertions of a patient."""
    for kind, query in _FACTS_OF_PATIENT.items():
        for found in query.rows(connection, patient):
            yield from rows_of_assertion(kind, *found)


def change(connection: Connection, study: int, added: Iterable[Row], removed: Iterable[Row] = ()) -> None:
    """Add rows to the sum of a study, and take rows out of it. The caller holds the lock of the study."""
    added, removed = list(added), list(removed)
    if not added and not removed:
        return
    found = _SEAL.row(connection, study)
    changes, seal = found or (0, None)
    total = 0 if seal is None else int.from_bytes(seal, "big") - _mask(connection, study, changes)
    total += _sum(connection, study, added) - _sum(connection, study, removed)
    stored = _stored(connection, study, changes + 1, total)
    if found is None:
        _INSERT.run(connection, [(study, changes + 1, stored)])
    else:
        _UPDATE.run(connection, changes + 1, stored, study)
    note(connection, ("seal", study), changes + 1, stored)


def lock_keys(connection: Connection) -> None:
    """Let nobody else change API keys until the transaction ends."""
    if connection.dialect.name == "postgresql":
        _LOCK.rows(connection)  # SQLite has one writer anyway


def key_rows(connection: Connection, prefixes: Iterable[str]) -> list[Row]:
    """What the seal of all keys covers of these API keys. Nobody else can change keys until the transaction ends."""
    lock_keys(connection)
    return [row_of(api_keys.name, *found) for prefix in prefixes for found in _KEY.rows(connection, prefix)]


def seal_of(connection: Connection, study: int) -> tuple[int, bytes]:
    """How often the sum of a study changed, and the stored sum; zero and nothing if it never did."""
    changes, seal = _SEAL.row(connection, study) or (0, b"")
    return changes, bytes(seal)


def seal_all(connection: Connection, study: int) -> None:
    """Seal the rows of a study that an earlier release stored."""
    change(connection, study, _everything(connection, study))


def seal_of_key(connection: Connection, row: Row) -> bytes:
    """The own seal of an API key. The row is what the seal of all keys covers, and the end of its sessions."""
    text = canonical(["own", *row_of(api_keys.name, *row)]).encode("ascii")
    return hmac.digest(keys_of(connection).seal, text, "sha256")


def seal_keys(connection: Connection, prefixes: Container[str]) -> None:
    """Give these API keys a new seal of their own. The caller has seen that nobody else has changed them."""
    for *row, _ in _SEALS_OF_KEYS.rows(connection):
        if row[0] in prefixes:
            _SET_SEAL.run(connection, seal_of_key(connection, tuple(row)), row[0])


def seal_earlier_keys(connection: Connection) -> None:
    """Seal the API keys that an earlier release stored, unless somebody has changed one."""
    lock_keys(connection)
    earlier = {row[0] for row in _SEALS_OF_KEYS.rows(connection) if row[-1] is None}
    if earlier and _has_its_sum(connection, NO_STUDY):
        seal_keys(connection, earlier)


def has_earlier_keys(connection: Connection) -> bool:
    """Whether an API key has no seal of its own."""
    return any(row[-1] is None for row in _SEALS_OF_KEYS.rows(connection))


def is_whole(connection: Connection, study: int) -> bool:
    """Whether the sum over all rows of the study is the stored one, and the own seal of each API key."""
    if study == NO_STUDY:
        for *row, own in _SEALS_OF_KEYS.rows(connection):
            if own is None or bytes(own) != seal_of_key(connection, tuple(row)):
                return False
    return _has_its_sum(connection, study)


def _has_its_sum(connection: Connection, study: int) -> bool:
    changes, seal = seal_of(connection, study)
    total = _sum(connection, study, _everything(connection, study))
    return seal == _stored(connection, study, changes, total) if changes else total == 0 and not seal


def _everything(connection: Connection, study: int) -> Iterator[Row]:
    if study == NO_STUDY:
        for found in _KEYS.stream(connection):
            yield row_of(api_keys.name, *found)
        return
    for name, query in _TABLES.items():
        for found in query.stream(connection, study):
            yield row_of(name, *found)
    for kind, query in _FACTS_OF_STUDY.items():
        for found in query.stream(connection, study):
            yield from rows_of_assertion(kind, *found)


def _sum(connection: Connection, study: int, rows: Iterable[Row]) -> int:
    key = keys_of(connection).seal
    return sum(
        int.from_bytes(hmac.digest(key, canonical([study, *row]).encode("ascii"), "sha256"), "big") for row in rows
    )


def _stored(connection: Connection, study: int, changes: int, total: int) -> bytes:
    return ((total + _mask(connection, study, changes)) % _MODULUS).to_bytes(_SIZE, "big")


def _mask(connection: Connection, study: int, changes: int) -> int:
    text = canonical(["changes", study, changes]).encode("ascii")
    return int.from_bytes(hmac.digest(keys_of(connection).seal, text, "sha256"), "big")
