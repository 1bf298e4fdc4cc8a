"""How much memory the texts of a body may need when they are decoded."""

import json

import pytest

from app.errors import InvalidDocument, MalformedDocument, TooLarge
from app.readers.budget import MOST_WIDENING
from app.readers.faults import check_syntax
from app.readers.json_timelines import read_array, read_timeline
from app.readers.streams import elements_of

LONG = MOST_WIDENING // 3 + 1_000


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("text", ["x" * LONG + "\U0001f600", "x" * 3 * LONG + "\u65e5"])
def test_a_text_that_one_wide_character_makes_large_is_refused(text, escaped):
    with pytest.raises(TooLarge, match="bytes more in memory"):
        check_syntax(json.dumps([text], ensure_ascii=escaped).encode())


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("text", ["x" * 3 * LONG, "\u65e5" * LONG, "\U0001f600" * LONG, "\xe9" * LONG])
def test_a_text_that_needs_no_more_memory_than_bytes_is_read(text, escaped):
    assert check_syntax(json.dumps([text], ensure_ascii=escaped).encode()) == [text]


def test_an_attachment_is_read_beside_a_short_text_with_an_emoji():
    document = {"data": "QUJD" * 1_500_000, "note": 'said "\U0001f600\\"'}
    assert check_syntax(json.dumps(document, ensure_ascii=False).encode()) == document


def test_an_escaped_quote_or_backslash_does_not_end_a_text():
    for before in ('\\"', "\\\\\\\\"):
        body = '["' + before + "x" * LONG + before + '\U0001f600"]'
        with pytest.raises(TooLarge):
            check_syntax(body.encode())


def test_many_bytes_that_are_no_utf_8_are_malformed():
    with pytest.raises(MalformedDocument):
        check_syntax(b'["%s"]' % (b"\xff" * 3 * LONG))


def test_the_elements_of_an_array_are_cut_where_they_end():
    array = [1, {"a": ["],[", {"b": '\\"}'}]}, [], [[2], {}], "", "\u65e5,", None]
    for indent in (None, 1):
        written = json.dumps(array, ensure_ascii=False, indent=indent).encode() + b"\n"
        assert [json.loads(element) for element in elements_of(written)] == array
    assert list(elements_of(b" [ ] ")) == []


def faults_of(body):
    with pytest.raises(InvalidDocument) as refused:
        read_timeline(body, 2**53)
    return {(fault.pointer, fault.code.value) for fault in refused.value.faults}


@pytest.mark.parametrize(
    "document",
    [
        lambda text: [text],
        lambda text: text,
        lambda text: {"patient": {"id": text}},
        lambda text: {"patient": {"id": "P1", "x": {"id": text}}, "y": [text]},
        lambda text: {"patient": {"id": "P1"}, "labs": [{"code": text, "time": text, "value": text, "unit": text}]},
    ],
    ids=["array", "text", "identifier", "unknown fields", "result"],
)
def test_a_large_document_has_the_faults_of_a_small_one(document):
    small, large = (json.dumps(document("x" * length)).encode() for length in (500, 1_100_000))
    assert faults_of(large) == faults_of(small)
    assert [item.error is None for item in read_array(b"[%s]" % large, 2**53)] == [False]
