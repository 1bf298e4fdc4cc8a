"""Resolving the entries of a FHIR message: the patient, the stored resource and the facts to store of each.

Nothing is read from the database here. The caller looks up the names in the entries (`entry_names`). Then `resolve`
decides by all that was found (`StoredState`).

Entries are resolved together and not in order, so no entry overrides another. The ledger refuses assertions of one fact
that contradict each other; contradictions between the names of resources are refused here.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, cast

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
from app.fhir.bundle_entries import Entry, RecordLink, Reference, Request
from app.fhir.elements import OWN_ID, FaultyFact
from app.fhir.entry_names import StoredState, code_named, number_named, part_name, request_of, types_of
from app.fhir.read_bundle import A_PART
from app.fhir.read_observation import unlisted_panel
from app.fhir.read_patient import RESOURCE_IDS
from app.readers.pseudonyms import Identifier
from app.readers.statements import Feed, Section, Statement, described, history_of, readable
from app.timeline.facts import AnyFact, AttributeFact, History, Instruction, attribute, time_of
from app.timeline.merged_records import MERGED_INTO
from app.timeline.normalize import MOST_FAULTS, SECTIONS
from app.timeline.receipts import Disposition, Note, NoteCode, ReceiptLine
from app.timeline.resource import KINDS_OF, SUBJECT_SYSTEM, ResourceKey, StoredResource
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
ONLY_IN_A_BATCH = "GET is answered in a batch only."
NOT_THE_NUMBER = (
    "The identifier of a conditional update must be the one by which this resource is known: its official identifier, "
    "else its first one; of a Patient, that of the declared authority."
)
SEVERAL = "Several resources have the identifier of the condition."
_FOUND_TWICE = "Another entry updates the resource that this condition finds."
ERASED = "A person to whom this refers has been erased."
_TWO_RESOURCES = "Another entry gives this identifier to another resource."
_NOT_ONE_SURVIVOR = "A record is merged into one other record."
_ALSO_WITHDRAWN = "Another entry deletes what this one stores."
_KIND_OF = {section: kind for kind, section in SECTIONS.items()}
_OF_PANEL = frozenset({"id", "source", "status", "time", "issued", "lab"})
"""Fields that the results of a panel share."""
_NOT_IN_FHIR = ("lab", "course")
"""Fields of facts that a resource may not hold: an update keeps their current values."""
_LONGEST_VERSION = 18
"""Digits of one part of our versions: a revision is a number of 64 bits, so a longer text is not ours."""


@dataclass(frozen=True, slots=True)
class ResolvedEntry:
    """What is to be stored of an entry, and which resource its answer shows.

    `history` is what it submits, `None` if it stores nothing. `key` is the resource that the answer shows, if any.
    `client_id` is a new client id of that resource, as it is to be stored. `parts` are the new names of the other facts
    of a panel that has a client id. `known`: the patient or the fact is stored already. `outdated`: the client has read
    an older version than the current one. `exists`: a conditional create found `key`, so that `history` is not stored.
    `merged` are the statements about other records that were merged into this one. `aside` are lines of the receipt, if
    there is no history.
    """

    entry: Entry
    history: History | None = None
    key: ResourceKey | None = None
    client_id: str | None = None
    parts: tuple[tuple[str, ResourceKey], ...] = ()
    known: bool = False
    outdated: bool = False
    exists: bool = False
    merged: tuple[History, ...] = ()
    aside: tuple[ReceiptLine, ...] = ()


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
            named = self._standing_under(entry, request)
            if named is not None and entry.withdrawn:  # its code is not needed to know which facts are withdrawn
                return self._withdrawal(entry, request)
            return ResolvedEntry(entry)
        if entry.resource == "Patient" and request.method in {"POST", "PUT"}:
            return ResolvedEntry(entry) if patient is None else self._patient(entry, request, patient)
        self._faults += entry.faults
        if request.method == "GET":
            self._faults.append(Fault(f"{_entry_of(entry)}.request", FaultCode.UNSUPPORTED, ONLY_IN_A_BATCH))
        elif entry.partial and request.method == "PUT":
            self._faults.append(Fault(entry.place + ".meta.tag", FaultCode.UNSUPPORTED, A_PART))
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
        if request.id is None:
            return parts
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
                born = Statement("patient", {"birth_year": year}, statement.place)
                if not history_of(patient, [born], self.feed.latest)[1]:
                    self._born[patient] = born
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
                history = self._history(entry, existing, entry.statements)
                return ResolvedEntry(entry, history, ResourceKey(existing), known=True, exists=True)
        if request.condition is not None and self.feed.pseudonyms.patient([request.condition]) != patient:
            self._faults.append(Fault(_condition_of(entry), FaultCode.PATH_MISMATCH, NOT_THE_NUMBER))
        key = ResourceKey(patient)
        known = self._is_known(patient)
        standing = self.stored.resources.get(key)
        self._check_standing(request, standing)
        history = self._history(entry, patient, entry.statements)
        merged = []
        for link, record, survivor in self._links(entry, patient, standing):
            merge = attribute(MERGED_INTO, json.dumps(survivor), link.issued)
            if record == patient and history is not None:
                history = _with_attribute(history, merge, link)
            else:
                merged.append(_with_attribute(History(record), merge, link))
        client_id = self._new_client_id(entry, patient)
        outdated = self._is_outdated(request, standing)
        return ResolvedEntry(entry, history, key, client_id, known=known, outdated=outdated, merged=tuple(merged))

    def _links(
        self, entry: Entry, patient: str, standing: StoredResource | None
    ) -> Iterator[tuple[RecordLink, str, str]]:
        """Each link with the record that was merged and the surviving one. A link that stands already is left out: a
        client may send back what it has read.
        """
        stated: dict[str, str] = {}
        for link in entry.links:
            other = self._record(link.other, link.place)
            if other is None:
                continue
            record, survivor = (other, patient) if link.replaces else (patient, other)
            if record == survivor or stated.setdefault(record, survivor) != survivor:
                self._faults.append(Fault(link.place, FaultCode.CONTRADICTION, _NOT_ONE_SURVIVOR))
            elif (
                standing is None
                or all(
                    (fact.identity, fact.value) != (MERGED_INTO, json.dumps(survivor)) for fact in standing.attributes
                )
                or link.replaces
            ):
                yield link, record, survivor

    def _record(self, named: str | Reference, place: str) -> str | None:
        """The record that a link names: of a patient of this submission or of the study."""
        record = self._named_patient(named, place)
        if record is not None and record not in self._patients and not self._is_known(record):
            self._faults.append(Fault(place, FaultCode.UNKNOWN_REFERENCE))
            return None
        return record

    # Facts

    def _fact(self, entry: Entry, request: Request) -> ResolvedEntry:
        named = self._stored_at(request) if request.method == "PUT" else None
        of_number = [] if request.condition is None else self._conditioned(entry, request, named)
        named = named or next(iter(of_number), None)
        standing = None if named is None else self.stored.resources.get(named)
        self._check_standing(request, standing)
        patient = self._subject(entry)
        if patient is None:
            return ResolvedEntry(entry)
        self._is_known(patient)
        statements = entry.statements
        if entry.panel is not None or (statements and statements[0].fields.get("status") in WITHDRAWN):
            statements = (*statements, *self._withdrawn_with_it(entry, request, patient))
        if not statements:
            unlisted = () if entry.panel is None else (unlisted_panel(entry.panel, self.feed.latest),)
            return ResolvedEntry(entry, History(patient, aside=(*unlisted, *entry.aside)))
        if standing is not None and standing.fact is not None:
            based = request.if_match not in {None, "*"} or self.based_on == standing.version
            statements = tuple(self._completed(each, request, standing.fact, based) for each in statements)
        history = self._history(entry, patient, statements)
        if history is None:
            return ResolvedEntry(entry)
        if named is not None and named.kind is not None:
            stated = {fact.identity for fact in getattr(history, named.kind)}
            draws = _draws(named, *self._parts(request), *of_number)
            history = replace(history, instruction=Instruction("update", draws))
            if patient != named.patient or named.identity not in stated:
                self._faults.append(Fault(entry.place, FaultCode.PATH_MISMATCH, ANOTHER_RESOURCE))
            parts = self._new_parts(request, history, named)
            known = standing is not None and not standing.removed
            outdated = self._is_outdated(request, standing)
            return ResolvedEntry(entry, history, named, parts=parts, known=known, outdated=outdated)
        match = self._existing(entry, request, history) if request.if_none_exist is not None else None
        if match is not None:
            return ResolvedEntry(entry, history, match, exists=True)
        kind = _KIND_OF[statements[0].section]
        key = ResourceKey(patient, kind, getattr(history, kind)[0].identity)
        parts = self._new_parts(request, history, key)
        if entry.request is not None:
            history = replace(history, instruction=Instruction("create"))
        return ResolvedEntry(entry, history, key, self._new_client_id(entry, None), parts)

    def _withdrawal(self, entry: Entry, request: Request) -> ResolvedEntry:
        if request.resource not in KINDS_OF:
            return ResolvedEntry(entry._replace(skipped="resource"))
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

    def _standing_under(self, entry: Entry, request: Request) -> StoredResource | None:
        """The resource at the address of an update with content that is not stored.

        If it would stay current with its old value, it is a fault; not if the status says that there is no result yet:
        this may be an older message that comes late.
        """
        named = self._stored_at(request) if request.method == "PUT" and entry.skipped != "status" else None
        standing = None if named is None else self.stored.resources.get(named)
        if standing is not None and not standing.withdrawn and not entry.withdrawn:
            self._faults.append(Fault(entry.place, FaultCode.PATH_MISMATCH, NOT_KEPT))
        return standing

    def _new_parts(self, request: Request, history: History, main: ResourceKey) -> tuple[tuple[str, ResourceKey], ...]:
        """New names for the facts of a panel with a client id, except the `main` fact and the parts that have a name
        already.
        """
        if request.method != "PUT" or request.id is None or request.resource not in KINDS_OF:
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

    def _conditioned(self, entry: Entry, request: Request, named: ResourceKey | None) -> list[ResourceKey]:
        """The stored facts of the resource that a conditional update finds: several of a panel, else one or none.
        `named` is the resource that the id in its body names.

        The patient and the code must match, as in a conditional create. The time need not: an update may move it.
        Raises `PreconditionFailed` if several draws match, because the identifier does not say which one is meant.
        """
        source, number = number_named(request, self.feed.pseudonyms)
        listed = entry.statements if entry.panel is None else (*entry.statements, entry.panel)
        stated = {(each.fields.get("source"), each.fields.get("id")) for each in listed}
        if any(number != known or source not in {None, of} for of, known in stated):
            self._faults.append(Fault(_condition_of(entry), FaultCode.PATH_MISMATCH, NOT_THE_NUMBER))
        patient = self._subject(entry) or ""
        codes = set(map(code_named, entry.statements))
        found = [
            known.key
            for resource in types_of(entry)
            for known in self.stored.numbered.get((patient, resource, number or ""), ())
            if source in {None, known.source} and (known.key.identity or "||").split("|")[1] in codes
        ]
        if len({((key.identity or "").split("|", 2)[2], key.draw) for key in found}) > 1:
            raise PreconditionFailed(SEVERAL)
        if found and named is not None and named not in found:
            self._faults.append(Fault(entry.place + ".id", FaultCode.PATH_MISMATCH, ANOTHER_RESOURCE))
        return found

    def _existing(self, entry: Entry, request: Request, history: History) -> ResourceKey | None:
        """The stored fact that a conditional create finds. Raises `PreconditionFailed` if several match.

        A laboratory gives one accession number to many results and several draws, and another laboratory may give it to
        another patient. Therefore the patient, the code and the time must match, too. Otherwise this result would be
        lost.
        """
        source, number = number_named(request, self.feed.pseudonyms)
        if number is None or entry.resource not in KINDS_OF:
            return None
        codes = set(map(code_named, entry.statements))
        times = [time_of(kind, fact) for kind, facts in history.kinds() if kind in SECTIONS for fact in facts]
        found = [
            known.key
            for known in self.stored.numbered.get((history.patient, types_of(entry)[0], number), ())
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
            if kept is not None and fields.get(name) is None:
                fields[name] = kept
        if based or fields.get("status") in WITHDRAWN:
            fields = _ordered_like(standing, fields)
        return statement._replace(fields=fields)

    # Patients and facts

    def _withdrawn_with_it(self, entry: Entry, request: Request, patient: str) -> Iterator[Statement]:
        """The withdrawal of each result of a panel that is withdrawn and does not list them all: of the results under
        its client id, else of those with its number.
        """
        like = entry.panel or entry.statements[0]
        if entry.resource != "Observation":
            return
        number = like.fields["id"]
        numbered = () if number is None else self.stored.numbered.get((patient, "Observation", number), ())
        named = self._stored_at(request) if request.method == "PUT" else None
        keys = [] if named is None else [named, *self._parts(request)]
        if entry.panel is not None and not keys:
            keys = [known[0] for known in numbered if known[1] == like.fields["source"]]
        listed = {statement.fields["code"] for statement in entry.statements}
        for key in keys:
            code = (key.identity or "||").split("|")[1]
            if key.patient == patient and key.kind in {"labs", "assessments"} and code not in listed:
                listed.add(code)
                names = _OF_PANEL if key.kind == "labs" else _OF_PANEL - {"lab"}
                fields = {name: like.fields.get(name) for name in names} | {"code": code}
                yield like._replace(section=cast(Section, SECTIONS[key.kind or ""]), fields=fields)

    def _subject(self, entry: Entry) -> str | None:
        """The subject of an entry. A reference must lead to a Patient of this submission or of the study."""
        return self._named_patient(entry.subject, entry.subject_place or entry.place)

    def _named_patient(self, named_by: str | Reference | None, place: str) -> str | None:
        if not isinstance(named_by, Reference):
            if named_by is None:
                self._faults.append(Fault(place, FaultCode.NO_SUBJECT))
            return named_by
        name = named_by.id
        if name in self._sent:
            return self._sent[name]
        named = self._by_client_id("Patient", name)
        if named is not None:
            if named.patient != name and name in self.stored.patients:
                self._faults.append(Fault(place, FaultCode.AMBIGUOUS_SUBJECT))
            return named.patient
        if self._is_known(name):
            return name
        kept = self.feed.pseudonyms.patient([Identifier(None, name)])
        if self.feed.pseudonyms.fingerprint is None and not isinstance(kept, FaultCode):
            return kept
        self._faults.append(Fault(place, FaultCode.UNKNOWN_REFERENCE))
        return None

    def _is_known(self, patient: str) -> bool:
        """Whether the study has this patient already. Raises `Erased` for an erased person."""
        if patient in self.stored.erased:
            raise Erased(ERASED)
        return patient in self.stored.patients

    def _history(self, entry: Entry, patient: str, statements: Sequence[Statement]) -> History | None:
        """The history of one entry. Its times are checked against a year of birth in another entry, too.

        A fact with a fault is set aside if others of the entry are kept, unless the entry is strict; a detail of a
        patient is left out. If nothing is kept, the entry has the faults of all of its facts.
        """
        is_patient = entry.resource == "Patient"
        born = self._born.get(patient)
        stated = statements if born is None or is_patient else (*statements, born)
        history, faults = history_of(patient, stated, self.feed.latest)
        if faults and (is_patient or not entry.strict):
            history = readable(patient, stated, self.feed.latest)
        if history.attributes and not is_patient:
            history = replace(history, attributes=())
        if faults and not is_patient and (entry.strict or not any(facts for _, facts in history.kinds())):
            self._faults += (*faults, *(fault for faulty in entry.set_aside for fault in faulty.faults))
            return None
        if not entry.set_aside and not entry.aside:
            return history
        lines = [self._line(faulty) for faulty in entry.set_aside]
        return replace(history, aside=(*lines, *history.aside, *entry.aside))

    def _line(self, faulty: FaultyFact) -> ReceiptLine:
        """The line of a fact that is set aside."""
        first, statement = faulty.faults[0], faulty.statement
        sent = faulty.sent if statement is None else described(statement, self.feed.latest)
        return ReceiptLine(first.pointer, Disposition.SET_ASIDE, first.code, sent=sent, accepts=first.accepts)

    def _new_client_id(self, entry: Entry, patient: str | None) -> str | None:
        """The client id to store for a resource, if it is new; `patient` is the patient of a Patient, else `None`.

        A client id that leads to another patient, or is the subject identifier of one, is a fault: results would go to
        the wrong patient.
        """
        name = _id_given(entry)
        if name is None or name == patient or entry.resource is None or entry.resource not in KINDS_OF:
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


def _with_attribute(history: History, fact: AttributeFact, link: RecordLink) -> History:
    """The history with a statement about the record, at the place of its link."""
    at, before = ("attributes", len(history.attributes)), history.place
    notes = () if fact.issued is not None else (Note(NoteCode.ISSUED_FROM_RECEIPT),)
    return replace(
        history,
        attributes=(*history.attributes, fact),
        place=lambda kind, index: link.place if (kind, index) == at else before(kind, index),
        notes={**history.notes, at: notes} if notes else history.notes,
    )


def _draws(*named: ResourceKey) -> dict[tuple[str, str], str]:
    """The draws that a request names."""
    return {(key.kind, key.identity): key.draw for key in named if key.kind is not None and key.identity is not None}


def _contradictions(resolved: Sequence[ResolvedEntry]) -> Iterator[Fault]:
    """The faults of entries that give one id to two resources, or store a resource that another entry deletes."""
    named: dict[tuple[str | None, str], ResourceKey] = {}
    found: set[ResourceKey] = set()
    withdrawn = {each.key for each in resolved if each.key is not None and request_of(each.entry).method == "DELETE"}
    for each in resolved:
        name = _id_given(each.entry)
        if each.key is not None and each.key.kind is not None and request_of(each.entry).condition is not None:
            if each.key in found:
                yield Fault(_condition_of(each.entry), FaultCode.CONFLICTING_DUPLICATE, _FOUND_TWICE)
            found.add(each.key)
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


def _condition_of(entry: Entry) -> str:
    """The place of the condition of an update: in the request of an entry, or in the address."""
    return f"{_entry_of(entry)}.request.url" if entry.place.startswith("Bundle") else "/query/identifier"


def _with_entry(refusal: ServiceError, entry: Entry) -> ServiceError:
    """The refusal, with the entry of the bundle in its text."""
    if not entry.place.startswith("Bundle"):
        return refusal
    return type(refusal)(f"{_entry_of(entry)}: {refusal.detail or refusal.title() + '.'}")
