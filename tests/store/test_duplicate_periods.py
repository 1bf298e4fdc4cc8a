"""One period of a glucocorticoid that two sources send: its dose is added up once where the content proves it."""

import math

import pytest

from app.derive.doses import prednisolone
from app.derive.exposure import exposure
from app.protocol.presets import SEED_2008
from tests.store.posts import columns, post, timeline
from tests.store.test_decisions import check, decide, latest, notes, standing, waiting
from tests.store.test_merged_duplicates import between, merge, undo

GIVEN = {"time": "2005-01-11", "product": "IVIG", "dose": 30, "unit": "g"}


def period(start="2005-01-01", end="2005-03-01", dose=20, **more):
    return {"drug": "prednisolone", "start": start, "end": end, "dose": dose, "unit": "mg/d"} | more


def of(source, number="1", **more):
    return period(id=number, source=source, **more)


def sent(database, study, *periods, who="P1"):
    return post(database, study, timeline(who, infusions=[GIVEN], medications=list(periods)))


def daily(database, study, day=0):
    """The daily dose of the first patient on a day counted from the first infusion, and how many periods count."""
    cohort = columns(database, study, latest(database, study))
    doses = prednisolone(cohort, exposure(cohort, SEED_2008.treatment), day)
    return doses.daily_milligrams.tolist()[0], len(cohort.medications)


@pytest.mark.parametrize(
    "other",
    [
        of("EHR"),
        of("EHR", drug="Prednisolon"),
        of("EHR", dose=0.02, unit="g/d"),
        period(),
    ],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_the_same_drug_dose_start_and_end_of_two_sources_are_added_up_once(database, study, other, turn):
    one, two = [of("CRF"), other][::turn]
    sent(database, study, one)
    assert notes(sent(database, study, two), "medications") == ["counted_once"]
    assert daily(database, study) == (20, 1)
    assert [each.decision.decided for each in standing(database, study)] == ["proven"]
    check(database, study)


def test_two_periods_that_are_still_going_on_are_one_while_both_are(database, study):
    sent(database, study, of("CRF", end=None))
    sent(database, study, of("EHR", end=None, version=1))
    assert daily(database, study, 100) == (20, 1)
    assert notes(sent(database, study, of("EHR", end="2005-02-01", version=2)), "medications") == ["possible_duplicate"]
    assert (daily(database, study), len(waiting(database, study))) == ((40, 2), 1)
    decide(database, study, waiting(database, study)[0].pair)
    assert daily(database, study) == (20, 1)
    check(database, study)


@pytest.mark.parametrize(
    "other",
    [
        of("EHR", end="2005-02-01"),
        of("EHR", end=None),
        of("EHR", start="2005-01-05"),
        of("EHR", dose=10),
        of("EHR", dose=None, unit=None),
        of("EHR", dose=0.4, unit="mg/kg/d"),
        of("EHR", start="2005-02-28", end="2005-04-01"),
    ],
)
def test_periods_of_two_sources_that_overlap_are_noted_and_wait_for_a_person(database, study, other):
    sent(database, study, of("CRF"))
    assert notes(sent(database, study, other), "medications") == ["possible_duplicate"]
    [item] = waiting(database, study)
    assert (item.pair.kind, item.place, daily(database, study)[1]) == ("medication", "/medications/0", 2)
    decide(database, study, item.pair)
    assert daily(database, study)[1] == 1
    decide(database, study, item.pair, "undecided")
    assert (daily(database, study)[1], len(waiting(database, study))) == (2, 1)


@pytest.mark.parametrize(
    "other",
    [
        of("CRF", "2"),
        of("EHR", start="2005-03-01", end=None),
        of("EHR", start="2004-01-01", end="2005-01-01"),
        of("EHR", start="2005-03-02", end=None),
        of("EHR", drug="prednisone"),
        of("EHR", drug="azathioprine"),
    ],
)
def test_other_periods_are_not_noted(database, study, other):
    sent(database, study, of("CRF"))
    assert notes(sent(database, study, other), "medications") == []
    assert (daily(database, study)[1], waiting(database, study)) == (2, [])


def test_periods_without_a_source_come_from_one_sender_and_are_two(database, study):
    sent(database, study, period(end=None))
    assert notes(sent(database, study, period("2005-02-01", None, 10)), "medications") == []


def test_a_drug_that_is_added_up_nowhere_is_not_compared(database, study):
    sent(database, study, of("CRF", drug="azathioprine"))
    assert notes(sent(database, study, of("EHR", drug="azathioprine")), "medications") == []


def test_an_order_and_what_was_taken_are_two_and_the_order_is_not_added(database, study):
    sent(database, study, of("CRF"))
    assert "possible_duplicate" not in notes(sent(database, study, of("EHR", ordered=True)), "medications")
    assert (daily(database, study), waiting(database, study)) == ((20, 2), [])


def test_one_order_that_two_sources_send_is_one(database, study):
    sent(database, study, of("CRF", ordered=True))
    assert "counted_once" in notes(sent(database, study, of("EHR", ordered=True)), "medications")
    assert daily(database, study) == (20, 1)


def test_orders_of_two_sources_that_overlap_have_no_dose_until_a_person_says_that_they_are_one(database, study):
    sent(database, study, of("CRF", ordered=True))
    assert "possible_duplicate" in notes(sent(database, study, of("EHR", ordered=True, dose=10)), "medications")
    assert math.isnan(daily(database, study, 30)[0])
    decide(database, study, waiting(database, study)[0].pair)
    assert daily(database, study, 30) in {(20, 1), (10, 1)}


def test_what_two_sources_state_in_one_submission_is_noted_and_not_proven(database, study):
    outcome = sent(database, study, of("CRF"), of("EHR"))
    assert notes(outcome, "medications") == ["possible_duplicate"] * 2
    assert (daily(database, study), len(waiting(database, study))) == ((40, 2), 1)


def test_periods_of_two_merged_records_are_compared(database, study):
    sent(database, study, of("CRF"), of("CRF", "2", start="2005-06-01", end=None))
    sent(database, study, of("EHR"), of("EHR", "2", start="2005-07-01", end=None), who="P2")
    merge(database, study, "P2", "P1")
    assert daily(database, study) == (20, 3)
    [item] = between(database, study)
    decide(database, study, item.pair, who="P2")
    assert daily(database, study, 200) == (20, 2)
    undo(database, study, "P2", "P1")
    assert daily(database, study) == (20, 4)
