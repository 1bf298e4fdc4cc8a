"""Bundles: a transaction is all or nothing, a batch has one outcome for each entry, and both may be sent again."""

import itertools
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle as SecondOpinion

from app.errors import Busy
from app.fhir import submit
from app.fhir.read_bundle import read_line
from app.store import migrations
from app.store.engine import Database
from app.submission import loop
from app.submission.feeds import feed_of
from tests.api.fhir_bodies import (
    BY_URN,
    SECRET,
    URN,
    Facade,
    about,
    asks,
    bundle,
    ck,
    entry,
    issues,
    issues_in,
    ldh,
    patient,
    sodium,
    statuses,
    whole,
)
from tests.store.posts import begin_study, got, now


@pytest.fixture
def trial(serve, sqlite_url) -> Facade:
    """A study whose identifiers are numbers of medical records."""
    return Facade(serve(sqlite_url, pseudonym_secret=SECRET))


@pytest.fixture
def trial_anywhere(serve, migrated_url) -> Facade:
    """The same, on each engine."""
    return Facade(serve(migrated_url, pseudonym_secret=SECRET))


def outcomes(answer: Any) -> list[list[tuple[str, str, str]]]:
    """The issues of each entry of an answer."""
    return [
        issues_in(each["response"]["outcome"]) if "outcome" in each["response"] else [] for each in _entries(answer)
    ]


def _entries(answer: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = answer.json()["entry"]
    return entries


# Transactions


def test_a_transaction_is_one_revision_and_answers_in_the_order_of_its_entries(trial_anywhere):
    answer = trial_anywhere.post(whole())
    assert statuses(answer) == ["201", "201", "200", "200", "201", "201"]
    assert answer.json()["type"] == "transaction-response"
    assert trial_anywhere.revision() == 1
    assert [each["response"].get("location", "").split("/")[0] for each in _entries(answer)] == [
        "Observation", "Patient", "", "", "MedicationAdministration", "AdverseEvent",
    ]  # fmt: skip
    first = _entries(answer)[0]["response"]
    assert (first["etag"], first["location"].split("/")[2:]) == ('W/"1"', ["_history", "1"])
    assert len(trial_anywhere.timelines()) == 1
    assert trial_anywhere.facts() == 3


def test_a_transaction_that_is_sent_again_makes_no_revision(trial_anywhere):
    first = trial_anywhere.post(whole())
    again = trial_anywhere.post(whole())
    assert statuses(again) == ["200"] * 6
    assert [each["response"].get("location") for each in _entries(again)] == [
        each["response"].get("location") for each in _entries(first)
    ]
    assert trial_anywhere.revision() == 1


def test_one_bad_entry_keeps_a_transaction_out_and_every_fault_is_reported(trial_anywhere):
    bad = bundle(
        entry(ck()),
        entry(ldh(unit := 300, valueQuantity={"value": unit, "unit": "furlong"})),
        entry(ck(number="acc-9", subject={"reference": "Patient/nobody"})),
        entry(ck(number="acc-10", effectiveDateTime="2999-01-01")),
    )
    answer = trial_anywhere.post(bad)
    assert answer.status_code == 422
    assert issues(answer) == [
        ("error", "code-invalid", "Bundle.entry[1].resource.valueQuantity.unit"),
        ("error", "not-found", "Bundle.entry[2].resource.subject.reference"),
        ("error", "business-rule", "Bundle.entry[3].resource.effectiveDateTime"),
    ]
    assert trial_anywhere.revision() == 0
    assert trial_anywhere.timelines() == []


def test_two_entries_that_contradict_each_other_are_named_by_their_place(trial):
    answer = trial.post(bundle(entry(sodium()), entry(ck(100)), entry(ck(120))))
    assert (answer.status_code, issues(answer)) == (422, [("error", "conflict", "Bundle.entry[2].resource")])
    assert trial.revision() == 0
    assert trial.post(bundle(entry(ck(100)), entry(ck(100)))).status_code == 200


def test_a_correction_and_its_original_may_stand_in_one_transaction_in_any_order(trial):
    original = entry(ck(100, issued="2005-03-16T12:00:00+09:00"))
    corrected = entry(ck(120, status="corrected", issued="2005-03-17T12:00:00+09:00"))
    trial.post(bundle(corrected, original))
    assert trial.labs() == [("CK", 120)]


@pytest.mark.slow
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_of_entries_decides_nothing(trial, order):
    """FHIR processes DELETE first; a client may send it last, together with a late original."""
    stored = trial.post(ck(100)).json()
    entries = [
        entry(ldh(id="mine", number="acc-80"), "PUT", "Observation/mine"),
        entry(ck(300, number="acc-81")),
        asks("DELETE", f"Observation/{stored['id']}"),
        entry(ck(100)),
    ]
    answer = trial.post(bundle(*[entries[i] for i in order]))
    assert [statuses(answer)[order.index(i)] for i in range(4)] == ["201", "201", "204", "200"]
    assert trial.labs() == [("CK", 300), ("LDH", 300)]
    assert trial.revision() == 2


def test_a_put_patient_is_who_the_entries_beside_it_refer_to(trial):
    answer = trial.post(
        bundle(
            entry(ck(subject={"reference": "Patient/pat-1"})),
            entry(patient(id="pat-1"), "PUT", "Patient/pat-1"),
        )
    )
    assert statuses(answer) == ["201", "201"]
    assert len(trial.timelines()) == 1
    assert trial.post(ldh(subject={"reference": "Patient/pat-1"})).status_code == 201


def test_a_year_of_birth_forbids_what_lies_before_it_in_another_entry(trial):
    early = ck(subject=BY_URN, effectiveDateTime="1940-01-01")
    answer = trial.post(bundle({"fullUrl": URN, **entry(patient())}, entry(early)))
    assert issues(answer) == [("error", "business-rule", "Bundle.entry[1].resource.effectiveDateTime")]


def test_what_cannot_be_done_names_its_entry(trial):
    gone = trial.post(bundle(entry(ck()), asks("DELETE", "Observation/nothing")))
    assert gone.status_code == 404
    assert gone.json()["issue"][0]["details"]["text"].startswith("Bundle.entry[1]: ")
    person = trial.post(bundle(asks("DELETE", "Patient/x")))
    assert person.status_code == 405
    outdated = trial.post(bundle(entry(ck(id="x"), "PUT", "Observation/x", ifMatch='W/"4"')))
    assert outdated.status_code == 412
    assert trial.revision() == 0


@pytest.mark.parametrize("method", ["PATCH", "HEAD"])
def test_what_bundles_do_not_serve_refuses_a_transaction_and_is_405_in_a_batch(trial, method):
    asked = asks(method, "Observation/x")
    transaction = trial.post(bundle(entry(ck()), asked))
    assert transaction.status_code == 422
    [(severity, code, place)] = issues(transaction)
    assert (severity, code) == ("error", "not-supported")
    assert place.startswith("Bundle.entry[1].request")
    batch = trial.post(bundle(entry(ck()), asked, type="batch"))
    assert statuses(batch) == ["201", "405"]


def test_to_delete_what_is_not_kept_is_no_error(trial):
    answer = trial.post(bundle(asks("DELETE", "Encounter/1")))
    assert statuses(answer) == ["200"]
    assert outcomes(answer)[0][0][:2] == ("warning", "not-supported")


def test_a_conditional_create_in_a_transaction(trial):
    wanted = {"ifNoneExist": "identifier=urn:oid:1.2.3.4|acc-77"}
    assert statuses(trial.post(bundle(entry(ck(), **wanted)))) == ["201"]
    assert statuses(trial.post(bundle(entry(ck(5), **wanted), entry(ldh())))) == ["200", "201"]
    assert trial.labs() == [("CK", 1101), ("LDH", 300)]


def test_what_is_not_kept_is_counted_by_reason(trial):
    answer = trial.post(whole())
    texts = [
        each["details"]["text"]
        for one in _entries(answer)
        for each in one["response"].get("outcome", {}).get("issue", [])
    ]
    assert [text for text in texts if "2 are not kept" in text] == [
        "Of the 6 entries of this bundle 2 are not kept: 1 by code, 1 by resource."
    ]
    assert [issue[0][:2] for issue in outcomes(answer)[2:] if issue] == [("warning", "not-supported")] * 2


@pytest.mark.parametrize("preference", ["return=minimal", "return=representation", "return=OperationOutcome"])
@pytest.mark.parametrize("kind", ["transaction", "batch", "collection"])
def test_the_answer_is_a_bundle_of_r4(trial, preference, kind):
    trial.post(patient())
    sent = whole() | {"type": kind}
    if kind == "collection":
        for each in sent["entry"]:
            del each["request"]
    answer = trial.post(sent, Prefer=preference)
    read = SecondOpinion.model_validate_json(answer.content)
    assert read.type == ("batch-response" if kind == "batch" else "transaction-response")
    assert len(read.entry) == 6
    with_resource = [each.resource is not None for each in read.entry]
    with_outcome = [each.response.outcome is not None for each in read.entry]
    assert with_resource == [preference == "return=representation" and i not in {2, 3} for i in range(6)]
    assert with_outcome == [preference == "return=OperationOutcome" or i in {2, 3} for i in range(6)]


def test_an_empty_transaction_is_answered_and_changes_nothing(trial):
    for kind in ("transaction", "batch", "collection"):
        answer = trial.post({"resourceType": "Bundle", "type": kind})
        assert (answer.status_code, "entry" in answer.json()) == (200, False)
    assert trial.revision() == 0


@pytest.mark.parametrize("kind", ["document", "history", "message", "transaction-response"])
def test_other_bundles_are_not_read(trial, kind):
    answer = trial.post(bundle(type=kind))
    assert (answer.status_code, issues(answer)) == (422, [("error", "not-supported", "Bundle.type")])


# Batches


def test_one_bad_entry_of_a_batch_does_not_keep_the_others_out(trial_anywhere):
    answer = trial_anywhere.post(
        bundle(
            entry(ck()),
            entry(ck(-5, number="acc-2")),
            entry(sodium()),
            entry(ldh()),
            asks("DELETE", "AdverseEvent/x"),
            type="batch",
        )
    )
    assert statuses(answer) == ["201", "422", "200", "201", "404"]
    assert answer.json()["type"] == "batch-response"
    assert outcomes(answer)[1] == [("error", "value", "Bundle.entry[1].resource.valueQuantity.value")]
    assert [each["response"].get("etag") for each in _entries(answer)] == ['W/"1"', None, None, 'W/"2"', None]
    assert trial_anywhere.labs() == [("CK", 1101), ("LDH", 300)]


def test_a_batch_that_is_sent_again_makes_no_revision(trial):
    sent = bundle(*[entry(ck(number=f"acc-{i}")) for i in range(3)], type="batch")
    assert [statuses(trial.post(sent)) for _ in range(2)] == [["201"] * 3, ["200"] * 3]
    assert trial.revision() == 3


def test_an_erased_person_does_not_keep_the_others_of_a_batch_out(trial):
    trial.post(ck())
    [who] = [each["patient"]["id"] for each in trial.timelines()]
    trial.client.delete(f"{trial.home}/patients/{who}?erase=true")
    answer = trial.post(bundle(entry(ck()), entry(ck(subject=about("MRN-2"))), type="batch"))
    assert statuses(answer) == ["410", "201"]
    refused = trial.post(bundle(entry(ck(subject=about("MRN-3"))), entry(ck())))
    assert refused.status_code == 410
    assert len(trial.timelines()) == 1


def test_where_the_database_is_busy_a_batch_says_what_was_stored(trial, monkeypatch):
    monkeypatch.setattr(loop, "GROUP", 2)
    writing, calls = Database.writing, itertools.count()

    def busy_at_the_second(self: Database) -> Any:
        if next(calls) == 1:
            raise Busy
        return writing(self)

    monkeypatch.setattr(Database, "writing", busy_at_the_second)
    sent = bundle(*[entry(ck(number=f"acc-{i}")) for i in range(5)], type="batch")
    answer = trial.post(sent)
    assert statuses(answer) == ["201", "201", "503", "503", "503"]
    assert statuses(trial.post(sent)) == ["200", "200", "201", "201", "201"]


# Collections, and resources without a request


def test_a_collection_is_merged_as_a_whole(trial):
    collected = [{"fullUrl": URN, "resource": patient()}, {"resource": ck(subject=BY_URN)}, {"resource": sodium()}]
    answer = trial.post(bundle(*collected, type="collection"))
    assert statuses(answer) == ["201", "201", "200"]
    assert trial.revision() == 1
    bad = trial.post(bundle({"resource": ck(number="acc-2")}, {"resource": ck(-1)}, type="collection"))
    assert bad.status_code == 422
    assert trial.revision() == 1


def test_later_messages_refer_to_the_patients_of_an_export(tmp_path):
    """An export has a file of patients and a file of results, and no requests."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrations.upgrade(url)
    database = Database(url)
    study = begin_study(database, "trial")
    lines = [
        b'{"resourceType":"Patient","id":"pat-1","identifier":[{"system":"urn:oid:1.2.3.9","value":"MRN-1"}]}',
        b'{"resourceType":"Observation","id":"o1","status":"final","subject":{"reference":"Patient/pat-1"},'
        b'"code":{"coding":[{"system":"http://loinc.org","code":"2157-6"}]},"effectiveDateTime":"2005-03-16",'
        b'"valueQuantity":{"value":900,"unit":"U/L"}}',
        b'{"resourceType":"Patient","id":"pat-1","identifier":[{"system":"urn:oid:1.2.3.9","value":"MRN-2"}]}',
    ]
    results = []
    for line in lines:
        at = now()
        with database.reading() as connection:
            feed = feed_of(connection, study, SECRET, at)
        results += submit.store_each(database, study, feed, [read_line(line, feed)], client=None, received_at=at)
    assert [each.status for each in results] == ["created", "created", "refused"]
    assert results[1].stored is not None
    assert [lab["value"] for lab in got(database, study, results[1].stored.patient)["labs"]] == [900]
    database.dispose()
