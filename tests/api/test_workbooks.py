"""Workbooks by HTTP: a sheet for each kind, one outcome a patient, and nothing stored where anything is not certain."""

import io
import re
from datetime import date
from typing import Any

import openpyxl
import pytest

from app.readers.workbook_writer import XLSX
from tests.api.demonstration_tables import MAPPING, redcap, rows
from tests.api.examples import codes, make_study
from tests.api.test_tables_of_demonstration import PSEUDONYMS, figures, kept, native, timelines  # noqa: F401 - fixtures
from tests.readers.workbook_files import cell, number, parts, row, sheet, text, zipped

LABS = ("patient", "time", "code", "value", "unit", "upper_limit")
RESULT = row(text("P01"), text("2005-04-10"), text("CK"), number("1000"), text("U/L"), number("163"))


def post(client: Any, address: str, body: bytes, status: int = 200, **query: str) -> Any:
    answer = client.post(address, content=body, headers={"Content-Type": XLSX}, params=query)
    assert answer.status_code == status, answer.text
    return answer


def made(sheets: dict[str, list[list[Any]]]) -> bytes:
    """A workbook as a person would save it: numbers are numbers, days are days, and yes and no are yes and no."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        page = book.create_sheet(name)
        for line in lines:
            page.append(line)
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def as_typed(value: Any) -> Any:
    return date.fromisoformat(value) if re.fullmatch(r"\d{4}-\d\d-\d\d", str(value)) else value


def demonstration() -> bytes:
    sheets = {}
    for kind, found in rows().items():
        columns = list(dict.fromkeys(name for each in found for name in each))
        title = kind.replace("_", " ").title()
        sheets[title] = [columns, *([as_typed(each.get(name)) for name in columns] for each in found)]
    return made(dict(reversed(sheets.items())))


@pytest.fixture
def home(client) -> str:
    return make_study(client, identifiers="pseudonyms")


def test_one_workbook_gives_the_figures_of_the_native_study(client, native):  # noqa: F811 - the fixture
    home = make_study(client, "workbook", **PSEUDONYMS)
    answer = post(client, f"{home}/tables", demonstration()).json()
    assert kept(answer)[1] == set(), answer
    assert [item["patient"] for item in answer["items"]] == [each["patient"]["id"] for each in timelines()]
    assert [item["revision"] for item in answer["items"]] == list(range(1, 17))
    assert answer["rows"] == sum(map(len, rows().values()))
    assert figures(client, home) == native
    again = post(client, f"{home}/tables", demonstration(), atomic="true").json()
    assert again["counts"] == {"unchanged": 16}


def test_with_atomic_all_sheets_are_one_revision(client):
    home = make_study(client, "workbook", **PSEUDONYMS)
    answer = post(client, f"{home}/tables", demonstration(), atomic="true").json()
    assert {item["revision"] for item in answer["items"]} == {1}


def test_an_export_of_redcap_as_a_workbook_is_read_by_its_mapping(client, native):  # noqa: F811 - the fixture
    home = make_study(client, "redcap", **PSEUDONYMS, tables=[MAPPING])
    lines = [line.split(",") for line in redcap().decode().splitlines()]
    answer = post(client, f"{home}/tables", made({"export": lines}), mapping="redcap").json()
    assert kept(answer)[1] == set()
    assert figures(client, home) == native
    refused = post(client, f"{home}/tables", made({"export": lines}), 422, mapping="redcap", decimal=",")
    assert codes(refused) == [("/query/mapping", "contradiction")]


def test_a_workbook_with_one_sheet_is_a_table_of_one_kind(anywhere):
    home = make_study(anywhere, identifiers="pseudonyms")
    body = made({"Sheet1": [LABS, ["P01", date(2005, 4, 10), "CK", 1000.5, "U/L", 163]]})
    answer = post(anywhere, f"{home}/tables/labs", body).json()
    assert (answer["counts"], answer["rows"]) == ({"created": 1}, 1)
    result = anywhere.get(f"{home}/patients/P01").json()["labs"][0]
    assert (result["time"], result["value"]) == ("2005-04-10", 1000.5)
    assert anywhere.get(f"{home}/revisions").json()["items"][-1]["format"] in {"xlsx", "study"}
    other = made({"Infusions": [LABS, ["P01", "2005-04-11", "CK", 1, "U/L", 163]]})
    assert codes(post(anywhere, f"{home}/tables/labs", other, 422)) == [("/sheets/1", "unknown_sheet")]
    two = made({"labs": [LABS], "Sheet2": [["x"]]})
    assert codes(post(anywhere, f"{home}/tables/labs", two, 422)) == [("/sheets/2", "unknown_sheet")]


def test_a_row_with_a_fault_is_set_aside_at_its_sheet_row_and_column(client, home):
    sheets = {
        "labs": [LABS, ["P01", "2005-04-10", "CK", 1000, "U/L", 163], ["P01", "2005-04-11", "CK", "9;5", "U/L", 163]],
        "infusions": [["patient", "time", "product", "dose", "unit"], ["P01", 38452, "IVIG", 0.4, "g/kg"]],
        "medications": [["patient", "drug", "start", "dose"], ["P01", "prednisolone", "2005-01-24", 50]],
    }
    answer = post(client, f"{home}/tables", made(sheets)).json()
    (item,) = answer["items"]
    lines = item["receipt"]["lines"]
    aside = {(line["place"], line["reason"]) for line in lines if line["disposition"] == "set_aside"}
    assert aside == {
        ("/labs/3/value", "bad_number"), ("/infusions/2/time", "bad_time"),
        ("/medications/2/unit", "dose_without_unit"),
    }  # fmt: skip
    assert answer["facts"]["kept"] == 1
    refused = post(client, f"{home}/tables", made(sheets), 422, atomic="true")
    assert {place for place, _ in codes(refused)} == {place for place, _ in aside}


@pytest.mark.parametrize("dates", ["DD.MM.YYYY", "YYYYMMDD", "DD-MMM-YYYY"])
def test_a_day_that_the_workbook_counts_needs_no_form_and_a_text_the_declared_one(client, home, dates):
    typed = {"DD.MM.YYYY": "11.04.2005", "YYYYMMDD": "20050411", "DD-MMM-YYYY": "11-APR-2005"}[dates]
    lines = [LABS, ["P01", date(2005, 4, 10), "CK", 1, "U/L", 163], ["P01", typed, "CK", 2, "U/L", 163]]
    answer = post(client, f"{home}/tables", made({"labs": lines}), dates=dates).json()
    assert answer["facts"]["kept"] == 2
    assert [each["time"] for each in client.get(f"{home}/patients/P01").json()["labs"]] == ["2005-04-10", "2005-04-11"]


@pytest.mark.parametrize(("dates", "number_"), [("excel-1900", 38453), ("excel-1904", 36991)])
def test_a_number_of_days_is_a_date_where_that_is_declared(client, home, dates, number_):
    lines = [["patient", "time", "product"], ["P01", number_, "IVIG"], ["P01", date(2005, 4, 12), "IVIG"]]
    lines += [["P01", "2005-04-13", "IVIG"], ["P01", 60, "IVIG"], ["P01", 1, "IVIG"]]
    undeclared = post(client, f"{home}/tables", made({"infusions": lines}), rehearse="true").json()
    assert undeclared["facts"] == {"kept": 2, "not_applied": 0, "set_aside": 3, "not_ours": 0, "refused": 0}
    post(client, f"{home}/tables", made({"infusions": lines}), dates=dates)
    found = [each["time"] for each in client.get(f"{home}/patients/P01").json()["infusions"]]
    early = {"excel-1900": [], "excel-1904": ["1904-01-02", "1904-03-01"]}[dates]
    assert found == [*early, "2005-04-11", "2005-04-12", "2005-04-13"]
    text = f"patient,time,product\nP02,{number_},IVIG\n".encode()
    address = f"{home}/tables/infusions"
    assert client.post(address, content=text, headers={"Content-Type": "text/csv"}, params={"dates": dates}).is_success
    assert client.get(f"{home}/patients/P02").json()["infusions"][0]["time"] == "2005-04-11"


def test_numbers_have_no_decimal_mark_and_texts_the_declared_one(client, home):
    lines = [LABS, ["P01", "2005-04-10", "CK", 1.5, "U/L", 163], ["P01", "2005-04-11", "CK", "2,5", "U/L", "163"]]
    assert post(client, f"{home}/tables", made({"labs": lines}), decimal=",").json()["facts"]["kept"] == 2
    assert [each["value"] for each in client.get(f"{home}/patients/P01").json()["labs"]] == [1.5, 2.5]


HEADER = row(*map(text, LABS))
ONE = sheet(HEADER, RESULT)
REFUSED = [
    (parts({"labs": sheet(HEADER, RESULT, row(text("P02"), cell("<f>1</f><v>2</v>")))}), [("/labs/3/B", "formula")]),
    (parts({"labs": ONE, "Labs ": ONE}), [("/sheets/2", "repeated_sheet")]),
    (parts({"labs": ONE, "notes": ONE}), [("/sheets/2", "unknown_sheet")]),
    (parts({"labs": ONE}, attributes={"labs": {"state": "hidden"}}), [("/sheets/1", "hidden")]),
    (parts({"labs": ONE, "infusions": sheet()}), [("/infusions", "empty_sheet")]),
    (parts({"infusions": ONE}), [("/infusions/1", "unknown_column")]),
    (parts({"labs": sheet(HEADER, after='<mergeCells><mergeCell ref="A1:B1"/></mergeCells>')}),
     [("/labs/1/A", "merged_cells")]),
    (parts({"labs": ONE}) | {"xl/vbaProject.bin": "x"}, [("", "macros")]),
    (parts({"labs": ONE}) | {"xl/externalLinks/externalLink1.xml": "<a/>"}, [("", "external_link")]),
    (parts({}), [("/sheets", "missing")]),
]  # fmt: skip


@pytest.mark.parametrize(("made_of", "told"), REFUSED, ids=[told[0][1] + str(i) for i, (_, told) in enumerate(REFUSED)])
def test_a_workbook_that_is_not_certain_is_refused_as_a_whole(client, home, made_of, told):
    refused = post(client, f"{home}/tables", zipped(made_of), 422)
    assert codes(refused) == told
    assert all(fault["accepts"] for fault in refused.json()["errors"])
    assert client.get(home).json()["revision"] == 0
    assert client.get(f"{home}/intake").json()["items"][0]["refused"] == {told[0][1]: 1}


def test_faults_of_all_sheets_are_told_together(client, home):
    formula = sheet(HEADER, row(cell("<f>1</f>")))
    body = zipped(parts({"labs": formula, "infusions": sheet(row("x"))}))
    assert {place for place, _ in codes(post(client, f"{home}/tables", body, 422))} >= {"/labs/2/A", "/infusions/1/1"}


def test_a_bomb_and_bytes_that_are_no_archive_are_refused(client, home):
    bomb = parts({"labs": sheet(HEADER, *[row("b")] * 300_000)})
    post(client, f"{home}/tables", zipped(bomb), 413)
    assert codes(post(client, f"{home}/tables", b"patient,code\n", 400)) == [("", "malformed")]
    assert codes(post(client, f"{home}/tables", b"", 400)) == [("", "malformed")]


def test_a_text_table_needs_a_mapping(client, home):
    answer = client.post(f"{home}/tables", content=b"a\n", headers={"Content-Type": "text/csv"})
    assert (answer.status_code, codes(answer)) == (422, [("/query/mapping", "missing")])


def test_a_rehearsal_of_a_workbook_stores_nothing(client):
    home = make_study(client, "workbook", **PSEUDONYMS)
    answer = post(client, f"{home}/tables", demonstration(), rehearse="true").json()
    assert answer["counts"] == {"created": 16}
    assert client.get(home).json()["revision"] == 0


def test_the_template_is_accepted_as_it_is(client, home):
    template = client.get("/v1/templates/tables.xlsx")
    assert template.headers["content-type"] == XLSX
    assert "tables.xlsx" in template.headers["content-disposition"]
    answer = post(client, f"{home}/tables", template.content, atomic="true").json()
    assert answer["facts"]["kept"] > 10
    book = openpyxl.load_workbook(io.BytesIO(template.content))
    assert book.sheetnames == ["patients", "labs", "assessments", "infusions", "medications", "adverse_events"]
