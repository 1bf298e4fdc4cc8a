"""`rehearse=true`: each write answers as it would, and stores nothing."""

import io
import json
import re
import shutil
from contextlib import AsyncExitStack
from functools import cache
from typing import ClassVar

import anyio
import pytest
from openpyxl import Workbook
from sqlalchemy import make_url, select

from app.http.dependencies import Writing
from app.main import create_app
from app.protocol.presets import RELATIVE_20
from app.settings import Settings
from app.store.tables import metadata
from tests.api.conftest import BASE
from tests.documented import Documented, description
from tests.postgres import fresh_database
from tests.tables import with_tables

NATIVE = {"patient": {"id": "P1"}, "labs": [
    {"code": "CK", "time": "2020-01-02T10:00:00+09:00", "value": 500, "unit": "U/L", "id": "7", "source": "A"},
]}  # fmt: skip
OBSERVATION = {
    "resourceType": "Observation", "status": "final", "identifier": [{"system": "A", "value": "8"}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]}, "subject": {"reference": "Patient/P1"},
    "effectiveDateTime": "2020-01-03T10:00:00+09:00",
    "valueQuantity": {"value": 501, "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"},
}  # fmt: skip
MESSAGE = (
    "MSH|^~\\&|LAB|A|MYO|MYO|20240502080000+0900||ORU^R01|1|P|2.5.1\rPID|1||P1^^^H\r"
    "OBR|1||78^LAB-A|CK|||20200104100000+0900\rOBX|1|NM|2157-6^CK^LN||502|U/L|30-170||||F\r"
)
TABLE = "patient,time,code,value,unit\nP1,2020-01-05,CK,503,U/L\n"
BUNDLE = {
    "resourceType": "Bundle", "type": "batch",
    "entry": [{"resource": OBSERVATION, "request": {"method": "POST", "url": "Observation"}}],
}  # fmt: skip
NAMED = {**OBSERVATION, "id": "mine"}
WRITES = {
    "events": ("POST", "/v1/studies/trial/patients/P1/events", json.dumps(NATIVE), "application/json"),
    "put": ("PUT", "/v1/studies/trial/patients/P1", json.dumps(NATIVE), "application/json"),
    "timelines": ("POST", "/v1/studies/trial/timelines", json.dumps([NATIVE]), "application/json"),
    "stream": ("POST", "/v1/studies/trial/timelines", json.dumps(NATIVE) + "\n", "application/x-ndjson"),
    "csv": ("POST", "/v1/studies/trial/labs", TABLE, "text/csv"),
    "hl7v2": ("POST", "/v1/studies/trial/hl7v2", MESSAGE, "application/hl7-v2"),
    "bundle": ("POST", "/fhir/trial", json.dumps(BUNDLE), "application/fhir+json"),
    "create": ("POST", "/fhir/trial/Observation", json.dumps(OBSERVATION), "application/fhir+json"),
    "update": ("PUT", "/fhir/trial/Observation/mine", json.dumps(NAMED), "application/fhir+json"),
}


DECLARED = {"name": "Trial", "protocol": "seed-2008", "identifiers": "pseudonyms"}


@pytest.fixture
def trial(anywhere):
    anywhere.put("/v1/studies/trial", json=DECLARED)
    return anywhere


def ask(client, write, *, rehearse):
    method, path, body, kind = WRITES[write]
    params = {"rehearse": "true"} if rehearse else None
    return client.request(method, path, content=body, headers={"Content-Type": kind}, params=params)


@pytest.mark.parametrize("write", WRITES)
def test_a_rehearsed_write_answers_as_the_write_itself_and_stores_nothing(trial, write):
    rehearsed = ask(trial, write, rehearse=True)
    study = trial.get("/v1/studies/trial").json()
    assert (study["revision"], study["patients"]) == (0, 0)
    written = ask(trial, write, rehearse=False)
    assert rehearsed.status_code == written.status_code
    assert trial.get("/v1/studies/trial").json()["patients"] == 1
    if write in {"events", "put", "timelines", "csv"}:
        assert rehearsed.json() == written.json() | {"proposals": []}


@pytest.mark.parametrize("write", [write for write in WRITES if write != "put"])
def test_a_rehearsal_after_the_write_says_that_all_of_it_stands(trial, write):
    ask(trial, write, rehearse=False)
    before = trial.get("/v1/studies/trial").json()
    answer = ask(trial, write, rehearse=True)
    assert answer.status_code == 200
    assert "created" not in answer.text
    assert trial.get("/v1/studies/trial").json() == before


def test_later_items_of_a_rehearsal_see_the_earlier_ones(trial):
    corrected = json.loads(json.dumps(NATIVE))
    corrected["labs"][0] |= {"value": 600, "version": 2}
    answer = trial.post("/v1/studies/trial/timelines?rehearse=true", json=[NATIVE, corrected, NATIVE])
    assert [item["status"] for item in answer.json()["items"]] == ["created", "changed", "stale"]


def test_a_withdrawal_is_rehearsed(trial):
    ask(trial, "update", rehearse=False)
    answer = trial.delete("/fhir/trial/Observation/mine?rehearse=true")
    assert (answer.status_code, answer.json()["resourceType"]) == (200, "OperationOutcome")
    assert answer.json()["extension"][0]["extension"][0] == {"url": "kept", "valueInteger": 1}
    assert trial.get("/fhir/trial/Observation/mine").json()["status"] == "final"


def test_a_study_and_a_protocol_are_rehearsed(trial):
    changed = {"name": "Other", "protocol": "relative-20"}
    answer = trial.put("/v1/studies/trial?rehearse=true", json=changed)
    assert (answer.status_code, answer.json()["name"]) == (200, "Other")
    assert trial.get("/v1/studies/trial").json()["name"] == "Trial"
    assert trial.put("/v1/studies/new?rehearse=true", json=changed).status_code == 201
    assert trial.get("/v1/studies/new").status_code == 404


def test_a_refusal_is_the_same_in_a_rehearsal(trial):
    for rehearse in ("true", "false"):
        answer = trial.post(f"/v1/studies/none/timelines?rehearse={rehearse}", json=[NATIVE])
        assert answer.status_code == 404
    assert trial.post("/v1/studies/trial/timelines?rehearse=yes", json=[NATIVE]).status_code == 422


def test_a_rehearsal_proposes_what_the_study_could_declare(trial):
    table = "patient,time,code,value,unit,code_system,code_text\nP1,2020-01-05,CKN,503,U/L,L,Creatine kinase\n"
    table += "P1,2020-01-05,CK,503,U\\L,,\n"
    headers = {"Content-Type": "text/csv"}
    answer = trial.post("/v1/studies/trial/labs?rehearse=true", content=table, headers=headers)
    proposed = {each["declaration"]: each["value"] for each in answer.json()["proposals"]}
    assert proposed["local_codes"] == {"L|CKN": "CK"}
    assert trial.get("/v1/studies/trial/intake").json() == {"items": [], "proposals": []}


def test_the_last_line_of_a_rehearsed_stream_has_the_proposals(trial):
    method, path, body, kind = WRITES["stream"]
    answer = trial.request(method, f"{path}?rehearse=true", content=body, headers={"Content-Type": kind})
    assert json.loads(answer.text.splitlines()[-1])["proposals"] == []
    assert "proposals" not in trial.request(method, path, content=body, headers={"Content-Type": kind}).text


FHIR = {"Content-Type": "application/fhir+json"}
HL7 = {"Content-Type": "application/hl7-v2"}
CKN = {"declaration": "local_codes", "value": {"L|CKN": "CK"}, "count": 1}
UNIT = {"declaration": "unit_aliases", "value": {"E/L": "U/L"}, "count": 1}
UNKNOWN_CODE = {**OBSERVATION, "code": {"coding": [{"system": "L", "code": "CKN", "display": "Creatine kinase"}]}}
UNKNOWN_UNIT = {**OBSERVATION, "valueQuantity": {"value": 501, "unit": "E/L"}}


def bundle(kind, *resources):
    entries = [{"resource": each, "request": {"method": "POST", "url": "Observation"}} for each in resources]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def proposed(document):
    """The proposals anywhere in an answer of FHIR."""
    if isinstance(document, list):
        return [each for part in document for each in proposed(part)]
    if not isinstance(document, dict):
        return []
    found = [each for part in document.values() for each in proposed(part)]
    if document.get("url") == "urn:myoresponse:extension:proposal":
        found.append(json.loads(document["valueString"]))
    return found


COLLECTION = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": UNKNOWN_CODE}]}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "wanted"),
    [
        ("POST", "/Observation", UNKNOWN_CODE, 200, [CKN]),
        ("POST", "/Observation", UNKNOWN_UNIT, 422, [UNIT]),
        ("PUT", "/Observation/mine", UNKNOWN_UNIT | {"id": "mine"}, 422, [UNIT]),
        ("POST", "", bundle("batch", UNKNOWN_CODE), 422, [CKN]),
        ("POST", "", bundle("batch", OBSERVATION, UNKNOWN_CODE, UNKNOWN_UNIT), 200, [CKN, UNIT]),
        ("POST", "", bundle("batch", UNKNOWN_UNIT), 422, [UNIT]),
        ("POST", "", bundle("transaction", OBSERVATION, UNKNOWN_CODE), 200, [CKN]),
        ("POST", "", bundle("transaction", OBSERVATION, UNKNOWN_UNIT), 422, [UNIT]),
        ("POST", "", COLLECTION, 200, [CKN]),
        ("POST", "/Observation", OBSERVATION, 201, []),
    ],
)  # fmt: skip
def test_a_rehearsal_by_fhir_proposes_what_would_let_more_count(trial, method, path, body, status, wanted):
    answer = trial.request(method, f"/fhir/trial{path}?rehearse=true", json=body, headers=FHIR)
    assert (answer.status_code, proposed(answer.json())) == (status, wanted)
    assert proposed(trial.request(method, f"/fhir/trial{path}", json=body, headers=FHIR).json()) == []


def test_a_declaration_that_a_rehearsal_proposes_lets_the_same_write_count(trial):
    body = bundle("batch", UNKNOWN_CODE, {**UNKNOWN_UNIT, "identifier": [{"system": "A", "value": "9"}]})
    answer = trial.post("/fhir/trial?rehearse=true", json=body, headers=FHIR)
    declared = {each["declaration"]: each["value"] for each in proposed(answer.json())}
    study = {"name": "Trial", "protocol": "seed-2008", "identifiers": "pseudonyms"} | declared
    assert trial.put("/v1/studies/trial", json=study).status_code == 200
    entries = trial.post("/fhir/trial?rehearse=true", json=body, headers=FHIR).json()["entry"]
    assert [each["response"]["status"] for each in entries] == ["201 Created"] * 2


def test_a_resource_that_is_kept_has_the_proposals_in_its_tags_and_a_rehearsal_always_has_a_body(trial):
    body = {**OBSERVATION, "subject": {"identifier": {"system": "urn:hospital", "value": "P1"}}}
    wanted = {"declaration": "authorities", "value": ["urn:hospital"], "count": 1}
    answer = trial.post("/fhir/trial/Observation?rehearse=true", json=body, headers=FHIR).json()
    tags = {tag["system"]: tag for tag in answer["meta"]["tag"]}
    assert tags["urn:myoresponse:declarations"]["code"] == "authorities"
    assert proposed(answer) == [wanted]
    least = FHIR | {"Prefer": "return=minimal"}
    answer = trial.post("/fhir/trial/Observation?rehearse=true", json=body, headers=least)
    assert (answer.status_code, proposed(answer.json())) == (201, [wanted])
    assert trial.post("/fhir/trial/Observation", json=body, headers=least).content == b""


def message(*results, version="2.5.1", mode="", charset=""):
    """A message with these results, each a code and a unit."""
    lines = [
        f"MSH|^~\\&|LAB|A|MYO|MYO|20240502080000+0900||ORU^R01|1|P|{version}|||{mode or '|'}||{charset}",
        "PID|1||P1", "OBR|1||78^LAB-A|CK|||20200104100000+0900",
        *[f"OBX|{i}|NM|{code}||502|{unit}|30-170||||F" for i, (code, unit) in enumerate(results, 1)],
    ]  # fmt: skip
    return "".join(f"{line}\r" for line in lines)


GOOD, LOCAL, ODD = ("2157-6^CK^LN", "U/L"), ("CKN^Creatine kinase^L", "U/L"), ("2532-0^LDH^LN", "E/L")


def rehearsed(client, content, status=200):
    """The segments of the acknowledgement of a rehearsal."""
    answer = client.post("/v1/studies/trial/hl7v2?rehearse=true", content=content, headers=HL7)
    assert answer.status_code == status
    return [segment.split("|") for segment in answer.text.split("\r") if segment]


def proposals_of(segments):
    """The proposals in ERR: each in ERR-6 by its name, in ERR-7 as JSON."""
    found = [fields for fields in segments if fields[0] == "ERR" and fields[5] == "proposal"]
    assert all(fields[4] == "I" and fields[6] in fields[7] and fields[6] in fields[8] for fields in found)
    return [json.loads(fields[7].replace("\\F\\", "|")) for fields in found]


@pytest.mark.parametrize(
    ("sent", "status", "wanted"),
    [
        (message(GOOD), 200, []),
        (message(GOOD, LOCAL, ODD), 200, [CKN, UNIT]),
        (message(LOCAL), 200, [CKN]),
        (message(ODD), 422, [UNIT]),
        (message(GOOD, charset="LATIN9"), 422,
         [{"declaration": "charsets", "value": {"LATIN9": "ISO-8859-15"}, "count": 1}]),
    ],
)  # fmt: skip
def test_a_rehearsed_message_is_acknowledged_with_what_the_study_could_declare(trial, sent, status, wanted):
    assert proposals_of(rehearsed(trial, sent, status)) == wanted
    assert "|proposal|" not in trial.post("/v1/studies/trial/hl7v2", content=sent, headers=HL7).text


def test_before_version_2_5_msa_3_names_what_the_study_could_declare(trial):
    [_, short] = rehearsed(trial, message(LOCAL, version="2.4"))
    assert short[3] == "not ours 1; declare local_codes L\\F\\CKN=CK"
    [_, longer] = rehearsed(trial, message(GOOD, LOCAL, ODD, version="2.3.1"))
    assert longer[3] == "kept 1, set aside 1, not ours 1; declare local_codes, unit_aliases"
    [_, refused, _] = rehearsed(trial, message(ODD, version="2.3"), 422)
    assert refused[3] == "refused 1; declare unit_aliases E/L=U/L"


def test_each_message_of_a_rehearsed_batch_has_its_own_proposals(trial):
    sent = "BHS|^~\\&\r" + message(GOOD, LOCAL) + message(GOOD) + message(GOOD, LOCAL, ODD) + "BTS|3\r"
    acknowledged, each = rehearsed(trial, sent), []
    for fields in acknowledged:
        if fields[0] == "MSA":
            each.append([])
        elif fields[0] == "ERR":
            each[-1].append(fields)
    assert [proposals_of(segments) for segments in each] == [[CKN], [], [CKN, UNIT]]


def test_a_rehearsal_is_acknowledged_also_to_a_sender_who_wants_no_acknowledgement(trial):
    silent = message(GOOD, LOCAL, mode="NE|NE")
    segments = rehearsed(trial, silent)
    assert segments[1][:2] == ["MSA", "AA"]
    assert proposals_of(segments) == [CKN]
    assert trial.post("/v1/studies/trial/hl7v2", content=silent, headers=HL7).status_code == 204


def test_the_refusal_of_a_rehearsal_has_the_proposals(trial):
    table = "patient,time,code,value,unit\nP1,2020-01-05T08:00,CK,503,U/L\n"
    answer = trial.post(
        "/v1/studies/trial/labs?rehearse=true&atomic=true", content=table, headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 422
    assert answer.json()["proposals"] == [{"declaration": "time_zone", "value": None, "count": 1}]
    answer = trial.post("/v1/studies/trial/labs?atomic=true", content=table, headers={"Content-Type": "text/csv"})
    assert "proposals" not in answer.json()


def test_no_zone_is_proposed_for_native_json_whose_times_need_an_offset_in_every_study(trial):
    bare = {"patient": {"id": "P1"}, "labs": [NATIVE["labs"][0] | {"time": "2020-01-02T10:00:00"}]}
    answer = trial.post("/v1/studies/trial/timelines?rehearse=true", json=[bare])
    assert (answer.status_code, answer.json()["proposals"]) == (422, [])


def test_an_erasure_is_rehearsed_and_says_what_would_go(trial):
    ask(trial, "events", rehearse=False)
    trial.post("/v1/studies/trial/hl7v2", content=message(GOOD, ODD), headers=HL7)
    trial.post("/v1/studies/trial/patients/P2/events", json={"patient": {"id": "P2", "merged_into": "P3"}})
    trial.post("/v1/studies/trial/patients/P3/events", json={"patient": {"id": "P3"}})
    home = "/v1/studies/trial/patients"
    answer = trial.delete(f"{home}/P1?erase=true&rehearse=true")
    assert (answer.status_code, answer.json()) == (
        200, {"patient": "P1", "revision": 5, "first_revision": 1, "facts": 2, "set_aside": 1},
    )  # fmt: skip
    tag = trial.get(f"{home}/P1").headers["ETag"]
    assert trial.delete(f"{home}/P1?erase=true&rehearse=true", headers={"If-Match": tag}).status_code == 200
    assert trial.delete(f"{home}/P1?erase=true&rehearse=true", headers={"If-Match": '"old"'}).status_code == 412
    assert trial.delete(f"{home}/P3?erase=true&rehearse=true").status_code == 409
    assert trial.delete(f"{home}/P9?erase=true&rehearse=true").status_code == 404
    assert trial.get(f"{home}/P1").status_code == 200
    assert trial.delete(f"{home}/P1?erase=true").status_code == 204
    assert trial.get("/v1/studies/trial").json()["revision"] == 5
    assert trial.delete(f"{home}/P1?erase=true&rehearse=true").status_code == 410


def test_a_dismissal_is_rehearsed(trial):
    trial.post("/v1/studies/trial/hl7v2", content=message(GOOD, ODD, ("1920-8^AST^LN", "E/L")), headers=HL7)
    path = "/v1/studies/trial/set-aside/1/dismissal"
    answer = trial.post(f"{path}?rehearse=true", json={"reason": "duplicate"})
    assert answer.json() == {"item": 1, "status": "dismissed", "revision": 2}
    assert [item["item"] for item in trial.get("/v1/studies/trial/set-aside").json()["items"]] == [1, 2]
    assert trial.post(path, json={"reason": "duplicate"}).json() == answer.json()
    assert trial.post(f"{path}?rehearse=true", json={"reason": "duplicate"}).json()["status"] == "unchanged"
    assert trial.post(f"{path}?rehearse=true", json={"reason": "not_of_study"}).status_code == 409
    assert trial.post(f"{path.replace('/1/', '/3/')}?rehearse=true", json={"reason": "duplicate"}).status_code == 404


def subject(kind, name, **content):
    return {"resourceType": kind, "id": name, "subject": {"reference": "Patient/P1"}, **content}


INFUSION = subject(
    "MedicationAdministration", "drip", status="completed", effectiveDateTime="2020-01-06",
    medicationCodeableConcept={"coding": [{"system": "http://www.whocc.no/atc", "code": "J06BA02"}]},
)  # fmt: skip
TAKEN = subject(
    "MedicationStatement", "pills", status="active", effectivePeriod={"start": "2020-01-06"},
    medicationCodeableConcept={"coding": [{"system": "http://www.whocc.no/atc", "code": "H02AB06"}]},
)  # fmt: skip
ORDERED = subject(
    "MedicationRequest", "slip", status="active", intent="order", authoredOn="2020-01-06",
    medicationCodeableConcept={"coding": [{"system": "http://www.whocc.no/atc", "code": "H02AB06"}]},
)  # fmt: skip
EVENT = subject("AdverseEvent", "ache", actuality="actual", event={"text": "headache"}, date="2020-01-07")
PATIENT = {"resourceType": "Patient", "id": "P1", "identifier": [{"value": "P1"}], "gender": "female"}
STORED = {
    "Observation": NAMED, "MedicationAdministration": INFUSION, "MedicationStatement": TAKEN,
    "MedicationRequest": ORDERED, "AdverseEvent": EVENT,
}  # fmt: skip
NEW = {
    "Patient": PATIENT | {"gender": "male"},
    "Observation": NAMED | {"valueQuantity": OBSERVATION["valueQuantity"] | {"value": 777}, "status": "corrected"},
    "MedicationAdministration": INFUSION | {"dosage": {"dose": {"value": 20, "unit": "g"}}},
    "MedicationStatement": TAKEN | {"effectivePeriod": {"start": "2020-01-06", "end": "2020-02-06"}},
    "MedicationRequest": ORDERED | {"dispenseRequest": {"validityPeriod": {"end": "2020-02-06"}}},
    "AdverseEvent": EVENT | {"seriousness": {"coding": [{"code": "serious"}]}},
}
REPORT = {
    "resourceType": "DiagnosticReport", "status": "final", "code": {"text": "panel"},
    "subject": {"reference": "Patient/P1"}, "result": [{"reference": "#o1"}],
    "contained": [{**OBSERVATION, "id": "o1", "identifier": [{"system": "A", "value": "90"}]}],
}  # fmt: skip
CREATED = {
    kind: {name: value for name, value in resource.items() if name != "id"}
    | ({"identifier": [{"value": "P9"}]} if kind == "Patient" else {"identifier": {"system": "A", "value": "new"}})
    | ({"identifier": [{"system": "A", "value": "new"}]} if kind not in {"Patient", "AdverseEvent"} else {})
    for kind, resource in NEW.items()
}


def workbook():
    """The table as a sheet."""
    made, file = Workbook(), io.BytesIO()
    made.active.title = "labs"
    for line in TABLE.splitlines():
        made.active.append([int(cell) if cell.isdecimal() else cell for cell in line.split(",")])
    made.save(file)
    return file.getvalue()


SENT = {
    "putStudy": {"name": "Other", "protocol": "relative-20", "identifiers": "pseudonyms"},
    "putStudyProtocol": RELATIVE_20.model_dump(mode="json"),
    "putTimeline": {"patient": {"id": "P1", "sex": "male"}},
    "postEvents": NATIVE,
    "postTimelines": [NATIVE],
    "postLabs": TABLE,
    "postTable": TABLE,
    "postTables": workbook(),
    "fhirCreateDiagnosticReport": REPORT,
    "dismissSetAside": {"reason": "duplicate"},
    "decideFacts": {"decision": "same", "reason": "One."},
    "postHl7v2": MESSAGE,
    "fhirTransaction": bundle("transaction", {**OBSERVATION, "identifier": [{"system": "A", "value": "80"}]}),
    **{f"fhirUpdate{kind}": resource for kind, resource in NEW.items()},
    **{f"fhirCreate{kind}": resource for kind, resource in CREATED.items()},
    **{f"fhirUpdate{kind}ByIdentifier": resource for kind, resource in CREATED.items()},
}  # fmt: skip
"""What is sent to each operation that writes; to one that is not here, an empty object."""
REHEARSED = (*SENT, "erasePatient", *[f"fhirWithdraw{kind}" for kind in STORED])
"""Every operation that writes; a test compares them with the API description."""


@cache
def operations():
    """The operations that are not reads, by name: method, path and description."""
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, operations in description()["paths"].items()
        for method, operation in operations.items()
        if method not in {"get", "head", "options"}
    }


@pytest.fixture(scope="module")
def filled_folder(tmp_path_factory):
    """The files of a study with something of each kind, on SQLite."""
    folder = tmp_path_factory.mktemp("filled")
    fill_all(with_tables(f"sqlite:///{folder / 'x.db'}"), folder)
    return folder


@pytest.fixture(scope="module")
def filled_database(postgres_server_url, migrated_database, tmp_path_factory):
    """The same on PostgreSQL: the name of the database to be copied, and the folder of its secret file and heads."""
    folder = tmp_path_factory.mktemp("filled")
    with fresh_database(postgres_server_url, template=migrated_database) as url:
        fill_all(url, folder)
        yield str(make_url(url).database), folder


def fill_all(url, folder):
    """Make a study with something of each kind, so that each write has something to change."""
    files = (
        {}
        if url.startswith("sqlite")
        else {f"{kind}_file": folder / f"myoresponse.{kind}" for kind in ("secret", "heads")}
    )
    with Documented(create_app(Settings(database_url=url, **files)), base_url=BASE) as client:
        client.put("/v1/studies/trial", json=DECLARED)
        client.post("/v1/studies/trial/hl7v2", content=message(GOOD, ODD), headers=HL7)
        for kind, resource in STORED.items():
            assert client.put(f"/fhir/trial/{kind}/{resource['id']}", json=resource, headers=FHIR).status_code == 201
        again = {"time": "2020-01-06", "product": "IVIG", "id": "again", "source": "A"}
        client.post("/v1/studies/trial/timelines", json=[{"patient": {"id": "P1"}, "infusions": [again]}])


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def filled(request, serve, tmp_path, monkeypatch):
    """A service on a copy of that study: to fill it anew for each write took longer than the writes."""
    if request.param == "sqlite":
        shutil.copytree(request.getfixturevalue("filled_folder"), tmp_path, dirs_exist_ok=True)
        yield serve(f"sqlite:///{tmp_path / 'x.db'}")
        return
    name, folder = request.getfixturevalue("filled_database")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with fresh_database(request.getfixturevalue("postgres_server_url"), template=name) as url:
        yield serve(url)


def pair_of(client):
    """The name of the pair on the worklist."""
    items = client.get("/v1/studies/trial/set-aside").json()["items"]
    return next((item["pair"]["decide"].rpartition("/")[2] for item in items if "pair" in item), "")


def everything(client):
    """All rows of all tables but the audit, which has a row of each request."""
    database = client.app_state["app_state"].database
    database.settle(10)
    with database.reading() as connection:
        tables = [table for table in metadata.sorted_tables if table.name != "audit"]
        return {table.name: sorted(map(repr, connection.execute(select(table)))) for table in tables}


def operate(client, name, *, rehearse):
    """Ask for an operation of the API description."""
    method, path, operation = operations()[name]
    kind = re.sub(r"^.*/fhir/\{study\}/(\w+).*$", r"\1", path)
    names = {
        "study": "trial",
        "patient": "P1",
        "item": "1",
        "kind": "labs",
        "type": "Observation",
        "id": NEW.get(kind, {}).get("id", ""),
    }
    names["pair"] = pair_of(client) if "{pair}" in path else ""
    params = {"erase": "true"} if name == "erasePatient" else {}
    headers = {"If-Match": client.get("/v1/studies/trial/patients/P1").headers["ETag"]} if name == "putTimeline" else {}
    if "requestBody" in operation:
        headers["Content-Type"] = next(iter(operation["requestBody"]["content"]))
    body = SENT.get(name, {})
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    if name.endswith("ByIdentifier"):
        params["identifier"] = "|P9" if kind == "Patient" else "A|new"
    if rehearse:
        params["rehearse"] = "true"
    return client.request(method, path.format(**names), content=content, headers=headers, params=params)


@pytest.mark.parametrize("name", REHEARSED)
def test_every_write_of_the_api_can_be_rehearsed_and_then_changes_no_row(filled, name):
    before = everything(filled)
    rehearsed = operate(filled, name, rehearse=True)
    assert rehearsed.status_code in {200, 201}
    assert rehearsed.content
    assert everything(filled) == before
    written = operate(filled, name, rehearse=False)
    assert written.status_code in {rehearsed.status_code, 204}
    assert everything(filled) != before


def test_every_operation_that_cannot_be_rehearsed_refuses_it_by_name_and_changes_no_row(filled):
    can = {"$ref": "#/components/parameters/rehearse"}
    assert {name for name, (*_, each) in operations().items() if can in each.get("parameters", ())} == {*REHEARSED}
    before = everything(filled)
    validating = {name for name in operations() if name.startswith("fhirValidate")}  # each is a rehearsal by itself
    for name in operations().keys() - {*REHEARSED} - validating:
        answer = operate(filled, name, rehearse=True)
        assert answer.status_code in {400, 422}, name
        assert "unknown_parameter" in answer.text, name
        assert everything(filled) == before, name


def test_the_copy_of_a_rehearsal_is_deleted_although_its_request_is_cancelled(trial, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folders = lambda: list(tmp_path.glob("myoresponse-rehearsed-*"))  # noqa: E731
    begin = Writing.__metadata__[0].dependency

    class Request:
        scope: ClassVar[dict[str, object]] = {}

        class state:  # noqa: N801 - as in Starlette
            app_state = trial.app_state["app_state"]

    async def cancelled():
        with anyio.CancelScope() as scope:
            try:
                async with AsyncExitStack() as ends_with_request:
                    Request.scope["fastapi_inner_astack"] = ends_with_request
                    await begin(Request, "trial", rehearse="true")
                    assert folders()
                    scope.cancel()
                    await anyio.sleep_forever()
            finally:
                left.extend(folders())

    left = []
    anyio.run(cancelled)
    assert left == []
