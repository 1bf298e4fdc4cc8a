"""Storing FHIR R4 messages: the entries of a bundle, or one resource that is created, updated or withdrawn.

A transaction and a collection are stored as one revision, or not at all. The entries of a batch are stored or refused
one by one. The names in the entries are looked up in the transaction that stores, while the study is locked: two
clients who create the same resource at the same time make one resource. Then `resolve_entries` decides without the
database.

FHIR defines an order for the entries of a transaction. It is not needed here: which assertion is current does not
depend on their order. If it would, the transaction contradicts itself and is refused.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from app.errors import (
    Busy,
    Conflict,
    Erased,
    Fault,
    FaultCode,
    InvalidDocument,
    MalformedDocument,
    MethodNotAllowed,
    ServiceError,
)
from app.fhir.bundle_entries import BundleType, Entry, Request
from app.fhir.entry_names import (
    StoredState,
    TypedId,
    may_be_panel,
    names_in,
    numbers_in,
    part_name,
    request_of,
    resources_in,
)
from app.fhir.own_address import NOWHERE, OwnAddress
from app.fhir.read_bundle import SERVED, SERVED_IN_A_BATCH, read_bundle, read_resource
from app.fhir.resolve_entries import ERASED, ResolvedEntry, resolve
from app.readers.pseudonyms import Identifier
from app.readers.statements import Feed, described
from app.store import client_ids, resources
from app.store.client_ids import ClientId
from app.store.engine import Database, Transaction
from app.store.ledger import Outcome
from app.store.resources import Identities
from app.store.revision_builder import RevisionBuilder
from app.submission.feeds import read_feed
from app.submission.loop import Submitter, patiently
from app.submission.receipts import joined, not_ours
from app.timeline.facts import KINDS, History
from app.timeline.normalize import MOST_FAULTS
from app.timeline.receipts import Disposition, Note, NoteCode, Receipt, ReceiptLine
from app.timeline.resource import ResourceKey, StoredResource, SupportedType

FORMAT = "fhir-r4"
PARTS = 32
"""How many parts of a panel are looked up at once."""

EntryStatus = Literal["created", "updated", "unchanged", "deleted", "skipped", "refused", "read"]


@dataclass(frozen=True, slots=True)
class EntryResult:
    """The outcome of an entry: `stored` is the current version of the resource, `error` the refusal of the entry.

    The status is `unchanged` if the same was stored before, if it is older than the current version, or if a
    conditional create found a resource; `read` if the entry only asks to read, which the caller answers. `receipt` says
    what happened to each fact.
    """

    entry: Entry
    status: EntryStatus
    stored: StoredResource | None = None
    error: ServiceError | None = None
    receipt: Receipt = field(default_factory=Receipt)


def refused_entry(entry: Entry, error: ServiceError) -> EntryResult:
    """The outcome of an entry that was refused."""
    return EntryResult(entry, "refused", error=error, receipt=Receipt(Counter({Disposition.REFUSED: 1})))


@dataclass(frozen=True, slots=True)
class BundleResult:
    """The outcome of a bundle: the results of its entries, in the order in which they were sent."""

    type: BundleType
    results: tuple[EntryResult, ...]


def store_bundle(
    database: Database,
    study_id: str,
    body: bytes,
    *,
    secret: str | None,
    now: int,
    client: str | None = None,
    pauses: Sequence[float] = (),
    full: bool = False,
    own: OwnAddress = NOWHERE,
    may_read: bool = False,
) -> BundleResult:
    """Read a bundle and store it. `pauses` are the seconds between tries while the database is busy. With `full`, the
    receipts list every fact. `own` is the address of the facade. `may_read`: the caller answers the entries of a batch
    that ask to read; else they are refused.

    Raises what `read_bundle` raises, and for a transaction or collection what `store_entries` raises. A batch raises
    only if none of its entries could be tried.
    """
    feed = patiently(lambda: read_feed(database, study_id, secret, now), pauses)
    submitter = Submitter(database, study_id, FORMAT, now, feed, client, pauses, full)
    with submitter.refusals_counted():
        bundle = read_bundle(body, feed, own)
        if bundle.type == "batch":
            results = (
                _store_or_read(submitter, feed, bundle.entries)
                if may_read
                else _store_each(submitter, feed, bundle.entries)
            )
        else:
            results = submitter.commit(lambda transaction: store_entries(transaction, submitter, feed, bundle.entries))
    return BundleResult(bundle.type, tuple(results))


def create(
    database: Database,
    study_id: str,
    resource: str,
    body: bytes,
    *,
    if_none_exist: Identifier | None = None,
    secret: str | None,
    now: int,
    client: str | None = None,
    full: bool = False,
    own: OwnAddress = NOWHERE,
) -> EntryResult:
    """Store a resource, unless there is one with the identifier `if_none_exist`. Raises what `store_entries` raises."""
    feed = read_feed(database, study_id, secret, now)
    request = Request("POST", resource, resource, if_none_exist=if_none_exist)
    submitter = Submitter(database, study_id, FORMAT, now, feed, client, full=full)
    with submitter.refusals_counted():
        entry = read_resource(body, feed, resource, own)._replace(request=request)
        return _store_one(submitter, feed, entry)


def update(
    database: Database,
    study_id: str,
    resource: SupportedType,
    named: str | Identifier,
    body: bytes,
    *,
    if_match: str | None = None,
    only_new: bool = False,
    secret: str | None,
    now: int,
    client: str | None = None,
    full: bool = False,
    own: OwnAddress = NOWHERE,
) -> EntryResult:
    """Store a resource under the identifier in its address: ours, or a client id. If it is named by an identifier of
    its sender instead, it is the resource that has this identifier, or a new one.

    Raises `PreconditionFailed` if `if_match` names another version, or if the resource exists and must be `only_new`;
    `MalformedDocument` if its id is not that of the address; and what `store_entries` raises.
    """
    feed = read_feed(database, study_id, secret, now)
    submitter = Submitter(database, study_id, FORMAT, now, feed, client, full=full)
    with submitter.refusals_counted():
        read = read_resource(body, feed, resource, own)
        if isinstance(named, Identifier):
            request = Request("PUT", resource, resource, read.id, if_match=if_match, condition=named)
        elif read.id != named and not read.faults:
            code = FaultCode.MISSING if read.id is None else FaultCode.PATH_MISMATCH
            raise MalformedDocument(faults=[Fault(f"{read.place}.id", code)])
        else:
            request = Request("PUT", f"{resource}/{named}", resource, named, if_match=if_match)
        based_on = _version_in(body)
        entry = read._replace(request=request)
        return _store_one(submitter, feed, entry, based_on=based_on, only_new=only_new)


def withdraw(
    database: Database,
    study_id: str,
    resource: SupportedType,
    logical_id: str,
    *,
    if_match: str | None = None,
    secret: str | None,
    now: int,
    client: str | None = None,
    full: bool = False,
) -> EntryResult:
    """Withdraw a resource, as if it were sent again as entered in error. Raises what `store_entries` raises."""
    feed = read_feed(database, study_id, secret, now)
    request = Request("DELETE", f"{resource}/{logical_id}", resource, logical_id, if_match=if_match)
    submitter = Submitter(database, study_id, FORMAT, now, feed, client, full=full)
    return _store_one(submitter, feed, Entry(0, resource, resource, request=request))


def store_entries(
    transaction: Transaction,
    submitter: Submitter,
    feed: Feed,
    entries: Sequence[Entry],
    *,
    based_on: str | None = None,
    only_new: bool = False,
    identities: Identities | None = None,
) -> list[EntryResult]:
    """Store entries as one revision, or none of them; the results are in the order of the entries.

    `based_on` is the `meta.versionId` of an update under our own identifier. `identities` is given if several
    submissions share a transaction. Raises `InvalidDocument` with the faults of all entries, `NotFound` if a DELETE
    names no resource, `MethodNotAllowed` for the DELETE of a patient, `PreconditionFailed`, `Conflict` if an update is
    based on an older version, and `Erased` if a person has been erased. Only `Conflict` is raised after something was
    written; the other errors leave the transaction unchanged.
    """
    builder = submitter.builder(transaction)  # locks the study, so that nothing changes between look-up and storing
    stored = _look_up(builder, feed, entries, identities or Identities(transaction))
    try:
        resolved = resolve(entries, stored, feed, based_on=based_on, only_new=only_new)
    except InvalidDocument as refused:
        submitter.count_suggestions(_unknown_units(entries, refused, feed))
        raise
    outcomes = _store_histories(builder, submitter, resolved)
    resolved = [
        _in_their_draws(_of_known(builder, each), outcome) for each, outcome in zip(resolved, outcomes, strict=True)
    ]
    keys = [each.key for each in resolved if each.key is not None]
    now_stored = resources.standing(transaction, builder.key, _patients(builder), keys)
    results: list[EntryResult] = []
    unkept: list[Receipt] = []
    for each, outcome in zip(resolved, outcomes, strict=True):
        status = _entry_status(each, outcome)
        if each.outdated and status == "updated":
            raise Conflict("The resource has changed since the version in meta.versionId. Read it again.")
        found = None if each.key is None else now_stored.get(each.key)
        if outcome is None:
            receipt = _receipt_without_facts(each, found, submitter.full)
            unkept.append(receipt)
        else:
            receipt = _at_entry(each.entry, outcome.receipt)
        results.append(EntryResult(each.entry, status, found, receipt=receipt))
    if unkept:
        submitter.count(transaction, (), joined(unkept))
    client_ids.add(transaction, builder.key, _new_client_ids(resolved, results))
    return results


def _unknown_units(entries: Sequence[Entry], refused: InvalidDocument, feed: Feed) -> Receipt:
    """The receipt of the refused results whose units are unknown."""
    places = {fault.pointer for fault in refused.faults if fault.code is FaultCode.UNKNOWN_UNIT}
    lines = [
        ReceiptLine(place, Disposition.REFUSED, FaultCode.UNKNOWN_UNIT, sent=described(statement, feed.latest))
        for entry in entries
        for statement in entry.statements
        if (place := statement.place.of("unit")) in places
    ]
    return Receipt(Counter(line.disposition for line in lines), lines)


def _look_up(builder: RevisionBuilder, feed: Feed, entries: Sequence[Entry], identities: Identities) -> StoredState:
    """Look up what the entries name: first the resources of the names, then their current versions.

    There is no query for each entry, only one for every few hundred.
    """
    connection, study = builder.connection, builder.key
    names = names_in(entries, feed.pseudonyms)
    named = client_ids.find_all(connection, study, names.client_ids)
    named |= _look_up_parts(builder, feed, entries, named)
    own_ids, erased_own_ids = resources.find_named(connection, study, names.own_ids, identities)
    leads = {name: ResourceKey(found.patient, *found[2:]) for name, found in named.items()}
    builder.load_patients({*names.patients, *[key.patient for key in (*leads.values(), *own_ids.values())]})
    patients = _patients(builder)
    numbered = resources.numbered(connection, patients, numbers_in(entries, leads, feed.pseudonyms))
    searched = [fact.key for facts in numbered.values() for fact in facts] if any(map(_is_searched, entries)) else []
    wanted = resources_in(entries, builder.people, leads, own_ids).union(searched)
    unknown = [name for resource, name in names.client_ids - leads.keys() if resource == "Patient"]
    return StoredState(
        frozenset(builder.people),
        frozenset(patient for patient in names.patients if builder.is_erased(patient)),
        leads,
        client_ids.erased_among(connection, study, builder.secret, unknown),
        own_ids,
        erased_own_ids,
        resources.standing(connection, study, patients, wanted),
        numbered,
    )


def _is_searched(entry: Entry) -> bool:
    """Whether an entry is a conditional update."""
    return request_of(entry).condition is not None


def _patients(builder: RevisionBuilder) -> list[resources.Patient]:
    return [(patient.id, patient.key, patient.first_revision) for patient in builder.people.values()]


def _look_up_parts(
    builder: RevisionBuilder, feed: Feed, entries: Sequence[Entry], named: Mapping[TypedId, ClientId]
) -> dict[TypedId, ClientId]:
    """Look up the parts of the panels whose first part is in `named`, `PARTS` of each panel at once."""
    requests = [entry.request for entry in entries if entry.request is not None and may_be_panel(entry)]
    found = dict(named)
    first = 0
    while requests := [request for request in requests if _part(feed, request, first) in found]:
        names = {_part(feed, request, first + i) for request in requests for i in range(1, PARTS + 1)}
        found |= client_ids.find_all(builder.connection, builder.key, names)
        first += PARTS
    return found


def _part(feed: Feed, request: Request, number: int) -> TypedId:
    resource = request.resource or ""
    return resource, feed.pseudonyms.alias(resource, part_name(request, number))


def store_each(
    database: Database,
    study_id: str,
    feed: Feed,
    entries: Sequence[Entry],
    *,
    client: str | None,
    received_at: int,
    pauses: Sequence[float] = (),
) -> list[EntryResult]:
    """Store each entry as its own revision; if one is refused, the others are still stored.

    If the database becomes busy after some entries were stored, the rest is refused as `Busy` and may be sent again.
    Raises `Busy` if nothing was stored, and `NotFound` for an unknown study.
    """
    return _store_each(Submitter(database, study_id, FORMAT, received_at, feed, client, pauses), feed, entries)


def _store_or_read(submitter: Submitter, feed: Feed, entries: Sequence[Entry]) -> list[EntryResult]:
    """Store each entry that does not ask to read."""
    reading = {entry.at for entry in entries if request_of(entry).method == "GET" and not entry.faults}
    stored = iter(_store_each(submitter, feed, [entry for entry in entries if entry.at not in reading]))
    return [EntryResult(entry, "read") if entry.at in reading else next(stored) for entry in entries]


def _store_each(submitter: Submitter, feed: Feed, entries: Sequence[Entry]) -> list[EntryResult]:
    def store(transaction: Transaction, group: Sequence[Entry]) -> list[EntryResult | ServiceError]:
        identities = Identities(transaction)
        return [_store_alone(transaction, submitter, feed, entry, identities) for entry in group]

    outcomes = submitter.each(entries, store)
    submitter.count_refusals(each.error for each in outcomes if isinstance(each, EntryResult) and each.error)
    return [
        refused_entry(entry, outcome) if isinstance(outcome, ServiceError) else outcome
        for entry, outcome in zip(entries, outcomes, strict=True)
    ]


def _version_in(body: bytes) -> str | None:
    """The `meta.versionId` of a resource, if it is a text. The bytes are known to be a JSON object."""
    meta = json.loads(body).get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def _store_one(
    submitter: Submitter, feed: Feed, entry: Entry, *, based_on: str | None = None, only_new: bool = False
) -> EntryResult:
    return submitter.commit(
        lambda transaction: store_entries(transaction, submitter, feed, [entry], based_on=based_on, only_new=only_new)
    )[0]


def _store_alone(
    transaction: Transaction, submitter: Submitter, feed: Feed, entry: Entry, identities: Identities
) -> EntryResult:
    if request_of(entry).method == "GET" and not entry.faults:
        return refused_entry(entry, MethodNotAllowed("GET is answered over HTTP only, not in a file."))
    if any(fault == _unserved(entry) for fault in entry.faults):
        return refused_entry(
            entry, MethodNotAllowed(f"{_entry_place(entry)}.request.method: {SERVED_IN_A_BATCH.words}")
        )
    try:
        return store_entries(transaction, submitter, feed, [entry], identities=identities)[0]
    except Busy:
        raise
    except ServiceError as refusal:
        return refused_entry(entry, refusal)


def _unserved(entry: Entry) -> Fault:
    """The fault of an entry with an unsupported method."""
    return Fault(f"{_entry_place(entry)}.request.method", FaultCode.UNSUPPORTED, None, SERVED)


def _entry_place(entry: Entry) -> str:
    return f"Bundle.entry[{entry.at}]"


def _store_histories(
    builder: RevisionBuilder, submitter: Submitter, resolved: Sequence[ResolvedEntry]
) -> list[Outcome | None]:
    """Submit the histories of the entries as one revision; the outcome of an entry without a history is `None`.

    Statements about other records belong to the receipt of the entry that has them.
    """
    storing = [
        (at, history)
        for at, each in enumerate(resolved)
        if each.history is not None and not each.exists
        for history in (each.history, *each.merged)
    ]
    outcomes: list[Outcome | None] = [None] * len(resolved)
    if not storing:
        return outcomes
    try:
        submission = submitter.submit(builder, [history for _, history in storing])
    except Erased:
        raise Erased(ERASED) from None
    except InvalidDocument as refused:
        raise InvalidDocument(faults=_placed(refused.faults, [resolved[at] for at, _ in storing])) from None
    for (at, _), outcome in zip(storing, submission.outcomes, strict=True):
        first = outcomes[at]
        outcomes[at] = outcome if first is None else replace(first, receipt=joined([first.receipt, outcome.receipt]))
    return outcomes


def _at_entry(entry: Entry, receipt: Receipt) -> Receipt:
    """The receipt, in which a line about the patient has the place of the entry."""
    if all(line.place for line in receipt.lines):
        return receipt
    return replace(receipt, lines=[line if line.place else line._replace(place=entry.place) for line in receipt.lines])


def _receipt_without_facts(each: ResolvedEntry, stored: StoredResource | None, full: bool) -> Receipt:
    """The receipt of an entry of which nothing was stored: it is not ours, it stands already, or the resource of a
    conditional create exists and may have another content.
    """
    if each.aside:
        return Receipt(Counter(line.disposition for line in each.aside), each.aside)
    if each.key is None:
        lines = each.entry.aside or (_skipped(each.entry),)
        return Receipt(Counter(line.disposition for line in lines), lines)
    if each.history is None or stored is None or _stands(each.history, stored):
        line = ReceiptLine(each.entry.place, Disposition.KEPT, None, (Note(NoteCode.UNCHANGED),))
        return Receipt(Counter({Disposition.KEPT: 1}), [line] if full else [])
    return Receipt(Counter({Disposition.NOT_APPLIED: 1}), [ReceiptLine(each.entry.place, Disposition.NOT_APPLIED)])


def _skipped(entry: Entry) -> ReceiptLine:
    return not_ours(entry.place, entry.skipped or "value")._replace(sent=entry.unknown)


def _stands(history: History, stored: StoredResource) -> bool:
    """Whether everything that a history says is said by the stored resource."""
    if stored.fact is None:
        known = {(fact.identity, fact.value) for fact in stored.attributes}
        return all((fact.identity, fact.value) in known for fact in history.attributes)
    return all(fact == stored.fact for kind in KINDS for fact in getattr(history, kind))


def _placed(faults: Sequence[Fault], storing: Sequence[ResolvedEntry]) -> Iterator[Fault]:
    """Faults of several histories at the places of their entries. A pointer begins with the number of its history."""
    for fault in faults[:MOST_FAULTS]:
        if not fault.pointer.startswith("/"):
            yield fault
            continue
        number = int(fault.pointer.split("/")[1])
        yield fault.at(storing[number].entry.place)


def _of_known(builder: RevisionBuilder, each: ResolvedEntry) -> ResolvedEntry:
    """The entry; without a resource if the study does not have its patient, and no feed may add one."""
    if each.key is None or each.key.patient in builder.people:
        return each
    return replace(each, key=None, client_id=None, parts=())


def _in_their_draws(each: ResolvedEntry, outcome: Outcome | None) -> ResolvedEntry:
    """The entry, with the draws in which its facts were stored."""
    if outcome is None or not outcome.draws:
        return each
    parts = tuple((name, _in_draw(key, outcome)) for name, key in each.parts)
    return replace(each, key=None if each.key is None else _in_draw(each.key, outcome), parts=parts)


def _in_draw(key: ResourceKey, outcome: Outcome) -> ResourceKey:
    return key._replace(draw=outcome.draws.get((key.kind or "", key.identity or ""), key.draw))


def _new_client_ids(
    resolved: Sequence[ResolvedEntry], results: Sequence[EntryResult]
) -> list[tuple[str, str, ClientId]]:
    """The new client ids and what they name, as (resource type, client id, target); the first use of an id counts.

    The type is that of the address: an administration may be stored as a MedicationStatement.
    """
    named: dict[TypedId, ClientId] = {}
    for each, result in zip(resolved, results, strict=True):
        found = result.stored
        if found is None or each.key is None:
            continue
        new = [] if each.client_id is None else [(each.client_id, each.key)]
        for name, (patient, kind, identity, draw) in (*new, *each.parts):
            named.setdefault(
                (each.entry.resource or found.type, name), ClientId(patient, found.patient_key, kind, identity, draw)
            )
    return [(resource, name, found) for (resource, name), found in named.items()]


def _entry_status(each: ResolvedEntry, outcome: Outcome | None) -> EntryStatus:
    if each.key is None:
        return "skipped"
    if request_of(each.entry).method == "DELETE":
        return "deleted"
    if outcome is None:
        return "unchanged"
    if not each.known and (outcome.counts.added or each.key.kind is None):
        return "created"
    return "updated" if outcome.counts.added or outcome.counts.superseded else "unchanged"
