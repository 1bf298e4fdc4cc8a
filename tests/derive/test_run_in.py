"""Run-in values, slopes and intercurrent events, against their slow twins."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.analyses import answer
from app.analyses.ck_normal.ck_normal_time import NormalTimeOptions
from app.analyses.steroid_sparing import SteroidOptions
from app.derive.dose_steps import dose_steps
from app.derive.doses import prednisolone
from app.derive.exposure import first_new_drug_day
from app.derive.intercurrent_events import RESCUE
from app.derive.reasons import FlagCode
from app.derive.run_in import run_in, slopes
from app.derive.steroid_rescue import first_steroid_rescue_day
from app.derive.study import DerivedStudy
from app.derive.visits import window
from app.protocol.endpoints import CkNormalTime, SteroidRescue
from app.protocol.model import Baseline
from app.protocol.presets import SEED_2008
from app.timeline.cohort import NO_TIME, AssessmentRow, Cohort, InfusionRow, LabRow, MedicationRow, PatientRow
from tests.repetition import repeats
from tests.twin import derivations as twin
from tests.twin import sensitivity as slow
from tests.twin import steroids
from tests.twin.cohorts import changed, cohorts, protocols

DAY0 = 20_000
STUDIES = st.tuples(cohorts(), protocols())


def treated(ck=(), medications=(), scores=(), ended=None, infusions=(0,), weight=None):
    """One patient whose records are given by day from day 0."""
    return Cohort.assemble(
        [
            PatientRow(
                "A",
                weight_kg=weight,
                ended_day=None if ended is None else DAY0 + ended,
                ended_reason=ended and "died",
            )
        ],
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


# --- glucocorticoids --------------------------------------------------------------------------------------------------

PERIODS = st.lists(
    st.tuples(
        st.sampled_from(["prednisolone", "Prednisolone ", "mPSL", "dexamethasone", "Prednisone", "azathioprine"]),
        st.integers(-6, 6),
        st.one_of(st.none(), st.integers(0, 5)),
        st.sampled_from([5.0, 7.5, 10.0, 35.0, 0.1, 0.2, 0.3]),
        st.sampled_from(["mg/d", "mg/d", "mg/d", "mg/wk", "g/d", "ug/d", "mg/kg/d", "mg/kg"]),
    ),
    max_size=5,
).map(lambda rows: [(drug, a, None if b is None else a + b, x, u) for drug, a, b, x, u in rows])


def dose_on(steps, day):
    passed = np.flatnonzero(steps.day <= day)
    return steps.daily_milligrams[passed[-1]] if len(passed) else 0.0


@given(PERIODS, st.sampled_from([None, 60.0]))
def test_the_steps_give_on_every_day_the_dose_of_that_day(periods, weight):
    cohort = treated(medications=periods, weight=weight)
    study = DerivedStudy(cohort, SEED_2008)
    steps, taken = dose_steps(cohort, study.exposure), steroids.periods(cohort, 0, DAY0)
    for day in range(-8, 14):
        expected = steroids.dose(taken, day)
        of_the_day = prednisolone(cohort, study.exposure, day).daily_milligrams[0]
        if not taken:
            assert np.isnan(of_the_day)
            assert len(steps.day) == 0
            continue
        found = dose_on(steps, day)
        assert (np.isnan(found) and expected is None) or found == pytest.approx(float(expected), abs=1e-6)
        assert (np.isnan(found) and np.isnan(of_the_day)) or found == pytest.approx(of_the_day, abs=1e-6)


@given(PERIODS)
def test_tapers_and_increases_are_those_found_day_by_day(periods):
    found, taken = events(medications=periods), steroids.periods(treated(medications=periods), 0, DAY0)
    for sign, day in ((1, found.steroid_increase[0]), (-1, found.steroid_taper[0])):
        assert (None if day == NO_TIME else int(day)) == slow.steroid_change(taken, sign)
    assert bool(found.steroid_known[0]) == (steroids.dose(taken, 0) is not None)


RULES = st.builds(
    lambda rise, pulse, over: SteroidRescue(rise=rise, over=over, pulse=pulse),
    st.sampled_from([None, 5.0, 10.0, 6.25]),
    st.sampled_from([5.0, 35.0, 100.0]),
    st.sampled_from(["day_0", "lowest"]),
)


@given(PERIODS, RULES)
def test_a_steroid_rescue_is_the_one_found_day_by_day(periods, rule):
    cohort = treated(medications=periods)
    found = first_steroid_rescue_day(cohort, DerivedStudy(cohort, SEED_2008).exposure, rule)[0]
    assert (None if found == NO_TIME else int(found)) == steroids.rescue(steroids.periods(cohort, 0, DAY0), rule)


BY_DAY_0, BY_LOWEST, BY_PULSE = (
    SteroidRescue(rise=20.0),
    SteroidRescue(rise=20.0, over="lowest"),
    SteroidRescue(pulse=250.0),
)


@pytest.mark.parametrize(
    ("rule", "medications", "day"),
    [
        (BY_DAY_0, [("prednisolone", -9, 13, 30.0, "mg/d"), ("prednisolone", 14, None, 50.0, "mg/d")], 14),
        (BY_DAY_0, [("prednisolone", -9, 13, 30.0, "mg/d"), ("prednisolone", 14, None, 49.9, "mg/d")], NO_TIME),
        (BY_DAY_0, [("prednisolone", -9, 13, 30.0, "mg/d"), ("mPSL", 14, None, 40.0, "mg/d")], 14),
        (BY_DAY_0, [("prednisolone", -9, None, 30.0, "mg/d"), ("dexamethasone", 14, 17, 3.0, "mg/d")], 14),
        (BY_DAY_0, [("prednisolone", 0, None, 60.0, "mg/d")], NO_TIME),
        (BY_DAY_0, [("prednisolone", 1, None, 60.0, "mg/d")], 1),
        (BY_DAY_0, [("prednisolone", -9, 13, 40.0, "mg/d"), ("prednisolone", 14, 20, 5.0, "mg/d"),
                    ("prednisolone", 21, None, 30.0, "mg/d")], NO_TIME),
        (BY_LOWEST, [("prednisolone", -9, 13, 40.0, "mg/d"), ("prednisolone", 14, 20, 5.0, "mg/d"),
                     ("prednisolone", 21, None, 30.0, "mg/d")], 21),
        (BY_LOWEST, [("prednisolone", -9, -5, 5.0, "mg/d"), ("prednisolone", -4, None, 30.0, "mg/d")], NO_TIME),
        (BY_PULSE, [("prednisolone", -9, None, 10.0, "mg/d"), ("methylprednisolone", 30, 32, 1.0, "g/d")], 30),
        (BY_PULSE, [("Solu-Medrol", day, day, 500.0, "mg/d") for day in (-1, 0, 1)], NO_TIME),
        (BY_PULSE, [("methylprednisolone", 30, 32, 199.9, "mg/d")], NO_TIME),
        (BY_PULSE, [("methylprednisolone", 30, 32, 200.0, "mg/d")], 30),
        (BY_PULSE, [("methylprednisolone", 30, 32, 1000.0, "mg")], NO_TIME),
        (BY_DAY_0, [], NO_TIME),
    ],
)  # fmt: skip
def test_a_rise_or_pulse_counts_from_the_declared_dose_on(rule, medications, day):
    cohort = treated(medications=medications)
    assert first_steroid_rescue_day(cohort, DerivedStudy(cohort, SEED_2008).exposure, rule).tolist() == [day]


def test_a_steroid_rescue_is_further_treatment_only_where_the_protocol_declares_it():
    medications = [("prednisolone", -9, None, 10.0, "mg/d"), ("methylprednisolone", 30, 32, 1.0, "g/d")]
    cohort = treated(medications=medications)
    declared = changed(SEED_2008, ck_normal_time=CkNormalTime(steroid_rescue=SteroidRescue(pulse=250.0)))
    for protocol, day in ((SEED_2008, NO_TIME), (declared, 30)):
        study = DerivedStudy(cohort, protocol)
        assert study.rescues.treated.tolist() == study.rescues.steroid.tolist() == [day]
        assert study.intercurrent_events.steroid_rescue.tolist() == [day]


def test_the_answer_counts_a_steroid_rescue_and_its_claim_names_it_only_where_it_is_declared():
    cohort = treated(
        ck=[(0, 1000), (21, 150), (62, 250)],
        medications=[("prednisolone", -9, None, 10.0, "mg/d"), ("methylprednisolone", 30, 32, 1.0, "g/d")],
    )
    declared = changed(SEED_2008, ck_normal_time=CkNormalTime(steroid_rescue=SteroidRescue(pulse=250.0)))
    for protocol, count in ((SEED_2008, None), (declared, 1)):
        found = answer("ck-normal-time", cohort, protocol, NormalTimeOptions())
        [row] = found.results
        assert row.steroid_rescue == count
        assert ("steroid_rescue" in row.model_dump(mode="json")) == (count is not None)
        claims = [claim.text for claim in found.claims if claim.code == "median_time_normal"]
        assert ("had a rise or pulse of glucocorticoids" in claims[0]) == (count is not None)


@pytest.mark.parametrize("rule", [{}, {"over": "lowest"}, {"rise": 0.0}, {"pulse": -1.0}, {"rise": float("nan")}])
def test_a_steroid_rescue_without_a_dose_is_refused(rule):
    with pytest.raises(ValidationError):
        SteroidRescue(**rule)


def test_a_protocol_without_a_steroid_rescue_is_written_as_before():
    assert "steroid_rescue" not in SEED_2008.model_dump(mode="json")["ck_normal_time"]


@pytest.mark.parametrize(
    ("dose", "unit", "weight", "expected"),
    [
        (16.0, "mg/d", None, 20.0), (0.016, "g/d", None, 20.0), (16_000.0, "ug/d", None, 20.0),
        (0.4, "mg/kg/d", 40.0, 20.0), (0.4, "mg/kg/d", None, None), (112.0, "mg/wk", None, 20.0),
        (16.0, "mg", None, None), (16.0, "mg/kg", 40.0, None), (16.0, "mg/m2", 40.0, None),
    ],
)  # fmt: skip
def test_a_dose_is_daily_or_unknown(dose, unit, weight, expected):
    cohort = treated(medications=[("methylprednisolone", -9, None, dose, unit)], weight=weight)
    found = prednisolone(cohort, DerivedStudy(cohort, SEED_2008).exposure, 0)
    if expected is None:
        assert np.isnan(found.daily_milligrams[0])
    else:
        assert found.daily_milligrams.tolist() == pytest.approx([expected])
    assert found.not_convertible == (expected is None)


def test_a_period_without_a_dose_is_unknown_and_its_unit_is_none_that_cannot_be_converted():
    cohort = treated(medications=[("prednisolone", -9, None, None, "mg/d")])
    found = prednisolone(cohort, DerivedStudy(cohort, SEED_2008).exposure, 0)
    assert (np.isnan(found.daily_milligrams[0]), found.not_convertible) == (True, 0)
    [flag] = answer("steroid-sparing", cohort, SEED_2008, SteroidOptions()).flags
    assert (flag.code, flag.count) == (FlagCode.DOSE_NOT_CONVERTIBLE, 0)


def test_all_glucocorticoids_of_a_day_are_summed_and_a_drug_of_another_kind_is_not():
    medications = [
        ("prednisone", -9, None, 5.0, "mg/d"), ("deflazacort", -9, None, 6.0, "mg/d"),
        ("betamethasone", -9, None, 0.75, "mg/d"), ("hydrocortisone", -9, None, 20.0, "mg/d"),
        ("methotrexate", -9, None, 15.0, "mg/wk"), ("prednisolone eye drops", -9, None, 1.0, "mg/d"),
    ]  # fmt: skip
    cohort = treated(medications=medications)
    assert prednisolone(cohort, DerivedStudy(cohort, SEED_2008).exposure, 0).daily_milligrams.tolist() == [20.0]


def test_two_names_of_a_drug_are_one_drug_that_is_not_new_after_day_0():
    names = SEED_2008.ck_normal_time.immunosuppressants
    for before, after, day in [("MTX", "methotrexate", NO_TIME), ("CsA", "cyclosporine", NO_TIME),
                               ("MTX", "MMF", 20), ("aspirin", "RTX", 20)]:  # fmt: skip
        cohort = treated(medications=[(before, -9, None, 1.0, "mg/d"), (after, 20, None, 1.0, "mg/d")])
        assert first_new_drug_day(cohort, DerivedStudy(cohort, SEED_2008).exposure, names).tolist() == [day]


def test_sevenths_of_a_weekly_dose_are_no_taper():
    found = events(medications=[("prednisolone", -9, 9, 35.0, "mg/wk"), ("prednisolone", 10, None, 5.0, "mg/d")])
    assert (found.steroid_taper[0], found.steroid_increase[0]) == (NO_TIME, NO_TIME)
    assert steroids.dose(steroids.periods(treated(), 0, DAY0), 0) is None
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
    assert [int(getattr(found, name)[0]) for name in RESCUE] == [40, 30, 20, NO_TIME]
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
