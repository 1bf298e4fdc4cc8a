"""Reading of FHIR Observations: the statement of each form of a CK result, and the place of each fault."""

import json

import pytest

from app.errors import Fault, FaultCode
from app.fhir.read_bundle import read_bundle
from app.readers.json_timelines import read_timeline
from tests.fhir.fhir_messages import (
    DAR,
    LATEST,
    REMOVED,
    UCUM,
    bundle,
    ck,
    concept,
    faults,
    feed,
    history_and_faults,
    left_out,
    only,
    post,
    quantity,
    read,
    read_all,
)

LIMITS = ".referenceRange[0]"


def test_a_result_is_the_fact_that_our_own_format_gives():
    native = read_timeline(
        b'{"patient":{"id":"P01"},"labs":[{"code":"CK","time":"2005-03-16T09:48:00+09:00","issued":"2005-03-16T12:00:00Z",'
        b'"value":1101,"unit":"U/L","upper_limit":163,"lower_limit":45,"id":"acc-77","source":"urn:lab:a",'
        b'"status":"final"}]}',
        LATEST,
    )
    assert history_and_faults(read(ck(issued="2005-03-16T12:00:00Z"))) == (native, ())


def test_no_word_of_a_sender_but_the_fact_is_in_the_statement():
    observation = ck(
        note=[{"text": "planted"}],
        performer=[{"display": "planted"}],
        subject={"reference": "Patient/P01", "display": "planted"},
        text={"div": "planted"},
    )
    assert "planted" not in repr(read(observation))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # faulty codes
        ({"code": REMOVED}, [(".code", "missing")]),
        ({"code": []}, [(".code", "wrong_type")]),
        ({"code": {"coding": {}}}, [(".code.coding", "wrong_type")]),
        ({"code": {"coding": [{"system": 1, "code": "2157-6"}]}}, [(".code.coding[0].system", "wrong_type")]),
        # row 92: two codings that disagree, and a text that names another isoenzyme
        (
            {"code": {"coding": [*concept("2157-6")["coding"], *concept("13969-1")["coding"]]}},
            [(".code", "code_conflict")],
        ),
        ({"code": concept("2157-6", display="CK-MB")}, [(".code", "code_conflict")]),
        ({"code": concept("2157-6", text="CK_MB")}, [(".code", "code_conflict")]),
        # row 84, 85: statuses
        ({"status": REMOVED}, [(".status", "missing")]),
        ({"status": "bogus"}, [(".status", "unknown_value")]),
        ({"status": ["final"]}, [(".status", "wrong_type")]),
        # rows 37 to 50: times
        ({"effectiveDateTime": "2005"}, [(".effectiveDateTime", "bad_time")]),
        ({"effectiveDateTime": "2005-03"}, [(".effectiveDateTime", "bad_time")]),
        ({"effectiveDateTime": "2023-02-30"}, [(".effectiveDateTime", "bad_time")]),
        ({"effectiveDateTime": "2005-03-16T24:00:00Z"}, [(".effectiveDateTime", "bad_time")]),
        ({"effectiveDateTime": "2005-03-16T09:48:61Z"}, [(".effectiveDateTime", "bad_time")]),
        ({"effectiveDateTime": "2005-03-16T09:48:00"}, [(".effectiveDateTime", "no_offset")]),
        ({"effectiveDateTime": "2005-03-16T09:48:00+15:00"}, [(".effectiveDateTime", "bad_time")]),
        ({"effectiveDateTime": "2035-03-16"}, [(".effectiveDateTime", "future_time")]),
        ({"effectiveDateTime": 1110934080}, [(".effectiveDateTime", "wrong_type")]),
        ({"issued": "2005-03-16"}, [(".issued", "bad_time")]),
        # row 91: issued is no substitute
        ({"effectiveDateTime": REMOVED, "issued": "2005-03-16T09:48:00Z"}, [(".effective[x]", "missing")]),
        ({"effectiveInstant": "2005-03-16T09:48:00Z"}, [(".effective[x]", "repeated_value")]),
        (
            {"effectiveDateTime": REMOVED, "effectivePeriod": {"end": "2005-03-16"}},
            [(".effectivePeriod.start", "missing")],
        ),
        ({"effectiveDateTime": REMOVED, "effectiveTiming": {}}, [(".effectiveTiming", "unsupported")]),
        # row 81: units
        ({"valueQuantity": {"value": 1101}}, [(".valueQuantity.unit", "unknown_unit")]),
        ({"valueQuantity": {"value": 1101, "unit": "U per l"}}, [(".valueQuantity.unit", "unknown_unit")]),
        ({"valueQuantity": {"value": 1101, "unit": ""}}, [(".valueQuantity.unit", "unknown_unit")]),
        ({"valueQuantity": quantity(1101, "MU/L")}, [(".valueQuantity.code", "unknown_unit")]),
        ({"valueQuantity": {"value": 1101, "code": "U/L"}}, [(".valueQuantity.unit", "unknown_unit")]),
        ({"valueQuantity": quantity(8.5, "ng/mL"), "referenceRange": []}, [(".valueQuantity.code", "mass_unit")]),
        (
            {"valueQuantity": quantity(18, "U/L") | {"code": "ukat/L"}, "referenceRange": []},
            [(".valueQuantity.unit", "unit_mismatch")],
        ),
        # rows 53 to 55, 83, 90: values
        ({"valueQuantity": quantity(-1)}, [(".valueQuantity.value", "out_of_range")]),
        ({"valueQuantity": quantity(1e9)}, [(".valueQuantity.value", "out_of_range")]),
        ({"valueQuantity": quantity(10**400)}, [(".valueQuantity.value", "not_finite")]),
        ({"valueQuantity": quantity(True)}, [(".valueQuantity.value", "wrong_type")]),
        ({"valueQuantity": quantity("1101")}, [(".valueQuantity.value", "wrong_type")]),
        ({"valueQuantity": quantity(1101, comparator="~")}, [(".valueQuantity.comparator", "unknown_value")]),
        ({"valueQuantity": REMOVED}, [(".value[x]", "missing")]),
        ({"valueQuantity": {"unit": "U/L"}}, [(".valueQuantity.value", "missing")]),
        ({"valueQuantity": 1101}, [(".valueQuantity", "wrong_type")]),
        ({"valueQuantity": REMOVED, "valueString": "350 U/L"}, [(".valueString", "unsupported")]),
        ({"valueQuantity": REMOVED, "valueString": "1,101"}, [(".valueString", "unsupported")]),
        ({"valueQuantity": REMOVED, "valueString": " "}, [(".valueString", "unsupported")]),
        ({"valueQuantity": REMOVED, "valueString": 350}, [(".valueString", "wrong_type")]),
        ({"valueQuantity": REMOVED, "valueCodeableConcept": {"text": "350 U/L"}},
         [(".valueCodeableConcept", "unsupported")]),
        ({"valueQuantity": REMOVED, "valueCodeableConcept": {"modifierExtension": []}},
         [(".valueCodeableConcept.modifierExtension", "unknown_modifier")]),
        ({"valueQuantity": REMOVED, "valueInteger": 350}, [(".valueInteger", "unsupported")]),
        ({"valueQuantity": REMOVED, "valueRange": {}}, [(".valueRange", "unsupported")]),
        ({"valueString": "high"}, [(".value[x]", "repeated_value")]),
        ({"dataAbsentReason": DAR}, [(".dataAbsentReason", "value_and_reason")]),
        # row 87: modifiers
        ({"modifierExtension": [{"url": "urn:not"}]}, [(".modifierExtension", "unknown_modifier")]),
        ({"implicitRules": "urn:rules"}, [(".implicitRules", "unknown_modifier")]),
        (
            {"valueQuantity": quantity(1101, modifierExtension=[])},
            [(".valueQuantity.modifierExtension", "unknown_modifier")],
        ),
        (
            {"referenceRange": [{"high": quantity(163), "modifierExtension": []}]},
            [(LIMITS + ".modifierExtension", "unknown_modifier")],
        ),
        # row 57: limits
        ({"referenceRange": [{"high": {"value": "163"}}]}, [(LIMITS + ".high.value", "wrong_type")]),
        ({"referenceRange": {}}, [(".referenceRange", "wrong_type")]),
        ({"referenceRange": [1]}, [(LIMITS, "wrong_type")]),
        # numbers of the sender
        ({"identifier": [{"value": "no spaces"}]}, [(".identifier[0]", "bad_identifier")]),
        ({"identifier": {"value": "acc-77"}}, [(".identifier", "wrong_type")]),
        ({"id": "x y"}, [(".id", "bad_identifier")]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_kept_result_is_reported_at_its_element(changes, expected):
    assert faults(ck(**changes)) == [("Observation" + at, code) for at, code in expected]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "registered"}, "status"),
        ({"status": "unknown"}, "status"),
        ({"focus": [{"reference": "Device/1"}]}, "resource"),  # row 89
        ({"code": concept("2160-0")}, "code"),
        ({"code": concept("2157-6", "urn:oid:2.16.840.1.113883.6.238")}, "code"),  # Guatemalan, not creatine kinase
        ({"code": concept("2157-6", None)}, "code"),
        ({"code": concept("13969-1", display="Creatine kinase.MB [Mass/volume] in Serum or Plasma")}, "code"),
        ({"code": {"text": "CK"}}, "code"),
        ({"code": concept("J06BA02", "http://www.whocc.no/atc")}, "code"),
        ({"valueQuantity": REMOVED, "hasMember": [{"reference": "Observation/2"}]}, "value"),
    ],
)  # fmt: skip
def test_what_is_not_kept_is_left_alone(changes, why):
    entry = read(ck(**changes))
    assert (entry.skipped, entry.statements, entry.faults, entry.subject) == (why, (), (), None)


def test_of_a_code_that_is_not_kept_nothing_else_is_checked():
    other = ck(
        code=concept("2160-0"),
        status="bogus",
        subject=1,
        effectiveDateTime="yesterday",
        valueQuantity={"value": -1e245},
        modifierExtension=[{}],
        identifier="none",
    )
    assert (read(other).skipped, faults(other)) == ("code", [])


@pytest.mark.parametrize("status", ["preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error"])
def test_a_status_that_says_something_is_kept(status):
    assert only(ck(status=status)).status == status


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_a_result_may_be_withdrawn_without_its_value(status):
    fact = only(ck(status=status, valueQuantity=REMOVED))
    assert (fact.status, fact.value, fact.identity) == (status, None, only(ck()).identity)


@pytest.mark.parametrize(("sent", "kept"), [("final", "cancelled"), ("entered-in-error", "entered-in-error")])
def test_a_reason_for_having_no_value_withdraws_the_value_that_was_sent_before(sent, kept):
    fact = only(ck(status=sent, valueQuantity=REMOVED, dataAbsentReason=DAR))
    assert (fact.status, fact.value, fact.upper_limit) == (kept, None, None)
    assert only(ck(status=sent, valueQuantity={"unit": "U/L"}, dataAbsentReason=DAR)) == fact


NO_NUMBERS = [
    {"valueString": "HEMOLYZED"},
    {"valueString": "(hemolysed, 3 plus)"},
    {"valueString": "-----"},
    {"valueCodeableConcept": {"text": "Hemolyzed"}},
    {"valueCodeableConcept": concept("281273004", "http://snomed.info/sct", display="Hemolyzed specimen")},
    {"valueCodeableConcept": concept("1234", "urn:lab:a")},
    {"valueBoolean": True},
    {"valueDateTime": "2005-03-16"},
]


@pytest.mark.parametrize("status", ["preliminary", "final", "corrected"])
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_result_that_is_no_number_is_a_statement_without_a_value(value, status):
    fact = only(ck(valueQuantity=REMOVED, status=status, **value))
    assert (fact.status, fact.value, fact.unit, fact.upper_limit) == (status, None, None, None)
    assert fact.identity == only(ck()).identity


WITHDRAWALS = [
    {"valueQuantity": REMOVED},
    {"valueQuantity": REMOVED, "dataAbsentReason": DAR},
    {"dataAbsentReason": DAR},
    {"valueQuantity": quantity(1101, "ng/mL")},
    {"valueQuantity": quantity(1101, "furlong")},
    {"valueQuantity": {"value": 1101}},
    {"valueQuantity": quantity("1101")},
    {"valueQuantity": quantity(1e9)},
    {"valueQuantity": 1101},
    {"valueQuantity": quantity(1101, modifierExtension=[])},
    {"valueQuantity": REMOVED, "valueString": "HEMOLYZED"},
    {"valueQuantity": REMOVED, "valueString": "1101 U/L"},
    {"valueString": "withdrawn"},
    {"valueQuantity": REMOVED, "valueInteger": 1101},
]


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
@pytest.mark.parametrize("changes", WITHDRAWALS)
def test_a_withdrawal_needs_no_more_than_number_code_and_time(changes, status):
    fact = only(ck(status=status, **changes))
    assert (fact.status, fact.value, fact.upper_limit) == (status, None, None)
    assert (fact.identity, fact.time) == (only(ck()).identity, only(ck()).time)


@pytest.mark.parametrize("code", [concept("2157-6"), concept("24325-3")])
def test_a_withdrawal_of_a_number_may_have_no_time_at_all(code):
    entry = read(ck(code=code, status="entered-in-error", effectiveDateTime=REMOVED))
    [statement] = entry.statements or [entry.panel]
    assert (entry.faults, statement.fields["time"]) == ((), "")


@pytest.mark.parametrize(
    ("changes", "place", "code"),
    [
        ({"status": "final"}, ".effective[x]", "missing"),
        ({"identifier": REMOVED, "id": REMOVED}, ".effective[x]", "missing"),
        ({"effectivePeriod": {}}, ".effectivePeriod.start", "missing"),
    ],
)
def test_a_result_and_a_withdrawal_without_a_number_need_a_time(changes, place, code):
    without = ck(**{"status": "cancelled", "effectiveDateTime": REMOVED} | changes)
    assert ("Observation" + place, code) in faults(without)


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_a_withdrawal_that_repeats_a_readable_value_is_the_fact_of_the_other_formats(status):
    assert only(ck(status=status)) == only(ck())._replace(status=status)


@pytest.mark.parametrize(
    "code",
    [
        concept("24325-3"),
        concept("24323-8", "urn:oid:2.16.840.1.113883.6.1"),
        concept("MUS", "urn:lab:a", display="Muscle enzyme panel"),
        {"text": "Myositis PROFILE"},
    ],
)
def test_a_panel_may_be_withdrawn_without_its_results(code):
    entry = read(ck(code=code, status="entered-in-error", valueQuantity=REMOVED))
    assert (entry.skipped, entry.statements, entry.faults) == (None, (), ())
    assert (entry.panel.fields["id"], entry.panel.fields["source"]) == ("acc-77", "urn:lab:a")


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "final"},
        {"code": concept("2160-0")},
        {"component": [{"code": concept("2160-0")}]},
    ],
)
def test_another_test_and_a_panel_of_other_tests_are_no_withdrawal_of_a_panel(changes):
    entry = read(ck(**{"code": concept("24325-3"), "status": "entered-in-error"} | changes))
    assert (entry.skipped, entry.panel) == ("code", None)


ORGANIZATION = {"resourceType": "Organization", "id": "org", "name": "Central laboratory"}


@pytest.mark.parametrize(
    ("performers", "lab"),
    [
        ([{"type": "Organization", "display": "Central laboratory"}], "Central laboratory"),
        ([{"reference": "Organization/17", "display": " Central laboratory "}], "Central laboratory"),
        ([{"reference": "https://a.example/fhir/Organization/17/_history/2", "display": "A"}], "A"),
        ([{"type": "Organization", "identifier": {"system": "urn:labs", "value": "17"}}], "17"),
        ([{"reference": "#org"}], "Central laboratory"),
        ([{"reference": "Practitioner/1", "display": "Dr A"}, {"type": "Organization", "display": "A"}], "A"),
        ([{"type": "Organization", "display": "A"}, {"reference": "Organization/2", "display": "A"}], "A"),
        ([{"display": "Dr A"}], None),
        ([{"reference": "Practitioner/1", "display": "Dr A"}], None),
        ([{"reference": "urn:uuid:unknown", "display": "Dr A"}], None),
        ([{"reference": "Organization/1", "type": "Practitioner", "display": "Dr A"}], None),
        ([], None),
        ("Central laboratory", None),
        ([1], None),
    ],
)
def test_the_laboratory_is_the_organization_that_performed(performers, lab):
    sent = ck(performer=performers, contained=[ORGANIZATION])
    assert (only(sent).lab, left_out(sent)) == (lab, [])
    assert only(sent).identity == only(ck()).identity


def test_an_organization_of_the_bundle_gives_its_name():
    urn = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
    sent = ck(performer=[{"reference": urn}])
    result, _ = read_all(bundle(post(sent), post(ORGANIZATION, urn))).entries
    assert result.statements[0].fields["lab"] == "Central laboratory"


@pytest.mark.parametrize(
    "performers",
    [
        [{"type": "Organization", "display": "A"}, {"type": "Organization", "display": "B"}],
        [{"reference": "Organization/17"}],
        [{"type": "Organization", "display": "A" * 65}],
        [{"type": "Organization", "display": "A\x07"}],
    ],
)
def test_a_laboratory_that_is_not_certain_is_left_out(performers):
    sent = ck(performer=performers)
    assert (only(sent).lab, left_out(sent)) == (None, ["lab"])


@pytest.mark.parametrize("comparator", ["<", "<=", ">=", ">"])
def test_a_comparator_is_kept_with_the_number(comparator):
    fact = only(ck(valueQuantity=quantity(20, comparator=comparator)))
    assert (fact.value, fact.comparator) == (20.0, comparator)


@pytest.mark.parametrize(
    ("sent", "unit", "value"),
    [
        ({"unit": "U/L"}, "U/L", 100.0),  # as ck_codings_seen has it: text and no code
        ({"unit": "IU/L"}, "IU/L", 100.0),
        ({"unit": "ukat/L"}, "ukat/L", 6000.0),
        ({"unit": "Einheiten pro Liter", "system": UCUM, "code": "U/L"}, "U/L", 100.0),
        ({"unit": "IU/L", "system": UCUM, "code": "U/L"}, "U/L", 100.0),
        ({"unit": "U/L", "system": "urn:local", "code": "17"}, "U/L", 100.0),
        ({"unit": "U/L", "system": UCUM}, "U/L", 100.0),
    ],
)
def test_a_unit_is_the_ucum_code_or_else_its_text(sent, unit, value):
    fact = only(ck(valueQuantity={"value": 100, **sent}, referenceRange=REMOVED))
    assert (fact.unit, fact.value) == (unit, value)


@pytest.mark.parametrize(
    ("sent", "time"),
    [
        ({"effectiveDateTime": "2005-03-16"}, "2005-03-16"),
        ({"effectiveDateTime": "2005-03-16T09:48:00.000+09:00"}, "2005-03-16T09:48:00+09:00"),
        ({"effectiveDateTime": "2005-03-16T09:48:00.5Z"}, "2005-03-16T09:48:00.5Z"),
        ({"effectiveDateTime": "2016-12-31T23:59:60Z"}, "2016-12-31T23:59:59Z"),
        ({"effectiveDateTime": "2017-01-01T08:59:60+09:00"}, "2017-01-01T08:59:59+09:00"),
        ({"effectiveDateTime": REMOVED, "effectiveInstant": "2005-03-16T09:48:00Z"}, "2005-03-16T09:48:00Z"),
        ({"effectiveDateTime": REMOVED, "effectivePeriod": {"start": "2005-03-16"}}, "2005-03-16"),
    ],
)
def test_a_time_is_kept_as_our_own_format_writes_it(sent, time):
    assert only(ck(**sent)).time == time


def test_a_second_60_that_is_no_leap_second_is_no_time():
    assert faults(ck(effectiveDateTime="2016-06-15T12:34:60Z")) == [("Observation.effectiveDateTime", "bad_time")]


def test_a_time_without_an_offset_is_that_of_the_clock_of_the_study():
    local = ck(effectiveDateTime="2005-03-16T09:48:00.0")
    assert only(local, feed(zone="Asia/Tokyo")).time == "2005-03-16T09:48:00+09:00"
    assert faults(ck(effectiveDateTime="2005-03-27T02:30:00"), feed(zone="Europe/Berlin")) == [
        ("Observation.effectiveDateTime", "ambiguous_time")
    ]


MEANINGS = "http://terminology.hl7.org/CodeSystem/referencerange-meaning"
NORMAL, RECOMMENDED = concept("normal", MEANINGS), concept("recommended", MEANINGS)
BEFORE_R4 = concept("normal", "http://hl7.org/fhir/referencerange-meaning")


def limits_read(ranges, unit="U/L", told=None):
    """Lower and upper limit of the one result, and whether its receipt says that a limit could not be read."""
    entry = read(ck(referenceRange=ranges, valueQuantity=quantity(100, unit)), told)
    history, wrong = history_and_faults(entry)
    assert wrong == ()
    [fact] = history.labs
    notes = {note.code for note in history.notes.get(("labs", 0), ())}
    if fact.given_value is None:
        return fact.lower_limit, fact.upper_limit, "limit_unreadable" in notes
    return fact.given_lower_limit, fact.given_upper_limit, "limit_unreadable" in notes


@pytest.mark.parametrize(
    ("ranges", "limits"),
    [
        ([], (None, None, False)),
        ([{}], (None, None, False)),
        ([{"low": quantity(45), "high": quantity(163), "type": NORMAL}], (45.0, 163.0, False)),
        ([{"high": {"value": 163}}], (None, 163.0, False)),
        ([{"high": quantity(163, "IU/L")}], (None, 163.0, False)),
        ([{"text": "45 - 163"}], (45.0, 163.0, False)),
        ([{"text": "<= 163"}], (None, 163.0, False)),
        ([{"text": "45 - 163 U/L", "low": {"unit": "U/L"}, "high": {"unit": "U/L"}}], (45.0, 163.0, False)),
        ([{"text": "45-163", "low": quantity(45)}], (45.0, 163.0, False)),
        ([{"text": "45-163", "high": quantity(163), "low": {}}], (45.0, 163.0, False)),
        ([{"text": "men 45-163"}], (None, None, True)),
        ([{"text": "men 45-163", "low": quantity(45), "high": quantity(163)}], (45.0, 163.0, False)),
        ([{"text": "men 45-163", "low": quantity(45)}], (45.0, None, True)),
        ([{"high": quantity(163), "text": "45-200"}], (None, None, True)),
        ([{"low": quantity(200), "high": quantity(163)}], (None, None, True)),
        ([{"low": quantity(200), "text": "<163"}], (None, None, True)),
        ([{"high": quantity(0)}], (None, None, True)),
        ([{"high": quantity(-5), "low": quantity(1)}], (None, None, True)),
        ([{"high": quantity(163)}, {"high": quantity(163)}], (None, 163.0, False)),
        ([{"high": quantity(163)}, {"high": quantity(200), "type": RECOMMENDED}], (None, 163.0, False)),
        ([{"high": quantity(163)}, {"high": quantity(200)}], (None, None, True)),
        (
            [{"low": quantity(45), "high": quantity(163)}, {"low": quantity(45), "high": quantity(200)}],
            (45.0, None, True),
        ),
        (
            [{"low": quantity(45), "high": quantity(163)}, {"low": quantity(30), "high": quantity(163)}],
            (None, 163.0, True),
        ),
        ([{"low": quantity(180)}, {"high": quantity(163)}], (None, None, True)),
        ([{"high": quantity(163), "appliesTo": [concept("female")]}], (None, None, True)),
        ([{"high": quantity(163), "age": {"low": {"value": 18}}}], (None, None, True)),
        ([{"high": quantity(163), "appliesTo": [concept("female")]}, {"high": quantity(170)}], (None, 170.0, False)),
        ([{"high": quantity(163), "type": {"text": "therapeutic"}}], (None, None, True)),
        ([{"high": quantity(163), "type": {"text": "Normal Range"}}], (None, 163.0, False)),
        ([{"high": quantity(163), "type": BEFORE_R4}], (None, 163.0, False)),
        ([{"high": quantity(163), "type": concept("N", "urn:lab:a", display="normal")}], (None, 163.0, False)),
        ([{"high": quantity(163), "type": concept("normal", "urn:lab:a")}], (None, None, True)),
        ([{"high": quantity(163), "type": {**RECOMMENDED, "text": "normal"}}], (None, None, False)),
        ([{"high": quantity(3.2, "ukat/L"), "type": RECOMMENDED}], (None, None, False)),
        ([{"high": quantity(3.2, "ukat/L"), "low": quantity(1, "ukat/L")}], (60.0, 192.0, False)),
        ([{"high": quantity(3.2, "ukat/L"), "text": "60-192"}], (60.0, 192.0, False)),
        ([{"high": {"value": 3.2, "unit": "%"}}], (None, None, True)),
        ([{"high": {"value": 3.2, "unit": "%"}, "low": quantity(45)}], (45.0, None, True)),
        ([{"high": {"value": 3.2, "unit": "%"}, "text": "45-163"}], (None, None, True)),
        ([{"high": quantity(163, "ng/mL")}], (None, None, True)),
        ([{"high": quantity(3.2, "U/L") | {"code": "ukat/L"}}], (None, None, True)),
    ],
)
def test_a_limit_is_the_one_normal_limit_that_holds_for_everybody(ranges, limits):
    assert limits_read(ranges) == limits


def test_a_limit_is_converted_into_the_unit_of_its_result():
    assert limits_read([{"high": quantity(180), "text": "<=180 U/L"}], "ukat/L") == (None, 3.0, False)
    assert limits_read([{"low": quantity(0.03, "kU/L"), "text": "30-170 E/L"}], told=feed(units={"E/L": "U/L"})) == (
        30.0, 170.0, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "unit"),
    [
        ({"unit": "\uff35\uff0f\uff2c"}, "U/L"),
        ({"unit": "U/L", "code": "U/L", "system": "urn:oid:2.16.840.1.113883.6.8"}, "U/L"),
        ({"unit": "x", "code": "kU/L", "system": "UCUM"}, "kU/L"),
        ({"unit": "E/L"}, "U/L"),
        ({"unit": "E/L", "code": "E/L", "system": UCUM}, "U/L"),
        ({"code": "E/L", "system": "urn:lab:a"}, "U/L"),
        ({"unit": "Einheiten", "code": "E/L", "system": "urn:lab:a"}, "U/L"),
        ({"unit": "kU/L", "code": "17", "system": "urn:lab:a"}, "kU/L"),
    ],
)
def test_a_unit_is_read_in_the_spellings_of_ucum_and_of_the_study(sent, unit):
    declared = feed(units={"E/L": "U/L"})
    assert only(ck(valueQuantity={"value": 100, **sent}, referenceRange=REMOVED), declared).unit == unit


def test_a_declared_code_and_a_text_of_another_unit_contradict_each_other():
    wrong = ck(valueQuantity={"value": 1, "unit": "kU/L", "code": "E/L", "system": "urn:lab:a"}, referenceRange=REMOVED)
    assert faults(wrong, feed(units={"E/L": "U/L"})) == [("Observation.valueQuantity.unit", "unit_mismatch")]


@pytest.mark.parametrize(
    ("identifiers", "source", "number"),
    [
        ([{"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2"}], "urn:a", "1"),
        ([{"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2", "use": "official"}], "urn:b", "2"),
        ([{"system": "urn:a"}, {"system": "urn:b", "value": "2"}], "urn:b", "2"),
        ([{"value": "2"}], None, "2"),
        ([], "fhir", "ck-1"),
    ],
)
def test_a_result_is_numbered_by_its_official_or_first_identifier_or_else_by_its_id(identifiers, source, number):
    fact = only(ck(identifier=identifiers))
    assert (fact.source, fact.id) == (source, number)


def test_a_result_without_any_number_is_identified_by_its_code_and_time():
    fact = only(ck(identifier=REMOVED, id=REMOVED, meta={"versionId": "7"}))
    assert (fact.source, fact.id, fact.version) == (None, None, None)
    assert fact.identity.startswith("@CK|")


def test_long_identifier_systems_stay_apart():
    systems = ["https://" + "long." * 20 + end for end in ("example/a", "example/b")]
    sources = [only(ck(identifier=[{"system": system, "value": "1"}])).source for system in systems]
    assert len(set(sources)) == 2
    assert {len(source) for source in sources} == {64}


def test_local_codes_of_the_study_count():
    local = ck(code=concept("CK", "urn:lab:a"))
    assert read(local).skipped == "code"
    assert only(local, feed(codes={"urn:lab:a|CK": "CK"})).code == "CK"


def test_all_faults_of_a_resource_are_reported_together():
    wrong = ck(
        status="bogus",
        effectiveDateTime="2005-02-30",
        valueQuantity={"value": 1, "unit": "furlong"},
        subject=REMOVED,
        implicitRules="urn:rules",
    )
    assert faults(wrong) == [
        ("Observation.effectiveDateTime", "bad_time"),
        ("Observation.implicitRules", "unknown_modifier"),
        ("Observation.status", "unknown_value"),
        ("Observation.subject", "no_subject"),
        ("Observation.valueQuantity.unit", "unknown_unit"),
    ]
    assert read(wrong).statements == ()


def test_a_number_that_becomes_zero_is_no_zero():
    body = b'{"resourceType":"Bundle","type":"collection","entry":[{"resource":%s}]}'
    text = json.dumps(ck(valueQuantity=quantity("@"))).replace('"@"', "1e-999")
    [entry] = read_bundle(body % text.encode(), feed()).entries
    place = "Bundle.entry[0].resource.valueQuantity.value"
    assert entry.faults == (Fault(place, FaultCode.NOT_FINITE),)
    assert only(ck(valueQuantity=quantity(0.0))).value == 0.0


def test_a_null_is_as_good_as_an_absent_element():
    assert only(ck(issued=None, dataAbsentReason=None, valueString=None, component=None)) == only(ck())


def test_an_unknown_extension_or_element_changes_nothing():
    extended = ck(extension=[{"url": "urn:x", "valueString": "y"}], _status={"extension": []}, unheardOf={"of": 1})
    assert only(extended) == only(ck())


def test_in_a_bundle_the_place_begins_with_the_entry():
    [_, entry] = read_all(bundle(post(ck()), post(ck(status="bogus")))).entries
    assert [fault.pointer for fault in entry.faults] == ["Bundle.entry[1].resource.status"]
