"""What a question's rules give for the same patients, visits and draws if nothing happens to anybody.

Each patient keeps the values before treatment. The later values are drawn around a constant level, given the own
run-in (`constant_levels`). The derivations of the house are applied to many such cohorts at once. No conclusion is
drawn from the numbers: they stand beside the observed one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from app.analyses.answer import Context, Definition, Grouped, Options, TrueOrFalse
from app.derive.repeated_cohorts import LaterRows, RepeatedCohorts
from app.derive.study import DerivedStudy
from app.estimate.changes.constant_levels import ConstantLevels, LaterValues, LevelsGiven, constant_levels
from app.estimate.results import Number, Reason, Result, WhyNull, is_none
from app.protocol.model import Protocol
from app.timeline.cohort import Floats
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES, Direction

SIMULATIONS = 200
SEED = 20_161_208
"""The seed of the simulation. Its value is arbitrary, but fixed."""
SMALL = 2_000
"""The report simulates without being asked if the study has at most so many results and scores."""
ROWS_AT_ONCE = 1 << 17
"""The number of results and scores of the cohorts that are derived together."""
LARGEST_CK = 1e9


class NullOptions(Options):
    """The common options, and whether to simulate that nothing happens."""

    null: TrueOrFalse | None = Field(
        default=None,
        description="Also answer what the same rules give if nothing happens. Only the report does so by default, if "
        f"the study has at most {SMALL:,} results and scores.",
        examples=[True],
    )


class MeasureLevels(ConstantLevels):
    """The levels and errors of one measure that the values before treatment show."""

    measure: str = Field(description="The measure.", examples=["CK"])
    scale: str = Field(description="`ln` for ln(CK), `raw` for points.", examples=["ln"])
    bounds: int = Field(
        description="Of the values, CKs known as bounds only (`<x` counts as x/2, `>x` as x), and scores at an end of "
        "their scale.",
        examples=[0],
    )


class FigureWithoutEffect(Result):
    """One number of the answer, as simulated without any effect."""

    what: str = Field(
        description="`response_rate`, `change_of_change` (its mean, of the censored normal where a CK "
        "is a bound, in these data as in the simulated), `onset` (1 with an onset of improvement, else 0), "
        "`median_time_normal`, `ever_normal` (share of those abnormal at baseline) or `rmst_time_normal`.",
        examples=["response_rate"],
    )
    measure: str = Field(description="The measure.", examples=["CK"])
    definition: Definition | None = Field(default=None, exclude_if=is_none, description="The rule of a rate.")
    scale: str | None = Field(default=None, exclude_if=is_none, description="The scale of an onset.", examples=["ln"])
    observed: Number | None = Field(description="In these data.", examples=[1])
    simulations: int = Field(description="Simulated cohorts that have the number.", examples=[200])
    not_reached: int = Field(description="Further ones whose median is not reached.", examples=[0])
    mean: Number | None = Field(description="Their mean; null if a median is not reached.", examples=[0.42])
    monte_carlo_error: Number | None = Field(
        description="Standard error of that mean; null if all are equal.", examples=[0.009]
    )
    low: Number | None = Field(
        description="Lower limit of the central 95 %; null where it is not reached.", examples=[0.2]
    )
    high: Number | None = Field(description="Upper limit.", examples=[0.67])
    share_at_least_as_good: Number | None = Field(
        description="Share of these cohorts with a number at least as good as the observed one (an onset at least as "
        "early); a median that is not reached is the longest.",
        examples=[0],
    )
    share_error: Number | None = Field(
        description="sqrt(q (1 - q) / n) for that share, with q = (k + 1)/(n + 2), which is never 0.", examples=[0.005]
    )
    reason: WhyNull = None


class WithoutEffect(Grouped):
    """The same patients, visits and draws, if nothing happens: constant levels given the own run-in, AR(1) errors."""

    simulations: int = Field(description="Simulated cohorts.", examples=[SIMULATIONS])
    seed: int = Field(description="Seed of the generator (NumPy PCG64).", examples=[SEED])
    patients: int = Field(description="Treated patients.", examples=[16])
    run_in: tuple[MeasureLevels, ...] = Field(description="One entry for each measure.", examples=[[]])
    results: tuple[FigureWithoutEffect, ...] = Field(description="The numbers.", examples=[[]])


Simulated = Annotated[
    tuple[WithoutEffect, ...],
    Field(
        default=(),
        exclude_if=lambda entries: not entries,
        description="What the rules give if nothing happens, where `null=true`; one entry (for each subgroup).",
        examples=[[]],
    ),
]


@dataclass(frozen=True, slots=True, eq=False)
class Headline:
    """One number of an answer in each of several cohorts: NaN where a cohort has none, infinite if not reached.

    `goodness` is what decides whether one cohort is at least as good as another, if it is not the number itself.
    """

    what: str
    measure: str
    better: Direction
    values: Floats
    goodness: Floats | None = None
    definition: Definition | None = None
    scale: str | None = None
    reason: Reason = Reason.NO_PATIENTS

    @property
    def good(self) -> Floats:
        """The greater, the better."""
        if self.goodness is not None:
            return self.goodness
        return self.values if self.better == "higher" else -self.values


Headlines = Callable[[DerivedStudy, int], Sequence[Headline]]
"""The numbers of each of so many cohorts that were derived together, always in one order."""


def is_small(study: DerivedStudy) -> bool:
    """Whether the report simulates without being asked."""
    return len(study.cohort.labs) + len(study.cohort.assessments) <= SMALL


def without_effect(context: Context, measures: Sequence[str], headlines: Headlines) -> list[WithoutEffect]:
    """What the rules give if nothing happens, where it was asked for."""
    if not context.options_as(NullOptions).null:
        return []
    study = context.study
    found = {measure: _levels(study, measure) for measure in dict.fromkeys(measures)}
    given = {measure: levels for measure, (_, levels) in found.items() if levels is not None}
    observed, simulated = headlines(study, 1), _simulated(study, given, headlines)
    return [
        WithoutEffect(
            group=context.group,
            simulations=SIMULATIONS if given else 0,
            seed=SEED,
            patients=int(study.safety.sum()),
            run_in=tuple(described for described, _ in found.values()),
            results=tuple(
                _figure(one, simulated.get(place), found[one.measure][0].reason) for place, one in enumerate(observed)
            ),
        )
    ]


def _levels(study: DerivedStudy, measure: str) -> tuple[MeasureLevels, LevelsGiven | None]:
    records, values = study.analysis_values(measure), study.run_in_of(measure)
    rows = values.row
    bounds = records.comparator[rows] != 0
    if measure != "CK":
        scale = study.protocol.scale(measure)
        bounds = bounds | (values.value <= scale.minimum) | (values.value >= scale.maximum)
    bounded = int(bounds.sum())
    described, given = constant_levels(values.patient, records.day[rows], values.value, records.size, bounded=bounded)
    fields = {name: getattr(described, name) for name in type(described).model_fields}
    return MeasureLevels(**fields, measure=measure, scale="ln" if measure == "CK" else "raw", bounds=bounded), given


def _simulated(
    study: DerivedStudy, given: Mapping[str, LevelsGiven], headlines: Headlines
) -> dict[int, tuple[Floats, Floats]]:
    """The numbers of every headline whose measure is simulated, by its place, and how good they are."""
    if not given:
        return {}
    cohorts = RepeatedCohorts.of(study)
    together = max(1, ROWS_AT_ONCE // max(1, cohorts.rows))
    later = {measure: cohorts.later_rows(measure) for measure in given}
    drawing = {measure: LaterValues.of(given[measure], rows.patient, rows.day) for measure, rows in later.items()}
    parts: dict[int, list[tuple[Floats, Floats]]] = {}
    for first in range(0, SIMULATIONS, together):
        numbers = range(first, min(first + together, SIMULATIONS))
        values = {
            measure: (rows, _drawn(study.protocol, measure, drawing[measure], rows, numbers))
            for measure, rows in later.items()
        }
        repeated = cohorts.repeated(len(numbers), values)
        for place, headline in enumerate(headlines(repeated, len(numbers))):
            if headline.measure in given:
                parts.setdefault(place, []).append((headline.values, headline.good))
    return {
        place: (np.concatenate([values for values, _ in each]), np.concatenate([good for _, good in each]))
        for place, each in parts.items()
    }


def _drawn(protocol: Protocol, measure: str, later: LaterValues, rows: LaterRows, numbers: range) -> Floats:
    """The later values of a measure in the simulated cohorts with these numbers, rounded as the sent ones.

    The numbers of a cohort depend on nothing but the seed, the measure and the number of the cohort, so that all
    questions see the same cohorts.
    """
    codes: list[str] = [*LAB_CODES, *ASSESSMENT_CODES]
    drawn = later.drawn([[SEED, codes.index(measure), number] for number in numbers])
    if measure == "CK":
        least = 10.0**-rows.decimals
        return np.maximum(np.round(np.exp(np.minimum(drawn, math.log(LARGEST_CK))), rows.decimals), least)
    scale = protocol.scale(measure)
    return np.clip(np.round(drawn, rows.decimals), scale.minimum, scale.maximum)


def _figure(one: Headline, simulated: tuple[Floats, Floats] | None, reason: Reason | None) -> FigureWithoutEffect:
    value, own = float(one.values[0]), float(one.good[0])
    values, good = (np.zeros(0), np.zeros(0)) if simulated is None else simulated
    has = ~np.isnan(values)
    values, good = values[has], good[has]
    finite = values[np.isfinite(values)]
    mean = error = low = high = share = share_error = None
    if not len(values):
        reason = reason or Reason.NOT_SIMULATED
    else:
        low, high = (_finite(float(x)) for x in np.quantile(values, [0.025, 0.975], method="inverted_cdf"))
        if len(finite) == len(values):
            mean = math.fsum(values.tolist()) / len(values)
            error = float(values.std(ddof=1)) / math.sqrt(len(values)) if values.min() < values.max() else None
        else:
            reason = Reason.NOT_REACHED
    if len(values) and not math.isnan(value):
        k, n = int((good >= own).sum()), len(values)
        q = (k + 1) / (n + 2)
        share, share_error = k / n, math.sqrt(q * (1 - q) / n)
        reason = Reason.NOT_REACHED if math.isinf(value) else reason
    elif math.isnan(value):
        reason = reason if simulated is None else one.reason
    return FigureWithoutEffect(
        what=one.what,
        measure=one.measure,
        definition=one.definition,
        scale=one.scale,
        observed=_finite(value),
        simulations=len(finite),
        not_reached=len(values) - len(finite),
        mean=mean,
        monte_carlo_error=error,
        low=low,
        high=high,
        share_at_least_as_good=share,
        share_error=share_error,
        reason=reason,
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
