"""`profile=` gives the figures of the package, where the package or its documentation gives figures."""

import math
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from statsmodels.duration.survfunc import SurvfuncRight

from app.analyses import Options
from app.estimate.changes.paired_change import paired_change
from app.estimate.rates.proportion import proportion
from app.estimate.times.survival import kaplan_meier
from app.protocol.conventions import PROFILES, Conventions, ProfileName
from app.protocol.presets import SEED_2008
from tests.estimate.reference import near, r_cases


def conventions(profile):
    return Options(profile=profile).conventions(Conventions())


def median_of(times, events, profile):
    asked = conventions(profile)
    return kaplan_meier(times, events, interval=asked.interval, median=asked.median, plateau=asked.plateau).median


def in_arrays(case):
    time, event = case["input"]["time"], case["input"]["event"]
    return (time, event) if isinstance(time, list) else ([time], [event])


@pytest.mark.parametrize("case", r_cases("km"))
def test_the_median_and_its_limits_under_r_are_those_of_survfit(case):
    expected = case["expected"]["median_by_conf_type"]["log"]
    median = median_of(*in_arrays(case), "R")
    if case["id"] == "km_half_then_all_censored":
        assert median.value == 40  # the left end, as R prints it; the reference has the result of quantile.survfit
        return
    limits = median.intervals[0]
    assert {"median": median.value, "lower": limits.low, "upper": limits.high} == expected


@pytest.mark.parametrize("case", r_cases("paired"))
def test_the_signed_rank_p_under_r_is_that_of_wilcox_test(case):
    """`wilcox.test` is exact below 50 differences without ties and zeros, else normal with continuity correction."""
    differences = case["input"]["differences"]
    kept = [abs(d) for d in differences if d]
    tied = len({float(f"{d:.12g}") for d in kept}) < len(kept) or len(kept) < len(differences)
    expected = case["expected"]["p_normal_corrected" if tied or len(kept) >= 50 else "p_exact"]

    [rank, _] = paired_change(differences, signed_rank_p=conventions("R").signed_rank_p).tests

    assert rank.p == near(expected)


def test_sleep_under_r_and_without_correction():
    """R 4.2.2: wilcox.test(sleep) 0.009091; without continuity correction 0.007632."""
    sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]

    by_r = paired_change(sleep, signed_rank_p=conventions("R").signed_rank_p).tests[0]
    plain = paired_change(sleep, signed_rank_p="normal").tests[0]

    assert (by_r.method, round(by_r.p, 6)) == ("wilcoxon_normal_corrected", 0.009091)
    assert (plain.method, round(plain.p, 6)) == ("wilcoxon_normal", 0.007632)


@pytest.mark.parametrize("case", r_cases("binom"))
def test_a_proportion_under_r_is_that_of_binom_test(case):
    [interval] = proportion(case["input"]["x"], case["input"]["n"], methods=(conventions("R").proportion,)).intervals

    assert [interval.low, interval.high] == near(case["expected"]["clopper_pearson"])


@pytest.mark.parametrize("case", r_cases("km"))
def test_the_median_under_lifelines_is_that_of_lifelines_where_it_does_what_it_documents(case):
    times, events = in_arrays(case)
    fit = KaplanMeierFitter().fit(times, events)
    curve = fit.survival_function_["KM_estimate"]
    documented = next((float(time) for time, s in curve.items() if s <= 0.5 + 1e-8), math.inf)
    exact = all(abs(s - 0.5) > 1e-8 or s <= 0.5 for s in curve)

    median = median_of(times, events, "lifelines")

    assert (math.inf if median.value is None else median.value) == documented
    if exact:
        assert documented == fit.median_survival_time_


def test_the_known_error_of_lifelines_is_not_repeated():
    times = [1, 2, 3, 4, 5, 6]

    assert KaplanMeierFitter().fit(times).median_survival_time_ == 4
    assert median_of(times, [1] * 6, "lifelines").value == 3


@pytest.mark.parametrize(
    ("times", "events", "median"),
    [
        ([100, 200, 300, 400], [1, 1, 1, 1], 250),
        (
            [45, 80, 120, 150, 200, 260, 301, 368, 400, 430, 500, 520, 600, 700],
            [1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 0],
            334.5,
        ),
    ],
)
def test_the_median_under_sas_is_the_midpoint_that_lifetest_documents(times, events, median):
    assert median_of(times, events, "SAS").value == median


FIVE_OF_TEN = [54, 75, 77, 84, 87, 92, 103, 105, 112, 118]
"""Ten times of which the first five are events: the curve is at 0.5 from 87 on."""


@pytest.mark.parametrize(
    ("last", "profile", "median"),
    [
        pytest.param(0, "SAS", None, id="SAS answers NE if no event follows"),
        pytest.param(1, "SAS", 102.5, id="and the middle if the last time is an event"),
        pytest.param(0, "R", 87, id="R prints the left end"),
        pytest.param(1, "R", 102.5, id="and the middle"),
    ],
)
def test_a_plateau_at_one_half_is_answered_as_the_packages_do(last, profile, median):
    """SAS by its side-by-side output with R in PSIAIMS/CAMIS, `Comp/r-sas_survival.qmd` and the discussion of it; R
    4.2.2, survival 3.5-3, `print.survfit`.
    """
    found = median_of(FIVE_OF_TEN, [1] * 5 + [0] * 4 + [last], profile)
    assert (found.value, found.reason) == (median, "not_reached" if median is None else None)


def percentile_of_lifetest(patients):
    """The median by the words of the manual of PROC LIFETEST on exact fractions: the middle of inf{t: S(t) <= 1/2} and
    inf{t: S(t) < 1/2}, missing if one of them does not exist.
    """
    curve, left = [], Fraction(1)
    for time in sorted({time for time, event in patients if event}):
        at_risk = [each for each in patients if each[0] >= time]
        left *= 1 - Fraction(sum(each == (time, True) for each in at_risk), len(at_risk))
        curve.append((time, left))
    reached = [time for time, survival in curve if 2 * survival <= 1]
    below = [time for time, survival in curve if 2 * survival < 1]
    return (reached[0] + below[0]) / 2 if below else None


@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=16))
@example([(1, True), (2, True), (3, False), (4, False)])
@example([(1, True), (2, True), (3, True), (3, False)])
def test_the_median_under_sas_is_the_percentile_of_lifetest(patients):
    found = median_of(*zip(*patients, strict=True), "SAS")
    assert found.value == percentile_of_lifetest(patients)


@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=2, max_size=16))
@example([(time, time < 90) for time in FIVE_OF_TEN])
def test_the_limits_under_sas_are_the_event_times_that_the_method_of_sas_finds_in_another_library(patients):
    """Statsmodels follows the manual of PROC LIFETEST, and is tested with its example. A curve that ends at 0 is left
    out: there the two libraries differ.
    """
    patients = [*patients, (13, False)]
    assume(any(event for _, event in patients))
    times, events = zip(*patients, strict=True)
    with np.errstate(all="ignore"):
        low, high = SurvfuncRight(times, np.array(events, dtype=int)).quantile_ci(0.5)

    [limits] = median_of(times, events, "SAS").intervals

    assert limits.low == (low if math.isfinite(low) else None)
    assert limits.high == (high if math.isfinite(high) else None)


@pytest.mark.parametrize("name", get_args(ProfileName))
def test_a_profile_sets_choices_that_exist_and_says_what_it_leaves(name):
    settings = PROFILES[name]
    declared = Conventions(multiplicity="hochberg", zeros="pratt")
    applied = Options(profile=name).applied_profile()

    Conventions(**{switch: setting.value for switch, setting in settings.items()})
    assert {*applied.set} | {*applied.not_offered} == {*Conventions.model_fields}
    assert {*applied.unverified} == {switch for switch, setting in settings.items() if not setting.checked}
    for switch in applied.not_offered:
        assert getattr(Options(profile=name).conventions(declared), switch) == getattr(declared, switch)


def test_a_convention_that_is_given_is_not_listed_as_set_by_the_profile():
    applied = Options(profile="R", interval="plain").applied_profile()

    assert "interval" not in applied.set
    assert Options(profile="R", interval="plain").conventions(Conventions()).interval == "plain"


def test_a_protocol_from_before_a_switch_existed_keeps_its_digest():
    """The digest of the preset as version 0.1.0 declared it."""
    first = "sha256:8d0e1e2f83fff5a4ec2f7c1fa67ebc094878d3a312af70b288d9f0b3d5540f75"

    assert SEED_2008.digest == first
    other = SEED_2008.model_copy(update={"conventions": Conventions(signed_rank_p="normal")})
    assert other.digest != first
