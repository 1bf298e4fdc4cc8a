"""API keys: what is stored of them, and how they end."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update
from typer.testing import CliRunner

from app.__main__ import cli
from app.access.callers import ALL_SCOPES, Scope
from app.access.keys import MINUTE, ApiKeys, key_line
from app.errors import Conflict, NotFound
from app.store import api_keys as stored_keys
from app.store import audit, migrations, seals
from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from app.store.tables import api_keys
from app.timeline.times import microseconds

AT = 1_700_000_000_000_000


@pytest.fixture
def keys(database) -> ApiKeys:
    return ApiKeys(database)


def test_a_key_has_256_random_bits_and_stands_for_what_it_was_made_for(keys):
    new = keys.create("lab", [Scope.INGEST], ["b", "a", "a"], now=AT)
    mark, prefix, secret = new.text.split("_", 2)
    assert (mark, len(prefix), len(secret)) == ("myo", 8, 43)
    caller = keys.caller(new.text, AT)
    assert caller.name == f"key:{prefix}"
    assert caller.scopes == {Scope.INGEST}
    assert caller.studies == {"a", "b"}
    assert keys.create("other", ALL_SCOPES, now=AT).text != new.text
    assert keys.caller(keys.create("all", ALL_SCOPES, now=AT).text, AT).studies is None


def test_what_is_stored_of_a_key_does_not_open_the_service(database, keys, migrated_url, tmp_path):
    new = keys.create("lab", ALL_SCOPES, now=AT)
    secret = new.text.split("_", 2)[2]
    [stored] = keys.all()
    assert secret not in repr(stored)
    other = Database(migrated_url, keys=LedgerKeys(tmp_path / "other.secret", make=True))
    assert ApiKeys(other).caller(new.text, AT) is None, "the hash is keyed"
    other.dispose()
    assert keys.caller(new.text, AT) is not None


@pytest.mark.parametrize("change", ["last", "first", "prefix", "longer", "shorter", "mark", "space", "empty", "case"])
def test_a_key_with_one_character_changed_is_none(keys, change):
    text = keys.create("lab", ALL_SCOPES, now=AT).text
    wrong = {
        "last": text[:-1] + ("A" if text[-1] != "A" else "B"),
        "first": text[:13] + ("A" if text[13] != "A" else "B") + text[14:],
        "prefix": f"myo_00000000{text[12:]}",
        "longer": text + "A",
        "shorter": text[:-1],
        "mark": text.replace("myo_", "MYO_"),
        "space": text + " ",
        "empty": "",
        "case": text.swapcase(),
    }[change]
    assert keys.caller(wrong, AT) is None


@given(text=st.text(max_size=80))
def test_a_text_in_another_form_is_refused_without_a_look_at_the_database(text):
    assert ApiKeys(None).caller(text, AT) is None


@pytest.mark.parametrize(
    ("column", "wider"), [("scopes", '["read", "ingest", "analyse", "read-patients", "admin"]'), ("studies", None)]
)
def test_a_key_that_somebody_widens_in_the_database_is_none(keys, database, column, wider):
    narrow = keys.create("lab", [Scope.READ], ["a"], now=AT).text
    with database.writing() as connection:
        connection.execute(api_keys.update().values({column: wider}))
    assert keys.caller(narrow, AT) is None


def test_a_key_ends_at_the_instant_it_expires_and_when_it_is_revoked(keys):
    expiring = keys.create("a", ALL_SCOPES, now=AT, expires_at=AT + 10).text
    assert keys.caller(expiring, AT + 9) is not None
    assert keys.caller(expiring, AT + 10) is None
    revoked = keys.create("b", ALL_SCOPES, now=AT + 1)
    keys.revoke(revoked.stored.prefix, AT + 1)
    keys.revoke(revoked.stored.prefix, AT + 5)
    assert keys.caller(revoked.text, AT + 1) is None
    assert keys.all()[1].revoked_at == AT + 1
    with pytest.raises(NotFound):
        keys.revoke("00000000", AT)


def test_after_a_rotation_both_keys_are_valid_for_the_overlap_and_then_the_new_one_only(keys):
    old = keys.create("lab", [Scope.READ], ["a"], now=AT, expires_at=AT + 1_000)
    new = keys.rotate(old.stored.prefix, now=AT + 500, overlap=100)
    assert keys.caller(old.text, AT + 599) is not None
    assert keys.caller(old.text, AT + 600) is None
    caller = keys.caller(new.text, AT + 600)
    assert (caller.scopes, caller.studies) == ({Scope.READ}, {"a"})
    assert new.stored.expires_at == AT + 1_500
    with pytest.raises(Conflict):
        keys.rotate(old.stored.prefix, now=AT + 501, overlap=100)


def test_a_rotation_never_makes_the_old_key_live_longer(keys):
    old = keys.create("lab", [Scope.READ], now=AT, expires_at=AT + 1_000)
    keys.rotate(old.stored.prefix, now=AT + 500, overlap=10_000)
    assert keys.caller(old.text, AT + 1_000) is None


def test_a_revoked_or_expired_key_is_not_rotated(keys):
    expired = keys.create("a", ALL_SCOPES, now=AT, expires_at=AT + 1).stored.prefix
    revoked = keys.create("b", ALL_SCOPES, now=AT).stored.prefix
    keys.revoke(revoked, AT)
    for prefix in (expired, revoked):
        with pytest.raises(Conflict):
            keys.rotate(prefix, now=AT + 1, overlap=100)
    with pytest.raises(NotFound):
        keys.rotate("00000000", now=AT, overlap=1)
    assert len(keys.all()) == 2


def test_the_first_key_is_made_once_whatever_became_of_it(keys):
    first = keys.create_first(AT)
    assert keys.caller(first.text, AT).scopes == ALL_SCOPES
    keys.revoke(first.stored.prefix, AT)
    assert keys.create_first(AT) is None


def test_services_that_start_at_once_make_one_first_key(migrated_url, monkeypatch):
    times, any_key = 3, stored_keys.any_key
    monkeypatch.setattr(stored_keys, "any_key", lambda connection: (any_key(connection), time.sleep(0.2))[0])
    databases = [Database(migrated_url) for _ in range(times)]
    for database in databases:
        with database.reading():
            pass
    ready = threading.Barrier(times)

    def begin(database: Database) -> object:
        ready.wait()
        return ApiKeys(database).create_first(AT)

    with ThreadPoolExecutor(times) as pool:
        made = [new for new in pool.map(begin, databases) if new is not None]
    assert len(made) == 1
    assert len(ApiKeys(databases[0]).all()) == 1
    for database in databases:
        database.dispose()


CHANGES = {
    "revoked": {"revoked_at": None},
    "expired": {"expires_at": None},
    "expired, for longer": {"expires_at": AT + 10 * MINUTE},
    "rotated": {"expires_at": None, "successor": None},
    "revoked, without its seal": {"revoked_at": None, "seal": None},
    "revoked, with the seal of another": {"revoked_at": None, "seal": b"x" * 32},
}


@pytest.mark.parametrize("change", CHANGES)
def test_who_writes_to_the_database_cannot_make_a_key_live_again(keys, database, change):
    new = keys.create("lab", ALL_SCOPES, now=AT, expires_at=AT + 2)
    other = keys.create("other", ALL_SCOPES, now=AT)
    prefix = new.stored.prefix
    if change.startswith("revoked"):
        keys.revoke(prefix, AT)
    if change == "rotated":
        keys.rotate(prefix, now=AT, overlap=1)
    at = AT + 1 if change.startswith("revoked") else AT + 5
    assert keys.caller(new.text, at) is None
    with database.writing() as connection:
        connection.execute(update(api_keys).where(api_keys.c.prefix == prefix).values(CHANGES[change]))
    for _ in range(2):
        assert keys.caller(new.text, at) is None
        assert not keys.has_session(prefix, AT, at)
        with database.reading() as connection:
            assert not seals.is_whole(connection, seals.NO_STUDY)
        with database.writing() as connection:
            seals.seal_earlier_keys(connection)  # as each start does
    assert keys.caller(other.text, at) is not None
    [shown] = [key for key in keys.all() if key.prefix == prefix]
    assert "changed" in key_line(shown, at)
    keys.revoke(prefix, at)
    assert keys.caller(new.text, at) is None


@pytest.mark.parametrize("changed", [False, True])
def test_keys_of_an_earlier_release_are_sealed_unless_somebody_changed_one(tmp_path, changed):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrations.upgrade(url)
    environment = {"MYORESPONSE_DATABASE_URL": url}

    def run(*command: str) -> str:
        return CliRunner().invoke(cli, ["keys", *command], env=environment).output

    texts = [run("create", "--name", "a", "--scope", "read").strip() for _ in range(2)]
    run("revoke", texts[0].split("_")[1])
    migrations.downgrade(url, "0008")
    migrations.upgrade(url)
    if changed:
        with sqlite3.connect(tmp_path / "x.db") as raw:
            raw.execute("UPDATE api_keys SET revoked_at = NULL")
    listed = run("list")  # the first start
    database = Database(url, keys=LedgerKeys(tmp_path / "x.db.secret"))
    now = microseconds(datetime.now(UTC))
    known = [ApiKeys(database).caller(text, now) is not None for text in texts]
    with database.reading() as connection:
        assert seals.is_whole(connection, seals.NO_STUDY) is not changed
    database.dispose()
    assert known == [False, not changed]
    assert ("changed" in listed) is changed


def test_the_last_use_is_written_once_a_minute_at_most(keys, database: Database):
    text = keys.create("lab", ALL_SCOPES, now=AT).text
    uses = []
    for at in (AT, AT + 1, AT + MINUTE - 1, AT + MINUTE, AT + MINUTE + 1):
        keys.caller(text, at)
        database.settle(5)
        uses.append(keys.all()[0].last_used_at)
    assert uses == [AT, AT, AT, AT + MINUTE, AT + MINUTE]


def test_keys_are_made_listed_rotated_and_revoked_at_the_command_line(url):
    def run(*command: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["keys", *command], env={"MYORESPONSE_DATABASE_URL": url})
        return done.exit_code, done.output

    assert run("list") == (0, "There are no keys.\n")
    code, made = run("create", "--name", "lab 7", "--scope", "ingest", "--scope", "read", "--study", "demo")
    prefix = made.split("_")[1]
    assert (code, made.count("\n")) == (0, 1)
    [line] = run("list")[1].splitlines()
    assert line.startswith(f"{prefix}  valid  read,ingest  demo  made=2")
    assert line.endswith("used=never  lab 7")
    assert made.strip() not in line
    code, new = run("rotate", prefix, "--overlap-hours", "1")
    assert (code, new.startswith("myo_")) == (0, True)
    assert run("rotate", prefix)[0] == 2
    assert f"valid (replaced by {new.split('_')[1]})" in run("list")[1]
    assert run("revoke", prefix) == (0, f"Key {prefix} is revoked.\n")
    assert f"{prefix}  revoked" in run("list")[1]
    assert run("revoke", "00000000") == (2, "There is no key with this prefix.\n")
    assert run("create", "--name", "x", "--scope", "everything")[0] == 2
    database = Database(url)
    changes = ["create", prefix], ["rotate", prefix, new.split("_")[1]], ["revoke", prefix]
    rows = [row[0].split()[1:] for row in rows_of_audit(database)]
    assert rows == [each for change in changes for each in (["list"], change)] + [["list"]]
    database.dispose()


def rows_of_audit(database: Database) -> list[tuple[str, str | None, str, int]]:
    """The rows that belong to no study: operation, who, through what, and when."""
    with database.reading() as connection:
        rows = audit.listing(connection, after=(0, -1, -1), until=2**62, limit=500)
        assert {row.chain for row in rows} <= {audit.NO_STUDY}
        assert audit.verify(connection) == (len(rows), [])
        assert seals.is_whole(connection, seals.NO_STUDY)
    return [(row.operation, row.caller, row.door, row.at) for row in rows]


def test_each_change_of_a_key_has_one_row_in_the_audit_and_a_refused_one_has_none(keys, database):
    first = keys.create_first(AT)
    assert keys.create_first(AT) is None
    made = keys.create("lab", [Scope.READ], now=AT + 1)
    new = keys.rotate(made.stored.prefix, now=AT + 2, overlap=MINUTE)
    keys.revoke(first.stored.prefix, AT + 3)
    keys.revoke(first.stored.prefix, AT + 4)
    for refused in (
        lambda: keys.rotate(made.stored.prefix, now=AT + 5, overlap=1),
        lambda: keys.revoke("00000000", AT + 5),
    ):
        with pytest.raises((Conflict, NotFound)):
            refused()
    one, two, three = (key.stored.prefix for key in (first, made, new))
    assert rows_of_audit(database) == [
        (f"keys create-first {one}", "command", "command", AT),
        (f"keys create {two}", "command", "command", AT + 1),
        (f"keys rotate {two} {three}", "command", "command", AT + 2),
        (f"keys revoke {one}", "command", "command", AT + 3),
    ]


def test_a_change_of_a_key_without_its_row_is_none(keys, database, monkeypatch):
    made = keys.create("lab", ALL_SCOPES, now=AT)
    with monkeypatch.context() as full:
        full.setattr(audit, "store", lambda *_: 1 / 0)
        for change in (
            lambda: keys.create("other", ALL_SCOPES, now=AT),
            lambda: keys.rotate(made.stored.prefix, now=AT, overlap=1),
            lambda: keys.revoke(made.stored.prefix, AT),
        ):
            with pytest.raises(ZeroDivisionError):
                change()
    assert keys.all() == [made.stored]
    assert len(rows_of_audit(database)) == 1
