"""What a command checks of the files that it is given, before it stores anything."""

import os
from pathlib import Path
from typing import NamedTuple

from app.bulk.endings import reason_of
from app.readers.recognition import Format

_COMPRESSED = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class FileState(NamedTuple):
    """What shows that somebody writes to a file while it is read."""

    file: int
    size: int
    changed_at: int

    @classmethod
    def of(cls, file: Path) -> "FileState | None":
        """The state of a file; `None` if it is a pipe or a device."""
        if not file.is_file():
            return None
        found = file.stat()
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


def objection_to_file(file: Path) -> str | None:
    """Why a file cannot be imported, or `None`. Nothing is read of a pipe."""
    try:
        if file.is_dir():
            return "it is a directory"
        if file.exists() and not file.is_file():
            return None
        with file.open("rb") as opened:
            head = opened.read(2)
    except OSError as error:
        return reason_of(error)
    if not head:
        return "it is empty"
    if head == _COMPRESSED:
        return "it is compressed; unpack it first, or send it through a pipe (zcat) to /dev/stdin with --format"
    return None


def objection_to_text(file: Path, format: Format) -> str | None:
    """Why the text of a file cannot be read in a format, or `None`. HL7 v2 names its character set itself."""
    if format == "hl7v2" or not file.is_file():
        return None
    with file.open("rb") as opened:
        return "it is in UTF-16; save it as UTF-8" if opened.read(2) in _UTF_16 else None


def objection_to_new_file(file: Path) -> str | None:
    """Why a file cannot be created, or `None`."""
    if file.is_dir():
        return "it is a directory"
    if not file.parent.is_dir():
        return f"{file.parent} is no directory"
    return None if os.access(file.parent, os.W_OK | os.X_OK) else "permission denied"
