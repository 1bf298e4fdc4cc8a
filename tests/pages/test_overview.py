"""The overview says the headline figures as sentences, with what speaks against them and what is missing."""

import asyncio

import pytest
from starlette.datastructures import Headers

from app.access.callers import Scope
from app.http.representations import ServedDocument
from app.pages.headlines import headlines
from app.pages.page import PageReading
from tests.api.examples import fill, make_study, timeline
from tests.pages.shown import shown

pytestmark = pytest.mark.usefixtures("undrawn")


def test_the_headline_figures_are_those_of_the_report_with_their_intervals_and_claims(demo):
    page = shown(demo, "/v1/studies/demo.html")
    words = page.words.replace("\u00a0", " ").replace("\u202f", " ")
    for sentence in (
        "14 of 15 patients responded in MMT: 93.3 % (95 % CI 68.1 % to 99.8 %).",
        "At week 8, CK was 0.123 times its value at baseline (95 % CI 0.0963 to 0.157), in 15 patients; p < 0.001 "
        "(signed-rank test, exact, adjusted by Holm).",
        "The median is 334.5 days (95 % CI 77 to not reached), from 13 patients whose CK became normal; it ended in 8 "
        "of them.",
        "7 of 16 treated patients had an adverse reaction: 43.8 % (95 % CI 19.8 % to 70.1 %).",
    ):
        assert sentence in words
    report = demo.get("/v1/studies/demo/analyses").json()
    said = [claim for each in headlines(report["analyses"]) for claim in each.claims]
    assert len(said) == 10
    for claim in said:
        assert " ".join(claim["text"].split()) in words.replace("−", "-")
    assert "Because: Some of the treated could not be judged" in words


def test_each_rate_stands_beside_its_own_claim_also_where_a_measure_has_several_rules(demo):
    answers = demo.get("/v1/studies/demo/analyses").json()["analyses"]
    rates = answers["response-rates"]
    every = {**rates, "results": [row | {"primary": True} for row in rates["results"]]}
    shown_rates = headlines({"response-rates": every})
    assert len(shown_rates) == len(rates["results"]) == 6
    for row, each in zip(rates["results"], shown_rates, strict=True):
        [claim] = each.claims
        assert f"{row['responders']} of the {row['evaluable']} who could be judged" in claim["text"]
        assert ("the last value" in claim["text"]) == (row["definition"]["parameters"]["value"] == "last")


def test_a_change_stands_beside_the_onset_on_its_own_scale_whatever_the_claims_say(demo):
    changes = demo.get("/v1/studies/demo/analyses").json()["analyses"]["weekly-change"]
    claims = [claim | {"text": f"{place}"} for place, claim in enumerate(changes["claims"])]
    names = [(claim["code"], claim["measure"], claim["scale"], claim["week"]) for claim in claims]
    assert len(set(names)) == len(names)
    shown_changes = headlines({"weekly-change": changes | {"claims": claims[::-1]}})
    assert [(each.topic, [(claim["code"], claim["scale"]) for claim in each.claims]) for each in shown_changes] == [
        ("CK at week 8", [("onset", "ln")]),
        ("MMT at week 8", [("onset", "raw")]),
        ("ADL at week 8", [("onset", "raw")]),
    ]


def test_it_counts_what_is_set_aside_what_is_missing_and_who_was_left_out(demo):
    page = shown(demo, "/v1/studies/demo.html")
    assert "Nothing is set aside" in page.words
    assert "MMT: Of 75 planned values 1 are missing." in page.words
    assert page.links["Which values to collect, and until when"] == "/v1/studies/demo/analyses/what-is-missing.html"
    assert ["Time with normal CK", "13", "2: CK was never seen normal after treatment."] in page.tables[
        "Who is in each figure"
    ]


def test_it_says_only_caveats_that_apply_and_each_once(demo):
    report = demo.get("/v1/studies/demo/analyses").json()
    words = shown(demo, "/v1/studies/demo.html").words
    for answer in report["analyses"].values():
        for caveat in answer["caveats"]:
            text = " ".join(caveat["text"].split())
            assert words.count(text) == (1 if caveat["applies"] else 0), caveat


def test_an_empty_study_says_what_to_do_next(client):
    make_study(client, "new")
    page = shown(client, "/v1/studies/new.html")
    assert "There are no patients yet" in page.headings
    assert page.links["Add data"] == "/v1/studies/new/intake.html"
    assert "Headline figures" not in page.headings


def test_patients_without_an_infusion_have_no_figures_and_the_page_says_why(client):
    make_study(client, "untreated")
    client.post("/v1/studies/untreated/patients/P1/events", json={"patient": {"id": "P1", "diagnosis": "polymyositis"}})
    page = shown(client, "/v1/studies/untreated.html")
    assert "Nobody has been treated yet" in page.headings
    assert "Headline figures" not in page.headings


def test_it_is_kept_until_the_study_changes_and_shows_an_earlier_revision_on_request(client):
    fill(client, 2)
    first = client.get("/v1/studies/trial.html")
    assert client.get("/v1/studies/trial.html", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    revision = client.get("/v1/studies/trial").json()["revision"]
    client.put("/v1/studies/trial/patients/P09", json=timeline("P09"))
    later = client.get("/v1/studies/trial.html")
    assert "3 patients, 3 treated" in later.text
    earlier = shown(client, f"/v1/studies/trial.html?revision={revision}")
    assert "2 patients, 2 treated" in earlier.words
    assert f"at revision {revision}" in earlier.words
    assert earlier.links["MMT response"].endswith(f"/analyses/response-rates.html?revision={revision}")


def test_who_may_not_analyse_sees_the_study_and_none_of_its_figures(service):
    admin = service.with_key(service.key(tuple(Scope)))
    admin.put("/v1/studies/mine", json={"name": "mine", "protocol": "seed-2008"})
    reader = service.with_key(service.key((Scope.READ,)))
    page = reader.get("/v1/studies/mine.html")
    assert page.status_code == 200
    assert "the scope <code>analyse</code>" in page.text
    assert "Headline figures" not in page.text


def test_a_name_that_is_a_script_is_text(client):
    client.put("/v1/studies/bad", json={"name": "<script>alert(1)</script>", "protocol": "seed-2008"})
    answer = client.get("/v1/studies/bad.html")
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text


class _Asked:
    """Answers every request with one status."""

    def __init__(self, status):
        self.status = status

    async def get(self, path, query=()):
        return ServedDocument(self.status, Headers({"etag": '"a"'}), b"<svg/>")


@pytest.mark.parametrize(("status", "text", "kept"), [(200, "<svg/>", True), (404, None, True), (503, None, False)])
def test_a_page_without_a_chart_that_could_not_be_drawn_just_now_is_not_kept(status, text, kept):
    reading = PageReading(_Asked(status))
    assert asyncio.run(reading.text("/chart")) == text
    assert all(tag is not None for _, _, tag in reading.parts) is kept
