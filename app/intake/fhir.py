"""FHIR R4 messages: what their entries ask for becomes one submission to the ledger, or one for each of them.

A transaction and a collection are one revision or nothing. The entries of a batch stand each for itself. What an entry
is about (whose patient, which stored resource) is found out under the lock of the study, in the transaction that
stores, so that two clients who create the same resource at once make one.

FHIR has an order in which the entries of a transaction are processed. Here none is needed: which assertion stands does
not depend on the order in which they come, and where it would, the transaction contradicts itself and is refused.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import Connection

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
from app.ingest.feed import Feed
from app.ingest.fhir import read_bundle, read_resource
from app.ingest.fhir.entries import BundleType, Entry, Kept, Request
from app.ingest.pseudonyms import Identifier
from app.intake.feeds import feed_of, remember_key
from app.intake.fhir_plans import Plan, Planning, request_of
from app.store import aliases, ledger, resources
from app.store.engine import Database
from app.store.ledger import Outcome
from app.store.resources import Identities
from app.timeline.normalize import MOST_FAULTS
from app.timeline.resource import Found

FORMAT = "fhir-r4"
GROUP = 100
"""Entries of a batch stored in one transaction; each has a revision of its own."""

Became = Literal["created", "updated", "unchanged", "deleted", "skipped", "refused"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an entry: `found` is the resource as it stands now, `error` why the entry was refused.

    `unchanged` says that nothing new stands: it had been stored before, is older than what stands, or a conditional
    create found it.
    """

    entry: Entry
    became: Became
    found: Found | None = None
    error: ServiceError | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A bundle and what became of each entry, in the order in which they were sent."""

    type: BundleType
    results: tuple[Result, ...]


def take_bundle(
    database: Database, study_id: str, body: bytes, *, secret: str | None, now: int, client: str | None = None
) -> Taken:
    """Read a bundle and store what it says.

    Raises what the reader raises, `InvalidDocument` with the faults of all entries of a transaction or collection,
    and whatever else keeps one of those out. A batch raises only where nothing of it could be tried.
    """
    feed = _feed(database, study_id, secret, now)
    bundle = read_bundle(body, feed)
    if bundle.type == "batch":
        results = take_each(database, study_id, feed, bundle.entries, client=client, received_at=now)
    else:
        with database.writing() as connection:
            results = take_entries(connection, study_id, feed, bundle.entries, client=client, received_at=now)
    return Taken(bundle.type, tuple(results))


def create(
    database: Database,
    study_id: str,
    resource: Kept,
    body: bytes,
    *,
    if_none_exist: Identifier | None = None,
    secret: str | None,
    now: int,
    client: str | None = None,
) -> Result:
    """Store a resource, unless one with the identifier `if_none_exist` is stored already."""
    feed = _feed(database, study_id, secret, now)
    request = Request("POST", resource, resource, if_none_exist=if_none_exist)
    entry = replace(read_resource(body, feed, resource), request=request)
    return _take_one(database, study_id, feed, entry, client, now)


def update(
    database: Database,
    study_id: str,
    resource: Kept,
    logical_id: str,
    body: bytes,
    *,
    if_match: str | None = None,
    only_new: bool = False,
    secret: str | None,
    now: int,
    client: str | None = None,
) -> Result:
    """Store a resource under the identifier that the address names: ours, or one that the client chose.

    Raises `PreconditionFailed` where `if_match` names another version, or where there is a resource and it must be
    `only_new`; else what `take_entries` raises.
    """
    feed = _feed(database, study_id, secret, now)
    read = read_resource(body, feed, resource)
    if read.id != logical_id and not read.faults:
        code = FaultCode.MISSING if read.id is None else FaultCode.PATH_MISMATCH
        raise MalformedDocument(faults=[Fault(f"{read.place}.id", code)])
    request = Request("PUT", f"{resource}/{logical_id}", resource, logical_id, if_match=if_match)
    based_on = _version_in(body)
    entry = replace(read, request=request)
    return _take_one(database, study_id, feed, entry, client, now, based_on=based_on, only_new=only_new)


def withdraw(
    database: Database,
    study_id: str,
    resource: Kept,
    logical_id: str,
    *,
    if_match: str | None = None,
    secret: str | None,
    now: int,
    client: str | None = None,
) -> Result:
    """Withdraw a resource, as if it came again as entered in error."""
    feed = _feed(database, study_id, secret, now)
    request = Request("DELETE", f"{resource}/{logical_id}", resource, logical_id, if_match=if_match)
    return _take_one(database, study_id, feed, Entry(0, resource, resource, request=request), client, now)


def take_entries(
    connection: Connection,
    study_id: str,
    feed: Feed,
    entries: Sequence[Entry],
    *,
    client: str | None,
    received_at: int,
    based_on: str | None = None,
    only_new: bool = False,
    identities: Identities | None = None,
) -> list[Result]:
    """Store entries as one revision, or nothing of any; the results in the order of the entries.

    `based_on` is the version that an update by our own identifier says it was read in; `identities` is given where
    several submissions share a transaction. Raises `InvalidDocument` with
    the faults of all, `NotFound` where a DELETE names nothing, `PreconditionFailed`, `Conflict` where an update rests
    on an older version, and `Erased` where one of the persons has been erased. Only a `Conflict` comes after something
    was written; after the others the transaction is as it was.
    """
    planning = Planning(connection, study_id, feed, received_at, based_on, only_new, identities)
    plans = planning.plans(entries)
    storing = [plan for plan in plans if plan.history is not None]
    outcomes: dict[int, Outcome] = {}
    if storing:
        remember_key(connection, study_id, feed)
        submission = _submit(connection, study_id, storing, client, received_at)
        outcomes = {id(plan): outcome for plan, outcome in zip(storing, submission.outcomes, strict=True)}
    named: set[tuple[str, str]] = set()
    results = []
    for plan in plans:
        found = _found(connection, study_id, plan, planning)
        became = _became(plan, outcomes.get(id(plan)), planning)
        if plan.outdated and became == "updated":
            raise Conflict("The resource has changed since the version that meta.versionId names; read it again.")
        if found is not None and plan.alias is not None and (found.type, plan.alias) not in named:
            named.add((found.type, plan.alias))
            _name(connection, study_id, found, plan.alias)
        _name_parts(connection, study_id, plan, planning, named)
        results.append(Result(plan.entry, became, found))
    return results


def take_each(
    database: Database,
    study_id: str,
    feed: Feed,
    entries: Sequence[Entry],
    *,
    client: str | None,
    received_at: int,
) -> list[Result]:
    """Store entries each by itself, as a revision of its own; the refusal of one does not keep the others out.

    When the database is busy, what was stored is told and the rest is refused as `Busy`: it may be sent again.
    """
    results: list[Result] = []
    for first in range(0, max(len(entries), 1), GROUP):
        group = entries[first : first + GROUP]
        try:
            with database.writing() as connection:
                identities = Identities(connection)
                results += [
                    _alone(connection, study_id, feed, entry, client, received_at, identities) for entry in group
                ]
        except Busy as busy:
            if not results:
                raise
            results += [Result(entry, "refused", error=busy) for entry in entries[first:]]
            break
    return results


def _feed(database: Database, study_id: str, secret: str | None, now: int) -> Feed:
    with database.reading() as connection:
        return feed_of(connection, study_id, secret, now)


def _version_in(body: bytes) -> str | None:
    """The version that a resource says it was read in, `meta.versionId`; the bytes have been read as JSON before."""
    meta = json.loads(body).get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def _take_one(
    database: Database,
    study_id: str,
    feed: Feed,
    entry: Entry,
    client: str | None,
    now: int,
    *,
    based_on: str | None = None,
    only_new: bool = False,
) -> Result:
    with database.writing() as connection:
        return take_entries(
            connection, study_id, feed, [entry], client=client, received_at=now, based_on=based_on, only_new=only_new
        )[0]


def _alone(
    connection: Connection,
    study_id: str,
    feed: Feed,
    entry: Entry,
    client: str | None,
    received_at: int,
    identities: Identities,
) -> Result:
    if request_of(entry).method == "GET" or any(fault == _unserved(entry) for fault in entry.faults):
        return Result(entry, "refused", error=MethodNotAllowed("In a bundle only POST, PUT and DELETE are served."))
    try:
        return take_entries(
            connection, study_id, feed, [entry], client=client, received_at=received_at, identities=identities
        )[0]
    except Busy:
        raise
    except ServiceError as refusal:
        return Result(entry, "refused", error=refusal)


def _unserved(entry: Entry) -> Fault:
    """The fault of an entry whose method is not one that bundles may ask for here."""
    return Fault(f"Bundle.entry[{entry.index}].request.method", FaultCode.UNSUPPORTED)


def _submit(
    connection: Connection, study_id: str, plans: Sequence[Plan], client: str | None, received_at: int
) -> ledger.Submission:
    histories = [plan.history for plan in plans if plan.history is not None]
    try:
        return ledger.submit(connection, study_id, histories, format=FORMAT, client=client, received_at=received_at)
    except Erased:
        raise Erased("A person whom this is about has been erased.") from None
    except InvalidDocument as refused:
        raise InvalidDocument(faults=_placed(refused.faults, plans)) from None


def _placed(faults: Sequence[Fault], plans: Sequence[Plan]) -> Iterator[Fault]:
    """Faults between histories, whose pointers begin with the number of one, at the place of its entry."""
    for fault in faults[:MOST_FAULTS]:
        number = int(fault.pointer.split("/")[1])
        yield Fault(plans[number].entry.place, fault.code, fault.detail)


def _found(connection: Connection, study_id: str, plan: Plan, planning: Planning) -> Found | None:
    """The resource that an entry is about as it stands now."""
    if plan.patient is None:
        return None
    if plan.kind is None or plan.identity is None:
        return resources.find_patient(connection, study_id, plan.patient)
    return resources.find_fact(connection, study_id, planning.key_of(plan.patient), plan.kind, plan.identity)


def _name(connection: Connection, study_id: str, found: Found, alias: str) -> None:
    """Remember by which identifier a client knows a resource."""
    kind, identity = (None, None) if found.fact is None else (found.kind, found.fact.identity)
    aliases.remember(
        connection, study_id, found.type, alias, patient_key=found.patient_key, kind=kind, identity=identity
    )


def _name_parts(
    connection: Connection, study_id: str, plan: Plan, planning: Planning, named: set[tuple[str, str]]
) -> None:
    """Remember which facts belong to a panel that a client has named, beside the first of them."""
    resource = plan.entry.resource or ""
    for alias, kind, identity in plan.parts:
        if (resource, alias) not in named:
            named.add((resource, alias))
            key = planning.key_of(plan.patient or "")
            aliases.remember(connection, study_id, resource, alias, patient_key=key, kind=kind, identity=identity)


def _became(plan: Plan, outcome: Outcome | None, planning: Planning) -> Became:
    if plan.patient is None:
        return "skipped"
    if request_of(plan.entry).method == "DELETE":
        return "deleted"
    if outcome is None:
        return "unchanged"
    added = outcome.counts.added > 0 and not plan.known
    is_new = added if plan.kind is not None else plan.patient in planning.newcomers
    if is_new:
        return "created"
    return "updated" if outcome.counts.added or outcome.counts.superseded else "unchanged"
