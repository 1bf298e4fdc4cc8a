"""Stores and answers the messages of the MLLP listener, one after the other, in one thread.

All slow work is done here: in the database, and on the disk for refused messages. A positive answer is returned after
the commit, a negative one after the message is kept as a dead letter. If neither is possible (the database is busy, the
disk is full, the software has a defect), an exception is raised and the caller closes the connection: a sender that
gets no answer sends again, a sender that gets a wrong answer does not.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from app.errors import Fault, FaultCode, ServiceError
from app.hl7v2.dead_letters import DeadLetters
from app.hl7v2.message import body_of, messages_of
from app.hl7v2.mllp_framing import BrokenFraming
from app.hl7v2.submit import Reply
from app.log import counted
from app.store.audit import DONE, REFUSED, Access, AuditEntry, Who, acting
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


class MessageHandler:
    """Stores messages in one study. Only one thread at a time may call it: that keeps them in order of arrival.

    What is stored has its row of the audit in its transaction. `record` takes the rows of everything else: messages
    that change nothing, refusals, and senders that are turned away. They have no content of a message.
    """

    def __init__(
        self, study: str, store: StoreMessage, letters: DeadLetters, record: Callable[[AuditEntry], object]
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
            with suppress(OSError):  # so that the operator can see the message that caused the defect
                self._letters.keep(message, study=self.study, sender=sender, code=None, faults=())
            raise
        if reply.code != "AA":
            self._letters.keep(message, study=self.study, sender=sender, code=reply.code, faults=reply.faults)
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

    def note(self, sender: str, client: str | None, status: int) -> None:
        """Store the row of what changed nothing. The status is that of HTTP in the same case."""
        who = Who(OPERATION, "mllp", client, sender)
        self._record(AuditEntry(who, time.time_ns() // 1000, self.study, status, "nothing"))

    def keep_broken(self, broken: BrokenFraming, sender: str, client: str) -> None:
        """Keep the part of a message that arrived; it is not answered."""
        self.note(sender, client, REFUSED)
        faults = [Fault("", broken.code, _BROKEN.get(broken.code), broken.accepts)]
        self._letters.keep(broken.content, study=self.study, sender=sender, code=None, faults=faults, whole=False)


def answerable(content: bytes) -> list[bytes]:
    """The parts of a frame that are answered separately: each of several messages; else the whole content."""
    if any(batch.header is not None for batch in body_of(content).batches):
        return [content]
    messages = messages_of(content)
    return messages if 1 < len(messages) <= MOST_IN_A_FRAME else [content]
