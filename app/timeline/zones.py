"""Time zones by the names of the IANA database."""

from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from app.errors import Accepts

_ZONE_NAMES = Accepts(
    form="a name of the IANA time zone database, such as Asia/Tokyo", see="https://www.iana.org/time-zones"
)


@cache
def zone_names() -> frozenset[str]:
    """The names of all time zones that this machine knows."""
    return frozenset(available_timezones())


def _known_zone(name: str) -> str:
    if name not in zone_names():
        raise PydanticCustomError("unknown_value", "no IANA time zone", {"accepts": _ZONE_NAMES})
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]
"""An IANA name. Its fault is reported with all other faults of the document."""
