"""A stream is cut into the same messages however the network delivers it, and a broken one is given up."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import FaultCode
from app.hl7v2.mllp_framing import END, MOST_STRAY, START, BrokenFraming, Frames, framed

LARGEST = 40
contents = st.binary(max_size=LARGEST).filter(lambda content: START not in content and END not in content + END[:1])
between = st.binary(max_size=20).filter(lambda stray: START not in stray)
hostile = st.lists(st.sampled_from([START, END, END[:1], END[1:], b"a", b"b" * LARGEST, b"\n"]), max_size=12)


def parts_of(stream, cuts):
    """The stream in parts that end at the cuts."""
    ends = sorted({cut % (len(stream) + 1) for cut in cuts} | {len(stream)})
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def read(parts, largest=LARGEST):
    """The messages of a stream and how it broke, if it did."""
    frames, messages = Frames(largest), []
    try:
        for part in parts:
            frames.feed(part)
            while (message := frames.next()) is not None:
                messages.append(message)
    except BrokenFraming as broken:
        return messages, (broken.code, broken.content)
    return messages, None


@given(st.lists(st.tuples(between, contents), max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
@example([(b"", b""), (b"\r\n", b"\x1c")], [1, 2, 3])
def test_any_cutting_of_a_stream_gives_the_same_messages(sent, cuts):
    stream = b"".join(stray + framed(content) for stray, content in sent)
    assert read(parts_of(stream, cuts)) == ([content for _, content in sent], None)


@given(hostile, st.lists(st.integers(0, 10_000), max_size=12))
def test_a_stream_of_garbage_breaks_alike_however_it_is_cut(pieces, cuts):
    stream = b"".join(pieces)
    assert read(parts_of(stream, cuts)) == read([stream])
    assert read([bytes([byte]) for byte in stream]) == read([stream])


def test_a_message_of_the_largest_size_is_read_and_one_more_byte_is_not():
    largest, longer = b"x" * LARGEST, b"x" * (LARGEST + 1)
    for cut in range(LARGEST + 4):
        assert read(parts_of(framed(largest), [cut])) == ([largest], None)
        assert read(parts_of(framed(longer), [cut])) == ([], (FaultCode.TOO_LONG, largest))


def test_a_message_that_never_ends_is_not_held_beyond_its_cap():
    frames = Frames(LARGEST)
    frames.feed(START + b"x" * LARGEST)
    assert frames.next() is None
    frames.feed(b"xx")
    with pytest.raises(BrokenFraming) as broken:
        frames.next()
    assert broken.value.content == b"x" * LARGEST


def test_a_frame_inside_a_frame_is_neither_one_message_nor_two():
    assert read([START + b"first" + framed(b"second")]) == ([], (FaultCode.MALFORMED, b"first" + START + b"second"))


def test_bytes_between_frames_are_ignored_up_to_a_cap_and_line_ends_without_one():
    line_ends = b"\r\n" * MOST_STRAY
    assert read([line_ends + b"x" * MOST_STRAY + framed(b"a") + b"x" * MOST_STRAY + framed(b"b")]) == (
        [b"a", b"b"],
        None,
    )
    assert read([framed(b"a"), b"x" * MOST_STRAY, b"x", framed(b"b")]) == ([b"a"], (FaultCode.MALFORMED, b""))


def test_only_what_could_be_a_message_starts_the_clock():
    frames = Frames(LARGEST)
    begun = []
    for part in (framed(b"a"), b"\r\n", b"x", START, b"b", END):
        frames.feed(part)
        frames.next()
        begun.append(frames.begun)
    assert begun == [False, False, True, True, True, False]
