"""Open a database together with its secret file and its heads, or say why that must not be done.

The first start makes the secret file, and takes the keys that an earlier release stored out of the database. After
that, a database without its file, or with the file of another one, is refused: with a new file nobody could verify
the ledger any more, or recognise an erased person.
"""

import logging
import secrets
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, select, text

from app.secret_file import NoSecretFile, SecretFile, UnusableSecretFile
from app.store import audit, seals
from app.store.audit_journal import move_left_behind
from app.store.engine import Database, revision_of
from app.store.erasure_list import complete_erasure_list
from app.store.heads import Chain, ChainHead, HeadsFile
from app.store.ledger_keys import FINGERPRINT, LOCKED, lock_studies
from app.store.queries import Insertion, Query
from app.store.rehearsal import remove_leftovers
from app.store.revision_builder import HEAD
from app.store.tables import SCHEMA_REVISION, secret_fingerprint, studies
from app.store.verification import fault_of

log = logging.getLogger("myoresponse")
_INSERT = Insertion(secret_fingerprint)
_LOCK = Query(text("SELECT pg_advisory_xact_lock(20080118)"))
_STUDIES = Query(select(studies.c.key, studies.c.locked_secret).order_by(studies.c.key))


def open_ledger(database: Database, heads: Path) -> str | None:
    """Make a database ready for its ledger. The reason why it cannot be used with this secret file, or `None`.

    A database with the tables of another version is left as it is.
    """
    with database.reading() as connection:
        if revision_of(connection) != SCHEMA_REVISION:
            return None
        known = FINGERPRINT.row(connection)
        locked = any(len(secret) == LOCKED for _, secret in _STUDIES.rows(connection))
    try:
        if known is None and not locked:
            known = _begin(database)
        if known is None:
            return "The database has no fingerprint of its secret file any more: somebody changed it."
        if database.keys.read().fingerprint != bytes(known[0]):
            return (
                f"The ledger of this database was made with another secret file than {database.keys.path}. "
                "MYORESPONSE_SECRET_FILE names the file."
            )
    except NoSecretFile:
        return (
            f"The ledger of this database was made with a secret file, and {database.keys.path} does not exist. Bring "
            "it back from its backup, or name it in MYORESPONSE_SECRET_FILE. No new one is made, because with it "
            "nobody could verify the ledger."
        )
    except UnusableSecretFile as reason:
        return f"The service cannot be started: {reason}."
    database.heads = file = HeadsFile(heads, database.keys.heads, bytes(known[1]))
    file.shorten = lambda: shorten(database, file)
    objection = _begin_heads(database, file)
    if objection is None:
        move_left_behind(database, heads, database.keys.heads)
        _seal_keys(database)
        complete_erasure_list(database)
        database.sweep()
        remove_leftovers()
    return objection


def _begin(database: Database) -> tuple[bytes, bytes]:
    """Make the secret file, and note in the database which one it is. Of several processes, one does it."""
    secret = SecretFile.create(database.keys.path)
    database.keys.read()
    with database.writing() as connection:
        if connection.dialect.name == "postgresql":
            _LOCK.rows(connection)  # SQLite has one writer anyway
        known = FINGERPRINT.row(connection)
        if known is not None:
            return known[0], known[1]
        moved = lock_studies(connection)
        for key in (seals.NO_STUDY, *[key for key, _ in _STUDIES.rows(connection)]):
            seals.seal_all(connection, key)
        name = secrets.token_bytes(16)
        _INSERT.run(connection, [(1, secret.fingerprint, name)])
    if moved:
        database.scrub()
        log.info("event=keys moved=%d", moved)
    return secret.fingerprint, name


def _seal_keys(database: Database) -> None:
    """Seal the API keys that an earlier release stored."""
    with database.reading() as connection:
        if not seals.has_earlier_keys(connection):
            return
    with database.writing() as connection:
        seals.seal_earlier_keys(connection)


def _begin_heads(database: Database, heads: HeadsFile) -> str | None:
    """Write the heads of all chains, unless the file has some of this database."""
    try:
        if heads.has_lines():
            return None
        with database.reading() as connection:
            now = dict(heads_now(connection))
        heads.write(now)
    except OSError as error:
        return (
            f"The heads of the ledger cannot be written to {heads.path}: {error.strerror}. MYORESPONSE_HEADS_FILE "
            "names the file."
        )
    if now:
        log.info("event=heads made=%d", len(now))
    return None


def shorten(database: Database, heads: HeadsFile) -> int:
    """Remove lines of the heads that later ones make needless. How many there were. Raises `OSError`."""
    with database.reading() as connection:
        return heads.compact(lambda line: fault_of(connection, line.chain, line.head) is None)


def heads_now(connection: Connection) -> Iterator[tuple[Chain, ChainHead]]:
    """The heads of all chains as they are in the database."""
    for key in (seals.NO_STUDY, *[key for key, _ in _STUDIES.rows(connection)]):
        head = HEAD.row(connection, key)
        if head is not None:
            yield ("study", key), ChainHead(head[0], bytes(head[2]))
        changes, seal = seals.seal_of(connection, key)
        if changes:
            yield ("seal", key), ChainHead(changes, seal)
    for chain, number, hashed in audit.heads(connection):
        yield ("audit", chain), ChainHead(number, hashed)
