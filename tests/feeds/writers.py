"""One description of a cohort, and how four senders write it, each by the conventions of its own format.

Nothing here knows the service. Every sender adds what comes with such a message in earnest and is not kept: names,
addresses, telephone numbers, notes, and a creatinine beside each CK.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

HOSPITAL = "1.2.392.200119.4.1"
"""The object identifier of who numbers the patients."""
ZONE = "Asia/Tokyo"
OFFSET = "+09:00"

LOINC = {
    "CK": ("2157-6", "Creatine kinase [Enzymatic activity/volume] in Serum or Plasma"),
    "LDH": ("2532-0", "Lactate dehydrogenase [Enzymatic activity/volume] in Serum or Plasma"),
    "AST": ("1920-8", "Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma"),
    "ALT": ("1742-6", "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma"),
    "ALDOLASE": ("1761-6", "Aldolase [Enzymatic activity/volume] in Serum or Plasma"),
    "MYOGLOBIN": ("2639-3", "Myoglobin [Mass/volume] in Serum or Plasma"),
}
CREATININE = ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma")


@dataclass(frozen=True)
class Result:
    """One version of a laboratory result. Times are RFC 3339 in the hospital's zone, or a date.

    `source` is the object identifier of the laboratory that gave the number, `lab` the name of the one that measured.
    """

    code: str
    time: str
    value: float | None
    unit: str | None
    number: str
    source: str
    issued: str | None = None
    status: str = "final"
    comparator: str | None = None
    upper_limit: float | None = None
    lower_limit: float | None = None
    lab: str | None = None


@dataclass(frozen=True)
class Person:
    """A patient as the hospital knows them, with everything that was ever said of their results."""

    number: str
    family: str
    sex: str
    born: str
    results: tuple[Result, ...]

    def deliveries(self) -> Iterator["Person"]:
        """What is sent one after the other: each result first as it was first told, then as it was told next."""
        left: list[Result] = list(self.results)
        while left:
            first = {(result.source, result.number, result.code): result for result in reversed(left)}
            yield replace(self, results=tuple(result for result in left if result in first.values()))
            left = [result for result in left if result not in first.values()]


def _number(value: float) -> str:
    return format(Decimal(str(value)), "f").removesuffix(".0")


def _stated(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


def native(person: Person, subject: str) -> bytes:
    """A timeline in native JSON; its sender has translated codes and says who it is by the subject identifier."""
    labs = [
        _stated({
            "code": result.code, "time": result.time, "value": result.value, "unit": result.unit,
            "id": result.number, "source": f"urn:oid:{result.source}", "issued": result.issued, "status": result.status,
            "comparator": result.comparator, "upper_limit": result.upper_limit, "lower_limit": result.lower_limit,
            "lab": result.lab,
        })
        for result in person.results
    ]  # fmt: skip
    about = {"id": subject, "sex": person.sex, "birth_year": int(person.born[:4])}
    return json.dumps({"patient": about, "labs": labs}).encode()


UCUM = "http://unitsofmeasure.org"


def fhir(person: Person) -> bytes:
    """A transaction Bundle in which the observations refer to the patient by the address that their entry has."""
    url = "urn:uuid:6f0c9f4e-6a55-4f0e-9a0e-2f6f0d9b8a11"
    patient = {
        "resourceType": "Patient",
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{person.family}</div>'},
        "identifier": [
            {"use": "usual", "system": f"urn:oid:{HOSPITAL}", "value": person.number},
            {"use": "secondary", "system": "urn:oid:1.2.392.100495.20.3.51", "value": f"INS{person.number}"},
        ],
        "name": [{"use": "official", "family": person.family, "given": ["Hanako"]}],
        "telecom": [{"system": "phone", "value": "03-0000-0000"}],
        "gender": person.sex,
        "birthDate": person.born,
        "address": [{"city": "Tokyo", "postalCode": "100-0001"}],
    }
    observations = [each for result in person.results for each in (_observation(result, url), _creatinine(url))]
    return json.dumps({
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": url, "resource": patient, "request": {"method": "POST", "url": "Patient"}},
            *({"resource": each, "request": {"method": "POST", "url": "Observation"}} for each in observations),
        ],
    }).encode()  # fmt: skip


def _observation(result: Result, patient: str) -> dict[str, Any]:
    code, name = LOINC[result.code]
    laboratory = [] if result.lab is None else [{"type": "Organization", "display": result.lab}]
    limits = {"low": _quantity(result.lower_limit, result.unit), "high": _quantity(result.upper_limit, result.unit)}
    return _stated({
        "resourceType": "Observation",
        "identifier": [{"system": f"urn:oid:{result.source}", "value": result.number}],
        "status": result.status,
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category",
                                  "code": "laboratory"}]}],
        "code": {"coding": [{"system": f"urn:oid:{HOSPITAL}.9", "code": f"L{code[:4]}", "display": name.split(" [")[0]},
                            {"system": "http://loinc.org", "code": code, "display": name}]},
        "subject": {"reference": patient},
        "effectiveDateTime": result.time,
        "issued": result.issued,
        "performer": [{"display": "Dr Suzuki"}, *laboratory],
        "valueQuantity": _quantity(result.value, result.unit, result.comparator),
        "referenceRange": [_stated(limits)] if _stated(limits) else None,
        "note": [{"text": "Haemolytic. Telephoned to Dr Suzuki."}],
    })  # fmt: skip


def _quantity(value: float | None, unit: str | None, comparator: str | None = None) -> dict[str, Any] | None:
    if value is None:
        return None
    return _stated({"value": value, "comparator": comparator, "unit": unit, "system": UCUM, "code": unit})


def _creatinine(patient: str) -> dict[str, Any]:
    code, name = CREATININE
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": name}]},
        "subject": {"reference": patient},
        "effectiveDateTime": "2005",
        "valueString": "pending",
    }


STATUSES = {
    "preliminary": "P", "final": "F", "amended": "A", "corrected": "C", "cancelled": "X", "entered-in-error": "D",
}  # fmt: skip


def hl7v2(person: Person, *, offsets: bool) -> bytes:
    """An ORU^R01, an order for each result; without `offsets` its times are those of the hospital's clock."""
    sex = {"female": "F", "male": "M", "other": "O", "unknown": "U"}[person.sex]
    lines = [
        r"MSH|^~\&|LIS||MYO|MYO|20260101120000||ORU^R01^ORU_R01|" + f"{control_id(person)}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||{person.number}^^^WARD7^MR~INS{person.number}^^^SSA^SS||{person.family}^Hanako||"
        f"{person.born.replace('-', '')}|{sex}|||1-1 Chiyoda^^Tokyo^^100-0001||03-0000-0000",
        "PV1|1|O|WARD7",
    ]
    for order, result in enumerate(person.results, 1):
        lines += _order(order, result, offsets=offsets)
    return "\r".join([*lines, ""]).encode()


def control_id(person: Person) -> str:
    """A control id of the message that says nothing of the person: its first accession number and how many follow."""
    return f"M{len(person.results)}-{person.results[0].status[:2]}-{person.results[0].number}"[:50]


def _order(order: int, result: Result, *, offsets: bool) -> list[str]:
    code, name = LOINC[result.code]
    coded = f"L{code[:4]}^{name.split(' [')[0]}^L^{code}^{name}^LN"
    kind, value = "NM", "" if result.value is None else _number(result.value)
    if result.comparator is not None:
        kind, value = "SN", f"{result.comparator}^{value}"
    filler = f"{result.number}^^{result.source}^ISO"
    drawn, issued = (_stamp(at, offsets=offsets) for at in (result.time, result.issued or ""))
    low, high = (limit if limit is None else _number(limit) for limit in (result.lower_limit, result.upper_limit))
    limits = f"{low}-{high}" if low and high else f"<={high}" if high else ""
    rest = f"H|||{STATUSES[result.status]}||||{result.lab or ''}"
    return [
        f"ORC|RE||{filler}",
        f"OBR|{order}||{filler}|{coded}|||{drawn}|||||||||||||||{issued}|||F",
        f"OBX|1|{kind}|{coded}||{value}|{result.unit or ''}|{limits}|{rest}",
        f"OBX|2|ST|{CREATININE[0]}^{CREATININE[1]}^LN||pending||||||F",
        "NTE|1|L|Haemolytic. Telephoned to Dr Suzuki.",
        "ZLB|1|what only this laboratory knows",
    ]


def _stamp(at: str, *, offsets: bool) -> str:
    digits = "".join(character for character in at.removesuffix(OFFSET) if character.isdigit())
    return digits + OFFSET.replace(":", "") * (offsets and at.endswith(OFFSET))


COLUMNS = (
    "patient", "code_system", "code", "code_text", "time", "value", "unit", "lower_limit", "upper_limit", "source",
    "id", "issued", "status", "lab",
)  # fmt: skip
DIALECT = {"delimiter": ";", "decimal": ",", "missing": "NA"}
"""What whoever sends these tables declares of them: they come out of a European spreadsheet."""


def table(people: Iterable[Person], *, offsets: bool) -> bytes:
    """One result a row, with semicolons, decimal commas and `NA`; without `offsets` its times are the hospital's."""
    rows: list[Sequence[str]] = [COLUMNS]
    for person in people:
        for result in person.results:
            rows += [_row(person, result, offsets=offsets), _row_of_creatinine(person)]
    return ("\ufeff" + "".join(";".join(map(_cell, row)) + "\r\n" for row in rows)).encode()


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if ";" in text or '"' in text else text


def _row(person: Person, result: Result, *, offsets: bool) -> Sequence[str]:
    code, name = LOINC[result.code]
    value = "NA" if result.value is None else (result.comparator or "") + _comma(result.value)
    return (
        person.number, "http://loinc.org", code, f'{name}; "serum"', _clock(result.time, offsets=offsets), value,
        result.unit or "", _comma(result.lower_limit), _comma(result.upper_limit), f"urn:oid:{result.source}",
        result.number, _clock(result.issued or "NA", offsets=offsets), result.status, result.lab or "",
    )  # fmt: skip


def _row_of_creatinine(person: Person) -> Sequence[str]:
    code, name = CREATININE
    return (person.number, "http://loinc.org", code, name, "2005", "pending", *["NA"] * 8)


def _comma(value: float | None) -> str:
    return "NA" if value is None else _number(value).replace(".", ",")


def _clock(at: str, *, offsets: bool) -> str:
    return at if offsets else at.removesuffix(OFFSET).replace("T", " ")
