"""Regression to the mean: the change without treatment of a group that was selected by its values before treatment.

Let a value be y = mu + a + e, with the patient's own level a and the error e of one day. The intraclass correlation
(ICC) is the share of a in the variance. A patient with y0 today has on average mu + ICC (y0 - mu) on another day. So
the expected change without any effect is (1 - ICC)(mu - y0) (Galton 1886; Barnett, van der Pols and Dobson 2005, Int J
Epidemiol 34:215).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from app.estimate.arithmetic import check_level
from app.estimate.results import Interval, Number, Reason, Result, WhyNull

SEED = 20_161_208
"""The seed of the resampling. Its value is arbitrary, but fixed."""
RESAMPLES = 2000
DRAWS = 20_000_000
"""The largest number of patients drawn in all resamples: with more than 10,000 patients there are fewer resamples, at
least 200.
"""
FEWEST = 0.9
"""The share of the resamples that must have an estimate; else there is no interval."""

PopulationMean = Literal["before_baseline", "all_run_in"]


class IntraclassCorrelation(Result):
    """The share of the variance of single values that lies between patients."""

    value: Number | None = Field(description="ICC(1,1), between 0 and 1.", examples=[0.87])
    patients: int = Field(description="Patients with a value before treatment.", examples=[15])
    repeated: int = Field(description="Of these, patients with two or more.", examples=[15])
    values: int = Field(description="Values before treatment.", examples=[75])
    mean_square_between: Number | None = Field(description="Mean square between patients.", examples=[4.1])
    mean_square_within: Number | None = Field(description="Mean square within patients.", examples=[0.04])
    truncated: bool = Field(
        description="Whether the estimate was negative (values of one patient differ more than patients do) and set "
        "to 0.",
        examples=[False],
    )
    reason: WhyNull = None


class ExpectedChange(Result):
    """The mean change that is expected without any effect, and the observed change minus it."""

    population_mean_of: PopulationMean = Field(
        description="Which values give the mean that patients fall back to, each patient counted once: those "
        "`before_baseline`, or `all_run_in` values with the baseline among them.",
        examples=["before_baseline"],
    )
    population_mean: Number | None = Field(description="That mean.", examples=[7.3])
    expected: Number | None = Field(description="(1 - ICC)(population mean - mean baseline).", examples=[-0.02])
    remainder: Number | None = Field(description="Observed minus expected.", examples=[-1.48])
    share: Number | None = Field(description="Expected over observed, a fraction.", examples=[0.013])
    intervals: tuple[Interval, ...] = Field(
        description="Of the expected change and of the remainder, from resampled patients.", examples=[[]]
    )
    reason: WhyNull = None


class Bootstrap(Result):
    """How the patients were resampled."""

    seed: int = Field(description="Seed of the generator (NumPy PCG64).", examples=[SEED])
    resamples: int = Field(description="Times that all patients were drawn, with replacement.", examples=[RESAMPLES])
    undefined: int = Field(description="Of these, resamples without an ICC or a change; left out.", examples=[0])


class RegressionToTheMean(Result):
    """The expected change and the observed change."""

    n: int = Field(description="Patients with a baseline and a change.", examples=[15])
    icc: IntraclassCorrelation = Field(description="Intraclass correlation of the values before treatment.")
    baseline_mean: Number | None = Field(description="Mean baseline of these patients.", examples=[7.4])
    observed: Number | None = Field(description="Their mean change.", examples=[-1.505718253316])
    estimates: tuple[ExpectedChange, ...] = Field(description="One for each population mean.", examples=[[]])
    bootstrap: Bootstrap = Field(description="How the intervals were made.")
    reason: WhyNull = None


@dataclass(frozen=True)
class _Sums:
    """Sums over (resampled) patients of the columns of `_columns`."""

    patients: float
    repeated: float
    values: float
    squared_counts: float
    shifted: float
    shifted_squares: float
    within: float
    own_means: float
    earlier: float
    earlier_means: float
    observed: float
    baselines: float
    changes: float

    @property
    def mean_squares(self) -> tuple[float, float]:
        """Mean squares between and within patients; at least two patients and one repeated value are needed."""
        between = max(0.0, self.shifted_squares - self.shifted**2 / self.values) / (self.patients - 1)
        return between, self.within / (self.values - self.patients)

    def icc(self) -> float | None:
        """The one-way random effects estimate before truncation; `None` without enough values or without variance.

        n0 = (N - sum of n^2 / N)/(k - 1) stands for the common number of values in unbalanced groups (Searle 1971).
        """
        if self.patients < 2 or self.values <= self.patients:
            return None
        between, within = self.mean_squares
        n0 = (self.values - self.squared_counts / self.values) / (self.patients - 1)
        whole = between + (n0 - 1) * within
        return (between - within) / whole if whole > 0 else None

    def population_mean(self, of: PopulationMean) -> float:
        """Mean over patients of their own means."""
        return self.earlier_means / self.earlier if of == "before_baseline" else self.own_means / self.patients

    def expected(self, of: PopulationMean) -> float | None:
        """The expected mean change of the patients with a change; `None` where it is not defined."""
        icc = self.icc()
        if icc is None or not self.observed or (of == "before_baseline" and not self.earlier):
            return None
        return (1 - max(0.0, icc)) * (self.population_mean(of) - self.baselines / self.observed)


def intraclass_correlation(patient: ArrayLike, values: ArrayLike) -> IntraclassCorrelation:
    """ICC(1,1) of Shrout and Fleiss (1979) by one-way random effects analysis of variance of unbalanced groups.

    `patient` is the number of the patient of each value. Patients with one value count in the variance between
    patients. A negative estimate is set to 0, and `truncated` says so. The estimate is null without two patients with
    two values each, and if all values are equal. A `ValueError` is raised for values that are not finite.
    """
    patient, values = np.asarray(patient, dtype=np.int64), np.asarray(values, dtype=np.float64)
    size = int(patient.max()) + 1 if patient.size else 0
    nothing = np.full(size, np.nan)
    return _icc(_sums(_columns(patient, values, np.zeros(len(values), dtype=np.bool_), nothing)))


def regression_to_the_mean(
    patient: ArrayLike,
    run_in: ArrayLike,
    is_baseline: ArrayLike,
    change: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> RegressionToTheMean:
    """The expected regression to the mean (Barnett 2005, see above) and the observed mean change.

    `patient`, `run_in` and `is_baseline` have one entry for each value before treatment: the number of its patient, the
    value (ln CK), and whether it is the patient's baseline, the last of them. `change` has one entry for each patient
    numbered in `patient`: the later value minus the baseline, NaN where there is none.

    The baseline is one of the run-in values. The ICC includes it, because every further value of a patient improves the
    ICC. The population mean `before_baseline` excludes it: perhaps patients were treated because it was high, and a
    mean of selected values is too near to them. `all_run_in` includes it and is given in addition. Both are exact if
    the run-in is that of the whole population, of which some have high baselines. In a group that was selected for high
    baselines both are too small, because mean and variance are then those of the selected patients.

    The intervals are percentiles over `resamples` bootstrap samples of the patients; ICC and mean are computed for each
    sample. The patients are first sorted by their values, so that the result does not depend on their order.
    """
    check_level(level)
    patient, run_in = np.asarray(patient, dtype=np.int64), np.asarray(run_in, dtype=np.float64)
    columns = _columns(patient, run_in, np.asarray(is_baseline, dtype=np.bool_), np.asarray(change, dtype=np.float64))
    sums = _sums(columns)
    icc = _icc(sums)
    n = int(sums.observed)
    reason = icc.reason or (None if n else Reason.NO_PATIENTS)
    times = min(resamples, max(200, DRAWS // max(1, len(columns))))
    drawn = _resampled(columns, times if reason is None else 0, seed)
    estimates = [_estimate(sums, drawn, of, reason, level) for of in ("before_baseline", "all_run_in")]
    undefined = sum(each.expected("all_run_in") is None for each in drawn)
    return RegressionToTheMean(
        n=n,
        icc=icc,
        baseline_mean=sums.baselines / n if n else None,
        observed=sums.changes / n if n else None,
        estimates=tuple(estimates),
        bootstrap=Bootstrap(seed=seed, resamples=len(drawn), undefined=undefined),
        reason=reason,
    )


def expected_changes(found: RegressionToTheMean, baselines: ArrayLike) -> NDArray[np.float64] | None:
    """(1 - ICC)(population mean - own baseline) of each patient by the first estimate; `None` if there is none."""
    mean, icc = found.estimates[0].population_mean, found.icc.value
    if mean is None or icc is None:
        return None
    expected: NDArray[np.float64] = (1 - icc) * (mean - np.asarray(baselines, dtype=np.float64))
    return expected


def _columns(
    patient: NDArray[np.int64], values: NDArray[np.float64], is_baseline: NDArray[np.bool_], change: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One row for each patient with a run-in value, sorted by content: the columns that `_Sums` adds up.

    Means and squares are computed relative to each patient's first value, so that equal values have a variance of 0.
    """
    if patient.shape != values.shape or not np.all(np.isfinite(values)):
        raise ValueError("`values` must be finite and as many as `patient`.")
    order = np.lexsort((values, patient))
    patient, values, is_baseline = patient[order], values[order], is_baseline[order]
    size = len(change)
    count = np.bincount(patient, minlength=size).astype(np.float64)
    present = np.flatnonzero(count)
    first = np.zeros(size)
    first[present] = values[np.searchsorted(patient, present)]
    from_first = values - first[patient]
    total = np.bincount(patient, from_first, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first + total / count
        within = np.maximum(0.0, np.bincount(patient, from_first**2, size) - total**2 / count)
        earlier_count = np.bincount(patient[~is_baseline], minlength=size)
        earlier_mean = first + np.bincount(patient[~is_baseline], from_first[~is_baseline], size) / earlier_count
    baseline = np.full(size, np.nan)
    baseline[patient[is_baseline]] = values[is_baseline]
    observed = ~np.isnan(baseline) & ~np.isnan(change)
    shifted = mean - (mean[present].min() if len(present) else 0.0)
    columns = np.stack(
        [
            np.ones(size),
            count >= 2,
            count,
            count**2,
            count * shifted,
            count * shifted**2,
            within,
            mean,
            earlier_count > 0,
            np.where(earlier_count > 0, earlier_mean, 0.0),
            observed,
            np.where(observed, baseline, 0.0),
            np.where(observed, change, 0.0),
        ],
        axis=1,
    )[present]
    return columns[np.lexsort(columns.T)]


def _sums(columns: NDArray[np.float64]) -> _Sums:
    return _Sums(*(math.fsum(column) for column in columns.T.tolist()))


def _icc(sums: _Sums) -> IntraclassCorrelation:
    reason = None
    if not sums.patients:
        reason = Reason.NO_PATIENTS
    elif sums.repeated < 2:
        reason = Reason.TOO_FEW_REPEATED
    value = None if reason else sums.icc()
    between, within = sums.mean_squares if reason is None else (None, None)
    return IntraclassCorrelation(
        value=None if value is None else max(0.0, value),
        patients=int(sums.patients),
        repeated=int(sums.repeated),
        values=int(sums.values),
        mean_square_between=between,
        mean_square_within=within,
        truncated=value is not None and value < 0,
        reason=reason or (Reason.CONSTANT_VALUES if value is None else None),
    )


def _resampled(columns: NDArray[np.float64], times: int, seed: int) -> list[_Sums]:
    """The sums over the patients of each resample: the row of each patient times how often it was drawn."""
    generator = np.random.default_rng(seed)
    size = len(columns)
    draws = (generator.integers(0, size, size) for _ in range(times))
    counts = (np.bincount(drawn, minlength=size).astype(np.float64) for drawn in draws)
    # No matrix product: its last digits depend on the linear algebra library and its threads.
    return [_Sums(*np.einsum("i,ij->j", each, columns).tolist()) for each in counts]


def _estimate(
    sums: _Sums, drawn: list[_Sums], of: PopulationMean, reason: Reason | None, level: float
) -> ExpectedChange:
    expected = sums.expected(of) if reason is None else None
    if expected is None:
        limits = [_interval(name, [], 0, level, reason) for name in ("expected", "remainder")]
        return ExpectedChange(
            population_mean_of=of,
            population_mean=None,
            expected=None,
            remainder=None,
            share=None,
            intervals=tuple(limits),
            reason=reason,
        )
    observed = sums.changes / sums.observed
    pairs = [(each.changes / each.observed, x) for each in drawn if (x := each.expected(of)) is not None]
    return ExpectedChange(
        population_mean_of=of,
        population_mean=sums.population_mean(of),
        expected=expected,
        remainder=observed - expected,
        share=expected / observed if observed else None,
        intervals=(
            _interval("expected", [x for _, x in pairs], len(drawn), level, None),
            _interval("remainder", [change - x for change, x in pairs], len(drawn), level, None),
        ),
        reason=None if observed else Reason.ZERO_DENOMINATOR,
    )


def _interval(of: str, found: list[float], drawn: int, level: float, reason: Reason | None) -> Interval:
    """The percentile interval (type 7 quantiles), null if too few resamples have an estimate."""
    low = high = None
    if reason is None and (not found or len(found) < FEWEST * drawn):
        reason = Reason.TOO_FEW_RESAMPLES
    if reason is None:
        low, high = (float(x) for x in np.quantile(found, [(1 - level) / 2, (1 + level) / 2]))
    return Interval(of=of, method="bootstrap_percentile", level=level, low=low, high=high, reason=reason)
