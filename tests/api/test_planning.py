"""Plans over HTTP."""

import pytest


def test_a_rate_can_be_planned_in_both_directions(client):
    answer = client.get("/v1/planning/proportion", params={"rate": 0.8, "n": 15, "half_width": 0.1}).json()

    assert answer["precision"]["n"] == 15
    assert answer["for_half_width"] == {"n": 68, "reason": None}


def test_a_change_can_be_planned_in_both_directions(client):
    answer = client.get("/v1/planning/paired-change", params={"sd": 1, "n": 13, "difference": 1, "power": 0.9}).json()

    assert answer["for_difference"]["n"] == 13
    assert answer["for_difference_signed_rank"]["n"] == 14
    assert answer["detectable"]["difference"] < 1


def test_a_median_can_be_planned_in_both_directions(client):
    answer = client.get("/v1/planning/median-time", params={"events": 8, "ratio": 2}).json()

    assert answer["precision"]["low_factor"] == pytest.approx(16 / 28.845351, abs=1e-6)
    assert answer["for_ratio"]["n"] == 33


def test_what_was_not_asked_for_is_null(client):
    answer = client.get("/v1/planning/median-time", params={"events": 8}).json()

    assert answer["for_ratio"] is None


@pytest.mark.parametrize(
    ("path", "params", "pointer", "code"),
    [
        ("proportion", {"rate": 0.8}, "/query", "contradiction"),
        ("proportion", {"n": 15}, "/query/rate", "missing"),
        ("proportion", {"rate": 80, "n": 15}, "/query/rate", "out_of_range"),
        ("proportion", {"rate": "x", "n": 15}, "/query/rate", "wrong_type"),
        ("paired-change", {"sd": 0, "n": 15}, "/query/sd", "out_of_range"),
        ("paired-change", {"sd": "nan", "n": 15}, "/query/sd", "not_finite"),
        ("median-time", {"ratio": 1}, "/query/ratio", "out_of_range"),
        ("median-time", {"ratio": 2, "seed": 1}, "/query", "unknown_parameter"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_its_place(client, path, params, pointer, code):
    answer = client.get(f"/v1/planning/{path}", params=params)

    assert answer.status_code == 422
    assert [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]] == [(pointer, code)]
