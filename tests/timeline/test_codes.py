"""A code counts only with its system, and a text that names another isoenzyme vetoes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FaultCode
from app.timeline.vocabulary import (
    ANALYTES,
    ASSESSMENT_CODES,
    ATC,
    LAB_CODES,
    LOINC,
    MEANINGS,
    OWN_SYSTEM,
    CodeBook,
    Coding,
)

CONFLICT = FaultCode.CODE_CONFLICT
DECLARED = CodeBook(
    {"L|CK": "CK", "MIMIC|50910": "CK", "CDISC|CK": "CK", "|CPK": "CK", "WARD|MMT-S": "MMT", "L|KENK": "IVIG"}
)
CDC_RACE = "urn:oid:2.16.840.1.113883.6.238"


@pytest.mark.parametrize(
    ("system", "code", "text", "meaning"),
    [
        ("LN", "2157-6", "CK Total", "CK"),
        ("LN", "2157-6", "Creatine kinase [Enzymatic activity/volume] in Serum or Plasma", "CK"),
        ("L", "CK", "Creatine Kinase", "CK"),
        ("", "2157-6", "CK_MB", None),  # without a system it is no code at all
        ("LN", "2157-6", "CK_MB", CONFLICT),
        ("LN", "2157-6", "CK-MB", CONFLICT),
        ("LN", "2157-6", "CK-MB [Enzymatic activity/volume] in Serum or Plasma", CONFLICT),
        ("LN", "13969-1", "Creatine kinase.MB [Mass/volume] in Serum or Plasma", None),
        (LOINC, "2157-6", "Creatine Phosphokinase (CPK)", "CK"),
        (CDC_RACE, "2157-6", "Guatemalan", None),
        ("MIMIC", "50910", "Creatine Kinase (CK)", "CK"),
        ("CDISC", "CK", "Creatine Kinase", "CK"),
    ],
)
def test_the_codings_that_are_seen_in_the_wild_get_their_verdict(system, code, text, meaning):
    """The rows of the public list of codings of CK, as far as the codes decide; unit and range decide elsewhere."""
    assert DECLARED.meaning([Coding(system, code, text)]) == meaning


@pytest.mark.parametrize("system", [None, "", "L", "99ZZZ", "http://loinc.org/", "HTTP://LOINC.ORG", "loinc", CDC_RACE])
def test_a_code_in_a_system_that_is_not_known_means_nothing(system):
    for code in ("2157-6", "CK", "J06BA02", "MMT"):
        assert CodeBook().meaning([Coding(system, code)]) is None


def test_every_analyte_is_known_by_its_loinc_code_and_all_our_words_by_our_own_system():
    for system in (LOINC, "LN", "urn:oid:2.16.840.1.113883.6.1"):
        for analyte in ANALYTES.values():
            assert CodeBook().meaning([Coding(system, analyte.loinc)]) == analyte.code
    assert set(MEANINGS) == {*LAB_CODES, *ASSESSMENT_CODES, "IVIG"}
    for system in (OWN_SYSTEM, "99MYO"):
        for word in MEANINGS:
            assert CodeBook().meaning([Coding(system, word)]) == word


@pytest.mark.parametrize("system", [ATC, "ATC", "urn:oid:2.16.840.1.113883.6.73"])
def test_only_immunoglobulins_into_a_vein_are_ivig(system):
    assert CodeBook().meaning([Coding(system, "J06BA02")]) == "IVIG"
    for code in ("J06BA01", "J06BA", "2157-6", "IVIG"):
        assert CodeBook().meaning([Coding(system, code)]) is None


@pytest.mark.parametrize(
    "text",
    [
        "CK-MB", "CK_MB", "CKMB", "CPK MB", "CPK-MB", "CPKMB", "ck-mb", "CK.MB", "CK (MB)", "MB isoenzyme",
        "CK-BB", "CK-MM", "CKBB", "CK isoenzyme MM", "Creatine kinase.MB", "CKMB1", "CKMBmass", "CK MB activity",
        "CK-MB/CK ratio",
        "CK\u2011MB", "\uff23\uff2b\uff0d\uff2d\uff22", "CK-MB\u6d3b\u6027", "\uff23\uff30\uff2b\uff2d\uff22",
    ],
)  # fmt: skip
def test_a_text_that_names_another_isoenzyme_vetoes_ck_wherever_it_stands(text):
    loinc, local = Coding(LOINC, "2157-6", "Creatine kinase"), Coding("L", "CK")
    assert DECLARED.meaning([loinc], text) is CONFLICT
    assert DECLARED.meaning([loinc._replace(text=text)]) is CONFLICT
    assert DECLARED.meaning([local._replace(text=text)]) is CONFLICT
    assert DECLARED.meaning([loinc, Coding("ZZ", "1", text)]) is CONFLICT
    assert DECLARED.meaning([loinc, Coding(None, None, text)]) is CONFLICT


@pytest.mark.parametrize(
    "text",
    [
        None, "", "CK", "CK total", "CPK", "mmol", "CK mmol/L", "5 mmHg", "Guatemalan", "ambulatory", "CK number",
        "umbilical CK", "CK combined", "hubba", "Creatine kinase (CK) in serum",
        "\u30af\u30ec\u30a2\u30c1\u30f3\u30ad\u30ca\u30fc\u30bc",
    ],
)  # fmt: skip
def test_other_texts_veto_nothing(text):
    assert DECLARED.meaning([Coding(LOINC, "2157-6", text)], text) == "CK"


def test_the_text_vetoes_ck_only():
    assert CodeBook().meaning([Coding(LOINC, "2532-0", "LDH isoenzyme MB")]) == "LDH"
    assert CodeBook().meaning([Coding(LOINC, "13969-1", "CK-MB")]) is None


def test_another_code_of_loinc_beside_it_is_another_test():
    total, mb = Coding(LOINC, "2157-6"), Coding(LOINC, "13969-1")
    assert CodeBook().meaning([total, mb]) is CONFLICT
    assert CodeBook().meaning([mb, total]) is CONFLICT
    assert DECLARED.meaning([Coding("L", "CK"), mb._replace(system="LN")]) is CONFLICT


def test_codes_of_other_systems_beside_it_say_nothing_against_it():
    snomed = Coding("http://snomed.info/sct", "397798009", "Creatine kinase measurement")
    assert CodeBook().meaning([Coding(LOINC, "2157-6"), snomed]) == "CK"
    assert CodeBook().meaning([snomed, Coding(LOINC, "2157-6")]) == "CK"
    assert CodeBook().meaning([snomed]) is None


def test_known_codes_that_say_different_things_conflict_and_that_say_the_same_agree():
    ck, ldh, own = Coding(LOINC, "2157-6"), Coding(LOINC, "2532-0"), Coding(OWN_SYSTEM, "CK")
    assert CodeBook().meaning([ck, ldh]) is CONFLICT
    assert CodeBook().meaning([ck, Coding(OWN_SYSTEM, "LDH")]) is CONFLICT
    assert CodeBook().meaning([ck, own]) == "CK"


def test_local_codes_count_with_their_system_and_only_where_they_are_declared():
    for coding, meaning in (
        (Coding("L", "CK"), "CK"),
        (Coding(None, "CPK"), "CK"),
        (Coding("", "CPK"), "CK"),
        (Coding("WARD", "MMT-S"), "MMT"),
        (Coding("L", "KENK"), "IVIG"),
    ):
        assert DECLARED.meaning([coding]) == meaning
        assert CodeBook().meaning([coding]) is None
        assert DECLARED.meaning([coding._replace(system="OTHER")]) is None


def test_a_declaration_stands_before_what_is_known():
    assert CodeBook({"LN|2157-6": "LDH"}).meaning([Coding("LN", "2157-6")]) == "LDH"


def test_a_text_alone_means_nothing():
    assert DECLARED.meaning([]) is None
    assert DECLARED.meaning([], "CK") is None
    assert CodeBook({"|None": "CK"}).meaning([Coding(None, None, "CK")]) is None


CODINGS = st.builds(
    Coding,
    st.sampled_from([None, "", "LN", LOINC, "L", ATC, OWN_SYSTEM]),
    st.sampled_from([None, "CK", "2157-6", "2532-0", "13969-1", "J06BA02"]),
    st.none() | st.text(max_size=10) | st.sampled_from(["CK-MB", "CK"]),
)


@given(st.lists(CODINGS, max_size=4), st.none() | st.text(max_size=10))
def test_the_order_of_codings_decides_nothing_and_what_was_read_once_is_read_the_same(codings, text):
    read = DECLARED.meaning(codings, text)
    assert read is None or read in MEANINGS or read is CONFLICT
    assert DECLARED.meaning(codings, text) == read
    assert DECLARED.meaning(codings[::-1], text) == read


def test_a_sender_of_ever_new_texts_fills_no_memory():
    book = CodeBook()
    for n in range(10_000):
        book.meaning([Coding(LOINC, "2157-6", f"CK {n}")])
    assert len(book._read) <= 4_097
