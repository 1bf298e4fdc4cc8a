"""Where a message is taken and answered, one after the other, by a thread of its own.

All that is slow happens here: the database, and the disk for what is refused. What leaves this room is an answer that
holds: a positive one after the commit has returned, a negative one after the message is kept as a dead letter. Where
neither can be had (the database is busy, the disk is full, we have a defect) an exception leaves it instead, and the
caller closes the connection: a sender that gets no answer sends again, one that gets a wrong answer never does.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from app.errors import Fault, FaultCode, ServiceError
from app.hl7v2.dead_letters import DeadLetters
from app.hl7v2.message import body_of, messages_of
from app.hl7v2.mllp_framing import BrokenFraming
from app.hl7v2.submit import Reply

MOST_IN_A_FRAME = 100
"""Messages of a frame that are answered one by one; more of them are answered together, like a batch."""
_BROKEN = {
    FaultCode.TOO_LONG: "The message is longer than MYORESPONSE_MLLP_MAX_BYTES; its beginning was kept.",
    FaultCode.MALFORMED: "Another message began before this one had ended.",
}
log = logging.getLogger("myoresponse")


class MessageHandler:
    """Takes messages into one study. It must be asked by one thread at a time: that keeps them in order of arrival."""

    def __init__(self, study: str, take: Callable[[bytes], Reply], letters: DeadLetters) -> None:
        self.study = study
        self._take = take
        self._letters = letters

    def answers(self, content: bytes, sender: str) -> list[bytes]:
        """The acknowledgements of what stood in a frame, without those that the sender does not want."""
        return [ack for message in answerable(content) if (ack := self._answer(message, sender))]

    def _answer(self, message: bytes, sender: str) -> bytes:
        began = time.perf_counter()
        try:
            reply = self._take(message)
        except ServiceError:
            raise  # the message is not at fault
        except Exception:
            with suppress(OSError):  # so that somebody can see what it was that we could not take
                self._letters.keep(message, study=self.study, sender=sender, code=None, faults=())
            raise
        if reply.code != "AA":
            self._letters.keep(message, study=self.study, sender=sender, code=reply.code, faults=reply.faults)
        spent = (time.perf_counter() - began) * 1000
        late = f" late={reply.counts.late}" if reply.counts is not None and reply.counts.late else ""
        log.info("event=message study=%s sender=%s code=%s ms=%.1f%s", self.study, sender, reply.code, spent, late)
        return reply.ack

    def keep_broken(self, broken: BrokenFraming, sender: str) -> None:
        """Keep what arrived of a message that will not be answered."""
        faults = [Fault("", broken.code, _BROKEN.get(broken.code))]
        self._letters.keep(broken.content, study=self.study, sender=sender, code=None, faults=faults, whole=False)


def answerable(content: bytes) -> list[bytes]:
    """What of a frame is answered by itself: a batch, or each of several messages; anything else is as it came."""
    if any(batch.header is not None for batch in body_of(content).batches):
        return [content]
    messages = messages_of(content)
    return messages if 1 < len(messages) <= MOST_IN_A_FRAME else [content]
