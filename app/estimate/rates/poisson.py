"""One event rate, and the ratio of two rates, with exact intervals for Poisson counts."""

from pydantic import Field, model_validator

from app.estimate.arithmetic import check_level
from app.estimate.results import EventRate, Interval, Number, PBelow, Reason, Result, WhyNull, never_zero


class RateRatio(Result):
    """The ratio of two event rates, with its test and interval."""

    ratio: Number | None = Field(description="First rate over second rate.", examples=[1.971488])
    p: Number | None = Field(description="Two-sided p of equal rates (exact, conditional).", examples=[0.07967])
    p_below: PBelow = None
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the ratio.", examples=[[]])

    _never_zero = model_validator(mode="before")(never_zero)


def rate_ratio(
    events: int, exposure: float, other_events: int, other_exposure: float, *, level: float = 0.95
) -> RateRatio:
    """The ratio (events / exposure) / (other_events / other_exposure), as R `poisson.test` compares two rates.

    Given the total of events, the events of the first exposure are binomial, with probability r t / (r t + t') at the
    ratio r. The limits are those of Clopper and Pearson (1934) for that probability, converted to the ratio. p is that
    of R `binom.test`, the sum over the outcomes that are not more probable than the observed one. A ratio to a rate of
    0 has no value and no upper limit. Without any event, or if one exposure is 0, nothing is defined.
    """
    check_level(level)
    total = events + other_events
    if exposure <= 0 or other_exposure <= 0 or not total:
        why = Reason.NO_INFORMATION if exposure > 0 and other_exposure > 0 else Reason.NO_PATIENTS
        return RateRatio(ratio=None, p=None, reason=why, intervals=(_interval(level, None, None, why),))
    from scipy.special import betainccinv, betaincinv
    from scipy.stats import binomtest

    tail, scale = (1 - level) / 2, other_exposure / exposure
    low = _odds(float(betaincinv(events, other_events + 1, tail))) * scale if events else 0.0
    high = _odds(float(betainccinv(events + 1, other_events, tail))) * scale if other_events else None
    reason = None if other_events else Reason.ZERO_DENOMINATOR
    return RateRatio(
        ratio=events / other_events * scale if other_events else None,
        p=float(binomtest(events, total, exposure / (exposure + other_exposure)).pvalue),
        reason=reason,
        intervals=(_interval(level, low, high, reason),),
    )


def _odds(share: float) -> float:
    return share / (1 - share)


def _interval(level: float, low: float | None, high: float | None, reason: Reason | None) -> Interval:
    return Interval(of="rate_ratio", method="poisson_exact_conditional", level=level, low=low, high=high, reason=reason)


def event_rate(events: int, exposure: float, unit: str, *, level: float = 0.95) -> EventRate:
    """`events` per `unit` of `exposure` with Garwood's exact interval (R `poisson.test(events, exposure)`).

    The method assumes that the events of one patient are independent; often they are not (see `clustered_rate`).
    Without exposure nothing is defined.
    """
    if exposure <= 0:
        interval = Interval(
            of="rate", method="poisson_exact", level=level, low=None, high=None, reason=Reason.NO_PATIENTS
        )
        return EventRate(
            events=events, exposure=0, unit=unit, rate=None, reason=Reason.NO_PATIENTS, intervals=(interval,)
        )
    from scipy.special import gammainccinv, gammaincinv

    tail = (1 - level) / 2
    low = float(gammaincinv(events, tail)) / exposure if events else 0.0
    high = float(gammainccinv(events + 1, tail)) / exposure
    interval = Interval(of="rate", method="poisson_exact", level=level, low=low, high=high)
    return EventRate(events=events, exposure=exposure, unit=unit, rate=events / exposure, intervals=(interval,))
