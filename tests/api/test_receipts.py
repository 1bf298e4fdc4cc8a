"""The receipt of a submission: what happened to each fact that was sent."""

import itertools
import random

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from app.store.queries import Query
from app.timeline.receipts import Disposition
from tests.api.fhir_bodies import FHIR, bundle, entry
from tests.api.fhir_bodies import ck as observation
from tests.repetition import repeats

EVENTS = "/v1/studies/trial/patients/{}/events"
CK = {"code": "CK", "time": "2020-01-02T10:00:00+09:00", "value": 500, "unit": "U/L", "upper_limit": 170}


@pytest.fixture(autouse=True)
def study(client: TestClient) -> None:
    client.put("/v1/studies/trial", json={"name": "Trial", "protocol": "seed-2008", "identifiers": "pseudonyms"})
    client.post(EVENTS.format("N1"), json={"patient": {"id": "N1"}})


def sent(client: TestClient, *labs: dict, patient: str = "N1", full: bool = False, **more: object) -> dict:
    document = {"patient": {"id": patient}, "labs": list(labs), **more}
    answer = client.post(EVENTS.format(patient), json=document, params={"receipt": "full"} if full else None)
    assert answer.status_code in {200, 201}, answer.text
    receipt = answer.json()["receipt"]
    assert list(receipt["counts"]) == list(Disposition)
    return receipt


def lines(receipt: dict) -> list[tuple]:
    return [
        (line["place"], line["disposition"], line.get("reason"), [note["code"] for note in line.get("notes", ())])
        for line in receipt["lines"]
    ]


def test_a_fact_that_is_plainly_kept_is_counted_and_not_listed(client):
    receipt = sent(client, CK)
    assert receipt["counts"]["kept"] == 1
    assert receipt["lines"] == []


def test_a_full_receipt_lists_every_fact_at_its_place(client):
    receipt = sent(client, CK, {**CK, "code": "LDH"}, full=True)
    assert lines(receipt) == [("/labs/0", "kept", None, []), ("/labs/1", "kept", None, [])]


def test_a_replay_is_kept_and_a_full_receipt_says_that_it_is_unchanged(client):
    sent(client, CK)
    assert sent(client, CK)["lines"] == []
    assert lines(sent(client, CK, full=True)) == [("/labs/0", "kept", None, ["unchanged"])]


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"upper_limit": None}, ("no_upper_limit", None)),
        ({"upper_limit": 2.5}, ("implausible", "upper_limit")),
        ({"comparator": "<"}, ("bound", None)),
        ({"time": "2020-01-02T10:00:00Z"}, ("utc_day", None)),
        ({"issued": "2020-01-01T00:00:00Z"}, ("implausible", "issued_before_drawn")),
    ],
)
def test_a_kept_result_is_listed_with_its_note(client, change, note):
    [line] = sent(client, {**CK, **change})["lines"]
    assert (line["place"], line["disposition"]) == ("/labs/0", "kept")
    assert [(each["code"], each.get("about")) for each in line["notes"]] == [note]


def test_an_event_of_an_uncertain_day_is_kept_without_its_onset(client):
    events = [{"term": "fever", "onset": onset} for onset in ("2019", "2019-12", "2019-12-03")]
    receipt = sent(client, adverse_events=events)
    note = [{"code": "detail_left_out", "about": "onset"}]
    assert [(line["place"], line["notes"]) for line in receipt["lines"]] == [
        ("/adverse_events/0", note), ("/adverse_events/1", note)]  # fmt: skip
    answer = client.get("/v1/studies/trial/patients/N1")
    assert sorted(event["onset"] for event in answer.json()["adverse_events"]) == ["2019", "2019-12", "2019-12-03"]
    again = client.put(
        "/v1/studies/trial/patients/N1", json=answer.json(), headers={"If-Match": answer.headers["etag"]}
    )
    assert again.json()["status"] == "unchanged"


def test_an_event_of_an_uncertain_day_is_the_same_fact_in_fhir(client):
    sent(client, adverse_events=[{"term": "fever", "onset": "2019-12"}])
    resource = {"resourceType": "AdverseEvent", "actuality": "actual", "subject": {"reference": "Patient/N1"},
                "event": {"text": "fever"}, "date": "2019-12"}  # fmt: skip
    answer = client.post("/fhir/trial/AdverseEvent", json=resource, headers={"Content-Type": "application/fhir+json"})
    assert answer.status_code in {200, 201}, answer.text
    assert len(client.get("/v1/studies/trial/patients/N1").json()["adverse_events"]) == 1


def test_a_value_a_hundred_times_its_neighbours_is_noted(client):
    days = ("2020-01-01", "2020-01-02", "2020-01-03")
    labs = [{**CK, "time": day, "value": value} for day, value in zip(days, (500, 50_000, 499), strict=True)]
    [line] = sent(client, *labs)["lines"]
    assert (line["place"], line["notes"]) == ("/labs/1", [{"code": "implausible", "about": "neighbours"}])


def test_a_correction_names_the_result_that_no_longer_counts(client):
    first = {**CK, "id": "77", "source": "A", "issued": "2020-01-03T00:00:00Z"}
    sent(client, first)
    later = {**first, "value": 600, "status": "corrected", "issued": "2020-01-04T00:00:00Z"}
    [line] = sent(client, later)["lines"]
    assert line["affects"] == [{"section": "labs", "code": "CK", "time": CK["time"], "stands": False}]
    assert line["disposition"] == "kept"


def test_what_is_older_than_the_standing_result_is_not_applied(client):
    first = {**CK, "id": "77", "source": "A", "version": 2}
    sent(client, first)
    assert lines(sent(client, {**first, "version": 1, "value": 1})) == [("/labs/0", "not_applied", "older", [])]
    assert lines(sent(client, {**first, "version": 1, "value": 1})) == [("/labs/0", "not_applied", "stale", [])]


def test_an_earlier_version_in_the_same_document_is_superseded(client):
    first = {**CK, "id": "77", "source": "A", "version": 1}
    receipt = sent(client, first, {**first, "version": 2, "value": 2})
    assert lines(receipt) == [("/labs/0", "not_applied", "superseded", [])]
    assert (receipt["counts"]["kept"], receipt["counts"]["not_applied"]) == (1, 1)


def test_the_place_of_a_repeated_result_is_that_of_its_first_statement(client):
    receipt = sent(client, CK, CK, {**CK, "time": "2020-02-02", "upper_limit": None})
    assert lines(receipt) == [("/labs/2", "kept", None, ["no_upper_limit"])]
    assert receipt["counts"]["kept"] == 3


def test_a_series_has_the_places_of_its_times(client):
    series = {"code": "CK", "unit": "U/L", "times": ["2020-01-01", "2020-01-02"], "values": [1, 2],
              "upper_limits": [170, None]}  # fmt: skip
    receipt = sent(client, lab_series=[series])
    assert lines(receipt) == [("/lab_series/0/times/1", "kept", None, ["no_upper_limit"])]


def test_a_batch_in_which_nothing_is_kept_is_refused_with_the_outcome_of_each_item(client):
    wrong = [{"patient": {"id": "N1"}, "labs": [{**CK, "unit": "mmHg"}]}, {"patient": {"id": "N2"}, "labs": [{}]}]
    answer = client.post("/v1/studies/trial/timelines", json=wrong)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/nothing-kept")
    assert [item["status"] for item in answer.json()["items"]] == ["rejected"] * 2


def test_a_replayed_batch_is_answered_with_200(client):
    batch = [{"patient": {"id": "N1"}, "labs": [CK]}]
    for _ in range(2):
        answer = client.post("/v1/studies/trial/timelines", json=batch)
        assert answer.status_code == 200
        assert answer.json()["items"][0]["receipt"]["counts"]["kept"] == 1


def test_a_patient_without_facts_is_no_loss(client):
    assert client.post("/v1/studies/trial/timelines", json=[{"patient": {"id": "N9"}}]).status_code == 200


def test_a_new_patient_is_noted_in_a_line_that_is_not_counted(client):
    receipt = sent(client, CK, patient="N2")
    assert lines(receipt) == [("/patient", "kept", None, ["new_patient"])]
    assert receipt["counts"]["kept"] == 1


def test_a_product_that_is_not_the_treatment_and_a_drug_that_no_analysis_reads_are_noted(client):
    infusions = [{"time": "2020-01-01", "product": product} for product in ("ivig ", "rituximab")]
    medications = [{"drug": drug, "start": "2020-01-01"} for drug in ("Prednisolone", "methotrexate", "aspirin")]
    receipt = sent(client, infusions=infusions, medications=medications)
    assert lines(receipt) == [
        ("/infusions/1", "kept", None, ["product_is_no_treatment"]),
        ("/medications/2", "kept", None, ["drug_unknown"]),
    ]


def test_what_analyses_cannot_use_of_a_drug_is_noted_and_its_other_names_are_not(client):
    medications = [
        {"drug": drug, "start": "2020-01-01", "dose": dose, "unit": unit}
        for drug, dose, unit in (
            ("MTX", 15, "mg/wk"), ("mPSL", 1, "g/d"), ("プレドニゾロン", 5, "mg/d"), ("Dexamethason", 500, "ug/d"),
            ("CPA", 50, "mg/d"), ("tocilizumab", 8, "mg/kg"), ("methylprednisolone", 1000, "mg"),
            ("prednisone", 0.5, "mg/kg/d"),
        )
    ]  # fmt: skip
    receipt = sent(client, medications=medications)
    assert lines(receipt) == [
        ("/medications/4", "kept", None, ["drug_ambiguous"]),
        ("/medications/5", "kept", None, ["drug_not_read"]),
        ("/medications/6", "kept", None, ["dose_not_daily"]),
    ]
    assert [line["notes"][0].get("about") for line in receipt["lines"]] == [
        "cyclophosphamide or cyproterone acetate", None, "mg",
    ]  # fmt: skip


def test_the_notes_of_a_timeline_that_is_put_are_those_of_one_that_is_added(client):
    document = {"patient": {"id": "N3"}, "infusions": [{"time": "2020-01-01", "product": "rituximab"}]}
    receipt = client.put("/v1/studies/trial/patients/N3", json=document).json()["receipt"]
    assert lines(receipt)[1:] == [("/infusions/0", "kept", None, ["product_is_no_treatment"])]


def test_a_value_a_hundred_times_the_stored_results_before_and_after_is_noted(client):
    sent(client, {**CK, "time": "2020-01-01", "value": 500}, {**CK, "time": "2020-03-01", "value": 400})
    [line] = sent(client, {**CK, "time": "2020-02-01", "value": 50_000})["lines"]
    assert line["notes"] == [{"code": "implausible", "about": "neighbours"}]
    assert sent(client, {**CK, "time": "2020-02-02", "value": 410})["lines"] == []


@pytest.mark.parametrize("stored", [CK["time"], "2020-01-02"])
@pytest.mark.parametrize("time", [CK["time"], "2020-01-02"])
def test_an_equal_result_with_another_number_is_noted_as_a_possible_duplicate(client, stored, time):
    sent(client, {**CK, "id": "1", "source": "A", "time": stored})
    [line] = sent(client, {**CK, "id": "1", "source": "B", "time": time})["lines"]
    assert (line["disposition"], line["notes"]) == ("kept", [{"code": "possible_duplicate"}])


def test_an_equal_value_at_another_time_or_of_another_analyte_is_no_duplicate(client):
    sent(client, {**CK, "id": "1", "source": "A"})
    others = {**CK, "id": "2", "source": "A", "time": "2020-01-02T16:00:00+09:00"}, {**CK, "id": "3", "code": "LDH"}
    assert sent(client, *others)["lines"] == []


def plainly_noted(stored: list[tuple], sent: list[tuple]) -> dict[int, list[str]]:
    """The notes of results, each an hour and a value, beside those that are stored: every pair is looked at."""
    everything = [(hour, -1, value) for hour, value in stored] + [(*s[:1], i, *s[1:]) for i, s in enumerate(sent)]
    ordered = sorted(everything)
    found: dict[int, list[str]] = {}
    for hour, i, value in everything:
        if i < 0:
            continue
        if sum(other[::2] == (hour, value) for other in everything) > 1:
            found.setdefault(i, []).append("possible_duplicate")
        at = ordered.index((hour, i, value))
        beside = [other[2] for other in ordered[max(at - 1, 0) : at] + ordered[at + 1 : at + 2]]
        if beside and all(value >= 100 * other for other in beside):
            found.setdefault(i, []).append("implausible")
    return found


@pytest.mark.parametrize("seed", range(12))
def test_the_notes_about_what_stands_beside_a_result_are_those_of_a_look_at_every_pair(client, seed):
    drawn = random.Random(seed)

    def labs(name: str, results: list[tuple]) -> list[dict]:
        return [
            CK | {"id": f"{name}{i}", "time": f"2020-01-{hour // 6 + 1:02}T{hour % 6 + 10}:00:00+09:00", "value": value}
            for i, (hour, value) in enumerate(results)
        ]

    values = (2, 3, 200, 299) if seed % 2 else (200, 299)
    stored = [(drawn.randrange(60), drawn.choice(values)) for _ in range(30)]
    new = [(drawn.randrange(60), drawn.choice(values)) for _ in range(1 if seed % 3 else 8)]
    sent(client, *labs("s", stored))
    notes = {int(place.split("/")[2]): said for place, _, _, said in lines(sent(client, *labs("n", new)))}
    assert notes == plainly_noted(stored, new)


def test_a_result_is_compared_with_few_of_the_many_that_stand(client, monkeypatch):
    times = [f"2020-01-{day:02}T10:{minute:02}:00+09:00" for day in range(1, 11) for minute in range(60)]
    sent(client, *(CK | {"time": time, "value": 500 + i} for i, time in enumerate(times)))
    read = []
    rows = Query.rows
    monkeypatch.setattr(Query, "rows", lambda *given: [read.append(row) or row for row in rows(*given)])
    assert sent(client, CK | {"time": "2020-01-05T10:30:30+09:00", "value": 900})["lines"] == []
    assert len(read) < 50


def test_a_result_that_stood_before_is_compared_with_none_and_still_stands_beside_others(client):
    times = [f"2020-01-02T10:{minute:02}:00+09:00" for minute in range(60)]
    same = [CK | {"time": "2020-01-02", "id": str(i)} for i in range(300)]
    sent(client, *(CK | {"time": time} for time in times), *same)
    read = 0
    rows = Query.rows

    def counted(*given):
        nonlocal read
        found = rows(*given)
        read += len(found)
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Query, "rows", counted)
        assert sent(client, same[0])["lines"] == []
    assert read < 50
    receipt = sent(client, same[0], {**same[0], "id": "new"})
    assert lines(receipt) == [("/labs/1", "kept", None, ["possible_duplicate"])]


def test_two_equal_results_of_one_document_are_both_noted(client):
    receipt = sent(client, {**CK, "id": "1"}, {**CK, "id": "2"})
    assert lines(receipt) == [(f"/labs/{i}", "kept", None, ["possible_duplicate"]) for i in range(2)]


def test_a_replay_of_a_noted_result_is_unchanged_and_has_no_new_note(client):
    sent(client, {**CK, "id": "1"}, {**CK, "id": "2"})
    assert sent(client, {**CK, "id": "1"}, {**CK, "id": "2"})["lines"] == []


def test_a_correction_beside_the_result_that_it_replaces_affects_no_other_fact(client):
    first = {**CK, "id": "77", "source": "A", "issued": "2020-01-04T00:00:00Z"}
    sent(client, first)
    receipt = sent(client, {**first, "value": 600, "version": 1, "issued": None}, first)
    assert lines(receipt) == [("/labs/1", "not_applied", "stale", [])]
    assert not any("affects" in line for line in receipt["lines"])


def test_a_replay_of_another_draw_takes_no_ambiguous_statement_off_the_worklist(client):
    first = {**CK, "id": "77", "source": "A"}
    second, dated = {**first, "time": "2020-01-02T11:00:00+09:00"}, {**first, "time": "2020-01-02"}
    found = []
    for _ in range(2):
        for lab in (first, second, dated):
            sent(client, lab)
        [item] = client.get("/v1/studies/trial/set-aside").json()["items"]
        found.append((item["item"], item["reason"], client.get("/v1/studies/trial").json()["revision"]))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("status", "reason"), [("final", "ambiguous_date"), ("entered-in-error", "ambiguous_withdrawal")]
)
@pytest.mark.parametrize("beside", [0, 1, 2])
def test_a_statement_that_a_replaced_timeline_sets_aside_leaves_out_no_draw_of_its_number(
    client, status, reason, beside
):
    home = "/v1/studies/trial/patients/N2"
    draws = [CK | {"id": "7", "time": f"2020-01-02T{hour}:00:00+09:00"} for hour in ("10", "12")]
    unclear = CK | {"id": "7", "time": "2020-01-02", "value": 900, "status": status}
    assert client.put(home, json={"patient": {"id": "N2"}, "labs": draws}).status_code == 201
    for stored in (True, False):
        replaced = {"patient": {"id": "N2"}, "labs": [*draws[:beside], unclear]}
        answer = client.put(home, json=replaced, headers={"If-Match": client.get(home).headers["ETag"]})
        assert answer.status_code == 200, answer.text
        receipt = answer.json()["receipt"]
        assert lines(receipt) == [(f"/labs/{beside}", "set_aside", reason, [])]
        assert (receipt["counts"]["kept"], answer.json()["revision"] is not None) == (beside, stored)
        assert [lab["time"] for lab in client.get(home).json()["labs"]] == [draw["time"] for draw in draws]
    assert [item["reason"] for item in client.get("/v1/studies/trial/set-aside").json()["items"]] == [reason]


def many(client: TestClient, *documents: dict, atomic: bool = False) -> list[dict]:
    query = {"atomic": "true"} if atomic else {}
    answer = client.post("/v1/studies/trial/timelines", json=list(documents), params=query)
    assert answer.status_code == 200, answer.text
    return [item["receipt"] for item in answer.json()["items"]]


def of(patient: str, **more: object) -> dict:
    return {"patient": {"id": patient}, "labs": [CK | more]}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    "results",
    [
        [{"id": "1"}, {"id": "2"}],
        [{"id": "1"}, {"id": "2", "time": "2020-01-02"}],
        [{"id": "1", "value": 400}, {"id": "2", "time": "2020-02-02", "value": 50_000}],
        [{"id": "1"}, {"id": "1", "value": 501, "issued": "2020-01-03T00:00:00Z"}, {"id": "2"}],
        [{"id": "1"}, {"id": "1", "value": None, "status": "cancelled"}, {"id": "2"}],
        [{"id": "1"}, {"id": "2", "time": "2020-06-02T10:00:00+09:00"}],
    ],
)
def test_the_items_of_a_batch_have_the_notes_of_separate_posts(client, results, new):
    for patient in ("S", "B") if not new else ():
        sent(client, {**CK, "code": "LDH"}, patient=patient)
    one_by_one = [sent(client, CK | result, patient="S") for result in results]
    assert many(client, *[of("B", **result) for result in results]) == one_by_one


@pytest.mark.parametrize("order", [1, -1])
def test_what_a_later_item_of_an_atomic_submission_replaces_is_superseded(client, order):
    results = [{"id": "1", "value": 100}, {"id": "1", "value": 200, "issued": "2020-01-03T00:00:00Z"}][::order]
    receipts = many(client, *[of("N2", **result) for result in results], atomic=True)[::order]
    assert [(receipt["counts"]["kept"], receipt["counts"]["not_applied"]) for receipt in receipts] == [(0, 1), (1, 0)]
    assert lines(receipts[0])[-1] == ("/labs/0", "not_applied", "superseded", [])
    assert not any(line.get("affects") for receipt in receipts for line in receipt["lines"])


def test_the_same_statement_in_two_items_of_an_atomic_submission_is_kept_once_and_noted(client):
    first, second = many(client, of("N1", id="1"), of("N1", id="1"), atomic=True)
    assert (first["counts"]["kept"], first["lines"]) == (1, [])
    assert [line[3] for line in lines(second)] == [["repeated"]]


MORNING, NOON = "2020-01-02T09:00:00+09:00", "2020-01-02T12:00:00+09:00"
ISSUES = (None, "2020-01-03T00:00:00Z", "2020-01-04T00:00:00Z")
STATED = st.tuples(
    st.sampled_from([MORNING, NOON, "2020-01-02"]),
    st.sampled_from(["preliminary", "final", "amended", "corrected", "entered-in-error"]),
    st.sampled_from(ISSUES),
    st.integers(100, 102),
    st.sampled_from(["1", "2"]),
)


def as_result(stated: tuple) -> dict:
    time, status, issued, value, number = stated
    gone = status == "entered-in-error"
    return CK | {"time": time, "status": status, "value": None if gone else value, "id": number} | (
        {"issued": issued} if issued else {}
    )  # fmt: skip


def as_resource(stated: tuple, patient: str) -> dict:
    time, status, issued, value, number = stated
    more = {"status": status, "effectiveDateTime": time, "subject": {"reference": f"Patient/{patient}"}}
    return observation(value, number, **more, **({"issued": issued} if issued else {}))


def kept_of(extended: dict) -> int:
    return next(each["valueInteger"] for each in extended["extension"][0]["extension"] if each["url"] == "kept")


def kept_together(client: TestClient, patient: str, every: list[tuple], *, fhir: bool) -> list[bool] | None:
    """Whether each statement of one submission is kept; `None` if they contradict each other."""
    if not fhir:
        documents = [{"patient": {"id": patient}, "labs": [as_result(each)]} for each in every]
        answer = client.post("/v1/studies/trial/timelines?atomic=true", json=documents)
        if answer.status_code == 200:
            receipts = [item["receipt"] for item in answer.json()["items"]]
            assert not any("affects" in line for receipt in receipts for line in receipt["lines"])
            return [receipt["counts"]["kept"] == 1 for receipt in receipts]
    else:
        resources = [entry(as_resource(each, patient)) for each in every]
        body = bundle({**entry({"resourceType": "Patient", "id": patient}, "PUT", f"Patient/{patient}")}, *resources)
        answer = client.post("/fhir/trial?receipt=full", json=body, headers=FHIR)
        if answer.status_code == 200:
            outcomes = [each["response"]["outcome"] for each in answer.json()["entry"][1:]]
            return [kept_of(outcome) == 1 for outcome in outcomes]
    assert answer.status_code == 422, answer.text
    assert "conflicting_duplicate" in answer.text
    return None


@pytest.mark.parametrize("fhir", [True, False])
def test_what_an_atomic_submission_says_is_kept_is_what_stands(client, fhir):
    numbers = itertools.count()

    @settings(max_examples=repeats(25, thorough=500), deadline=None)
    @given(st.lists(STATED, min_size=2, max_size=5, unique_by=lambda each: each[1:] if "error" in each[1] else each))
    def holds(every):
        patient = f"A{next(numbers)}"
        kept = kept_together(client, patient, every, fhir=fhir)
        if kept is not None:
            labs = client.get(f"/v1/studies/trial/patients/{patient}").json().get("labs", [])
            standing = [each for each, stands in zip(every, kept, strict=True) if stands and "error" not in each[1]]
            assert sorted((lab["time"], lab["status"], lab["value"]) for lab in labs) == sorted(
                (time, status, value) for time, status, _, value, _ in standing
            )

    holds()
