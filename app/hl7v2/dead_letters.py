"""Dead letters: refused messages, kept as files until somebody has corrected them.

They are kept unchanged, with names and addresses, and therefore outside the database, in a directory that only its
owner may enter. Each message has a note that says when and why it was refused; the note holds no value of the
message. A letter is on the disk before the sender gets the refusal: after that, the sender may have no copy.
"""

import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from app.disk import replace_whole, sync_directory
from app.errors import Fault

Refusal = Literal["AE", "AR"]


class NotedFault(BaseModel):
    """A fault in a note."""

    model_config = ConfigDict(frozen=True)

    place: str
    code: str
    sentence: str


class LetterNote(BaseModel):
    """When and why a message was refused.

    `received` and `last_received` are UTC times, `times` is how often the message came. `code` is the answer that the
    sender got, `None` if it got none. `whole`: the complete message arrived.
    """

    model_config = ConfigDict(frozen=True)

    received: datetime
    last_received: datetime
    times: int = 1
    study: str
    sender: str
    code: Refusal | None
    faults: tuple[NotedFault, ...]
    whole: bool = True

    def refused_again(self, code: Refusal, faults: Iterable[Fault]) -> "LetterNote":
        """The note after the message, corrected or not, was refused again."""
        return self.model_copy(update={"code": code, "faults": noted(faults)})


def noted(faults: Iterable[Fault]) -> tuple[NotedFault, ...]:
    """Faults in the form of a note."""
    return tuple(NotedFault(place=fault.pointer, code=fault.code.value, sentence=fault.explanation) for fault in faults)


class Letter:
    """A dead letter: the file of a message, and the file of its note."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._note = file.with_suffix(".json")

    def message(self) -> bytes:
        """The message as the file now holds it."""
        return self.file.read_bytes()

    def note(self) -> LetterNote | None:
        """The note of the message; `None` if there is no note that can be read."""
        try:
            return LetterNote.model_validate_json(self._note.read_bytes())
        except (OSError, ValidationError):
            return None

    def is_cut_short(self) -> bool:
        """Whether the message did not arrive completely, and its file was not changed since."""
        note = self.note()
        return note is not None and not note.whole and self.file.stem.endswith(_digest(note.study, self.message()))

    def write_note(self, note: LetterNote) -> None:
        """Write the note of the message; it replaces an existing note."""
        _write(self._note, note.model_dump_json(indent=2).encode() + b"\n")

    def remove(self) -> None:
        """Delete the message and its note."""
        self.file.unlink()
        self._note.unlink(missing_ok=True)
        sync_directory(self.file.parent)


class DeadLetters:
    """The letters of one directory. Every method raises `OSError` if a file cannot be read or written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self) -> None:
        """Create the directory if it does not exist, delete incomplete files of a killed listener, and test that
        letters can be written. An incomplete letter was never answered. If another listener is writing it now, its
        sender sends again.

        Raises `PermissionError` if other users can enter an existing directory.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix" and stat.S_IMODE(self.directory.stat().st_mode) & 0o077:
            raise PermissionError
        for part in self.directory.glob(".*.part"):
            part.unlink(missing_ok=True)
        trial = self.directory / ".trial"
        _write(trial, b"")
        trial.unlink()

    def keep(
        self,
        message: bytes,
        *,
        study: str,
        sender: str,
        code: Refusal | None,
        faults: Iterable[Fault],
        whole: bool = True,
    ) -> Letter:
        """Write a message to the disk. A message that is there already is counted, not written again."""
        now = datetime.now(UTC)
        digest = _digest(study, message)
        note = LetterNote(
            received=now,
            last_received=now,
            study=study,
            sender=sender,
            code=code,
            faults=noted(faults),
            whole=whole,
        )
        known = next(self.directory.glob(f"*-{digest}.hl7"), None)
        if known is not None:
            letter = Letter(known)
            first = letter.note() or note
            letter.write_note(note.model_copy(update={"received": first.received, "times": first.times + 1}))
            return letter
        letter = Letter(self.directory / f"{now:%Y%m%dT%H%M%S.%fZ}-{digest}.hl7")
        letter.write_note(note)  # before the message, so that every message has a note
        _write(letter.file, message)
        return letter

    def all(self) -> Iterator[Letter]:
        """The letters, oldest first; none if there is no directory."""
        return map(Letter, sorted(self.directory.glob("*.hl7")))


def _digest(study: str, message: bytes) -> str:
    """The digest of a message in a study: the same message may be refused in two studies."""
    return hashlib.sha256(study.encode() + b"\0" + message).hexdigest()[:16]


def _write(file: Path, content: bytes) -> None:
    replace_whole(file, [content], draft=file.with_name(f".{file.name}.{secrets.token_hex(4)}.part"))
