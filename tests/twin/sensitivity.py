"""A second implementation for caveats and sensitivity: plain Python, one patient at a time, nothing reused.

Built on `derivations.py`, and on `steroids.py` for what glucocorticoids patients took.
"""

import math
from fractions import Fraction
from statistics import fmean

from app.protocol.model import Protocol
from tests.twin import derivations as twin
from tests.twin.steroids import Period, dose

# --- regression to the mean -------------------------------------------------------------------------------------------


def icc(groups: list[list[float]]) -> float | None:
    """One-way random effects, unbalanced, straight from the sums of squares; not truncated."""
    groups = [group for group in groups if group]
    if sum(len(group) > 1 for group in groups) < 2:
        return None
    k, total = len(groups), sum(map(len, groups))
    grand = fmean(x for group in groups for x in group)
    between = sum(len(group) * (fmean(group) - grand) ** 2 for group in groups) / (k - 1)
    within = sum((x - fmean(group)) ** 2 for group in groups for x in group) / (total - k)
    n0 = (total - sum(len(group) ** 2 for group in groups) / total) / (k - 1)
    whole = between + (n0 - 1) * within
    return (between - within) / whole if whole > 1e-12 else None


def expected_change(groups: list[list[float]], baselines: list[float], earlier: list[list[float]]) -> float | None:
    """(1 - ICC)(mean of the patients' means before the baseline - mean baseline)."""
    correlation = icc(groups)
    if correlation is None or not baselines:
        return None
    mean = fmean(fmean(values) for values in earlier if values)
    return (1 - max(0.0, correlation)) * (mean - fmean(baselines))


def run_in_values(patient: twin.Patient, protocol: Protocol) -> tuple[list[float], list[float], float | None]:
    """ln(CK) of all values up to day 0, of those before the baseline, and of the baseline."""
    start = twin.baseline(patient, protocol, "CK")
    reach = protocol.baseline.run_in_days
    before = [
        record
        for record in twin.kept(patient, protocol, "CK").records
        if record.day <= 0 and (reach is None or record.day >= -reach or record == start)
    ]
    logs = [(twin.ln_value(record), record is start or record == start) for record in before]
    everything = [value for value, _ in logs if value is not None]
    earlier = [value for value, is_start in logs if value is not None and not is_start]
    return everything, earlier, twin.ln_value(start) if start else None


def slope(points: list[tuple[int, float]]) -> float | None:
    """Least squares, per 28 days."""
    if len(points) < 2:
        return None
    day, value = fmean(d for d, _ in points), fmean(v for _, v in points)
    return 28 * sum((d - day) * (v - value) for d, v in points) / sum((d - day) ** 2 for d, _ in points)


# --- intercurrent events ----------------------------------------------------------------------------------------------


def steroid_change(taken: list[Period], sign: int) -> int | None:
    """The first day after day 0 with more (1) or less (-1) than on day 0, day by day."""
    start = dose(taken, 0)
    if start is None:
        return None
    last = max([drug.first for drug in taken] + [drug.last or 0 for drug in taken], default=0)
    for day in range(1, last + 3):
        now = dose(taken, day)
        if now is not None and abs(now - start) > Fraction(1, 10**6) and (now > start) == (sign > 0):
            return day
    return None


# --- influence --------------------------------------------------------------------------------------------------------


def without_each(values: list[float]) -> list[list[float]]:
    """The values without each of them."""
    return [values[:i] + values[i + 1 :] for i in range(len(values))]


def t_p(values: list[float]) -> float | None:
    """Two-sided p of Student's t by numerical integration of its density."""
    n = len(values)
    if n < 2 or max(values) - min(values) <= 1e-9 * max(map(abs, values)):
        return None
    mean = fmean(values)
    spread = math.sqrt(sum((x - mean) ** 2 for x in values) / (n - 1))
    t, df = abs(mean) / (spread / math.sqrt(n)), n - 1
    steps = 4000
    # With t = tan(u) sqrt(df) the density becomes cos(u)^(df - 1), which Simpson's rule integrates exactly enough.
    low, high = math.atan(t / math.sqrt(df)), math.pi / 2
    width = (high - low) / steps
    weights = [1, *([4, 2] * (steps // 2))[: steps - 1], 1]
    area = sum(w * max(0.0, math.cos(low + i * width)) ** (df - 1) for i, w in enumerate(weights)) * width / 3
    whole = math.sqrt(math.pi) * math.exp(math.lgamma(df / 2) - math.lgamma((df + 1) / 2))
    return 2 * area / whole
