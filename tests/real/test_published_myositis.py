"""Published patients from their table to the answers: Dastmalchi et al. 2008, infliximab in 13 patients, CK in ukat/L.

The statistics are those of the published values, computed elsewhere (R `t.test` and `wilcox.test`); the days are
invented, as the table says only before and after.
"""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.protocol.model import AdverseReactions, CkChangeWeeks, Protocol, Treatment, Visits, WeeklyChange
from tests.journeys.conftest import service
from tests.real import sources

FIRST = date(2007, 1, 1)
AFTER = 16
PROTOCOL = Protocol(
    id="before-and-after",
    treatment=Treatment(products=("infliximab",), course_gap_days=60),
    visits=Visits(weeks=(-4, AFTER)),
    weekly_change=WeeklyChange(measures=("CK", "MMT8_UNILATERAL"), weeks=(AFTER,)),
    ck_change=CkChangeWeeks(after_week=AFTER),
    adverse_reactions=AdverseReactions(related=("unknown",)),
)
DIAGNOSES = {"PM": "polymyositis", "DM": "dermatomyositis", "IBM": "inclusion_body_myositis"}


def timeline(row: dict[str, str]) -> dict[str, Any]:
    """One patient; who dropped out has no value after treatment."""
    visits = {"before": FIRST.isoformat(), "after": (FIRST + timedelta(weeks=AFTER)).isoformat()}
    terms = [] if row["adverse_events"] == "none" else row["adverse_events"].split("; ")
    return {
        "patient": {"id": f"D{row['patient']}", "diagnosis": DIAGNOSES[row["diagnosis"]]},
        "labs": [
            {"code": "CK", "time": day, "value": float(row[f"ck_{when}_ukat_l"]), "unit": "ukat/L"}
            for when, day in visits.items()
            if row[f"ck_{when}_ukat_l"]
        ],
        "assessments": [
            {"code": "MMT8_UNILATERAL", "time": day, "score": int(row[f"mmt8_{when}"])}
            for when, day in visits.items()
            if row[f"mmt8_{when}"]
        ],
        "infusions": [
            {"time": (FIRST + timedelta(weeks=week)).isoformat(), "product": "infliximab"} for week in (0, 2)
        ],
        "adverse_events": [{"term": term} for term in terms],
    }


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The 13 patients as a study."""
    items = [timeline(row) for row in sources.dastmalchi()]
    file = tmp_path_factory.mktemp("published") / "x.db"
    with service(f"sqlite:///{file}") as client:
        declared = {"name": "Infliximab", "protocol": PROTOCOL.model_dump(mode="json"), "identifiers": "pseudonyms"}
        assert client.put("/v1/studies/infliximab", json=declared).status_code == 201
        headers = {"content-type": "application/json"}
        answer = client.post("/v1/studies/infliximab/timelines", content=json.dumps(items), headers=headers)
        assert answer.json()["counts"] == {"created": 13}
        yield client


def asked(client: TestClient, name: str) -> dict[str, Any]:
    return client.get(f"/v1/studies/infliximab/analyses/{name}").json()


def test_the_change_of_ck_in_microkatal_is_the_published_one(client):
    """9 completers: mean 0.260, SD 0.580, t 1.346, p 0.215, ratio 1.297 (0.831-2.027), Wilcoxon p 0.426."""
    answer = asked(client, "weekly-change")
    row = next(r for r in answer["results"] if (r["measure"], r["scale"]) == ("CK", "ln"))
    wilcoxon, t = row["tests"]
    ratio = next(each for each in row["intervals"] if each["of"] == "geometric_mean_ratio")

    assert row["n"] == 9
    assert (row["mean"], row["sd"]) == pytest.approx((0.260, 0.580), abs=5e-4)
    assert (t["statistic"], t["p"]) == pytest.approx((1.346, 0.215), abs=5e-4)
    assert row["geometric_mean_ratio"] == pytest.approx(1.297, abs=5e-4)
    assert (ratio["low"], ratio["high"]) == pytest.approx((0.831, 2.027), abs=5e-4)
    assert wilcoxon["p"] == pytest.approx(0.426, abs=5e-4)
    assert [(each["reason"], each["count"]) for each in answer["excluded"] if each.get("estimate") == "ln"] == [
        ("no_value_after_baseline", 4)
    ]


def test_the_change_of_muscle_strength_is_that_of_the_table(client):
    """32 points in 9 patients. Elsewhere 4.67 is given, which is 42 / 9: there, patient 10 would have gained the five
    points that this table says were lost.
    """
    row = next(r for r in asked(client, "weekly-change")["results"] if r["measure"] == "MMT8_UNILATERAL")
    assert (row["n"], row["mean"]) == (9, pytest.approx(32 / 9))


def test_before_treatment_ck_is_compared_in_units_per_litre(client):
    [row] = [r for r in asked(client, "courses")["baselines"] if (r["measure"], r["course"]) == ("CK", 1)]
    values = sorted(60 * float(each["ck_before_ukat_l"]) for each in sources.dastmalchi())
    assert (row["values"]["n"], row["values"]["median"]) == (13, pytest.approx(values[6]))


def test_adverse_events_without_onset_count_and_fall_into_no_window(client):
    answer = asked(client, "safety")
    [count] = answer["results"]
    assert (count["safety"], count["patients_with_event"], count["events"], count["onset_unknown"]) == (13, 8, 11, 11)
    assert sum(row["per"]["events"] for row in answer["risk_windows"]) == 0
    assert {row["term"]: row["patients"] for row in count["by_term"]}["Abdominal pain"] == 3
