"""Each closed table of a message, and each form, is said where a field has another word; in the words of HL7 v2."""

import pytest

from app.errors import FaultCode
from app.hl7v2.acknowledgement import acknowledgement
from app.hl7v2.data_types import KINDS, in_hl7_form
from app.hl7v2.message import PROCESSING, TYPES, read_envelope
from app.hl7v2.mllp_framing import BrokenFraming, Frames
from app.hl7v2.oru_results import ORDER_PENDING, ORDER_STATUSES, PENDING, STATUSES
from app.timeline.vocabulary import ANALYTES, UNITS
from tests.hl7v2.hl7v2_messages import DRAWN, MSH, OBR, PID, changed, message, obx, oru, refusal
from tests.readers.refusals import lacking

CANARY = "canary-7391"
UNSTATED = changed(OBR, f25=CANARY)
TABLES = [
    (oru(header=changed(MSH, f9=f"{CANARY}^R01")), "MSH-9", {"^".join(kind) for kind in TYPES}),
    (oru(header=changed(MSH, f9="")), "MSH-9", {"^".join(kind) for kind in TYPES}),
    (oru(header=changed(MSH, f11=CANARY)), "MSH-11", set(PROCESSING)),
    (oru(header=changed(MSH, f11="T")), "MSH-11", {"P"}),
    (oru(header=changed(MSH, f18=CANARY)), "MSH-18", {"ASCII", "8859/1", "UNICODE UTF-8", "ISO IR87"}),
    (oru(obx(f11=CANARY)), "OBX[1]-11", {*STATUSES, *PENDING}),
    (oru(obx(f11="")), "OBX[1]-11", {*STATUSES, *PENDING}),
    (oru(obx(f11=""), obr=UNSTATED), "OBR[1]-25", {*ORDER_STATUSES, *ORDER_PENDING}),
    (oru(obx(f2="")), "OBX[1]-2", set(KINDS)),
    (oru(obx(f2="SN", f5=f"{CANARY}^5")), "OBX[1]-5", {"<", "<=", ">", ">=", "="}),
]
"""A message with one wrong word, its place, and the words that the place accepts."""


@pytest.mark.parametrize(("sent", "place", "words"), TABLES)
def test_a_word_that_is_not_in_a_table_is_answered_by_the_table(sent, place, words):
    [fault] = refusal(sent).faults
    assert fault.pointer == place
    assert words <= set(fault.accepts.one_of)
    assert CANARY not in fault.explanation
    assert lacking(refusal(sent)) == []


def test_the_words_of_a_table_are_its_own():
    by_place = {place: set(refusal(sent).faults[0].accepts.one_of) for sent, place, _ in TABLES}
    assert by_place["OBX[1]-11"] == set("FUVBCAPRSDWXION")
    assert by_place["OBR[1]-25"] == set("FCPRAMXOISN")


@pytest.mark.parametrize("code", sorted(ANALYTES))
def test_a_wrong_unit_is_answered_by_the_units_of_its_analyte(code):
    quantity = ANALYTES[code].quantity
    own = {unit.factor for unit in UNITS.values() if unit.quantity == quantity}
    other = next(unit.spelling for unit in UNITS.values() if unit.quantity != quantity)
    for unit in ("canary", other, ""):
        [fault] = refusal(oru(obx(f3=f"{ANALYTES[code].loinc}^^LN", f6=unit))).faults
        assert fault.pointer == "OBX[1]-6"
        assert sorted(UNITS[spelling].factor for spelling in fault.accepts.one_of) == sorted(own)


@pytest.mark.parametrize("written", ["5,4", "1 101", "7391-HEMOLYZED", "^5^x"])
def test_a_value_that_is_no_number_is_answered_by_the_form_of_a_number(written):
    [fault] = refusal(oru(obx(f5=written))).faults
    assert fault.accepts.form == "digits with at most one decimal point, after one of < <= > >= if it is a bound"


def test_a_version_that_is_not_read_is_answered_by_those_that_are():
    [fault] = refusal(oru(header=changed(MSH, f12="3.0"))).faults
    assert (fault.pointer, fault.accepts.form) == ("MSH-12", "2.1 to 2.9, also with a third number such as 2.5.1")


UNTIMED = changed(MSH, f7="")
A37 = changed(MSH, f9="ADT^A37", f7="")
TIMES = [
    (oru(obr=changed(OBR, f7="2005-03-16")), "OBR[1]-7", "bad_time", "YYYYMMDD[HHMM[SS[.S]]][+/-ZZZZ]"),
    (oru(obr=changed(OBR, f7="20051345")), "OBR[1]-7", "bad_time", "YYYYMMDD[HHMM[SS[.S]]][+/-ZZZZ]"),
    (oru(obr=changed(OBR, f7="200503160948+1500")), "OBR[1]-7", "bad_time", "YYYYMMDD[HHMM[SS[.S]]][+/-ZZZZ]"),
    (oru(obr=changed(OBR, f7="200503160948"), header=UNTIMED), "OBR[1]-7", "no_offset",
     "YYYYMMDD[HHMM[SS[.S]]][+/-ZZZZ]"),
    (oru(obr=changed(OBR, f22="20050316")), "OBR[1]-22", "bad_time", "YYYYMMDDHHMM[SS[.S]][+/-ZZZZ]"),
    (oru(obx(f14="200503160948"), obr=changed(OBR, f7=""), header=UNTIMED), "OBX[1]-14", "no_offset",
     "YYYYMMDD[HHMM[SS[.S]]][+/-ZZZZ]"),
    (message("EVN|A37|20050316", PID, PID, header=A37), "EVN-2", "bad_time", "YYYYMMDDHHMM[SS[.S]][+/-ZZZZ]"),
    (message("EVN|A37|16.3.2005", PID, PID, header=A37), "EVN-2", "bad_time", "YYYYMMDDHHMM[SS[.S]][+/-ZZZZ]"),
    (message("EVN|A37|200503160948", PID, PID, header=A37), "EVN-2", "no_offset", "YYYYMMDDHHMM[SS[.S]][+/-ZZZZ]"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "place", "code", "form"), TIMES)
def test_a_wrong_time_is_answered_by_the_form_of_times_in_hl7_v2(sent, place, code, form):
    [fault] = {
        (fault.pointer, fault.code): in_hl7_form(fault) for fault in refusal(sent).faults if fault.pointer == place
    }.values()
    assert (fault.code, fault.accepts.form) == (code, form)
    assert "RFC" not in fault.explanation
    assert in_hl7_form(fault) == fault


@pytest.mark.parametrize("version", ["2.3", "2.4", "2.5", "2.8.2"])
def test_an_acknowledgement_says_what_would_have_been_accepted(version):
    sent = oru(obx(f11=CANARY), header=changed(MSH, f12=version))
    envelope = read_envelope(sent.split(b"\r"))
    answer = acknowledgement(envelope, "AE", refusal(sent).faults).decode()
    accepted = "Accepted: F, U, V, B, C, A, P, R, S, D, W, X, I, N, O."
    error = answer.split("\r")[2].split("|")
    assert accepted in (error[8] if version >= "2.5" else error[1])
    assert CANARY not in answer


def test_an_acknowledgement_writes_only_words_that_its_character_set_has():
    for charset, codec in (("", "ascii"), ("8859/1", "latin-1"), ("UNICODE UTF-8", "utf-8")):
        sent = oru(obx(f6="canary"), header=changed(MSH, f18=charset))
        answer = acknowledgement(read_envelope(sent.split(b"\r")), "AE", refusal(sent).faults).decode(codec)
        assert "ukat/L" in answer
        assert "?kat" not in answer


def test_a_separator_in_a_word_is_escaped():
    sent = oru(header=changed(MSH, f9="ADT^A08"))
    answer = acknowledgement(read_envelope(sent.split(b"\r")), "AR", refusal(sent).faults).decode()
    assert r"Accepted: ADT\S\A37, ADT\S\A40, ORU\S\R01." in answer


def test_a_message_that_is_too_long_names_the_greatest_length():
    frames = Frames(100)
    frames.feed(b"\x0b" + b"x" * 200)
    with pytest.raises(BrokenFraming) as caught:
        frames.next()
    assert (caught.value.code, caught.value.accepts.words) == (FaultCode.TOO_LONG, "Accepted: at most 100 bytes.")


def test_times_of_other_faults_stay_as_they_are():
    [fault] = refusal(oru(obr=changed(OBR, f7="30000101"))).faults
    assert fault.code == "future_time"
    assert in_hl7_form(fault) is fault
    assert DRAWN not in fault.explanation
