"""Tables that are written: what a sender wrote is never computed, numbers stay numbers."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.readers.csv_lines import lines, lines_of_columns


def written(*rows, columns=("a", "b")) -> str:
    return "".join(lines(columns, rows))


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r"])
def test_a_text_that_begins_like_a_formula_is_neutralised(begins):
    assert cells(written((f"{begins}1+1", "x"))) == [["a", "b"], [f"'{begins}1+1", "x"]]
    assert cells(written(columns=(f"{begins}a",))) == [[f"'{begins}a"]]


@pytest.mark.parametrize("text", ["1101", "a=b", "'=1", "<5", "A-B", "", " =1"])
def test_any_other_text_stays_as_it_is(text):
    assert cells(written((text, None)))[1] == [text, ""]


@pytest.mark.parametrize(
    ("number", "digits"),
    [
        (-1.5, "-1.5"), (-3, "-3"), (0, "0"), (0.0, "0"), (-0.0, "0"), (1101.0, "1101"),
        (16.75, "16.75"), (1e-07, "0.0000001"),
        (1e7, "10000000"), (1e22, "10000000000000000000000"), (0.1 + 0.2, "0.30000000000000004"),
    ],
)  # fmt: skip
def test_a_number_stays_one_and_is_written_in_digits(number, digits):
    assert cells(written((number, None)))[1] == [digits, ""]
    assert float(digits) == number


def test_what_is_not_there_is_an_empty_cell_and_a_flag_is_a_word():
    assert written((None, True), (False, None)) == "a,b\r\n,true\r\nfalse,\r\n"


def test_a_table_is_written_one_record_at_a_time():
    endless = iter(lambda: ("x", 1), None)
    begun = lines(("a", "b"), endless)
    assert [next(begun) for _ in range(3)] == ["a,b\r\n", "x,1\r\n", "x,1\r\n"]


@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=2, max_size=2)))
def test_what_is_written_can_be_read_again_and_no_cell_is_a_formula(rows):
    read = cells(written(*rows))[1:]
    assert [[cell.removeprefix("'") for cell in row] for row in read] == [
        [cell.removeprefix("'") for cell in row] for row in rows
    ]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in read for cell in row)


@given(
    st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=3), st.floats(-9, 9) | st.integers(-9, 9))),
    st.lists(st.tuples(st.booleans() | st.none(), st.text(max_size=2) | st.none())),
)
def test_columns_are_written_as_the_rows_that_they_make(numbers, words):
    for rows in (numbers, words):
        columns = list(zip(*rows, strict=True)) if rows else [(), ()]
        assert list(lines_of_columns(("a", "=b"), columns)) == list(lines(("a", "=b"), rows))
