"""The strategy for a rescue, asked for in the address or declared in the body."""

from app.protocol.presets import SEED_2008
from tests.api.examples import codes, fill

COMPOSITE = SEED_2008.model_dump(mode="json") | {"id": "composite", "ck_normal_time": {"rescue": "composite"}}


def test_a_strategy_may_be_asked_for_and_the_declared_one_stays_marked(client):
    at = f"{fill(client, 3)}/analyses/ck-normal-time"
    usual, asked = client.get(at), client.get(f"{at}?rescue=composite")
    assert usual.headers["etag"] != asked.headers["etag"]
    for answer, in_force in ((usual, "treatment_policy"), (asked, "composite")):
        (row,) = answer.json()["results"]
        assert [each["strategy"] for each in row["strategies"] if each["in_force"]] == [in_force]
        assert [each["strategy"] for each in row["strategies"] if each["declared"]] == ["treatment_policy"]
        assert answer.json()["definitions"][-1]["parameters"]["rescue"] == in_force


def test_a_strategy_may_be_declared_by_a_protocol(client):
    home = fill(client, 3)
    for question in ("ck-normal-time", "ck-normal-groups"):
        answer = client.post(f"{home}/analyses/{question}?by=sex", json={"protocol": COMPOSITE})
        assert answer.status_code == 200, answer.text
        assert answer.json()["definitions"][-1]["parameters"]["rescue"] == "composite"


def test_a_strategy_that_nobody_knows_is_refused(client):
    answer = client.get(f"{fill(client, 1)}/analyses/ck-normal-groups?rescue=ignore")
    assert answer.status_code == 422
    assert codes(answer) == [("/query/rescue", "unknown_value")]
