"""Tables of results: taken apart in the declared dialect, each fault at its line and column."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FaultCode, InvalidDocument, MalformedDocument, ServiceError, TooLarge, UnsupportedMediaType
from app.readers import table_rows
from app.readers import tables as module
from app.readers.budget import ROWS
from app.readers.pseudonyms import Pseudonyms
from app.readers.statements import Feed
from app.readers.table_kinds import COLUMNS_OF, REQUIRED_OF
from app.readers.table_rows import Dialect
from app.readers.tables import ResultTable, read_table
from tests.readers.refusals import all_text, told
from tests.readers.tables import (
    FEED,
    FULL,
    IN_TOKYO,
    PLAIN,
    ROW,
    fact,
    faults,
    not_kept,
    read,
    refusal,
    strictly,
    table,
)
from tests.timeline.documents import LATEST

COLUMNS, REQUIRED = COLUMNS_OF["labs"], REQUIRED_OF["labs"]


def test_columns_stand_in_any_order():
    assert set(COLUMNS) == {*ROW, *FULL, "code_system", "code_text", "reference_range"}
    [results] = read(table(FULL, columns=tuple(reversed((*ROW, *FULL)))))
    assert results.history.labs == (fact(FULL),)


def test_rows_of_a_patient_are_one_history_wherever_they_stand():
    mixed = [{"patient": name, "time": f"2005-03-{day}"} for day in (16, 17, 18) for name in ("P02", "P01")]
    found = read(table(*mixed))
    assert [(each.subject, len(each.history.labs)) for each in found] == [("P02", 3), ("P01", 3)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_end_as_they_do_on_any_system(end, last):
    body = table({}, {"patient": "P02", "value": "?"}).decode().replace("\n", end) + end * last
    first, second = read(body.encode())
    assert first.history.labs == (fact({}),)
    assert not_kept(second) == [("/3/value", "set_aside", "bad_number")]


def test_a_byte_order_mark_is_no_part_of_the_first_column():
    assert read(b"\xef\xbb\xbf" + table({}))[0].history.labs == (fact({}),)


def test_spaces_around_cells_do_not_count():
    body = b"patient , time, code,value,unit\n P01 ,2005-03-16T09:48:00+09:00, CK , 1101,\xc2\xa0U/L \n"
    assert read(body)[0].history.labs == (fact({}),)


def test_a_cell_may_be_quoted_and_hold_a_delimiter_a_quote_and_a_line_break():
    text = 'Creatine kinase, "total"\nin serum'
    [one, other] = read(table({"code_text": text}, {"patient": "P02", "value": "1,5", "code_text": text}))
    assert one.history.labs == (fact({}),)
    # The first row takes lines 2 and 3, so that the second begins on line 4.
    assert not_kept(other) == [("/4/value", "set_aside", "bad_number")]


def test_rows_without_any_content_are_none_and_their_lines_are_counted():
    body = table({}) + b"\n\n,,,,\n" + table({"value": "?", "patient": "P02"}).split(b"\n")[1] + b"\n\n"
    taken = read_table(body, PLAIN, FEED)
    assert taken.rows == 2
    assert [*map(not_kept, taken.read())] == [[], [("/5/value", "set_aside", "bad_number")]]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_declared_delimiter_stands_between_cells(delimiter):
    assert fact({"code_text": 'a;b\tc,d"e'}, dialect=Dialect(delimiter)) == fact({})


@pytest.mark.parametrize(
    ("written", "declared", "guess"), [(";", ",", "semicolon"), ("\t", ",", "tab"), (",", ";", "comma")]
)
def test_another_delimiter_than_the_declared_one_is_guessed_in_the_refusal_only(written, declared, guess):
    refused = refusal(table({}, delimiter=written), Dialect(declared))
    assert isinstance(refused, InvalidDocument)
    assert told(refused) == [("/1", "unknown_column")]
    assert guess in refused.faults[0].sentence


def test_every_fault_of_every_row_of_a_patient_is_told_at_once():
    assert faults(
        {"value": "high", "unit": "U"},
        {"time": "45000", "lab": "A\tB", "upper_limit": "1,5"},
        {},
        {"code_text": "CK-MB", "status": "F", "issued": "then", "value": "99999999"},
        {"unit": "ng/mL", "version": "1.0", "lower_limit": "200", "upper_limit": "100"},
    ) == [
        ("/2/unit", "unknown_unit"),
        ("/2/value", "bad_number"),
        ("/3/lab", "bad_text"),
        ("/3/time", "bad_time"),
        ("/3/upper_limit", "bad_number"),
        ("/5/code", "code_conflict"),
        ("/5/issued", "bad_time"),
        ("/5/status", "unknown_value"),
        ("/5/value", "out_of_range"),
        ("/6/unit", "mass_unit"),
        ("/6/version", "bad_number"),
    ]


def test_an_unreadable_cell_makes_no_row_look_like_another():
    """What is put in its place is not compared: only what stands in the table contradicts itself."""
    assert faults({"time": "45000"}, {"time": "45001", "value": "5"}) == [
        ("/2/time", "bad_time"),
        ("/3/time", "bad_time"),
    ]


def test_the_same_result_twice_is_one_and_with_another_value_a_contradiction():
    assert fact({"id": "77"}, {"id": "77"}) == fact({"id": "77"})
    assert faults({"id": "77"}, {"id": "77", "value": "5"}) == [("/3", "conflicting_duplicate")]


def test_a_bad_row_is_set_aside_and_harms_no_other():
    rows = ({"time": "2005-03-17"}, {"unit": "ng/mL"}, {"code": "KREA"}, {"patient": "P02", "id": "a b"},
            {"time": "2005-03-18", "value": "5,5"}, {"time": "2005-03-19"})  # fmt: skip
    [one, other] = read(table(*rows))
    assert [lab.time for lab in one.history.labs] == ["2005-03-17", "2005-03-19"]
    assert not_kept(one) == [
        ("/3/unit", "set_aside", "mass_unit"), ("/4/code", "not_ours", "code"), ("/6/value", "set_aside", "bad_number"),
    ]  # fmt: skip
    assert not_kept(other) == [("/5/id", "set_aside", "bad_identifier")]


def test_rows_that_contradict_each_other_are_all_set_aside():
    [results] = read(table({"id": "77"}, {"id": "77", "value": "5"}, {"id": "78", "time": "2005-03-17"}))
    assert len(results.history.labs) == 1
    assert not_kept(results) == [(f"/{row}", "set_aside", "conflicting_duplicate") for row in (2, 3)]


def test_where_no_row_may_be_wrong_a_bad_row_keeps_out_its_patient_and_no_other():
    found = strictly(table({}, {"patient": "P02"}, {"value": "x"}, {"patient": "P03", "id": "a b"}))
    assert [(each.subject, each.history is not None) for each in found] == [
        ("P01", False), ("P02", True), ("P03", False),
    ]  # fmt: skip
    assert [told(each.error) for each in found if each.error] == [
        [("/4/value", "bad_number")], [("/5/id", "bad_identifier")],
    ]  # fmt: skip


def test_rows_that_name_nobody_are_told_together():
    body = table({"patient": ""}, {}, {"patient": "P 02"}) + b"\nP01,2005-03-17,CK,5\nP01,2005-03-18,CK,5,U/L,x"
    found = read(body)
    assert [each.subject for each in found] == [None, "P01"]
    assert told(found[0].error) == [
        ("/2/patient", "no_subject"), ("/4/patient", "bad_identifier"), ("/5", "ragged_row"), ("/6", "ragged_row"),
    ]  # fmt: skip
    assert found[1].history.labs == (fact({}),)


NOTHING = [(f"/1/{name}", "missing") for name in REQUIRED]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("patient,time,code,value,unit,ward", [("/1/6", "unknown_column")]),
        ("Patient,time,code,value,unit", [("/1/1", "unknown_column"), ("/1/patient", "missing")]),
        ("patient,time,code,value,unit,value", [("/1/6", "repeated_column")]),
        ("patient,time,code,value,unit,", [("/1/6", "unknown_column")]),
        ("patient,time,code", [("/1/unit", "missing"), ("/1/value", "missing")]),
        ("sep=;\npatient;time;code;value;unit", [("/1/1", "unknown_column"), *NOTHING]),
        ("P01,2005-03-16,CK,1101,U/L", [*((f"/1/{n}", "unknown_column") for n in range(1, 6)), *NOTHING]),
    ],
)  # fmt: skip
def test_a_header_names_documented_columns_once_and_the_required_ones(header, found):
    refused = refusal(header.encode())
    assert isinstance(refused, InvalidDocument)
    assert told(refused) == sorted(found)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", ""),
        (b"\xef\xbb\xbf", ""),
        (b"\n\n,,\n", ""),
        (table({}) + b'\nP01,"2005-03-17,CK,5,U/L\n', "/3"),
        (table({}) + b'\nP01,"2005"-03-17,CK,5,U/L\n', "/3"),
        (table({}) + b"\nP01,2005-03-17\0,CK,5,U/L\n", "/3"),
        (table({}) + b'\n"' + b"x" * 200_000 + b'"', "/3"),
        (table({}) + b"\n" + b"x" * 200_000, "/3"),
    ],
)
def test_what_does_not_follow_the_grammar_is_refused_as_a_whole(body, place):
    refused = refusal(body)
    assert isinstance(refused, MalformedDocument)
    assert told(refused) == [(place, "malformed")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "shift-jis"])
def test_only_utf_8_is_read(encoding):
    text = table({"lab": "Ä" if encoding == "latin-1" else "検査"}).decode()
    refused = refusal(text.encode(encoding))
    if encoding == "utf-16-le":  # without its mark it cannot be told from text with NULs
        assert isinstance(refused, MalformedDocument)
    else:
        assert isinstance(refused, UnsupportedMediaType)
        assert told(refused) == [("", "unknown_encoding")]


@pytest.mark.parametrize(("limit", "most", "rows"), [("ROWS", ROWS._replace(most=3), 4), ("MOST_ITEMS", 3, 4)])
def test_a_table_has_a_greatest_size(limit, most, rows, monkeypatch):
    monkeypatch.setattr(module, limit, most)
    several = [{"patient": f"P{i}"} for i in range(rows)]
    read_table(table(*several[1:]), PLAIN, FEED)
    assert isinstance(refusal(table(*several)), TooLarge)


def test_a_patient_may_have_so_many_rows(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS_OF_ONE", 2)
    one, other = read(table({}, {}, {"patient": "P02"}, {}))
    assert isinstance(one.error, TooLarge)
    assert other.history is not None


def test_rows_that_are_left_out_have_an_end(monkeypatch):
    monkeypatch.setattr(module, "MOST_LEFT_OUT", 2)
    bad = [{"patient": f"P{i}", "value": "?"} for i in range(4)]
    assert [each.error is None for each in read(table(*bad))] == [True, True, False, False]
    assert isinstance(refusal(table(*[{"code": "ZZZ"}] * 3)), TooLarge)


def test_a_row_that_does_not_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(table_rows, "LONGEST_ROW", 1_000)
    assert isinstance(refusal(table({}) + b"\n" + b'"a\n",' * 300), TooLarge)


SECRET = Pseudonyms(b"k" * 32, ["WARD7"])


def test_numbers_of_a_hospital_become_pseudonyms_and_are_nowhere_in_a_refusal():
    feed = Feed(LATEST, SECRET)
    rows = table({"patient": "MRN-4711", "id": "77", "lab": "A"}, {"patient": "4712", "value": "x"})
    good, bad = strictly(rows, feed=feed)
    assert "4711" not in repr(read(rows, feed=feed))
    assert re.fullmatch("s-[0-9a-f]{32}", good.subject)
    [kept] = good.history.labs
    assert kept.id == SECRET.number("A", "77")
    assert "4711" not in repr(good)
    assert re.fullmatch("s-[0-9a-f]{32}", bad.subject)
    assert "4712" not in all_text(bad.error)


CANARY = "canary86753"
CELLS = st.one_of(
    st.sampled_from([CANARY, f"={CANARY}", f"{CANARY},5", "1101", "1,5", "<5", "U/L", "CK", "final", "", "NA", '"', "'",
                     "\n", "2005-03-16", "2005-03-16 09:48", "9" * 50, "\x1f", "é", "\u2028", "P01", "P02"]),
    st.text(max_size=8),
)  # fmt: skip
DIALECTS = st.builds(
    Dialect, st.sampled_from([",", ";", "\t"]), st.sampled_from([".", ","]), st.frozensets(st.sampled_from(["NA", "-"]))
)


def everything(body: bytes, dialect: Dialect) -> list[ServiceError]:
    """The refusals of a body; any other exception is a failure of the test."""
    try:
        for each in read(body, dialect, IN_TOKYO):
            for place, disposition, _ in not_kept(each) if each.history else ():
                assert re.fullmatch(r"/\d+(/[a-z_]+)?", place), place
                assert disposition in {"set_aside", "not_ours"}
        found = strictly(body, dialect, IN_TOKYO)
    except ServiceError as error:
        return [error]
    return [each.error for each in found if each.error]


@given(st.binary(max_size=300), DIALECTS, st.booleans())
def test_whatever_the_bytes_nothing_but_a_refusal_leaves_the_reader(body, dialect, headed):
    everything(table({}, delimiter=dialect.delimiter) + b"\n" + body if headed else body, dialect)


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), CELLS), max_size=4), DIALECTS)
def test_a_refusal_repeats_nothing_of_the_table(rows, dialect):
    for error in everything(table(*rows, columns=COLUMNS, delimiter=dialect.delimiter), dialect):
        assert CANARY not in all_text(error)
        assert "9" * 50 not in all_text(error)
        for fault in error.faults:
            assert re.fullmatch(r"(/\d+(/[a-z_]+)?)?", fault.pointer), fault
            assert fault.code in FaultCode


@given(st.permutations(range(6)))
def test_the_order_of_rows_does_not_matter(order):
    rows = [{"patient": f"P{i % 2}", "time": f"2005-03-1{i}", "id": f"n{i}"} for i in range(6)]
    found = {each.subject: set(each.history.labs) for each in read(table(*(rows[i] for i in order)))}
    assert found == {each.subject: set(each.history.labs) for each in read(table(*rows))}


def test_a_table_says_how_many_rows_it_has():
    taken = read_table(table({}, {"code": "X"}, {"value": ""}, {"patient": ""}), PLAIN, FEED)
    assert isinstance(taken, ResultTable)
    assert (taken.rows, taken.skipped) == (4, {"code": 1, "value": 1})
