"""The fast reader of common entries gives the same entry as the reader of any form, or `None`."""

import json
from contextlib import contextmanager
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fhir import read_bundle
from app.fhir.bundle_entries import Reference
from tests.fhir.fhir_messages import bundle, ck, concept, feed, person
from tests.fhir.test_read_common_observation import PLACES, RICH, VALUES, put_at
from tests.repetition import repeats

KINDS = ("transaction", "batch", "collection")
PATIENT = "https://lab.example/fhir/Patient/p1"
AT = [
    *(("resource", *place) for place in PLACES),
    ("resource",), ("resource", "resourceType"), ("resource", "meta"), ("resource", "meta", "tag"),
    ("resource", "identifier", 0, "extension"), ("resource", "subject"), ("resource", "subject", "reference"),
    ("resource", "subject", "type"), ("resource", "subject", "display"), ("resource", "subject", "identifier"),
    ("request",), ("request", "method"), ("request", "url"), ("request", "ifNoneExist"), ("request", "ifMatch"),
    ("fullUrl",), ("implicitRules",), ("search",), ("modifierExtension",),
]  # fmt: skip
ODD = [
    None, 5, "", "x", {}, [{}], "a/b", "PUT", "Observation/ck-1", "Patient", "DiagnosticReport", "Patient/p1",
    "Patient/x", "Practitioner/p1", "#p1", PATIENT, "https://other.example/fhir/Observation/1",
    [{"code": "SUBSETTED"}], {"tag": [{"code": "SUBSETTED"}]}, {"method": "POST", "url": "Observation"},
    {"method": "PUT", "url": "Observation/ck-1"}, {"reference": "Patient/p1"},
    {"reference": "Patient/p1", "type": "Group"}, {"identifier": {"system": "urn:other", "value": "9"}},
]  # fmt: skip


def entry_of(kind, changes=()):
    """The entry of a rich result in a bundle of this type, with other values at these places."""
    entry = {"fullUrl": "https://lab.example/fhir/Observation/ck-1", "resource": deepcopy(RICH)}
    entry["resource"]["subject"] = {"reference": "Patient/p1", "display": "Planted"}
    if kind != "collection":
        entry["request"] = {"method": "POST", "url": "Observation"}
    put_at(entry, changes)
    return entry


def read(kind, *entries):
    """The entries as they are read, after one of their patient, and the authorities that the feed has noted."""
    to = feed(key=b"k" * 32, zone="Asia/Tokyo", codes={"urn:lab:a|CK": "CK", "urn:lab:a|MMT": "MMT"})
    patient = {"fullUrl": PATIENT, "resource": person(id="p1")}
    if kind != "collection":
        patient["request"] = {"method": "POST", "url": "Patient"}
    body = json.dumps(bundle(patient, *entries, type=kind)).encode()
    _, *found = read_bundle.read_bundle(body, to).entries
    return found, to.pseudonyms.take_undeclared()


@contextmanager
def by_the_reader_of_any_form():
    """Without the fast reader."""
    fast, read_bundle._common_entry = read_bundle._common_entry, lambda *_: None
    try:
        yield
    finally:
        read_bundle._common_entry = fast


def agree(kind, *entries):
    """Whether both readers read the same."""
    mine = read(kind, *entries)
    with by_the_reader_of_any_form():
        return mine == read(kind, *entries)


@pytest.mark.slow
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.sampled_from(AT), VALUES | st.sampled_from(ODD)), max_size=3),
)
@settings(max_examples=repeats(1_000, 10_000), deadline=None)
def test_the_quick_reader_of_entries_agrees_or_is_silent(kind, changes):
    assert agree(kind, entry_of(kind, changes))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_odd_value_at_any_place_of_an_entry_changes_nothing_about_that(kind):
    for place in AT:  # each in a message of its own: after one modifier, no entry of a message is common
        assert agree(kind, *(entry_of(kind, [(place, value)]) for value in ODD))


@pytest.mark.parametrize("kind", KINDS)
def test_a_reference_to_a_contained_patient_is_none_to_an_entry_with_this_address(kind):
    patient = entry_of(kind, [(("fullUrl",), "#p1"), (("resource",), person(id="p2")), (("request", "url"), "Patient")])
    entry = entry_of(kind, [(("resource", "subject"), {"reference": "#p1"})])
    (_, found), _ = read(kind, patient, entry)
    assert [fault.code for fault in found.faults] == ["unknown_reference"]
    assert agree(kind, patient, entry)


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_that_is_not_ours_notes_no_authority(kind):
    entry = entry_of(kind, [(("resource", "code"), concept("2160-0"))])
    found, noted = read(kind, entry)
    assert [(each.skipped, each.subject) for each in found] == [("code", None)]
    assert agree(kind, entry)
    assert noted == {"urn:mrn": 1}  # of the Patient itself


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "entry",
    [
        {"resource": ck()},
        {"fullUrl": "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a", "resource": RICH},
        {"resource": ck(subject={"reference": "Patient/other", "display": "Planted"}, meta={"versionId": "1"})},
    ],
)
def test_an_entry_that_laboratories_send_is_read_by_the_quick_reader(monkeypatch, kind, entry):
    slow, any_entry = [], read_bundle._any_entry
    monkeypatch.setattr(read_bundle, "_any_entry", lambda *given: slow.append(given[1]) or any_entry(*given))
    request = {} if kind == "collection" else {"request": {"method": "POST", "url": "Observation"}}
    [found], _ = read(kind, entry | request)
    assert slow == [0]  # the patient
    assert found.faults == ()
    assert isinstance(found.subject, Reference)
