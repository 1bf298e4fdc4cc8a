"""A batch that reads needs the scope for it, and the audit has a row of the read."""

import time

from app.access.callers import ALL_SCOPES, Scope
from tests.api.fhir_bodies import FHIR, asks, bundle, ck, entry


def test_who_may_only_store_reads_nothing_by_a_batch(service):
    every = service.client()
    every.put("/v1/studies/trial", json={"name": "T", "protocol": "seed-2008", "identifiers": "pseudonyms"})
    sent = bundle(entry(ck(subject={"reference": "Patient/P01"})), asks("GET", "Patient/P01"), type="batch")
    for scopes, status in ((ALL_SCOPES, "200 OK"), ({Scope.INGEST}, "403 Forbidden")):
        answer = service.client(scopes).post("/fhir/trial", json=sent, headers=FHIR)
        assert answer.status_code == 200, answer.text
        assert answer.json()["entry"][1]["response"]["status"] == status
        assert ("resource" in answer.json()["entry"][1]) == (status == "200 OK")


def test_the_audit_names_whom_a_batch_has_read(service):
    every = service.client()
    every.put("/v1/studies/trial", json={"name": "T", "protocol": "seed-2008", "identifiers": "pseudonyms"})
    every.post("/fhir/trial", json=bundle(entry(ck(subject={"reference": "Patient/P01"}))), headers=FHIR)

    def rows():
        return every.get("/v1/audit?study=trial&patient=P01&limit=500").json()["items"]

    every.post("/fhir/trial", json=bundle(asks("GET", "Observation?patient=P01"), type="batch"), headers=FHIR)
    deadline = time.monotonic() + 10  # the list ends some moments ago
    while len(read := [each for each in rows() if each["operation"] == "fhirTransaction"]) < 2:
        assert time.monotonic() < deadline, read
        time.sleep(0.1)
    assert [each["patients"] for each in read] == [["P01"], ["P01"]]
