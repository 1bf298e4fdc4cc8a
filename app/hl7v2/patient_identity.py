"""Who a message is about: PID and MRG become a pseudonym, a year of birth and a sex, and nothing else is kept."""

from app.errors import Fault, FaultCode
from app.hl7v2.data_types import read_year
from app.hl7v2.segments import Segment
from app.readers.pseudonyms import Identifier, Pseudonyms
from app.readers.statements import Place, Statement

SEXES = {
    "F": "female", "M": "male",
    "O": "other", "A": "other", "X": "other",
    "U": "unknown", "N": "unknown",
}  # fmt: skip
"""HL7 table 0001: `A` is ambiguous, `N` not applicable, `X` non-binary (since 2.9)."""


def subject_of(segment: Segment, field: int, pseudonyms: Pseudonyms) -> str | Fault:
    """The subject identifier of whom a list of identifiers (PID-3, MRG-1) names."""
    listed = list(dict.fromkeys(_names(segment, field)))
    found = pseudonyms.patient([Identifier(name, value) for value, names in listed for name in names])
    if found is FaultCode.AMBIGUOUS_SUBJECT and len(listed) == 1:
        # One identifier under two names of its authority, neither of which the study has declared: the one that is
        # unique in the world stands for both.
        (value, names), *_ = listed
        found = pseudonyms.patient([Identifier(names[0], value)])
    return Fault(segment.place(field), found) if isinstance(found, FaultCode) else found


def authority(namespace: str, universal: str, kind: str) -> list[str]:
    """The names that a hierarchic designator gives an authority, the one that is unique in the world first."""
    if not universal:
        return [namespace]
    prefix = {"ISO": "urn:oid:", "UUID": "urn:uuid:", "GUID": "urn:uuid:"}.get(kind.upper(), "")
    unique = universal if universal.startswith(prefix) else prefix + universal
    return [unique] + ([namespace] if namespace else [])


def _names(segment: Segment, field: int) -> list[tuple[str, tuple[str, ...]]]:
    """Each identifier that is given, with the names of its authority."""
    columns = [segment.texts(field, *at) for at in ((1,), (4, 1), (4, 2), (4, 3))]
    return [
        (value, tuple(authority(namespace, universal, kind)))
        for value, namespace, universal, kind in zip(*columns, strict=True)
        if value
    ]


def person_of(pid: Segment) -> tuple[Statement, list[Fault]]:
    """The year of birth and the sex that PID states, where it does."""
    faults = []
    birth, sex = pid.text(7), pid.text(8)
    year = read_year(birth) if birth else None
    if isinstance(year, FaultCode):
        faults.append(Fault(pid.place(7), year))
    if sex and sex not in SEXES:
        faults.append(Fault(pid.place(8), FaultCode.UNKNOWN_VALUE))
    stated = {"birth_year": None if isinstance(year, FaultCode) else year, "sex": SEXES.get(sex)}
    place = Place(pid.place(), {"id": "-3", "birth_year": "-7", "sex": "-8"})
    return Statement("patient", stated, place), faults
