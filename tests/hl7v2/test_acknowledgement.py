"""Acknowledgements: their fields, in both modes, in old and new versions, and that they hold nothing of a patient."""

from collections import Counter

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import SENTENCES, Fault, FaultCode
from app.hl7v2.acknowledgement import acknowledgement, batch_acknowledgement
from app.hl7v2.message import Envelope, read_batch_envelope, read_envelope
from app.timeline.receipts import (
    DISPOSITIONS,
    NOT_KEPT,
    NOTES,
    AffectedFact,
    Disposition,
    Note,
    NoteCode,
    NotKept,
    Receipt,
    ReceiptLine,
)
from tests.hl7v2.hl7v2_messages import MSH, changed

FAULTS = [Fault("OBX[2]-6", FaultCode.UNKNOWN_UNIT), Fault("PID", FaultCode.MISSING)]


def answer(code="AA", faults=(), receipt=None, header=MSH, *, full=False, **fields: str) -> list[str]:
    """The segments of an acknowledgement."""
    sent = acknowledgement(envelope(header, **fields), code, faults, receipt, full=full)
    assert sent.endswith(b"\r") or not sent
    return sent.decode("utf-8").split("\r")[:-1]


def envelope(header: str = MSH, codec: str = "utf-8", **fields: str) -> Envelope:
    return read_envelope([changed(header, **fields).encode(codec)])


def test_a_message_that_was_stored_is_acknowledged():
    header, message = answer()
    assert header.startswith(r"MSH|^~\&|MYO|TRIAL|LIS|ELAB|20050317080000+0900||ACK^R01^ACK|")
    assert header.endswith("|P|2.5.1")
    assert len(header.split("|")[9]) == 20
    assert message == "MSA|AA|4711"


LIMIT = Note(NoteCode.NO_UPPER_LIMIT)
RECEIPT = Receipt(
    Counter({Disposition.KEPT: 3, Disposition.SET_ASIDE: 1, Disposition.NOT_OURS: 2, Disposition.NOT_APPLIED: 1}),
    (
        ReceiptLine("OBX[1]", Disposition.KEPT, None, (LIMIT,)),
        ReceiptLine("PID-8", Disposition.KEPT, None, (Note(NoteCode.DETAIL_LEFT_OUT, "sex"),)),
        ReceiptLine("OBX[2]", Disposition.NOT_OURS, "code"),
        ReceiptLine("NTE", Disposition.NOT_OURS, "segment"),
        ReceiptLine("OBX[3]-6", Disposition.SET_ASIDE, FaultCode.UNKNOWN_UNIT),
        ReceiptLine(
            "OBX[4]", Disposition.KEPT, None, (), (AffectedFact("labs", "CK", "2005-03-16T09:48:00+09:00", False),)
        ),
        ReceiptLine("OBX[5]", Disposition.NOT_APPLIED, NotKept.OLDER),
    ),
)


def test_the_facts_are_counted_in_one_line():
    assert answer("AA", (), RECEIPT)[1] == "MSA|AA|4711|kept 3, not applied 1, set aside 1, not ours 2"
    assert answer("AE", FAULTS, Receipt(Counter({Disposition.REFUSED: 2})))[1] == "MSA|AE|4711|refused 2"


def test_beside_aa_a_warning_says_what_was_set_aside_and_informations_what_is_to_be_noted():
    """The warnings come first, so that a limit of their number leaves out the others."""
    assert [segment.split("|")[2:] for segment in answer("AA", (), RECEIPT)[2:]] == [
        ["OBX^3^6", "103^Table value not found^HL70357", "W", "unknown_unit", "", "",
         SENTENCES[FaultCode.UNKNOWN_UNIT]],
        ["OBX^1", "0^Message accepted^HL70357", "I", "no_upper_limit", "", "", NOTES[NoteCode.NO_UPPER_LIMIT]],
        ["PID^1^8", "0^Message accepted^HL70357", "I", "detail_left_out", "sex", "", NOTES[NoteCode.DETAIL_LEFT_OUT]],
        ["OBX^4", "0^Message accepted^HL70357", "I", "kept", "",
         "labs CK 2005-03-16T09:48:00+09:00 no longer counts", DISPOSITIONS[Disposition.KEPT]],
        ["OBX^5", "0^Message accepted^HL70357", "I", "older", "", "", NOT_KEPT[NotKept.OLDER]],
    ]  # fmt: skip


def test_the_whole_receipt_also_names_what_is_not_stored_here():
    told = [tuple(segment.split("|")[2:6:3]) for segment in answer("AA", (), RECEIPT, full=True)[2:]]
    assert [each for each in told if each[1] in {"code", "segment"}] == [("OBX^2", "code"), ("NTE^1", "segment")]


def test_the_number_of_errors_beside_aa_is_limited_and_the_rest_is_counted():
    lines = [ReceiptLine(f"OBX[{n}]", Disposition.KEPT, None, (LIMIT,)) for n in range(1, 151)]
    receipt = Receipt(Counter({Disposition.KEPT: 150}), lines)
    shown = answer("AA", (), receipt)
    assert shown[1] == "MSA|AA|4711|kept 150; 50 more notes"
    assert len(shown) == 2 + 100
    assert len(answer("AA", (), receipt, full=True)) == 2 + 150


@pytest.mark.parametrize("version", ["2.2", "2.3.1", "2.4"])
def test_before_version_2_5_only_the_counts_stand_beside_aa(version):
    assert answer("AA", (), RECEIPT, f12=version)[1:] == ["MSA|AA|4711|kept 3, not applied 1, set aside 1, not ours 2"]


@pytest.mark.parametrize(
    ("version", "kind"),
    [("2.1", "ACK"), ("2.2", "ACK^R01"), ("2.3", "ACK^R01"), ("2.3.1", "ACK^R01^ACK"), ("2.8", "ACK^R01^ACK")],
)
def test_the_type_of_the_answer_has_the_form_of_the_version(version, kind):
    assert answer(f12=version)[0].split("|")[8] == kind


def test_each_fault_is_an_error_segment_since_version_2_5():
    _, message, unit, patient = answer("AE", FAULTS)
    assert message == "MSA|AE|4711"
    assert unit == (
        "ERR||OBX^2^6|103^Table value not found^HL70357|E|unknown_unit|||" + SENTENCES[FaultCode.UNKNOWN_UNIT]
    )
    assert patient == "ERR||PID^1|100^Segment sequence error^HL70357|E|missing|||" + SENTENCES[FaultCode.MISSING]


@pytest.mark.parametrize("version", ["2.2", "2.3.1", "2.4"])
def test_before_that_each_fault_is_a_repetition_of_one_field(version):
    header, _, error = answer("AE", FAULTS, f12=version)
    assert header.endswith(f"|P|{version}")
    unit, patient = error.removeprefix("ERR|").split("~")
    assert unit.startswith("OBX^2^6^103&Table value not found&HL70357&unknown_unit&The unit")
    assert patient.startswith("PID^1^^100&Segment sequence error&HL70357&missing&")


@pytest.mark.parametrize(
    ("place", "code", "error"),
    [
        ("MSH-9", FaultCode.MISSING, "101"),
        ("OBX[1]-5", FaultCode.BAD_NUMBER, "102"),
        ("OBX[1]-2", FaultCode.UNSUPPORTED, "102"),
        ("OBX[1]-11", FaultCode.UNKNOWN_VALUE, "103"),
        ("MSH-18", FaultCode.UNKNOWN_ENCODING, "103"),
        ("MSH-9", FaultCode.UNSUPPORTED, "200"),
        ("MSH-11", FaultCode.NOT_PRODUCTION, "202"),
        ("MSH-11", FaultCode.UNKNOWN_VALUE, "202"),
        ("MSH-12", FaultCode.UNKNOWN_VALUE, "203"),
        ("PID-3", FaultCode.AMBIGUOUS_SUBJECT, "204"),
        ("OBX[2]", FaultCode.CONFLICTING_DUPLICATE, "205"),
        ("OBX[2]", FaultCode.MALFORMED, "100"),
        ("", FaultCode.TOO_MANY, "102"),
    ],
)
def test_a_fault_is_told_by_a_code_of_table_0357(place, code, error):
    assert answer("AE", [Fault(place, code)])[2].split("|")[3].startswith(f"{error}^")


ORIGINAL = [("AA", "AA"), ("AE", "AE"), ("AR", "AR")]
ACCEPT = [("AA", "CA"), ("AE", "CE"), ("AR", "CR")]
NONE = [("AA", None), ("AE", None), ("AR", None)]


@pytest.mark.parametrize(
    ("accept", "application", "told"),
    [
        ("", "", ORIGINAL),
        ('""', '""', ORIGINAL),
        ("AL", "NE", ACCEPT),
        ("AL", "", ACCEPT),
        ("AL", "AL", ORIGINAL),
        ("NE", "AL", ORIGINAL),
        ("", "AL", ORIGINAL),
        ("NE", "NE", NONE),
        ("NE", "", NONE),
        ("ER", "NE", [("AA", None), ("AE", "CE"), ("AR", "CR")]),
        ("SU", "NE", [("AA", "CA"), ("AE", None), ("AR", None)]),
        ("NE", "ER", [("AA", None), ("AE", "AE"), ("AR", "AR")]),
        ("NE", "SU", [("AA", "AA"), ("AE", None), ("AR", None)]),
        ("AL", "ER", [("AA", "CA"), ("AE", "AE"), ("AR", "AR")]),
        ("al", "ne", ACCEPT),
        ("??", "", ACCEPT),
    ],
)
def test_the_sender_decides_which_acknowledgement_it_wants_after_which_outcome(accept, application, told):
    for outcome, wanted in told:
        segments = answer(outcome, f15=accept, f16=application)
        assert (segments[1].split("|")[1] if segments else None) == wanted


def test_sender_and_receiver_change_places_whatever_their_names_hold():
    header, message = answer(f3=r"LIS \F\ 2^1.2.3^ISO", f5="", f6="", f10=r"4\T\711")
    assert header.startswith(r"MSH|^~\&|||LIS \F\ 2^1.2.3^ISO|ELAB|")
    assert message == r"MSA|AA|4\T\711"


def test_other_delimiters_are_answered_in_ours():
    header, message = answer(header="MSH#~^\\&#L|S~1.2#a\\F\\b#c#d#2005##ORU~R01#4^7&1#P#2.5")
    assert header.startswith(r"MSH|^~\&|c|d|L\F\S^1.2|a#b|2005||ACK^R01^ACK|")
    assert message == "MSA|AA|4~7&1"


def test_the_answer_is_in_the_character_set_of_the_message():
    for charset, codec in (("8859/1", "latin-1"), ("UNICODE UTF-8", "utf-8")):
        sent = acknowledgement(envelope(codec=codec, f3="L\u00e4b", f18=charset), "AA")
        assert "L\u00e4b".encode(codec) in sent
        assert sent.split(b"\r")[0].endswith(charset.encode())


def test_a_sender_with_a_japanese_name_is_answered_in_its_characters():
    header = changed(MSH, f3="\u691c\u67fb\u90e8", f18="~ISO IR87").encode("iso2022_jp")
    sent = acknowledgement(read_envelope([header]), "AA")
    assert sent.startswith(b"MSH|^~\\&|MYO|TRIAL|" + "\u691c\u67fb\u90e8|".encode("iso2022_jp"))
    assert sent.split(b"\r")[0].endswith(b"||||||~ISO IR87")


def test_bytes_of_an_unknown_character_set_come_back_as_they_were():
    sent = acknowledgement(read_envelope([changed(MSH, f10="4\u00e4").encode("cp1252")]), "AE", FAULTS)
    assert b"\rMSA|AE|4\xe4\r" in sent
    assert b"|P|2.5.1\r" in sent


def test_training_is_answered_as_training_and_nonsense_as_production():
    assert answer("AR", f11="T")[0].endswith("|T|2.5.1")
    assert answer("AR", f11="X", f12="3")[0].endswith("|P|2.5")


def test_what_is_no_message_is_answered_too():
    header, message, error = acknowledgement(
        read_envelope([b"PID|1"]), "AR", [Fault("MSH", FaultCode.MALFORMED)]
    ).split(b"\r")[:3]
    assert header.startswith(rb"MSH|^~\&|||||||ACK^^ACK|")
    assert message == b"MSA|AR"
    assert error.startswith(b"ERR||MSH^1|100^")


def test_the_same_message_has_the_same_answer_and_another_one_another_id():
    ids = {
        answer(code, **fields)[0]
        for code, fields in [("AA", {}), ("AA", {}), ("AE", {}), ("AA", {"f10": "4712"}), ("AA", {"f4": "LAB2"})]
    }
    assert len(ids) == 4


def test_a_batch_is_answered_by_a_batch():
    header = read_batch_envelope(rb"BHS|^~\&|LIS|ELAB|MYO|TRIAL|20050317|||b|4711")
    one = acknowledgement(envelope(), "AA")
    lines = batch_acknowledgement(header, [one, b"", one]).decode().split("\r")
    assert lines[0].startswith(r"BHS|^~\&|MYO|TRIAL|LIS|ELAB|20050317||||")
    assert lines[0].endswith("|4711")
    assert lines[-2:] == ["BTS|2", ""]
    assert "\r".join(lines[1:-2]) + "\r" == (one + one).decode()


def test_a_fault_of_the_batch_is_an_acknowledgement_of_its_own():
    header = read_batch_envelope(rb"BHS|^~\&|LIS|ELAB|MYO|TRIAL|20050317||||4711")
    lines = batch_acknowledgement(header, [], [Fault("BTS", FaultCode.MISSING)]).decode().split("\r")
    assert lines[2:4] == [
        "MSA|AE|4711",
        "ERR||BTS^1|100^Segment sequence error^HL70357|E|missing|||This field is required.",
    ]
    assert lines[-2] == "BTS|1"


def test_a_batch_of_which_nobody_wants_to_hear_is_not_answered():
    assert batch_acknowledgement(Envelope(()), [b"", b""]) == b""
    assert batch_acknowledgement(Envelope(()), []).endswith(b"BTS|0\r")


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=30), st.sampled_from(["AA", "AE", "AR"]))
def test_whatever_stands_in_a_header_the_answer_is_a_message(fields, code):
    line = b"|".join([rb"MSH|^~\&", *fields]).replace(b"\r", b"").replace(b"\n", b"")
    sent = acknowledgement(read_envelope([line]), code, FAULTS)
    if sent:
        text = sent.decode("latin-1")
        assert not set(text[:-1]) & set("\x0b\x1c\n")
        parsed = hl7.parse(text)
        assert [str(segment[0]) for segment in parsed][:2] == ["MSH", "MSA"]
        assert str(parsed[0][9]).startswith("ACK")
        assert str(parsed[1][1]) in {"AA", "AE", "AR", "CA", "CE", "CR"}
