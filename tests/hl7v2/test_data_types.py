"""Numbers and times as HL7 v2 writes them: what is read, and what is refused because it may mean something else."""

from zoneinfo import ZoneInfo

import pytest

from app.hl7v2.data_types import in_hl7_form
from app.timeline.receipts import Note, NoteCode
from tests.hl7v2.hl7v2_messages import (
    MSH,
    OBR,
    OBX,
    UNTIMED,
    changed,
    faults,
    feed,
    history,
    lab,
    obx,
    oru,
    read,
    refusal,
)

TOKYO = feed(zone=ZoneInfo("Asia/Tokyo"))


@pytest.mark.parametrize(
    ("kind", "sent", "value", "comparator"),
    [
        ("NM", "1101", 1101, None),
        ("NM", "+7", 7, None),
        ("NM", "007.50", 7.5, None),
        ("NM", ".5", 0.5, None),
        ("NM", "5.", 5, None),
        ("NM", " 12 ", 12, None),
        ("NM", "0", 0, None),
        ("NM", "<5", 5, "<"),
        ("NM", ">1000", 1000, ">"),
        ("ST", ">1000", 1000, ">"),
        ("ST", "<= 5", 5, "<="),
        ("TX", "1101", 1101, None),
        ("SN", "^182", 182, None),
        ("SN", "=^182", 182, None),
        ("SN", "<^5", 5, "<"),
        ("SN", ">=^5", 5, ">="),
        ("CWE", "1101", 1101, None),
        ("CE", "^<5", 5, "<"),
    ],
)
def test_values_that_are_read(kind, sent, value, comparator):
    """Row 103."""
    fact = lab(obx(f2=kind, f5=sent))
    assert (fact.value, fact.comparator) == (value, comparator)


@pytest.mark.parametrize(
    ("kind", "sent", "code"),
    [
        ("NM", "1,234", "bad_number"),
        ("NM", "1.2.3", "bad_number"),
        ("NM", "1e3", "bad_number"),
        ("NM", "0x10", "bad_number"),
        ("NM", "\u0661", "bad_number"),
        ("NM", "1" * 400, "bad_number"),
        ("NM", "11^01", "bad_number"),
        ("NM", "11&01", "bad_number"),
        ("ST", "<>5", "bad_number"),
        ("ST", "350 U/L", "bad_number"),
        ("ST", "70-105", "bad_number"),
        ("NM", "350~360", "repeated_value"),
        ("SN", "^350~^360", "repeated_value"),
        ("SN", "^70^-^105", "unsupported"),
        ("SN", "^1^:^128", "unsupported"),
        ("SN", "^3^+", "unsupported"),
        ("SN", "<>^5", "unsupported"),
        ("SN", "about^5", "unknown_value"),
        ("SN", "182", "unknown_value"),
        ("SN", "<", "bad_number"),
        ("SN", ">^220&7", "bad_number"),
        ("CWE", "12^1101", "bad_number"),
        ("CE", "1101&7", "bad_number"),
        ("CWE", "^1101^^^^^^^12", "bad_number"),
        ("NM", "", "missing"),
        ("NM", " ", "missing"),
        ("NM", "-5", "out_of_range"),
        ("NM", "10000001", "out_of_range"),
    ],
)
def test_a_number_that_is_written_wrongly_is_set_aside(kind, sent, code):
    """Row 103."""
    body = oru(obx(f2=kind, f5=sent), header=changed(MSH, f18="UNICODE UTF-8"))
    assert faults(body) == [("OBX[1]-5", code)]
    assert read(body).histories == ()


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("ST", "HEMOLYZED"),
        ("ST", "see note"),
        ("ST", "TNP 4"),
        ("ST", "---"),
        ("TX", "h\u00e4molytisch"),
        ("NM", "NaN"),
        ("NM", "inf"),
        ("NM", "HEMOLYZED~LIPEMIC"),
        ("SN", "^HEMOLYZED"),
        ("CE", "^HEMOLYZED"),
        ("CWE", "2^mild^L"),
        ("CWE", "LA6752-5^mild^LN"),
        ("CWE", "^^^123^Not done^SCT"),
        ("FT", "anything"),
        ("DT", "20050316"),
        ("CX", "anything"),
        ("NA", "1^2"),
        ("nm", "1101"),
    ],
)
@pytest.mark.parametrize("status", ["F", "C", "P"])
def test_a_result_that_is_no_number_is_a_statement_without_a_value(kind, sent, status):
    """It may outrank a result that stands, so that number, code, time and status are kept."""
    body = oru(obx(f2=kind, f5=sent, f6="?", f7="?", f11=status), header=changed(MSH, f18="UNICODE UTF-8"))
    ((fact,),) = [each.labs for each in read(body).histories]
    ((number,),) = [each.labs for each in read(oru(obx(f11=status))).histories]
    assert (fact.value, fact.unit, fact.upper_limit) == (None, None, None)
    assert fact[:11] == number[:11]
    assert faults(body) == []


def test_a_text_in_an_unknown_character_set_is_no_number():
    body = oru(obx(f2="ST", f5="\u00e4molytisch")).decode().encode("latin-1")
    assert [fact.value for fact in history(body).labs] == [None]


@pytest.mark.parametrize("kind", ["ED", "RP"])
def test_a_document_is_not_read(kind):
    assert read(oru(obx(f2=kind, f5="anything"))).skipped == {"value": 1}


def test_a_value_of_no_kind_is_refused():
    assert faults(oru(obx(f2=""))) == [("OBX[1]-2", "missing")]


@pytest.mark.parametrize(
    ("sent", "time"),
    [
        ("20050316", "2005-03-16"),
        ("200503160948+0900", "2005-03-16T09:48:00+09:00"),
        ("20050316094800+0900", "2005-03-16T09:48:00+09:00"),
        ("20050316094801.5+0900", "2005-03-16T09:48:01.5+09:00"),
        ("20050316094800.0000+0900", "2005-03-16T09:48:00+09:00"),
        ("20050316004800-0000", "2005-03-16T00:48:00-00:00"),
        ("20050316094800", "2005-03-16T09:48:00+09:00"),
        ("200503160948^S", "2005-03-16T09:48:00+09:00"),
        ("20050316+0900", "2005-03-16"),
    ],
)
def test_times_that_are_read(sent, time):
    assert lab(obx(f14=sent), TOKYO, obr=UNTIMED).time == time
    assert lab(OBX, TOKYO, obr=changed(OBR, f7=sent)).time == time


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("2005", "bad_time"),
        ("200503", "bad_time"),
        ("2005031609", "bad_time"),
        ("2005031609+0900", "bad_time"),
        ("200503162400+0900", "bad_time"),
        ("200503160960+0900", "bad_time"),
        ("20050316094860+0900", "bad_time"),
        ("20050230", "bad_time"),
        ("20051301094800+0900", "bad_time"),
        ("200502300948", "bad_time"),
        ("2005-03-16", "bad_time"),
        ("20050316094800Z", "bad_time"),
        ("20050316094800+09", "bad_time"),
        ("20050316094800+2500", "bad_time"),
        ("20050316094800\u22120900", "bad_time"),
        ("today", "bad_time"),
        ("20270316", "future_time"),
        ("18990316", "out_of_range"),
        ("19520316", "before_birth"),
    ],
)
def test_times_that_are_refused(sent, code):
    """Rows 37, 38, 47, 48, 50, as HL7 writes them."""
    header = changed(MSH, f18="UNICODE UTF-8")
    assert faults(oru(obx(f14=sent), obr=UNTIMED, header=header), TOKYO) == [("OBX[1]-14", code)]
    assert faults(oru(obr=changed(OBR, f7=sent), header=header), TOKYO) == [("OBR[1]-7", code)]


def test_a_time_without_an_offset_needs_the_zone_of_the_study_or_the_offset_of_the_message():
    """Row 52."""
    untold = changed(MSH, f7="20050317080000")
    assert faults(oru(obx(f14="20050316094800"), obr=UNTIMED, header=untold)) == [("OBX[1]-14", "no_offset")]
    berlin = feed(zone=ZoneInfo("Europe/Berlin"))
    for at in ("200503270230", "200510300230"):
        assert faults(oru(obx(f14=at), obr=UNTIMED, header=untold), berlin) == [("OBX[1]-14", "ambiguous_time")]


NEW_YORK = ZoneInfo("America/New_York")
BARE = changed(OBR, f7="20050316094800", f22="20050317080000")
FROM_MESSAGE = (Note(NoteCode.ZONE_FROM_MESSAGE),)


@pytest.mark.parametrize(
    ("zone", "sent_at", "declared", "time"),
    [
        (None, "20050317080000+0900", {}, "2005-03-16T09:48:00+09:00"),
        (None, "20050317+0930", {}, "2005-03-16T09:48:00+09:30"),
        (ZoneInfo("Asia/Tokyo"), "20050317080000+0900", {}, "2005-03-16T09:48:00+09:00"),
        (ZoneInfo("Asia/Tokyo"), "20050317080000", {}, "2005-03-16T09:48:00+09:00"),
        (ZoneInfo("Asia/Tokyo"), "20050317080000+0000", {"offset_of_message": False}, "2005-03-16T09:48:00+09:00"),
        (NEW_YORK, "20050701080000-0400", {}, "2005-03-16T09:48:00-05:00"),
        (NEW_YORK, "20050317080000-0500", {}, "2005-03-16T09:48:00-05:00"),
    ],
)
def test_a_bare_time_is_of_the_zone_of_the_study_else_it_has_the_offset_of_the_message(zone, sent_at, declared, time):
    body = oru(obr=BARE, header=changed(MSH, f7=sent_at))
    found = history(body, feed(zone=zone, **declared))
    assert found.labs[0].time == time
    assert found.notes.get(("labs", 0), ()) == (FROM_MESSAGE if zone is None else ())


@pytest.mark.parametrize("sent_at", ["20050317080000+0000", "20050317080000-0500", "20050701080000-0500"])
def test_a_bare_time_is_set_aside_if_the_message_has_another_offset_than_the_zone_had_then(sent_at):
    """The zone had -0500 in March and -0400 in July: what counts is the instant of the message."""
    zone = NEW_YORK if sent_at.startswith("200507") else ZoneInfo("Asia/Tokyo")
    declared, header = feed(zone=zone), changed(MSH, f7=sent_at)
    assert faults(oru(obr=BARE, header=header), declared) == [("OBR[1]-7", "contradiction")]
    assert "MSH-7" in in_hl7_form(refusal(oru(obr=BARE, header=header), declared).faults[0]).sentence
    assert history(oru(header=header), declared).labs[0].time == "2005-03-16T09:48:00+09:00"
    assert history(oru(obr=changed(OBR, f7="20050316"), header=header), declared).labs[0].time == "2005-03-16"


def test_the_offset_of_the_message_may_be_declared_to_say_nothing():
    body = oru(obr=changed(OBR, f7="20050316094800"))
    assert faults(body, feed(offset_of_message=False)) == [("OBR[1]-7", "no_offset")]
