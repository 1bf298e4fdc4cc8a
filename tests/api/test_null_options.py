"""What the rules give if nothing happens, asked for in the address."""

import pytest

from app.analyses import QUESTIONS
from app.analyses.without_effect import NullOptions
from app.protocol.presets import RELATIVE_20, SEED_2008
from tests.api.examples import codes, fill, timeline

ASKED = [name for name, question in QUESTIONS.items() if issubclass(question.options_type, NullOptions)]
OTHERS = [name for name in QUESTIONS if name not in ASKED]


def test_four_questions_and_the_report_simulate():
    assert ASKED == ["response-rates", "weekly-change", "ck-change", "ck-normal-time"]


@pytest.mark.parametrize("name", ["response-rates", "weekly-change", "ck-change", "ck-normal-time"])
def test_a_question_simulates_if_it_is_asked_to(client, name):
    at = f"{fill(client, 6)}/analyses/{name}"
    usual, asked, again = client.get(at), client.get(f"{at}?null=true"), client.get(f"{at}?null=true")

    assert usual.headers["etag"] != asked.headers["etag"]
    assert asked.content == again.content
    assert client.get(f"{at}?null=true", headers={"If-None-Match": asked.headers["etag"]}).status_code == 304
    assert "nothing" not in usual.json()
    assert usual.json() == {name: part for name, part in asked.json().items() if name != "nothing"}
    assert len(asked.json()["nothing"]) == 1
    posted = client.post(f"{at}?null=true", json={"protocol": RELATIVE_20.model_dump(mode="json")})
    assert len(posted.json()["nothing"]) == 1


@pytest.mark.parametrize("name", OTHERS)
def test_another_question_refuses_to_simulate(client, name):
    at = f"{fill(client, 1)}/analyses/{name}?null=true"
    for answer in (client.get(at), client.post(at, json={"protocol": SEED_2008.model_dump(mode="json")})):
        assert answer.status_code == 422
        assert codes(answer) == [("/query", "unknown_parameter")]


def test_null_is_true_or_false(client):
    answer = client.get(f"{fill(client, 1)}/analyses/ck-change?null=1")
    assert answer.status_code == 422


def test_the_report_of_a_small_study_simulates_unless_it_is_switched_off(client):
    at = f"{fill(client, 2)}/analyses"
    for query, there in (("", True), ("?null=true", True), ("?null=false", False)):
        parts = client.get(at + query).json()["analyses"]
        assert [name for name, part in parts.items() if "nothing" in part] == (ASKED if there else [])
    body = {"protocol": "seed-2008", "timelines": [timeline("P1")]}
    for query, there in (("", True), ("?null=false", False)):
        parts = client.post(f"/v1/analyses{query}", json=body).json()["analyses"]
        assert [name for name, part in parts.items() if "nothing" in part] == (ASKED if there else [])
