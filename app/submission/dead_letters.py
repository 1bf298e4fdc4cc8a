"""Dead letters: refused messages, kept as files until somebody has corrected their cause.

A letter is a note that says when and why a message was refused, and the message itself, encrypted: the key is made of
the secret of the pseudonyms, else of the secret file. A letter has a mark in the folder of each person whom its message
names. The name of this folder is the hash by which the study recognises a person who was erased: so an erasure finds
the letters of a person, also of one who has no record, and reads none of the others.

Of a message that must not be kept there is the note alone. A letter is on the disk before the sender gets the refusal:
after that, the sender may have no copy.
"""

import hmac
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from app.disk import replace_whole, sync_directory
from app.errors import Fault
from app.settings import Settings
from app.store.engine import Database
from app.store.erased_persons import open_erasures

Refusal = Literal["AE", "AR"]
SEALED, PLAIN, NOTE = ".letter", ".hl7", ".json"
"""The suffixes of the files: an encrypted message, a message as an earlier version kept it, a note."""
_PERSONS = "persons"
_BEGIN = b"MYOLETTER1\n"
_NONCE = 12
FIRST = datetime.min.replace(tzinfo=UTC)


class SealedOtherwise(Exception):
    """A letter was encrypted with another secret, or its file was changed."""


class NotedFault(BaseModel):
    """A fault in a note."""

    model_config = ConfigDict(frozen=True)

    place: str
    code: str
    sentence: str


class LetterNote(BaseModel):
    """When and why a message was refused.

    `received` and `last_received` are UTC times, `times` is how often the message came. `code` is the answer that the
    sender got, `None` if it got none. `whole`: the complete message arrived. `kept`: the message is there, too.
    `persons` are the folders in which the letter has a mark.
    """

    model_config = ConfigDict(frozen=True)

    received: datetime
    last_received: datetime
    times: int = 1
    study: str
    sender: str
    code: Refusal | None
    control_id: str = ""
    faults: tuple[NotedFault, ...]
    whole: bool = True
    kept: bool = True
    persons: tuple[str, ...] = ()


def noted(faults: Iterable[Fault]) -> tuple[NotedFault, ...]:
    """Faults in the form of a note."""
    return tuple(NotedFault(place=fault.pointer, code=fault.code.value, sentence=fault.explanation) for fault in faults)


@dataclass(frozen=True, slots=True)
class LetterKeys:
    """The keys of letters: of the secret of the pseudonyms, if there is one, and of the secret file."""

    secret: str | None
    root: Callable[[], bytes]
    """Gives the key of the secret file for letters."""

    def of(self, study: str) -> list[bytes]:
        """The keys of a study: the first one encrypts, each may decrypt."""
        secrets_known = [] if self.secret is None else [self.secret.encode()]
        text = f"myoresponse dead letters of study {study}".encode()
        return [hmac.digest(each, text, "sha256") for each in (*secrets_known, self.root())]


class Letter:
    """A dead letter: the file of its message, if that is kept, and the file of its note."""

    def __init__(self, file: Path, keys: LetterKeys) -> None:
        self.file = file
        self._note = file.with_suffix(NOTE)
        self._keys = keys

    def message(self) -> bytes:
        """The message. Raises `OSError` if there is none, and `SealedOtherwise`."""
        content = self.file.read_bytes()
        if self.file.suffix != SEALED:
            return content
        note = self.note()
        if note is None or not content.startswith(_BEGIN):
            raise SealedOtherwise
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce, sealed = content[len(_BEGIN) :][:_NONCE], content[len(_BEGIN) + _NONCE :]
        for key in self._keys.of(note.study):
            with suppress(InvalidTag, ValueError):
                return AESGCM(key).decrypt(nonce, sealed, _bound_to(note.study, self.file.stem))
        raise SealedOtherwise

    def note(self) -> LetterNote | None:
        """The note of the message; `None` if there is no note that can be read."""
        try:
            return LetterNote.model_validate_json(self._note.read_bytes())
        except (OSError, ValidationError):
            return None

    def write_note(self, note: LetterNote) -> None:
        """Write the note of the message; it replaces an existing note."""
        _write(self._note, note.model_dump_json(indent=2).encode() + b"\n")

    def remove(self) -> None:
        """Delete the message, its note, and its marks in the folders of persons."""
        note = self.note()
        self.file.unlink()
        self._note.unlink(missing_ok=True)
        for person in note.persons if note is not None else ():
            folder = self.file.parent / _PERSONS / note.study / person if note is not None else None
            if folder is not None:
                (folder / self.file.stem).unlink(missing_ok=True)
                with suppress(OSError):  # the person has other letters
                    folder.rmdir()
        sync_directory(self.file.parent)


class DeadLetters:
    """The letters of one directory. Every method raises `OSError` if a file cannot be read or written."""

    def __init__(self, directory: Path, keys: LetterKeys) -> None:
        self.directory = directory
        self._keys = keys

    def prepare(self) -> None:
        """Create the directory if it does not exist, delete incomplete files of a killed listener, and test that
        letters can be written. An incomplete letter was never answered. If another listener is writing it now, its
        sender sends again.

        Raises `PermissionError` if other users may enter an existing directory.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.is_foreign():
            raise PermissionError
        for part in self.directory.glob(".*.part"):
            part.unlink(missing_ok=True)
        trial = self.directory / ".trial"
        _write(trial, b"")
        trial.unlink()

    def is_foreign(self) -> bool:
        """Whether other users may enter the directory."""
        return os.name == "posix" and stat.S_IMODE(self.directory.stat().st_mode) & 0o077 != 0

    def is_usable(self) -> bool:
        """Whether letters can be read, written and removed, or whether there is no directory."""
        try:
            return not self.is_foreign() and os.access(self.directory, os.R_OK | os.W_OK | os.X_OK)
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def keep(
        self,
        message: bytes,
        *,
        study: str,
        sender: str,
        code: Refusal | None,
        faults: Iterable[Fault | NotedFault],
        whole: bool = True,
        control_id: str = "",
        persons: Iterable[bytes] = (),
        sealed: bool = True,
        before: LetterNote | None = None,
    ) -> Letter:
        """Write a letter to the disk, if not `sealed` its note alone. A message that is there already is counted.

        `before` is the note of a letter that this one replaces.
        """
        now = datetime.now(UTC)
        key = self._keys.of(study)[0]
        digest = hmac.digest(key, message, "sha256").hex()[:32]
        letter = Letter(self.directory / f"{digest}{SEALED}", self._keys)
        known = letter.note()
        first = known or before
        folders = tuple(sorted(stone.hex()[:32] for stone in persons)) if sealed else ()
        note = LetterNote(
            received=now if first is None else first.received,
            last_received=now if before is None else before.last_received,
            times=1 if first is None else first.times + (before is None),
            study=study,
            sender=sender,
            code=code,
            control_id=control_id,
            faults=tuple(each if isinstance(each, NotedFault) else noted([each])[0] for each in faults),
            whole=whole,
            kept=sealed,
            persons=folders,
        )
        if not sealed:
            with suppress(FileNotFoundError):
                letter.remove()
            letter.write_note(note)
            return letter
        for folder in folders:  # first, so that an erasure finds whatever follows
            self._mark(study, folder, digest)
        letter.write_note(note)  # before the message, so that every message has a note
        if not letter.file.exists():
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            nonce = secrets.token_bytes(_NONCE)
            _write(letter.file, _BEGIN + nonce + AESGCM(key).encrypt(nonce, message, _bound_to(study, digest)))
        return letter

    def _mark(self, study: str, folder: str, digest: str) -> None:
        mark = self.directory / _PERSONS / study / folder / digest
        if not mark.exists():
            mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.touch(mode=0o600)
            for directory in (mark.parent, *mark.parents[1:4]):
                sync_directory(directory)

    def all(self) -> Iterator[Letter]:
        """The letters, the first that arrived first; none if there is no directory."""
        yield from self.among(self.directory.iterdir() if self.directory.is_dir() else ())

    def plain(self) -> list[Letter]:
        """The letters that an earlier version kept without encryption."""
        return [Letter(file, self._keys) for file in sorted(self.directory.glob(f"*{PLAIN}"))]

    def among(self, files: Iterable[Path]) -> list[Letter]:
        """The letters whose files are among these, each once, in the order in which they arrived.

        A file that is no letter is one without a note. Folders, and files that only a note belongs to, are left out.
        """
        stems: dict[Path, Path] = {}
        for file in files:
            if file.name.startswith(".") or file.is_dir():
                continue
            of_note = file.suffix == NOTE
            found = next((each for s in (SEALED, PLAIN) if of_note and (each := file.with_suffix(s)).exists()), file)
            at = found.with_suffix("") if found.suffix in {SEALED, PLAIN, NOTE} else found
            if stems.get(at, file).suffix == NOTE or at not in stems:
                stems[at] = found
        letters = [
            Letter(file.with_suffix(SEALED) if file.suffix == NOTE else file, self._keys) for file in stems.values()
        ]
        return sorted(letters, key=_by_arrival)

    def studies(self) -> list[str]:
        """The studies that have letters about persons."""
        folder = self.directory / _PERSONS
        return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []

    def has(self, study: str, stone: bytes) -> bool:
        """Whether there are letters of the person with this hash."""
        return self._folder(study, stone).is_dir()

    def forget(self, study: str, stone: bytes) -> int:
        """Delete all letters of the person with this hash; the number of them."""
        folder, count = self._folder(study, stone), 0
        for mark in sorted(folder.iterdir()) if folder.is_dir() else ():
            with suppress(FileNotFoundError):
                Letter(self.directory / f"{mark.name}{SEALED}", self._keys).remove()
                count += 1
            mark.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()
        return count

    def _folder(self, study: str, stone: bytes) -> Path:
        return self.directory / _PERSONS / study / stone.hex()[:32]


def letters_of(settings: Settings, database: Database) -> DeadLetters:
    """The directory of dead letters of the settings, with the keys of this service."""
    return DeadLetters(settings.dead_letters, LetterKeys(settings.secret, lambda: database.keys.secret.key("letters")))


def forget_erased(letters: DeadLetters, database: Database, studies: Iterable[str]) -> int:
    """Delete the letters of everybody who is erased from one of these studies; the number of letters."""
    count = 0
    for study in studies:
        with database.reading() as connection:
            stones = open_erasures(connection, study)
        count += sum(letters.forget(study, stone) for stone in stones)
    return count


def _by_arrival(letter: Letter) -> tuple[datetime, str]:
    note = letter.note()
    return FIRST if note is None else note.received, letter.file.name


def _bound_to(study: str, digest: str) -> bytes:
    """What an encrypted message belongs to: under another name it cannot be read."""
    return f"{study} {digest}".encode()


def _write(file: Path, content: bytes) -> None:
    replace_whole(file, [content], draft=file.with_name(f".{file.name}.{secrets.token_hex(4)}.part"))
