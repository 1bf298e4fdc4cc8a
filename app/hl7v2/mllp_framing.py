"""MLLP: a message stands between a vertical tab (0x0B) and a file separator with a carriage return (0x1C 0x0D).

There are no lengths and no checksums. What is between two frames belongs to no message and is ignored, up to a
limit. A fault in a frame ends the connection, because the end of the message is then unknown.
"""

from app.errors import Accepts, FaultCode

START = b"\x0b"
END = b"\x1c\x0d"
MOST_STRAY = 1_024
"""Greatest number of bytes between two frames, without line ends, that are ignored."""
_LINE_ENDS = b"\r\n"
_FIRST = 8
_STRAY = {
    "tls": (b"\x16\x03",),
    "http": (b"GET ", b"POST ", b"PUT "),
    "message_without_frame": (b"MSH", b"FHS", b"BHS"),
}
"""How the bytes of other protocols begin, and messages whose frame is missing."""


class BrokenFraming(Exception):
    """The stream can no longer be cut into messages; `content` is the part of a frame that arrived, if one began.

    `accepts` is the greatest size of a message, if this one is longer. `why` says in one word what is wrong.
    """

    def __init__(self, code: FaultCode, content: bytes = b"", accepts: Accepts | None = None, why: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.content = content
        self.accepts = accepts
        self.why = why


class Frames:
    """The frames in a stream that arrives in parts of any size. At most one frame and one part are held."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._held = bytearray()
        self._inside = False
        self._searched = 0
        self._stray = 0
        self._first = b""

    @property
    def why_incomplete(self) -> str:
        """What the frame lacks that has begun, in one word: nothing of what was sent is repeated."""
        if not self._inside:
            return self._kind_of_stray()
        return "no_carriage_return" if b"\x1c" in self._held else "no_end"

    @property
    def begun(self) -> bool:
        """Whether bytes have arrived after the last frame, so that the end of the next frame must follow soon."""
        return self._inside or self._stray > 0

    def feed(self, part: bytes) -> None:
        """Add what has arrived."""
        self._held += part

    def next(self) -> bytes | None:
        """The next message, without its frame; `None` while it is incomplete.

        Raises `BrokenFraming` if the message is longer than allowed (`TOO_LONG`), if another frame begins inside it
        (`MALFORMED`), or if there are too many bytes outside frames (`MALFORMED`, without content).
        """
        if not self._inside and not self._enter():
            return None
        end = self._held.find(END, self._searched)
        if end > self._largest or (end < 0 and len(self._held) > self._largest + 1):
            beginning, accepts = bytes(self._held[: self._largest]), Accepts(form=f"at most {self._largest} bytes")
            raise BrokenFraming(FaultCode.TOO_LONG, beginning, accepts, "no_end" if end < 0 else "long_message")
        if end < 0:
            self._searched = max(len(self._held) - 1, 0)
            return None
        message = bytes(self._held[:end])
        if START in message:  # the first message may be incomplete; neither is answered
            raise BrokenFraming(FaultCode.MALFORMED, message, why="frame_in_frame")
        del self._held[: end + len(END)]
        self._inside, self._searched = False, 0
        return message

    def _enter(self) -> bool:
        """Drop the bytes before the next frame; return whether that frame has begun."""
        start = self._held.find(START)
        outside = self._held if start < 0 else self._held[:start]
        stray = outside.translate(None, _LINE_ENDS)
        self._first = (self._first + bytes(stray[:_FIRST]))[:_FIRST]
        self._stray += len(stray)
        if self._stray > MOST_STRAY:
            raise BrokenFraming(FaultCode.MALFORMED, why=self._kind_of_stray())
        if start < 0:
            self._held.clear()
            return False
        del self._held[: start + 1]
        self._inside, self._searched, self._stray, self._first = True, 0, 0, b""
        return True

    def _kind_of_stray(self) -> str:
        """What the bytes outside frames look like: another protocol, a message without a frame, or neither."""
        kinds = ((word, kind) for kind, words in _STRAY.items() for word in words)
        return next((kind for word, kind in kinds if self._first.startswith(word)), "no_frame")


def framed(message: bytes) -> bytes:
    """The message in its frame."""
    return START + message + END
