"""Stores and answers the messages of the MLLP listener, one after the other, in one thread.

All slow work is done here: in the database, and on the disk for refused messages. A positive answer is returned after
the commit, a negative one after the message is kept as a dead letter; if the letter cannot be kept, the answer says so
and that the message is to be sent again. If no correct answer is possible (the database is busy, the software has a
defect), an exception is raised and the caller closes the connection: a sender that gets no answer sends again.
"""

import errno
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from app.errors import Fault, FaultCode, ServiceError
from app.hl7v2 import submit
from app.hl7v2.acknowledgement import Code
from app.hl7v2.message import body_of, messages_of
from app.hl7v2.mllp_framing import BrokenFraming
from app.hl7v2.submit import Reply
from app.log import counted
from app.store.audit import DONE, REFUSED, Access, AuditEntry, Who, acting
from app.submission.dead_letters import Refusal
from app.timeline.receipts import Disposition

MOST_IN_A_FRAME = 100
"""If a frame holds more messages than this, they are answered together, like a batch."""
_BROKEN = {
    FaultCode.TOO_LONG: "The message is longer than MYORESPONSE_MLLP_MAX_BYTES; its beginning was kept.",
    FaultCode.MALFORMED: "Another message began before this one had ended.",
}
OPERATION = "mllp"
log = logging.getLogger("myoresponse")


StoreMessage = Callable[[bytes, str], Reply]
"""Stores a message of a client, whose name stands in the ledger."""


class KeepsLetters(Protocol):
    """Keeps what may be kept of refused messages. Raises `OSError` if it cannot."""

    def keep(
        self,
        message: bytes,
        *,
        study: str,
        sender: str,
        code: Refusal | None,
        faults: Sequence[Fault],
        whole: bool = True,
    ) -> object:
        """Keep a message, or its note."""


class MessageHandler:
    """Stores messages in one study. Only one thread at a time may call it: that keeps them in order of arrival.

    What is stored has its row of the audit in its transaction. `record` takes the rows of everything else: messages
    that change nothing, refusals, and senders that are turned away. They have no content of a message.
    """

    def __init__(
        self, study: str, store: StoreMessage, letters: KeepsLetters, record: Callable[[AuditEntry], object]
    ) -> None:
        self.study = study
        self._store = store
        self._letters = letters
        self._record = record

    def answers(self, content: bytes, sender: str, client: str) -> list[bytes]:
        """The acknowledgements of the messages in a frame, without those that the sender does not want."""
        return [ack for message in answerable(content) if (ack := self._answer(message, sender, client))]

    def _answer(self, message: bytes, sender: str, client: str) -> bytes:
        began = time.perf_counter()
        access = Access(lambda: Who(OPERATION, "mllp", client, sender))
        try:
            with acting(access):
                reply = self._store(message, client)
        except ServiceError:
            raise  # the message is not at fault
        except Exception:
            with suppress(OSError, ServiceError):  # so that the operator can see the message that caused the defect
                self._letters.keep(message, study=self.study, sender=sender, code=None, faults=())
            raise
        if reply.code != "AA":
            reply = self._kept(message, reply, sender)
        if not access.written:
            self.note(sender, client, DONE if reply.code == "AA" else REFUSED)
        spent = (time.perf_counter() - began) * 1000
        late = f" late={reply.counts.late}" if reply.counts is not None and reply.counts.late else ""
        aside = reply.receipt.counts[Disposition.SET_ASIDE]
        late += f" set_aside={aside}" if aside else ""
        faults = f" faults={counted(Counter(fault.code for fault in reply.faults))}" if reply.faults else ""
        log.info(
            "event=message study=%s sender=%s code=%s ms=%.1f%s%s",
            self.study, sender, reply.code, spent, late, faults,
        )  # fmt: skip
        return reply.ack

    def _kept(self, message: bytes, reply: Reply, sender: str) -> Reply:
        """The reply to a refused message after it is kept: of a batch, each message that was refused."""
        refused: list[tuple[bytes, Code, Sequence[Fault]]] = [(message, reply.code, reply.faults)]
        if reply.parts:
            each = zip(messages_of(message), reply.parts, strict=True)
            refused = [(one, part.code, part.faults) for one, part in each if part.code != "AA"]
            of_batch = [fault for fault in reply.faults if not fault.pointer.startswith("message[")]
            if of_batch:  # messages are missing; those that came have their own outcome
                refused.append((_headers(message), "AE", of_batch))
        try:
            for one, code, faults in refused:
                if code != "AA":
                    self._letters.keep(one, study=self.study, sender=sender, code=code, faults=faults)
        except OSError as error:
            # Not the text of the error: it has the name of a file.
            why = errno.errorcode.get(error.errno or 0, type(error).__name__)
            log.error("event=letters status=unavailable why=%s", why)
            return submit.unkept(message)
        return reply

    def note(self, sender: str, client: str | None, status: int) -> None:
        """Store the row of what changed nothing. The status is that of HTTP in the same case."""
        who = Who(OPERATION, "mllp", client, sender)
        self._record(AuditEntry(who, time.time_ns() // 1000, self.study, status, "nothing"))

    def keep_broken(self, broken: BrokenFraming, sender: str, client: str) -> None:
        """Keep the part of a message that arrived; it is not answered."""
        self.note(sender, client, REFUSED)
        faults = [Fault("", broken.code, _BROKEN.get(broken.code), broken.accepts)]
        self._letters.keep(broken.content, study=self.study, sender=sender, code=None, faults=faults, whole=False)


def _headers(batch: bytes) -> bytes:
    """The headers of the batches of a body: no message is in them."""
    return b"".join(each.header + b"\r" for each in body_of(batch).batches if each.header is not None)


def answerable(content: bytes) -> list[bytes]:
    """The parts of a frame that are answered separately: each of several messages; else the whole content."""
    if any(batch.header is not None for batch in body_of(content).batches):
        return [content]
    messages = messages_of(content)
    return messages if 1 < len(messages) <= MOST_IN_A_FRAME else [content]
