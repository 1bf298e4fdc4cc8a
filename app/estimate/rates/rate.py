"""Events per unit of exposure, with the exact Poisson interval."""

from app.estimate.results import EventRate, Interval, Reason


def event_rate(events: int, exposure: float, unit: str, *, level: float = 0.95) -> EventRate:
    """`events` per `unit` of `exposure` with Garwood's exact interval (R `poisson.test(events, exposure)`).

    Events of one patient are counted as if they were independent, which they seldom are. Without exposure nothing is
    defined.
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
