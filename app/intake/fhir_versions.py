"""Versions of resources: which one a client has read, and which of two facts the later one is."""

from typing import Any

from app.errors import PreconditionFailed
from app.timeline.facts import AnyFact
from app.timeline.resource import Found
from app.timeline.times import instant_text

_LONGEST = 18
"""Digits of a part of a version of ours: revisions are numbers of 64 bits, and a longer text is not one of them."""


def check_version(if_match: str | None, standing: Found | None) -> None:
    """Refuse where If-Match names another version (`W/"17"`) than the one that stands."""
    if if_match is None:
        return
    named = {tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")}
    if standing is None or named.isdisjoint({"*", standing.version}):
        raise PreconditionFailed


def is_older(version: str, standing: Found) -> bool:
    """Whether a version is an older one than the one that stands; one that is not ours is newer than all."""
    return _numbers(version) < _numbers(standing.version)


def ordered_like(standing: AnyFact, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with the version and time of issue of what stands where they give neither."""
    if fields.get("version") is None and fields.get("issued") is None:
        issued = None if standing.issued is None else instant_text(standing.issued)
        return fields | {"version": standing.version, "issued": issued}
    return fields if fields.get("version") is not None else fields | {"version": standing.version}


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    if all(part.isdecimal() and len(part) <= _LONGEST for part in parts):
        return tuple(int(part) for part in parts)
    return (2**63,)
