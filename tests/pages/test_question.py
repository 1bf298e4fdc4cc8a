"""The page of a question: its conventions as controls, its results, who was left out, and how to cite it."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from app.access.callers import Scope
from app.analyses import QUESTIONS
from app.pages.charts import CHARTS
from app.pages.definitions import in_words
from app.pages.pictures import OF_OVERVIEW, OF_PATIENTS, OF_QUESTION
from app.pages.questions import ABOUT, GROUPS
from tests.pages.shown import shown

pytestmark = pytest.mark.usefixtures("undrawn")
HOME = "/v1/studies/demo/analyses"
RATES = f"{HOME}/response-rates.html"


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_every_question_has_a_page_with_its_claims_caveats_and_left_out(demo, name):
    answer = demo.get(f"{HOME}/{name}").json()
    page = shown(demo, f"{HOME}/{name}.html?show=all")
    assert page.headings[0] == QUESTIONS[name].title
    for claim in in_words(answer)["claims"]:
        assert " ".join(claim["text"].split()) in page.words
    for caveat in answer["caveats"]:
        assert " ".join(caveat["text"].split()) in page.words
    left_out = page.tables.get("", [["", "", ""]])[1:] if answer["excluded"] else []
    assert sum(int(row[0]) for row in left_out) == sum(each["count"] for each in answer["excluded"])
    assert set(QUESTIONS[name].options_type.model_fields) <= page.controls.keys()


def test_the_list_names_every_question_once_with_its_headline(demo):
    assert sorted(name for _, names in GROUPS for name in names) == sorted(QUESTIONS) == sorted(ABOUT)
    page = shown(demo, f"{HOME}.html")
    for name, question in QUESTIONS.items():
        assert page.links[question.title] == f"{HOME}/{name}.html"
    assert "14 of 15 patients responded in MMT" in page.words


def test_a_control_that_is_left_empty_is_not_asked(demo):
    page = shown(demo, f"{RATES}?level=0.9&by=&median=&proportion=wilson&patients=")
    assert page.controls["level"]["value"] == "0.9"
    assert "Rate (90 % CI)" in page.tables["Main table"][0]
    assert page.links["All digits as JSON"] == f"{HOME}/response-rates?level=0.9&proportion=wilson"


def test_a_refused_value_is_shown_at_its_control_with_what_is_accepted(demo):
    page = shown(demo, f"{RATES}?level=2&zeros=maybe&by=Diagnosis!", status=422)
    assert page.controls["level"]["aria-invalid"] == "true"
    assert page.controls["zeros"]["aria-invalid"] == "true"
    assert "Accepted: 0.5 to 0.9999." in page.words
    assert "Accepted: drop, pratt." in page.words
    assert "aria-invalid" not in page.controls["median"]
    assert "Main table" not in page.tables


def test_a_parameter_that_no_control_has_is_refused_on_the_page(demo):
    page = shown(demo, f"{RATES}?nonsense=1", status=422)
    assert "does not take a query parameter of this name" in page.words


def test_subgroups_have_a_column_and_the_first_step_to_them_is_a_link(demo):
    first = shown(demo, f"{HOME}/ck-normal-groups.html")
    assert first.links["diagnosis"] == f"{HOME}/ck-normal-groups.html?by=diagnosis"
    page = shown(demo, f"{RATES}?by=diagnosis")
    assert page.tables["Main table"][0][0] == "Diagnosis"
    assert {row[0] for row in page.tables["Main table"][1:]} == {"dermatomyositis", "polymyositis"}


def test_the_citation_names_the_revision_the_digests_and_an_address_that_replays_it(demo):
    answer = demo.get(f"{HOME}/response-rates?level=0.9").json()
    page = shown(demo, f"{RATES}?level=0.9")
    address = next(link for text, link in page.links.items() if text.startswith("http://"))
    assert parse_qs(urlsplit(address).query) == {"level": ["0.9"], "revision": [str(answer["revision"])]}
    assert answer["provenance"]["data"] in page.words
    assert answer["provenance"]["protocol"] in page.words
    again = shown(demo, address)
    assert again.tables["Main table"] == page.tables["Main table"]


def test_the_same_in_r_and_in_json_are_links_that_answer(demo):
    page = shown(demo, f"{RATES}?level=0.9")
    script = demo.get(page.links["The same in R"])
    assert script.headers["content-type"].startswith("text/x-r")
    assert demo.get(page.links["All digits as JSON"]).json()["level"] == 0.9
    assert demo.get(f"{RATES}?code=R").headers["content-type"].startswith("text/x-r")


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_a_page_names_a_script_in_r_only_where_there_is_one(demo, name):
    for options in ("", "?level=0.9", "?by=sex", "?profile=SAS"):
        page = shown(demo, f"{HOME}/{name}.html{options}")
        script = demo.get(f"{HOME}/{name}{options}{'&' if options else '?'}code=R")
        offered = "The same in R" in page.links
        assert offered == (script.status_code == 200), (options, script.text)


def test_a_long_table_is_cut_until_all_rows_are_asked_for(demo):
    page = shown(demo, f"{HOME}/specification-curve.html")
    link = page.links["Show all rows"]
    assert len(page.tables["Main table"]) == 26
    assert len(shown(demo, link).tables["Main table"]) == 69


def test_a_reason_that_the_row_above_has_too_is_not_written_again(demo):
    _, first, second, *_ = shown(demo, "/v1/studies/demo/analyses/repeated-measures.html").tables["Model: effects"]
    assert [cell for cell in first if cell.startswith("– Too few patients for so many visits")]
    for before, after in zip(first, second, strict=True):
        assert (after == "– As above.") == before.startswith("– Too few patients")


def test_two_studies_are_compared_on_a_page(demo):
    demo.put("/v1/studies/second", json={"name": "Second", "protocol": "seed-2008"})
    assert shown(demo, f"{HOME}.html").links["Second"] == "/v1/studies/demo/comparisons/second.html"
    page = shown(demo, "/v1/studies/demo/comparisons/second.html?level=0.9")
    assert page.headings[0] == "Do two studies respond differently?"
    assert page.controls["level"]["value"] == "0.9"


def test_an_unknown_question_is_a_page_that_says_so(demo):
    answer = demo.get(f"{HOME}/nonsense.html")
    assert answer.status_code == 404
    assert "response-rates" in answer.text


def test_who_may_not_read_patients_is_not_offered_their_list(service):
    admin = service.with_key(service.key(tuple(Scope)))
    admin.put("/v1/studies/mine", json={"name": "mine", "protocol": "seed-2008"})
    analyst = service.with_key(service.key((Scope.READ, Scope.ANALYSE)))
    page = shown(analyst, "/v1/studies/mine/analyses/response-rates.html")
    assert "patients" not in page.controls
    assert "level" in page.controls
    assert analyst.get("/v1/studies/mine/analyses/what-is-missing.html").status_code == 403


def test_every_chart_of_a_page_exists_and_those_of_patients_are_named():
    named = {name for names in OF_QUESTION.values() for name in names} | set(OF_OVERVIEW)
    assert named <= CHARTS.keys()
    assert named & OF_PATIENTS == {"response-waterfall", "spells"}
    assert OF_QUESTION.keys() <= QUESTIONS.keys()


def test_no_page_of_an_answer_has_a_style_or_script_of_its_own(demo):
    for path in (RATES, f"{HOME}.html", "/v1/studies/demo.html", "/v1/verify.html", "/v1/planning/proportion.html"):
        text = demo.get(path).text
        assert not re.search(r"<style|\sstyle=|<script>|\son[a-z]+=", text), path
