"""Whatever arrives is answered: nothing but a refusal leaves the reader, and no acknowledgement repeats a value."""

import re
from collections.abc import Iterator

import hl7
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.errors import ServiceError
from app.hl7v2.message import body_of, messages_of, read_envelope
from app.hl7v2.oru_results import read_message
from app.hl7v2.submit import partition, store_message
from app.protocol.presets import SEED_2008
from app.store import studies
from app.store.engine import Database
from app.store.studies import FeedDefinition, StudyDeclaration
from tests.hl7v2.hl7v2_messages import CK, MSH, OBR, OBX, PID, changed, feed, message
from tests.repetition import repeats
from tests.tables import with_tables
from tests.timeline.documents import LATEST

CANARY = "canary"
NOW = LATEST - 86_400_000_000
MRG = "MRG|456^^^WARD7"
WHOLE = [
    MSH, "EVN|A40|20050317080000+0900", PID, MRG, "PV1|1|O", OBR, OBX,
    changed(OBX, f2="SN", f3="CK^x^L", f5="<^5", f6="ukat/L^x^UCUM"),
    changed(OBX, f3="1554-5^Glucose^LN", f5="high"), "NTE|1|L|fine", "SPM|1|||BLD|||||||||||||20050316", "ZLB|1",
]  # fmt: skip
PIECES = [
    CANARY, f"{CANARY} 1", "", '""', " ", "|", "^", "~", "\\", "&", "\\F\\", "\\X0D\\", "\\XFF\\", "\\X", "^~\\&",
    "a^b&c~d", "\x00", "\x0b", "\x1c", "\n", "\r", "\ufeff", "\u00b5", "\u2028", "\ud7ff", "2005", "20050230",
    "20050316094800", "99991231", "1e9", "-1", "<", "<>", "<^", "NM", "SN", "CWE", "ED", "F", "D", "W", "X", "I", "T",
    "2.3", "ADT^A40", "ADT^A37", "UNICODE UTF-8", "8859/1", "AL", "NE", "MSH", "PID", "BHS|^~\\&", "BTS|1", "0", CK,
    "CK^CK-MB^L", "ng/mL", "9-1", "1~2", "9" * 400, "O" * 300,
]  # fmt: skip


@pytest.fixture(scope="module")
def trial(tmp_path_factory) -> Iterator[Database]:
    """A database with one study."""
    url = with_tables(f"sqlite:///{tmp_path_factory.mktemp('hl7v2') / 'x.db'}")
    database = Database(url)
    definition = StudyDeclaration("Trial", SEED_2008, feeds=FeedDefinition("medical_record", (), {"L|CK": "CK"}))
    with database.writing() as connection:
        studies.put_study(connection, "trial", definition, client=None, received_at=NOW)
    yield database
    database.dispose()


@st.composite
def damaged(draw) -> bytes:
    """A good message with something else in one to five of its fields, lines gone, doubled or moved, bytes changed."""
    lines = list(WHOLE)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["field", "field", "field", "part", "drop", "double", "move"]))
        fields = lines[at].split("|")
        where = draw(st.integers(0, len(fields) - 1))
        if change == "field":
            fields[where] = draw(st.sampled_from(PIECES) | st.text(max_size=5))
            lines[at] = "|".join(fields)
        elif change == "part":
            fields[where] += draw(st.sampled_from("^~&\\")) + draw(st.sampled_from(PIECES))
            lines[at] = "|".join(fields)
        elif change == "drop" and len(lines) > 1:
            del lines[at]
        elif change == "double":
            lines.append(lines[at])
        else:
            lines.insert(0, lines.pop(at))
    body = bytearray("\r".join([*lines, ""]).encode(draw(st.sampled_from(["utf-8", "latin-1"])), "replace"))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(body)


def said(ack: bytes) -> list[list[bytes]]:
    """The segments of acknowledgements, without the receipt: MSA-3, and ERR that are not about a refusal."""
    segments = [line.split(b"|") for line in ack.split(b"\r")]
    return [each[:3] if each[0] == b"MSA" else each for each in segments if each[4:5] not in ([b"I"], [b"W"])]


def answered(trial: Database, body: bytes) -> None:
    """The body is taken; its acknowledgements are messages. When it comes again they say the same of the body, and of
    the results what happens to them now.
    """
    reply = store_message(trial, "trial", body, secret="x" * 32, now=NOW)
    again = store_message(trial, "trial", body, secret="x" * 32, now=NOW)
    assert reply.code in {"AA", "AE", "AR"}
    assert (reply.code == "AA") == (not reply.faults)
    assert (again.code, again.faults, again.skipped) == (reply.code, reply.faults, reply.skipped)
    assert said(again.ack) == said(reply.ack)
    assert again.receipt.counts.total() == reply.receipt.counts.total()
    told = f"{reply.faults} {dict(reply.skipped)}"
    acks = messages_of(reply.ack)
    for ack in acks:
        parsed = hl7.parse(ack.decode("latin-1"))
        assert [str(segment[0]) for segment in parsed][:2] == ["MSH", "MSA"]
        told += re.sub(r"^(MSH|MSA)\|.*$", "", ack.decode("latin-1").replace("\r", "\n"), flags=re.MULTILINE)
    assert CANARY not in told
    assert not set(reply.ack) & set(b"\x0b\x1c\n\x00")


QUIET = settings(max_examples=repeats(300), suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@given(body=damaged())
@QUIET
def test_a_damaged_message_is_answered(trial, body):
    answered(trial, body)


@given(
    body=st.binary(max_size=200)
    | st.lists(st.sampled_from([*WHOLE, *PIECES]), max_size=12).map(lambda parts: "\r".join(parts).encode())
)
@example(body=b"BTS|1")
@example(body=b"FHS|^~\\&\rFTS|0")
@example(body=b"BHS\rMSH\rBTS")
@example(body=b"MSH|^~\\&" * 3)
@example(body="\ufeff".encode() * 3)
@QUIET
def test_any_bytes_are_answered(trial, body):
    answered(trial, body)


def refusal_of(lines: list[bytes]) -> ServiceError | None:
    """The refusal of a message; any other exception is a failure of the test."""
    try:
        read_message(read_envelope(lines), feed(key=b"k", test=True))
    except ServiceError as error:
        return error
    return None


@given(body=damaged() | st.binary(max_size=100))
@settings(max_examples=repeats(300))
def test_nothing_but_a_refusal_leaves_the_reader(body):
    for batch in body_of(body).batches:
        for lines in batch.messages:
            refused = refusal_of(lines)
            if refused is not None:
                assert refused.faults
                assert CANARY not in f"{refused.detail}{refused.faults}"


@given(body=damaged())
def test_the_messages_of_a_body_are_found_again_in_what_they_were_parted_into(body):
    parts = partition(body)
    assert [one for part in parts for one in partition(part)] == parts


@pytest.mark.slow
def test_a_message_of_many_results_is_one_submission(trial):
    body = message(changed(PID, f3="9"), *[changed(OBR, f3=f"{number}^ELAB") + "\r" + OBX for number in range(2_000)])
    reply = store_message(trial, "trial", body, secret="x" * 32, now=NOW)
    assert reply.code == "AA"
    assert reply.counts is not None
    assert reply.counts.added == 2_002
