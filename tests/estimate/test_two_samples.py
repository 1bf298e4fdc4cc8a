"""Mann-Whitney test and Hodges-Lehmann shift of two samples."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from app.estimate.changes import selection
from app.estimate.changes import two_samples as module
from app.estimate.changes.selection import kth_sum
from app.estimate.changes.signed_rank import rounded
from app.estimate.changes.two_samples import two_samples
from app.estimate.results import Reason, twelve_digits
from tests.estimate import comparison_twins as twin
from tests.repetition import repeats

VALUES = st.integers(-6, 6).map(lambda x: x / 4)
SAMPLES = st.tuples(st.lists(VALUES, min_size=1, max_size=5), st.lists(VALUES, min_size=1, max_size=5))


@given(SAMPLES, st.sampled_from([0.5, 0.8, 0.9, 0.95]))
@settings(max_examples=repeats(60))
def test_test_and_shift_are_those_of_the_twin(samples, level):
    answer = two_samples(*samples, level=level)
    assert (answer.test.statistic, answer.test.p) == pytest.approx(twin.mann_whitney(*samples), rel=1e-12)
    estimate, low, high = twin.shift(*samples, level)
    assert answer.shift.estimate == pytest.approx(estimate, abs=1e-12)
    if low is None:
        assert (answer.shift.low, answer.shift.high) == (None, None)
        assert answer.shift.reason is Reason.LEVEL_NOT_ATTAINABLE
    else:
        assert [answer.shift.low, answer.shift.high] == pytest.approx([low, high], abs=1e-12)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))
@settings(max_examples=repeats(40))
def test_without_ties_p_is_the_exact_one_of_scipy(n, m, seed):
    drawn = np.random.default_rng(seed).permutation(n + m).astype(float)
    expected = mannwhitneyu(drawn[:n], drawn[n:], method="exact")
    answer = two_samples(drawn[:n], drawn[n:]).test
    assert (answer.statistic, answer.p) == (expected.statistic, pytest.approx(expected.pvalue, rel=1e-12))


@given(
    st.lists(st.integers(0, 30), min_size=20, max_size=60),
    st.lists(st.integers(0, 30), min_size=41, max_size=60),
)
@settings(max_examples=repeats(40))
def test_of_many_values_p_is_the_corrected_one_of_scipy(first, second):
    expected = mannwhitneyu(first, second, method="asymptotic", use_continuity=True)
    answer = two_samples(first, second).test
    assert answer.method == "mann_whitney_normal_corrected"
    assert (answer.statistic, answer.p) == (expected.statistic, pytest.approx(expected.pvalue, rel=1e-10))


def test_the_largest_exact_distribution_is_counted_without_overflow():
    half = module.LARGEST_EXACT // 2
    ways = module.selections(np.arange(1, 2 * half + 1), half)
    assert sum(ways.tolist()) == math.comb(2 * half, half)
    apart = two_samples(np.arange(half), np.arange(half) + half)
    assert apart.test.p == pytest.approx(2 / math.comb(2 * half, half), rel=1e-15)
    assert apart.test.method == "mann_whitney_exact"
    assert two_samples(np.arange(half), np.arange(half + 1)).test.method == "mann_whitney_normal_corrected"


@given(SAMPLES, st.randoms(use_true_random=False), VALUES)
def test_order_does_not_matter_places_change_the_sign_and_a_shift_shifts(samples, random, by):
    first, second = samples
    answer = two_samples(first, second)
    assert two_samples(random.sample(first, len(first)), random.sample(second, len(second))) == answer
    turned = two_samples(second, first)
    assert turned.test.p == pytest.approx(answer.test.p, rel=1e-12)
    assert turned.shift.estimate == pytest.approx(-answer.shift.estimate)
    moved = two_samples([x + by for x in first], second).shift
    assert moved.estimate == pytest.approx(answer.shift.estimate + by)
    if answer.shift.low is not None:
        assert [turned.shift.low, turned.shift.high] == pytest.approx([-answer.shift.high, -answer.shift.low])
        assert [moved.low, moved.high] == pytest.approx([answer.shift.low + by, answer.shift.high + by])


@given(
    st.lists(st.integers(-40, 40), min_size=1, max_size=40),
    st.lists(st.integers(-40, 40), min_size=1, max_size=40),
    st.data(),
)
def test_every_difference_is_found_at_its_place(first, second, data):
    rows, columns = np.sort(np.array(first, dtype=float)), np.sort(np.array(second, dtype=float))
    k = data.draw(st.integers(1, rows.size * columns.size))
    few = data.draw(st.sampled_from([1, selection.FEW]))  # one left, so that the search goes on to the end
    sampled = data.draw(st.sampled_from([1, 2, selection.SAMPLED]))  # samples that say little about where k lies
    expected = np.sort(np.add.outer(rows, columns), axis=None)[k - 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "FEW", few)
        patch.setattr(selection, "SAMPLED", sampled)
        patch.setattr(selection, "SAMPLED_LATER", sampled)
        assert kth_sum(rows, columns, np.zeros(rows.size, dtype=np.int64), k) == expected


def test_the_search_ends_where_its_samples_always_mislead():
    rows = np.concatenate([np.zeros(999), [1e6]])
    columns = np.concatenate([np.arange(500) / 1000, 1e3 + np.arange(500)])
    expected = np.sort(np.add.outer(rows, columns), axis=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection.Sums, "_around", lambda *_: [-1.0, 2e6])
        for k in (1, 250_000, 499_500, 499_501, 999_999, 1_000_000):
            assert kth_sum(rows, columns, np.zeros(rows.size, dtype=np.int64), k) == expected[k - 1]


def test_one_selection_after_another_finds_what_it_finds_alone():
    drawn = np.random.default_rng(5)
    for digits in (0, 1, 15):
        ordered = np.sort(np.round(drawn.normal(size=700), digits))
        start = np.arange(ordered.size)
        sums = selection.Sums(ordered, ordered, start)
        for k in (1, 122_675, 122_676, 100_000, 245_350, 122_675, 240_001):
            assert sums.kth(k) == kth_sum(ordered, ordered, start, k)


DRAWN = {
    "scattered": lambda drawn, n: drawn.normal(-1, 0.5, n),
    "whole numbers": lambda drawn, n: drawn.integers(-4, 5, n),
    "one decimal": lambda drawn, n: np.round(drawn.normal(0, 300, n), 1),
    "logarithms of ratios": lambda drawn, n: np.log(drawn.integers(30, 3000, n) / drawn.integers(30, 3000, n)),
    "each ten times": lambda drawn, n: np.repeat(drawn.normal(size=n // 10), 10),
    "skewed": lambda drawn, n: np.exp(drawn.normal(0, 4, n)),
    "tiny": lambda drawn, n: 1e-300 * drawn.normal(size=n),
    "huge": lambda drawn, n: 1e99 * drawn.normal(size=n),
    "half of them zero": lambda drawn, n: np.where(np.arange(n) % 2, 0.0, drawn.normal(size=n)),
}


@pytest.mark.parametrize("values", DRAWN.values(), ids=DRAWN)
def test_a_selected_sum_is_the_one_that_sorting_all_sums_finds(values):
    """Sums that differ by the rounding of floats count as equal: the figures of an answer are the same."""
    drawn = np.random.default_rng(11)
    for n in (10, 190, 260, 640):
        ordered = rounded(values(drawn, n))
        plain = np.sort(np.add.outer(ordered, ordered)[np.triu_indices(n)])
        sums = selection.Sums(ordered, ordered, np.arange(n))
        for k in (1, *drawn.integers(1, plain.size + 1, 12).tolist(), plain.size // 2, plain.size):
            assert twelve_digits(sums.kth(k) / 2) == twelve_digits(plain[k - 1] / 2)


def test_a_shift_of_middling_samples_is_the_median_of_all_differences():
    drawn = np.random.default_rng(3)
    first, second = np.round(drawn.normal(size=301), 6), np.round(drawn.normal(size=250), 6)
    differences = np.sort(np.subtract.outer(first, second), axis=None)
    spread = 1.959963984540054 * math.sqrt(301 * 250 * 552 / 12)
    c = math.floor(301 * 250 / 2 - spread + 0.5)
    shift = two_samples(first, second).shift
    assert [shift.estimate, shift.low, shift.high] == pytest.approx(
        [np.median(differences), differences[c - 1], differences[-c]], abs=1e-12
    )


def test_a_hundred_thousand_values_are_compared_in_seconds():
    drawn = np.random.default_rng(4)
    start = time.process_time()
    answer = two_samples(drawn.normal(size=50_000) + 0.5, drawn.normal(size=50_000))
    assert time.process_time() - start < 10
    assert answer.shift.low < 0.5 < answer.shift.high


def test_values_that_differ_by_rounding_are_tied():
    assert two_samples([0.1 + 0.2], [0.3]).test.statistic == 0.5
    assert two_samples([1.3 - 1.1, 5], [0.3 - 0.1, 7]).shift.estimate == two_samples([0.2, 5], [0.2, 7]).shift.estimate


def test_equal_values_have_p_1():
    assert two_samples([2.0] * 4, [2.0] * 5).test.p == 1
    many = two_samples([2.0] * 40, [2.0] * 50)
    assert (many.test.p, many.shift.estimate, many.shift.low, many.shift.high) == (1, 0, 0, 0)


@pytest.mark.parametrize("samples", [([], [1.0]), ([1.0], []), ([], [])])
def test_an_empty_sample_is_compared_with_nothing(samples):
    answer = two_samples(*samples)
    assert (answer.test.p, answer.test.reason) == (None, Reason.NO_PATIENTS)
    assert (answer.shift.estimate, answer.shift.low, answer.shift.reason) == (None, None, Reason.NO_PATIENTS)


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        two_samples([1.0, math.nan], [1.0])
