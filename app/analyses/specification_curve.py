"""The specification curve: the rates of response and remission under every definition of the grid."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated, of_all_treated
from app.analyses.answer import (
    Answer,
    Basis,
    Context,
    Contribution,
    Definition,
    Excluded,
    Findings,
    Flag,
    Grouped,
    Options,
    Question,
    not_listed,
)
from app.analyses.claims import description
from app.derive.specifications import SpecificationVerdicts, Verdicts
from app.derive.visits import judged_days
from app.estimate.arithmetic import quantile_of
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Proportion, Reason, Result, WhyNull
from app.protocol.criteria import Criterion, DaysWindow, Missing, Window
from app.protocol.parts import Part
from app.protocol.specification import (
    AnalysisSet,
    BaselineRule,
    Kind,
    MeasureGrid,
    Specification,
    SpecificationGrid,
    specification_of,
)
from app.protocol.specification_default import default_grid, primary_rule
from app.timeline.cohort import Ints
from app.timeline.vocabulary import AssessmentCode

KINDS: tuple[Kind, ...] = ("response", "remission")
ONE_CHOICE = [{"id": "days", "parameters": {"days": [1, 59], "value": "best"}}]

Indices = tuple[int, int, int, int, int]
Choice = TypeVar("Choice")


class Choices(NamedTuple):
    """The choices of each dimension of a definition."""

    criterion: tuple[Criterion, ...]
    window: tuple[Window, ...]
    baseline: tuple[BaselineRule, ...]
    analysis_set: tuple[AnalysisSet, ...]
    missing: tuple[Missing, ...]


DIMENSIONS = Choices._fields


@dataclass(slots=True)
class EqualDefinitions:
    """Definitions that count the same patients and have the same responders: one row of the table.

    `verdicts` are those of the definition that describes the row, the first one.
    """

    responders: int
    evaluable: int
    verdicts: Verdicts
    declared: bool = False
    specifications: list[Specification] = field(default_factory=list)

    @property
    def rate(self) -> float | None:
        """responders / evaluable; None without evaluable patients."""
        return self.responders / self.evaluable if self.evaluable else None

    def add(self, specification: Specification, verdicts: Verdicts, *, declared: bool) -> None:
        """Add a definition; the declared one is put first and describes the row."""
        self.specifications.insert(0 if declared else len(self.specifications), specification)
        self.verdicts = verdicts if declared else self.verdicts
        self.declared |= declared


@dataclass(frozen=True, slots=True, eq=False)
class SpecificationTable:
    """The rows in ascending order of their rate (those without a rate last), and the choices of each dimension.

    `counted` and `responded` have, for each patient, the number of definitions that count the patient and by which the
    patient responds. `in_grid`: whether the grid itself has the declared definition; None where none is declared.
    """

    kind: Kind
    rows: tuple[EqualDefinitions, ...]
    choices: Choices
    in_grid: bool | None
    counted: Ints
    responded: Ints

    @property
    def rates(self) -> list[float]:
        """The rate of every definition that has one, ascending, once for each definition."""
        return [row.rate for row in self.rows if row.rate is not None for _ in row.specifications]

    @property
    def declared(self) -> int | None:
        """The place of the declared row, from 0; None where there is none."""
        return next((place for place, row in enumerate(self.rows) if row.declared), None)

    def indices(self, specification: Specification) -> Indices:
        """The place of each choice of a definition among the choices of its dimension."""
        return (
            self.choices.criterion.index(specification.criterion),
            self.choices.window.index(specification.window),
            self.choices.baseline.index(specification.baseline),
            self.choices.analysis_set.index(specification.analysis_set),
            self.choices.missing.index(specification.missing),
        )

    def used(self) -> Iterator[tuple[str, int, list[int]]]:
        """Each dimension and choice, with the places of the rows that have a definition with it."""
        places: dict[tuple[int, int], list[int]] = {}
        for place, row in enumerate(self.rows):
            choices = {pair for specification in row.specifications for pair in enumerate(self.indices(specification))}
            for pair in sorted(choices):
                places.setdefault(pair, []).append(place)
        for dimension, choice in sorted(places):
            yield DIMENSIONS[dimension], choice, places[dimension, choice]


def specification_table(
    verdicts: SpecificationVerdicts, kind: Kind, declared: Specification | None
) -> SpecificationTable:
    """The table of all definitions of one kind; a declared definition that the grid lacks is added.

    Definitions that count the same patients and have the same responders share a row. Rows of equal rate are in the
    order in which the grid first gives them.
    """
    by_verdicts: dict[bytes, EqualDefinitions] = {}
    size = len(verdicts.study.cohort)
    counted, responded = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for specification, verdict in _all_verdicts(verdicts, kind, declared):
        key = hashlib.sha256(np.packbits([verdict.evaluable, verdict.responder]).tobytes()).digest()
        k, n = int(verdict.responder.sum()), int(verdict.evaluable.sum())
        is_declared = specification == declared
        by_verdicts.setdefault(key, EqualDefinitions(k, n, verdict)).add(specification, verdict, declared=is_declared)
        counted += verdict.evaluable
        responded += verdict.responder
    in_grid = declared in set(verdicts.grid.specifications(kind))
    rows = sorted(by_verdicts.values(), key=lambda row: (row.rate is None, row.rate or 0.0))
    choices = _choices(verdicts.grid, kind, None if in_grid else declared)
    return SpecificationTable(kind, tuple(rows), choices, None if declared is None else in_grid, counted, responded)


def _all_verdicts(
    verdicts: SpecificationVerdicts, kind: Kind, declared: Specification | None
) -> Iterator[tuple[Specification, Verdicts]]:
    absent = declared is not None
    for specification, verdict in verdicts.each(kind):
        absent &= specification != declared
        yield specification, verdict
    if absent and declared is not None:
        yield declared, verdicts.verdicts(declared)


def _choices(grid: MeasureGrid, kind: Kind, added: Specification | None) -> Choices:
    of_grid = Choices(grid.criteria(kind), grid.windows, grid.baselines, grid.analysis_sets, grid.missing)
    if added is None:
        return of_grid
    return Choices(
        _extended(added.criterion, of_grid.criterion),
        _extended(added.window, of_grid.window),
        _extended(added.baseline, of_grid.baseline),
        _extended(added.analysis_set, of_grid.analysis_set),
        _extended(added.missing, of_grid.missing),
    )


def _extended(choice: Choice, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    return choices if choice in choices else (*choices, choice)


class CurveOptions(Options):
    """The common options, and the measure."""

    measure: Literal["CK", AssessmentCode] | None = Field(
        default=None, description="Answer for this measure of the grid only.", examples=["MMT"]
    )


class SpecificationRow(Grouped):
    """One definition, or several that count the same patients and have the same responders."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    kind: Kind = Field(description="Whether the criterion is of response or of remission.", examples=["response"])
    criterion: Definition = Field(description="The threshold of response or the criterion of remission.")
    window: Definition = Field(description="The rule that selects the value to judge.")
    baseline: BaselineRule = Field(description="The rule for the baseline.", examples=["last_on_or_before_day_0"])
    analysis_set: AnalysisSet = Field(description="The set of patients.", examples=["efficacy"])
    missing: Missing = Field(
        description="The rule for patients of the set who cannot be judged.", examples=["left_out"]
    )
    declared: bool = Field(
        description="Whether this is the primary rule that the protocol declares for the measure.", examples=[True]
    )
    responders: int = Field(description="Patients who meet the criterion.", examples=[14])
    evaluable: int = Field(description="Patients counted.", examples=[15])
    rate: Number | None = Field(description="responders / evaluable, a fraction.", examples=[0.933333333333])
    reason: WhyNull = None
    interval: Interval = Field(description="Interval of the rate by the convention `proportion`.")
    all_treated: AllTreated = Field(
        description="The count over all treated patients, by the definition that describes the row. Who is not in its "
        "analysis set could not be judged."
    )
    specifications: int = Field(description="How many definitions of the grid share this row.", examples=[2])
    same_as: tuple[tuple[int, int, int, int, int], ...] = Field(
        description="The other definitions of the row: criterion, window, baseline, analysis set and missing, each as "
        "its place (from 0) in the `choices` of the curve of this measure and kind.",
        examples=[[[0, 0, 0, 1, 0]]],
    )


class GridChoices(Result):
    """The choices of each dimension, in the order of the grid; a declared choice that the grid lacks comes last."""

    criterion: tuple[Definition, ...] = Field(
        description="Criteria.", examples=[[{"id": "points_better", "parameters": {"points": 5}}]]
    )
    window: tuple[Definition, ...] = Field(description="Windows.", examples=[ONE_CHOICE])
    baseline: tuple[BaselineRule, ...] = Field(description="Baselines.", examples=[["last_on_or_before_day_0"]])
    analysis_set: tuple[AnalysisSet, ...] = Field(description="Sets of patients.", examples=[["efficacy", "safety"]])
    missing: tuple[Missing, ...] = Field(
        description="Rules for missing values.", examples=[["left_out", "non_responder"]]
    )


class DeclaredPlace(Result):
    """The position of the declared definition among all definitions that have a rate; each definition counts once."""

    rank: int | None = Field(description="Its row, counted from 1 in ascending order of the rate.", examples=[31])
    in_grid: bool | None = Field(
        description="Whether the grid has it; otherwise it was added to the grid.", examples=[True]
    )
    rate: Number | None = Field(description="Its rate.", examples=[0.933333333333])
    below: int | None = Field(description="Definitions with a lower rate.", examples=[310])
    equal: int | None = Field(description="Definitions with the same rate, itself included.", examples=[24])
    above: int | None = Field(description="Definitions with a higher rate.", examples=[50])
    percentile: Number | None = Field(
        description="Share of definitions with a lower rate, plus half of the share with the same rate.",
        examples=[0.838541666667],
    )
    reason: WhyNull = None


class ChoiceMade(Result):
    """The rows that have a choice: one line of marks below the curve."""

    dimension: str = Field(description="The dimension, a field of `choices`.", examples=["window"])
    choice: int = Field(description="The place of the choice in that field, from 0.", examples=[0])
    ranks: tuple[int, ...] = Field(description="The rows that have it, from 1.", examples=[[1, 2, 5]])


class CurvePicture(Result):
    """The data of a plot: the rates in ascending order with their limits, and below them the choices of each row.

    The lists have one entry for each row that has a rate, in the order of the rows.
    """

    rate: tuple[Number, ...] = Field(description="Rates.", examples=[[0.8, 0.933333333333]])
    low: tuple[Number | None, ...] = Field(description="Lower limits.", examples=[[0.51911, 0.680515433422]])
    high: tuple[Number | None, ...] = Field(description="Upper limits.", examples=[[0.95669, 0.998313569759]])
    specifications: tuple[int, ...] = Field(description="How many definitions share the row.", examples=[[4, 2]])
    declared: int | None = Field(
        description="The declared row, from 1; null where no declared row has a rate.", examples=[2]
    )
    choices: tuple[ChoiceMade, ...] = Field(description="The lines of marks.", examples=[[]])


class PatientRobustness(Contribution):
    """In how many definitions one patient responds."""

    evaluable_in: int = Field(description="Definitions that count the patient.", examples=[384])
    responded_in: int = Field(description="Definitions by which the patient responds.", examples=[360])


class MeasureCurve(Grouped):
    """All definitions of one measure and kind together."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    kind: Kind = Field(description="Response or remission.", examples=["response"])
    specifications: int = Field(description="How many definitions, an added declared one included.", examples=[384])
    distinct: int = Field(description="How many rows: definitions that differ in at least one patient.", examples=[97])
    minimum: Number | None = Field(description="Lowest rate.", examples=[0.4])
    median: Number | None = Field(description="Median of the rates of all definitions.", examples=[0.8])
    maximum: Number | None = Field(description="Highest rate.", examples=[1])
    reason: WhyNull = None
    declared: DeclaredPlace = Field(description="The position of the declared definition.")
    choices: GridChoices = Field(description="The choices of each dimension.")
    picture: CurvePicture = Field(description="The data of a plot.")
    patients: tuple[PatientRobustness, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class SpecificationCurve(Answer):
    """The rates of response and remission under every definition of the grid."""

    grid_declared: bool = Field(
        description="Whether the protocol declares the grid; otherwise it is the default grid.", examples=[False]
    )
    grid: SpecificationGrid = Field(description="The complete grid.")
    results: tuple[SpecificationRow, ...] = Field(
        description="The rows by measure and kind, in ascending order of the rate. Empty for a measure that is not in "
        "the grid.",
        examples=[[]],
    )
    curves: tuple[MeasureCurve, ...] = Field(
        description="One entry for each measure and kind (and subgroup).", examples=[[]]
    )


def specification_curve(context: Context) -> Findings:
    """The rate under every definition of the protocol's grid, or of the default grid."""
    rows: list[SpecificationRow] = []
    curves: list[MeasureCurve] = []
    excluded: list[Excluded] = []
    flags: list[Flag] = []
    grid = _grid(context)
    for measure_grid in _measure_grids(context):
        measure = measure_grid.measure
        if (rule := primary_rule(context.protocol, measure)) is not None:
            reasons = context.study.response(rule).reason
            excluded += context.excluded(reasons, measure, definition=Definition.of_rule(rule))
        flags += context.flags_of(measure)
        for table in _tables(context, SpecificationVerdicts(context.study, measure_grid, grid.look_back_days)):
            estimates = [_estimate(context, row) for row in table.rows]
            rows += _rows(context, measure, table, estimates)
            curves.append(_curve(context, measure, table, estimates))
    claims = [description(int(context.study.safety.sum()), "the rates under every definition")]
    return Findings({"results": rows, "curves": curves}, excluded, flags, claims=claims)


def _basis(whole: Context) -> Basis:
    best = ["best_of_many"] if any(_takes_the_best(grid) for grid in _measure_grids(whole)) else []
    caveats = ("definitions_are_ours", "many_definitions", "uncontrolled_pre_post", *best)
    declared = whole.protocol.specification_grid is not None
    return Basis(caveats, fields={"grid_declared": declared, "grid": _grid(whole)})


def _grid(context: Context) -> SpecificationGrid:
    return context.protocol.specification_grid or default_grid(context.protocol)


def _measure_grids(context: Context) -> list[MeasureGrid]:
    """The grids of all measures, or of the measure that the options give."""
    measure = context.options_as(CurveOptions).measure
    return [grid for grid in _grid(context).measures if measure in (None, grid.measure)]


def _tables(context: Context, verdicts: SpecificationVerdicts) -> Iterator[SpecificationTable]:
    """The table of response, then of remission if the grid has criteria of it; a protocol declares responses only."""
    rule = primary_rule(context.protocol, verdicts.grid.measure)
    yield specification_table(verdicts, "response", None if rule is None else specification_of(rule))
    if verdicts.grid.remissions:
        yield specification_table(verdicts, "remission", None)


def _estimate(context: Context, row: EqualDefinitions) -> Proportion:
    methods = (context.conventions.proportion,)
    return proportion(row.responders, row.evaluable, level=context.level, methods=methods)


def _rows(
    context: Context, measure: str, table: SpecificationTable, estimates: list[Proportion]
) -> Iterator[SpecificationRow]:
    for row, estimate in zip(table.rows, estimates, strict=True):
        first, *others = row.specifications
        yield SpecificationRow(
            group=context.group,
            measure=measure,
            kind=table.kind,
            criterion=_definition(first.criterion),
            window=_definition(first.window),
            baseline=first.baseline,
            analysis_set=first.analysis_set,
            missing=first.missing,
            declared=row.declared,
            responders=row.responders,
            evaluable=row.evaluable,
            rate=estimate.rate,
            reason=estimate.reason,
            interval=estimate.intervals[0],
            all_treated=_all_treated(context, row),
            specifications=len(row.specifications),
            same_as=tuple(table.indices(other) for other in others),
        )


def _all_treated(context: Context, row: EqualDefinitions) -> AllTreated:
    until = judged_days(row.specifications[0].window, context.protocol.visits)[1]
    return of_all_treated(context, row.verdicts.responder, ~row.verdicts.judged, until)


def _curve(context: Context, measure: str, table: SpecificationTable, estimates: list[Proportion]) -> MeasureCurve:
    rates = table.rates
    criteria, windows, baselines, sets, missing = table.choices
    return MeasureCurve(
        group=context.group,
        measure=measure,
        kind=table.kind,
        specifications=sum(len(row.specifications) for row in table.rows),
        distinct=len(table.rows),
        minimum=rates[0] if rates else None,
        median=quantile_of(rates, 0.5) if rates else None,
        maximum=rates[-1] if rates else None,
        reason=None if rates else Reason.NO_PATIENTS,
        declared=_place(table, rates),
        choices=GridChoices(
            criterion=tuple(_definition(criterion) for criterion in criteria),
            window=tuple(_definition(window) for window in windows),
            baseline=baselines,
            analysis_set=sets,
            missing=missing,
        ),
        picture=_picture(table, estimates),
        patients=_patients(context, table) if context.listed else None,
    )


def _place(table: SpecificationTable, rates: list[float]) -> DeclaredPlace:
    place = table.declared
    rate = None if place is None else table.rows[place].rate
    if place is None or rate is None:
        rank = None if place is None else place + 1
        reason = Reason.NOT_DECLARED if place is None else Reason.NO_PATIENTS
        nothing = dict.fromkeys(("rate", "below", "equal", "above", "percentile"))
        return DeclaredPlace(rank=rank, in_grid=table.in_grid, reason=reason, **nothing)
    below, equal = sum(other < rate for other in rates), rates.count(rate)
    return DeclaredPlace(
        rank=place + 1,
        in_grid=table.in_grid,
        rate=rate,
        below=below,
        equal=equal,
        above=len(rates) - below - equal,
        percentile=(below + equal / 2) / len(rates),
    )


def _picture(table: SpecificationTable, estimates: list[Proportion]) -> CurvePicture:
    with_rate = [estimate for estimate in estimates if estimate.rate is not None]
    intervals = [estimate.intervals[0] for estimate in with_rate]
    last, place = len(with_rate), table.declared
    marks = (
        ChoiceMade(dimension=dimension, choice=choice, ranks=tuple(i + 1 for i in places if i < last))
        for dimension, choice, places in table.used()
    )
    return CurvePicture(
        rate=tuple(estimate.rate for estimate in with_rate if estimate.rate is not None),
        low=tuple(interval.low for interval in intervals),
        high=tuple(interval.high for interval in intervals),
        specifications=tuple(len(row.specifications) for row in table.rows[:last]),
        declared=None if place is None or place >= last else place + 1,
        choices=tuple(marks),
    )


def _patients(context: Context, table: SpecificationTable) -> tuple[PatientRobustness, ...]:
    listed = zip(context.ids, table.counted.tolist(), table.responded.tolist(), strict=True)
    return tuple(
        PatientRobustness(patient=who, evaluable_in=n, responded_in=k) for who, n, k in listed if context.lists(who)
    )


def _definition(choice: Part) -> Definition:
    parameters = choice.model_dump(mode="json", exclude={"id"})
    return Definition(id=str(getattr(choice, "id")), parameters=parameters)  # noqa: B009


def _takes_the_best(grid: MeasureGrid) -> bool:
    return any(isinstance(window, DaysWindow) and window.value != "last" for window in grid.windows)


QUESTION = Question(
    "specification-curve",
    "What are the rates of response and remission under every definition of the grid?",
    SpecificationCurve,
    specification_curve,
    _basis,
    options_type=CurveOptions,
)
