"""The synthetic reference cohort that comes with the service, as a cohort for analyses."""

from datetime import UTC, datetime
from functools import cache

from app.demo import TIMELINES
from app.readers.json_timelines import read_array
from app.timeline.cohort import Cohort
from app.timeline.times import latest_acceptable


@cache
def reference_cohort() -> Cohort:
    """The cohort of its 16 patients."""
    items = read_array(TIMELINES.read_bytes(), latest_acceptable(datetime(2020, 1, 1, tzinfo=UTC)))
    return Cohort.of_histories([item.history for item in items])
