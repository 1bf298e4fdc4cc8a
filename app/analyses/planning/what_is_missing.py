"""Which patients and values to collect, so that more patients can be judged by each endpoint."""

import math
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

import numpy as np
from pydantic import Field

from app.analyses.answer import (
    Answer,
    Basis,
    Context,
    Contribution,
    Definition,
    Excluded,
    Findings,
    Grouped,
    Options,
    Question,
)
from app.analyses.claims import description
from app.derive.missing_values import EndpointName, EndpointStatus, Lacking, MissingValue, Purpose, endpoints
from app.estimate.results import Reason, WhyNull
from app.timeline.cohort import NO_TIME, Ints
from app.timeline.times import EPOCH_DAY


class MissingOptions(Options):
    """The common options, and which endpoint is meant."""

    endpoint: EndpointName | None = Field(
        default=None, description="Answer for this endpoint only; for all where it is left out.", examples=["ck_change"]
    )
    limit: int = Field(
        default=1_000, ge=0, le=10_000, description="How many missing values are listed at most.", examples=[1_000]
    )


class EndpointGap(Grouped):
    """How complete one endpoint is."""

    endpoint: EndpointName = Field(description="The endpoint.", examples=["weekly_change"])
    measure: str = Field(description="Its measure.", examples=["CK"])
    week: int | None = Field(description="Its week, where it has one.", examples=[4])
    safety: int = Field(description="Treated patients.", examples=[16])
    evaluable: int = Field(description="Of these, patients whom the endpoint can judge.", examples=[14])
    out_of_reach: int = Field(
        description="Of these, patients whom no further value makes evaluable: CK is normal or a score at its best end "
        "at baseline, CK is never normal, a value is 0, or death came before the days needed.",
        examples=[0],
    )
    collectable: int = Field(description="Of these, patients who lack a value that `collect` lists.", examples=[2])
    undecided: int = Field(
        description="Of these, patients who cannot be judged because a value is known only as a bound; no value to "
        "collect can be named.",
        examples=[0],
    )


class Collect(Contribution):
    """A missing value of one patient, and every endpoint that needs it."""

    measure: str = Field(description="The analyte or instrument.", examples=["CK"])
    what: Lacking = Field(
        description="`value`: a result or score; `upper_limit`: the upper limit of normal of results that are stored.",
        examples=["value"],
    )
    purpose: Purpose = Field(
        description="`baseline`, a `window` of days after treatment, or the `normality` of results.",
        examples=["window"],
    )
    first_day: int | None = Field(
        description="First day, counted from the first infusion; null: no limit.", examples=[25]
    )
    last_day: int | None = Field(description="Last day; null: no limit.", examples=[31])
    first_date: date | None = Field(description="The first day as a date.", examples=["2005-05-06"])
    last_date: date | None = Field(description="The last day as a date.", examples=["2005-05-12"])
    past: bool = Field(
        description="Whether the patient was seen after the last day: the value can then be found only in old records.",
        examples=[True],
    )
    endpoints: tuple[int, ...] = Field(
        description="The endpoints that need it: their places in `results`, from 0.", examples=[[2, 15]]
    )


class WhatIsMissing(Answer):
    """Which values are missing, for which endpoints."""

    reason: WhyNull = Field(
        description="`not_declared` where the protocol does not declare the requested endpoint; `results` is then "
        "empty.",
        examples=[None, "not_declared"],
    )
    results: tuple[EndpointGap, ...] = Field(description="How complete each endpoint is.", examples=[[]])
    to_collect: int = Field(description="How many values there are to collect.", examples=[18])
    collect: tuple[Collect, ...] = Field(
        description="The first of them, at most `limit`: the value that most endpoints need first, then by patient, "
        "measure and day.",
        examples=[[]],
    )


def what_is_missing(whole: Context) -> Findings:
    """How complete every endpoint of the protocol is; `collect` is one list for all subgroups."""
    options = whole.options_as(MissingOptions)
    gaps: list[EndpointGap] = []
    rows: list[MissingValueRow] = []
    excluded: list[Excluded] = []
    for context in whole.subgroups():
        statuses = [status for status in endpoints(context.study) if options.endpoint in (None, status.name)]
        rows += _missing_values(context, statuses, len(gaps))
        gaps += [_gap(context, status) for status in statuses]
        excluded += context.excluded(context.untreated, "all")
    rows.sort(key=_order)
    collect = [_collect(row) for row in [row for row in rows if whole.lists(row.patient)][: options.limit]]
    claims = [description(int(whole.study.safety.sum()), "the missing values")]
    return Findings({"results": gaps, "collect": collect}, excluded, fields={"to_collect": len(rows)}, claims=claims)


def _basis(whole: Context) -> Basis:
    endpoint = whole.options_as(MissingOptions).endpoint
    reason = None if endpoint in {None, *(each.name for each in endpoints(whole.study))} else Reason.NOT_DECLARED
    definition = Definition(id="collectable", parameters={"endpoint": endpoint})
    return Basis(("definitions_are_ours",), definition, {"reason": reason})


class MissingValueRow(NamedTuple):
    """One value to collect, in the order of sorting.

    `first` and `last` are days from day 0, where `NO_TIME` means no limit; `day0` is the day since 1970 and `followed`
    the number of days of follow-up.
    """

    patient: str
    measure: str
    what: Lacking
    purpose: Purpose
    first: int
    last: int
    day0: int
    followed: int
    endpoints: tuple[int, ...]


def _order(row: MissingValueRow) -> tuple[object, ...]:
    days = [math.inf if day == NO_TIME else day for day in (row.first, row.last)]
    return -len(row.endpoints), row.patient, row.measure, row.what, row.purpose, *days


def _collect(row: MissingValueRow) -> Collect:
    return Collect(
        patient=row.patient,
        measure=row.measure,
        what=row.what,
        purpose=row.purpose,
        first_day=_day(row.first),
        last_day=_day(row.last),
        first_date=_date(row.first, row.day0),
        last_date=_date(row.last, row.day0),
        past=row.last != NO_TIME and row.followed - 1 > row.last,
        endpoints=row.endpoints,
    )


def _gap(context: Context, endpoint: EndpointStatus) -> EndpointGap:
    safety = context.study.safety
    lacking = np.zeros(len(safety), dtype=np.bool_)
    for missing in endpoint.missing:
        lacking |= missing.patients
    evaluable, out_of_reach = endpoint.evaluable & safety, endpoint.out_of_reach & safety
    return EndpointGap(
        group=context.group,
        endpoint=endpoint.name,
        measure=endpoint.measure,
        week=endpoint.week,
        safety=int(safety.sum()),
        evaluable=int(evaluable.sum()),
        out_of_reach=int(out_of_reach.sum()),
        collectable=int(lacking.sum()),
        undecided=int((safety & ~evaluable & ~out_of_reach & ~lacking).sum()),
    )


Key = tuple[int, str, Lacking, Purpose, int, int]


def _missing_values(context: Context, statuses: Iterable[EndpointStatus], place: int) -> list[MissingValueRow]:
    """One row for each value to collect, with every endpoint that needs it, numbered from `place`."""
    lacking: dict[Key, list[int]] = {}
    for i, endpoint in enumerate(statuses, place):
        for key in dict.fromkeys(key for missing in endpoint.missing for key in _keys(missing)):
            lacking.setdefault(key, []).append(i)
    ids, day0 = context.ids, context.study.exposure.day0.tolist()
    followed = context.study.follow_up_days.tolist()
    return [
        MissingValueRow(
            ids[patient], measure, what, purpose, first, last, day0[patient], followed[patient], tuple(places)
        )
        for (patient, measure, what, purpose, first, last), places in lacking.items()
    ]


def _keys(missing: MissingValue) -> Iterable[Key]:
    rows: Ints = np.flatnonzero(missing.patients)
    days = zip(rows.tolist(), missing.first[rows].tolist(), missing.last[rows].tolist(), strict=True)
    return ((patient, missing.measure, missing.what, missing.purpose, first, last) for patient, first, last in days)


def _day(day: int) -> int | None:
    return None if day == NO_TIME else day


def _date(day: int, day0: int) -> date | None:
    return None if day == NO_TIME else date.fromordinal(day0 + day + EPOCH_DAY)


QUESTION = Question(
    "what-is-missing",
    "Which values must be collected, so that more patients can be judged?",
    WhatIsMissing,
    what_is_missing,
    _basis,
    options_type=MissingOptions,
    compares_groups=True,
)
