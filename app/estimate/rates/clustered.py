"""Intervals of rates whose units are courses or events, when several units belong to one patient.

Units of one patient are similar, so the variance is that between patients.
"""

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.estimate.arithmetic import check_level
from app.estimate.results import Interval, Number, Reason, Result, WhyNull

Counts = NDArray[np.int64]
Amounts = NDArray[np.int64] | NDArray[np.float64]

_NOISE = 1e-24
"""A smaller variance of a logarithm is only a rounding error."""
_LARGEST_LOGARITHM = 700
"""exp of a larger number is too large for a float."""


class ClusteredProportion(Result):
    """The precision of k/n when several of the n belong to one patient."""

    patients: int = Field(description="Patients among the n.", examples=[12])
    design_effect: Number | None = Field(
        description="Variance of the rate between patients over that of n independent ones.", examples=[1.3]
    )
    effective_n: Number | None = Field(
        description="How many independent ones tell as much as these, no more than there are.", examples=[13.8]
    )
    interval: Interval = Field(
        description="Clopper-Pearson interval of that many.",
        examples=[{"of": "rate", "method": "korn-graubard", "level": 0.95, "low": 0.4, "high": 0.9, "reason": None}],
    )
    reason: WhyNull = None


def clustered_proportion(k: Counts, n: Counts, *, level: float = 0.95) -> ClusteredProportion:
    """The interval of a rate when patient i has k[i] of n[i]; patients with n[i] = 0 do not count.

    The rate is the ratio p = sum(k) / sum(n), its variance v that of a ratio estimator over m patients, m/(m - 1) x sum
    (k_i - p n_i)^2 / (sum n)^2 (Rao and Scott 1992, Biometrics 48:577). The interval is that of Korn and Graubard
    (1998, Surv Methodol 24:193): Clopper-Pearson for n divided by the design effect and multiplied by the square of t(n
    - 1)/t(m - 1), at most n. The design effect is v over p(1 - p)/(n - 1), so that for one unit in each patient the
    interval is exactly that of Clopper and Pearson. (R `survey::svyciprop(method = "beta")` divides by n and has n - 1
    there.) If k is 0 or n, the data do not show how similar the units of a patient are: each patient then counts as one
    unit.
    """
    check_level(level)
    kept = n > 0
    k, n = k[kept], n[kept]
    total, patients = int(n.sum()), len(n)
    if patients < 2:
        return _no_proportion(patients, level, Reason.NO_PATIENTS if patients == 0 else Reason.ONE_PATIENT)
    rate = int(k.sum()) / total
    variance = _squares(k, n, rate) * patients / (patients - 1) / total**2
    if variance == 0 and 0 < rate < 1:
        effect, effective = 0.0, float(total)
    elif variance == 0:
        effect, effective = None, float(patients)
    else:
        effect = variance * (total - 1) / (rate * (1 - rate))
        effective = min(float(total), total / effect * (_t(total - 1, level) / _t(patients - 1, level)) ** 2)
    low, high = _clopper_pearson(rate * effective, effective, level)
    return ClusteredProportion(
        patients=patients,
        design_effect=effect,
        effective_n=effective,
        interval=Interval(of="rate", method="korn-graubard", level=level, low=low, high=high),
        reason=Reason.CONSTANT_VALUES if effect is None else None,
    )


def clustered_rate(events: Counts, exposure: Amounts, *, level: float = 0.95) -> Interval:
    """The interval of a rate sum(events) / sum(exposure) when rates differ between patients; one entry for each
    patient.

    The logarithm of the rate r has the variance m/(m - 1) x sum (events_i - r exposure_i)^2 / (sum events)^2 over the m
    patients with exposure or events: that of Poisson regression with an offset, robust to clusters (Glynn and Buring
    1996, BMJ 312:364; R `sandwich::vcovCL(type = "HC0", cadjust = TRUE)`). Limits are taken from t with m - 1 degrees
    of freedom (Cameron and Miller 2015, J Hum Resour 50:317). Without an event there is no standard error; if all
    patients have the same rate there is none either. Both limits are then null.
    """
    check_level(level)
    kept = (exposure > 0) | (events > 0)
    events, exposure = events[kept], exposure[kept]
    reason = _why_not(len(events) if np.any(exposure > 0) else 0, int(events.sum()))
    if reason:
        return _interval("rate", level, None, None, reason)
    count, time = int(events.sum()), math.fsum(exposure.tolist())
    variance = _squares(events, exposure, count / time) / count**2
    return _interval("rate", level, count / time, variance * len(events) / (len(events) - 1), None, len(events))


def clustered_rate_ratio(
    events: Counts, exposure: Amounts, other_events: Counts, other_exposure: Amounts, *, level: float = 0.95
) -> Interval:
    """The interval of the ratio of two rates over the same patients, by the method of `clustered_rate`.

    All arrays have one entry for each patient. The logarithm of the ratio has the variance
    m/(m - 1) x sum (z_i / E - z'_i / E')^2, where z_i = events_i - r exposure_i and E = sum(events) for the first rate,
    z'_i and E' the same for the second: the cluster-robust variance of Poisson regression (tests compare with
    statsmodels).
    """
    check_level(level)
    kept = (exposure > 0) | (other_exposure > 0)
    count, time, other_count, other_time = events[kept], exposure[kept], other_events[kept], other_exposure[kept]
    reason = _why_not(len(count), min(int(count.sum()), int(other_count.sum())))
    if reason is None and not (time.sum() > 0 and other_time.sum() > 0):
        reason = Reason.NO_PATIENTS
    if reason:
        return _interval("rate_ratio", level, None, None, reason)
    rate, other = (int(e.sum()) / math.fsum(t.tolist()) for e, t in ((count, time), (other_count, other_time)))
    z = (count - rate * time) / count.sum() - (other_count - other * other_time) / other_count.sum()
    variance = math.fsum((z * z).tolist()) * len(z) / (len(z) - 1)
    return _interval("rate_ratio", level, rate / other, variance, None, len(z))


def _squares(events: Counts, exposure: Amounts, rate: float) -> float:
    """The sum of squared differences between observed and expected events; rounding errors count as 0."""
    missed = events - rate * exposure
    missed = np.where(np.abs(missed) <= 1e-12 * np.maximum(events, rate * exposure), 0.0, missed)
    return math.fsum((missed * missed).tolist())


def _why_not(patients: int, events: int) -> Reason | None:
    if patients == 0:
        return Reason.NO_PATIENTS
    if patients == 1:
        return Reason.ONE_PATIENT
    return None if events else Reason.NO_STANDARD_ERROR


def _interval(
    of: str, level: float, rate: float | None, variance: float | None, reason: Reason | None, patients: int = 0
) -> Interval:
    low = high = None
    if variance is not None and variance <= _NOISE:
        reason = Reason.CONSTANT_VALUES
    elif rate is not None and variance is not None:
        half = _t(patients - 1, level) * math.sqrt(variance)
        low = rate * math.exp(-half)
        high = rate * math.exp(half) if half < _LARGEST_LOGARITHM else math.inf
        if math.isinf(high):
            high, reason = None, Reason.OUT_OF_RANGE
    return Interval(of=of, method="cluster_robust_log_t", level=level, low=low, high=high, reason=reason)


def _no_proportion(patients: int, level: float, reason: Reason) -> ClusteredProportion:
    interval = Interval(of="rate", method="korn-graubard", level=level, low=None, high=None, reason=reason)
    return ClusteredProportion(
        patients=patients, design_effect=None, effective_n=None, interval=interval, reason=reason
    )


def _t(degrees: int, level: float) -> float:
    from scipy.special import stdtrit

    return -float(stdtrit(degrees, (1 - level) / 2))


def _clopper_pearson(k: float, n: float, level: float) -> tuple[float, float]:
    """Clopper-Pearson limits of k of n, where k and n need not be whole numbers."""
    from scipy.special import betainccinv, betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betainccinv(k + 1, n - k, tail)) if k < n else 1.0
    return low, high
