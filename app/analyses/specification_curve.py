"""The rate of response and of remission under every definition of the grid, the declared one marked."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

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
    Flag,
    Grouped,
    Options,
    Question,
    not_listed,
)
from app.derive.specifications import SpecificationVerdicts, Verdicts
from app.estimate.arithmetic import quantile_of
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Proportion, Reason, Result, WhyNull
from app.protocol.parts import Part
from app.protocol.specification import (
    AnalysisSet,
    BaselineRule,
    Criterion,
    DaysWindow,
    Kind,
    MeasureGrid,
    Missing,
    Specification,
    SpecificationGrid,
    Window,
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
class Alike:
    """Definitions that count the same patients and say the same of each: one row of the table."""

    responders: int
    evaluable: int
    declared: bool = False
    specifications: list[Specification] = field(default_factory=list)

    @property
    def rate(self) -> float | None:
        """responders / evaluable."""
        return self.responders / self.evaluable if self.evaluable else None

    def join(self, specification: Specification, *, declared: bool) -> None:
        """One more definition; the declared one stands for all."""
        self.specifications.insert(0 if declared else len(self.specifications), specification)
        self.declared |= declared


@dataclass(frozen=True, slots=True, eq=False)
class SpecificationTable:
    """The rows in ascending order of their rate, those without a rate last, and the choices that they are made of.

    `counted` and `responded` say in how many definitions each patient is counted and responds. `in_grid` tells whether
    the grid itself holds the declared definition, and is None where none is declared.
    """

    kind: Kind
    rows: tuple[Alike, ...]
    choices: Choices
    in_grid: bool | None
    counted: Ints
    responded: Ints

    @property
    def rates(self) -> list[float]:
        """The rate of every definition that has one, ascending; as often as there are definitions with it."""
        return [row.rate for row in self.rows if row.rate is not None for _ in row.specifications]

    @property
    def declared(self) -> int | None:
        """The place of the declared row."""
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
        """Each dimension and choice with the places of the rows in which some definition makes it."""
        found: dict[tuple[int, int], list[int]] = {}
        for place, row in enumerate(self.rows):
            made = {pair for each in row.specifications for pair in enumerate(self.indices(each))}
            for pair in sorted(made):
                found.setdefault(pair, []).append(place)
        yield from ((DIMENSIONS[of], choice, found[of, choice]) for of, choice in sorted(found))


def specification_table(
    verdicts: SpecificationVerdicts, kind: Kind, declared: Specification | None
) -> SpecificationTable:
    """Every definition of one kind; a declared one that the grid does not hold is added to it.

    Definitions are one where they count the same patients and call the same ones responders. Rows of equal rate stand
    in the order in which the grid first makes them.
    """
    found: dict[bytes, Alike] = {}
    size = len(verdicts.study.cohort)
    counted, responded = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for specification, verdict in _all(verdicts, kind, declared):
        key = hashlib.sha256(np.packbits([verdict.evaluable, verdict.responder]).tobytes()).digest()
        k, n = int(verdict.responder.sum()), int(verdict.evaluable.sum())
        is_declared = specification == declared
        found.setdefault(key, Alike(k, n)).join(specification, declared=is_declared)
        counted += verdict.evaluable
        responded += verdict.responder
    in_grid = declared in set(verdicts.grid.specifications(kind))
    rows = sorted(found.values(), key=lambda row: (row.rate is None, row.rate or 0.0))
    choices = _choices(verdicts.grid, kind, None if in_grid else declared)
    return SpecificationTable(kind, tuple(rows), choices, None if declared is None else in_grid, counted, responded)


def _all(
    verdicts: SpecificationVerdicts, kind: Kind, declared: Specification | None
) -> Iterator[tuple[Specification, Verdicts]]:
    missed = declared is not None
    for specification, verdict in verdicts.each(kind):
        missed &= specification != declared
        yield specification, verdict
    if missed and declared is not None:
        yield declared, verdicts.verdicts(declared)


def _choices(grid: MeasureGrid, kind: Kind, added: Specification | None) -> Choices:
    of_grid = Choices(grid.criteria(kind), grid.windows, grid.baselines, grid.analysis_sets, grid.missing)
    if added is None:
        return of_grid
    return Choices(
        _with(added.criterion, of_grid.criterion),
        _with(added.window, of_grid.window),
        _with(added.baseline, of_grid.baseline),
        _with(added.analysis_set, of_grid.analysis_set),
        _with(added.missing, of_grid.missing),
    )


def _with(own: Choice, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    return choices if own in choices else (*choices, own)


class CurveOptions(Options):
    """The common options, and which measure is asked about."""

    measure: Literal["CK", AssessmentCode] | None = Field(
        default=None, description="Answer for this measure of the grid only.", examples=["MMT"]
    )


class SpecificationRow(Grouped):
    """One definition, or several that count the same patients and say the same of each of them."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    kind: Kind = Field(description="What the criterion calls it.", examples=["response"])
    criterion: Definition = Field(description="The threshold of response or the criterion of remission.")
    window: Definition = Field(description="Which value is judged.")
    baseline: BaselineRule = Field(
        description="What stands for the time before treatment.", examples=["last_on_or_before_day_0"]
    )
    analysis_set: AnalysisSet = Field(description="Whose rate it is.", examples=["efficacy"])
    missing: Missing = Field(
        description="What becomes of patients of the set who cannot be judged.", examples=["left_out"]
    )
    declared: bool = Field(description="Whether this is the pre-declared main rule of the measure.", examples=[True])
    responders: int = Field(description="Patients who satisfy the criterion.", examples=[14])
    evaluable: int = Field(description="Patients counted.", examples=[15])
    rate: Number | None = Field(description="responders / evaluable, a fraction.", examples=[0.933333333333])
    reason: WhyNull = None
    interval: Interval = Field(description="Interval of the rate by the proportion convention.")
    specifications: int = Field(description="How many definitions of the grid this row stands for.", examples=[2])
    same_as: tuple[tuple[int, int, int, int, int], ...] = Field(
        description="The other definitions of the row: criterion, window, baseline, analysis set and missing, each by "
        "its place (from 0) in the `choices` of the curve of this measure and kind.",
        examples=[[[0, 0, 0, 1, 0]]],
    )


class GridChoices(Result):
    """The choices of each dimension, in the order of the grid; a declared one that it lacks stands at the end."""

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
    """Where the declared definition lies among all definitions that have a rate; those of equal rows count each."""

    rank: int | None = Field(description="Its row, counted from 1 in ascending order of the rate.", examples=[31])
    in_grid: bool | None = Field(
        description="Whether the grid holds it; otherwise it was added to the grid.", examples=[True]
    )
    rate: Number | None = Field(description="Its rate.", examples=[0.933333333333])
    below: int | None = Field(description="Definitions with a lower rate.", examples=[310])
    equal: int | None = Field(description="Definitions with its rate, itself among them.", examples=[24])
    above: int | None = Field(description="Definitions with a higher rate.", examples=[50])
    percentile: Number | None = Field(
        description="Share of definitions with a lower rate, and half of those with its own.", examples=[0.838541666667]
    )
    reason: WhyNull = None


class ChoiceMade(Result):
    """In which rows a choice is made: one line of marks below the curve."""

    dimension: str = Field(description="A field of `choices`.", examples=["window"])
    choice: int = Field(description="Place of the choice in it, from 0.", examples=[0])
    ranks: tuple[int, ...] = Field(description="Rows in which it is made, from 1.", examples=[[1, 2, 5]])


class CurvePicture(Result):
    """One figure: the rates in ascending order with their limits, and below them which choices each is made of.

    The lists have one entry for each row that has a rate, in its order.
    """

    rate: tuple[Number, ...] = Field(description="Rates.", examples=[[0.8, 0.933333333333]])
    low: tuple[Number | None, ...] = Field(description="Lower limits.", examples=[[0.51911, 0.680515433422]])
    high: tuple[Number | None, ...] = Field(description="Upper limits.", examples=[[0.95669, 0.998313569759]])
    specifications: tuple[int, ...] = Field(description="Definitions that a row stands for.", examples=[[4, 2]])
    declared: int | None = Field(description="The declared row, from 1; null where none has a rate.", examples=[2])
    choices: tuple[ChoiceMade, ...] = Field(description="The lines of marks.", examples=[[]])


class PatientRobustness(Contribution):
    """How robustly one patient responds."""

    evaluable_in: int = Field(description="Definitions that count the patient.", examples=[384])
    responded_in: int = Field(description="Definitions by which the patient responds.", examples=[360])


class MeasureCurve(Grouped):
    """All definitions of one measure and kind together."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    kind: Kind = Field(description="Response or remission.", examples=["response"])
    specifications: int = Field(description="Definitions, a declared one that was added among them.", examples=[384])
    distinct: int = Field(description="Rows: definitions that differ for some patient.", examples=[97])
    minimum: Number | None = Field(description="Lowest rate.", examples=[0.4])
    median: Number | None = Field(description="Median of the rates of all definitions.", examples=[0.8])
    maximum: Number | None = Field(description="Highest rate.", examples=[1])
    reason: WhyNull = None
    declared: DeclaredPlace = Field(description="Where the declared definition lies.")
    choices: GridChoices = Field(description="What the definitions are made of.")
    picture: CurvePicture = Field(description="The data of one figure.")
    patients: tuple[PatientRobustness, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class SpecificationCurve(Answer):
    """Response and remission under every definition of the grid."""

    grid_declared: bool = Field(
        description="Whether the protocol declares the grid; otherwise it is the default one.", examples=[False]
    )
    grid: SpecificationGrid = Field(description="The grid, in full.")
    results: tuple[SpecificationRow, ...] = Field(
        description="The table: by measure and kind, in ascending order of the rate. Empty for a measure that the grid "
        "does not name.",
        examples=[[]],
    )
    curves: tuple[MeasureCurve, ...] = Field(description="One entry a measure and kind (and subgroup).", examples=[[]])


def specification_curve(context: Context) -> Findings:
    """Every definition of the protocol's grid, or of the default one."""
    rows: list[SpecificationRow] = []
    curves: list[MeasureCurve] = []
    excluded: list[Excluded] = []
    flags: list[Flag] = []
    grid = _grid(context)
    for own in _asked(context):
        if (rule := primary_rule(context.protocol, own.measure)) is not None:
            reasons = context.study.response(rule).reason
            excluded += context.excluded(reasons, own.measure, definition=Definition.of_rule(rule))
        flags += context.flags_of(own.measure)
        for made in _tables(context, SpecificationVerdicts(context.study, own, grid.look_back_days)):
            estimates = [_estimate(context, row) for row in made.rows]
            rows += _rows(context, own.measure, made, estimates)
            curves.append(_curve(context, own.measure, made, estimates))
    return Findings({"results": rows, "curves": curves}, excluded, flags)


def _basis(whole: Context) -> Basis:
    best = ["best_of_many"] if any(_takes_the_best(own) for own in _asked(whole)) else []
    caveats = ("definitions_are_ours", "many_definitions", "uncontrolled_pre_post", *best)
    declared = whole.protocol.specification_grid is not None
    return Basis(caveats, fields={"grid_declared": declared, "grid": _grid(whole)})


def _grid(context: Context) -> SpecificationGrid:
    return context.protocol.specification_grid or default_grid(context.protocol)


def _asked(context: Context) -> list[MeasureGrid]:
    """The grids of the measures that are asked about."""
    measure = context.options_as(CurveOptions).measure
    return [own for own in _grid(context).measures if measure in (None, own.measure)]


def _tables(context: Context, verdicts: SpecificationVerdicts) -> Iterator[SpecificationTable]:
    """The table of responses, then that of remissions where the grid has any; only a response is declared."""
    rule = primary_rule(context.protocol, verdicts.grid.measure)
    yield specification_table(verdicts, "response", None if rule is None else specification_of(rule))
    if verdicts.grid.remissions:
        yield specification_table(verdicts, "remission", None)


def _estimate(context: Context, row: Alike) -> Proportion:
    methods = (context.conventions.proportion,)
    return proportion(row.responders, row.evaluable, level=context.level, methods=methods)


def _rows(
    context: Context, measure: str, made: SpecificationTable, estimates: list[Proportion]
) -> Iterator[SpecificationRow]:
    for row, estimate in zip(made.rows, estimates, strict=True):
        shown, *others = row.specifications
        yield SpecificationRow(
            group=context.group,
            measure=measure,
            kind=made.kind,
            criterion=_definition(shown.criterion),
            window=_definition(shown.window),
            baseline=shown.baseline,
            analysis_set=shown.analysis_set,
            missing=shown.missing,
            declared=row.declared,
            responders=row.responders,
            evaluable=row.evaluable,
            rate=estimate.rate,
            reason=estimate.reason,
            interval=estimate.intervals[0],
            specifications=len(row.specifications),
            same_as=tuple(made.indices(each) for each in others),
        )


def _curve(context: Context, measure: str, made: SpecificationTable, estimates: list[Proportion]) -> MeasureCurve:
    rates = made.rates
    criteria, windows, baselines, sets, missing = made.choices
    return MeasureCurve(
        group=context.group,
        measure=measure,
        kind=made.kind,
        specifications=sum(len(row.specifications) for row in made.rows),
        distinct=len(made.rows),
        minimum=rates[0] if rates else None,
        median=quantile_of(rates, 0.5) if rates else None,
        maximum=rates[-1] if rates else None,
        reason=None if rates else Reason.NO_PATIENTS,
        declared=_place(made, rates),
        choices=GridChoices(
            criterion=tuple(_definition(each) for each in criteria),
            window=tuple(_definition(each) for each in windows),
            baseline=baselines,
            analysis_set=sets,
            missing=missing,
        ),
        picture=_picture(made, estimates),
        patients=_patients(context, made) if context.listed else None,
    )


def _place(made: SpecificationTable, rates: list[float]) -> DeclaredPlace:
    place = made.declared
    rate = None if place is None else made.rows[place].rate
    if place is None or rate is None:
        rank = None if place is None else place + 1
        reason = Reason.NOT_DECLARED if place is None else Reason.NO_PATIENTS
        nothing = dict.fromkeys(("rate", "below", "equal", "above", "percentile"))
        return DeclaredPlace(rank=rank, in_grid=made.in_grid, reason=reason, **nothing)
    below, equal = sum(each < rate for each in rates), rates.count(rate)
    return DeclaredPlace(
        rank=place + 1,
        in_grid=made.in_grid,
        rate=rate,
        below=below,
        equal=equal,
        above=len(rates) - below - equal,
        percentile=(below + equal / 2) / len(rates),
    )


def _picture(made: SpecificationTable, estimates: list[Proportion]) -> CurvePicture:
    with_rate = [each for each in estimates if each.rate is not None]
    limits = [each.intervals[0] for each in with_rate]
    last, place = len(with_rate), made.declared
    marks = ((of, choice, [i + 1 for i in places if i < last]) for of, choice, places in made.used())
    return CurvePicture(
        rate=tuple(each.rate for each in with_rate if each.rate is not None),
        low=tuple(each.low for each in limits),
        high=tuple(each.high for each in limits),
        specifications=tuple(len(row.specifications) for row in made.rows[:last]),
        declared=None if place is None or place >= last else place + 1,
        choices=tuple(ChoiceMade(dimension=of, choice=choice, ranks=tuple(ranks)) for of, choice, ranks in marks),
    )


def _patients(context: Context, made: SpecificationTable) -> tuple[PatientRobustness, ...]:
    listed = zip(context.ids, made.counted.tolist(), made.responded.tolist(), strict=True)
    return tuple(PatientRobustness(patient=who, evaluable_in=n, responded_in=k) for who, n, k in listed)


def _definition(choice: Part) -> Definition:
    parameters = choice.model_dump(mode="json", exclude={"id"})
    return Definition(id=str(getattr(choice, "id")), parameters=parameters)  # noqa: B009


def _takes_the_best(grid: MeasureGrid) -> bool:
    return any(isinstance(window, DaysWindow) and window.value == "best" for window in grid.windows)


QUESTION = Question(
    "specification-curve",
    "What are the rates of response and remission under every definition of the grid?",
    SpecificationCurve,
    specification_curve,
    _basis,
    options_type=CurveOptions,
)
