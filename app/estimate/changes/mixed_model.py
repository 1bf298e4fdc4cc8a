"""A mixed model for repeated measures: a random intercept for each patient, fitted by restricted maximum likelihood.

The model assumes that all pairs of visits of a patient have the same correlation (compound symmetry), and that values
are missing at random. Intervals and p values are those of Wald's z, without the small-sample correction of Kenward and
Roger: with few patients the intervals are too narrow and the p values too small. The likelihood is that of
`app.estimate.changes.restricted_likelihood`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.estimate.arithmetic import check_level, normal_quantile
from app.estimate.changes.restricted_likelihood import Maximum, RestrictedLikelihood
from app.estimate.results import Interval, Number, Reason, Result, TestResult, WhyNull


class FixedEffect(Result):
    """One coefficient of the model."""

    term: str = Field(
        description="`intercept`: the mean at week 0; `week`: the change to a week; `group`: how far the first group "
        "lies above the second at week 0; `group_by_week`: by how much more the first group changes than the second.",
        examples=["week"],
    )
    week: int | None = Field(description="The week; null where none is meant.", examples=[4])
    estimate: Number | None = Field(description="The coefficient.", examples=[-1.4])
    standard_error: Number | None = Field(description="Its standard error.", examples=[0.1])
    interval: Interval = Field(description="Its Wald interval.")
    test: TestResult = Field(description="Wald's z, the coefficient over its standard error.")


class MixedModel(Result):
    """A random-intercept model of values at visits."""

    patients: int = Field(description="Patients with at least one value.", examples=[15])
    values: int = Field(description="Values.", examples=[75])
    effects: tuple[FixedEffect, ...] = Field(description="The fixed effects.", examples=[[]])
    variance_between: Number | None = Field(description="Variance of the random intercepts.", examples=[4.464803])
    variance_within: Number | None = Field(description="Residual variance.", examples=[2.078466])
    log_likelihood: Number | None = Field(description="Restricted log-likelihood.", examples=[-221.5988])
    converged: bool | None = Field(
        description="Whether the maximum was found; false only where the variance between patients is more than "
        "10^10 times the residual one, null where none was looked for.",
        examples=[True],
    )
    singular: bool | None = Field(
        description="Whether the best variance between patients is 0; null without a fit.", examples=[False]
    )
    reason: WhyNull = None


def mixed_model(
    values: NDArray[np.float64], weeks: Sequence[int], *, group: NDArray[np.bool_] | None = None, level: float = 0.95
) -> MixedModel:
    """Fit the model to `values`: one row for each patient, one column for each week, the first week 0; NaN where
    missing.

    Weeks are categories, and week 0 is the reference. `group` marks the patients of the first of two groups; with it
    the model has also the group and its interaction with the weeks. A week without values, or without values in one of
    the groups, is left out. All is null without week 0, with too few patients or repeated values to separate the two
    variances, or if all patients have the same changes. As R `lme4::lmer(y ~ week + (1 | id), REML = TRUE)`. A
    `ValueError` is raised if the columns are not those of `weeks`, or the first week is not 0.
    """
    check_level(level)
    if values.shape[1:] != (len(weeks),) or weeks[0] != 0:
        raise ValueError("`values` must have one column a week, the first of them week 0.")
    seen = ~np.isnan(values)
    present = seen.any(axis=1)
    terms = _terms(seen, weeks, group)
    design = _Design.build(values[present], seen[present], weeks, terms, None if group is None else group[present])
    return _answer(design, _fitted(design), level)


Term = tuple[str, int | None]


def _terms(seen: NDArray[np.bool_], weeks: Sequence[int], group: NDArray[np.bool_] | None) -> list[Term]:
    """The coefficients that the weeks with values (in both groups) can estimate, in the order of their kinds."""
    sides = [seen] if group is None else [seen[group], seen[~group]]
    known = [week for column, week in enumerate(weeks) if all(side[:, column].any() for side in sides)]
    if 0 not in known:
        return []
    later = [week for week in known if week]
    terms: list[Term] = [("intercept", None), *(("week", week) for week in later)]
    return terms if group is None else [*terms, ("group", None), *(("group_by_week", week) for week in later)]


@dataclass(frozen=True, eq=False)
class _Design:
    """The values as one column `y`, the design matrix `x`, and the patient `who` of each value."""

    terms: list[Term]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    who: NDArray[np.int64]

    @classmethod
    def build(
        cls,
        values: NDArray[np.float64],
        seen: NDArray[np.bool_],
        weeks: Sequence[int],
        terms: list[Term],
        group: NDArray[np.bool_] | None,
    ) -> "_Design":
        """Patients are sorted by their values, so that no result depends on their original order."""
        named = {0} | {week for _, week in terms if week is not None}
        columns = [column for column, week in enumerate(weeks) if week in named and terms]
        side = np.zeros(len(values)) if group is None else group.astype(np.float64)
        keys = [np.where(seen[:, column], values[:, column], np.inf) for column in reversed(columns)]
        order = np.lexsort((*keys, side)) if len(values) else np.array([], dtype=np.int64)
        rows, places = np.nonzero(seen[order][:, columns])
        y = values[order][:, columns][rows, places]
        week = np.array([weeks[column] for column in columns], dtype=np.int64)[places]
        in_first = side[order][rows]
        x = np.empty((len(y), len(terms)))
        for k, (kind, at) in enumerate(terms):
            x[:, k] = (in_first if kind.startswith("group") else 1.0) * (1.0 if at is None else week == at)
        return cls(terms, y, x, rows)

    @property
    def patients(self) -> int:
        """Patients with a value."""
        return len(np.unique(self.who))


def _fitted(design: _Design) -> Maximum | Reason:
    """The best fit, or why there is none."""
    if not design.terms:
        return Reason.NO_PATIENTS
    likelihood = RestrictedLikelihood.from_values(design.y, design.x, design.who)
    if likelihood.degrees_within < 1:  # 1 is enough: it needs two patients, so both variances can be estimated
        return Reason.TOO_FEW_VALUES
    if likelihood.constant_within:
        return Reason.CONSTANT_DIFFERENCES
    return likelihood.maximum() or Reason.NOT_CONVERGED


def _answer(design: _Design, found: Maximum | Reason, level: float) -> MixedModel:
    fit, reason = (None, found) if isinstance(found, Reason) else (found, None)
    estimates: list[tuple[float, float] | None] = [None] * len(design.terms)
    if fit is not None:
        estimates = list(zip(fit.coefficients.tolist(), fit.standard_errors.tolist(), strict=True))
    return MixedModel(
        patients=design.patients,
        values=len(design.y),
        effects=tuple(
            _effect(term, each, reason, level, len(design.y))
            for term, each in zip(design.terms, estimates, strict=True)
        ),
        variance_between=None if fit is None else fit.between,
        variance_within=None if fit is None else fit.within,
        log_likelihood=None if fit is None else fit.log_likelihood,
        converged=True if fit is not None else False if reason is Reason.NOT_CONVERGED else None,
        singular=None if fit is None else fit.between == 0,
        reason=reason,
    )


def _effect(
    term: Term, estimates: tuple[float, float] | None, reason: Reason | None, level: float, n: int
) -> FixedEffect:
    kind, week = term
    estimate, error = estimates or (None, None)
    low = high = z = p = None
    if estimate is not None and error:
        half_width = normal_quantile(level) * error
        low, high, z = estimate - half_width, estimate + half_width, estimate / error
        p = math.erfc(abs(z) / math.sqrt(2))
    return FixedEffect(
        term=kind,
        week=week,
        estimate=estimate,
        standard_error=error,
        interval=Interval(of="coefficient", method="wald_z", level=level, low=low, high=high, reason=reason),
        test=TestResult(method="wald_z", statistic=z, p=p, n_used=n, n_zero=0, reason=reason),
    )
