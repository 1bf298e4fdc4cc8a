"""Caveats and sensitivity analysis compared with their slow twins, on the reference cohort and on any cohort."""

import json
import math
import re
from dataclasses import fields
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import Options, answer
from app.analyses.sensitivity.caveat_findings import SENTENCES
from app.analyses.sensitivity.sensitivity_cases import SENSITIVITY_CASES
from app.demo import TIMELINES
from app.derive.visits import window
from app.estimate.changes.paired_change import paired_change
from app.estimate.results import Reason
from app.protocol.model import CkChangeWeeks
from app.protocol.presets import PRESETS, SEED_2008
from app.timeline.cohort import Cohort, InfusionRow, LabRow, PatientRow
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from tests.repetition import repeats
from tests.twin import derivations as twin
from tests.twin import sensitivity as slow
from tests.twin import steroids
from tests.twin.cohorts import Rows, changed, cohorts, protocols, rows

DAY0 = 20_000
STUDIES = st.tuples(cohorts(), protocols())


@pytest.fixture(scope="module")
def reference():
    documents = json.loads(TIMELINES.read_text(encoding="utf-8"))
    timelines = [Timeline.model_validate_json(json.dumps(each)) for each in documents]
    return Cohort.of_histories([normalise(each, 10**18) for each in timelines])


def cohort_of_ck(*patients):
    """Patients A, B, ... given by their CK: (day, value), or (day, value, comparator)."""
    names = [chr(65 + i) for i in range(len(patients))]
    return Cohort.assemble(
        [PatientRow(name) for name in names],
        [
            LabRow(name, "CK", DAY0 + day, None, False, value, 200.0, sign[0] if sign else None, None, None)
            for name, values in zip(names, patients, strict=True)
            for day, value, *sign in values
        ],
        [],
        [InfusionRow(name, "IVIG", DAY0, None, False, 0.4, "g/kg", None) for name in names],
        [],
        [],
    )


def row(found, analysis, measure, variant):
    [entry] = [
        each for each in found.results if (each.analysis, each.measure, each.variant.id) == (analysis, measure, variant)
    ]
    return entry


def with_substitutes(found, analysis, measure):
    """The row that counts bounds as numbers, as the twin does, and whether there is a bound."""
    bounded = any(
        (each.analysis, each.measure, each.variant.id) == (analysis, measure, "bounds_substituted")
        for each in found.results
    )
    return row(found, analysis, measure, "bounds_substituted" if bounded else "main"), bounded


def caveat(found, code, measure=None):
    [entry] = [each for each in found.results if each.code == code and each.measure == measure]
    return entry


# --- the reference cohort ---------------------------------------------------------------------------------------------


def test_regression_to_the_mean_of_the_reference_cohort_is_that_of_the_twin(reference):
    [found] = answer("sensitivity", reference, SEED_2008, Options()).regression_to_the_mean
    patients = twin.patients_of(reference)
    values = [slow.run_in_values(patient, SEED_2008) for patient in patients]
    who = {name for name, *_ in twin.tally(reference, SEED_2008).ck_change}
    starts = [value[2] for patient, value in zip(patients, values, strict=True) if patient.id in who]

    assert found.icc.value == pytest.approx(slow.icc([everything for everything, _, _ in values]), rel=1e-9)
    expected = slow.expected_change([v[0] for v in values], starts, [v[1] for v in values])
    assert found.estimates[0].expected == pytest.approx(expected, rel=1e-9)
    assert (found.n, found.icc.patients, found.icc.values) == (15, 16, 80)
    assert found.icc.value == pytest.approx(0.967836470254, abs=1e-12)
    assert found.observed == pytest.approx(-1.505718253316, abs=1e-12)
    assert found.estimates[0].expected == pytest.approx(0.00197236532909, abs=1e-12)
    assert found.estimates[0].remainder == pytest.approx(-1.50769061865, abs=1e-11)
    assert found.bootstrap.model_dump() == {"seed": 20161208, "resamples": 2000, "undefined": 0}


def test_the_sensitivity_cases_of_the_reference_cohort_are_those_of_the_twin(reference):
    found = answer("sensitivity", reference, SEED_2008, Options())
    at_56, earlier_56, slopes, complete = [], [], [], []
    for patient in twin.patients_of(reference):
        if not twin.efficacy(patient, SEED_2008):
            continue
        everything, earlier, _ = slow.run_in_values(patient, SEED_2008)
        seen = twin.visits(patient, SEED_2008, "CK")
        at_56.append(twin.ln_value(seen[8]) - fmean(everything))
        earlier_56.append(twin.ln_value(seen[8]) - fmean(earlier))
        points = [(r.day, twin.ln_value(r)) for r in twin.kept(patient, SEED_2008, "CK").records]
        start = seen[0].day
        before = slow.slope([(d, v) for d, v in points if -31 <= d <= 0])
        slopes.append(slow.slope([(d, v) for d, v in points if d == start or 0 < d <= 31]) - before)
        strength = twin.visits(patient, SEED_2008, "MMT")
        if {0, 1, 2, 4, 8} <= set(strength):
            complete.append(float(strength[8].value - strength[0].value))
    for analysis, measure, variant, values, pinned in (
        ("weekly-change", "CK", "baseline_run_in_mean", at_56, -2.155106021),
        ("weekly-change", "CK", "baseline_earlier_mean", earlier_56, -2.16995657519),
        ("ck-change", "CK", "slopes", slopes, -1.36087395577),
        ("weekly-change", "MMT", "complete_cases", complete, 13.0714285714),
    ):
        one = row(found, analysis, measure, variant)
        assert one.estimate == pytest.approx(fmean(values), rel=1e-10)
        assert one.estimate == pytest.approx(pinned, rel=1e-9)
        main = row(found, analysis, measure, "main")
        assert one.difference == pytest.approx(fmean(values) - main.estimate, abs=1e-10)
        assert one.n == len(values)


def test_the_main_rows_of_the_reference_cohort_are_its_key_results(reference):
    found = answer("sensitivity", reference, SEED_2008, Options())
    main = {(each.analysis, each.measure): each for each in found.results if each.variant.id == "main"}

    assert [main["response-rates", m].estimate for m in ("MMT", "ADL", "CK")] == [14 / 15, 12 / 15, 1.0]
    assert main["ck-change", "CK"].estimate == pytest.approx(-1.408388201483, abs=1e-12)
    assert main["ck-change", "CK"].tests[1].p == pytest.approx(9.62486053709e-08, rel=1e-9)
    assert main["ck-normal-time", "CK"].estimate == 334.5
    assert {each.difference for each in main.values()} == {0}


def test_no_patient_decides_the_figures_of_the_reference_cohort(reference):
    found = answer("sensitivity", reference, SEED_2008, Options(patients=True))
    values = {who: d for who, *_, d in twin.tally(reference, SEED_2008).ck_change}
    [change] = [each for each in found.leave_one_out if each.analysis == "ck-change"]
    means = {who: fmean(d for other, d in values.items() if other != who) for who in values}
    full = fmean(values.values())

    assert (change.estimate.low, change.estimate.high) == pytest.approx((min(means.values()), max(means.values())))
    assert change.most_influential == max(means, key=lambda who: abs(means[who] - full)) == "P15"
    verdicts = [test.significance_depends_on_one_patient for each in found.leave_one_out for test in each.tests]
    assert verdicts == [False] * 8
    [time] = [each for each in found.leave_one_out if each.analysis == "ck-normal-time"]
    assert (time.estimate.low, time.estimate.value, time.estimate.high) == (310, 334.5, 359)


def test_the_caveats_of_the_reference_cohort(reference):
    found = answer("caveats", reference, SEED_2008, Options())
    assert [(each.code, each.count, each.of) for each in found.results if each.applies] == [
        ("uncontrolled_pre_post", 16, 16),
        ("selected_high", 16, 16),
        ("short_follow_up", 1, 16),
        ("ck_response_without_strength", 1, 15),
        ("missing_data", 1, 75),
        ("missing_data", 1, 75),
        ("best_of_many", 3, 3),
        ("seen_at_visits_only", 8, 13),
        ("conditioned_on_normalising", 2, 15),
        ("spontaneous_reports", 16, 16),
        ("steroid_record_incomplete", 2, 16),
    ]
    assert [each.code for each in found.results if each.applies is None] == ["definitions_changed"]


# --- any cohort -------------------------------------------------------------------------------------------------------


@given(STUDIES)
@settings(max_examples=repeats(15))
def test_the_weekly_rows_are_those_of_the_twin(case):
    cohort, protocol = case
    found = answer("sensitivity", cohort, protocol, Options())
    patients, tally = twin.patients_of(cohort), twin.tally(cohort, protocol)
    week = max((week for week in protocol.weekly_change.weeks if week > 0), default=None)
    for measure in protocol.weekly_change.measures if week else ():
        scale = "ln" if measure == "CK" else "raw"
        known = dict(tally.changes[measure, scale, week])
        main, bounded = with_substitutes(found, "weekly-change", measure)
        assert main.n == len(known)
        assert main.estimate == (pytest.approx(fmean(known.values()), abs=1e-9) if known else None)
        weeks = [dict(tally.changes[measure, scale, w]) for w in protocol.weekly_change.weeks]
        kept = [change for who, change in known.items() if all(who in each for each in weeks)]
        complete = row(found, "weekly-change", measure, "complete_cases")
        assert complete.n == len(kept)
        if bounded:
            continue
        assert complete.estimate == (pytest.approx(fmean(kept), abs=1e-9) if kept else None)
        if measure == "CK":
            moved = [
                twin.ln_value(twin.visits(p, protocol, "CK")[week]) - fmean(slow.run_in_values(p, protocol)[0])
                for p in patients
                if p.id in known
            ]
            one = row(found, "weekly-change", "CK", "baseline_run_in_mean")
            assert (one.n, one.estimate) == (len(moved), pytest.approx(fmean(moved), abs=1e-9) if moved else None)
            exact = [
                known[p.id]
                for p in patients
                if p.id in known and not any(twin.visits(p, protocol, "CK")[w].comparator for w in (0, week))
            ]
            assert row(found, "weekly-change", "CK", "without_comparators").n == len(exact)
        [left_out] = [e for e in found.leave_one_out if (e.analysis, e.measure) == ("weekly-change", measure)]
        means = [fmean(others) for others in slow.without_each(list(known.values())) if others]
        if means:
            ends = (left_out.estimate.low, left_out.estimate.high)
            assert ends == pytest.approx((min(means), max(means)), abs=1e-9)


@given(STUDIES)
@settings(max_examples=repeats(15))
def test_rescued_patients_are_those_whom_the_twin_counts(case):
    cohort, protocol = case
    found, counted = answer("sensitivity", cohort, protocol, Options()), answer("caveats", cohort, protocol, Options())
    tally = twin.tally(cohort, protocol)
    until = window(protocol.ck_change.after_week, protocol.visits)[1]
    rescued, tapered, known = set(), 0, 0
    last = caveat(counted, "steroid_taper").definition.parameters["days"][1]
    for i, patient in enumerate(twin.patients_of(cohort)):
        course = twin.course(patient, protocol)
        if not course.treated:
            continue
        medications = steroids.periods(cohort, i, course.date)
        day = slow.steroid_change(medications, 1)
        if (day is not None and day <= until) or (course.second is not None and course.second <= until):
            rescued.add(patient.id)
        known += steroids.dose(medications, 0) is not None
        day = slow.steroid_change(medications, -1)
        tapered += day is not None and day <= last
    kept = [d for who, *_, d in tally.ck_change if who not in rescued]
    one, (_, bounded) = (
        row(found, "ck-change", "CK", "without_further_treatment"),
        with_substitutes(found, "ck-change", "CK"),
    )
    assert one.n == len(kept)
    assert bounded or one.estimate == (pytest.approx(fmean(kept), abs=1e-9) if kept else None)
    taper = caveat(counted, "steroid_taper")
    assert (taper.count, taper.of, taper.unknown) == (tapered, known, len(tally.safety) - known)


@given(STUDIES)
@settings(max_examples=repeats(25))
def test_caveats_count_what_the_twin_counts(case):
    cohort, protocol = case
    found, tally = answer("caveats", cohort, protocol, Options()), twin.tally(cohort, protocol)
    patients = twin.patients_of(cohort)
    rising, both, high, known, labs, named, limits, limited, bounds, values = ([] for _ in range(10))
    at_visits, bounded, before_all, before_bounds = ([] for _ in range(4))
    for patient in patients:
        seen = twin.visits(patient, protocol, "CK")
        start, before = seen.get(0), seen.get(protocol.ck_change.before_week)
        if start and before:
            both.append(patient.id)
            rising += [patient.id] * (twin.stand_in(start) >= twin.stand_in(before))
        if start and twin.normality(patient, protocol, start)[0] != "unknown":
            known.append(patient.id)
            high += [patient.id] * (twin.normality(patient, protocol, start)[0] == "abnormal")
        kept = twin.kept(patient, protocol, "CK").records
        values += kept
        bounds += [record for record in kept if record.comparator]
        used = {record.draw.lab for record in kept if record.draw.lab}
        named += [patient.id] * bool(used)
        labs += [patient.id] * (len(used) > 1)
        given_limits = {limit for record in kept if (limit := twin.limit_of(patient, protocol, record)[0]) is not None}
        limited += [patient.id] * bool(given_limits)
        limits += [patient.id] * (len(given_limits) > 1)
        change = protocol.ck_change
        weeks = {0, *protocol.weekly_change.weeks, change.before_week, change.after_week}
        compared = [record for week, record in seen.items() if week in weeks]
        at_visits += [patient.id] * bool(compared)
        bounded += [patient.id] * any(record.comparator for record in compared)
        reach = protocol.baseline.run_in_days
        run_in = [r for r in kept if r.day <= 0 and (reach is None or r.day >= -reach or r == start)]
        run_in = [r for r in run_in if twin.ln_value(r) is not None]
        before_all += run_in
        before_bounds += [record for record in run_in if record.comparator]
    for code, some, of in (
        ("selection_on_baseline", rising, both),
        ("selected_high", high, known),
        ("several_laboratories", labs, named),
        ("upper_limit_changes", limits, limited),
        ("comparators", bounds, values),
        ("bounds_as_values", bounded, at_visits),
        ("bounds_in_run_in", before_bounds, before_all),
    ):
        one = caveat(found, code)
        assert (one.count, one.of) == (len(some), len(of)), code
        assert (one.applies is None) == (not of)
        assert (one.reason is None) == bool(of)
    never = tally.spell_reasons.get("never_normal", 0)
    assert caveat(found, "conditioned_on_normalising").count == never
    for measure in protocol.weekly_change.measures:
        weeks = (0, *protocol.weekly_change.weeks)
        inside = [p for p in patients if p.id in tally.efficacy]
        absent = sum(week not in twin.visits(p, protocol, measure) for p in inside for week in weeks)
        one = caveat(found, "missing_data", measure)
        assert (one.count, one.of) == (absent, len(inside) * len(weeks))


@given(rows(max_patients=6), protocols())
@settings(max_examples=repeats(12))
def test_the_order_of_the_rows_changes_no_byte(found, protocol):
    reversed_rows = Rows(
        *(getattr(found, name)[::-1] for name in list(Rows.__dataclass_fields__)[:-1]), found.time_zone
    )
    for name in ("caveats", "sensitivity"):
        one, other = (answer(name, each.cohort(), protocol, Options(patients=True)) for each in (found, reversed_rows))
        assert one.model_dump_json() == other.model_dump_json()


def test_other_names_for_the_patients_change_no_figure(reference):
    """The bootstrap orders the patients by their data, not by their names."""
    others = [row._replace(id=f"Q{97 - i}") for i, row in enumerate(reference.patients)]
    place = sorted(range(len(others)), key=lambda i: others[i].id)
    back = {old: new for new, old in enumerate(place)}

    def renamed(table):
        import numpy as np

        moved = np.array([back[i] for i in table.patient.tolist()], dtype=np.int64)
        order = np.argsort(moved, kind="stable")
        chosen = table.where(order)
        names = [part.name for part in fields(table)]
        return type(table)(**{name: getattr(chosen, name) for name in names} | {"patient": moved[order]})

    reversed_rows = Cohort(
        tuple(others[i] for i in place),
        *(renamed(getattr(reference, name)) for name in ("labs", "assessments", "infusions", "medications", "events")),
        reference.zoned,
    )
    for name in ("caveats", "sensitivity"):
        one, other = (answer(name, each, SEED_2008, Options()).model_dump_json() for each in (reference, reversed_rows))
        assert one == other


# --- edges ------------------------------------------------------------------------------------------------------------

EDGES = {
    "nobody": (cohort_of_ck(), Reason.NO_PATIENTS),
    "no CK": (cohort_of_ck([], []), Reason.NO_PATIENTS),
    "no run-in": (cohort_of_ck([(28, 500)], [(28, 400)]), Reason.NO_PATIENTS),
    "one run-in value each": (cohort_of_ck([(0, 1000), (28, 500)], [(0, 900), (28, 400)]), Reason.TOO_FEW_REPEATED),
    "one patient": (cohort_of_ck([(-28, 900), (0, 1000), (28, 500)]), Reason.TOO_FEW_REPEATED),
    "all equal": (cohort_of_ck(*[[(-28, 1000), (0, 1000), (28, 1000)]] * 3), Reason.CONSTANT_VALUES),
    "nobody observed": (cohort_of_ck([(-28, 900), (0, 1000)], [(-28, 400), (0, 500)]), Reason.NO_PATIENTS),
    "only zeros": (cohort_of_ck([(-28, 0), (0, 0), (28, 0)], [(-28, 0), (0, 0)]), Reason.NO_PATIENTS),
    "no change": (cohort_of_ck([(-28, 900), (0, 1000), (28, 1000)], [(-28, 400), (0, 500), (28, 500)]), None),
}


@pytest.mark.parametrize("name", EDGES)
def test_a_figure_that_is_not_known_is_null_with_a_reason(name):
    cohort, reason = EDGES[name]
    found = answer("sensitivity", cohort, SEED_2008, Options())
    [regression] = found.regression_to_the_mean
    assert regression.reason == reason
    answers = json.loads(found.model_dump_json()) | {
        "caveats": json.loads(answer("caveats", cohort, SEED_2008, Options()).model_dump_json())
    }
    assert "NaN" not in json.dumps(answers)
    for one in found.results:
        assert (one.estimate is None) == (one.reason is not None)
        assert (one.difference is None) == (one.difference_reason is not None)
    for one in found.leave_one_out:
        assert one.estimate.low is not None or one.estimate.reason is not None


def test_a_reason_is_given_for_the_null_that_it_explains_and_not_for_an_estimate():
    """The slopes are per 28 days, the second of the two changes is over 56; one patient has a mean and no spread."""
    protocol = changed(SEED_2008, ck_change=CkChangeWeeks(before_week=-4, after_week=8))
    cohort = cohort_of_ck([(-28, 900), (0, 1000), (14, 700), (56, 500)], [(-28, 800), (0, 900), (14, 500), (56, 400)])
    found = answer("sensitivity", cohort, protocol, Options())
    slopes = row(found, "ck-change", "CK", "slopes")
    assert (slopes.reason, slopes.difference, slopes.difference_reason) == (None, None, Reason.OTHER_UNIT)
    assert slopes.estimate is not None

    found = answer("sensitivity", cohort_of_ck([(0, 1000), (56, 500)]), SEED_2008, Options())
    main = row(found, "weekly-change", "CK", "main")
    assert (main.n, main.reason, main.difference, main.difference_reason) == (1, None, 0, None)
    assert main.interval.reason == Reason.TOO_FEW_VALUES
    earlier = row(found, "weekly-change", "CK", "baseline_earlier_mean")
    assert (earlier.estimate, earlier.reason, earlier.difference_reason) == (None, *[Reason.NO_PATIENTS] * 2)

    found = answer("sensitivity", cohort_of_ck([(0, 1000), (14, 500)]), SEED_2008, Options())
    slopes = row(found, "ck-change", "CK", "slopes")
    assert (slopes.reason, slopes.difference_reason) == (Reason.NO_PATIENTS, Reason.NO_PATIENTS)


def test_where_the_main_estimate_is_null_a_case_has_an_estimate_and_no_difference():
    """Slopes need no value in the window of week -4."""
    found = answer("sensitivity", cohort_of_ck([(-20, 900), (0, 1000), (14, 700), (28, 500)]), SEED_2008, Options())
    slopes = row(found, "ck-change", "CK", "slopes")
    assert (slopes.estimate is None, slopes.reason) == (False, None)
    assert (slopes.difference, slopes.difference_reason) == (None, Reason.NO_MAIN_ESTIMATE)


def test_no_patient_is_left_out_of_the_time_with_normal_ck_for_later_events(reference):
    """A rescue is more likely in a longer remission episode; `ck-normal-time` has strategies for that."""
    found = answer("sensitivity", reference, SEED_2008, Options()).results
    assert [each.variant.id for each in found if each.analysis == "ck-normal-time"] == ["main"]


def test_constant_changes_have_a_mean_and_no_t():
    found = answer("sensitivity", cohort_of_ck(*[[(0, 1000), (56, 500)]] * 3), SEED_2008, Options())
    one = row(found, "weekly-change", "CK", "main")
    assert (one.estimate, one.reason) == (pytest.approx(-math.log(2)), None)
    assert one.tests[1].reason == Reason.CONSTANT_DIFFERENCES
    assert one.tests[0] == paired_change([-math.log(2)] * 3).tests[0]


@pytest.mark.parametrize("protocol", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("by", [None, "diagnosis", "sex"])
def test_every_preset_and_subgroup_is_answered(reference, protocol, by):
    for name in ("caveats", "sensitivity"):
        found = answer(name, reference, protocol, Options(by=by))
        groups = {json.dumps(each.group) for each in found.results}
        assert len(groups) == (1 if by is None else 2)


def test_included_and_left_out_patients_add_up_to_all(reference):
    found = answer("sensitivity", reference, SEED_2008, Options())
    for one in found.results:
        if one.variant.id == "main":
            left_out = [
                each.count
                for each in found.excluded
                if (each.estimate, each.measure, each.week) == (one.analysis, one.measure, one.week)
            ]
            assert one.n + sum(left_out) == 16


# --- words ------------------------------------------------------------------------------------------------------------


def test_every_caveat_has_a_sentence_and_every_sentence_a_caveat(reference):
    found = answer("caveats", reference, SEED_2008, Options()).results
    assert {each.code for each in found} == set(SENTENCES)
    assert {each.definition.id for each in found} == set(SENTENCES)
    for each in found:
        assert each.text.endswith(".")
        assert "{" not in each.text
        assert each.text.count(". ") == 0


def test_every_sensitivity_case_is_answered_and_described(reference):
    found = answer("sensitivity", reference, SEED_2008, Options()).results
    assert {each.variant.id for each in found} == set(SENSITIVITY_CASES) - {"bounds_substituted"}


def test_bounds_are_bounds_in_the_key_results_and_substitutes_are_a_case_beside_them():
    """R `survreg`: -1.216095097791; the substitutes have the mean of ln 0.5, 0.25, 0.4 and 0.1."""
    week_8 = [(500.0,), (250.0,), (400.0,), (200.0, "<")]
    cohort = cohort_of_ck(*([(0, 1000.0), (56, *value)] for value in week_8))
    found = answer("sensitivity", cohort, SEED_2008, Options())
    main = row(found, "weekly-change", "CK", "main")
    beside = row(found, "weekly-change", "CK", "bounds_substituted")
    assert (main.estimate, main.interval.method) == (pytest.approx(-1.216095097791, rel=1e-11), "censored_normal_t")
    assert beside.estimate == pytest.approx(math.log(0.5 * 0.25 * 0.4 * 0.1) / 4)
    assert beside.difference == pytest.approx(beside.estimate - main.estimate)
    [left_out] = [e for e in found.leave_one_out if (e.analysis, e.measure) == ("weekly-change", "CK")]
    assert (left_out.estimate.value, left_out.estimate.method) == (main.estimate, "censored_normal_t")
    assert left_out.estimate.high == pytest.approx(math.log(0.5 * 0.25 * 0.4) / 3)


def test_no_patient_is_named_unless_the_list_is_requested(reference):
    for name in ("caveats", "sensitivity"):
        assert not re.search(r'"P\d\d"', answer(name, reference, SEED_2008, Options()).model_dump_json())
    assert (
        '"most_influential":"P15"'
        in answer("sensitivity", reference, SEED_2008, Options(patients=True)).model_dump_json()
    )
