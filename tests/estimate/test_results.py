import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

import app.estimate
from app.estimate.changes.multiplicity import adjust
from app.estimate.changes.paired_change import paired_change
from app.estimate.changes.ratio import geometric_mean_ratio, ratio_interval
from app.estimate.changes.signed_rank import signed_rank_test
from app.estimate.changes.two_samples import two_samples
from app.estimate.rates.contingency import fisher_exact, mcnemar_exact
from app.estimate.rates.poisson import rate_ratio
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Number, Reason, Result, Survival, TestResult
from app.estimate.summary import summarise
from app.estimate.times.group_survival import log_rank
from app.estimate.times.survival import kaplan_meier, restricted_mean
from tests.repetition import repeats

MODELS = [each for each in Result.__subclasses__() if each.__module__ == Result.__module__]
NUMBERS = st.lists(st.integers(-3, 3) | st.floats(-1e6, 1e6), max_size=8)
PATIENTS = st.lists(st.tuples(st.integers(0, 5) | st.floats(0, 5), st.booleans()), max_size=8)
WITHOUT_A_REASON = {"df", "p_adjusted", "adjustment", "estimate", "bounds", "p_below"}
"""Null in these is no failure: rank tests have no df, a test may stand alone, most estimates stand beside, and
most changes have no bounds.
"""


def everything_computed(numbers, patients):
    array = np.array(numbers, dtype=np.float64)
    durations, events = np.array([t for t, _ in patients]), np.array([e for _, e in patients], dtype=bool)
    k = np.int64(len(numbers)) // 2
    yield proportion(k, np.int64(len(numbers)), methods=["clopper-pearson", "wilson", "jeffreys", "mid-p"])
    yield paired_change(array)
    yield paired_change(array, zeros="pratt", level=np.float64(0.9))
    yield kaplan_meier(durations, events, interval="plain")
    yield kaplan_meier(durations, events)
    yield restricted_mean(durations, events, until=np.float64(3))
    yield summarise(array)
    yield from map(ratio_interval, paired_change(array).intervals)


def parts(result):
    """The result and every result inside it."""
    yield result
    for value in vars(result).values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, BaseModel):
                yield from parts(each)


@settings(max_examples=repeats(30, thorough=100))
@given(NUMBERS, PATIENTS)
def test_results_hold_plain_finite_numbers_and_a_null_has_its_reason(numbers, patients):
    for result in everything_computed(numbers, patients):
        for part in parts(result):
            values = {name: value for name, value in vars(part).items() if not isinstance(value, tuple | BaseModel)}
            assert {type(value) for value in values.values()} <= {int, float, str, type(None), Reason}
            assert all(math.isfinite(value) for value in values.values() if isinstance(value, float))
            nulls = {name for name, value in values.items() if value is None} - WITHOUT_A_REASON - {"reason"}
            assert bool(nulls) == (values.get("reason") is not None), (part, nulls)


@settings(max_examples=repeats(30, thorough=100))
@given(NUMBERS, PATIENTS)
def test_what_is_written_as_json_can_be_read_back(numbers, patients):
    for result in everything_computed(numbers, patients):
        written = result.model_dump_json()
        assert type(result).model_validate_json(written).model_dump_json() == written


@pytest.mark.parametrize("p", [0, 0.0, 1e-320, 9.9e-301])
def test_a_p_is_never_zero(p):
    test = TestResult(method="wald_z", statistic=40, p=p, n_used=9, n_zero=0)
    assert (test.p, test.p_below, test.p_at_most, test.reason) == (None, 1e-300, 1e-300, Reason.P_BELOW_LEAST)
    assert '"p":null,"p_below":1e-300,' in test.model_dump_json()
    assert TestResult.model_validate_json(test.model_dump_json()) == test


def test_a_p_that_can_be_written_is_and_nothing_is_below_it():
    test = TestResult(method="wald_z", statistic=37, p=1e-300, n_used=9, n_zero=0)
    assert (test.p, test.p_below, test.p_at_most, test.reason) == (1e-300, None, 1e-300, None)
    assert "p_below" not in test.model_dump_json()


def test_every_test_whose_p_would_underflow_says_so():
    n = 4000
    large = np.concatenate([np.full(n, 1.0), np.full(n, 1.0 + 1e-6)])
    apart = (np.arange(2 * n, dtype=float), np.ones(2 * n), np.repeat([0, 1], n))
    found = [
        paired_change(large).tests[1],
        signed_rank_test(np.arange(1.0, n)),
        fisher_exact(n, n, 0, n).test,
        mcnemar_exact(n, 0, 0).test,
        log_rank(*apart, 2).test,
        two_samples(np.arange(float(n)), np.arange(float(n)) + n).test,
    ]
    assert [(test.p, test.p_below) for test in found] == [(None, 1e-300)] * len(found)
    ratio = rate_ratio(3000, 1, 0, 1)
    assert (ratio.p, ratio.p_below) == (None, 1e-300)


def test_a_p_too_small_to_write_stays_in_its_family_of_tests():
    assert adjust([1e-300, 0.04], "holm") == (2e-300, 0.04)


def test_a_hodges_lehmann_estimate_that_is_null_is_written_and_a_t_interval_has_none():
    t, pseudomedian = (json.loads(each.model_dump_json()) for each in paired_change([]).intervals)
    assert "estimate" not in t
    assert (pseudomedian["estimate"], pseudomedian["reason"]) == (None, "no_patients")


def test_json_shows_twelve_significant_digits_and_no_negative_zero():
    number = TypeAdapter(Number)
    assert number.dump_json(1 / 3) == b"0.333333333333"
    assert number.dump_json(6.103515625e-05) == b"0.00006103515625"
    assert number.dump_json(-0.0) == b"0.0"
    assert number.dump_python(1 / 3) == 1 / 3


def test_the_schema_of_a_number_is_a_number():
    for mode in ("validation", "serialization"):
        assert TypeAdapter(Number).json_schema(mode=mode)["type"] == "number"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_is_finite(value):
    with pytest.raises(ValidationError):
        TypeAdapter(Number).validate_python(value)


def test_a_result_cannot_be_changed_or_given_a_field_that_is_not_declared():
    result = proportion(1, 2)
    with pytest.raises(ValidationError):
        result.rate = 1.0
    with pytest.raises(ValidationError):
        Interval(of="rate", method="wilson", level=0.95, low=0, high=1, width=1)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_described_with_an_example_that_is_valid(model):
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert field.examples, name
        for example in field.examples:
            TypeAdapter(field.annotation).validate_json(json.dumps(example))


def test_every_reason_is_explained_to_the_readers_of_the_schema():
    schema = TypeAdapter(Reason).json_schema()
    assert schema["enum"] == [str(each) for each in Reason]
    for each in Reason:
        assert f"`{each}`: {each.description}" in schema["description"]
        assert each.description.endswith(".")


def test_an_answer_has_the_fields_of_the_contract():
    rate = json.loads(proportion(14, 15).model_dump_json())["intervals"][0]
    assert list(rate) == ["of", "method", "level", "low", "high", "reason"]
    change = json.loads(paired_change([1, 2, 3]).model_dump_json())
    assert list(change["tests"][0]) == [
        "method", "statistic", "df", "p", "p_adjusted", "adjustment", "n_used", "n_zero", "reason",
    ]  # fmt: skip
    assert set(change["intervals"][1]) == {"of", "method", "level", "low", "high", "estimate", "reason"}
    survival = json.loads(kaplan_meier([1, 2, 3], [1, 1, 0]).model_dump_json())
    assert list(survival) == ["n", "events", "median", "curve", "numbers_at_risk"]
    assert {"value", "unit", "convention", "reason", "intervals"} <= set(survival["median"])
    assert list(survival["curve"][0]) == [
        "time", "at_risk", "events", "censored", "survival", "low", "high", "censorings",
    ]  # fmt: skip


def test_a_curve_shows_a_reason_only_where_its_band_ends():
    curve = json.loads(kaplan_meier([1, 2], [1, 1]).model_dump_json())["curve"]
    assert [point.get("reason") for point in curve] == [None, None, "no_survivors"]
    assert "reason" not in curve[0]


def test_a_ratio_is_the_exponential_of_a_difference_of_logarithms():
    change = paired_change([math.log(0.5), math.log(0.25), math.log(0.125)])
    assert geometric_mean_ratio(change.mean) == pytest.approx(0.25)
    mean, shift = change.intervals
    ratio = ratio_interval(mean)
    assert (ratio.of, ratio.method, ratio.level) == ("geometric_mean_ratio", "t", 0.95)
    assert (math.log(ratio.low), math.log(ratio.high)) == (pytest.approx(mean.low), pytest.approx(mean.high))
    assert ratio_interval(mean, of="ratio_of_ratios").of == "ratio_of_ratios"
    assert ratio_interval(shift).estimate == pytest.approx(0.25)


def test_the_ratio_of_nothing_is_nothing():
    assert geometric_mean_ratio(None) is None
    assert ratio_interval(paired_change([]).intervals[0]).reason == Reason.NO_PATIENTS


def test_a_ratio_too_large_for_a_number_is_null_with_a_reason():
    mean = paired_change([-14.0, 14.0], level=0.9999).intervals[0]
    ratio = ratio_interval(mean)
    assert (ratio.low, ratio.high, ratio.reason) == (0, None, Reason.OUT_OF_RANGE)


def test_the_models_do_not_pass_for_test_classes():
    assert TestResult.__test__ is False


def test_importing_the_room_loads_neither_scipy_nor_lifelines():
    modules = sorted(f"app.estimate.{path.stem}" for path in Path(app.estimate.__file__).parent.glob("[a-z]*.py"))
    program = (
        f"import sys\nimport {', '.join(modules)}\nprint(sorted({{'scipy', 'lifelines', 'pandas'}} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")


def test_survival_is_described_as_a_whole():
    definitions = Survival.model_json_schema(mode="serialization")["$defs"]
    assert {"CurvePoint", "Interval", "Median", "Reason"} <= set(definitions)
