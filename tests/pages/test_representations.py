"""An answer as a page: by suffix or by Accept, with the rights of its reader, and a fault as a page, too."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect

from app.http import representations
from tests.api.examples import fill

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_the_suffix_or_the_browser_asks_for_the_page_and_everybody_else_gets_json(client):
    fill(client, 1)
    path = "/v1/studies/trial/protocol"
    asked = [client.get(f"{path}.html"), client.get(path, headers=BROWSER)]
    assert [answer.headers["content-type"] for answer in asked] == ["text/html; charset=utf-8"] * 2
    assert asked[0].text == asked[1].text
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5"):
        assert client.get(path, headers={"Accept": accept}).headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/studies/none.html", 404, "There is no study of this name."),
        ("/v1/studies/trial/analyses/none.html", 404, "weekly-change"),
        ("/v1/studies/trial/changes.html?limit=0", 422, "/query/limit"),
        ("/nothing", 404, "There is nothing"),
    ],
)
def test_a_fault_is_a_page_that_says_what_is_accepted_and_where_to_go(client, path, status, said):
    fill(client, 1)
    answer = client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert said in answer.text
    assert "/v1/studies.html" in answer.text


def test_a_patient_whose_name_ends_like_the_suffix_can_still_be_read(client):
    fill(client, 1)
    body = {"patient": {"id": "a.html", "diagnosis": "polymyositis"}}
    assert client.put("/v1/studies/trial/patients/a.html", json=body).status_code == 201
    answer = client.get("/v1/studies/trial/patients/a.html", headers={"Accept": "*/*"})
    assert answer.json()["patient"]["id"] == "a.html"


def test_a_page_has_an_etag_while_all_its_parts_have_one_and_a_new_one_when_a_part_changes(client):
    fill(client, 1)
    path = "/v1/studies/trial/protocol.html"
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    tag = client.get("/v1/studies/trial/protocol").headers["etag"]
    other = client.get("/v1/protocols/relative-20").json()
    assert client.put("/v1/studies/trial/protocol", json=other, headers={"If-Match": tag}).status_code == 200
    assert client.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_what_is_no_json_is_sent_as_it_is(client, monkeypatch):
    fill(client, 1)
    path = "/v1/studies/trial/datasets/adsl.csv"
    assert client.get(path, headers=BROWSER).content == client.get(path).content
    monkeypatch.setattr(representations, "LARGEST", 100)
    whole = client.get("/v1/studies/trial/protocol", headers=BROWSER)
    assert whole.headers["content-type"] == "application/json"
    assert whole.content == client.get("/v1/studies/trial/protocol").content


def test_a_page_is_given_up_and_not_kept_without_a_part_when_its_reader_has_gone():
    async def silent(scope, receive, send):
        """As the guard does when the client has gone."""

    scope = {"headers": [], "state": {}, "type": "http", "query_string": b""}
    asked = representations.Asked(silent, scope, representations._never, "/v1/studies/trial")
    with pytest.raises(ClientDisconnect):
        asyncio.run(asked.get("/v1/studies/trial"))
