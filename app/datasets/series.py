"""The values of one measure over time, patient by patient, as columns that can be drawn. Worker processes load this.

The rows, what counts as usable and why a value is not used are those of the dataset `adeff` (`measured.py`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field
from pydantic_core import to_json

from app import SOFTWARE
from app.access.work import Workplace
from app.datasets.measured import REASON_CODES, REASONS, Measured, measured
from app.datasets.parameters import PARAMETERS
from app.datasets.parquet import integers, numbers
from app.derive.ck_normality import ABNORMAL, NORMAL
from app.derive.study import DerivedStudy
from app.estimate.results import Result
from app.store.revisions import AsOf
from app.store.snapshot import study_at
from app.timeline.cohort import COMPARATORS, NO_TIME, Bools, Cohort
from app.timeline.source_facts import KINDS, Sources, words_of
from app.timeline.times import day_text
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

_SIGNS = {code: sign for sign, code in COMPARATORS.items()}
_NORMAL = {NORMAL: True, ABNORMAL: False}


class PatientSeries(Result):
    """The values of one patient in the order of time: columns of one length."""

    patient: str = Field(description="The patient.", examples=["P01"])
    day_0: str | None = Field(description="Date of the first infusion; null if untreated.", examples=["2005-04-11"])
    time: tuple[str, ...] = Field(description="When each value was taken, as sent.", examples=[["2005-04-10"]])
    date: tuple[str, ...] = Field(
        description="Its day, in the study's time zone where it declares one and a clock time was sent.",
        examples=[["2005-04-10"]],
    )
    day: tuple[int | None, ...] = Field(
        description="Days since the first infusion, which is day 0; null if untreated.", examples=[[-1]]
    )
    value: tuple[float, ...] = Field(
        description="The number that was sent, in `unit`; with a comparator it is a bound.", examples=[[1240.0]]
    )
    comparator: tuple[str | None, ...] = Field(
        description="`<`, `<=`, `>` or `>=` where only a bound is known, else null.", examples=[[None]]
    )
    upper_limit: tuple[float | None, ...] = Field(
        description="The upper limit of normal of this value, in `unit`; null if unknown, and for scores.",
        examples=[[163.0]],
    )
    limit_borrowed: tuple[bool, ...] = Field(
        description="Whether the limit was sent with another result of the patient and laboratory, by the protocol's "
        "rule.",
        examples=[[False]],
    )
    is_normal: tuple[bool | None, ...] = Field(
        description="Whether it is at or below its own limit; null where that is unknown.", examples=[[False]]
    )
    usable: tuple[bool, ...] = Field(
        description="Whether analyses may use it: the one value of its day. `ANL02FL` of `adeff`.", examples=[[True]]
    )
    baseline: tuple[bool, ...] = Field(
        description="Whether it is the patient's baseline. `ABLFL` of `adeff`.", examples=[[True]]
    )
    week: tuple[int | None, ...] = Field(
        description="The week in whose window it lies, 0 for the baseline; null if it lies in none.", examples=[[0]]
    )
    reason: tuple[str | None, ...] = Field(
        description="Why it does not stand for a visit, null if it does: "
        + "; ".join(f"`{code}`: {text}" for code, text in REASONS.items())
        + ".",
        examples=[[None]],
    )
    fact: tuple[str, ...] = Field(
        description="The address of the fact, as in `SRCID` of `adeff`.",
        examples=[["P01/labs/CK/at:2005-04-10/A"]],
    )


class SeriesPage(Result):
    """The values of one measure of some patients. All pages are read at one revision."""

    study: str = Field(description="The study.", examples=["demo"])
    revision: int = Field(description="The revision that was read.", examples=[16])
    as_of: str = Field(description="When it was received.", examples=["2026-11-22T10:00:00Z"])
    protocol_id: str = Field(description="Name of the protocol.", examples=["seed-2008"])
    protocol: str = Field(description="Digest of the protocol.", examples=["sha256:6f29e5f4..."])
    software: str = Field(description="Name and version of the service.", examples=["myoresponse 0.1.0"])
    measure: str = Field(description="The measure.", examples=["CK"])
    unit: str = Field(description="Unit of values and limits: the canonical one, or `points`.", examples=["U/L"])
    items: tuple[PatientSeries, ...] = Field(
        description="The patients in the order of their identifiers, also those without a value.", examples=[[]]
    )
    next: str | None = Field(
        description="Address of the next page.",
        examples=["/v1/studies/demo/series?measure=CK&limit=100&cursor=WzE2LCJQMTYiXQ"],
    )


@dataclass(frozen=True, slots=True)
class AskedSeries:
    """A page of series: the study, its revision, the measure, the first persons and the number of persons of the page,
    and the address of the next page.
    """

    study: str
    revision: int
    measure: str
    first: int
    size: int
    following: str | None


def series_of_study(asked: AskedSeries, place: Workplace) -> bytes:
    """The page as JSON, without spaces: most of it are columns of numbers."""
    with study_at(place.database, asked.study, AsOf(asked.revision)) as snapshot:
        stop = asked.first + asked.size
        part = place.cohorts.cohort_of(snapshot).between(asked.first, stop)
        records = dict(list(snapshot.persons().items())[asked.first : stop])
        kind = "labs" if asked.measure in LAB_CODES else "assessments"
        facts = snapshot.facts_of_rows(kind, part, records)
        protocol = snapshot.protocol
    facts_of = {each: words_of([]) for each in KINDS} | {kind: words_of([where for where, _ in facts])}
    sources = Sources(**facts_of, records=tuple(map(tuple, records.values())))
    rows = _rows_of(part, asked.measure)
    times = [time or "" for (_, time), mine in zip(facts, rows.tolist(), strict=True) if mine]
    study = DerivedStudy(part, protocol)
    page = SeriesPage(
        study=asked.study,
        revision=snapshot.revision,
        as_of=snapshot.as_of,
        protocol_id=protocol.id,
        protocol=protocol.digest,
        software=SOFTWARE,
        measure=asked.measure,
        unit=PARAMETERS[asked.measure].unit,
        items=_patients(study, measured(study, sources, asked.measure), times),
        next=asked.following,
    )
    return to_json(page.model_dump(mode="json")) + b"\n"


def _rows_of(part: Cohort, measure: str) -> Bools:
    """The rows of one measure in its table."""
    if measure in LAB_CODES:
        return np.equal(part.labs.code, LAB_CODES.index(measure))
    return np.equal(part.assessments.code, ASSESSMENT_CODES.index(measure))


def _patients(study: DerivedStudy, rows: Measured, times: list[str]) -> tuple[PatientSeries, ...]:
    """The columns of each patient."""
    columns: dict[str, list[Any]] = {
        "time": times,
        "date": [day_text(day) for day in rows.date.tolist()],
        "day": integers(rows.day),
        "value": rows.value.tolist(),
        "comparator": [_SIGNS[sign] for sign in rows.comparator.tolist()],
        "upper_limit": numbers(rows.upper_limit),
        "limit_borrowed": rows.borrowed.tolist(),
        "is_normal": [_NORMAL.get(each) for each in rows.known.tolist()],
        "usable": rows.usable.tolist(),
        "baseline": rows.baseline.tolist(),
        "week": integers(rows.week),
        "reason": [REASON_CODES[place] for place in rows.reason.tolist()],
        "fact": rows.address.tolist(),
    }
    bounds = np.searchsorted(rows.patient, np.arange(len(study.cohort) + 1)).tolist()
    return tuple(
        PatientSeries(
            patient=person.id,
            day_0=None if day == NO_TIME else day_text(day),
            **{name: tuple(column[first:stop]) for name, column in columns.items()},
        )
        for person, day, first, stop in zip(
            study.cohort.patients, study.exposure.day0.tolist(), bounds[:-1], bounds[1:], strict=True
        )
    )
