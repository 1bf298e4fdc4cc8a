"""The fast reader of common results gives the same result as the reader of any form, or `None`."""

import json
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fhir.elements import Message, ReadResult, Resource
from app.fhir.read_common_observation import common_observation
from app.fhir.read_observation import any_observation
from app.readers.statements import Checked, history_of
from app.timeline.document import LabResult
from tests.fhir.fhir_messages import LATEST, REMOVED, ck, concept, feed, person, quantity
from tests.repetition import repeats

KEYED = feed(key=b"k" * 32, zone="Asia/Tokyo", codes={"urn:lab:a|CK": "CK", "urn:lab:a|MMT": "MMT"})
RICH = ck(
    issued="2005-03-17T08:00:00Z",
    category=[concept("laboratory")],
    interpretation=[concept("H")],
    meta={"versionId": "1"},
    performer=[{"type": "Organization", "display": "Central laboratory"}],
    code=concept("2157-6", display="Creatine kinase", text="CK"),
)
PLACES = [
    ("status",), ("issued",), ("effectiveDateTime",), ("id",), ("code",), ("code", "text"), ("code", "coding"),
    ("code", "coding", 0), ("code", "coding", 0, "system"), ("code", "coding", 0, "code"),
    ("code", "coding", 0, "display"), ("identifier",), ("identifier", 0), ("identifier", 0, "system"),
    ("identifier", 0, "value"), ("valueQuantity",), ("valueQuantity", "value"), ("valueQuantity", "unit"),
    ("valueQuantity", "code"), ("valueQuantity", "system"), ("valueQuantity", "comparator"),
    ("valueQuantity", "modifierExtension"), ("referenceRange",), ("referenceRange", 0), ("referenceRange", 0, "low"),
    ("referenceRange", 0, "high"), ("referenceRange", 0, "high", "value"), ("referenceRange", 0, "high", "code"),
    ("referenceRange", 0, "low", "unit"), ("referenceRange", 0, "type"), ("referenceRange", 0, "age"),
    ("referenceRange", 0, "text"), ("component",), ("focus",), ("dataAbsentReason",), ("valueString",),
    ("effectivePeriod",), ("modifierExtension",), ("implicitRules",), ("contained",), ("unheardOf",),
    ("performer",), ("performer", 0), ("performer", 0, "type"), ("performer", 0, "display"),
]  # fmt: skip
VALUES = st.sampled_from(
    [
        None, True, 0, 0.0, -1, 5, 163.5, 1e7, 1e8, 10**400, "", "x", "x" * 80, "final", "corrected", "unknown",
        "bogus", "cancelled", "U/L", "ukat/L", "ng/mL", "IU/L", "2157-6", "1920-8", "13969-1", "MMT", "CK", "CK-MB",
        "urn:lab:a", "http://loinc.org", "a\tb", "\u00e9", "3005-03-16T09:48:00Z",
        "2005-03-16", "2005-03", "2005-03-16T09:48:00", "2005-03-16T09:48:60Z",
        "2005-03-16T09:48:00.000Z", "45-163", "<", [], {}, [{}], [None], ["x"], {"value": 5}, quantity(45),
        [quantity(45)], concept("1920-8"), [*concept("1920-8")["coding"]], [{"value": "7"}],
        [{"value": "7", "system": "urn:b", "use": "official"}] * 2,
    ]
)  # fmt: skip


def put_at(content, changes):
    """Put other values at the places that the content has."""
    for (*inside, last), value in changes:
        target = content
        try:
            for step in inside:
                target = target[step]
            target[last] = deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue


def changed_at(changes):
    """The rich result with other values at these places, as JSON gives it."""
    content = deepcopy(RICH)
    put_at(content, changes)
    return json.loads(json.dumps(content))


def resource(content, to=KEYED):
    """A resource that has not been read."""
    return Resource(content, "Observation", Message(to, json.dumps(content).encode()))


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), max_size=3))
@settings(max_examples=repeats(1_500), deadline=None)
def test_the_quick_reader_agrees_or_is_silent(changes):
    content = changed_at(changes)
    quick, thorough = resource(content), resource(content)
    statement = common_observation(quick)
    assert quick.faults == []
    if statement is not None:
        assert (ReadResult((statement,)), []) == (any_observation(thorough), thorough.faults)
        unchecked = statement._replace(fields=dict(statement.fields))
        assert type(statement.fields) is Checked
        assert LabResult.model_validate(dict(statement.fields))
        histories = [history_of("P01", [each], LATEST) for each in (statement, unchecked)]
        first, second = (repr((history.labs, history.notes, faults)) for history, faults in histories)
        assert first == second


@pytest.mark.parametrize("place", PLACES)
def test_one_odd_value_at_any_place_changes_nothing_about_that(place):
    for value in (None, 0, 5, "", "x", [], {}, [{}], "2005-03-16T09:48:00", "ukat/L", "unknown"):
        content = changed_at([(place, value)])
        read, thorough = common_observation(resource(content)), resource(content)
        assert read is None or (ReadResult((read,)), []) == (any_observation(thorough), thorough.faults)


@pytest.mark.parametrize(
    "content",
    [
        RICH,
        ck(),
        ck(referenceRange=REMOVED),
        ck(referenceRange=[{"high": quantity(163)}]),
        ck(status="corrected", effectiveDateTime="2005-03-16"),
    ],
)
def test_what_laboratories_send_is_read_by_the_quick_reader(content):
    assert common_observation(resource(content)) is not None


@pytest.mark.parametrize(
    "content",
    [
        ck(valueQuantity=quantity(1101, comparator=">")),
        ck(component=[{}]),
        ck(focus=[{}]),
        ck(contained=[person()]),
        ck(code=concept("2160-0")),
        ck(code=concept("MMT8", "urn:myoresponse:codes")),
        ck(modifierExtension=[]),
        ck(status="registered"),
        ck(referenceRange=[{"low": quantity(200), "high": quantity(163)}]),
        ck(referenceRange=[{"high": quantity(163), "text": "45-163"}]),
        ck(referenceRange=[{"high": quantity(0.163, "kU/L")}]),
        ck(code=concept("2157-6", display="Creatinine")),
    ],
)
def test_what_is_different_is_left_to_the_reader_of_any_observation(content):
    assert common_observation(resource(content)) is None


@pytest.mark.parametrize("system", ["", "a\tb", "a\x7fb", "x" * 65])
def test_a_source_that_no_fact_may_have_is_left_to_the_reader_of_any_form(system):
    assert common_observation(resource(changed_at([(("identifier", 0, "system"), system)]))) is None


@pytest.mark.parametrize("unit", ["U" * 40, "furlong"])
def test_a_unit_that_is_not_known_is_left_to_the_reader_of_any_form(unit):
    assert common_observation(resource(ck(valueQuantity=quantity(5, unit), referenceRange=REMOVED))) is None


def test_fields_that_are_copied_are_checked_again():
    statement = common_observation(resource(RICH))
    wrong = statement._replace(fields=statement.fields | {"value": -1})
    assert [fault.pointer for fault in history_of("P01", [wrong], LATEST)[1]] == ["Observation.valueQuantity.value"]


def test_a_modifier_whose_name_is_escaped_is_one():
    body = json.dumps(ck(valueQuantity=quantity(5, modifierExtension=[]))).replace("modifierE", "modifier\\u0045")
    escaped = Resource(json.loads(body), "Observation", Message(KEYED, body.encode()))
    assert common_observation(escaped) is None
    [faulty] = any_observation(escaped).aside
    assert [fault.pointer for fault in faulty.faults] == ["Observation.valueQuantity.modifierExtension"]
