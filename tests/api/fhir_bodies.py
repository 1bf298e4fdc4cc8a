"""Small invented FHIR resources and bundles, and helpers that send them."""

from typing import Any

from tests.api.examples import make_study

FHIR = {"Content-Type": "application/fhir+json"}
SECRET = "an invented secret of 40 characters ...."
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
HOSPITAL = "urn:oid:1.2.3.9"
LAB = "urn:oid:1.2.3.4"
URN = "urn:uuid:6f0c9f4e-6a55-4f0e-9a0e-2f6f0d9b8a11"
BY_URN = {"reference": URN}


def named(value: str, system: str = LAB) -> list[dict[str, str]]:
    """An identifier."""
    return [{"system": system, "value": value}]


def patient(number: str = "MRN-1", **more: Any) -> dict[str, Any]:
    """A patient of the hospital."""
    return {
        "resourceType": "Patient",
        "identifier": named(number, HOSPITAL),
        "gender": "female",
        "birthDate": "1953-05-06",
    } | more


def about(number: str = "MRN-1") -> dict[str, Any]:
    """The subject of a resource, by the number that the hospital gave the patient."""
    return {"identifier": {"system": HOSPITAL, "value": number}}


def ck(value: float = 1101, number: str | None = "acc-77", **more: Any) -> dict[str, Any]:
    """A CK result, numbered by its laboratory unless `number` is `None`."""
    return (
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": LOINC, "code": "2157-6"}]},
            "subject": about(),
            "effectiveDateTime": "2005-03-16T09:48:00+09:00",
            "valueQuantity": {"value": value, "unit": "U/L", "system": UCUM, "code": "U/L"},
            "referenceRange": [{"high": {"value": 163, "unit": "U/L", "system": UCUM, "code": "U/L"}}],
        }
        | ({} if number is None else {"identifier": named(number)})
        | more
    )


def ldh(value: float = 300, **more: Any) -> dict[str, Any]:
    """An LDH result of the same sample."""
    return ck(value, **{"code": {"coding": [{"system": LOINC, "code": "2532-0"}]}} | more)


def sodium(**more: Any) -> dict[str, Any]:
    """A result that is not stored."""
    return ck(140, **{"code": {"coding": [{"system": LOINC, "code": "2951-2"}]}} | more)


def infusion(number: str = "inf-1", **more: Any) -> dict[str, Any]:
    """An infusion of immunoglobulin."""
    return {
        "resourceType": "MedicationAdministration",
        "identifier": named(number),
        "status": "completed",
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "J06BA02"}]},
        "subject": about(),
        "effectiveDateTime": "2005-04-11",
    } | more


def taken(number: str = "med-1", **more: Any) -> dict[str, Any]:
    """Prednisolone over a time."""
    every_day = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}
    return {
        "resourceType": "MedicationStatement",
        "identifier": named(number),
        "status": "active",
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "H02AB06"}]},
        "subject": about(),
        "effectivePeriod": {"start": "2005-01-20"},
        "dosage": [{"timing": every_day, "doseAndRate": [{"doseQuantity": {"value": 50, "unit": "mg"}}]}],
    } | more


def ordered(number: str = "order-1", **more: Any) -> dict[str, Any]:
    """An order of prednisolone."""
    every_day = {"frequency": 1, "period": 1, "periodUnit": "d", "boundsPeriod": {"start": "2005-01-20"}}
    return {
        "resourceType": "MedicationRequest",
        "identifier": named(number),
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "H02AB06"}]},
        "subject": about(),
        "dosageInstruction": [
            {"timing": {"repeat": every_day}, "doseAndRate": [{"doseQuantity": {"value": 50, "unit": "mg"}}]}
        ],
    } | more


def headache(number: str = "ae-1", **more: Any) -> dict[str, Any]:
    """An adverse event."""
    return {
        "resourceType": "AdverseEvent",
        "identifier": named(number)[0],
        "actuality": "actual",
        "event": {"text": "headache"},
        "subject": about(),
        "date": "2005-04-12",
    } | more


def without_tags(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource as a read shows it: only the answer to a write has tags of its receipt."""
    return resource | {"meta": {name: value for name, value in resource["meta"].items() if name != "tag"}}


def entry(resource: dict[str, Any], method: str = "POST", url: str | None = None, **more: Any) -> dict[str, Any]:
    """An entry of a transaction or batch."""
    asked = {"method": method, "url": url or resource["resourceType"]} | more
    return {"resource": resource, "request": asked}


def asks(method: str, url: str) -> dict[str, Any]:
    """An entry without a resource."""
    return {"request": {"method": method, "url": url}}


def bundle(*entries: dict[str, Any], type: str = "transaction") -> dict[str, Any]:
    """A bundle."""
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def whole() -> dict[str, Any]:
    """A transaction with one of each type that is stored, and an entry that is not stored."""
    return bundle(
        entry(ck(subject=BY_URN)),
        {"fullUrl": URN, **entry(patient())},
        entry({"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}),
        entry(sodium(subject=BY_URN)),
        entry(infusion(subject=BY_URN)),
        entry(headache(subject=BY_URN)),
    )


class Facade:
    """The FHIR facade of one study."""

    def __init__(self, client: Any, study: str = "trial", **declared: Any) -> None:
        self.client = client
        self.study = study
        self.home = make_study(client, study, **declared)
        self.base = f"/fhir/{study}"

    def post(self, resource: dict[str, Any], **headers: str) -> Any:
        """Create a resource, or send a bundle."""
        kind = resource["resourceType"]
        return self.send("POST", "" if kind == "Bundle" else f"/{kind}", resource, **headers)

    def put(self, resource: dict[str, Any], **headers: str) -> Any:
        """Store a resource under its id."""
        return self.send("PUT", f"/{resource['resourceType']}/{resource['id']}", resource, **headers)

    def delete(self, place: str, **headers: str) -> Any:
        """Withdraw a resource."""
        return self.client.delete(f"{self.base}/{place}", headers=_named(headers))

    def send(self, method: str, path: str, body: Any, **headers: str) -> Any:
        """Any request with a body."""
        return self.client.request(method, self.base + path, json=body, headers=FHIR | _named(headers))

    def revision(self) -> int:
        """The latest revision of the study."""
        return self.client.get(self.home).json()["revision"]

    def timelines(self) -> list[dict[str, Any]]:
        """The timeline of each patient, in our own format."""
        found = self.client.get(f"{self.home}/patients").json()["items"]
        return [self.client.get(f"{self.home}/patients/{each['patient']['id']}").json() for each in found]

    def facts(self) -> int:
        """The number of current facts of all patients."""
        return sum(len(part) for timeline in self.timelines() for part in timeline.values() if isinstance(part, list))

    def labs(self) -> list[tuple[str, float]]:
        """The current laboratory results."""
        return sorted((lab["code"], lab["value"]) for timeline in self.timelines() for lab in timeline.get("labs", []))


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def issues(answer: Any) -> list[tuple[str, str, str]]:
    """The severity, type and place of each issue of an OperationOutcome."""
    assert answer.headers["content-type"] == "application/fhir+json", answer.text
    return issues_in(answer.json())


def issues_in(outcome: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The severity, type and place of each issue of this outcome."""
    assert outcome["resourceType"] == "OperationOutcome", outcome
    return [(each["severity"], each["code"], "".join(each.get("expression", []))) for each in outcome["issue"]]


def statuses(answer: Any) -> list[str]:
    """The status of each entry of an answer to a bundle."""
    assert answer.status_code == 200, answer.text
    return [each["response"]["status"][:3] for each in answer.json()["entry"]]
