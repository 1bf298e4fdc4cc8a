"""`python -m app import` of workbooks: the figures of the timelines, and what is refused by its place."""

import json

import pytest

from app.readers.recognition import format_of
from app.readers.workbook_writer import written_workbook
from tests.api.demonstration_tables import rows, timelines
from tests.journeys.command_line import Place
from tests.journeys.conftest import service
from tests.readers.workbook_files import cell, parts, row, sheet, zipped

LABS = ["patient", "time", "code", "value", "unit", "upper_limit"]


@pytest.fixture
def here(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with service(url) as client:
        yield Place(client, url, tmp_path)


def demonstration():
    sheets = {}
    for kind, found in rows().items():
        columns = list(dict.fromkeys(name for each in found for name in each))
        sheets[kind] = [columns, *([text_of(each.get(name)) for name in columns] for each in found)]
    return written_workbook(sheets)


def text_of(value):
    if value is None or isinstance(value, bool):
        return {None: "", True: "TRUE", False: "FALSE"}[value]
    return str(value)


def test_a_workbook_is_the_same_study_as_the_timelines(here):
    told = here.client.post("/v1/studies/trial/timelines", json=timelines()).json()
    kept = f"facts: {told['facts']['kept']:,} kept"
    here.study("again")
    file = here.write("study.xlsx", demonstration())
    read = here.run("import", file, "--study", "again")
    assert (read.exit_code, read.stdout) == (0, f"1 file: 16 created; {kept}.\n")
    assert here.digest("again") == here.digest("trial")
    assert here.run("import", file, "--study", "again").stdout == f"1 file: 16 unchanged; {kept}.\n"


def test_a_rehearsal_of_a_workbook_stores_nothing(here):
    file = here.write("study.xlsx", demonstration())
    assert here.run("import", file, "--study", "trial", "--rehearse").exit_code == 0
    assert here.client.get("/v1/studies/trial").json()["revision"] == 0


def test_what_is_set_aside_is_named_by_sheet_and_row(here):
    good = ["P01", "2005-04-10", "CK", "1000", "U/L", "163"]
    body = written_workbook(
        {
            "labs": [LABS, good, ["P01", "2005-04-11", "CK", "9;5", "U/L", "163"], ["", *good[1:]]],
            "patients": [["patient"]],
        }
    )
    rejects = here.folder / "rejects.xlsx"
    read = here.run("import", here.write("a.xlsx", body), "--study", "trial", "--rejects", rejects)
    assert read.exit_code == 1
    assert "a.xlsx: labs row 3: /labs/3/value bad_number" in read.stderr
    assert "a.xlsx: labs row 4: /labs/4/patient no_subject" in read.stderr
    assert "1 created, 2 rejected" in read.stdout
    assert "Why it was refused: " in read.stdout
    reasons = [json.loads(line) for line in rejects.with_name("rejects.xlsx.faults.ndjson").read_text().splitlines()]
    assert [each["place"] for each in reasons] == ["labs row 3", "labs row 4"]
    assert not rejects.exists()


def test_the_only_sheet_of_a_workbook_is_known_by_its_columns_or_by_what_is_declared(here):
    named = [["patient", "drug", "start"], ["P01", "prednisolone", "2005-01-24"]]
    read = here.run("import", here.write("a.xlsx", written_workbook({"Sheet1": named})), "--study", "trial")
    assert (read.exit_code, read.stdout) == (0, "1 file: 1 created; facts: 1 kept.\n")
    named[0] = ["Pat", "Drug", "From"]
    file = here.write("b.xlsx", written_workbook({"Sheet1": named}))
    assert here.run("import", file, "--study", "trial").exit_code == 1
    options = ("--kind", "medications", "--columns", "Pat:patient,From:start")
    read = here.run("import", file, "--study", "trial", *options)
    assert (read.exit_code, read.stdout) == (0, "1 file: 1 unchanged; facts: 1 kept.\n")
    bad = here.write("c.xlsx", written_workbook({"Sheet1": [*named, ["P01", "prednisolone", "24.1.2005"]]}))
    assert "c.xlsx: row 3: /3/start bad_time" in here.run("import", bad, "--study", "trial", *options).stderr


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("a.xlsx", zipped(parts({"labs": sheet(row(*LABS), row("P01", cell("<f>1</f>")))})), "/labs/2/B formula"),
        ("a.xlsx", zipped(parts({"notes": sheet(row("a"))})), "/sheets/1 unknown_sheet"),
        ("a.xlsm", zipped(parts({"labs": sheet(row("a"))}) | {"xl/vbaProject.bin": "x"}), "macros"),
        ("a.xls", b"\xd0\xcf\x11\xe0" + bytes(600), "unsupported"),
        ("a", b"PK\x03\x04" + bytes(60), "malformed"),
        ("a.xlsx", b"patient,code\n", "malformed"),
    ],
)
def test_a_workbook_that_is_not_certain_is_refused_in_one_line(here, name, body, told):
    file = here.write(name, body)
    assert format_of(file) == "xlsx"
    read = here.run("import", file, "--study", "trial")
    assert (read.exit_code, told in read.stderr) == (1, True)
    assert len(read.stderr.splitlines()) == 1
    assert read.stdout == "1 file: 1 rejected.\n"
    assert here.client.get("/v1/studies/trial").json()["revision"] == 0
