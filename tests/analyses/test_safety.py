"""Rates of adverse events by exposure, risk window and severity, compared with the slow twin."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import Options, answer
from app.analyses.safety.adverse_events import SafetyOptions
from app.estimate.rates.poisson import event_rate
from app.protocol.model import AdverseReactions
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort, EventRow, InfusionRow, LabRow, PatientRow
from tests.analyses.reference import reference_cohort
from tests.repetition import repeats
from tests.twin import courses as slow
from tests.twin import derivations as twin
from tests.twin.cohorts import changed, cohorts, protocols

DAY0 = 20_000
STUDIES = st.tuples(cohorts(max_patients=4), protocols())
WINDOWS = st.sampled_from([None, None, ((0, 0),), ((1, 3), (14, 15)), ((0, 1), (2, 2), (40, 365))])


def asked(cohort, protocol=SEED_2008, **options):
    return answer("safety", cohort, protocol, SafetyOptions(**options))


def cohort_of(**patients):
    """Patients by their infusions `(day, dose, unit)`, events `(day, severity, serious, term)`, weight and last day."""
    people, infusions, events, labs = [], [], [], []
    for who, record in patients.items():
        people.append(PatientRow(who, weight_kg=record.get("weight")))
        for day, dose, unit in record["infusions"]:
            infusions.append(InfusionRow(who, "IVIG", DAY0 + day, None, False, dose, unit, None))
        for day, severity, serious, term in record.get("events", []):
            onset = None if day is None else DAY0 + day
            events.append(EventRow(who, onset, None, False, term, severity, serious, "possible"))
        last = record.get("last", 99)
        labs.append(LabRow(who, "CK", DAY0 + last, None, False, 300.0, 200.0, None, None, None))
    return Cohort.assemble(people, labs, [], infusions, [], events)


def days_of(found):
    return [int(row.per.exposure) for row in found.risk_windows]


@settings(max_examples=repeats(40, thorough=100))
@given(STUDIES, WINDOWS, st.booleans())
def test_windows_events_and_severities_are_those_of_the_twin(case, declared, related):
    cohort, protocol = case
    rules = AdverseReactions(related=protocol.adverse_reactions.related, risk_windows=declared)
    protocol = changed(protocol, adverse_reactions=rules)
    windows = list(declared or [(0, 1), (2, 14)])
    found = asked(cohort, protocol, events="related" if related else "all", patients=True)
    people = {p.id: p for p in twin.patients_of(cohort) if twin.course(p, protocol).treated}
    expected = {who: slow.watched(patient, protocol, windows, related=related) for who, patient in people.items()}

    [count] = found.results
    assert {row.patient: row.days_in_windows for row in count.patients} == {
        who: tuple(each.days) for who, each in expected.items()
    }
    assert {row.patient: row.events_in_windows for row in count.patients} == {
        who: tuple(each.in_windows) for who, each in expected.items()
    }
    assert [row.per.events for row in found.risk_windows] == [
        sum(each.in_windows[i] for each in expected.values()) for i in range(len(windows) + 1)
    ]
    assert days_of(found) == [sum(each.days[i] for each in expected.values()) for i in range(len(windows) + 1)]
    assert all(sum(row.days_in_windows) == row.follow_up_days for row in count.patients)
    assert sum(row.per.events for row in found.risk_windows) + count.onset_unknown == count.events
    events = [each.events for each in expected.values()]
    assert {row.severity: (row.patients, row.events) for row in count.by_severity} == slow.severities(events)
    assert count.onset_unknown == sum(event.date is None for each in events for event in each)
    for row in count.by_term:
        mine = [[event for event in each if event.term == row.term] for each in events]
        assert row.events == sum(map(len, mine))
        by_severity = {severity: counts for severity, counts in slow.severities(mine).items() if counts[1]}
        assert {each.severity: (each.patients, each.events) for each in row.by_severity} == by_severity
        serious = [[event for event in each if event.serious] for each in mine]
        assert (row.patients_with_serious_event, row.serious_events) == (
            sum(map(bool, serious)),
            sum(map(len, serious)),
        )


@settings(max_examples=repeats(40, thorough=100))
@given(STUDIES)
def test_what_adverse_reactions_answers_too_is_the_same(case):
    [short] = answer("adverse-reactions", *case, Options()).results
    found = asked(*case)
    [count], per = found.results, {(row.of, row.per.unit): row.per for row in found.rates}

    assert (count.safety, count.patients_with_event) == (short.safety, short.patients_with_reaction)
    assert (count.intervals, count.events) == (short.intervals, short.related_events)
    assert per["events", "infusion"] == short.per_infusion
    assert per["events", "course"] == short.per_course
    assert per["events", "patient-year"] == short.per_patient_year
    assert per["serious_events", "course"].events == short.serious_reactions
    assert {row.term: (row.patients, row.events) for row in count.by_term} == {
        row.term: (row.patients, row.events) for row in short.by_term
    }


def test_days_near_two_infusions_count_once():
    """Infusions on days 0 to 4: days 0-5 are within a day of one, days 6-18 within 2 to 14 days of one."""
    days = [(day, 0.4, "g/kg") for day in range(5)]
    assert days_of(asked(cohort_of(A={"infusions": days}))) == [6, 13, 81]


def test_a_day_between_two_courses_belongs_to_the_nearer_infusion_before_it():
    """Infusions on days 0 and 10: days 10 and 11 are near the second, though 10 and 11 days after the first."""
    found = asked(cohort_of(A={"infusions": [(0, 1.0, "g"), (10, 1.0, "g")]}))
    assert days_of(found) == [4, 21, 75]


def test_windows_end_with_follow_up():
    assert days_of(asked(cohort_of(A={"infusions": [(0, 1.0, "g")], "last": 7}))) == [2, 6, 0]


def test_a_gap_between_declared_windows_is_outside():
    protocol = changed(SEED_2008, adverse_reactions=AdverseReactions(risk_windows=((0, 1), (5, 14))))
    found = asked(cohort_of(A={"infusions": [(0, 1.0, "g"), (3, 1.0, "g")]}), protocol)
    assert [(row.first_day, row.last_day) for row in found.risk_windows] == [(0, 1), (5, 14), (None, None)]
    assert days_of(found) == [4, 13, 83]  # 0, 1, 3, 4; 5 to 17; 2 and 18 to 99


def test_grams_come_from_the_dose_or_the_body_weight_and_patients_without_a_weight_are_left_out():
    event = (3, "mild", False, "Rash")
    cohort = cohort_of(
        A={"infusions": [(0, 0.4, "g/kg"), (1, 400.0, "mg/kg")], "weight": 50.0, "events": [event]},
        B={"infusions": [(0, 20.0, "g"), (1, 5000.0, "mg")], "events": [event]},
        C={"infusions": [(0, 0.4, "g/kg")], "events": [event]},
        D={"infusions": [(0, None, None)], "weight": 50.0},
    )
    found = asked(cohort, patients=True)
    [row] = [row for row in found.rates if (row.of, row.per.unit) == ("events", "gram")]
    assert (row.per.events, row.per.exposure, row.patients) == (2, 65, 2)
    assert row.per.intervals == event_rate(2, 65.0, "gram").intervals
    assert [(each.reason, each.estimate, each.count) for each in found.excluded] == [("dose_unknown", "per_gram", 2)]
    assert {each.patient: each.grams for each in found.results[0].patients} == {"A": 40, "B": 25, "C": None, "D": None}


def test_a_dose_of_zero_is_known_and_its_events_count():
    event = (3, "mild", False, "Rash")
    cohort = cohort_of(
        A={"infusions": [(0, 0.0, "g")], "events": [event]}, B={"infusions": [(0, 10.0, "g")], "events": [event]}
    )
    [row] = [row for row in asked(cohort).rates if (row.of, row.per.unit) == ("events", "gram")]
    assert (row.per.events, row.per.exposure, row.patients) == (2, 10, 2)
    assert row.clustered.low < 0.2 < row.clustered.high


def test_time_to_the_first_event_ends_with_it():
    cohort = cohort_of(
        A={"infusions": [(0, 1.0, "g")], "events": [(9, None, None, "Rash"), (40, None, None, "Rash")]},
        B={"infusions": [(0, 1.0, "g")], "events": [(None, None, None, "Rash")]},
        C={"infusions": [(0, 1.0, "g")]},
    )
    [count] = asked(cohort).results
    assert (count.patients_with_event, count.until_first.events) == (3 - 1, 1)
    assert count.until_first.exposure == pytest.approx((10 + 100) / 365.25)


def test_clustered_intervals_are_wider_where_one_patient_has_most_events():
    many = [(day, "mild", False, "Rash") for day in range(20, 40)]
    quiet = {"infusions": [(0, 1.0, "g")], "events": many[:1]}
    found = asked(cohort_of(A={"infusions": [(0, 1.0, "g")], "events": many}, B=quiet, C=quiet, D=quiet))
    row = next(row for row in found.rates if row.per.unit == "patient-year")
    [exact] = row.per.intervals
    assert row.clustered.low < exact.low < exact.high < row.clustered.high
    assert math.sqrt(row.clustered.low * row.clustered.high) == pytest.approx(row.per.rate)


def test_an_event_is_named_after_its_first_spelling_and_a_patient_counts_at_the_worst():
    cohort = cohort_of(
        A={
            "infusions": [(0, 1.0, "g")],
            "events": [(1, "mild", False, "rash "), (2, "severe", True, "Rash"), (3, None, None, "RASH")],
        },
    )
    [count] = asked(cohort).results
    [term] = count.by_term
    assert (term.term, term.patients, term.events, term.serious_events) == ("RASH", 1, 3, 1)
    assert [(row.severity, row.patients, row.events) for row in term.by_severity] == [
        ("severe", 1, 1),
        ("mild", 0, 1),
        (None, 0, 1),
    ]


def test_the_reference_cohort_has_its_nine_reactions_within_a_fortnight():
    found = asked(reference_cohort())
    assert [row.per.events for row in found.risk_windows] == [6, 3, 0]
    assert sum(days_of(found)) == 6488
    early = found.risk_windows[0].ratio
    assert (early.ratio, early.reason) == (None, "zero_denominator")
    assert early.intervals[0].low > 76


def test_without_patients_there_is_no_rate():
    found = asked(Cohort.assemble([], [], [], [], [], []), patients=True)
    assert {row.per.reason for row in found.rates} == {"no_patients"}
    assert {row.clustered.reason for row in found.rates} == {"no_patients"}
    assert found.results[0].patients == ()
    assert all(np.isclose(row.per.exposure, 0) for row in found.risk_windows)
