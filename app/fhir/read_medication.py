"""Drugs other than immunoglobulin, from MedicationStatements and MedicationAdministrations.

A statement is a medication over its period. An administration is a medication of one day, with what was given on that
day as its daily dose.

The drug is known by its code of ATC or RxNorm, or by its name. Most systems send a RxNorm code of a product, such as
`prednisone 5 MG Oral Tablet`: then the name before the strength says which drug it is. A product for one place of the
body (eye drops, a cream) is no systemic drug. What cannot be read is set aside and refuses nothing else.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from app.errors import Accepts, FaultCode
from app.fhir.elements import Element, ReadResult, Resource, is_kept
from app.fhir.read_observation import status_of
from app.readers.statements import Place, Statement
from app.timeline.drugs import DRUG_SYSTEMS, RXNORM, Drug, drug_of
from app.timeline.receipts import Disposition, Note, NoteCode, ReceiptLine
from app.timeline.times import DATE_FORM
from app.timeline.vocabulary import ATC, IVIG, WITHDRAWN

STATUSES: dict[str, str | None] = {
    "active": "final",
    "completed": "final",
    "entered-in-error": "entered-in-error",
    "intended": None,
    "stopped": "final",
    "on-hold": "final",
    "unknown": None,
    "not-taken": "cancelled",
}
"""Our status for each status of an R4 MedicationStatement. `None`: it does not say that the drug was taken, and the
resource is skipped.
"""
ENDED = frozenset({"completed", "stopped", "on-hold"})
"""Statuses of a drug that is not taken any more: without its last day it would count until today."""
_SNOMED = "http://snomed.info/sct"
_SYSTEMIC = frozenset({"26643006", "47625008", "78421000", "34206005"})
"""SNOMED CT: by mouth, into a vein, into a muscle, and under the skin."""
_SYSTEMIC_WORDS = re.compile(
    r"\b(?:oral\w*|mouth|per os|p\.?o|i\.?v|intraven\w*|i\.?m|intramusc\w*|s\.?c|sub\W?cut\w*)\b"
    r"|経口|静注|静脈|筋注|皮下",
    re.IGNORECASE,
)
_LOCAL = re.compile(
    r"ophthalm|\botic\b|topical|nasal|inhal|rectal|cream|ointment|lotion|\bgel\b|\beyes?\b|\bears?\b|enema|foam|supposit"
    r"|drops?\b|articular|augen|salbe|creme|点眼|軟膏|クリーム|点鼻|吸入|坐",
    re.IGNORECASE,
)
_BEFORE_STRENGTH = re.compile(r"[^\d,(\[]+")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:T.*)?", re.ASCII)
_AMOUNTS = {"mg": "mg", "g": "g", "mg/kg": "mg/kg", "mg/m2": "mg/m2",
            **dict.fromkeys(("ug", "mcg", "\u00b5g", "\u03bcg"), "ug")}  # fmt: skip
_RATES = {"mg/d": "mg/d", "mg/day": "mg/d", "g/d": "g/d", "ug/d": "ug/d", "mg/kg/d": "mg/kg/d", "mg/wk": "mg/wk"}
_DAILY = {"mg": "mg/d", "g": "g/d", "ug": "ug/d", "mg/kg": "mg/kg/d"}
_HOURS = {"h": 1, "d": 24, "wk": 168}
_TIMING = "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation"
_PER_DAY = {"QD": Fraction(1), "AM": Fraction(1), "PM": Fraction(1), "BID": Fraction(2), "TID": Fraction(3),
            "QID": Fraction(4), "QOD": Fraction(1, 2), "Q4H": Fraction(6), "Q6H": Fraction(4)}  # fmt: skip
_MOST = Fraction(10**300)
_AS_NEEDED = ("asNeededBoolean", "asNeededCodeableConcept", "asNeeded", "asNeededFor")
BOUNDS = ("boundsPeriod", "boundsDuration", "boundsRange")
"""The forms of the time over which a dosage is taken."""
_RANGES = frozenset({"frequencyMax", "periodMax", "dayOfWeek"})


class NamedDrug(NamedTuple):
    """A drug that is read, by the name to store: as it was written, if that is a name of the drug."""

    name: str


class ReadDose(NamedTuple):
    """A dose and its unit; `left_out` if a dose was given that cannot be read as one."""

    value: float | None = None
    unit: str | None = None
    left_out: bool = False


def statement(resource: Resource, concept: Element | None, at: str) -> ReadResult:
    """The medication that a MedicationStatement states of the drug `concept`."""
    named = drug_named(resource, concept, at)
    if not isinstance(named, NamedDrug):
        return not_read(resource, at, named)
    written = resource.content.get("status")
    status = status_of(resource, STATUSES)
    if status is None:
        return ReadResult(skipped="status")
    resource.check_modifiers(resource.content, "")
    dosages = list(resource.elements(resource.content, "dosage"))
    if not all(is_systemic(resource, each, where) for where, each in dosages):
        return ReadResult(skipped="route")
    period = resource.element(resource.content, "effectivePeriod") or {}
    start, end = (day_of(resource, period, name, ".effectivePeriod") for name in ("start", "end"))
    if start is None:
        return aside(resource, ".effectivePeriod.start", FaultCode.MISSING, DATE_FORM)
    ended = isinstance(written, str) and written in ENDED and status not in WITHDRAWN
    if end is None and (period.get("end") is not None or ended):
        return aside(resource, ".effectivePeriod.end", FaultCode.MISSING, DATE_FORM)
    return _medication(resource, named, at, status, start, end, dose_of(resource, dosages))


def given(resource: Resource, concept: Element | None, at: str, statuses: dict[str, str | None]) -> ReadResult:
    """The medication of one day that a MedicationAdministration states of the drug `concept`."""
    named = drug_named(resource, concept, at)
    if not isinstance(named, NamedDrug):
        return not_read(resource, at, named)
    status = status_of(resource, statuses)
    if status is None:
        return ReadResult(skipped="status")
    resource.check_modifiers(resource.content, "")
    dosage = resource.element(resource.content, "dosage")
    if dosage is not None and not is_systemic(resource, dosage, ".dosage"):
        return ReadResult(skipped="route")
    form = resource.only(resource.content, ("effectiveDateTime", "effectivePeriod"), ".effective[x]")
    if form == "effectivePeriod":
        period = resource.element(resource.content, form) or {}
        day = day_of(resource, period, "start", "." + form)
    else:
        day = day_of(resource, resource.content, "effectiveDateTime", "")
    if day is None:
        return aside(resource, ".effective[x]", FaultCode.MISSING, DATE_FORM)
    written = None if dosage is None else resource.element(dosage, "dose", ".dosage")
    dose = ReadDose() if written is None else _amount(resource, written, ".dosage.dose", Fraction(1))
    return _medication(resource, named, at, status, day, day, dose)


def drug_named(resource: Resource, concept: Element | None, at: str) -> NamedDrug | FaultCode | None:
    """The drug that a CodeableConcept names, `None` if it is not one of the dictionary. Immunoglobulin into a vein is
    not read here. A fault if two codes, or a code and the text, name different drugs.
    """
    if concept is None:
        return None
    text = resource.text(concept, "text", at)
    found = [drug_by_text(text)] if text else []
    for coding in resource.codings(concept, at):
        system = DRUG_SYSTEMS.get(coding.system or "")
        drug = None if coding.code is None or system is None else drug_of(coding.code, system)
        if drug is None and system == ATC:
            return None  # another code of ATC is another drug, or another way of giving it
        if drug is None and coding.text and (system in {None, RXNORM}):
            drug = drug_by_text(coding.text)
        found.append(drug)
    if any(_LOCAL.search(each) for each in (text, *(c.text for c in resource.codings(concept, at))) if each):
        return None
    drugs = {drug.name: drug for drug in found if drug is not None}
    if len(drugs) > 1:
        return FaultCode.CODE_CONFLICT
    drug = next(iter(drugs.values()), None)
    if drug is None or drug.name == IVIG:
        return _own_name(resource, text) if drug is None else None
    return NamedDrug(text if text and drug_of(text) is drug else drug.name)


def drug_by_text(text: str) -> Drug | None:
    """The drug with this name, or the one that stands before the strength in the name of a product of one drug."""
    known = drug_of(text)
    if known is not None or " / " in text or _LOCAL.search(text):
        return known
    before = _BEFORE_STRENGTH.match(text)
    return None if before is None else drug_of(before[0])


def _own_name(resource: Resource, text: str | None) -> NamedDrug | None:
    """A name that no dictionary has, in a resource that this service had answered: it is stored unchanged."""
    listed = resource.content.get("identifier")
    kept = isinstance(listed, list) and any(isinstance(each, dict) and is_kept(each) for each in listed)
    return NamedDrug(text) if kept and text else None


def _medication(
    resource: Resource, named: NamedDrug, at: str, status: str, start: str, end: str | None, dose: ReadDose
) -> ReadResult:
    number = resource.named(resource.elements(resource.content, "identifier"))
    fields = {
        "id": number.id, "source": _source(resource, number.source), "status": status, "drug": named.name,
        "start": start, "end": end, "dose": dose.value, "unit": dose.unit,
        "issued": issued_at(resource, "dateAsserted"),
    }  # fmt: skip
    period = ".effectivePeriod" if "effectivePeriod" in resource.content else ".effectiveDateTime"
    places = {
        "id": number.at, "source": number.at, "status": ".status", "drug": at, "start": period + ".start",
        "end": period + ".end", "dose": ".dosage", "unit": ".dosage", "issued": ".dateAsserted",
    }  # fmt: skip
    if period == ".effectiveDateTime":
        places |= {"start": period, "end": period}
    notes = (Note(NoteCode.DETAIL_LEFT_OUT, "dose"),) if dose.left_out else ()
    return ReadResult((Statement("medications", fields, Place(resource.place, places), notes),))


def _source(resource: Resource, source: str | None) -> str | None:
    """The source of the number. The ids of administrations and of statements are different numbers."""
    if source == "fhir" and resource.content["resourceType"] == "MedicationAdministration":
        return "fhir:MedicationAdministration"
    return source


def issued_at(resource: Resource, name: str) -> str | None:
    """When a statement was asserted or an order was written, if that is an instant."""
    written = resource.time(resource.content, name)
    return written if written is not None and len(written) > len("2026-01-01T00:00:00") else None


def day_of(resource: Resource, part: Element, name: str, at: str) -> str | None:
    """The calendar day of a time as it was written; `None` if there is none, or no day of it."""
    written = resource.text(part, name, at)
    day = None if written is None else _DATE.fullmatch(written)
    return None if day is None else day[1]


def not_read(resource: Resource, at: str, why: FaultCode | None) -> ReadResult:
    return ReadResult(skipped="code") if why is None else aside(resource, at, why, None)


def aside(resource: Resource, at: str, code: FaultCode, form: str | None) -> ReadResult:
    """Nothing is read; the receipt says what is wrong, where, and what would have been accepted."""
    accepts = None if form is None else Accepts(form=form)
    return ReadResult(lines=(ReceiptLine(resource.place + at, Disposition.SET_ASIDE, code, accepts=accepts),))


def is_systemic(resource: Resource, dosage: Element, at: str) -> bool:
    """Whether a dose is given to the whole body; a dosage without a route is."""
    route = resource.element(dosage, "route", at)
    if route is None:
        return True
    codings = resource.codings(route, at + ".route")
    if any(coding.system == _SNOMED and coding.code in _SYSTEMIC for coding in codings):
        return True
    words = [resource.text(route, "text", at + ".route"), *(coding.text for coding in codings)]
    words += [coding.code for coding in codings if coding.system != _SNOMED]
    return any(each and _SYSTEMIC_WORDS.search(each) and not _LOCAL.search(each) for each in words)


def dose_of(resource: Resource, dosages: list[tuple[str, Element]]) -> ReadDose:
    """The sum of dosages that are taken at the same time; left out if one is not read, or if they follow each other:
    then they have other numbers, or other bounds.
    """
    doses = [dose for where, each in dosages if (dose := _of_dosage(resource, each, where)) != ReadDose()]
    if not doses:
        return ReadDose()
    sequences = {(repr(each.get("sequence")), repr(bounds_of(each))) for _, each in dosages}
    unread = len(doses) < len(dosages) or any(dose.left_out for dose in doses)
    if unread or len({dose.unit for dose in doses}) > 1 or len(sequences) > 1:
        return ReadDose(left_out=True)
    total = sum((Fraction(repr(dose.value)) for dose in doses if dose.value is not None), Fraction(0))
    return ReadDose(float(total), doses[0].unit)


def bounds_of(dosage: Element) -> Element:
    """When a dosage begins and ends, as it is written."""
    timing = dosage.get("timing")
    repeat = timing.get("repeat") if isinstance(timing, dict) else None
    return {name: repeat[name] for name in BOUNDS if name in repeat} if isinstance(repeat, dict) else {}


def _of_dosage(resource: Resource, dosage: Element, at: str) -> ReadDose:
    given = [part for where, rate in resource.elements(dosage, "doseAndRate", at) for part in _quantities(rate, where)]
    if not given:
        return ReadDose(left_out=any("doseRange" in rate for _, rate in resource.elements(dosage, "doseAndRate", at)))
    if any(dosage.get(name) for name in _AS_NEEDED) or len(given) > 1:
        return ReadDose(left_out=True)
    [(where, quantity)] = given
    timing = resource.element(dosage, "timing", at)
    return _amount(resource, quantity, where, None if timing is None else _a_day(resource, timing, at + ".timing"))


def _quantities(rate: Element, at: str) -> Iterator[tuple[str, Element]]:
    quantity = rate.get("doseQuantity")
    if isinstance(quantity, dict):
        yield at + ".doseQuantity", quantity


def _amount(resource: Resource, quantity: Element, at: str, times: Fraction | None) -> ReadDose:
    """A dose that is taken `times` a day (`None` if it is not said, 0 if that cannot be read), in a unit of ours."""
    read = resource.quantity(quantity, at)
    unit, value = read.unit or "", read.value
    if value is None:
        return ReadDose()
    amount = _AMOUNTS.get(unit)
    if read.comparator is not None or value < 0 or times == 0 or (amount is None and unit not in _RATES):
        return ReadDose(left_out=True)
    if amount is None:
        return ReadDose(value, _RATES[unit])
    if times is None or amount == "mg/m2":
        return ReadDose(left_out=True) if amount == "ug" else ReadDose(value, amount)
    weekly = amount == "mg" and times.denominator % 7 == 0
    exact = Fraction(repr(value)) * times * (7 if weekly else 1)
    bounded = float(min(exact, _MOST))  # what a float cannot have is refused as any other dose that is too great
    return ReadDose(bounded, "mg/wk" if weekly else _DAILY[amount])


def _a_day(resource: Resource, timing: Element, at: str) -> Fraction:
    """How many times a day; 0 if that cannot be read, or if the code says another number than the rest."""
    code = resource.element(timing, "code", at)
    codings = () if code is None else resource.codings(code, at + ".code")
    known = {_PER_DAY[each.code] for each in codings if each.system == _TIMING and each.code in _PER_DAY}
    repeat = resource.element(timing, "repeat", at)
    if repeat is not None and repeat.get("periodUnit") is not None:
        unit = resource.text(repeat, "periodUnit", at + ".repeat")
        if not _RANGES.isdisjoint(repeat) or unit not in _HOURS:
            return Fraction(0)
        frequency = resource.number(repeat, "frequency", at + ".repeat") if "frequency" in repeat else 1
        period = resource.number(repeat, "period", at + ".repeat") if "period" in repeat else 1
        times = [each for name in ("timeOfDay", "when") if isinstance(each := repeat.get(name), list)]
        if (
            not frequency
            or not period
            or frequency < 0
            or period < 0
            or any(len(each) not in {0, 1, frequency} for each in times)
        ):
            return Fraction(0)
        hours = Fraction(repr(period)) * _HOURS[unit]
        known.add(Fraction(repr(frequency)) * 24 / hours)
    return known.pop() if len(known) == 1 else Fraction(0)
