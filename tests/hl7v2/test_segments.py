"""ER7 as it is really sent: line ends, delimiters, escapes, character sets, headers that end early."""

from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidDocument, MalformedDocument
from app.hl7v2 import segments
from app.hl7v2.message import body_of, messages_of, read_envelope
from app.hl7v2.segments import NULL, READ_SEGMENTS, STANDARD, Delimiters, segments_of
from tests.hl7v2.hl7v2_messages import MSH, OBR, OBX, PID, changed, faults, feed, history, message, oru, read, refusal

CONTROL = history(oru())


def with_charset(name: str) -> str:
    return changed(MSH, f18=name)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r", b"\n\r\n"])
def test_whatever_ends_the_lines_no_segment_is_swallowed(end):
    """Row 98."""
    assert history(oru().replace(b"\r", end)) == CONTROL


@pytest.mark.parametrize("marks", ["#~^\\&", "|^~\\&#", "$%*!@", "|^~\\:"])
def test_other_delimiters_are_taken_from_the_header(marks):
    """Row 96."""
    theirs = oru().decode().translate(str.maketrans("|^~\\&", marks[:5]))
    assert theirs.startswith("MSH" + marks[:5])
    assert history(theirs.replace(marks[:5], marks, 1).encode()) == CONTROL


@pytest.mark.parametrize(
    "header", ["MSH|||||", "MSH|^^^^|", "MSH|^~|", "MSH|^~\\|", "MSHA^~\\&|", "MSH |^~\\&|", "MSH|^~\\&\0|", "MSH"]
)
def test_delimiters_that_cannot_tell_parts_apart_are_refused(header):
    assert faults(message(header=header)) == [("MSH-2", "malformed")]


def test_a_byte_order_mark_and_the_frame_of_mllp_are_no_part_of_a_message():
    assert history(b"\xef\xbb\xbf" + oru()) == CONTROL
    assert history(b"\x0b" + oru() + b"\x1c\r") == CONTROL


@pytest.mark.parametrize("body", [b"", b"\r\r", b" ", PID.encode(), b"hello", b"\x00" * 40, "MSH".encode("utf-16")])
def test_what_does_not_begin_with_a_header_is_no_message(body):
    """Row 100."""
    assert faults(body) == [("MSH", "malformed")]
    assert isinstance(refusal(body), MalformedDocument)


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("MSH|^~\\&", {"MSH-9", "MSH-10", "MSH-11", "MSH-12"}),
        ("MSH|^~\\&|A", {"MSH-9", "MSH-10", "MSH-11", "MSH-12"}),
        ("MSH|^~\\&|A|B|C|D|20050317||ORU^R01", {"MSH-10", "MSH-11", "MSH-12"}),
        (changed(MSH, f10=""), {"MSH-10"}),
        (changed(MSH, f10='""'), {"MSH-10"}),
        (changed(MSH, f12=" "), {"MSH-12"}),
    ],
)
def test_a_header_that_ends_early_is_refused(header, missing):
    """Row 99."""
    assert set(faults(oru(header=header))) == {(place, "missing") for place in missing}
    assert isinstance(refusal(oru(header=header)), MalformedDocument)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (message(), "PID"),
        (message(PID), "OBX"),
        (message(PID, OBR), "OBX"),
        (message(OBR, OBX), "PID"),
        (message(OBX, PID, OBR, OBX), "PID"),
    ],
)
def test_a_message_without_a_patient_or_a_result_is_refused(body, place):
    assert faults(body) == [(place, "missing")]
    assert isinstance(refusal(body), MalformedDocument)


@pytest.mark.parametrize("kind", ["ORU^R30", "ORU^W01", "ADT^A01", "ADT^A34", "ORM^O01", "ACK^R01", "ORU", "ORU_R01"])
def test_other_kinds_of_messages_are_refused(kind):
    assert faults(oru(header=changed(MSH, f9=kind))) == [("MSH-9", "unsupported")]


@pytest.mark.parametrize("kind", ["ORU^R01", "ORU^R01^ORU_R01"])
@pytest.mark.parametrize("version", ["2.1", "2.3.1", "2.5^USA", "2.9"])
def test_results_of_every_version_are_read(kind, version):
    assert history(oru(header=changed(MSH, f9=kind, f12=version))) == CONTROL


@pytest.mark.parametrize("version", ["3.0", "2", "2.5.1.1", "v2.5", "2.5\u0661"])
def test_another_version_is_refused(version):
    assert faults(oru(header=changed(with_charset("UTF-8"), f12=version))) == [("MSH-12", "unknown_value")]


@pytest.mark.parametrize("mark", ["T", "D"])
def test_training_is_read_by_a_test_study_only(mark):
    body = oru(header=changed(MSH, f11=mark))
    assert faults(body) == [("MSH-11", "not_production")]
    assert history(body, feed(test=True)) == CONTROL


def test_an_unknown_processing_id_is_refused_everywhere():
    assert faults(oru(header=changed(MSH, f11="X")), feed(test=True)) == [("MSH-11", "unknown_value")]


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("", "ascii"), ("ASCII", "ascii"), ("8859/1", "latin-1"), ("8859/15", "iso8859-15"), ("8859/7", "iso8859-7"),
     ("UNICODE UTF-8", "utf-8"), ("UTF-8", "utf-8"), ("unicode utf-8", "utf-8")],
)  # fmt: skip
def test_the_declared_character_set_is_used(charset, codec):
    """Row 104. The micro sign of a unit is another byte in each; without it the unit is not known."""
    unit = {"ascii": "u", "iso8859-7": "\u03bc"}.get(codec, "\u00b5") + "kat/L"
    text = oru(changed(OBX, f5="10", f6=unit), header=with_charset(charset)).decode()
    (fact,) = history(text.encode(codec)).labs
    assert (fact.value, fact.unit) == (600, unit)


@pytest.mark.parametrize("marks", ["|^~\\&", "$%*!@"])
@pytest.mark.parametrize("charset", ["~ISO IR87", "ASCII~ISO IR87", "ISO IR6~ISO IR13~ISO IR87~ISO IR159"])
def test_japanese_is_read_by_its_escape_sequences_though_its_bytes_look_like_delimiters(charset, marks):
    name = "\u691c\u30de\u30dc"
    assert set(b"%^\\") < set(name.encode("iso2022_jp"))
    note, text = f"NTE|1|L|{name}", f"2157-6^{name}^LN"
    body = oru(changed(OBX, f3=text), note, pid=PID.replace("DOE", name), header=with_charset(charset)).decode()
    theirs = body.translate(str.maketrans("|^~\\&", marks))
    assert history(theirs.encode("iso2022_jp")) == CONTROL
    mb = theirs.replace(name, "CK \uff2d\uff22")
    assert faults(mb.encode("iso2022_jp")) == [("OBX[1]-3", "code_conflict")]


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("~", "utf-8"), ("~8859/1", "latin-1"), ("8859/12", "latin-1"), ("UNICODE UTF-16", "utf-8"),
     ("ISO IR87", "latin-1"), ("8859/1~ISO IR87", "latin-1"), ("cp1252", "cp1252"), ("windows-1252", "cp1252"),
     ("Shift_JIS", "utf-8"), ("UNICODE", "utf-8")],
)  # fmt: skip
def test_a_character_set_that_is_not_known_is_never_guessed(charset, codec):
    body = oru(pid=PID.replace("DOE", "D\u00f6"), header=with_charset(charset)).decode().encode(codec)
    assert faults(body) == [("MSH-18", "unknown_encoding")]
    assert isinstance(refusal(body), InvalidDocument)


def nth(whole: Any, number: int) -> Any:
    """A part of what python's hl7 has split; it gives a text where there is nothing to split."""
    if isinstance(whole, str):
        return whole if number == 1 else ""
    return whole[number - 1] if number <= len(whole) else ""


@given(st.lists(st.text('ab "|^~\\&', max_size=15), max_size=4))
def test_every_part_is_the_one_that_another_library_finds(contents):
    lines = [MSH, *(f"OBX|{content}" for content in contents), "SPM|1"]
    theirs = hl7.parse("\r".join(lines))
    ours, _ = segments_of(lines, STANDARD, "ascii", READ_SEGMENTS)
    assert len(ours) == len(theirs)
    for segment, other in zip(ours[1:], theirs[1:], strict=True):
        assert segment.name == str(other[0])
        for field in range(1, len(other) + 2):
            content = nth(other, field + 1)
            assert segment.raw(field) == str(content)
            for component, part in product((1, 2, 3), repeat=2):
                found = [str(nth(nth(each, component), part)).strip() for each in (content or [""])]
                assert segment.texts(field, component, part) == [
                    "" if text == NULL else STANDARD.unescape(text) for text in found
                ]
    assert [ours[0].raw(field) for field in range(len(theirs[0]))] == [str(field) for field in theirs[0]]


def test_escapes_are_replaced_after_splitting():
    """Row 97."""
    marks = Delimiters()
    assert marks.unescape(r"a\F\b\S\c\T\d\R\e\E\f") == r"a|b^c&d~e\f"
    assert marks.unescape(r"\X0D\\X4a4B\\.br\ \H\bold\N\ ") == "\rJK\n bold "
    assert marks.unescape(r"\XC3A9\ \XE9\ ", "utf-8") == "\u00e9 \ufffd "
    assert marks.unescape(r"\Zown\ \XG0\ \X1\ C:\x") == r"\Zown\ \XG0\ \X1\ C:\x"
    assert Delimiters("#", "~", "^", "!", "&").unescape(r"!F!!S!\F\!E!") == r"#~\F\!"


def test_what_is_written_with_escapes_reads_back():
    marks, text = Delimiters(), "a|b^c&d~e\\f\rg\x0b\x1c"
    assert marks.unescape(marks.escaped(text)) == text
    assert not set(marks.escaped(text)) & set("|^&~\r\x0b\x1c")


def test_a_code_is_compared_without_its_escapes():
    declared = feed(local_codes={"L|C&K": "CK"})
    assert history(oru(changed(OBX, f3=r"C\T\K^x^L")), declared).labs[0].code == "CK"
    assert read(oru(changed(OBX, f3="C&K^x^L")), declared).skipped == {"code": 1}


def test_a_line_feed_inside_of_a_note_harms_nothing():
    note = "NTE|1|L|haemolytic,\nsee the letter\nOBX was repeated|x"
    assert history(message(PID, OBR, OBX, note)) == CONTROL
    assert read(message(PID, OBR, OBX, note)).skipped == {"segment": 1}


@pytest.mark.parametrize("line", ["MSH-6 intact", "BTS: 5 of 10", "FHS (none)", "BHS 1"])
def test_a_note_that_line_feeds_have_broken_takes_no_message_apart(line):
    """Else the first part would be stored and acknowledged, and what stands behind the note would be lost."""
    body = message(PID, OBR, f"NTE|1|L|stained for\n{line}\nas asked", OBX)
    assert len(messages_of(body)) == 1
    assert history(body) == CONTROL


@pytest.mark.parametrize("header", ["MSH|||||", "MSH|^~|", "MSH#^~\\&#LIS", "MSH"])
def test_a_damaged_header_is_no_part_of_the_message_before_it(header):
    assert len(messages_of(oru() + message(PID, OBR, OBX, header=header))) == 2


@pytest.mark.parametrize("rest", ["11\n01", "11\nOBX was repeated", "11\rADD|01"])
def test_a_line_feed_inside_of_a_result_is_refused_because_the_rest_of_it_is_lost(rest):
    assert faults(message(PID, OBR, OBX.replace("1101", rest))) == [("OBX[1]", "malformed")]


@pytest.mark.parametrize("code", ["8099-4^Lipids^LN", "X^CK and\nothers^L"])
def test_a_line_feed_inside_of_a_test_that_is_not_kept_harms_nothing_unless_its_code_is_lost(code):
    other = f"OBX|2|TX|{code}||see\nbelow||||||F"
    lost = "\n" in code
    assert faults(message(PID, OBR, OBX, other)) == ([("OBX[2]", "malformed")] if lost else [])
    if not lost:
        assert history(message(PID, OBR, OBX, other)) == CONTROL
        assert read(message(PID, OBR, OBX, other)).skipped == {"code": 1}


def test_a_score_that_goes_on_in_another_segment_is_not_cut_to_its_first_digits():
    score = "OBX|1|NM|MMT8^^99MYO||1||||||F"
    assert faults(message(PID, OBR, score, "ADD|40")) == [("OBX[1]", "malformed")]


def test_segments_that_are_not_read_are_counted_unless_every_message_has_them():
    more = ["ORC|RE", "NTE|1||x", "ZLB|1", "SPM|1", "NK1|1|DOE", "PV1|1|O", "TQ1|1", "SFT|x", "ZLB"]
    assert read(message(PID, OBR, OBX, *more)).skipped == {"segment": 4}


def test_a_message_of_more_parts_than_anybody_reads_is_refused(monkeypatch):
    monkeypatch.setattr(segments, "MOST_PARTS", 100)
    assert faults(oru(OBX + "|" * 100)) == [("MSH", "too_many")]
    assert faults(message(PID, OBR, OBX, "NTE" + "|" * 100)) == []


def test_a_batch_falls_into_its_messages():
    one, two = oru(), oru(header=changed(MSH, f10="4712"))
    batch = b"FHS|^~\\&\rBHS|^~\\&\r" + one + two + b"BTS|2\rFTS|1\r"
    assert messages_of(batch) == messages_of(one + two) == [one, two]
    assert messages_of(batch.replace(b"\r", b"\r\n")) == [one, two]
    assert messages_of(b"\x0b" + one + b"\x1c\r\x0b" + two + b"\x1c\r") == [one, two]
    assert messages_of(b"") == []
    assert messages_of(b"junk\rmore\r" + one) == [b"junk\rmore\r", one]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"BHS|^~\\&\r%sBTS|1\r", []),
        (b"BHS|^~\\&\r%sBTS\r", []),
        (b"FHS|^~\\&\r%sFTS|1\r", []),
        (b"FHS|^~\\&\rBHS|^~\\&\r%sBTS|1\rFTS|1\r", []),
        (b"FHS|^~\\&\rBHS|^~\\&\r%sBTS|1\r", [("FTS", "missing")]),
        (b"FHS|^~\\&\r%s", [("FTS", "missing")]),
        (b"FHS|^~\\&\rBHS|^~\\&\r%s", [("BTS", "missing")]),
        (b"BHS|^~\\&\r%sBTS|2\r", [("BTS-1", "length_mismatch")]),
        (b"BHS|^~\\&\r%sBTS|one\r", [("BTS-1", "length_mismatch")]),
        (b"BHS|^~\\&\r%s", [("BTS", "missing")]),
    ],
)
def test_a_batch_tells_whether_it_is_whole(body, found):
    batches = body_of(body % oru())
    assert batches.is_batch
    assert [(fault.pointer, fault.code.value) for each in batches.batches for fault in each.faults()] == found


def test_the_header_of_a_message_is_read_whatever_else_it_holds():
    envelope = read_envelope([changed(MSH, f3="LIS^1.2^ISO", f10=r"a\F\b", f15="al").encode(), b"\xff"])
    assert envelope.sender == ("LIS^1.2^ISO", "ELAB")
    assert envelope.control_id == r"a\F\b"
    assert envelope.accept == "AL"
    assert (envelope.all_decoded, envelope.faults) == (False, ())


def test_the_zone_of_the_study_is_asked_for_only_where_a_time_has_no_offset():
    assert history(oru(), feed(zone=ZoneInfo("America/Panama"))) == CONTROL
