"""A stored fact as the store hands it to whoever writes it as a FHIR resource, and the identifier that it has there.

The identifier of a resource needs no table. It is the key of the patient and a digest of what the fact is kept by, so
that it is found among that patient's facts and no others, and says nothing about the fact itself.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from app.timeline.facts import AnyFact, AttributeFact
from app.timeline.vocabulary import WITHDRAWN

SupportedType = Literal["Patient", "Observation", "MedicationAdministration", "AdverseEvent"]
"""The types of FHIR resources that the service stores, searches and shows."""

KINDS_OF: dict[str, tuple[str, ...]] = {
    "Patient": ("patient",),
    "Observation": ("labs", "assessments"),
    "MedicationAdministration": ("infusions",),
    "AdverseEvent": ("events",),
}
"""The kinds of facts that are resources of each type; `patient` is the patient with the attributes that stand."""

TYPE_OF: dict[str, str] = {kind: resource for resource, kinds in KINDS_OF.items() for kind in kinds}

SUBJECT_SYSTEM = "urn:myoresponse:subject"
"""The system of subject identifiers: pseudonyms within one study."""
KEPT_NUMBER = "urn:myoresponse:extension:kept-number"
"""Extension of an identifier: its system and value are source and number as they are kept, a pseudonym already where
numbers are replaced; without a value the fact has no number.
"""

_IDENTIFIER = re.compile(r"([a-z2-7]{1,13})-([a-z2-7]{26})", re.ASCII)
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"


class ResourceKey(NamedTuple):
    """Which resource: a patient, or one of their facts by its kind (`facts.KINDS`) and what it is kept by."""

    patient: str
    kind: str | None = None
    identity: str | None = None


FactNumber = tuple[str, str, str]
"""A patient, a type of resource, and the number that a source gave a fact."""

NumberedFact = tuple[ResourceKey, str | None]
"""A fact that has a number, and the source that gave it."""


@dataclass(frozen=True, slots=True)
class StoredResource:
    """One resource in one of its versions: the patient, or one assertion of a fact.

    `fact` is `None` for the patient, who has `attributes`. `added` is the revision that made this version (for the
    patient: the one that last changed an attribute) and `received_at` when it was received, in microseconds since 1970.
    `ordinal` tells apart what one revision stored of one fact. `late` marks an assertion that had been superseded
    before it came. `removed` marks a version that says only that the fact is no more: a timeline was replaced without
    it; `fact` is then what stood before.
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

    @property
    def id(self) -> str:
        """The identifier of the resource, the same for all of its versions."""
        return logical_id(self.patient_key, self.kind, self.patient if self.fact is None else self.fact.identity)

    @property
    def type(self) -> str:
        """The type of the resource."""
        return TYPE_OF[self.kind]

    @property
    def version(self) -> str:
        """The version of the resource: the revision, with a second number where one revision stored several."""
        return f"{self.added}.{self.ordinal}" if self.ordinal else str(self.added)

    @property
    def withdrawn(self) -> bool:
        """Whether clients and analyses do not see the fact in this version."""
        return self.removed or (self.fact is not None and self.fact.status in WITHDRAWN)

    @property
    def gone(self) -> bool:
        """Whether there is nothing to show: withdrawn, and FHIR has no status to say so with."""
        return self.removed or (self.withdrawn and self.kind == "events")


class Name(NamedTuple):
    """What a logical identifier says: whose fact it is, and the digest that singles the fact out."""

    patient_key: int
    digest: str


def logical_id(patient_key: int, kind: str, identity: str) -> str:
    """The FHIR id of a fact (1 to 64 of A-Z, a-z, 0-9, dot and hyphen), always the same.

    A patient is named by the subject identifier itself, given as `identity` with the kind `patient`.
    """
    return identity if kind == "patient" else f"{_base32(patient_key)}-{digest_of(kind, identity)}"


def read_logical_id(text: str) -> Name | None:
    """What an identifier of a fact says, or `None` where it is not one of ours."""
    found = _IDENTIFIER.fullmatch(text)
    if found is None:
        return None
    key = 0
    for digit in found[1]:
        key = key << 5 | _DIGITS.index(digit)
    return Name(key, found[2]) if key < 2**63 and _base32(key) == found[1] else None


def digest_of(kind: str, identity: str) -> str:
    """128 bits of SHA-256 over what a fact is kept by, in base 32."""
    hashed = hashlib.sha256(f"{kind}\n{identity}".encode()).digest()[:16]
    return base64.b32encode(hashed).decode().rstrip("=").lower()


def _base32(number: int) -> str:
    digits = _DIGITS[number & 31]
    while number := number >> 5:
        digits = _DIGITS[number & 31] + digits
    return digits
