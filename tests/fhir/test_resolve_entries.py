"""Resolving the entries of a FHIR message, from dictionaries and without a database."""

from typing import Any

import pytest

from app.errors import Erased, FaultCode, InvalidDocument, MethodNotAllowed, NotFound, PreconditionFailed
from app.fhir.entry_names import StoredState, names_in, numbers_in, resources_in
from app.fhir.resolve_entries import ResolvedEntry, resolve
from app.readers.statements import history_of
from app.timeline.facts import FactTime
from app.timeline.resource import NumberedFact, ResourceKey, StoredResource, logical_id
from tests.fhir.fhir_messages import LATEST, bundle, ck, concept, feed, person, post, quantity, read_all

KEY = 77
P01 = ResourceKey("P01")
PANEL = concept("24325-3")
DRAWN = frozenset({FactTime(12858, 18_515_568)})
"""2005-03-16T09:48:00+09:00."""


def entries(*listed: Any, type: str = "transaction"):
    """The entries of a bundle as its reader gives them."""
    return read_all(bundle(*listed, type=type)).entries


def put(resource: dict, name: str | None = None, **more: Any) -> dict:
    """An entry with an update."""
    named = name or resource["id"]
    return {
        "resource": resource | {"id": named},
        "request": {"method": "PUT", "url": f"{resource['resourceType']}/{named}", **more},
    }


def delete(name: str, resource: str = "Observation", **more: Any) -> dict:
    """An entry with a withdrawal."""
    return {"request": {"method": "DELETE", "url": f"{resource}/{name}", **more}}


def stands(resource: dict | None = None, patient: str = "P01", **changes: Any) -> StoredResource:
    """The laboratory result that a resource states, as it is stored in revision 3."""
    [entry] = entries(post(resource or ck()))
    history, faults = history_of(patient, entry.statements, LATEST)
    assert faults == []
    [fact] = history.labs
    return StoredResource(patient, KEY, "labs", fact, 3, 0, **changes)


def key_of(found: StoredResource) -> ResourceKey:
    """The key of a stored fact."""
    return ResourceKey(found.patient, found.kind, None if found.fact is None else found.fact.identity)


def holding(
    *found: StoredResource, names: dict[tuple[str, str], ResourceKey] | None = None, **more: Any
) -> StoredState:
    """A study with P01, these facts under our identifiers, and these client ids."""
    return StoredState(
        **{
            "patients": {"P01"},
            "own_ids": {("Observation", each.id): key_of(each) for each in found},
            "resources": {key_of(each): each for each in found},
            "client_ids": names or {},
        }
        | more
    )


def one(listed: Any, stored: StoredState, **more: Any) -> ResolvedEntry:
    """The only entry, resolved."""
    [resolved] = resolve(entries(listed), stored, feed(), **more)
    return resolved


def refused(stored: StoredState, *listed: Any) -> list[tuple[str, FaultCode]]:
    """The faults of entries that are refused."""
    with pytest.raises(InvalidDocument) as refusal:
        resolve(entries(*listed), stored, feed())
    return [(fault.pointer, fault.code) for fault in refusal.value.faults]


# Names to look up


def test_an_update_is_looked_up_by_a_clients_name_and_by_ours():
    names = names_in(entries(put(ck()), delete("x-1"), put(person())), feed().pseudonyms)
    assert names.own_ids == {("Observation", "ck-1"), ("Observation", "x-1")}
    assert names.client_ids == {
        ("Observation", "ck-1"),
        ("Observation", "x-1"),
        ("Observation", "x-1#0"),  # what is deleted may be a panel
        ("Patient", "P01"),
    }
    assert names.patients == {"P01"}


def test_the_names_of_clients_are_looked_up_as_they_are_kept():
    replaced = feed(key=b"k" * 32)
    [entry] = read_all(bundle(put(ck())), replaced).entries
    kept = replaced.pseudonyms.alias("Observation", "ck-1")
    assert ("Observation", kept) in names_in([entry], replaced.pseudonyms).client_ids
    assert ("Observation", "ck-1") in names_in([entry], replaced.pseudonyms).own_ids


def test_an_id_that_is_none_is_not_looked_up():
    [entry] = entries({"resource": person(id="no id\x00")}, type="collection")
    assert entry.faults
    assert names_in([entry], feed().pseudonyms).patients == set()


def test_the_facts_that_names_lead_to_decide_and_patients_only_where_one_is_sent():
    fact = ResourceKey("P01", "labs", "#1|CK|")
    named = {("Observation", "a"): fact, ("Patient", "p"): P01}
    assert resources_in(entries(post(ck())), {"P01"}, named) == {fact}
    assert resources_in(entries(post(ck()), post(person())), {"P01"}, named) == {fact, P01}


def test_a_conditional_create_looks_for_the_number_of_each_patient_whom_its_subject_may_mean():
    sent = person(id="P01", identifier=[{"system": "urn:mrn", "value": "M-1"}])
    asked = post(ck(), "http://lab.example/fhir/Observation/ck-1")
    asked["request"]["ifNoneExist"] = "identifier=urn:lab:a|acc-77"
    listed = entries(post(sent, "http://other.example/fhir/Patient/P01"), asked)
    named = {("Patient", "P01"): ResourceKey("P09")}
    assert numbers_in(listed[1:], {}, feed().pseudonyms) == {("P01", "Observation", "acc-77")}
    assert {patient for patient, _, _ in numbers_in(listed, named, feed().pseudonyms)} == {"P01", "P09", "M-1"}
    assert numbers_in(entries(post(ck())), named, feed().pseudonyms) == set()


# Facts


def test_a_result_of_a_patient_whom_nobody_knows_is_a_new_resource_of_theirs():
    resolved = one(post(ck()), StoredState())
    assert resolved.key == ResourceKey("P01", "labs", "#acc-77|CK|urn:lab:a")
    assert resolved.history.labs[0].identity == resolved.key.identity
    assert (resolved.client_id, resolved.parts, resolved.known) == (None, (), False)


def test_a_put_under_a_new_name_gives_the_resource_that_name():
    assert one(put(ck(), "mine"), StoredState()).client_id == "mine"


def test_a_put_under_a_known_name_updates_what_it_names():
    found = stands()
    stored = holding(found, names={("Observation", "mine"): key_of(found)})
    resolved = one(put(ck(valueQuantity=quantity(900)), "mine"), stored)
    assert (resolved.key, resolved.known, resolved.client_id) == (key_of(found), True, None)
    assert resolved.history.labs[0].value == 900


def test_a_put_under_our_identifier_takes_over_the_number_of_what_stands():
    found = stands(ck())
    resolved = one(put(ck(identifier=[]), found.id), holding(found))
    assert resolved.history.labs[0].identity == found.fact.identity


def test_the_content_of_another_resource_is_no_update():
    found = stands()
    stored = holding(found)
    other = put(ck(code=concept("2532-0")), found.id)
    assert refused(stored, other) == [("Bundle.entry[0].resource", FaultCode.PATH_MISMATCH)]


def test_an_update_needs_the_version_that_stands():
    found = stands()
    assert one(put(ck(), found.id, ifMatch='W/"3"'), holding(found)).known
    with pytest.raises(PreconditionFailed, match=r"Bundle.entry\[0\]"):
        one(put(ck(), found.id, ifMatch='W/"2"'), holding(found))


@pytest.mark.parametrize(("read_in", "outdated"), [("2", True), ("3", False), ("3.1", False), ("not-ours", False)])
def test_an_update_that_rests_on_an_older_version_is_marked(read_in, outdated):
    found = stands()
    assert one(put(ck(), found.id), holding(found), based_on=read_in).outdated is outdated


def test_what_must_be_new_must_not_stand():
    found = stands()
    with pytest.raises(PreconditionFailed):
        one(put(ck(), found.id), holding(found), only_new=True)
    assert one(put(ck(), "mine"), holding(found), only_new=True).history


@pytest.mark.parametrize(("codes", "is_found"), [({"CK"}, True), ({"LDH"}, False)])
def test_a_conditional_create_finds_the_number_with_its_code(codes, is_found):
    [code] = codes
    match = ResourceKey("P01", "labs", f"#acc-77|{code}|urn:lab:a")
    asked = post(ck())
    asked["request"]["ifNoneExist"] = "identifier=urn:lab:a|acc-77"
    stored = holding(
        numbered={
            ("P01", "Observation", "acc-77"): [
                NumberedFact(match, source, DRAWN) for source in ("urn:lab:a", "urn:lab:b")
            ]
        }
    )
    resolved = one(asked, stored)
    assert resolved.exists is is_found
    assert (resolved.key == match) is is_found


def test_a_conditional_create_does_not_choose_between_laboratories():
    asked = post(ck())
    asked["request"]["ifNoneExist"] = "identifier=acc-77"
    found = [NumberedFact(ResourceKey("P01", "labs", f"#acc-77|CK|{source}"), source, DRAWN) for source in "ab"]
    with pytest.raises(PreconditionFailed, match="Several"):
        one(asked, holding(numbered={("P01", "Observation", "acc-77"): found}))


def panel(name: str) -> dict:
    """A panel of CK and LDH."""
    parts = [
        {"code": concept("2157-6"), "valueQuantity": quantity(900)},
        {"code": concept("2532-0"), "valueQuantity": quantity(300)},
    ]
    return put(ck(code=PANEL, valueQuantity=None, component=parts), name)


def test_a_panel_names_its_first_fact_and_its_parts():
    resolved = one(panel("panel"), StoredState())
    assert resolved.client_id == "panel"
    assert resolved.key.identity.startswith("#acc-77|CK|")
    assert [(name, key.identity.split("|")[1]) for name, key in resolved.parts] == [("panel#0", "LDH")]


def test_the_parts_that_a_panel_has_already_are_not_named_again():
    first = one(panel("panel"), StoredState())
    [(_, part)] = first.parts
    names = {("Observation", "panel"): first.key, ("Observation", "panel#0"): part}
    assert one(panel("panel"), StoredState(client_ids=names, patients={"P01"})).parts == ()


def test_a_panel_is_withdrawn_with_its_parts():
    main, part = stands(), stands(ck(code=concept("2532-0")))
    names = {("Observation", "panel"): key_of(main), ("Observation", "panel#0"): key_of(part)}
    resolved = one(delete("panel"), holding(main, part, names=names))
    assert [(fact.code, fact.status) for fact in resolved.history.labs] == [
        ("CK", "entered-in-error"),
        ("LDH", "entered-in-error"),
    ]


def test_what_is_withdrawn_already_is_withdrawn_in_silence_and_what_is_not_there_is_not_found():
    gone = stands(ck(status="entered-in-error"))
    assert one(delete(gone.id), holding(gone)).history is None
    with pytest.raises(NotFound):
        one(delete("nothing"), holding())
    with pytest.raises(MethodNotAllowed):
        one(delete("P01", "Patient"), holding())


def test_what_is_not_kept_cannot_replace_what_stands():
    found = stands()
    assert refused(holding(found), put(ck(code=concept("2160-0")), found.id)) == [
        ("Bundle.entry[0].resource", FaultCode.PATH_MISMATCH)
    ]
    assert one(put(ck(code=concept("2160-0")), "mine"), holding(found)).key is None


# Patients


def test_a_reference_leads_to_the_patient_of_the_bundle_before_the_one_of_the_study():
    sent = person(id="p-1", identifier=[{"system": "urn:mrn", "value": "M-1"}])
    stored = StoredState(client_ids={("Patient", "p-1"): P01}, patients={"P01"})
    result = post(ck(subject={"reference": "Patient/p-1"}), "http://lab.example/fhir/Observation/ck-1")
    listed = entries(post(sent, "http://other.example/fhir/Patient/p-1"), result)
    assert [each.key.patient for each in resolve(listed, stored, feed())] == ["M-1", "M-1"]
    assert one(result, stored).key.patient == "P01"


def test_a_name_that_means_two_patients_means_none():
    stored = StoredState(client_ids={("Patient", "P02"): P01}, patients={"P01", "P02"})
    assert refused(stored, post(ck(subject={"reference": "Patient/P02"}))) == [
        ("Bundle.entry[0].resource.subject.reference", FaultCode.AMBIGUOUS_SUBJECT)
    ]


def test_where_identifiers_are_replaced_a_reference_leads_to_a_known_patient_only():
    replaced = feed(key=b"k" * 32)
    listed = read_all(bundle(post(ck())), replaced).entries
    with pytest.raises(InvalidDocument) as refusal:
        resolve(listed, StoredState(), replaced)
    assert [fault.code for fault in refusal.value.faults] == [FaultCode.UNKNOWN_REFERENCE]
    assert resolve(listed, StoredState(patients={"P01"}), replaced)[0].key.patient == "P01"


@pytest.mark.parametrize(
    ("listed", "stored"),
    [
        (post(ck()), StoredState(erased={"P01"})),
        (post(ck()), StoredState(erased_client_ids={"P01"})),
        (post(person()), StoredState(erased={"P01"})),
        (put(person(), "P01"), StoredState(erased={"P01"})),
        (put(ck(), logical_id(KEY, "labs", "x")), StoredState(erased_own_ids={logical_id(KEY, "labs", "x")})),
        (delete(logical_id(KEY, "labs", "x")), StoredState(erased_own_ids={logical_id(KEY, "labs", "x")})),
    ],
)
def test_nothing_is_stored_about_a_person_who_has_been_erased(listed, stored):
    with pytest.raises(Erased):
        one(listed, stored)


def test_the_address_of_an_erased_patient_is_refused_before_any_entry_is():
    with pytest.raises(Erased) as refusal:
        resolve(entries(delete("nothing"), put(person())), StoredState(erased={"P01"}), feed())
    assert refusal.value.detail is None


def test_a_patient_keeps_the_subject_identifier_that_the_study_gave():
    stored = StoredState(client_ids={("Patient", "ehr-1"): P01}, patients={"P01"})
    own = person(id="ehr-1", identifier=[{"system": "urn:myoresponse:subject", "value": "P01"}])
    assert one(put(own), stored).key == P01
    assert one(put(person(id="ehr-1", identifier=[])), stored).key == P01
    assert refused(stored, put(person(id="ehr-1", identifier=[{"system": "urn:mrn", "value": "M-2"}]))) == [
        ("Bundle.entry[0].resource.identifier", FaultCode.PATH_MISMATCH)
    ]


def test_a_patient_is_known_if_the_study_has_them():
    assert one(post(person()), StoredState(patients={"P01"})).known
    assert not one(post(person()), StoredState()).known


def test_a_name_that_is_the_subject_identifier_of_another_patient_is_refused():
    stored = StoredState(patients={"P01", "P02"})
    named = {"resource": person(id="P02", identifier=[{"system": "urn:mrn", "value": "P01"}])}
    [entry] = entries(named, type="collection")
    with pytest.raises(InvalidDocument) as refusal:
        resolve([entry], stored, feed())
    assert [(fault.pointer, fault.code) for fault in refusal.value.faults] == [
        ("Bundle.entry[0].resource.id", FaultCode.CONFLICTING_DUPLICATE)
    ]


def test_the_year_of_birth_of_one_entry_forbids_the_time_of_another():
    listed = post(person(birthDate="2007")), post(ck())
    assert refused(StoredState(), *listed) == [("Bundle.entry[1].resource.effectiveDateTime", FaultCode.BEFORE_BIRTH)]


# Together


def test_two_entries_must_not_give_one_name_to_two_resources():
    listed = put(ck(), "mine"), put(ck(code=concept("2532-0")), "mine")
    assert refused(StoredState(), *listed) == [("Bundle.entry[1].resource.id", FaultCode.CONFLICTING_DUPLICATE)]


def test_an_entry_must_not_delete_what_another_one_stores():
    found = stands()
    listed = put(ck(), found.id), delete(found.id)
    assert refused(holding(found), *listed) == [("Bundle.entry[0].request", FaultCode.CONFLICTING_DUPLICATE)]


def test_all_faults_are_found_and_the_first_other_objection_goes_before_them():
    wrong = post(ck(valueQuantity=quantity(5, "furlong")))
    assert [pointer for pointer, _ in refused(StoredState(), wrong, wrong)] == [
        "Bundle.entry[0].resource.valueQuantity.code",
        "Bundle.entry[1].resource.valueQuantity.code",
    ]
    with pytest.raises(NotFound, match=r"Bundle.entry\[1\]"):
        resolve(entries(wrong, delete("nothing")), StoredState(), feed())
