"""The limits of normal of a result, from the reference ranges that its laboratory sent with it."""

from typing import NamedTuple

from app.errors import FaultCode
from app.ingest.fhir.resource import Element, Resource, same_unit
from app.ingest.ranges import read_range
from app.timeline.vocabulary import UNITS

MEANINGS = "http://terminology.hl7.org/CodeSystem/referencerange-meaning"


class Limits(NamedTuple):
    """Lower and upper limit in the unit of the result, `None` where there is none or not one only; their places."""

    lower: float | None = None
    upper: float | None = None
    lower_at: str = ""
    upper_at: str = ""


NO_LIMITS = Limits()


def read_limits(resource: Resource, part: Element, at: str, unit: str | None) -> Limits:
    """The limits of an observation or component whose unit is `unit`.

    A range counts if it is the normal one (type `normal`, or none) and holds for everybody: whether one for an age or a
    group is that of this patient would be a guess. Ranges that differ leave the limit unknown, for the same reason.
    """
    if "referenceRange" not in part:
        return NO_LIMITS
    lower: dict[float, str] = {}
    upper: dict[float, str] = {}
    for where, one in resource.elements(part, "referenceRange", at):
        if not _holds(resource, one, where):
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
    return Limits(low, high, low_at, high_at)


def _only(limits: dict[float, str]) -> tuple[float | None, str]:
    return next(iter(limits.items())) if len(limits) == 1 else (None, "")


def _holds(resource: Resource, one: Element, at: str) -> bool:
    """Whether a range is a normal one, of everybody."""
    if one.get("age") is not None or one.get("appliesTo"):
        return False
    kind = resource.element(one, "type", at)
    if kind is None:
        return one.get("type") is None
    return any(coding.system == MEANINGS and coding.code == "normal" for coding in resource.codings(kind, at + ".type"))


def _limit(resource: Resource, one: Element, name: str, at: str, unit: str | None) -> float | None:
    """One side of a range; without a unit of its own it is in that of the result."""
    written = resource.element(one, name, at)
    if written is None:
        return None
    limit = resource.quantity(written, f"{at}.{name}")
    if limit.unit is not None and unit in UNITS and not same_unit(limit.unit, unit):  # else the unit itself is at fault
        resource.fault(f"{at}.{name}{limit.unit_at}", FaultCode.UNIT_MISMATCH)
    return limit.value
