"""Who a message is about, and which records it says are one person's."""

import json
from zoneinfo import ZoneInfo

import pytest

from app.errors import InvalidDocument, MalformedDocument
from app.readers.pseudonyms import Identifier, Pseudonyms
from app.readers.statements import left_out
from app.timeline.facts import AttributeFact, History
from tests.hl7v2.hl7v2_messages import (
    MSH,
    OBR,
    OBX,
    PID,
    changed,
    faults,
    feed,
    history,
    message,
    obx,
    oru,
    read,
    refusal,
)
from tests.timeline.documents import document
from tests.timeline.documents import history as of_document

KEY = b"a key of the study"
EVENT_AT = 1_111_014_000_000_000
"""2005-03-17T08:00:00+09:00."""


def person(number: str, **fields: str) -> str:
    return changed(PID, f3=number, **fields)


def pseudonym(authority: str, value: str, *authorities: str) -> str:
    found = Pseudonyms(KEY, authorities).patient([Identifier(authority, value)])
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize(
    ("given", "authority"),
    [
        ("123^^^WARD7", "WARD7"),
        ("123", ""),
        ("123^^^^MR", ""),
        ("123^^^WARD7&1.2.3&ISO^MR", "urn:oid:1.2.3"),
        ("123^^^&1.2.3&ISO", "urn:oid:1.2.3"),
        ("123^^^&urn:oid:1.2.3&ISO", "urn:oid:1.2.3"),
        ("123^^^&ABC-1&UUID", "urn:uuid:ABC-1"),
        ("123^^^&http://hospital.example/mrn&URI", "http://hospital.example/mrn"),
        ("123^^^WARD7~123^^^WARD7", "WARD7"),
        ("^^^SSA^SS~123^^^WARD7~", "WARD7"),
    ],
)
def test_one_identifier_says_who_it_is(given, authority):
    assert history(oru(pid=person(given)), feed(key=KEY)).patient == pseudonym(authority, "123")


@pytest.mark.parametrize("declared", [("WARD7",), ("urn:oid:1.2.3",), ("WARD7", "urn:oid:1.2.3"), ("other", "WARD7")])
@pytest.mark.parametrize("given", ["123^^^WARD7&1.2.3&ISO", "9^^^SSA~123^^^WARD7&1.2.3&ISO~8^^^OTHER"])
def test_of_several_identifiers_that_of_the_declared_authority_counts_under_any_of_its_names(declared, given):
    """Row 101."""
    found = history(oru(pid=person(given)), feed(key=KEY, authorities=declared))
    assert found.patient == pseudonym("WARD7", "123", "WARD7")


@pytest.mark.parametrize(
    ("given", "declared"),
    [
        ("8^^^WARD7^AN~123^^^WARD7^MR", ("WARD7",)),
        ("123^^^WARD7^PI~8^^^WARD7^VN~7^^^WARD7&1.2.3&ISO^an", ("WARD7",)),
        ("123^^^WARD7^MR~9^^^OTHER~8^^^WARD7^AN", ("WARD7",)),
        ("123^^^WARD7^MR~123^^^WARD7^PI", ()),
        ("9^^^SSA^SS~123^^^WARD7^MR~8^^^DMV^DL", ()),
        ("123^^^WARD7^MRN~5^^^INS^MB", ()),
    ],
)
def test_of_several_identifiers_the_number_of_the_record_counts_if_all_others_are_other_numbers(given, declared):
    found = history(oru(pid=person(given)), feed(key=KEY, authorities=declared))
    assert found.patient == pseudonym("WARD7", "123", *declared)


@pytest.mark.parametrize(
    ("given", "declared", "code"),
    [
        ("", (), "no_subject"),
        ('""^^^WARD7', (), "no_subject"),
        ("^^^WARD7", (), "no_subject"),
        ("123^^^WARD7~9^^^SSA", (), "ambiguous_subject"),
        ("123^^^WARD7~124^^^WARD7", ("WARD7",), "ambiguous_subject"),
        ("123^^^WARD7&1.2.3&ISO", ("SSA",), "ambiguous_subject"),
        ("a b", (), "bad_identifier"),
        ("123^^^WARD7^MR~124^^^WARD7^PI", ("WARD7",), "ambiguous_subject"),
        ("123^^^WARD7^MR~124^^^WARD7", ("WARD7",), "ambiguous_subject"),
        ("123^^^WARD7^MR~9^^^OTHER^MR", (), "ambiguous_subject"),
        ("123^^^WARD7^MR~9^^^OTHER", (), "ambiguous_subject"),
        ("8^^^WARD7^AN~9^^^WARD7^VN", ("WARD7",), "ambiguous_subject"),
        ("123^^^WARD7~8^^^WARD7^AN", ("WARD7",), "ambiguous_subject"),
    ],
)
def test_who_it_is_is_never_guessed(given, declared, code):
    body = oru(pid=person(given))
    assert faults(body, feed(authorities=declared)) == [("PID-3", code)]
    assert isinstance(refusal(body, feed(authorities=declared)), InvalidDocument)


@pytest.mark.parametrize(
    ("sent", "sex"),
    [("F", "female"), ("M", "male"), ("O", "other"), ("A", "other"), ("X", "other"), ("U", None), ("N", None),
     ("", None), ('""', None), ("F^Female^HL70001", "female")],
)  # fmt: skip
def test_the_sex_of_a_patient(sent, sex):
    stated = {"id": "123", "birth_year": 1953} | ({"sex": sex} if sex else {})
    assert history(oru(pid=changed(PID, f8=sent))).attributes == of_document(document(patient=stated)).attributes


@pytest.mark.parametrize("sent", ["f", "female", "1", "?"])
def test_a_sex_that_cannot_be_read_is_left_out_and_noted(sent):
    found = history(oru(pid=changed(PID, f8=sent)))
    assert [fact.identity for fact in found.attributes] == ["birth_year"]
    assert found.aside == (left_out("PID-8", "sex"),)
    assert len(found.labs) == 1


@pytest.mark.parametrize("sent", ["1953", "195304", "19530401", "195304010000+0900", "19530401000000.0000"])
def test_of_a_date_of_birth_the_year_is_kept(sent):
    assert history(oru(pid=changed(PID, f7=sent))) == history(oru())


@pytest.mark.parametrize("sent", ["53", "1.4.1953", "00000000", "1899", "2030"])
def test_a_year_of_birth_that_cannot_be_is_left_out_and_noted(sent):
    found = history(oru(pid=changed(PID, f7=sent)))
    assert [fact.identity for fact in found.attributes] == ["sex"]
    assert found.aside == (left_out("PID-7", "birth_year"),)
    assert len(found.labs) == 1


def test_a_result_before_the_year_of_birth_is_set_aside():
    assert faults(oru(pid=changed(PID, f7="2006"))) == [("OBR[1]-7", "before_birth")]


def test_a_patient_without_results_that_are_kept_is_not_kept_either():
    """A laboratory sends all its patients; a study has sixteen of them."""
    assert read(oru(obx(f3="1554-5^Glucose^LN"), pid=person("", f8="?")))[:3] == ((), {"code": 1}, False)


def test_one_message_may_be_about_several_patients():
    other = [person("9^^^WARD7", f7="1960", f8="M"), changed(OBR, f3="78^ELAB"), obx(f5="7")]
    first, second = read(message(PID, OBR, OBX, *other)).histories
    assert first == history(oru())
    assert (second.patient, second.labs[0].value, second.attributes[0].value) == ("9", 7, '"male"')


def test_one_patient_twice_in_a_message_is_one_patient():
    both = history(message(PID, OBR, OBX, PID, changed(OBR, f3="78^ELAB"), OBX))
    assert [fact.id for fact in both.labs] == ["77", "78"]
    contradiction = history(message(PID, OBR, OBX, changed(PID, f8="M"), changed(OBR, f3="78^ELAB"), OBX))
    assert [fact.identity for fact in contradiction.attributes] == ["birth_year"]
    assert contradiction.aside == (left_out("PID-8", "sex"), left_out("PID[2]-8", "sex"))
    assert len(contradiction.labs) == 2


def adt(*segments: str, event: str = "A40", header: str = MSH) -> bytes:
    return message(*segments, header=changed(header, f9=f"ADT^{event}"))


EVN = "EVN|A40|20050317080000+0900"
MRG = "MRG|456^^^WARD7"


def link(old: str, surviving: str, status: str = "final", issued: int = EVENT_AT) -> History:
    return History(old, (AttributeFact("merged_into", None, None, None, issued, status, json.dumps(surviving)),))


def test_a_merge_links_the_old_record_to_the_surviving_one():
    assert read(adt(EVN, PID, "PD1|", MRG, "PV1|1|O")).histories == (link("456", "123"),)


def test_a_merge_may_name_several_pairs():
    found = read(adt(EVN, PID, MRG, person("9"), "MRG|8", "MRG|7")).histories
    assert found == (link("456", "123"), link("8", "9"), link("7", "9"))


def test_the_link_was_made_when_the_event_was_and_not_when_it_was_sent():
    later = "20060101000000"
    tokyo = feed(zone=ZoneInfo("Asia/Tokyo"))
    assert read(adt(changed(EVN, f2="200503170800"), PID, MRG, header=changed(MSH, f7=later)), tokyo).histories == (
        link("456", "123"),
    )
    for event in (EVN[:7], changed(EVN, f2=""), "ZZZ|1"):
        assert read(adt(event, PID, MRG)).histories == (link("456", "123"),)


@pytest.mark.parametrize("subjects", [(PID, MRG), (PID, person("456^^^WARD7"))])
def test_an_unlink_ends_the_link_of_the_record_that_had_been_merged(subjects):
    found = read(adt(changed(EVN, f1="A37"), *subjects, event="A37"))
    assert found.histories == (link("456", "123", "entered-in-error"),)
    assert found.ends_known_link == (subjects[1] != MRG)


def test_identifiers_of_a_merge_are_replaced_like_those_of_results():
    (found,) = read(adt(EVN, PID, MRG), feed(key=KEY)).histories
    assert found == link(pseudonym("WARD7", "456"), pseudonym("WARD7", "123"))


@pytest.mark.parametrize(
    ("segments", "event", "told"),
    [
        ((EVN, PID), "A40", [("MRG", "missing")]),
        ((EVN, MRG), "A40", [("PID", "missing")]),
        ((EVN, MRG, PID), "A40", [("PID", "missing")]),
        ((EVN,), "A37", [("PID", "missing")]),
        ((EVN, PID), "A37", [("MRG", "missing")]),
        ((EVN, PID, PID, PID), "A37", [("MRG", "missing")]),
    ],
)
def test_a_merge_without_two_records_is_refused(segments, event, told):
    assert faults(adt(*segments, event=event)) == told
    assert isinstance(refusal(adt(*segments, event=event)), MalformedDocument)


@pytest.mark.parametrize(
    ("segments", "told"),
    [
        ((EVN, PID, "MRG|123^^^WARD7"), [("MRG-1", "contradiction")]),
        ((EVN, PID, "MRG|"), [("MRG-1", "no_subject")]),
        ((EVN, person(""), MRG), [("PID-3", "no_subject")]),
        (
            (EVN, PID, MRG, person("9~8"), "MRG|9~8"),
            [("MRG[2]-1", "ambiguous_subject"), ("PID[2]-3", "ambiguous_subject")],
        ),
        ((changed(EVN, f2="20050317"), PID, MRG), [("EVN-2", "bad_time")]),
        ((changed(EVN, f2="20300317080000Z"), PID, MRG), [("EVN-2", "bad_time")]),
        ((changed(EVN, f2="20300317080000+0000"), PID, MRG), [("EVN-2", "future_time")]),
    ],
)
def test_a_merge_with_a_fault_is_refused(segments, told):
    assert faults(adt(*segments)) == told


def test_a_merge_without_any_time_is_refused():
    assert faults(adt(PID, MRG, header=changed(MSH, f7=""))) == [("EVN-2", "missing")]
    assert faults(adt(PID, MRG, header=changed(MSH, f7="2005"))) == [("MSH-7", "bad_time")]
