"""What is kept for a later revision gives the answers of a study that is derived anew, byte for byte."""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import Options, answer, report, weekly_change
from app.derive.known_estimates import BYTES_OF_A_MODEL
from app.derive.later_revision import (
    ALWAYS_FEW,
    BYTES_DERIVED,
    FEW,
    PROTOCOLS,
    keep,
    keep_for_later,
    room_for_estimates,
)
from app.derive.parts import READ
from app.derive.study import DerivedStudy
from app.protocol.model import Visits, WeeklyChange
from app.protocol.presets import MYOSITIS_2026, SEED_2008
from app.timeline.cohort import Cohort, InfusionRow, LabRow, PatientRow
from tests.derive.test_parts import WITHOUT_SIMULATION, document
from tests.repetition import repeats
from tests.spark.studies import demonstration
from tests.twin.cohorts import changed as with_parts
from tests.twin.cohorts import cohorts, protocols

LISTED = Options(patients=True)
ASKED = ("ck-change", "ck-normal-interval", "what-is-missing", "caveats", "sensitivity")


def changed(before, other, rng):
    """The cohort of a later revision: some patients as in another cohort, some gone, some new."""
    chosen = np.array([rng.random() < 0.6 for _ in other.patients], dtype=np.bool_)
    gone = [row.id for row in before.patients if rng.random() < 0.2]
    return before.with_persons(replace(other, zoned=before.zoned).select(chosen), gone)


def asked(cohort, protocol):
    """The answers, of which each knows what those before it have derived."""
    answers = [answer(name, cohort, protocol, LISTED).model_dump_json() for name in ASKED]
    return [*answers, document(report(cohort, protocol, WITHOUT_SIMULATION))]


@settings(max_examples=repeats(20, thorough=200), deadline=None)
@given(cohorts(), cohorts(), cohorts(), st.one_of(st.just(SEED_2008), protocols()), st.randoms(use_true_random=False))
def test_the_answers_of_later_revisions_are_those_of_a_new_process(first, second, third, protocol, rng):
    now = first
    for other in (second, third):
        asked(now, protocol)
        later = changed(now, other, rng)
        keep_for_later(now, later)
        assert protocol.digest in later.derived
        assert asked(later, protocol) == asked(replace(later), protocol)
        now = later


def values(derived, name=""):
    """All arrays and values of a derivation, except the two parts that mean nothing in this form."""
    if isinstance(derived, np.ndarray):
        yield name, (derived.dtype, np.sort(derived).tolist() if name == "gaps" else derived.tolist())
    elif is_dataclass(derived):
        for part in fields(derived):
            if part.name != "row":
                yield from values(getattr(derived, part.name), part.name)
    elif isinstance(derived, dict):
        for key, value in derived.items():
            yield from values(value, str(key))
    elif isinstance(derived, frozenset):  # equal sets may be printed in another order
        yield name, sorted(derived)
    else:
        yield name, derived


@settings(max_examples=repeats(20, thorough=200), deadline=None)
@given(cohorts(), cohorts(), protocols(), st.randoms(use_true_random=False))
def test_each_derivation_of_a_later_revision_is_that_of_all_its_patients(first, second, protocol, rng):
    study = DerivedStudy(first, protocol)
    report(first, protocol, WITHOUT_SIMULATION)
    for name in READ:
        getattr(study, name)
    keep(study)
    later = changed(first, second, rng)
    keep_for_later(first, later)
    anew = DerivedStudy(replace(later), protocol)
    kept = later.derived[protocol.digest][1]
    assert {*kept.properties} >= {*READ} - {"ck_draws"}
    for name, value in kept.properties.items():
        assert repr([*values(value)]) == repr([*values(getattr(anew, name))]), name
    for rule, verdicts in kept.responses.items():
        assert repr([*values(verdicts)]) == repr([*values(anew.response(rule))])
    for measure, counts in kept.flags.items():
        assert counts == anew.flags(measure)
    for (measure, week), value in kept.visits.items():
        assert repr([*values(value)]) == repr([*values(anew.at_visit(measure, week))])


def one(patient, *labs, lab="A"):
    day0 = 12_884
    rows = [LabRow(patient, "CK", day0 + day, None, False, value, 163.0, None, None, lab) for day, value in labs]
    infusion = InfusionRow(patient, "IVIG", day0, None, False, 0.4, "g/kg", None)
    return Cohort.assemble([PatientRow(patient)], rows, [], [infusion], [], [])


def test_a_laboratory_that_only_a_changed_patient_had_is_not_named_any_more():
    before = one("A", (0, 500.0)).with_persons(one("B", (0, 500.0), lab="ONCE"))
    study = DerivedStudy(before, SEED_2008)
    assert study.ck_draws.laboratories == {"A", "ONCE"}
    keep(study)
    later = before.with_persons(one("B", (0, 500.0)))
    keep_for_later(before, later)
    assert DerivedStudy.of(later, SEED_2008).ck_draws.laboratories == {"A"}


def test_only_patients_whose_facts_changed_are_derived_again(monkeypatch):
    before = demonstration()
    report(before, SEED_2008, WITHOUT_SIMULATION)
    later = before.with_persons(one("NEW", (-7, 900.0), (0, 800.0), (28, 100.0)))
    sizes = set()
    derive = DerivedStudy._lab_records
    monkeypatch.setattr(
        DerivedStudy, "_lab_records", lambda self, code: (sizes.add(len(self.cohort)), derive(self, code))[1]
    )
    keep_for_later(before, later)
    found = document(report(later, SEED_2008, WITHOUT_SIMULATION))
    assert sizes == {0, 1}
    assert found == document(report(replace(later), SEED_2008, WITHOUT_SIMULATION))
    assert {*later.derived} == {SEED_2008.digest, MYOSITIS_2026.digest}


def test_the_place_of_a_run_in_value_among_all_values_is_never_taken_from_another_revision():
    before = one("A", (-7, 900.0), (0, 800.0)).with_persons(one("B", (0, 500.0)))
    keep_this = DerivedStudy(before, SEED_2008)
    assert len(keep_this.run_in.row) == 3
    keep(keep_this)
    later = before.with_persons(one("B", (-1, 700.0), (0, 500.0)))
    keep_for_later(before, later)
    study = DerivedStudy.of(later, SEED_2008)
    with pytest.raises(IndexError):
        study.analysis_values("CK").day[study.run_in.row]


def test_too_many_changes_and_another_way_to_count_days_keep_nothing():
    before = one("A", (0, 500.0))
    keep(DerivedStudy(before, SEED_2008))
    for later in (with_many(before, ALWAYS_FEW + 1), replace(before, zoned=True)):
        keep_for_later(before, later)
        assert not later.derived


def with_many(cohort, number, *labs):
    """The cohort with so many patients more."""
    [row], labs_of = cohort.patients[:1], labs or ((0, 500.0),)
    for each in range(number):
        cohort = cohort.with_persons(one(f"{row.id}{each:04d}", *labs_of))
    return cohort


def test_of_a_large_study_as_many_patients_may_change_as_are_worth_it():
    """With the same answers, to the last byte."""
    before = with_many(one("A", (-7, 900.0), (0, 800.0)), 72 * FEW - 1)
    asked(before, SEED_2008)
    most = len(before) // FEW // 2
    assert 2 * most > ALWAYS_FEW
    few = with_many(before, most, (-7, 900.0), (0, 700.0), (28, 100.0))
    keep_for_later(before, few)
    assert SEED_2008.digest in few.derived
    assert asked(few, SEED_2008) == asked(replace(few), SEED_2008)
    many = with_many(before, most + 1, (0, 600.0))
    keep_for_later(before, many)
    assert not many.derived


def test_a_cohort_keeps_derivations_under_a_few_protocols_only():
    cohort = one("A", (0, 500.0))
    for week in range(PROTOCOLS + 2):
        change = SEED_2008.ck_change.model_copy(update={"after_week": week + 1})
        keep(DerivedStudy(cohort, SEED_2008.model_copy(update={"ck_change": change})))
        assert len(cohort.derived) == min(week + 1, PROTOCOLS)
    protocols_kept = [protocol.ck_change.after_week for protocol, _ in cohort.derived.values()]
    assert protocols_kept == [3, 4, 5, 6]


def arrays(derived):
    """All arrays of derivations."""
    if isinstance(derived, np.ndarray):
        yield derived
    for each in derived.values() if isinstance(derived, dict) else ():
        yield from arrays(each)
    for part in fields(derived) if is_dataclass(derived) else ():
        yield from arrays(getattr(derived, part.name))


def test_what_is_kept_has_a_limit_and_what_is_left_out_is_derived_again():
    before = demonstration()
    later = before.with_persons(one("NEW", (-7, 900.0), (0, 800.0), (28, 100.0)))
    many = [(-4, *range(1, last_week)) for last_week in (60, 59)]
    asked_under = [with_parts(SEED_2008, visits=Visits(weeks=weeks, tolerance_days=3),
                              weekly_change=WeeklyChange(weeks=weeks[-4:])) for weeks in many]  # fmt: skip
    for now in (before, later):
        keep_for_later(before, now)
        for protocol in asked_under:
            for name in ("response-rates", "baseline-table"):
                assert answer(name, now, protocol, LISTED) == answer(name, replace(now), protocol, LISTED)
        kept = sum(part.nbytes for _, derived in now.derived.values() for part in arrays(derived))
        assert 0.8 * BYTES_DERIVED * len(now) < kept <= BYTES_DERIVED * len(now)


def test_what_was_asked_last_has_room_whatever_was_asked_before():
    cohort = demonstration()
    weeks = (-4, *range(1, 60))
    large = with_parts(SEED_2008, visits=Visits(weeks=weeks, tolerance_days=3), weekly_change=WeeklyChange(weeks=(1,)))
    for protocol, size in ((large, 0), (SEED_2008, 30), (large, 30)):
        answer("baseline-table", cohort, protocol, LISTED)
        assert len(cohort.derived[protocol.digest][1].visits) > size


def counted(made):
    """An estimate that counts its calls."""

    def mean(values, *, times=1.0):
        made.append(times)
        return float(np.mean(values)) * times

    return mean


def test_an_estimate_is_made_once_of_the_same_values_and_conventions():
    made, study = [], DerivedStudy(one("A", (0, 500.0)), SEED_2008)
    mean = counted(made)
    for _ in range(2):
        assert study.estimated(mean, np.array([1.0, 2.0])) == 1.5
        assert study.estimated(mean, np.array([2.0, 2.0])) == 2
        assert study.estimated(mean, np.array([1.0, 2.0]), times=2.0) == 3
        assert study.estimated(mean, np.array([4607182418800017408, 4611686018427387904])) > 1e18  # the same bytes
        assert study.estimated(mean, np.array([[1.0], [2.0]])) == 1.5
    assert made == [1, 1, 2, 1, 1]
    with pytest.raises(TypeError):
        study.estimated(mean, np.array([1.0], dtype=np.object_))


def test_after_a_new_result_only_what_reads_it_is_estimated_again(monkeypatch):
    before = with_many(demonstration(), 1, (-7, 900.0), (0, 800.0))
    report(before, SEED_2008, WITHOUT_SIMULATION)
    later = before.with_persons(one("P010000", (-7, 900.0), (0, 800.0), (28, 700.0)))
    keep_for_later(before, later)
    weeks = []
    make = weekly_change.change_within_bounds

    def remembered(*values, **conventions):
        weeks.append(len(values[0]))
        return make(*values, **conventions)

    kept = {(remembered, *key[1:]) if key[0] is make else key: known for key, known in later.estimated.items()}
    later.estimated.clear()
    later.estimated.update(kept)
    monkeypatch.setattr(weekly_change, "change_within_bounds", remembered)
    found = answer("weekly-change", later, SEED_2008, Options()).model_dump_json()
    assert len(weeks) == 2, "week 4 of CK, as logarithm and as it is"
    assert found == answer("weekly-change", replace(later), SEED_2008, Options()).model_dump_json()


def test_an_interval_with_its_resamples_is_not_estimated_again_after_a_result_that_it_does_not_read(monkeypatch):
    before = with_many(demonstration(), 1, (-7, 900.0), (0, 800.0))
    asked = answer("ck-normal-interval", before, SEED_2008, Options()).model_dump_json()
    later = before.with_persons(one("P010000", (-7, 900.0), (-3, 850.0), (0, 800.0)))
    keep_for_later(before, later)
    monkeypatch.setattr("app.estimate.times.interval_censored.percentile_limits", None)
    assert answer("ck-normal-interval", later, SEED_2008, Options()).model_dump_json() == asked
    with pytest.raises(TypeError):
        answer("ck-normal-interval", replace(later), SEED_2008, Options())


def test_no_estimate_is_kept_of_a_study_from_which_a_person_has_gone():
    before = with_many(demonstration(), 1, (-7, 900.0), (0, 800.0))
    report(before, SEED_2008, WITHOUT_SIMULATION)
    assert before.estimated
    stayed = before.with_persons(one("NEW", (0, 500.0)))
    erased = before.with_persons(one("NEW", (0, 500.0)), ["P010000"])
    for later in (stayed, erased):
        keep_for_later(before, later)
        assert later.derived
    assert stayed.estimated == before.estimated
    assert not erased.estimated


def test_estimates_have_a_limit_and_those_that_were_asked_for_last_are_kept():
    study = DerivedStudy(one("A", (0, 500.0)), SEED_2008)
    mean, most = counted([]), room_for_estimates(1) // BYTES_OF_A_MODEL
    for number in range(most + 10):
        study.estimated(mean, np.array([float(number)]))
        study.estimated(mean, np.array([0.0]))
    keep(study)
    assert len(study.given.estimated) == most
    assert [known for known, _ in study.given.estimated.values()] == [*range(11, most + 10), 0]
