"""The question about glucocorticoids by the API: its options, another protocol, refusals, and the printed report."""

from app.analyses import answer
from app.analyses.steroid_sparing import SteroidOptions
from app.protocol.presets import SEED_2008
from tests.analyses.reference import reference_cohort
from tests.api.examples import codes, fill

SEED = SEED_2008.model_dump(mode="json")


def declaring(**part):
    return {"protocol": SEED | {"id": "sparing", "steroid_sparing": part}}


def doses_in_force(response):
    assert response.status_code == 200, response.text
    return response.json()["definitions"][-1]["parameters"]


def test_doses_are_those_of_the_request_before_those_of_the_protocol_before_the_defaults(client):
    at = f"{fill(client, 3)}/analyses/steroid-sparing"
    declared = declaring(low_dose=10, steroid_free_dose=5, windows=[7])
    assert doses_in_force(client.get(at))["low_dose"] == 7.5
    assert doses_in_force(client.get(f"{at}?low_dose=5"))["low_dose"] == 5
    assert doses_in_force(client.post(at, json=declared))["low_dose"] == 10
    by_both = doses_in_force(client.post(f"{at}?low_dose=5", json=declared))
    assert (by_both["low_dose"], by_both["steroid_free_dose"], by_both["windows"]) == (5, 5, [7])
    assert client.get(at).headers["etag"] != client.get(f"{at}?low_dose=5").headers["etag"]


def test_the_figures_of_the_reference_cohort_are_those_of_its_steady_doses():
    found = answer("steroid-sparing", reference_cohort(), SEED_2008, SteroidOptions())
    (low,) = found.results
    assert (low.n, low.events, low.low_at_start) == (16, 0, 0)
    sums = {row.days: (row.n, row.milligrams.median) for row in found.cumulative}
    assert sums == {28: (15, 28 * 55), 84: (15, 84 * 55), 182: (14, 182 * 55), 364: (14, 364 * 55)}
    assert [(row.measure, row.steroid_free, row.evaluable) for row in found.responses] == [
        ("MMT", 0, 15), ("ADL", 0, 15), ("CK", 0, 15),
    ]  # fmt: skip


def test_a_dose_or_a_definition_that_cannot_be_is_refused_by_place(client):
    at = f"{fill(client, 1)}/analyses/steroid-sparing"
    for query in ("low_dose=-1", "low_dose=many", "low_dose=nan", "steroid_free_dose=1001"):
        refused = client.get(f"{at}?{query}")
        assert refused.status_code == 422
        assert [pointer for pointer, _ in codes(refused)] == [f"/query/{query.partition('=')[0]}"]
    for part in ({"windows": [84, 28]}, {"windows": [28, 28]}):
        refused = client.post(at, json=declaring(**part))
        assert (refused.status_code, codes(refused)[0][1]) == (422, "contradiction")
    assert client.post(at, json=declaring(windows=[])).status_code == 422
    assert client.post(at, json=declaring(after_last_period="zero")).status_code == 422
    assert client.post(at, json=declaring(sustained_days=0)).status_code == 422


def test_a_protocol_without_the_part_keeps_its_digest_and_one_that_declares_the_defaults_has_another():
    assert "steroid_sparing" not in SEED
    declared = SEED_2008.model_copy(update={"steroid_sparing": SEED_2008.doses})
    assert declared.digest != SEED_2008.digest
    assert SEED_2008.model_copy(update={"steroid_sparing": None}).digest == SEED_2008.digest


def test_the_printed_report_has_the_chart_only_if_the_protocol_declares_the_doses(client):
    home = fill(client, 3)
    picture = "charts/steroid-sparing.svg"
    assert picture not in client.get(f"{home}/report.html").text
    study = client.get(home).json()
    body = {"name": study["name"], "protocol": declaring(low_dose=10)["protocol"]}
    tag = client.get(home).headers["etag"]
    assert client.put(home, json=body, headers={"If-Match": tag}).status_code == 200
    page = client.get(f"{home}/report.html").text
    assert picture in page
    assert "A dose of at most 10 mg a day is low." in page
