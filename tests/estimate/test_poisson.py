"""Event rates and their exact Poisson intervals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.estimate.rates.poisson import event_rate


@pytest.mark.parametrize(
    ("events", "exposure", "rate", "low", "high"),
    [
        (137, 24.19893, 5.661407, 4.753125, 6.692709),  # R: poisson.test(137, 24.19893), the example of its help page
        (7, 10, 0.7, 0.281436, 1.442268),  # R: poisson.test(7, 10)
        (0, 10, 0.0, 0.0, 0.368888),  # R: poisson.test(0, 10)
    ],
)
def test_rate_and_interval_are_those_of_poisson_test(events, exposure, rate, low, high):
    found = event_rate(events, exposure, "patient-year")
    [interval] = found.intervals

    assert found.rate == pytest.approx(rate, abs=1e-6)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-6)
    assert interval.method == "poisson_exact"


def test_without_exposure_there_is_no_rate():
    found = event_rate(0, 0, "infusion")

    assert (found.rate, found.reason) == (None, "no_patients")
    assert found.intervals[0].low is found.intervals[0].high is None


def tail_at_least(events, mean):
    """P(X >= events) for a Poisson X, term by term."""
    return 1 - math.fsum(math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(events))


@given(st.integers(1, 60), st.floats(0.1, 500), st.sampled_from([0.8, 0.95, 0.99]))
def test_each_limit_leaves_half_of_the_rest_in_its_tail(events, exposure, level):
    [interval] = event_rate(events, exposure, "course", level=level).intervals
    half = (1 - level) / 2

    assert tail_at_least(events, interval.low * exposure) == pytest.approx(half, rel=1e-6)
    assert 1 - tail_at_least(events + 1, interval.high * exposure) == pytest.approx(half, rel=1e-6)
