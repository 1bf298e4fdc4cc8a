"""The same person is the same subject, nobody can tell whose a pseudonym is, and no two are alike by accident."""

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FaultCode
from app.readers.pseudonyms import Identifier, Pseudonyms, fingerprint, no_patient, study_key
from app.timeline.document import IDENTIFIER_PATTERN, normalised

SECRET = "x" * 32
KEY = study_key(SECRET, "trial")
HOSPITAL = ("urn:oid:1.2.392.200119.4.1", "WARD7")
DECLARED = Pseudonyms(KEY, HOSPITAL)
ANY = Pseudonyms(KEY)
KEPT = Pseudonyms(None)


def test_the_same_person_is_the_same_subject_in_every_format():
    """By whatever name the declared authority goes, also in a table, which has no authorities."""
    fhir, hl7, table = (Identifier(name, "MRN-00421") for name in (*HOSPITAL, None))
    subject = DECLARED.patient([fhir])
    assert subject == DECLARED.patient([hl7]) == DECLARED.patient([table]) == DECLARED.patient([fhir, hl7, hl7])


def test_identifiers_of_other_authorities_are_passed_over():
    mine, insurance = Identifier("WARD7", "00421"), Identifier("INSURANCE", "A-99")
    assert DECLARED.patient([insurance, mine]) == DECLARED.patient([mine])
    assert DECLARED.patient([insurance]) is FaultCode.AMBIGUOUS_SUBJECT
    assert DECLARED.patient([insurance, Identifier(None, "00421")]) is FaultCode.AMBIGUOUS_SUBJECT
    assert DECLARED.patient([Identifier("", "00421")]) is FaultCode.AMBIGUOUS_SUBJECT


def test_a_subject_that_we_named_may_be_named_to_us():
    ours = Identifier("urn:myoresponse:subject", DECLARED.patient([Identifier("WARD7", "1")]))
    assert DECLARED.patient([ours]) == ANY.patient([ours, Identifier("X", "9")]) == ours.value
    other = Identifier(ours.authority, f"s-{'0' * 32}")
    assert DECLARED.patient([ours, other]) is FaultCode.AMBIGUOUS_SUBJECT


def test_a_number_of_a_hospital_is_not_kept_under_our_name_for_subjects_either():
    named = Identifier("urn:myoresponse:subject", "MRN-00421")
    assert DECLARED.patient([named]) is FaultCode.AMBIGUOUS_SUBJECT
    assert "00421" not in ANY.patient([named])
    assert KEPT.patient([named]) == "MRN-00421"


def test_two_numbers_of_the_declared_authority_are_two_persons():
    assert DECLARED.patient([Identifier("WARD7", "1"), Identifier(HOSPITAL[0], "2")]) is FaultCode.AMBIGUOUS_SUBJECT


def test_where_no_authority_is_declared_the_authority_is_part_of_who_it_is():
    first, second = Identifier("A", "1"), Identifier("B", "1")
    assert ANY.patient([first]) == ANY.patient([first, first])
    assert ANY.patient([first]) != ANY.patient([second])
    assert ANY.patient([first, second]) is FaultCode.AMBIGUOUS_SUBJECT
    assert ANY.patient([Identifier(None, "1")]) == ANY.patient([Identifier("", "1")]) != ANY.patient([first])


@pytest.mark.parametrize("pseudonyms", [DECLARED, ANY, KEPT])
@pytest.mark.parametrize("given_", [[], [Identifier(None, "")], [Identifier("WARD7", " "), Identifier("WARD7", "\t")]])
def test_who_has_no_number_is_nobody_and_not_one_person_with_all_who_have_none(pseudonyms, given_):
    assert pseudonyms.patient(given_) is FaultCode.NO_SUBJECT


def test_a_blank_identifier_beside_a_number_says_nothing():
    assert DECLARED.patient([Identifier("WARD7", ""), Identifier("WARD7", "1")]) == DECLARED.patient(
        [Identifier("WARD7", "1")]
    )


def test_a_person_has_unrelated_pseudonyms_in_two_studies_and_under_two_secrets():
    person = [Identifier("WARD7", "00421")]
    keys = [study_key(secret, study) for secret in (SECRET, "y" * 32) for study in ("trial", "Trial", "other")]
    assert len({Pseudonyms(key, HOSPITAL).patient(person) for key in keys}) == 6
    assert len({Pseudonyms(key).number("A", "acc-1") for key in keys}) == 6
    assert len({Pseudonyms(key).alias("Observation", "1") for key in keys}) == 6
    assert len({fingerprint(key) for key in keys}) == 6


def test_a_pseudonym_is_the_keyed_hash_that_the_documentation_names():
    """HMAC-SHA256 under a key that HMAC-SHA256 makes of the secret and the study, the first 128 bits in hexadecimal."""
    key = hmac.new(SECRET.encode(), b"myoresponse pseudonyms of study trial", hashlib.sha256).digest()
    digest = hmac.new(key, b"7:patient0:5:00421", hashlib.sha256).digest()
    assert DECLARED.patient([Identifier("WARD7", "00421")]) == f"s-{digest.hex()[:32]}"


def test_pseudonyms_of_yesterday_are_those_of_today():
    assert DECLARED.patient([Identifier("WARD7", "MRN-00421")]) == "s-54d315ea7760c518fb909eb6f8723f02"
    assert DECLARED.number("LAB-A", "acc-77") == "4daf76584de7d0e634fa86d4af16d3f5"


def test_the_number_of_a_result_belongs_to_its_source():
    assert ANY.number("A", "1") != ANY.number("B", "1") != ANY.number(None, "1")
    assert ANY.number(None, "1") == ANY.number("", "1")
    assert ANY.number("A", " ") is FaultCode.BAD_IDENTIFIER
    assert ANY.number("A", "1") != ANY.alias("A", "1")


def test_no_two_lists_of_parts_are_hashed_alike():
    assert ANY.number("a", "b") != ANY.number("ab", "")
    assert ANY.number("1:a", "b") != ANY.number("1", "a1:b")
    assert ANY.patient([Identifier("a", "b")]) != ANY.patient([Identifier("ab", "b")])
    assert ANY.patient([Identifier("3:abc", "d")]) != ANY.patient([Identifier("", "3:abcd")])


PARTS = st.text("01a:", min_size=1, max_size=6).map("b{}".format)


@given(PARTS, PARTS, PARTS, PARTS)
def test_different_parts_give_different_pseudonyms(source, number, other_source, other_number):
    alike = (source, number) == (other_source, other_number)
    assert (ANY.number(source, number) == ANY.number(other_source, other_number)) is alike
    people = [[Identifier(source, number)], [Identifier(other_source, other_number)]]
    assert (ANY.patient(people[0]) == ANY.patient(people[1])) is alike


ODD = st.text(st.characters(exclude_categories=[]), min_size=1).filter(
    lambda text: no_patient(normalised(text)) is None
)


@given(ODD, ODD)
def test_whatever_the_number_is_its_pseudonym_is_an_identifier_without_a_trace_of_it(authority, value):
    for made in (
        ANY.patient([Identifier(authority, value)]),
        ANY.number(authority, value),
        ANY.alias("Patient", value),
    ):
        assert re.fullmatch(IDENTIFIER_PATTERN, made)
        assert len(made) in {32, 34}
        assert len(value) < 5 or value not in made


@pytest.mark.parametrize("value", ["P01", "a.b-C9", "x" * 64])
def test_what_is_a_pseudonym_already_is_kept(value):
    assert KEPT.patient([Identifier("WARD7", value)]) == value
    assert KEPT.number("A", value) == KEPT.alias("Patient", value) == value
    assert KEPT.fingerprint is None


@pytest.mark.parametrize("value", ["a b", "a\nb", "\u00e9", "x" * 65, "..", "a/b", "\ud800"])
def test_a_pseudonym_that_is_no_identifier_is_refused(value):
    assert KEPT.patient([Identifier("WARD7", value)]) is FaultCode.BAD_IDENTIFIER
    assert KEPT.number(None, value) is FaultCode.BAD_IDENTIFIER


def test_the_fingerprint_tells_keys_apart_and_is_no_pseudonym():
    assert DECLARED.fingerprint == fingerprint(KEY)
    assert re.fullmatch("[0-9a-f]{32}", fingerprint(KEY))
    assert fingerprint(KEY) not in KEY.hex()


@given(st.binary(max_size=200), st.text(st.characters(), max_size=80), st.text(st.characters(), min_size=1))
def test_a_pseudonym_is_the_keyed_hash_of_the_standard_library(key, source, value):
    text = f"5:alias0:{len(value)}:{value}"
    assert Pseudonyms(key).alias("alias", value) == _hashed(key, text)
    value = normalised(value)
    if no_patient(value) is None:
        text = f"6:number{len(source)}:{source}{len(value)}:{value}"
        assert Pseudonyms(key).number(source, value) == _hashed(key, text)
        text = f"7:patient{len(source)}:{source}{len(value)}:{value}"
        assert Pseudonyms(key).patient([Identifier(source, value)]) == "s-" + _hashed(key, text)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 90, 128, 129])
def test_a_key_of_any_length_is_one(length):
    key = bytes(range(length))
    assert Pseudonyms(key).alias("alias", "7") == _hashed(key, "5:alias0:1:7")


def _hashed(key, text):
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]


WORDS = [
    "UNKNOWN",
    "unk",
    "NA",
    "N/A",
    "n.a.",
    "-",
    "--",
    ".",
    "?",
    "NULL",
    "(null)",
    "<NA>",
    "None",
    "nan",
    "undefined",
]
CHANGED = ["1.23457E+11", "1,2e+9", "1E+12", "77.0", "77,00", "-77.0", "#N/A", "#REF!"]
INVISIBLE = ["7\u200b7", "\ufeff77", "7\x007", "77\u00ad", "7\u00a07", "e\u0301", "\u2460"]


@pytest.mark.parametrize("pseudonyms", [DECLARED, ANY, KEPT])
@pytest.mark.parametrize("word", [*WORDS, *CHANGED, *INVISIBLE])
def test_a_word_that_is_no_number_makes_no_pseudonym(pseudonyms, word):
    """All who have no number would be one person."""
    for written in (word, f" {word}\t", _wide(word)):
        assert pseudonyms.patient([Identifier("WARD7", written)]) is FaultCode.BAD_IDENTIFIER
        assert pseudonyms.number("A", written) is FaultCode.BAD_IDENTIFIER


@pytest.mark.parametrize("word", ["UNKNOWN", "0", "77.0"])
def test_a_word_that_is_no_number_is_not_kept_under_our_name_for_subjects_either(word):
    assert KEPT.patient([Identifier("urn:myoresponse:subject", word)]) is FaultCode.BAD_IDENTIFIER


@pytest.mark.parametrize("pseudonyms", [DECLARED, ANY, KEPT])
@pytest.mark.parametrize("zeros", ["0", "000000"])
def test_zeros_alone_are_no_patient_but_may_be_a_result(pseudonyms, zeros):
    assert pseudonyms.patient([Identifier("WARD7", zeros)]) is FaultCode.BAD_IDENTIFIER
    assert not isinstance(pseudonyms.number("A", zeros), FaultCode)


def test_a_word_of_another_authority_changes_nothing():
    mine = Identifier("WARD7", "00421")
    assert DECLARED.patient([Identifier("INSURANCE", "UNKNOWN"), mine]) == DECLARED.patient([mine])


@pytest.mark.parametrize(
    "number", ["7E12345", "12E3", "1.5", "0012", "#12", "A/7 b", "N-A", "\u691c\u67fb7", "M\u00fc-7", "NA7"]
)
def test_a_number_that_only_resembles_a_word_is_taken(number):
    assert DECLARED.patient([Identifier("WARD7", number)]) == f"s-{_hashed(KEY, _parts('patient', '', number))}"
    assert DECLARED.number("A", number) == _hashed(KEY, _parts("number", "A", number))


def test_the_sub_id_of_a_result_is_no_part_of_the_question_whether_there_is_a_number():
    assert ANY.number("A", "77", "0") == _hashed(KEY, _parts("number", "A", "77.0"))
    assert ANY.number("A", "NA", "1") is FaultCode.BAD_IDENTIFIER


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (" 00421\t", "00421"),
        ("\u3000\uff21\uff0d\uff10\uff14\uff12\uff11\u3000", "A-0421"),
        ("\uff76\uff85-1", "\u30ab\u30ca-1"),
        ("a 1", "a 1"),
    ],
)
def test_blanks_around_a_number_and_the_width_of_its_characters_are_no_part_of_it(written, number):
    assert DECLARED.patient([Identifier("WARD7", written)]) == DECLARED.patient([Identifier("WARD7", number)])
    assert ANY.number("A", written) == ANY.number("A", number)


@given(st.text(st.characters(exclude_categories=[])))
def test_a_normalised_number_stays_as_it_is(written):
    assert normalised(normalised(written)) == normalised(written)


ALMOST_ALIKE = st.text("0Oo1l.,-/ \uff10\uff11\u3000", max_size=5)


@given(ALMOST_ALIKE, ALMOST_ALIKE)
def test_two_numbers_are_one_only_if_they_differ_in_width_or_in_blanks_around_them(first, second):
    alike = _usual(first) == _usual(second)
    assert (normalised(first) == normalised(second)) is alike


def _usual(written):
    """The same by a table of these characters, without the rules of Unicode."""
    return written.replace("\uff10", "0").replace("\uff11", "1").replace("\u3000", " ").strip(" ")


def _wide(text):
    return "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)


def _parts(purpose, source, value):
    return f"{len(purpose)}:{purpose}{len(source)}:{source}{len(value)}:{value}"
