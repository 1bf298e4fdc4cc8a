"""The cells of a workbook as texts: what is stored, exactly, and nothing that a person may not see or mean."""

import io
import tracemalloc
from datetime import date, datetime
from decimal import Decimal

import openpyxl
import pytest

from app.errors import FaultCode, InvalidDocument, ServiceError
from app.readers import workbook_styles
from app.readers.table_rows import Dialect
from app.readers.workbook_styles import PLAIN, format_of_code, number_text
from app.readers.workbook_writer import written_workbook
from app.readers.workbooks import Workbook
from app.timeline.normalize import MOST_FAULTS
from tests.readers.workbook_files import (
    STYLES,
    TEXTS,
    cell,
    number,
    parts,
    row,
    sheet,
    styles,
    text,
    texts,
    workbook,
    zipped,
)


def rows_of(body, dialect=None, sheet=0):
    opened = Workbook(io.BytesIO(body), dialect or Dialect())
    return list(opened.rows(opened.sheets[sheet], "/labs"))


def cells(*rows, dialect=None, **changed):
    """The cells below the header of a sheet with one column."""
    found = rows_of(workbook(row("a"), *rows, **changed), dialect)
    return [cells[0] for _, cells in found[1:]]


def faults(*rows, **changed):
    with pytest.raises(InvalidDocument) as refused:
        rows_of(workbook(row("a", "b"), *rows, **changed))
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("1101", "1101"), ("77.0", "77"), ("0.10000000000000001", "0.1"), ("411.7", "411.7"), ("-3.50", "-3.5"),
        ("1E-3", "0.001"), ("1.1E+3", "1100"), ("0", "0"), ("-0", "0"), ("123456789012345", "123456789012345"),
        ("5.7000000000000002", "5.7"), ("1e-7", "0.0000001"), ("007", "7"), (" 5 ", "5"),
    ],
)  # fmt: skip
def test_a_number_is_the_shortest_text_that_gives_what_is_stored(stored, shown):
    assert cells(row(number(stored))) == [shown]
    assert float(shown) == float(stored)


def test_a_number_has_the_decimal_mark_that_is_declared_because_it_has_none_of_its_own():
    assert cells(row(number("411.7")), row("411,7"), dialect=Dialect(decimal=",")) == ["411,7", "411,7"]


@pytest.mark.parametrize(
    "stored", ["1e15", "1234567890123456", "nan", "inf", "1_0", "0x1F", "1,5", "+5", "\u0661", "9" * 41]
)
def test_a_number_that_a_spreadsheet_has_rounded_or_that_is_none_is_not_read(stored):
    assert faults(row("x", number(stored))) == [("/labs/2/B", "unclear_cell")]


@pytest.mark.parametrize(
    ("stored", "code", "shown"),
    [
        ("38427", "yyyy\\-mm\\-dd", "2005-03-16"), ("38427", 14, "2005-03-16"),
        ("38427", "[$-411]ggge&quot;年&quot;m", "2005-03-16"),
        ("38427.408333333333", 22, "2005-03-16T09:48:00"), ("38427", 22, "2005-03-16T00:00:00"),
        ("38427.408333333333", 14, "2005-03-16T09:48:00"), ("38427.00001157407", "d/m/yy", "2005-03-16T00:00:01"),
        ("38427.999999", "d/m/yy h:mm", "2005-03-16T23:59:59.914"), ("61", 14, "1900-03-01"),
        ("2958464", 14, "9999-12-30"),
        ("38427", "mmmm", "2005-03-16"), ("38427", "[Red]dd.mm.yyyy;@", "2005-03-16"),
    ],
)  # fmt: skip
def test_a_cell_that_is_shown_as_a_date_is_the_date_of_the_calendar_of_the_workbook(stored, code, shown):
    assert cells(row(number(stored, s=1)), **{STYLES: styles(code)}) == [shown]


def test_the_other_calendar_begins_in_1904():
    made = parts({"labs": sheet(row("a"), row(number("36965", s=1)))}, settings='<workbookPr date1904="1"/>')
    assert rows_of(zipped(made | {STYLES: styles(14)}))[1] == (2, ["2005-03-16"])


def test_a_date_is_written_in_the_form_that_the_table_declares():
    declared = Dialect(dates="DD.MM.YYYY")
    assert cells(row(number("38427", s=1)), row("16.03.2005"), dialect=declared, **{STYLES: styles(14)}) == [
        "16.03.2005",
        "16.03.2005",
    ]


def test_a_number_of_days_without_the_format_of_a_date_is_a_number():
    assert cells(row(number("38427"))) == ["38427"]


@pytest.mark.parametrize("stored", ["60", "59", "0", "-1", "2958466", "0.4"])
def test_a_day_that_two_calendars_count_differently_or_that_does_not_exist_is_not_read(stored):
    assert faults(row("x", number(stored, s=1)), **{STYLES: styles(14)}) == [("/labs/2/B", "unclear_cell")]


@pytest.mark.parametrize(
    "code",
    [9, 10, 18, 20, 21, 45, 46, 47, 70, "0%", "h:mm", "[h]:mm", "#,##0,", "0.0,,", "00000", ";;;", "mm:ss", '"yes"'],
)
def test_a_cell_that_shows_another_number_than_it_stores_is_not_read(code):
    assert faults(row("x", number("0.15", s=1)), **{STYLES: styles(code)}) == [("/labs/2/B", "unclear_cell")]


@pytest.mark.parametrize("code", [
    0, 1, 2, 3, 4, 11, 12, 37, 44 - 4, 48, 49, "0.0", "#,##0.00", '0 "days"', "0.00E+00", "[Red]0;-0", "General", "@",
    "0_)", "?/?", "\\d0"])  # fmt: skip
def test_how_a_number_is_shown_does_not_change_it(code):
    assert cells(row(number("1101.25", s=1)), **{STYLES: styles(code)}) == ["1101.25"]


def test_a_number_of_a_patient_with_zeros_that_only_the_format_shows_is_not_read():
    assert cells(row(number("77077", s=1)), **{STYLES: styles("00000")}) == ["77077"]
    assert faults(row("x", number("77", s=1)), **{STYLES: styles("00000")}) == [("/labs/2/B", "unclear_cell")]


def test_a_text_is_what_a_person_reads():
    rich = "<si><r><t>Cre</t></r><r><rPr><b/></rPr><t>atine</t></r><rPh><t>クレ</t></rPh></si>"
    shared = texts(rich, "<si><t> a_x000D_\n_x005F_x0041_ </t></si>", "<si/>")
    found = cells(
        row(cell("<v>0</v>", t="s")), row(cell("<v>1</v>", t="s")), row(cell("<v>2</v>", t="s"), "x"),
        row(cell("<is><r><t>x</t></r><r><t>y</t></r><rPh><t>z</t></rPh></is>", t="inlineStr")),
        row(cell("<v>=1+1</v>", t="str")), row(cell("<v>1</v>", t="b")), row(cell("<v>0</v>", t="b")), row("0077"),
        **{TEXTS: shared},
    )  # fmt: skip
    assert found == ["Creatine", " a\r\n_x0041_ ", "", "xy", "=1+1", "true", "false", "0077"]


@pytest.mark.parametrize(
    "content",
    [
        text("a_x0000_b"), text("_x001F_"), cell("<v>#N/A</v>", t="e"), cell("", t="e"), cell("<v>2</v>", t="b"),
        cell("<v>2005-03-16</v>", t="d"), cell("<v>1</v>", t="new"),
    ],
)  # fmt: skip
def test_a_cell_with_an_error_or_of_a_kind_that_is_not_known_is_not_read(content):
    assert faults(row("x", content)) == [("/labs/2/B", "unclear_cell")]


@pytest.mark.parametrize(
    "formula",
    ["<f>1+1</f><v>2</v>", "<f/>", '<f t="shared" si="0"/><v>2</v>', '<f t="array" ref="B2:B3">A1:A2</f><v>1</v>'],
)
def test_a_formula_is_not_read_though_a_result_is_stored_beside_it(formula):
    assert faults(row("x", cell(formula)), row("y", "z")) == [("/labs/2/B", "formula")]


def test_each_cell_with_a_fault_is_named_up_to_a_thousand():
    assert faults(row(cell("<f>1</f>"), cell("<v>#REF!</v>", t="e")), row("x"), row("", cell("<f>1</f>"))) == [
        ("/labs/2/A", "formula"), ("/labs/2/B", "unclear_cell"), ("/labs/4/B", "formula"),
    ]  # fmt: skip
    assert len(faults(*[row(cell("<f>1</f>"))] * 3_000)) == MOST_FAULTS == 1000


def refused(made):
    with pytest.raises(InvalidDocument) as refusal:
        rows_of(zipped(parts({"labs": made})))
    return [(fault.pointer, fault.code) for fault in refusal.value.faults]


def test_merged_cells_are_refused_where_they_begin():
    merged = '<mergeCells><mergeCell ref="A1:B1"/><mergeCell ref="C7:C9"/></mergeCells>'
    assert refused(sheet(row("a"), after=merged)) == [("/labs/1/A", "merged_cells"), ("/labs/7/C", "merged_cells")]


def test_what_is_hidden_and_has_content_is_refused():
    data = (row("a", "b"), row("x", "y"))
    assert refused(sheet(*data, row("z", hidden="1"), row("", hidden="1"))) == [("/labs/3", "hidden")]
    assert refused(sheet(*data, before='<cols><col min="2" max="2" hidden="1"/></cols>')) == [
        ("/labs/1/B", "hidden"), ("/labs/2/B", "hidden"),
    ]  # fmt: skip
    by_default = '<sheetFormatPr zeroHeight="1"/>'
    assert refused(sheet(row("a", hidden="0"), row("x"), before=by_default)) == [("/labs/2", "hidden")]
    assert rows_of(zipped(parts({"labs": sheet(*data, before='<cols><col min="3" max="9" hidden="1"/></cols>')})))


def test_rows_keep_their_numbers_and_are_as_wide_as_the_header():
    made = workbook(
        row(r="3"), row(text("a", "B4"), text("b", "D4"), r="4"), row(r="6"), row(text("x", "B9"), r="9"),
        row(text("y", "A10"), text("z", "E10"), r="10"), row("w"),
    )  # fmt: skip
    assert rows_of(made) == [
        (4, ["", "a", "", "b"]), (9, ["", "x", "", ""]), (10, ["y", "", "", "", "z"]), (11, ["w", "", "", ""]),
    ]  # fmt: skip


def test_a_sheet_without_a_header_is_refused():
    assert refused(sheet()) == [("/labs", "empty_sheet")]
    assert refused(sheet(row(""), row(cell("")))) == [("/labs", "empty_sheet")]


def test_a_workbook_of_another_program_is_read_as_that_program_reads_it():
    made = openpyxl.Workbook()
    made.active.title = "labs"
    values = [
        ["patient", "time", "value"],
        ["0077", datetime.fromisoformat("2005-03-16T09:48"), 1101.7],
        ["P 2 <&>", date(2024, 2, 29), 1 / 3],
        [12, datetime.fromisoformat("1999-12-31T23:59:59"), -0.1],
        [" ", None, 1e-5],
    ]
    for each in values:
        made.active.append(each)
    written = io.BytesIO()
    made.save(written)
    assert rows_of(written.getvalue()) == [
        (1, ["patient", "time", "value"]),
        (2, ["0077", "2005-03-16T09:48:00", "1101.7"]),
        (3, ["P 2 <&>", "2024-02-29", "0.3333333333333333"]),
        (4, ["12", "1999-12-31T23:59:59", "-0.1"]),
        (5, [" ", "", "0.00001"]),
    ]
    again = openpyxl.load_workbook(io.BytesIO(written.getvalue()), read_only=True)
    assert [next(iter(each)) for each in again.active.iter_rows(values_only=True)] == [
        "patient",
        "0077",
        "P 2 <&>",
        12,
        " ",
    ]
    again.close()


def test_each_day_has_the_number_that_another_program_gives_it():
    from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900, to_excel

    for epoch, from_1904 in ((CALENDAR_WINDOWS_1900, False), (CALENDAR_MAC_1904, True)):
        for day in (date(1904, 1, 2), date(1953, 4, 1), date(1999, 12, 31), date(2000, 2, 29), date(2026, 11, 29)):
            stored = to_excel(day, epoch)
            found = number_text(
                f"{stored:.0f}", format_of_code("d/m/y"), from_1904=from_1904, dates="YYYY-MM-DD", decimal="."
            )
            assert found == day.isoformat()


def test_what_is_a_date_agrees_with_another_program():
    from openpyxl.styles.numbers import BUILTIN_FORMATS, is_date_format

    for number_, code in BUILTIN_FORMATS.items():
        ours = format_of_code(code)
        assert ours == workbook_styles._BUILT_IN.get(number_, ours)
        time_of_day = ours.meaning == "other" and "%" not in code
        assert is_date_format(code) == (ours.meaning in {"date", "date and time"} or time_of_day), code


def test_a_workbook_that_is_written_is_read_as_it_was_given():
    given = {
        "labs": [["patient", "value"], ["0077", "1e5"], ["=1+1", ""], [" <&>\"'", "2005-03-16"]],
        "patients": [["a"]],
    }
    written = written_workbook(given)
    assert written == written_workbook(given)
    assert rows_of(written) == [(1, given["labs"][0]), (2, ["0077", "1e5"]), (3, ["=1+1", ""]), (4, given["labs"][3])]
    assert rows_of(written, sheet=1) == [(1, ["a"])]
    other = openpyxl.load_workbook(io.BytesIO(written))
    assert [each.value for each in other["labs"][2]] == ["0077", "1e5"]
    assert {each.number_format for each in other["labs"][2]} == {"@"}
    assert other["labs"].freeze_panes == "A2"


def test_a_plain_number_is_the_decimal_number_of_its_digits():
    for digits in ("411.7", "0.001", "163", "12.50"):
        found = number_text(digits, PLAIN, from_1904=False, dates="YYYY-MM-DD", decimal=".")
        assert Decimal(found) == Decimal(digits)


def test_every_fault_says_what_would_be_accepted():
    made = sheet(
        row("a", "b", "c"), row(cell("<f>1</f>"), cell("<v>#N/A</v>", t="e"), number("1", s=1)), row("x", hidden="1"),
        after='<mergeCells><mergeCell ref="A1:B1"/></mergeCells>',
    )  # fmt: skip
    with pytest.raises(ServiceError) as refusal:
        rows_of(zipped(parts({"labs": made}) | {STYLES: styles("0%")}))
    found = refusal.value.faults
    assert {fault.code for fault in found} == {
        FaultCode.FORMULA, FaultCode.UNCLEAR_CELL, FaultCode.HIDDEN, FaultCode.MERGED_CELLS,
    }  # fmt: skip
    assert all(fault.accepts is not None and fault.accepts.form for fault in found)


def test_rows_are_read_one_by_one_so_that_memory_does_not_grow_with_their_number():
    def peak(count):
        lines = ([f"P{n % 100:03}", "2005-04-10", "CK", str(n)] for n in range(count))
        body = written_workbook({"labs": lines})
        tracemalloc.start()
        try:
            opened = Workbook(io.BytesIO(body), Dialect())
            assert sum(1 for _ in opened.rows(opened.sheets[0])) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(8_000) - peak(2_000) < 300_000
