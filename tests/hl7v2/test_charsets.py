"""Character sets: what is declared is used, and without a declaration only what is read must be ASCII."""

import pytest

from app.errors import InvalidDocument
from app.hl7v2.message import body_of, read_envelope
from app.hl7v2.oru_results import ReadMessage, read_message
from app.readers.statements import Feed, left_out
from app.timeline.receipts import Note, NoteCode
from tests.hl7v2.hl7v2_messages import CK, MSH, OBR, OBX, PID, changed, feed, message, oru

LEFT_OUT = left_out("MSH-18", "charset")
UMLAUT = "M\u00fcller^J\u00fcrgen"
PO = "\u30dd\u30dc\u30e4"
"""In Shift_JIS, the second bytes of these characters are those of delimiters: 0x7C, 0x7B and 0x84."""


def read(body: bytes, declared: Feed | None = None) -> ReadMessage:
    ((lines,),) = [batch.messages for batch in body_of(body).batches]
    declared = declared or feed()
    return read_message(read_envelope(lines, declared.charsets), declared)


def encoded(*segments: str, codec: str, header: str = MSH) -> bytes:
    return message(*segments, header=header).decode().encode(codec)


def refusals(found: ReadMessage) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.code.value) for fault in found.faults]


@pytest.mark.parametrize("codec", ["utf-8", "latin-1"])
@pytest.mark.parametrize("declared", ["", "ASCII", "8859/6", "UNICODE UTF-8"])
def test_bytes_of_a_name_that_is_not_kept_are_noted_and_harm_nothing(codec, declared):
    found = read(encoded(changed(PID, f5=UMLAUT), OBR, OBX, codec=codec, header=changed(MSH, f18=declared)))
    assert (found.histories, found.faults) == (read(oru()).histories, ())
    fits = (codec, declared) == ("utf-8", "UNICODE UTF-8") or declared == "8859/6"
    assert LEFT_OUT in found.lines or fits


def test_a_note_of_another_character_set_harms_nothing():
    found = read(encoded(PID, OBR, OBX, "NTE|1|L|h\u00e4molytisch", codec="latin-1"))
    assert found.histories == read(oru()).histories


@pytest.mark.parametrize("codec", ["utf-8", "latin-1"])
@pytest.mark.parametrize(
    ("segments", "place"),
    [
        ((PID, changed(OBR, f3="77^Hôpital"), OBX), "OBR[1]-3"),
        ((PID, OBR, changed(OBX, f3="2157-6^Kreatinkinase für CK^LN")), "OBX[1]-3"),
        ((PID, OBR, changed(OBX, f6="µkat/L")), "OBX[1]-6"),
    ],
)
def test_what_is_read_must_be_in_the_character_set(codec, segments, place):
    assert refusals(read(encoded(*segments, codec=codec))) == [(place, "unknown_encoding")]


def test_a_number_of_a_patient_in_an_unknown_character_set_refuses_the_message():
    with pytest.raises(InvalidDocument) as refused:
        read(encoded(changed(PID, f3="12\u00e43^^^WARD7"), OBR, OBX, codec="latin-1"))
    assert [(fault.pointer, fault.code.value) for fault in refused.value.faults] == [("PID-3", "unknown_encoding")]


def test_another_test_whose_name_cannot_be_read_is_not_ours_all_the_same():
    other = changed(OBX, f3="2345-7^Glukose n\u00fcchtern^LN", f5="5.2", f6="mmol/L")
    found = read(encoded(PID, OBR, OBX, other, codec="latin-1"))
    assert (found.histories, found.faults, found.skipped) == (read(oru()).histories, (), {"code": 1})


def test_a_result_under_a_sender_that_cannot_be_read_is_set_aside_where_the_sender_gives_its_source():
    bare = changed(OBR, f3="77")
    header = changed(MSH, f4="Universit\u00e4t")
    assert refusals(read(encoded(PID, bare, OBX, codec="latin-1", header=header))) == [("MSH-4", "unknown_encoding")]
    (only,) = read(encoded(PID, OBR, OBX, codec="latin-1", header=header)).histories
    assert (only.labs[0].source, only.labs[0].lab) == ("ELAB", None)
    assert Note(NoteCode.DETAIL_LEFT_OUT, "lab") in only.notes["labs", 0]


def test_behind_a_byte_that_may_hide_a_delimiter_nothing_is_read():
    """Undeclared Shift_JIS: a byte of the name of the order looks like a delimiter, so that OBR-7 is another field."""
    order = changed(OBR, f4=f"1^{PO}^L", f6="20050301094800+0900")
    assert refusals(read(encoded(PID, order, OBX, codec="cp932"))) == [("OBR[1]-4", "unknown_encoding")]
    in_utf8 = read(encoded(PID, order, OBX, codec="utf-8"))
    assert in_utf8.histories[0].labs[0].time == "2005-03-16T09:48:00+09:00"
    details = read(encoded(changed(PID, f5=PO), OBR, OBX, codec="cp932")).histories[0]
    assert (details.attributes, len(details.labs)) == ((), 1)
    assert details.aside == (left_out("PID-7", "birth_year"), left_out("PID-8", "sex"))


def test_a_switch_to_another_character_set_that_is_not_declared_hides_what_follows():
    order = changed(OBR, f4="1^\u691c\u30de\u30dc^L")
    assert refusals(read(encoded(PID, order, OBX, codec="iso2022_jp"))) == [("OBR[1]-4", "unknown_encoding")]


@pytest.mark.parametrize(
    ("declared", "sent", "codec"),
    [
        ({"": "ISO-8859-1"}, "", "latin-1"),
        ({"": "UTF-8"}, "", "utf-8"),
        ({"": "windows-1252"}, "", "cp1252"),
        ({"": "windows-1252"}, '""', "cp1252"),
        ({"ANSI": "windows-1252"}, "ansi", "cp1252"),
        ({"CP1252": "windows-1252"}, "CP1252", "cp1252"),
        ({"8859/1": "windows-1252"}, "8859/1", "cp1252"),
        ({}, "8859/1", "latin-1"),
        ({}, "ISO-8859-1", "latin-1"),
        ({}, "ISO8859-1", "latin-1"),
        ({}, "ISO 8859/1", "latin-1"),
        ({}, "latin1", "latin-1"),
        ({}, "UTF8", "utf-8"),
        ({}, "unicode utf-8", "utf-8"),
        ({}, "UTF-8", "utf-8"),
    ],
)
def test_a_character_set_has_its_usual_names_and_those_that_the_study_declares(declared, sent, codec):
    body = encoded(PID, changed(OBR, f3="77^Hôpital"), OBX, codec=codec, header=changed(MSH, f18=sent))
    (only,) = read(body, feed(charsets=declared)).histories
    assert only.labs[0].source == "Hôpital"


@pytest.mark.parametrize(
    ("declared", "sent"),
    [({"": "Shift_JIS"}, ""), ({"Shift_JIS": "Shift_JIS"}, "SHIFT_JIS"), ({"ISO IR87": "Shift_JIS"}, "ISO IR87")],
)
@pytest.mark.parametrize("sender", ["LIS", PO])
def test_declared_shift_jis_is_read_though_its_bytes_look_like_delimiters(declared, sent, sender):
    order = changed(OBR, f3=f"77^{PO}\u2460", f4=f"1^{PO}^L")
    header = changed(MSH, f3=sender, f18=sent)
    found = read(encoded(changed(PID, f5=PO), order, OBX, codec="cp932", header=header), feed(charsets=declared))
    (only,) = found.histories
    assert (only.labs[0].source, only.labs[0].time) == (f"{PO}\u2460", "2005-03-16T09:48:00+09:00")
    assert [fact.identity for fact in only.attributes] == ["sex", "birth_year"]
    full_width = changed(OBX, f3=CK.replace("Creatine kinase", "CK \uff2d\uff22"))
    mb = encoded(PID, OBR, full_width, codec="cp932", header=header)
    assert refusals(read(mb, feed(charsets=declared))) == [("OBX[1]-3", "code_conflict")]


def test_a_byte_order_mark_is_passed_over():
    assert read(b"\xef\xbb\xbf" + oru()).histories == read(oru()).histories
