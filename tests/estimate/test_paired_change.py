import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.estimate.changes.hodges_lehmann import hodges_lehmann, walsh_average
from app.estimate.changes.paired_change import paired_change
from app.estimate.changes.signed_rank import LARGEST_EXACT, rounded, signed_rank_test
from app.estimate.results import Reason
from tests.estimate import twins

TIED = st.lists(st.integers(-4, 4), max_size=9)
READINGS = st.lists(st.integers(-300, 300).map(lambda tenths: tenths / 10), max_size=9)
LOGARITHMS = st.lists(st.floats(-5, 5, allow_subnormal=False).map(lambda x: round(x, 9)), max_size=9)
DIFFERENCES = TIED | READINGS | LOGARITHMS
ZEROS = st.sampled_from(["drop", "pratt"])


@given(DIFFERENCES, ZEROS)
def test_the_signed_rank_test_counts_every_pattern_of_signs(differences, zeros):
    result = signed_rank_test(differences, zeros)
    if differences:
        assert (result.statistic, result.p) == twins.signed_rank(differences, zeros)
    assert result.n_zero == differences.count(0)
    assert result.n_used == len(differences) - result.n_zero


@given(TIED | READINGS, ZEROS, st.sampled_from([0.5, 0.75, 0.9, 0.95, 0.99]))
@example([1, 2, 3, 4, 5], "drop", 0.9375)  # exactly attained by the whole range
@example([1, 2, 3, 4, 5, 6, 7], "drop", 1 - 2 * 2 / 128)  # a tail that V attains exactly
def test_the_pseudomedian_and_its_limits_are_walsh_averages(differences, zeros, level):
    result = hodges_lehmann(differences, level=level, zeros=zeros)
    kept = [d for d in differences if d != 0 or zeros == "pratt"]
    if not kept:
        assert (result.estimate, result.low, result.high) == (None, None, None)
        return
    estimate, low, high = twins.pseudomedian(kept, level)
    assert result.estimate == pytest.approx(estimate, abs=1e-12)
    assert (result.low, result.high) == (
        (None, None) if low is None else (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
    )


@given(st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3), min_size=1, max_size=60), st.data())
def test_the_selected_walsh_average_is_the_one_that_sorting_finds(values, data):
    ordered = rounded(values)
    averages = twins.walsh_averages(ordered.tolist())
    k = data.draw(st.integers(1, len(averages)))
    scale = max(abs(each) for each in values)
    assert walsh_average(ordered, k) == pytest.approx(averages[k - 1], rel=0, abs=4e-15 * scale)


MANY = {
    "scattered": [math.sin(i) for i in range(60)],
    "tied": [i % 7 - 2.0 for i in range(60)],
    "skewed": [math.exp(i / 10) for i in range(60)],
    "equal": [3.0] * 60,
    "two decimals whose sum is inexact": [0.1] * 60 + [0.2] * 60,
}


@pytest.mark.slow
@pytest.mark.parametrize("values", MANY.values(), ids=MANY)
def test_every_selected_walsh_average_of_many_values_is_the_one_that_sorting_finds(values):
    ordered = rounded(values)
    averages = twins.walsh_averages(ordered.tolist())
    selected = [walsh_average(ordered, k) for k in range(1, len(averages) + 1)]
    assert selected == pytest.approx(averages, rel=0, abs=1e-15 * max(values))


@given(st.lists(st.floats(-1e4, 1e4, allow_subnormal=False).map(lambda x: round(x, 6)), min_size=2, max_size=40))
def test_the_t_test_is_that_of_scipy_where_there_is_one(differences):
    from scipy.stats import ttest_1samp

    result = paired_change(differences, t_name="one_sample_t")
    t = result.tests[1]
    assert t.method == "one_sample_t"
    if len(set(differences)) == 1:
        assert (t.statistic, t.p, t.reason) == (None, None, Reason.CONSTANT_DIFFERENCES)
        return
    other = ttest_1samp(differences, 0)
    interval = other.confidence_interval(0.95)
    scale = max(abs(each) for each in differences)
    assert t.df == other.df
    assert t.statistic == pytest.approx(other.statistic, rel=1e-6, abs=1e-9)
    assert t.p == pytest.approx(other.pvalue, rel=1e-5)
    assert (result.intervals[0].low, result.intervals[0].high) == pytest.approx(interval, rel=1e-9, abs=1e-9 * scale)


@given(DIFFERENCES.flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))), ZEROS)
def test_the_order_of_the_patients_does_not_change_a_digit(orders, zeros):
    one, other = (paired_change(each, zeros=zeros) for each in orders)
    assert one.model_dump_json() == other.model_dump_json()
    assert one == other


@given(DIFFERENCES, ZEROS)
def test_changing_every_sign_mirrors_the_change(differences, zeros):
    one, other = (paired_change([sign * d for d in differences], zeros=zeros) for sign in (1, -1))
    assert [test.p for test in one.tests] == [test.p for test in other.tests]
    for a, b in zip(one.intervals, other.intervals, strict=True):
        assert (a.low is None) == (b.high is None)
        assert a.low is None or a.low == pytest.approx(-b.high, abs=1e-12)


def test_no_differences_have_no_statistics():
    result = paired_change([])
    assert (result.n, result.mean, result.median, result.sd) == (0, None, None, None)
    everything = [result, *result.tests, *result.intervals]
    assert {each.reason for each in everything} == {Reason.NO_PATIENTS}
    assert [(test.statistic, test.p) for test in result.tests] == [(None, None), (None, None)]


def test_one_difference_has_a_centre_but_no_spread():
    result = paired_change([-3])
    rank, t = result.tests
    mean, shift = result.intervals
    assert (result.mean, result.median, result.sd, result.reason) == (-3, -3, None, Reason.TOO_FEW_VALUES)
    assert (rank.statistic, rank.p, rank.reason) == (0, 1, None)
    assert (t.statistic, t.df, t.p, t.reason) == (None, None, None, Reason.TOO_FEW_VALUES)
    assert (mean.low, mean.high, mean.reason) == (None, None, Reason.TOO_FEW_VALUES)
    assert (shift.estimate, shift.low, shift.high, shift.reason) == (-3, None, None, Reason.LEVEL_NOT_ATTAINABLE)


def test_equal_differences_have_no_t_but_do_have_ranks():
    """SciPy answers t = infinity and p = 0 here."""
    result = paired_change([2.5] * 6)
    rank, t = result.tests
    mean, shift = result.intervals
    assert (result.mean, result.sd, result.reason) == (2.5, 0, None)
    assert (rank.statistic, rank.p) == (21, 0.03125)
    assert (t.statistic, t.p, t.reason) == (None, None, Reason.CONSTANT_DIFFERENCES)
    assert (mean.low, mean.high, mean.reason) == (None, None, Reason.CONSTANT_DIFFERENCES)
    assert (shift.estimate, shift.low, shift.high, shift.reason) == (2.5, 2.5, 2.5, None)


def test_differences_that_are_equal_but_for_rounding_have_no_t():
    differences = [1.1 - 1.0, 2.1 - 2.0, 4.1 - 4.0]
    assert len(set(differences)) == 2
    result = paired_change(differences)
    assert (result.sd, result.tests[1].reason) == (0, Reason.CONSTANT_DIFFERENCES)


def test_readings_that_changed_alike_are_tied_whatever_binary_says():
    """1.3 - 1.1, 0.3 - 0.1 and 2.2 - 2.0 are three different floats and one change."""
    differences = [1.3 - 1.1, 0.3 - 0.1, -(2.2 - 2.0)]
    assert len({abs(each) for each in differences}) == 3
    assert signed_rank_test(differences).statistic == 4


def test_zero_differences_throughout_are_no_effect_with_p_1():
    result = paired_change([0, 0, 0, -0.0, 0, 0])
    rank, t = result.tests
    shift = result.intervals[1]
    assert (rank.statistic, rank.p, rank.n_used, rank.n_zero, rank.reason) == (0, 1, 0, 6, None)
    assert (t.p, t.n_used, t.n_zero, t.reason) == (None, 6, 6, Reason.CONSTANT_DIFFERENCES)
    assert (shift.estimate, shift.low, shift.reason) == (None, None, Reason.ALL_DIFFERENCES_ZERO)


def test_zeros_stay_in_the_pseudomedian_of_pratt():
    shift = paired_change([0] * 6, zeros="pratt").intervals[1]
    assert (shift.estimate, shift.low, shift.high) == (0, 0, 0)


def test_the_level_is_that_of_both_intervals():
    wide, narrow = (paired_change(range(1, 13), level=level).intervals for level in (0.95, 0.5))
    for one, other in zip(wide, narrow, strict=True):
        assert (one.level, other.level) == (0.95, 0.5)
        assert one.low < other.low < other.high < one.high


def test_five_differences_cannot_bear_a_95_percent_interval_and_six_can():
    five, six = (paired_change(range(1, n + 1)).intervals[1] for n in (5, 6))
    assert (five.estimate, five.low, five.reason) == (3, None, Reason.LEVEL_NOT_ATTAINABLE)
    assert (six.low, six.high, six.reason) == (1, 6, None)


def test_r_gives_this_interval_for_eight_differences():
    """qsignrank(.025, 8) is 4, so the limits are the 4th Walsh average from either end."""
    shift = hodges_lehmann([1, 2, 4, 8, 16, 32, 64, 128])
    assert (shift.low, shift.high) == (2.5, 72)


def test_fifty_differences_are_exact_and_fifty_one_are_not():
    fifty, more = (paired_change(range(-10, n - 10)) for n in (LARGEST_EXACT + 1, LARGEST_EXACT + 2))
    assert (fifty.tests[0].n_used, more.tests[0].n_used) == (50, 51)
    assert (fifty.tests[0].method, more.tests[0].method) == ("wilcoxon_exact", "wilcoxon_normal_corrected")
    assert [each.intervals[1].method for each in (fifty, more)] == ["hodges_lehmann_exact", "hodges_lehmann_normal"]


def test_fifty_equal_signs_have_the_exact_p_of_two_in_two_to_the_fiftieth():
    assert paired_change(range(1, 51)).tests[0].p == 2.0**-49


@pytest.mark.parametrize("n", [51, 52, 60, 75])
def test_the_normal_limits_meet_the_exact_ones_where_they_take_over(n):
    """The exact limit, counted in Python's unbounded integers, is the same or the neighbouring Walsh average."""
    values = [float(i * i) for i in range(1, n + 1)]
    averages = twins.walsh_averages(values)
    counts = [1]
    for rank in range(1, n + 1):
        shifted = [0] * rank + counts
        counts = [a + b for a, b in zip(counts + [0] * rank, shifted, strict=True)]
    exact, below = 0, 0
    while 2 * (below + counts[exact]) < 0.05 * 2**n:
        below += counts[exact]
        exact += 1
    assert hodges_lehmann(values).low in averages[exact - 2 : exact + 1]


@pytest.mark.parametrize("zeros", ["drop", "pratt"])
def test_the_normal_p_is_close_to_the_exact_one_where_it_takes_over(zeros, monkeypatch):
    differences = [0, 0, 0] + [(-1) ** (i % 3 == 0) * (i // 2 + 1) for i in range(48)]
    exact = signed_rank_test(differences, zeros)
    monkeypatch.setattr("app.estimate.changes.signed_rank.LARGEST_EXACT", 47)
    normal = signed_rank_test(differences, zeros)
    assert (exact.method + "|" + normal.method).replace("_pratt", "") == "wilcoxon_exact|wilcoxon_normal_corrected"
    assert normal.p == pytest.approx(exact.p, rel=0.05)
    assert normal.method.endswith("_pratt") == (zeros == "pratt")


def test_signs_in_perfect_balance_have_p_1_in_the_normal_test_too():
    balanced = [sign * i for i in range(1, 41) for sign in (1, -1)]
    assert signed_rank_test(balanced).p == 1
    assert signed_rank_test(balanced).method == "wilcoxon_normal_corrected"


def test_a_hundred_thousand_patients_take_no_quadratic_time():
    differences = [math.sin(i) + 0.01 for i in range(100_000)]
    result = paired_change(differences)
    assert result.intervals[1].estimate == pytest.approx(0.01, abs=0.001)
    assert result.tests[0].p < 0.01


@pytest.mark.parametrize("differences", [[math.nan], [math.inf, 1], [[1, 2]], 3, [1e200]])
def test_what_is_no_list_of_finite_numbers_is_refused(differences):
    with pytest.raises(ValueError, match="one-dimensional and finite"):
        paired_change(differences)


def test_an_unknown_treatment_of_zeros_is_refused():
    with pytest.raises(ValueError, match="`zeros` must be drop or pratt"):
        paired_change([1, 2], zeros="zsplit")
