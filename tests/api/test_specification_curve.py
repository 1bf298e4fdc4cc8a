"""A grid over HTTP: declared with the protocol, tried by POST, refused by name."""

import json

from app.protocol.presets import SEED_2008
from tests.api.examples import codes, fill

GRID = {
    "measures": [
        {
            "measure": "CK",
            "thresholds": [{"id": "percent_of_baseline", "percent_of_baseline": 50}],
            "windows": [{"id": "visit", "week": 4}],
            "baselines": ["last_on_or_before_day_0"],
        }
    ]
}


def with_grid(**parts):
    return SEED_2008.model_dump(mode="json") | {"id": "with-grid", "specification_grid": GRID | parts}


def test_a_declared_grid_is_kept_with_the_protocol_and_answered(anywhere):
    home = fill(anywhere, 3)
    address = f"{home}/analyses/specification-curve"
    before = anywhere.get(address).json()
    assert before["grid_declared"] is False
    assert anywhere.put(f"{home}/protocol", json=with_grid()).status_code == 200
    assert anywhere.get(f"{home}/protocol").json()["specification_grid"]["measures"][0]["measure"] == "CK"
    after = anywhere.get(address).json()
    assert after["grid_declared"] is True
    assert {row["measure"] for row in after["results"]} == {"CK"}
    assert [row["declared"] for row in after["results"]].count(True) == 1


def test_a_grid_can_be_tried_and_is_not_kept(anywhere):
    home = fill(anywhere, 3)
    address = f"{home}/analyses/specification-curve"
    tried = anywhere.post(f"{address}?measure=CK&patients=true", json={"protocol": with_grid(look_back_days=28)})
    assert tried.status_code == 200
    assert tried.json()["grid"]["look_back_days"] == 28
    assert len(tried.json()["curves"][0]["patients"]) == 3
    assert anywhere.get(address).json()["grid_declared"] is False


def test_a_grid_that_contradicts_its_protocol_is_refused_and_says_where(client):
    home = fill(client, 1)
    measure = GRID["measures"][0] | {"windows": [{"id": "visit", "week": 3}]}
    for refused in (
        client.put(f"{home}/protocol", json=with_grid(measures=[measure])),
        client.post(f"{home}/analyses/specification-curve", json={"protocol": with_grid(measures=[measure])}),
    ):
        assert refused.status_code == 422
        assert [code for _, code in codes(refused)] == ["contradiction"]
        assert "specification_grid.measures.0.windows.0: this week is not among visits.weeks." in json.dumps(
            refused.json()
        )


def test_an_unknown_measure_cannot_be_asked_for(client):
    home = fill(client, 1)
    answer = client.get(f"{home}/analyses/specification-curve?measure=GRIP")
    assert (answer.status_code, codes(answer)) == (422, [("/query/measure", "unknown_value")])
