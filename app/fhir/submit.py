"""FHIR R4 messages: their entries are stored as one submission to the ledger, or as one for each of them.

A transaction and a collection are one revision or nothing. The entries of a batch stand each for itself. What entries
name is looked up under the lock of the study, in the transaction that stores, so that two clients who create the same
resource at once make one. Then `resolve_entries` decides without the database.

FHIR has an order in which the entries of a transaction are processed. Here none is needed: which assertion stands does
not depend on the order in which they come, and where it would, the transaction contradicts itself and is refused.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from app.fhir.read_bundle import read_bundle, read_resource
from app.fhir.resolve_entries import (
    ResolvedEntry,
    StoredState,
    TypedId,
    may_be_panel,
    names_in,
    numbers_in,
    part_name,
    request_of,
    resolve,
    resources_in,
)
from app.readers.pseudonyms import Identifier
from app.readers.statements import Feed
from app.store import client_ids, resources
from app.store.client_ids import ClientId
from app.store.engine import Database, Transaction
from app.store.ledger import Outcome
from app.store.resources import Identities
from app.store.revision_builder import RevisionBuilder
from app.submission.feeds import read_feed
from app.submission.loop import Submitter, patiently
from app.timeline.normalize import MOST_FAULTS
from app.timeline.resource import ResourceKey, StoredResource, SupportedType

FORMAT = "fhir-r4"
PARTS = 32
"""Parts of a panel that are looked up at once."""

Disposition = Literal["created", "updated", "unchanged", "deleted", "skipped", "refused"]


@dataclass(frozen=True, slots=True)
class EntryResult:
    """What came of an entry: `stored` is the resource as it stands now, `error` why the entry was refused.

    `unchanged` says that nothing new stands: it had been stored before, is older than what stands, or a conditional
    create found it.
    """

    entry: Entry
    disposition: Disposition
    stored: StoredResource | None = None
    error: ServiceError | None = None


@dataclass(frozen=True, slots=True)
class BundleResult:
    """A bundle and what came of each entry, in the order in which they were sent."""

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
) -> BundleResult:
    """Read a bundle and store what it says.

    Raises what the reader raises, `InvalidDocument` with the faults of all entries of a transaction or collection,
    and whatever else keeps one of those out. A batch raises only where nothing of it could be tried.
    """
    feed = patiently(lambda: read_feed(database, study_id, secret, now), pauses)
    bundle = read_bundle(body, feed)
    if bundle.type == "batch":
        results = store_each(database, study_id, feed, bundle.entries, client=client, received_at=now, pauses=pauses)
    else:
        submitter = Submitter(database, study_id, FORMAT, now, feed, client, pauses)
        results = submitter.commit(lambda transaction: store_entries(transaction, submitter, feed, bundle.entries))
    return BundleResult(bundle.type, tuple(results))


def create(
    database: Database,
    study_id: str,
    resource: SupportedType,
    body: bytes,
    *,
    if_none_exist: Identifier | None = None,
    secret: str | None,
    now: int,
    client: str | None = None,
) -> EntryResult:
    """Store a resource, unless one with the identifier `if_none_exist` is stored already."""
    feed = read_feed(database, study_id, secret, now)
    request = Request("POST", resource, resource, if_none_exist=if_none_exist)
    entry = replace(read_resource(body, feed, resource), request=request)
    return _store_one(database, study_id, feed, entry, client, now)


def update(
    database: Database,
    study_id: str,
    resource: SupportedType,
    logical_id: str,
    body: bytes,
    *,
    if_match: str | None = None,
    only_new: bool = False,
    secret: str | None,
    now: int,
    client: str | None = None,
) -> EntryResult:
    """Store a resource under the identifier that the address names: ours, or one that the client chose.

    Raises `PreconditionFailed` where `if_match` names another version, or where there is a resource and it must be
    `only_new`; else what `store_entries` raises.
    """
    feed = read_feed(database, study_id, secret, now)
    read = read_resource(body, feed, resource)
    if read.id != logical_id and not read.faults:
        code = FaultCode.MISSING if read.id is None else FaultCode.PATH_MISMATCH
        raise MalformedDocument(faults=[Fault(f"{read.place}.id", code)])
    request = Request("PUT", f"{resource}/{logical_id}", resource, logical_id, if_match=if_match)
    based_on = _version_in(body)
    entry = replace(read, request=request)
    return _store_one(database, study_id, feed, entry, client, now, based_on=based_on, only_new=only_new)


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
) -> EntryResult:
    """Withdraw a resource, as if it came again as entered in error."""
    feed = read_feed(database, study_id, secret, now)
    request = Request("DELETE", f"{resource}/{logical_id}", resource, logical_id, if_match=if_match)
    return _store_one(database, study_id, feed, Entry(0, resource, resource, request=request), client, now)


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
    """Store entries as one revision, or nothing of any; the results in the order of the entries.

    `based_on` is the version that an update by our own identifier says it was read in; `identities` is given where
    several submissions share a transaction. Raises `InvalidDocument` with the faults of all, `NotFound` where a DELETE
    names nothing, `PreconditionFailed`, `Conflict` where an update rests on an older version, and `Erased` where one of
    the persons has been erased. Only a `Conflict` comes after something was written; after the others the transaction
    is as it was.
    """
    builder = submitter.builder(transaction)  # locks the study: what is looked up is so when it is stored
    stored = _look_up(builder, feed, entries, identities or Identities(transaction))
    resolved = resolve(entries, stored, feed, based_on=based_on, only_new=only_new)
    outcomes = _store_histories(builder, submitter, resolved)
    keys = [each.key for each in resolved if each.key is not None]
    now_stored = resources.standing(transaction, builder.key, _patients(builder), keys)
    results = []
    for each, outcome in zip(resolved, outcomes, strict=True):
        disposition = _disposition(each, outcome)
        if each.outdated and disposition == "updated":
            raise Conflict("The resource has changed since the version that meta.versionId names; read it again.")
        found = None if each.key is None else now_stored.get(each.key)
        results.append(EntryResult(each.entry, disposition, found))
    client_ids.add(transaction, builder.key, _new_client_ids(resolved, results))
    return results


def _look_up(builder: RevisionBuilder, feed: Feed, entries: Sequence[Entry], identities: Identities) -> StoredState:
    """All that decides about these entries: first what their names lead to, then how that stands.

    The number of statements does not grow with the entries, but with every few hundred of them.
    """
    connection, study = builder.connection, builder.key
    names = names_in(entries, feed.pseudonyms)
    named = client_ids.find_all(connection, study, names.client_ids)
    named |= _look_up_parts(builder, feed, entries, named)
    own_ids, erased_own_ids = resources.find_named(connection, study, names.own_ids, identities)
    leads = {name: ResourceKey(found.patient, found.kind, found.identity) for name, found in named.items()}
    builder.load_patients({*names.patients, *[key.patient for key in (*leads.values(), *own_ids.values())]})
    patients = _patients(builder)
    unknown = [name for resource, name in names.client_ids - leads.keys() if resource == "Patient"]
    return StoredState(
        frozenset(builder.people),
        frozenset(patient for patient in names.patients if builder.is_erased(patient)),
        leads,
        client_ids.erased_among(connection, study, builder.secret, unknown),
        own_ids,
        erased_own_ids,
        resources.standing(connection, study, patients, resources_in(entries, builder.people, leads, own_ids)),
        resources.numbered(connection, patients, numbers_in(entries, leads, feed.pseudonyms)),
    )


def _patients(builder: RevisionBuilder) -> list[resources.Patient]:
    return [(patient.id, patient.key, patient.first_revision) for patient in builder.people.values()]


def _look_up_parts(
    builder: RevisionBuilder, feed: Feed, entries: Sequence[Entry], named: Mapping[TypedId, ClientId]
) -> dict[TypedId, ClientId]:
    """The parts of panels of which `named` has the first one, `PARTS` of each at once."""
    requests = [entry.request for entry in entries if entry.request is not None and may_be_panel(entry)]
    found = dict(named)
    first = 0
    while requests := [request for request in requests if _part(feed, request, first) in found]:
        wanted = {_part(feed, request, first + i) for request in requests for i in range(1, PARTS + 1)}
        found |= client_ids.find_all(builder.connection, builder.key, wanted)
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
    """Store entries each by itself, as a revision of its own; the refusal of one does not keep the others out.

    Where the database is busy after a part was stored, the rest is refused as `Busy`: it may be sent again.
    """
    submitter = Submitter(database, study_id, FORMAT, received_at, feed, client, pauses)

    def store(transaction: Transaction, group: Sequence[Entry]) -> list[EntryResult | ServiceError]:
        identities = Identities(transaction)
        return [_store_alone(transaction, submitter, feed, entry, identities) for entry in group]

    outcomes = submitter.each(entries, store)
    return [
        EntryResult(entry, "refused", error=outcome) if isinstance(outcome, ServiceError) else outcome
        for entry, outcome in zip(entries, outcomes, strict=True)
    ]


def _version_in(body: bytes) -> str | None:
    """The version that a resource says it was read in, `meta.versionId`; the bytes have been read as JSON before."""
    meta = json.loads(body).get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def _store_one(
    database: Database,
    study_id: str,
    feed: Feed,
    entry: Entry,
    client: str | None,
    now: int,
    *,
    based_on: str | None = None,
    only_new: bool = False,
) -> EntryResult:
    submitter = Submitter(database, study_id, FORMAT, now, feed, client)
    return submitter.commit(
        lambda transaction: store_entries(transaction, submitter, feed, [entry], based_on=based_on, only_new=only_new)
    )[0]


def _store_alone(
    transaction: Transaction, submitter: Submitter, feed: Feed, entry: Entry, identities: Identities
) -> EntryResult:
    if request_of(entry).method == "GET" or any(fault == _unserved(entry) for fault in entry.faults):
        return EntryResult(
            entry, "refused", error=MethodNotAllowed("In a bundle only POST, PUT and DELETE are served.")
        )
    try:
        return store_entries(transaction, submitter, feed, [entry], identities=identities)[0]
    except Busy:
        raise
    except ServiceError as refusal:
        return EntryResult(entry, "refused", error=refusal)


def _unserved(entry: Entry) -> Fault:
    """The fault of an entry whose method is not one that bundles may ask for here."""
    return Fault(f"Bundle.entry[{entry.index}].request.method", FaultCode.UNSUPPORTED)


def _store_histories(
    builder: RevisionBuilder, submitter: Submitter, resolved: Sequence[ResolvedEntry]
) -> list[Outcome | None]:
    """Submit the histories of the entries as one revision; `None` for an entry that submits nothing."""
    storing = [each for each in resolved if each.history is not None]
    if not storing:
        return [None] * len(resolved)
    histories = [each.history for each in storing if each.history is not None]
    try:
        submission = submitter.submit(builder, histories)
    except Erased:
        raise Erased("A person whom this is about has been erased.") from None
    except InvalidDocument as refused:
        raise InvalidDocument(faults=_placed(refused.faults, storing)) from None
    outcomes = iter(submission.outcomes)
    return [None if each.history is None else next(outcomes) for each in resolved]


def _placed(faults: Sequence[Fault], storing: Sequence[ResolvedEntry]) -> Iterator[Fault]:
    """Faults between histories, whose pointers begin with the number of one, at the place of its entry."""
    for fault in faults[:MOST_FAULTS]:
        number = int(fault.pointer.split("/")[1])
        yield Fault(storing[number].entry.place, fault.code, fault.detail)


def _new_client_ids(
    resolved: Sequence[ResolvedEntry], results: Sequence[EntryResult]
) -> list[tuple[str, str, ClientId]]:
    """What the new identifiers of clients name, each after its type of resource; the first entry to use one decides."""
    named: dict[TypedId, ClientId] = {}
    for each, result in zip(resolved, results, strict=True):
        found = result.stored
        if found is None or each.key is None:
            continue
        new = [] if each.client_id is None else [(each.client_id, each.key)]
        for name, (patient, kind, identity) in (*new, *each.parts):
            named.setdefault((found.type, name), ClientId(patient, found.patient_key, kind, identity))
    return [(resource, name, found) for (resource, name), found in named.items()]


def _disposition(each: ResolvedEntry, outcome: Outcome | None) -> Disposition:
    if each.key is None:
        return "skipped"
    if request_of(each.entry).method == "DELETE":
        return "deleted"
    if outcome is None:
        return "unchanged"
    if not each.known and (outcome.counts.added or each.key.kind is None):
        return "created"
    return "updated" if outcome.counts.added or outcome.counts.superseded else "unchanged"
