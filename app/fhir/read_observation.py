"""Observations: laboratory results and assessments, and the components of panels.

An observation or component of a code that is not kept is left alone whatever it holds. Of the others everything that is
used must be right, for a result that is half understood is worse than none:

- `focus`: the observation is about somebody or something else than the subject; it is skipped (`resource`);
- `registered`, `unknown`: there is no result yet, or nobody knows; skipped (`status`);
- `dataAbsentReason`: there is no result. It is kept as `cancelled`, so that it withdraws a value sent before;
- a panel (`component`, `hasMember`) without a value of its own states nothing itself;
- `meta.versionId` counts the writes of one server, not the versions of a result: it is ignored, `issued` is not.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.errors import FaultCode
from app.fhir.elements import Element, Quantity, ReadResult, Resource, same_unit
from app.fhir.read_common_observation import common_observation, result_places
from app.readers.statements import Place, Statement, read_range
from app.timeline.vocabulary import ASSESSMENT_CODES, IVIG, UNITS, WITHDRAWN

STATUSES: dict[str, str | None] = {
    "registered": None,
    "preliminary": "preliminary",
    "final": "final",
    "amended": "amended",
    "corrected": "corrected",
    "cancelled": "cancelled",
    "entered-in-error": "entered-in-error",
    "unknown": None,
}
"""The statuses of an R4 Observation as ours; `None`: it says nothing that can be kept."""

EFFECTIVE = ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "effectiveTiming")
VALUES = tuple(
    "value" + form
    for form in ("Quantity", "CodeableConcept", "String", "Boolean", "Integer", "Range", "Ratio", "SampledData", "Time",
                 "DateTime", "Period")
)  # fmt: skip
_OTHER_TIMES, _OTHER_VALUES = frozenset(EFFECTIVE[1:]), frozenset(VALUES[1:])
_SCORE_UNIT = re.compile(r"1|\{[^{}]*\}")
"""UCUM's unity, or an annotation such as `{score}`, which is unity too."""
_RANGE_MEANINGS = "http://terminology.hl7.org/CodeSystem/referencerange-meaning"


class _Common(NamedTuple):
    """What an observation says of itself and of all its components, and where two of these stand."""

    fields: dict[str, Any]
    named_at: str
    time_at: str


class _Value(NamedTuple):
    """A value and where in its observation or component it stands; `missing` says that none was sent."""

    quantity: Quantity
    at: str
    missing: bool = False


class _Limits(NamedTuple):
    """Lower and upper limit in the unit of the result, `None` where there is none or not one only; their places."""

    lower: float | None = None
    upper: float | None = None
    lower_at: str = ""
    upper_at: str = ""


_NOTHING = Quantity(None, None, "")


def observation(resource: Resource) -> ReadResult:
    """The results that an Observation states."""
    common = common_observation(resource)
    return any_observation(resource) if common is None else common


def any_observation(resource: Resource) -> ReadResult:
    """The results that an Observation of any form states."""
    parts = _kept_parts(resource)
    if not parts:
        return ReadResult(skipped="code")
    content = resource.content
    if content.get("focus"):
        return ReadResult(skipped="resource")
    status = status_of(resource, STATUSES)
    if status is None:
        return ReadResult(skipped="status")
    resource.check_modifiers(content, "")
    time, time_at = effective(resource, EFFECTIVE)
    named = resource.named(resource.elements(content, "identifier"))
    fields = {
        "id": named.id,
        "source": named.source,
        "status": status,
        "time": time,
        "issued": resource.time(content, "issued"),
    }
    common = _Common(fields, named.at, time_at)
    stated = [_result(resource, part, at, word, common) for at, part, word in parts]
    statements = tuple(statement for statement in stated if statement is not None)
    return ReadResult(statements, None if statements else "value")


def status_of(resource: Resource, statuses: Mapping[str, str | None]) -> str | None:
    """The status in our words, `None` if it says nothing that can be kept; at fault, one to go on reading with."""
    written = resource.text(resource.content, "status")
    if written is not None and written in statuses:
        return statuses[written]
    if resource.content.get("status") is None:
        resource.fault(".status", FaultCode.MISSING)
    elif written is not None:
        resource.fault(".status", FaultCode.UNKNOWN_VALUE)
    return "final"


def effective(resource: Resource, forms: tuple[str, ...]) -> tuple[str | None, str]:
    """When it was, and where that stands: of a period its start. When a result was issued is no substitute."""
    content = resource.content
    if "effectiveDateTime" in content and _OTHER_TIMES.isdisjoint(content):
        form: str | None = "effectiveDateTime"
    else:
        form = resource.only(content, forms, ".effective[x]")
    if form is None or content[form] is None:
        resource.fault(".effective[x]", FaultCode.MISSING)
        return None, ".effective[x]"
    if form == "effectivePeriod":
        period = resource.element(content, form)
        if period is not None and period.get("start") is None:
            resource.fault(".effectivePeriod.start", FaultCode.MISSING)
        start = None if period is None else resource.time(period, "start", ".effectivePeriod")
        return start, ".effectivePeriod.start"
    if form == "effectiveTiming":
        resource.fault("." + form, FaultCode.UNSUPPORTED)
        return None, "." + form
    return resource.time(content, form), "." + form


def _kept_parts(resource: Resource) -> list[tuple[str, Element, str]]:
    """The observation itself and its components, as far as their codes are kept: place, element, our word."""
    content = resource.content
    code = resource.element(content, "code")
    if content.get("code") is None:
        resource.fault(".code", FaultCode.MISSING)
    word = resource.meaning(code, ".code")
    parts = [("", content, word)] if word is not None and word != IVIG else []
    if "component" not in content:
        return parts
    for at, component in resource.elements(content, "component", modifiers=True):
        word = resource.meaning(resource.element(component, "code", at), at + ".code")
        if word is not None and word != IVIG:
            resource.check_modifiers(component, at)
            parts.append((at, component, word))
    return parts


def _result(resource: Resource, part: Element, at: str, word: str, common: _Common) -> Statement | None:
    score = word in ASSESSMENT_CODES
    status = common.fields["status"]
    value = _value(resource, part, at, score=score)
    if resource.element(part, "dataAbsentReason", at) is not None:
        if not value.missing:
            resource.fault(f"{at}.dataAbsentReason", FaultCode.VALUE_AND_REASON)
        elif status not in WITHDRAWN:
            status = "cancelled"
    elif value.missing and status not in WITHDRAWN:
        if value.at == ".value[x]" and not at and (part.get("component") or part.get("hasMember")):
            return None
        resource.fault(at + value.at, FaultCode.MISSING)
    number, unit, unit_at, comparator = value.quantity
    fields = {**common.fields, "code": word, "status": status}
    if score:
        fields["score"] = number
        places = result_places(at, common.time_at, common.named_at, value.at, unit_at, "", "")
        return Statement("assessments", fields, Place(resource.place, places))
    limits = _Limits()
    if number is not None:
        fields["value"], fields["unit"], fields["comparator"] = number, unit, comparator
        limits = _read_limits(resource, part, at, unit)
        fields["lower_limit"], fields["upper_limit"] = limits.lower, limits.upper
    places = result_places(at, common.time_at, common.named_at, value.at, unit_at, limits.lower_at, limits.upper_at)
    return Statement("labs", fields, Place(resource.place, places))


def _value(resource: Resource, part: Element, at: str, *, score: bool) -> _Value:
    """The value of an observation or component."""
    if "valueQuantity" in part and _OTHER_VALUES.isdisjoint(part):
        form: str | None = "valueQuantity"
    else:
        form = resource.only(part, VALUES, at + ".value[x]")
    if form is None or part[form] is None:
        return _Value(_NOTHING, ".value[x]", missing=True)
    if form == "valueInteger" and score:
        return _Value(Quantity(resource.number(part, form, at), None, ""), ".valueInteger")
    if form != "valueQuantity":
        resource.fault(f"{at}.{form}", FaultCode.UNSUPPORTED)
        return _Value(_NOTHING, "." + form)
    written = resource.element(part, form, at)
    if written is None:
        return _Value(_NOTHING, ".valueQuantity")
    quantity = resource.quantity(written, at + ".valueQuantity")
    if score:
        if quantity.unit is not None and _SCORE_UNIT.fullmatch(quantity.unit) is None:
            resource.fault(f"{at}.valueQuantity{quantity.unit_at}", FaultCode.UNIT_MISMATCH)
        if quantity.comparator is not None:
            resource.fault(f"{at}.valueQuantity.comparator", FaultCode.UNSUPPORTED)
    return _Value(quantity, ".valueQuantity.value", missing=written.get("value") is None)


def _read_limits(resource: Resource, part: Element, at: str, unit: str | None) -> _Limits:
    """The limits of an observation or component whose unit is `unit`.

    A range counts if it is the normal one (type `normal`, or none) and holds for everybody: whether one for an age or a
    group is that of this patient would be a guess. Ranges that differ leave the limit unknown, for the same reason.
    """
    if "referenceRange" not in part:
        return _Limits()
    lower: dict[float, str] = {}
    upper: dict[float, str] = {}
    for where, one in resource.elements(part, "referenceRange", at):
        if not _is_normal(resource, one, where):
            continue
        low = _limit(resource, one, "low", where, unit)
        high = _limit(resource, one, "high", where, unit)
        low_at, high_at = where + ".low.value", where + ".high.value"
        if one.get("low") is None and one.get("high") is None:
            low, high = read_range(resource.text(one, "text", where) or "")
            low_at = high_at = where + ".text"
        if low is not None:
            lower.setdefault(low, low_at)
        if high is not None:
            upper.setdefault(high, high_at)
    low, low_at = _only(lower)
    high, high_at = _only(upper)
    return _Limits(low, high, low_at, high_at)


def _only(limits: dict[float, str]) -> tuple[float | None, str]:
    return next(iter(limits.items())) if len(limits) == 1 else (None, "")


def _is_normal(resource: Resource, one: Element, at: str) -> bool:
    """Whether a range is a normal one, of everybody."""
    if one.get("age") is not None or one.get("appliesTo"):
        return False
    kind = resource.element(one, "type", at)
    if kind is None:
        return one.get("type") is None
    return any(
        coding.system == _RANGE_MEANINGS and coding.code == "normal" for coding in resource.codings(kind, at + ".type")
    )


def _limit(resource: Resource, one: Element, name: str, at: str, unit: str | None) -> float | None:
    """One side of a range; without a unit of its own it is in that of the result."""
    written = resource.element(one, name, at)
    if written is None:
        return None
    limit = resource.quantity(written, f"{at}.{name}")
    if limit.unit is not None and unit in UNITS and not same_unit(limit.unit, unit):  # else the unit itself is at fault
        resource.fault(f"{at}.{name}{limit.unit_at}", FaultCode.UNIT_MISMATCH)
    return limit.value
