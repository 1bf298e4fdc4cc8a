"""A code counts only with its system, and a text that names another test vetoes it."""

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
    names_another_test,
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
    for system in (LOINC, "LN", "LOINC", "urn:oid:2.16.840.1.113883.6.1"):
        for analyte in ANALYTES.values():
            for loinc in analyte.loinc_codes:
                assert CodeBook().meaning([Coding(system, loinc)]) == analyte.code
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


RIGHT_NAMES = {
    "CK": [
        "CK", "CPK", "ck", "CK total", "CK gesamt", "CK(CPK)", "CPK (CK)", "S-CK", "P-CK", "CK-NAC", "CK alt",
        "creatine kinase", "Creatine Kinase (CK), S", "Creatine kinase [Enzymatic activity/volume] in Serum or Plasma",
        "Creatine phosphokinase (CPK)", "Creatinine kinase", "Creatinine phosphokinase, total", "creatinekinase",
        "Kreatinkinase", "Kreatinkinase (CK)", "Kreatin-Phosphokinase", "Creatinkinase", "cr\u00e9atine kinase",
        "Cr\u00e9atine phosphokinase (CPK)", "creatina quinasa", "creatina cinasa", "creatinfosfoquinasa", "CPK totale",
        "creatinchinasi", "creatina fosfochinasi", "\u30af\u30ec\u30a2\u30c1\u30f3\u30ad\u30ca\u30fc\u30bc",
        "\u30af\u30ec\u30a2\u30c1\u30f3\u30db\u30b9\u30db\u30ad\u30ca\u30fc\u30bc", "\u8840\u6e05CK", "\uff23\uff2b",
        "CK (lithium heparin)", "CK, sodium heparin plasma", "CK (Natrium-Citrat)", "CK, potassium EDTA",
        "CK, Total w/ reflex to CK-MB", "CK with reflex CK-MB", "Creatine kinase reflex to isoenzymes (MB, MM, BB)",
        "CK total (RFX CKMB)", "CPK, w/Refl MB", "CK mit Reflex CK-MB", "CK avec reflexe CK-MB, troponine",
        "Photometric, Creatine Phosphate + ADP",
    ],
    "LDH": [
        "LDH", "LD", "LD(LDH)", "LDH IFCC", "LDH (L->P)", "Lactate dehydrogenase", "lactic acid dehydrogenase",
        "Laktatdehydrogenase", "Laktat-Dehydrogenase", "Lactate d\u00e9shydrog\u00e9nase",
        "lactico d\u00e9shydrog\u00e9nase",
        "lactato deshidrogenasa", "deshidrogenasa l\u00e1ctica", "lattato deidrogenasi", "latticodeidrogenasi",
        "\u4e73\u9178\u8131\u6c34\u7d20\u9175\u7d20", "LDH isoenzyme MB",
        "Lactate dehydrogenase [Enzymatic activity/volume] in Serum or Plasma by Lactate to pyruvate reaction",
        "LD (Pyruvate to lactate)",
    ],
    "AST": [
        "AST", "AST(GOT)", "GOT (ASAT)", "SGOT", "S-GOT", "ASAT", "TGO", "Aspartate aminotransferase",
        "Aspartat-Aminotransferase", "aspartato aminotransferasa", "aspartato amino transferasa", "Transaminases GO",
        "aspartate transaminase", "Glutamic oxaloacetic transaminase", "Glutamat-Oxalacetat-Transaminase",
        "Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma by With P-5'-P",
        "AST with pyridoxal phosphate",
        "\u30a2\u30b9\u30d1\u30e9\u30ae\u30f3\u9178"
        "\u30a2\u30df\u30ce\u30c8\u30e9\u30f3\u30b9\u30d5\u30a7\u30e9\u30fc\u30bc",
    ],
    "ALT": [
        "ALT", "ALT(GPT)", "SGPT", "ALAT", "TGP", "Transaminases GP", "Alanine aminotransferase",
        "alanina aminotransferasa",
        "Alaninaminotransferase", "alanine transaminase", "Glutamate pyruvate transaminase",
        "\u30a2\u30e9\u30cb\u30f3\u30a2\u30df\u30ce\u30c8\u30e9\u30f3\u30b9\u30d5\u30a7\u30e9\u30fc\u30bc",
    ],
    "ALDOLASE": ["Aldolase", "aldolasa", "aldolasi", "ALD", "\u30a2\u30eb\u30c9\u30e9\u30fc\u30bc"],
    "MYOGLOBIN": ["Myoglobin", "mioglobina", "Myoglobine", "S-Myoglobin", "\u30df\u30aa\u30b0\u30ed\u30d3\u30f3"],
}  # fmt: skip
"""Names of our tests as laboratories write them in English, German, French, Spanish, Italian and Japanese."""


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in RIGHT_NAMES.items() for text in texts])
def test_the_names_of_the_right_test_veto_nothing(code, text):
    assert not names_another_test(code, text)
    assert CodeBook().meaning([Coding(LOINC, ANALYTES[code].loinc, text)], text) == code


OTHER_NAMES = [
    "Creatinine", "Creatinine clearance", "Kreatinin", "cr\u00e9atinine", "creatinina",
    "\u30af\u30ec\u30a2\u30c1\u30cb\u30f3", "Sodium", "Natrium", "sodio", "\u30ca\u30c8\u30ea\u30a6\u30e0", "Potassium",
    "Kalium", "Glucose", "Glukose", "glicemia",
    "Urea", "BUN", "Harnstoff", "Uric acid", "Lactate", "Lactic acid", "Laktat", "Calcium", "Chloride", "Magnesium",
    "CRP", "C-reactive protein", "Albumin", "Total protein", "Bilirubin", "Alkaline phosphatase", "Gamma-GT", "GGT",
    "Amylase", "Lipase", "Troponin T", "NT-proBNP", "Cholesterol", "LDL", "Triglycerides", "TSH", "Thyroxine",
    "Ferritin", "Hemoglobin", "H\u00e4moglobin", "HbA1c", "Hematocrit", "Leukocytes", "Platelets", "D-dimer", "INR",
    "Aldosterone", "Cortisol", "\uff23\uff32\uff30", "\u5c3f\u9178", "\u8840\u7cd6",
]  # fmt: skip


@pytest.mark.parametrize("text", OTHER_NAMES)
def test_a_title_of_another_well_known_test_vetoes_each_of_ours(text):
    for code in LAB_CODES:
        assert names_another_test(code, text)
        assert CodeBook().meaning([Coding(LOINC, ANALYTES[code].loinc)], text) is CONFLICT


@pytest.mark.parametrize("code", LAB_CODES)
def test_a_title_of_one_of_our_tests_vetoes_the_others(code):
    for text in RIGHT_NAMES[code]:
        if (
            text not in {"ck", "LD", "LD(LDH)", "LD (Pyruvate to lactate)"}
            and "alt" not in text
            and "Photo" not in text
        ):
            assert all(names_another_test(other, text) for other in LAB_CODES if other != code), text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("CK", "CK-MB reflex from CK"), ("CK", "reflex CK-MB"), ("CK", "CKMB w/ reflex to CK"), ("CK", "CK/AST"),
        ("AST", "AST/ALT ratio"), ("CK", "CK + creatinine"), ("LDH", "Lactate, reflex to LDH"),
    ],
)  # fmt: skip
def test_a_title_of_two_tests_vetoes_and_only_what_follows_the_test_itself_is_a_reflex(code, text):
    assert names_another_test(code, text)


def test_the_title_of_a_score_or_of_a_drug_vetoes_nothing():
    assert not names_another_test("MMT8", "Albumin")
    assert CodeBook().meaning([Coding(OWN_SYSTEM, "IVIG", "Albumin")]) == "IVIG"
    assert CodeBook().meaning([Coding(LOINC, "13969-1", "CK-MB")]) is None


def test_a_title_of_any_length_is_read_in_time():
    for long in ("creatin", "lactat de", "asparta ", "glutam", "with ", "reflex", "CK ", "a"):
        assert CodeBook().meaning([Coding(LOINC, "2157-6")], long * 20_000) in {"CK", CONFLICT}
    assert names_another_test("CK", "CK " * 1_000 + "CK-MB")


@given(st.sampled_from(LAB_CODES), st.text())
def test_any_title_is_read(code, text):
    assert names_another_test(code, text) in {True, False}


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
