"""A printed figure over HTTP."""

import pytest

LIM = {"kind": "proportion", "k": 8, "n": 19, "printed_in": "percent", "value": "42.0",
       "interval": {"low": "19.6", "high": "64.6"}}  # fmt: skip


def test_a_figure_that_nothing_reproduces_is_said_to_be_one(client):
    answer = client.post("/v1/verify", json=LIM)

    assert answer.status_code == 200
    assert answer.json()["verdict"] == "not_reproduced"
    assert answer.json()["candidates"][0]["method"] == "wald"


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"n": 7}, "", "contradiction"),
        ({"k": -1}, "/k", "out_of_range"),
        ({"value": 42.0}, "/value", "wrong_type"),
        ({"value": "42 %"}, "/value", "bad_number"),
        ({"value": "42,0"}, "/value", "bad_number"),
        ({"value": ".42"}, "/value", "bad_number"),
        ({"value": "4٢"}, "/value", "bad_number"),
        ({"interval": {"low": "19.6", "high": "6e1"}}, "/interval/high", "bad_number"),
        ({"printed_in": "per mille"}, "/printed_in", "unknown_value"),
        ({"interval": {"low": "19.6"}}, "/interval/high", "missing"),
        ({"interval": {"low": "64.6", "high": "19.6"}}, "/interval", "contradiction"),
        ({"kind": "median"}, "/kind", "unknown_value"),
        ({"m": 1}, "", "unknown_field"),
    ],
)
def test_a_figure_that_cannot_be_is_refused_with_its_place(client, change, pointer, code):
    answer = client.post("/v1/verify", json=LIM | change)

    assert answer.status_code == 422
    assert [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]] == [(pointer, code)]
