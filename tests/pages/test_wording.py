"""How figures are written: never so short that they say something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pages.wording import figure, interval_text, level_text, markdown, p_value, percent


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (0, "0"),
        (7, "7"),
        (-12, "−12"),
        (1234567, "1\u202f234\u202f567"),
        (0.5873, "0.587"),
        (-0.0714, "−0.0714"),
        (334.5, "334"),
        (999.4, "999"),
        (999.7, "1\u202f000"),
        (-1234.6, "−1\u202f235"),
        (0.0000123, "1.23 × 10⁻⁵"),
        (True, "yes"),
        ("week", "week"),
    ],
)
def test_a_number_has_three_digits_and_a_whole_one_all(value, written):
    assert figure(value) == written


@pytest.mark.parametrize(
    ("share", "written"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (14 / 15, "93.3 %"),
        (0.8, "80 %"),
        (-0.4127, "−41.3 %"),
        (0.0004, "< 0.1 %"),
        (-0.0004, "> −0.1 %"),
        (2999 / 3000, "> 99.9 %"),
        (1.2, "120 %"),
    ],
)
def test_a_share_shows_neither_0_nor_100_for_what_is_neither(share, written):
    assert percent(share).replace("\u00a0", " ") == written


@given(st.integers(1, 100_000), st.data())
def test_0_and_100_per_cent_are_said_of_nobody_and_of_everybody_alone(n, data):
    k = data.draw(st.integers(0, n))
    assert (percent(k / n) == "0\u00a0%") == (k == 0)
    assert (percent(k / n) == "100\u00a0%") == (k == n)


@pytest.mark.parametrize(
    ("level", "written"), [(0.95, "95"), (0.9, "90"), (0.975, "97.5"), (0.999, "99.9"), (0.9999, "99.99")]
)
def test_a_confidence_level_has_all_its_digits(level, written):
    assert level_text(level) == f"{written}\u00a0%"
    shown = interval_text({"low": 0.1, "high": None, "level": level}, as_percent=True)
    assert shown.replace("\u00a0", " ") == f"{written} % CI 10 % to not reached"


@pytest.mark.parametrize(
    ("p", "below", "written"),
    [
        (None, None, "–"),
        (0.5, None, "= 0.50"),
        (0.0123, None, "= 0.012"),
        (1e-9, None, "< 0.001"),
        (None, 1e-300, "< 0.001"),
    ],
)
def test_a_p_value_is_never_0(p, below, written):
    assert p_value(p, below) == written


def test_a_text_in_markdown_means_itself():
    assert markdown("a|b *c* [d](e)\n#f `g` \\h") == "a\\|b \\*c\\* \\[d\\](e) \\#f \\`g\\` \\\\h"
