"""Writing stored facts as FHIR R4 resources, and bundles of them: the page of a search, and the history of a resource.

Times, units and numbers are shown as they were sent. A client that sends such a resource back changes nothing. What has
no place in R4 (the diagnosis, the course of an infusion) is not shown here; our own format shows everything.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

from app.fhir.elements import TERMINOLOGY
from app.timeline.drugs import RXNORM, drug_of
from app.timeline.facts import AnyFact, AssessmentFact, EventFact, InfusionFact, LabFact, MedicationFact
from app.timeline.merged_records import MERGED_INTO
from app.timeline.resource import KEPT_NUMBER, SUBJECT_SYSTEM, StoredResource
from app.timeline.times import DAY_MICROSECONDS, day_text, instant_text
from app.timeline.vocabulary import ANALYTES, ATC, INSTRUMENTS, IVIG, LOINC, OWN_SYSTEM, UCUM, UNITS, WITHDRAWN

LATE = "late"
"""Tag of a version that was never current, because it arrived after a newer one."""

UCUM_CODES = frozenset(
    {*(unit.spelling for unit in UNITS.values() if unit.is_ucum), "g/kg", "mg/kg", "g", "mg", "ug", "mg/m2", "{score}"}
)
"""The accepted spellings of units that are UCUM codes. Another spelling (`IU/L`, or `u/L`, which in UCUM is an atomic
mass) is shown as text only: with a code, the resource would be another fact when it is sent back.
"""

ADMINISTRATION_STATUS = {
    "preliminary": "in-progress",
    "final": "completed",
    "amended": "completed",
    "corrected": "completed",
    "entered-in-error": "entered-in-error",
    "cancelled": "not-done",
}
"""The status of a MedicationAdministration for each of our statuses."""

SERIOUSNESS = {True: "Serious", False: "Non-serious"}
SEVERITIES = frozenset({"mild", "moderate", "severe"})
"""The severities in the code system of R4; the others are shown with our own codes."""
CAUSALITY = {
    "definite": "Certain",
    "probable": "Probably-Likely",
    "possible": "Possible",
    "unlikely": "Unlikely",
    "unknown": "Unassessable-Unclassifiable",
}
"""The relations in the code system of R4; the others are shown with our own codes."""

CATEGORY_SYSTEM = TERMINOLOGY + "observation-category"
CATEGORIES = {"labs": "laboratory", "assessments": "exam"}
"""The category of each kind of Observation."""
SUBSETTED = {"system": TERMINOLOGY + "v3-ObservationValue", "code": "SUBSETTED"}
"""Tag of a resource of which only some elements are shown."""
_ALWAYS_SHOWN = frozenset(
    {
        "resourceType",
        "id",
        "meta",
        "identifier",
        "status",
        "code",
        "subject",
        "actuality",
        "medicationCodeableConcept",
        "intent",
    }
)
"""Elements that R4 requires, and those by which the resource is known."""

_WHY_NO_VALUE = {"entered-in-error": "error", "cancelled": "not-performed"}


def resource_of(version: StoredResource, named: str | None = None) -> dict[str, Any]:
    """The resource of this version; `named` is the id to show, if it is not our own.

    A version that is `gone` has no resource: do not call this for it.
    """
    meta: dict[str, Any] = {"versionId": version.version, "lastUpdated": instant_text(version.received_at)}
    if version.late:
        meta["tag"] = [{"system": OWN_SYSTEM, "code": LATE, "display": "superseded before it came"}]
    head: dict[str, Any] = {"resourceType": version.type, "id": named or version.id, "meta": meta}
    if version.fact is None:
        return head | _patient(version)
    written = head | _WRITERS[version.kind](version.fact, {"reference": f"Patient/{version.patient}"})
    return written | {"status": "active"} if _goes_on(version) else written


def _goes_on(version: StoredResource) -> bool:
    """Whether this version is of an order whose last day came after the day on which it was stored."""
    fact = version.fact
    if not isinstance(fact, MedicationFact) or not fact.ordered or fact.status in WITHDRAWN or fact.end_day is None:
        return False
    return fact.end_day > version.received_at // DAY_MICROSECONDS


def part_of(resource: dict[str, Any], elements: str | None) -> dict[str, Any]:
    """The resource with these elements only (`status,code`), and a tag that says so; all of it if none are named."""
    if elements is None:
        return resource
    wanted = _ALWAYS_SHOWN.union(elements.split(","))
    meta = {**resource["meta"], "tag": [*resource["meta"].get("tag", ()), SUBSETTED]}
    return {name: value for name, value in resource.items() if name in wanted} | {"meta": meta}


def etag_of(resource: StoredResource) -> str:
    """The ETag of a version of a resource."""
    return f'W/"{resource.version}"'


def searchset(
    base: str,
    resources: Iterable[StoredResource],
    *,
    links: Mapping[str, str],
    total: int | None,
    revision: int,
    received_at: int,
    elements: str | None = None,
) -> dict[str, Any]:
    """A page of a search. `base` is the address of the facade, `links` are the addresses by relation, `revision` is the
    revision of all pages, and `elements` are the elements to show.
    """
    entries = [
        {
            "fullUrl": f"{base}/{each.type}/{each.id}",
            "resource": part_of(resource_of(each), elements),
            "search": {"mode": "match"},
        }
        for each in resources
    ]
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "meta": {"versionId": str(revision), "lastUpdated": instant_text(received_at)},
        "type": "searchset",
    }
    if total is not None:
        bundle["total"] = total
    bundle["link"] = [{"relation": relation, "url": url} for relation, url in links.items()]
    return bundle | ({"entry": entries} if entries else {})


Made = Literal["POST", "PUT", "DELETE"]
"""How a version was made."""


def history_bundle(
    base: str,
    versions: Iterable[tuple[StoredResource, Made, bool]],
    named: str,
    *,
    links: Mapping[str, str],
    total: int,
) -> dict[str, Any]:
    """Versions of one resource, newest first, each with how it was made and whether it is the first one; `named` is the
    id to show. `total` counts those of all pages.

    The entry of a DELETE has no resource.
    """
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "history",
        "total": total,
        "link": [{"relation": relation, "url": url} for relation, url in links.items()],
    }
    entries = [_version(base, version, named, made, first=first) for version, made, first in versions]
    return bundle | ({"entry": entries} if entries else {})


def _patient(version: StoredResource) -> dict[str, Any]:
    stated = {fact.identity: fact.value for fact in version.attributes}
    return _given(
        identifier=[{"system": SUBJECT_SYSTEM, "value": version.patient}],
        gender=stated["sex"].strip('"') if "sex" in stated else None,
        birthDate=stated.get("birth_year"),
        deceasedDateTime=_died(stated["ended"]) if "ended" in stated else None,
        link=[_link(stated[MERGED_INTO].strip('"'))] if MERGED_INTO in stated else None,
    )


def _died(ended: str) -> str | None:
    """The day of death of a patient whose participation ended with it."""
    stated = json.loads(ended)
    return str(stated["date"]) if stated["reason"] == "died" else None


def _link(survivor: str) -> dict[str, Any]:
    """The link of a merged record. Its results stay with it here; analyses read both records as one patient."""
    return {"other": {"reference": f"Patient/{survivor}"}, "type": "replaced-by"}


def _lab(fact: LabFact, subject: dict[str, Any]) -> dict[str, Any]:
    analyte = ANALYTES[fact.code]
    converted = fact.unit is not None and UNITS[fact.unit].factor != 1
    value, lower, upper = (
        (fact.given_value, fact.given_lower_limit, fact.given_upper_limit)
        if converted
        else (fact.value, fact.lower_limit, fact.upper_limit)
    )
    limits = _given(low=_quantity(lower, fact.unit), high=_quantity(upper, fact.unit))
    coding = [
        {"system": LOINC, "code": analyte.loinc, "display": analyte.name},
        {"system": OWN_SYSTEM, "code": fact.code},
    ]
    return _observation(fact, CATEGORIES["labs"], {"coding": coding, "text": fact.code}, subject) | _given(
        performer=None if fact.lab is None else [{"display": fact.lab}],
        valueQuantity=_quantity(value, fact.unit, fact.comparator),
        dataAbsentReason=_absent(value, fact.status),
        referenceRange=[limits] if limits else None,
    )


def _assessment(fact: AssessmentFact, subject: dict[str, Any]) -> dict[str, Any]:
    coding = {"system": OWN_SYSTEM, "code": fact.code, "display": INSTRUMENTS[fact.code].name}
    scale = _quantity(fact.scale_max, "{score}")
    return _observation(fact, CATEGORIES["assessments"], {"coding": [coding], "text": fact.code}, subject) | _given(
        valueQuantity=_quantity(fact.score, "{score}"),
        dataAbsentReason=_absent(fact.score, fact.status),
        referenceRange=None if scale is None else [{"high": scale, "text": "scale"}],
    )


def _observation(
    fact: LabFact | AssessmentFact, category: str, code: dict[str, Any], subject: dict[str, Any]
) -> dict[str, Any]:
    return _given(
        identifier=[_numbered(fact)],
        status=fact.status,
        category=[{"coding": [{"system": CATEGORY_SYSTEM, "code": category}]}],
        code=code,
        subject=subject,
        effectiveDateTime=fact.time or None,
        issued=None if fact.issued is None else instant_text(fact.issued),
    )


def _infusion(fact: InfusionFact, subject: dict[str, Any]) -> dict[str, Any]:
    medication: dict[str, Any] = {"text": fact.product}
    if fact.product == IVIG:
        medication["coding"] = [{"system": ATC, "code": "J06BA02"}, {"system": OWN_SYSTEM, "code": IVIG}]
    dose = _quantity(fact.dose, fact.unit)
    return _given(
        identifier=[_numbered(fact)],
        status=ADMINISTRATION_STATUS[fact.status],
        medicationCodeableConcept=medication,
        subject=subject,
        effectiveDateTime=fact.time or None,
        dosage=None if dose is None else {"dose": dose},
    )


def _medication(fact: MedicationFact, subject: dict[str, Any]) -> dict[str, Any]:
    """A medication that was taken, or an order."""
    drug = drug_of(fact.drug)
    medication: dict[str, Any] = {"text": fact.drug}
    if drug is not None:
        codes = [(ATC, drug.atc), *((RXNORM, code) for code in drug.rxnorm_codes[:1])]
        medication["coding"] = [{"system": system, "code": code, "display": drug.name} for system, code in codes]
    amount, period = _TAKEN.get(fact.unit or "", (fact.unit, None))
    dose = _quantity(fact.dose, amount)
    every = None if period is None else {"frequency": 1, "period": 1, "periodUnit": period}
    over = _given(start=day_text(fact.start_day), end=None if fact.end_day is None else day_text(fact.end_day))
    issued = None if fact.issued is None else instant_text(fact.issued)
    head = _given(
        identifier=[_numbered(fact)],
        status=_medication_status(fact),
        intent="order" if fact.ordered else None,
        medicationCodeableConcept=medication,
        subject=subject,
    )
    taken = None if dose is None else [{"doseQuantity": dose}]
    if fact.ordered:
        instruction = _given(timing={"repeat": {"boundsPeriod": over, **(every or {})}}, doseAndRate=taken)
        return head | _given(authoredOn=issued, dosageInstruction=[instruction])
    timing = None if every is None else {"repeat": every}
    dosage = None if taken is None else [_given(timing=timing, doseAndRate=taken)]
    return head | _given(effectivePeriod=over, dateAsserted=issued, dosage=dosage)


def _medication_status(fact: MedicationFact) -> str:
    withdrawn = {"entered-in-error": "entered-in-error", "cancelled": "cancelled" if fact.ordered else "not-taken"}
    return withdrawn.get(fact.status, "active" if fact.end_day is None else "completed")


_TAKEN = {
    "mg/d": ("mg", "d"), "g/d": ("g", "d"), "ug/d": ("ug", "d"), "mg/kg/d": ("mg/kg", "d"), "mg/wk": ("mg", "wk"),
}  # fmt: skip
"""The amount of a dose, and how often it is taken."""


def _event(fact: EventFact, subject: dict[str, Any]) -> dict[str, Any]:
    return _given(
        identifier=_numbered(fact),
        actuality="actual",
        event={"text": fact.term},
        subject=subject,
        date=fact.onset,
        recordedDate=None if fact.issued is None else instant_text(fact.issued),
        seriousness=None if fact.serious is None else concept("adverse-event-seriousness", SERIOUSNESS[fact.serious]),
        severity=None if fact.severity is None else _severity(fact.severity),
        outcome=concept("adverse-event-outcome", "fatal") if fact.severity == "fatal" else None,
        suspectEntity=None if fact.related is None else [_suspect(fact.related)],
    )


def _severity(severity: str) -> dict[str, Any]:
    return concept("adverse-event-severity", severity) if severity in SEVERITIES else _own(severity)


def _suspect(related: str) -> dict[str, Any]:
    """The suspected cause of an event: the infusion."""
    assessed = concept("adverse-event-causality-assess", CAUSALITY[related]) if related in CAUSALITY else _own(related)
    return {"instance": {"display": "infusion"}, "causality": [{"assessment": assessed}]}


def concept(system: str, code: str) -> dict[str, Any]:
    """A CodeableConcept with a code of one of the code systems of HL7."""
    return {"coding": [{"system": TERMINOLOGY + system, "code": code}]}


def _own(code: str) -> dict[str, Any]:
    return {"coding": [{"system": OWN_SYSTEM, "code": code}]}


def _quantity(value: float | None, unit: str | None, comparator: str | None = None) -> dict[str, Any] | None:
    if value is None:
        return None
    coded = unit in UCUM_CODES
    return _given(
        value=int(value) if value.is_integer() else value,
        comparator=comparator,
        unit=unit,
        system=UCUM if coded else None,
        code=unit if coded else None,
    )


def _absent(value: float | None, status: str) -> dict[str, Any] | None:
    """The reason why a withdrawn result has no value."""
    return concept("data-absent-reason", _WHY_NO_VALUE.get(status, "unknown")) if value is None else None


def _numbered(fact: AnyFact) -> dict[str, Any]:
    """The number of a fact and its source, as an identifier that is marked as the stored number.

    A fact without a number has an identifier without a value. Without an identifier, the resource would get its id as
    number when it is sent back, and would be another fact.
    """
    return _given(extension=[{"url": KEPT_NUMBER, "valueBoolean": True}], system=fact.source, value=fact.id)


def _given(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    return {name: value for name, value in fields.items() if value is not None}


_WRITERS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "labs": cast(Any, _lab),
    "assessments": cast(Any, _assessment),
    "infusions": cast(Any, _infusion),
    "medications": cast(Any, _medication),
    "events": cast(Any, _event),
}


def _version(base: str, version: StoredResource, named: str, made: Made, *, first: bool) -> dict[str, Any]:
    place = f"{version.type}/{named}"
    status = "204 No Content" if made == "DELETE" else "201 Created" if first else "200 OK"
    entry: dict[str, Any] = {"fullUrl": f"{base}/{place}"}
    if made != "DELETE":
        entry["resource"] = resource_of(version, named)
    return entry | {
        "request": {"method": made, "url": version.type if made == "POST" else place},
        "response": {
            "status": status,
            "etag": etag_of(version),
            "lastModified": instant_text(version.received_at),
        },
    }
