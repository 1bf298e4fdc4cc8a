"""What each entry of a FHIR message comes to: whose it is, which stored resource it names, and what it submits.

Nothing is read from the database here. `names_in` says what some entries name, the caller looks it up, and `resolve`
decides by what was found (`StoredState`). The names lead to patients and facts, whose present state is looked up in a
second round (`resources_in`, `numbers_in`).

Entries are not processed one after the other, so there is no last one that could win. That the assertions of one fact
do not contradict each other is seen to by the ledger; contradictions between the names of resources are found here.
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
from app.fhir.elements import as_source
from app.fhir.read_patient import RESOURCE_IDS
from app.readers.pseudonyms import Identifier, Pseudonyms
from app.readers.statements import Feed, Statement, history_of
from app.timeline.facts import AnyFact, History
from app.timeline.normalize import MOST_FAULTS, SECTIONS
from app.timeline.resource import KINDS_OF, SUBJECT_SYSTEM, FactNumber, NumberedFact, ResourceKey, StoredResource
from app.timeline.times import instant_text
from app.timeline.vocabulary import WITHDRAWN

ERASE_INSTEAD = (
    "A patient is not withdrawn; to erase a person: DELETE /v1/studies/{study}/patients/{patient}?erase=true."
)
ANOTHER_RESOURCE = (
    "The content is that of another resource than the one at this address: its patient, code and identifier, and "
    "without an identifier its time, cannot be changed."
)
NOT_KEPT = (
    "What stands at this address is kept, and this is not: to withdraw it, DELETE it or send it as entered in error."
)
OWN_ID = "fhir"
"""The source of numbers that are nothing but the id of the resource; see `Resource.named` in `ingest.fhir`."""
_ERASED = "A person whom this is about has been erased."
_TWO_RESOURCES = "Another entry gives this identifier to another resource."
_ALSO_WITHDRAWN = "Another entry deletes what this one stores."
_KIND_OF = {section: kind for kind, section in SECTIONS.items()}
_NOT_IN_FHIR = ("lab", "course")
"""Fields of facts that a resource may have no place for: an update leaves them as they stand."""
_LONGEST_VERSION = 18
"""Digits of a part of a version of ours: revisions are numbers of 64 bits, and a longer text is not one of them."""

TypedId = tuple[str, str]
"""A type of resource and an identifier: one of ours, or a client's as it is kept (`Pseudonyms.alias`)."""


@dataclass(frozen=True, slots=True)
class WantedNames:
    """What some entries name: subject identifiers of patients, identifiers that clients chose, and those of facts that
    this service gave.
    """

    patients: Set[str]
    client_ids: Set[TypedId]
    own_ids: Set[TypedId]


@dataclass(frozen=True, slots=True)
class StoredState:
    """What a study holds of all that some entries name.

    `patients` are the subject identifiers of those whom the study has, `erased` those of persons who have been erased.
    A name of a fact that is of an erased person is in `erased_own_ids`, a client's name of such a patient, as it is
    kept, in `erased_client_ids`. `resources` are those that the names lead to, as they stand.
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
    """What is to be done about an entry.

    `history` is what it submits, `None` where it stores nothing. `key` is the resource that the answer shows; without
    one there is nothing to show. `client_id` is a new name of that resource, as it is to be kept, and so are the names
    in `parts`: those of the other facts that a panel under a client's name states. `known`: the patient is known, or
    the fact stands already; `outdated`: the client has read an older version than the one that stands.
    """

    entry: Entry
    history: History | None = None
    key: ResourceKey | None = None
    client_id: str | None = None
    parts: tuple[tuple[str, ResourceKey], ...] = ()
    known: bool = False
    outdated: bool = False


def request_of(entry: Entry) -> Request:
    """What an entry asks for; where it does not say, it is to be created."""
    return entry.request or Request("POST", "")


def part_name(request: Request, number: int) -> str:
    """By which name a part of a panel is kept.

    A panel that a client names is one resource to it and several facts here. Its name leads to the first of them, and
    names that no resource can have (`panel#0`, `panel#1`) to the others, its parts.
    """
    return f"{request.id}#{number}"


def names_in(entries: Sequence[Entry], pseudonyms: Pseudonyms) -> WantedNames:
    """All that is to be looked up before the entries can be resolved."""
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
            wanted = pseudonyms.patient([request.if_none_exist])
            patients |= set() if isinstance(wanted, FaultCode) else {wanted}
    return WantedNames(patients, client_ids, own_ids)


def may_be_panel(entry: Entry) -> bool:
    """Whether an entry may be about several facts that a client has given one name."""
    request = request_of(entry)
    if request.resource == "Patient":
        return False
    return request.method == "DELETE" or (request.method == "PUT" and len(entry.statements) > 1)


def resources_in(
    entries: Sequence[Entry], patients: Iterable[str], *named: Mapping[TypedId, ResourceKey]
) -> set[ResourceKey]:
    """The resources whose present state decides about the entries: facts that names lead to (`named`), and patients
    where any is sent; `patients` are those whom the study has.
    """
    wanted = {key for names in named for key in names.values() if key.kind is not None}
    if any(entry.resource == "Patient" for entry in entries):
        wanted |= {ResourceKey(patient) for patient in patients}
    return wanted


def numbers_in(
    entries: Sequence[Entry], client_ids: Mapping[TypedId, ResourceKey], pseudonyms: Pseudonyms
) -> set[FactNumber]:
    """The numbers that conditional creates of facts name, of each patient whom their subject may mean."""
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
    """What each entry of one submission comes to.

    `based_on` is the version that the body of a single update says it was read in, `only_new` says that it must not
    find a resource. Raises `InvalidDocument` with the faults of all entries, or the first other objection to one.
    """
    return EntryResolver(stored, feed, based_on, only_new).resolve(entries)


@dataclass(slots=True)
class EntryResolver:
    """The entries of one submission on their way to the ledger; the parameters are those of `resolve`.

    `_sent` are the patients whom Patients of this submission are about, by the ids that those have; `_born` is what
    they say of the year of birth, by the patient.
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
        """One answer for each entry."""
        subjects = [self._subject_sent(entry) if entry.resource == "Patient" else None for entry in entries]
        self._patients.update(patient for patient in subjects if patient is not None)
        resolved = []
        for entry, patient in zip(entries, subjects, strict=True):
            try:
                resolved.append(self._resolved(entry, patient))
            except (Erased, MethodNotAllowed, NotFound, PreconditionFailed) as refusal:
                raise _at_its_entry(refusal, entry) from None
        if not self._faults:
            self._faults += _contradictions(resolved)
        if self._faults:
            raise InvalidDocument(faults=islice(self._faults, MOST_FAULTS))
        return resolved

    def _resolved(self, entry: Entry, patient: str | None) -> ResolvedEntry:
        request = request_of(entry)
        if request.method == "DELETE" and not entry.faults:
            return self._withdrawal(entry, request)
        if entry.skipped is not None and not entry.faults:
            self._check_left_alone(entry, request)
            return ResolvedEntry(entry)
        if entry.resource == "Patient" and request.method in {"POST", "PUT"}:
            return ResolvedEntry(entry) if patient is None else self._patient(entry, request, patient)
        self._faults += entry.faults
        if request.method == "GET" or (request.method == "PUT" and request.id is None):
            self._faults.append(Fault(f"{_entry_of(entry)}.request", FaultCode.UNSUPPORTED))
        elif not entry.faults:
            return self._fact(entry, request)
        return ResolvedEntry(entry)

    # What a name leads to

    def _named(self, resource: str, name: str) -> ResourceKey | None:
        """What a client's name leads to."""
        kept = self.feed.pseudonyms.alias(resource, name)
        found = self.stored.client_ids.get((resource, kept))
        if found is None and resource == "Patient" and kept in self.stored.erased_client_ids:
            raise Erased
        return found

    def _addressed(self, request: Request) -> ResourceKey | None:
        """The stored resource that a request names: by a client's name, or by the identifier that we gave it.

        Of a patient ours goes first, as all that we answer refers to patients by it.
        """
        if request.id is None or request.resource not in KINDS_OF:
            return None
        named = self._named(request.resource, request.id)
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
        found: list[ResourceKey] = []
        while (part := self._named(request.resource or "", part_name(request, len(found)))) is not None:
            found.append(part)
        return found

    # Patients

    def _subject_sent(self, entry: Entry) -> str | None:
        """Whom a resource Patient is about, noted for references to it and for what its birth year forbids."""
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
        """The subject that a Patient is: whom its address names, else whom its identifiers name."""
        named = self._addressed(request) if request.method == "PUT" else None
        stated = entry.subject if isinstance(entry.subject, str) else None
        faults = list(entry.faults)
        if stated is None and not faults:
            faults.append(Fault(entry.subject_place or entry.place, FaultCode.NO_SUBJECT))
        if named is not None and stated is not None and stated != named.patient:
            # What we answered may come back: the subject as an identifier, or nothing but the id.
            own = [Identifier(SUBJECT_SYSTEM, named.patient), Identifier(RESOURCE_IDS, request.id or "")]
            if stated not in {self.feed.pseudonyms.patient([one]) for one in own}:
                faults.append(Fault(entry.subject_place or entry.place, FaultCode.PATH_MISMATCH, ANOTHER_RESOURCE))
        self._faults += faults
        if faults:
            return None
        return stated if named is None else named.patient

    def _patient(self, entry: Entry, request: Request, patient: str) -> ResolvedEntry:
        if request.if_none_exist is not None:
            wanted = self.feed.pseudonyms.patient([request.if_none_exist])
            if not isinstance(wanted, FaultCode) and self._is_known(wanted):
                return ResolvedEntry(entry, key=ResourceKey(wanted), known=True)
        key = ResourceKey(patient)
        known = self._is_known(patient)
        standing = self.stored.resources.get(key)
        self._check_standing(request, standing)
        history = self._history(entry, patient, entry.statements)
        client_id = self._new_name(entry, patient)
        outdated = self._is_outdated(request, standing)
        return ResolvedEntry(entry, history, key, client_id, known=known, outdated=outdated)

    # Facts

    def _fact(self, entry: Entry, request: Request) -> ResolvedEntry:
        named = self._addressed(request) if request.method == "PUT" else None
        standing = None if named is None else self.stored.resources.get(named)
        self._check_standing(request, standing)
        patient = self._subject(entry)
        if patient is None:
            return ResolvedEntry(entry)
        self._is_known(patient)
        statements = entry.statements
        if standing is not None and standing.fact is not None:
            based = request.if_match not in {None, "*"} or self.based_on == standing.version
            statements = tuple(self._taken_over(each, request, standing.fact, based) for each in statements)
        history = self._history(entry, patient, statements)
        if history is None or not statements:
            return ResolvedEntry(entry)
        if named is not None and named.kind is not None:
            stated = {one.identity for one in getattr(history, named.kind)}
            if patient != named.patient or named.identity not in stated:
                self._faults.append(Fault(entry.place, FaultCode.PATH_MISMATCH, ANOTHER_RESOURCE))
            parts = self._new_parts(request, history, named)
            known = standing is not None and not standing.removed
            outdated = self._is_outdated(request, standing)
            return ResolvedEntry(entry, history, named, parts=parts, known=known, outdated=outdated)
        match = self._existing(entry, request, patient) if request.if_none_exist is not None else None
        if match is not None:
            return ResolvedEntry(entry, key=match)
        kind = _KIND_OF[statements[0].section]
        key = ResourceKey(patient, kind, getattr(history, kind)[0].identity)
        parts = self._new_parts(request, history, key)
        return ResolvedEntry(entry, history, key, self._new_name(entry, None), parts)

    def _withdrawal(self, entry: Entry, request: Request) -> ResolvedEntry:
        if request.resource not in KINDS_OF:
            return ResolvedEntry(replace(entry, skipped="resource"))
        if request.resource == "Patient":
            raise MethodNotAllowed(ERASE_INSTEAD)
        named = self._addressed(request)
        standing = None if named is None else self.stored.resources.get(named)
        if named is None or standing is None or standing.fact is None:
            raise NotFound
        _check_version(request.if_match, standing)
        facts: dict[str, Any] = {}
        for found in (standing, *map(self.stored.resources.get, self._parts(request))):
            if found is not None and found.fact is not None and not found.withdrawn:
                facts[found.kind] = (*facts.get(found.kind, ()), found.fact._replace(status="entered-in-error"))
        history = History(named.patient, **facts) if facts else None
        return ResolvedEntry(entry, history, named)

    def _check_left_alone(self, entry: Entry, request: Request) -> None:
        """Refuse an update of a fact by something that is not kept: what it corrects would go on to stand.

        A status that says nothing yet corrects nothing: it may be an older message that comes late.
        """
        named = self._addressed(request) if request.method == "PUT" and entry.skipped != "status" else None
        standing = None if named is None else self.stored.resources.get(named)
        if standing is not None and not standing.withdrawn:
            self._faults.append(Fault(entry.place, FaultCode.PATH_MISMATCH, NOT_KEPT))

    def _new_parts(self, request: Request, history: History, main: ResourceKey) -> tuple[tuple[str, ResourceKey], ...]:
        """The names to keep for facts of a panel under a client's name, beside the `main` one, that are no parts of it
        yet.
        """
        if request.method != "PUT":
            return ()
        facts = [
            ResourceKey(history.patient, kind, one.identity)
            for kind, of_kind in history.kinds()
            for one in of_kind
            if one.identity != main.identity
        ]
        if not facts:
            return ()
        known = self._parts(request)
        stated = {(part.kind, part.identity) for part in known}
        fresh = [fact for fact in facts if (fact.kind, fact.identity) not in stated]
        names = [part_name(request, len(known) + i) for i in range(len(fresh))]
        kept = [self.feed.pseudonyms.alias(request.resource or "", name) for name in names]
        return tuple(zip(kept, fresh, strict=True))

    def _existing(self, entry: Entry, request: Request, patient: str) -> ResourceKey | None:
        """What a conditional create finds.

        A laboratory gives one accession number to many results, and another laboratory gives it to another patient. So
        the patient and the code belong to what is looked for: to find another one's result would lose this one.
        """
        source, number = _number_named(request, self.feed.pseudonyms)
        if number is None or entry.resource is None:
            return None
        codes = {str(statement.fields.get("code", "")) for statement in entry.statements}
        found = [
            key
            for key, given in self.stored.numbered.get((patient, entry.resource, number), ())
            if (source is None or given == source) and key.identity is not None and key.identity.split("|")[1] in codes
        ]
        if len({(key.identity or "").split("|", 2)[2] for key in found}) > 1:
            raise PreconditionFailed("Several resources have the identifier that If-None-Exist names.")
        return found[0] if found else None

    def _taken_over(self, statement: Statement, request: Request, standing: AnyFact, based: bool) -> Statement:
        """A statement about the fact that the address names, with what the resource leaves open as it stands.

        A resource without an identifier is numbered by its id; as the client of `standing` may have got this id from
        us, it is the number of `standing` that counts. The version and the time of issue decide between assertions, so
        they are taken over only where the client has seen what stands, or withdraws it.
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

    # Both

    def _subject(self, entry: Entry) -> str | None:
        """Whom an entry is about; a reference leads to a Patient of this submission or of the study only."""
        if not isinstance(entry.subject, Reference):
            if entry.subject is None:
                self._faults.append(Fault(entry.subject_place or entry.place, FaultCode.NO_SUBJECT))
            return entry.subject
        name = entry.subject.id
        if name in self._sent:
            return self._sent[name]
        named = self._named("Patient", name)
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
        """Whether the study had this patient before. Raises `Erased` for a person who has been erased."""
        if patient in self.stored.erased:
            raise Erased(_ERASED)
        return patient in self.stored.patients

    def _history(self, entry: Entry, patient: str, statements: Sequence[Statement]) -> History | None:
        """The history of one entry; what another entry says of the year of birth counts for its times."""
        born = self._born.get(patient)
        stated = statements if born is None or entry.resource == "Patient" else (*statements, born)
        history, faults = history_of(patient, stated, self.feed.latest)
        self._faults += faults
        if faults:
            return None
        return history if entry.resource == "Patient" else replace(history, attributes=())

    def _new_name(self, entry: Entry, patient: str | None) -> str | None:
        """The identifier to remember a resource by, if it is a new one; `patient` is the one that it names.

        A name that leads to another patient, or is the subject identifier of one, would give their results to this one.
        """
        name = _name_given(entry)
        if name is None or name == patient or entry.resource is None:
            return None
        named = self._named(entry.resource, name)
        taken = named is not None and named.patient != patient
        if patient is not None and (taken or name in self._patients or name in self.stored.patients):
            self._faults.append(Fault(entry.place + ".id", FaultCode.CONFLICTING_DUPLICATE))
        return self.feed.pseudonyms.alias(entry.resource, name) if named is None else None

    def _is_outdated(self, request: Request, standing: StoredResource | None) -> bool:
        """Whether an update says that it rests on an older version of a resource that goes by our own identifier.

        A version that is not one of ours is newer than all.
        """
        if self.based_on is None or standing is None or request.id != standing.id:
            return False
        return _version_numbers(self.based_on) < _version_numbers(standing.version)

    def _check_standing(self, request: Request, standing: StoredResource | None) -> None:
        """Refuse where the conditions of an update are not met by what stands."""
        _check_version(request.if_match, standing)
        if self.only_new and standing is not None:
            raise PreconditionFailed("There is a resource already.")


def _contradictions(resolved: Sequence[ResolvedEntry]) -> Iterator[Fault]:
    """The faults of entries that give one identifier to two resources, or store under it what another one deletes."""
    named: dict[tuple[str | None, str], ResourceKey] = {}
    withdrawn = {one.key for one in resolved if one.key is not None and request_of(one.entry).method == "DELETE"}
    for each in resolved:
        name = _name_given(each.entry)
        if name is None or each.key is None:
            continue
        if each.key in withdrawn:
            yield Fault(_entry_of(each.entry) + ".request", FaultCode.CONFLICTING_DUPLICATE, _ALSO_WITHDRAWN)
        elif named.setdefault((each.entry.resource, name), each.key) != each.key:
            yield Fault(each.entry.place + ".id", FaultCode.CONFLICTING_DUPLICATE, _TWO_RESOURCES)


def _name_given(entry: Entry) -> str | None:
    """The identifier that an entry gives its resource: that of a PUT, and of a Patient without a request (an export has
    none), because what follows refers to it.
    """
    if entry.request is None:
        return entry.id if entry.resource == "Patient" else None
    return entry.request.id if entry.request.method == "PUT" else None


def _number_named(request: Request, pseudonyms: Pseudonyms) -> tuple[str | None, str | None]:
    """The source and the number, as it is kept, that a conditional create looks for; no number where it is not one."""
    if request.if_none_exist is None:
        return None, None
    authority, value = request.if_none_exist
    source = as_source(authority) if authority else None
    number = pseudonyms.number(source, value)
    return source, None if isinstance(number, FaultCode) else number


def _check_version(if_match: str | None, standing: StoredResource | None) -> None:
    """Refuse where If-Match names another version (`W/"17"`) than the one that stands."""
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
    """The fields with the version and time of issue of what stands where they give neither."""
    if fields.get("version") is None and fields.get("issued") is None:
        issued = None if standing.issued is None else instant_text(standing.issued)
        return fields | {"version": standing.version, "issued": issued}
    return fields if fields.get("version") is not None else fields | {"version": standing.version}


def _entry_of(entry: Entry) -> str:
    return entry.place.removesuffix(".resource")


def _at_its_entry(refusal: ServiceError, entry: Entry) -> ServiceError:
    """The refusal with the entry of the bundle that it is about in its text."""
    if not entry.place.startswith("Bundle"):
        return refusal
    return type(refusal)(f"{_entry_of(entry)}: {refusal.detail or refusal.title() + '.'}")
