"""Questions and answers, now and as they were."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from urllib.parse import quote

import pytest

from app import SOFTWARE
from app.access import fair_queue
from app.access.callers import Scope
from app.access.computing import ThreadWorkers
from app.analyses import QUESTIONS, REPORTED
from app.api import analyses
from app.http import answers
from app.http.state import Answers
from app.protocol.presets import RELATIVE_20, SEED_2008
from tests.api.examples import JSON, codes, events, fill, lab, make_study, timeline
from tests.store.posts import post


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The questions that were computed."""
    computed, compute = [], analyses.answer_bytes

    def counting(name, *more):
        computed.append(name)
        return compute(name, *more)

    monkeypatch.setattr(analyses, "answer_bytes", counting)
    return computed


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_answered_with_what_it_was_computed_from(anywhere, name):
    home = fill(anywhere, 4)
    answer = anywhere.get(f"{home}/analyses/{name}")
    assert answer.status_code == 200
    body = answer.json()
    assert list(body)[:5] == ["analysis", "study", "revision", "as_of", "provenance"]
    assert (body["analysis"], body["study"], body["populations"]["all"]) == (name, "trial", 4)
    assert body["revision"] == anywhere.get(home).json()["revision"]
    assert body["as_of"] == anywhere.get(home).json()["received_at"]
    assert body["provenance"]["protocol"] == SEED_2008.digest
    assert body["provenance"]["protocol_changed_after_first_outcome"] is False
    assert body["provenance"]["software"] == SOFTWARE
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", [*QUESTIONS, None])
def test_an_empty_study_is_answered_with_nulls_and_not_refused(anywhere, name):
    home = make_study(anywhere)
    answer = anywhere.get(f"{home}/analyses/{name}" if name else f"{home}/analyses")
    assert answer.status_code == 200
    assert answer.json()["populations"] == {"all": 0, "safety": 0, "efficacy": 0}


@pytest.mark.parametrize("preset", ["seed-2008", "acr-eular-2016-adult"])
def test_numbers_that_nobody_can_measure_are_answered_and_not_stumbled_over(client, preset):
    """A weight of 1e-101 kg and upper limits of 1e-300 U/L are accepted; what comes of them may be null."""
    client.put("/v1/studies/trial", json={"name": "T", "protocol": preset})
    labs = [lab(day, value) | {"upper_limit": 1e-300} for day, value in ((-7, 1e7), (28, 1.0), (56, 5e-324))]
    infusions = [{"time": "2005-04-11", "product": "IVIG", "dose": 5, "unit": "g"}]
    document = {"patient": {"id": "A", "weight_kg": 1e-101}, "labs": labs, "infusions": infusions}
    assert client.post("/v1/studies/trial/patients/A/events", json=document).status_code == 201

    for name in ("", *(f"/{name}" for name in QUESTIONS)):
        assert client.get(f"/v1/studies/trial/analyses{name}?patients=true").status_code == 200, name


def test_the_whole_report_holds_the_answers_that_a_trial_reports(anywhere):
    home = fill(anywhere, 3)
    report = anywhere.get(f"{home}/analyses").json()
    assert list(report["analyses"]) == [question.name for question in REPORTED]
    assert report["flow"][0] == {"step": "all", "of": None, "n": 3, "reasons": []}
    single = anywhere.get(f"{home}/analyses/response-rates").json()
    assert report["analyses"]["response-rates"]["results"] == single["results"]
    assert report["provenance"] == single["provenance"]


def test_the_same_question_has_the_same_bytes_and_is_computed_once(anywhere, counted):
    home = fill(anywhere, 2)
    first = anywhere.get(f"{home}/analyses/ck-change")
    second = anywhere.get(f"{home}/analyses/ck-change")
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    assert counted == ["ck-change"]


def test_a_client_that_has_the_answer_gets_304_before_anything_is_computed(serve, migrated_url, counted):
    client = serve(migrated_url, cache_answers=0)
    home = fill(client, 2)
    address = f"{home}/analyses/ck-change"
    tag = client.get(address).headers["etag"]
    assert not tag.startswith("W/")
    counted.clear()
    kept = client.get(address, headers={"If-None-Match": tag})
    assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", tag)
    assert kept.headers["cache-control"] == "no-store"
    assert counted == []
    assert client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200
    assert counted == ["ck-change"]


@pytest.mark.parametrize("listed", ["", "?patients=true"])
def test_an_answer_its_etag_and_its_row_of_the_audit_are_of_the_revision_that_was_read(client, monkeypatch, listed):
    """A result comes after the question was asked and before it is computed: the answer has it, or its revision has
    it not.
    """
    home = fill(client, 2)
    look = answers._version

    def then_a_result_comes(database, question):
        found = look(database, question)
        Context().run(post, database, "trial", timeline("P09"))  # not as a part of the request
        return found

    with monkeypatch.context() as patched:
        patched.setattr(answers, "_version", then_a_result_comes)
        first = client.get(f"{home}/analyses/response-rates{listed}")
    read = first.json()["revision"]
    assert first.json()["populations"]["all"] == (2 if listed else 3)
    again = client.get(f"{home}/analyses/response-rates{listed or '?'}&revision={read}")
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    rows: list[list[int]] = []
    deadline = time.monotonic() + 30
    while len(rows) < 2 and time.monotonic() < deadline:
        items = client.get("/v1/audit?study=trial&limit=500").json()["items"]
        rows = [row["revisions"] for row in items if row["operation"] == "getResponseRates"]
    assert rows == [[read], [read]]


_ALONE = tuple(f"?patients=true&patient={name}" for name in ("P00", "P01"))


def test_what_changes_the_answer_changes_its_etag(client):
    home = fill(client, 2)
    address = f"{home}/analyses/response-rates"
    tags = [
        client.get(address + query).headers["etag"]
        for query in ("", "?level=0.9", "?by=sex", "?proportion=wilson", "?patients=true", *_ALONE)
    ]
    tags.append(client.get(f"{home}/analyses/ck-change").headers["etag"])
    tags.append(client.post(address, json={"protocol": "relative-20"}).headers["etag"])
    revision = client.get(home).json()["revision"]
    assert client.get(f"{address}?revision={revision}").headers["etag"] == tags[0]
    client.post(f"{home}/patients/P00/events", json=events("P00", lab(3, 700)))
    tags.append(client.get(address).headers["etag"])
    assert len(set(tags)) == len(tags)
    other = fill(client, 2, "other")
    assert client.get(f"{other}/analyses/response-rates").headers["etag"] not in tags


_LISTS = frozenset({"patients", "courses_listed", "most_influential", "collect"})


def without_lists(found, patient=None):
    """An answer without what it lists of patients; or with the lists of one patient."""
    if isinstance(found, list):
        return [without_lists(each, patient) for each in found]
    if not isinstance(found, dict):
        return found
    shown = {name: without_lists(each, patient) for name, each in found.items() if not _is_list(name, each)}
    if patient is not None:
        lists = {name: _of_one(each, patient) for name, each in found.items() if _is_list(name, each)}
        shown |= {name: each for name, each in lists.items() if each is not None}
    return shown


def _is_list(name, value):
    return name in _LISTS and not isinstance(value, int)


def _of_one(listed, patient):
    if isinstance(listed, list):
        return [each for each in listed if each["patient"] == patient]
    return listed if listed == patient else None


@pytest.mark.parametrize("name", QUESTIONS)
def test_one_patient_alone_is_listed_beside_the_figures_of_all(client, name):
    home = make_study(client, protocol="acr-eular-2016-adult" if "improvement" in name else "seed-2008")
    for number in range(3):
        document = timeline(f"P{number:02}", ck=900 + 50 * number)
        assert client.put(f"{home}/patients/P{number:02}", json=document).status_code == 201
    address = f"{home}/analyses/{name}"
    everybody = client.get(f"{address}?patients=true").json()
    alone = client.get(f"{address}?patients=true&patient=P01")
    assert alone.status_code == 200
    assert "P00" not in alone.text
    assert "P02" not in alone.text
    assert without_lists(alone.json()) == without_lists(everybody)
    assert alone.json() == without_lists(everybody, "P01")


def test_one_patient_alone_is_listed_only_if_patients_are_and_the_study_has_it(anywhere):
    home = fill(anywhere, 2)
    anywhere.delete(f"{home}/patients/P01?erase=true")
    address = f"{home}/analyses/response-rates"
    for path in (address, f"{home}/analyses"):
        refused = anywhere.get(f"{path}?patient=P00")
        assert (refused.status_code, codes(refused)) == (422, [("/query/patient", "contradiction")])
        assert anywhere.get(f"{path}?patients=true&patient=P09").status_code == 404
        assert anywhere.get(f"{path}?patients=true&patient=P01").status_code == 410
        assert "P00" in anywhere.get(f"{path}?patients=true&patient=P00").text
    body = {"protocol": "relative-20"}
    assert anywhere.post(f"{address}?patient=P00", json=body).status_code == 422
    assert anywhere.post(f"{address}?patients=true&patient=P09", json=body).status_code == 404


def test_one_patient_alone_needs_the_scope_of_patients(scoped):
    client, with_scopes = scoped
    address = f"{fill(client, 2)}/analyses/response-rates?patients=true&patient=P00"
    assert with_scopes([Scope.ANALYSE]).get(address).status_code == 403
    assert with_scopes([Scope.ANALYSE, Scope.READ_PATIENTS]).get(address).status_code == 200


@pytest.mark.slow
def test_answers_are_given_again_byte_for_byte_after_a_correction(anywhere):
    home = fill(anywhere, 3)
    addresses = [f"{home}/analyses"] + [f"{home}/analyses/{name}" for name in QUESTIONS]
    before = {address: anywhere.get(address) for address in addresses}
    then = anywhere.get(home).json()
    time.sleep(0.002)
    anywhere.post(f"{home}/patients/P00/events", json=events("P00", lab(7, 5000)))
    anywhere.put(f"{home}/protocol", json=RELATIVE_20.model_dump(mode="json"))
    for address, old in before.items():
        assert anywhere.get(address).content != old.content
        for query in (f"revision={then['revision']}", f"as_of={then['received_at']}"):
            again = anywhere.get(f"{address}?{query}")
            assert again.content == old.content
            assert again.headers["etag"] == old.headers["etag"]
    assert anywhere.get(addresses[1]).json()["provenance"]["protocol_changed_after_first_outcome"] is True


def test_as_of_is_an_instant_with_an_offset_that_has_passed(client):
    home = fill(client, 2)
    address = f"{home}/analyses/ck-change"
    received = client.get(home).json()["received_at"]
    for written in (
        received,
        received.replace("Z", "+00:00"),
        received.replace("Z", "%2B00:00"),
        received.replace("Z", "-00:00"),
    ):
        assert client.get(f"{address}?as_of={written}").json()["populations"]["all"] == 2
    for written, code in (
        ("2999-01-01T00:00:00Z", "future_time"),
        ("2026-01-01", "no_offset"),
        ("2026-01-01T00:00:00", "no_offset"),
        ("20260101", "bad_time"),
        ("1767225600", "bad_time"),
        ("2026-02-30T00:00:00Z", "bad_time"),
        ("now", "bad_time"),
        ("", "bad_time"),
    ):
        answer = client.get(f"{address}?as_of={quote(written)}")
        assert answer.status_code == 422
        assert codes(answer) == [("/query/as_of", code)]
    assert client.get(f"{address}?as_of=1999-01-01T00:00:00Z").status_code == 404


def test_options_are_refused_where_they_make_no_sense(client):
    home = fill(client, 1)
    for query, code in (
        ("level=95", "out_of_range"),
        ("level=0.3", "out_of_range"),
        ("level=1", "out_of_range"),
        ("level=nan", "not_finite"),
        ("level=inf", "not_finite"),
        ("level=high", "wrong_type"),
        ("by=age", "unknown_value"),
        ("median=mean", "unknown_value"),
        ("patients=maybe", "wrong_type"),
        ("patients=1", "wrong_type"),
        ("patients=True", "wrong_type"),
    ):
        answer = client.get(f"{home}/analyses/response-rates?{query}")
        assert (answer.status_code, codes(answer)) == (422, [(f"/query/{query.split('=')[0]}", code)])


def test_the_level_and_the_conventions_can_be_chosen(client):
    home = fill(client, 4)
    body = client.get(f"{home}/analyses/response-rates?level=0.9&proportion=jeffreys").json()
    assert (body["level"], body["conventions"]["proportion"]) == (0.9, "jeffreys")
    assert {each["level"] for result in body["results"] for each in result["intervals"]} == {0.9}
    groups = client.get(f"{home}/analyses/response-rates?by=sex").json()
    assert {result["group"]["sex"] for result in groups["results"]} == {"female", "male"}


def test_another_protocol_can_be_tried_and_is_not_kept(anywhere):
    home = fill(anywhere, 3)
    before = anywhere.get(home).json()
    address = f"{home}/analyses/response-rates"
    for protocol in ("relative-20", RELATIVE_20.model_dump(mode="json")):
        tried = anywhere.post(address, json={"protocol": protocol})
        assert tried.status_code == 200
        provenance = tried.json()["provenance"]
        assert provenance["protocol_id"] == "relative-20"
        assert provenance["protocol_changed_after_first_outcome"] is True
    same = anywhere.post(address, json={"protocol": "seed-2008"})
    assert same.json() == anywhere.get(address).json()
    assert anywhere.get(home).json() == before
    assert codes(anywhere.post(address, json={"protocol": "x"})) == [("/protocol", "unknown_value")]
    assert codes(anywhere.post(address, json={})) == [("/protocol", "missing")]


def test_a_cohort_that_is_not_stored_is_answered_like_a_stored_one(anywhere):
    home = fill(anywhere, 3)
    timelines = [timeline(f"P{n:02}", ck=900 + 50 * n, sex="female" if n % 2 else "male") for n in range(3)]
    asked = anywhere.post("/v1/analyses", json={"protocol": "seed-2008", "timelines": timelines})
    assert asked.status_code == 200
    unstored, stored = asked.json(), anywhere.get(f"{home}/analyses").json()
    assert (unstored["study"], unstored["revision"], unstored["as_of"]) == (None, None, None)
    assert unstored["provenance"] == {**stored["provenance"], "protocol_changed_after_first_outcome": None}
    assert unstored["analyses"] == stored["analyses"]
    assert anywhere.get("/v1/studies").json()["items"][1:] == []


def test_faults_of_an_unstored_cohort_are_reported_for_all_timelines(client):
    wrong = [timeline("P1"), {"patient": {"id": "P2"}, "labs": [{**lab(0, 5), "unit": "mg"}]}, timeline("P1")]
    answer = client.post("/v1/analyses", json={"protocol": "seed-2008", "timelines": wrong})
    assert codes(answer) == [
        ("/timelines/1/labs/0/unit", "unknown_unit"),
        ("/timelines/2/patient/id", "conflicting_duplicate"),
    ]
    zone = client.post("/v1/analyses", json={"protocol": "seed-2008", "timelines": [], "time_zone": "Mars/Base"})
    assert codes(zone) == [("/time_zone", "unknown_value")]
    assert client.post("/v1/analyses", content=b"", headers=JSON).status_code == 400


def test_answers_of_a_study_are_forgotten_when_a_person_is_erased(client, counted):
    home = fill(client, 3)
    first = client.get(home).json()["revision"] - 2
    client.get(f"{home}/analyses/ck-change?revision={first}")
    client.delete(f"{home}/patients/P02?erase=true")
    client.get(f"{home}/analyses/ck-change?revision={first}")
    assert counted == ["ck-change", "ck-change"]


def test_an_answer_that_was_computed_while_somebody_was_erased_is_not_kept():
    answers = Answers(4, 100)
    before = answers.erasures("trial")
    answers.drop("trial")
    answers.keep("trial", "late", b"...", before)
    assert answers.get("late") is None
    answers.keep("trial", "fresh", b"...", answers.erasures("trial"))
    assert answers.get("fresh") == b"..."


def test_answers_about_an_erased_person_leave_the_memory_of_other_processes(serve, sqlite_url):
    """They are never sent: the revision that a request reads decides which answer it gets."""
    here, there = serve(sqlite_url), serve(sqlite_url)
    home = fill(here, 2)
    kept = there.app_state["app_state"].answers
    address = f"{home}/analyses/response-rates?patients=true"
    assert "P01" in there.get(address).text
    assert kept.size > 0
    assert here.delete(f"{home}/patients/P01?erase=true").status_code == 204
    assert "P01" not in there.get(f"{home}/analyses/response-rates").text
    until = time.monotonic() + 10
    while b"P01" in b"".join(answer for _, answer in list(kept._kept.values())) and time.monotonic() < until:
        time.sleep(0.05)
    assert time.monotonic() < until


def test_the_answers_kept_are_the_latest_asked_for():
    answers = Answers(2, 100)
    for key in ("a", "b"):
        answers.keep("trial", key, key.encode(), 0)
    assert answers.get("a") == b"a"
    answers.keep("trial", "c", b"c", 0)
    assert [answers.get(key) for key in ("a", "b", "c")] == [b"a", None, b"c"]


def test_an_answer_that_lists_every_patient_of_a_large_study_is_not_kept():
    answers = Answers(2, 10 * Answers.LARGEST)
    answers.keep("trial", "most", b"." * Answers.LARGEST, 0)
    answers.keep("trial", "more", b"." * (Answers.LARGEST + 1), 0)

    assert answers.get("most") is not None
    assert answers.get("more") is None


def test_the_answers_kept_have_no_more_bytes_together_than_is_allowed():
    answers = Answers(9, 10)
    for key, size in (("a", 4), ("b", 6)):
        answers.keep("trial", key, b"." * size, 0)
    assert [answers.get(key) is None for key in ("b", "a")] == [False, False]
    answers.keep("trial", "c", b"." * 5, 0)
    assert [answers.get(key) is None for key in ("a", "b", "c")] == [False, True, False]
    answers.keep("trial", "d", b"." * 11, 0)
    assert [answers.get(key) is None for key in ("a", "c", "d")] == [False, False, True]


def test_everything_else_is_answered_while_questions_wait_for_their_turn(client, monkeypatch):
    """One client on one study gets all places but one; as many questions as may wait do; the next is refused."""
    home = fill(client, 2)
    served, go_on = threading.Semaphore(0), threading.Event()
    compute = analyses.answer_bytes

    def slow(name, *more):
        served.release()
        go_on.wait(30)
        return compute(name, *more)

    monkeypatch.setattr(analyses, "answer_bytes", slow)
    monkeypatch.setattr(fair_queue, "MOST_WAITING", 3)
    seeds = iter(range(100))

    def ask():
        return client.get(f"{home}/analyses/ck-normal-interval?resamples=0&seed={next(seeds)}").status_code

    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask) for _ in range(ThreadWorkers.places - 1)]
        for _ in asked:
            assert served.acquire(timeout=30)
        waiting = [pool.submit(ask) for _ in range(3)]
        queue = client.app_state["app_state"].computing.queue
        deadline = time.monotonic() + 30
        while queue.waiting() < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        refused = client.get(f"{home}/analyses/ck-change")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get("/readyz").status_code == 200
        assert client.get(f"{home}/patients").status_code == 200
        assert not any(each.done() for each in (*asked, *waiting))
        go_on.set()
        assert [each.result(30) for each in (*asked, *waiting)] == [200] * (ThreadWorkers.places + 2)


def test_the_service_answers_others_while_an_analysis_is_computed(client, monkeypatch):
    """An analysis runs in a thread of its own: the loop that serves everybody is never held."""
    home = fill(client, 1)
    compute = analyses.answer_bytes

    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments):
        begun.set()
        assert go_on.wait(30)
        return compute(*arguments)

    monkeypatch.setattr(analyses, "answer_bytes", slow)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.get, f"{home}/analyses/ck-change")
        assert begun.wait(30)
        assert client.get("/livez").status_code == 200
        assert not answer.done()
        go_on.set()
        assert answer.result().status_code == 200
