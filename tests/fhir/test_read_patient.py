"""The subject of a FHIR resource: Patients, identifiers, references inside and outside of a message."""

import json

import pytest

from app.fhir.bundle_entries import Reference
from app.readers.pseudonyms import Identifier, Pseudonyms
from app.readers.statements import history_of, readable
from app.timeline.receipts import Note, NoteCode
from tests.fhir.fhir_messages import (
    LATEST,
    REMOVED,
    bundle,
    ck,
    faults,
    feed,
    history_and_faults,
    ivig,
    left_out,
    person,
    post,
    rash,
    read,
    read_all,
)

KEY = b"k" * 32
URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
OTHER_URN = "urn:uuid:88f151c0-a954-468a-88bd-5ae15c08e059"


def about(reference, **more):
    """A result with this subject."""
    return ck(subject={"reference": reference}, **more)


def pseudonym(*given, authorities=()):
    """The subject identifier of a person with these identifiers."""
    return Pseudonyms(KEY, authorities).patient([Identifier(*one) for one in given])


def test_of_a_patient_only_sex_and_year_of_birth_are_kept():
    entry = read(person(active=False, deceasedBoolean=True, link=[{"type": "seealso"}], maritalStatus={"text": "x"}))
    [statement] = entry.statements
    assert (entry.subject, statement.fields) == ("P01", {"sex": "female", "birth_year": 1953})
    assert not {"Planted", "555-0100", "07-04"} & set(repr(entry).replace("'", " ").split())
    history, wrong = history_and_faults(entry)
    assert (wrong, {fact.identity: fact.value for fact in history.attributes}) == (
        (),
        {"sex": '"female"', "birth_year": "1953"},
    )


@pytest.mark.parametrize(("birth", "year"), [("1953", 1953), ("1953-07", 1953), ("1953-07-04", 1953)])
def test_a_birth_date_may_be_less_than_a_day(birth, year):
    assert read(person(birthDate=birth)).statements[0].fields["birth_year"] == year


@pytest.mark.parametrize(
    ("changes", "place", "code"),
    [
        ({"birthDate": 1953}, ".birthDate", "wrong_type"),
        ({"birthDate": "1653-02-03"}, ".birthDate", "out_of_range"),
        ({"gender": 2}, ".gender", "wrong_type"),
        ({"identifier": "P01"}, ".identifier", "wrong_type"),
        ({"identifier": REMOVED, "id": REMOVED}, ".identifier", "no_subject"),
        ({"identifier": [{"system": "a", "value": "1"}, {"system": "b", "value": "2"}]}, ".identifier",
         "ambiguous_subject"),
        ({"modifierExtension": [{"url": "urn:x"}]}, ".modifierExtension", "unknown_modifier"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_patient_is_reported_at_its_element(changes, place, code):
    assert ("Patient" + place, code) in faults(person(**changes))


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"birthDate": "53-07-04"}, "birth_year"),
        ({"birthDate": "1953-13"}, "birth_year"),
        ({"birthDate": "1953-02-30"}, "birth_year"),
        ({"birthDate": "00000000"}, "birth_year"),
        ({"gender": "f"}, "sex"),
    ],
)
def test_a_detail_that_cannot_be_read_is_left_out_and_the_patient_is_kept(changes, detail):
    entry = read(person(**changes))
    assert left_out(person(**changes)) == [detail]
    [statement] = entry.statements
    assert detail not in statement.fields
    assert len(statement.fields) == 1


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"active": True}, []),
        ({"deceasedBoolean": False}, []),
        ({"deceasedBoolean": True}, ["deceased"]),
        ({"deceasedDateTime": "2020-01"}, ["deceased"]),
        ({"deceasedDateTime": "2020-02-30"}, ["deceased"]),
        ({"active": False}, ["active"]),
        ({"link": [{"type": "seealso", "other": {"reference": "Patient/P02"}}]}, ["link"]),
        ({"link": [{"type": "refer", "other": {"reference": "Patient/P02"}}]}, ["link"]),
    ],
)
def test_a_modifier_of_a_patient_that_is_not_stored_is_said_to_be_left_out(changes, details):
    assert left_out(person(**changes)) == details
    assert read(person(**changes)).statements == read(person()).statements


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2020-01-31", "2020-01-31"),
        ("2020-01-31T23:30:00-05:00", "2020-01-31"),
        ("2020-01-31T23:30:00.125Z", "2020-01-31"),
        ("2020-01-31T23:30", "2020-01-31"),
    ],
)
def test_the_death_of_a_patient_ends_the_participation_on_the_day_that_is_written(written, day):
    entry = read(person(deceasedDateTime=written, deceasedBoolean=REMOVED))
    assert entry.statements[0].fields["ended"] == {"date": day, "reason": "died"}
    history, faults = history_of("P01", entry.statements, LATEST)
    assert faults == []
    assert {each.identity: each.value for each in history.attributes}["ended"] == (
        f'{{"date": "{day}", "reason": "died"}}'
    )


def test_a_death_in_the_future_is_left_out_and_the_rest_is_kept():
    entry = read(person(deceasedDateTime="2031-01-01"))
    history = readable("P01", entry.statements, LATEST)
    assert {each.identity for each in history.attributes} == {"sex", "birth_year"}
    [line] = history.aside
    assert (line.place, line.notes) == ("Patient.deceasedDateTime", (Note(NoteCode.DETAIL_LEFT_OUT, "ended"),))


def link(type="replaced-by", **other):
    """A link to another record."""
    return [{"type": type, "other": other or {"reference": "Patient/P02"}}]


@pytest.mark.parametrize(
    ("changes", "links"),
    [
        ({"link": link()}, [(Reference("P02"), False, None)]),
        ({"active": False, "link": link()}, [(Reference("P02"), False, None)]),
        ({"active": True, "link": link("replaces")}, [(Reference("P02"), True, None)]),
        ({"link": link(identifier={"system": "urn:mrn", "value": "P03"})}, [("P03", False, None)]),
        ({"link": link(), "meta": {"lastUpdated": "1970-01-01T00:00:01Z"}}, [(Reference("P02"), False, 1_000_000)]),
        ({"link": link(), "meta": {"lastUpdated": "1970"}}, [(Reference("P02"), False, None)]),
    ],
)
def test_a_link_says_which_record_was_merged_into_which(changes, links):
    entry = read(person(**changes))
    assert entry.faults == ()
    assert [(each.other, each.replaces, each.issued) for each in entry.links] == links


@pytest.mark.parametrize(
    ("changes", "place", "code"),
    [
        ({"active": True, "link": link()}, ".active", "contradiction"),
        ({"active": False, "link": link("replaces")}, ".active", "contradiction"),
        ({"link": [{"other": {"reference": "Patient/P02"}}]}, ".link[0].type", "missing"),
        ({"link": link("merges")}, ".link[0].type", "unknown_value"),
        ({"link": [{"type": "replaces"}]}, ".link[0].other", "missing"),
        ({"link": link(reference="RelatedPerson/1")}, ".link[0].other.reference", "unsupported"),
        ({"link": [*link("replaces"), 1]}, ".link[1]", "wrong_type"),
        ({"link": [link()[0] | {"modifierExtension": []}]}, ".link[0].modifierExtension", "unknown_modifier"),
        ({"link": {}}, ".link", "wrong_type"),
    ],
)
def test_what_is_wrong_with_a_link_is_reported_at_its_element(changes, place, code):
    assert faults(person(**changes)) == [("Patient" + place, code)]


def test_a_medical_record_number_becomes_a_pseudonym():
    entry = read(person(), feed(key=KEY))
    assert entry.subject == pseudonym(("urn:mrn", "P01"))
    assert "P01" not in repr((entry.subject, entry.statements, entry.faults))


def test_the_declared_authority_says_which_identifier_counts():
    several = person(identifier=[{"system": "urn:ssn", "value": "9"}, {"system": "urn:mrn", "value": "7"}])
    assert read(several, feed(key=KEY, authorities=["urn:mrn"])).subject == pseudonym(
        ("urn:mrn", "7"), authorities=["urn:mrn"]
    )
    assert faults(several, feed(key=KEY)) == [("Patient.identifier", "ambiguous_subject")]


def test_an_identifier_that_is_out_of_use_counts_only_alone():
    old = {"system": "urn:mrn", "value": "6", "use": "old"}
    assert read(person(identifier=[old, {"system": "urn:mrn", "value": "7"}])).subject == "7"
    assert read(person(identifier=[old])).subject == "6"


def test_a_patient_without_identifiers_is_identified_by_the_id_unless_an_authority_is_declared():
    nameless = person(identifier=REMOVED)
    assert read(nameless).subject == "P01"
    assert read(nameless, feed(authorities=["urn:mrn"])).subject == "P01"
    assert read(nameless, feed(key=KEY)).subject == pseudonym(("urn:fhir:resource", "P01"))
    assert faults(nameless, feed(key=KEY, authorities=["urn:mrn"])) == [("Patient.identifier", "no_subject")]


@pytest.mark.parametrize("resource", [ck, ivig, rash])
@pytest.mark.parametrize(
    ("subject", "place", "code"),
    [
        (REMOVED, ".subject", "no_subject"),
        ("Patient/P01", ".subject", "wrong_type"),
        ({"display": "somebody"}, ".subject", "no_subject"),
        ({"identifier": {"system": "urn:mrn"}}, ".subject.identifier", "no_subject"),
        ({"reference": 1}, ".subject.reference", "wrong_type"),
        ({"reference": "#p1"}, ".subject.reference", "unknown_reference"),
        ({"reference": "#"}, ".subject.reference", "unknown_reference"),
        ({"reference": URN}, ".subject.reference", "unknown_reference"),
        ({"reference": "https://elsewhere.example/fhir/Patient/1"}, ".subject.reference", "unknown_reference"),
        ({"reference": "file:///etc/passwd"}, ".subject.reference", "unknown_reference"),
        ({"reference": "Patient?name=x"}, ".subject.reference", "unknown_reference"),
        ({"reference": "Patient/"}, ".subject.reference", "unknown_reference"),
        ({"reference": "Folk/1"}, ".subject.reference", "unknown_reference"),
        ({"reference": "Group/1"}, ".subject.reference", "unsupported"),
        ({"reference": "Patient/1", "type": "Device"}, ".subject.type", "unsupported"),
        ({"reference": "Patient/1", "type": ["Device"]}, ".subject.type", "wrong_type"),
    ],
)
def test_a_reference_that_leads_to_nobody_is_a_fault(resource, subject, place, code):
    resource = resource(subject=subject)
    assert (resource["resourceType"] + place, code) in faults(resource)


def test_a_patient_whom_only_the_study_can_know_is_left_to_it():
    entry = read(about("Patient/x1/_history/3"))
    assert (entry.subject, entry.subject_place) == (Reference("x1"), "Observation.subject.reference")


def test_an_identifier_comes_before_the_reference():
    both = ck(subject={"reference": "https://elsewhere.example/Patient/1", "identifier": {"value": "P02"}})
    assert read(both).subject == "P02"
    entry = read(both, feed(key=KEY))
    assert (entry.subject, entry.subject_place) == (pseudonym(("", "P02")), "Observation.subject.identifier")


def test_an_identifier_of_another_authority_gives_way_to_the_reference():
    foreign = ck(subject={"reference": "Patient/1", "identifier": {"system": "urn:insurer", "value": "8"}})
    assert read(foreign, feed(key=KEY, authorities=["urn:mrn"])).subject == Reference("1")


@pytest.mark.parametrize(
    ("patient", "expected"),
    [
        (person(id="p1"), "P01"),
        (person(id="#p1"), "P01"),
        (person(id="p1", identifier=REMOVED), "no_subject"),
        ({"resourceType": "Device", "id": "p1"}, "unsupported"),
        (person(id="p1", modifierExtension=[]), "unknown_modifier"),
        (person(id=["p1"]), "unknown_reference"),
        ("p1", "unknown_reference"),
    ],
)
def test_a_contained_patient_counts_by_its_identifiers(patient, expected):
    resource = about("#p1", contained=[patient])
    if expected == "P01":
        assert read(resource).subject == "P01"
    else:
        assert faults(resource) == [("Observation.subject.reference", expected)]


@pytest.mark.parametrize("kind", ["transaction", "batch"])
@pytest.mark.parametrize(
    ("url", "patient", "reference"),
    [
        (URN, person(), URN),
        (URN, person(), "Patient/P01"),
        (URN, person(id=REMOVED), URN),
        ("https://a.example/fhir/Patient/P01", person(), "Patient/P01"),
        ("https://a.example/fhir/Patient/P01", person(id=REMOVED), "Patient/P01"),
        ("https://a.example/fhir/Patient/P01", person(), "https://a.example/fhir/Patient/P01"),
        (None, person(), "Patient/P01"),
        (None, person(), "Patient?identifier=urn:mrn|P01"),
        (None, person(), "Patient?identifier=urn%3Amrn%7CP01"),
    ],
)
def test_all_references_to_a_patient_of_the_bundle_give_the_subject_that_it_has(kind, url, patient, reference):
    for to in (feed(), feed(key=KEY)):
        entries = [post(about(reference)), post(patient, url), post(ivig(subject={"reference": reference}))]
        subjects = {entry.subject for entry in read_all(bundle(*entries, type=kind), to).entries}
        assert subjects == {to.pseudonyms.patient([Identifier("urn:mrn", "P01")])}


def test_where_two_servers_have_a_patient_of_one_id_the_address_of_the_entry_decides():
    patients = [
        post(person(id="1", identifier=[{"system": "urn:mrn", "value": name}]), f"https://{name}.example/Patient/1")
        for name in ("A", "B")
    ]
    of_b = post(about("Patient/1"), "https://B.example/Observation/1")
    of_c = post(about("Patient/1"), "https://C.example/Observation/1")
    of_nobody = post(about("Patient/1"), OTHER_URN)
    entries = read_all(bundle(*patients, of_b, of_c, of_nobody)).entries[2:]
    assert [entry.subject for entry in entries] == ["B", Reference("1"), None]
    assert [fault.code for fault in entries[2].faults] == ["ambiguous_subject"]


def test_a_reference_to_another_kind_in_the_bundle_is_refused():
    medication = post({"resourceType": "Medication", "id": "m"}, URN)
    [_, entry] = read_all(bundle(medication, post(about(URN)))).entries
    assert [(fault.pointer, fault.code) for fault in entry.faults] == [
        ("Bundle.entry[1].resource.subject.reference", "unsupported")
    ]


def test_a_reference_to_a_patient_without_a_subject_is_at_fault_itself():
    nobody = post(person(id=REMOVED, identifier=REMOVED), URN)
    entries = read_all(bundle(nobody, post(about(URN)))).entries
    assert [(fault.pointer, fault.code) for entry in entries for fault in entry.faults] == [
        ("Bundle.entry[0].resource.identifier", "no_subject"),
        ("Bundle.entry[1].resource.subject.reference", "no_subject"),
    ]


def test_no_fault_repeats_what_was_sent():
    canary = "canary86753"
    wrong = [
        person(id=canary + " ", identifier=[{"value": canary + "/"}], gender=2, birthDate=1953, link=link(canary)),
        ck(id=canary + "_", status=canary, subject={"reference": canary}, valueQuantity={"value": 1, "unit": canary}),
    ]
    for resource in wrong:
        found = history_and_faults(read(resource))[1]
        assert len(found) > 3
        assert canary not in json.dumps([(fault.pointer, fault.code, fault.sentence) for fault in found])
