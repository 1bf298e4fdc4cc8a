"""FHIR Observations that are panels or scores."""

import pytest

from app.errors import FaultCode
from app.fhir.elements import MOST_ELEMENTS
from tests.fhir.fhir_messages import (
    DAR,
    REMOVED,
    bundle,
    changed,
    ck,
    concept,
    faults,
    history_and_faults,
    only,
    post,
    quantity,
    read,
    read_all,
    set_aside,
)


def components(*parts):
    """A panel of these, without a value of its own."""
    return ck(code=concept("24325-3"), valueQuantity=REMOVED, referenceRange=REMOVED, component=list(parts))


def part(code="2157-6", value=1101, **changes):
    """A component."""
    return changed({"code": concept(code), "valueQuantity": quantity(value)}, **changes)


def test_each_component_of_a_kept_code_is_a_result_with_the_number_of_its_panel():
    panel = components(part(), part("1920-8", 40), part("2160-0", -5, modifierExtension=[]), part("2532-0", 300))
    history, wrong = history_and_faults(read(panel))
    assert wrong == ()
    assert [(fact.code, fact.value, fact.id) for fact in history.labs] == [
        ("CK", 1101.0, "acc-77"),
        ("AST", 40.0, "acc-77"),
        ("LDH", 300.0, "acc-77"),
    ]


def test_a_list_of_too_many_components_is_one_fault():
    _, wrong = history_and_faults(read(components(*[part()] * (MOST_ELEMENTS + 1))))
    assert [(fault.pointer, fault.code, fault.accepts.at_most_items) for fault in wrong] == [
        ("Observation.component", FaultCode.TOO_MANY, MOST_ELEMENTS)
    ]


def test_the_place_of_a_component_is_its_own():
    history, _ = history_and_faults(read(components(part(), part("1920-8", 40))))
    assert [history.place("labs", i) for i in range(2)] == ["Observation.component[0]", "Observation.component[1]"]


def test_a_result_may_have_a_value_and_components():
    history, wrong = history_and_faults(read(ck(component=[part("1920-8", 40)])))
    assert (wrong, [fact.code for fact in history.labs]) == ((), ["CK", "AST"])


def test_a_component_has_reasons_limits_and_faults_of_its_own():
    absent = part("1920-8", valueQuantity=REMOVED, dataAbsentReason=DAR)
    history, wrong = history_and_faults(read(components(part(referenceRange=[{"high": quantity(163)}]), absent)))
    assert wrong == ()
    assert [(fact.status, fact.upper_limit) for fact in history.labs] == [("final", 163.0), ("cancelled", None)]
    at = "Observation.component[1]"
    bare = part("1920-8", 1, valueQuantity={"value": 1, "unit": "furlong"})
    for wrong_part, place, code in (
        (part("1920-8", -1), at + ".valueQuantity.value", "out_of_range"),
        (part(modifierExtension=[]), at + ".modifierExtension", "unknown_modifier"),
        (part("1920-8", valueQuantity=REMOVED), at + ".value[x]", "missing"),
        (part(code="2157-6", valueQuantity=quantity(1, "ng/mL")), at + ".valueQuantity.code", "mass_unit"),
        (bare, at + ".valueQuantity.unit", "unknown_unit"),
    ):
        assert set_aside(components(part("2532-0"), wrong_part)) == [(place, code)]
        assert strict_faults(components(part("2532-0"), wrong_part)) == [(place, code)]
        assert faults(components(wrong_part))[0][1] == code


def strict_faults(resource):
    """Places and codes of the faults of a resource that is a part of a transaction."""
    [entry] = read_all(bundle(post(resource))).entries
    assert entry.set_aside == ()
    found = history_and_faults(entry)[1]
    return [(fault.pointer.replace("Bundle.entry[0].resource", "Observation"), str(fault.code)) for fault in found]


OWN = "urn:myoresponse:codes"


@pytest.mark.parametrize(
    "value",
    [
        {"valueQuantity": {"value": 62}},
        {"valueQuantity": quantity(62, "1")},
        {"valueQuantity": quantity(62, "{score}")},
        {"valueInteger": 62},
    ],
)
def test_a_score_is_a_number_without_a_unit(value):
    score = changed(ck(code=concept("MMT8", OWN), valueQuantity=REMOVED, referenceRange=REMOVED), **value)
    fact = only(score)
    assert (fact.code, fact.score, fact.time) == ("MMT8", 62.0, "2005-03-16T09:48:00+09:00")


@pytest.mark.parametrize(
    ("value", "place", "code"),
    [
        ({"valueQuantity": quantity(62, "%")}, ".valueQuantity.code", "unit_mismatch"),
        ({"valueQuantity": {"value": 62, "comparator": ">"}}, ".valueQuantity.comparator", "unsupported"),
        ({"valueInteger": 151}, ".valueInteger", "off_scale"),
        ({"valueInteger": "62"}, ".valueInteger", "wrong_type"),
        ({"valueString": "62"}, ".valueString", "unsupported"),
        ({}, ".value[x]", "missing"),
    ],
)
def test_a_score_that_is_none_is_refused(value, place, code):
    score = changed(ck(code=concept("MMT8", OWN), valueQuantity=REMOVED), **value)
    assert faults(score) == [("Observation" + place, code)]
