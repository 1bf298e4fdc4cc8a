"""Run-in values, slopes and intercurrent events, against their slow twins."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.derive.doses import prednisolone
from app.derive.intercurrent_events import RESCUE, dose_steps
from app.derive.run_in import run_in, slopes
from app.derive.study import DerivedStudy
from app.derive.visits import window
from app.protocol.model import Baseline
from app.protocol.presets import SEED_2008
from app.timeline.cohort import NO_TIME, AssessmentRow, Cohort, InfusionRow, LabRow, MedicationRow, PatientRow
from tests.repetition import repeats
from tests.twin import derivations as twin
from tests.twin import sensitivity as slow
from tests.twin.cohorts import changed, cohorts, protocols

DAY0 = 20_000
STUDIES = st.tuples(cohorts(), protocols())


def treated(ck=(), medications=(), scores=(), ended=None, infusions=(0,)):
    """One patient whose records are given by day from day 0."""
    return Cohort.assemble(
        [PatientRow("A", ended_day=None if ended is None else DAY0 + ended, ended_reason=ended and "died")],
        [LabRow("A", "CK", DAY0 + d, None, False, x, 200.0, None, None, None) for d, x in ck],
        [AssessmentRow("A", "MMT", DAY0 + d, None, False, x, None, None) for d, x in scores],
        [InfusionRow("A", "IVIG", DAY0 + d, None, False, 0.4, "g/kg", None) for d in infusions],
        [MedicationRow("A", drug, DAY0 + a, None if b is None else DAY0 + b, x, u) for drug, a, b, x, u in medications],
        [],
    )


def events(**parts):
    return DerivedStudy(treated(**parts), SEED_2008).intercurrent_events


# --- run-in values ----------------------------------------------------------------------------------------------------


@settings(max_examples=repeats(40))
@given(STUDIES)
def test_run_in_values_are_those_of_the_twin(case):
    study = DerivedStudy(*case)
    found = study.run_in
    for i, patient in enumerate(twin.patients_of(case[0])):
        everything, earlier, start = slow.run_in_values(patient, case[1])
        mine = found.patient == i
        assert found.value[mine].tolist() == pytest.approx(everything)
        assert found.value[mine & ~found.is_baseline].tolist() == pytest.approx(earlier)
        assert found.value[mine & found.is_baseline].tolist() == pytest.approx([] if start is None else [start])
        for mean, values in ((found.mean[i], everything), (found.earlier_mean[i], earlier)):
            assert (np.isnan(mean) and not values) or mean == pytest.approx(np.mean(values))


@settings(max_examples=repeats(40))
@given(STUDIES)
def test_slopes_are_those_of_a_line_through_each_patients_values(case):
    study, protocol = DerivedStudy(*case), case[1]
    found = slopes(study.analysis_values("CK"), study.weeks("CK")[0], protocol.visits, protocol.ck_change)
    first = window(protocol.ck_change.before_week, protocol.visits)[0]
    last = window(protocol.ck_change.after_week, protocol.visits)[1]
    assert (found.first_day, found.last_day) == (first, last)
    for i, patient in enumerate(twin.patients_of(case[0])):
        start = twin.baseline(patient, protocol, "CK")
        points = [
            (record.day, twin.ln_value(record), record == start)
            for record in twin.kept(patient, protocol, "CK").records
            if twin.ln_value(record) is not None
        ]
        before = slow.slope([(d, v) for d, v, base in points if base or first <= d <= 0])
        after = slow.slope([(d, v) for d, v, base in points if base or 0 < d <= last])
        for fast, expected in ((found.before[i], before), (found.after[i], after)):
            assert (np.isnan(fast) and expected is None) or fast == pytest.approx(expected, abs=1e-9)


def test_a_slope_through_two_values_is_their_change_per_28_days():
    """clinical.md 3.5: A x 28/(t4 - t0) - B x 28/(t0 - t-4)."""
    study = DerivedStudy(treated(ck=[(-30, 1000), (-2, 2000), (26, 500)]), SEED_2008)
    found = slopes(study.analysis_values("CK"), study.weeks("CK")[0], SEED_2008.visits, SEED_2008.ck_change)

    assert found.before[0] == pytest.approx(np.log(2))
    assert found.after[0] == pytest.approx(-np.log(4))


@pytest.mark.parametrize(("day", "inside"), [(-32, False), (-31, True)])
def test_the_slope_before_begins_with_the_window_of_its_week(day, inside):
    study = DerivedStudy(treated(ck=[(day, 1000), (0, 2000)]), SEED_2008)
    found = slopes(study.analysis_values("CK"), study.weeks("CK")[0], SEED_2008.visits, SEED_2008.ck_change)
    assert np.isnan(found.before[0]) == (not inside)


@pytest.mark.parametrize(("day", "inside"), [(31, True), (32, False)])
def test_the_slope_after_ends_with_the_window_of_its_week(day, inside):
    study = DerivedStudy(treated(ck=[(0, 1000), (day, 2000)]), SEED_2008)
    found = slopes(study.analysis_values("CK"), study.weeks("CK")[0], SEED_2008.visits, SEED_2008.ck_change)
    assert np.isnan(found.after[0]) == (not inside)


def test_a_value_of_zero_has_no_logarithm_and_is_counted():
    study = DerivedStudy(treated(ck=[(-28, 0), (-7, 900), (0, 1000)]), SEED_2008)
    assert (study.run_in.value.tolist(), study.run_in.zero_values) == (np.log([900, 1000]).tolist(), 1)
    raw = run_in(study.analysis_values("CK"), study.weeks("CK")[0], None, logarithm=False)
    assert raw.value.tolist() == [0, 900, 1000]


@pytest.mark.parametrize(("days", "kept"), [(None, [700, 800, 900]), (30, [800, 900]), (29, [900]), (1, [900])])
def test_the_run_in_reaches_back_as_far_as_the_protocol_says_and_holds_the_baseline(days, kept):
    protocol = changed(SEED_2008, baseline=Baseline(run_in_days=days))
    study = DerivedStudy(treated(ck=[(-200, 700), (-30, 800), (-2, 900)]), protocol)
    assert study.run_in.value.tolist() == np.log(kept).tolist()


# --- prednisolone -----------------------------------------------------------------------------------------------------

PERIODS = st.lists(
    st.tuples(
        st.sampled_from(["prednisolone", "Prednisolone ", "prednisolone", "azathioprine"]),
        st.integers(-6, 6),
        st.one_of(st.none(), st.integers(0, 5)),
        st.sampled_from([5.0, 7.5, 10.0, 35.0, 0.1, 0.2, 0.3]),
        st.sampled_from(["mg/d", "mg/d", "mg/d", "mg/wk", "g/d", "mg/kg"]),
    ),
    max_size=5,
).map(lambda rows: [(drug, a, None if b is None else a + b, x, u) for drug, a, b, x, u in rows])


def dose_on(steps, day):
    passed = np.flatnonzero(steps.day <= day)
    return steps.daily_milligrams[passed[-1]] if len(passed) else 0.0


@given(PERIODS)
def test_the_steps_give_on_every_day_the_dose_of_that_day(periods):
    cohort = treated(medications=periods)
    study = DerivedStudy(cohort, SEED_2008)
    steps, taken = dose_steps(cohort, study.exposure), slow.drugs(cohort, 0, DAY0)
    for day in range(-8, 14):
        expected = slow.prednisolone(taken, day)
        of_the_day = prednisolone(cohort, study.exposure, day).daily_milligrams[0]
        if not any(drug.name == "prednisolone" for drug in taken):
            assert np.isnan(of_the_day)
            assert len(steps.day) == 0
            continue
        found = dose_on(steps, day)
        assert (np.isnan(found) and expected is None) or found == pytest.approx(float(expected), abs=1e-6)
        assert (np.isnan(found) and np.isnan(of_the_day)) or found == pytest.approx(of_the_day, abs=1e-6)


@given(PERIODS)
def test_tapers_and_increases_are_those_found_day_by_day(periods):
    found, taken = events(medications=periods), slow.drugs(treated(medications=periods), 0, DAY0)
    for sign, day in ((1, found.steroid_increase[0]), (-1, found.steroid_taper[0])):
        assert (None if day == NO_TIME else int(day)) == slow.steroid_change(taken, sign)
    assert bool(found.steroid_known[0]) == (slow.prednisolone(taken, 0) is not None)


def test_sevenths_of_a_weekly_dose_are_no_taper():
    found = events(medications=[("prednisolone", -9, 9, 35.0, "mg/wk"), ("prednisolone", 10, None, 5.0, "mg/d")])
    assert (found.steroid_taper[0], found.steroid_increase[0]) == (NO_TIME, NO_TIME)
    assert slow.prednisolone(slow.drugs(treated(), 0, DAY0), 0) is None
    assert Fraction(35, 7) == 5


# --- the other events -------------------------------------------------------------------------------------------------


def test_the_first_rescue_is_the_earliest_of_its_kinds():
    found = events(
        infusions=[0, 40],
        medications=[
            ("azathioprine", 30, None, 100.0, "mg/d"),
            ("prednisolone", -9, 19, 20.0, "mg/d"),
            ("prednisolone", 20, None, 30.0, "mg/d"),
        ],
        ended=50,
    )
    assert [int(getattr(found, name)[0]) for name in RESCUE] == [40, 30, 20]
    assert int(found.day(*RESCUE)[0]) == 20
    assert int(found.day("death")[0]) == 50
    assert found.within(19, *RESCUE).tolist() == [False]
    assert found.within(20, *RESCUE).tolist() == [True]


def test_values_of_the_day_of_a_rescue_are_before_it_and_later_ones_are_not():
    cohort = treated(
        ck=[(0, 1000), (30, 500), (31, 400)], scores=[(0, 50.0), (30, 60.0), (31, 70.0)], infusions=[0, 30]
    )
    before = DerivedStudy(cohort, SEED_2008).before_rescue
    assert before.analysis_values("CK").day.tolist() == [0, 30]
    assert before.analysis_values("MMT").day.tolist() == [0, 30]


def test_the_untreated_have_no_events():
    cohort = Cohort.assemble(
        [PatientRow("A", ended_day=DAY0, ended_reason="died")],
        [],
        [],
        [],
        [MedicationRow("A", "prednisolone", DAY0, None, 20.0, "mg/d")],
        [],
    )
    found = DerivedStudy(cohort, SEED_2008).intercurrent_events
    assert found.day(*RESCUE, "death", "steroid_taper").tolist() == [NO_TIME]
    assert not found.steroid_known.any()
