"""The result of reading a FHIR message: a bundle, its entries, and what each entry requests and states."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from app.errors import Fault
from app.fhir.elements import FaultyFact
from app.readers.pseudonyms import Identifier
from app.readers.statements import Skipped, Statement
from app.timeline.receipts import ReceiptLine, SentFact

Method = Literal["POST", "PUT", "DELETE", "GET"]
BundleType = Literal["transaction", "batch", "collection", "searchset"]


class Reference(NamedTuple):
    """A reference `Patient/{id}` to a patient who is not in the message; `id` is the sender's."""

    id: str


class RecordLink(NamedTuple):
    """The record that another record is merged into: the one that the Patient names, or the Patient itself.

    `replaces`: the Patient is the surviving record. `issued` is when it was said, in microseconds since 1970.
    """

    other: str | Reference
    replaces: bool
    place: str
    issued: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """The request of a bundle entry: `url` as sent, and the resource type and id that it contains.

    `if_none_exist` is the identifier of a conditional create, `condition` that of a conditional update; its authority
    is "" if the search gave none. The id of a conditional update is that of its resource, if it has one.
    """

    method: Method
    url: str
    resource: str | None = None
    id: str | None = None
    if_none_exist: Identifier | None = None
    if_match: str | None = None
    condition: Identifier | None = None
    if_none_match: str | None = None

    @property
    def searched(self) -> Identifier | None:
        """The identifier by which the request searches its resource."""
        return self.if_none_exist or self.condition


class Entry(NamedTuple):
    """One resource of a message. `place` is `Bundle.entry[3].resource`, or `Observation` for a single resource.

    `at` is its index in the message, `id` the id of the resource, as sent. `subject` is the subject identifier of the
    patient, if the message gives it; a `Reference` if it must be looked up in the study; `None` if there is nothing to
    store (the entry is skipped, is faulty, or has no resource). An entry with `faults` is not stored. `set_aside` are
    its facts that cannot be read, `aside` other lines of its receipt, such as details that were left out. `unknown` is
    what is known of a skipped one with a code that is not ours. `panel` is the withdrawal of a panel that does not list
    its results. `strict`: none of its facts may be set aside. `withdrawn`: it is skipped and its status withdraws.
    `partial`: its tag says that it is only a part of a resource.
    """

    at: int
    place: str
    resource: str | None
    id: str | None = None
    request: Request | None = None
    subject: str | Reference | None = None
    subject_place: str = ""
    statements: tuple[Statement, ...] = ()
    skipped: Skipped | None = None
    faults: tuple[Fault, ...] = ()
    set_aside: tuple[FaultyFact, ...] = ()
    aside: tuple[ReceiptLine, ...] = ()
    panel: Statement | None = None
    links: tuple[RecordLink, ...] = ()
    strict: bool = False
    withdrawn: bool = False
    partial: bool = False
    unknown: SentFact | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle with its entries in the order of the message."""

    type: BundleType
    entries: tuple[Entry, ...]
