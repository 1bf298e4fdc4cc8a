"""What is read quickly in a FHIR bundle is what is read of it in every form."""

import hmac
import json
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ingest.feed import Checked, history_of
from app.ingest.fhir import reader
from app.ingest.fhir.plain_entries import plain_entry
from app.ingest.fhir.resource import Message
from app.ingest.pseudonyms import Identifier, Pseudonyms
from app.timeline.document import LabResult
from tests.ingest.fhir_messages import LATEST, REMOVED, bundle, ck, feed, person, post, quantity

PATIENT = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
URL = "http://lab.example/fhir/Observation/ck-1"
FEEDS = (
    feed(key=b"k" * 32, zone="Asia/Tokyo"),
    feed(key=b"k" * 32, authorities=["urn:mrn"]),
    feed(codes={"urn:lab:a|CK": "CK"}),
)
RICH = post(ck(subject={"reference": PATIENT}, issued="2005-03-17T08:00:00Z"), URL)
PLACES = [
    ("fullUrl",), ("resource",), ("request",), ("request", "method"), ("request", "url"), ("request", "ifMatch"),
    ("request", "ifNoneExist"), ("search",), ("modifierExtension",), ("implicitRules",), ("resource", "resourceType"),
    ("resource", "id"), ("resource", "subject"), ("resource", "subject", "reference"), ("resource", "subject", "type"),
    ("resource", "subject", "display"), ("resource", "subject", "identifier"), ("resource", "contained"),
    ("resource", "subject", "modifierExtension"), ("resource", "status"), ("resource", "issued"),
    ("resource", "effectiveDateTime"), ("resource", "identifier", 0, "system"), ("resource", "identifier", 0, "value"),
    ("resource", "valueQuantity"), ("resource", "valueQuantity", "value"), ("resource", "referenceRange"),
    ("resource", "referenceRange", 0, "low"), ("resource", "referenceRange", 0, "high"),
    ("resource", "modifierExtension"), ("resource", "code", "text"), ("resource", "code"),
]  # fmt: skip
VALUES = st.sampled_from(
    [
        REMOVED, None, True, 0, 1, 5, 7.25, 1e7, 1e8, "", "x", "x" * 70, "a\tb", "\u00e9", "POST", "PUT", "DELETE",
        "GET", "Observation", "Observation/ck-1", "Observation/ck-2", "Patient", "Bogus", "ck-1", "ck-2", "bad id",
        "#p1", PATIENT, "Patient/P01", "Patient/P02", "Patient?identifier=urn:mrn|P01", "Practitioner/7", "urn:uuid:0",
        "http://lab.example/fhir/Patient/P01", "final", "cancelled", "registered", "2005-03-16", "2005-03-16T09:48:00",
        "3005-03-16T09:48:00Z", [], {}, [{}], {"reference": "Patient/P01"}, {"reference": "#p1"},
        {"system": "urn:mrn", "value": "P01"}, {"method": "PUT", "url": "Observation/ck-1"}, [quantity(45)],
        quantity(45), quantity(1, "ukat/L"), quantity(1, "U" * 40), quantity(1, "ng/mL"),
    ]
)  # fmt: skip
KINDS = ("transaction", "batch", "collection")


def changed_at(changes):
    """The rich entry with other values at these places, as it is after it was sent."""
    entry = deepcopy(RICH)
    for (*inside, last), value in changes:
        target = entry
        try:
            for step in inside:
                target = target[step]
            if value is REMOVED:
                del target[last]
            else:
                target[last] = deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue
    return json.loads(json.dumps(entry))


def both(entry, kind, to):
    """What the quick reader and the reader of every form say of an entry that stands beside its patient."""
    listed = [post(person(), PATIENT), entry]
    for server in ("lab", "other"):
        someone = person(id="P02", identifier=[{"system": "urn:mrn", "value": f"{server}-2"}])
        listed.append(post(someone, f"http://{server}.example/fhir/Patient/P02"))
    body = json.dumps(bundle(*listed, type=kind)).encode()
    said = []
    for read in (plain_entry, reader.every_entry):
        message = Message(to, body)
        said.append(read(entry, 1, kind, reader._references(listed, message), message))
    return said


def agree(entry, kind, to):
    """Whether the quick reader says something, which must be what the other one says."""
    quick, thorough = both(entry, kind, to)
    if quick is not None:
        assert quick == thorough
        [statement] = quick.statements
        unchecked = statement._replace(fields=dict(statement.fields))
        assert type(statement.fields) is Checked
        assert LabResult.model_validate(dict(statement.fields))
        assert repr(history_of("P01", [statement], LATEST)) == repr(history_of("P01", [unchecked], LATEST))
    return quick is not None


@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), max_size=3), st.sampled_from(KINDS), st.sampled_from(FEEDS))
@settings(max_examples=1_500, deadline=None)
def test_the_quick_reader_of_entries_agrees_or_is_silent(changes, kind, to):
    if kind == "collection":
        changes = [(("request",), REMOVED), *changes]
    agree(changed_at(changes), kind, to)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes",
    [
        [],
        [(("fullUrl",), REMOVED)],
        [(("resource", "id"), REMOVED)],
        [(("resource", "subject"), {"reference": "Patient/P07", "display": "a name that is not kept"})],
        [(("resource", "subject"), {"reference": "Patient/P02"})],
        [(("resource", "valueQuantity"), quantity(7, "ukat/L")), (("resource", "referenceRange"), REMOVED)],
        [(("resource", "referenceRange", 0), {"low": quantity(163), "high": quantity(45)})],
        [(("resource", "effectiveDateTime"), "3005-03-16T09:48:00Z")],
    ],
)
def test_what_laboratories_send_is_read_by_the_quick_reader(changes, kind):
    asked = [(("request",), REMOVED)] if kind == "collection" else []
    assert agree(changed_at([*changes, *asked]), kind, FEEDS[0])


def test_an_update_of_the_resource_itself_is_read_by_the_quick_reader():
    asked = ("request",), {"method": "PUT", "url": "Observation/ck-1"}
    assert agree(changed_at([asked]), "transaction", FEEDS[0])
    assert not agree(changed_at([asked, (("resource", "id"), "ck-2")]), "transaction", FEEDS[0])


@pytest.mark.parametrize("entry", [None, 5, "x", [], {}, ["resource"], post(person(), PATIENT)])
def test_another_entry_is_left_to_the_reader_of_every_form(entry):
    assert not agree(entry, "transaction", FEEDS[0])


def test_a_source_that_no_fact_may_have_is_left_to_the_reader_of_every_form():
    for system in ("", "a\tb", "a\x7fb", "x" * 65):
        entry = changed_at([(("resource", "identifier", 0, "system"), system)])
        assert not agree(entry, "transaction", FEEDS[0])


def test_a_unit_that_is_not_known_is_left_to_the_reader_of_every_form():
    for unit in ("U" * 40, "furlong"):
        entry = changed_at(
            [(("resource", "valueQuantity"), quantity(5, unit)), (("resource", "referenceRange"), REMOVED)]
        )
        assert not agree(entry, "transaction", FEEDS[0])


def test_fields_that_are_copied_are_checked_again():
    entry, _ = both(RICH, "transaction", FEEDS[0])
    [statement] = entry.statements
    wrong = statement._replace(fields=statement.fields | {"value": -1})
    assert [fault.pointer for fault in history_of("P01", [wrong], LATEST)[1]] == [
        "Bundle.entry[1].resource.valueQuantity.value"
    ]


@given(st.binary(max_size=200), st.text(st.characters(), max_size=80), st.text(st.characters(), min_size=1))
def test_a_pseudonym_is_the_keyed_hash_of_the_standard_library(key, source, value):
    text = f"5:alias0:{len(value)}:{value}"
    assert Pseudonyms(key).alias("alias", value) == _hashed(key, text)
    if value.strip():
        text = f"6:number{len(source)}:{source}{len(value)}:{value}"
        assert Pseudonyms(key).number(source, value) == _hashed(key, text)
        text = f"7:patient{len(source)}:{source}{len(value)}:{value}"
        assert Pseudonyms(key).patient([Identifier(source, value)]) == "s-" + _hashed(key, text)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 90, 128, 129])
def test_a_key_of_any_length_is_one(length):
    key = bytes(range(length))
    assert Pseudonyms(key).alias("alias", "7") == _hashed(key, "5:alias0:1:7")


def _hashed(key, text):
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]
