"""The capability statement of a study's FHIR facade: its resources, interactions, search parameters and code mappings.

The mappings are given twice: as text, and as concept maps for programs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from app import __version__
from app.fhir.elements import TERMINOLOGY
from app.fhir.read_bundle import MOST_READS
from app.fhir.search_parameters import DEFAULT_PAGE, LARGEST_PAGE
from app.fhir.write_resources import ADMINISTRATION_STATUS
from app.timeline.resource import SupportedType
from app.timeline.vocabulary import KNOWN, OWN_SYSTEM

DATE = "2026-11-30"
"""When the text of this statement was last changed. Only what a study declares differs between answers."""
STATUS_SYSTEM = "urn:myoresponse:status"
MAPPING = "urn:myoresponse:extension:mapping"
FACT_TYPES: tuple[SupportedType, ...] = (
    "Observation", "MedicationAdministration", "MedicationStatement", "MedicationRequest", "AdverseEvent",
)  # fmt: skip
"""The types of resources that are facts and are withdrawn by DELETE; a Patient is not."""
_OBSERVATION_STATUS = "http://hl7.org/fhir/observation-status"
_ADMINISTRATION_STATUS = TERMINOLOGY + "medication-admin-status"
_STATEMENT_STATUS = TERMINOLOGY + "medication-statement-status"
_REQUEST_STATUS = "http://hl7.org/fhir/CodeSystem/medicationrequest-status"


VALIDATE = {
    "name": "validate",
    "definition": "http://hl7.org/fhir/OperationDefinition/Resource-validate",
    "documentation": "A rehearsal by POST: the OperationOutcome says what would become of the resource. Parameters: "
    "`resource` and `mode` (create, update, delete). Profiles are not checked.",
}
_RESULT_PARAMETERS = {
    "_count": f"Resources on a page, at most {LARGEST_PAGE}: more are not an error.",
    "_sort": "`date`, `effective-time` or `effective` (not of Patient), or `_lastUpdated`; with `-` the latest first. "
    "One of them.",
    "_summary": "`count` or `false`.",
    "_elements": "Names of elements. What is shown has the tag `SUBSETTED`, and cannot be sent back.",
    "_total": "`none`, `estimate` or `accurate`.",
}
"""The parameters of every search that are no criteria."""


class SearchParameter(NamedTuple):
    """A search parameter with its FHIR type."""

    name: str
    type: str
    documentation: str


class Statuses(NamedTuple):
    """The statuses of R4 and ours for each; `None`: the resource has no result yet and is skipped."""

    observation: Mapping[str, str | None]
    administration: Mapping[str, str | None]
    statement: Mapping[str, str | None]
    request: Mapping[str, str | None]


def capability_statement(
    base: str,
    *,
    study: str,
    local_codes: Mapping[str, str],
    searches: Mapping[str, Sequence[SearchParameter]],
    statuses: Statuses,
    analyses: Iterable[str],
) -> dict[str, Any]:
    """The statement of the facade at the address `base`; `analyses` are the analyses that have a MeasureReport."""
    return {
        "resourceType": "CapabilityStatement",
        "contained": [
            _codes(local_codes),
            _statuses("observation-statuses", _OBSERVATION_STATUS, statuses.observation),
            _statuses("administration-statuses", _ADMINISTRATION_STATUS, statuses.administration),
            _statuses("statement-statuses", _STATEMENT_STATUS, statuses.statement),
            _statuses("request-statuses", _REQUEST_STATUS, statuses.request),
        ],
        "extension": [
            {"url": MAPPING, "valueReference": {"reference": reference}}
            for reference in ("#codes", *(f"#{kind}-statuses" for kind in Statuses._fields))
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
                        "type": "DiagnosticReport",
                        "documentation": "The Observations that a report contains are stored; the report is not kept, "
                        "and cannot be read.",
                        "interaction": [{"code": "create"}],
                        "conditionalCreate": False,
                        "conditionalUpdate": False,
                        "referencePolicy": ["literal", "logical", "local"],
                        "operation": [VALIDATE],
                    },
                    {
                        "type": "MeasureReport",
                        "documentation": "Rates of the study: " + ", ".join(analyses) + ". The identifier of a report "
                        "is the name of its analysis.",
                        "interaction": [{"code": "read"}],
                    },
                ],
                "interaction": [
                    {
                        "code": "transaction",
                        "documentation": "POST, PUT and DELETE; with conditional create and update. Bundles of type "
                        "`collection` and `searchset` are stored in the same way.",
                    },
                    {
                        "code": "batch",
                        "documentation": f"The same, and up to {MOST_READS} entries with GET: reads, histories and "
                        f"searches, of which a page has at most {DEFAULT_PAGE} resources. They are answered last.",
                    },
                ],
                "searchParam": [
                    {"name": name, "type": "special", "documentation": text}
                    for name, text in _RESULT_PARAMETERS.items()
                ],
            }
        ],
    }


_ABOUT = """\
One study; nothing is shared between studies. Other resources and codes are not stored: the answer is an
OperationOutcome with the reason, and the bundle does not fail. Every write is answered by a receipt: the extension
`urn:myoresponse:extension:receipt` counts the facts by disposition, the outcome of an entry (or `meta.tag` of a single
resource) says what happened to each fact that is not plainly kept, and `receipt=full` lists all. With `rehearse=true`
nothing is stored. A batch of which nothing is kept is answered 422. Names, addresses, notes, and the month and day of
birth are never stored. Elements that are not named here are ignored; an unknown modifier is refused. References are not
fetched. A bundle of type `collection` is stored like a transaction. Answers are JSON. All pages of a search come from
one revision of the study; `meta.versionId` is the revision that stored a version. PATCH, conditional delete, chained
and included searches, the history of a type, compartments and other operations than `$validate` are refused by name. A
reference may have the address of this server; another address is foreign."""

_DOCUMENTED = {
    "Patient": "Stored: gender, the year of birthDate, and the day of deceasedDateTime, which ends the participation. "
    "If the study declares that identifiers are numbers of medical records, they are replaced by pseudonyms before "
    "anything is stored, and "
    "the pseudonym is shown with the system `urn:myoresponse:subject`. A link `replaced-by` or "
    "`replaces` merges two records. A merged record is shown with a link `replaced-by`; a search for one of the two "
    "records does not find the results of the other. A patient cannot be deleted here.",
    "Observation": "Stored: laboratory results and assessments by code (concept map `codes`), also as components of a "
    "panel; value in an accepted unit, comparator, referenceRange as the limits of normal of this result, effective "
    "time, issued, status (concept map `observation-statuses`), identifier. Without an identifier, the id of the "
    "resource is its number. A code counts only with its system. If the text names another isoenzyme than total "
    "creatine kinase, the code does not count. An Observation with `focus` is skipped; one with dataAbsentReason is "
    "stored as cancelled, and one with a text or a code as value is set aside. The performer of type Organization is "
    "the laboratory. Observations contained in a DiagnosticReport or an Observation are stored. The limits "
    "are shown as they were sent; a unit that was sent as text is shown as text.",
    "MedicationAdministration": "Stored: immunoglobulin by code (concept map `codes`), effective time, dosage.dose, "
    "status (concept map `administration-statuses`), identifier. A dose in another unit is left out. Another "
    "drug that analyses know is stored as a medication of one day and is read as a MedicationStatement; other drugs "
    "are skipped.",
    "MedicationStatement": "Stored: glucocorticoids, immunosuppressants and biologics by their code of ATC or RxNorm, "
    "or by their name, also before the strength of a product; effectivePeriod with its first day, the dose and how "
    "often it is taken, status (concept map `statement-statuses`), dateAsserted if it is an instant, identifier. "
    "`not-taken` withdraws. A drug that has ended needs its last day. A dose as needed, a range, or one in another "
    "unit is left out. Drugs for one place of the body and other drugs are skipped.",
    "MedicationRequest": "Stored as an order, which counts only for a person without another record of the drug: the "
    "same drugs, with the intent of an order and without `doNotPerform`. The dose is that of dosageInstruction; the "
    "first day is that of boundsPeriod, else of validityPeriod, else authoredOn; the last day that of boundsPeriod, "
    "boundsDuration or validityPeriod. An order that has ended needs one that is not in the future. Also status "
    "(concept map `request-statuses`), authoredOn if it is an instant, identifier; of R5 `medication`, "
    "`effectiveDosePeriod` and `statusChanged`. What is skipped or left out of a MedicationStatement is so here.",
    "AdverseEvent": "Stored: events of actuality `actual` with their term (event.text, or the display of the code), "
    "date, severity, seriousness, outcome fatal, and the causality of the suspected entity, by the code systems of R4. "
    "To withdraw an event, DELETE it, because R4 has no status for that; a read then answers 410.",
}


def _resource(name: str, parameters: Sequence[SearchParameter]) -> dict[str, Any]:
    codes = ["read", "vread", "update", *(["delete"] if name in FACT_TYPES else []), "history-instance", "create",
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
        "conditionalUpdate": True,
        "conditionalDelete": "not-supported",
        "referencePolicy": ["literal", "logical", "local"],
        "searchInclude": [],
        "searchRevInclude": [],
        "searchParam": [parameter._asdict() for parameter in parameters],
        "operation": [VALIDATE],
    }


def _codes(local_codes: Mapping[str, str]) -> dict[str, Any]:
    """The codes that the study's feeds may use, with their meaning; other codes are skipped."""
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
    """How each status is read; a resource with a status without a target is skipped."""
    elements = [
        {
            "code": status,
            "target": [
                {"equivalence": "unmatched", "comment": "skipped"}
                if ours is None
                else {"code": ours, "equivalence": "equivalent" if _is_shown_as_sent(status, ours) else "wider"}
            ],
        }
        for status, ours in read.items()
    ]
    group = {"source": system, "target": STATUS_SYSTEM, "element": elements}
    return {"resourceType": "ConceptMap", "id": name, "status": "active", "group": [group]}


def _is_shown_as_sent(status: str, ours: str) -> bool:
    """Whether a status is shown as it was sent."""
    return status in {ours, ADMINISTRATION_STATUS[ours]}
