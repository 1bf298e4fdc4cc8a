"""HL7 v2 over HTTP: what is stored, in whatever order and how often it comes, and what never is."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.api.examples import codes, make_study
from tests.documented import description
from tests.hl7v2.hl7v2_messages import DRAWN, MSH, OBR, OBX, PID, changed, message, obx, oru

HL7V2 = {"Content-Type": "application/hl7-v2"}
SECRET = "x" * 32
PSEUDONYMS = {"identifiers": "pseudonyms", "local_codes": {"L|CK": "CK"}}
ISSUED = {"P": "20050316120000+0900", "F": "20050317080000+0900", "C": "20050318080000+0900"}
LATER = "20050319080000+0900"


def send(client: Any, body: bytes, study: str = "trial", **headers: str) -> Any:
    return client.post(f"/v1/studies/{study}/hl7v2", content=body, headers=HL7V2 | headers)


def accepted(client: Any, *bodies: bytes) -> list[str]:
    """Post messages that must be taken; the timeline's revision after each."""
    for body in bodies:
        answer = send(client, body)
        assert answer.status_code == 200, answer.text
        assert answer.text.split("\r")[1].startswith("MSA|AA|")


def refused(client: Any, body: bytes) -> list[str]:
    """Post a message that must be refused; MSA and ERR of its acknowledgement."""
    answer = send(client, body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/hl7-v2"
    return answer.text.split("\r")[1:-1]


def timeline(client: Any, patient: str = "123") -> dict[str, Any]:
    answer = client.get(f"/v1/studies/trial/patients/{patient}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def patients(client: Any) -> list[str]:
    return [each["patient"]["id"] for each in client.get("/v1/studies/trial/patients").json()["items"]]


def result(status: str, value: str = "1101", number: str = "4711") -> bytes:
    """One statement about result 77, issued at a time that belongs to its status."""
    order = changed(OBR, f22=ISSUED.get(status, LATER))
    return oru(obx(f5=value, f11=status), obr=order, header=changed(MSH, f10=number))


@pytest.fixture
def trial(anywhere):
    make_study(anywhere, **PSEUDONYMS)
    return anywhere


@pytest.fixture
def trial_here(client):
    """The same on SQLite only, for what does not depend on the storage."""
    make_study(client, **PSEUDONYMS)
    return client


def test_a_message_is_stored_and_acknowledged(trial):
    answer = send(trial, oru())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/hl7-v2")
    assert answer.text.split("\r")[1] == "MSA|AA|4711|kept 3"
    assert timeline(trial)["labs"] == [
        {"code": "CK", "time": "2005-03-16T09:48:00+09:00", "value": 1101, "unit": "U/L", "upper_limit": 163,
         "lower_limit": 30, "lab": "ELAB", "id": "77", "source": "ELAB", "status": "final"}
    ]  # fmt: skip
    formats = [each["format"] for each in trial.get("/v1/studies/trial/revisions").json()["items"]]
    assert sorted(formats) == ["hl7v2", "study"]


def test_it_is_the_same_as_the_timeline_of_the_same_result(trial_here):
    accepted(trial_here, oru())
    lab = {"code": "CK", "time": "2005-03-16T09:48:00+09:00", "value": 1101, "unit": "U/L", "upper_limit": 163,
           "lower_limit": 30, "lab": "ELAB", "id": "77", "source": "ELAB", "status": "final"}  # fmt: skip
    again = trial_here.post(
        "/v1/studies/trial/patients/123/events",
        json={"patient": {"id": "123", "sex": "female", "birth_year": 1953}, "labs": [lab]},
    )
    assert (again.json()["status"], again.json()["counts"]["unchanged"]) == ("unchanged", 3)


def test_the_same_message_again_is_stored_once_and_answered_alike(trial):
    """Row 106."""
    first, second, third = send(trial, oru()), send(trial, oru()), send(trial, oru())
    assert first.content.split(b"\r")[:2] == second.content.split(b"\r")[:2]
    assert errors(first) == [["PID^1^3", "I", "new_patient"]]
    assert errors(second) == []
    assert second.content == third.content
    assert trial.get("/v1/studies/trial").json()["revision"] == 1


def test_the_same_result_from_another_message_changes_nothing(trial):
    accepted(trial, oru(), oru(header=changed(MSH, f7="20060101000000+0900", f10="9999")))
    assert trial.get("/v1/studies/trial").json()["revision"] == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2, 0, 1), (2, 0, 2, 1)])
def test_a_correction_stands_in_whatever_order_it_arrives(trial, order):
    said = [result("P", "1000", "1"), result("F", "1101", "2"), result("C", "1110", "3")]
    accepted(trial, *[said[each] for each in order])
    (lab,) = timeline(trial)["labs"]
    assert (lab["value"], lab["status"]) == (1110, "corrected")


def serial(hour: int, value: str, control: str) -> bytes:
    """One of several draws of the same order."""
    return oru(obx(f5=value), obr=changed(OBR, f7=f"20240501{hour:02d}0000+0900"), header=changed(MSH, f10=control))


def test_serial_draws_under_one_number_all_stand(trial):
    accepted(trial, serial(9, "1005", "1"), serial(15, "2005", "2"), serial(21, "1500", "3"), serial(9, "1005", "4"))
    assert [lab["value"] for lab in timeline(trial)["labs"]] == [1005, 2005, 1500]
    orders = [changed(OBR, f1=str(n), f7=f"2024050{n}090000+0900") for n in (1, 2, 3)]
    accepted(trial, message(PID.replace("123", "124"), *[part for order in orders for part in (order, OBX)]))
    assert len(timeline(trial, "124")["labs"]) == 3


@pytest.mark.parametrize("status", ["D", "W", "X"])
@pytest.mark.parametrize("first", [True, False])
def test_a_withdrawn_result_is_gone_whether_it_or_its_withdrawal_comes_first(trial_here, status, first):
    said = [result("F"), result(status, "", "4712")]
    accepted(trial_here, *(said if first else said[::-1]), said[0])
    assert timeline(trial_here).get("labs", []) == []


def test_the_null_value_takes_a_result_away(trial_here):
    accepted(trial_here, oru(), oru(obx(f5='""'), header=changed(MSH, f10="4712")))
    assert timeline(trial_here).get("labs", []) == []


def test_a_result_that_was_announced_as_not_there_yet_stands_when_it_is(trial_here):
    pending = oru(obx(f5='""', f11="I"), header=changed(MSH, f10="4710"))
    accepted(trial_here, pending, oru(), pending)
    assert timeline(trial_here)["labs"][0]["value"] == 1101


def test_a_preliminary_result_after_the_final_one_changes_nothing_that_stands(trial_here):
    accepted(trial_here, oru(obx(f11="F")), oru(obx(f5="9", f11="P"), header=changed(MSH, f10="2")))
    assert timeline(trial_here)["labs"][0]["value"] == 1101


def errors(answer: Any) -> list[list[str]]:
    """Place, severity, code and parameter of each ERR of an acknowledgement."""
    told = [line.split("|") for line in answer.text.split("\r") if line.startswith("ERR")]
    return [[each[2], each[4], each[5], *filter(None, each[6:7])] for each in told]


def test_a_faulty_result_is_set_aside_and_the_others_are_stored(trial):
    answer = send(trial, oru(OBX, obx(f4="2", f6="furlongs"), obx(f4="3", f5="7 canaries")))
    assert answer.status_code == 200
    assert answer.text.split("\r")[1] == "MSA|AA|4711|kept 3, set aside 2"
    assert errors(answer) == [
        ["OBX^2^6", "W", "unknown_unit"],
        ["OBX^3^5", "W", "bad_number"],
        ["PID^1^3", "I", "new_patient"],
    ]
    assert "canar" not in answer.text
    assert [lab["value"] for lab in timeline(trial)["labs"]] == [1101]


GLUCOSE = "OBX|2|NM|2345-7^Glucose^LN||5.2|mmol/L|3.9-5.5|N|||F"
MIXED = message(PID, OBR, obx(f7=""), GLUCOSE, obx(f3="2532-0^LDH^LN", f5="1,101"), "NTE|1|L|Slightly haemolytic.")


def test_the_documented_receipt_is_that_of_such_a_message(trial_here):
    answer = send(trial_here, MIXED).text.split("\r")[1:-1]
    page = Path(__file__).parents[2].joinpath("docs/hl7v2.md").read_text(encoding="utf-8")
    assert "\n".join(answer) + "\n```" in page


def test_a_full_receipt_names_each_fact_and_what_is_not_stored_here(trial_here):
    address = "/v1/studies/trial/hl7v2?receipt=full"
    assert errors(trial_here.post(address, content=MIXED, headers=HL7V2)) == [
        ["OBX^3^5", "W", "bad_number"],
        ["PID^1^3", "I", "new_patient"],
        ["PID^1^7", "I", "kept"],
        ["PID^1^8", "I", "kept"],
        ["OBX^1", "I", "no_upper_limit"],
        ["OBX^2", "I", "code"],
        ["NTE^1", "I", "segment"],
    ]


def test_the_receipt_of_a_refused_message_names_each_fact_too(trial_here):
    """Beside a result with a fault: a panel that was cancelled, and another test."""
    panel = changed(OBR, f1="2", f3="78^ELAB", f4="24331-1^Panel^LN", f25="X")
    refused = message(PID, OBR, obx(f6="furlongs"), GLUCOSE, panel)
    told = [["OBX^1^6", "E", "unknown_unit"], ["OBR^2^25", "E", "ambiguous_withdrawal"], ["OBX^2", "I", "code"]]
    for address, lines in (("/hl7v2", told[:2]), ("/hl7v2?receipt=full", told)):
        answer = trial_here.post(f"/v1/studies/trial{address}", content=refused, headers=HL7V2)
        assert answer.text.split("\r")[1] == "MSA|AE|4711|not ours 1, refused 2"
        assert errors(answer) == lines


HEMOLYZED = {"f2": "ST", "f5": "HEMOLYZED", "f6": ""}


def test_the_full_receipt_of_a_message_of_which_nothing_counts_lists_what_is_not_stored_here(trial_here):
    nobody_known = changed(PID, f7="", f8="")
    sent = message(nobody_known, OBR, obx(**HEMOLYZED), GLUCOSE, obx(f1="3", f3="1920-8^AST^LN", f6="furlongs"))
    told = [["OBX^3^6", "E", "unknown_unit"], ["OBX^1", "W", "not_a_number"], ["OBX^2", "I", "code"]]
    for address, lines in (("/hl7v2", told[:2]), ("/hl7v2?receipt=full", told)):
        answer = trial_here.post(f"/v1/studies/trial{address}", content=sent, headers=HL7V2)
        assert answer.text.split("\r")[1] == "MSA|AE|4711|set aside 2, not ours 1"
        assert errors(answer) == lines


def test_a_text_in_place_of_a_number_is_set_aside_and_the_sender_has_nothing_to_mend(trial):
    answer = send(trial, oru(OBX, obx(f3="1920-8^AST^LN", **HEMOLYZED)))
    assert (answer.status_code, answer.text.split("\r")[1]) == (200, "MSA|AA|4711|kept 3, set aside 1")
    assert errors(answer)[0] == ["OBX^2", "W", "not_a_number"]
    assert "HEMOLYZED" not in answer.text
    assert [lab["code"] for lab in timeline(trial)["labs"]] == ["CK"]
    alone = send(trial, oru(obx(**HEMOLYZED), pid=changed(PID, f3="9")))
    assert (alone.status_code, alone.text.split("\r")[1]) == (200, "MSA|AA|4711|kept 2, set aside 1")


@pytest.mark.parametrize("text_first", [True, False])
def test_a_correction_that_is_no_number_takes_the_place_of_a_result(trial, text_first):
    order = changed(OBR, f22=ISSUED["C"])
    text = oru(obx(**HEMOLYZED, f11="C"), obr=order, header=changed(MSH, f10="2"))
    said = [result("F"), text]
    answers = [send(trial, each) for each in (said[::-1] if text_first else said)]
    assert timeline(trial).get("labs", []) == []
    if not text_first:
        [replaced] = [line.split("|") for line in answers[1].text.split("\r") if "not_a_number" in line]
        assert replaced[7] == "labs CK 2005-03-16T09:48:00+09:00 no longer counts"
    accepted(trial, oru(obx(f5="1200", f11="C"), obr=changed(OBR, f22=LATER), header=changed(MSH, f10="3")))
    assert [lab["value"] for lab in timeline(trial)["labs"]] == [1200]


def test_a_withdrawal_without_a_time_takes_the_only_result_of_its_number(trial):
    untimed = changed(OBR, f7="")
    accepted(trial, oru(), oru(obx(f5="", f11="D"), obr=untimed, header=changed(MSH, f10="2")))
    assert timeline(trial).get("labs", []) == []


def test_a_detail_that_is_left_out_is_noted_and_not_counted(trial_here):
    answer = send(trial_here, oru(pid=changed(PID, f7="00000000", f5="M\u00fcller")))
    assert answer.text.split("\r")[1] == "MSA|AA|4711|kept 2"
    assert errors(answer) == [
        ["MSH^1^18", "I", "detail_left_out", "charset"],
        ["PID^1^3", "I", "new_patient"],
        ["PID^1^7", "I", "detail_left_out", "birth_year"],
    ]


def test_a_result_that_takes_the_place_of_another_says_so(trial_here):
    accepted(trial_here, result("F"))
    answer = send(trial_here, result("C", "1110", "2"))
    [replaced] = [line.split("|") for line in answer.text.split("\r") if line.startswith("ERR")]
    assert replaced[4:8] == ["I", "kept", "", "labs CK 2005-03-16T09:48:00+09:00 no longer counts"]
    late = send(trial_here, result("P", "7", "3"))
    assert late.text.split("\r")[1] == "MSA|AA|3|kept 2, not applied 1"
    assert errors(late) == [["OBX^1", "I", "older"]]


def test_a_study_may_let_no_feed_add_patients(client):
    make_study(client, **PSEUDONYMS, enrolled_only=True)
    answer = send(client, oru())
    assert (answer.status_code, answer.text.split("\r")[1]) == (200, "MSA|AA|4711|set aside 3")
    assert {each[2] for each in errors(answer)} == {"unknown_reference"}
    assert patients(client) == []
    enrolled = client.post("/v1/studies/trial/patients/123/events", json={"patient": {"id": "123"}})
    assert enrolled.status_code in {200, 201}
    accepted(client, oru())
    assert [lab["value"] for lab in timeline(client)["labs"]] == [1101]


def test_a_message_of_other_tests_is_accepted_and_says_that_nothing_is_kept(trial_here):
    answer = send(trial_here, message(PID, OBR, GLUCOSE, GLUCOSE))
    assert (answer.status_code, answer.text.split("\r")[1]) == (200, "MSA|AA|4711|not ours 2")


def test_a_message_of_which_nothing_can_be_kept_is_refused(trial):
    before = trial.get("/v1/studies/trial/revisions").text
    reply = refused(trial, oru(obx(f4="2", f6="furlongs"), obx(f4="3", f5="7 canaries")))
    assert reply[0] == "MSA|AE|4711|refused 2"
    assert [line.split("|")[2:6] for line in reply[1:]] == [
        ["OBX^1^6", "103^Table value not found^HL70357", "E", "unknown_unit"],
        ["OBX^2^5", "102^Data type error^HL70357", "E", "bad_number"],
    ]
    assert "canar" not in "".join(reply)
    assert trial.get("/v1/studies/trial/revisions").text == before
    assert patients(trial) == []


@pytest.mark.parametrize(("version", "field"), [("2.3", 1), ("2.5.1", 8)])
def test_a_refusal_says_what_would_have_been_accepted_in_the_words_of_hl7_v2(trial_here, version, field):
    header = changed(MSH, f12=version)
    [_, time] = refused(trial_here, oru(obr=changed(OBR, f7="20051345canary"), header=header))
    assert "A time is a date YYYYMMDD" in time.split("|")[field]
    assert "Accepted: YYYYMMDD[HHMM[SS[.S]]][+/-ZZZZ]." in time.split("|")[field]
    [_, status] = refused(trial_here, oru(obx(f11="canary"), header=header))
    assert "Accepted: F, U, V, B, C, A, P, R, S, D, W, X, I, N, O." in status.split("|")[field]
    assert "canary" not in time + status
    assert "RFC" not in time + status


def test_what_is_no_message_is_rejected(trial_here):
    assert refused(trial_here, b"hello")[0] == "MSA|AR"
    assert refused(trial_here, oru(header=changed(MSH, f9="ADT^A01")))[0] == "MSA|AR|4711"


def test_what_is_not_kept_is_counted_and_makes_no_patient(trial_here):
    answer = send(trial_here, message(PID, OBR, obx(f3="1554-5^Glucose^LN", f5="high"), "NTE|1||fine"))
    assert answer.text.split("\r")[1] == "MSA|AA|4711|not ours 2"
    assert trial_here.get("/v1/studies/trial").json()["revision"] == 0


def test_training_is_for_test_studies(client):
    body = oru(header=changed(MSH, f11="T"))
    make_study(client, **PSEUDONYMS)
    assert refused(client, body)[0] == "MSA|AR|4711"
    make_study(client, **PSEUDONYMS, test=True)
    accepted(client, body)


def test_times_without_an_offset_are_those_of_the_declared_zone(client):
    body = oru(obr=changed(OBR, f7="200503160948"))
    make_study(client, **PSEUDONYMS, message_offset="ignore")
    assert "no_offset" in refused(client, body)[1]
    make_study(client, **PSEUDONYMS, time_zone="Asia/Tokyo")
    accepted(client, body)
    assert timeline(client)["labs"][0]["time"] == "2005-03-16T09:48:00+09:00"


def test_without_a_declared_zone_times_without_an_offset_have_that_of_the_message(trial_here):
    answer = send(trial_here, oru(obr=changed(OBR, f7="200503160948")))
    assert timeline(trial_here)["labs"][0]["time"] == "2005-03-16T09:48:00+09:00"
    assert errors(answer) == [["PID^1^3", "I", "new_patient"], ["OBX^1", "I", "zone_from_message"]]


def test_a_person_who_was_erased_is_not_let_in_again_by_a_message(trial_here):
    accepted(trial_here, oru())
    assert trial_here.delete("/v1/studies/trial/patients/123?erase=true").status_code == 204
    reply = refused(trial_here, oru())
    assert reply[0] == "MSA|AE|4711"
    assert reply[1] == (
        "ERR||PID^1^3|204^Unknown key identifier^HL70357^erased^Person erased^99MYO|E|erased|||"
        "The data of this person were erased from the study, and no new data are stored."
    )


def test_each_message_of_a_batch_is_for_itself(trial):
    bodies = [oru(header=changed(MSH, f10=str(n)), pid=changed(PID, f3=f"P{n}")) for n in range(3)]
    bodies[1] = bodies[1].replace(b"|U/L|", b"|furlongs|")
    answer = send(trial, b"BHS|^~\\&|LIS|ELAB|MYO|TRIAL|20050317||||B1\r" + b"".join(bodies) + b"BTS|3\r")
    assert answer.status_code == 422
    lines = answer.text.split("\r")
    assert lines[0].startswith("BHS|")
    assert lines[0].endswith("|B1")
    answers = [line for line in lines if line.startswith("MSA")]
    assert answers == ["MSA|AA|0|kept 3", "MSA|AE|1|refused 1", "MSA|AA|2|kept 3"]
    assert lines[-2] == "BTS|3"
    assert patients(trial) == ["P0", "P2"]
    good = send(trial, b"BHS|^~\\&\r" + bodies[0] + bodies[2] + b"BTS|2\r")
    assert good.status_code == 200


def test_of_a_batch_that_was_cut_off_the_sender_learns_so(trial_here):
    answer = send(trial_here, b"BHS|^~\\&|LIS|ELAB|MYO|TRIAL|20050317||||B1\r" + oru() + b"BTS|2\r")
    assert answer.status_code == 422
    lines = answer.text.split("\r")
    assert [line for line in lines if line.startswith("MSA")] == ["MSA|AA|4711|kept 3", "MSA|AE|B1"]
    assert [line[:16] for line in lines if line.startswith("ERR")] == ["ERR||PID^1^3|0^M", "ERR||BTS^1^1|102"]
    assert patients(trial_here) == ["123"]


def test_a_message_that_asks_for_no_acknowledgement_gets_none(trial_here):
    quiet = changed(MSH, f15="NE", f16="NE")
    answer = send(trial_here, oru(header=quiet))
    assert (answer.status_code, answer.content) == (204, b"")
    answer = send(trial_here, oru(obx(f6="?"), header=quiet))
    assert (answer.status_code, answer.content) == (422, b"")
    assert send(trial_here, oru(header=changed(MSH, f15="AL"))).text.split("\r")[1] == "MSA|CA|4711|kept 3"


def adt(event: str, *segments: str, at: str = "20050401080000+0900") -> bytes:
    return message(f"EVN|{event}|{at}", *segments, header=changed(MSH, f9=f"ADT^{event}"))


def merged_into(client: Any, patient: str) -> Any:
    return timeline(client, patient)["patient"].get("merged_into")


MRG = "MRG|456^^^WARD7"
OLD = changed(PID, f3="456^^^WARD7")


@pytest.mark.parametrize("results_first", [True, False])
def test_a_merge_is_a_link_that_can_be_undone(trial, results_first):
    results = [oru(), oru(pid=OLD, obr=changed(OBR, f3="78^ELAB"))]
    merge = adt("A40", PID, MRG)
    accepted(trial, *([*results, merge] if results_first else [merge, *results]))
    assert merged_into(trial, "456") == "123"
    accepted(trial, adt("A37", PID, MRG, at="20050402080000+0900"), merge)
    assert merged_into(trial, "456") is None
    accepted(trial, adt("A40", PID, MRG, at="20050403080000+0900"))
    assert merged_into(trial, "456") == "123"


def test_a_merge_that_closes_a_ring_of_three_is_refused(trial):
    third = changed(PID, f3="789^^^WARD7")
    accepted(trial, adt("A40", PID, MRG), adt("A40", OLD, "MRG|789^^^WARD7"))
    before = trial.get("/v1/studies/trial/revisions").text
    lines = refused(trial, adt("A40", third, "MRG|123^^^WARD7"))
    assert lines[0].startswith("MSA|AE|")
    assert lines[1].startswith("ERR||MRG^1^1|")
    assert "|contradiction|" in lines[1]
    assert trial.get("/v1/studies/trial/revisions").text == before


def persons(client: Any) -> int:
    """The number of persons whom analyses read."""
    answer = client.get("/v1/studies/trial/analyses/response-rates").json()
    return int(answer["populations"]["all"])


@pytest.mark.parametrize("later_first", [False, True])
def test_a_merge_that_a_later_event_turns_round_counts_one_person(trial, later_first):
    accepted(trial, oru(), oru(pid=OLD, obr=changed(OBR, f3="78^ELAB")))
    merges = [adt("A40", OLD, "MRG|123^^^WARD7"), adt("A40", PID, MRG, at="20050402080000+0900")]
    accepted(trial, *(reversed(merges) if later_first else merges))
    assert (persons(trial), merged_into(trial, "123"), merged_into(trial, "456")) == (1, None, "123")
    accepted(trial, *merges)
    assert (persons(trial), merged_into(trial, "123"), merged_into(trial, "456")) == (1, None, "123")
    accepted(trial, adt("A37", OLD, PID, at="20050403080000+0900"))
    assert persons(trial) == 2


def test_two_merges_of_one_time_that_contradict_each_other_are_refused(trial):
    accepted(trial, oru(), oru(pid=OLD, obr=changed(OBR, f3="78^ELAB")), adt("A40", PID, MRG))
    lines = refused(trial, adt("A40", OLD, "MRG|123^^^WARD7"))
    assert lines[1].startswith("ERR||MRG^1^1|")
    assert "|contradiction|" in lines[1]
    assert persons(trial) == 1


def test_the_receipt_of_a_merge_that_was_turned_round_before_it_arrived_says_so(trial):
    accepted(trial, oru(), adt("A40", PID, MRG, at="20050402080000+0900"))
    late = send(trial, adt("A40", OLD, "MRG|123^^^WARD7")).text.split("\r")
    assert late[1:3] == [
        "MSA|AA|4711|not applied 1",
        "ERR||MRG^1^1|0^Message accepted^HL70357|I|older|||"
        "A later version, time of issue or status of the same fact had arrived before.",
    ]


def test_a_timeline_that_says_the_contrary_of_a_merge_is_refused_until_the_merge_is_undone(trial):
    accepted(trial, oru(), oru(pid=OLD, obr=changed(OBR, f3="78^ELAB")), adt("A40", PID, MRG))
    other_way = {"patient": {"id": "123", "merged_into": "456"}}
    events = "/v1/studies/trial/patients/123/events"
    answer = trial.post(events, json=other_way)
    assert answer.status_code == 422
    assert [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]] == [
        ("/patient/merged_into", "contradiction")
    ]
    accepted(trial, adt("A37", PID, MRG, at="20050402080000+0900"))
    assert trial.post(events, json=other_way).status_code == 200
    assert (persons(trial), merged_into(trial, "123")) == (1, "456")


def test_an_unlink_that_names_two_patients_must_end_a_link_that_is_known(trial):
    accepted(trial, oru(), adt("A40", PID, MRG))
    before = trial.get("/v1/studies/trial/revisions").text
    wrong_way_round = adt("A37", OLD, PID, at="20050402080000+0900")
    assert refused(trial, wrong_way_round)[1].startswith(
        "ERR||PID^2^3|204^Unknown key identifier^HL70357|E|unknown_reference|"
    )
    assert trial.get("/v1/studies/trial/revisions").text == before
    right = adt("A37", PID, OLD, at="20050402080000+0900")
    accepted(trial, right, right)
    assert merged_into(trial, "456") is None


def test_nothing_that_names_a_person_reaches_the_database(serve, sqlite_url):
    """Nor the log, nor an answer: a study's identifiers are numbers of medical records unless it says otherwise."""
    client = serve(sqlite_url, pseudonym_secret=SECRET)
    make_study(client)
    planted = ["MRN-7391-canary", "CANARYNAME", "Canary Street", "555-7391", "19530403", "canarynote", "canaryacc-77",
               "canarysub", "canarydoctor", "MRN-7392-canary"]  # fmt: skip
    mrn, name, street, phone, born, note, accession, sub_id, doctor, old = planted
    body = message(
        f"PID|1|{mrn}|{mrn}^^^WARD7^MR||{name}^JANE||{born}|F|||{street} 1^^Tokyo||{phone}|||||{mrn}",
        f"NK1|1|{name}^JOHN",
        f"PV1|1|O|WARD7||||{doctor}^Who",
        f"ORC|RE|{accession}|{accession}",
        f"OBR|1|{accession}^ward|{accession}^ELAB|CHEM|||{DRAWN}|||||||||{doctor}",
        obx(f4=sub_id, f16=doctor),
        obx(f3="1554-5^Glucose^LN", f5=note),
        f"NTE|1|L|{note} {name}",
        f"ZPI|{name}|{mrn}",
    )
    bad = body.replace(b"|U/L|", f"|{name}|".encode())
    link = adt("A40", f"PID|1||{mrn}^^^WARD7||{name}", f"MRG|{old}^^^WARD7||||||{name}")
    answers = [send(client, each) for each in (body, bad, link, body)]
    assert [answer.status_code for answer in answers] == [200, 422, 200, 200]
    assert len(patients(client)) == 2
    reply = "".join(answer.text for answer in answers) + client.get("/v1/studies/trial/patients").text
    files = Path(make_url(sqlite_url).database).parent.glob("x.db*")
    stored = b"".join(file.read_bytes() for file in files)
    assert b"ELAB" in stored  # the control: what is kept is found by this search
    assert [each for each in planted if each in reply or each.encode() in stored] == []


def test_without_a_secret_nothing_is_taken(client):
    make_study(client)
    answer = send(client, oru())
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/conflict"


def test_an_unknown_study_takes_nothing(client):
    assert send(client, oru(), "nowhere").status_code == 404


@pytest.mark.parametrize(
    "media_type",
    [
        "application/hl7-v2",
        "x-application/hl7-v2+er7",
        "Application/HL7-v2; charset=ISO-8859-1",
        "application/hl7-v2;charset=UTF-8",
    ],
)
def test_either_media_type_is_read_whatever_its_character_set(trial_here, media_type):
    answer = send(trial_here, oru(), **{"Content-Type": media_type})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type.partition(";")[0].lower()


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "text/plain"}, {"Content-Type": "application/json"}, {"Content-Encoding": "gzip"}]
)
def test_other_bodies_are_refused_with_what_is_read(trial_here, headers):
    answer = send(trial_here, oru(), **headers)
    assert answer.status_code == 415
    assert answer.headers["accept-post"] == "application/hl7-v2, x-application/hl7-v2+er7"


def test_a_query_parameter_is_refused(trial_here):
    answer = trial_here.post("/v1/studies/trial/hl7v2?atomic=true", content=oru(), headers=HL7V2)
    assert answer.status_code == 422
    assert codes(answer) == [("/query", "unknown_parameter")]


def test_more_messages_than_one_body_may_hold_are_refused_together(trial_here, monkeypatch):
    monkeypatch.setattr("app.hl7v2.submit.MOST_MESSAGES", 2)
    assert refused(trial_here, oru() * 3)[1].split("|")[5] == "too_many"
    assert patients(trial_here) == []
    assert send(trial_here, oru() * 2).status_code == 200


def test_the_description_shows_a_message_that_is_read_and_the_answer_to_one_that_is_not(trial_here):
    paths = description()["paths"]
    described = paths["/v1/studies/{study}/hl7v2"]["post"]
    ((asked,), (stored,), (reply,)) = (
        part["content"]["application/hl7-v2"]["schema"]["examples"]
        for part in (described["requestBody"], described["responses"]["200"], described["responses"]["422"])
    )
    assert send(trial_here, asked.encode()).text == stored
    assert send(trial_here, asked.replace("|P|", "|X|").encode()).text == reply


@pytest.mark.parametrize("cancelled_first", [False, True])
def test_a_cancelled_panel_of_loinc_withdraws_its_results_in_any_order(trial, cancelled_first):
    parts = [obx(f1=str(i), f3=f"{code}^^LN") for i, code in enumerate(("1920-8", "1742-6", "2532-0"), 1)]
    results = message(PID, changed(OBR, f22=ISSUED["F"]), *parts)
    cancelled = message(PID, changed(OBR, f4="24323-8^CMP^LN", f22=LATER, f25="X"), header=changed(MSH, f10="2"))
    accepted(trial, *((cancelled, results) if cancelled_first else (results, cancelled)))
    assert [lab["code"] for lab in timeline(trial)["labs"]] == ["LDH"]
