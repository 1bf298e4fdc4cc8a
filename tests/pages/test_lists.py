"""The datasets with their files, and the audit, as pages."""

import pytest

from app.access.callers import Scope
from tests.api.examples import fill, make_study
from tests.pages.reading import read
from tests.pages.test_sign_in import signed_in


def test_each_dataset_has_its_files_and_its_variables(client):
    home = fill(client, 1)
    listed = client.get(f"{home}/datasets").json()["items"]
    page = read(client.get(f"{home}/datasets.html"))
    for each in listed:
        assert each["label"] in page.words
        assert page.link(f"CSV of {each['name']}") == each["csv"]
        assert client.get(each["csv"]).status_code == 200
    names = [row[0].removesuffix(" key") for row in page.rows if row[0] != "Name"]
    assert names == [one["name"] for each in listed for one in each["variables"]]


def test_files_of_an_earlier_revision_are_of_that_revision(client):
    home = fill(client, 2)
    page = read(client.get(f"{home}/datasets.html?revision=1"))
    assert page.link("CSV of adsl") == f"{home}/datasets/adsl.csv?revision=1"


def test_a_key_that_may_not_read_patients_is_told_so_and_offered_no_file(service):
    make_study(service.client(), "mine")
    page = read(signed_in(service, Scope.READ).get("/v1/studies/mine/datasets.html"))
    assert "may not read data of patients" in page.words
    assert not [words for words, _ in page.links if words.startswith("CSV")]


def test_the_audit_says_who_read_whom_and_what_was_refused(service):
    fill(service.client(), 2, "mine")
    reader = service.with_key(service.key((Scope.READ,)))
    assert reader.get("/v1/studies/mine/patients").status_code == 403
    service.stranger.app_state["app_state"].trail.close()  # refusals are written together
    browser = signed_in(service)
    assert read(browser.get("/v1/audit.html?study=mine&patient=P00&since=&until=")).rows[1:]
    page = read(browser.get("/v1/audit.html"))
    rows = [row[2:6] for row in page.rows[1:]]
    assert any(row[0].startswith("putTimeline") and row[2].startswith("P00") for row in rows)
    assert any(row[0].startswith("listPatients") and row[3] == "refused, 403" for row in rows)
    first = read(browser.get("/v1/audit.html?study=mine&limit=2"))
    assert len(read(browser.get(first.link("Next rows"))).rows) == 3


@pytest.mark.parametrize("query", ["?study=mine&patient=P99", "?study=mine&until=2001-01-01T00:00:00Z"])
def test_an_empty_audit_says_what_next(service, query):
    fill(service.client(), 1, "mine")
    page = read(signed_in(service).get(f"/v1/audit.html{query}"))
    assert page.link("Show all rows") == "/v1/audit.html"
