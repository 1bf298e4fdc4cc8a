"""What is kept of a refused message, and under which persons.

The message is kept, encrypted, unless its type is not read here or it names a person who was erased from the study:
then only the note is kept. A message names a person by each identifier of PID-3 and MRG-1, also where the study cannot
say which of them counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from app.errors import Conflict, Fault, MalformedDocument, NotFound
from app.hl7v2.message import TYPES, Envelope, body_of, read_batch_envelope, read_envelope
from app.hl7v2.patient_identity import identifiers_of
from app.hl7v2.segments import STANDARD, Segment, lines_of, segments_of
from app.readers.pseudonyms import Identifier
from app.readers.statements import Feed
from app.store.engine import Database
from app.store.erasure import tombstones
from app.submission.dead_letters import DeadLetters, Letter, LetterNote, NotedFault, Refusal, noted
from app.submission.feeds import read_feed

_NAMING = frozenset({"MSH", "PID", "MRG"})
_FIELDS = {"PID": 3, "MRG": 1}
LONGEST_CONTROL_ID = 199
"""The longest MSH-10 of any version."""


class NamedPersons(NamedTuple):
    """Whom a message names, its control number (MSH-10, BHS-11), and whether its type is read here or unknown."""

    persons: frozenset[str]
    control_id: str
    is_read: bool


class FiledLetters:
    """Keeps dead letters, and decides how much is kept of each message."""

    def __init__(self, letters: DeadLetters, database: Database, secret: str | None) -> None:
        self._letters = letters
        self._database = database
        self._secret = secret

    def keep(
        self,
        message: bytes,
        *,
        study: str,
        sender: str,
        code: Refusal | None,
        faults: Iterable[Fault | NotedFault],
        whole: bool = True,
        before: LetterNote | None = None,
    ) -> Letter:
        """Keep what may be kept of a message. Raises `OSError`, `NotFound`, `Conflict` and `Busy`."""
        named = named_in(message, read_feed(self._database, study, self._secret, 0))
        told = [each if isinstance(each, NotedFault) else noted([each])[0] for each in faults]

        def kept(*, sealed: bool) -> Letter:
            return self._letters.keep(
                message, study=study, sender=sender, code=code, faults=told, whole=whole,
                control_id=named.control_id, persons=stones.values(), sealed=sealed, before=before,
            )  # fmt: skip

        stones, erased = self._looked_up(study, named.persons)
        letter = kept(sealed=named.is_read and not erased)
        if named.is_read and not erased and self._looked_up(study, named.persons)[1]:
            letter = kept(sealed=False)  # erased meanwhile
        return letter

    def _looked_up(self, study: str, persons: Iterable[str]) -> tuple[dict[str, bytes], bool]:
        with self._database.reading() as connection:
            return tombstones(connection, study, persons)

    def take_along(self) -> tuple[int, int]:
        """Keep what an earlier version kept without encryption as letters of today, and delete its files.

        Returns how many were taken, and how many stay because nobody knows their study.
        """
        taken = left = 0
        for letter in self._letters.plain():
            note = letter.note()
            if note is None:
                left += 1
                continue
            try:
                self.keep(
                    letter.message(), study=note.study, sender=note.sender, code=note.code, faults=note.faults,
                    whole=note.whole, before=note,
                )  # fmt: skip
                letter.remove()
            except FileNotFoundError:  # another process takes it along
                continue
            except (NotFound, Conflict):
                left += 1
                continue
            taken += 1
        return taken, left


def named_in(message: bytes, feed: Feed) -> NamedPersons:
    """Whom a message names, whatever its faults are, or a batch."""
    body = body_of(message)
    envelopes = [read_envelope(lines, feed.charsets) for batch in body.batches for lines in batch.messages if lines]
    headers = [read_batch_envelope(batch.header) for batch in body.batches if batch.header is not None]
    persons = {person for segment in _naming(message, envelopes) for person in _persons(segment, feed)}
    control_id = next((each.control_id for each in (*envelopes, *headers) if each.control_id), "")
    is_read = bool(envelopes) and all(not envelope.kind[0] or envelope.kind in TYPES for envelope in envelopes)
    return NamedPersons(frozenset(persons), control_id[:LONGEST_CONTROL_ID], is_read)


def _naming(message: bytes, envelopes: Sequence[Envelope]) -> Iterator[Segment]:
    """The segments that name persons: as their headers say, and as they look in the usual delimiters."""
    for envelope in (each for each in envelopes if each.lines[0].startswith("MSH")):
        with suppress(MalformedDocument):
            yield from segments_of(envelope.lines, envelope.delimiters, envelope.codec, _NAMING)[0]
    texts = (line.decode("utf-8", "surrogateescape") for line in lines_of(message))
    for text in texts:
        if text[:3] in _FIELDS:
            with suppress(MalformedDocument):
                yield from segments_of([r"MSH|^~\&|", text], STANDARD, "utf-8", _NAMING)[0]


def _persons(segment: Segment, feed: Feed) -> Iterator[str]:
    if segment.name in _FIELDS:
        whatever = replace(segment, suspect=False)  # also with bytes that are not in the character set
        for each in identifiers_of(whatever, _FIELDS[segment.name]):
            for authority in each.authority:
                yield from feed.pseudonyms.candidates(Identifier(authority, each.value))
