"""FHIR MedicationRequests of R4 and R5: what is kept as an order, from when to when, and with which dose."""

import pytest

from app.errors import FaultCode
from app.fhir.read_order import ORDER_STATUSES, ORDERS
from app.timeline.drugs import RXNORM
from app.timeline.receipts import Disposition, NoteCode
from tests.fhir.fhir_messages import (
    REMOVED,
    bundle,
    changed,
    concept,
    history_and_faults,
    left_out,
    post,
    quantity,
    read,
    read_all,
)

ATC = "http://www.whocc.no/atc"
DAILY = {"frequency": 1, "period": 1, "periodUnit": "d"}
OPEN = {"boundsPeriod": {"start": "2005-01-20"}}
CLOSED = {"boundsPeriod": {"start": "2005-01-20", "end": "2005-02-20"}}
NO_BOUNDS = {"authoredOn": "2005-01-18", "dosageInstruction": [{"text": "as told"}]}


def instruction(value=50, bounds=OPEN, **more):
    """How to take prednisolone."""
    return {"timing": {"repeat": DAILY | bounds}, "doseAndRate": [{"doseQuantity": quantity(value, "mg")}]} | more


def ordered(**changes):
    """A MedicationRequest of prednisolone, as R4 has it."""
    request = {
        "resourceType": "MedicationRequest",
        "identifier": [{"system": "urn:pharmacy", "value": "o-1"}],
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": concept("H02AB06", ATC),
        "subject": {"reference": "Patient/P01"},
        "authoredOn": "2005-01-18T09:00:00+09:00",
        "dosageInstruction": [instruction()],
    }
    return changed(request, **changes)


def as_r5(**changes):
    """The same, as R5 has it."""
    named = {"concept": concept("H02AB06", ATC)}
    return ordered(medicationCodeableConcept=REMOVED, **{"medication": named} | changes)


def fields(resource):
    (statement,) = read(resource).statements
    return statement.fields


def days(resource):
    return fields(resource)["start"], fields(resource)["end"]


def aside(resource):
    """Where a resource is set aside, and why."""
    entry = read(resource)
    assert entry.statements == ()
    (line,) = entry.aside
    assert line.disposition is Disposition.SET_ASIDE
    return line.place.removeprefix("MedicationRequest"), line.reason


def codes(resource):
    """The notes of the reader."""
    return [note.code for note in read(resource).statements[0].notes]


@pytest.mark.parametrize("written", [ordered, as_r5])
def test_an_order_is_a_medication_that_says_that_it_was_ordered(written):
    assert fields(written()) == {
        "id": "o-1", "source": "urn:pharmacy", "status": "final", "drug": "prednisolone", "start": "2005-01-20",
        "end": None, "dose": 50, "unit": "mg/d", "ordered": True, "issued": "2005-01-18T09:00:00+09:00",
    }  # fmt: skip
    assert codes(written()) == []
    history, faults = history_and_faults(read(written()))
    assert (history.medications[0].identity, history.medications[0].ordered, faults) == (
        "#o-1|order|urn:pharmacy", True, (),
    )  # fmt: skip


@pytest.mark.parametrize("intent", ORDERS)
def test_each_intent_of_an_order_is_kept(intent):
    assert fields(ordered(intent=intent))["ordered"]


@pytest.mark.parametrize("intent", ["proposal", "plan", "directive", "option"])
def test_what_is_no_order_is_not_kept(intent):
    assert (read(ordered(intent=intent)).skipped, read(ordered(intent=intent)).statements) == ("order", ())


def test_an_order_not_to_give_a_drug_is_not_kept():
    assert read(ordered(doNotPerform=True)).skipped == "order"
    assert fields(ordered(doNotPerform=False))["ordered"]
    [fault] = read(ordered(doNotPerform="yes")).faults
    assert (fault.pointer, fault.code) == ("MedicationRequest.doNotPerform", FaultCode.WRONG_TYPE)


@pytest.mark.parametrize(("intent", "code"), [(REMOVED, "missing"), ("wish", "unknown_value"), (7, "wrong_type")])
def test_a_request_without_a_known_intent_is_refused(intent, code):
    [fault] = read(ordered(intent=intent)).faults
    assert (fault.pointer, fault.code) == ("MedicationRequest.intent", code)


@pytest.mark.parametrize("status", [*ORDER_STATUSES, "paused"])
def test_each_status_is_kept_withdrawn_skipped_or_refused(status):
    entry = read(ordered(status=status, dosageInstruction=[instruction(bounds=CLOSED)]))
    if status == "paused":
        assert [fault.code for fault in entry.faults] == [FaultCode.UNKNOWN_VALUE]
    elif status in {"draft", "unknown"}:
        assert (entry.skipped, entry.statements) == ("status", ())
    else:
        withdrawn = status if status in {"cancelled", "entered-in-error"} else "final"
        assert entry.statements[0].fields["status"] == withdrawn


@pytest.mark.parametrize("status", ["on-hold", "ended", "completed", "stopped"])
def test_an_order_that_has_ended_needs_its_last_day(status):
    assert aside(ordered(status=status)) == (".dosageInstruction.timing.repeat.boundsPeriod.end", FaultCode.MISSING)
    assert days(ordered(status=status, dosageInstruction=[instruction(bounds=CLOSED)])) == ("2005-01-20", "2005-02-20")


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled"])
def test_a_withdrawal_needs_no_last_day(status):
    assert fields(ordered(status=status))["end"] is None


VALID = {"dispenseRequest": {"validityPeriod": {"start": "2005-01-19", "end": "2005-07-19"}}}


def test_the_days_come_from_the_bounds_then_the_validity_then_the_day_of_writing():
    assert days(ordered(**VALID)) == ("2005-01-20", "2005-07-19")
    assert days(ordered(**VALID, dosageInstruction=[instruction(bounds=CLOSED)])) == ("2005-01-20", "2005-02-20")
    assert days(ordered(**VALID, dosageInstruction=[instruction(bounds={})])) == ("2005-01-19", "2005-07-19")
    alone = ordered(dosageInstruction=[instruction(bounds={})])
    assert (days(alone), codes(alone)) == (("2005-01-18", None), [NoteCode.START_FROM_AUTHORED])


@pytest.mark.parametrize("status", ["stopped", "on-hold"])
def test_until_when_a_drug_may_be_dispensed_says_nothing_of_an_order_that_was_broken_off(status):
    assert aside(ordered(status=status, **VALID))[1] == FaultCode.MISSING
    assert days(ordered(status="completed", **VALID))[1] == "2005-07-19"


def test_r5_says_over_which_days_a_drug_is_taken_and_when_its_order_was_stopped():
    over = as_r5(effectiveDosePeriod={"start": "2005-01-21", "end": "2005-02-01"}, **VALID | NO_BOUNDS)
    assert days(over) == ("2005-01-21", "2005-02-01")
    stopped = {"status": "stopped", "statusChanged": "2005-02-03T10:00:00Z"}
    assert days(as_r5(**stopped)) == ("2005-01-20", "2005-02-03")
    assert days(as_r5(**stopped, dosageInstruction=[instruction(bounds=CLOSED)])) == ("2005-01-20", "2005-02-03")
    late = stopped | {"statusChanged": "2005-03-03"}
    assert days(as_r5(**late, dosageInstruction=[instruction(bounds=CLOSED)])) == ("2005-01-20", "2005-02-20")


@pytest.mark.parametrize(("value", "unit", "last"), [(5, "d", "2005-01-22"), (2, "wk", "2005-01-31")])
def test_a_duration_ends_an_order(value, unit, last):
    lasting = {"boundsDuration": quantity(value, unit)}
    assert days(ordered(dosageInstruction=[instruction(bounds=lasting)])) == ("2005-01-18", last)


@pytest.mark.parametrize(
    "bounds",
    [
        {"boundsDuration": quantity(1, "mo")},
        {"boundsDuration": quantity(0.5, "d")},
        {"boundsDuration": quantity(0, "d")},
        {"boundsDuration": quantity(5, "d") | {"comparator": "<"}},
        {"boundsDuration": {"value": 1e6, "unit": "d"}},
        {"boundsRange": {"low": quantity(5, "d")}},
        {"count": 5},
        {"countMax": 5},
    ],
)
def test_a_limit_that_names_no_day_is_set_aside(bounds):
    place, code = aside(ordered(dosageInstruction=[instruction(bounds=bounds)]))
    assert place.startswith(".dosageInstruction[0].timing.repeat.bounds")
    assert code == FaultCode.MISSING


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"authoredOn": REMOVED}, ".authoredOn"),
        ({"authoredOn": "2005-01"}, ".authoredOn"),
        (VALID | {"dispenseRequest": {"validityPeriod": {"start": "2005"}}}, ".dispenseRequest.validityPeriod.start"),
    ],
)
def test_an_order_without_a_first_day_is_set_aside(changes, place):
    assert aside(ordered(**NO_BOUNDS | changes)) == (place, FaultCode.MISSING)


def test_an_order_may_end_in_the_future_and_not_begin_there():
    later = instruction(bounds={"boundsPeriod": {"start": "2005-01-20", "end": "2999-02-20"}})
    history, faults = history_and_faults(read(ordered(dosageInstruction=[later])))
    assert (len(history.medications), faults) == (1, ())
    future = instruction(bounds={"boundsPeriod": {"start": "2999-01-20"}})
    assert aside(ordered(dosageInstruction=[future])) == (
        ".dosageInstruction[0].timing.repeat.boundsPeriod.start", FaultCode.FUTURE_TIME,
    )  # fmt: skip


TAPER = [
    instruction(40, {"boundsPeriod": {"start": "2005-01-20", "end": "2005-01-26"}}),
    instruction(20, {"boundsPeriod": {"start": "2005-01-27", "end": "2005-02-02"}}),
]


@pytest.mark.parametrize(
    "listed",
    [
        TAPER,
        [instruction(40, CLOSED, sequence=1), instruction(20, CLOSED, sequence=2)],
        [instruction(40, CLOSED), instruction(20, {})],
        [instruction(40, asNeededBoolean=True)],
        [instruction(40, asNeeded=True)],
        [instruction(40, asNeededFor=[{"text": "pain"}])],
        [instruction(40), {"text": "and as told"}],
    ],
)
def test_a_taper_or_a_dose_as_needed_has_no_dose_and_the_order_counts(listed):
    request = ordered(dosageInstruction=listed)
    assert (fields(request)["dose"], fields(request)["unit"], left_out(request)) == (None, None, ["dose"])


def test_a_taper_lasts_from_its_first_to_its_last_day():
    assert days(ordered(dosageInstruction=TAPER)) == ("2005-01-20", "2005-02-02")


def after(sequence, days=7):
    """A dose that is taken for some days, after the doses with a lesser sequence."""
    return instruction(10, {"boundsDuration": quantity(days, "d")} if days else {}, sequence=sequence)


@pytest.mark.parametrize(
    ("listed", "last"),
    [
        ([after(1), after(2), after(3)], "2005-02-07"),
        ([after(2), after(1, 14)], "2005-02-07"),
        ([after(1), after(1, 3)], "2005-01-24"),
        ([after(1), after(1, 14), after(2)], "2005-02-07"),
        ([after(1), after(2, None)], None),
        ([after(1, None), after(2)], ""),
        ([after(1), after(REMOVED)], ""),
        ([after(1, 36_525), *(after(each, 36_525) for each in range(2, 90))], ""),
    ],
)
def test_the_duration_of_an_instruction_begins_after_the_instructions_before_it(listed, last):
    request = ordered(dosageInstruction=[changed(each) for each in listed])
    if last == "":
        assert aside(request)[0].endswith(".timing.repeat.boundsDuration")
    else:
        assert days(request) == ("2005-01-18", last)


def test_a_duration_may_follow_a_period():
    closed = instruction(40, {"boundsPeriod": {"start": "2005-01-20", "end": "2005-01-26"}}, sequence=1)
    assert days(ordered(dosageInstruction=[closed, after(2)])) == ("2005-01-20", "2005-02-02")


@pytest.mark.parametrize("status", ["completed", "ended", "stopped", "on-hold"])
def test_an_order_that_has_ended_did_not_end_in_the_future(status):
    planned = instruction(bounds={"boundsPeriod": {"start": "2005-01-20", "end": "2999-01-20"}})
    assert aside(ordered(status=status, dosageInstruction=[planned])) == (
        ".dosageInstruction[0].timing.repeat.boundsPeriod.end", FaultCode.FUTURE_TIME,
    )  # fmt: skip
    assert days(ordered(dosageInstruction=[planned])) == ("2005-01-20", "2999-01-20")
    assert fields(ordered(status="cancelled", dosageInstruction=[planned]))["status"] == "cancelled"


@pytest.mark.parametrize(
    ("part", "noted"),
    [
        ({"text": "40 mg a day for five days"}, ["dose"]),
        ({"patientInstruction": "one in the morning"}, ["dose"]),
        ({"doseAndRate": [{"rateQuantity": quantity(10, "mg/h")}]}, ["dose"]),
        ({"timing": {"repeat": OPEN}}, []),
    ],
)
def test_an_instruction_whose_dose_is_not_read_is_noted(part, noted):
    request = ordered(dosageInstruction=[part])
    assert (fields(request)["dose"], left_out(changed(request, authoredOn=REMOVED) | VALID)) == (None, noted)


def test_an_order_goes_on_if_one_of_its_instructions_does():
    assert days(ordered(dosageInstruction=[instruction(40, CLOSED), instruction(20, OPEN)])) == ("2005-01-20", None)


def test_single_doses_of_other_times_are_not_added():
    listed = [
        {"timing": {"repeat": bounds}, "doseAndRate": [{"doseQuantity": quantity(1000, "mg")}]}
        for bounds in (CLOSED, {"boundsPeriod": {"start": "2005-02-01", "end": "2005-02-02"}})
    ]
    assert left_out(ordered(dosageInstruction=listed)) == ["dose"]


def test_doses_of_one_time_are_added():
    assert fields(ordered(dosageInstruction=[instruction(10, CLOSED), instruction(5, CLOSED)]))["dose"] == 15


def test_a_time_that_says_only_from_when_to_when_does_not_say_how_often():
    once = {"timing": {"repeat": CLOSED}, "doseAndRate": [{"doseQuantity": quantity(1000, "mg")}]}
    assert (fields(ordered(dosageInstruction=[once]))["dose"], fields(ordered(dosageInstruction=[once]))["unit"]) == (
        1000, "mg",
    )  # fmt: skip


def test_other_drugs_and_other_ways_of_giving_them_are_skipped():
    assert read(ordered(medicationCodeableConcept=concept("C09AA05", ATC))).skipped == "code"
    assert read(as_r5(medication={"concept": concept("C09AA05", ATC)})).skipped == "code"
    drops = instruction(route={"text": "eye drops"})
    assert read(ordered(dosageInstruction=[drops])).skipped == "route"


def test_the_drug_may_be_in_a_medication_that_is_referred_to():
    held = {"resourceType": "Medication", "id": "m1", "code": concept("8640", RXNORM)}
    by_reference = {"reference": {"reference": "#m1"}}
    assert fields(as_r5(medication=by_reference, contained=[held]))["drug"] == "prednisone"
    of_r4 = ordered(medicationCodeableConcept=REMOVED, medicationReference={"reference": "#m1"}, contained=[held])
    assert fields(of_r4)["drug"] == "prednisone"
    urn = "urn:uuid:79378cb8-8f58-48e8-a5e8-60ac2755b674"
    referring = as_r5(medication={"reference": {"reference": urn}})
    entries = read_all(bundle(post(referring), post(held, fullUrl=urn)))
    assert entries.entries[0].statements[0].fields["drug"] == "prednisone"


def test_a_request_without_a_drug_is_refused():
    for request in (ordered(medicationCodeableConcept=REMOVED), as_r5(medication={})):
        assert [fault.code for fault in read(request).faults] == [FaultCode.MISSING]
