"""Where in an Observation the fields of a result stand."""

from collections.abc import Mapping
from functools import lru_cache


@lru_cache(maxsize=1024)
def result_places(
    at: str, time_at: str, named_at: str, value_at: str, unit_at: str, lower_at: str, upper_at: str
) -> Mapping[str, str]:
    """The place of each field after the place of the resource, for a result or component that stands at `at`."""
    return {
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
