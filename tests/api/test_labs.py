"""Tables of results by HTTP: one outcome a patient, or all or nothing; and the template."""

import csv
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from app.api.timelines import EXAMPLES, LabRow
from app.errors import Busy
from app.readers.table_kinds import COLUMNS_OF, REQUIRED_OF
from app.store import ledger
from app.submission import loop
from tests.api.examples import codes, events, lab, make_study

CSV = {"Content-Type": "text/csv"}
HEADER = "patient,time,code,value,unit,upper_limit,lab,id\n"
GOOD = "P01,2005-04-10T09:00:00+09:00,CK,1000,U/L,163,A,a-1\n"
OTHER = "P02,2005-04-10T09:00:00+09:00,CK,900,U/L,163,A,a-2\n"
BAD = "P03,2005-04-10T09:00:00+09:00,CK,9;5,U/L,163,A,a-3\n"


def post(client: Any, home: str, table: str, status: int = 200, **parameters: str) -> Any:
    answer = client.post(f"{home}/labs", content=table.encode(), headers=CSV, params=parameters)
    assert answer.status_code == status, answer.text
    return answer


def not_kept(item: Any) -> list[tuple[str, str, str]]:
    """The lines of an item's receipt of what is not kept."""
    lines = (item["receipt"] or {"lines": []})["lines"]
    return [(line["place"], line["disposition"], line["reason"]) for line in lines if line["disposition"] != "kept"]


def outcomes(client: Any, home: str, table: str, **parameters: str) -> list[tuple[Any, ...]]:
    items = post(client, home, table, **parameters).json()["items"]
    assert [item["index"] for item in items] == list(range(len(items)))
    return [(item["patient"], item["status"], item["revision"]) for item in items]


@pytest.fixture
def home(client) -> str:
    return make_study(client, identifiers="pseudonyms")


def test_a_table_of_results_is_stored_and_answered_by_patient(anywhere):
    home = make_study(anywhere, identifiers="pseudonyms")
    table = HEADER + GOOD + OTHER + GOOD.replace("04-10", "04-11").replace("a-1", "a-4") + BAD
    answer = post(anywhere, home, table).json()
    by_patient = [(item["index"], item["patient"], item["status"], item["revision"]) for item in answer["items"]]
    assert by_patient == [(0, "P01", "created", 1), (1, "P02", "created", 2), (2, "P03", "changed", 3)]
    assert (answer["counts"], answer["rows"], answer["skipped"]) == ({"created": 2, "changed": 1}, 4, {})
    assert [item["patient"] for item in anywhere.get(f"{home}/set-aside").json()["items"]] == ["P03"]
    assert answer["facts"] == {"kept": 3, "not_applied": 0, "set_aside": 1, "not_ours": 0, "refused": 0}
    assert not_kept(answer["items"][2]) == [("/5/value", "set_aside", "bad_number")]
    assert anywhere.get(f"{home}/patients/P03").status_code == 404
    assert len(anywhere.get(f"{home}/patients/P01").json()["labs"]) == 2
    assert anywhere.get(f"{home}/revisions").json()["items"][-1]["format"] in {"csv", "study"}


def test_the_same_table_again_changes_nothing_and_a_correction_supersedes(client, home):
    assert outcomes(client, home, HEADER + GOOD) == [("P01", "created", 1)]
    assert outcomes(client, home, HEADER + GOOD) == [("P01", "unchanged", None)]
    assert outcomes(client, home, HEADER + GOOD.replace("1000", "1100")) == [("P01", "changed", 2)]
    assert [each["value"] for each in client.get(f"{home}/patients/P01").json()["labs"]] == [1100]


def test_a_result_that_came_as_json_is_known_when_it_comes_as_csv(client, home):
    native = events("P01", lab(-1, 1000, id="a-1"))
    assert client.post(f"{home}/patients/P01/events", json=native).status_code == 201
    assert outcomes(client, home, HEADER + GOOD) == [("P01", "unchanged", None)]


def test_what_is_not_kept_is_skipped_and_counted(client, home):
    table = HEADER + GOOD.replace("CK", "KREA") + GOOD.replace("1000", "") + OTHER
    answer = post(client, home, table).json()
    assert (answer["rows"], answer["skipped"]) == (3, {"code": 1, "value": 1})
    assert answer["counts"] == {"created": 1, "unchanged": 1}
    assert not_kept(answer["items"][0]) == [("/2/code", "not_ours", "code"), ("/3/value", "not_ours", "value")]
    assert answer["facts"]["not_ours"] == 2
    assert client.get(f"{home}/patients/P01").status_code == 404


def test_all_or_nothing_stores_nothing_where_one_row_is_wrong(client, home):
    refused = post(client, home, HEADER + GOOD + BAD + "P04,2005\n", 422, atomic="true")
    assert codes(refused) == [("/3/value", "bad_number"), ("/4", "ragged_row")]
    assert client.get(f"{home}/patients").json()["items"] == []
    assert len(client.get(f"{home}/revisions").json()["items"]) == 1
    assert outcomes(client, home, HEADER + GOOD + OTHER, atomic="true") == [
        ("P01", "created", 1), ("P02", "created", 1),
    ]  # fmt: skip
    assert outcomes(client, home, HEADER, atomic="true") == outcomes(client, home, HEADER) == []


def test_a_table_of_which_nothing_is_kept_is_refused_with_its_receipts_and_what_may_be_wrong(client, home):
    table = HEADER + GOOD.replace("CK", "KREA") + BAD.replace("9;5", '"9,5"')
    answer = post(client, home, table, 422).json()
    assert answer["type"] == "/problems/nothing-kept"
    assert [not_kept(item) for item in answer["items"]] == [
        [("/2/code", "not_ours", "code")], [("/3/value", "set_aside", "bad_number")],
    ]  # fmt: skip
    [fault] = answer["errors"]
    assert (fault["pointer"], "declare decimal=," in fault["detail"]) == ("/3/value", True)
    assert client.get(f"{home}/patients").json()["items"] == []


def test_the_receipt_of_a_table_lists_every_row_where_that_is_asked_for(client, home):
    [item] = post(client, home, HEADER + GOOD, receipt="full").json()["items"]
    assert item["receipt"]["lines"] == [
        {"place": "/2/patient", "disposition": "kept", "notes": [{"code": "new_patient"}]},
        {"place": "/2", "disposition": "kept"},
    ]
    assert post(client, home, HEADER + GOOD).json()["items"][0]["receipt"]["lines"] == []


@pytest.mark.parametrize("limit", ["high", "163;5", "1,63"])
def test_a_limit_that_cannot_be_read_is_noted_and_the_result_is_kept(client, home, limit):
    table = HEADER + GOOD.replace(",163,", f',"{limit}",')
    [item] = post(client, home, table).json()["items"]
    assert not_kept(item) == []
    assert {"code": "limit_unreadable"} in item["receipt"]["lines"][1]["notes"]
    assert "upper_limit" not in client.get(f"{home}/patients/P01").json()["labs"][0]
    assert codes(post(client, home, table, 422, atomic="true")) == [("/2/upper_limit", "bad_number")]


def test_a_result_that_is_no_number_is_set_aside_and_the_other_rows_are_kept(client, home):
    table = HEADER + GOOD + GOOD.replace("04-10", "04-11").replace("1000", "HEMOLYZED").replace("a-1", "a-9")
    [item] = post(client, home, table).json()["items"]
    assert not_kept(item) == [("/3/value", "set_aside", "not_a_number")]
    assert [lab["value"] for lab in client.get(f"{home}/patients/P01").json()["labs"]] == [1000]


ISSUED = HEADER.replace("\n", ",issued\n")
NUMBER = GOOD.replace("\n", ",2005-04-11T08:00:00+09:00\n")
WORD = GOOD.replace("1000", "HEMOLYZED").replace("\n", ",2005-04-12T08:00:00+09:00\n")


def test_a_later_word_takes_the_place_of_a_number_and_an_older_one_is_not_applied(client, home):
    corrected = HEADER.replace("\n", ",issued,status\n") + WORD.replace("\n", ",corrected\n")
    post(client, home, ISSUED + NUMBER)
    [item] = post(client, home, corrected).json()["items"]
    assert not_kept(item) == [("/2/value", "set_aside", "not_a_number")]
    [replaced] = item["receipt"]["lines"][0]["affects"]
    assert (replaced["section"], replaced["code"], replaced["stands"]) == ("labs", "CK", False)
    assert client.get(f"{home}/patients/P01").json().get("labs", []) == []
    [listed] = client.get(f"{home}/set-aside").json()["items"]
    assert (listed["reason"], listed["code"], listed["place"]) == ("not_a_number", "CK", "/2/value")
    [again] = post(client, home, corrected).json()["items"]
    assert again["receipt"]["lines"][0]["notes"] == [{"code": "unchanged"}]
    post(client, home, ISSUED + NUMBER.replace("04-11T", "04-13T").replace("1000", "1200"))
    assert [lab["value"] for lab in client.get(f"{home}/patients/P01").json()["labs"]] == [1200]
    assert client.get(f"{home}/set-aside").json()["items"] == []
    [item] = post(client, home, corrected.replace("04-12T", "04-11T")).json()["items"]
    assert not_kept(item) == [("/2/value", "not_applied", "older")]


def test_a_row_that_cannot_be_read_is_on_the_worklist_until_it_is_sent_again_corrected(client, home):
    bad = HEADER + GOOD.replace("U/L", "U/LL") + OTHER.replace("900", "9;00")
    post(client, home, bad, 422)
    listed = client.get(f"{home}/set-aside").json()["items"]
    assert [(item["patient"], item["code"], item["reason"], item["place"], item["format"]) for item in listed] == [
        ("P01", "CK", "unknown_unit", "/2/unit", "csv"), ("P02", "CK", "bad_number", "/3/value", "csv"),
    ]  # fmt: skip
    post(client, home, HEADER + GOOD)
    assert [item["patient"] for item in client.get(f"{home}/set-aside").json()["items"]] == ["P02"]
    post(client, home, HEADER + OTHER)
    assert client.get(f"{home}/set-aside").json()["items"] == []
    counted = client.get(f"{home}/intake").json()["items"]
    assert sum(item["set_aside"].get("unknown_unit", 0) for item in counted) == 1


def test_a_bad_row_harms_no_other(client, home):
    table = (
        HEADER + GOOD + OTHER + GOOD.replace("1000", "x").replace("a-1", "a-9") + ",2005-04-10,CK,5,U/L,,,\nP05,2005\n"
    )
    answer = post(client, home, table).json()
    assert [(item["patient"], item["status"]) for item in answer["items"]] == [
        ("P01", "created"), ("P02", "created"), (None, "rejected"),
    ]  # fmt: skip
    assert not_kept(answer["items"][0]) == [("/4/value", "set_aside", "not_a_number")]
    found = [[(fault["pointer"], fault["code"]) for fault in (item["problem"] or {"errors": []})["errors"]]
             for item in answer["items"]]  # fmt: skip
    assert found == [[], [], [("/5/patient", "no_subject"), ("/6", "ragged_row")]]


def test_the_dialect_is_the_declared_one(client, home):
    table = (HEADER + GOOD + OTHER.replace("900", "NA")).replace(",", ";").replace("1000", "1000,5")
    assert codes(post(client, home, table, 422)) == [("/1", "unknown_column")]
    answer = post(client, home, table, delimiter=";", decimal=",", missing="NA,-").json()
    assert (answer["counts"], answer["skipped"]) == ({"created": 1, "unchanged": 1}, {"value": 1})
    assert client.get(f"{home}/patients/P01").json()["labs"][0]["value"] == 1000.5
    assert outcomes(client, home, (HEADER + OTHER).replace(",", "\t"), delimiter="tab") == [("P02", "created", 2)]
    for wrong in ({"delimiter": "|"}, {"decimal": "'"}, {"encoding": "utf-16"}, {"atomic": "yes"}):
        post(client, home, HEADER + GOOD, 422, **wrong)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/csv", 200), ("text/csv; charset=utf-8", 200), ("text/csv; charset=UTF-8", 200),
        ("text/csv;charset=utf-8", 200), ("text/csv; charset=utf-16", 415), ("text/csv; charset=latin-1", 415),
        ("application/json", 415), ("multipart/form-data; boundary=x", 415), ("application/vnd.ms-excel", 415),
    ],
)  # fmt: skip
def test_only_csv_in_utf_8_is_read(client, home, content_type, status):
    headers = {"Content-Type": content_type}
    assert client.post(f"{home}/labs", content=HEADER + GOOD, headers=headers).status_code == status


def test_bytes_that_are_not_utf_8_are_refused_whatever_is_declared(client, home):
    answer = client.post(f"{home}/labs", content=(HEADER + GOOD).encode("utf-16"), headers=CSV)
    assert answer.status_code == 415
    assert codes(answer) == [("", "unknown_encoding")]
    broken = client.post(f"{home}/labs", content=(HEADER + GOOD + '"').encode(), headers=CSV)
    assert (broken.status_code, codes(broken)) == (400, [("/3", "malformed")])


def test_an_unknown_study_and_a_study_without_a_secret_are_refused(client):
    post(client, "/v1/studies/none", HEADER + GOOD, 404)
    post(client, make_study(client), HEADER + GOOD, 409)


def test_an_erased_person_stays_erased(client, home):
    post(client, home, HEADER + GOOD + OTHER)
    tag = client.get(f"{home}/patients/P01").headers["ETag"]
    assert client.delete(f"{home}/patients/P01?erase=true", headers={"If-Match": tag}).status_code == 204
    answer = post(client, home, HEADER + GOOD + OTHER).json()
    assert [item["status"] for item in answer["items"]] == ["rejected", "unchanged"]
    assert answer["items"][0]["problem"]["status"] == 410
    post(client, home, HEADER + GOOD + OTHER, 410, atomic="true")


def test_a_number_of_a_hospital_reaches_neither_the_store_nor_the_answer(serve, sqlite_url, tmp_path, caplog):
    client = serve(sqlite_url, pseudonym_secret="x" * 32)
    home = make_study(client, time_zone="Asia/Tokyo")
    numbers = ("MRN4711", "ACC0815")
    table = HEADER + GOOD.replace("P01", numbers[0]).replace("a-1", numbers[1]) + BAD.replace("P03", numbers[0] + "9")
    answer = post(client, home, table)
    [stored, refused] = answer.json()["items"]
    assert (stored["status"], refused["status"]) == ("created", "changed")
    assert not_kept(refused) == [("/3/value", "set_aside", "bad_number")]
    timeline = client.get(f"{home}/patients/{stored['patient']}")
    assert timeline.status_code == 200
    assert outcomes(client, home, table)[0] == (stored["patient"], "unchanged", None)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as database:
        kept = "\n".join(database.iterdump())
        assert stored["patient"] in kept
    files = b"".join(file.read_bytes() for file in tmp_path.glob("x.db*"))
    for number in numbers:
        assert number not in answer.text + timeline.text + kept + caplog.text
        assert number.encode() not in files


def test_items_stored_before_the_database_was_busy_are_answered(client, home, monkeypatch):
    monkeypatch.setattr(loop, "GROUP", 1)
    submitted = ledger.submit_each
    turns = iter([submitted])

    def once(*args: Any, **more: Any) -> Any:
        for turn in turns:
            return turn(*args, **more)
        raise Busy

    monkeypatch.setattr(ledger, "submit_each", once)
    assert outcomes(client, home, HEADER + GOOD + OTHER + ",2005-04-10,CK,5,U/L,,,\n") == [
        ("P01", "created", 1), ("P02", "skipped", None), (None, "rejected", None),
    ]  # fmt: skip
    post(client, home, HEADER + OTHER, 503)


def test_the_template_is_accepted_as_it_stands(client, home):
    template = client.get("/v1/templates/labs.csv")
    assert template.status_code == 200
    assert template.headers["content-type"] == "text/csv; charset=utf-8"
    assert template.headers["content-disposition"] == 'attachment; filename="labs.csv"'
    rows = list(csv.DictReader(template.text.splitlines()))
    assert len(rows) == len(EXAMPLES) == post(client, home, template.text, atomic="true").json()["rows"]
    stored = {patient: client.get(f"{home}/patients/{patient}").json()["labs"] for patient in ("P01", "P02")}
    assert [(each["code"], each["value"], each["unit"], each["upper_limit"]) for each in stored["P01"]] == [
        ("CK", 1101, "U/L", 163), ("CK", 16.75, "ukat/L", 2.72),
    ]  # fmt: skip
    assert stored["P02"][0]["comparator"] == "<"


def test_the_documented_columns_are_the_ones_that_are_read():
    assert set(LabRow.model_fields) == set(COLUMNS_OF["labs"])
    assert {name for name, field in LabRow.model_fields.items() if field.is_required()} == set(REQUIRED_OF["labs"])
