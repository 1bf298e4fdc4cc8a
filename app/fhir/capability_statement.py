"""The capability statement of a study's FHIR facade: what it can be asked, and how what it reads and writes is mapped.

The mapping stands in it twice: in words, and as concept maps that a program can read.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from app import __version__
from app.fhir.write_resources import ADMINISTRATION_STATUS
from app.timeline.vocabulary import KNOWN, OWN_SYSTEM

DATE = "2026-11-23"
"""When this statement was last changed; it differs from call to call in nothing but what a study declares."""
STATUS_SYSTEM = "urn:myoresponse:status"
MAPPING = "urn:myoresponse:extension:mapping"
_FACTS = ("Observation", "MedicationAdministration", "AdverseEvent")
_OBSERVATION_STATUS = "http://hl7.org/fhir/observation-status"
_ADMINISTRATION_STATUS = "http://terminology.hl7.org/CodeSystem/medication-admin-status"


class SearchParameter(NamedTuple):
    """A search parameter with its type in FHIR."""

    name: str
    type: str
    documentation: str


class Statuses(NamedTuple):
    """The statuses of R4 that are read as ours; `None`: the resource says nothing yet and is skipped."""

    observation: Mapping[str, str | None]
    administration: Mapping[str, str | None]


def capability_statement(
    base: str,
    *,
    study: str,
    local_codes: Mapping[str, str],
    searches: Mapping[str, Sequence[SearchParameter]],
    statuses: Statuses,
    analyses: Iterable[str],
) -> dict[str, Any]:
    """The statement of the facade at the address `base`; `analyses` are those that it has a MeasureReport for."""
    return {
        "resourceType": "CapabilityStatement",
        "contained": [
            _codes(local_codes),
            _statuses("observation-statuses", _OBSERVATION_STATUS, statuses.observation),
            _statuses("administration-statuses", _ADMINISTRATION_STATUS, statuses.administration),
        ],
        "extension": [
            {"url": MAPPING, "valueReference": {"reference": reference}}
            for reference in ("#codes", "#observation-statuses", "#administration-statuses")
        ],
        "name": "MyoResponse",
        "title": "MyoResponse: treatment response in inflammatory myopathy",
        "status": "active",
        "date": DATE,
        "kind": "instance",
        "software": {"name": "MyoResponse", "version": __version__},
        "implementation": {"description": f"The study {study}", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "documentation": _ABOUT,
                "resource": [
                    *[_resource(name, parameters) for name, parameters in searches.items()],
                    {
                        "type": "MeasureReport",
                        "documentation": "Rates of the study: " + ", ".join(analyses) + ". The identifier of a report "
                        "is the name of its analysis.",
                        "interaction": [{"code": "read"}],
                    },
                ],
                "interaction": [{"code": "transaction"}, {"code": "batch"}],
            }
        ],
    }


_ABOUT = """\
One study; nothing is shared with another one. What is not kept (other resources, codes, kinds of values) is answered
with an OperationOutcome that says so and never fails a bundle. Names, addresses, birth dates beyond the year and notes
are never kept. Elements that are not named here are passed over; a modifier that is not understood is refused. No
reference is fetched. A bundle of type `collection` is taken like a transaction. Answers are JSON. A search reads one
revision of the study from its first page to its last; `meta.versionId` is the revision that stored a version."""

_DOCUMENTED = {
    "Patient": "Kept: gender, and the year of birthDate. A patient is found by identifier; where the study says that "
    "identifiers are numbers of medical records they are replaced by pseudonyms before anything is stored, and the "
    "pseudonym is shown with the system `urn:myoresponse:subject`. A record that was merged into another one is shown "
    "with a link `replaced-by`; a search for one of them does not find the results of the other. A patient is not "
    "deleted here.",
    "Observation": "Kept: laboratory results and assessments by code (concept map `codes`), also as components of a "
    "panel; value in an accepted unit, comparator, referenceRange as the limits of normal of this result, effective "
    "time, issued, status (concept map `observation-statuses`), identifier. Without identifier the id of the resource "
    "is its number. A code counts only with its system, and a text that names another isoenzyme than total creatine "
    "kinase vetoes it. What has a `focus` is skipped; dataAbsentReason is kept as cancelled. The limits are those that "
    "were sent; a unit that was sent as text comes back as text.",
    "MedicationAdministration": "Kept: immunoglobulin by code (concept map `codes`), effective time, dosage.dose, "
    "status (concept map `administration-statuses`), identifier. Other drugs are skipped.",
    "AdverseEvent": "Kept: events of actuality `actual` with their term (event.text or what the code is called), date, "
    "severity, seriousness, outcome fatal, and the causality of the suspected entity, by the code systems of R4. To "
    "withdraw one, DELETE it: R4 has no status for that; a read then answers 410.",
}


def _resource(name: str, parameters: Sequence[SearchParameter]) -> dict[str, Any]:
    codes = ["read", "vread", "update", *(["delete"] if name in _FACTS else []), "history-instance", "create",
             "search-type"]  # fmt: skip
    return {
        "type": name,
        "documentation": _DOCUMENTED[name],
        "interaction": [{"code": code} for code in codes],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "not-match",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "referencePolicy": ["literal", "logical", "local"],
        "searchParam": [{"name": one.name, "type": one.type, "documentation": one.documentation} for one in parameters],
    }


def _codes(local_codes: Mapping[str, str]) -> dict[str, Any]:
    """What each code means that the study's feeds may use; a code that is not here is skipped."""
    groups: dict[str, list[dict[str, Any]]] = {}
    known = [(system, code, word) for (system, code), word in KNOWN.items()]
    local = [(*key.split("|", 1), word) for key, word in local_codes.items()]
    for system, code, word in sorted([*known, *local]):
        target = {"code": word, "equivalence": "equivalent"}
        groups.setdefault(system, []).append({"code": code, "target": [target]})
    return {
        "resourceType": "ConceptMap",
        "id": "codes",
        "status": "active",
        "group": [
            {**({"source": system} if system else {}), "target": OWN_SYSTEM, "element": elements}
            for system, elements in groups.items()
        ],
    }


def _statuses(name: str, system: str, read: Mapping[str, str | None]) -> dict[str, Any]:
    """What each status is read as; one without a target is skipped."""
    elements = [
        {
            "code": status,
            "target": [
                {"equivalence": "unmatched", "comment": "skipped"}
                if ours is None
                else {"code": ours, "equivalence": "equivalent" if _comes_back(status, ours) else "wider"}
            ],
        }
        for status, ours in read.items()
    ]
    group = {"source": system, "target": STATUS_SYSTEM, "element": elements}
    return {"resourceType": "ConceptMap", "id": name, "status": "active", "group": [group]}


def _comes_back(status: str, ours: str) -> bool:
    """Whether a status that was read is shown again as it came."""
    return status in {ours, ADMINISTRATION_STATUS[ours]}
