"""A mixed model for repeated measures (MMRM): a mean for each visit and an unstructured covariance of the visits.

The model is fitted by restricted maximum likelihood (`app.estimate.changes.restricted_likelihood`), and its t tests
have the degrees of freedom of Satterthwaite. Values may be missing at random: whether one is missing may depend on the
values seen.

The model is offered from a number of patients that was chosen by simulation: see `offered`, and its coverage in
`docs/trust.md`, which `make trust` writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.estimate.arithmetic import check_level
from app.estimate.changes.restricted_likelihood import Patterns, maximum
from app.estimate.results import Interval, Number, Reason, Result, TestResult, WhyNull

PATIENTS_PER_VISIT = 5
"""The least number of patients is this number times that of the visits, week 0 among them: 20 for four visits."""
MOST_VISITS = 8
"""The model was simulated for at most so many visits."""


class FixedEffect(Result):
    """One number of the model: a mean, a change or a difference."""

    term: str = Field(
        description="`intercept`: the mean at week 0; `week`: the change to a week; `mean`: the mean at a later week; "
        "`group`: how far the first group lies above the second at week 0; `group_by_week`: by how much more the first "
        "group changes than the second.",
        examples=["week"],
    )
    week: int | None = Field(description="The week; null where none is meant.", examples=[4])
    estimate: Number | None = Field(description="The number.", examples=[-1.4])
    standard_error: Number | None = Field(description="Its standard error.", examples=[0.1])
    interval: Interval = Field(description="Its t interval.")
    test: TestResult = Field(description="The t test that it is 0, with Satterthwaite's degrees of freedom.")


class VisitCovariance(Result):
    """The covariance of two visits, or the variance of one."""

    week: int = Field(description="The week.", examples=[4])
    other: int = Field(description="The other week, not before it.", examples=[8])
    covariance: Number | None = Field(description="The covariance.", examples=[0.3])


class MixedModel(Result):
    """A model of values at visits, with an unstructured covariance."""

    patients: int = Field(description="Patients with at least one value.", examples=[25])
    values: int = Field(description="Values.", examples=[120])
    effects: tuple[FixedEffect, ...] = Field(description="The fixed effects.", examples=[[]])
    covariances: tuple[VisitCovariance, ...] = Field(
        description="The covariance of each two visits; with two groups it is that of both.", examples=[[]]
    )
    log_likelihood: Number | None = Field(description="Restricted log-likelihood.", examples=[-221.5988])
    converged: bool | None = Field(
        description="Whether the maximum was found; null where none was looked for.", examples=[True]
    )
    reason: WhyNull = None


def mixed_model(
    values: NDArray[np.float64], weeks: Sequence[int], *, group: NDArray[np.bool_] | None = None, level: float = 0.95
) -> MixedModel:
    """Fit the model to `values`: one row for each patient, one column for each week, the first week 0; NaN where
    missing.

    `group` marks the patients of the first of two groups; with it each group has its own means, and both have one
    covariance. A week without values, or without values in one of the groups, is left out. All is null without week 0,
    where the model is not `offered` to a group, where the covariance is singular, and where the search fails. As R
    `nlme::gls(y ~ visit, correlation = corSymm(form = ~ visit | id), weights = varIdent(form = ~ 1 | visit))`, with the
    degrees of freedom of `lmerTest`. A `ValueError` is raised if the columns are not those of `weeks`, or the first
    week is not 0.
    """
    check_level(level)
    if values.shape[1:] != (len(weeks),) or weeks[0] != 0:
        raise ValueError("`values` must have one column a week, the first of them week 0.")
    side = np.zeros(len(values), dtype=np.int64) if group is None else (~group).astype(np.int64)
    data = _Data.of(values, weeks, side, 1 if group is None else 2)
    return _answer(data, _fitted(data), level)


def offered(seen: NDArray[np.bool_]) -> bool:
    """Whether the model is offered to the patients of a group, by who was seen at which visit.

    There must be at most 8 visits, at least 5 patients for each of them, and at least three fifths of the patients seen
    at both of any two visits. In the simulation 95 % intervals then cover the true value in 93 to 97 % of cohorts, also
    if a quarter of the patients leaves because of the last value.
    """
    patients, visits = seen.shape
    together = seen.T.astype(np.int64) @ seen.astype(np.int64)
    enough = patients >= PATIENTS_PER_VISIT * visits and 5 * int(together.min()) >= 3 * patients
    return bool(visits <= MOST_VISITS and enough)


Term = tuple[str, int | None]


@dataclass(frozen=True, eq=False)
class _Data:
    """The values of the weeks of the model, one row a patient with a value, and what is estimated."""

    weeks: list[int]
    terms: list[Term]
    values: NDArray[np.float64]
    side: NDArray[np.int64]
    """The group of each patient: 0, or with two groups 0 for the first and 1 for the second."""
    groups: int

    @classmethod
    def of(cls, values: NDArray[np.float64], weeks: Sequence[int], side: NDArray[np.int64], groups: int) -> "_Data":
        """Patients are sorted by their values, so that no result depends on their original order."""
        seen = ~np.isnan(values)
        known = np.all([seen[side == k].any(axis=0) for k in range(groups)], axis=0)
        columns = np.flatnonzero(known & known[0]).tolist()
        kept = seen[:, columns].any(axis=1)
        values, side = values[kept][:, columns], side[kept]
        keys = np.where(np.isnan(values), np.inf, values).T[::-1]
        order = np.lexsort((*keys, side))
        named = [weeks[column] for column in columns]
        return cls(named, _terms(named, groups), values[order], side[order], groups)

    def weights(self) -> NDArray[np.float64]:
        """The weight of the mean of each group and week in each term, shape (terms, groups, weeks)."""
        result = np.zeros((len(self.terms), self.groups, len(self.weeks)))
        for row, (kind, week) in zip(result, self.terms, strict=True):
            row[-1, self.weeks.index(week or 0)] = 1.0
            if kind in ("week", "group_by_week"):
                row[-1, 0] = -1.0
            if kind.startswith("group"):
                row[0], row[-1] = row[-1].copy(), -row[-1]
        return result


def _terms(weeks: list[int], groups: int) -> list[Term]:
    """What is estimated, in the order of its kinds."""
    later = weeks[1:]
    terms: list[Term] = [("intercept", None), *(("week", week) for week in later)] if weeks else []
    if groups == 1:
        return [*terms, *(("mean", week) for week in later)]
    return [*terms, ("group", None), *(("group_by_week", week) for week in later)] if weeks else []


@dataclass(frozen=True, eq=False)
class _Fit:
    """Estimate, standard error and degrees of freedom of each term, the covariance, the log-likelihood."""

    terms: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_likelihood: float


def _fitted(data: _Data) -> _Fit | Reason:
    """The best fit, or why there is none."""
    if not data.terms:
        return Reason.NO_PATIENTS
    if not all(offered(~np.isnan(data.values[data.side == k])) for k in range(data.groups)):
        return Reason.TOO_FEW
    best = maximum(Patterns.of_values(data.values[None], data.side))
    if best.singular[0]:
        return Reason.SINGULAR_COVARIANCE
    if not best.converged[0]:
        return Reason.NOT_CONVERGED
    terms = np.stack(best.contrasts(data.weights()), axis=2)[0]
    return _Fit(terms, best.covariance[0], float(best.log_likelihood[0]))


def _answer(data: _Data, found: _Fit | Reason, level: float) -> MixedModel:
    fit, reason = (None, found) if isinstance(found, Reason) else (found, None)
    n = int((~np.isnan(data.values)).sum())
    rows = [None] * len(data.terms) if fit is None else fit.terms.tolist()
    searched = fit is not None or reason in (Reason.NOT_CONVERGED, Reason.SINGULAR_COVARIANCE)
    return MixedModel(
        patients=len(data.values),
        values=n,
        effects=tuple(_effect(term, row, reason, level, n) for term, row in zip(data.terms, rows, strict=True)),
        covariances=tuple(
            VisitCovariance(week=week, other=other, covariance=None if fit is None else float(fit.covariance[i, j]))
            for i, week in enumerate(data.weeks)
            for j, other in enumerate(data.weeks)
            if i <= j
        ),
        log_likelihood=None if fit is None else fit.log_likelihood,
        converged=fit is not None if searched else None,
        reason=reason,
    )


def _effect(term: Term, row: Sequence[float] | None, reason: Reason | None, level: float, n: int) -> FixedEffect:
    kind, week = term
    estimate = error = df = low = high = t = p = None
    if row is not None:
        from scipy.special import stdtr, stdtrit

        estimate, error, df = row
        half_width = -float(stdtrit(df, (1 - level) / 2)) * error
        low, high, t = estimate - half_width, estimate + half_width, estimate / error
        p = min(1.0, 2 * float(stdtr(df, -abs(t))))
    name = "satterthwaite_t"
    return FixedEffect(
        term=kind,
        week=week,
        estimate=estimate,
        standard_error=error,
        interval=Interval(of="coefficient", method=name, level=level, low=low, high=high, reason=reason),
        test=TestResult(method=name, statistic=t, df=df, p=p, n_used=n, n_zero=0, reason=reason),
    )
