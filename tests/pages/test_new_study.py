"""The form of a new study, on the page of the studies."""

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from app.access.callers import Scope
from app.protocol.presets import MYOSITIS_2026, PRESETS
from tests.pages.test_add_data import words
from tests.pages.test_sign_in import signed_in

FIELDS = {"id": "ivig-2026", "name": "IVIG", "protocol": "seed-2008", "identifiers": "pseudonyms"}


def test_it_offers_every_preset_in_a_sentence_and_that_of_new_studies_first(client):
    page = client.get("/v1/studies.html").text
    offered = re.findall(r'name="protocol" id="[^"]+" value="([^"]+)"( checked)?', page)
    assert offered[0] == (MYOSITIS_2026.id, " checked")
    assert {name for name, _ in offered} == set(PRESETS)
    for preset in PRESETS.values():
        assert preset.title in words(page)


def test_a_study_is_created_and_leads_to_its_first_file(client):
    answer = client.post(
        "/pages/studies", data={**FIELDS, "time_zone": "Asia/Tokyo", "test": "true"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/v1/studies/ivig-2026/intake.html")
    study = client.get("/v1/studies/ivig-2026").json()
    assert (study["name"], study["protocol"]["id"], study["identifiers"]) == ("IVIG", "seed-2008", "pseudonyms")
    assert (study["time_zone"], study["test"]) == ("Asia/Tokyo", True)


def test_a_study_that_exists_is_not_changed(client):
    client.post("/pages/studies", data=FIELDS)
    answer = client.post("/pages/studies", data={**FIELDS, "name": "Another"})
    assert (answer.status_code, "nothing was changed" in answer.text) == (412, True)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/v1/studies/ivig-2026").json()["name"] == "IVIG"


def test_of_two_people_who_create_the_same_study_at_once_one_is_told_that_nothing_was_changed(anywhere):
    together = Barrier(4)

    def create(name: str) -> tuple[str, int]:
        together.wait()
        return name, anywhere.post("/pages/studies", data={**FIELDS, "name": name}, follow_redirects=False).status_code

    with ThreadPoolExecutor(4) as people:
        answers = dict(people.map(create, ("A", "B", "C", "D")))
    [first] = [name for name, status in answers.items() if status == 303]
    assert sorted(answers.values()) == [303, 412, 412, 412]
    study = anywhere.get("/v1/studies/ivig-2026").json()
    assert (study["name"], study["revision"]) == (first, 0)


@pytest.mark.parametrize(
    "wrong", [{"id": "ivig-2026/protocol"}, {"id": ".."}, {"id": ""}, {"protocol": "none"}, {"time_zone": "Mars/Base"}]
)
def test_what_cannot_be_a_study_is_refused_by_a_page(client, wrong):
    client.post("/pages/studies", data=FIELDS)
    answer = client.post("/pages/studies", data={**FIELDS, "id": "another", **wrong})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert [each["id"] for each in client.get("/v1/studies").json()["items"]] == ["ivig-2026"]


def test_only_an_administrator_sees_the_form(service):
    assert "Create a study" not in signed_in(service, Scope.READ).get("/v1/studies.html").text
    assert "Create a study" in signed_in(service, Scope.READ, Scope.ADMIN).get("/v1/studies.html").text
