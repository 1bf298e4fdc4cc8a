"""Tables of two groups by two outcomes: Fisher's exact test and McNemar's."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.estimate.arithmetic import check_level
from app.estimate.effect import EffectEstimate
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Reason, Result, TestResult

TIED = 1e-7
"""Tables whose probabilities differ by no more than this share of them are equally likely, as in R `fisher.test`."""
LARGEST_LOGARITHM = 300.0


class FourfoldTable(Result):
    """A test of two outcomes in two groups, and the odds ratio that belongs to it."""

    odds_ratio: EffectEstimate = Field(description="Odds in the first group over odds in the second.")
    test: TestResult = Field(description="The test that it is 1.")


@dataclass(frozen=True)
class _Margins:
    """The tables with the totals of the one observed: `counts` of the first cell, `weights` at an odds ratio of 1."""

    observed: int
    counts: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def build(cls, k1: int, n1: int, k2: int, n2: int) -> "_Margins":
        """The logarithms of neighbouring probabilities differ by one factor each, so they are summed from it."""
        responders = k1 + k2
        counts = np.arange(max(0, responders - n2), min(n1, responders) + 1)
        at, following = counts[:-1].astype(np.float64), counts[1:].astype(np.float64)
        steps = np.log((n1 - at) * (responders - at)) - np.log(following * (n2 - responders + following))
        return cls(k1, counts, np.concatenate([[0.0], np.cumsum(steps)]))

    def probabilities(self, logarithm: float) -> NDArray[np.float64]:
        """How likely each table is where the logarithm of the odds ratio is this."""
        weights = self.weights + logarithm * (self.counts - self.observed)
        relative = np.exp(weights - weights.max())
        answer: NDArray[np.float64] = relative / relative.sum()
        return answer


def fisher_exact(k1: int, n1: int, k2: int, n2: int, *, level: float = 0.95) -> FourfoldTable:
    """Fisher's exact test of k1 of n1 against k2 of n2, with the conditional odds ratio (R `fisher.test`).

    The two-sided p sums the tables with the same totals that are no likelier than the one observed. The odds ratio is
    the conditional maximum likelihood estimate, not k1(n2 - k2)/((n1 - k1)k2), and its exact interval takes half of
    1 - level on each side: it may leave out 1 while p is above 1 - level, or the other way round (Fay 2010). R's own
    search ends after four digits. Where the totals leave one table only, p is 1 and the odds ratio null.
    """
    check_level(level)
    if not (0 <= k1 <= n1 and 0 <= k2 <= n2):
        raise ValueError("each k must be between 0 and its n.")
    empty = not n1 or not n2
    margins = _Margins.build(k1, n1, k2, n2)
    reason = Reason.NO_PATIENTS if empty else Reason.NO_INFORMATION if len(margins.counts) == 1 else None
    test = TestResult(
        method="fisher_exact",
        statistic=None,
        p=None if empty else _two_sided(margins),
        n_used=n1 + n2,
        n_zero=0,
        reason=Reason.NO_PATIENTS if empty else None,
    )
    return FourfoldTable(odds_ratio=_conditional(margins, level, reason), test=test)


def _two_sided(margins: _Margins) -> float:
    probabilities = margins.probabilities(0.0)
    observed = probabilities[margins.observed - margins.counts[0]]
    return min(1.0, math.fsum(probabilities[probabilities <= observed * (1 + TIED)]))


def _conditional(margins: _Margins, level: float, reason: Reason | None) -> EffectEstimate:
    """Estimate and limits: the odds ratios at which the mean is what was observed, and a tail holds (1 - level)/2.

    SciPy's `contingency.odds_ratio` finds the same numbers, and a test compares them. It is not used here: for two
    groups of 50,000 it takes 40 times as long, its error is absolute, so that an odds ratio near 0 loses its digits,
    and it answers 0 where the totals leave one table only.
    """
    estimate = low = high = None
    open_above = False
    if reason is None:
        least, greatest = margins.observed == margins.counts[0], margins.observed == margins.counts[-1]
        tail, open_above = (1 - level) / 2, greatest
        at_least, at_most = margins.counts >= margins.observed, margins.counts <= margins.observed
        low = 0.0 if least else _crossing(lambda x: float(margins.probabilities(x)[at_least].sum()) > tail)
        high = None if greatest else _crossing(lambda x: float(margins.probabilities(x)[at_most].sum()) <= tail)
        if least:
            estimate = 0.0
        elif not greatest:
            estimate = _crossing(lambda x: float(margins.probabilities(x) @ (margins.counts - margins.observed)) > 0)
    missing = reason or (Reason.ZERO_DENOMINATOR if open_above else None)
    interval = Interval(of="odds_ratio", method="conditional_exact", level=level, low=low, high=high, reason=missing)
    return EffectEstimate(estimate=estimate, reason=missing, intervals=(interval,))


def _crossing(beyond: Callable[[float], bool]) -> float:
    """The odds ratio at which a condition that is false near 0 becomes true, by halving its logarithm."""
    low, high = -LARGEST_LOGARITHM, LARGEST_LOGARITHM
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return math.exp(middle)


def mcnemar_exact(first_only: int, second_only: int, concordant: int, *, level: float = 0.95) -> FourfoldTable:
    """McNemar's exact test that two outcomes in the same patients are equally frequent.

    Only the patients with one of the two outcomes decide: under the hypothesis each is as likely to have the first as
    the second, and p is twice the smaller tail, at most 1 (R `binom.test(b, b + c, 0.5)`); without such patients it is
    1. The odds ratio is `first_only`/`second_only`, its interval that of Clopper and Pearson carried from the share to
    the odds.
    """
    check_level(level)
    if min(first_only, second_only, concordant) < 0:
        raise ValueError("counts must not be negative.")
    discordant = first_only + second_only
    empty = discordant + concordant == 0
    test = TestResult(
        method="mcnemar_exact",
        statistic=first_only,
        p=None if empty else _smaller_tail_doubled(min(first_only, second_only), discordant),
        n_used=discordant,
        n_zero=concordant,
        reason=Reason.NO_PATIENTS if empty else None,
    )
    [share] = proportion(first_only, discordant, level=level, methods=("clopper-pearson",)).intervals
    reason = Reason.NO_PATIENTS if empty else Reason.NO_INFORMATION if not discordant else None
    reason = reason or (None if second_only else Reason.ZERO_DENOMINATOR)
    odds = Interval(
        of="odds_ratio",
        method="clopper-pearson",
        level=level,
        low=_odds(share.low),
        high=_odds(share.high),
        reason=reason,
    )
    estimate = first_only / second_only if second_only else None
    return FourfoldTable(odds_ratio=EffectEstimate(estimate=estimate, reason=reason, intervals=(odds,)), test=test)


def _smaller_tail_doubled(fewer: int, n: int) -> float:
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(fewer, n, 0.5))) if n else 1.0


def _odds(share: float | None) -> float | None:
    return None if share is None or share >= 1 else share / (1 - share)
