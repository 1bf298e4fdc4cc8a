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
from app.derive.missing_values import EndpointName, EndpointStatus, Lacking, MissingValue, Purpose, endpoints
from app.estimate.results import Reason, WhyNull
from app.timeline.cohort import NO_TIME, Ints
from app.timeline.times import EPOCH_DAY


class MissingOptions(Options):
    """Which endpoint is asked about."""

    endpoint: EndpointName | None = Field(
        default=None, description="Only this endpoint; every one where it is left out.", examples=["ck_change"]
    )
    limit: int = Field(
        default=1_000, ge=0, le=10_000, description="How many things to collect are listed at most.", examples=[1_000]
    )


class EndpointGap(Grouped):
    """How complete one endpoint is."""

    endpoint: EndpointName = Field(description="The endpoint.", examples=["weekly_change"])
    measure: str = Field(description="Its measure.", examples=["CK"])
    week: int | None = Field(description="Its week, where it has one.", examples=[4])
    safety: int = Field(description="Treated patients.", examples=[16])
    evaluable: int = Field(description="Of these, patients whom the endpoint can judge.", examples=[14])
    out_of_reach: int = Field(
        description="Of these, patients whom no further value makes evaluable: CK normal or a score at its best end at "
        "baseline, CK never normal, a value of 0, death before the days in question.",
        examples=[0],
    )
    collectable: int = Field(description="Of these, patients who lack what is listed under `collect`.", examples=[2])
    undecided: int = Field(
        description="Of these, patients who lack nothing that could be named: a value known only as a bound leaves "
        "something open.",
        examples=[0],
    )


class Collect(Contribution):
    """Something to find or to draw for one patient, and every endpoint that lacks it."""

    measure: str = Field(description="The analyte or instrument.", examples=["CK"])
    what: Lacking = Field(
        description="`value`: a result or score; `upper_limit`: the upper limit of normal of results that are there.",
        examples=["value"],
    )
    purpose: Purpose = Field(
        description="`baseline`, a `window` of days after treatment, or the `normality` of results.",
        examples=["window"],
    )
    first_day: int | None = Field(description="First day from the first infusion; null for any earlier.", examples=[25])
    last_day: int | None = Field(description="Last day; null for any later.", examples=[31])
    first_date: date | None = Field(description="The same as a date.", examples=["2005-05-06"])
    last_date: date | None = Field(description="The same as a date.", examples=["2005-05-12"])
    past: bool = Field(
        description="Whether the patient was seen after the last of these days: then it can be found in records only.",
        examples=[True],
    )
    endpoints: tuple[int, ...] = Field(
        description="What lacks it: the places in `results`, from 0.", examples=[[2, 15]]
    )


class WhatIsMissing(Answer):
    """What to collect."""

    reason: WhyNull = Field(
        description="`not_declared` where the protocol does not declare the endpoint asked for; there is nothing to "
        "tell of it then.",
        examples=[None, "not_declared"],
    )
    results: tuple[EndpointGap, ...] = Field(description="How complete each endpoint is.", examples=[[]])
    to_collect: int = Field(description="How many things there are to collect.", examples=[18])
    collect: tuple[Collect, ...] = Field(
        description="The first of them, at most `limit`: what serves most endpoints first, then by patient, measure "
        "and day.",
        examples=[[]],
    )


def what_is_missing(whole: Context) -> Findings:
    """Every endpoint of the protocol; `collect` is one list for all subgroups."""
    options = whole.options_as(MissingOptions)
    gaps: list[EndpointGap] = []
    wanted: list[MissingValueRow] = []
    excluded: list[Excluded] = []
    for context in whole.subgroups():
        asked = [each for each in endpoints(context.study) if options.endpoint in (None, each.name)]
        wanted += _wanted(context, asked, len(gaps))
        gaps += [_gap(context, each) for each in asked]
        excluded += context.excluded(context.untreated, "all")
    wanted.sort(key=_order)
    collect = [_collect(row) for row in wanted[: options.limit]]
    return Findings({"results": gaps, "collect": collect}, excluded, fields={"to_collect": len(wanted)})


def _basis(whole: Context) -> Basis:
    endpoint = whole.options_as(MissingOptions).endpoint
    reason = None if endpoint in {None, *(each.name for each in endpoints(whole.study))} else Reason.NOT_DECLARED
    definition = Definition(id="collectable", parameters={"endpoint": endpoint})
    return Basis(("definitions_are_ours",), definition, {"reason": reason})


class MissingValueRow(NamedTuple):
    """One thing to collect, as it is sorted; `NO_TIME` is an open end of its days."""

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
    for lacked in endpoint.missing:
        lacking |= lacked.patients
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


def _wanted(context: Context, asked: Iterable[EndpointStatus], place: int) -> list[MissingValueRow]:
    """One row for each thing to collect, with every endpoint that lacks it, counted from `place`."""
    lacking: dict[Key, list[int]] = {}
    for i, endpoint in enumerate(asked, place):
        for key in dict.fromkeys(key for lacked in endpoint.missing for key in _keys(lacked)):
            lacking.setdefault(key, []).append(i)
    ids, day0 = context.ids, context.study.exposure.day0.tolist()
    followed = context.study.follow_up_days.tolist()
    return [
        MissingValueRow(
            ids[patient], measure, what, purpose, first, last, day0[patient], followed[patient], tuple(places)
        )
        for (patient, measure, what, purpose, first, last), places in lacking.items()
    ]


def _keys(lacked: MissingValue) -> Iterable[Key]:
    rows: Ints = np.flatnonzero(lacked.patients)
    days = zip(rows.tolist(), lacked.first[rows].tolist(), lacked.last[rows].tolist(), strict=True)
    return ((patient, lacked.measure, lacked.what, lacked.purpose, first, last) for patient, first, last in days)


def _day(day: int) -> int | None:
    return None if day == NO_TIME else day


def _date(day: int, day0: int) -> date | None:
    return None if day == NO_TIME else date.fromordinal(day0 + day + EPOCH_DAY)


QUESTION = Question(
    "what-is-missing",
    "Which values are to be collected, so that more patients can be judged?",
    WhatIsMissing,
    what_is_missing,
    _basis,
    options_type=MissingOptions,
    compares_groups=True,
)
