"""Statements of any message become the facts of our own format, and a fault is told at its place in the message."""

import gc
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Fault, FaultCode, InvalidDocument
from app.readers.statements import MOST_FAULTS, Place, Statement, histories, history_of, section_of
from app.timeline.document import Timeline
from app.timeline.facts import History
from app.timeline.normalize import normalise
from app.timeline.vocabulary import MEANINGS
from tests.timeline.documents import LATEST, lab

RESULT = Place("OBX[2]", {"value": "-5", "unit": "-6", "time": "-14", "code": "-3", "id": "-18", "lower_limit": "-7"})
PERSON = Place("PID", {"sex": "-8", "birth_year": "-7"})


def labs(*fields, place=RESULT):
    return [Statement("labs", each, place) for each in fields]


def read(*statements):
    return history_of("P1", statements, LATEST)


def faults(*statements):
    return [(fault.pointer, fault.code) for fault in read(*statements)[1]]


FULL = {
    "patient": {"id": "P1", "sex": "female", "birth_year": 1953, "weight_kg": 49.5, "merged_into": "P2"},
    "labs": [lab(id="acc-1", source="A", version=2, issued="2005-03-17T08:00:00+09:00", status="corrected")],
    "assessments": [{"code": "MMT", "time": "2005-03-16", "score": 62, "status": "final"}],
    "infusions": [{"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg", "status": "final"}],
    "medications": [{"drug": "prednisolone", "start": "2005-01-20", "dose": 50, "unit": "mg/d"}],
    "adverse_events": [{"term": "rash", "related": True, "onset": "2005-04-12"}],
}


def test_a_message_gives_the_facts_that_our_own_format_would_give():
    native = normalise(Timeline.model_validate_json(json.dumps(FULL)), LATEST)
    about = {name: value for name, value in FULL["patient"].items() if name != "id"}
    stated = [Statement("patient", {name: value}, PERSON) for name, value in about.items()]
    stated += [
        Statement(section, fields, Place("x"))
        for section, all_ in FULL.items()
        if section != "patient"
        for fields in all_
    ]
    for order in (stated, stated[::-1]):
        history, found = read(*order)
        assert (history, found) == (native, [])


@pytest.mark.parametrize(
    ("fields", "place", "code"),
    [
        (lab(value="1101"), "OBX[2]-5", "wrong_type"),
        (lab(value=-1), "OBX[2]-5", "out_of_range"),
        (lab(value=1e8), "OBX[2]-5", "out_of_range"),
        (lab(value=float("nan")), "OBX[2]-5", "not_finite"),
        (lab(value=10**400), "OBX[2]-5", "not_finite"),
        (lab(value=None), "OBX[2]-5", "missing"),
        (lab(unit="ng/mL"), "OBX[2]-6", "mass_unit"),
        (lab(unit="U/Furlong"), "OBX[2]-6", "unknown_unit"),
        (lab(unit=None), "OBX[2]-6", "unknown_unit"),
        (lab(time="2005-03-16T09:48:00"), "OBX[2]-14", "no_offset"),
        (lab(time="2031-03-16"), "OBX[2]-14", "future_time"),
        (lab(code="XYZ"), "OBX[2]-3", "unknown_code"),
        (lab(id="a b"), "OBX[2]-18", "bad_identifier"),
        (lab(id="\ud800"), "OBX[2]", "wrong_type"),
        (lab(lower_limit=200), "OBX[2]-7", "reversed_limits"),
        (lab(upper_limit=0), "OBX[2]", "out_of_range"),  # the message has no place of its own for it
        (lab(issued="2005-03-16"), "OBX[2]", "bad_time"),
        (lab(status="unheard"), "OBX[2]", "unknown_value"),
        (lab(colour="red"), "OBX[2]", "unknown_field"),
        ({}, "OBX[2]-3", "missing"),
    ],
)
def test_a_fault_is_told_at_its_place_in_the_message(fields, place, code):
    assert (place, code) in faults(*labs(fields))


def test_a_history_that_was_read_is_gone_without_the_garbage_collector():
    def there() -> int:
        return sum(type(each) is History for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = there()
        kept = read(*labs(lab()))
        assert there() == before + 1
        del kept
        assert there() == before
    finally:
        gc.enable()


def test_a_fault_among_many_statements_is_told_at_the_one_that_has_it():
    good, bad = labs(lab(id="a")), labs(lab(id="b", unit="ng/mL"), place=Place("OBX[7]", {"unit": "-6"}))
    score = Statement(
        "assessments", {"code": "HAQ", "time": "2005-03-16", "score": 4}, Place("OBX[9]", {"score": "-5"})
    )
    broken = labs({"code": 1}, place=Place("OBX[5]"))
    found = faults(*good, *broken, score, *bad, *labs(lab(id="c")))
    assert ("OBX[7]-6", "mass_unit") in found
    assert ("OBX[9]-5", "off_scale") in found
    assert {place for place, _ in found} == {"OBX[5]", "OBX[7]-6", "OBX[9]-5"}


def test_a_fact_stated_twice_counts_once_and_differently_is_a_fault_at_the_second():
    once, again = labs(lab(id="a")), labs(lab(id="a"), place=Place("OBX[3]"))
    history, found = read(*once, *again)
    assert (len(history.labs), history.repeats, found) == (1, 1, [])
    assert faults(*once, *labs(lab(id="a", value=7), place=Place("OBX[3]"))) == [("OBX[3]", "conflicting_duplicate")]


def test_what_is_said_of_the_patient_in_several_places_is_put_together():
    first = Statement("patient", {"sex": "female", "birth_year": None}, PERSON)
    again = Statement("patient", {"sex": "female", "birth_year": 1953}, Place("PID[2]", {"sex": "-8"}))
    history, found = read(first, again)
    assert ({fact.identity: fact.value for fact in history.attributes}, found) == (
        {"sex": '"female"', "birth_year": "1953"},
        [],
    )


def test_two_things_said_of_the_patient_are_a_fault_where_the_second_is_said():
    first = Statement("patient", {"sex": "female"}, PERSON)
    second = Statement("patient", {"sex": "male"}, Place("PID[2]", {"sex": "-8"}))
    assert faults(first, second) == [("PID[2]-8", "conflicting_duplicate")]


@pytest.mark.parametrize(
    ("fields", "place", "code"),
    [
        ({"sex": "F"}, "PID-8", "unknown_value"),
        ({"birth_year": 1800}, "PID-7", "out_of_range"),
        ({"birth_year": 2100}, "PID-7", "future_time"),
        ({"weight_kg": "49"}, "PID", "wrong_type"),
        ({"merged_into": "P1"}, "PID", "contradiction"),
        ({"name": "Ada"}, "PID", "unknown_field"),
    ],
)
def test_a_fault_of_the_patient_is_told_where_the_patient_is(fields, place, code):
    assert faults(Statement("patient", fields, PERSON)) == [(place, code)]


def test_an_event_before_birth_is_told_at_the_event():
    born = Statement("patient", {"birth_year": 2006}, PERSON)
    assert faults(born, *labs(lab())) == [("OBX[2]-14", "before_birth")]


def test_the_faults_of_all_subjects_are_told_together_and_none_is_read():
    stated = {"P1": labs(lab()), "P2": labs(lab(unit="kg")), "P3": labs(lab(value=-1), place=Place("OBX[4]"))}
    with pytest.raises(InvalidDocument) as refusal:
        histories(stated, LATEST)
    assert [(fault.pointer, fault.code) for fault in refusal.value.faults] == [
        ("OBX[2]-6", FaultCode.UNKNOWN_UNIT),
        ("OBX[4]", FaultCode.OUT_OF_RANGE),
    ]


def test_subjects_come_in_the_order_in_which_they_were_stated():
    read_ = histories({"b": labs(lab()), "a": labs(lab()), "c": []}, LATEST)
    assert [one.patient for one in read_] == ["b", "a", "c"]
    assert read_[2] == History("c")


def test_a_thousand_faults_are_enough():
    stated = {"P1": [one for n in range(MOST_FAULTS + 9) for one in labs({}, place=Place(f"OBX[{n}]"))]}
    with pytest.raises(InvalidDocument) as refusal:
        histories(stated, LATEST)
    assert 0 < len(refusal.value.faults) <= MOST_FAULTS


def test_every_meaning_has_a_section():
    assert {section_of(meaning) for meaning in MEANINGS} == {"labs", "assessments", "infusions"}
    assert (section_of("CK"), section_of("MMT"), section_of("IVIG")) == ("labs", "assessments", "infusions")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[]), max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.dictionaries(
    st.sampled_from([*lab(), "id", "status", "issued", "version", "source", "x"]), ANYTHING, max_size=4
)


@given(FIELDS, st.booleans())
def test_whatever_is_stated_is_a_fact_or_a_fault_and_no_error(fields, complete):
    history, found = read(*labs({**lab(), **fields} if complete else fields))
    assert len(history.labs) == 1 or found
    assert all(isinstance(fault, Fault) and fault.pointer.startswith("OBX[2]") for fault in found)


@given(st.dictionaries(st.sampled_from(["sex", "birth_year", "weight_kg", "id", "x"]), ANYTHING, max_size=3))
def test_whatever_is_stated_of_the_patient_is_kept_or_a_fault(fields):
    history, found = read(Statement("patient", fields, PERSON))
    kept = {fact.identity for fact in history.attributes}
    assert found or kept == {name for name, value in fields.items() if value is not None} - {"id"}
    assert all(fault.pointer.startswith("PID") for fault in found)
