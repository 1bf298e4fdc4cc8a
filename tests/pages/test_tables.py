"""Results as tables: an estimate with its limits, a test as its p value, and why a number is missing."""

import re

import pytest

from app.analyses import QUESTIONS
from app.analyses.answer_document import answer_model
from app.pages.cells import days, interval_cell, number_cell, p_cell, small_result, written_limits
from app.pages.definitions import in_words
from app.pages.labels import definition
from app.pages.tables import MOST, SHOWN, tables_of
from tests.pages.shown import Shown

INTERVAL = {"of": "rate", "method": "wilson", "level": 0.95, "low": 0.7, "high": None, "reason": "zero_denominator"}
TEST = {"method": "paired_t", "p": 0.04321, "p_adjusted": 0.08642, "adjustment": "holm", "n_used": 9, "reason": None}
KIND = answer_model(QUESTIONS["response-rates"].answer_type)


def rows(count):
    return [
        {"measure": "CK", "responders": number, "evaluable": 15, "rate": 0.9, "reason": None,
         "intervals": [INTERVAL | {"method": "clopper-pearson", "high": 0.99}, INTERVAL]}
        for number in range(count)
    ]  # fmt: skip


def test_an_estimate_and_its_first_interval_share_a_cell_and_the_second_has_its_own():
    (table,) = tables_of({"results": rows(6)}, KIND)
    shown = dict(zip([column.label for column in table.columns], table.rows[1], strict=True))
    assert shown["Rate (95\u00a0% CI)"].text == "90\u00a0% (70\u00a0% to 99\u00a0%)"
    assert shown["Rate: 95\u00a0% CI, Wilson"].text == "70\u00a0% to no limit"
    notes = {column.label: column.note for column in table.notes}
    assert notes["Rate (95\u00a0% CI)"].endswith("Confidence interval: Clopper-Pearson.")


def test_a_long_table_is_cut_and_says_by_how_much():
    (cut,) = tables_of({"results": rows(30)}, KIND)
    (whole,) = tables_of({"results": rows(30)}, KIND, whole=True)
    (most,) = tables_of({"results": rows(MOST + 1)}, KIND, whole=True)
    assert (len(cut.rows), cut.more) == (SHOWN, 30 - SHOWN)
    assert (len(whole.rows), whole.more) == (30, 0)
    assert (len(most.rows), most.more) == (MOST, 1)


def test_the_p_that_decides_is_shown_and_none_is_zero():
    assert p_cell(TEST).text == "0.086"
    assert p_cell(TEST | {"adjustment": None}).text == "0.043"
    assert p_cell(TEST | {"p_adjusted": 1e-9}).text == "< 0.001"
    assert p_cell(TEST | {"p": None, "p_below": 1e-300, "adjustment": None}).text == "< 0.001"


def test_a_number_that_is_missing_says_why():
    cell = number_cell({"rate": None, "reason": "no_patients"}, "rate")
    assert (cell.text, cell.why) == ("–", "No patient has the values that this number is computed from.")
    cell = p_cell(TEST | {"p": None, "p_adjusted": None, "reason": "no_groups"})
    assert (cell.text, cell.why[:12]) == ("–", "No subgroups")
    both = INTERVAL | {"low": None, "reason": "no_patients"}
    assert interval_cell({}, both).why == "No patient has the values that this number is computed from."


def test_a_limit_that_is_not_reached_is_not_the_same_as_no_limit():
    median = {"of": "median", "method": "x", "level": 0.95, "low": 77, "high": None, "reason": "not_reached"}
    assert written_limits(median, share=False) == "77 to not reached"
    assert written_limits(median | {"reason": "zero_denominator"}, share=False) == "77 to no limit"


def test_a_time_keeps_its_half_day():
    assert (days(334.5), days(42.0), days(1234.25)) == ("334.5", "42", "1234.2")
    assert number_cell({"value": 334.5, "unit": "d"}, "value").text == "334.5 d"
    mean = {"of": "restricted_mean", "method": "normal", "level": 0.95, "low": 191.05, "high": 329.44, "reason": None}
    row = {"until": 365, "value": 260.25, "intervals": [mean]}
    assert number_cell(row, "value", mean).text == "260.2 (191.1 to 329.4)"


def test_a_cumulative_incidence_is_a_share_and_no_time():
    limits = {"of": "incidence", "method": "x", "level": 0.95, "low": 0.335, "high": 0.848, "reason": None}
    row = {"cause": "abnormal", "until": 365, "value": 0.583, "intervals": [limits]}
    assert number_cell(row, "value", limits).text == "58.3\u00a0% (33.5\u00a0% to 84.8\u00a0%)"


def test_a_rate_per_exposure_is_no_percentage():
    given = {"events": 9, "exposure": 80.0, "unit": "infusion", "rate": 0.1125, "reason": None, "intervals": []}
    assert small_result("per_infusion", given).text == "0.113 per infusion; 9 in 80"
    assert number_cell({"rate": 0.1125, "exposure": 80}, "rate").text == "0.113"
    assert number_cell({"rate": 0.1125}, "rate").text == "11.2\u00a0%"


def test_the_rate_of_all_treated_names_the_greatest_possible_count():
    given = {"counted": 14, "of": 16, "rate": 0.875, "not_judged": 1, "at_most": 15, "reason": None, "intervals": []}
    assert small_result("all_treated", given).text == "14/16, 87.5\u00a0%; at most 15"
    assert small_result("all_treated", given | {"not_judged": 0, "at_most": 14}).text == "14/16, 87.5\u00a0%"


_BEST = "at least 5 points better than the baseline, judged by the best value of days 1 to 59 after the first infusion"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"id": "points_above_baseline", "parameters": {"points": 5.0, "days": [1, 59], "value": "best"}}, _BEST),
        ({"id": "points_better", "parameters": {"points": 3}}, "at least 3 points better than the baseline"),
        ({"id": "ck_normal", "parameters": {"sustained": True}}, "normal, and so is the next value"),
        (
            {"id": "best_end_of_scale", "within_points": 1},
            "within 1 point of the best end of the scale",
        ),
        ({"id": "visit", "parameters": {"week": 8}}, "at the visit of week 8"),
        ({"id": "visits", "parameters": {"weeks": [1, 2, 4]}}, "visits (weeks 1, 2, 4)"),
    ],
)
def test_a_definition_is_told_in_words_or_with_its_parameters(given, said):
    assert definition(given) == said


_CODE_NAMES = ("_above_baseline", "ck_decrease", "criterion_in", "percent_of_baseline", "value best", "`")


@pytest.mark.parametrize("query", ["", "?by=diagnosis"])
@pytest.mark.parametrize("name", ["response-rates", "courses", "comparisons", "ck-normal-groups", "improvement-score"])
def test_the_claims_of_a_page_tell_the_rules_in_words(demo, name, query):
    answer = demo.get(f"/v1/studies/demo/analyses/{name}{query}").json()
    told = in_words(answer)

    texts = [claim["text"] for claim in told["claims"]]
    assert [(text, code) for text in texts for code in _CODE_NAMES if code in text] == []
    figures = [[re.findall(r"[0-9]+ of|\([0-9]+ %\)|p [0-9.]+", text) for text in (claim["text"], new)]
               for claim, new in zip(answer["claims"], texts, strict=True)]  # fmt: skip
    assert [before for before, _ in figures] == [after for _, after in figures]
    page = " ".join(Shown(demo.get(f"/v1/studies/demo/analyses/{name}.html{query}").text).words.split())
    assert [code for code in _CODE_NAMES[:4] if code in page] == []


def test_each_rule_of_a_claim_is_the_one_of_its_own_row(demo):
    answer = demo.get("/v1/studies/demo/analyses/response-rates").json()
    texts = [claim["text"] for claim in in_words(answer)["claims"]]

    assert texts[0].startswith(f"MMT response ({_BEST}): 14 of all 16")
    assert texts[1].startswith(f"ADL response ({_BEST.replace('5 points', '3 points')}): 12 of all 16")
    assert texts[2].startswith("CK response (at most 70 % of the baseline, or normal, judged by the best value of days")


def test_the_same_name_with_several_parameters_is_told_by_its_name_where_the_text_has_no_parameters():
    rows = [
        {"measure": "MMT", "definition": {"id": "points_above_baseline", "parameters": {"points": 5, "days": [1, 59],
                                                                                        "value": value}}}
        for value in ("best", "last")
    ]  # fmt: skip
    claims = [{"text": "MMT response by points_above_baseline, 3 of 5."}]

    [told] = in_words({"results": rows, "claims": claims})["claims"]
    assert told["text"] == "MMT response by points above baseline, 3 of 5."


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_no_table_of_any_question_shows_more_digits_than_can_be_read(demo, name):
    """Twelve digits are for programs; a page shows as many as say something."""
    answer = demo.get(f"/v1/studies/demo/analyses/{name}").json()
    for table in tables_of(answer, answer_model(QUESTIONS[name].answer_type)):
        assert table.columns
        assert len({column.label for column in table.columns}) == len(table.columns), table.title
        for row in table.rows:
            assert len(row) == len(table.columns)
            for cell in row:
                assert all(sum(map(str.isdigit, word)) <= 8 for word in cell.text.split()), (table.title, cell.text)
