"""Answers to FHIR clients: the preferred form, refusals as OperationOutcome, and no data of a person in either."""

from itertools import pairwise
from pathlib import Path

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome as SecondOpinion

from app.errors import Fault, FaultCode
from app.fhir.operation_outcome import ISSUE_TYPE_OF, refused
from app.http.problems import KINDS
from tests.api.fhir_bodies import FHIR, SECRET, Facade, ck, issues, issues_in, patient

ISSUE_TYPES = {
    "invalid", "structure", "required", "value", "invariant", "security", "login", "unknown", "expired", "forbidden",
    "suppressed", "processing", "not-supported", "duplicate", "multiple-matches", "not-found", "deleted", "too-long",
    "code-invalid", "extension", "too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store",
    "exception", "timeout", "incomplete", "throttled", "informational",
}  # fmt: skip
"""The code system `issue-type` of R4."""


@pytest.fixture
def trial(serve, sqlite_url) -> Facade:
    """A study whose identifiers are numbers of medical records."""
    return Facade(serve(sqlite_url, pseudonym_secret=SECRET))


@pytest.mark.parametrize(
    ("preference", "body"),
    [
        ("return=minimal", None),
        ("return=representation", "Observation"),
        ("respond-async, return=OperationOutcome", "OperationOutcome"),
        ("return=nonsense", "Observation"),
        ("handling=strict", "Observation"),
    ],
)
def test_the_client_says_what_it_prefers_to_read(trial, preference, body):
    answer = trial.post(ck(), Prefer=preference)
    assert answer.status_code == 201
    assert answer.headers["etag"] == 'W/"1"'
    assert (answer.json()["resourceType"] if answer.content else None) == body


@pytest.mark.parametrize(
    "media_type",
    [
        "application/fhir+json",
        "application/json",
        "application/fhir+json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/fhir+json; fhirVersion=4.0",
    ],
)
def test_json_is_read_under_its_names(trial, media_type):
    answer = trial.send("POST", "/Observation?_format=json&_pretty=true", ck(), Content_Type=media_type)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/fhir+json"


def test_every_refusal_is_an_operation_outcome(serve, sqlite_url):
    facade = Facade(serve(sqlite_url, pseudonym_secret=SECRET, max_body_bytes=5_000))
    client, base = facade.client, facade.base
    refusals = {
        400: client.post(f"{base}/Observation", content=b"{", headers=FHIR),
        403: client.post(f"{base}/Observation", content=b"{}", headers=FHIR | {"Host": "elsewhere.example"}),
        404: client.post("/fhir/another", json={"resourceType": "Bundle", "type": "batch"}, headers=FHIR),
        405: client.patch(f"{base}/Observation/x", json={}),
        413: client.post(base, content=b" " * 6_000, headers=FHIR),
        414: client.post(f"{base}?_format={'x' * 9000}", content=b"{}", headers=FHIR),
        415: client.post(base, content=b"<Bundle/>", headers={"Content-Type": "application/fhir+xml"}),
        422: client.post(f"{base}/Observation?nonsense=1", json=ck(), headers=FHIR),
    }
    for status, answer in refusals.items():
        assert answer.status_code == status
        assert issues(answer)[0][0] == "error"
        assert SecondOpinion.model_validate_json(answer.content).issue[0].code in ISSUE_TYPES
        assert answer.json()["issue"][0]["diagnostics"].startswith("urn:uuid:")
    assert client.post(f"{base}/Encounter", json={}, headers=FHIR).status_code == 404
    assert client.get("/v1/studies/another").headers["content-type"] == "application/problem+json"


def test_every_kind_of_refusal_and_every_fault_has_a_type_of_issue():
    assert set(ISSUE_TYPE_OF) == set(FaultCode)
    assert set(ISSUE_TYPE_OF.values()) <= ISSUE_TYPES
    for kind in KINDS.values():
        [(severity, code, _)] = issues_in(refused(kind()))
        assert code in ISSUE_TYPES
        assert (severity == "fatal") == (kind.status == 500)


def test_places_are_written_as_fhir_does():
    faults = [
        Fault(place, FaultCode.MISSING)
        for place in ("Observation.code", "/header/Prefer", "/query/_count", "/query", "/entry/3/resource", "")
    ]
    outcome = refused(KINDS["invalid"](faults=faults))
    assert sorted(place for _, _, place in issues_in(outcome)) == sorted(
        ["Observation.code", "http.Prefer", "http._count", "http", "entry[3].resource", ""]
    )


def test_nothing_that_names_a_person_reaches_the_file(serve, sqlite_url):
    facade = Facade(serve(sqlite_url, pseudonym_secret=SECRET))
    planted = ["Qvortrup", "MRNQ991", "ACCQ992", "1953-05-06", "079001199553", "OBSQ993", "PATQ994", "Parkvej",
               "NOTEQ995"]  # fmt: skip
    person = patient(
        "MRNQ991",
        id="PATQ994",
        name=[{"family": "Qvortrup"}],
        telecom=[{"system": "phone", "value": "079001199553"}],
        address=[{"line": ["Parkvej 3"]}],
    )
    assert facade.put(person).status_code == 201
    by_reference = {"reference": "Patient/PATQ994", "display": "Qvortrup"}
    note = [{"text": "NOTEQ995"}]
    assert facade.put(ck(id="OBSQ993", number="ACCQ992", subject=by_reference, note=note)).status_code == 201
    assert facade.post(ck(number="ACCQ992", subject=by_reference)).status_code == 200
    assert facade.post(ck(number="ACCQ992", subject={"reference": "Patient/Qvortrup"})).status_code == 422
    assert facade.delete("Observation/OBSQ993").status_code == 204
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    stored = b"".join(each.read_bytes() for each in file.parent.glob(file.name + "*"))
    assert b"2005-03-16T09:48:00+09:00" in stored, "the search finds what is there"
    assert [text for text in planted if text.encode() in stored] == []


def test_no_identifier_reaches_a_log_an_error_or_an_address(trial, caplog):
    caplog.set_level("DEBUG")
    answers = [
        trial.put(patient("MRNQ991", id="PATQ994")),
        trial.put(ck(id="OBSQ993", number="ACCQ992", subject={"reference": "Patient/PATQ994"})),
        trial.post(ck(number="ACCQ992", subject={"reference": "Patient/PATQ000"})),
        trial.put(ck(-1, id="OBSQ993", number="ACCQ992", subject={"reference": "Patient/PATQ994"})),
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 422, 422]
    logged = caplog.text.replace("PUT http", "").splitlines()
    ours = [line for line in logged if "myoresponse" in line]
    for text in ("MRNQ991", "PATQ994", "OBSQ993", "ACCQ992", "PATQ000"):
        assert not any(text in line for line in ours)
        assert all(text not in str(answer.headers) for answer in answers)
        assert all(text not in answer.text for answer in answers[2:])


def test_revisions_of_fhir_carry_their_format(trial):
    trial.post(ck())
    trial.delete(f"Observation/{trial.post(ck()).json()['id']}")
    listed = trial.client.get(f"{trial.home}/revisions").json()["items"]
    assert [each["format"] for each in listed if each["revision"] > 0] == ["fhir-r4", "fhir-r4"]
    assert all(later["received_at"] >= earlier["received_at"] for earlier, later in pairwise(listed))
