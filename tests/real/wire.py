"""The records of a source as each of four senders would write them, in their own codes wherever the format has codes.

A study that reads them declares the codes (`local_codes`), the zone of the clocks and that the identifiers are
pseudonyms. Every patient gets one invented infusion on the day of their first result, so that analyses have an anchor;
CSV has no infusions, so there it is posted as JSON.
"""

import csv
import io
import json
from datetime import date, datetime
from typing import Any

from tests.real.sources import ZONE, Result, Source, Subject, in_zone

SEPARATORS = "|^~\\&"


def declaration(source: Source) -> dict[str, Any]:
    """The study."""
    return {
        "name": source.name,
        "protocol": "seed-2008",
        "time_zone": ZONE,
        "identifiers": "pseudonyms",
        "local_codes": source.local_codes,
        "test": True,
    }


def anchor(subject: Subject) -> str:
    """The day of the invented infusion."""
    return min(str(result.time)[:10] for result in subject.results)


def timelines(source: Source) -> list[dict[str, Any]]:
    """Native JSON: our own codes; what has none of them is not sent."""
    return [
        {
            "patient": {"id": subject.id, "sex": subject.sex, "birth_year": subject.birth_year},
            "labs": [_lab(source, result) for result in subject.results if _kept(source, result)],
            "infusions": [{"time": anchor(subject), "product": "IVIG"}],
        }
        for subject in source.subjects
        if subject.results
    ]


def _kept(source: Source, result: Result) -> bool:
    return f"{result.system}|{result.code}" in source.local_codes


def _lab(source: Source, result: Result) -> dict[str, Any]:
    return {
        "code": source.local_codes[f"{result.system}|{result.code}"],
        "time": in_zone(result.time),
        "value": _number(result.value),
        "unit": result.unit,
        "upper_limit": _number(result.upper_limit),
        "lower_limit": _number(result.lower_limit),
        "source": source.name,
        "id": result.number,
        "issued": in_zone(result.issued) if result.issued else None,
    }


def bundle(source: Source, subjects: list[Subject]) -> dict[str, Any]:
    """A FHIR transaction: patients, their infusions, all observations."""
    entries = [entry for subject in subjects for entry in _resources(source, subject)]
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": _stated(entry), "request": _request(entry)} for entry in entries],
    }


def _resources(source: Source, subject: Subject) -> list[dict[str, Any]]:
    whom = {"reference": f"Patient/{subject.id}"} if subject.id else None
    results = [_observation(source, result, whom) for result in subject.results]
    if whom is None:
        return results
    return [
        *results,
        {"resourceType": "Patient", "id": subject.id, "gender": subject.sex,
         "birthDate": str(subject.birth_year) if subject.birth_year else None},
        {"resourceType": "MedicationAdministration", "status": "completed", "subject": whom,
         "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "J06BA02"}]},
         "effectiveDateTime": anchor(subject)},
    ]  # fmt: skip


def _request(resource: dict[str, Any]) -> dict[str, str]:
    if resource["resourceType"] == "Patient":
        return {"method": "PUT", "url": f"Patient/{resource['id']}"}
    return {"method": "POST", "url": resource["resourceType"]}


def _observation(source: Source, result: Result, whom: dict[str, str] | None) -> dict[str, Any]:
    value = _number(result.value)
    limits = _stated({
        "low": _quantity(_number(result.lower_limit), result.unit),
        "high": _quantity(_number(result.upper_limit), result.unit),
    })  # fmt: skip
    return {
        "resourceType": "Observation",
        "status": "final",
        "identifier": [{"system": source.name, "value": result.number}],
        "code": {"coding": [{"system": result.system, "code": result.code, "display": result.name}]},
        "subject": whom,
        "effectiveDateTime": in_zone(result.time),
        "issued": in_zone(result.issued) if result.issued else None,
        "valueQuantity": _quantity(value, result.unit),
        "valueString": result.value if value is None else None,
        "referenceRange": [limits] if limits else None,
    }


def _quantity(value: float | None, unit: str) -> dict[str, Any] | None:
    return None if value is None else {"value": value, "unit": unit}


def message(source: Source, subject: Subject) -> bytes:
    """HL7 v2: an ORU^R01 with an order for each result, the clock's own times without an offset."""
    sex = {"female": "F", "male": "M", None: ""}[subject.sex]
    lines = [
        rf"MSH|^~\&|LAB||MYO|MYO|20200101000000||ORU^R01|{subject.results[0].number}|P|2.5.1",
        f"PID|1||{subject.id}^^^H||X^Y||{subject.birth_year or ''}|{sex}",
    ]
    for order, result in enumerate(subject.results, 1):
        lines += _order(source, result, order)
    return "\r".join([*lines, ""]).encode()


def batch(messages: list[bytes]) -> bytes:
    """A batch file; one message goes without."""
    if len(messages) == 1:
        return messages[0]
    return b"\r".join(
        [rb"BHS|^~\&|LAB|REAL", *(each.rstrip(b"\r") for each in messages), b"BTS|%d" % len(messages), b""]
    )


def _order(source: Source, result: Result, order: int) -> list[str]:
    limits = f"{result.lower_limit}-{result.upper_limit}" if result.upper_limit else ""
    issued = _stamp(result.issued) if result.issued else ""
    kind = "NM" if _number(result.value) is not None else "ST"
    code = f"{_plain(result.code)}^{_plain(result.name)}^{result.system}"
    return [
        f"OBR|{order}||{result.number}^{source.name}|{code}|||{_stamp(result.time)}|||||||||||||||{issued}|||F",
        f"OBX|1|{kind}|{code}||{_plain(result.value)}|{_plain(result.unit)}|{limits}||||F",
    ]


def _plain(text: str) -> str:
    assert not set(text) & set(SEPARATORS), "the sources hold no separator, so that nothing has to be escaped"
    return text


def _stamp(at: datetime | date) -> str:
    return at.strftime("%Y%m%d%H%M%S" if isinstance(at, datetime) else "%Y%m%d")


def table(source: Source) -> bytes:
    """CSV: one result a row, the clock's own times."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["patient", "code_system", "code", "code_text", "time", "value", "unit", "upper_limit",
                     "lower_limit", "source", "id", "issued"])  # fmt: skip
    for subject in source.subjects:
        for result in subject.results:
            writer.writerow([
                subject.id, result.system, result.code, result.name, _clock(result.time), result.value, result.unit,
                result.upper_limit, result.lower_limit, source.name, result.number,
                in_zone(result.issued) if result.issued else "",
            ])  # fmt: skip
    return text.getvalue().encode()


def _clock(at: datetime | date) -> str:
    return at.isoformat()


def anchors(source: Source) -> list[dict[str, Any]]:
    """What a table cannot say: who the patients are, and the invented infusions."""
    return [{**document, "labs": []} for document in timelines(source)]


def dumped(document: Any) -> bytes:
    """JSON."""
    return json.dumps(document).encode()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _stated(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
