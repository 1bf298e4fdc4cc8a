"""A database and its secret file belong together; keys of an earlier release move out of the database."""

import lzma
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.secret_file import SecretFile
from app.store import migrations
from app.store.engine import Database
from app.store.hash_chain import verify
from app.store.ledger_keys import LedgerKeys
from app.store.opening import open_ledger
from app.store.verification import verify_database
from tests.releases.record import DATA
from tests.store.posts import begin_study
from tests.tables import with_tables

STUDIES = ("demo", "empty", "hospital", "resources", "scores", "trial", "ward")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of the release 0.1.0, as it was."""
    file = tmp_path / "old.db"
    file.write_bytes(lzma.decompress((DATA / "0.1.0.db.xz").read_bytes()))
    return file


def rows(file: Path, query: str) -> list[tuple]:
    with sqlite3.connect(file) as connection:
        return connection.execute(query).fetchall()


def opened(file: Path) -> Database:
    database = Database(f"sqlite:///{file}", keys=LedgerKeys(Path(f"{file}.secret")))
    assert open_ledger(database, Path(f"{file}.heads")) is None
    return database


def objection(file: Path, secret: Path) -> str | None:
    database = Database(f"sqlite:///{file}", keys=LedgerKeys(secret))
    try:
        return open_ledger(database, Path(f"{file}.heads"))
    finally:
        database.dispose()


def test_the_keys_of_an_earlier_release_leave_the_database_and_the_ledger_stays_as_it_is(old):
    before, secrets = rows(old, "SELECT * FROM revisions"), rows(old, "SELECT id, secret FROM studies")
    migrations.upgrade(f"sqlite:///{old}")
    database = opened(old)
    with database.reading() as connection:
        assert [part.faults for part in verify_database(connection, database.heads)] == [()] * (len(STUDIES) + 4)
        heads = [verify(connection, study).head for study in STUDIES]
    database.dispose()
    assert rows(old, "SELECT * FROM revisions") == before
    newest = dict(rows(old, "SELECT s.id, hex(r.hash) FROM revisions r JOIN studies s ON s.key = r.study "
                            "GROUP BY r.study HAVING r.number = max(r.number)"))  # fmt: skip
    assert heads == [newest[study].lower() for study in STUDIES]
    content = b"".join(file.read_bytes() for file in old.parent.iterdir())
    assert [name for name, secret in secrets if secret in content or secret.hex().encode() in content] == []


def test_a_downgrade_gives_the_keys_back_and_needs_the_secret_file(old):
    kept = rows(old, "SELECT key, secret FROM studies")
    migrations.upgrade(f"sqlite:///{old}")
    opened(old).dispose()
    secret = old.with_name("old.db.secret")
    secret.rename(old.with_name("elsewhere"))
    with pytest.raises(Exception, match="no secret file"):
        migrations.downgrade(f"sqlite:///{old}", "0004")
    assert not secret.exists()
    old.with_name("elsewhere").rename(secret)
    migrations.downgrade(f"sqlite:///{old}", "0004")
    assert rows(old, "SELECT key, secret FROM studies") == kept
    migrations.upgrade(f"sqlite:///{old}")
    database = opened(old)
    with database.reading() as connection:
        assert verify(connection, "trial").faults == ()
    database.dispose()


def test_a_database_without_its_secret_file_is_refused_and_no_new_one_is_made(old):
    migrations.upgrade(f"sqlite:///{old}")
    opened(old).dispose()
    for missing in (old.with_name("none"), old.parent):
        found = objection(old, missing)
        assert found is not None
        assert str(missing) in found
    assert not old.with_name("none").exists()
    another = old.with_name("another")
    SecretFile.create(another)
    assert "another secret file" in (objection(old, another) or "")
    environment = {"MYORESPONSE_DATABASE_URL": f"sqlite:///{old}", "MYORESPONSE_SECRET_FILE": str(old.with_name("no"))}
    for command in (["serve", "--port", "0"], ["verify"], ["demo"]):
        ended = CliRunner().invoke(cli, command, env=environment)
        assert (ended.exit_code, "Bring it back from its backup" in ended.stderr) == (3, True)


def test_a_database_whose_fingerprint_was_taken_away_is_refused(old):
    migrations.upgrade(f"sqlite:///{old}")
    opened(old).dispose()
    with sqlite3.connect(old) as connection:
        connection.execute("DELETE FROM secret_fingerprint")
    assert "somebody changed it" in (objection(old, old.with_name("old.db.secret")) or "")


def test_many_that_open_a_new_database_at_once_agree(migrated_url, tmp_path):
    path = tmp_path / "secret"

    def first(_: int) -> tuple[str | None, bytes]:
        database = Database(migrated_url, keys=LedgerKeys(path))
        try:
            return open_ledger(database, tmp_path / "heads"), database.keys.secret.root
        finally:
            database.dispose()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(first, range(4))) == {(None, SecretFile.read(path).root)}


def test_verify_names_the_first_broken_link_and_ends_with_one(tmp_path):
    file = tmp_path / "x.db"
    with_tables(f"sqlite:///{file}")
    database = opened(file)
    for study in ("first", "second"):
        begin_study(database, study)
    database.dispose()
    environment = {"MYORESPONSE_DATABASE_URL": f"sqlite:///{file}"}
    whole = CliRunner().invoke(cli, ["verify"], env=environment)
    assert (whole.exit_code, whole.stdout.splitlines()) == (
        0,
        [
            "secret file: whole",
            "keys of clients: whole",
            "study first: whole: 1 revisions, 1 leaves, 0 of erased persons",
            "study second: whole: 1 revisions, 1 leaves, 0 of erased persons",
            "audit: whole: 2 rows",
            "heads outside: whole: 4 lines",
        ],
    )
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE revisions SET client = 'x' WHERE study = 2")
    broken = CliRunner().invoke(cli, ["verify"], env=environment)
    assert (broken.exit_code, broken.stdout.splitlines()[3]) == (
        1,
        "study second: BROKEN revision 0: its hash is not the hash of its content",
    )
    assert CliRunner().invoke(cli, ["verify", "--study", "first"], env=environment).exit_code == 0
    assert CliRunner().invoke(cli, ["verify", "--study", "nobody"], env=environment).exit_code == 2
