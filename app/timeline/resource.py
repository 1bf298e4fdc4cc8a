"""Stored facts as they are passed to the FHIR facade, and the identifiers of their FHIR resources.

The identifier of a resource is the key of the patient and a digest of the identity of the fact. It needs no table: the
store searches the facts of that patient. It does not show anything about the content of the fact.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from app.timeline.facts import AnyFact, AttributeFact, FactTime, names_an_order
from app.timeline.vocabulary import WITHDRAWN

SupportedType = Literal[
    "Patient", "Observation", "MedicationAdministration", "MedicationStatement", "MedicationRequest", "AdverseEvent"
]
"""The types of FHIR resources that the service stores, searches and shows."""

KINDS_OF: dict[str, tuple[str, ...]] = {
    "Patient": ("patient",),
    "Observation": ("labs", "assessments"),
    "MedicationAdministration": ("infusions",),
    "MedicationStatement": ("medications",),
    "MedicationRequest": ("medications",),
    "AdverseEvent": ("events",),
}
"""The kinds of facts of each resource type; `patient` is the patient with the attributes that stand."""

_TYPE_OF = {kind: resource for resource, kinds in KINDS_OF.items() for kind in kinds}

SUBJECT_SYSTEM = "urn:myoresponse:subject"
"""The system of subject identifiers: pseudonyms within one study."""
KEPT_NUMBER = "urn:myoresponse:extension:kept-number"
"""Extension of an identifier. It says that system and value are the source and number as they are stored (a pseudonym
if numbers are replaced). Without a value the fact has no number.
"""

_IDENTIFIER = re.compile(r"([a-z2-7]{1,13})-([a-z2-7]{26})", re.ASCII)
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"


def type_of(kind: str, identity: str) -> str:
    """The type of the resource of a fact: a medication that was ordered is another one than one that was taken."""
    if kind == "medications":
        return "MedicationRequest" if names_an_order(identity) else "MedicationStatement"
    return _TYPE_OF[kind]


class ResourceKey(NamedTuple):
    """Names a resource: a patient, or one fact of the patient by its kind (`facts.KINDS`), identity and draw.

    Each draw of a number is a resource. The name of the first one is empty.
    """

    patient: str
    kind: str | None = None
    identity: str | None = None
    draw: str = ""


FactNumber = tuple[str, str, str]
"""A patient, a type of resource, and the number that a source gave a fact."""


class NumberedFact(NamedTuple):
    """A fact that has a number, the source that gave it, and its times as they were stated."""

    key: ResourceKey
    source: str | None
    times: frozenset[FactTime] = frozenset()


@dataclass(frozen=True, slots=True)
class StoredResource:
    """One resource in one of its versions: the patient, or one assertion of a fact.

    `fact` is `None` for the patient, who has `attributes`. `added` is the revision that made this version (for the
    patient: the one that last changed an attribute) and `received_at` when it was received, in microseconds since 1970.
    `ordinal` numbers the assertions that one revision stored of one fact. `late` marks an assertion that was already
    superseded when it arrived. `removed` marks a version in which the fact does not exist any more, because a timeline
    was replaced by one without it; `fact` is then the last valid one. `draw` is the draw of its number to which the
    fact belongs.
    """

    patient: str
    patient_key: int
    kind: str
    fact: AnyFact | None
    added: int
    received_at: int
    attributes: tuple[AttributeFact, ...] = ()
    ordinal: int = 0
    late: bool = False
    removed: bool = False
    draw: str = ""

    @property
    def id(self) -> str:
        """The identifier of the resource, the same for all of its versions."""
        identity = self.patient if self.fact is None else self.fact.identity
        return logical_id(self.patient_key, self.kind, identity, self.draw)

    @property
    def type(self) -> str:
        """The type of the resource."""
        return type_of(self.kind, "" if self.fact is None else self.fact.identity)

    @property
    def version(self) -> str:
        """The version of the resource: the revision, with a second number if one revision stored several."""
        return f"{self.added}.{self.ordinal}" if self.ordinal else str(self.added)

    @property
    def withdrawn(self) -> bool:
        """Whether clients and analyses do not see the fact in this version."""
        return self.removed or (self.fact is not None and self.fact.status in WITHDRAWN)

    @property
    def gone(self) -> bool:
        """Whether the resource cannot be shown: it is withdrawn, and its type has no FHIR status for this."""
        return self.removed or (self.withdrawn and self.kind == "events")


class Name(NamedTuple):
    """The two parts of a logical identifier: the key of the patient, and the digest of the identity of the fact."""

    patient_key: int
    digest: str


def logical_id(patient_key: int, kind: str, identity: str, draw: str = "") -> str:
    """The FHIR id of a fact (1 to 64 of A-Z, a-z, 0-9, dot and hyphen), always the same.

    A patient is named by the subject identifier itself, given as `identity` with the kind `patient`.
    """
    return identity if kind == "patient" else f"{_base32(patient_key)}-{digest_of(kind, identity, draw)}"


def read_logical_id(text: str) -> Name | None:
    """The parts of the identifier of a fact, or `None` if it is not an identifier of this service."""
    match = _IDENTIFIER.fullmatch(text)
    if match is None:
        return None
    key = 0
    for digit in match[1]:
        key = key << 5 | _DIGITS.index(digit)
    return Name(key, match[2]) if key < 2**63 and _base32(key) == match[1] else None


def digest_of(kind: str, identity: str, draw: str = "") -> str:
    """128 bits of the SHA-256 of the kind, identity and draw of a fact, in base 32."""
    named = f"{kind}\n{identity}\n{draw}" if draw else f"{kind}\n{identity}"
    hashed = hashlib.sha256(named.encode()).digest()[:16]
    return base64.b32encode(hashed).decode().rstrip("=").lower()


def _base32(number: int) -> str:
    digits = _DIGITS[number & 31]
    while number := number >> 5:
        digits = _DIGITS[number & 31] + digits
    return digits
