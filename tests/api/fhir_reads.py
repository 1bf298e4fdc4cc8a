"""Helpers that read from the FHIR facade; each answer is checked by an independent model of R4."""

import json
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

FHIR = {"Content-Type": "application/fhir+json"}
HOME = "/fhir/trial"


def got(client: Any, address: str, status: int = 200, **more: Any) -> Any:
    """The answer, checked by an independent model of R4."""
    answer = client.get(address if address.startswith("http") else f"{HOME}/{address}", **more)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/fhir+json"
    document = answer.json()
    get_fhir_model_class(document["resourceType"]).model_validate(document)
    return document


def resources(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in bundle.get("entry", [])]


def link(bundle: dict[str, Any], relation: str) -> str | None:
    return next((each["url"] for each in bundle["link"] if each["relation"] == relation), None)


def walk(client: Any, address: str) -> list[dict[str, Any]]:
    found, following = [], address
    while following:
        bundle = got(client, following)
        found += resources(bundle)
        assert len(found) <= 500, "the walk goes in circles"
        following = link(bundle, "next")
    return found


def issues(client: Any, address: str, status: int = 422) -> list[tuple[str, list[str]]]:
    outcome = got(client, address, status)
    assert outcome["resourceType"] == "OperationOutcome"
    return [(issue["details"].get("coding", [{"code": issue["code"]}])[0]["code"], issue.get("expression", []))
            for issue in outcome["issue"]]  # fmt: skip


def create(client: Any, resource: dict[str, Any], status: int = 201) -> dict[str, Any]:
    answer = client.post(f"{HOME}/{resource['resourceType']}", content=json.dumps(resource), headers=FHIR)
    assert answer.status_code == status, answer.text
    return answer.json()


def observation(number: str = "acc-77", value: float = 1101, **more: Any) -> dict[str, Any]:
    """A CK result as a laboratory sends it."""
    return {
        "resourceType": "Observation",
        "identifier": [{"system": "urn:lab:a", "value": number}],
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
        "subject": {"reference": "Patient/P01"},
        "effectiveDateTime": "2005-03-16T09:48:00+09:00",
        "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": "U/L"},
    } | more
