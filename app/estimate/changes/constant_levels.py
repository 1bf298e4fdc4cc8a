"""Constant levels with correlated errors: what the values before treatment tell of patients in whom nothing happens.

Let a value be y = mu + a + e. The patient's own level a is normal with variance g s^2. The errors e have variance s^2,
and two errors of one patient that lie t days apart correlate as c^t (AR(1) in continuous time, R `corCAR1`). g, s, c
and mu are estimated by restricted maximum likelihood (REML), as R `nlme::lme(random = ~1 | patient, correlation =
corCAR1(form = ~day | patient))`. The errors are a Markov chain. So three sums for each patient are enough, and the
later values depend on the run-in through the level and the last error only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.estimate.results import Number, Reason, Result, WhyNull

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FEWEST_REPEATED = 5
"""Fewer patients with two values tell too little of the size of errors."""
MOST_BOUNDED = 0.1
"""The greatest share of values that may be bounds, or at an end of their scale."""
STRONGEST = 0.95
"""The greatest correlation of two values that lie as far apart as neighbours usually do. With more, an error could not
be told from a level.
"""
_RATIOS = (-12.0, 12.0)
"""ln g is searched between these."""


class ConstantLevels(Result):
    """The levels and errors that the values before treatment show."""

    patients: int = Field(description="Patients with a value before treatment.", examples=[16])
    repeated: int = Field(description="Of these, patients with two or more.", examples=[16])
    values: int = Field(description="Values before treatment.", examples=[80])
    mean: Number | None = Field(description="Mean of the levels.", examples=[7.2])
    sd_between: Number | None = Field(description="Deviation of the levels.", examples=[0.6])
    sd_within: Number | None = Field(description="Deviation of the errors.", examples=[0.1])
    correlation: Number | None = Field(
        description="Of two errors of a patient 7 days apart. Null, and taken as 0, if fewer than five patients have "
        "three values.",
        examples=[0.2],
    )
    reason: WhyNull = None


@dataclass(frozen=True, slots=True)
class LevelsGiven:
    """The levels of the patients, given their run-in: normal with this mean and deviation for each patient.

    `last` is the last value of the run-in and `last_day` its day; NaN and 0 for a patient without a value.
    `sd_within` and `per_day` are the deviation of the errors and their correlation from one day to the next.
    """

    mean: Floats
    deviation: Floats
    last: Floats
    last_day: Ints
    sd_within: float
    per_day: float


@dataclass(frozen=True, slots=True)
class _RunInSums:
    """For each patient with R, the correlations of the errors: 1'R^-1 1, 1'R^-1 y and y'R^-1 y, and ln |R| of all."""

    ones: Floats
    mixed: Floats
    squares: Floats
    determinant: float
    values: int

    def fit(self, ratio: float) -> tuple[float, float, float]:
        """-2 ln of the restricted likelihood (but for a constant), the mean and the variance of the errors."""
        shrunk = 1 + ratio * self.ones
        weight = float((self.ones / shrunk).sum())
        mean = float((self.mixed / shrunk).sum()) / weight
        rest = self.mixed - mean * self.ones
        left = self.squares - 2 * mean * self.mixed + mean**2 * self.ones - ratio * rest**2 / shrunk
        variance = max(float(left.sum()), 1e-300) / (self.values - 1)
        criterion = (self.values - 1) * np.log(variance) + self.determinant + np.log(shrunk).sum() + np.log(weight)
        return float(criterion), mean, variance

    def best(self) -> tuple[float, float]:
        """The least criterion over all g, and that g. Its logarithm has four decimals, because a search ends a little
        elsewhere on other machines.
        """
        from scipy.optimize import minimize_scalar

        found = minimize_scalar(
            lambda log: self.fit(float(np.exp(log)))[0], bounds=_RATIOS, method="bounded", options={"xatol": 1e-6}
        )
        return min((self.fit(ratio)[0], ratio) for ratio in (0.0, float(np.exp(round(found.x, 4)))))


def constant_levels(
    patient: Ints, day: Ints, value: Floats, size: int, *, bounded: int = 0
) -> tuple[ConstantLevels, LevelsGiven | None]:
    """The model of the run-in values, and the levels of the `size` patients given their own values.

    The values are sorted by patient and day, at most one a day; `bounded` of them are known as bounds only. Without
    enough values all estimates are null, and there are no levels. The correlation needs patients with three values: two
    values cannot tell a correlated error from a level. Errors are then taken as independent, which gives the best of
    several later values the widest range.
    """
    counts = np.bincount(patient, minlength=size)
    repeated = int((counts >= 2).sum())
    reason = None
    if not len(value):
        reason = Reason.NO_PATIENTS
    elif repeated < FEWEST_REPEATED:
        reason = Reason.TOO_FEW_RUN_IN
    elif bounded > MOST_BOUNDED * len(value):
        reason = Reason.BOUNDED_RUN_IN
    elif bool(np.all(value[1:][patient[1:] == patient[:-1]] == value[:-1][patient[1:] == patient[:-1]])):
        reason = Reason.NO_ERROR_SEEN
    if reason is not None:
        return _described(counts, None, 0.0, 0.0, None, reason), None
    centre = float(value.mean())
    correlated = int((counts >= 3).sum()) >= FEWEST_REPEATED
    per_day = _correlation(patient, day, value - centre, size) if correlated else 0.0
    sums = _run_in_sums(patient, day, value - centre, size, per_day)
    _, ratio = sums.best()
    _, mean, variance = sums.fit(ratio)
    shrunk = 1 + ratio * sums.ones
    last = np.full(size, np.nan)
    last_day = np.zeros(size, dtype=np.int64)
    last[patient], last_day[patient] = value, day
    given = LevelsGiven(
        mean=centre + (mean + ratio * sums.mixed) / shrunk,
        deviation=np.sqrt(ratio * variance / shrunk),
        last=last,
        last_day=last_day,
        sd_within=float(np.sqrt(variance)),
        per_day=per_day,
    )
    correlation = per_day**7 if correlated else None
    return _described(counts, centre + mean, ratio * variance, variance, correlation, None), given


@dataclass(frozen=True, slots=True, eq=False)
class LaterValues:
    """What draws values of later days of patients in whom nothing happens.

    For each later value: its patient, how much is kept of the error before it, and the deviation of what is new.
    `steps` are the first values of all patients, then the second values, and so on.
    """

    given: LevelsGiven
    patient: Ints
    kept: Floats
    new: Floats
    steps: tuple[Ints, ...]

    @classmethod
    def of(cls, given: LevelsGiven, patient: Ints, day: Ints) -> "LaterValues":
        """`patient` and `day` are sorted by patient and day, after the run-in; two values of one day are equal."""
        rows = np.arange(len(day))
        first = np.ones(len(day), dtype=np.bool_)
        first[1:] = patient[1:] != patient[:-1]
        before = np.empty(len(day), dtype=np.int64)
        before[1:] = day[:-1]
        before[first] = given.last_day[patient[first]]
        kept = np.float64(given.per_day) ** (day - before)
        kept[first & np.isnan(given.last[patient])] = 0.0
        place = rows - np.maximum.accumulate(np.where(first, rows, 0))
        order = np.argsort(place, kind="stable")
        steps = np.split(order, np.flatnonzero(np.diff(place[order])) + 1) if len(day) else []
        return cls(given, patient, kept, given.sd_within * np.sqrt(1 - kept**2), tuple(steps))

    def drawn(self, seeds: Sequence[Sequence[int]]) -> Floats:
        """One row of values for each seed.

        Each patient's level is drawn given the own run-in. The first error follows from the last error of the run-in,
        each further error from the one before.
        """
        given, size = self.given, len(self.given.mean)
        draws = np.stack([np.random.default_rng(seed).standard_normal(size + len(self.patient)) for seed in seeds]).T
        # One dimension for one cohort: rows of a single number are slow to pick.
        draws = draws if len(seeds) > 1 else draws.ravel()
        mean, deviation, last, new, kept = (
            each[:, None] if len(seeds) > 1 else each
            for each in (given.mean, given.deviation, given.last, self.new, self.kept)
        )
        levels = mean + deviation * draws[:size]
        errors = np.ascontiguousarray(draws[size:]) * new
        for place, step in enumerate(self.steps):
            before = errors[step - 1] if place else np.nan_to_num(last - levels)[self.patient[step]]
            errors[step] += kept[step] * before
        values: Floats = errors + levels[self.patient]
        return values.T.reshape(len(seeds), -1)


def _described(
    counts: Ints, mean: float | None, between: float, within: float, correlation: float | None, reason: Reason | None
) -> ConstantLevels:
    return ConstantLevels(
        patients=int((counts > 0).sum()),
        repeated=int((counts >= 2).sum()),
        values=int(counts.sum()),
        mean=mean,
        sd_between=None if reason else float(np.sqrt(between)),
        sd_within=None if reason else float(np.sqrt(within)),
        correlation=correlation,
        reason=reason,
    )


def _run_in_sums(patient: Ints, day: Ints, value: Floats, size: int, per_day: float) -> _RunInSums:
    """The sums by the factors of a Markov chain: each value against the one before it."""
    again = np.zeros(len(value), dtype=np.bool_)
    again[1:] = patient[1:] == patient[:-1]
    kept = np.zeros(len(value))
    kept[again] = np.float64(per_day) ** np.diff(day)[again[1:]]
    step = value.copy()
    step[again] -= kept[again] * value[:-1][again[1:]]
    terms = ((1 - kept) / (1 + kept), step / (1 + kept), step**2 / (1 - kept**2))
    sums = [np.bincount(patient, term, size).astype(np.float64) for term in terms]
    return _RunInSums(
        ones=sums[0],
        mixed=sums[1],
        squares=sums[2],
        determinant=float(np.log1p(-(kept**2)).sum()),
        values=len(value),
    )


def _correlation(patient: Ints, day: Ints, value: Floats, size: int) -> float:
    """The correlation of errors from one day to the next by REML: the best of a grid, then refined."""
    from scipy.optimize import minimize_scalar

    gaps = np.diff(day)[patient[1:] == patient[:-1]]
    usual = float(np.median(gaps))

    def criterion(correlation: float) -> float:
        return _run_in_sums(patient, day, value, size, correlation ** (1 / usual)).best()[0]

    grid = np.linspace(0, STRONGEST, 12).tolist()
    place = int(np.argmin([criterion(each) for each in grid]))
    around = grid[max(0, place - 1)], grid[min(len(grid) - 1, place + 1)]
    found = minimize_scalar(criterion, bounds=around, method="bounded", options={"xatol": 1e-6})
    best = min((criterion(each), each) for each in (float(found.x), grid[place]))[1]
    return float(round(best, 4) ** (1 / usual))
