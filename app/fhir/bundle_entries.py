"""What a FHIR reader makes of a resource: statements about somebody, or why there are none."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from app.errors import Fault
from app.readers.pseudonyms import Identifier
from app.readers.statements import Skipped, Statement

Method = Literal["POST", "PUT", "DELETE", "GET"]
BundleType = Literal["transaction", "batch", "collection"]


class Reference(NamedTuple):
    """A patient whom only the study knows: `Patient/{id}`, with the id that the sender uses."""

    id: str


@dataclass(frozen=True, slots=True)
class Request:
    """What an entry of a bundle asks for: `url` as sent, its resource type and id taken out of it.

    `if_none_exist` is the identifier that a conditional create names; its authority is "" where the search gave none.
    """

    method: Method
    url: str
    resource: str | None = None
    id: str | None = None
    if_none_exist: Identifier | None = None
    if_match: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource: its place in the message (`Bundle.entry[3].resource`, or `Observation` where it stands alone).

    `id` is the resource's own, as sent. `subject` is the subject identifier where the resource or its bundle says who
    it is about, a `Reference` where only the study knows that, `None` where there is nothing to store (skipped, faulty,
    or a request without a resource). With `faults` nothing of it may be stored.
    """

    index: int
    place: str
    resource: str | None
    id: str | None = None
    request: Request | None = None
    subject: str | Reference | None = None
    subject_place: str = ""
    statements: tuple[Statement, ...] = ()
    skipped: Skipped | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle, its entries in the order in which they were sent."""

    type: BundleType
    entries: tuple[Entry, ...]
