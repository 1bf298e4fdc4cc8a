"""Codes, units and instruments: a foreign spelling is in a table or it is refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.timeline.vocabulary import (
    ANALYTES,
    ASSESSMENT_CODES,
    DAILY_MILLIGRAMS,
    INSTRUMENTS,
    LAB_CODE_OF,
    LAB_CODES,
    STATUS_ORDER,
    STATUSES,
    UNITS,
    WITHDRAWN,
    in_canonical_unit,
)


@pytest.mark.parametrize(
    ("code", "loinc"),
    [
        ("CK", "2157-6"),
        ("LDH", "2532-0"),
        ("AST", "1920-8"),
        ("AST", "30239-8"),  # with P-5'-P
        ("AST", "88112-8"),  # without P-5'-P
        ("ALT", "1742-6"),
        ("ALT", "1743-4"),  # with P-5'-P
        ("ALT", "1744-2"),  # without P-5'-P
        ("ALDOLASE", "1761-6"),
        ("MYOGLOBIN", "2639-3"),
    ],
)
def test_an_analyte_goes_by_its_short_name_and_its_loinc_codes(code, loinc):
    assert LAB_CODE_OF[code] == LAB_CODE_OF[loinc] == code


def test_no_other_code_is_known():
    assert set(LAB_CODE_OF) == {*LAB_CODES, *(loinc for analyte in ANALYTES.values() for loinc in analyte.loinc_codes)}
    assert len(LAB_CODE_OF) == 16
    for other in (
        "13969-1",
        "14804-9",
        "14805-6",
        "14409-7",
        "76625-3",
    ):  # CK-MB; LDH by reaction; AST and ALT elsewhere
        assert other not in LAB_CODE_OF


@pytest.mark.parametrize(
    ("spelling", "quantity", "one", "canonical"),
    [
        ("U/L", "activity", 1, 1),
        ("IU/L", "activity", 1, 1),
        ("[IU]/L", "activity", 1, 1),
        ("[iU]/L", "activity", 1, 1),
        ("mU/mL", "activity", 1, 1),
        ("mIU/mL", "activity", 1, 1),
        ("m[IU]/mL", "activity", 1, 1),
        ("m[iU]/mL", "activity", 1, 1),
        ("U/mL", "activity", 1, 1000),
        ("IU/mL", "activity", 1, 1000),
        ("[IU]/mL", "activity", 1, 1000),
        ("[iU]/mL", "activity", 1, 1000),
        ("ukat/L", "activity", 1, 60),
        ("\u00b5kat/L", "activity", 1, 60),  # micro sign
        ("\u03bckat/L", "activity", 1, 60),  # Greek mu
        ("nkat/L", "activity", 1, 0.06),
        ("ug/L", "mass", 1, 1),
        ("\u00b5g/L", "mass", 1, 1),
        ("\u03bcg/L", "mass", 1, 1),
        ("mcg/L", "mass", 1, 1),
        ("ng/mL", "mass", 1, 1),
    ],
)
def test_one_of_each_unit_in_the_canonical_one(spelling, quantity, one, canonical):
    assert UNITS[spelling].quantity == quantity
    assert in_canonical_unit(one, UNITS[spelling]) == canonical


def test_these_are_all_units():
    assert len(UNITS) == 12 * (7 * 7 + 5) + 31 + 11  # by rule, in other spellings, of mass


@pytest.mark.parametrize("spelling", ["KAT/L", "UNIT/L", "U", "", "mg/dL", "kat/L", "U/L ", "%"])
def test_a_unit_is_case_sensitive_and_never_guessed(spelling):
    assert spelling not in UNITS


@pytest.mark.parametrize(
    ("value", "spelling", "canonical"),
    [
        (0.27, "ukat/L", 16.2),
        (3.3, "ukat/L", 198),
        (2.72, "ukat/L", 163.2),
        (0.07, "ukat/L", 4.2),
        (18350, "nkat/L", 1101),
        (0.163, "U/mL", 163),
    ],
)
def test_conversion_is_exact_where_binary_floats_are_not(value, spelling, canonical):
    assert in_canonical_unit(value, UNITS[spelling]) == canonical


def test_the_naive_product_would_have_been_wrong():
    assert 0.27 * 60 != 16.2


@given(st.floats(0, 1e7), st.sampled_from(sorted(UNITS)))
def test_conversion_is_the_decimal_product_rounded_once(value, spelling):
    unit = UNITS[spelling]
    assert in_canonical_unit(value, unit) == float(Decimal(repr(value)) * unit.factor)


@pytest.mark.parametrize(
    ("code", "maximum", "better"),
    [
        ("MMT", None, None),
        ("MMT8", 150, "higher"),
        ("MMT8_UNILATERAL", 80, "higher"),
        ("MMT26", 260, "higher"),
        ("ADL", None, None),
        ("PHYSICIAN_GLOBAL", 10, "lower"),
        ("PATIENT_GLOBAL", 10, "lower"),
        ("EXTRAMUSCULAR", 10, "lower"),
        ("HAQ", 3, "lower"),
        ("CHAQ", 3, "lower"),
        ("CMAS", 52, "higher"),
    ],
)
def test_an_instrument_has_its_scale_and_direction(code, maximum, better):
    assert (INSTRUMENTS[code].maximum, INSTRUMENTS[code].better) == (maximum, better)


def test_these_are_all_instruments():
    assert tuple(INSTRUMENTS) == ASSESSMENT_CODES
    assert len(INSTRUMENTS) == 11


def test_a_later_status_stands_over_an_earlier_one():
    order = [STATUS_ORDER[status] for status in ("preliminary", "final", "amended", "corrected", "cancelled")]
    assert order == sorted(set(order))
    assert STATUS_ORDER["entered-in-error"] == STATUS_ORDER["cancelled"]
    assert set(STATUS_ORDER) == set(STATUSES)
    assert sorted(WITHDRAWN) == ["cancelled", "entered-in-error"]


def test_a_weekly_dose_is_a_seventh_a_day():
    assert DAILY_MILLIGRAMS["mg/wk"] * 7 == 1
    assert DAILY_MILLIGRAMS["g/d"] == 1000
    assert DAILY_MILLIGRAMS["ug/d"] * 1000 == 1
    assert set(DAILY_MILLIGRAMS) == {"mg/d", "g/d", "ug/d", "mg/wk"}
