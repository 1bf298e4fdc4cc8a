"""Resolving the entries of a FHIR message: the patient, the stored resource and the facts to store of each.

Nothing is read from the database here. `names_in` collects the names in the entries, and the caller looks them up. They
lead to patients and facts, whose current state the caller looks up next (`resources_in`, `numbers_in`). Then `resolve`
decides by all that was found (`StoredState`).

Entries are resolved together and not in order, so no entry overrides another. The ledger refuses assertions of one fact
that contradict each other; contradictions between the names of resources are refused here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from app.errors import (
    Erased,
    Fault,
    FaultCode,
    InvalidDocument,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    ServiceError,
)
from app.fhir.bundle_entries import Entry, Reference, Request
from app.fhir.elements import OWN_ID, as_source
from app.fhir.read_patient import RESOURCE_IDS
from app.readers.pseudonyms import Identifier, Pseudonyms
from app.readers.statements import Feed, Statement, history_of
from app.timeline.facts import AnyFact, History, Instruction, time_of
from app.timeline.normalize import MOST_FAULTS, SECTIONS
from app.timeline.resource import KINDS_OF, SUBJECT_SYSTEM, FactNumber, NumberedFact, ResourceKey, StoredResource
from app.timeline.times import instant_text
from app.timeline.vocabulary import WITHDRAWN

ERASE_INSTEAD = (
    "A patient cannot be withdrawn. To erase a person: DELETE /v1/studies/{study}/patients/{patient}?erase=true."
)
ANOTHER_RESOURCE = (
    "The content belongs to another resource than the one at this address. The patient, code and identifier of a "
    "resource cannot be changed; nor can its time, if it has no identifier."
)
NOT_KEPT = (
    "This content is not stored, so it cannot replace the resource at this address. To withdraw that resource, DELETE "
    "it or send it as entered in error."
)
ERASED = "A person to whom this refers has been erased."
_TWO_RESOURCES = "Another entry gives this identifier to another resource."
_ALSO_WITHDRAWN = "Another entry deletes what this one stores."
_KIND_OF = {section: kind for kind, section in SECTIONS.items()}
_NOT_IN_FHIR = ("lab", "course")
"""Fields of facts that a resource may not hold: an update keeps their current values."""
_LONGEST_VERSION = 18
"""Digits of one part of our versions: a revision is a number of 64 bits, so a longer text is not ours."""

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


@dataclass(frozen=True, slots=True)
class ResolvedEntry:
    """What is to be stored of an entry, and which resource its answer shows.

    `history` is what it submits, `None` if it stores nothing. `key` is the resource that the answer shows, if any.
    `client_id` is a new client id of that resource, as it is to be stored. `parts` are the new names of the other facts
    of a panel that has a client id. `known`: the patient or the fact is stored already. `outdated`: the client has read
    an older version than the current one.
    """

    entry: Entry
    history: History | None = None
    key: ResourceKey | None = None
    client_id: str | None = None
    parts: tuple[tuple[str, ResourceKey], ...] = ()
    known: bool = False
    outdated: bool = False


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
        if isinstance(entry.subject, Reference):
            add_patient(entry.subject.id)
        elif entry.subject is not None:
            patients.add(entry.subject)
        if request.if_none_exist is not None and entry.resource == "Patient":
            patient = pseudonyms.patient([request.if_none_exist])
            patients |= set() if isinstance(patient, FaultCode) else {patient}
    return WantedNames(patients, client_ids, own_ids)


def may_be_panel(entry: Entry) -> bool:
    """Whether an entry may refer to several facts under one client id."""
    request = request_of(entry)
    if request.resource == "Patient":
        return False
    return request.method == "DELETE" or (request.method == "PUT" and len(entry.statements) > 1)


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
    """The numbers in conditional creates of facts, for each patient that the subject of the entry may mean."""
    if all(request_of(entry).if_none_exist is None for entry in entries):
        return set()
    sent: dict[str | None, set[str]] = {}
    for entry in entries:
        if entry.resource == "Patient" and isinstance(entry.subject, str):
            sent.setdefault(request_of(entry).id or entry.id, set()).add(entry.subject)
    numbers = set()
    for entry in entries:
        _, number = _number_named(request_of(entry), pseudonyms)
        if number is None or entry.resource is None or entry.resource == "Patient" or entry.subject is None:
            continue
        meant = {entry.subject} if isinstance(entry.subject, str) else {entry.subject.id}
        if isinstance(entry.subject, Reference):
            key = client_ids.get(("Patient", pseudonyms.alias("Patient", entry.subject.id)))
            meant |= sent.get(entry.subject.id, set()) | ({key.patient} if key else set())
        numbers |= {(patient, entry.resource, number) for patient in meant}
    return numbers


def resolve(
    entries: Sequence[Entry], stored: StoredState, feed: Feed, *, based_on: str | None = None, only_new: bool = False
) -> list[ResolvedEntry]:
    """Resolve the entries of one submission, in their order.

    `based_on` is the `meta.versionId` in the body of a single update. With `only_new` the resource must not exist yet.
    Raises `InvalidDocument` with the faults of all entries, or the first `Erased`, `MethodNotAllowed`, `NotFound` or
    `PreconditionFailed` of an entry.
    """
    return EntryResolver(stored, feed, based_on, only_new).resolve(entries)


@dataclass(slots=True)
class EntryResolver:
    """Resolves the entries of one submission; the parameters are those of `resolve`.

    `_sent` has the subject identifier for each id of a Patient in this submission. `_born` has the statement of the
    year of birth for each patient.
    """

    stored: StoredState
    feed: Feed
    based_on: str | None
    only_new: bool
    _faults: list[Fault] = field(default_factory=list)
    _sent: dict[str, str] = field(default_factory=dict)
    _born: dict[str, Statement] = field(default_factory=dict)
    _patients: set[str] = field(default_factory=set)

    def resolve(self, entries: Sequence[Entry]) -> list[ResolvedEntry]:
        """The resolved entries, in their order."""
        subjects = [self._subject_sent(entry) if entry.resource == "Patient" else None for entry in entries]
        self._patients.update(patient for patient in subjects if patient is not None)
        resolved = []
        for entry, patient in zip(entries, subjects, strict=True):
            try:
                resolved.append(self._resolve_entry(entry, patient))
            except (Erased, MethodNotAllowed, NotFound, PreconditionFailed) as refusal:
                raise _with_entry(refusal, entry) from None
        if not self._faults:
            self._faults += _contradictions(resolved)
        if self._faults:
            raise InvalidDocument(faults=islice(self._faults, MOST_FAULTS))
        return resolved

    def _resolve_entry(self, entry: Entry, patient: str | None) -> ResolvedEntry:
        request = request_of(entry)
        if request.method == "DELETE" and not entry.faults:
            return self._withdrawal(entry, request)
        if entry.skipped is not None and not entry.faults:
            self._check_skipped_update(entry, request)
            return ResolvedEntry(entry)
        if entry.resource == "Patient" and request.method in {"POST", "PUT"}:
            return ResolvedEntry(entry) if patient is None else self._patient(entry, request, patient)
        self._faults += entry.faults
        if request.method == "GET" or (request.method == "PUT" and request.id is None):
            self._faults.append(Fault(f"{_entry_of(entry)}.request", FaultCode.UNSUPPORTED))
        elif not entry.faults:
            return self._fact(entry, request)
        return ResolvedEntry(entry)

    # Names

    def _by_client_id(self, resource: str, name: str) -> ResourceKey | None:
        """The resource with this client id. Raises `Erased` for the patient of an erased person."""
        client_id = self.feed.pseudonyms.alias(resource, name)
        key = self.stored.client_ids.get((resource, client_id))
        if key is None and resource == "Patient" and client_id in self.stored.erased_client_ids:
            raise Erased
        return key

    def _stored_at(self, request: Request) -> ResourceKey | None:
        """The stored resource that a request names, by a client id or by our own identifier.

        For a patient, our own identifier is tried first, because all our answers refer to patients by it.
        """
        if request.id is None or request.resource not in KINDS_OF:
            return None
        named = self._by_client_id(request.resource, request.id)
        if request.resource == "Patient":
            if request.id in self.stored.patients:
                return ResourceKey(request.id)
            if named is None and request.id in self.stored.erased:
                raise Erased
            return named
        if named is None and request.id in self.stored.erased_own_ids:
            raise Erased
        return named or self.stored.own_ids.get((request.resource, request.id))

    def _parts(self, request: Request) -> list[ResourceKey]:
        """The parts of the panel that a request names."""
        parts: list[ResourceKey] = []
        while (part := self._by_client_id(request.resource or "", part_name(request, len(parts)))) is not None:
            parts.append(part)
        return parts

    # Patients

    def _subject_sent(self, entry: Entry) -> str | None:
        """The subject of a Patient, which is noted with its year of birth for the other entries."""
        request = request_of(entry)
        if entry.skipped is not None or request.method not in {"POST", "PUT"}:
            return None
        patient = self._subject_of_patient(entry, request)
        name = request.id or entry.id
        if patient is not None and name is not None:
            self._sent[name] = patient
        for statement in entry.statements:
            year = statement.fields.get("birth_year")
            if patient is not None and statement.section == "patient" and year is not None:
                self._born[patient] = Statement("patient", {"birth_year": year}, statement.place)
        return patient

    def _subject_of_patient(self, entry: Entry, request: Request) -> str | None:
        """The subject of a Patient: the patient at its address, else the patient of its identifiers."""
        named = self._stored_at(request) if request.method == "PUT" else None
        stated = entry.subject if isinstance(entry.subject, str) else None
        faults = list(entry.faults)
        if stated is None and not faults:
            faults.append(Fault(entry.subject_place or entry.place, FaultCode.NO_SUBJECT))
        if named is not None and stated is not None and stated != named.patient:
            # Our own answer may be sent back, with the subject identifier as identifier, or with only the id.
            own = [Identifier(SUBJECT_SYSTEM, named.patient), Identifier(RESOURCE_IDS, request.id or "")]
            if stated not in {self.feed.pseudonyms.patient([identifier]) for identifier in own}:
                faults.append(Fault(entry.subject_place or entry.place, FaultCode.PATH_MISMATCH, ANOTHER_RESOURCE))
        self._faults += faults
        if faults:
            return None
        return stated if named is None else named.patient

    def _patient(self, entry: Entry, request: Request, patient: str) -> ResolvedEntry:
        if request.if_none_exist is not None:
            existing = self.feed.pseudonyms.patient([request.if_none_exist])
            if not isinstance(existing, FaultCode) and self._is_known(existing):
                return ResolvedEntry(entry, key=ResourceKey(existing), known=True)
        key = ResourceKey(patient)
        known = self._is_known(patient)
        standing = self.stored.resources.get(key)
        self._check_standing(request, standing)
        history = self._history(entry, patient, entry.statements)
        client_id = self._new_client_id(entry, patient)
        outdated = self._is_outdated(request, standing)
        return ResolvedEntry(entry, history, key, client_id, known=known, outdated=outdated)

    # Facts

    def _fact(self, entry: Entry, request: Request) -> ResolvedEntry:
        named = self._stored_at(request) if request.method == "PUT" else None
        standing = None if named is None else self.stored.resources.get(named)
        self._check_standing(request, standing)
        patient = self._subject(entry)
        if patient is None:
            return ResolvedEntry(entry)
        self._is_known(patient)
        statements = entry.statements
        if standing is not None and standing.fact is not None:
            based = request.if_match not in {None, "*"} or self.based_on == standing.version
            statements = tuple(self._completed(each, request, standing.fact, based) for each in statements)
        history = self._history(entry, patient, statements)
        if history is None or not statements:
            return ResolvedEntry(entry)
        if named is not None and named.kind is not None:
            stated = {fact.identity for fact in getattr(history, named.kind)}
            history = replace(history, instruction=Instruction("update", _draws(named, *self._parts(request))))
            if patient != named.patient or named.identity not in stated:
                self._faults.append(Fault(entry.place, FaultCode.PATH_MISMATCH, ANOTHER_RESOURCE))
            parts = self._new_parts(request, history, named)
            known = standing is not None and not standing.removed
            outdated = self._is_outdated(request, standing)
            return ResolvedEntry(entry, history, named, parts=parts, known=known, outdated=outdated)
        match = self._existing(entry, request, history) if request.if_none_exist is not None else None
        if match is not None:
            return ResolvedEntry(entry, key=match)
        kind = _KIND_OF[statements[0].section]
        key = ResourceKey(patient, kind, getattr(history, kind)[0].identity)
        parts = self._new_parts(request, history, key)
        if entry.request is not None:
            history = replace(history, instruction=Instruction("create"))
        return ResolvedEntry(entry, history, key, self._new_client_id(entry, None), parts)

    def _withdrawal(self, entry: Entry, request: Request) -> ResolvedEntry:
        if request.resource not in KINDS_OF:
            return ResolvedEntry(replace(entry, skipped="resource"))
        if request.resource == "Patient":
            raise MethodNotAllowed(ERASE_INSTEAD)
        named = self._stored_at(request)
        standing = None if named is None else self.stored.resources.get(named)
        if named is None or standing is None or standing.fact is None:
            raise NotFound
        _check_version(request.if_match, standing)
        facts: dict[str, Any] = {}
        parts = self._parts(request)
        for part in (standing, *map(self.stored.resources.get, parts)):
            if part is not None and part.fact is not None and not part.withdrawn:
                facts[part.kind] = (*facts.get(part.kind, ()), part.fact._replace(status="entered-in-error"))
        instruction = Instruction("delete", _draws(named, *parts))
        history = History(named.patient, **facts, instruction=instruction) if facts else None
        return ResolvedEntry(entry, history, named)

    def _check_skipped_update(self, entry: Entry, request: Request) -> None:
        """Add a fault if an update of a fact has content that is not stored: the old value would stay current.

        There is no fault if the status says that there is no result yet: this may be an older message that comes late.
        """
        named = self._stored_at(request) if request.method == "PUT" and entry.skipped != "status" else None
        standing = None if named is None else self.stored.resources.get(named)
        if standing is not None and not standing.withdrawn:
            self._faults.append(Fault(entry.place, FaultCode.PATH_MISMATCH, NOT_KEPT))

    def _new_parts(self, request: Request, history: History, main: ResourceKey) -> tuple[tuple[str, ResourceKey], ...]:
        """New names for the facts of a panel with a client id, except the `main` fact and the parts that have a name
        already.
        """
        if request.method != "PUT":
            return ()
        facts = [
            ResourceKey(history.patient, kind, fact.identity)
            for kind, of_kind in history.kinds()
            for fact in of_kind
            if fact.identity != main.identity
        ]
        if not facts:
            return ()
        known = self._parts(request)
        stated = {(part.kind, part.identity) for part in known}
        fresh = [fact for fact in facts if (fact.kind, fact.identity) not in stated]
        names = [part_name(request, len(known) + i) for i in range(len(fresh))]
        kept = [self.feed.pseudonyms.alias(request.resource or "", name) for name in names]
        return tuple(zip(kept, fresh, strict=True))

    def _existing(self, entry: Entry, request: Request, history: History) -> ResourceKey | None:
        """The stored fact that a conditional create finds. Raises `PreconditionFailed` if several match.

        A laboratory gives one accession number to many results and several draws, and another laboratory may give it to
        another patient. Therefore the patient, the code and the time must match, too. Otherwise this result would be
        lost.
        """
        source, number = _number_named(request, self.feed.pseudonyms)
        if number is None or entry.resource is None:
            return None
        codes = {str(statement.fields.get("code", "")) for statement in entry.statements}
        times = [time_of(kind, fact) for kind, facts in history.kinds() if kind in SECTIONS for fact in facts]
        found = [
            known.key
            for known in self.stored.numbered.get((history.patient, entry.resource, number), ())
            if (source is None or known.source == source)
            and known.key.identity is not None
            and known.key.identity.split("|")[1] in codes
            and any(one.agrees(other) for one in known.times for other in times)
        ]
        if len({((key.identity or "").split("|", 2)[2], key.draw) for key in found}) > 1:
            raise PreconditionFailed("Several resources have the identifier in If-None-Exist.")
        return found[0] if found else None

    def _completed(self, statement: Statement, request: Request, standing: AnyFact, based: bool) -> Statement:
        """A statement of an update, with the fields that the resource does not give taken from the `standing` fact.

        A resource without an identifier has its id as number. The client may have got this id from us, so the number of
        the standing fact is used. The version and the time of issue decide which assertion is current, so they are
        filled in only if the client has read the standing fact (`based`), or withdraws it.
        """
        fields = dict(statement.fields)
        number = fields.get("id")
        own = self.feed.pseudonyms.number(OWN_ID, request.id or "")
        again = None if standing.id is None else self.feed.pseudonyms.number(fields.get("source"), standing.id)
        if number is None or (fields.get("source") == OWN_ID and number == own) or number == again:
            fields["id"], fields["source"] = standing.id, standing.source
        for name in _NOT_IN_FHIR:
            kept = getattr(standing, name, None)
            if kept is not None:
                fields.setdefault(name, kept)
        if based or fields.get("status") in WITHDRAWN:
            fields = _ordered_like(standing, fields)
        return statement._replace(fields=fields)

    # Patients and facts

    def _subject(self, entry: Entry) -> str | None:
        """The subject of an entry. A reference must lead to a Patient of this submission or of the study."""
        if not isinstance(entry.subject, Reference):
            if entry.subject is None:
                self._faults.append(Fault(entry.subject_place or entry.place, FaultCode.NO_SUBJECT))
            return entry.subject
        name = entry.subject.id
        if name in self._sent:
            return self._sent[name]
        named = self._by_client_id("Patient", name)
        if named is not None:
            if named.patient != name and name in self.stored.patients:
                self._faults.append(Fault(entry.subject_place or entry.place, FaultCode.AMBIGUOUS_SUBJECT))
            return named.patient
        if self._is_known(name):
            return name
        kept = self.feed.pseudonyms.patient([Identifier(None, name)])
        if self.feed.pseudonyms.fingerprint is None and not isinstance(kept, FaultCode):
            return kept
        self._faults.append(Fault(entry.subject_place or entry.place, FaultCode.UNKNOWN_REFERENCE))
        return None

    def _is_known(self, patient: str) -> bool:
        """Whether the study has this patient already. Raises `Erased` for an erased person."""
        if patient in self.stored.erased:
            raise Erased(ERASED)
        return patient in self.stored.patients

    def _history(self, entry: Entry, patient: str, statements: Sequence[Statement]) -> History | None:
        """The history of one entry. Its times are checked against a year of birth in another entry, too."""
        born = self._born.get(patient)
        stated = statements if born is None or entry.resource == "Patient" else (*statements, born)
        history, faults = history_of(patient, stated, self.feed.latest)
        self._faults += faults
        if faults:
            return None
        return history if entry.resource == "Patient" else replace(history, attributes=())

    def _new_client_id(self, entry: Entry, patient: str | None) -> str | None:
        """The client id to store for a resource, if it is new; `patient` is the patient of a Patient, else `None`.

        A client id that leads to another patient, or is the subject identifier of one, is a fault: results would go to
        the wrong patient.
        """
        name = _id_given(entry)
        if name is None or name == patient or entry.resource is None:
            return None
        named = self._by_client_id(entry.resource, name)
        taken = named is not None and named.patient != patient
        if patient is not None and (taken or name in self._patients or name in self.stored.patients):
            self._faults.append(Fault(entry.place + ".id", FaultCode.CONFLICTING_DUPLICATE))
        return self.feed.pseudonyms.alias(entry.resource, name) if named is None else None

    def _is_outdated(self, request: Request, standing: StoredResource | None) -> bool:
        """Whether an update under our own identifier is based on an older version of the resource.

        A version that is not one of ours counts as newer than all.
        """
        if self.based_on is None or standing is None or request.id != standing.id:
            return False
        return _version_numbers(self.based_on) < _version_numbers(standing.version)

    def _check_standing(self, request: Request, standing: StoredResource | None) -> None:
        """Raise `PreconditionFailed` if the standing version does not meet the conditions of an update."""
        _check_version(request.if_match, standing)
        if self.only_new and standing is not None:
            raise PreconditionFailed("The resource exists already.")


def _draws(*named: ResourceKey) -> dict[tuple[str, str], str]:
    """The draws that a request names."""
    return {(key.kind, key.identity): key.draw for key in named if key.kind is not None and key.identity is not None}


def _contradictions(resolved: Sequence[ResolvedEntry]) -> Iterator[Fault]:
    """The faults of entries that give one id to two resources, or store a resource that another entry deletes."""
    named: dict[tuple[str | None, str], ResourceKey] = {}
    withdrawn = {each.key for each in resolved if each.key is not None and request_of(each.entry).method == "DELETE"}
    for each in resolved:
        name = _id_given(each.entry)
        if name is None or each.key is None:
            continue
        if each.key in withdrawn:
            yield Fault(_entry_of(each.entry) + ".request", FaultCode.CONFLICTING_DUPLICATE, _ALSO_WITHDRAWN)
        elif named.setdefault((each.entry.resource, name), each.key) != each.key:
            yield Fault(each.entry.place + ".id", FaultCode.CONFLICTING_DUPLICATE, _TWO_RESOURCES)


def _id_given(entry: Entry) -> str | None:
    """The id that an entry gives its resource: the id of a PUT, or of a Patient without a request, to which other
    resources of an export refer.
    """
    if entry.request is None:
        return entry.id if entry.resource == "Patient" else None
    return entry.request.id if entry.request.method == "PUT" else None


def _number_named(request: Request, pseudonyms: Pseudonyms) -> tuple[str | None, str | None]:
    """The source and the number, as it is stored, of a conditional create; `None` if there is none."""
    if request.if_none_exist is None:
        return None, None
    authority, value = request.if_none_exist
    source = as_source(authority) if authority else None
    number = pseudonyms.number(source, value)
    return source, None if isinstance(number, FaultCode) else number


def _check_version(if_match: str | None, standing: StoredResource | None) -> None:
    """Raise `PreconditionFailed` if If-Match does not name the standing version (`W/"17"`)."""
    if if_match is None:
        return
    named = {tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")}
    if standing is None or named.isdisjoint({"*", standing.version}):
        raise PreconditionFailed


def _version_numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    if all(part.isdecimal() and len(part) <= _LONGEST_VERSION for part in parts):
        return tuple(int(part) for part in parts)
    return (2**63,)


def _ordered_like(standing: AnyFact, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, with the version and the time of issue of the standing fact filled in if they have no version."""
    if fields.get("version") is None and fields.get("issued") is None:
        issued = None if standing.issued is None else instant_text(standing.issued)
        return fields | {"version": standing.version, "issued": issued}
    return fields if fields.get("version") is not None else fields | {"version": standing.version}


def _entry_of(entry: Entry) -> str:
    return entry.place.removesuffix(".resource")


def _with_entry(refusal: ServiceError, entry: Entry) -> ServiceError:
    """The refusal, with the entry of the bundle in its text."""
    if not entry.place.startswith("Bundle"):
        return refusal
    return type(refusal)(f"{_entry_of(entry)}: {refusal.detail or refusal.title() + '.'}")
