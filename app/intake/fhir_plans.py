"""What an entry of a FHIR message comes to: whose it is, which stored resource it names, and the history to submit."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from sqlalchemy import Connection

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
from app.ingest.feed import Feed, Statement, history_of
from app.ingest.fhir.entries import Entry, Reference, Request
from app.ingest.fhir.patients import RESOURCE_IDS
from app.ingest.fhir.resource import as_source
from app.ingest.pseudonyms import Identifier
from app.intake.fhir_contradictions import Target, contradictions, name_given
from app.intake.fhir_names import Names
from app.intake.fhir_versions import check_version, is_older, ordered_like
from app.store import aliases, resources
from app.store.aliases import Alias
from app.store.draft import Draft
from app.timeline.facts import AnyFact, History
from app.timeline.normalize import MOST_FAULTS, SECTIONS
from app.timeline.resource import KINDS_OF, SUBJECT_SYSTEM, Found
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
_KIND_OF = {section: kind for kind, section in SECTIONS.items()}
_NOT_IN_FHIR = ("lab", "course")
"""Fields of facts that a resource may have no place for: an update leaves them as they stand."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about an entry.

    `history` is what it submits, `None` where it stores nothing. The answer tells of the fact of `patient` that `kind`
    and `identity` name, or of the patient where these are `None`; without a patient there is nothing to tell. `alias`
    is a new name of that resource, to be remembered, and so are the names, kinds and identities in `parts`: those of
    the other facts that a panel under a client's name states. `known`: it updates a fact that stands; `outdated`: the
    client read an older version than what stands.
    """

    entry: Entry
    history: History | None = None
    patient: str | None = None
    kind: str | None = None
    identity: str | None = None
    alias: str | None = None
    parts: tuple[tuple[str, str, str], ...] = ()
    known: bool = False
    outdated: bool = False


def request_of(entry: Entry) -> Request:
    """What an entry asks for; where it does not say, it is to be created."""
    return entry.request or Request("POST", "")


@dataclass(slots=True)
class Planning:
    """The entries of one submission on their way to the ledger, under the lock of their study.

    `based_on` is the version that the body of a single update says it was read in, `only_new` says that it must not
    find a resource, and `identities` what was looked up of the facts of patients before.
    """

    connection: Connection
    study_id: str
    feed: Feed
    received_at: int
    based_on: str | None = None
    only_new: bool = False
    identities: resources.Identities | None = None
    newcomers: set[str] = field(default_factory=set)
    _faults: list[Fault] = field(default_factory=list)
    _promised: dict[str, str] = field(default_factory=dict)
    _born: dict[str, Statement] = field(default_factory=dict)
    _patients: set[str] = field(default_factory=set)
    _draft: Draft = field(init=False)
    _names: Names = field(init=False)

    def __post_init__(self) -> None:
        """Lock the study: what is looked up from here on is still so when the entries are stored."""
        self._draft = Draft(self.connection, self.study_id, self.received_at)
        self._names = Names(self.connection, self.study_id, self.feed.pseudonyms, self.identities)

    def plans(self, entries: Sequence[Entry]) -> list[Plan]:
        """One plan an entry. Raises `InvalidDocument` with the faults of all, or the first other objection to one."""
        people = [self._whose_patient(entry) if entry.resource == "Patient" else None for entry in entries]
        self._patients.update(patient for patient in people if patient is not None)
        plans = []
        for entry, patient in zip(entries, people, strict=True):
            try:
                plans.append(self._plan(entry, patient))
            except (Erased, MethodNotAllowed, NotFound, PreconditionFailed) as refusal:
                raise _at_its_entry(refusal, entry) from None
        if not self._faults:
            aims = ((p.entry, Target(p.patient, p.kind, p.identity)) for p in plans if p.patient is not None)
            self._faults += contradictions(aims)
        if self._faults:
            raise InvalidDocument(faults=islice(self._faults, MOST_FAULTS))
        return plans

    def key_of(self, patient: str) -> int:
        """The key of a patient whom the study has."""
        self._draft.summon([patient])
        return self._draft.people[patient].key

    def _plan(self, entry: Entry, patient: str | None) -> Plan:
        request = request_of(entry)
        if request.method == "DELETE" and not entry.faults:
            return self._withdrawal(entry, request)
        if entry.skipped is not None and not entry.faults:
            self._check_left_alone(entry, request)
            return Plan(entry)
        if entry.resource == "Patient" and request.method in {"POST", "PUT"}:
            return Plan(entry) if patient is None else self._of_patient(entry, request, patient)
        self._faults += entry.faults
        if request.method == "GET" or (request.method == "PUT" and request.id is None):
            self._faults.append(Fault(f"{_entry_of(entry)}.request", FaultCode.UNSUPPORTED))
        elif not entry.faults:
            return self._of_fact(entry, request)
        return Plan(entry)

    # Patients

    def _whose_patient(self, entry: Entry) -> str | None:
        """Whom a resource Patient is about, noted for references to it and for what its birth year forbids."""
        request = request_of(entry)
        if entry.skipped is not None or request.method not in {"POST", "PUT"}:
            return None
        patient = self._subject_of_patient(entry, request)
        name = request.id or entry.id
        if patient is not None and name is not None:
            self._promised[name] = patient
        for statement in entry.statements:
            year = statement.fields.get("birth_year")
            if patient is not None and statement.section == "patient" and year is not None:
                self._born[patient] = Statement("patient", {"birth_year": year}, statement.place)
        return patient

    def _subject_of_patient(self, entry: Entry, request: Request) -> str | None:
        """The subject that a Patient is: whom its address names, else whom its identifiers name."""
        named = self._names.aim(request) if request.method == "PUT" else None
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

    def _of_patient(self, entry: Entry, request: Request, patient: str) -> Plan:
        if request.if_none_exist is not None:
            wanted = self.feed.pseudonyms.patient([request.if_none_exist])
            if not isinstance(wanted, FaultCode) and self._knows(wanted):
                return Plan(entry, patient=wanted)
        known = self._knows(patient)
        standing = resources.find_patient(self.connection, self.study_id, patient) if known else None
        self._check_standing(request, standing)
        history = self._history(entry, patient, entry.statements)
        alias = self._new_name(entry, patient)
        outdated = self._is_outdated(request, standing)
        return Plan(entry, history, patient, alias=alias, outdated=outdated)

    # Facts

    def _of_fact(self, entry: Entry, request: Request) -> Plan:
        named = self._names.aim(request) if request.method == "PUT" else None
        standing = None if named is None else self._names.standing(named)
        self._check_standing(request, standing)
        patient = self._subject(entry)
        if patient is None:
            return Plan(entry)
        self._knows(patient)
        statements = entry.statements
        if standing is not None and standing.fact is not None:
            based = request.if_match not in {None, "*"} or self.based_on == standing.version
            statements = tuple(self._taken_over(each, request, standing.fact, based) for each in statements)
        history = self._history(entry, patient, statements)
        if history is None or not statements:
            return Plan(entry)
        if named is not None and named.kind is not None:
            if patient != named.patient or named.identity not in {one.identity for one in getattr(history, named.kind)}:
                self._faults.append(Fault(entry.place, FaultCode.PATH_MISMATCH, ANOTHER_RESOURCE))
            parts = self._parts(request, history, str(named.identity))
            outdated = self._is_outdated(request, standing)
            known = standing is not None and not standing.removed
            return Plan(
                entry, history, patient, named.kind, named.identity, parts=parts, known=known, outdated=outdated
            )
        match = self._existing(entry, request, patient) if request.if_none_exist is not None else None
        if match is not None:
            return Plan(entry, patient=match.patient, kind=match.kind, identity=match.identity)
        kind = _KIND_OF[statements[0].section]
        identity = getattr(history, kind)[0].identity
        parts = self._parts(request, history, identity)
        return Plan(entry, history, patient, kind, identity, alias=self._new_name(entry, None), parts=parts)

    def _withdrawal(self, entry: Entry, request: Request) -> Plan:
        if request.resource not in KINDS_OF:
            return Plan(replace(entry, skipped="resource"))
        if request.resource == "Patient":
            raise MethodNotAllowed(ERASE_INSTEAD)
        named = self._names.aim(request)
        standing = None if named is None else self._names.standing(named)
        if named is None or standing is None or standing.fact is None:
            raise NotFound
        check_version(request.if_match, standing)
        facts: dict[str, Any] = {}
        for found in (standing, *map(self._names.standing, self._names.parts(request))):
            if found is not None and found.fact is not None and not found.withdrawn:
                facts[found.kind] = (*facts.get(found.kind, ()), found.fact._replace(status="entered-in-error"))
        history = History(named.patient, **facts) if facts else None
        return Plan(entry, history, named.patient, named.kind, named.identity)

    def _check_left_alone(self, entry: Entry, request: Request) -> None:
        """Refuse an update of a fact by something that is not kept: what it corrects would go on to stand.

        A status that says nothing yet corrects nothing: it may be an older message that comes late.
        """
        named = self._names.aim(request) if request.method == "PUT" and entry.skipped != "status" else None
        standing = None if named is None else self._names.standing(named)
        if standing is not None and not standing.withdrawn:
            self._faults.append(Fault(entry.place, FaultCode.PATH_MISMATCH, NOT_KEPT))

    def _parts(self, request: Request, history: History, main: str) -> tuple[tuple[str, str, str], ...]:
        """Names for the facts beside the `main` one that a panel states which its client has named."""
        facts = [(kind, one.identity) for kind, of_kind in history.kinds() for one in of_kind if one.identity != main]
        if request.method != "PUT" or not facts:
            return ()
        return self._names.new_parts(request, facts)

    def _existing(self, entry: Entry, request: Request, patient: str) -> Alias | None:
        """What a conditional create finds.

        A laboratory gives one accession number to many results, and another laboratory gives it to another patient. So
        the patient and the code belong to what is looked for: to find another one's result would lose this one.
        """
        wanted = request.if_none_exist or Identifier("", "")
        source = as_source(wanted.authority) if wanted.authority else None
        number = self.feed.pseudonyms.number(source, wanted.value)
        if isinstance(number, FaultCode) or entry.resource is None:
            return None
        codes = {str(statement.fields.get("code", "")) for statement in entry.statements}
        found = [
            one
            for one in aliases.numbered(
                self.connection, self.study_id, patient, KINDS_OF[entry.resource], number, source
            )
            if one.identity is not None and one.identity.split("|")[1] in codes
        ]
        if len({(one.identity or "").split("|", 2)[2] for one in found}) > 1:
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
            fields = ordered_like(standing, fields)
        return statement._replace(fields=fields)

    # Both

    def _subject(self, entry: Entry) -> str | None:
        """Whom an entry is about; a reference leads to a Patient of this submission or of the study only."""
        if not isinstance(entry.subject, Reference):
            if entry.subject is None:
                self._faults.append(Fault(entry.subject_place or entry.place, FaultCode.NO_SUBJECT))
            return entry.subject
        name = entry.subject.id
        if name in self._promised:
            return self._promised[name]
        named = self._names.named("Patient", name)
        if named is not None:
            if named.patient != name and self._has(name):
                self._faults.append(Fault(entry.subject_place or entry.place, FaultCode.AMBIGUOUS_SUBJECT))
            return named.patient
        if self._knows(name):
            return name
        kept = self.feed.pseudonyms.patient([Identifier(None, name)])
        if self.feed.pseudonyms.fingerprint is None and not isinstance(kept, FaultCode):
            return kept
        self.newcomers.discard(name)
        self._faults.append(Fault(entry.subject_place or entry.place, FaultCode.UNKNOWN_REFERENCE))
        return None

    def _has(self, patient: str) -> bool:
        """Whether the study had this patient before."""
        self._draft.summon([patient])
        return patient in self._draft.people

    def _knows(self, patient: str) -> bool:
        """Whether the study had this patient before. Raises `Erased` for a person who has been erased."""
        if patient in self.newcomers:
            return False
        self._draft.summon([patient])
        if self._draft.is_erased(patient):
            raise Erased("A person whom this is about has been erased.")
        if patient not in self._draft.people:
            self.newcomers.add(patient)
        return patient in self._draft.people

    def _history(self, entry: Entry, patient: str, statements: Sequence[Statement]) -> History | None:
        """The history of one entry; what another entry says of the year of birth counts for its times."""
        born = self._born.get(patient)
        told = statements if born is None or entry.resource == "Patient" else (*statements, born)
        history, faults = history_of(patient, told, self.feed.latest)
        self._faults += faults
        if faults:
            return None
        return history if entry.resource == "Patient" else replace(history, attributes=())

    def _new_name(self, entry: Entry, patient: str | None) -> str | None:
        """The identifier to remember a resource by, if it is a new one; `patient` is the one that it names.

        A name that leads to another patient, or is the subject identifier of one, would give their results to this one.
        """
        name = name_given(entry)
        if name is None or name == patient or entry.resource is None:
            return None
        named = self._names.named(entry.resource, name)
        taken = named is not None and named.patient != patient
        if patient is not None and (taken or name in self._patients or self._has(name)):
            self._faults.append(Fault(entry.place + ".id", FaultCode.CONFLICTING_DUPLICATE))
        return self._names.of(entry.resource, name) if named is None else None

    def _is_outdated(self, request: Request, standing: Found | None) -> bool:
        """Whether an update says that it rests on an older version of a resource that goes by our own identifier."""
        if self.based_on is None or standing is None or request.id != standing.id:
            return False
        return is_older(self.based_on, standing)

    def _check_standing(self, request: Request, standing: Found | None) -> None:
        """Refuse where the conditions of an update are not met by what stands."""
        check_version(request.if_match, standing)
        if self.only_new and standing is not None:
            raise PreconditionFailed("There is a resource already.")


def _entry_of(entry: Entry) -> str:
    return entry.place.removesuffix(".resource")


def _at_its_entry(refusal: ServiceError, entry: Entry) -> ServiceError:
    """The refusal with the entry of the bundle that it is about in its text."""
    if not entry.place.startswith("Bundle"):
        return refusal
    return type(refusal)(f"{_entry_of(entry)}: {refusal.detail or refusal.title() + '.'}")
