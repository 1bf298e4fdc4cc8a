"""Reference ranges written as text: a few forms are read, nothing is guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.readers.statements import read_range


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("30-200", (30.0, 200.0)),
        ("30 - 200", (30.0, 200.0)),
        (" 30-200 ", (30.0, 200.0)),
        ("0.0-5.0", (0.0, 5.0)),
        ("<25", (None, 25.0)),
        ("< 25", (None, 25.0)),
        ("<=190", (None, 190.0)),
        ("<= 190", (None, 190.0)),
        ("200-30", (200.0, 30.0)),  # reversed limits are found later, where limits are checked
    ],
)
def test_a_range_is_read(text, limits):
    assert read_range(text) == limits


@pytest.mark.parametrize(
    "text",
    ["", " ", "-", "30", "30-", "-200", "30--200", "-5-6", ">30", ">= 30", "30-200 U/L", "<25 U/L", "M 30-200",
     "30,5-200", "1.000.000-2", "30–200", "30 to 200", "\u0663-\u0664", "1e2-1e3", "30-200\n40-300", "<", "<<5",
     "9" * 400 + "-1", "30  -  200", "neg"],
)  # fmt: skip
def test_any_other_text_gives_no_limit(text):
    assert read_range(text) == (None, None)


@given(st.text())
def test_any_text_is_read_or_gives_no_limit(text):
    assert all(limit is None or limit >= 0 for limit in read_range(text))
