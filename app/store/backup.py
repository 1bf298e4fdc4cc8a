"""Backups: a copy of the whole database in one file, made while the service runs, and how it is brought back.

The file is a ZIP archive of the database and, written last, a manifest: which version made it, how far each study had
come, the SHA-256 of the copy, and by which secrets it can be used. The secrets themselves are never in it. SQLite is
copied by its online backup, PostgreSQL by `pg_dump`; both copy the one state from which the manifest is made.

A backup is restored only into an empty database, and only if all of it can be used: otherwise nothing is written.
"""

import fcntl
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection, func, inspect, make_url, select
from sqlalchemy.engine import URL

from app import SOFTWARE, __version__
from app.disk import sync_directory
from app.errors import NotInstalled
from app.readers.pseudonyms import fingerprint, study_key
from app.secret_file import NoSecretFile, SecretFile, UnusableSecretFile
from app.store import audit
from app.store.engine import Database, kind_of, revision_of
from app.store.heads import HeadsFile
from app.store.migrations import is_known
from app.store.queries import Query
from app.store.studies import pseudonym_keys_of_studies
from app.store.tables import revisions, studies
from app.store.verification import OUTSIDE, verify_database

FORM = 1
"""The form of the file. A program refuses a later one."""
MANIFEST = "manifest.json"
COPIES = {"sqlite": "database.sqlite", "postgresql": "database.pgdump"}
"""The name of the copy in the archive."""
_LARGEST_MANIFEST = 50_000_000
_PIECE = 1 << 20

_latest = select(revisions.c.study, func.max(revisions.c.number).label("number")).group_by(revisions.c.study).subquery()
_HEADS = Query(
    select(studies.c.id, revisions.c.number, revisions.c.hash)
    .join_from(studies, revisions, revisions.c.study == studies.c.key)
    .join(_latest, (_latest.c.study == revisions.c.study) & (_latest.c.number == revisions.c.number))
    .order_by(studies.c.id)
)


class UnusableBackup(Exception):
    """Why a backup cannot be made or restored, in one line."""


class StudyHead(BaseModel):
    """How far the ledger of a study had come."""

    model_config = ConfigDict(frozen=True, strict=True)

    revision: int
    hash: str


class Manifest(BaseModel):
    """What a backup is."""

    model_config = ConfigDict(frozen=True, strict=True)

    form: int
    software: str
    tables: str
    database: Literal["sqlite", "postgresql"]
    server: int = 0
    """The main version of the PostgreSQL server."""
    made_at: str
    studies: dict[str, StudyHead]
    secret_file: str | None
    """The fingerprint of the secret file, if there was one."""
    pseudonyms: dict[str, str]
    """The fingerprint of the key of the pseudonyms of each study that has some."""
    bytes: int
    sha256: str

    @property
    def words(self) -> str:
        """What it is, for a person."""
        return f"{len(self.studies)} studies, {self.bytes:,} bytes, tables {self.tables}, of {self.made_at}"


def back_up(database: Database, url: str, file: Path, secret: Path) -> Manifest:
    """Write a backup of the database at the URL to a new file. The file appears when it is complete.

    Raises `UnusableBackup`, and what reading a database raises.
    """
    if file.exists():
        raise UnusableBackup(f"{file} exists already, and a backup never replaces a file")
    known = _fingerprint_of(secret)
    audit.note_command(database, "backup", "everyone")
    _remove_leftovers(file)
    unfinished = file.with_name(f"{file.name}.{token_hex(4)}.part")
    write = _write_sqlite if kind_of(url) == "sqlite" else _write_postgresql
    try:
        with _private(unfinished) as archive, database.reading() as connection:
            manifest = write(connection, archive, url, unfinished, _facts_of(connection, known))
        unfinished.replace(file)
        sync_directory(file.parent)
    except OSError as error:
        raise UnusableBackup(f"{file} cannot be written: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return manifest


def restore(file: Path, url: str, secret: Path, pseudonym_secret: str | None) -> Manifest:
    """Bring a backup back into an empty database.

    Raises `UnusableBackup` before anything is written, and what opening a database raises.
    """
    if not file.is_file():
        raise UnusableBackup(f"there is no file {file}")
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = _read_manifest(archive)
            _refuse_other(manifest, url)
            _refuse_secrets(manifest, secret, pseudonym_secret)
            (_restore_sqlite if manifest.database == "sqlite" else _restore_postgresql)(archive, manifest, url)
    except zipfile.BadZipFile:
        raise UnusableBackup(f"{file} is no whole backup of this program: it was cut short or changed") from None
    except OSError as error:
        raise UnusableBackup(f"a file cannot be read or written: {error.strerror}") from None
    return manifest


# --- what a backup says of itself -------------------------------------------------------------------------------------


def _facts_of(connection: Connection, secret_file: str | None) -> dict[str, Any]:
    """The manifest of the state that this transaction sees, without what is known of the copy."""
    return {
        "form": FORM,
        "software": SOFTWARE,
        "tables": revision_of(connection),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "studies": heads_of(connection),
        "secret_file": secret_file,
        "pseudonyms": pseudonym_keys_of_studies(connection),
    }


def heads_of(connection: Connection) -> dict[str, StudyHead]:
    """How far the ledger of each study has come."""
    return {
        name: StudyHead(revision=number, hash=bytes(hashed).hex()) for name, number, hashed in _HEADS.rows(connection)
    }


def _read_manifest(archive: zipfile.ZipFile) -> Manifest:
    """The manifest of an archive. Raises `UnusableBackup` unless this version can use all of it."""
    try:
        entry = archive.getinfo(MANIFEST)
        text = archive.read(entry) if entry.file_size <= _LARGEST_MANIFEST else b""
        manifest = Manifest.model_validate_json(text)
        archive.getinfo(COPIES[manifest.database])
    except (KeyError, ValidationError):
        raise UnusableBackup("the file is no backup of this program") from None
    if manifest.form > FORM or not is_known(manifest.tables):
        raise UnusableBackup(
            f"the backup was made by {manifest.software}, which is newer than this program, {__version__}; install "
            "that version"
        )
    return manifest


def _refuse_other(manifest: Manifest, url: str) -> None:
    if kind_of(url) != manifest.database:
        raise UnusableBackup(
            f"it is a backup of {manifest.database}, and MYORESPONSE_DATABASE_URL names {kind_of(url)}; `export` and "
            "`import` move a study from one to the other"
        )


def _refuse_secrets(manifest: Manifest, secret: Path, pseudonym_secret: str | None) -> None:
    """Refuse a backup that could not be used with the secrets of the settings."""
    if manifest.secret_file is not None and (found := _fingerprint_of(secret)) != manifest.secret_file:
        what = f"{secret} does not exist" if found is None else f"{secret} is another one"
        raise UnusableBackup(f"the backup needs the secret file of its time, and {what}; bring it back first")
    for study, made_with in manifest.pseudonyms.items():
        if pseudonym_secret is None or fingerprint(study_key(pseudonym_secret, study)) != made_with:
            what = "there is none" if pseudonym_secret is None else "that of the settings is another one"
            raise UnusableBackup(
                f"the pseudonyms of study {study} need the secret that they were made with, and {what}: "
                "MYORESPONSE_PSEUDONYM_SECRET_FILE"
            )


def _fingerprint_of(secret: Path) -> str | None:
    try:
        return SecretFile.read(secret).fingerprint.hex()
    except NoSecretFile:
        return None
    except UnusableSecretFile as reason:
        raise UnusableBackup(str(reason)) from None


# --- SQLite -----------------------------------------------------------------------------------------------------------


def _write_sqlite(
    connection: Connection, archive: zipfile.ZipFile, _: str, beside: Path, found: Mapping[str, Any]
) -> Manifest:
    source: Any = connection.connection.driver_connection
    copy = beside.with_name(f"{beside.name}.copy")
    try:
        os.close(os.open(copy, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(copy)) as target:
            source.backup(target)  # in one step, of the state that the transaction sees; writers go on
            target.execute("PRAGMA journal_mode=DELETE")
        with copy.open("rb") as file:
            return _add(archive, "sqlite", iter(lambda: file.read(_PIECE), b""), found)
    finally:
        copy.unlink(missing_ok=True)


def _restore_sqlite(archive: zipfile.ZipFile, manifest: Manifest, url: str) -> None:
    target = Path((make_url(url).database or "").removeprefix("file:"))
    if not target.parent.is_dir():
        raise UnusableBackup(f"there is no directory {target.parent}")
    if any(path.exists() and path.stat().st_size for path in (target, target.with_name(f"{target.name}-wal"))):
        raise UnusableBackup(f"{target} is not empty; a backup is restored into a new file only")
    copy = target.with_name(f"{target.name}.restoring")
    try:
        descriptor = os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            _read_copy(archive, manifest, file.write)
            file.flush()
            os.fsync(file.fileno())
        with closing(sqlite3.connect(copy)) as database:
            try:
                whole = database.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
            except sqlite3.DatabaseError:
                whole = False
        if not whole:
            raise UnusableBackup("the copy in the backup is damaged: SQLite finds no whole database in it")
        copy.replace(target)
        sync_directory(target.parent)
    except FileExistsError:
        raise UnusableBackup(f"{copy} exists; another restore runs, or was interrupted: remove the file") from None
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def _write_postgresql(
    connection: Connection, archive: zipfile.ZipFile, url: str, _: Path, found: Mapping[str, Any]
) -> Manifest:
    server = _server_version(connection)
    program = _program("pg_dump", server)
    driver: Any = connection.connection.cursor()
    driver.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # it is idle until the copy is complete
    snapshot = driver.execute("SELECT pg_export_snapshot()").fetchone()[0]
    options = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
    with _running(program, options, url, stdout=subprocess.PIPE) as process:
        output: IO[bytes] = process.stdout  # type: ignore[assignment]  # it is a pipe
        return _add(archive, "postgresql", iter(lambda: output.read(_PIECE), b""), {**found, "server": server})


def _restore_postgresql(archive: zipfile.ZipFile, manifest: Manifest, url: str) -> None:
    database = Database(url)
    try:
        with database.reading() as connection:
            if inspect(connection).get_table_names():
                raise UnusableBackup("the database is not empty; a backup is restored into a new database only")
            server = _server_version(connection)
    finally:
        database.dispose()
    if server < manifest.server:
        raise UnusableBackup(f"the backup is of a server of version {manifest.server}, and this one has {server}")
    program = _program("pg_restore", manifest.server)
    _read_copy(archive, manifest, lambda piece: None)  # all of it, before anything is written
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    with _running(program, options, url, stdin=subprocess.PIPE) as process, suppress(BrokenPipeError):
        put: IO[bytes] = process.stdin  # type: ignore[assignment]  # it is a pipe
        _read_copy(archive, manifest, put.write)
        put.close()


def _server_version(connection: Connection) -> int:
    driver: Any = connection.connection.driver_connection
    return int(driver.info.server_version) // 10_000


def _program(name: str, server: int) -> str:
    """The path of a program of PostgreSQL that is not older than the server."""
    path = shutil.which(name)
    if path is None:
        raise NotInstalled(f"{name} is not installed; it comes with the client programs of PostgreSQL")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - found by its fixed name
    version = re.search(r"\) (\d+)", said)
    if version is None or int(version[1]) < server:
        raise UnusableBackup(f"{name} is older than the server; install that of version {server} or later")
    return path


@contextmanager
def _running(
    program: str, options: list[str], url: str, *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of PostgreSQL on the database of the URL; its password is no argument, which others can read.

    What the program writes is not repeated, because it may contain an address or a row.
    """
    address: URL = make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql")
    secret = {} if address.password is None else {"PGPASSWORD": str(address.password)}
    target = address.set(password=None).render_as_string()
    process = subprocess.Popen(  # noqa: S603 - found by its fixed name, without a shell
        [program, *options, f"--dbname={target}"],
        env={**os.environ, **secret},
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    except BaseException:
        process.kill()
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        code = process.wait()
    if code:
        raise UnusableBackup(f"{Path(program).name} failed with exit code {code}; nothing was written")


# --- the archive ------------------------------------------------------------------------------------------------------


@contextmanager
def _private(path: Path) -> Iterator[zipfile.ZipFile]:
    """A new archive that only its owner may read, down to the disk at the end of the block."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    with os.fdopen(descriptor, "w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the process ends: `_remove_leftovers`
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            yield archive
        file.flush()
        os.fsync(file.fileno())


def _remove_leftovers(file: Path) -> None:
    """Remove what backups of this name left that were killed. One that is being made has a lock."""
    for part in file.parent.glob(f"{escape(file.name)}.{'[0-9a-f]' * 8}.part"):
        try:
            with part.open("rb") as opened:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for left in part.parent.glob(f"{escape(part.name)}*"):
                    left.unlink(missing_ok=True)
        except BlockingIOError:
            continue
        except OSError as error:
            raise UnusableBackup(f"{part}, which a killed backup left, cannot be removed: {error.strerror}") from None


def _add(
    archive: zipfile.ZipFile, kind: Literal["sqlite", "postgresql"], pieces: Iterator[bytes], found: Mapping[str, Any]
) -> Manifest:
    """Add the copy, and after it the manifest: an archive that was cut short has none."""
    digest, size = hashlib.sha256(), 0
    with archive.open(COPIES[kind], "w", force_zip64=True) as member:
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            member.write(piece)
    manifest = Manifest(**found, database=kind, bytes=size, sha256=digest.hexdigest())
    archive.writestr(MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


def _read_copy(archive: zipfile.ZipFile, manifest: Manifest, write: Callable[[bytes], object]) -> None:
    """Pass on all of the copy. Raises `UnusableBackup` if it is not the copy of the manifest."""
    digest, size = hashlib.sha256(), 0
    try:
        with archive.open(COPIES[manifest.database]) as member:
            while piece := member.read(_PIECE):
                size += len(piece)
                if size > manifest.bytes:
                    break
                digest.update(piece)
                write(piece)
    except (zipfile.BadZipFile, EOFError, ValueError):
        size = -1
    if size != manifest.bytes or digest.hexdigest() != manifest.sha256:
        raise UnusableBackup("the copy in the backup is not the one that its manifest describes: it was changed")


# --- after a restore --------------------------------------------------------------------------------------------------


class Restored(NamedTuple):
    """What is wrong with a restored database, and what was noted outside of it after the backup."""

    faults: list[str]
    later: list[str]


def verified(connection: Connection, heads: HeadsFile | None, manifest: Manifest) -> Restored:
    """Verify a restored database. A head outside that is ahead of it is no fault: it shows what is lost."""
    now = heads_of(connection)
    faults = [
        f"study {study}: its ledger does not end where the manifest of the backup says"
        for study in sorted(now.keys() | manifest.studies.keys())
        if now.get(study) != manifest.studies.get(study)
    ]
    later: list[str] = []
    for part in verify_database(connection, heads):
        found = later if part.subject == OUTSIDE else faults
        found += [f"{part.subject}: {fault}" for fault in part.faults]
    return Restored(faults, later)
