"""The first look at bytes: whether they are JSON that this service reads at all."""

import json
import threading

import jiter
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidDocument, MalformedDocument, TooLarge
from app.readers import faults
from app.readers.budget import MOST_MEMBERS, MOST_TEXTS, MOST_VALUES
from app.readers.faults import DEEPEST
from app.readers.json_timelines import first_pass
from tests.readers.refusals import all_text, refusal, told
from tests.repetition import repeats

NAMES = frozenset({"a", "b"})


def first(body: bytes):
    return refusal(first_pass, body, NAMES)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"NaN",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": nan}',
        b'{"a": 1',
        b'{"a": 1,}',
        b"[1,]",
        b"{'a': 1}",
        b"{a: 1}",
        b"{1: 1}",
        b'// a\n{"a": 1}',
        b'{"a": 1} /* b */',
        b'{"a": 1} x',
        b'{"a": 1}{"a": 1}',
        b"[01]",
        b"[+1]",
        b"[.5]",
        b"[1.]",
        b"[1e]",
        b"[0x10]",
        b"[1_000]",
        b"tru",
        b"[True]",
        b'["\t"]',
        b'["\x00"]',
        b'["\\x41"]',
        b'["\xff"]',
        b'["\xc0\xaf"]',
        b'["\xed\xa0\x80"]',
        b'["\\ud800"]',
        b'["\\udc00"]',
        b'["\\udc00\\ud800"]',
        b'["\\ud800x"]',
        b'{"\\ud800": 1}',
        b"[1]\x00",
        '{"a": "\u00e4"}'.encode("latin-1"),
        b"[" * 100_000,
        b"[" + b"9" * 5_000 + b"]",
    ],
)
def test_what_is_not_json_is_malformed(body):
    error = first(body)
    assert isinstance(error, MalformedDocument)
    assert told(error) == [("", "malformed")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_a_text_in_utf_16_is_refused_for_its_encoding(encoding):
    error = first('{"a": 1}'.encode(encoding))
    assert isinstance(error, MalformedDocument)
    assert told(error) == [("", "unknown_encoding")]


def test_the_place_is_all_that_is_said():
    assert first(b'{"a": 1,\n "b": SECRET}').detail == "The fault is at line 2, byte 7."


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 1}',
        b'{"b": [{"a": 1}, {"a": 1, "a": 2}]}',
        b'{"\xc3\xa9": 1, "\\u00e9": 2}',
        b'{"SECRET at line 9 column 9": 1, "SECRET at line 9 column 9": 2}',
    ],
)
def test_a_key_that_is_given_twice_is_refused_and_not_repeated(body):
    error = first(body)
    assert isinstance(error, MalformedDocument)
    assert told(error) == [("", "duplicate_key")]
    assert "SECRET" not in all_text(error)
    assert "line 9" not in all_text(error)


def test_the_same_key_in_two_objects_is_none_twice():
    first_pass(b'[{"a": 1, "b": {"a": 1}}, {"a": 1}]')


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nesting_ends_at_32(opening):
    def nested(levels: int) -> bytes:
        return (opening * levels + "1" + ("]" if opening == "[" else "}") * levels).encode()

    first_pass(nested(DEEPEST))
    error = first(nested(DEEPEST + 1))
    assert isinstance(error, MalformedDocument)
    assert error.detail == "It is nested deeper than 32 levels."


def test_an_empty_innermost_level_counts():
    first_pass(b"[" * DEEPEST + b"]" * DEEPEST)
    assert isinstance(first(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1)), MalformedDocument)


def test_brackets_in_text_are_no_nesting():
    first_pass(json.dumps({"a": "[" * 100, "b": "}{" * 100}).encode())
    assert isinstance(first(json.dumps({"a": "]" * 100}).encode()[:-1] + b',"b":' + b"[" * 40 + b"]" * 40 + b"}"),
                      MalformedDocument)  # fmt: skip


@pytest.mark.parametrize("levels", [DEEPEST, DEEPEST + 1])
def test_brackets_in_text_hide_no_nesting(levels):
    body = b'["]",' * levels + b"1" + b',"["]' * levels
    error = refusal(first_pass, body) if levels > DEEPEST else first_pass(body)
    assert isinstance(error, MalformedDocument if levels > DEEPEST else list)


@pytest.mark.parametrize("around", [b"%s", b"[" + b"{}," * 100 + b"%s]"])
def test_an_object_has_at_most_1000_members(around):
    def members(count: int) -> bytes:
        return around % (b"{%s}" % b",".join(b'"k%d" :1' % number for number in range(count)))

    first_pass(members(MOST_MEMBERS))
    error = first(members(MOST_MEMBERS + 1))
    assert isinstance(error, TooLarge)
    assert told(error) == [("", "too_many")]


def test_a_body_of_empty_containers_ends_somewhere():
    assert isinstance(first(b"[" + b"[]," * (MOST_VALUES // 4) + b"[]]"), TooLarge)


def test_a_body_of_texts_ends_somewhere_and_names_of_members_are_no_texts():
    first_pass(b"[%s]" % b",".join([b'""'] * MOST_TEXTS))
    assert isinstance(first(b"[%s]" % b",".join([b'""'] * (MOST_TEXTS + 1))), TooLarge)
    for named in (b'{"a" :"","b" :1,"c" :2}', b'{"a":"","b":1,"c":2}'):
        first_pass(b"[%s]" % b",".join([named] * (MOST_TEXTS * 3 // 10)))


@pytest.mark.parametrize("number", [b"1e999", b"1e" + b"9" * 900, b"1" + b"0" * 400, b"1e-4" + b"0" * 199])
def test_a_number_that_is_lost_is_found_wherever_it_is_in_a_large_body(monkeypatch, number):
    monkeypatch.setattr(faults, "_LARGE", 1_000)
    for before in range(500, 2_500):
        assert faults.in_doubt(b'["%s",%s]' % (b"x" * before, number))
        assert not faults.in_doubt(b'["%s",1e99]' % (b"x" * before))


def test_large_bodies_are_read_one_after_the_other(monkeypatch):
    begun, both = threading.Barrier(2), threading.Event()
    running: list[int] = []
    together: list[int] = []

    def checked(body: bytes) -> None:
        running.append(len(body))
        together.append(len(running))
        if len(running) == 2:
            both.set()
        both.wait(0.05 if len(body) > 1_000_000 else 30)  # a large one never sees the other
        running.remove(len(body))

    def read(size: int) -> None:
        begun.wait()
        faults.check_syntax(b" " * size)

    monkeypatch.setattr(faults, "_checked", checked)
    for size, most in ((2_000_000, 1), (10, 2)):
        together.clear()
        both.clear()
        threads = [threading.Thread(target=read, args=(size + n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert max(together) == most


@pytest.mark.parametrize(
    "number",
    ["1e400", "-1e400", "1E+400", "1e309", "123456789e305", "1" + "0" * 400, "-1" + "0" * 400, "1" + "0" * 400 + ".5",
     "1e-400", "-1e-400", "0.0001E-320", "0." + "0" * 400 + "1", "1e99999999999999999999", "1e-99999999999999999999"],
)  # fmt: skip
@pytest.mark.parametrize("around", ['{"a": %s}', '{"a": [0, {"b": %s }]}', "%s", '{"a": [%s,1]}', '{"a":%s\n}'])
def test_a_number_that_no_float_can_hold_is_named(number, around):
    error = first((around % number).encode())
    assert isinstance(error, InvalidDocument)
    place = {"%s": "", '{"a": [0, {"b": %s }]}': "/a/1/b", '{"a": [%s,1]}': "/a/0"}.get(around, "/a")
    assert told(error) == [(place, "not_finite")]


@pytest.mark.parametrize(
    "number",
    ["0", "-0", "0.0", "-0.0", "0e400", "0.000e-999", "1e308", "-1.7976931348623157e308", "5e-324", "1e-300", "1e5",
     "1E+07", "123456789012345678901234567890", "1." + "0" * 400, "1e000000000000001"],
)  # fmt: skip
def test_a_number_that_a_float_can_hold_is_not(number):
    first_pass(f'{{"a": [{number}, {number}], "b": {number}}}'.encode())


def test_text_that_looks_like_such_a_number_is_text():
    first_pass(json.dumps({"a": "1e400", "b": "x 0e000, 1e-999]" + "9" * 500}).encode())


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"a": "x\\u0000y"}', "/a"),
        (b'{"a": ["", "\\u0000"]}', "/a/1"),
        (b'{"a": {"\\u0000": 1}}', "/a"),
        (b'"\\u0000"', ""),
    ],
)
def test_a_nul_is_named(body, place):
    error = first(body)
    assert isinstance(error, InvalidDocument)
    assert told(error) == [(place, "bad_text")]


def test_an_escaped_backslash_before_u0000_is_no_nul():
    first_pass(b'{"a": "\\\\u0000"}')


def test_a_pointer_goes_through_known_keys_only():
    body = b'{"a": {"SECRET": {"a": [1e400, "\\u0000"]}}, "SECRET": 1e400, "b": {"a": 1e400}}'
    error = first(body)
    assert told(error) == [("", "not_finite"), ("/a", "bad_text"), ("/a", "not_finite"), ("/b/a", "not_finite")]
    assert "SECRET" not in all_text(error)


def test_a_key_with_a_slash_is_escaped_in_a_pointer():
    assert told(refusal(first_pass, b'{"m/~": 1e400}', frozenset({"m/~"}))) == [("/m~1~0", "not_finite")]


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_ordinary_json_passes(document):
    first_pass(json.dumps(document).encode())
    first_pass(json.dumps(document, ensure_ascii=False, indent=1).encode())


MARKS = st.text('"\\[]{}:, a\u00e9', max_size=3).map(json.dumps)
WRITTEN = st.recursive(
    MARKS | st.sampled_from(["1", "null", "1e2"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{' , '.join(items)}]"),
        st.lists(st.tuples(MARKS, inner), max_size=4).map(
            lambda members: f"{{{','.join(f'{name} :{value}' for name, value in members)}}}"
        ),
    ),
    max_leaves=20,
)
"""JSON texts; an object may have a key twice."""


@given(WRITTEN)
@settings(max_examples=repeats(300, 3_000))
def test_a_key_that_is_given_twice_is_found_wherever_the_parser_finds_it(written):
    for body in (written.encode(), f"[{'[],' * DEEPEST}{written}]".encode()):
        try:
            expected = jiter.from_json(body, catch_duplicate_keys=True)
        except ValueError:
            assert told(first(body)) == [("", "duplicate_key")]
        else:
            assert first_pass(body) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_is_written_in_full_passes(number):
    first_pass(json.dumps([number]).encode())


@given(st.binary())
def test_any_bytes_pass_or_are_refused(body):
    try:
        first_pass(body)
    except (MalformedDocument, InvalidDocument):
        return
    json.loads(body)
