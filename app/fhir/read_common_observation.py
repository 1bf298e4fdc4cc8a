"""A fast reader for the most common form of laboratory results.

The form is an Observation with one coding, one identifier, a value in a UCUM unit and at most one range in the same
unit. It is read here several times faster than by `read_observation`, which reads every form and finds every fault.
Any other form, and any that may be faulty, returns `None` and is read there; both readers give the same result.
Without this reader, storing a bundle of laboratory results takes a sixth longer.
"""

from collections.abc import Mapping
from functools import lru_cache

from app.errors import FaultCode
from app.fhir.elements import LONGEST_SOURCE, Element, Message, Resource, as_time
from app.fhir.read_patient import References
from app.fhir.read_performer import laboratory
from app.readers.statements import Checked, Place, Statement
from app.timeline.document import GREATEST_VALUE
from app.timeline.vocabulary import ANALYTES, UCUM, UNITS, Coding

_USED = frozenset(
    {"resourceType", "id", "identifier", "status", "code", "subject", "effectiveDateTime", "issued", "valueQuantity",
     "referenceRange", "performer"}
)  # fmt: skip
_HARMLESS = frozenset({"meta", "text", "category", "encounter", "specimen", "interpretation", "note",
                       "basedOn", "method", "device", "bodySite", "language", "extension"})  # fmt: skip
_PLAIN = _USED | _HARMLESS
_STATUSES = frozenset({"preliminary", "final", "amended", "corrected"})
"""A withdrawal needs no value, so it is read by `read_observation`."""
_LIMITS = frozenset({"low", "high"})


@lru_cache(maxsize=1024)
def result_places(
    at: str, time_at: str, named_at: str, value_at: str, unit_at: str, lower_at: str, upper_at: str
) -> Mapping[str, str]:
    """The place of each field inside the resource, for a result or component at the place `at`."""
    return {
        "": at,
        "id": named_at,
        "source": named_at,
        "issued": ".issued",
        "status": ".status",
        "time": time_at,
        "code": at + ".code",
        "value": at + value_at,
        "score": at + value_at,
        "unit": f"{at}.valueQuantity{unit_at}",
        "comparator": at + ".valueQuantity.comparator",
        "lower_limit": lower_at,
        "upper_limit": upper_at,
    }


_PLACES = {
    (low, high): result_places(
        "", ".effectiveDateTime", ".identifier[0]", ".valueQuantity.value", ".code",
        ".referenceRange[0].low.value" if low else "", ".referenceRange[0].high.value" if high else "",
    )
    for low in (False, True)
    for high in (False, True)
}  # fmt: skip


def common_observation(
    resource: Resource, references: References | None = None, base: str | None = None
) -> Statement | None:
    """The result that an Observation states; `None` if it has another form or may have a fault."""
    content, message = resource.content, resource.message
    if message.may_modify or not _PLAIN.issuperset(content):
        return None
    try:
        concept, quantity = content["code"], content["valueQuantity"]
        [coding], [identifier] = concept["coding"], content["identifier"]
        word = _analyte(message, coding, concept.get("text"))
        system, number = identifier["system"], identifier["value"]
        status, time, unit = content["status"], content["effectiveDateTime"], quantity["unit"]
        if (
            word is None
            or "extension" in identifier
            or not type(system) is type(number) is type(time) is str
            or status not in _STATUSES
            or unit not in UNITS
        ):
            return None
        value = _value(quantity, unit)
        low, high = _limits(content.get("referenceRange"), unit)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if not number or not (0 < len(system) <= LONGEST_SOURCE and system.isprintable()):
        return None
    issued, zone = content.get("issued"), message.feed.zone
    if issued is not None:
        issued = as_time(issued, zone) if type(issued) is str else FaultCode.WRONG_TYPE
    at, known = as_time(time, zone), message.feed.pseudonyms.number(system, number)
    if type(issued) is FaultCode or type(at) is FaultCode or type(known) is FaultCode:
        return None
    lab, notes = laboratory(resource, references, base) if "performer" in content else (None, ())
    fields = Checked(
        id=known,
        source=system,
        status=status,
        time=at,
        issued=issued,
        code=word,
        value=value,
        unit=unit,
        comparator=None,
        lower_limit=low,
        upper_limit=high,
        lab=lab,
    )
    place = Place(resource.place, _PLACES[low is not None, high is not None])
    return Statement("labs", fields, place, notes)


def _analyte(message: Message, coding: Element, text: str | None) -> str | None:
    """The analyte of a code; each code is looked up once in a message."""
    key = coding["system"], coding["code"], coding.get("display"), text
    try:
        return message.analytes[key]
    except KeyError:
        strings = all(type(part) is str for part in key[:2]) and all(part is None or type(part) is str for part in key)
        meaning = message.feed.codes.meaning((Coding(*key[:3]),), text) if strings else None
        word = message.analytes[key] = meaning if isinstance(meaning, str) and meaning in ANALYTES else None
        return word


def _value(quantity: Element, unit: str) -> float:
    """The number of a quantity in this UCUM unit, as a float.

    Raises `ValueError` if the quantity has another form or is zero: zero is read by `read_observation`.
    """
    value = quantity["value"]
    if not quantity["unit"] == quantity["code"] == unit or quantity["system"] != UCUM or "comparator" in quantity:
        raise ValueError
    if (type(value) is int or type(value) is float) and 0 < value <= GREATEST_VALUE:
        return float(value)
    raise ValueError


def _limits(ranges: list[Element] | None, unit: str) -> tuple[float | None, float | None]:
    """Lower and upper limit of the only range. Raises `ValueError` if it has another form or may be unreadable."""
    if ranges is None:
        return None, None
    [limits] = ranges
    if not _LIMITS.issuperset(limits):
        raise ValueError
    low, high = limits.get("low"), limits.get("high")
    lower, upper = None if low is None else _value(low, unit), None if high is None else _value(high, unit)
    if lower is not None and upper is not None and lower > upper:
        raise ValueError
    return lower, upper
