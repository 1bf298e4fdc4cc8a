"""The first line of an export: what was exported, and how to see that the lines after it are all there and unchanged.

Exports of version 0.1.0 begin with a timeline. They are read as any other lines.
"""

import hashlib
import json
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from app.errors import Fault, FaultCode, InvalidDocument
from app.timeline.document import Identifier

_BEGINS = re.compile(rb'\s*\{\s*"export"\s*:')
_MOST_BYTES = 1_000
_NO_DIGEST = "sha256:" + "0" * 64


class ExportHead(BaseModel):
    """What an export says of itself. `pseudonyms` is the fingerprint of the key that made its pseudonyms, if one did.

    `digest` is the SHA-256 of the lines after the first one, without the blanks around them, each with a line feed.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    form: Literal[1] = 1
    study: Identifier
    revision: Annotated[int, Field(ge=0)]
    pseudonyms: Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")] | None
    lines: Annotated[int, Field(ge=0)] = 0
    digest: Annotated[str, StringConstraints(pattern="^sha256:[0-9a-f]{64}$")] = _NO_DIGEST

    def line(self) -> bytes:
        """The line as it is written. It is as long with another number of lines and digest."""
        return json.dumps({"export": self.model_dump()}).encode() + b" " * (20 - len(str(self.lines))) + b"\n"


class LinesSeen:
    """The number and the digest of the lines of an export, as far as they were added."""

    def __init__(self) -> None:
        self.count = 0
        self._digest = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """Add a line after the first one."""
        self.count += 1
        self._digest.update(line.strip() + b"\n")

    @property
    def digest(self) -> str:
        """The digest as an export says it."""
        return f"sha256:{self._digest.hexdigest()}"


def head_of_export(line: bytes) -> ExportHead | None:
    """What an export says of itself, if this is the first line of one.

    Raises `InvalidDocument` if it is, and cannot be understood.
    """
    if not _BEGINS.match(line):
        return None
    try:
        if len(line) > _MOST_BYTES:
            raise ValueError
        return ExportHead.model_validate(json.loads(line)["export"])
    except (ValueError, ValidationError, RecursionError):
        detail = "This is the first line of an export, changed or of a later version of the service."
        raise InvalidDocument(detail, [Fault("/export", FaultCode.UNKNOWN_VALUE, detail)]) from None
