"""Observations: laboratory results and assessments, and the components of panels.

An observation or component whose code is not stored is skipped, whatever it holds. In the others, every element that
is used must be right:

- `focus`: the observation is about another person or thing than the subject; it is skipped (`resource`);
- `registered`, `unknown`: there is no result yet, or it is unknown; the observation is skipped (`status`);
- `dataAbsentReason`: there is no result. It is stored as `cancelled`, so that it withdraws a value sent before;
- a panel (`component`, `hasMember`) without its own value gives no statement itself;
- `meta.versionId` counts the writes of one server, not the versions of a result: it is ignored. `issued` is used.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.errors import Accepts, FaultCode
from app.fhir.elements import TERMINOLOGY, Element, Quantity, ReadResult, Resource, same_unit, same_units
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
"""Our status for each status of an R4 Observation; `None`: there is no result, and the resource is skipped."""

EFFECTIVE = ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "effectiveTiming")
VALUES = tuple(
    "value" + form
    for form in ("Quantity", "CodeableConcept", "String", "Boolean", "Integer", "Range", "Ratio", "SampledData", "Time",
                 "DateTime", "Period")
)  # fmt: skip
_OTHER_TIMES, _OTHER_VALUES = frozenset(EFFECTIVE[1:]), frozenset(VALUES[1:])
_SCORE_UNIT = re.compile(r"1|\{[^{}]*\}")
"""The unit 1 of UCUM, or an annotation such as `{score}`, which means the same."""
NO_COMPARATOR = Accepts(form="no comparator")
_SCORE_UNITS = Accepts(form="no unit, 1, or an annotation such as {score}")
_VALUE_FORMS = {
    False: Accepts(one_of=("valueQuantity",)),
    True: Accepts(one_of=("valueQuantity", "valueInteger")),
}
"""The forms of a value that are read, of a result and of a score."""
_RANGE_MEANINGS = TERMINOLOGY + "referencerange-meaning"


class _Common(NamedTuple):
    """The fields that an observation shares with its components, and the places of its number and time."""

    fields: dict[str, Any]
    named_at: str
    time_at: str


class _Value(NamedTuple):
    """A value and its place inside its observation or component; `missing`: no value was sent."""

    quantity: Quantity
    at: str
    missing: bool = False


class _Limits(NamedTuple):
    """Lower and upper limit in the unit of the result, `None` if there is none or several differ; their places."""

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
    """Our status; `None` if the resource is to be skipped. A faulty status is read as final, to find further faults."""
    written = resource.text(resource.content, "status")
    if written is not None and written in statuses:
        return statuses[written]
    if resource.content.get("status") is None:
        resource.fault(".status", FaultCode.MISSING, Accepts(one_of=tuple(statuses)))
    elif written is not None:
        resource.fault(".status", FaultCode.UNKNOWN_VALUE, Accepts(one_of=tuple(statuses)))
    return "final"


def effective(resource: Resource, forms: tuple[str, ...]) -> tuple[str | None, str]:
    """The effective time and its place; of a period, the start. `issued` does not replace it."""
    content = resource.content
    if "effectiveDateTime" in content and _OTHER_TIMES.isdisjoint(content):
        form: str | None = "effectiveDateTime"
    else:
        form = resource.only(content, forms, ".effective[x]")
    if form is None or content[form] is None:
        resource.fault(".effective[x]", FaultCode.MISSING, _read_forms(forms))
        return None, ".effective[x]"
    if form == "effectivePeriod":
        period = resource.element(content, form)
        if period is not None and period.get("start") is None:
            resource.fault(".effectivePeriod.start", FaultCode.MISSING)
        start = None if period is None else resource.time(period, "start", ".effectivePeriod")
        return start, ".effectivePeriod.start"
    if form == "effectiveTiming":
        resource.fault("." + form, FaultCode.UNSUPPORTED, _read_forms(forms))
        return None, "." + form
    return resource.time(content, form), "." + form


def _read_forms(forms: tuple[str, ...]) -> Accepts:
    return Accepts(one_of=tuple(form for form in forms if form != "effectiveTiming"))


def _kept_parts(resource: Resource) -> list[tuple[str, Element, str]]:
    """The observation and its components whose codes are stored: place, element, our code."""
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
        resource.fault(at + value.at, FaultCode.MISSING, _VALUE_FORMS[score] if value.at == ".value[x]" else None)
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
        resource.fault(f"{at}.{form}", FaultCode.UNSUPPORTED, _VALUE_FORMS[score])
        return _Value(_NOTHING, "." + form)
    written = resource.element(part, form, at)
    if written is None:
        return _Value(_NOTHING, ".valueQuantity")
    quantity = resource.quantity(written, at + ".valueQuantity")
    if score:
        if quantity.unit is not None and _SCORE_UNIT.fullmatch(quantity.unit) is None:
            resource.fault(f"{at}.valueQuantity{quantity.unit_at}", FaultCode.UNIT_MISMATCH, _SCORE_UNITS)
        if quantity.comparator is not None:
            resource.fault(f"{at}.valueQuantity.comparator", FaultCode.UNSUPPORTED, NO_COMPARATOR)
    return _Value(quantity, ".valueQuantity.value", missing=written.get("value") is None)


def _read_limits(resource: Resource, part: Element, at: str, unit: str | None) -> _Limits:
    """The limits of an observation or component whose unit is `unit`.

    A range counts if it is a normal range (type `normal`, or no type) and holds for everybody. A range for an age or a
    group does not count, because it may not be that of this patient. If several ranges differ, the limit is unknown.
    """
    if "referenceRange" not in part:
        return _Limits()
    lower: dict[float, str] = {}
    upper: dict[float, str] = {}
    for where, range_ in resource.elements(part, "referenceRange", at):
        if not _is_normal(resource, range_, where):
            continue
        low = _limit(resource, range_, "low", where, unit)
        high = _limit(resource, range_, "high", where, unit)
        low_at, high_at = where + ".low.value", where + ".high.value"
        if range_.get("low") is None and range_.get("high") is None:
            low, high = read_range(resource.text(range_, "text", where) or "")
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


def _is_normal(resource: Resource, range_: Element, at: str) -> bool:
    """Whether a range is a normal range for everybody."""
    if range_.get("age") is not None or range_.get("appliesTo"):
        return False
    kind = resource.element(range_, "type", at)
    if kind is None:
        return range_.get("type") is None
    return any(
        coding.system == _RANGE_MEANINGS and coding.code == "normal" for coding in resource.codings(kind, at + ".type")
    )


def _limit(resource: Resource, range_: Element, name: str, at: str, unit: str | None) -> float | None:
    """One limit of a range. Without a unit, it has the unit of the result."""
    written = resource.element(range_, name, at)
    if written is None:
        return None
    limit = resource.quantity(written, f"{at}.{name}")
    if limit.unit is not None and unit in UNITS and not same_unit(limit.unit, unit):  # else the unit itself is faulty
        resource.fault(f"{at}.{name}{limit.unit_at}", FaultCode.UNIT_MISMATCH, same_units(unit or ""))
    return limit.value
