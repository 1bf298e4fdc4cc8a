"""A backup says what it is, and one that cannot be used changes nothing. `tests/trust/backup.py` is the drill."""

import fcntl
import json
import os
import shutil
import sqlite3
import zipfile
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url
from typer.testing import CliRunner

from app.__main__ import cli
from app.main import create_app
from app.settings import Settings
from app.store import backup as module
from app.store.backup import MANIFEST
from tests.api.conftest import BASE
from tests.api.examples import timeline
from tests.postgres import bundled_binaries, fresh_database
from tests.tables import with_tables
from tests.trust.backup import manifest_of


@pytest.fixture(autouse=True)
def programs(monkeypatch, tmp_path):
    """pg_dump and pg_restore of the wheel, and one secret file for all databases of a test."""
    use_folder(monkeypatch, tmp_path)


def use_folder(monkeypatch, folder):
    binaries = bundled_binaries()
    if binaries is not None:
        monkeypatch.setenv("PATH", f"{binaries / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MYORESPONSE_SECRET_FILE", str(folder / "secret"))
    monkeypatch.setenv("MYORESPONSE_HEADS_FILE", str(folder / "heads"))


@pytest.fixture
def empty_url(migrated_url, request, tmp_path):
    """Another empty database on the same engine."""
    if migrated_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'restored.db'}"
        return
    with fresh_database(request.getfixturevalue("postgres_server_url")) as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def backed_up(request, tmp_path_factory):
    """The folder with a backup and its secret file, and the URL of a database that stays empty in all tests.

    Nothing is changed in the folder: each test copies what it harms.
    """
    folder = tmp_path_factory.mktemp("backed-up")
    with ExitStack() as stack:
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        use_folder(patched, folder)
        urls = [f"sqlite:///{folder / name}" for name in ("x.db", "restored.db")]
        if request.param != "sqlite":
            server = request.getfixturevalue("postgres_server_url")
            urls = [stack.enter_context(fresh_database(server)) for _ in urls]
        filled(with_tables(urls[0]))
        assert command("backup", folder / "b.zip", url=urls[0]).exit_code == 0
        patched.undo()
        yield folder, urls[1]


def command(*arguments: object, url: str, **settings: str):
    """A command with its database."""
    named = {f"MYORESPONSE_{name}": value for name, value in settings.items()}
    return CliRunner().invoke(cli, list(map(str, arguments)), env={"MYORESPONSE_DATABASE_URL": url, **named})


def service(url: str) -> TestClient:
    return TestClient(create_app(Settings(database_url=url)), base_url=BASE)


def filled(url: str) -> str:
    assert command("demo", url=url).exit_code == 0
    return url


def test_a_backup_says_what_it_is_and_is_for_its_owner_only(migrated_url, tmp_path):
    filled(migrated_url)
    with service(migrated_url):
        pass  # the first start makes the secret file
    file = tmp_path / "b.zip"
    made = command("backup", file, url=migrated_url)
    assert made.exit_code == 0, made.output
    assert made.output.startswith(f"{file}: 1 studies, ")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "b.zip" in path.name] == ["b.zip"]
    manifest = manifest_of(file)
    assert manifest.studies["demo"].revision == 16
    assert manifest.secret_file is not None
    secret = (tmp_path / "secret").read_text().strip()
    text = file.read_bytes()
    assert secret.encode() not in text
    assert bytes.fromhex(secret) not in text


def test_a_backup_replaces_no_file(migrated_url, tmp_path):
    filled(migrated_url)
    file = tmp_path / "b.zip"
    file.write_text("mine")
    ended = command("backup", file, url=migrated_url)
    assert (ended.exit_code, ended.stderr) == (
        2,
        f"No backup was made: {file} exists already, and a backup never replaces a file.\n",
    )
    assert file.read_text() == "mine"


def test_a_backup_that_cannot_be_written_leaves_no_part_of_it(migrated_url, tmp_path, monkeypatch):
    filled(migrated_url)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_add", full)
    ended = command("backup", tmp_path / "b.zip", url=migrated_url)
    assert (ended.exit_code, ended.stderr) == (
        2,
        f"No backup was made: {tmp_path / 'b.zip'} cannot be written: No space left on device.\n",
    )
    assert [path.name for path in tmp_path.iterdir() if "b.zip" in path.name] == []


def test_what_killed_backups_left_is_removed_and_not_what_is_being_written(migrated_url, tmp_path):
    filled(migrated_url)
    left = [tmp_path / name for name in ("b.zip.0123abcd.part", "b.zip.0123abcd.part.copy", "b.zip.89abcdef.part")]
    others = [tmp_path / name for name in ("b.zip.part", "c.zip.0123abcd.part", "xb.zip")]
    running = tmp_path / "b.zip.aaaaaaaa.part"
    for path in (*left, *others, running):
        path.write_bytes(b"a part")
    with running.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert command("backup", tmp_path / "b.zip", url=migrated_url).exit_code == 0
    assert [path.exists() for path in left] == [False] * 3
    assert [path.exists() for path in (*others, running)] == [True] * 4


def is_empty(url: str) -> bool:
    """Whether nothing was written to a database."""
    if url.startswith("sqlite"):
        file = Path(make_url(url).database)
        return not [path for path in file.parent.glob(f"{file.name}*") if path.stat().st_size]
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def changed(file: Path, **fields: object) -> None:
    """Write the archive again with another manifest."""
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents[MANIFEST] = json.dumps(json.loads(contents[MANIFEST]) | fields).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1_000])


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def foreign(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("letter.txt", "Dear Sir")


def flipped(file: Path) -> None:
    """One bit of the copy is another one."""
    with zipfile.ZipFile(file) as archive:
        contents = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    copy = next(content for name, content in contents.items() if name != MANIFEST)
    copy[len(copy) // 2] ^= 1
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, bytes(content))


def with_manifest(**fields: object):
    """Harm that is done to the manifest."""

    def harm(file: Path) -> None:
        changed(file, **fields)

    harm.__name__ = f"other {fields}"
    return harm


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (cut, "it was cut short or changed"),
        (cut_in_half, "it was cut short or changed"),
        (empty, "it was cut short or changed"),
        (foreign, "the file is no backup of this program"),
        (flipped, "it was changed"),
        (with_manifest(sha256="0" * 64), "it was changed"),
        (with_manifest(bytes=10), "it was changed"),
        (
            lambda file: changed(file, tables="9999", software="myoresponse 9.0"),
            "was made by myoresponse 9.0, which is",
        ),
        (with_manifest(form=2), "which is newer than this program"),
        (with_manifest(form="x"), "the file is no backup of this program"),
        (with_manifest(secret_file="00"), "needs the secret file of its time"),
        (with_manifest(pseudonyms={"demo": "00"}), "need the secret that they were made with"),
        (Path.unlink, "there is no file"),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_a_backup_that_cannot_be_used_is_refused_in_a_line_and_nothing_is_written(backed_up, tmp_path, harm, why):
    folder, empty_url = backed_up
    for name in ("secret", "heads", "b.zip"):
        shutil.copy(folder / name, tmp_path)
    file = tmp_path / "b.zip"
    harm(file)
    ended = command("restore", file, url=empty_url)
    assert (ended.exit_code, ended.stdout) == (2, ""), ended.output
    [line] = ended.stderr.splitlines()
    assert line.startswith("Nothing was restored: ")
    assert why in line
    assert is_empty(empty_url)


def test_a_backup_is_not_restored_over_data(migrated_url, tmp_path):
    filled(migrated_url)
    file = tmp_path / "b.zip"
    assert command("backup", file, url=migrated_url).exit_code == 0
    ended = command("restore", file, url=migrated_url)
    assert ended.exit_code == 2
    assert "is not empty" in ended.stderr
    with service(migrated_url) as client:
        assert client.get("/v1/studies/demo").json()["revision"] == 16


def test_a_backup_of_one_engine_is_not_restored_on_the_other(tmp_path):
    url = filled(with_tables(f"sqlite:///{tmp_path / 'x.db'}"))
    assert command("backup", tmp_path / "b.zip", url=url).exit_code == 0
    ended = command("restore", tmp_path / "b.zip", url="postgresql://nobody@127.0.0.1:1/x")
    assert ended.exit_code == 2
    assert "it is a backup of sqlite, and MYORESPONSE_DATABASE_URL names postgresql" in ended.stderr


def test_the_backup_of_an_earlier_release_is_restored_and_then_migrated(tmp_path):
    url, target = f"sqlite:///{tmp_path / 'x.db'}", f"sqlite:///{tmp_path / 'y.db'}"
    filled(with_tables(url))
    assert command("backup", tmp_path / "b.zip", url=url).exit_code == 0
    changed(tmp_path / "b.zip", tables="0004")
    ended = command("restore", tmp_path / "b.zip", url=target)
    assert ended.exit_code == 0, ended.output
    assert "run python -m app migrate" in ended.output


def test_a_ledger_that_was_broken_before_the_backup_is_restored_and_named(tmp_path):
    url, target = f"sqlite:///{tmp_path / 'x.db'}", f"sqlite:///{tmp_path / 'y.db'}"
    filled(with_tables(url))
    with sqlite3.connect(tmp_path / "x.db") as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE lab_results SET value = value + 1 WHERE value = (SELECT max(value) FROM lab_results)")
    assert command("backup", tmp_path / "b.zip", url=url).exit_code == 0
    ended = command("restore", tmp_path / "b.zip", url=target)
    assert ended.exit_code == 1
    assert "study demo: revision " in ended.output


def test_what_was_noted_outside_after_the_backup_is_named_and_is_no_fault(migrated_url, empty_url, tmp_path):
    filled(migrated_url)
    file = tmp_path / "b.zip"
    assert command("backup", file, url=migrated_url).exit_code == 0
    with service(migrated_url) as client:
        assert client.put("/v1/studies/demo/patients/LATER", json=timeline("LATER")).status_code == 201
    ended = command("restore", file, url=empty_url)
    assert ended.exit_code == 0, ended.output
    assert "after the backup, and not in it:\nheads outside: study of demo: line " in ended.output
    assert "the end is missing" in ended.output
    assert "Every ledger is whole" in ended.output


def test_who_was_erased_after_the_backup_is_named_after_its_restore_and_erased_again(migrated_url, empty_url, tmp_path):
    filled(migrated_url)
    file, home = tmp_path / "b.zip", "/v1/studies/demo/patients"
    unreadable = "patient,time,code,value,unit,upper_limit\nASIDE,2005-03-16,CK,?,U/L,163\n"
    with service(migrated_url) as client:
        known = {"name": "Demo", "protocol": "seed-2008", "identifiers": "pseudonyms"}
        assert client.put("/v1/studies/demo", json=known).status_code == 200
        for name in ("BEFORE", "SINCE", "BACK"):
            assert client.put(f"{home}/{name}", json=timeline(name)).status_code == 201
        sent = client.post("/v1/studies/demo/labs", content=unreadable, headers={"Content-Type": "text/csv"})
        assert sent.status_code == 422, "it is set aside, and nothing else was sent"
        assert client.delete(f"{home}/BEFORE?erase=true").status_code == 204
        assert client.put(f"{home}/BEFORE?readmit=true", json=timeline("BEFORE")).status_code == 201
        assert command("backup", file, url=migrated_url).exit_code == 0
        for name in ("SINCE", "BACK", "ASIDE"):
            assert client.delete(f"{home}/{name}?erase=true").status_code == 204, name
        assert client.put(f"{home}/BACK?readmit=true", json=timeline("BACK")).status_code == 201
    listed = (tmp_path / "heads.erasures").read_text()
    assert len(listed.splitlines()) == 4
    assert not any(name in listed for name in ("BEFORE", "SINCE", "BACK", "ASIDE"))
    assert (tmp_path / "heads.erasures").stat().st_mode & 0o777 == 0o600
    assert command("erase-again", url=migrated_url).output == "Erased again: 0.\n"

    restored = command("restore", file, url=empty_url)
    assert restored.exit_code == 0, restored.output
    assert "python -m app erase-again:\ndemo SINCE\ndemo BACK\ndemo ASIDE\n" in restored.output
    again = command("erase-again", url=empty_url)
    assert (again.exit_code, again.output) == (0, "demo SINCE\ndemo BACK\ndemo ASIDE\nErased again: 3.\n")
    with service(empty_url) as client:
        statuses = [client.get(f"{home}/{name}").status_code for name in ("BEFORE", "SINCE", "BACK")]
        assert statuses == [200, 410, 410]
        assert client.get("/v1/studies/demo/set-aside").json()["items"] == []
        assert client.put(f"{home}/BACK?readmit=true", json=timeline("BACK")).status_code == 201
        rows = client.get("/v1/audit?study=demo&limit=500").json()["items"]
        assert [row["caller"] for row in rows if row["operation"] == "erase-again"] == ["command"] * 3
    assert command("erase-again", url=empty_url).output == "Erased again: 0.\n", "who is readmitted stays"


@pytest.mark.parametrize("missing", ["before the first start", "a line that was cut", "a line of somebody else"])
def test_the_list_of_erasures_is_completed_at_the_start(migrated_url, tmp_path, missing):
    filled(migrated_url)
    with service(migrated_url) as client:
        client.put("/v1/studies/demo/patients/P9", json=timeline("P9"))
        assert client.delete("/v1/studies/demo/patients/P9?erase=true").status_code == 204
    file = tmp_path / "heads.erasures"
    whole = file.read_bytes()
    file.unlink()
    if missing != "before the first start":
        file.write_bytes(whole[:-9] + b"\n" if missing == "a line that was cut" else whole.replace(b"demo", b"omed"))
    assert command("erase-again", url=migrated_url).exit_code == 0
    assert file.read_bytes().splitlines()[-1:] == whole.splitlines()


def test_a_backup_and_a_restore_are_in_the_audit(migrated_url, empty_url, tmp_path):
    filled(migrated_url)
    assert command("backup", tmp_path / "b.zip", url=migrated_url).exit_code == 0
    assert command("restore", tmp_path / "b.zip", url=empty_url).exit_code == 0
    with service(empty_url) as client:
        rows = [row for row in client.get("/v1/audit").json()["items"] if row["study"] is None]
    assert [(row["operation"], row["door"], row["caller"], row["extent"]) for row in rows] == [
        ("backup", "command", "command", "everyone"),
        ("restore", "command", "command", "nothing"),
    ]


@pytest.mark.postgresql
def test_programs_that_are_missing_or_older_than_the_server_are_named(migrated_postgres_url, tmp_path, monkeypatch):
    filled(migrated_postgres_url)
    old = tmp_path / "bin" / "pg_dump"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}{os.pathsep}{Path(shutil.which('sh')).parent}")
    ended = command("backup", tmp_path / "b.zip", url=migrated_postgres_url)
    assert ended.exit_code == 2
    assert "pg_dump is older than the server; install that of version" in ended.stderr
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = command("backup", tmp_path / "b.zip", url=migrated_postgres_url)
    assert ended.exit_code == 2
    assert "pg_dump is not installed" in ended.stderr
    assert not (tmp_path / "b.zip").exists()
