"""Tables of each kind by HTTP: one outcome a patient, or all or nothing; declared layouts; and the templates."""

import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.tables import template_rows
from app.main import create_app
from app.readers.table_kinds import COLUMNS_OF, KINDS_OF_TABLES
from app.settings import Settings
from tests.api.conftest import BASE
from tests.api.demonstration_tables import MAPPING
from tests.api.examples import codes, make_study

CSV = {"Content-Type": "text/csv"}
OTHERS = [kind.replace("_", "-") for kind in KINDS_OF_TABLES if kind != "labs"]


def post(client: Any, address: str, table: str | bytes, status: int = 200, **query: str) -> Any:
    content = table.encode() if isinstance(table, str) else table
    answer = client.post(address, content=content, headers=CSV, params=query)
    assert answer.status_code == status, answer.text
    return answer


def places(answer: Any) -> list[tuple[str, str, str | None]]:
    lines = [line for item in answer.json()["items"] for line in (item["receipt"] or {"lines": []})["lines"]]
    return [(line["place"], line["disposition"], line.get("reason")) for line in lines]


@pytest.fixture
def home(client) -> str:
    return make_study(client, identifiers="pseudonyms")


@pytest.mark.parametrize("kind", OTHERS)
def test_a_template_is_accepted_as_it_is(client, home, kind):
    template = client.get(f"/v1/templates/{kind}.csv")
    assert template.headers["content-disposition"] == f'attachment; filename="{kind}.csv"'
    columns, *found = csv.reader(io.StringIO(template.text))
    named = kind.replace("-", "_")
    assert (tuple(columns), len(found)) == (COLUMNS_OF[named], len(template_rows(named)))
    answer = post(client, f"{home}/tables/{kind}", template.content, atomic="true").json()
    assert [item["patient"] for item in answer["items"]] == ["P01", "P02"]
    again = post(client, f"{home}/tables/{kind}", template.content).json()
    assert again["counts"] == {"unchanged": 2}


def test_the_rows_of_each_patient_are_one_revision_and_bad_rows_are_set_aside(anywhere):
    home = make_study(anywhere, identifiers="pseudonyms")
    table = (
        "Patient,SCORE,code,Time\nP01,62,MMT,2005-03-16\nP02,many,MMT,2005-03-16\nP01,70,MMT,2005-04-16\n"
        "P01,,ADL,2005-04-16\n,5,ADL,2005-04-16\n"
    )
    answer = post(anywhere, f"{home}/tables/assessments", table)
    outcome = answer.json()
    assert [(item["patient"], item["status"]) for item in outcome["items"]] == [
        ("P01", "created"), ("P02", "changed"), (None, "rejected"),
    ]  # fmt: skip
    assert places(answer) == [
        ("/2/patient", "kept", None), ("/5/score", "not_ours", "value"), ("/3/score", "set_aside", "bad_number"),
    ]  # fmt: skip
    assert (outcome["rows"], outcome["skipped"], outcome["unread"]) == (5, {"value": 1}, [])
    assert outcome["facts"] == {"kept": 2, "not_applied": 0, "set_aside": 1, "not_ours": 1, "refused": 0}
    assert [item["patient"] for item in anywhere.get(f"{home}/set-aside").json()["items"]] == ["P02"]
    assert len(anywhere.get(f"{home}/patients/P01").json()["assessments"]) == 2


def test_with_atomic_a_bad_row_refuses_the_table_with_every_fault(client, home):
    table = "patient,drug,start,dose,unit\nP01,prednisolone,2005-01-20,50,\nP02,,20.1.2005,x,mg/d\n"
    answer = post(client, f"{home}/tables/medications", table, 422, atomic="true")
    assert codes(answer) == [
        ("/2/unit", "dose_without_unit"), ("/3/dose", "bad_number"), ("/3/drug", "missing"), ("/3/start", "bad_time"),
    ]  # fmt: skip
    [start] = [error for error in answer.json()["errors"] if error["pointer"] == "/3/start"]
    assert "DD.MM.YYYY" in start["detail"]
    assert start["accepts"] == {"form": "YYYY-MM-DD"}
    assert client.get(f"{home}/patients").json()["items"] == []


def test_a_table_of_which_nothing_counts_is_refused_with_its_receipts(client, home):
    answer = post(client, f"{home}/tables/infusions", "patient,time,product,dose\nP01,2005-04-11,IVIG,0.4\n", 422)
    assert answer.json()["type"] == "/problems/nothing-kept"
    assert (places(answer), answer.json()["unread"]) == ([("/2/unit", "set_aside", "dose_without_unit")], [])


def test_a_table_of_another_kind_is_named(client, home):
    answer = post(client, f"{home}/tables/infusions", "patient,drug,start\nP01,prednisolone,2005-01-20\n", 422)
    assert codes(answer) == [("/1", "unknown_column")]
    assert "another kind: medications" in answer.json()["errors"][0]["detail"]


def test_dialect_and_columns_are_declared_in_the_request(client, home):
    table = "Pat;Datum;Dosis;Notiz\n4711;11.4.2005;0,4;Übelkeit\n".encode("windows-1252")
    answer = post(
        client, f"{home}/tables/infusions", table, delimiter=";", decimal=",", dates="DD.MM.YYYY",
        charset="windows-1252", columns="Pat:patient,Datum:time,Dosis:dose,Notiz:",
        constants="product:IVIG,unit:g/kg",
    )  # fmt: skip
    assert answer.json()["unread"] == [4]
    [infusion] = client.get(f"{home}/patients/4711").json()["infusions"]
    assert infusion == {"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg", "status": "final"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"columns": "A:time,a:product"}, ("/query/columns", "contradiction")),
        ({"constants": "product"}, ("/query/constants", "bad_text")),
        ({"dates": "DDMMYY"}, ("/query/dates", "unknown_value")),
        ({"charset": "EBCDIC"}, ("/query/charset", "unknown_value")),
        ({"time_zone": "Tokyo"}, ("/query/time_zone", "unknown_value")),
    ],
)
def test_a_declaration_that_is_not_clear_is_refused(client, home, query, found):
    answer = post(client, f"{home}/tables/infusions", "patient,time,product\nP01,2005-04-11,IVIG\n", 422, **query)
    assert codes(answer) == [found]


def test_attributes_are_those_that_the_protocol_declares(client, home):
    table = "patient,attributes.centre\nP01,Kyoto\n"
    answer = post(client, f"{home}/tables/patients", table, 422)
    assert answer.json()["items"][0]["problem"]["errors"][0]["code"] == "unknown_field"
    assert post(client, f"{home}/tables/patients", table, 422, atomic="true").json()["type"] == "/problems/invalid"
    protocol = client.get(f"{home}/protocol").json() | {"id": "own", "attributes": {"centre": ["Kyoto", "Osaka"]}}
    tag = client.get(f"{home}/protocol").headers["etag"]
    assert client.put(f"{home}/protocol", json=protocol, headers={"If-Match": tag}).status_code == 200
    post(client, f"{home}/tables/patients", table)
    assert client.get(f"{home}/patients/P01").json()["patient"]["attributes"] == {"centre": "Kyoto"}


class TestLayouts:
    """Layouts that a study declares."""

    def test_a_study_declares_them_and_keeps_them(self, anywhere):
        home = make_study(anywhere, identifiers="pseudonyms", tables=[MAPPING])
        declared = anywhere.get(home).json()
        assert [table["name"] for table in declared["tables"]] == ["redcap"]
        again = {name: declared[name] for name in ("name", "identifiers", "tables")}
        assert anywhere.put(home, json=again).json()["revision"] == declared["revision"] == 0

    def test_a_layout_that_no_study_declares_is_refused(self, client, home):
        assert codes(post(client, f"{home}/tables", "a\n1\n", 422, mapping="redcap")) == [
            ("/query/mapping", "unknown_value")
        ]
        assert post(client, f"{home}/tables", "a\n1\n", 422).json()["type"] == "/problems/invalid"
        client.put(home, json={"name": "T", "identifiers": "pseudonyms", "tables": [MAPPING]})
        answer = post(client, f"{home}/tables", "a\n1\n", 422, mapping="other")
        assert answer.json()["errors"][0]["accepts"] == {"one_of": ["redcap"]}

    @pytest.mark.parametrize(
        ("changed", "place"),
        [
            ({"parts": [{"kind": "labs", "columns": {"a": "time"}}]}, "/tables/0/parts/0"),
            ({"parts": [{"kind": "scans", "columns": {"a": "time"}}]}, "/tables/0/parts/0/kind"),
            ({"dates": "today"}, "/tables/0/dates"),
            ({"wide": True}, "/tables/0"),
        ],
    )
    def test_a_fault_of_a_layout_has_its_place_and_what_is_accepted(self, client, home, changed, place):
        answer = client.put(home, json={"name": "T", "tables": [MAPPING | changed]})
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert (error["pointer"], bool(error["accepts"])) == (place, True)
        twice = client.put(home, json={"name": "T", "tables": [MAPPING, MAPPING]})
        assert codes(twice) == [("/tables", "contradiction")]


def test_a_rehearsal_answers_the_same_and_stores_nothing(client, home):
    table = "patient,term,onset\nP01,headache,2005-04\nP02,rash,soon\n"
    rehearsed = post(client, f"{home}/tables/adverse-events", table, rehearse="true").json()
    assert client.get(f"{home}/patients").json()["items"] == []
    assert rehearsed.pop("proposals") == []
    assert post(client, f"{home}/tables/adverse-events", table).json() == rehearsed


def test_numbers_of_a_hospital_are_in_no_answer(migrated_file, tmp_path):
    url = f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'x.db')}"
    table = "patient,time,product,id\nMRN-4711,2005-04-11,IVIG,bag-4711\nMRN-4712,x,IVIG,\n"
    with TestClient(create_app(Settings(database_url=url, pseudonym_secret="x" * 32)), base_url=BASE) as client:
        answer = post(client, f"{make_study(client)}/tables/infusions", table)
    said = re.sub(r"urn:uuid:[0-9a-f-]{36}", "", answer.text)  # an occurrence may have any digits
    assert "4711" not in said
    assert "4712" not in said
    assert all(item["patient"].startswith("s-") for item in answer.json()["items"])


def blocks(language: str) -> list[str]:
    """What the page of tables shows in this language, below the tables of results."""
    page = (
        (Path(__file__).parents[2] / "docs" / "csv.md").read_text(encoding="utf-8").split("# Tables of every kind")[1]
    )
    return [part.partition("```")[0] for part in page.split(f"```{language}\n")[1:]]


def test_the_page_shows_what_is_answered(client, home):
    table = next(block for block in blocks("") if block.startswith("Patient,drug"))
    answer, declared = blocks("json")
    address = f"{home}/tables/medications"
    assert post(client, address, table, dates="DD.MM.YYYY").json() == json.loads(answer)
    made = client.put("/v1/studies/ward", json=json.loads(declared))
    assert made.status_code == 201, made.text
    export = "record_id,redcap_repeat_instrument,sex,dx,blood_time,ck,ck_uln,ldh,ivig_date,ivig_dose\nP01,,1,2,,,,,,\n"
    stored = post(client, "/v1/studies/ward/tables", export, mapping="redcap").json()
    assert stored["facts"]["kept"] == 2
