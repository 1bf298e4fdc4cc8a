"""Limits of normal written as text: the forms that laboratories write are read, and nothing is guessed."""

import re
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.readers.limits import (
    NO_LIMITS,
    UNREADABLE,
    NormalLimits,
    checked_limits,
    joined_limits,
    limit_in_unit,
    read_limits,
)
from app.timeline.vocabulary import UNITS, CodeBook

BOOK = CodeBook(unit_aliases={"E/L": "U/L"})


def limits(text, unit="U/L", decimal="."):
    return read_limits(text, unit, BOOK, decimal)


@pytest.mark.parametrize(
    "text",
    [
        "30-170", "30 - 170", " 30-170 ", "30  -  170", "30 - 170 U/L", "30-170U/L", "30-170 IU/L", "30-170 [IU]/L",
        "(30-170)", "[30-170]", "( 30 - 170 )", "(30-170 U/L)", "(30-170) U/L", "[30-170] [IU]/L", "[30-170 [iU]/L]",
        "30\u2010170", "30\u2011170", "30\u2012170", "30\u2013170", "30\u2014170", "30\u2015170", "30\u2212170",
        "30~170", "30\uff5e170", "30\u301c170", "30 \u301c 170", "30\u30fc170",
        "30 to 170", "30 TO 170", "30to170", "30 U/L - 170 U/L", "30 U/L to 170 U/L", "30.0-170.00",
        "\uff13\uff10\uff0d\uff11\uff17\uff10", "\uff13\uff10\uff5e\uff11\uff17\uff10\uff35\uff0f\uff2c",
        "30\u3000-\u3000170", "\uff0830-170\uff09", "30-170 E/L", "30-170 U/\u2113",
        "0.03-0.17 kU/L", "0.5 ukat/L - 170 U/L", "30 - 2833.333333333 nkat/L",
    ],
)  # fmt: skip
def test_a_range_is_read(text):
    lower, upper, unreadable = limits(text)
    assert (lower, unreadable) == (30.0 if "nkat" not in text else 1.8, False)
    assert upper == pytest.approx(170, rel=1e-11)
    assert upper == 170 or "nkat" in text


@pytest.mark.parametrize(
    "text",
    ["<170", "< 170", "<=170", "<= 170", "=<170", "\u2264170", "\u2264 170", "\u2266170", "\uff1c170",
     "\uff1c\uff1d170", "up to 170", "Up To 170 U/L", "<170 U/L", "<=170U/L", "(<170)", "[<= 170 U/L]", "(<170) IU/L",
     "<0.17 kU/L"],
)  # fmt: skip
def test_an_upper_limit_alone_is_read(text):
    assert limits(text) == NormalLimits(None, 170.0)


@pytest.mark.parametrize("text", [">30", "> 30", ">=30", "\u226530", "\u226730 U/L", "(>30)"])
def test_a_lower_limit_alone_has_no_upper(text):
    assert limits(text) == NormalLimits(30.0, None)


@pytest.mark.parametrize("text", ["", " ", "\u3000", "\t", "\u00a0"])
def test_where_nothing_stands_nothing_is_unreadable(text):
    assert limits(text) == NO_LIMITS


@pytest.mark.parametrize(
    "text",
    ["-", "30", "30-", "-200", "30--200", "-5-6", "30,5-200", "1.000.000-2", "\u0663-\u0664", "1e2-1e3", "<",
     "30-200\n40-300", "<<5", "9" * 400 + "-1", "neg", "N/A", "see note", "not established",
     "M: 30-200, F: 20-170", "M 30-200", "men 30-200", "18-60 y: 30-200", "30-200 (adults)", "30-200 / 20-170",
     "30-170-200", "(30-170", "30-170)", "(30-170]", "(30-170) (U/L)", "(30-170 U/L) U/L", "30 U/L - 170",
     "30-170 mg/dL", "30-170 ng/mL", "30-170 MU/L", "30-170 XL", "30-170 H", "30-170 L", "30-170 %", "30-170*",
     "200-30", "<0", "0-0", "30-10000001", "30-1.200", "5\u00b2-170", "\u2460-170",
     "30-170^", "30;170", "30..170", "170 U/L", "^30-170", "up to", "to 170", "<170-200", ">30-170"],
)  # fmt: skip
def test_any_other_text_is_unreadable_and_gives_no_limit(text):
    assert limits(text) == UNREADABLE


def test_a_long_text_is_no_range():
    assert limits("30" + " " * 100 + "-170") == limits("(" + ")" * 1_000_000) == UNREADABLE


def test_a_declared_decimal_comma_is_read_and_a_point_is_not():
    assert limits("0,5-2,83", "ukat/L", ",") == NormalLimits(0.5, 2.83)
    assert limits("0.5-2.83", "ukat/L", ",") == UNREADABLE
    assert limits("0,5-2.83", "ukat/L", ",") == limits("0,5-2.83", "ukat/L", ".") == UNREADABLE


@pytest.mark.parametrize(
    ("text", "unit", "upper"),
    [
        ("<2.83 ukat/L", "U/L", 169.8), ("<170 U/L", "kU/L", 0.17), ("<170 U/L", "nkat/L", 2833.3333333333335),
        ("<170 U/L", "ukat/L", 2.8333333333333335), ("<170", "ukat/L", 170.0), ("<170 E/L", "U/mL", 0.17),
        ("<90 ng/mL", "ug/L", 90.0), ("<90 U/L", "ug/L", None), ("<90 ug/L", "U/L", None),
        ("<90 U/L", None, None), ("<90 U/L", "cells", None), ("<90 cells", "cells", 90.0), ("<90", None, 90.0),
    ],
)  # fmt: skip
def test_a_unit_of_the_same_kind_is_converted_and_another_is_not_read(text, unit, upper):
    assert limits(text, unit) == NormalLimits(None, upper, upper is None)


def test_only_a_declared_alias_of_a_unit_is_read():
    assert read_limits("30-170 E/L", "U/L", CodeBook()) == UNREADABLE


def _twin(text):
    """Another reader of the plain forms: it takes the text apart by its words."""
    text = "".join(
        unicodedata.normalize("NFKC", char) if "\uff01" <= char <= "\uff5e" or char == "\u3000" else char
        for char in text
    )
    text = re.sub("[\u2013\u2014\u301c~]", "-", text.strip()).replace("\u2264", "<=")
    for opening, closing in ("()", "[]"):
        if text[:1] == opening and text[-1:] == closing:
            text = text[1:-1].strip()
    words = text.removesuffix("U/L").strip().replace("up to", "<").replace(" to ", "-").split("-")
    words = [word.strip() for word in words]
    if len(words) == 2 and all(re.fullmatch(r"\d{1,9}(\.\d{1,9})?", word, re.ASCII) for word in words):
        return tuple(map(float, words))
    if len(words) == 1 and re.fullmatch(r"<=? *\d{1,9}(\.\d{1,9})?", words[0], re.ASCII):
        return None, float(words[0].lstrip("<= "))
    return None


NUMBERS = st.integers(0, 5000).map(str) | st.decimals(0, 5000, places=2).map(str)
SOUND = st.builds(
    lambda pattern, low, high, dash, unit: pattern.format(low=low, high=high, dash=dash, unit=unit),
    st.sampled_from(["{low}{dash}{high}{unit}", "({low}{dash}{high}{unit})", "[{low}{dash}{high}]", "<{high}{unit}",
                     "\u2264{high}", "up to {high}{unit}", " {low} {dash} {high} "]),
    NUMBERS, NUMBERS, st.sampled_from(["-", " - ", "\u2013", "\u301c", "~", " to "]), st.sampled_from(["", " U/L"]),
)  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from(["", *"0123456789.,-~<>()[] \u2013\u2264\uff11\u00b2MFU/L:;"])),
    max_size=4,
)


@given(SOUND, EDITS)
@example("30-170", [(1, ",")])
@example("30-170", [(3, ".")])
def test_a_text_that_was_changed_gives_the_limits_that_it_states_or_none(text, edits):
    for at, char in edits:
        text = text[:at] + char + text[at + (not char) :]
    lower, upper, unreadable = limits(text)
    if unreadable:
        assert (lower, upper) == (None, None)
        return
    assert lower is None or upper is None or lower <= upper
    assume(not text.strip().startswith((">", "\u2265", "(>", "[>")) and text.strip("[() ]"))
    assert (lower, upper) == _twin(text)


@given(SOUND)
def test_a_sound_text_is_read(text):
    low, high = _twin(text)
    assert limits(text) == (UNREADABLE if (low or 0) > high or high == 0 else NormalLimits(low, high))


@given(st.text())
def test_any_text_is_read_or_said_to_be_unreadable(text):
    lower, upper, unreadable = limits(text)
    assert (lower is None and upper is None) == (unreadable or not text.strip())


@given(
    st.decimals(0, 10_000, places=2), st.sampled_from(["U/L", "kU/L", "nkat/L", "ukat/L", "mU/mL"]),
    st.sampled_from(["U/L", "kU/L", "nkat/L", "ukat/L", "mU/mL"]),
)  # fmt: skip
def test_a_limit_in_another_unit_is_the_same_amount_to_twelve_digits(number, given_unit, unit):
    converted = limit_in_unit(number, given_unit, unit)
    amount = Decimal(repr(converted)) * UNITS[unit].factor
    assert float(amount) == pytest.approx(float(number * UNITS[given_unit].factor), rel=1e-13, abs=0)


@pytest.mark.parametrize(
    ("lower", "upper", "read"),
    [
        (30, 170, NormalLimits(30, 170)), (0, 170, NormalLimits(0, 170)), (170, 170, NormalLimits(170, 170)),
        (None, None, NO_LIMITS), (30, None, NormalLimits(30, None)), (170, 30, UNREADABLE), (-1, 170, UNREADABLE),
        (None, 0, UNREADABLE), (None, -3, UNREADABLE), (None, 1e7, NormalLimits(None, 1e7)), (None, 1.1e7, UNREADABLE),
        (2e7, None, UNREADABLE),
    ],
)  # fmt: skip
def test_limits_that_cannot_be_limits_are_unreadable(lower, upper, read):
    assert checked_limits(lower, upper) == read


@pytest.mark.parametrize(
    ("sent", "text", "read"),
    [
        (NO_LIMITS, (30, 170), NormalLimits(30, 170)),
        ((30, None), (30, 170), NormalLimits(30, 170)),
        ((None, 170), (30, 170), NormalLimits(30, 170)),
        ((30, 170), (None, 170), NormalLimits(30, 170)),
        ((30, 170), UNREADABLE, NormalLimits(30, 170)),
        ((30, None), UNREADABLE, NormalLimits(30, None, unreadable=True)),
        ((30, 170), (30, 180), UNREADABLE),
        ((35, None), (30, 180), UNREADABLE),
        ((35, None), (None, 30), UNREADABLE),
        ((30, None, True), (30, 180), NormalLimits(30, None, unreadable=True)),
        (UNREADABLE, NO_LIMITS, UNREADABLE),
        ((None, 169.8), (None, 169.80000000000001), NormalLimits(None, 169.8)),
    ],
)  # fmt: skip
def test_a_text_completes_the_limits_beside_it_and_does_not_contradict_them(sent, text, read):
    assert joined_limits(NormalLimits(*sent), NormalLimits(*text)) == read
