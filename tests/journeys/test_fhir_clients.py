"""Programs of others use FHIR with a running service: two clients and a generator of patients."""

import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fhirclient.client import FHIRClient
from fhirclient.models.bundle import Bundle
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

from tests.api.fhir_bodies import HOSPITAL, LAB, SECRET, bundle, ck, entry, headache, infusion, ldh, patient
from tests.api.test_server import Process, running
from tests.repetition import repeats
from tests.tables import with_tables

pytestmark = pytest.mark.slow

GENERATED = repeats(2)
"""Patients. Each has the record of a long life."""
STUDIES = {
    "records": {"authorities": [HOSPITAL]},
    "pseudonyms": {"identifiers": "pseudonyms"},
    "generated": {"authorities": ["http://hospital.smarthealthit.org"]},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Process]:
    """A server process with a study for each kind of identifiers."""
    url = with_tables(f"sqlite:///{tmp_path_factory.mktemp('clients') / 'x.db'}")
    with running(url, PSEUDONYM_SECRET=SECRET) as process:
        for name, declared in STUDIES.items():
            status, _ = process.ask("PUT", f"/v1/studies/{name}", {"name": name, "protocol": "seed-2008", **declared})
            assert status == 201
        yield process


@pytest.fixture(params=["records", "pseudonyms"])
def base(request, server) -> str:
    """The address of a FHIR server, as it is given to a client."""
    return f"http://127.0.0.1:{server.port}/fhir/{request.param}"


def revision(server: Process, base: str) -> int:
    """The latest revision of the study behind an address."""
    _, body = server.ask("GET", f"/v1/studies/{base.rpartition('/')[2]}")
    return json.loads(body)["revision"]


def test_fhirpy_creates_reads_updates_searches_and_deletes(server, base):
    client = SyncFHIRClient(base, extra_headers={"Content-Type": "application/fhir+json"})
    who = client.resource("Patient", **patient("PY-1"))
    who.save()
    result = client.resource("Observation", **ck(number="py-1", subject=who.to_reference().serialize()))
    result.save()
    assert result.id
    assert client.reference("Observation", result.id).to_resource() == result
    before = revision(server, base)
    result.save()
    assert revision(server, base) == before, "what was read can be saved and changes nothing"

    result["valueQuantity"]["value"] = 1200
    result.save()
    assert client.get("Observation", result.id)["valueQuantity"]["value"] == 1200
    client.resource("Observation", **ldh(number="py-1", subject=who.to_reference().serialize())).save()
    found = client.resources("Observation").search(patient=who.id).fetch_all()
    assert sorted(each["code"]["text"] for each in found) == ["CK", "LDH"]
    coded = client.resources("Observation").search(
        patient=who.id, code="http://loinc.org|2157-6", date__ge="2005-01-01"
    )
    assert [each.id for each in coded] == [result.id]

    careful = SyncFHIRClient(base, extra_headers={"If-None-Exist": f"identifier={LAB}|py-1"})
    again = careful.resource("Observation", **ck(number="py-1", subject=who.to_reference().serialize()))
    again.save()
    assert again == result, "what is there is found, not made"
    event = client.resource("AdverseEvent", **headache("py-2", subject=who.to_reference().serialize()))
    event.save()
    event.delete()
    with pytest.raises(ResourceNotFound):
        client.get("AdverseEvent", event.id)


def test_fhirpy_gets_the_faults(base):
    client = SyncFHIRClient(base)
    with pytest.raises(OperationOutcome) as refused:
        client.resource("Observation", **ck(-1)).save()
    [issue] = refused.value.resource["issue"]
    assert issue["expression"] == ["Observation.valueQuantity.value"]


def test_fhirpy_sends_a_transaction(base):
    client = SyncFHIRClient(base)
    sent = bundle(entry(patient("PY-9")), entry(infusion("py-9")))
    answered = client.execute("", method="post", data=sent)
    assert [each["response"]["status"][:3] for each in answered["entry"]] == ["201", "201"]


def _observation(**more: Any) -> Observation:
    return Observation(ck(**more))


def test_fhirclient_creates_reads_updates_and_searches(server, base):
    server_side = FHIRClient(settings={"app_id": "test", "api_base": base}).server
    person = Patient(patient("CL-1"))
    who = person.create(server_side)["id"]
    assert Patient.read(who, server_side).gender == "female"
    made = _observation(number="cl-1", subject={"reference": f"Patient/{who}"}).create(server_side)
    read = Observation.read(made["id"], server_side)
    assert read.valueQuantity.value == 1101
    before = revision(server, base)
    read.update(server_side)
    assert revision(server, base) == before
    read.valueQuantity.value = 1250
    read.update(server_side)
    search = Observation.where(struct={"patient": who, "code": "http://loinc.org|2157-6", "date": "ge2005-03-01"})
    assert [each.valueQuantity.value for each in search.perform_resources_iter(server_side)] == [1250]
    by_hand = server_side.post_json("", Bundle(bundle(entry(ldh(number="cl-2")), type="batch")).as_json())
    assert Bundle(by_hand.json()).entry[0].response.status == "201 Created"


@pytest.fixture(scope="session")
def generated(tmp_path_factory) -> list[Path]:
    """Bundles of invented patients, by a generator that needs no network; of their labs AST and ALT are kept."""
    to = tmp_path_factory.mktemp("generated")
    subprocess.run(
        [Path(sys.executable).with_name("synthea"), "-p", str(GENERATED), "-s", "2", "-r", "20200101", "-a", "70-80",
         "--threads", "1", "-o", str(to)],
        cwd=to, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return sorted((to / "fhir").glob("*.json"))


def test_generated_patients_load_and_what_is_not_kept_is_counted(server, generated):
    assert len(generated) == GENERATED
    base = f"http://127.0.0.1:{server.port}/fhir/generated"
    client = SyncFHIRClient(base)
    stored = 0
    for file in generated:
        sent = json.loads(file.read_text(encoding="utf-8"))
        kept = [each for each in sent["entry"] if _is_kept(each["resource"])]
        answered = client.execute("", method="post", data=sent)
        assert Counter(each["response"]["status"] for each in answered["entry"]) == {
            "201 Created": len(kept),
            "200 OK": len(sent["entry"]) - len(kept),
        }
        texts = [
            issue["details"]["text"]
            for each in answered["entry"]
            for issue in each["response"].get("outcome", {"issue": []})["issue"]
        ]
        skipped = len(sent["entry"]) - len(kept)
        assert sum(f"{skipped} are not kept" in text for text in texts) == 1
        stored += len(kept)
        before = revision(server, base)
        client.execute("", method="post", data=sent)
        assert revision(server, base) == before
    assert stored > 2 * GENERATED
    _, page = server.ask("GET", "/v1/studies/generated/patients")
    sections = [each["counts"] for each in json.loads(page)["items"]]
    assert sum(each["labs"] for each in sections) == stored - GENERATED


def _is_kept(resource: dict[str, Any]) -> bool:
    """Patients, and results of the enzymes in this population that are ours."""
    if resource["resourceType"] == "Patient":
        return True
    with contextlib.suppress(KeyError, IndexError):
        coded = resource["code"]["coding"][0]
        return resource["resourceType"] == "Observation" and coded["code"] in {"1920-8", "1742-6"}
    return False
