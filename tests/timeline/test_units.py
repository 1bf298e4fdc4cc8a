"""Units of enzyme activity, checked against UCUM's own definitions, which are computed here with fractions."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FaultCode
from app.timeline.vocabulary import UNITS, CodeBook, in_canonical_unit, same_unit, unit_alias_fault, unit_named

MOLE, SECOND, METRE, GRAM = "mol", "s", "m", "g"
PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "": 0, "d": -1, "c": -2,
    "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18,
}  # fmt: skip
"""UCUM's prefixes, case sensitive: powers of ten."""
INSENSITIVE_PREFIXES = {
    "MA": 6, "K": 3, "": 0, "D": -1, "C": -2, "M": -3, "U": -6, "N": -9, "P": -12, "G": 9, "T": 12,
}  # fmt: skip
ATOMS = {
    "mol": (Fraction(1), {MOLE: 1}),
    "kat": (Fraction(1), {MOLE: 1, SECOND: -1}),
    "U": (Fraction(1, 10**6) / 60, {MOLE: 1, SECOND: -1}),
    "L": (Fraction(1, 1000), {METRE: 3}),
    "l": (Fraction(1, 1000), {METRE: 3}),
    "g": (Fraction(1), {GRAM: 1}),
    "s": (Fraction(1), {SECOND: 1}),
    "u": (Fraction(1), {GRAM: 1}),  # the unified atomic mass unit; only its dimension matters here
    # arbitrary units in UCUM; laboratories write them for U
    "[iU]": (Fraction(1, 10**6) / 60, {MOLE: 1, SECOND: -1}),
    "[IU]": (Fraction(1, 10**6) / 60, {MOLE: 1, SECOND: -1}),
}
INSENSITIVE_ATOMS = {name.upper(): amount for name, amount in ATOMS.items() if name not in {"l", "u"}}
ACTIVITY = {MOLE: 1, SECOND: -1, METRE: -3}


def ucum(text, atoms=ATOMS, prefixes=PREFIXES):
    """The size of `unit/unit` in the base units of UCUM, and its dimensions; `None` if UCUM does not know it."""
    size, dimensions = Fraction(1), {}
    for at, part in enumerate(text.split("/")):
        readings = [(prefix, atom) for prefix in prefixes for atom in atoms if part == prefix + atom]
        if not readings or at > 1:
            return None
        prefix, atom = min(readings, key=lambda reading: len(reading[0]))  # an atom before a prefix and an atom
        amount, of = atoms[atom]
        amount *= Fraction(10) ** prefixes[prefix]
        size = size / amount if at else size * amount
        for name, power in of.items():
            dimensions[name] = dimensions.get(name, 0) + (-power if at else power)
    return size, dimensions


def in_units_per_litre(text, atoms=ATOMS, prefixes=PREFIXES):
    """The factor to U/L, if UCUM reads the text as a catalytic concentration."""
    read = ucum(text, atoms, prefixes)
    return read[0] / ucum("U/L")[0] if read and read[1] == ACTIVITY else None


def test_the_table_of_ucum_says_what_ucum_says():
    assert in_units_per_litre("U/L") == 1
    assert in_units_per_litre("ukat/L") == 60
    assert in_units_per_litre("nkat/l") == Fraction(6, 100)
    assert in_units_per_litre("MU/L") == 10**6
    assert in_units_per_litre("MU/L", INSENSITIVE_ATOMS, INSENSITIVE_PREFIXES) == Fraction(1, 1000)
    assert in_units_per_litre("u/L") is in_units_per_litre("ng/mL") is in_units_per_litre("IU/L") is None


USUAL = [
    f"{amount}/{prefix}{litre}"
    for amount in [
        *(prefix + unit for prefix in ("k", "", "m", "u", "n") for unit in ("U", "[iU]", "[IU]")),
        "ukat", "nkat", "pkat",
    ]
    for prefix in ("", "d", "m", "u")
    for litre in ("L", "l")
]  # fmt: skip


def test_every_usual_code_of_ucum_for_a_catalytic_concentration_is_read_exactly():
    units = [UNITS[spelling] for spelling in USUAL]
    assert [(unit.quantity, Fraction(unit.factor), unit.is_ucum) for unit in units] == [
        ("activity", in_units_per_litre(spelling), True) for spelling in USUAL
    ]


ENZYME = [unit for unit in UNITS.values() if unit.quantity == "activity"]


def test_no_spelling_contradicts_ucum():
    for unit in ENZYME:
        sensitive = in_units_per_litre(unit.spelling)
        assert sensitive in {None, Fraction(unit.factor)}, unit
        assert unit.is_ucum == (sensitive is not None and unit.spelling in USUAL), unit
        if sensitive is None and unit.spelling.isupper():
            insensitive = in_units_per_litre(unit.spelling, INSENSITIVE_ATOMS, INSENSITIVE_PREFIXES)
            assert insensitive in {None, Fraction(unit.factor)}, unit


def test_a_code_in_capital_letters_is_read_only_where_it_cannot_be_another():
    capitals = {spelling.upper() for spelling in USUAL} - set(USUAL)
    read = {spelling: Fraction(UNITS[spelling].factor) for spelling in capitals if spelling in UNITS}
    assert set(read) == {"K[IU]/L", "KU/L", "MU/ML", "M[IU]/ML", "NKAT/L", "UKAT/L", "U/DL", "[IU]/DL"}
    for spelling, factor in read.items():
        assert in_units_per_litre(spelling, INSENSITIVE_ATOMS, INSENSITIVE_PREFIXES) == factor, spelling
        assert in_units_per_litre(spelling) in {None, factor}, spelling


@pytest.mark.parametrize(
    ("spelling", "factor"),
    [
        ("[U]/L", 1), ("UI/L", 1), ("IE/l", 1), ("mUI/mL", 1), ("IU/dL", 10), ("kIU/L", 1000), ("k[U]/L", 1000),
        ("\u00b5kat/dL", 600), ("\u03bckat/mL", 60_000), ("\u00b5U/mL", Fraction(1, 1000)), ("U/\u00b5L", 10**6),
        ("KU/L", 1000), ("UKAT/L", 60), ("\u00b5Kat/L", 60), ("NKAT/L", Fraction(6, 100)), ("MU/ML", 1), ("mu/ml", 1),
        ("ku/l", 1000), ("U/DL", 10),
    ],
)  # fmt: skip
def test_other_spellings_of_laboratories_are_read(spelling, factor):
    assert (UNITS[spelling].quantity, Fraction(UNITS[spelling].factor)) == ("activity", factor)


@pytest.mark.parametrize(
    "spelling",
    ["MU/L", "MIU/L", "M[IU]/L", "U/ML", "IU/ML", "[IU]/ML", "kat/L", "KAT/L", "mkat/L", "MKAT/L", "GU/L", "{U}/L", "U",
     "U/", "/L", "E/L", "IU", "mol/L", "UNIT/L", "Mu/L", "mu/L", "KU/ML", "1/L", "U/L/L", "kkU/L", "U/kL"],
)  # fmt: skip
def test_what_could_be_another_unit_is_refused(spelling):
    assert unit_named(spelling) is None
    assert CodeBook().unit(spelling) == spelling


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("\uff35\uff0f\uff2c", "U/L"), ("U\uff0fL", "U/L"), (" U/L ", "U/L"), ("U/\u2113", "U/l"),
        ("\uff29\uff35/L", "IU/L"), ("\u338d/L", "\u03bcg/L"), ("\uff4b\uff35\uff0f\uff2c", "kU/L"),
        ("\u00b5kat/L", "\u00b5kat/L"),
    ],
)  # fmt: skip
def test_letters_of_another_width_are_the_same_letters(text, spelling):
    assert unit_named(text) is UNITS[spelling]
    assert CodeBook().unit(text) == spelling


@pytest.mark.parametrize(
    ("value", "spelling", "canonical"),
    [
        (1.101, "kU/L", 1101),
        (1101, "[U]/L", 1101),
        (0.27, "\u03bckat/L", 16.2),
        (1.1, "U/mL", 1100),
        (110.1, "U/dL", 1101),
    ],
)
def test_a_result_in_another_unit_is_exactly_this_in_units_per_litre(value, spelling, canonical):
    assert in_canonical_unit(value, UNITS[spelling]) == canonical


@given(st.floats(0, 1e7), st.sampled_from(ENZYME))
def test_a_conversion_is_the_exact_product_rounded_once(value, unit):
    assert in_canonical_unit(value, unit) == float(Fraction(repr(value)) * Fraction(unit.factor))


@pytest.mark.parametrize(
    ("unit", "other", "same"),
    [("U/L", "IU/l", True), ("U/L", "kU/L", False), ("ug/L", "U/L", False), ("x", "x", True), ("x", "U/L", False)],
)
def test_two_spellings_are_one_unit_if_quantity_and_factor_agree(unit, other, same):
    assert same_unit(unit, other) == same_unit(other, unit) == same


def test_a_unit_that_a_study_declares_is_read_as_what_it_means():
    book = CodeBook(unit_aliases={"E/L": "U/L", "\uff4b\uff25/L": "kU/L", "\u5358\u4f4d/L": "\uff35/L", "old": "gone"})
    read = {
        "E/L": "U/L", " \uff25\uff0fL": "U/L", "kE/L": "kU/L", "\u5358\u4f4d/L": "U/L", "old": "old", "e/l": "e/l",
        "": "", None: None, "kU/L": "kU/L",
    }  # fmt: skip
    assert {text: book.unit(text) for text in read} == read
    assert book.declares_unit(" E/L")
    assert not book.declares_unit("U/L")
    assert not CodeBook().declares_unit("E/L")


@pytest.mark.parametrize(
    ("alias", "unit", "fault"),
    [
        ("E/L", "U/L", None), ("IU/L", "U/L", None), ("E/L", "\uff35/L", None), ("mkat/L", "ukat/L", None),
        ("E/L", "E/L", FaultCode.UNKNOWN_UNIT), ("E/L", "", FaultCode.UNKNOWN_UNIT), (" ", "U/L", FaultCode.MISSING),
        ("kU/L", "U/L", FaultCode.CONTRADICTION), ("\uff35/L", "ukat/L", FaultCode.CONTRADICTION),
        ("ug/L", "U/L", FaultCode.CONTRADICTION),
    ],
)  # fmt: skip
def test_an_alias_names_an_accepted_unit_and_changes_no_other(alias, unit, fault):
    assert unit_alias_fault(alias, unit) is fault


def test_the_spellings_follow_the_rule_that_is_documented():
    rule = re.compile(
        r"(?:[kmun\u00b5\u03bc]?(?:U|\[IU\]|\[iU\]|\[U\]|IU|UI|IE)|[unp\u00b5\u03bc]kat)/[dmu\u00b5\u03bc]?[Ll]"
    )
    assert sum(rule.fullmatch(unit.spelling) is not None for unit in ENZYME) == 12 * (7 * 7 + 5)
    assert [unit.spelling for unit in ENZYME if rule.fullmatch(unit.spelling) is None] == [
        "u/L", "u/l", "iu/L", "iu/l", "unit/L", "units/L", "Unit/L", "Units/L", "mu/mL", "mu/ml", "miu/mL", "miu/ml",
        "MU/ML", "MIU/ML", "M[IU]/ML", "U/DL", "IU/DL", "[IU]/DL", "ku/L", "ku/l", "kiu/L", "kiu/l", "KU/L", "KIU/L",
        "K[IU]/L", "UKAT/L", "uKat/L", "\u00b5Kat/L", "\u03bcKat/L", "NKAT/L", "nKat/L",
    ]  # fmt: skip
