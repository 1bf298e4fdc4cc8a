"""Tables of each kind and of declared layouts: the fields of a timeline as columns, a fault at its row and column."""

import json
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900, to_excel

from app.errors import InvalidDocument, ServiceError, TooLarge
from app.readers.pseudonyms import Pseudonyms
from app.readers.statements import Feed
from app.readers.table_dates import COUNTED, DATE_FORMS, forms_of, time_in, written_in
from app.readers.table_kinds import COLUMNS_OF, KINDS_OF_TABLES, REQUIRED_OF
from app.readers.table_layout import Layout, OneKind, TableMapping, one_kind
from app.readers.table_rows import MOST_COLUMNS, Dialect, GatheredRows
from app.readers.tables import PatientResults, Sheet, read_sheets, read_table
from app.timeline.facts import History
from tests.api.demonstration_tables import MAPPING, rows, written
from tests.readers.refusals import told
from tests.timeline.documents import LATEST

FEED = Feed(LATEST, Pseudonyms(None))
PLAIN = Dialect()
EXAMPLES = {
    "patients": {"patient": "P01", "sex": "female", "birth_year": "1953", "diagnosis": "polymyositis"},
    "labs": {"patient": "P01", "time": "2005-03-16", "code": "CK", "value": "1101", "unit": "U/L"},
    "assessments": {"patient": "P01", "code": "MMT", "time": "2005-03-16", "score": "62", "scale_max": "100"},
    "infusions": {"patient": "P01", "time": "2005-04-11", "product": "IVIG", "dose": "0.4", "unit": "g/kg"},
    "medications": {"patient": "P01", "drug": "prednisolone", "start": "2005-01-20", "dose": "50", "unit": "mg/d"},
    "adverse_events": {"patient": "P01", "onset": "2005-04-12", "term": "headache", "severity": "mild",
                       "serious": "no", "related": "possible"},
}  # fmt: skip
MAPPED = TableMapping.model_validate_json(json.dumps(MAPPING))


def read(body: bytes, layout: Layout, dialect: Dialect = PLAIN, feed: Feed = FEED) -> list[PatientResults]:
    return list(read_table(body, dialect, feed, layout).read())


def only(kind: str, *changed: dict[str, str], dialect: Dialect = PLAIN) -> History:
    """The history of the only patient of a table with such rows."""
    table = written([EXAMPLES[kind] | row for row in changed or ({},)], delimiter=dialect.delimiter)
    [results] = read(table, OneKind(kind), dialect)
    assert results.history is not None, told(results.error)
    return results.history


def lines(history: History) -> list[tuple[str, str, str | None]]:
    return [(line.place, line.disposition.value, line.reason) for line in history.aside]


def strictly(kind: str, *changed: dict[str, str]) -> list[tuple[str, str]]:
    table = written([EXAMPLES[kind] | row for row in changed])
    [results] = read_table(table, PLAIN, FEED, OneKind(kind)).read(strict=True)
    return told(results.error)


def refused(body: bytes, layout: Layout, dialect: Dialect = PLAIN) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        read_table(body, dialect, FEED, layout)
    return caught.value


@pytest.mark.parametrize("kind", KINDS_OF_TABLES)
def test_a_row_of_each_kind_is_a_fact(kind):
    history = only(kind)
    assert lines(history) == []
    kinds = {"patients": "attributes", "adverse_events": "events"}
    assert len(getattr(history, kinds.get(kind, kind))) == (3 if kind == "patients" else 1)
    assert set(REQUIRED_OF[kind]) <= set(COLUMNS_OF[kind])


def test_a_patient_has_attributes_an_end_and_a_record_that_it_is_merged_into():
    history = only(
        "patients",
        {"attributes.centre": "Kyoto", "ended_date": "2006-09-01", "ended_reason": "completed", "merged_into": "P07"},
    )
    assert lines(history) == []
    assert {fact.identity: fact.value for fact in history.attributes} == {
        "sex": '"female"', "birth_year": "1953", "diagnosis": '"polymyositis"', "attributes": '{"centre": "Kyoto"}',
        "ended": '{"date": "2006-09-01", "reason": "completed"}', "merged_into": '"P07"',
    }  # fmt: skip


def test_a_number_that_a_record_is_merged_into_becomes_a_pseudonym():
    feed = Feed(LATEST, Pseudonyms(b"k" * 32))
    table = written([{"patient": "4711", "merged_into": "4712"}])
    [results] = read(table, OneKind("patients"), feed=feed)
    assert "471" not in repr(results)
    [into] = results.history.attributes
    assert into.value == f'"{feed.pseudonyms.patient([])}"' or into.value.startswith('"s-')


@pytest.mark.parametrize(
    ("wrong", "place", "accepted"),
    [
        ({"sex": "F"}, "/2/sex", ("female", "male", "other", "unknown")),
        ({"birth_year": "53"}, "/2/birth_year", None),
        ({"birth_year": "19.53"}, "/2/birth_year", None),
        ({"steroid_resistant": "1"}, "/2/steroid_resistant", ("true", "yes", "false", "no")),
        ({"ended_date": "2006-09-01"}, "/2/ended_reason", None),
        ({"ended_date": "2006-02-30", "ended_reason": "died"}, "/2/ended_date", None),
        ({"ended_date": "2006-02-03", "ended_reason": "bored"}, "/2/ended_reason",
         ("completed", "withdrawn", "lost", "died", "other")),
    ],
)  # fmt: skip
def test_a_detail_of_a_patient_that_cannot_be_read_is_left_out_and_noted(wrong, place, accepted):
    history = only("patients", wrong)
    [line] = history.aside
    assert (line.place, line.disposition, [note.code for note in line.notes]) == (place, "kept", ["detail_left_out"])
    assert accepted is None or line.accepts.one_of == accepted
    assert "diagnosis" in {fact.identity for fact in history.attributes}


@pytest.mark.parametrize(
    ("kind", "wrong", "found"),
    [
        ("assessments", {"code": "MMT-8"}, ("/2/code", "unknown_code")),
        ("assessments", {"score": "62,5"}, ("/2/score", "bad_number")),
        ("assessments", {"code": "ADL", "score": "62", "scale_max": "50"}, ("/2/score", "off_scale")),
        ("infusions", {"unit": ""}, ("/2/unit", "dose_without_unit")),
        ("infusions", {"dose": "a bag"}, ("/2/dose", "bad_number")),
        ("infusions", {"course": "1.5"}, ("/2/course", "bad_number")),
        ("medications", {"unit": ""}, ("/2/unit", "dose_without_unit")),
        ("medications", {"dose": "50", "unit": "tablets"}, ("/2/unit", "unknown_unit")),
        ("medications", {"start": "20.01.2005"}, ("/2/start", "bad_time")),
        ("medications", {"start": "2005-01-20T10:00:00Z"}, ("/2/start", "bad_time")),
        ("medications", {"end": "2005-01-10"}, ("/2/end", "reversed_period")),
        ("adverse_events", {"serious": "1"}, ("/2/serious", "unknown_value")),
        ("adverse_events", {"related": "perhaps"}, ("/2/related", "unknown_value")),
        ("adverse_events", {"onset": "12/04/2005"}, ("/2/onset", "bad_time")),
        ("adverse_events", {"id": "n/a"}, ("/2/id", "bad_identifier")),
    ],
)
def test_a_row_with_a_fault_is_set_aside_and_harms_no_other(kind, wrong, found):
    other = {name: "2005-05-01" for name in ("time", "start", "onset") if name in EXAMPLES[kind]}
    history = only(kind, wrong, other)
    place, code = found
    assert lines(history) == [(place, "set_aside", code)]
    assert sum(len(facts) for _, facts in history.kinds()) == 1
    assert history.aside[0].accepts is not None or code in {"reversed_period", "bad_identifier"}
    assert strictly(kind, wrong) == [found]


def test_every_fault_of_a_row_is_told_at_once():
    wrong = {"start": "then", "end": "later", "dose": "5,5", "unit": "tablets", "status": "done", "version": "x"}
    assert strictly("medications", wrong) == [
        ("/2/dose", "bad_number"), ("/2/end", "bad_time"), ("/2/start", "bad_time"), ("/2/status", "unknown_value"),
        ("/2/unit", "unknown_unit"), ("/2/version", "bad_number"),
    ]  # fmt: skip


def test_an_assessment_without_a_score_is_not_ours_unless_it_is_withdrawn():
    assert lines(only("assessments", {"score": ""})) == [("/2/score", "not_ours", "value")]
    [fact] = only("assessments", {"score": "", "status": "entered-in-error", "id": "v-1"}).assessments
    assert (fact.status, fact.score) == ("entered-in-error", None)
    [fact] = only("assessments", {"score": "high", "status": "cancelled", "id": "v-1"}).assessments
    assert (fact.status, fact.score) == ("cancelled", None)


WRITTEN = [form for form in DATE_FORMS if form not in COUNTED]
"""The forms of dates that are texts; in the others a date is a number."""


@given(st.dates(date(1904, 1, 1), date(2200, 1, 1)), st.sampled_from([*COUNTED]))
def test_a_day_that_is_counted_is_the_day_that_another_program_means(day, form):
    epoch = CALENDAR_MAC_1904 if COUNTED[form] else CALENDAR_WINDOWS_1900
    assert time_in(form, f"{to_excel(day, epoch):.0f}") == (day.isoformat(), None, None)
    assert time_in(form, f"{to_excel(day, epoch) + 0.25:.2f}") == (day.isoformat(), "06:00:00", None)
    assert time_in(form, written_in(form, day)) == (day.isoformat(), None, None)


@pytest.mark.parametrize("form", WRITTEN)
def test_a_date_is_read_in_the_declared_form_alone(form):
    day = date(2005, 3, 16)
    [fact] = only("medications", {"start": written_in(form, day)}, dialect=Dialect(dates=form)).medications
    assert fact.start_day == (day - date(1970, 1, 1)).days
    for other in set(WRITTEN) - {form}:
        [line] = only("medications", {"start": written_in(other, day)}, dialect=Dialect(dates=form)).aside
        assert (line.place, line.reason, line.accepts.form) == ("/2/start", "bad_time", form)


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)), st.sampled_from(WRITTEN))
def test_a_date_that_is_written_in_a_form_is_read_in_it(day, form):
    assert time_in(form, written_in(form, day)) == (day.isoformat(), None, None)
    assert form in forms_of(written_in(form, day))


@pytest.mark.parametrize(
    ("form", "written_onset", "onset"),
    [
        ("DD.MM.YYYY", "4.2005", "2005-04"), ("DD.MM.YYYY", "2005", "2005"), ("DD.MM.YYYY", "1.4.2005", "2005-04-01"),
        ("MM/DD/YYYY", "4/12/2005", "2005-04-12"), ("MM/DD/YYYY", "04/2005", "2005-04"),
        ("DD-MMM-YYYY", "12-Apr-2005", "2005-04-12"), ("DD-MMM-YYYY", "APR-2005", "2005-04"),
        ("YYYYMMDD", "200504", "2005-04"), ("YYYY-MM-DD", "2005-04", "2005-04"),
    ],
)  # fmt: skip
def test_the_onset_of_an_event_may_be_a_month_or_a_year_in_the_declared_form(form, written_onset, onset):
    [fact] = only("adverse_events", {"onset": written_onset}, dialect=Dialect(dates=form)).events
    assert fact.onset == onset


@pytest.mark.parametrize("form", ["YYYY-MM-DD", "YYYY/MM/DD", "DD-MMM-YYYY"])
def test_days_and_months_have_two_digits_where_the_form_says_so(form):
    short = written_in(form, date(2005, 3, 6)).replace("06", "6")
    [line] = only("medications", {"start": short}, dialect=Dialect(dates=form)).aside
    assert line.reason == "bad_time"


def test_times_without_an_offset_are_in_the_declared_zone():
    zone = Dialect(dates="DD.MM.YYYY", zone=ZoneInfo("Asia/Tokyo"))
    [fact] = only("infusions", {"time": "11.04.2005 09:30"}, dialect=zone).infusions
    assert fact.time == "2005-04-11T09:30:00+09:00"
    assert lines(only("infusions", {"time": "2005-04-11 09:30"})) == [("/2/time", "set_aside", "no_offset")]


@pytest.mark.parametrize("kind", KINDS_OF_TABLES)
def test_a_table_of_another_kind_is_recognised_by_its_header(kind):
    for other in set(KINDS_OF_TABLES) - {kind}:
        error = refused(written([EXAMPLES[other]]), OneKind(kind))
        assert told(error) == [("/1", "unknown_column")]
        assert other in error.faults[0].sentence


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("patient,time,product,,", [("/1/4", "unknown_column"), ("/1/5", "unknown_column")]),
        ("patient,time,Time,product", [("/1/3", "repeated_column")]),
        ("patient,time", [("/1/product", "missing")]),
        ("patient;time;product", [("/1", "unknown_column")]),
    ],
)
def test_a_header_names_each_column_once(header, found):
    error = refused(header.encode(), OneKind("infusions"))
    assert isinstance(error, InvalidDocument)
    assert told(error) == found


def test_a_million_columns_are_refused_before_they_are_read():
    assert isinstance(refused(b"a," * 1_000_000 + b"a\n", OneKind("infusions")), TooLarge)
    assert isinstance(refused(b"," * (MOST_COLUMNS + 1) + b"a\n", OneKind("infusions")), TooLarge)
    assert isinstance(refused(b"," * (MOST_COLUMNS + 1) + b"a\n", MAPPED), TooLarge)


class TestDeclaredColumns:
    """The columns of one kind, declared by a request."""

    BODY = b"Pat. No.,Entnahme,Wert,Kommentar\nP01,16.03.2005,62,gut\n"
    COLUMNS = "Pat. No.:patient,Entnahme:time,Wert:score,Kommentar:"

    def test_columns_and_constants_are_fields(self):
        layout = one_kind("assessments", self.COLUMNS, "code:MMT,scale_max:100")
        table = read_table(self.BODY, Dialect(dates="DD.MM.YYYY"), FEED, layout)
        [results] = table.read()
        [fact] = results.history.assessments
        assert (fact.code, fact.time, fact.score, fact.scale_max) == ("MMT", "2005-03-16", 62, 100)
        assert table.unread == [4]

    @pytest.mark.parametrize(
        ("columns", "constants", "found"),
        [
            ("A:time,a:score", "", ("/query/columns", "contradiction")),
            ("A:time,B:time", "", ("/query/columns", "contradiction")),
            ("A:time", "time:2005-03-16", ("/query/columns", "contradiction")),
            ("A:dose", "", ("/query/columns", "unknown_value")),
            ("A", "", ("/query/columns", "bad_text")),
            ("", "dose:5", ("/query/constants", "unknown_value")),
            ("", "patient:P01", ("/query/constants", "unknown_value")),
            ("", "code", ("/query/constants", "bad_text")),
        ],
    )
    def test_a_declaration_that_is_not_clear_is_refused(self, columns, constants, found):
        with pytest.raises(InvalidDocument) as caught:
            one_kind("assessments", columns, constants)
        assert found in told(caught.value)

    def test_the_header_has_each_declared_column_once(self):
        layout = one_kind("assessments", self.COLUMNS, "code:MMT")
        assert told(refused(b"Pat. No.,Entnahme,Kommentar\n", layout)) == [("/1/score", "missing")]
        again = b"Pat. No.,Entnahme,Wert,Kommentar,wert\n"
        assert told(refused(again, layout)) == [("/1/5", "repeated_column")]
        both = b"Pat. No.,Entnahme,Wert,Kommentar,code\n"
        assert told(refused(both, layout)) == [("/1/5", "repeated_column")]
        other = b"patient,Entnahme,Wert,Kommentar\n"
        assert told(refused(other, layout)) == [("/1/patient", "missing")]


def _export(*forms: dict[str, str]) -> bytes:
    names = [MAPPING["patient"]]
    for part in MAPPING["parts"]:
        names += [*part["where"], *part["columns"]]
    return written([{"record_id": "P01"} | form for form in forms], dict.fromkeys([*names, "notes"]))


class TestMapping:
    """A layout that a study declares."""

    def test_a_row_has_several_results_and_no_more_than_are_filled(self):
        form = {"redcap_repeat_instrument": "blood", "blood_time": "2005-03-16 09:48", "blood_lab": "A"}
        body = _export(form | {"ck": "1101", "ck_uln": "163", "ldh": "hemolyzed", "ast": "5,5", "alt": ""})
        table = read_table(body, MAPPED.dialect, FEED, MAPPED)
        [results] = table.read()
        [ck, ldh] = results.history.labs
        assert (ck.code, ck.value, ck.upper_limit, ck.time) == ("CK", 1101, 163, "2005-03-16T09:48:00+09:00")
        assert (ldh.code, ldh.value) == ("LDH", None)
        assert lines(results.history) == [("/2/ast", "set_aside", "bad_number")]
        assert results.history.place("labs", 0) == "/2/ck"
        assert results.history.place("patient", 0) == "/2/record_id"
        assert table.unread == [len(body.split(b"\n")[0].split(b","))]

    def test_a_row_that_no_part_reads_is_counted_and_said(self):
        table = read_table(_export({"notes": "x"}, {"redcap_repeat_instrument": "diary"}), MAPPED.dialect, FEED, MAPPED)
        [results] = table.read()
        assert table.skipped == {"row": 2}
        assert lines(results.history) == [("/2", "not_ours", "row"), ("/3", "not_ours", "row")]

    def test_a_part_is_only_in_the_rows_of_its_instrument(self):
        table = read_table(_export({"redcap_repeat_instrument": "diary", "drug": "x"}), MAPPED.dialect, FEED, MAPPED)
        assert [lines(each.history) for each in table.read()] == [[("/2", "not_ours", "row")]]

    def test_a_word_that_is_not_declared_is_refused_with_those_that_are(self):
        [results] = read(_export({"sex": "3", "dx": "1"}), MAPPED, MAPPED.dialect)
        [line] = results.history.aside
        assert (line.place, line.accepts.one_of) == ("/2/sex", ("1", "2"))
        assert [fact.identity for fact in results.history.attributes] == ["diagnosis"]

    def test_a_column_that_the_header_does_not_have_is_named(self):
        error = refused(b"record_id,redcap_repeat_instrument\n", MAPPED)
        assert ("/1/ck_uln", "missing") in told(error)

    @pytest.mark.parametrize(
        "part",
        [
            {"kind": "infusions", "columns": {"a": "time", "A ": "product"}},
            {"kind": "infusions", "columns": {"a": "time", "b": "time"}, "constants": {"product": "IVIG"}},
            {"kind": "infusions", "columns": {"a": "time", "b": "product"}, "constants": {"product": "IVIG"}},
            {"kind": "infusions", "columns": {"a": "time", "b": "drug"}},
            {"kind": "infusions", "columns": {"a": "time"}},
            {"kind": "infusions", "columns": {"a": "patient", "b": "time", "c": "product"}},
            {"kind": "infusions", "columns": {"a": "time", "b": "product"},
             "words": [{"column": "c", "means": {"1": "IVIG"}}]},
        ],
    )  # fmt: skip
    def test_a_contradiction_in_a_layout_is_refused(self, part):
        with pytest.raises(ValueError, match=r"declared|differ|needs"):
            TableMapping.model_validate_json(json.dumps({"name": "x", "patient": "id", "parts": [part]}))


@given(st.randoms(use_true_random=False), st.sampled_from(KINDS_OF_TABLES))
def test_neither_the_order_of_columns_and_rows_nor_the_case_of_the_header_changes_anything(random, kind):
    found = rows()[kind][:40]
    names = [*dict.fromkeys(name for row in found for name in row)]
    plain = read(written(found, names), OneKind(kind))
    random.shuffle(names)
    mixed = written(random.sample(found, len(found)), names)
    header, rest = mixed.split(b"\r\n", 1)
    loud = b",".join(random.choice([name, name.upper(), name.title()]) for name in header.split(b","))
    other = read(loud + b"\r\n" + rest, OneKind(kind))
    assert {each.subject: set_of(each) for each in other} == {each.subject: set_of(each) for each in plain}


def set_of(results: PatientResults) -> set[object]:
    assert results.history is not None
    assert results.history.aside == ()
    return {fact for _, facts in results.history.kinds() for fact in facts}


@given(st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=4), min_size=1, max_size=5))
def test_gathered_rows_are_read_again_as_they_were(cells):
    source = GatheredRows(enumerate(cells, 3))
    try:
        first = list(source.rows())
    except ServiceError:
        assert any("\0" in cell for row in cells for cell in row)
        return
    assert [source.row(row.line, row.begin, row.end) for row in first] == first
    assert [(row.line, row.cells) for row in first] == [
        (number, row) for number, row in enumerate(cells, 3) if any(map(str.strip, row))
    ]


def test_the_rows_of_a_sheet_are_read_as_those_of_a_text():
    [results] = read(written([EXAMPLES["infusions"], EXAMPLES["infusions"] | {"dose": "x"}]), OneKind("infusions"))
    names = [*EXAMPLES["infusions"]]
    gathered = GatheredRows(
        [(1, names), (2, [*EXAMPLES["infusions"].values()]), (3, ["P01", "2005-04-11", "IVIG", "x", "g/kg"])]
    )
    [other] = read_sheets([Sheet(gathered, OneKind("infusions"))], PLAIN, FEED).read()
    assert other.history == results.history
    assert lines(other.history) == lines(results.history) == [("/3/dose", "set_aside", "bad_number")]


@pytest.mark.parametrize("charset", ["windows-1252", "ISO-8859-15", "Shift_JIS"])
def test_a_declared_character_set_is_read(charset):
    term = "頭痛 表" if charset == "Shift_JIS" else "Übelkeit"
    table = written([EXAMPLES["adverse_events"] | {"term": term}]).decode().encode(charset)
    [results] = read(table, OneKind("adverse_events"), Dialect(charset=charset))
    assert results.history.events[0].term == term
    assert told(refused(table, OneKind("adverse_events"))) == [("", "unknown_encoding")]
