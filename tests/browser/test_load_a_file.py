"""Files that are large or of a kind that is not read. `test_five_tasks.py` loads one with faults."""

import random
import zipfile

from app.readers.workbook_writer import written_workbook
from tests.browser.checks import check_accessible, check_width


def test_a_large_file_is_sent_in_parts_and_every_row_arrives_once(opened, site, tmp_path):
    header = "patient,time,code,value,unit,upper_limit,lab,id,code_text\n"
    rows = "".join(
        f'P{n % 40:02},2005-03-16T09:48:00+09:00,CK,{n},U/L,163,A,n{n},"Creatine\n kinase"\n' for n in range(30_000)
    )
    file = tmp_path / "large.csv"
    file.write_text(header + rows)
    assert file.stat().st_size > 2_000_000
    status, _ = site.ask("PUT", "/v1/studies/large", {"name": "Large", "identifiers": "pseudonyms"})
    assert status == 201
    page = opened("/v1/studies/large/intake.html")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Load").click()
    page.get_by_role("heading", name="Loaded: 30,000 kept").wait_for(timeout=120_000)
    assert page.get_by_text("Part 2:").count() == 1
    page.locator("section", has=page.locator("#arrived")).get_by_role("cell", name="30\u202f000").wait_for()
    page.locator("#outcomes > .next").get_by_role("link", name="See what it changed").wait_for()


def workbook(results: int, **other: list[list[str]]) -> bytes:
    lines = [["patient", "time", "code", "value", "unit", "upper_limit"]]
    lines += [[f"P{n % 40:02}", f"2005-03-{1 + n % 28:02}", "CK", str(n), "U/L", "163"] for n in range(1, results + 1)]
    return written_workbook({"Labs": lines, **other})


PATIENTS = [["patient", "sex"], ["P01", "female"], ["P02", "unknown to us"]]


def test_a_workbook_is_rehearsed_and_loaded_by_keyboard_and_every_row_is_told(opened, site, tmp_path):
    file = tmp_path / "study.xlsx"
    file.write_bytes(workbook(5, patients=PATIENTS))
    status, _ = site.ask("PUT", "/v1/studies/sheets", {"name": "Sheets", "identifiers": "pseudonyms"})
    assert status == 201
    page = opened("/v1/studies/sheets/intake.html", width=390)
    page.get_by_label("File", exact=True).set_input_files(file)
    page.locator("#kind").get_by_text("A workbook (XLSX)").wait_for()
    page.get_by_role("button", name="Rehearse").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Rehearsal of study.xlsx: nothing is stored").wait_for()
    page.get_by_text("sheet patients, row 3, column sex").wait_for()
    assert page.evaluate("document.activeElement.id") == "outcome"
    check_width(page)
    check_accessible(page)
    page.get_by_role("button", name="Load").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="study.xlsx is loaded").wait_for()
    page.get_by_text("The study is at revision").wait_for()
    page.locator("section", has=page.locator("#arrived")).get_by_role("cell", name="xlsx").wait_for()


def test_a_large_workbook_is_sent_at_once(opened, site, tmp_path):
    file = tmp_path / "large.xlsx"
    file.write_bytes(workbook(3))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("xl/media/picture.png", random.Random(1).randbytes(2_500_000))
    site.ask("PUT", "/v1/studies/sheets-2", {"name": "Sheets", "identifiers": "pseudonyms"})
    page = opened("/v1/studies/sheets-2/intake.html")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Load").click()
    page.get_by_role("heading", name="large.xlsx is loaded").wait_for()
    assert page.get_by_text("Part 1").count() == 0


def test_without_a_script_a_workbook_is_loaded_by_the_form(opened, site, tmp_path):
    file = tmp_path / "study.xlsx"
    file.write_bytes(workbook(5))
    site.ask("PUT", "/v1/studies/sheets-3", {"name": "Sheets", "identifiers": "pseudonyms"})
    page = opened("/v1/studies/sheets-3/intake.html", script=False)
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Load").click()
    page.get_by_role("heading", name="study.xlsx is loaded").wait_for()
    page.get_by_text("Patients: 5 created").wait_for()


def test_a_file_of_another_kind_is_refused_before_it_is_sent(opened, tmp_path):
    file = tmp_path / "labs.xls"
    file.write_bytes(b"\xd0\xcf\x11\xe0" + bytes(500))
    page = opened("/v1/studies/demo/intake.html", width=390)
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_text("Save it as").wait_for()
    page.get_by_role("button", name="Load").click()
    page.get_by_role("heading", name="This file cannot be read").wait_for()
    check_width(page)
