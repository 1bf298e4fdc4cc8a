"""Texts that arrive in parts are cut at the same places wherever the parts end."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.readers.streams import Elements, Line, Lines

PARTS = st.lists(st.integers(1, 40), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def cut(cutter, text: bytes, sizes=()) -> list[Line]:
    """All that a cutter finds in a text that comes in parts of these sizes, the rest of it in one."""
    found, at = [], 0
    for size in [*sizes, len(text)]:
        found += cutter.feed(text[at : at + size])
        at += size
    return found + cutter.end()


class TestLines:
    """Lines, blank ones left out."""

    @pytest.mark.parametrize(
        ("text", "lines"),
        [
            (b"", []),
            (b"\n\n \r\n", []),
            (b"a", [(1, b"a")]),
            (b"a\n", [(1, b"a")]),
            (b"\na\r\n\nbc", [(2, b"a\r"), (4, b"bc")]),
            (b"\xef\xbb\xbf\r\n\xef\xbb\xbfa\n\xef\xbb\xbfb", [(2, b"a"), (3, b"b")]),
        ],
    )
    def test_a_line_has_the_number_that_an_editor_gives_it(self, text, lines):
        assert cut(Lines(10), text) == lines

    @given(st.binary(max_size=60).map(lambda text: text.replace(b"x", b"\n")), PARTS, st.integers(1, 12))
    @example(b"abc\n\nabcdef\nab", [1] * 14, 3)
    def test_where_a_text_is_cut_in_transit_changes_nothing(self, text, sizes, longest):
        expected = [
            (number, line if len(line) <= longest else None)
            for number, line in enumerate(text.split(b"\n"), 1)
            if line.strip() or len(line) > longest
        ]
        assert cut(Lines(longest), text, sizes) == expected

    def test_no_more_than_a_line_is_held(self):
        lines = Lines(1000)
        assert lines.feed(b"x" * 100_000) == []
        assert lines.feed(b"x" * 100_000) == []
        assert lines._begun == []
        assert lines.feed(b"x\nabc\n") == [(1, None), (2, b"abc")]


class TestElements:
    """Elements of an array, and what is none."""

    @given(st.lists(JSON, max_size=6), PARTS, st.sampled_from([None, 1]), st.booleans())
    @example([], [1], None, True)
    @example(['"', "\\", '\\"', "]", {"}": "[,"}], [1] * 60, None, True)
    def test_where_an_array_is_cut_in_transit_changes_nothing(self, elements, sizes, indent, marked):
        text = b"\xef\xbb\xbf" * marked + b" \n" + json.dumps(elements, indent=indent).encode() + b"\n"
        found = cut(Elements(10_000), text, sizes)
        assert [number for number, _ in found] == list(range(1, len(elements) + 1))
        assert [json.loads(element) for _, element in found] == elements

    @given(JSON.filter(lambda value: not isinstance(value, list)), PARTS)
    def test_a_document_that_is_no_array_is_its_own_element(self, document, sizes):
        [(number, text)] = cut(Elements(10_000), json.dumps(document, indent=1).encode(), sizes)
        assert (number, json.loads(text)) == (1, document)

    @pytest.mark.parametrize(
        ("text", "elements"),
        [
            (b"", []),
            (b" [ ] \n", []),
            (b"[1,2", [(1, b"1"), (2, b"2"), (3, b"")]),
            (b"[1,", [(1, b"1"), (2, b"")]),
            (b"[", [(1, b"")]),
            (b'[{"a": 1, {"b": 2}]', [(1, b'{"a": 1, {"b": 2}]'), (2, b"")]),
            (b'[1, "a, 2]', [(1, b"1"), (2, b'"a, 2]'), (3, b"")]),
            (b"[1}, 2]", [(1, b"1}"), (2, b"2")]),
            (b"[1] [2]", [(1, b"1"), (2, b"[2]")]),
            (b"\xef\xbb", [(1, b"\xef\xbb")]),
        ],
    )
    def test_what_is_no_array_leaves_something_that_its_reader_refuses(self, text, elements):
        for sizes in ((), [1] * len(text)):
            assert cut(Elements(100), text, sizes) == elements

    def test_an_element_that_is_too_long_is_told_and_nothing_after_it_is_held(self):
        elements = Elements(100)
        assert elements.feed(b'[1, "' + b"x" * 200) == [(1, b"1"), (2, None)]
        assert elements.feed(b"x" * 1000) == []
        assert elements.end() == []
        assert elements._held == b""

    @given(st.binary(max_size=80), PARTS)
    def test_whatever_the_bytes_no_byte_is_lost_but_blanks_and_marks_of_the_array(self, text, sizes):
        whole, parts = cut(Elements(1000), text), cut(Elements(1000), text, sizes)
        assert whole == parts
        kept = b"".join(element for _, element in whole)
        assert len(kept) <= len(text)
        assert not set(text) - set(kept) - set(b" \t\r\n[],\xef\xbb\xbf")
