"""The worklist and the intake over HTTP: what is set aside, dismissals, what arrives, and what could be declared."""

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from app.errors import FaultCode
from app.store.ledger import submit
from app.timeline.receipts import Disposition, ReceiptLine, SentFact
from tests.store.posts import ck, history, now, timeline

HOME = "/v1/studies/trial"
ASIDE = f"{HOME}/set-aside"
CANARIES = ("98765.4", "Canary", "MRN-4711")


@pytest.fixture(autouse=True)
def study(client: TestClient) -> None:
    client.put(HOME, json={"name": "Trial", "protocol": "seed-2008", "identifiers": "pseudonyms"})


@pytest.fixture
def lay_aside(client: TestClient):
    """Stores results that cannot be read, each with a number."""
    database = client.app_state["app_state"].database

    def store(*numbers: str, patient: str = "P1") -> None:
        lines = [
            ReceiptLine(f"OBX[{i}]-6", Disposition.SET_ASIDE, FaultCode.UNKNOWN_UNIT,
                        sent=SentFact(f"OBX[{i}]", "labs", "CK", "A", number, None, f"{CANARIES}", "E/L"))
            for i, number in enumerate(numbers, 1)
        ]  # fmt: skip
        one = replace(history(timeline(patient)), aside=tuple(lines))
        with database.writing() as connection:
            submit(connection, "trial", [one], format="hl7v2", client=None, received_at=now(), sender="LAB|A")

    return store


def dismissed(client: TestClient, item: int, reason: str = "duplicate", **more):
    return client.post(f"{ASIDE}/{item}/dismissal", json={"reason": reason, **more})


def test_an_item_is_listed_and_a_later_result_mends_it(client, lay_aside):
    lay_aside("k1", "k2")
    items = client.get(ASIDE).json()["items"]
    assert items[0] | {"received_at": None} == {
        "item": 1, "patient": "P1", "code": "CK", "reason": "unknown_unit", "place": "OBX[1]-6", "sender": "LAB|A",
        "format": "hl7v2", "statement": None, "revision": 1, "received_at": None,
    }  # fmt: skip
    answer = client.post(f"{HOME}/patients/P1/events", json=timeline("P1", ck("k2")))
    assert answer.json()["revision"] == 2
    assert [item["item"] for item in client.get(ASIDE).json()["items"]] == [1]
    assert [item["item"] for item in client.get(ASIDE, params={"revision": 1}).json()["items"]] == [1, 2]


def test_the_worklist_has_pages_of_one_revision(client, lay_aside):
    lay_aside(*[f"k{i}" for i in range(5)])
    first = client.get(ASIDE, params={"limit": 2}).json()
    lay_aside("k9")
    dismissed(client, 4)
    second = client.get(first["next"]).json()
    third = client.get(second["next"]).json()
    pages = [[item["item"] for item in page["items"]] for page in (first, second, third)]
    assert (pages, third["next"]) == ([[1, 2], [3, 4], [5]], None)
    assert client.get(ASIDE, params={"cursor": "eA"}).status_code == 400
    assert client.get("/v1/studies/nobody/set-aside").status_code == 404


def test_a_dismissal_is_a_revision_and_the_same_again_is_unchanged(client, lay_aside):
    lay_aside("k1")
    assert dismissed(client, 1).json() == {"item": 1, "status": "dismissed", "revision": 2}
    assert dismissed(client, 1).json() == {"item": 1, "status": "unchanged", "revision": 2}
    assert client.get(f"{HOME}/revisions").json()["items"][-1]["format"] == "dismissal"
    another = dismissed(client, 1, "cannot_be_mended")
    assert (another.status_code, another.json()["type"].rpartition("/")[2]) == (409, "conflict")
    assert client.get(ASIDE).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({}, ("/reason", "missing")),
        ({"reason": "because"}, ("/reason", "unknown_value")),
        ({"reason": "other"}, ("/comment", "missing")),
        ({"reason": "other", "comment": ""}, ("/comment", "too_short")),
        ({"reason": "duplicate", "patient": "P1"}, ("", "unknown_field")),
    ],
)
def test_a_dismissal_needs_a_reason(client, lay_aside, body, fault):
    lay_aside("k1")
    answer = client.post(f"{ASIDE}/1/dismissal", json=body)
    assert answer.status_code == 422
    assert fault in [(each["pointer"], each["code"]) for each in answer.json()["errors"]]
    assert len(client.get(ASIDE).json()["items"]) == 1


def test_an_item_that_never_was_cannot_be_dismissed(client):
    assert dismissed(client, 1).status_code == 404
    assert dismissed(client, 0).status_code == 422


def test_the_erasure_of_a_person_takes_the_items_away(client, lay_aside):
    lay_aside("k1")
    lay_aside("k2", patient="P2")
    assert client.delete(f"{HOME}/patients/P1", params={"erase": "true"}).status_code == 204
    assert [item["patient"] for item in client.get(ASIDE).json()["items"]] == ["P2"]
    assert client.get(ASIDE, params={"revision": 1}).status_code == 410
    assert dismissed(client, 1).status_code == 410
    assert client.post(f"{HOME}/patients/P1/events", json=timeline("P1", ck("k1"))).status_code == 410


def test_the_intake_counts_what_arrives_by_sender_and_format(client):
    client.post(f"{HOME}/patients/P1/events", json=timeline("P1", ck("k1"), ck("k2", 1200, lab="B", upper_limit=170)))
    client.post(f"{HOME}/patients/P1/events", json=timeline("P1", ck("k1", unit="98765.4", status="final")))
    client.post(f"{HOME}/patients/P1/events", content=b"{", headers={"Content-Type": "application/json"})
    client.put(f"{HOME}/patients/P2", json=timeline("P2", ck("k1")))
    intake = client.get(f"{HOME}/intake").json()
    by_sender = {source["sender"]: source for source in intake["items"]}
    assert by_sender["A"]["kept"] == 2
    assert by_sender["A"]["noted"] == {"new_patient": 2, "no_upper_limit": 2}
    assert (by_sender["B"]["kept"], by_sender["B"]["format"]) == (1, "native-json")
    assert by_sender[None]["refused"]["malformed"] == 1
    assert client.get("/v1/studies/nobody/intake").status_code == 404


def test_a_refused_table_and_refused_lines_are_counted(client):
    client.post(f"{HOME}/labs", content="patient;code\n", headers={"Content-Type": "text/csv"})
    client.post(f"{HOME}/timelines", content='{"patient": 1}\n[]\n', headers={"Content-Type": "application/x-ndjson"})
    client.post(f"{HOME}/timelines", json=[{"patient": 1}])
    client.post(f"{HOME}/timelines", json=[{"patient": 1}], params={"atomic": "true"})
    refused = {source["format"]: source["refused"] for source in client.get(f"{HOME}/intake").json()["items"]}
    assert refused == {
        "csv": {"missing": 1, "unknown_column": 1},
        "native-json": {"wrong_type": 2},
        "native-ndjson": {"wrong_type": 2},
    }


def test_no_answer_repeats_what_was_sent(client, lay_aside):
    lay_aside("MRN-4711")
    for address in (ASIDE, f"{HOME}/intake", f"{HOME}/revisions"):
        text = client.get(address).text
        assert not any(canary in text for canary in CANARIES)


MSH = "MSH|^~\\&|LAB|A|MYO|TRIAL|20050317080000+0900||ORU^R01^ORU_R01|4711|P|2.5.1"
PID = "PID|1||77^^^WARD7||Canary^Mary||19530401|F"
OBR = "OBR|1||900^ELAB|CHEM^Chemistry^L|||20050316094800+0900"
CK = "OBX|{}|NM|2157-6^Creatine kinase^LN||{}|{}|30-163|H|||F"


def hl7(client: TestClient, *segments: str, sender: str = MSH) -> str:
    body = "\r".join([sender, PID, OBR, *segments]) + "\r"
    answer = client.post(f"{HOME}/hl7v2", content=body.encode(), headers={"Content-Type": "application/hl7-v2"})
    return answer.text.split("\r")[1].split("|")[1]


LDH = "OBX|1|NM|2532-0^LDH^LN||210|U/L|135-225|N|||F"


class TestHl7v2:
    """What a message sets aside is listed with its sender, and counted."""

    def test_a_result_in_an_unknown_unit_is_listed_until_the_laboratory_mends_it(self, client):
        assert hl7(client, LDH, CK.format(2, 98765.4, "furlong")) == "AA"
        [item] = client.get(ASIDE).json()["items"]
        assert (item["code"], item["reason"], item["place"]) == ("CK", "unknown_unit", "OBX[2]-6")
        assert (item["sender"], item["format"]) == ("LAB|A", "hl7v2")
        revision = client.get(HOME).json()["revision"]
        assert hl7(client, LDH, CK.format(2, 98765.4, "furlong")) == "AA"
        assert client.get(HOME).json()["revision"] == revision
        assert hl7(client, CK.format(1, 1101, "U/L")) == "AA"
        assert client.get(ASIDE).json()["items"] == []

    @pytest.mark.parametrize(
        "bad",
        [
            CK.format(2, "1,234", "U/L"),
            CK.format(2, "", "U/L"),
            "OBX|2|NM|2157-6^CK-MB^LN||12|U/L|30-163|H|||F",
            CK.format(2, 12, "ng/mL"),
        ],
    )
    def test_each_result_that_is_set_aside_is_listed(self, client, bad):
        assert hl7(client, LDH, bad) == "AA"
        assert len(client.get(ASIDE).json()["items"]) == 1
        assert hl7(client, LDH, bad) == "AA"
        assert len(client.get(ASIDE).json()["items"]) == 1

    def test_what_is_refused_is_counted_and_not_listed(self, client):
        assert hl7(client, CK.format(1, 12, "furlong")) == "AE"
        assert client.get(ASIDE).json()["items"] == []
        [source] = client.get(f"{HOME}/intake").json()["items"]
        assert (source["sender"], source["refused"]) == ("LAB|A", {"unknown_unit": 1})

    def test_the_intake_proposes_what_could_be_declared(self, client):
        local = "OBX|2|NM|CKN^Creatine kinase^L||300|U/L|30-163|H|||F"
        sodium = "OBX|3|NM|NA^Sodium^L||140|mmol/L|||||F"
        assert hl7(client, LDH, local, sodium, CK.format(4, 12, "E/L")) == "AA"
        assert hl7(client, local) == "AA"
        intake = client.get(f"{HOME}/intake").json()
        [source] = intake["items"]
        assert {(code["system"], code["code"], code["count"]) for code in source["not_ours"]} == {
            ("L", "CKN", 2), ("L", "NA", 1)
        }  # fmt: skip
        assert {each["declaration"]: each["value"] for each in intake["proposals"]} == {
            "authorities": ["WARD7"], "local_codes": {"L|CKN": "CK"}, "unit_aliases": {"E/L": "U/L"},
        }  # fmt: skip
        assert not any(canary in client.get(f"{HOME}/intake").text for canary in CANARIES)

    def test_a_character_set_that_resembles_a_known_one_is_proposed(self, client):
        assert hl7(client, LDH, sender=f"{MSH}||||||CP1252") in {"AE", "AR"}
        proposals = client.get(f"{HOME}/intake").json()["proposals"]
        assert [(each["declaration"], each["value"]) for each in proposals] == [
            ("charsets", {"CP1252": "windows-1252"})
        ]

    def test_results_of_patients_whom_a_feed_may_not_add_are_listed(self, client):
        declared = {"name": "Trial", "protocol": "seed-2008", "identifiers": "pseudonyms", "enrolled_only": True}
        client.put(HOME, json=declared)
        assert hl7(client, LDH, CK.format(2, 12, "furlong")) == "AA"
        listed = {(item["place"], item["code"], item["reason"]) for item in client.get(ASIDE).json()["items"]}
        assert listed == {
            ("OBX[1]", "LDH", "unknown_reference"), ("OBX[2]-6", "CK", "unknown_unit"),
            ("PID-7", None, "unknown_reference"), ("PID-8", None, "unknown_reference"),
        }  # fmt: skip
        assert client.get(f"{HOME}/patients").json()["items"] == []
        client.put(f"{HOME}/patients/77", json={"patient": {"id": "77"}})
        assert hl7(client, LDH, CK.format(2, 12, "U/L")) == "AA"
        assert client.get(ASIDE).json()["items"] == []


class TestTables:
    """The same of tables."""

    HEADER = "patient,code,time,value,unit,upper_limit,lab,id,code_system,code_text\n"
    GOOD = "P1,LDH,2005-03-16,210,U/L,225,B,b1,,\n"

    def post(self, client: TestClient, *rows: str):
        table = self.HEADER + self.GOOD + "".join(rows)
        return client.post(f"{HOME}/labs", content=table, headers={"Content-Type": "text/csv"}).json()

    @pytest.mark.parametrize(
        "bad",
        [
            "P1,CK,2005-03-16,98765.4,furlong,,A,a1,,\n",
            "P1,CK,2005-03-16,12O0,U/L,,A,a1,,\n",
            "P1,CK,16.3.2005,1200,U/L,,A,a1,,\n",
            "P1,CK,2005-03-16,1200,U/L,,A,#N/A,,\n",
        ],
    )
    def test_a_row_is_listed_until_its_result_is_sent_again(self, client, bad):
        self.post(client, bad)
        [item] = client.get(ASIDE).json()["items"]
        assert (item["patient"], item["code"], item["sender"], item["format"]) == ("P1", "CK", "A", "csv")
        revision = client.get(HOME).json()["revision"]
        self.post(client, bad)
        assert client.get(HOME).json()["revision"] == revision
        self.post(client, "P1,CK,2005-03-16,1200,U/L,,A,a1,,\n")
        assert client.get(ASIDE).json()["items"] == []

    def test_what_is_not_ours_is_counted_with_its_system_and_sender(self, client):
        self.post(
            client, "P1,CKN,2005-03-16,1200,U/L,,A,a1,L,Creatine kinase\n", "P1,NA,2005-03-16,140,mmol/L,,A,a2,,\n"
        )
        intake = client.get(f"{HOME}/intake").json()
        codes = {source["sender"]: source["not_ours"] for source in intake["items"]}
        assert [(each["system"], each["code"]) for each in codes["A"]] == [("L", "CKN"), (None, "NA")]
        assert [each["value"] for each in intake["proposals"]] == [{"L|CKN": "CK"}]
