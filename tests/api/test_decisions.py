"""The same infusion from two feeds over HTTP: noted, listed, decided, counted once, taken back."""

import pytest

from tests.api import fhir_bodies
from tests.api.examples import codes, make_study, timeline

HOME = "/v1/studies/trial"
FHIR = {"Content-Type": "application/fhir+json"}
MORNING = "2005-04-11T10:00:00+09:00"
REASON = "Both mean one morning."


@pytest.fixture
def trial(client):
    """A patient treated in two feeds: 0.4 g/kg by date, and in FHIR with its instant and number."""
    make_study(client, identifiers="pseudonyms", authorities=[fhir_bodies.HOSPITAL])
    reported = {"term": "headache", "onset": "2005-04-12", "related": "possible"}
    client.put(f"{HOME}/patients/P01", json=timeline("P01", adverse_events=[reported]))
    return client


def administered(client, number="inf-1", at=MORNING, dose=0.4):
    written = {"dose": {"value": dose, "unit": "g/kg", "system": fhir_bodies.UCUM, "code": "g/kg"}}
    resource = fhir_bodies.infusion(number, effectiveDateTime=at, dosage=written, subject=SUBJECT)
    return client.post("/fhir/trial/MedicationAdministration", json=resource, headers=FHIR)


SUBJECT = {"reference": "Patient/P01", "identifier": {"value": "P01"}}


def pairs(client):
    return [item["pair"] for item in client.get(f"{HOME}/set-aside").json()["items"] if "pair" in item]


def decide(client, pair, decision="same", reason=REASON, **more):
    return client.post(pair["decide"], json={"decision": decision, "reason": reason}, **more)


def answers(client, revision=None):
    """What two questions say: events per infusion, and the dose of the index course."""
    query = "" if revision is None else f"?revision={revision}"
    events = client.get(f"{HOME}/analyses/adverse-reactions{query}").json()
    table = client.get(f"{HOME}/analyses/baseline-table{query}").json()
    return events, table


def test_a_pair_is_noted_in_the_receipt_listed_with_both_facts_and_decided(trial):
    only = answers(trial)
    assert "possible_duplicate" in administered(trial).text
    [item] = trial.get(f"{HOME}/set-aside").json()["items"]
    assert (item["reason"], item["patient"], item["code"]) == ("possible_duplicate", "P01", "IVIG")
    assert [fact["time"] for fact in item["pair"]["facts"]] == [MORNING, "2005-04-11"]
    assert item["pair"]["kind"] == "infusion"
    twice = answers(trial)
    assert twice[0]["results"] != only[0]["results"]
    done = decide(trial, item["pair"]).json()
    assert done == {"status": "decided", "revision": 3}
    once = answers(trial)
    assert [each["results"] for each in once] == [each["results"] for each in only]
    assert [each["flags"] for each in once] == [each["flags"] for each in only]
    assert pairs(trial) == []
    [listed] = trial.get(f"{HOME}/decisions").json()["items"]
    assert (listed["decision"], listed["reason"], listed["revision"]) == ("same", REASON, 3)
    assert [fact["time"] for fact in listed["facts"]] == [MORNING, "2005-04-11"]
    assert answers(trial, 2)[0]["results"] == twice[0]["results"]
    [step] = trial.get(f"{HOME}/changes?from=2&to=3").json()["items"]
    assert (step["format"], step["facts"][0]["kind"]) == ("decision", "attribute")
    again = decide(trial, listed, "undecided", "A mistake.").json()
    assert again == {"status": "taken_back", "revision": 4}
    assert answers(trial)[0]["results"] == twice[0]["results"]
    assert (len(pairs(trial)), trial.get(f"{HOME}/decisions").json()["items"]) == (1, [])


def test_the_same_content_with_the_same_instant_counts_once_and_the_receipt_says_so(trial):
    infusions = [
        {"time": "2005-04-11T01:00:00Z", "product": "IVIg", "dose": 400, "unit": "mg/kg", "id": "7", "source": "E"}
    ]
    assert pairs(trial) == []
    administered(trial)
    sent = trial.post(f"{HOME}/patients/P01/events", json={"patient": {"id": "P01"}, "infusions": infusions}).json()
    [line] = sent["receipt"]["lines"]
    assert {note["code"] for note in line["notes"]} >= {"counted_once"}
    [listed] = trial.get(f"{HOME}/decisions").json()["items"]
    assert (listed["decision"], listed["by"], listed["at"], listed["reason"]) == ("proven", None, None, None)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"decision": "same"}, ("/reason", "missing")),
        ({"decision": "same", "reason": ""}, ("/reason", "too_short")),
        ({"decision": "proven", "reason": "x"}, ("/decision", "unknown_value")),
        ({"decision": "maybe", "reason": "x"}, ("/decision", "unknown_value")),
        ({"reason": "x"}, ("/decision", "missing")),
    ],
)
def test_a_decision_needs_its_word_and_a_reason(trial, body, fault):
    administered(trial)
    answer = trial.post(pairs(trial)[0]["decide"], json=body)
    assert (answer.status_code, codes(answer)) == (422, [fault])
    assert len(pairs(trial)) == 1


def test_what_cannot_be_decided_is_refused(trial):
    administered(trial)
    [pair] = pairs(trial)
    number = trial.get(f"{HOME}/set-aside").json()["items"][0]["item"]
    refused = trial.post(f"{HOME}/set-aside/{number}/dismissal", json={"reason": "duplicate"})
    assert (refused.status_code, "Decide whether they are the same" in refused.text) == (409, True)
    unknown = pair["decide"].rpartition("/")[0] + "/" + "0" * 32
    assert trial.post(unknown, json={"decision": "same", "reason": "x"}).status_code == 404
    assert trial.post(unknown[:-1], json={"decision": "same", "reason": "x"}).status_code == 422
    elsewhere = pair["decide"].replace("P01", "P02")
    assert trial.post(elsewhere, json={"decision": "same", "reason": "x"}).status_code == 404
    trial.delete(f"{HOME}/patients/P01?erase=true")
    assert decide(trial, pair).status_code == 410
    assert trial.get(f"{HOME}/decisions").json()["items"] == []


def test_a_decision_is_rehearsed(trial):
    administered(trial)
    [pair] = pairs(trial)
    answer = decide(trial, pair, params={"rehearse": "true"})
    assert answer.json() == {"status": "decided", "revision": 3}
    assert (len(pairs(trial)), trial.get(HOME).json()["revision"]) == (1, 2)


def test_the_history_shows_who_decided_and_why_and_what_was_taken_back(trial):
    administered(trial)
    [pair] = pairs(trial)
    decide(trial, pair)
    decide(trial, pair, "undecided", "A mistake.")
    found = trial.get(f"{HOME}/patients/P01/history?kind=attribute").json()["items"]
    mine = [each for each in found if each["fact"]["name"].startswith("decision:")]
    assert [(each["fact"]["value"]["reason"], each["fact"]["status"]) for each in mine] == [
        (REASON, "final"), ("A mistake.", "entered-in-error"),
    ]  # fmt: skip
    assert [each["reason"] for each in mine] == ["withdrawn", "withdrawal"]


def test_pages_of_decisions_are_read_at_one_revision(trial):
    for number in range(1, 4):
        day = f"2005-06-0{number}"
        administered(trial, f"a{number}", f"{day}T09:00:00+09:00")
        trial.post(
            f"{HOME}/patients/P01/events",
            json={
                "patient": {"id": "P01"},
                "infusions": [{"time": day, "product": "IVIG", "dose": 0.4, "unit": "g/kg"}],
            },
        )
    for pair in pairs(trial):
        decide(trial, pair)
    first = trial.get(f"{HOME}/decisions?limit=2").json()
    for item in first["items"]:
        decide(trial, item, "undecided", "Late.")
    second = trial.get(first["next"]).json()
    assert (len(first["items"]), len(second["items"]), second["next"]) == (2, 1, None)
    assert len(trial.get(f"{HOME}/decisions").json()["items"]) == 1


@pytest.mark.parametrize(
    ("decision", "fault"),
    [
        ({"at": None}, ("/decisions/0/at", "bad_time")),
        ({"at": "2026-01-01"}, ("/decisions/0/at", "bad_time")),
        ({"at": "2126-01-01T00:00:00Z"}, ("/decisions/0/at", "future_time")),
        ({"decision": "proven"}, ("/decisions/0/at", "bad_time")),
        ({"facts": ["#1||", "#1||"]}, ("/decisions/0", "conflicting_duplicate")),
        ({"facts": ["#1||"]}, ("/decisions/0/facts", "too_short")),
        ({"kind": "lab_result"}, ("/decisions/0/kind", "unknown_value")),
        ({"decision": "perhaps"}, ("/decisions/0/decision", "unknown_value")),
    ],
)
def test_a_decision_of_a_document_is_checked(trial, decision, fault):
    good = {"kind": "infusion", "facts": ["#1||", "#2||"], "decision": "same", "at": "2005-06-01T00:00:00Z"}
    body = {"patient": {"id": "P01"}, "decisions": [good | decision]}
    answer = trial.post(f"{HOME}/patients/P01/events", json=body)
    assert answer.status_code == 422
    assert fault in codes(answer)


def put_infusions(client, *infusions):
    tag = client.get(f"{HOME}/patients/P01").headers["etag"]
    body = {"patient": {"id": "P01"}, "infusions": list(infusions)}
    answer = client.put(f"{HOME}/patients/P01", json=body, headers={"If-Match": tag})
    assert answer.status_code == 200, answer.text


def test_a_pair_that_was_apart_for_some_time_is_listed_again_and_can_be_decided(trial):
    by_date = {"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg"}
    moved = by_date | {"time": "2005-05-11T10:00:00+09:00", "id": "7", "source": "EHR"}
    back = moved | {"time": MORNING}
    put_infusions(trial, by_date, back)
    assert len(pairs(trial)) == 1
    put_infusions(trial, by_date, moved)
    assert pairs(trial) == []
    put_infusions(trial, by_date, back)
    assert len(pairs(trial)) == 1
    put_infusions(trial, by_date, back)
    [pair] = pairs(trial)
    assert decide(trial, pair).json()["status"] == "decided"
    assert pairs(trial) == []


def test_a_decision_about_facts_that_do_not_stand_is_taken_back_without_an_item(trial):
    administered(trial)
    [pair] = pairs(trial)
    decide(trial, pair)
    infusions = trial.get(f"{HOME}/patients/P01").json()["infusions"]
    put_infusions(trial, infusions[0])
    assert decide(trial, pair, "undecided").json()["status"] == "taken_back"
    assert pairs(trial) == []
    put_infusions(trial, *infusions)
    assert len(pairs(trial)) == 1, "both stand again, and nobody has decided"


def test_a_decision_that_came_before_its_facts_can_be_taken_back(trial):
    said = {"kind": "infusion", "facts": ["#x||S", "@d5|IVIG"], "decision": "same", "by": "x", "reason": "r",
            "at": "2020-01-01T00:00:00Z"}  # fmt: skip
    trial.post(f"{HOME}/patients/P01/events", json={"patient": {"id": "P01"}, "decisions": [said]})
    [listed] = trial.get(f"{HOME}/decisions").json()["items"]
    assert decide(trial, listed, "undecided").json()["status"] == "taken_back"
    assert (pairs(trial), trial.get(f"{HOME}/decisions").json()["items"]) == ([], [])
