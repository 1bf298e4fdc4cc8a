"""Intervals of rates and differences by all usual methods, and whether a printed figure agrees with a computed one.

The intervals are candidates for the comparison with a paper; some of these methods are poor. The intervals of the
service's own answers are in `proportion.py`, `poisson.py` and `two_proportions.py`.
"""

import math
from decimal import Decimal
from typing import Literal

from app.estimate.arithmetic import check_level, normal_quantile
from app.estimate.rates.poisson import event_rate
from app.estimate.rates.proportion import METHODS
from app.estimate.rates.two_proportions import two_proportions

Limits = tuple[float, float]
Agreement = Literal["agrees", "last_digit", "differs"]


def agreement(computed: float, printed: str) -> Agreement:
    """Whether a computed number agrees with a printed one.

    `agrees`: rounded to the same number of decimals, half up or half even, it is the printed number. `last_digit`: the
    distance is less than one and a half units of the last printed digit, as after truncation or after rounding twice.
    `differs`: any other number.
    """
    number = Decimal(printed)
    unit = Decimal(1).scaleb(int(number.as_tuple().exponent))
    distance = abs(Decimal(computed) - number)
    noise = Decimal("1e-9") * max(abs(number), unit)
    if distance <= unit / 2 + noise:
        return "agrees"
    return "last_digit" if distance < unit * 3 / 2 else "differs"


def of_proportion(k: int, n: int, level: float) -> dict[str, Limits]:
    """Intervals of k/n with 0 <= k <= n and n > 0, as fractions.

    Clopper-Pearson, mid-P, Wilson and Jeffreys as in `proportion.py`; `clopper-pearson-one-sided` has, at k = 0 and
    k = n, the whole error on one side; `wilson-corrected` is R `prop.test`; `agresti-coull` (1998) adds z^2/2 to
    both outcomes; `wald` and `wald-corrected` are p +- z sqrt(pq/n) without and with 1/(2n); `logit` is Wald's on the
    log odds and is left out where it is not defined. A `ValueError` is raised for counts outside these limits.
    """
    check_level(level)
    if not 0 <= k <= n or not n:
        raise ValueError("`k` must be between 0 and `n`, and `n` above 0.")
    z, p = normal_quantile(level), k / n
    spread = z * math.sqrt(p * (1 - p) / n)
    found = {name: METHODS[name](k, n, level) for name in METHODS}
    if k in (0, n):
        one_sided = (1 - level) ** (1 / n)
        found["clopper-pearson-one-sided"] = (0.0, 1 - one_sided) if k == 0 else (one_sided, 1.0)
    found["wilson-corrected"] = _wilson_corrected(k, n, z)
    centre = (k + z * z / 2) / (n + z * z)
    around = z * math.sqrt(centre * (1 - centre) / (n + z * z))
    found["agresti-coull"] = centre - around, centre + around
    found["wald"] = p - spread, p + spread
    found["wald-corrected"] = p - spread - 1 / (2 * n), p + spread + 1 / (2 * n)
    if 0 < k < n:
        odds, error = math.log(k / (n - k)), z * math.sqrt(1 / k + 1 / (n - k))
        found["logit"] = 1 / (1 + math.exp(error - odds)), 1 / (1 + math.exp(-error - odds))
    return found


def _wilson_corrected(k: int, n: int, z: float) -> Limits:
    """Wilson's interval with continuity correction: Newcombe (1998), method 4."""
    p = k / n
    low = (2 * k + z * z - 1 - z * math.sqrt(z * z - 2 - 1 / n + 4 * p * (n * (1 - p) + 1))) if k else 0.0
    high = (2 * k + z * z + 1 + z * math.sqrt(z * z + 2 - 1 / n + 4 * p * (n * (1 - p) - 1))) if k < n else 0.0
    return max(0.0, low / (2 * (n + z * z))), min(1.0, high / (2 * (n + z * z))) if k < n else 1.0


def of_rate(events: int, exposure: float, level: float) -> dict[str, Limits]:
    """Intervals of events/exposure with exposure > 0, per unit of exposure.

    `poisson_exact` is Garwood's (R `poisson.test`); `byar` his approximation by cubes; `log-wald` is Wald's on the
    logarithm, left out without events; `wald` is rate +- z sqrt(events)/exposure. `poisson_exact-one-sided` is
    given for 0 events only and has the whole error on one side (at 0.95 nearly 3/exposure, the rule of three).
    """
    z = normal_quantile(level)
    [exact] = event_rate(events, exposure, "", level=level).intervals
    if exact.low is None or exact.high is None:
        raise ValueError("`exposure` must be above 0.")
    found = {"poisson_exact": (exact.low, exact.high), "byar": _byar(events, exposure, z)}
    if events:
        rate, factor = events / exposure, math.exp(z / math.sqrt(events))
        found["log-wald"] = rate / factor, rate * factor
    else:
        found["poisson_exact-one-sided"] = 0.0, -math.log1p(-level) / exposure
    spread = z * math.sqrt(events) / exposure
    found["wald"] = events / exposure - spread, events / exposure + spread
    return found


def _byar(events: int, exposure: float, z: float) -> Limits:
    """Byar's approximation: Breslow and Day (1987), volume II, equation 2.12."""

    def limit(count: int, sign: int) -> float:
        return count * (1 - 1 / (9 * count) + sign * z / (3 * math.sqrt(count))) ** 3 / exposure

    return limit(events, -1) if events else 0.0, limit(events + 1, 1)


def of_difference(first: tuple[int, int], second: tuple[int, int], level: float) -> dict[str, Limits]:
    """Intervals of k1/n1 - k2/n2, both n > 0, as fractions.

    `newcombe` (1998, method 10) and `miettinen-nurminen` as in `two_proportions.py`; `wald` without and
    `wald-corrected` with 1/(2n1) + 1/(2n2); `agresti-caffo` (2000) is Wald's after one more of each outcome in each
    group.
    """
    z = normal_quantile(level)

    def wald(k1: int, n1: int, k2: int, n2: int) -> Limits:
        p1, p2 = k1 / n1, k2 / n2
        spread = z * math.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2)
        return p1 - p2 - spread, p1 - p2 + spread

    (k1, n1), (k2, n2) = first, second
    found = {
        interval.method: (interval.low, interval.high)
        for interval in two_proportions((k1, n1, k2, n2), level=level).difference.intervals
        if interval.low is not None and interval.high is not None
    }
    low, high = wald(k1, n1, k2, n2)
    more = 1 / (2 * n1) + 1 / (2 * n2)
    return found | {
        "wald": (low, high),
        "wald-corrected": (low - more, high + more),
        "agresti-caffo": wald(k1 + 1, n1 + 2, k2 + 1, n2 + 2),
    }
