"""Every definition of a grid equals its slow twin, and has the properties that are true for all patients."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.derive.analysis_values import AnalysisValues
from app.derive.ck_normality import UNKNOWN
from app.derive.specifications import SpecificationVerdicts, all_at, baseline_values
from app.derive.study import DerivedStudy
from app.protocol.criteria import (
    BestEnd,
    CkNormal,
    CkPercentOfBaseline,
    DaysWindow,
    PercentBetter,
    PointsBetter,
    VisitWindow,
)
from app.protocol.presets import RELATIVE_20, SEED_2008
from app.protocol.specification import MeasureGrid, Specification, specification_of
from app.timeline.cohort import COMPARATORS, Cohort, InfusionRow, LabRow, PatientRow
from tests.repetition import repeats
from tests.twin import specifications as twin
from tests.twin.cohorts import PROTOCOLS, changed, cohorts

LOWER = changed(SEED_2008, scales=PROTOCOLS[8].scales)
"""MMT with its lower end better, ADL on a scale that begins at 2.3."""
BORROWED = changed(RELATIVE_20, upper_limit="nearest_same_laboratory")
RESCUED = changed(SEED_2008, response_rescue="composite")
CK_THRESHOLDS = [
    CkPercentOfBaseline(id="percent_of_baseline", percent_of_baseline=each, or_normal=normal)
    for each in (30, 50, 69, 70, 71, 100)
    for normal in (True, False)
]
CK_REMISSIONS = [CkNormal(id="ck_normal", sustained=each) for each in (False, True)]
THRESHOLDS = [
    *(PointsBetter(id="points_better", points=each) for each in (0.1, 1.1, 3, 5, 5.05, 10)),
    *(PercentBetter(id="percent_better", percent=each) for each in (0.2, 10, 20.5, 20, 100)),
]
REMISSIONS = [BestEnd(id="best_end_of_scale", within_points=each) for each in (0, 0.1, 5)]
WINDOWS = [
    *(DaysWindow(id="days", days=each, value="best") for each in ((1, 59), (4, 28))),
    *(DaysWindow(id="days", days=each, value="last") for each in ((1, 59), (7, 7))),
    *(VisitWindow(id="visit", week=each) for each in (1, 4, 8)),
]
CONFIRMED = [
    DaysWindow(id="days", days=(1, 59), value="best", confirmed="next_value"),
    DaysWindow(id="days", days=(4, 28), value="any", confirmed="next_value"),
    DaysWindow(id="days", days=(1, 59), value="last", confirmed="next_value"),
    VisitWindow(id="visit", week=1, confirmed="next_value"),
    VisitWindow(id="visit", week=4, confirmed="next_visit"),
]
BASELINES = ["last_on_or_before_day_0", "arithmetic_mean_before_dose", "first_before_dose", "worst_before_dose"]
SETS, MISSING = ["efficacy", "safety", "complete_case"], ["left_out", "non_responder"]


def some(choices, most=2):
    return st.lists(st.sampled_from(choices), min_size=1, max_size=most, unique=True).map(tuple)


@st.composite
def grids(draw):
    measure = draw(st.sampled_from(["CK", "CK", "CK", "MMT", "MMT", "ADL"]))
    is_ck = measure == "CK"
    return MeasureGrid(
        measure=measure,
        thresholds=draw(some(CK_THRESHOLDS if is_ck else THRESHOLDS, 5)),
        remissions=draw(some(CK_REMISSIONS if is_ck else REMISSIONS)),
        windows=draw(some([*WINDOWS, *CONFIRMED], 3)),
        baselines=draw(some([*BASELINES, "geometric_mean_before_dose"] if is_ck else BASELINES, 3)),
        analysis_sets=draw(some(SETS)),
        missing=draw(some(MISSING)),
    )


def named(study, chosen):
    return [row.id for row, it in zip(study.cohort.patients, chosen, strict=True) if it]


@settings(max_examples=repeats(12, thorough=100))
@given(
    cohorts(8),
    st.sampled_from([SEED_2008, RELATIVE_20, LOWER, BORROWED, RESCUED]),
    grids(),
    st.sampled_from([None, None, 0, 14, 28]),
)
def test_every_definition_is_that_of_the_twin(cohort, protocol, own, look_back):
    study = DerivedStudy(cohort, protocol)
    verdicts = SpecificationVerdicts(study, own, look_back)
    patients = twin.patients_known(cohort, protocol, own.measure)
    for kind in ("response", "remission"):
        for specification, found in verdicts.each(kind):
            expected = twin.counted(patients, own, specification, look_back)
            assert named(study, found.evaluable) == list(expected)
            assert named(study, found.responder) == [who for who, responds in expected.items() if responds]


@settings(max_examples=repeats(30))
@given(cohorts(), st.sampled_from(PROTOCOLS))
def test_a_declared_rule_is_a_point_of_the_grid(cohort, protocol):
    study = DerivedStudy(cohort, protocol)
    for declared in protocol.responses:
        specification = specification_of(declared.rule)
        own = MeasureGrid(
            measure=declared.rule.measure,
            thresholds=(specification.criterion,),
            windows=(specification.window,),
            baselines=(specification.baseline,),
        )
        found = SpecificationVerdicts(study, own, None).verdicts(specification)
        alone = study.response(declared.rule)
        assert np.array_equal(found.evaluable, alone.evaluable)
        assert np.array_equal(found.responder, alone.responder)


@settings(max_examples=repeats(30))
@given(cohorts(), st.sampled_from([SEED_2008, LOWER]), st.sampled_from(["CK", "MMT"]), st.data())
def test_to_ask_for_more_never_makes_a_responder(cohort, protocol, measure, data):
    is_ck = measure == "CK"
    window, missing = data.draw(st.sampled_from(WINDOWS)), data.draw(st.sampled_from(MISSING))
    baseline = data.draw(st.sampled_from([*BASELINES, "geometric_mean_before_dose"] if is_ck else BASELINES))
    steps = [71, 70, 69, 50, 30] if is_ck else [0.1, 1.1, 3, 5, 5.05, 10]
    own = MeasureGrid(
        measure=measure,
        thresholds=tuple(
            CkPercentOfBaseline(id="percent_of_baseline", percent_of_baseline=each)
            if is_ck
            else PointsBetter(id="points_better", points=each)
            for each in steps
        ),
        windows=(window,),
        baselines=(baseline,),
        missing=(missing,),
    )
    found = [each for _, each in SpecificationVerdicts(DerivedStudy(cohort, protocol), own, None).each("response")]
    for easier, harder in pairwise(found):
        assert np.array_equal(easier.evaluable, harder.evaluable)
        assert not (harder.responder & ~easier.responder).any()


@settings(max_examples=repeats(30))
@given(cohorts(), grids())
def test_a_missing_value_that_counts_as_no_response_leaves_nobody_of_the_set_out(cohort, own):
    study = DerivedStudy(cohort, SEED_2008)
    verdicts = SpecificationVerdicts(study, own, None)
    for specification in own.specifications("response"):
        parts = (specification.criterion, specification.window, specification.baseline)
        for population, members in (("efficacy", study.efficacy), ("safety", study.safety)):
            strict, kept = (verdicts.verdicts(Specification(*parts, population, each)) for each in MISSING[::-1])
            assert np.array_equal(strict.evaluable, members)
            assert np.array_equal(strict.responder, kept.responder)


def records_of(*values, signs=None, limits=None):
    """One patient with these values before the dose, the last on day 0."""
    n = len(values)
    return AnalysisValues(
        size=1,
        patient=np.zeros(n, int),
        day=np.arange(-n + 1, 1),
        value=np.array(values, float),
        upper_limit=np.full(n, np.nan) if limits is None else np.array(limits, float),
        comparator=np.array([COMPARATORS[each] for each in signs or [None] * n]),
        flags={},
    )


def means(values, rule, **more):
    return baseline_values(records_of(*values, **more), rule, np.full(len(values), UNKNOWN), -1, None)


@pytest.mark.parametrize(
    ("values", "rule", "percent", "value", "fallen"),
    [
        # The geometric mean of 1.1 and 1.1 is 1.1 and 70 % of it 0.77, though not to a binary computer.
        ((1.1, 1.1), "geometric_mean_before_dose", 70, 0.77, True),
        ((1.1, 1.1), "geometric_mean_before_dose", 70, 0.7700000000001, False),
        # sqrt(0.2 x 0.8) = 0.4
        ((0.2, 0.8), "geometric_mean_before_dose", 50, 0.2, True),
        ((0.2, 0.8), "geometric_mean_before_dose", 50, 0.20000000000001, False),
        # the cube root of 0.1 x 0.2 x 0.4 is 0.2
        ((0.1, 0.2, 0.4), "geometric_mean_before_dose", 70, 0.14, True),
        ((0.1, 0.2, 0.4), "geometric_mean_before_dose", 70, 0.14000000000001, False),
        # (0.1 + 0.2) / 2 = 0.15, 70 % of which is 0.105
        ((0.1, 0.2), "arithmetic_mean_before_dose", 70, 0.105, True),
        ((0.1, 0.2), "arithmetic_mean_before_dose", 70, 0.105000000001, False),
        # (1000 + 1000 + 1001) / 3 x 30 % = 300.1
        ((1000, 1000, 1001), "arithmetic_mean_before_dose", 30, 300.1, True),
        ((1000, 1000, 1001), "arithmetic_mean_before_dose", 30, 300.11, False),
        # 1 000 000 000 000.5 lies between its neighbours, to which a tolerance would be blind
        ((1e12, 1e12 + 1), "arithmetic_mean_before_dose", 100, 1e12, True),
        ((1e12, 1e12 + 1), "arithmetic_mean_before_dose", 100, 1e12 + 1, False),
        ((10, 11, 12), "arithmetic_mean_before_dose", 100, 11, True),
        ((10, 11, 13), "arithmetic_mean_before_dose", 100, 11, True),
        ((10, 11, 11), "arithmetic_mean_before_dose", 100, 11, False),
    ],
)
def test_a_fall_from_a_mean_is_decided_by_the_decimals_that_were_written(values, rule, percent, value, fallen):
    assert means(values, rule).at_most_zero(-percent, 100, np.array([value])).tolist() == [fallen]


@pytest.mark.parametrize("rule", ["arithmetic_mean_before_dose", "geometric_mean_before_dose"])
@pytest.mark.parametrize(
    ("signs", "limits", "abnormal", "unproven"),
    [
        ((None, None), (50, 200), False, False),
        ((None, None), (200, 50), True, False),
        ((None, None), (100, 100), False, False),
        ((None, None), (np.nan, np.nan), False, False),
        ((None, None), (200, np.nan), False, False),
        (("<", None), (200, 99), False, True),
        ((None, "<="), (200, 99), False, True),
        ((">", None), (200, 200), False, False),
        ((">", None), (200, 100), True, False),
        ((None, ">="), (200, 100), False, False),
        ((None, ">="), (200, 99), True, False),
    ],
)
def test_a_mean_is_abnormal_by_the_last_limit_and_a_bound_in_it_is_kept_in_mind(
    rule, signs, limits, abnormal, unproven
):
    found = means((100, 100), rule, signs=signs, limits=limits)

    assert (found.abnormal.tolist(), found.unproven.tolist()) == ([abnormal], [unproven])


@pytest.mark.parametrize(
    ("values", "signs", "worst"),
    [
        ((900, 1000, 950), (None, None, None), 1000),
        ((900, 1000, 950), (None, "<", None), 950),
        ((900, 1000, 950), (None, ">", None), 1000),
        ((900, 1000), ("<", "<="), 1000),
    ],
)
def test_the_worst_ck_is_the_highest_that_is_known_to_have_been_so_high(values, signs, worst):
    assert means(values, "worst_before_dose", signs=signs).value.tolist() == [worst]


def test_a_mean_is_at_the_best_end_where_all_its_values_are():
    for values, at in (((0.1, 0.1, 0.1), True), ((0.1, 0.1, 0.2), False), ((), False)):  # 0.1 x 3 / 3 > 0.1 in floats
        found = means(values, "arithmetic_mean_before_dose")
        assert all_at(found, 0.1).tolist() == [at]


def test_one_value_is_its_own_mean_and_two_means_are_not_the_same():
    assert means((7.3,), "geometric_mean_before_dose").value == pytest.approx(7.3)
    assert means((2, 8), "geometric_mean_before_dose").value == pytest.approx(4)
    assert means((2, 8), "arithmetic_mean_before_dose").value == 5
    assert means((0, 8), "geometric_mean_before_dose").value == 0


def test_the_normal_ck_of_the_next_patient_confirms_nobodys():
    def lab(patient, day, value):
        return LabRow(patient, "CK", 20_000 + day, None, False, value, 200.0, None, None, None)

    def given(patient):
        return InfusionRow(patient, "IVIG", 20_000, None, False, 0.4, "g/kg", None)

    labs = [lab("A", 0, 900.0), lab("A", 28, 150.0), lab("B", -1, 150.0), lab("B", 28, 150.0), lab("B", 56, 150.0)]
    cohort = Cohort.assemble([PatientRow("A"), PatientRow("B")], labs, [], [given("A"), given("B")], [], [])
    own = MeasureGrid(
        measure="CK",
        thresholds=(CK_THRESHOLDS[0],),
        remissions=tuple(CK_REMISSIONS),
        windows=(VisitWindow(id="visit", week=4),),
        baselines=("last_on_or_before_day_0",),
    )
    found = [each for _, each in SpecificationVerdicts(DerivedStudy(cohort, SEED_2008), own, None).each("remission")]

    assert [each.evaluable.tolist() for each in found[::2]] == [[True, False], [True, False]]
    assert [each.responder.tolist() for each in found[::2]] == [[True, False], [False, False]]
