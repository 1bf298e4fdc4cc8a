"""The page that takes files: each kind is found, rehearsed and loaded; every other file is refused in words."""

import hashlib
import html
import json
import re
import tempfile

import pytest

from app.access.callers import Scope
from app.readers.workbook_writer import written_workbook
from app.timeline import receipts
from tests.pages.test_sign_in import signed_in
from tests.readers.workbook_files import cell, parts, row, sheet, zipped

ADD = "/pages/studies/trial/add"
HEADER = "patient,time,code,value,unit,upper_limit,id,source\n"
KEPT = "P01,2005-03-16T09:48:00+09:00,CK,1101,U/L,163,a1,A\n"
NG = "P02,2005-03-16T09:48:00+09:00,CK,900,ng/mL,163,a2,A\n"
ALIAS = "P02,2005-03-18T09:48:00+09:00,CK,900,E/L,163,a3,A\n"
NOT_OURS = "P02,2005-03-18T09:48:00+09:00,NA,140,mmol/L,,a4,A\n"
MESSAGE = (
    "MSH|^~\\&|LAB|ELAB-3|MYO|TRIAL|20050317080000+0900||ORU^R01^ORU_R01|4711|P|2.5.1\r"
    "PID|1||P01^^^WARD7||||19530401|F\r"
    "OBR|1||77^ELAB-3|CHEM^Chemistry^L|||20050316094800+0900\r"
    "OBX|1|NM|2157-6^Creatine kinase^LN||1101|U/L|30-163|H|||F\r"
    "OBX|2|NM|CKN^Creatine kinase^L||5.2|U/L|3.9-5.5|N|||F\r"
    "OBR|2||78^ELAB-3|CHEM^Chemistry^L|||20050317094800+0900\r"
    "OBX|1|NM|2157-6^Creatine kinase^LN||HEMOLYZED|U/L|30-163|H|||F\r"
)
PATIENT = '{"resourceType":"Patient","identifier":[{"system":"urn:x","value":"P01"}],"gender":"female"}'
RESULT = (
    '{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"2157-6"}]},'
    '"subject":{"identifier":{"system":"urn:x","value":"P01"}},"effectiveDateTime":"2020-01-0%d",'
    '"valueQuantity":{"value":900,"system":"http://unitsofmeasure.org","code":"%s"}}'
)
COLLECTION = '{"resourceType":"Bundle","type":"collection","entry":[{"resource":' + PATIENT + "}]}"
TIMELINE = (
    '{"patient": {"id": "P0%d"}, "labs": [{"code": "CK", "time": "2006-09-04T09:00:00+09:00", "value": 152, '
    '"unit": "U/L", "upper_limit": 163}]}'
)


@pytest.fixture
def trial(client):
    client.put("/v1/studies/trial", json={"name": "Trial", "identifiers": "pseudonyms", "protocol": "seed-2008"})
    return client


def send(client, content, name="file", do="rehearse", **fields):
    body = content.encode() if isinstance(content, str) else content
    answer = client.post(ADD, data={"do": do, **fields}, files={"file": (name, body)})
    return answer.status_code, words(answer.text)


def words(page):
    """The words of a page, with one blank between them."""
    main = page[page.index("<main") :]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


def revision(client):
    return client.get("/v1/studies/trial").json()["revision"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEADER + KEPT, "A table of one kind (CSV) : Laboratory results, cells separated by a comma"),
        ((HEADER + KEPT).replace(",", ";"), "cells separated by a semicolon"),
        ((HEADER + KEPT).replace(",", "\t"), "cells separated by a tab"),
        (MESSAGE, "HL7 v2 messages"),
        (COLLECTION, "FHIR R4"),
        (PATIENT, "FHIR R4"),
        (PATIENT + "\n" + RESULT % (1, "U/L"), "FHIR R4"),
        ("[" + TIMELINE % 1 + "]", "Patient timelines of MyoResponse (JSON)"),
        ((TIMELINE % 1).replace(", ", ",\n"), "Patient timelines of MyoResponse (JSON)"),
        (TIMELINE % 1 + "\n" + TIMELINE % 2, "one on each line (NDJSON)"),
        ("\ufeff" + HEADER + KEPT, "A table of one kind (CSV) : Laboratory results"),
    ],
)
def test_each_kind_is_found_from_the_content_and_kept(trial, content, said):
    status, text = send(trial, content)
    assert status == 200
    assert said in text[text.index("Read as: ") :]
    assert "Rehearsal of file: nothing is stored" in text
    assert not re.search(r"\b0 kept", text)
    assert revision(trial) == 0
    status, text = send(trial, content, do="load")
    assert (status, "The study is at revision" in text) == (200, True)
    assert revision(trial) > 0
    assert "Nothing changed: what counts was stored before." in send(trial, content, do="load")[1]


def test_a_messy_table_says_what_each_row_becomes_and_which_declaration_rescues(trial):
    status, text = send(trial, HEADER + KEPT + NG + ALIAS + NOT_OURS, "labs.csv")
    assert status == 200
    assert "1 kept 0 not applied 2 set aside 1 not ours 0 refused" in text
    assert "A mass concentration is not an enzyme activity: this is CK-MB mass or another assay. mass_unit" in text
    assert "P02 line 3, column unit" in text
    page = trial.post(ADD, data={"do": "rehearse"}, files={"file": ("labs.csv", HEADER + NG)}).text
    assert '<a href="/docs/feeds#units">Read more</a>' in page
    assert "The laboratory writes this unit in another way : E/L = U/L" in text
    assert "It is another test or drug, which this service does not keep. code" in text


def test_a_table_with_many_facts_of_one_note_says_how_many(trial, monkeypatch):
    monkeypatch.setattr(receipts, "LISTED_OF_A_KIND", 3)
    rows = [f"P01,2005-03-16T09:{minute}:00+09:00,CK,900,U/L,,b{minute},A\n" for minute in range(10, 18)]
    _, text = send(trial, HEADER + "".join(rows))
    assert "8 kept 0 not applied 0 set aside 0 not ours 0 refused" in text
    assert "no_upper_limit 8 P01 line 2; P01 line 3; P01 line 4 " in text


TABLES = [
    ("Patients", "patient,sex,birth_year\nP01,female,1953\n"),
    ("Assessments", "Patient;Time;Code;Score;Scale_max\nP01;2005-03-16;MMT;62;100\n"),
    ("Infusions", "patient,time,product,dose,unit\nP01,2005-04-11,IVIG,0.4,g/kg\n"),
    ("Drugs", "patient\tdrug\tstart\tdose\tunit\nP01\tprednisolone\t2005-01-24\t50\tmg/d\n"),
    ("Adverse events", "patient,term,onset\nP01,headache,2005-04-12\n"),
]


@pytest.mark.parametrize(("said", "table"), TABLES)
def test_a_table_of_each_kind_is_found_from_its_columns_and_kept(trial, said, table):
    status, text = send(trial, table)
    assert (status, f"A table of one kind (CSV) : {said}" in text) == (200, True)
    assert re.search(r"Facts [12] kept 0 not applied 0 set aside 0 not ours 0 refused", text)
    assert "The study is at revision 1" in send(trial, table, do="load")[1]


def test_the_form_of_dates_can_be_chosen(trial):
    table = "patient,time,product,dose,unit\nP01,11.04.2005,IVIG,0.4,g/kg\n"
    assert "P01 line 2, column time" in send(trial, table)[1]
    assert "Facts 1 kept 0 not applied 0 set aside" in send(trial, table, dates="DD.MM.YYYY")[1]


def workbook(**sheets):
    return written_workbook({name: [line.split(",") for line in table.splitlines()] for name, table in sheets.items()})


def test_a_workbook_says_what_each_row_becomes_by_sheet_row_and_column(trial):
    body = workbook(Labs=HEADER + KEPT + NG, patients=TABLES[0][1], Infusions=TABLES[2][1])
    status, text = send(trial, body, "study.xlsx")
    assert (status, "A workbook (XLSX) , a sheet for each kind of table" in text) == (200, True)
    assert "kept 0 not applied 1 set aside" in text
    assert "P02 sheet labs, row 3, column unit" in text
    assert revision(trial) == 0
    status, text = send(trial, body, "study.xlsx", do="load")
    assert "Patients: 1 created" in text
    assert revision(trial) > 0
    assert "Nothing changed: what counts was stored before." in send(trial, body, "study.xlsx", do="load")[1]
    worklist = words(trial.get("/v1/studies/trial/set-aside", headers={"Accept": "text/html"}).text)
    assert "sheet labs, row 3, column unit" in worklist


def test_a_workbook_with_one_sheet_of_any_name_is_known_by_its_columns(trial):
    status, text = send(trial, workbook(Sheet1=TABLES[4][1]), "x.xlsx", do="load")
    assert (status, "A workbook (XLSX) : Adverse events" in text, revision(trial)) == (200, True, 1)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (workbook(labs=HEADER + KEPT, notes="a\nb\n"), "sheet 2"),
        (b"PK\x03\x04" + b"\0" * 99, "malformed What is accepted"),
        (zipped(parts({"labs": sheet(row(*HEADER.split(",")), row(cell("<f>1</f>")))})), "sheet labs, row 2, column A"),
        (zipped(parts({"labs": sheet(row("a"))}) | {"xl/vbaProject.bin": "x"}), "The workbook has macros. macros"),
    ],
    ids=["unknown", "damaged", "formula", "macros"],
)
def test_a_workbook_that_is_not_certain_is_refused_as_a_whole_with_its_reasons(trial, body, told):
    for do in ("rehearse", "load"):
        status, text = send(trial, body, "x.xlsx", do=do)
        assert (status, "x.xlsx is refused as a whole: nothing is stored" in text) == (200, True)
        assert told in text
        assert "What is accepted" in text
    assert revision(trial) == 0


def test_messages_say_the_same(trial):
    status, text = send(trial, MESSAGE)
    assert status == 200
    assert "Messages: 1 accepted" in text
    assert "1 not ours" in text
    assert "1 set aside" in text
    assert "waits on the worklist. Why Times Where The result is a text and not a number." in text
    assert "This code of the laboratory means this result : L|CKN = CK" in text


def test_resources_on_lines_are_told_by_their_line(trial):
    lines = [PATIENT, RESULT % (1, "U/L"), "", RESULT % (2, "ng/mL"), '{"resourceType":"Obs']
    status, text = send(trial, "\n".join(lines))
    assert status == 200
    assert "mass_unit" in text
    assert "line 4 valueQuantity.code" in text
    assert re.search(r"malformed .* line 5", text)
    assert "2 kept" in text


def test_a_line_that_is_refused_says_where_and_the_others_are_kept(trial):
    status, text = send(trial, TIMELINE % 1 + '\n{"patient": {"id": "P02"}, "labs": [{"code": "CK"}]}\n{"x')
    assert status == 200
    assert "Lines: 1 created, 2 rejected" in text
    assert "line 2 /labs/0/time" in text


@pytest.mark.parametrize(
    ("content", "name", "advice"),
    [
        (b"", "labs.csv", "The file is empty."),
        (b" \n \n", "labs.csv", "The file is empty."),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 99, "labs.xls", "Save it as “Excel Workbook (.xlsx)”"),
        (b"a,b\n1,2\n", "labs.csv", "It is not clear what the rows of this table are about"),
        (b"%PDF-1.7", "labs.pdf", "This is a PDF."),
        (b"\x1f\x8b\x08", "labs.csv.gz", "Unpack it"),
        ((HEADER + KEPT).encode("utf-16"), "labs.csv", "Save it as UTF-8"),
        (b"\x7fELF\0\0\0", "labs", "This is no text."),
        (b"hello world", "note.txt", "Choose the kind by hand."),
    ],
)
def test_a_file_of_another_kind_gets_a_next_step(trial, content, name, advice):
    for do in ("rehearse", "load", "recognise"):
        status, text = send(trial, content, name, do=do)
        assert status == 422
        assert "This file cannot be read" in text
        assert advice in text
    assert revision(trial) == 0


def test_a_form_without_a_file_asks_for_one(trial):
    answer = trial.post(ADD, data={"do": "load"}, files={"file": ("", b"")})
    assert (answer.status_code, "No file was chosen." in words(answer.text)) == (422, True)
    refused = trial.post(ADD, data={"do": "load"})
    assert (refused.status_code, refused.headers["content-type"]) == (415, "text/html; charset=utf-8")


def test_a_table_without_its_columns_is_refused_as_a_whole_with_what_it_needs(trial):
    status, text = send(trial, "a,b\n1,2\n", "labs.csv", do="load", table="labs")
    assert status == 200
    assert "missing" in text
    assert "patient" in text
    assert revision(trial) == 0


def test_a_kind_that_is_chosen_by_hand_is_used(trial):
    status, text = send(trial, HEADER + KEPT, "labs.csv", format="ndjson")
    assert status == 200
    assert "Read as: Patient timelines of MyoResponse, one on each line (NDJSON)" in text
    assert "0 kept" in text
    decimal = (HEADER + KEPT).replace(",", ";").replace("1101", "1101,5")
    assert "bad_number" in send(trial, decimal)[1]
    assert "1 kept" in send(trial, decimal, decimal=",")[1]


def test_another_file_than_the_rehearsed_one_is_rehearsed_and_not_loaded(trial):
    page = trial.post(ADD, data={"do": "rehearse"}, files={"file": ("a.csv", HEADER + KEPT)}).text
    digest = re.search(r'name="rehearsed" value="(\w{64})"', page)[1]
    assert "another file than the one that you rehearsed" in send(trial, HEADER + NG, do="load", rehearsed=digest)[1]
    assert revision(trial) == 0
    assert "is loaded" in send(trial, HEADER + KEPT, do="load", rehearsed=digest)[1]


def test_no_data_of_a_file_reach_the_disk(trial, monkeypatch):
    """A control opens a file in the same way and is seen."""
    opened = []
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *a, **k: opened.append(a) or pytest.fail("a temporary file"))
    rows = "".join(f"P{n:05},2005-03-16,CK,1,U/L,163,b{n},A\n" for n in range(45_000))
    assert len(rows) > 1_500_000
    status, _ = send(trial, HEADER + rows, do="recognise")
    assert (status, opened) == (200, [])
    with tempfile.SpooledTemporaryFile(max_size=10) as spooled, pytest.raises(BaseException, match="a temporary file"):
        spooled.write(b"more than ten bytes")
    assert len(opened) == 1


def test_a_file_that_is_too_large_is_refused_by_a_page(serve, sqlite_url):
    client = serve(sqlite_url, max_body_bytes=2_000)
    client.put("/v1/studies/trial", json={"name": "Trial", "identifiers": "pseudonyms", "protocol": "seed-2008"})
    answer = client.post(ADD, data={"do": "load"}, files={"file": ("labs.csv", HEADER + KEPT * 100)})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "text/html; charset=utf-8")
    assert "2000 bytes" in answer.text
    assert "python -m app import" in answer.text
    assert "/v1/studies/trial/intake.html" in answer.text
    assert "Traceback" not in answer.text


def test_the_name_and_the_content_of_a_file_are_text(trial):
    evil = "<script>alert(1)</script>"
    page = trial.post(ADD, data={"do": "rehearse"}, files={"file": (evil, HEADER + KEPT.replace("P01", evil))}).text
    assert evil not in page
    codes = trial.post(ADD, data={"do": "load"}, files={"file": ("a", HEADER + KEPT.replace(",A", f",{evil}"))}).text
    assert evil not in codes
    assert evil not in trial.get("/v1/studies/trial/intake.html").text


def test_the_page_shows_what_arrived_and_why_it_was_lost(trial):
    assert "Nothing has arrived yet." in words(trial.get("/v1/studies/trial/intake.html").text)
    send(trial, HEADER + KEPT + NG + NOT_OURS, do="load")
    text = words(trial.get("/v1/studies/trial/intake.html").text)
    assert "A csv 1" in text
    assert "Set aside , 1 time: A mass concentration is not an enzyme activity" in text
    assert "1 time: NA (Code)" in text
    assert "See the worklist of what is set aside" in text


def test_who_may_not_add_data_sees_no_form(service):
    service.client().put(
        "/v1/studies/mine", json={"name": "Mine", "identifiers": "pseudonyms", "protocol": "seed-2008"}
    )
    reader = signed_in(service, Scope.READ)
    page = reader.get("/v1/studies/mine/intake.html")
    assert (page.status_code, "Your key does not add data" in page.text) == (200, True)
    token = re.search(r'name="token" value="([^"]+)"', page.text)[1]
    fields = {"do": "load", "token": token}
    sent = reader.post("/pages/studies/mine/add", data=fields, files={"file": ("a", HEADER + KEPT)})
    assert "is refused as a whole" in words(sent.text)
    assert service.client().get("/v1/studies/mine").json()["revision"] == 0


def test_a_file_without_the_token_of_the_session_is_not_loaded(service):
    service.client().put(
        "/v1/studies/mine", json={"name": "Mine", "identifiers": "pseudonyms", "protocol": "seed-2008"}
    )
    browser = signed_in(service)
    for fields in ({"do": "load"}, {"do": "load", "token": "guessed"}):
        sent = browser.post("/pages/studies/mine/add", data=fields, files={"file": ("a", HEADER + KEPT)})
        assert "is refused as a whole" in words(sent.text)
    assert service.client().get("/v1/studies/mine").json()["revision"] == 0
    token = re.search(r'name="token" value="([^"]+)"', browser.get("/v1/studies/mine/intake.html").text)[1]
    sent = browser.post(
        "/pages/studies/mine/add", data={"do": "load", "token": token}, files={"file": ("a", HEADER + KEPT)}
    )
    assert "a is loaded" in words(sent.text)
    assert service.client().get("/v1/studies/mine").json()["revision"] == 1


def test_an_export_that_was_cut_is_said_to_be_so(trial):
    lines = TIMELINE % 1 + "\n" + TIMELINE % 2 + "\n"
    digest = hashlib.sha256(lines.encode()).hexdigest()
    head = {"form": 1, "study": "trial", "revision": 2, "pseudonyms": None, "lines": 2, "digest": f"sha256:{digest}"}
    whole = json.dumps({"export": head}) + "\n" + lines
    status, text = send(trial, whole, "a.ndjson")
    assert (status, "cut or edited" in text, "line 1" in text) == (200, False, False)
    assert "cut or edited" in send(trial, whole[:-10] + "\n", "a.ndjson")[1]
    assert "export of study other" in send(trial, whole.replace("trial", "other"), "a.ndjson")[1]
