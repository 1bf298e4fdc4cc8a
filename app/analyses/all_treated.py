"""A count over everybody who was treated, with bounds for those who could not be judged."""

from collections.abc import Sequence

from pydantic import Field

from app.analyses.answer import Context
from app.derive.intercurrent_events import RESCUE
from app.derive.study import DerivedStudy
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Result, WhyNull
from app.timeline.cohort import Bools


class AllTreated(Result):
    """The same count over everybody who was treated. Who could not be judged counts as without it."""

    of: int = Field(description="Treated patients (courses).", examples=[16])
    counted: int = Field(description="Of these, certainly with it: the least possible count.", examples=[14])
    rate: Number | None = Field(description="counted / of, a fraction.", examples=[0.875])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of that rate.", examples=[[]])
    not_judged: int = Field(description="Of these, those who could not be judged.", examples=[1])
    at_most: int = Field(description="counted + not_judged: the greatest possible count.", examples=[15])
    rate_at_most: Number | None = Field(description="at_most / of.", examples=[0.9375])
    died: int = Field(description="Died by the last day that is judged.", examples=[0])
    rescued: int = Field(
        description="With a second course, a new immunosuppressant or more glucocorticoid by that day.", examples=[0]
    )


def of_all_treated(context: Context, surely: Bools, possibly: Bools, until: int) -> AllTreated:
    """The count over the safety set of the patients who certainly and who possibly have it.

    Patients who could not be judged possibly have it. `until` is the last day, from day 0, that can be judged.
    """
    events = further_events(context.study, until)
    methods = context.proportion_methods
    return counted_of(context.study.safety, surely, possibly, events, level=context.level, methods=methods)


def further_events(study: DerivedStudy, until: int) -> tuple[Bools, Bools]:
    """Who died, and who had rescue treatment, by a day."""
    events = study.intercurrent_events
    return events.within(until, "death"), events.within(until, *RESCUE)


def counted_of(
    treated: Bools,
    surely: Bools,
    possibly: Bools,
    events: tuple[Bools, Bools],
    *,
    level: float,
    methods: Sequence[str],
) -> AllTreated:
    """The count over the rows (patients or courses) that are `treated`; `events` are deaths and rescue treatments."""
    size, least, most, died, rescued = (
        int((rows & treated).sum()) for rows in (treated, surely, surely | possibly, *events)
    )
    estimate = proportion(least, size, level=level, methods=methods)
    return AllTreated(
        of=size,
        counted=least,
        rate=estimate.rate,
        reason=estimate.reason,
        intervals=estimate.intervals,
        not_judged=most - least,
        at_most=most,
        rate_at_most=most / size if size else None,
        died=died,
        rescued=rescued,
    )
