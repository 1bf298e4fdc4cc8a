"""Lists in pages: a signed cursor says where the next page begins and at which revision the walk began.

A cursor is opaque to clients. Its signature covers what was asked (the list, the study, the filters), so that it
cannot be carried over to another question, and nobody can make one up.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from typing import Any

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument
from app.store.revisions import AsOf

PINNED = frozenset({"cursor", "revision", "as_of"})
"""What a cursor says already, so that the address of the next page does not."""
_SIGNATURE_BYTES = 16


class Cursors:
    """Makes and reads cursors; without a key of the operator's they end with the process."""

    def __init__(self, key: str = "") -> None:
        self._key = key.encode() or secrets.token_bytes(32)

    def sign(self, question: Sequence[str | None], position: Sequence[str | int]) -> str:
        """The cursor for a position in the answer to a question."""
        written = json.dumps(position, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._signature(question, written) + written).rstrip(b"=").decode()

    def read(self, question: Sequence[str | None], cursor: str) -> list[Any]:
        """The position that a cursor stands for."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        signature, written = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(question, written)):
            fault = Fault(
                "/query/cursor", FaultCode.MALFORMED, "This cursor was not made by this service for this list."
            )
            raise MalformedDocument("Begin the walk again without a cursor.", [fault])
        position: list[Any] = json.loads(written)
        return position

    def walk(
        self, question: Sequence[str | None], at: AsOf, cursor: str | None, *, start: str | int | None
    ) -> tuple[AsOf, Any]:
        """At which revision a list is read, and where its page begins: what the cursor says, or `at` and `start`."""
        if cursor is None:
            return at, start
        if not at.latest:
            fault = Fault("/query/cursor", FaultCode.CONTRADICTION, "A cursor names its revision; do not name another.")
            raise InvalidDocument(faults=[fault])
        revision, position = self.read(question, cursor)
        return AsOf(revision), position

    def _signature(self, question: Sequence[str | None], written: bytes) -> bytes:
        asked = json.dumps(question, separators=(",", ":")).encode()
        return hmac.digest(self._key, asked + b"\n" + written, hashlib.sha256)[:_SIGNATURE_BYTES]
