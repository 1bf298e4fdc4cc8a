"""The charts over HTTP: formats, versions, scopes, and what is refused."""

import json
import sys
import time

import pytest

from app.access.callers import Scope
from app.pages.charts import CHARTS
from app.pages.charts.rendering import MEDIA_TYPES, PDF, PNG, SVG, VEGA_LITE
from app.protocol.presets import RELATIVE_20
from tests.api.examples import codes, events, fill, lab, make_study

FEW = "flow"


def test_the_listing_leads_to_every_chart_in_every_format(client):
    home = fill(client, 2)
    answer = client.get(f"{home}/charts")
    items = answer.json()["items"]
    assert [each["name"] for each in items] == list(CHARTS)
    assert answer.json()["revision"] == client.get(home).json()["revision"]
    (flow,) = (each for each in items if each["name"] == FEW)
    for field, media_type in (("vega_lite", VEGA_LITE), ("svg", SVG), ("png", PNG), ("pdf", PDF)):
        found = client.get(flow[field])
        assert (found.status_code, found.headers["content-type"]) == (200, media_type)
    for each in items:
        drawn = client.get(each["vega_lite"])
        assert drawn.status_code == 200, drawn.text
        assert drawn.json()["title"]["text"]
    tag = answer.headers["etag"]
    assert client.get(f"{home}/charts", headers={"If-None-Match": tag}).status_code == 304
    past = client.get(f"{home}/charts?revision=1").json()
    assert past["revision"] == 1
    assert all(each["svg"].endswith(f"{each['name']}.svg?revision=1") for each in past["items"])
    client.put(f"{home}/protocol", json=RELATIVE_20.model_dump(mode="json"))
    assert client.get(f"{home}/charts").headers["etag"] != tag


@pytest.mark.parametrize(
    ("path", "accept", "media_type"),
    [
        (FEW, "", VEGA_LITE),
        (FEW, "*/*", VEGA_LITE),
        (FEW, "image/svg+xml", SVG),
        (FEW, "image/png;q=0.5, application/pdf", PDF),
        (f"{FEW}.svg", "application/pdf", SVG),
        (f"{FEW}.json", "image/png", VEGA_LITE),
    ],
)
def test_the_format_is_that_of_the_suffix_or_else_of_accept(client, path, accept, media_type):
    answer = client.get(f"{fill(client, 1)}/charts/{path}", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert answer.headers["vary"].split(", ")[0] == "Accept"
    assert answer.headers["cache-control"] == "no-store"


def test_a_media_type_that_is_not_offered_is_refused(client):
    answer = client.get(f"{fill(client, 1)}/charts/{FEW}", headers={"Accept": "image/gif"})
    assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable")
    assert all(media_type in answer.json()["detail"] for media_type in MEDIA_TYPES.values())


@pytest.mark.parametrize("path", ["pie", f"{FEW}.gif", f"{FEW}.", "FLOW", f"{FEW}.svg.svg", f"{FEW}.SVG"])
def test_an_unknown_chart_is_not_found_and_the_known_ones_are_named(client, path):
    home = fill(client, 1)
    answer = client.get(f"{home}/charts/{path}")
    assert answer.status_code == 404
    (fault,) = answer.json()["errors"]
    assert {*CHARTS, f"{FEW}.svg"} <= set(fault["accepts"]["one_of"])
    assert "pie" not in answer.text
    assert client.get(f"/v1/studies/nobody/charts/{FEW}").status_code == 404
    assert client.get("/v1/studies/nobody/charts").status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("weekly-change?width=765432109876", [("/query/width", "unknown_value")]),
        ("weekly-change?level=2", [("/query/level", "out_of_range")]),
        ("weekly-change?by=sex", [("/query/by", "unknown_parameter")]),
        ("weekly-change?patient=P00", [("/query/patient", "unknown_parameter")]),
        ("response-forest?by=shoe_size", [("/query/by", "unknown_value")]),
        ("response-forest?patients=true", [("/query/patients", "unknown_parameter")]),
        ("ck-change?patients=yes", [("/query/patients", "wrong_type")]),
        ("ck-trajectories?patient=P00&by=sex", [("/query/by", "unknown_parameter")]),
        ("flow?height=2", [("/query", "unknown_parameter")]),
        ("flow?as_of=2999-01-01T00:00:00Z", [("/query/as_of", "future_time")]),
    ],
)
def test_what_a_chart_does_not_take_is_refused_and_never_ignored(client, query, found):
    answer = client.get(f"{fill(client, 1)}/charts/{query}")
    assert answer.status_code == 422
    assert codes(answer) == found
    assert "765432109876" not in answer.text  # no chance: an occurrence has twelve digits at most, and letters
    assert "shoe_size" not in answer.text


def test_the_sizes_that_there_are_are_named(client):
    answer = client.get(f"{fill(client, 1)}/charts/flow.svg?width=1000000")
    assert answer.json()["errors"][0]["accepts"]["one_of"] == ["narrow", "wide"]


def test_a_patient_whom_the_study_does_not_have_is_not_found(client):
    home = fill(client, 1)
    answer = client.get(f"{home}/charts/ck-trajectories?patient=NOBODY")
    assert answer.status_code == 404
    assert "NOBODY" not in answer.text
    one = client.get(f"{home}/charts/ck-trajectories?patient=P00").json()
    assert "Patient P00" in one["description"]


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_without_the_engine_a_picture_is_a_problem_that_names_the_extra(client, monkeypatch, suffix):
    monkeypatch.setitem(sys.modules, "vl_convert", None)  # as where it is not installed
    home = fill(client, 1)
    answer = client.get(f"{home}/charts/{FEW}.{suffix}")
    assert (answer.status_code, answer.json()["type"]) == (501, "/problems/not-installed")
    assert "pip install 'myoresponse[charts]'" in answer.json()["detail"]
    assert client.get(f"{home}/charts/{FEW}").status_code == 200
    assert client.get(f"{home}/charts/pie.{suffix}").status_code == 404


def test_a_study_without_data_has_every_chart_and_each_says_what_to_do(client):
    home = make_study(client, "empty")
    for name in CHARTS:
        answer = client.get(f"{home}/charts/{name}?width=narrow")
        assert answer.status_code == 200, name
        assert answer.json()["description"].startswith(f"{CHARTS[name].title}. Study empty, 0 patients, revision 0.")
    assert "This study has no patients yet. Send the first timeline" in client.get(f"{home}/charts/flow.svg").text


def test_a_chart_is_kept_and_given_again_byte_for_byte_after_a_correction(client):
    home = fill(client, 2)
    address = f"{home}/charts/weekly-change.svg?width=narrow"
    old, then = client.get(address), client.get(home).json()
    state = client.app_state["app_state"]
    hits = state.answers.hits
    assert client.get(address).content == old.content
    assert state.answers.hits == hits + 1
    time.sleep(0.002)
    client.post(f"{home}/patients/P00/events", json=events("P00", lab(7, 5000)))
    assert client.get(address).headers["etag"] != old.headers["etag"]
    for query in (f"revision={then['revision']}", f"as_of={then['received_at']}"):
        again = client.get(f"{address}&{query}")
        assert (again.content, again.headers["etag"]) == (old.content, old.headers["etag"])
    tag = client.get(address).headers["etag"]
    kept = client.get(address, headers={"If-None-Match": tag})
    assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", tag)
    tags = {
        client.get(f"{home}/charts/{FEW}.{suffix}?width={width}").headers["etag"]
        for suffix in MEDIA_TYPES
        for width in ("narrow", "wide")
    }
    assert len(tags) == 2 * len(MEDIA_TYPES)


def test_the_options_of_a_question_are_those_of_its_chart(client):
    home = fill(client, 4)
    ninety = client.get(f"{home}/charts/weekly-change?level=0.9").json()
    assert "90 % intervals" in " ".join(ninety["title"]["subtitle"])
    answer = client.get(f"{home}/analyses/weekly-change?level=0.9").json()
    (row,) = (each for each in answer["results"] if (each["measure"], each["week"]) == ("MMT", 4))
    assert str(row["mean"]) in json.dumps(ninety)
    by = client.get(f"{home}/charts/response-forest?by=sex").json()
    assert {"female", "male"} <= {row["name"] for part in by["vconcat"] for row in part["data"]["values"]}


def test_a_person_who_was_erased_is_in_no_chart(client):
    home = fill(client, 3)
    address = f"{home}/charts/spells"
    revision = client.get(home).json()["revision"]
    assert "P01" in client.get(address).text
    assert client.delete(f"{home}/patients/P01?erase=true").status_code == 204
    assert "P01" not in client.get(address).text
    assert client.get(f"{address}?revision={revision}").status_code in {404, 410}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_that_shows_patients_is_for_those_who_may_read_them(scoped, name):
    client, with_scopes = scoped
    home = fill(client, 2)
    answered = {
        scopes: with_scopes([Scope(scope) for scope in scopes]).get(f"{home}/charts/{name}").status_code
        for scopes in (("analyse",), ("analyse", "read-patients"), ("read",), ("read", "read-patients"))
    }
    assert answered == {
        ("analyse",): 403 if CHARTS[name].shows_patients else 200,
        ("analyse", "read-patients"): 200,
        ("read",): 403,
        ("read", "read-patients"): 403,
    }


def test_to_draw_each_patient_needs_the_scope_to_read_them(scoped):
    client, with_scopes = scoped
    address = f"{fill(client, 2)}/charts/ck-change"
    analyst = with_scopes([Scope.ANALYSE])
    assert (analyst.get(address).status_code, analyst.get(f"{address}?patients=true").status_code) == (200, 403)
    assert "P00" not in analyst.get(address).text
    assert "P00" in with_scopes([Scope.ANALYSE, Scope.READ_PATIENTS]).get(f"{address}?patients=true").text
