"""What the entries of one transaction must not ask for together.

Entries are not processed one after the other, so there is no last one that could win. That the assertions of one fact
do not contradict each other is seen to by the ledger; here it is about the names of resources.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.errors import Fault, FaultCode
from app.ingest.fhir.entries import Entry

_TWO_RESOURCES = "Another entry gives this identifier to another resource."
_ALSO_WITHDRAWN = "Another entry deletes what this one stores."


class Target(NamedTuple):
    """What an entry is about: a patient, or one of their facts by its kind and identity."""

    patient: str
    kind: str | None
    identity: str | None


def contradictions(aims: Iterable[tuple[Entry, Target]]) -> Iterator[Fault]:
    """The faults of entries that give one identifier to two resources, or store under it what another one deletes.

    `aims` has the entries that are about something kept, and what that is.
    """
    named: dict[tuple[str | None, str], Target] = {}
    listed = list(aims)
    withdrawn = {target for entry, target in listed if entry.request and entry.request.method == "DELETE"}
    for entry, target in listed:
        name = name_given(entry)
        if name is None:
            continue
        place = entry.place.removesuffix(".resource")
        if target in withdrawn:
            yield Fault(place + ".request", FaultCode.CONFLICTING_DUPLICATE, _ALSO_WITHDRAWN)
        elif named.setdefault((entry.resource, name), target) != target:
            yield Fault(entry.place + ".id", FaultCode.CONFLICTING_DUPLICATE, _TWO_RESOURCES)


def name_given(entry: Entry) -> str | None:
    """The identifier that an entry gives its resource: that of a PUT, and of a Patient without a request (an export has
    none), because what follows refers to it.
    """
    if entry.request is None:
        return entry.id if entry.resource == "Patient" else None
    return entry.request.id if entry.request.method == "PUT" else None
