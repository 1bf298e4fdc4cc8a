"""The audit: who read or wrote which patient's data, when, by which operation. Rows are added and never changed.

Each study has a chain of rows, and so has everything that belongs to no study (chain 0). The hash of a row has a key
from the secret file, and covers the row and the hash of the row before. The row of a write is part of its transaction:
there is one exactly if there is the other. The row of a read is written before the answer is sent (`audit_trail`).

A row holds no identifier of a patient. It holds numbers that are keyed with the salt of the patient: while the study
has the patient, the rows of the patient can be found; after the erasure nobody can tell whose they were.
"""

import hmac
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, and_, bindparam, or_, select, text

from app.store.engine import Database
from app.store.hashes import NO_HASH, canonical
from app.store.heads import note
from app.store.ledger_keys import keys_of
from app.store.queries import Insertion, Query, Row, filled, listed, listed_names
from app.store.tables import audit, patients, studies

Door = Literal["http", "fhir", "hl7v2", "mllp", "command"]
Extent = Literal["patients", "everyone", "figures", "nothing"]
"""Whose data: those of the patients that are listed, of all patients, figures about them, or nobody's."""
NO_STUDY = 0
"""The chain of what belongs to no study."""
DONE, REFUSED = 200, 422
"""The status of a message or a command that changed nothing, and of one that was refused."""
_NUMBER = 16
"""The length of the number of a patient in bytes."""


class Who(NamedTuple):
    """Who does what, as far as the door knows: `scope` is the right that the operation needs."""

    operation: str
    door: Door
    caller: str | None = None
    address: str | None = None
    scope: str | None = None
    request: str | None = None


@dataclass(slots=True)
class Access:
    """What one request or command has done until now. `who` is asked late: a request is known when it is routed."""

    who: Callable[[], Who]
    patients: dict[str, set[str]] = field(default_factory=dict)
    """The patients whose data were read, by study."""
    everyone: bool = False
    revisions: dict[str, int] = field(default_factory=dict)
    """The revision that was read of each study."""
    written: int = 0
    """How many rows were stored with writes."""
    numbers: set[bytes] = field(default_factory=set)
    """The numbers of the patients in these rows."""
    again: bytes | None = None
    """The numbers of the patients of an answer that was given before and is sent again."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row that is not part of a write: an answer, or a refusal. `count`: how many equal refusals it stands for.

    `numbers` are those of patients whose identifiers are not known any more.
    """

    who: Who
    at: int
    study: str | None
    status: int | None
    extent: Extent
    patients: tuple[str, ...] = ()
    revision: int | None = None
    count: int = 1
    numbers: bytes = b""


class AuditLine(NamedTuple):
    """A row before it has its place in a chain: the study that it belongs to, and the columns from `at` to `count`."""

    study: str | None
    row: Row


_ACCESS: ContextVar[Access | None] = ContextVar("access", default=None)
_UNKNOWN = Who("-", "command")

_LAST = Query(
    select(audit.c.number, audit.c.hash)
    .where(audit.c.chain == bindparam("chain"))
    .order_by(audit.c.number.desc())
    .limit(1),
    "chain",
)
_LOCK = Query(text("SELECT pg_advisory_xact_lock(20080119, :chain)"), "chain")
_STUDY = Query(select(studies.c.key).where(studies.c.id == bindparam("study")), "study")
_INSERT = Insertion(audit)
_COVERED = [column for column in audit.c if column.name != "hash"]
_ALL = Query(select(*_COVERED, audit.c.hash).order_by(audit.c.chain, audit.c.number))
_HASH = Query(
    select(audit.c.hash).where(audit.c.chain == bindparam("chain"), audit.c.number == bindparam("number")),
    "chain",
    "number",
)
_AT = Query(select(*_COVERED).where(audit.c.at == bindparam("instant")), "instant")
_LASTS = Query(select(audit.c.chain).distinct().order_by(audit.c.chain))
_SALTS = Query(select(patients.c.id, patients.c.salt).where(patients.c.study == bindparam("study")), "study")


@cache
def _salts_of(length: int) -> Query:
    clause = select(patients.c.salt).where(patients.c.study == bindparam("study"), patients.c.id.in_(listed(length)))
    return Query(clause, "study", *listed_names(length))


@contextmanager
def acting(access: Access) -> Iterator[Access]:
    """Everything that the block reads and writes belongs to this access."""
    token = _ACCESS.set(access)
    try:
        yield access
    finally:
        _ACCESS.reset(token)


@contextmanager
def command(operation: str) -> Iterator[Access]:
    """Everything that the block reads and writes is done by a command of an operator."""
    with acting(Access(lambda: Who(operation, "command", "command"))) as access:
        yield access


def caller() -> str | None:
    """The name of who acts now, for the ledger."""
    access = _ACCESS.get()
    return None if access is None else access.who().caller


def was_read(study: str, identifiers: Iterable[str], revision: int | None = None) -> None:
    """Note that the answer has data of these patients, or that it was made from a revision."""
    access = _ACCESS.get()
    if access is not None:
        access.patients.setdefault(study, set()).update(identifiers)
        if revision is not None:
            access.revisions.setdefault(study, revision)


def answered_from(study: str, revision: int) -> None:
    """Note that the answer was made from this revision, which came after the one that was looked at first."""
    access = _ACCESS.get()
    if access is not None:
        access.revisions[study] = revision


def everyone_was_read() -> None:
    """Note that the answer lists every patient."""
    access = _ACCESS.get()
    if access is not None:
        access.everyone = True


def answered_again(numbers: bytes) -> None:
    """Note that an answer with data of the patients with these numbers was given before and is sent again."""
    access = _ACCESS.get()
    if access is not None:
        access.again = numbers


def numbers_of_answer(connection: Connection, study: str) -> bytes:
    """The numbers of the patients whose data the request has read or written until now, to keep them with its answer.

    What was written of an erased person is left out: the patient has no number any more.
    """
    access = _ACCESS.get()
    if access is None:
        return b""
    found, names = _STUDY.row(connection, study), sorted(access.patients.get(study, ()))
    read = set() if found is None else set(_numbers(connection, found[0], names))
    return b"".join(sorted(access.numbers | read))


def patient_number(salt: bytes) -> bytes:
    """The number of a patient in the audit. It is keyed with the salt, which the erasure deletes."""
    return hmac.digest(salt, b"audit", "sha256")[:_NUMBER]


def row_of_write(first: int, last: int, salts: Iterable[bytes], at: int) -> Row:
    """The row of a write by who acts now: the revisions `first` to `last`, and whose data they changed."""
    access = _ACCESS.get()
    numbers = b"".join(sorted({patient_number(salt) for salt in salts}))
    extent: Extent = "patients" if numbers else "nothing"
    who = access.who() if access is not None else _UNKNOWN
    if access is not None:
        access.written += 1
        access.numbers.update(_split(numbers))
    return (at, who.caller, who.address, who.door, who.operation, who.scope, None, extent, numbers or None, first, last,
            who.request, 1)  # fmt: skip


def operations_of(connection: Connection, study: int, received: Iterable[int]) -> dict[int, str]:
    """The operation that made each revision that a request made alone, of those received at these instants.

    `study` is the key of the study.
    """
    return {
        first: operation
        for chunk in filled(set(received))
        for operation, first, last in _operations(len(chunk)).rows(connection, study, *chunk)
        if first is not None and first == last
    }


@cache
def _operations(length: int) -> Query:
    columns = audit.c.operation, audit.c.first_revision, audit.c.revision
    clause = select(*columns).where(audit.c.chain == bindparam("study"), audit.c.at.in_(listed(length)))
    return Query(clause, "study", *listed_names(length))


def wrote(connection: Connection, study: int, rows: Sequence[Row]) -> None:
    """Store the rows of writes in their transaction. The caller holds the lock of the study."""
    _append(connection, study, rows)


def store(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Store rows that are not part of a write, each in the chain of its study."""
    store_lines(connection, lines_of(connection, entries))


def note_command(
    database: Database,
    operation: str,
    extent: Extent = "nothing",
    *,
    study: str | None = None,
    revision: int | None = None,
    status: int | None = None,
) -> None:
    """Store the row of a command of an operator that writes nothing else. The status says how a refusal ended."""
    who = Who(operation, "command", "command")
    row = AuditEntry(who, time.time_ns() // 1000, study, status, extent, (), revision)
    database.together(lambda transaction: store(transaction, [row]))


def lines_of(connection: Connection | None, entries: Sequence[AuditEntry]) -> list[AuditLine]:
    """Rows with the numbers of their patients instead of the identifiers; without patients no connection is needed."""
    lines = []
    for entry in entries:
        numbers = entry.numbers
        if entry.patients and connection is not None:
            found = _STUDY.row(connection, entry.study)
            named = set() if found is None else set(_numbers(connection, found[0], entry.patients))
            numbers = b"".join(sorted(named.union(_split(numbers))))
        who = entry.who
        row = (entry.at, who.caller, who.address, who.door, who.operation, who.scope, entry.status, entry.extent,
               numbers or None, None, entry.revision, who.request, entry.count)  # fmt: skip
        lines.append(AuditLine(entry.study, row))
    return lines


def store_lines(connection: Connection, lines: Sequence[AuditLine]) -> None:
    """Store rows, each in the chain of its study."""
    chains: dict[int, list[Row]] = {}
    for study, row in lines:
        found = None if study is None else _STUDY.row(connection, study)
        chains.setdefault(NO_STUDY if found is None else found[0], []).append(row)
    for chain, rows in sorted(chains.items()):
        _append(connection, chain, rows)


def has_line(connection: Connection, line: AuditLine) -> bool:
    """Whether a row is stored already."""
    return any(found[2:] == line.row for found in _AT.rows(connection, line.row[0]))


def _numbers(connection: Connection, study: int, identifiers: Sequence[str]) -> Iterator[bytes]:
    for chunk in filled(identifiers):
        for (salt,) in _salts_of(len(chunk)).rows(connection, study, *chunk):
            yield patient_number(bytes(salt))


def _append(connection: Connection, chain: int, rows: Sequence[Row]) -> None:
    if connection.dialect.name == "postgresql":
        _LOCK.rows(connection, chain)  # SQLite has one writer anyway
    number, before = _LAST.row(connection, chain) or (-1, NO_HASH)
    key = keys_of(connection).audit
    stored = []
    for row in rows:
        number += 1
        before = _hash(key, bytes(before), (chain, number, *row))
        stored.append((chain, number, *row, before))
    _INSERT.run(connection, stored)
    note(connection, ("audit", chain), number, before)


def _hash(key: bytes, before: bytes, row: Row) -> bytes:
    content = [value.hex() if isinstance(value, bytes) else value for value in row]
    return hmac.digest(key, canonical([before.hex(), *content]).encode("ascii"), "sha256")


def hash_of(connection: Connection, chain: int, number: int) -> bytes | None:
    """The hash of a row; `None` if there is none of this number."""
    found = _HASH.row(connection, chain, number)
    return None if found is None else bytes(found[0])


def heads(connection: Connection) -> Iterator[tuple[int, int, bytes]]:
    """The chains, each with the number and the hash of its last row."""
    for (chain,) in _LASTS.rows(connection):
        number, hashed = _LAST.row(connection, chain) or (-1, NO_HASH)
        yield chain, number, bytes(hashed)


def verify(connection: Connection) -> tuple[int, list[str]]:
    """Compute the hash of each row again. How many rows there are, and what does not match."""
    key, count, faults = keys_of(connection).audit, 0, list[str]()
    chain, expected, before = None, 0, NO_HASH
    for row in _ALL.stream(connection):
        *content, hashed = row
        if content[0] != chain:
            chain, expected, before = content[0], 0, NO_HASH
        place = f"audit of study {chain}, row {content[1]}"
        content = [bytes(value) if isinstance(value, memoryview) else value for value in content]
        if content[1] != expected:
            faults.append(f"{place}: its number does not follow the number of the row before")
        elif _hash(key, before, tuple(content)) != bytes(hashed):
            faults.append(f"{place}: its hash is not the hash of its content and of the row before")
        expected, before, count = content[1] + 1, bytes(hashed), count + 1
        del faults[_MOST_FAULTS:]
    return count, faults


_MOST_FAULTS = 1_000


@dataclass(frozen=True, slots=True)
class Listed:
    """A row as it is shown. `patients` are those of the listed ones that the study still has."""

    chain: int
    number: int
    at: int
    caller: str | None
    address: str | None
    door: str
    operation: str
    scope: str | None
    status: int | None
    extent: str
    patients: tuple[str, ...]
    erased: int
    first_revision: int | None
    revision: int | None
    request: str | None
    count: int


@cache
def _page(by: frozenset[str]) -> Query:
    place = or_(
        audit.c.at > bindparam("at"),
        and_(
            audit.c.at == bindparam("at"),
            or_(
                audit.c.chain > bindparam("after_chain"),
                and_(audit.c.chain == bindparam("after_chain"), audit.c.number > bindparam("after")),
            ),
        ),
    )
    names = ["at", "after_chain", "after", "until", "limit"]
    conditions: list[Any] = [place, audit.c.at <= bindparam("until")]
    if "chain" in by:
        conditions.append(audit.c.chain == bindparam("chain"))
        names.append("chain")
    if "patient" in by:
        position = "instr(patients, :patient) > 0", "position(:patient in patients) > 0"
        conditions.append(text(position["postgresql" in by]))
        names.append("patient")
    clause = select(*_COVERED).where(*conditions).order_by(audit.c.at, audit.c.chain, audit.c.number)
    return Query(clause.limit(bindparam("limit")), *names)


def listing(
    connection: Connection,
    *,
    study: str | None = None,
    patient: str | None = None,
    after: tuple[int, int, int],
    until: int,
    limit: int,
) -> list[Listed]:
    """Rows in the order of their times: of a study, of one of its patients, or all; at most `limit`.

    They come after the place `after` (a time, a chain and a number; in a study, its own chain). An unknown study or
    patient has no rows.
    """
    by, values = {connection.dialect.name}, []
    key = NO_STUDY
    if study is not None:
        found = _STUDY.row(connection, study)
        if found is None:
            return []
        key = found[0]
        after = (after[0], key, after[2])
        by.add("chain")
        values.append(key)
    if patient is not None:
        number = next(_numbers(connection, key, [patient]), None)
        if number is None:
            return []
        by.add("patient")
        values.append(number)
    rows = _page(frozenset(by)).rows(connection, *after, until, limit, *values)
    return list(_listed(connection, rows))


def _listed(connection: Connection, rows: Sequence[Row]) -> Iterator[Listed]:
    wanted: dict[int, set[bytes]] = {}
    for row in rows:
        wanted.setdefault(row[0], set()).update(_split(row[_PATIENTS]))
    known = {chain: _known(connection, chain, numbers) for chain, numbers in wanted.items() if numbers}
    for row in rows:
        numbers = _split(row[_PATIENTS])
        names = sorted(filter(None, (known.get(row[0], {}).get(number) for number in numbers)))
        shown: list[Any] = [*row[:_PATIENTS], tuple(names), len(numbers) - len(names), *row[_PATIENTS + 1 :]]
        yield Listed(*shown)


_PATIENTS = [column.name for column in _COVERED].index("patients")
NUMBERS = _PATIENTS - 2
"""The place of the numbers of patients in an `AuditLine.row`."""


def _split(numbers: bytes | None) -> list[bytes]:
    whole = bytes(numbers or b"")
    return [whole[start : start + _NUMBER] for start in range(0, len(whole), _NUMBER)]


def _known(connection: Connection, study: int, numbers: set[bytes]) -> dict[bytes, str]:
    """The identifiers of these patients. The study's patients are read until all are found."""
    found: dict[bytes, str] = {}
    for identifier, salt in _SALTS.stream(connection, study):
        number = patient_number(bytes(salt))
        if number in numbers:
            found[number] = identifier
            if len(found) == len(numbers):
                break
    return found
