"""Any bytes that are sent to the FHIR reader: it raises only our own refusals, and they repeat nothing of the input."""

import json
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import ServiceError
from app.fhir.bundle_entries import Entry
from app.fhir.read_bundle import read_bundle, read_line, read_resource
from app.readers.statements import Feed, history_of
from tests.fhir.fhir_messages import ck, concept, feed, ivig, person, post, quantity, rash
from tests.readers.refusals import all_text
from tests.repetition import repeats

CANARY = "canary"
URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
SYSTEM = "http://terminology.hl7.org/CodeSystem/adverse-event-"
WHOLE = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        post(person(), URN),
        post(
            ck(
                subject={"reference": URN, "type": "Patient", "identifier": {"system": "urn:mrn", "value": "P01"}},
                issued="2005-03-17T08:00:00Z",
                component=[{"code": concept("1920-8", text="AST"), "valueQuantity": quantity(40, comparator="<")}],
                referenceRange=[
                    {"high": quantity(163), "type": concept("normal"), "text": "30-163"},
                    {"text": "<= 163", "age": {"low": quantity(18, "a")}, "appliesTo": [concept("f")]},
                ],
                focus=[],
                hasMember=[],
            )
        ),
        post(
            ck(
                code=concept("MMT8", "urn:myoresponse:codes"),
                subject={"reference": "#p"},
                contained=[person(id="p")],
                valueQuantity={"value": 120},
            )
        ),
        post(
            ivig(
                medicationCodeableConcept=None,
                medicationReference={"reference": "Medication/m"},
                subject={"reference": "Patient?identifier=urn:mrn|P01"},
            ),
            "https://a.example/MedicationAdministration/1",
        ),
        post({"resourceType": "Medication", "id": "m", "code": concept("J06BA02", "http://www.whocc.no/atc")}),
        post(
            rash(
                suspectEntity=[{"causality": [{"assessment": concept("Certain", SYSTEM + "causality-assess")}]}],
                outcome=concept("ongoing", SYSTEM + "outcome"),
            )
        ),
        post(
            {
                "resourceType": "DiagnosticReport",
                "status": "final",
                "subject": {"reference": URN},
                "issued": "2005-03-17T08:00:00Z",
                "contained": [
                    ck(id="o1", identifier=None, subject=None, performer=[{"reference": "#org"}]),
                    {"resourceType": "Organization", "id": "org", "name": "Laboratory"},
                ],
            }
        ),
        post(person(active=False, link=[{"type": "replaced-by", "other": {"reference": "Patient/P02"}}])),
        {
            "resource": ck(),
            "request": {
                "method": "PUT",
                "url": "Observation/ck-1",
                "ifMatch": 'W/"1"',
                "ifNoneExist": "identifier=a|b",
            },
        },
        {"request": {"method": "DELETE", "url": "AdverseEvent/ae-1", "ifNoneMatch": "*"}},
    ],
}
FEEDS = (feed(), feed(key=b"k" * 32, authorities=["urn:mrn"], zone="Europe/Berlin", codes={"urn:a|b": "CK"}))
ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, 1e308, -1e308, 5e-324, 0.0, -0.0])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([CANARY, "\0", "\ud7ff", "9999-12-31T23:59:60-12:00", "0001-01-01T00:00:00", "Patient/" + CANARY])
    | st.lists(st.none() | st.integers() | st.text(max_size=3) | st.just({}), max_size=2)
    | st.dictionaries(st.sampled_from(["coding", "value", "reference", "modifierExtension"]), st.none(), max_size=2)
)
JSON = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def places(value, at=()):
    """The path of every value inside a document."""
    yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*at, key))


PLACES = list(places(WHOLE))[1:]


def mutated(changes):
    """The bundle with the values at these places replaced, removed or joined by another element."""
    document = deepcopy(WHOLE)
    for (*inside, last), how, value in changes:
        target = document
        try:
            for step in inside:
                target = target[step]
            if how == "remove":
                del target[last]
            elif how == "join":
                target[last][value if isinstance(value, str) else "modifierExtension"] = value
            else:
                target[last] = value
        except (KeyError, IndexError, TypeError):
            continue
    return document


def everything(body: bytes, to: Feed) -> list[str]:
    """The refusals and faults of all readers for these bytes, in full."""
    said = []
    for read in (
        lambda: read_bundle(body, to).entries,
        lambda: [read_line(body, to)],
        lambda: [read_resource(body, to, "Observation")],
    ):
        try:
            entries: tuple[Entry, ...] | list[Entry] = read()
        except ServiceError as error:
            said.append(all_text(error))
            continue
        for entry in entries:
            assert not (entry.faults and (entry.statements or entry.skipped))
            _, more = history_of("P01", entry.statements, to.latest)
            said += [f"{fault.pointer} {fault.code} {fault.sentence}" for fault in (*entry.faults, *more)]
    return said


@pytest.mark.slow
@pytest.mark.parametrize("to", FEEDS, ids=["pseudonyms", "records"])
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(["replace", "remove", "join"]), ODD), max_size=4))
@settings(max_examples=repeats(300), deadline=None)
def test_a_damaged_bundle_is_read_or_refused_and_its_values_are_not_repeated(to, changes):
    said = everything(json.dumps(mutated(changes)).encode(), to)
    assert not any(CANARY in text for text in said)


@given(JSON)
@settings(max_examples=repeats(200), deadline=None)
def test_any_json_is_read_or_refused(document):
    for content in (
        document,
        {"resourceType": "Observation", "code": document},
        {"resourceType": "Bundle", "type": "batch", "entry": document},
        {"resourceType": "Bundle", "type": "batch", "entry": [document]},
    ):
        everything(json.dumps(content).encode(), FEEDS[0])


@given(st.binary(max_size=64), st.integers(0, 10_000), st.integers(0, 40))
@settings(max_examples=repeats(200), deadline=None)
def test_any_bytes_are_read_or_refused(noise, at, cut):
    whole = json.dumps(WHOLE).encode()
    everything(noise, FEEDS[0])
    everything(whole[:at] + noise + whole[at + cut :], FEEDS[0])


def test_the_whole_bundle_is_right_before_it_is_damaged():
    assert [text for text in everything(json.dumps(WHOLE).encode(), FEEDS[0]) if "Bundle.entry" in text] == [
        "Bundle.entry[8].request.ifNoneExist unsupported Content of this kind is not read here.",
        "Bundle.entry[9].request.ifNoneMatch unsupported Content of this kind is not read here.",
    ]
