"""The baseline table: demographics, disease, treatment, baseline values, values and doses by visit, visits kept."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Literal, cast

import numpy as np
from pydantic import Field

from app.analyses.answer import Answer, Basis, Context, Findings, Grouped, Question
from app.analyses.claims import description
from app.analyses.paper_table import NOTHING, PaperTable, column_of, number, percent, side_by_side
from app.derive.doses import index_dose_per_kg, prednisolone
from app.derive.reasons import FlagCode
from app.derive.study import DerivedStudy
from app.estimate.results import Number, Result, Summary
from app.estimate.summary import summarise
from app.timeline.cohort import Floats
from app.timeline.times import EPOCH_DAY
from app.timeline.vocabulary import ANALYTES, LAB_CODES

Section = Literal["demographics", "disease", "treatment", "baseline", "visit", "prednisolone", "visits_kept"]


class Category(Result):
    """Patients with one value of a category."""

    value: str = Field(description="The value.", examples=["female"])
    count: int = Field(description="Patients with this value.", examples=[10])
    rate: Number | None = Field(description="Share of the patients for whom the value is known.", examples=[0.625])


class TableRow(Grouped):
    """One row of the table: a number summarised over patients, or a category counted."""

    section: Section = Field(description="Part of the table.", examples=["baseline"])
    variable: str = Field(description="The variable.", examples=["CK"])
    unit: str | None = Field(description="Its unit.", examples=["U/L"])
    week: int | None = Field(
        description="Week of the visit; 0 is the baseline; null for a row without a visit.", examples=[0]
    )
    n: int = Field(description="Treated patients for whom it is known.", examples=[16])
    missing: int = Field(description="Treated patients for whom it is unknown.", examples=[0])
    summary: Summary | None = Field(default=None, description="Distribution of a number.", examples=[None])
    categories: tuple[Category, ...] | None = Field(
        default=None,
        description="Counts of a category; a visit is `kept` where there is a value in its window.",
        examples=[None],
    )


class RecordCount(Grouped):
    """How many records of one measure the study has, used in an analysis or not."""

    measure: str = Field(description="The measure.", examples=["CK"])
    count: int = Field(description="Records.", examples=[467])


class BaselineTable(Answer):
    """The baseline table of the safety set."""

    records: tuple[RecordCount, ...] = Field(description="Records by measure, of all patients.", examples=[[]])

    results: tuple[TableRow, ...] = Field(description="The rows in the order of the table.", examples=[[]])
    table: PaperTable = Field(description="Table 1 of a paper: the patients before treatment, with their treatment.")


def baseline_table(whole: Context) -> Findings:
    """The table for the safety set, of the study or of each subgroup."""
    contexts = list(whole.subgroups())
    parts = [_of_group(context) for context in contexts]
    columns = [column_of(context.group, int(context.study.safety.sum())) for context in contexts]
    rows = side_by_side(_in_order([cast("Sequence[TableRow]", part.results["results"]) for part in parts]))
    return Findings(
        {name: [row for part in parts for row in part.results[name]] for name in ("results", "records")},
        [row for part in parts for row in part.excluded],
        [flag for part in parts for flag in part.flags],
        claims=[
            claim.model_copy(update={"group": context.group})
            for context, part in zip(contexts, parts, strict=True)
            for claim in part.claims
        ],
        fields={"table": PaperTable(columns=tuple(columns), rows=rows)},
    )


def _in_order(groups: Sequence[Sequence[TableRow]]) -> list[list[tuple[str, str, str]]]:
    """The texts of each group, in which every group has the same rows in the same order."""
    columns: list[list[tuple[str, str, str]]] = [[] for _ in groups]
    for same in zip(*groups, strict=True):
        if same[0].section not in _PRINTED or same[0].week not in (None, 0):
            continue
        values = sorted({each.value for row in same for each in row.categories or ()})
        missing = any(row.missing for row in same)
        for texts, row in zip(columns, same, strict=True):
            texts.extend(_texts(row, values, missing=missing))
    return columns


_PRINTED = ("demographics", "disease", "treatment", "baseline", "prednisolone")
"""The sections of the printed table."""


def _texts(row: TableRow, values: Sequence[str], *, missing: bool) -> Iterator[tuple[str, str, str]]:
    name = row.variable.replace("_", " ").replace("/upper limit", " / upper limit")
    name = name if name[:1].isupper() else name.capitalize()
    label = name if row.unit in (None, "1") else f"{name} ({row.unit})"
    if row.summary is not None:
        known = row.summary
        mean, median = (f"{number(known.mean)} ({number(known.sd)})", f"{number(known.median)} [{number(known.q1)}, "
                        f"{number(known.q3)}]") if known.n else (NOTHING, NOTHING)  # fmt: skip
        yield row.section, f"{label}, mean (SD)", mean
        yield row.section, f"{label}, median [quartiles]", median
    for value in values:
        count = next((each.count for each in row.categories or () if each.value == value), 0)
        yield row.section, f"{label}: {value}", percent(count, row.n)
    if missing:
        yield row.section, f"{label}: missing", str(row.missing)


def _of_group(context: Context) -> Findings:
    """The table of one (sub)group."""
    study, measures = context.study, _measures(context.whole)
    flags = [flag for measure in measures for flag in context.flags_of(measure, _too_old(study, measure))]
    not_convertible = prednisolone(study.cohort, study.exposure, 0).not_convertible
    return Findings(
        {"results": list(_rows(context, measures)), "records": list(_records(context))},
        context.excluded(context.untreated, "all"),
        [
            *flags,
            *context.flags({FlagCode.DOSE_NOT_CONVERTIBLE: not_convertible}, "prednisolone"),
            *context.flags_of_orders("prednisolone"),
        ],
        claims=[description(int(context.study.safety.sum()), "the values before and during treatment")],
    )


def _too_old(study: DerivedStudy, measure: str) -> dict[FlagCode, int]:
    """The flag that counts old baselines in the safety set."""
    return {FlagCode.BASELINE_TOO_OLD: int(study.baseline_too_old(measure).sum())}


def _rows(context: Context, measures: Sequence[str]) -> Iterator[TableRow]:
    study = context.study
    yield from _people(context)
    exposure = study.exposure
    treated = study.safety
    yield _number(context, "treatment", "infusions", None, None, exposure.infusions[treated].astype(np.float64))
    yield _number(context, "treatment", "courses", None, None, exposure.courses[treated].astype(np.float64))
    yield _number(
        context, "treatment", "index_course_dose", "g/kg", None, index_dose_per_kg(study.cohort, exposure)[treated]
    )
    weeks = sorted({0, *study.protocol.visits.weeks})
    for measure in measures:
        yield _number(context, "baseline", measure, _unit(measure), 0, study.at_week(measure, 0)[treated])
        if measure in LAB_CODES:
            ratio = _times_upper_limit(study, measure)
            yield _number(context, "baseline", f"{measure}/upper_limit", "1", 0, ratio[treated])
    for measure in measures:
        for week in weeks:
            yield _number(context, "visit", measure, _unit(measure), week, study.at_week(measure, week)[treated])
    for week in weeks:
        doses = prednisolone(study.cohort, exposure, 7 * week).daily_milligrams
        yield _number(context, "prednisolone", "prednisolone", "mg/d", week, doses[treated])
    for measure in measures:
        for week in weeks:
            kept = ~np.isnan(study.at_week(measure, week)[treated])
            yield _category(
                context, "visits_kept", measure, week, ["kept" if is_kept else "missed" for is_kept in kept]
            )


def _records(context: Context) -> Iterator[RecordCount]:
    for code, count in context.study.values_sent.items():
        yield RecordCount(group=context.group, measure=code, count=count)


def _people(context: Context) -> Iterator[TableRow]:
    study = context.study
    people = [row for row, treated in zip(study.cohort.patients, study.safety, strict=True) if treated]
    day0 = study.exposure.day0[study.safety]
    ages = [
        np.nan if row.birth_year is None else _year(int(day)) - row.birth_year
        for row, day in zip(people, day0, strict=True)
    ]
    weights = [np.nan if row.weight_kg is None else row.weight_kg for row in people]
    yield _number(context, "demographics", "age", "a", None, np.array(ages, dtype=np.float64))
    yield _number(context, "demographics", "weight", "kg", None, np.array(weights, dtype=np.float64))
    yield _category(context, "demographics", "sex", None, [row.sex for row in people])
    yield _category(context, "disease", "diagnosis", None, [row.diagnosis for row in people])
    resistant = [None if row.steroid_resistant is None else str(row.steroid_resistant).lower() for row in people]
    yield _category(context, "disease", "steroid_resistant", None, resistant)


def _measures(study: DerivedStudy) -> list[str]:
    """The analytes and instruments with a known scale of which the cohort has a value."""
    return [code for code in study.values_sent if code not in {"MMT", "ADL"} or code in study.protocol.scales]


def _unit(measure: str) -> str:
    return ANALYTES[measure].unit if measure in LAB_CODES else "points"


def _year(day: int) -> int:
    return date.fromordinal(day + EPOCH_DAY).year


def _times_upper_limit(study: DerivedStudy, measure: str) -> Floats:
    limit = study.at_visit(measure, 0).upper_limit
    return study.at_week(measure, 0) / np.where(limit > 0, limit, np.nan)


def _number(
    context: Context, section: Section, variable: str, unit: str | None, week: int | None, values: Floats
) -> TableRow:
    known = values[~np.isnan(values)]
    return TableRow(
        group=context.group,
        section=section,
        variable=variable,
        unit=unit,
        week=week,
        n=len(known),
        missing=len(values) - len(known),
        summary=context.study.estimated(summarise, known),
    )


def _category(
    context: Context, section: Section, variable: str, week: int | None, values: Sequence[str | None]
) -> TableRow:
    known = [value for value in values if value is not None]
    return TableRow(
        group=context.group,
        section=section,
        variable=variable,
        unit=None,
        week=week,
        n=len(known),
        missing=len(values) - len(known),
        categories=tuple(
            Category(value=value, count=known.count(value), rate=known.count(value) / len(known))
            for value in sorted(set(known))
        ),
    )


QUESTION = Question(
    "baseline-table",
    "What are the characteristics of the patients, and what was recorded?",
    BaselineTable,
    baseline_table,
    lambda _: Basis(("definitions_are_ours", "bounds_as_values")),
    in_report=True,
    compares_groups=True,
)
