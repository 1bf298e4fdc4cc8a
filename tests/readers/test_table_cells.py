"""What the cells of a table of results mean: numbers, times, codes and words, and nothing guessed."""

from zoneinfo import ZoneInfo

import pytest

from app.readers.pseudonyms import Pseudonyms
from app.readers.statements import Feed
from app.readers.table_rows import Dialect
from app.readers.tables import read_table
from app.timeline.vocabulary import CodeBook
from tests.readers.refusals import told
from tests.readers.tables import FEED, FULL, IN_TOKYO, PLAIN, fact, faults, not_kept, read, strictly, table
from tests.timeline.documents import LATEST, document, history, lab


def test_a_row_gives_the_fact_that_our_own_format_gives():
    native = lab(
        comparator="<", lower_limit=45, lab="A", source="LIS", id="acc-77", version=2,
        issued="2005-03-17T08:00:00+09:00", status="corrected",
    )  # fmt: skip
    assert fact(FULL) == history(document(labs=[native])).labs[0]


def test_what_is_not_given_is_what_our_own_format_takes_for_not_given():
    assert fact({}) == history(document(labs=[{name: v for name, v in lab().items() if name != "upper_limit"}])).labs[0]
    assert fact({"lab": "A"}) == history(document(labs=[lab(lab="A", upper_limit=None)])).labs[0]


@pytest.mark.parametrize(
    ("value", "number"), [("0", 0), ("1101", 1101), ("1101.50", 1101.5), ("0.27", 0.27), (".5", 0.5), ("007", 7)]
)
def test_a_number_is_digits_with_at_most_one_decimal_point(value, number):
    assert fact({"value": value}).value == number


NO_NUMBERS = [
    "1101,5", "1,101.5", "1.101,5", "1,101", "1 101", "1'101", "1e3", "1.1E+03", "+5", "5.", ".", "-", "--5", "0x1F",
    "inf", "nan", "NaN", "NA", "n/a", "<", "5 U/L", "\u0663", "\uff11\uff10", "\u22125", "9" * 41, "1_000", "=1+1",
    "1..5", "350~360", "#N/A", "<<5", "\u22645",
]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_such_number_is_refused(value):
    assert faults({"value": value}) == [("/2/value", "bad_number")]


@pytest.mark.parametrize("name", ["upper_limit", "lower_limit", "version"])
def test_a_bad_number_in_any_column_is_told_there(name):
    assert faults({name: "1,5"}) == [(f"/2/{name}", "bad_number")]


def test_a_negative_number_is_read_and_out_of_range():
    assert faults({"value": "-5"}) == [("/2/value", "out_of_range")]


def test_a_decimal_comma_counts_where_it_is_declared():
    found = fact({"value": "16,75", "upper_limit": "2,72", "unit": "ukat/L"}, dialect=Dialect(";", ","))
    assert (found.value, found.upper_limit, found.given_value) == (1005, 163.2, 16.75)
    assert fact({"value": "16,75", "unit": "ukat/L"}, dialect=Dialect(",", ",")).value == 1005
    for value in ("16.75", "1.234,5", "1.234"):
        assert faults({"value": value}, dialect=Dialect(";", ",")) == [("/2/value", "bad_number")]


def test_the_other_decimal_mark_is_guessed_in_the_refusal_but_never_where_it_may_be_a_thousand():
    def sentence(value: str, decimal: str) -> str:
        [results] = strictly(table({"value": value}), Dialect(",", decimal))
        return results.error.faults[0].sentence

    assert "decimal=," in sentence("1101,5", ".")
    assert "decimal=." in sentence("1101.50", ",")
    for value, decimal in (("1,234", "."), ("1.234", ","), ("1.234,5", "."), ("abc", "."), ("1,2,3", ".")):
        assert "decimal=" not in sentence(value, decimal)


@pytest.mark.parametrize("word", ["NA", "-", ".", "999"])
def test_a_word_means_missing_only_where_it_is_declared(word):
    taken = read_table(table({"value": word}), Dialect(missing=frozenset({word})), FEED)
    assert (taken.skipped, [*map(not_kept, taken.read())]) == ({"value": 1}, [[("/2/value", "not_ours", "value")]])
    if word != "999":
        assert faults({"value": word}) == [("/2/value", "bad_number")]
    else:
        assert fact({"value": word}).value == 999
    assert fact({"upper_limit": word}, dialect=Dialect(missing=frozenset({word}))) == fact({})


@pytest.mark.parametrize("sign", ["<", "<=", ">=", ">"])
def test_a_bound_stands_before_the_value_or_in_its_column_but_not_in_both(sign):
    bound = fact({"comparator": sign, "value": "20"})
    assert bound.comparator == sign
    assert fact({"value": f"{sign}20"}) == fact({"value": f"{sign} 20"}) == bound
    assert faults({"comparator": sign, "value": f"{sign}20"}) == [("/2/comparator", "repeated_value")]
    assert faults({"comparator": "~", "value": "20"}) == [("/2/comparator", "unknown_value")]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2005-03-16", "2005-03-16"),
        ("2005-03-16T09:48:00+09:00", "2005-03-16T09:48:00+09:00"),
        ("2005-03-16 09:48:00+09:00", "2005-03-16T09:48:00+09:00"),
        ("2005-03-16T09:48+09:00", "2005-03-16T09:48:00+09:00"),
        ("2005-03-16T00:48:00Z", "2005-03-16T00:48:00Z"),
        ("2005-03-16T09:48:00.000+09:00", "2005-03-16T09:48:00+09:00"),
        ("2005-03-16T09:48:00.250+09:00", "2005-03-16T09:48:00.250+09:00"),
        ("2005-03-16T09:48:00", "2005-03-16T09:48:00+09:00"),
        ("2005-03-16T09:48", "2005-03-16T09:48:00+09:00"),
        ("2005-03-16 09:48:00", "2005-03-16T09:48:00+09:00"),
        ("2005-03-16 09:48", "2005-03-16T09:48:00+09:00"),
    ],
)
def test_a_time_is_kept_as_our_own_format_writes_it(written, kept):
    found = fact({"time": written}, feed=IN_TOKYO)
    assert found == history(document(labs=[lab(time=kept, upper_limit=None)])).labs[0]
    assert fact({"issued": written}, feed=IN_TOKYO).issued == found.instant if "T" in kept else True


def test_a_time_without_an_offset_needs_the_zone_of_the_study():
    assert faults({"time": "2005-03-16 09:48"}) == [("/2/time", "no_offset")]
    assert faults({"issued": "2005-03-16 09:48"}) == [("/2/issued", "no_offset")]


def test_an_hour_that_a_zone_skipped_or_had_twice_is_refused():
    in_berlin = Feed(LATEST, Pseudonyms(None), zone=ZoneInfo("Europe/Berlin"))
    for hour in ("2005-03-27 02:30", "2005-10-30T02:30:00"):
        assert faults({"time": hour}, feed=in_berlin) == [("/2/time", "ambiguous_time")]
    assert fact({"time": "2005-07-01 02:30"}, feed=in_berlin).time == "2005-07-01T02:30:00+02:00"


NO_TIMES = [
    "45000", "38427.408", "3/2/2023", "16.03.2005", "2005/03/16", "20050316", "2005-3-16", "2005-03", "2005",
    "2005-02-30", "2005-03-16T24:00:00", "2005-03-16T09", "2005-03-16 9:48", "2005-03-16t09:48:00z",
    "2005-03-16T09:48:00+0900", "2005-03-16T09:48:00+25:00", "16-MAR-2005", "2005-03-16 09:48 AM",
]  # fmt: skip


@pytest.mark.parametrize("time", NO_TIMES)
def test_a_day_that_a_spreadsheet_or_a_country_wrote_in_its_own_way_is_refused(time):
    assert faults({"time": time}, feed=IN_TOKYO) == [("/2/time", "bad_time")]


def test_a_version_is_not_issued_on_a_day():
    assert faults({"issued": "2005-03-16"}) == [("/2/issued", "bad_time")]


LOCAL = Feed(LATEST, Pseudonyms(None), codes=CodeBook({"L|CPK": "CK", "|KREA": "LDH", "L|MMT": "MMT"}))


@pytest.mark.parametrize(
    "coded",
    [
        {"code": "CK"},
        {"code": "2157-6"},
        {"code": "2157-6", "code_system": "LN"},
        {"code": "2157-6", "code_system": "http://loinc.org", "code_text": "Creatine kinase [catalytic activity]"},
        {"code": "CK", "code_system": "99MYO"},
        {"code": "CPK", "code_system": "L"},
    ],
)  # fmt: skip
def test_a_code_counts_by_itself_where_it_is_ours_or_loinc_and_else_with_its_system(coded):
    assert fact(coded, feed=LOCAL) == fact({})


@pytest.mark.parametrize(
    "coded",
    [
        {"code": "CPK"},
        {"code": "ck"},
        {"code": "2160-0"},
        {"code": "2160-0", "code_system": "LN"},
        {"code": "2157-6", "code_system": "urn:oid:2.16.840.1.113883.6.238"},
        {"code": "CK", "code_system": "X"},
        {"code": "MMT"},
        {"code": "MMT", "code_system": "99MYO"},
        {"code": "MMT", "code_system": "L"},
        {"code": "J06BA02", "code_system": "ATC"},
    ],
)
def test_any_other_code_is_skipped_and_counted_whatever_else_its_row_says(coded):
    taken = read_table(table(coded | {"value": "high", "time": "yesterday", "patient": ""}, {}), PLAIN, LOCAL)
    assert (taken.rows, taken.skipped) == (2, {"code": 1})
    assert [each.history.labs for each in taken.read()] == [(fact({}),)]


def test_a_code_may_be_declared_without_a_system():
    assert fact({"code": "KREA"}, feed=LOCAL).code == "LDH"


@pytest.mark.parametrize("text", ["CK-MB", "Creatine kinase MB", "CKMB mass"])
@pytest.mark.parametrize("coded", [{"code": "CK"}, {"code": "2157-6"}, {"code": "2157-6", "code_system": "LN"}])
def test_a_text_that_names_another_isoenzyme_vetoes_the_code(text, coded):
    assert faults(coded | {"code_text": text}) == [("/2/code", "code_conflict")]


def test_a_mass_unit_is_not_an_activity():
    assert faults({"unit": "ng/mL"}) == [("/2/unit", "mass_unit")]
    assert fact({"code": "MYOGLOBIN", "unit": "ng/mL"}).value == 1101


@pytest.mark.parametrize(
    ("row", "limits"),
    [
        ({"reference_range": "45 - 163 U/L"}, (45, 163, False)),
        ({"reference_range": "45-163", "upper_limit": "163"}, (45, 163, False)),
        ({"reference_range": "45-163", "upper_limit": "170"}, (None, None, True)),
        ({"reference_range": "men 45-163", "lower_limit": "45"}, (45, None, True)),
        ({"reference_range": "men 45-163", "lower_limit": "45", "upper_limit": "163"}, (45, 163, False)),
        ({"reference_range": "", "upper_limit": "163"}, (None, 163, False)),
        ({"lower_limit": "200", "upper_limit": "163"}, (None, None, True)),
    ],
)
def test_the_text_of_a_range_completes_the_limits_of_its_row(row, limits):
    [results] = read(table(row))
    [found] = results.history.labs
    noted = "limit_unreadable" in {note.code for note in results.history.notes.get(("labs", 0), ())}
    assert (found.lower_limit, found.upper_limit, noted) == limits


def test_a_range_has_the_decimal_mark_of_its_table():
    row = {"reference_range": "45,5 - 163,25", "value": "1,5"}
    assert fact(row, dialect=Dialect(decimal=",", delimiter=";")).upper_limit == 163.25
    assert fact({"reference_range": "45,5 - 163,25"}).upper_limit is None


def test_a_unit_that_the_study_declares_is_that_of_the_value_and_the_limits():
    declared = Feed(LATEST, Pseudonyms(None), codes=CodeBook(unit_aliases={"kE/L": "kU/L"}))
    found = fact({"unit": "kE/L", "value": "1.101", "upper_limit": "0.163"}, feed=declared)
    assert (found.unit, found.value, found.upper_limit) == ("kU/L", 1101, 163)
    assert faults({"unit": "kE/L"}) == [("/2/unit", "unknown_unit")]


def test_a_unit_is_never_guessed():
    assert faults({"unit": ""}) == faults({"unit": "U"}) == [("/2/unit", "unknown_unit")]


@pytest.mark.parametrize("status", ["", "preliminary", "final", "amended", "corrected"])
def test_a_row_without_a_value_is_skipped_and_counted(status):
    taken = read_table(table({"value": "", "status": status}), PLAIN, FEED)
    assert (taken.rows, taken.skipped) == (1, {"value": 1})
    assert [*map(not_kept, taken.read())] == [[("/2/value", "not_ours", "value")]]


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_a_row_that_withdraws_a_result_needs_neither_value_nor_unit(status):
    found = fact({"value": "", "unit": "", "id": "77", "status": status})
    assert (found.status, found.value, found.unit) == (status, None, None)


CONTENT = {"value": "see text", "unit": "?", "upper_limit": "high", "comparator": "~"}


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
@pytest.mark.parametrize(
    "content", [CONTENT, {"unit": "mmol/L"}, {"value": "-1"}, {"lower_limit": "9", "upper_limit": "8"}]
)
def test_a_row_that_withdraws_a_result_needs_nothing_to_be_readable_but_its_number_code_and_time(status, content):
    found = fact(content | {"id": "77", "status": status})
    assert (found.status, found.value, found.unit, found.id) == (status, None, None, "77")


def test_a_row_that_withdraws_a_result_keeps_a_value_that_can_be_read():
    assert fact({"id": "77", "status": "cancelled"}).value == 1101


def test_a_row_that_withdraws_a_result_needs_its_code_and_its_time():
    assert faults({"status": "cancelled", "time": "soon", "value": "x"}) == [("/2/time", "bad_time")]
    assert faults({"status": "cancelled", "code": "", "value": "x"}) == [("/2/code", "missing")]


@pytest.mark.parametrize("word", ["HEMOLYZED", "see comment", "\u6eb6\u8840", "neg."])
def test_a_result_that_is_a_word_is_stated_without_a_value_and_needs_no_unit(word):
    [results] = read(table({"value": word, "unit": "", "upper_limit": word}, {"time": "2005-03-17"}))
    assert not_kept(results) == []
    assert [(lab.value, lab.unit, lab.upper_limit) for lab in results.history.labs] == [
        (None, None, None), (1101, "U/L", None),
    ]  # fmt: skip
    assert results.history.place("labs", 0) == "/2/value"


@pytest.mark.parametrize("cell", [{"time": "soon"}, {"code": "", "id": "77"}, {"version": "x"}])
def test_a_result_that_is_a_word_needs_what_names_it(cell):
    [results] = read(table({"value": "HEMOLYZED"} | cell))
    [(place, disposition, _)] = not_kept(results)
    assert (place, disposition) == (f"/2/{next(iter(cell))}", "set_aside")
    assert results.history.labs == ()


@pytest.mark.parametrize("word", ["NA", "-", "unknown", "#N/A", "1,101", "3+ HEMOLYZED", "1.1E+03"])
def test_a_word_for_a_missing_number_or_a_number_in_another_form_is_no_result(word):
    [results] = read(table({"value": word}))
    assert not_kept(results) == [("/2/value", "set_aside", "bad_number")]


def test_a_row_whose_status_is_unknown_is_not_skipped():
    assert set(faults({"value": "", "status": "F"})) >= {("/2/status", "unknown_value")}


def test_a_row_without_its_code_or_time_is_refused():
    assert faults({"code": ""}) == [("/2/code", "missing")]
    assert faults({"time": ""}) == [("/2/time", "missing")]


COMPUTED = ["1.23457E+11", "1,23457E+11", "1E+12", "1.2e+15", "77.0", "77,00"]
NOBODY = ["NA", "n/a", "NULL", "unknown", "-", ".", "?", "#N/A", "#REF!", "#NV", "####"]
OF_ANOTHER_LOOK = ["7\u200b7", "\u20607", "7\u00ad7", "7\u00b2"]


@pytest.mark.parametrize("column", ["patient", "id"])
@pytest.mark.parametrize("number", [*COMPUTED, *NOBODY, *OF_ANOTHER_LOOK])
def test_what_many_numbers_look_like_or_one_number_does_not_makes_no_pseudonym(column, number):
    """As a pseudonym nobody would see that three patients have become one, or one patient two."""
    of_a_hospital = Feed(LATEST, Pseudonyms(b"k" * 32))
    [results] = strictly(table({column: number}), PLAIN, of_a_hospital)
    assert told(results.error) == [(f"/2/{column}", "bad_identifier")]


@pytest.mark.parametrize("number", ["7E12345", "1.5", "0012", "#12", "A/7 b", "N-A", "\u691c\u67fb7", "M\u00fc-7"])
def test_other_numbers_of_a_hospital_are_taken_as_they_are(number):
    of_a_hospital = Feed(LATEST, Pseudonyms(b"k" * 32))
    [results] = read(table({"patient": number, "id": number}), PLAIN, of_a_hospital)
    assert results.error is None


@pytest.mark.parametrize("column", ["patient", "id"])
def test_a_number_in_full_width_is_the_same_number(column):
    of_a_hospital = Feed(LATEST, Pseudonyms(b"k" * 32))
    usual, wide = (table({column: number}) for number in ("A-0077", "\u3000\uff21\uff0d\uff10\uff10\uff17\uff17"))
    assert read(usual, PLAIN, of_a_hospital) == read(wide, PLAIN, of_a_hospital)


def test_a_word_for_no_number_that_is_declared_is_an_empty_cell():
    assert fact({"id": "NA"}, dialect=Dialect(missing=frozenset({"NA"}))).id is None
