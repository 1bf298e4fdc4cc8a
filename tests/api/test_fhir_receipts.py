"""Receipts of FHIR writes: issues in the outcome of an entry, tags of a resource, and counts in an extension."""

from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle as SecondOpinion

from app.timeline.receipts import Disposition
from tests.api.fhir_bodies import (
    SECRET,
    Facade,
    bundle,
    ck,
    entry,
    infusion,
    ldh,
    named,
    patient,
    sodium,
    statuses,
    whole,
)

COUNTS = "urn:myoresponse:extension:receipt"
LIMITLESS = {"referenceRange": []}


@pytest.fixture
def trial(serve, sqlite_url) -> Facade:
    """A study whose identifiers are numbers of medical records."""
    return Facade(serve(sqlite_url, pseudonym_secret=SECRET))


def counts(extended: dict[str, Any]) -> dict[str, int]:
    """The number of facts of each disposition above zero, of an OperationOutcome or of the meta of a bundle."""
    [extension] = extended["extension"]
    assert extension["url"] == COUNTS
    assert [each["url"] for each in extension["extension"]] == list(Disposition)
    return {each["url"]: each["valueInteger"] for each in extension["extension"] if each["valueInteger"]}


def said(outcome: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The severity, codes and place of each issue that has codes, but not that the patient is new."""
    return [
        (
            each["severity"],
            [(of["system"].rpartition(":")[2], of["code"]) for of in each["details"]["coding"]],
            each["expression"],
        )
        for each in outcome["issue"]
        if "coding" in each["details"] and each["details"]["coding"][0]["code"] != "new_patient"
    ]


def tagged(answer: Any) -> list[tuple[str, str]]:
    """The systems and codes of the tags of a resource, but not that the patient is new."""
    tags = [(tag["system"].rpartition(":")[2], tag["code"]) for tag in answer.json()["meta"].get("tag", ())]
    return [tag for tag in tags if tag != ("notes", "new_patient")]


def of_entry(answer: Any, number: int) -> dict[str, Any]:
    """The OperationOutcome of one entry."""
    outcome: dict[str, Any] = answer.json()["entry"][number]["response"]["outcome"]
    return outcome


def test_the_answer_to_a_bundle_counts_its_facts_by_disposition(trial):
    answer = trial.post(whole())
    assert counts(answer.json()["meta"]) == {"kept": 5, "not_ours": 2}
    assert SecondOpinion.model_validate_json(answer.content).meta.extension[0].url == COUNTS


def test_an_entry_that_is_plainly_kept_has_no_outcome_unless_the_full_receipt_is_asked_for(trial):
    trial.post(patient())
    sent = bundle(entry(ck()))
    assert "outcome" not in trial.post(sent).json()["entry"][0]["response"]
    full = trial.send("POST", "?receipt=full", sent)
    assert said(of_entry(full, 0)) == [
        ("information", [("notes", "unchanged"), ("dispositions", "kept")], ["Bundle.entry[0].resource"])
    ]
    full = trial.send("POST", "?receipt=full", bundle(entry(ldh())))
    assert said(of_entry(full, 0)) == [("information", [("dispositions", "kept")], ["Bundle.entry[0].resource"])]
    assert counts(of_entry(full, 0)) == {"kept": 1}


def test_a_patient_who_was_not_in_the_study_is_noted_at_the_first_entry_about_the_person(trial):
    answer = trial.post(bundle(entry(ck()), entry(ldh())))
    [issue] = [each for each in of_entry(answer, 0)["issue"] if "coding" in each["details"]]
    assert (issue["severity"], issue["expression"]) == ("information", ["Bundle.entry[0].resource"])
    assert issue["details"]["coding"][0] == {"system": "urn:myoresponse:notes", "code": "new_patient"}
    assert "outcome" not in answer.json()["entry"][1]["response"]
    assert counts(answer.json()["meta"]) == {"kept": 2}


def test_a_note_is_an_information_at_the_place_of_the_fact(trial):
    answer = trial.post(bundle(entry(ck(**LIMITLESS))))
    assert statuses(answer) == ["201"]
    assert said(of_entry(answer, 0)) == [
        ("information", [("notes", "no_upper_limit"), ("dispositions", "kept")], ["Bundle.entry[0].resource"])
    ]


def test_what_is_not_ours_is_a_warning_with_its_reason(trial):
    answer = trial.post(bundle(entry(ck()), entry(sodium())))
    assert said(of_entry(answer, 1)) == [
        ("warning", [("skipped", "code"), ("dispositions", "not_ours")], ["Bundle.entry[1].resource"])
    ]


def test_a_result_that_is_older_than_the_one_that_stands_is_not_applied(trial):
    later = ck(120, issued="2005-03-18T00:00:00Z")
    trial.post(later)
    answer = trial.post(bundle(entry(ck(100, issued="2005-03-17T00:00:00Z")), type="batch"))
    assert (answer.status_code, statuses(answer)) == (200, ["200"])
    assert said(of_entry(answer, 0)) == [
        ("warning", [("not-kept", "older"), ("dispositions", "not_applied")], ["Bundle.entry[0].resource"])
    ]


def test_a_correction_names_the_result_that_counts_no_longer(trial):
    trial.post(ck(100, issued="2005-03-17T00:00:00Z"))
    corrected = ck(120, status="corrected", issued="2005-03-18T00:00:00Z")
    outcome = of_entry(trial.post(bundle(entry(corrected))), 0)
    assert said(outcome) == [("information", [("affected", "no-longer-counts")], ["Bundle.entry[0].resource"])]
    assert "labs, CK, 2005-03-16T09:48:00+09:00" in outcome["issue"][-1]["details"]["text"]


def test_a_single_resource_is_answered_with_its_notes_as_tags_and_read_without_them(trial):
    answer = trial.post(ck(**LIMITLESS))
    assert tagged(answer) == [("notes", "no_upper_limit")]
    read = trial.client.get(f"{trial.base}/Observation/{answer.json()['id']}")
    assert tagged(read) == []
    assert tagged(trial.send("POST", "/Observation?receipt=full", ldh())) == [("dispositions", "kept")]


def test_a_late_retry_is_answered_with_what_stands_and_a_tag_that_says_so(trial):
    first = ck(100, issued="2005-03-17T00:00:00Z")
    trial.post(first)
    trial.post(ck(120, status="corrected", issued="2005-03-18T00:00:00Z"))
    answer = trial.post(first)
    assert answer.json()["valueQuantity"]["value"] == 120
    assert tagged(answer) == [("not-kept", "stale")]


@pytest.mark.parametrize(
    "lost",
    [
        [entry(sodium()), entry({"resourceType": "Encounter", "status": "finished"})],
        [entry(ck(-1)), entry(sodium())],
        [entry(ck(valueQuantity={"value": 1, "unit": "furlong"}))],
    ],
)
def test_a_batch_of_which_nothing_is_kept_is_answered_422_with_its_receipts(trial, lost):
    answer = trial.post(bundle(*lost, type="batch"))
    assert (answer.status_code, answer.json()["type"]) == (422, "batch-response")
    assert len(answer.json()["entry"]) == len(lost)
    assert "kept" not in counts(answer.json()["meta"])
    assert trial.revision() == 0


def test_a_batch_that_is_sent_again_is_no_loss(trial):
    sent = bundle(entry(ck()), entry(sodium()), type="batch")
    assert [trial.post(sent).status_code for _ in range(2)] == [200, 200]


def test_a_conditional_create_says_whether_what_stands_is_what_was_sent(trial):
    asked = {"ifNoneExist": "identifier=urn:oid:1.2.3.4|acc-77"}
    person = {"ifNoneExist": "identifier=urn:oid:1.2.3.9|MRN-1"}
    trial.post(bundle(entry(ck()), entry(patient())))
    answer = trial.post(bundle(entry(ck(), **asked), entry(patient(), **person), type="batch"))
    assert counts(answer.json()["meta"]) == {"kept": 2}
    answer = trial.post(bundle(entry(ck(5), **asked), entry(patient(gender="male"), **person), type="batch"))
    assert answer.status_code == 200
    assert counts(answer.json()["meta"]) == {"not_applied": 2}
    assert [said(of_entry(answer, i))[0][0] for i in range(2)] == ["warning", "warning"]


def test_a_receipt_holds_no_value_and_no_number_of_a_person(trial):
    sent = [entry(ck(98765, number="ACCQ992", **LIMITLESS)), entry(infusion(identifier=named("INFQ993")))]
    answer = trial.send("POST", "?receipt=full", bundle(*sent))
    for text in ("98765", "ACCQ992", "INFQ993", "MRN-1"):
        assert text not in answer.text
