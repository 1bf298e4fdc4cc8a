"""One text of a reference range gives the same limits and the same note in every format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.readers.pseudonyms import Pseudonyms
from app.readers.statements import Feed
from app.readers.table_rows import Dialect
from app.readers.tables import read_table
from app.timeline.vocabulary import CodeBook
from tests.fhir import fhir_messages
from tests.hl7v2 import hl7v2_messages
from tests.readers.tables import table

FEED = Feed(fhir_messages.LATEST, Pseudonyms(None), CodeBook(unit_aliases={"E/L": "U/L"}))
ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}


def of_fhir(text, unit):
    value = fhir_messages.quantity(100, unit)
    sent = fhir_messages.ck(referenceRange=[{"text": text}], valueQuantity=value)
    history, wrong = fhir_messages.history_and_faults(fhir_messages.read(sent, FEED))
    assert wrong == ()
    return history


def of_hl7v2(text, unit):
    sent = hl7v2_messages.obx(f5="100", f6=unit, f7="".join(ESCAPES.get(char, char) for char in text))
    return hl7v2_messages.history(hl7v2_messages.oru(sent, header=hl7v2_messages.MSH + "||||||UNICODE UTF-8"), FEED)


def of_table(text, unit):
    [results] = read_table(table({"value": "100", "unit": unit, "reference_range": text}), Dialect(), FEED).read()
    return results.history


def limits_of(history):
    """The limits of the one result, those as sent, and its notes."""
    [fact] = history.labs
    notes = history.notes.get(("labs", 0), ())
    return fact.lower_limit, fact.upper_limit, fact.given_lower_limit, fact.given_upper_limit, notes


def read_by_all(text, unit="U/L"):
    fhir, hl7v2, rows = (limits_of(read(text, unit)) for read in (of_fhir, of_hl7v2, of_table))
    assert fhir == hl7v2 == rows
    return fhir


@pytest.mark.parametrize(
    ("text", "lower", "upper", "codes"),
    [
        ("30 - 170 U/L", 30, 170, []), ("(30-170)", 30, 170, []), ("[30-170]", 30, 170, []),
        ("30\u2013170", 30, 170, []), ("30~170", 30, 170, []), ("30\u301c170 \uff35/\uff2c", 30, 170, []),
        ("26 to 192", 26, 192, []),
        ("<=170", None, 170, []), ("\u2264170", None, 170, []), ("<170", None, 170, []), ("<170 U/L", None, 170, []),
        ("up to 170", None, 170, []), ("30-170 E/L", 30, 170, []), ("0.5-3 ukat/L", 30, 180, []),
        ("", None, None, ["no_upper_limit"]), (">30", 30, None, ["no_upper_limit"]),
        ("M: 30-200, F: 20-170", None, None, ["limit_unreadable", "no_upper_limit"]),
        ("30-170 mg/dL", None, None, ["limit_unreadable", "no_upper_limit"]),
        ("170-30", None, None, ["limit_unreadable", "no_upper_limit"]),
    ],
)  # fmt: skip
def test_a_range_is_the_same_in_every_format(text, lower, upper, codes):
    found = read_by_all(text)
    assert (found[:2], [note.code for note in found[4]]) == ((lower, upper), codes)


@given(
    st.lists(
        st.sampled_from([*"0123456789.,-~<>()[]|^&\\ =", "\u2013", "\u301c", "\u2264", "\uff11", "30", "170", " to ",
                         "up to ", " U/L", " kU/L", " E/L", " mg/dL"]),
        max_size=8,
    ).map("".join),
    st.sampled_from(["U/L", "ukat/L", "kU/L"]),
)  # fmt: skip
def test_any_text_gives_the_same_limits_in_every_format(text, unit):
    read_by_all(text, unit)
