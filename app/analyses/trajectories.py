"""The CK results, infusions and adverse events of patients by day, and the median CK at the visits of the protocol.

No question asks for them: charts show them. In a large study not every patient is listed.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from app.analyses.answer import Populations, populations
from app.derive.ck_normality import NORMAL, UNKNOWN
from app.derive.exposure import Exposure
from app.derive.study import DerivedStudy
from app.estimate.results import Number, Result, Summary
from app.estimate.summary import summarise
from app.timeline.cohort import COMPARATORS, NO_TIME, Ints

MOST_PATIENTS = 40
"""So many patients are listed at most: more cannot be told apart in a chart."""
_SIGNS = {number: sign for sign, number in COMPARATORS.items()}


class SeenCk(Result):
    """The CK of one day."""

    day: int = Field(description="Days from day 0.", examples=[-28])
    value: Number = Field(description="In U/L.", examples=[988])
    comparator: str | None = Field(description="`<`, `<=`, `>` or `>=` where the value is a bound.", examples=[None])
    upper_limit: Number | None = Field(description="Its own upper limit of normal.", examples=[163])
    normal: bool | None = Field(description="Whether it is normal; null where that is not known.", examples=[False])


class SeenEvent(Result):
    """An adverse event that began on or after the first infusion."""

    day: int | None = Field(description="Days from day 0; null where the onset is not known.", examples=[3])
    term: str = Field(description="What it was.", examples=["Headache"])
    serious: bool = Field(description="Whether it was reported as serious.", examples=[False])


class Trajectory(Result):
    """One treated patient."""

    patient: str = Field(description="Subject identifier.", examples=["P01"])
    results: tuple[SeenCk, ...] = Field(description="One CK a day, in order of time.", examples=[[]])
    infusions: tuple[int, ...] = Field(description="The days with an infusion.", examples=[[0, 1, 2, 3, 4]])
    events: tuple[SeenEvent, ...] = Field(description="Adverse events.", examples=[[]])


class RatioAtWeek(Result):
    """CK as a multiple of its own upper limit, of all treated patients, at a week of the protocol."""

    week: int = Field(description="The week; 0 is the baseline.", examples=[4])
    ratio: Summary = Field(description="Of the patients who have a CK with an upper limit.")


class Trajectories(Result):
    """The patients, and the medians of all treated patients."""

    populations: Populations = Field(description="The populations.")
    with_ck: int = Field(description="Treated patients who have a CK.", examples=[16])
    weeks: tuple[RatioAtWeek, ...] = Field(description="The medians.", examples=[[]])
    patients: tuple[Trajectory, ...] = Field(
        description=f"Not more than {MOST_PATIENTS}: in a larger study those at equal steps by identifier.",
        examples=[[]],
    )


def trajectories(study: DerivedStudy, patient: str | None = None) -> Trajectories:
    """What charts show of the treated patients, or of one patient alone; nobody if there is none of that name."""
    ids = [row.id for row in study.cohort.patients]
    records = study.analysis_values("CK")
    with_ck = study.safety & (np.bincount(records.patient, minlength=records.size) > 0)
    if patient is None:
        known = np.flatnonzero(with_ck)
        chosen = known[:: max(1, -(-len(known) // MOST_PATIENTS))]
    else:
        chosen = np.array([row for row, name in enumerate(ids) if name == patient and study.safety[row]], dtype=int)
    return Trajectories(
        populations=populations(study),
        with_ck=int(with_ck.sum()),
        weeks=tuple(_at_week(study, week) for week in study.weeks("CK")),
        patients=_listed(study, ids, chosen),
    )


def _at_week(study: DerivedStudy, week: int) -> RatioAtWeek:
    records, rows = study.analysis_values("CK"), study.weeks("CK")[week]
    chosen = rows[study.safety & (rows >= 0)]
    ratio = records.point[chosen] / records.upper_limit[chosen]
    return RatioAtWeek(week=week, ratio=summarise(ratio[np.isfinite(ratio)]))


def _listed(study: DerivedStudy, ids: Sequence[str], chosen: Ints) -> tuple[Trajectory, ...]:
    records, known, given = study.analysis_values("CK"), study.ck_known, study.exposure.given
    events = study.reactions.events
    return tuple(
        Trajectory(
            patient=ids[row],
            results=tuple(
                SeenCk(
                    day=int(records.day[i]),
                    value=float(records.value[i]),
                    comparator=_SIGNS[int(records.comparator[i])],
                    upper_limit=None if np.isnan(records.upper_limit[i]) else float(records.upper_limit[i]),
                    normal=None if known[i] == UNKNOWN else bool(known[i] == NORMAL),
                )
                for i in np.flatnonzero(records.patient == row)
            ),
            infusions=tuple(sorted({int(day) for day in _days(study.exposure, given.day[given.patient == row], row)})),
            events=tuple(
                SeenEvent(
                    day=None if events.day[i] == NO_TIME else int(_days(study.exposure, events.day[i], row)),
                    term=str(events.term[i]),
                    serious=bool(study.reactions.serious[i]),
                )
                for i in np.flatnonzero(events.patient == row)
            ),
        )
        for row in chosen
    )


def _days(exposure: Exposure, days: Ints, row: int) -> Ints:
    """Days from day 0 of a patient."""
    since: Ints = days - exposure.day0[row]
    return since
