"""The names in the entries of a FHIR message, and what a study has stored under them.

`names_in` collects the names in the entries, and the caller looks them up. They lead to patients and facts, whose
current state the caller looks up next (`resources_in`, `numbers_in`).
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from app.errors import FaultCode
from app.fhir.bundle_entries import Entry, Reference, Request
from app.fhir.elements import as_source
from app.readers.pseudonyms import Pseudonyms
from app.readers.statements import Statement
from app.timeline.resource import KINDS_OF, FactNumber, NumberedFact, ResourceKey, StoredResource
from app.timeline.vocabulary import WITHDRAWN

TypedId = tuple[str, str]
"""A resource type and an identifier: ours, or a client id as it is stored (`Pseudonyms.alias`)."""


@dataclass(frozen=True, slots=True)
class WantedNames:
    """The names in some entries: subject identifiers of patients, client ids, and identifiers of facts that this
    service gave.
    """

    patients: Set[str]
    client_ids: Set[TypedId]
    own_ids: Set[TypedId]


@dataclass(frozen=True, slots=True)
class StoredState:
    """What a study has stored under the names in some entries.

    `patients` are the subject identifiers of patients in the study, `erased` those of erased persons. For erased
    persons, `erased_own_ids` has our identifiers of their facts, and `erased_client_ids` the client ids of the
    patients, as they are stored. `resources` has the current version of each named resource, and `numbered` the facts
    that have a number.
    """

    patients: Set[str] = frozenset()
    erased: Set[str] = frozenset()
    client_ids: Mapping[TypedId, ResourceKey] = field(default_factory=dict)
    erased_client_ids: Set[str] = frozenset()
    own_ids: Mapping[TypedId, ResourceKey] = field(default_factory=dict)
    erased_own_ids: Set[str] = frozenset()
    resources: Mapping[ResourceKey, StoredResource] = field(default_factory=dict)
    numbered: Mapping[FactNumber, Sequence[NumberedFact]] = field(default_factory=dict)


def request_of(entry: Entry) -> Request:
    """The request of an entry; an entry without a request is created."""
    return entry.request or Request("POST", "")


def part_name(request: Request, number: int) -> str:
    """The name under which a part of a panel is stored.

    A panel with a client id is one resource for the client and several facts here. The client id leads to the first
    fact. Names that no resource can have (`panel#0`, `panel#1`) lead to the others, the parts.
    """
    return f"{request.id}#{number}"


def names_in(entries: Sequence[Entry], pseudonyms: Pseudonyms) -> WantedNames:
    """The names that must be looked up before the entries can be resolved."""
    patients: set[str] = set()
    client_ids: set[TypedId] = set()
    own_ids: set[TypedId] = set()

    def add_patient(name: str) -> None:
        patients.add(name)
        client_ids.add(("Patient", pseudonyms.alias("Patient", name)))

    for entry in entries:
        request = request_of(entry)
        name = request.id if request.method in {"PUT", "DELETE"} and request.resource in KINDS_OF else None
        if name is not None and request.resource == "Patient":
            add_patient(name)
        elif name is not None and request.resource is not None:
            client_ids.add((request.resource, pseudonyms.alias(request.resource, name)))
            own_ids.add((request.resource, name))
            if may_be_panel(entry):
                client_ids.add((request.resource, pseudonyms.alias(request.resource, part_name(request, 0))))
        if entry.resource == "Patient" and entry.id is not None and not entry.faults:
            add_patient(entry.id)
        subjects = [entry.subject, *[link.other for link in entry.links]] if entry.links else [entry.subject]
        for subject in subjects:
            if isinstance(subject, Reference):
                add_patient(subject.id)
            elif subject is not None:
                patients.add(subject)
        if request.searched is not None and entry.resource == "Patient":
            patient = pseudonyms.patient([request.searched])
            patients |= set() if isinstance(patient, FaultCode) else {patient}
    return WantedNames(patients, client_ids, own_ids)


def may_be_panel(entry: Entry) -> bool:
    """Whether an entry may refer to several facts under one client id."""
    request = request_of(entry)
    if request.resource == "Patient" or request.id is None:
        return False
    if request.method == "DELETE" or entry.panel is not None or entry.withdrawn or len(entry.statements) > 1:
        return request.method in {"DELETE", "PUT"}
    return request.method == "PUT" and any(each.fields.get("status") in WITHDRAWN for each in entry.statements)


def resources_in(
    entries: Sequence[Entry], patients: Iterable[str], *named: Mapping[TypedId, ResourceKey]
) -> set[ResourceKey]:
    """The resources whose current state is needed: the facts in `named`, and `patients` (those of the study) if the
    entries have any Patient.
    """
    keys = {key for names in named for key in names.values() if key.kind is not None}
    if any(entry.resource == "Patient" for entry in entries):
        keys |= {ResourceKey(patient) for patient in patients}
    return keys


def numbers_in(
    entries: Sequence[Entry], client_ids: Mapping[TypedId, ResourceKey], pseudonyms: Pseudonyms
) -> set[FactNumber]:
    """The numbers in conditional creates and updates of facts and of withdrawn panels, for each patient whom the entry
    may mean.
    """
    if all(request_of(entry).searched is None and entry.panel is None for entry in entries):
        return set()
    sent: dict[str | None, set[str]] = {}
    for entry in entries:
        if entry.resource == "Patient" and isinstance(entry.subject, str):
            sent.setdefault(request_of(entry).id or entry.id, set()).add(entry.subject)
    numbers = set()
    for entry in entries:
        _, number = number_named(request_of(entry), pseudonyms)
        if entry.panel is not None:
            number = entry.panel.fields["id"]
        if number is None or entry.resource not in KINDS_OF or entry.resource == "Patient" or entry.subject is None:
            continue
        meant = {entry.subject} if isinstance(entry.subject, str) else {entry.subject.id}
        if isinstance(entry.subject, Reference):
            key = client_ids.get(("Patient", pseudonyms.alias("Patient", entry.subject.id)))
            meant |= sent.get(entry.subject.id, set()) | ({key.patient} if key else set())
        numbers |= {(patient, resource, number) for patient in meant for resource in types_of(entry)}
    return numbers


def types_of(entry: Entry) -> tuple[str, ...]:
    """The type of the resources as which the facts of an entry are stored, and that of its address if it is another
    one: an administration of a drug other than immunoglobulin is stored as a MedicationStatement.
    """
    sent = entry.resource or ""
    drugs = any(statement.section == "medications" for statement in entry.statements)
    return ("MedicationStatement", sent) if drugs and sent == "MedicationAdministration" else (sent,)


def code_named(statement: Statement) -> str:
    """What the identity of a numbered fact has after its number."""
    fields = statement.fields
    return "order" if fields.get("ordered") else str(fields.get("code", ""))


def number_named(request: Request, pseudonyms: Pseudonyms) -> tuple[str | None, str | None]:
    """The source and the number, as it is stored, of a conditional create or update; `None` if there is none."""
    if request.searched is None:
        return None, None
    authority, value = request.searched
    source = as_source(authority) if authority else None
    number = pseudonyms.number(source, value)
    return source, None if isinstance(number, FaultCode) else number
