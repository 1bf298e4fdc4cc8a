"""One message, read: the histories that it makes, or everything that is wrong with it."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument
from app.hl7v2.links import links
from app.hl7v2.message import Envelope
from app.hl7v2.oru_results import results
from app.hl7v2.segments import Segment, segments_of
from app.readers.statements import Feed, history_of
from app.timeline.facts import History
from app.timeline.normalize import MOST_FAULTS

READ = frozenset({"MSH", "EVN", "PID", "MRG", "OBR", "OBX", "SPM"})
STRUCTURE = frozenset({"SFT", "UAC", "PD1", "PV1", "PV2", "ORC", "TQ1", "TQ2"})
"""Segments that nearly every message has and that say nothing which is kept; all others are counted as skipped."""


class Read(NamedTuple):
    """What is stored of a message, what was left alone by reason, and whether it ends a link that must be known.

    An A37 that names two patients as equals does so: if the order in which it names them were not ours, it would end
    nothing and nobody would notice.
    """

    histories: tuple[History, ...]
    skipped: Mapping[str, int]
    ends_known_link: bool = False


def read_message(envelope: Envelope, feed: Feed) -> Read:
    """Read a message.

    Raises `MalformedDocument` where it is not one that is read here at all: its grammar, its header, a segment that it
    cannot do without. Raises `InvalidDocument` with all that is wrong in its content.
    """
    _check_header(envelope, feed)
    segments, others = segments_of(envelope.lines, envelope.delimiters, envelope.codec, READ)
    skipped = Counter({"segment": sum(count for name, count in others.items() if name not in STRUCTURE)})
    if envelope.kind[0] == "ADT":
        histories = links(segments, feed, envelope.kind[1])
        return Read(tuple(histories), +skipped, not any(segment.name == "MRG" for segment in segments))
    found = _read_results(segments, feed, envelope.facility)
    return Read(found.histories, +skipped + Counter(found.skipped))


def _check_header(envelope: Envelope, feed: Feed) -> None:
    faults = list(envelope.faults)
    if envelope.processing in {"T", "D"} and not feed.test:
        faults.append(Fault("MSH-11", FaultCode.NOT_PRODUCTION))
    if any(fault.code is not FaultCode.UNKNOWN_ENCODING for fault in faults):
        raise MalformedDocument(faults=faults)
    if faults:
        raise InvalidDocument(faults=faults)


def _read_results(segments: list[Segment], feed: Feed, facility: str) -> Read:
    found = results(segments, feed, facility)
    faults, histories = found.faults, []
    for subject, statements in found.statements.items():
        history, wrong = history_of(subject, statements, feed.latest)
        histories.append(history)
        faults += wrong
    if faults:
        raise InvalidDocument(faults=faults[:MOST_FAULTS])
    return Read(tuple(histories), Counter({str(reason): count for reason, count in found.skipped.items()}))
