"""Which messages a body holds: one, several one after the other, or batches (FHS, BHS ... BTS, FTS) of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.errors import Fault, FaultCode
from app.hl7v2.segments import lines_of

MOST_MESSAGES = 10_000
"""Messages of one body; each is a transaction of its own."""

_AROUND = frozenset({b"FHS", b"BHS", b"BTS", b"FTS"})
_NAME = re.compile(rb"(MSH|FHS|BHS|BTS|FTS)(?![A-Za-z0-9])")
_HEADER = re.compile(rb"(?:MSH|FHS|BHS)([!-/:-@\[-`{-~])(?:(?!\1)[!-/:-@\[-`{-~]){4}")


@dataclass(slots=True)
class Batch:
    """Messages, each as its lines. `header` and `trailer` are the lines BHS and BTS, where there are any; `cut_off`
    says that it is the last one of a file (FHS) without an end (FTS).
    """

    header: bytes | None = None
    messages: list[list[bytes]] = field(default_factory=list)
    trailer: bytes | None = None
    cut_off: bool = False

    def faults(self) -> list[Fault]:
        """Whether all messages of the batch are here; the others of one that was cut off must be sent again."""
        found = [] if self.header is None else self._miscounted()
        return found or ([Fault("FTS", FaultCode.MISSING)] if self.cut_off else [])

    def _miscounted(self) -> list[Fault]:
        if self.trailer is None:
            return [Fault("BTS", FaultCode.MISSING)]
        counted = self.trailer[4:].split(self.trailer[3:4] or b"|")[0].strip()
        if counted and counted != str(len(self.messages)).encode():
            why = "The batch holds another number of messages than its trailer says."
            return [Fault("BTS-1", FaultCode.LENGTH_MISMATCH, why)]
        return []


@dataclass(frozen=True, slots=True)
class Body:
    """What was sent. `enveloped` says that it is answered as a batch: it was one, or held several messages."""

    batches: Sequence[Batch]
    enveloped: bool


def body_of(body: bytes) -> Body:
    """The batches of a body. Lines before the first header are a message, too, if not one that can be read."""
    batches = [Batch()]
    around = file_is_open = False
    open_message: list[bytes] | None = None
    separator = b""
    for line in lines_of(body):
        name = _name(line, separator)
        if name:
            separator = line[3:4] or separator
        if name in _AROUND:
            around, open_message = True, None
            file_is_open = name == b"FHS" or (file_is_open and name != b"FTS")
            if name == b"BHS":
                batches.append(Batch(line))
            elif name == b"BTS":
                batches[-1].trailer = line
        elif name == b"MSH" or open_message is None:
            if batches[-1].trailer is not None:
                batches.append(Batch())
            open_message = [line]
            batches[-1].messages.append(open_message)
        else:
            open_message.append(line)
    found = [batch for batch in batches if batch.header is not None or batch.messages]
    if found:
        found[-1].cut_off = file_is_open
    return Body(found, around or sum(len(batch.messages) for batch in found) > 1)


def _name(line: bytes, separator: bytes) -> bytes:
    """The name of the line where it begins or ends something; b"" of any other.

    `separator` is that of the fields so far. Within a note that line feeds have broken, a line such as `MSH-6 intact`
    (a protein) must not take a message apart, while a header that is damaged must not become a part of the last one.
    """
    found = _NAME.match(line)
    if found is None or (separator and line[3:4] not in {b"", separator} and not _HEADER.match(line)):
        return b""
    return found[1]


def messages_of(body: bytes) -> list[bytes]:
    """The messages of a body, each with CR line ends."""
    messages = [message for batch in body_of(body).batches for message in batch.messages]
    return [b"".join(line + b"\r" for line in message) for message in messages]
