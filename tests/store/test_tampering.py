"""Whoever changes, deletes or adds a row in the database is found out: each column of each table is tried."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import CheckConstraint, Column, Connection, LargeBinary, Table, Text, func, select, text
from sqlalchemy.schema import DropConstraint

from app.access.callers import ALL_SCOPES, Scope
from app.access.keys import ApiKeys
from app.errors import FaultCode
from app.main import create_app
from app.settings import Settings
from app.store import request_counts
from app.store.engine import Database
from app.store.heads import HeadsFile
from app.store.ledger import submit
from app.store.ledger_keys import FINGERPRINT, LedgerKeys
from app.store.request_counts import Counted
from app.store.tables import FACTS, metadata, studies
from app.store.verification import EXEMPT, verify_database
from app.timeline.receipts import Disposition, ReceiptLine, SentFact
from tests.api import fhir_bodies
from tests.api.examples import timeline
from tests.postgres import fresh_database
from tests.releases.studies import feeds, fhir_resources, sent, trial
from tests.repetition import PROFILE
from tests.store import posts
from tests.store.posts import history
from tests.tables import with_tables

SECRET = "x" * 32


ENGINES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql))


@pytest.fixture(scope="module")
def filled_on(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Database]]:
    """A database of an engine with something in every table and in every column."""
    with ExitStack() as stack:

        @cache
        def filled_on(engine: str) -> Database:
            folder = tmp_path_factory.mktemp("filled")
            url = f"sqlite:///{folder / 'x.db'}"
            if engine == "postgresql":
                url = stack.enter_context(fresh_database(request.getfixturevalue("postgres_server_url")))
            return stack.enter_context(_filled(url, folder))

        yield filled_on


@pytest.fixture(params=ENGINES)
def filled(request: pytest.FixtureRequest, filled_on: Callable[[str], Database]) -> Database:
    """This database on each engine."""
    return filled_on(request.param)


@contextmanager
def _filled(url: str, folder: Path) -> Iterator[Database]:
    settings = Settings(
        database_url=url, pseudonym_secret=SECRET, secret_file=folder / "secret", heads_file=folder / "heads"
    )
    with_tables(url)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        feeds(client, "hospital", identifiers="medical_record")
        fhir_resources(client)
        trial(client)
        _fill_more(client)
    database = Database(url, keys=LedgerKeys(settings.secret_path))
    with database.reading() as connection:
        name = bytes((FINGERPRINT.row(connection) or (b"", b""))[1])
    database.heads = HeadsFile(settings.heads_path, database.keys.heads, name)
    yield database
    database.dispose()


def _fill_more(client: Any) -> None:
    """Erased persons, one of them with a client id and one stored again, and a worklist whose items ended."""
    keys = ApiKeys(client.app_state["app_state"].database)
    first = keys.create("ward", [Scope.READ], ["trial"], now=1, expires_at=2**60)
    keys.rotate(first.stored.prefix, now=2, overlap=1_000_000)
    keys.revoke(keys.create("nobody", ALL_SCOPES, now=3).stored.prefix, 4)
    facade = fhir_bodies.Facade(client, "more", identifiers="pseudonyms", authorities=[fhir_bodies.HOSPITAL])
    sent(facade.put(fhir_bodies.patient(id="named")))
    home = "/v1/studies/more"
    for patient in [each["patient"]["id"] for each in client.get(f"{home}/patients").json()["items"]]:
        sent(client.delete(f"{home}/patients/{patient}?erase=true"))
    sent(client.put("/v1/studies/brief", json={"name": "Brief", "protocol": "seed-2008"}))
    for patient in ("R1", "R2"):  # the last revision begins a patient
        scores = [{"code": "MMT", "time": "2005-03-16", "score": 62, "scale_max": 100}]
        doses = [{"time": "2005-04-11", "product": "IVIG", "course": 1}]
        document = timeline(patient, assessments=scores, infusions=doses)
        sent(client.put(f"/v1/studies/brief/patients/{patient}", json=document))
    database = client.app_state["app_state"].database
    ApiKeys(database).create("lab", ALL_SCOPES, ["more"], now=posts.now())
    with database.writing() as connection:
        request_counts.add(connection, {"a client in a window": Counted(3, 2**60)}, now=0)
    lines = tuple(
        ReceiptLine(
            f"OBX[{i}]-6", Disposition.SET_ASIDE, FaultCode.UNKNOWN_UNIT,
            sent=SentFact(f"OBX[{i}]", "labs", "CK", "A", f"k{i}", None, f"{i}", "E/L"),
        )
        for i in range(3)
    )  # fmt: skip
    for patient in ("Q1", "Q2", "Q3"):
        one = replace(history(posts.timeline(patient)), aside=lines)
        with database.writing() as connection:
            submit(connection, "more", [one], format="hl7v2", client=None, received_at=posts.now(), sender="LAB|A")
    for patient in ("Q1", "Q2"):
        sent(client.delete(f"{home}/patients/{patient}?erase=true"))
    sent(client.put(f"{home}/patients/Q1?readmit=true", json=timeline("Q1", ck=98)))
    again = {"Idempotency-Key": '"one-post-of-a-sender"'}
    sent(client.post(f"{home}/patients/Q3/events", json=timeline("Q3", ck=97), headers=again))
    [item, *_] = client.get(f"{home}/set-aside").json()["items"]
    sent(client.post(f"{home}/set-aside/{item['item']}/dismissal", json={"reason": "other", "comment": "seen"}))
    sent(client.post(f"{home}/timelines", json=[timeline("Q4")], headers={"Idempotency-Key": '"kept"'}))


def columns() -> Iterator[Any]:
    """Every column of every table, with its name, on each engine; in the quick profile on one of them in turn."""
    every = [(table, column) for table in metadata.sorted_tables for column in table.columns]
    for number, (table, column) in enumerate(every):
        name = f"{table.name}.{column.name}"
        if PROFILE != "quick" or number % 2:
            yield pytest.param("sqlite", table, column, id=f"sqlite-{name}")
        if PROFILE != "quick" or not number % 2:
            yield pytest.param("postgresql", table, column, id=f"postgresql-{name}", marks=pytest.mark.postgresql)


def faults(database: Database, connection: Connection) -> list[str]:
    """What the whole verification finds."""
    return [f"{part.subject}: {fault}" for part in verify_database(connection, database.heads) for fault in part.faults]


def tamper(connection: Connection, *tables: Table) -> None:
    """Switch off what the database itself would refuse."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA defer_foreign_keys=ON"))
        connection.execute(text("PRAGMA ignore_check_constraints=ON"))
        for (name,) in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
            connection.execute(text(f'DROP TRIGGER "{name}"'))
    else:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in tables:
            for constraint in table.constraints:
                if isinstance(constraint, CheckConstraint):
                    connection.execute(DropConstraint(constraint))


def another(column: Column[Any], value: Any) -> Any:
    """A value that the column can hold and that is not this one."""
    if isinstance(column.type, LargeBinary):
        return bytes([*bytes(value or b"x")[:-1], bytes(value or b"x")[-1] ^ 1])
    if column.type.python_type is bool:
        return not value
    if isinstance(column.type, Text) or column.type.python_type is str:
        return f"{value or ''}x"
    return (value or 0) + 1_000_000 if column.type.python_type is int else (value or 0) + 1.5


def one_row(connection: Connection, table: Table, column: Column[Any] | None = None) -> Any:
    """A row, with a value in this column where there is any."""
    order = [] if column is None else [column.is_(None)]
    return connection.execute(select(table).order_by(*order, *table.primary_key).limit(1)).first()


def this(table: Table, row: Any) -> Any:
    """The condition that selects a row."""
    conditions = [column == getattr(row, column.name) for column in table.primary_key]
    return conditions[0] if len(conditions) == 1 else conditions[0] & this_all(conditions[1:])


def this_all(conditions: list[Any]) -> Any:
    """All of these conditions."""
    joined = conditions[0]
    for each in conditions[1:]:
        joined &= each
    return joined


def test_what_nobody_changed_is_whole(filled: Database):
    with filled.reading() as connection:
        assert faults(filled, connection) == []
        assert [table.name for table in metadata.sorted_tables if not one_row(connection, table)] == []


@pytest.mark.parametrize(("engine", "table", "column"), list(columns()))
def test_each_column_that_is_not_exempt_is_verified(
    filled_on: Callable[[str], Database], engine: str, table: Table, column: Column[Any]
):
    filled = filled_on(engine)
    exempt = table.name in EXEMPT or f"{table.name}.{column.name}" in EXEMPT
    with filled._writer.connect() as connection, connection.begin() as transaction:
        tamper(connection, table)
        row = one_row(connection, table, column)
        value = another(column, getattr(row, column.name))
        changed = connection.execute(table.update().where(this(table, row)).values({column: value}))
        assert changed.rowcount == 1
        found = faults(filled, connection)
        transaction.rollback()
    assert bool(found) is not exempt, (table.name, column.name, found)


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_each_row_that_is_deleted_is_missed(filled: Database, table: Table):
    with filled._writer.connect() as connection, connection.begin() as transaction:
        tamper(connection)
        row = one_row(connection, table)
        assert connection.execute(table.delete().where(this(table, row))).rowcount == 1
        found = faults(filled, connection)
        transaction.rollback()
    assert bool(found) is (table.name not in EXEMPT), (table.name, found)


def test_an_end_that_is_cut_whole_is_known_outside_the_database_alone(filled: Database):
    with filled._writer.connect() as connection, connection.begin() as transaction:
        tamper(connection)
        key = connection.execute(select(studies.c.key).where(studies.c.id == "brief")).scalar_one()
        last = select(func.max(metadata.tables["revisions"].c.number)).where(
            metadata.tables["revisions"].c.study == key
        )
        number = connection.execute(last).scalar_one()
        patients = metadata.tables["patients"]
        gone = (patients.c.study == key) & (patients.c.first_revision == number)
        mine = select(patients.c.key).where(gone)
        for table, _ in FACTS.values():
            connection.execute(table.delete().where(table.c.patient_key.in_(mine)))
        connection.execute(patients.delete().where(gone))
        for name in ("leaves", "revisions"):
            table = metadata.tables[name]
            connection.execute(table.delete().where(table.c.study == key, table.c.number == number))
        found = faults(filled, connection)
        without = [fault for part in verify_database(connection, None) for fault in part.faults]
        transaction.rollback()
    assert without == []
    assert [fault for fault in found if "the end is missing" in fault] == found != []


def test_every_exemption_names_a_column_that_there_is():
    names = {table.name for table in metadata.sorted_tables}
    names |= {f"{table.name}.{column.name}" for table in metadata.sorted_tables for column in table.columns}
    assert set(EXEMPT) <= names
