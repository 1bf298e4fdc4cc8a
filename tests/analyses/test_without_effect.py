"""What the rules give if nothing happens: the observed numbers are those of the answers, and the simulation is that of
a slow twin, which derives each simulated cohort alone.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from app.analyses import QUESTIONS, NullOptions, Options, answer, report
from app.analyses import without_effect as subject
from app.demo import TIMELINES
from app.derive.repeated_cohorts import RepeatedCohorts
from app.derive.study import DerivedStudy
from app.protocol.presets import SEED_2008
from app.timeline.cohort import COMPARATORS, Cohort, InfusionRow, LabRow, PatientRow
from app.timeline.document import Timeline
from app.timeline.normalize import normalise

ASKED = ("response-rates", "weekly-change", "ck-change", "ck-normal-time")
DAY0 = 20_000
DRAWS = (-28, -21, -14, -7, 0, 7, 14, 28, 56)


def asked(name, cohort, protocol=SEED_2008, **more):
    [entry] = answer(name, cohort, protocol, QUESTIONS[name].options_type(null=True, **more)).nothing
    return entry


@pytest.fixture(scope="module")
def reference():
    documents = json.loads(TIMELINES.read_text(encoding="utf-8"))
    return Cohort.of_histories([normalise(Timeline.model_validate_json(json.dumps(each)), 2**62) for each in documents])


def of_ck(values, days=DRAWS):
    """Patients with these CK on these days; upper limit 200."""
    names = [f"P{i:03d}" for i in range(len(values))]
    return Cohort.assemble(
        [PatientRow(name) for name in names],
        [
            LabRow(name, "CK", DAY0 + day, None, False, value, 200.0, None, None, None)
            for name, own in zip(names, values, strict=True)
            for day, value in zip(days, own, strict=False)
        ],
        [],
        [InfusionRow(name, "IVIG", DAY0, None, False, 0.4, "g/kg", None) for name in names],
        [],
        [],
    )


def without_effect_cohort(patients=40, *, error=0.3, seed=5):
    random = np.random.default_rng(seed)
    levels = random.normal(math.log(600), 0.5, (patients, 1))
    return of_ck(np.round(np.exp(levels + random.normal(0, error, (patients, len(DRAWS)))), 0).tolist())


@pytest.mark.slow
def test_the_observed_numbers_are_those_of_the_answers(reference):
    rates = answer("response-rates", reference, SEED_2008, NullOptions(null=True))
    assert [row.observed for row in rates.nothing[0].results] == [row.rate for row in rates.results]
    weekly = answer("weekly-change", reference, SEED_2008, NullOptions(null=True))
    assert [(row.measure, row.scale, row.observed) for row in weekly.nothing[0].results] == [
        (onset.measure, onset.scale, float(onset.direction == "improvement")) for onset in weekly.onset
    ]
    [change] = answer("ck-change", reference, SEED_2008, Options()).results
    assert asked("ck-change", reference).results[0].observed == pytest.approx(change.difference.mean, rel=1e-12)
    [times] = answer("ck-normal-time", reference, SEED_2008, Options()).results
    ever = times.n / (times.n + times.never_normal)
    assert [row.observed for row in asked("ck-normal-time", reference).results] == pytest.approx(
        [times.median.value, ever, times.rmst.value]
    )


@pytest.mark.parametrize("name", ASKED)
def test_the_rules_applied_to_many_cohorts_at_once_are_the_rules_applied_to_each(name, monkeypatch):
    monkeypatch.setattr(subject, "SIMULATIONS", 6)
    cohort = without_effect_cohort(12)
    together = asked(name, cohort)
    monkeypatch.setattr(subject, "ROWS_AT_ONCE", 1)

    assert asked(name, cohort) == together


def test_a_simulated_cohort_has_the_observed_values_up_to_day_0_and_the_same_draws():
    cohort = without_effect_cohort(12)
    study = DerivedStudy(cohort, SEED_2008)
    repeated = RepeatedCohorts.of(study)
    later = repeated.later_rows("CK")
    drawn = np.arange(3 * len(later.rows), dtype=float).reshape(3, -1)
    simulated = repeated.repeated(3, {"CK": (later, drawn)})

    ours, theirs = study.analysis_values("CK"), simulated.analysis_values("CK")
    assert theirs.size == 36
    assert np.array_equal(theirs.day, np.tile(ours.day, 3))
    before = theirs.day <= 0
    assert np.array_equal(theirs.value[before], np.tile(ours.value[ours.day <= 0], 3))
    assert np.array_equal(theirs.value[~before], drawn.ravel())
    assert np.array_equal(simulated.exposure.day0, np.tile(study.exposure.day0, 3))


def test_the_best_of_several_draws_makes_responders_without_any_effect():
    """Errors of 0.5 on ln(CK), as in untreated patients: a quarter to three quarters respond by the best of the draws,
    fewer by the last.
    """
    best, last = (
        row for row in asked("response-rates", without_effect_cohort(60, error=0.5)).results if row.measure == "CK"
    )

    assert 0.26 < best.mean < 0.75
    assert last.mean < best.mean - 0.1
    assert 0 < best.monte_carlo_error < 0.01
    assert best.low < best.mean < best.high


def test_where_nothing_happens_the_observed_numbers_are_no_better_than_the_simulated_ones():
    cohort = without_effect_cohort()
    [change] = asked("ck-change", cohort).results
    best = next(row for row in asked("response-rates", cohort).results if row.measure == "CK")

    assert 0.01 < change.share_at_least_as_good < 0.99
    assert 0.01 < best.share_at_least_as_good < 0.99


def test_patients_with_a_high_baseline_fall_back_without_any_effect():
    """The last value of the run-in is 0.5 higher on ln(CK) than the others: they fall by about as much."""
    random = np.random.default_rng(8)
    values = np.exp(random.normal(6, 0.6, (30, 1)) + random.normal(0, 0.1, (30, 9)) + 0.5 * (np.arange(9) == 4))
    [change] = asked("ck-change", of_ck(np.round(values, 1).tolist())).results

    assert change.mean < -0.6  # twice the error of the baseline, some of which is taken for a level


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "no_patients"),
        ([[900.0] * 9], "too_few_run_in"),
        ([[900.0, 800.0, 850.0, 870.0, 910.0, 400.0, 300.0, 200.0, 100.0]] * 2, "too_few_run_in"),
        ([[900.0] * 9] * 8, "no_error_seen"),
    ],
)
@pytest.mark.parametrize("name", ASKED)
def test_a_run_in_that_cannot_carry_it_gives_null_with_a_reason(name, values, reason):
    entry = asked(name, of_ck(values))
    rows = [row for row in entry.results if row.measure == "CK"]

    assert entry.simulations == 0
    assert rows
    for row in rows:
        assert (row.mean, row.low, row.high, row.share_at_least_as_good) == (None, None, None, None)
        assert row.reason == reason


def test_without_values_before_day_0_there_is_nothing_to_simulate_from():
    entry = asked("ck-change", of_ck([[900.0, 800.0]] * 9, days=(7, 14)))

    assert [row.reason for row in entry.results] == ["no_patients"]
    assert [levels.values for levels in entry.run_in] == [0]


def test_a_measure_at_the_end_of_its_scale_is_not_simulated(reference):
    scores = reference.assessments
    at_end = replace(reference, assessments=replace(scores, score=np.where(scores.score > 60, 100.0, scores.score)))
    entry = asked("response-rates", at_end)

    assert {row.measure: row.reason for row in entry.results} == {"MMT": "bounded_run_in", "ADL": None, "CK": None}


@pytest.mark.slow
def test_another_order_of_rows_gives_the_same_numbers(reference):
    backwards = [normalise(Timeline.model_validate_json(json.dumps(each)), 2**62)
                 for each in reversed(json.loads(TIMELINES.read_text(encoding="utf-8")))]  # fmt: skip
    for name in ASKED:
        assert asked(name, Cohort.of_histories(backwards)) == asked(name, reference)


def test_each_subgroup_is_simulated_from_its_own_run_in(reference):
    found = answer("ck-change", reference, SEED_2008, NullOptions(null=True, by="sex"))

    assert [entry.group for entry in found.nothing] == [row.group for row in found.results]
    assert sum(entry.run_in[0].patients for entry in found.nothing) == 16


@pytest.mark.slow
def test_the_report_of_a_small_study_simulates_unless_it_is_switched_off(reference, monkeypatch):
    assert all(report(reference, SEED_2008, NullOptions()).answers[name].nothing for name in ASKED)
    for name in ASKED:
        assert not report(reference, SEED_2008, NullOptions(null=False)).answers[name].nothing
        assert not answer(name, reference, SEED_2008, QUESTIONS[name].options_type()).nothing
    monkeypatch.setattr(subject, "SMALL", 800)
    assert not any(report(reference, SEED_2008, NullOptions()).answers[name].nothing for name in ASKED)


def test_a_claim_is_the_same_with_and_without_the_simulation(reference):
    for name in ASKED:
        kind = QUESTIONS[name].options_type
        plain, simulated = (answer(name, reference, SEED_2008, kind(null=null)) for null in (False, True))
        assert simulated.claims == plain.claims
        assert simulated.caveats == plain.caveats


def with_bounds(days, share):
    """Patients in whom nothing happens, of whom every so many has a bound on some of the days."""
    cohort = without_effect_cohort(40)
    labs = cohort.labs
    at = np.isin(labs.day - DAY0, days) & (labs.patient % share == 0)
    comparator = np.where(at, COMPARATORS["<"], labs.comparator)
    return replace(cohort, labs=replace(labs, comparator=comparator))


@pytest.mark.parametrize(("days", "share"), [((28,), 5), ((0, 28), 8)], ids=["at the end", "at baseline too"])
def test_observed_and_simulated_means_take_bounds_as_bounds(days, share, monkeypatch):
    monkeypatch.setattr(subject, "SIMULATIONS", 5)
    cohort = with_bounds(days, share)
    [row] = answer("ck-change", cohort, SEED_2008, Options()).results
    entry = asked("ck-change", cohort)
    [found] = entry.results
    assert row.difference.bounds is not None
    assert found.observed == pytest.approx(row.difference.mean, rel=1e-12)
    assert entry.run_in[0].bounds == (5 if 0 in days else 0)

    each = []
    study = DerivedStudy(cohort, SEED_2008)
    repeated = RepeatedCohorts.of(study)
    later = repeated.later_rows("CK")
    _, given = subject._levels(study, "CK")
    drawing = subject.LaterValues.of(given, later.patient, later.day)
    for number in range(5):
        drawn = subject._drawn(SEED_2008, "CK", drawing, later, range(number, number + 1))
        alone = repeated.repeated(1, {"CK": (later, drawn)}).cohort
        each.append(answer("ck-change", alone, SEED_2008, Options()).results[0].difference.mean)
    assert found.mean == pytest.approx(np.mean(each), rel=1e-12)


def test_a_mean_that_bounds_hide_is_null_with_the_reason_of_the_answer():
    cohort = with_bounds((28,), 1)
    [row] = answer("ck-change", cohort, SEED_2008, Options()).results
    [found] = asked("ck-change", cohort).results
    assert row.difference.mean is None
    assert (found.observed, found.reason) == (None, row.difference.bounds.reason or row.difference.reason)
    assert found.mean is not None


@pytest.mark.parametrize(("days", "share"), [((7,), 5), ((28, 56), 5), ((56,), 40), ((0,), 8)])
def test_the_observed_onset_is_that_of_the_answer_where_a_value_is_a_bound(days, share, monkeypatch):
    monkeypatch.setattr(subject, "SIMULATIONS", 3)
    cohort = with_bounds(days, share)
    labs = cohort.labs
    fallen = replace(cohort, labs=replace(labs, value=np.where(labs.day > DAY0, labs.value / 4, labs.value)))
    onset = {
        row.scale: row for row in answer("weekly-change", fallen, SEED_2008, Options()).onset if row.measure == "CK"
    }
    found = {row.scale: row for row in asked("weekly-change", fallen).results if row.measure == "CK"}
    for scale in ("ln", "raw"):
        assert found[scale].observed == float(onset[scale].direction == "improvement")
    assert (onset["ln"].week, onset["raw"].week) == ({7: 2}.get(days[0]), 1)
