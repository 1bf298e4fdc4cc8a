"""Reading of FHIR bundles: their types, the requests of their entries, and faults of whole bundles."""

import gc
import json
from collections.abc import Mapping
from contextlib import suppress
from itertools import permutations
from typing import get_args

import pytest
from fhirclient.models.fhirelementfactory import FHIRElementFactory
from fhirclient.models.resource import Resource

from app.errors import InvalidDocument, MalformedDocument, ServiceError, TooLarge
from app.fhir import read_bundle as read_bundles
from app.fhir.bundle_entries import Request
from app.fhir.elements import R4_TYPES
from app.fhir.own_address import OwnAddress
from app.fhir.read_bundle import MOST_ENTRIES, read_bundle, read_line, read_resource
from app.readers.json_timelines import read_timeline
from app.readers.pseudonyms import Identifier
from app.readers.statements import histories
from app.timeline.resource import SupportedType
from tests.fhir.fhir_messages import (
    LATEST,
    REMOVED,
    bundle,
    changed,
    ck,
    concept,
    feed,
    ivig,
    person,
    post,
    quantity,
    rash,
    read,
    read_all,
)

PARAMETERS = {"resourceType": "Parameters"}
HERE = "https://trial.example/fhir/t/"
OWN = OwnAddress("t", authority="trial.example")


def asked(method, url, resource=None, **more):
    """An entry with a request."""
    entry = {"request": {"method": method, "url": url, **more}}
    return entry if resource is None else {**entry, "resource": resource}


def wrong(*entries, kind="transaction"):
    """Places (after the bundle) and codes of all faults of these entries."""
    read = read_all(bundle(*entries, type=kind)).entries
    return [(fault.pointer.removeprefix("Bundle."), fault.code.value) for entry in read for fault in entry.faults]


def refused(body):
    """The refusal of a bundle as a whole."""
    with pytest.raises(ServiceError) as caught:
        read_bundle(body if isinstance(body, bytes) else json.dumps(body).encode(), feed())
    return caught.value


@pytest.mark.parametrize(
    ("content", "place", "code"),
    [
        ([], "", "wrong_type"),
        ({}, "resourceType", "missing"),
        (ck(), "resourceType", "unknown_value"),
        ({"resourceType": ["Bundle"]}, "resourceType", "unknown_value"),
        ({"resourceType": "Bundle"}, "Bundle.type", "missing"),
        ({"resourceType": "Bundle", "type": 1}, "Bundle.type", "wrong_type"),
        ({"resourceType": "Bundle", "type": "history"}, "Bundle.type", "unsupported"),
        ({"resourceType": "Bundle", "type": "message"}, "Bundle.type", "unsupported"),
        ({"resourceType": "Bundle", "type": "batch", "entry": {}}, "Bundle.entry", "wrong_type"),
        ({"resourceType": "Bundle", "type": "batch", "implicitRules": "x"}, "Bundle.implicitRules", "unknown_modifier"),
    ],
)
def test_a_bundle_that_is_none_is_refused_as_a_whole(content, place, code):
    error = refused(content)
    assert isinstance(error, InvalidDocument)
    assert [(fault.pointer, fault.code) for fault in error.faults] == [(place, code)]


def test_what_is_no_json_is_refused_as_a_whole():
    assert isinstance(refused(b"{"), MalformedDocument)
    assert isinstance(refused(b'{"resourceType":"Bundle","resourceType":"Bundle","type":"batch"}'), MalformedDocument)
    assert isinstance(refused(b"[" * 40 + b"]" * 40), MalformedDocument)


def test_a_bundle_without_entries_says_nothing():
    assert read_all({"resourceType": "Bundle", "type": "batch"}).entries == ()


def test_a_bundle_has_a_greatest_size():
    assert isinstance(refused(bundle(*({},) * (MOST_ENTRIES + 1))), TooLarge)
    assert isinstance(refused(bundle(*({},) * 100_000)), TooLarge)
    assert len(read_all(bundle(*({},) * MOST_ENTRIES)).entries) == MOST_ENTRIES


@pytest.mark.parametrize(
    ("entry", "request_"),
    [
        (asked("POST", "Observation", ck()), Request("POST", "Observation", "Observation")),
        (asked("PUT", "Observation/ck-1", ck()), Request("PUT", "Observation/ck-1", "Observation", "ck-1")),
        (
            asked("PUT", "Observation/ck-1", ck(), ifMatch='W/"2"'),
            Request("PUT", "Observation/ck-1", "Observation", "ck-1", None, 'W/"2"'),
        ),
        (
            asked("POST", "Patient", person(), ifNoneExist="identifier=urn:mrn|P01"),
            Request("POST", "Patient", "Patient", None, Identifier("urn:mrn", "P01")),
        ),
        (
            asked("POST", "Patient", person(), ifNoneExist="identifier=urn%3Amrn%7CP01"),
            Request("POST", "Patient", "Patient", None, Identifier("urn:mrn", "P01")),
        ),
        (
            asked("POST", "Patient", person(), ifNoneExist="identifier=P01"),
            Request("POST", "Patient", "Patient", None, Identifier("", "P01")),
        ),
        (asked("DELETE", "AdverseEvent/1"), Request("DELETE", "AdverseEvent/1", "AdverseEvent", "1")),
        (
            asked("GET", "Patient/1", ifNoneMatch='W/"4"'),
            Request("GET", "Patient/1", "Patient", "1", if_none_match='W/"4"'),
        ),
        (
            asked("PUT", "Patient?identifier=urn:mrn|P01", person(id=REMOVED)),
            Request("PUT", "Patient?identifier=urn:mrn|P01", "Patient", condition=Identifier("urn:mrn", "P01")),
        ),
        (
            asked("PUT", "Observation?identifier=a%7Cb", ck()),
            Request("PUT", "Observation?identifier=a%7Cb", "Observation", "ck-1", condition=Identifier("a", "b")),
        ),
        (asked("POST", "/Observation", ck()), Request("POST", "Observation", "Observation")),
        (asked("POST", f"{HERE}Observation", ck()), Request("POST", "Observation", "Observation")),
        (asked("DELETE", "/fhir/t/AdverseEvent/1"), Request("DELETE", "AdverseEvent/1", "AdverseEvent", "1")),
        (asked("GET", "Patient?name=peter"), Request("GET", "Patient?name=peter", "Patient")),
        (asked("POST", "Device", {"resourceType": "Device"}), Request("POST", "Device", "Device")),
    ],
)
def test_a_request_is_read(entry, request_):
    [read] = read_bundle(json.dumps(bundle(entry)).encode(), feed(), OWN).entries
    assert (read.request, read.faults, read.resource) == (request_, (), request_.resource)
    if request_.method in {"GET", "DELETE"}:
        assert (read.place, read.statements, read.subject) == ("Bundle.entry[0]", (), None)


@pytest.mark.parametrize(
    ("entry", "place", "code"),
    [
        (1, "", "wrong_type"),
        ({"resource": ck()}, ".request", "missing"),
        ({"resource": ck(), "request": []}, ".request", "wrong_type"),
        ({"resource": ck(), "request": {"url": "Observation"}}, ".request.method", "missing"),
        ({"resource": ck(), "request": {"method": "POST"}}, ".request.url", "missing"),
        (asked("POST", ["Observation"], ck()), ".request.url", "wrong_type"),
        (asked("PATCH", "Observation/1", ck()), ".request.method", "unsupported"),
        (asked("HEAD", "Observation/1"), ".request.method", "unsupported"),
        (asked("POST", "", ck()), ".request.url", "unsupported"),
        (asked("POST", "Observation/ck-1", ck()), ".request.url", "unsupported"),
        (asked("POST", "ValueSet/$lookup", PARAMETERS), ".request.url", "unsupported"),
        (asked("POST", "https://elsewhere.example/Observation", ck()), ".request.url", "unsupported"),
        (asked("PUT", "Patient?name=x", person()), ".request.url", "unsupported"),
        (asked("PUT", "Patient?identifier=a|b&name=x", person()), ".request.url", "unsupported"),
        (asked("PUT", "Patient", person()), ".request.url", "unsupported"),
        (asked("PUT", "Patient/P01/_history/3", person()), ".request.url", "unsupported"),
        (asked("POST", "//Observation", ck()), ".request.url", "unsupported"),
        (asked("DELETE", "Patient?identifier=123456"), ".request.url", "unsupported"),
        (asked("DELETE", "Patient"), ".request.url", "unsupported"),
        (asked("DELETE", "Folk/1"), ".request.url", "unsupported"),
        (asked("POST", "Patient", person(), ifNoneExist="name=x"), ".request.ifNoneExist", "unsupported"),
        (asked("POST", "Patient", person(), ifNoneExist="identifier=a|b&x=y"), ".request.ifNoneExist", "unsupported"),
        (asked("POST", "Patient", person(), ifNoneExist="identifier=a|"), ".request.ifNoneExist", "unsupported"),
        (asked("PUT", "Patient/P01", person(), ifNoneExist="identifier=a|b"), ".request.ifNoneExist", "unsupported"),
        (asked("PUT", "Patient/P01", person(), ifNoneMatch="*"), ".request.ifNoneMatch", "unsupported"),
        (asked("POST", "Observation"), ".resource", "missing"),
        (asked("POST", "Observation", []), ".resource", "wrong_type"),
        (asked("DELETE", "Observation/ck-1", ck()), ".resource", "unsupported"),
        (asked("POST", "Patient", ck()), ".request.url", "path_mismatch"),
        (asked("PUT", "Observation/other", ck()), ".resource.id", "path_mismatch"),
        (asked("PUT", "Observation/ck-1", ck(id=REMOVED)), ".resource.id", "missing"),
        (post({"status": "final"} | {"resourceType": None}), ".resource.resourceType", "missing"),
        (asked("POST", "Observation", {"resourceType": 1}), ".resource.resourceType", "wrong_type"),
        (asked("POST", "Observation", {"resourceType": "Foo"}), ".resource.resourceType", "unknown_value"),
        ({**post(ck()), "modifierExtension": []}, ".modifierExtension", "unknown_modifier"),
        ({**post(ck()), "fullUrl": 1}, ".fullUrl", "wrong_type"),
    ],
)
def test_what_an_entry_may_not_request_is_reported_at_the_request(entry, place, code):
    assert ("entry[1]" + place, code) in wrong(post(person()), entry)


@pytest.mark.parametrize("kind", ["collection", "searchset"])
def test_entries_of_a_collection_and_of_the_answer_to_a_search_ask_for_nothing(kind):
    assert wrong({"resource": ck(), "search": {"mode": "match"}}, kind=kind) == []
    assert wrong(post(ck()), kind=kind) == [("entry[0].request", "unsupported")]
    assert wrong({}, kind=kind) == [("entry[0].resource", "missing")]


def test_a_bad_entry_says_nothing_and_takes_nothing_from_the_others():
    entries = read_all(bundle(post(ck(status="bogus")), post(ck()), type="batch")).entries
    assert [(len(entry.faults), len(entry.statements)) for entry in entries] == [(1, 0), (0, 1)]


def test_faults_of_the_request_and_of_the_resource_are_reported_together():
    assert wrong(asked("PATCH", "Observation/ck-1", ck(status="bogus"))) == [
        ("entry[0].request.method", "unsupported"),
        ("entry[0].resource.status", "unknown_value"),
    ]


def test_the_kinds_of_r4_are_those_that_a_client_of_others_knows():
    kinds = {kind for kind in R4_TYPES if isinstance(FHIRElementFactory.instantiate(kind, None), Resource)}
    assert kinds == R4_TYPES
    assert len(kinds) == 146


def test_every_other_kind_is_left_alone_whatever_it_holds():
    for kind in R4_TYPES - set(get_args(SupportedType)):
        entry = read({"resourceType": kind, "id": "x y", "status": 1, "subject": 2, "modifierExtension": []})
        assert (entry.skipped, entry.faults, entry.statements) == ("resource", (), ())


@pytest.mark.parametrize(
    ("content", "code"),
    [({}, "missing"), ({"resourceType": "Foo"}, "unknown_value"), ({"resourceType": {}}, "wrong_type")],
)
def test_a_resource_of_no_kind_is_refused(content, code):
    assert [(fault.pointer, fault.code) for fault in read(content).faults] == [("resourceType", code)]


def test_a_resource_must_be_of_the_kind_that_it_was_sent_as():
    for content, code in ((person(), "unknown_value"), (changed(ck(), resourceType=REMOVED), "missing")):
        entry = read_resource(json.dumps(content).encode(), feed(), "Observation")
        assert [(fault.pointer, fault.code) for fault in entry.faults] == [("resourceType", code)]
    assert read_resource(json.dumps(ck()).encode(), feed(), "Observation") == read(ck())


def test_a_single_resource_must_be_an_object():
    with pytest.raises(InvalidDocument):
        read_line(b"[]", feed())


def test_a_bundle_gives_the_facts_of_the_same_timeline_in_our_own_format():
    native = {
        "patient": {"id": "P01", "sex": "female", "birth_year": 1953},
        "labs": [
            {"code": "CK", "time": "2005-03-16T09:48:00+09:00", "value": 1101, "unit": "U/L", "upper_limit": 163,
             "lower_limit": 45, "id": "acc-77", "source": "urn:lab:a", "status": "final"},
            {"code": "CK", "time": "2005-03-23", "value": 3.5, "unit": "ukat/L", "comparator": "<",
             "status": "corrected", "issued": "2005-03-24T08:00:00+09:00", "id": "acc-78", "source": "urn:lab:a"},
        ],
        "infusions": [{"time": "2005-04-11T10:00:00+09:00", "product": "IVIG", "dose": 0.4, "unit": "g/kg",
                       "id": "inf-1", "source": "urn:ward", "status": "final"}],
        "assessments": [{"code": "MMT8", "time": "2005-03-16", "score": 120, "id": "ck-1", "source": "fhir",
                         "status": "final"}],
        "adverse_events": [{"term": "rash", "onset": "2005-04-12", "severity": "mild", "serious": False, "id": "ae-1",
                            "source": "urn:safety", "status": "final"}],
    }  # fmt: skip
    second = ck(
        identifier=[{"system": "urn:lab:a", "value": "acc-78"}],
        status="corrected",
        issued="2005-03-24T08:00:00.000+09:00",
        effectiveDateTime="2005-03-23",
        valueQuantity=quantity(3.5, "ukat/L", comparator="<"),
        referenceRange=REMOVED,
    )
    score = ck(
        identifier=REMOVED,
        code=concept("MMT8", "urn:myoresponse:codes"),
        effectiveDateTime="2005-03-16",
        valueQuantity={"value": 120},
        referenceRange=REMOVED,
    )
    entries = [post(each) for each in (ck(), second, person(), ivig(), score, rash())]
    expected = read_timeline(json.dumps(native).encode(), LATEST)
    assert together(bundle(*entries)) == {"P01": expected}


def together(content, to=None) -> Mapping:
    """The history of each subject of a bundle without faults; a patient outside the bundle is named by the id."""
    to = to or feed()
    stated = {}
    for entry in read_all(content, to).entries:
        assert entry.faults == ()
        if entry.subject is not None:
            name = entry.subject if isinstance(entry.subject, str) else entry.subject.id
            stated.setdefault(name, []).extend(entry.statements)
    return {history.patient: history for history in histories(stated, to.latest)}


def test_the_order_of_entries_makes_no_other_facts():
    urn = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
    subject = {"reference": urn}
    entries = [post(person(), urn), post(ck(subject=subject)), post(ivig(subject=subject)), post(rash(subject=subject))]
    to = feed(key=b"k" * 32)
    all_orders = [together(bundle(*order), to) for order in permutations(entries)]
    assert all(each == all_orders[0] for each in all_orders)


def test_entries_keep_the_order_in_which_they_were_sent():
    entries = read_all(bundle(*(post(ck(id=f"ck-{i}")) for i in range(5)))).entries
    assert [(entry.at, entry.id) for entry in entries] == [(i, f"ck-{i}") for i in range(5)]


@pytest.mark.parametrize("body", [json.dumps(bundle(type="collection")).encode(), b"{"])
def test_the_garbage_collector_rests_while_a_bundle_is_read_and_not_afterwards(monkeypatch, body):
    on, parse = [], read_bundles.check_syntax
    monkeypatch.setattr(read_bundles, "check_syntax", lambda given: on.append(gc.isenabled()) or parse(given))
    with suppress(MalformedDocument):
        read_bundle(body, feed())
    assert (on, gc.isenabled()) == ([False], True)
