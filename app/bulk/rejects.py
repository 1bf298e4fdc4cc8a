"""What an import refused: its content in a file that can be mended and imported, and beside it why, without a value."""

import json
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from app.bulk.file_formats import Format
from app.bulk.steps import Refusal, Step

_AROUND: dict[Format, tuple[bytes, bytes, bytes]] = {"timelines": (b"[\n", b",\n", b"\n]\n"), "hl7v2": (b"", b"", b"")}
"""What stands before, between and after pieces, where these are not lines."""


class Rejects:
    """Writes both files, once there is something to write. Nobody but their owner may read them: the content is that
    of the files that were imported.
    """

    def __init__(self, file: Path, format: Format) -> None:
        self.file, self.reasons = file, reasons_of(file)
        self._format = format
        self._open = ExitStack()
        self._content: BinaryIO | None = None
        self._reasons: BinaryIO | None = None
        self._pieces = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._content is not None and self._pieces:
            self._content.write(_AROUND.get(self._format, (b"",) * 3)[2])
        self._open.close()

    def add(self, file: Path, step: Step) -> None:
        """Write what was refused of one part of a file."""
        for refusal in step.refused:
            self._add(refusal.text, step.head)
            if self._reasons is None:
                self._reasons = self._open.enter_context(_private(self.reasons))
            self._reasons.write(json.dumps(reason(file, refusal)).encode() + b"\n")

    def _add(self, text: bytes | None, head: bytes) -> None:
        if text is None or not text.strip():
            return
        if self._content is None:
            self._content = self._open.enter_context(_private(self.file))
        before, between, _ = _AROUND.get(self._format, (head, b"", b""))
        self._content.write(between if self._pieces else before)
        lines = self._format not in _AROUND and not text.endswith(b"\n")
        self._content.write(text + (b"\n" if lines else b""))
        self._pieces += 1


def reasons_of(file: Path) -> Path:
    """The file that says why what is in a file of rejects was refused."""
    return file.with_name(file.name + ".faults.ndjson")


def reason(file: Path, refusal: Refusal) -> dict[str, object]:
    """Why something was refused: where it stands, and places and codes inside of it."""
    error = refusal.error
    return {
        "file": file.name,
        "place": refusal.place,
        "problem": error.slug,
        "detail": error.detail or error.title(),
        "faults": [{"pointer": fault.pointer, "code": fault.code, "detail": fault.sentence} for fault in error.faults],
    }


def _private(file: Path) -> BinaryIO:
    """A new file that its owner alone may read."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
