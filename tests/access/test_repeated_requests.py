"""A request that is sent again gets the answer of before from memory, and every promise about answers holds for it."""

import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.access.callers import Scope
from app.http import authentication
from app.http import repeated as repeated_requests
from app.http.repeated import Repetition
from app.store import request_counts
from app.store.audit_trail import AuditTrail
from app.store.changes import DatabaseChanges
from app.store.engine import Database
from app.store.request_counts import Counted
from app.timeline.times import microseconds
from tests.access.conftest import now

ROOT = Path(__file__).parents[2]
HOME = "/v1/studies/trial"
QUESTION = f"{HOME}/analyses/response-rates"
PATIENTS = f"{QUESTION}?patients=true"
PAGE, PAGE_OF_FIGURES, OVERVIEW = f"{QUESTION}.html?patients=true", f"{QUESTION}.html", f"{HOME}.html"
OF_EACH = {"x-request-id", "ratelimit"}


@pytest.fixture
def repeated(monkeypatch):
    """Whether each request was answered from memory, in their order."""
    seen, before = [], Repetition.before

    async def spied(self):
        known = await before(self)
        seen.append(known is not None)
        return known

    monkeypatch.setattr(Repetition, "before", spied)
    return seen


@pytest.fixture
def again(repeated):
    """Ask until the answer comes from memory: rows of the audit are commits too, and then it is asked anew."""

    def ask(client, address, **headers):
        for _ in range(100):
            answer = client.get(address, headers=headers)
            if repeated[-1]:
                return answer
        raise AssertionError("no answer came from memory")

    return ask


def fill(client, patient="P01", value=900):
    client.put(HOME, json={"name": "trial", "protocol": "seed-2008"})
    timeline = {
        "patient": {"id": patient, "diagnosis": "polymyositis"},
        "labs": [
            {"code": "CK", "time": day, "value": value, "unit": "U/L", "upper_limit": 200}
            for day in ("2005-03-14", "2005-04-11", "2005-05-09")
        ],
        "infusions": [{"time": "2005-04-11", "product": "IVIG"}],
    }
    assert client.post(f"{HOME}/patients/{patient}/events", json=timeline).status_code < 300


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("address", ["/livez", QUESTION, PATIENTS, f"{QUESTION}?revision=1", PAGE, OVERVIEW])
def test_an_answer_from_memory_has_the_bytes_and_headers_of_the_one_before(service, again, address, coding):
    client = service.client()
    fill(client)
    plain = client.get(address, headers={"accept-encoding": coding})
    same = again(client, address, **{"accept-encoding": coding})
    assert (same.status_code, same.content) == (plain.status_code, plain.content)
    assert {name for name in same.headers if same.headers[name] != plain.headers[name]} <= OF_EACH
    assert list(same.headers) == list(plain.headers)
    assert same.headers["x-request-id"] != plain.headers["x-request-id"]


def test_a_304_from_memory_is_the_304_of_before(service, again):
    client = service.client()
    fill(client)
    tag = client.get(QUESTION).headers["etag"]
    plain = client.get(QUESTION, headers={"if-none-match": tag})
    same = again(client, QUESTION, **{"if-none-match": tag})
    assert (plain.status_code, same.status_code, same.content) == (304, 304, b"")
    assert same.headers["etag"] == tag


def test_what_another_process_stores_is_on_the_next_page(start, migrated_url, again):
    here, there = (start(migrated_url) for _ in range(2))
    key = here.key()
    fill(here.with_key(key))
    before = again(here.with_key(key), PAGE)
    for number in range(2, 5):
        assert f"P0{number}" not in before.text
        fill(there.with_key(key), f"P0{number}", 900 - number)
        after = here.with_key(key).get(PAGE)
        assert f"P0{number}" in after.text
        before = again(here.with_key(key), PAGE)
        assert before.content == after.content


def test_what_another_process_stores_is_in_the_next_answer(start, migrated_url, again):
    here, there = (start(migrated_url) for _ in range(2))
    key = here.key()
    fill(here.with_key(key))
    before = again(here.with_key(key), QUESTION)
    for number in range(2, 6):
        fill(there.with_key(key), f"P0{number}", 900 - number)
        after = here.with_key(key).get(QUESTION)
        assert after.json()["revision"] > before.json()["revision"]
        before = again(here.with_key(key), QUESTION)
        assert before.content == after.content


def test_a_key_that_another_process_revokes_is_refused_at_once(start, migrated_url, again, tmp_path, monkeypatch):
    service = start(migrated_url)
    key = service.key()
    client = service.with_key(key)
    fill(client)
    for address in (QUESTION, OVERVIEW, "/livez"):
        again(client, address)
    monkeypatch.setenv("MYORESPONSE_DATABASE_URL", migrated_url)
    command = [sys.executable, "-m", "app", "keys", "revoke", key.split("_")[1]]
    subprocess.run(command, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert [client.get(address).status_code for address in (QUESTION, OVERVIEW, "/livez")] == [401] * 3


def test_a_key_ends_in_memory_when_it_ends(service, again, monkeypatch):
    ends = datetime.now(UTC) + timedelta(hours=1)
    client = service.with_key(service.key(expires_at=microseconds(ends)))
    fill(client)

    def at(instant):
        monkeypatch.setattr(authentication, "datetime", SimpleNamespace(now=lambda zone: instant))
        monkeypatch.setattr(repeated_requests, "time", SimpleNamespace(time_ns=lambda: microseconds(instant) * 1_000))

    at(ends - timedelta(microseconds=1))
    assert again(client, "/livez").status_code == 200
    at(ends)
    assert client.get("/livez").status_code == 401


def test_each_answer_from_memory_has_its_row_in_the_audit(service, again, repeated):
    client, admin = service.client(), service.client()
    fill(client)
    again(client, PATIENTS)
    asked = len(repeated)
    rows = listed(admin, asked)
    assert len(rows) == asked
    assert {row["extent"] for row in rows} == {"everyone"}
    assert len({row["request"] for row in rows}) == asked


def test_a_page_from_memory_has_the_rows_of_all_that_it_shows(service, again, repeated):
    client, admin = service.client(), service.client()
    fill(client)
    client.get(PAGE)
    once = listed(admin, 1)
    assert {row["extent"] for row in once} == {"everyone"}
    before = len(repeated)
    again(client, PAGE)
    pages = 1 + len(repeated) - before
    each = Counter(row["request"] for row in listed(admin, len(once) * pages))
    assert (len(each), set(each.values())) == (pages, {len(once)})


def listed(client, wanted):
    """The rows of the question, when there are so many."""
    until = time.monotonic() + 20
    while True:
        items = client.get("/v1/audit?study=trial&limit=500").json()["items"]
        rows = [row for row in items if row["operation"] == "getResponseRates"]
        if len(rows) >= wanted or time.monotonic() > until:
            return rows
        time.sleep(0.05)


@pytest.mark.parametrize(("address", "status"), [(PATIENTS, 503), (QUESTION, 200), (PAGE, 503)])
def test_patients_are_not_shown_from_memory_without_a_row(service, again, monkeypatch, address, status):
    client = service.client()
    fill(client)
    again(client, address)

    def full(self, entry):
        lost = Future()
        lost.set_exception(OSError("the disk is full"))
        return lost

    monkeypatch.setattr(AuditTrail, "add", full)
    assert client.get(address).status_code == status


@pytest.mark.usefixtures("in_the_middle_of_an_hour")
def test_answers_from_memory_are_counted_by_the_rate(start, url, again, repeated):
    service = start(url, rate="30/hour")
    fill(service.client())
    client = service.client([Scope.ANALYSE])
    before = len(repeated)
    again(client, PAGE_OF_FIGURES)
    left = int(again(client, QUESTION).headers["ratelimit"].split("r=")[1].split(";")[0])
    assert left == 30 - (len(repeated) - before)
    statuses = [client.get([QUESTION, PAGE_OF_FIGURES][number % 2]).status_code for number in range(left)]
    assert statuses == [200] * left
    assert [client.get(address).status_code for address in (QUESTION, PAGE_OF_FIGURES)] == [429, 429]


def test_an_answer_from_memory_is_for_the_right_of_its_own_key_only(service, again):
    client = service.client()
    fill(client)
    for address in (PATIENTS, PAGE):
        again(client, address)
        assert service.client([Scope.ANALYSE]).get(address).status_code == 403
        assert service.client(studies=["other"]).get(address).status_code == 404
        assert service.stranger.get(address).status_code == 401


def test_what_is_kept_of_an_erased_person_leaves_the_memory_of_all_processes(start, migrated_url, again):
    here, there = (start(migrated_url) for _ in range(2))
    key = here.key()
    client = here.with_key(key)
    fill(client)
    fill(client, "P02")
    answers = here.stranger.app_state["app_state"].answers
    for address in (QUESTION, f"{QUESTION}.html"):
        assert b"P02" in again(client, f"{address}?patients=true&patient=P02").content
        assert address.encode() in kept(answers)
    assert b"P02" in kept(answers)
    assert there.with_key(key).delete(f"{HOME}/patients/P02?erase=true").status_code == 204
    until = time.monotonic() + 10
    while b"P02" in kept(answers) and time.monotonic() < until:
        time.sleep(0.05)
    assert b"P02" not in kept(answers)


def kept(answers):
    return repr(list(answers._repeated.items())).encode()


def test_a_session_is_looked_at_each_time(service, repeated):
    client = service.client()
    fill(client)
    cookie = client.post("/v1/session").headers["set-cookie"].split(";")[0]
    for address in [QUESTION, OVERVIEW] * 5:
        assert service.stranger.get(address, headers={"cookie": cookie}).status_code == 200
    assert not any(repeated)
    assert "cookie" not in kept(service.stranger.app_state["app_state"].answers).decode()


def test_the_bytes_of_an_answer_are_kept_when_the_same_is_sent_again(service):
    client = service.client()
    fill(client)
    answers = service.stranger.app_state["app_state"].answers
    for is_kept in (False, False, True):  # computed, sent, and sent again
        client.get(PATIENTS, headers={"accept-encoding": "identity"})
        assert (b"P01" in kept(answers)) == is_kept


def test_two_looks_at_a_database_are_equal_unless_somebody_has_committed(migrated_url):
    here, there = Database(migrated_url), Database(migrated_url)
    changes = DatabaseChanges(here)
    first = changes.mark()
    assert first is not None
    assert changes.mark() == first
    with there.reading() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM studies").scalar_one()
    assert changes.mark() == first
    for writer in (there, here):
        before = changes.mark()
        with writer.writing() as connection:
            request_counts.add(connection, {"client": Counted(1, now())}, 0)
        assert changes.mark() != before
    changes.close()
    assert changes.mark() != before
    changes.close()
    for database in (here, there):
        database.dispose()


def test_a_database_that_cannot_be_asked_has_no_mark(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    (tmp_path / "x.db").unlink()
    (tmp_path / "x.db").mkdir()
    assert DatabaseChanges(database).mark() is None
    database.dispose()
