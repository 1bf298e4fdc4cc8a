"""One proportion k/n and its confidence intervals."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from app.estimate.arithmetic import check_level
from app.estimate.results import Interval, Proportion, Reason

DEFAULT_METHODS = ("clopper-pearson", "wilson")


def proportion(k: int, n: int, *, level: float = 0.95, methods: Sequence[str] = DEFAULT_METHODS) -> Proportion:
    """The rate k/n of k patients among n, with one two-sided interval for each method, in the order of `methods`.

    `clopper-pearson` is exact (R `binom.test`), `wilson` the score interval without continuity correction
    (R `prop.test(correct = FALSE)`), `jeffreys` the equal-tailed posterior interval under a Beta(1/2, 1/2) prior with
    its limit moved to 0 or 1 when k is 0 or n (Brown, Cai and DasGupta 2001), `mid-p` the exact interval that counts
    half of the observed outcome (Newcombe 1998, method 6). At k = 0 and k = n all intervals remain two-sided. Without
    patients the rate and all limits are null. A `ValueError` is raised for a k that is not between 0 and n, and for an
    unknown method.
    """
    check_level(level)
    if not 0 <= k <= n:
        raise ValueError("`k` must be between 0 and `n`.")
    if unknown := [each for each in methods if each not in METHODS]:
        raise ValueError(f"`methods` must be among {', '.join(METHODS)}, not {', '.join(unknown)}.")
    return Proportion(
        k=k,
        n=n,
        rate=k / n if n else None,
        reason=None if n else Reason.NO_PATIENTS,
        intervals=tuple(_interval(k, n, level, method) for method in methods),
    )


def _interval(k: int, n: int, level: float, method: str) -> Interval:
    low, high = METHODS[method](k, n, level) if n else (None, None)
    reason = None if n else Reason.NO_PATIENTS
    return Interval(of="rate", method=method, level=level, low=low, high=high, reason=reason)


def _clopper_pearson(k: int, n: int, level: float) -> tuple[float, float]:
    """Clopper and Pearson (1934): each limit is the rate at which the tail from k on has probability (1 - level)/2.

    These are the quantiles of a beta distribution, from SciPy. `scipy.stats.binomtest` searches for the limits to 2e-12
    only, so that a small one is wrong from its fourth digit on (1 of 100,000 at level 0.9999).
    """
    from scipy.special import betainccinv, betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(betainccinv(k + 1, n - k, tail)) if k < n else 1.0
    return low, high


@lru_cache(maxsize=4096)
def _wilson(k: int, n: int, level: float) -> tuple[float, float]:
    """Wilson (1927): the rates whose distance to k/n is z standard errors, from SciPy.

    SciPy makes its exact test first, which takes milliseconds, so the limits are kept for the next time.
    """
    from scipy.stats import binomtest

    low, high = binomtest(k, n).proportion_ci(level, method="wilson")
    return float(low) if k else 0.0, float(high) if k < n else 1.0


def _jeffreys(k: int, n: int, level: float) -> tuple[float, float]:
    from scipy.special import betainccinv, betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(k + 0.5, n - k + 0.5, tail)) if k else 0.0
    high = float(betainccinv(k + 0.5, n - k + 0.5, tail)) if k < n else 1.0
    return low, high


def _mid_p(k: int, n: int, level: float) -> tuple[float, float]:
    """Solve P(X > k) + P(X = k)/2 = (1 - level)/2 for the lower limit, and with P(X < k) for the upper."""
    from scipy.special import bdtr, bdtrc

    def at_least(rate: float) -> float:
        return float(bdtrc(k, n, rate) + bdtrc(k - 1, n, rate)) / 2

    def at_most(rate: float) -> float:
        return float(bdtr(k, n, rate) + (bdtr(k - 1, n, rate) if k else 0.0)) / 2

    tail = (1 - level) / 2
    low = _crossing(lambda rate: at_least(rate) > tail) if k else 0.0
    high = _crossing(lambda rate: at_most(rate) <= tail) if k < n else 1.0
    return low, high


def _crossing(beyond: Callable[[float], bool]) -> float:
    """The rate at which a condition that is false at 0 and true at 1 becomes true, by bisection to the last bit."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return middle


METHODS: dict[str, Callable[[int, int, float], tuple[float, float]]] = {
    "clopper-pearson": _clopper_pearson,
    "wilson": _wilson,
    "jeffreys": _jeffreys,
    "mid-p": _mid_p,
}
