import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.estimate.changes.multiplicity import PROCEDURES, adjust
from tests.estimate import twins

P = st.sampled_from([0.0, 0.01, 0.02, 0.04, 0.05, 0.5, 1.0]) | st.floats(0, 1)
FAMILY = st.lists(P, max_size=6)
WEEKS = st.lists(P | st.none(), max_size=6)
WEEKS_IN_ANY_ORDER = WEEKS.flatmap(lambda p: st.tuples(st.just(p), st.permutations(range(len(p)))))


@given(FAMILY)
def test_holm_is_closed_testing_by_bonferroni(p):
    assert adjust(p, "holm") == pytest.approx(twins.holm(p), rel=1e-15)


@given(FAMILY, st.floats(0.001, 0.999))
def test_hochberg_rejects_what_his_procedure_rejects(p, alpha):
    adjusted = adjust(p, "hochberg")
    close = any(abs(a - alpha) < 1e-12 for a in adjusted)
    assert close or [a <= alpha for a in adjusted] == twins.hochberg_rejects(p, alpha)


@given(FAMILY, st.floats(0.001, 0.999))
def test_the_backward_sequence_rejects_down_to_the_first_failure(p, alpha):
    rejected = []
    for each in reversed(p):
        rejected.append(each <= alpha and all(rejected))
    assert [a <= alpha for a in adjust(p, "fixed_sequence_backward")] == rejected[::-1]


@given(WEEKS, st.sampled_from(["holm", "hochberg", "none"]))
def test_weeks_without_a_p_neither_get_one_nor_count(p, method):
    adjusted = adjust(p, method)
    present = [each for each in p if each is not None]
    assert [a is None for a in adjusted] == [each is None for each in p]
    assert tuple(a for a in adjusted if a is not None) == adjust(present, method)


@given(WEEKS, st.sampled_from(sorted(PROCEDURES)))
def test_an_adjusted_p_is_never_smaller_nor_above_1(p, method):
    assert all(each <= a <= 1 for each, a in zip(p, adjust(p, method), strict=True) if a is not None)


@given(WEEKS_IN_ANY_ORDER, st.sampled_from(["holm", "hochberg"]))
def test_the_order_of_the_weeks_does_not_matter_to_holm_and_hochberg(shuffled, method):
    p, order = shuffled
    assert adjust([p[i] for i in order], method) == tuple(adjust(p, method)[i] for i in order)


def test_a_week_without_a_p_breaks_the_backward_chain():
    assert adjust([0.001, None, 0.02, 0.01], "fixed_sequence_backward") == (None, None, 0.02, 0.01)
    assert adjust([0.001, 0.01, None], "fixed_sequence_backward") == (None, None, None)


def test_without_adjustment_p_stays():
    assert adjust([0.04, None, 0.01], "none") == (0.04, None, 0.01)


def test_an_unknown_method_and_what_is_no_probability_are_refused():
    with pytest.raises(ValueError, match="`method` must be one of holm"):
        adjust([0.1], "sidak")
    with pytest.raises(ValueError, match="`p`"):
        adjust([0.1, 1.1], "holm")
    with pytest.raises(ValueError, match="`p`"):
        adjust([float("nan")], "none")
