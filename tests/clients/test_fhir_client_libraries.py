"""Four client libraries of FHIR, unmodified and with an API key, do what an integration does."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from fhirclient.client import FHIRClient
from fhirclient.models.bundle import Bundle
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound
from requests.exceptions import HTTPError

from app.demo import TIMELINES
from tests.api.fhir_bodies import HOSPITAL, LAB, SECRET, asks, bundle, ck, entry, ldh, patient
from tests.api.test_server import Process, running
from tests.clients.conftest import DIRECT
from tests.clients.installing import HERE, install
from tests.tables import with_tables

pytestmark = pytest.mark.slow


class Keyed:
    """A service that asks everybody for a key, and the key."""

    def __init__(self, process: Process) -> None:
        self.port = process.port
        self.key = process.wait_for(r"KEY=(\S+)")[1]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def study(self, name: str, **declared: Any) -> str:
        """The address of the facade of a new study."""
        status, answer = self.ask("PUT", f"/v1/studies/{name}", {"name": name, "protocol": "seed-2008", **declared})
        assert status == 201, answer
        return f"http://127.0.0.1:{self.port}/fhir/{name}"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    url = with_tables(f"sqlite:///{tmp_path_factory.mktemp('fhir') / 'x.db'}")
    with running(url, PSEUDONYM_SECRET=SECRET, REQUIRE_KEYS="true", RATE="") as process:
        yield Keyed(process)


def of_fhirpy(keyed: Keyed, base: str) -> SyncFHIRClient:
    return SyncFHIRClient(base, authorization=f"Bearer {keyed.key}")


# Python


def test_fhirpy(keyed):
    client = of_fhirpy(keyed, keyed.study("fhirpy", authorities=[HOSPITAL]))
    who, is_new = client.resources("Patient").search(identifier=f"{HOSPITAL}|PY-1").update(
        client.resource("Patient", **patient("PY-1"))
    )  # fmt: skip
    assert is_new
    assert client.resources("Patient").search(identifier=f"{HOSPITAL}|PY-1").get().id == who.id
    results = client.resources("Observation")
    mine = {"subject": who.to_reference().serialize()}
    made, is_new = results.search(identifier=f"{LAB}|py-1").get_or_create(
        client.resource("Observation", **ck(number="py-1", **mine))
    )
    assert is_new
    again, is_new = results.search(identifier=f"{LAB}|py-1").get_or_create(
        client.resource("Observation", **ck(5, number="py-1", **mine))
    )
    assert (again.id, is_new, again["valueQuantity"]["value"]) == (made.id, False, 1101)
    changed, is_new = results.search(identifier=f"{LAB}|py-1").update(
        client.resource("Observation", **ck(1200, number="py-1", **mine))
    )
    assert (changed.id, is_new, changed["valueQuantity"]["value"]) == (made.id, False, 1200)
    made.refresh()
    assert made["valueQuantity"]["value"] == 1200
    made.refresh()

    for day in range(10, 31):
        at = f"2005-04-{day}T09:00:00+09:00"
        client.resource("Observation", **ck(day, number=f"day-{day}", effectiveDateTime=at, **mine)).save()
    mine_by_time = results.search(patient=who.id, category="laboratory").sort("-date").limit(4)
    assert [each["valueQuantity"]["value"] for each in mine_by_time.fetch()] == [30, 29, 28, 27]
    assert [each["valueQuantity"]["value"] for each in mine_by_time] == [*range(30, 9, -1), 1200]
    assert results.search(patient=who.id).count() == 22
    assert results.search(patient=who.id, date__ge="2005-04-20").limit(100_000).count() == 11
    part = results.search(patient=who.id).elements("status").sort("date").first()
    assert "valueQuantity" not in part

    assert client.resource("Observation", **ck(number="py-9", **mine)).is_valid()
    with pytest.raises(OperationOutcome) as invalid:
        client.resource("Observation", **ck(-1, number="py-9", **mine)).is_valid(raise_exception=True)
    assert invalid.value.resource["issue"][0]["expression"] == ["Observation.valueQuantity.value"]
    answered = client.execute(
        "", method="post", data=bundle(asks("GET", f"Observation/{made.id}"), entry(ldh(**mine)), type="batch")
    )
    assert [each["response"]["status"][:3] for each in answered["entry"]] == ["200", "201"]
    history = client.execute(f"Observation/{made.id}/_history", method="get", params={"_count": 1})
    assert (history["total"], history["entry"][0]["request"]["method"]) == (2, "PUT")
    made.delete()
    told = client.execute(f"Observation/{made.id}/_history", method="get")
    assert [each["request"]["method"] for each in told["entry"]] == ["DELETE", "PUT", "POST"]

    with pytest.raises(OperationOutcome) as refused:
        client.resource("Observation", **ck(-1, **mine)).save()
    assert refused.value.resource["issue"][0]["details"]["coding"][0]["code"] == "out_of_range"
    with pytest.raises(OperationOutcome, match="PATCH is not supported"):
        client.resource("Observation", id=made.id, status="final").save(fields=["status"])
    with pytest.raises(OperationOutcome, match="_include"):
        results.include("Observation", "subject").fetch()
    with pytest.raises(ResourceNotFound):
        client.get("Observation", "nothing")
    client.resource("Observation", **ck(1, "draw", **mine)).save()
    client.resource("Observation", **ck(2, "draw", effectiveDateTime="2005-06-01", **mine)).save()
    with pytest.raises(MultipleResourcesFound):
        results.search(identifier=f"{LAB}|draw").update(client.resource("Observation", **ck(3, "draw", **mine)))


def test_fhirclient(keyed):
    base = keyed.study("fhirclient", authorities=[HOSPITAL])
    server = FHIRClient(settings={"app_id": "test", "api_base": base}).server
    server.session.headers["Authorization"] = f"Bearer {keyed.key}"
    assert server.capabilityStatement.rest[0].resource[1].conditionalUpdate
    who = Patient(patient("CL-1")).create(server)["id"]
    made = [
        Observation(
            ck(100 + i, f"cl-{i}", subject={"reference": f"Patient/{who}"}, effectiveDateTime=f"2005-03-{10 + i}")
        ).create(server)["id"]
        for i in range(5)
    ]
    read = Observation.read(made[0], server)
    read.valueQuantity.value = 1250
    read.update(server)
    by_time = Observation.where(struct={"patient": who, "_sort": "-date", "_count": "2", "category": "laboratory"})
    assert [each.valueQuantity.value for each in by_time.perform_resources_iter(server)] == [104, 103, 102, 101, 1250]
    counted = Bundle(server.request_json(f"Observation?patient={who}&_summary=count"))
    assert counted.total == 5
    mine = {"subject": {"reference": f"{base}/Patient/{who}"}, "effectiveDateTime": "2005-03-11"}
    again = server.put_json(f"Observation?identifier={LAB}|cl-1", Observation(ck(7, "cl-1", **mine)).as_json())
    assert again.json()["id"] == made[1]
    sent = Bundle(bundle(asks("GET", f"/Patient/{who}"), entry(ldh(number="cl-9")), type="batch"))
    answered = Bundle(server.post_json("", sent.as_json()).json())
    assert [each.response.status for each in answered.entry] == ["200 OK", "201 Created"]
    assert answered.entry[0].resource.gender == "female"
    assert Observation.read(made[2], server).delete(server) is None
    told = Bundle(server.request_json(f"Observation/{made[2]}/_history?_since=2020-01-01"))
    assert [each.request.method for each in told.entry] == ["DELETE", "POST"]
    with pytest.raises(HTTPError) as refused:
        Observation(ck(-1)).create(server)
    assert refused.value.response.json()["issue"][0]["expression"] == ["Observation.valueQuantity.value"]
    with pytest.raises(FHIRNotFoundException):
        Observation.read("nothing", server)


# Node


@pytest.fixture(scope="module")
def node_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the libraries for Node, by the lock."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("There is no Node.")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", ".npmrc", "medplum.mjs", "fhir_kit.mjs"):
        shutil.copy(HERE / name, folder)
    install([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, wrong=("EINTEGRITY", "EUSAGE"))
    return folder


def answered(folder: Path, program: str, keyed: Keyed, base: str) -> dict[str, Any]:
    """What a program was answered."""
    ran = subprocess.run(
        ["node", program], cwd=folder, env=DIRECT | {"BASE": base, "KEY": keyed.key}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2_000:]
    return json.loads(ran.stdout)


def test_the_client_of_medplum(keyed, node_packages):
    said = answered(node_packages, "medplum.mjs", keyed, keyed.study("medplum", authorities=[HOSPITAL]))
    unsupported = said.pop("unsupported")
    assert said == {
        "same": True,
        "found": 1101,
        "changed": 1200,
        "upserted": 1300,
        "pages": [[1900, 1800], [1700, 1300]],
        "whole": [4],
        "latest": 1900,
        "counted": 4,
        "part": "SUBSETTED",
        "history": ["PUT", "PUT"],
        "version": 1101,
        "batch": ["200 OK", "200 OK", "201 Created", "404 Not Found"],
        "read": [True, True],
        "valid": "It would be stored as a new resource.",
        "invalid": "Observation.valueQuantity.value",
        "left": 4,
        "refused": ["Observation.valueQuantity.value"],
        "gone": "not-found",
        "patched": "PATCH is not supported. Read the resource, change it, and PUT it with If-Match.",
    }
    assert unsupported.startswith("The parameter `_include` is not supported here. Accepted: _count,")


def test_fhir_kit_client(keyed, node_packages):
    said = answered(node_packages, "fhir_kit.mjs", keyed, keyed.study("fhirkit", authorities=[HOSPITAL]))
    assert said == {
        "updates": [True, True, True, True, True, True, False, None],
        "again": 1101,
        "upserted": [True, 1200],
        "updated": "corrected",
        "outdated": [412, "conflict"],
        "transaction": ["201 Created", "201 Created", "201 Created"],
        "seen": [[1900, 1800, 1700], [1200]],
        "form": 4,
        "count": [4, None],
        "history": ["PUT", "PUT", "POST"],
        "version": 1101,
        "batch": ["200 OK", "200 OK", "204 No Content"],
        "valid": "information",
        "invalid": "error",
        "resolved": True,
        "refused": [422, "Observation.valueQuantity.value"],
        "missing": [404, "not-found"],
        "patched": [405, "not-supported"],
        "everywhere": [404, "http"],
        "compartment": [404, "http"],
        "included": [422, "http._include"],
    }


# The demonstration study

NOT_CARRIED = {"diagnosis", "weight_kg", "steroid_resistant"}
"""What FHIR has no place for here; so is the course of an infusion."""
OF_THE_STUDY = {"study", "revision", "as_of"}


def carried(timeline: dict[str, Any]) -> dict[str, Any]:
    """What FHIR carries of a timeline."""
    person = {name: value for name, value in timeline["patient"].items() if name not in NOT_CARRIED}
    infusions = [{name: value for name, value in each.items() if name != "course"} for each in timeline["infusions"]]
    return timeline | {"patient": person, "infusions": infusions}


def as_another_server_has_it(resource: dict[str, Any], base: str) -> dict[str, Any]:
    """A resource without what only this service says of it."""
    other = {name: value for name, value in resource.items() if name not in {"id", "meta", "identifier"}}
    if resource["resourceType"] == "Patient":
        return other | {"identifier": [{"system": HOSPITAL, "value": resource["id"]}]}
    if "performer" in other:
        other["performer"] = [{**each, "type": "Organization"} for each in other["performer"]]
    return other | {"subject": {"reference": f"{base}/{resource['subject']['reference']}"}}


def without_the_study(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {name: without_the_study(value) for name, value in answer.items() if name not in OF_THE_STUDY}
    return [without_the_study(each) for each in answer] if isinstance(answer, list) else answer


def test_the_demonstration_study_from_a_client_of_fhir_gives_the_same_analyses(keyed):
    source = of_fhirpy(keyed, keyed.study("native", identifiers="pseudonyms"))
    timelines = [carried(each) for each in json.loads(TIMELINES.read_bytes())]
    assert keyed.ask("POST", "/v1/studies/native/timelines", timelines)[0] == 200
    base = keyed.study("by-fhir", identifiers="pseudonyms")
    target = of_fhirpy(keyed, base)
    for kind in ("Patient", "Observation", "MedicationAdministration", "MedicationStatement", "AdverseEvent"):
        found = [each.serialize() for each in source.resources(kind).limit(70).fetch_all()]
        sent = [as_another_server_has_it(each, base) for each in found]
        assert len(sent) == source.resources(kind).count() > 0
        for first in range(0, len(sent), 400):
            entries = [
                entry(each, "PUT", f"/Patient?identifier={HOSPITAL}|{each['identifier'][0]['value']}")
                if kind == "Patient"
                else entry(each, url=f"/{kind}")
                for each in sent[first : first + 400]
            ]
            answer = target.execute("", method="post", data=bundle(*entries))
            assert {each["response"]["status"] for each in answer["entry"]} == {"201 Created"}
    for question in ("", "/steroid-sparing"):
        status, native = keyed.ask("GET", f"/v1/studies/native/analyses{question}")
        assert status == 200
        _, by_fhir = keyed.ask("GET", f"/v1/studies/by-fhir/analyses{question}")
        assert len(json.dumps(native)) > 10_000
        assert without_the_study(by_fhir) == without_the_study(native)
