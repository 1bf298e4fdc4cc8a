"""The commands for the MLLP listener and for dead letters: listen, list the letters, send them again."""

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from app import __version__
from app.access.callers import COMMAND
from app.errors import Conflict, NotFound, ServiceError
from app.hl7v2 import submit
from app.hl7v2.dead_letters import DeadLetters, Letter, LetterNote
from app.hl7v2.message_handler import MessageHandler, StoreMessage
from app.hl7v2.mllp_connection import Limits
from app.hl7v2.mllp_listener import Listener, accepted_names, may_send, tls_context
from app.log import places, switched
from app.settings import Settings
from app.store import audit
from app.store.audit_trail import AuditTrail
from app.store.engine import Database, kind_of
from app.store.tables import SCHEMA_REVISION
from app.submission.feeds import read_feed
from app.timeline.times import microseconds

log = logging.getLogger("myoresponse")


class CannotListen(Exception):
    """The listener cannot start; the text is the reason in one line."""


def listen(settings: Settings, database: Database, study: str, port: int) -> None:
    """Store messages in a study until a signal stops the process.

    Raises `CannotListen` before any message is read.
    """
    store = message_storer(settings, database, study)
    letters = dead_letters(settings)
    try:
        context = tls_context(settings)
    except OSError:
        raise CannotListen(
            "TLS cannot be used: a file of MYORESPONSE_MLLP_CERTIFICATE, _KEY or _CLIENT_CA cannot be read, does not "
            "fit the others, or is a key with a password."
        ) from None
    trail = AuditTrail(database)
    listener = Listener(
        MessageHandler(study, store, letters, trail.answered),
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
        return submit.store_message(database, study, message, secret=settings.secret, now=at, client=client)

    return store


def dead_letters(settings: Settings) -> DeadLetters:
    """The directory of dead letters, after a test that letters can be written."""
    letters = DeadLetters(settings.dead_letters)
    try:
        letters.prepare()
    except OSError:
        raise CannotListen(
            "The directory of MYORESPONSE_DEAD_LETTERS must be writable and open to its owner only "
            "(chmod 700): refused messages are kept there unchanged."
        ) from None
    return letters


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
        yield f"{letter.file}  {_described(note) if note is not None else '(its note cannot be read)'}"


def _described(note: LetterNote) -> str:
    times = f" ({note.times} times)" if note.times > 1 else ""
    faults = "; ".join(f"{fault.place} {fault.code}".strip() for fault in note.faults)
    answered = note.code or "not answered"
    return f"{note.last_received:%Y-%m-%dT%H:%M:%SZ}{times}  {note.study}  {answered}  {faults or '-'}"


class SentLetter(NamedTuple):
    """The outcome of a letter that was sent again, with the text for its line. An accepted letter is removed."""

    file: Path
    accepted: bool
    words: str


def send_letters(
    settings: Settings, database: Database, files: Iterable[Path], study: str | None
) -> Iterator[SentLetter]:
    """Send letters again, each to the study in its note, or to `study` if it has no note. Each has a row of the
    audit.
    """
    for file in files:
        letter = Letter(file)
        note = letter.note()
        into = note.study if note is not None else study
        with audit.command("dead-letters") as access:
            accepted, words = _sent(settings, database, letter, note, into)
        if not access.written:
            status = audit.DONE if accepted else audit.REFUSED
            audit.note_command(database, "dead-letters", study=into, status=status)
        yield SentLetter(file, accepted, words)


def _sent(
    settings: Settings, database: Database, letter: Letter, note: LetterNote | None, study: str | None
) -> tuple[bool, str]:
    """Whether a letter was accepted, and the text for its line."""
    try:
        if study is None:
            return False, "not sent: it has no note that names its study; use --study"
        if letter.is_cut_short():
            return False, "not sent: the message did not arrive whole; ask its sender for it"
        return _stored(letter, note, message_storer(settings, database, study))
    except (CannotListen, ServiceError) as reason:
        return False, f"not sent: {reason}"
    except Exception as error:  # its text may quote the message
        return False, f"not sent: {type(error).__name__} at {places(error)}"


def _stored(letter: Letter, note: LetterNote | None, store: StoreMessage) -> tuple[bool, str]:
    reply = store(letter.message(), COMMAND)
    if reply.code == "AA":
        letter.remove()
        return True, "accepted and removed"
    if note is not None:
        letter.write_note(note.refused_again(reply.code, reply.faults))
    faults = "; ".join(f"{fault.pointer} {fault.code}: {fault.explanation}".strip() for fault in reply.faults)
    return False, f"refused again, {reply.code}: {faults}"
