"""What a person or a program may send to the pages to do harm: each is refused, and the service goes on."""

import threading
import time
from asyncio import run
from types import SimpleNamespace

import pytest

from app.access import computing
from app.access.computing import ThreadWorkers
from app.access.kept_cohorts import KeptCohorts
from app.access.work import Workplace
from app.pages import intake_forms, report_routes, try_protocol
from app.store.audit_trail import AuditTrail
from tests.api.examples import fill
from tests.pages.test_representations import BROWSER
from tests.pages.test_sign_in import stranger

ADDRESSES = (
    "/v1/studies/trial%2Fprotocol.html", "/v1/studies/trial%2Fprotocol", "/v1/studies/%74rial.html",
    "/v1/studies/trial%2Ehtml", "/v1/studies/x/%2E%2E/trial.html",
)  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_has_one_address_as_its_document_has(client, address):
    fill(client, 1)
    answer = client.get(address, headers=BROWSER)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/ambiguous-address")


@pytest.mark.parametrize("suffix", ["pdf", "md"])
def test_a_browser_that_follows_a_link_to_the_report_gets_it(client, suffix, monkeypatch):
    monkeypatch.setattr(report_routes, "printed", lambda page, *_: page.encode())  # printing takes seconds
    client.put("/v1/studies/empty", json={"name": "Empty", "protocol": "seed-2008"})
    path = f"/v1/studies/empty/report.{suffix}"
    program, browser = client.get(path), client.get(path, headers=BROWSER)
    assert (browser.status_code, browser.headers["content-type"]) == (200, program.headers["content-type"])
    assert browser.content == program.content
    assert client.get(f"/v1/studies/none/report.{suffix}", headers=BROWSER).status_code == 404


@pytest.mark.parametrize(
    "to", ["///elsewhere.example", "/\t//elsewhere.example", "/a\r\nSet-Cookie: a=b", "/\u2603", "/a\x00", "/a\\b"]
)
def test_a_form_leads_to_an_address_of_this_host_and_adds_no_header(client, to):
    fill(client, 1)
    form = {"declaration": "time_zone", "value": "Europe/Berlin", "to": to}
    answer = client.post("/pages/studies/trial/declaration", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("form", ["protocol/try", "protocol"])
def test_a_protocol_that_is_nested_too_deeply_is_refused(client, form):
    fill(client, 1)
    answer = client.post(f"/pages/studies/trial/{form}", data={"protocol": "[" * 100_000})
    assert answer.status_code == 400


@pytest.mark.parametrize("charset", ["punycode", "utf-8", "raw_unicode_escape"])
def test_a_form_whose_charset_would_take_minutes_is_refused_at_once(client, charset):
    field = b"--x\r\nContent-Disposition: form-data; name=key\r\n\r\n-" + b"b" * 100_000 + b"\r\n--x--\r\n"
    client.post("/pages/sign-in", data={"key": "x"})  # what is loaded with the first form is not counted
    began = time.process_time()
    kind = {"Content-Type": f"multipart/form-data; boundary=x; Charset={charset}"}
    assert client.post("/pages/sign-in", content=field, headers=kind).status_code == 415
    assert time.process_time() - began < 1


def test_a_form_of_many_fields_is_refused_before_it_is_read(client):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    client.post("/pages/sign-in", data={"key": "x"})
    began = time.process_time()
    assert client.post("/pages/sign-in", content=b"&" * 4_000_000, headers=kind).status_code == 413
    assert time.process_time() - began < 1


@pytest.mark.parametrize("form", ["sign-in", "studies", "studies/trial/protocol/try", "studies/trial/set-aside/1"])
def test_a_file_in_a_form_that_takes_none_is_refused_and_not_written(client, form, monkeypatch):
    fill(client, 1)
    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", None)  # would fail
    answer = client.post(f"/pages/{form}", files={"file": ("a.csv", b"a" * 2_000_000)}, data={"key": "a"})
    assert answer.status_code == 400
    assert "The form cannot be read." in answer.text


def test_no_form_of_a_stranger_is_read_but_those_of_signing_in_and_out(service, monkeypatch):
    service.client().put("/v1/studies/mine", json={"name": "Mine", "protocol": "seed-2008"})
    for room, name in ((intake_forms, "_form_of"), (try_protocol, "_named")):
        monkeypatch.setattr(room, name, None)  # would fail
    browser = stranger(service)
    answers = [
        browser.post(f"/pages/studies/{study}/{form}", files={"file": ("a", b"a")})
        for study in ("mine", "none")
        for form in ("add", "protocol", "protocol/try", "declaration", "nothing")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert 'action="/pages/sign-in"' in answers[0].text


def test_each_showing_of_a_page_with_marks_of_patients_is_in_the_audit(demo, monkeypatch):
    rows = []
    add = AuditTrail.add

    def noted(trail, row):
        rows.append((row.who.operation, row.extent))
        return add(trail, row)

    monkeypatch.setattr(AuditTrail, "add", noted)
    path = "/v1/studies/demo/analyses/courses.html"
    shown = demo.get(path)
    assert b"<svg" in shown.content
    for headers, status in (({}, 200), ({"If-None-Match": shown.headers["etag"]}, 304)):
        rows.clear()
        assert demo.get(path, headers=headers).status_code == status
        assert sorted(rows) == [("getChart", "everyone"), ("getCourses", "figures")]


def test_work_in_threads_waits_until_the_libraries_are_loaded(monkeypatch):
    loaded = threading.Event()
    monkeypatch.setattr(computing, "warm", lambda: (time.sleep(0.2), loaded.set()))

    async def asked() -> bool:
        workers, found = ThreadWorkers(Workplace(SimpleNamespace(segments=None), KeptCohorts(0))), []
        await workers.prepare()
        await workers.run([], lambda _: b"loaded" if loaded.is_set() else b"too early", found.append)
        return found == [b"loaded"]

    assert run(asked())


@pytest.mark.parametrize(("revision", "status"), [("999", 404), ("abc", 422)])
def test_an_overview_of_a_revision_that_is_not_there_says_so(client, revision, status):
    fill(client, 1)
    answer = client.get(f"/v1/studies/trial.html?revision={revision}")
    assert answer.status_code == status
    assert "scope analyse" not in answer.text


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_site_is_refused_by_what_the_browser_says_of_it(client, site):
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    form = {"id": "made", "name": "Made", "protocol": "seed-2008"}
    assert client.post("/pages/studies", data=form, headers=headers).status_code == 403
    assert client.get("/v1/studies/made").status_code == 404
    assert client.post("/pages/studies", data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


@pytest.mark.usefixtures("undrawn")
def test_a_page_is_kept_once_with_what_it_was_made_from_and_dropped_with_an_erased_person(client):
    fill(client, 2)
    answers = client.app_state["app_state"].answers
    path = "/v1/studies/trial/analyses/response-rates.html?patients=true"
    shown = client.get(path)
    assert shown.status_code == 200
    kept = answers._kept
    [page] = [body for _, body in kept.values() if b"<html" in body]
    assert b"P01" in page
    assert b'"patients","true"' in page.partition(b"\n")[0]
    assert client.delete("/v1/studies/trial/patients/P01?erase=true").status_code == 204
    assert not any(b"P01" in body for _, body in kept.values())
    again = client.get(path, headers={"If-None-Match": shown.headers["etag"]})
    assert (again.status_code, "P01" in again.text) == (200, False)
