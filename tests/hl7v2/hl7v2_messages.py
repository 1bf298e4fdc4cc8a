"""HL7 v2 messages to take apart, and what is read of them."""

from typing import Any

from app.errors import InvalidDocument, ServiceError
from app.hl7v2.message import body_of, read_envelope
from app.hl7v2.oru_results import ReadMessage, read_message
from app.readers.pseudonyms import Pseudonyms
from app.readers.statements import Feed
from app.timeline.facts import History, LabFact
from app.timeline.vocabulary import CodeBook
from tests.timeline.documents import LATEST

MSH = r"MSH|^~\&|LIS|ELAB|MYO|TRIAL|20050317080000+0900||ORU^R01^ORU_R01|4711|P|2.5.1"
PID = "PID|1||123^^^WARD7||DOE^JANE||19530401|F"
DRAWN = "20050316094800+0900"
OBR = f"OBR|1||77^ELAB|CHEM^Chemistry^L|||{DRAWN}"
UNTIMED = "OBR|1||77^ELAB|CHEM^Chemistry^L"
"""The same order without the time of its specimen."""
CK = "2157-6^Creatine kinase^LN"
OBX = f"OBX|1|NM|{CK}||1101|U/L|30-163|H|||F"


def message(*segments: str, header: str = MSH) -> bytes:
    """A message of a header and other segments."""
    return "\r".join([header, *segments, ""]).encode()


def oru(*observations: str, pid: str = PID, obr: str = OBR, header: str = MSH) -> bytes:
    """A message of results of one order."""
    return message(pid, obr, *(observations or (OBX,)), header=header)


def changed(segment: str, **fields: str) -> str:
    """A segment with other fields: `changed(OBX, f5="7")`."""
    parts = segment.split("|")
    for name, value in fields.items():
        at = int(name[1:]) - (1 if parts[0] == "MSH" else 0)
        parts += [""] * (at + 1 - len(parts))
        parts[at] = value
    return "|".join(parts)


def obx(**fields: str) -> str:
    """A CK result with other fields."""
    return changed(OBX, **fields)


def feed(*, key: bytes | None = None, authorities: tuple[str, ...] = (), **declared: Any) -> Feed:
    """What a study declares; its identifiers are pseudonyms unless there is a key."""
    codes = CodeBook({"L|CK": "CK", **declared.pop("local_codes", {})}, declared.pop("unit_aliases", None))
    return Feed(LATEST, Pseudonyms(key, authorities), codes, **declared)


def read(body: bytes, declared: Feed | None = None) -> ReadMessage:
    """What the one message of a body says."""
    ((lines,),) = ([batch.messages for batch in body_of(body).batches]) or [[[]]]
    return read_message(read_envelope(lines), declared or feed())


def history(body: bytes, declared: Feed | None = None) -> History:
    """The history of the one patient of a message."""
    (only,) = read(body, declared).histories
    return only


def lab(observation: str, declared: Feed | None = None, **more: Any) -> LabFact:
    """The one result of a message."""
    (only,) = history(oru(observation, **more), declared).labs
    return only


def faults(body: bytes, declared: Feed | None = None) -> list[tuple[str, str]]:
    """The places and codes of what is refused or set aside."""
    try:
        found = InvalidDocument(faults=read(body, declared).faults)
    except ServiceError as refused:
        found = refused
    return [(fault.pointer, fault.code.value) for fault in found.faults]


def refusal(body: bytes, declared: Feed | None = None) -> ServiceError | None:
    """The refusal of a message, if it is refused: also because nothing of it can be kept."""
    try:
        found = read(body, declared)
    except ServiceError as error:
        return error
    return InvalidDocument(faults=found.faults) if found.faults and not found.histories else None
