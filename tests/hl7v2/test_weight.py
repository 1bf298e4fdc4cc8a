"""How much of one message is read."""

from app.hl7v2.message import body_of, read_envelope
from app.hl7v2.segments import MOST_READ

HEADER = "MSH|^~\\&|LAB|ELAB|MYO|T|20050317080000+0900||ORU^R01^ORU_R01|4711|P|2.5.1||||||UNICODE UTF-8\r"


def envelope(rest, header=HEADER):
    return read_envelope(body_of(header.encode() + rest).batches[0].messages[0])


def test_a_message_with_an_attachment_of_some_megabytes_is_read():
    read = envelope(b"OBX|1|ED|PDF^Report||^application^pdf^Base64^%s" % (b"QUJD" * 900_000))
    assert not read.faults
    assert len(read.lines[1]) > 3_600_000


def test_segments_that_are_too_large_together_are_refused_and_the_answer_names_the_message():
    read = envelope(b"OBX|1|TX|X||%s\r" % (b"x" * (MOST_READ // 2)) * 3)
    assert [(fault.pointer, fault.code.value) for fault in read.faults] == [("OBX", "too_long")]
    assert read.control_id == "4711"
    assert read.faults[0].accepts.form.startswith(f"at most {MOST_READ} bytes")


def test_a_segment_counts_with_the_memory_that_its_text_needs():
    assert not envelope(b"OBX|1|TX|X||%s" % (b"x" * (MOST_READ // 2))).faults
    assert envelope(b"OBX|1|TX|X||%s" % (b"x" * (MOST_READ // 2) + "\U0001f600".encode())).faults


def test_of_a_segment_that_is_not_read_the_name_and_the_character_set_are_looked_at():
    note = b"NTE|1||%s" % ("\u65e5".encode() * MOST_READ)
    read = envelope(note)
    assert (read.lines[1], read.all_decoded, read.faults) == ("NTE|", True, ())
    assert not envelope(note + b"\xff").all_decoded


def test_a_header_that_is_too_large_is_refused():
    read = envelope(b"", HEADER.rstrip() + "|" + "x" * MOST_READ + "\r")
    assert [(fault.pointer, fault.code.value) for fault in read.faults] == [("MSH", "too_long")]
