"""The commands for the MLLP listener and for dead letters: listen, list the letters, send them again."""

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from app import __version__
from app.access.callers import COMMAND
from app.errors import Conflict, NotFound, ServiceError
from app.hl7v2 import submit
from app.hl7v2.letter_filing import FiledLetters
from app.hl7v2.message import TYPES
from app.hl7v2.message_handler import MessageHandler, StoreMessage
from app.hl7v2.mllp_connection import Limits
from app.hl7v2.mllp_listener import Listener, accepted_names, may_send, tls_context
from app.log import places, switched
from app.settings import Settings
from app.store import audit
from app.store.audit_trail import AuditTrail
from app.store.engine import Database, kind_of
from app.store.tables import SCHEMA_REVISION
from app.submission.dead_letters import (
    PLAIN,
    SEALED,
    DeadLetters,
    Letter,
    LetterNote,
    SealedOtherwise,
    forget_erased,
    letters_of,
)
from app.submission.feeds import read_feed
from app.timeline.times import microseconds

log = logging.getLogger("myoresponse")


class CannotListen(Exception):
    """The listener cannot start; the text is the reason in one line."""


def listen(settings: Settings, database: Database, study: str, port: int) -> None:
    """Store messages in a study until a signal stops the process.

    Raises `CannotListen` before any message is read.
    """
    if read := settings.types_not_ours & TYPES:
        named = ", ".join(sorted(map("^".join, read)))
        raise CannotListen(f"MYORESPONSE_MLLP_NOT_OURS names a type that is read here: {named}.")
    store = message_storer(settings, database, study)
    letters = dead_letters(settings, database)
    try:
        context = tls_context(settings)
    except OSError:
        raise CannotListen(
            "TLS cannot be used: a file of MYORESPONSE_MLLP_CERTIFICATE, _KEY or _CLIENT_CA cannot be read, does not "
            "fit the others, or is a key with a password."
        ) from None
    trail = AuditTrail(database)
    listener = Listener(
        MessageHandler(study, store, FiledLetters(letters, database, settings.secret), trail.answered),
        Limits(settings.mllp_max_bytes, settings.mllp_timeout_seconds, settings.mllp_idle_seconds),
        most=settings.mllp_connections,
        may_send=lambda address: may_send(settings, address),
        accepted=lambda names: accepted_names(settings, study, names),
        context=context,
    )
    try:
        asyncio.run(_serve(listener, listening_socket(settings.mllp_host, port), settings, study))
    finally:
        trail.close()


def message_storer(settings: Settings, database: Database, study: str) -> StoreMessage:
    """The function that stores a message of a client in the study.

    Raises `CannotListen` if the study does not exist or has no secret for its identifiers.
    """
    now = microseconds(datetime.now(UTC))
    try:
        read_feed(database, study, settings.secret, now)
    except NotFound:
        raise CannotListen("This database has no such study; create it by the API first.") from None
    except Conflict as conflict:
        raise CannotListen(str(conflict)) from None

    def store(message: bytes, client: str) -> submit.Reply:
        at = microseconds(datetime.now(UTC))
        return submit.store_message(
            database, study, message, secret=settings.secret, now=at, client=client, not_ours=settings.types_not_ours
        )

    return store


def dead_letters(settings: Settings, database: Database) -> DeadLetters:
    """The directory of dead letters, after a test that letters can be written.

    Letters that an earlier version kept without encryption are taken along, and those of erased persons are deleted.
    """
    letters = letters_of(settings, database)
    try:
        letters.prepare()
        tidy(letters, database, settings.secret)
    except OSError:
        raise CannotListen(
            "The directory of MYORESPONSE_DEAD_LETTERS must have room, belong to the user of this process and be open "
            "to it only (chmod 700): refused messages are kept there."
        ) from None
    return letters


def tidy(letters: DeadLetters, database: Database, secret: str | None) -> None:
    """Encrypt what an earlier version kept without encryption, and delete the letters of erased persons.

    The log says how many, and how many stay as they are because their study is not known.
    """
    taken, left = FiledLetters(letters, database, secret).take_along() if letters.plain() else (0, 0)
    forgotten = forget_erased(letters, database, letters.studies())
    if taken or left or forgotten:
        log.warning("event=letters encrypted=%d left_plain=%d of_erased_deleted=%d", taken, left, forgotten)


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 stands for any free port."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, UnicodeError) as error:  # UnicodeError: the text cannot be the name of a host
        why = error.strerror if isinstance(error, OSError) else "no host"
        raise CannotListen(
            f"Nothing can listen on {host}, port {port} ({why}): see MYORESPONSE_MLLP_HOST and --port."
        ) from None


async def _serve(listener: Listener, listening: socket.socket, settings: Settings, study: str) -> None:
    stopping, reason, began = asyncio.Event(), "failure", time.monotonic()

    def stop(number: signal.Signals) -> None:
        nonlocal reason
        reason = number.name
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    host, port = listening.getsockname()[:2]
    address = f"{f'[{host}]' if ':' in host else host}:{port}"
    log.info(
        "event=start service=mllp version=%s database=%s tables=%s address=%s study=%s pseudonyms=%s tls=%s "
        "client_certificates=%s senders=%s",
        __version__,
        kind_of(settings.database_url),
        SCHEMA_REVISION,
        address,
        study,
        switched(settings.secret is not None),
        switched(settings.mllp_certificate is not None),
        switched(settings.mllp_client_ca is not None),
        "listed" if settings.sender_networks else "any",
    )
    if settings.log == "text":
        sys.stdout.write(f"MLLP on {address} for study {study}\n")
        sys.stdout.flush()
    try:
        await listener.run(listening, stopping)
    finally:
        log.info("event=stop service=mllp reason=%s uptime_s=%.1f", reason, time.monotonic() - began)


def letter_lines(letters: Iterable[Letter]) -> Iterator[str]:
    """A line for each letter: its file, when it came, its study, the answer and the faults."""
    for letter in letters:
        note = letter.note()
        yield f"{letter.file}  {_described(note) if note is not None else '(no note that can be read)'}{_kind(letter)}"


def _kind(letter: Letter) -> str:
    """What is to be said of the file of a letter."""
    if letter.file.suffix == PLAIN:
        return "  (not encrypted)"
    return "" if letter.file.exists() else "  (only this note is kept)"


def _described(note: LetterNote) -> str:
    times = f" ({note.times} times)" if note.times > 1 else ""
    faults = "; ".join(f"{fault.place} {fault.code}".strip() for fault in note.faults)
    answered = note.code or "not answered"
    control = f"  MSH-10 {note.control_id}" if note.control_id else ""
    return f"{note.last_received:%Y-%m-%dT%H:%M:%SZ}{times}  {note.study}  {answered}  {faults or '-'}{control}"


class SentLetter(NamedTuple):
    """The outcome of a letter that was sent again, with the text for its line. An accepted letter is removed.

    `failed`: its file remains and somebody has to act.
    """

    file: Path
    failed: bool
    words: str


def send_letters(
    settings: Settings, database: Database, files: Iterable[Path], study: str | None
) -> Iterator[SentLetter]:
    """Send letters again, each once and in the order in which they arrived, to the study in its note, or to `study` if
    it has no note. Each has a row of the audit.
    """
    letters = letters_of(settings, database)
    for letter in letters.among(files):
        note = letter.note()
        if note is not None and not note.kept:
            yield SentLetter(letter.file, False, "not sent: only its note is kept")
            continue
        into = note.study if note is not None else study
        with audit.command("dead-letters") as access:
            accepted, words = _sent(settings, database, letters, letter, note, into)
        if not access.written:
            status = audit.DONE if accepted else audit.REFUSED
            audit.note_command(database, "dead-letters", study=into, status=status)
        yield SentLetter(letter.file, not accepted, words)


def read_letters(settings: Settings, database: Database, files: Iterable[Path]) -> Iterator[bytes]:
    """The messages of letters, decrypted. Each has a row of the audit. Raises `CannotListen` with the reason."""
    for letter in letters_of(settings, database).among(files):
        note = letter.note()
        try:
            message = letter.message()
        except SealedOtherwise:
            raise CannotListen(f"{letter.file}: {_SEALED_OTHERWISE}") from None
        except OSError:
            raise CannotListen(f"{letter.file}: there is no message that can be read.") from None
        audit.note_command(database, "dead-letters", study=None if note is None else note.study)
        yield message


def delete_letters(settings: Settings, database: Database, files: Iterable[Path]) -> Iterator[str]:
    """Delete letters, each with its note and its marks; a line for each. Other files stay."""
    for letter in letters_of(settings, database).among(files):
        if letter.note() is None:
            yield f"{letter.file}  left: it is no letter"
        else:
            letter.remove()
            yield f"{letter.file}  deleted"


def list_letters(settings: Settings, database: Database, files: Sequence[Path]) -> Iterator[str]:
    """A line for each of these letters, or for all, after the directory is tidied. Raises `OSError`."""
    letters = letters_of(settings, database)
    tidy(letters, database, settings.secret)
    yield from letter_lines(letters.among(files) if files else letters.all())


_SEALED_OTHERWISE = "it was encrypted with another secret, its note is missing, or its file was changed"


def _sent(
    settings: Settings,
    database: Database,
    letters: DeadLetters,
    letter: Letter,
    note: LetterNote | None,
    study: str | None,
) -> tuple[bool, str]:
    """Whether a letter was accepted, and the text for its line."""
    try:
        if note is None and letter.file.suffix == SEALED:
            raise SealedOtherwise
        if study is None:
            return False, "not sent: it has no note that names its study; use --study"
        if note is not None and not note.whole:
            return False, "not sent: the message did not arrive whole; ask its sender for it"
        filed = FiledLetters(letters, database, settings.secret)
        return _stored(filed, letter, note, message_storer(settings, database, study))
    except SealedOtherwise:
        return False, f"not sent: {_SEALED_OTHERWISE}"
    except (CannotListen, ServiceError) as reason:
        return False, f"not sent: {reason}"
    except Exception as error:  # its text may quote the message
        return False, f"not sent: {type(error).__name__} at {places(error)}"


def _stored(filed: FiledLetters, letter: Letter, note: LetterNote | None, store: StoreMessage) -> tuple[bool, str]:
    message = letter.message()
    reply = store(message, COMMAND)
    if reply.code == "AA":
        letter.remove()
        return True, "accepted and removed"
    if note is not None:  # it may be of a person who was erased since
        filed.keep(
            message, study=note.study, sender=note.sender, code=reply.code, faults=reply.faults, whole=note.whole,
            before=note,
        )  # fmt: skip
        if letter.file.suffix == PLAIN:
            letter.remove()
    faults = "; ".join(f"{fault.pointer} {fault.code}: {fault.explanation}".strip() for fault in reply.faults)
    return False, f"refused again, {reply.code}: {faults}"
