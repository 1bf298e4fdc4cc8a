"""Tables 1 and 2 as rows of text, the sentence on multiplicity, the primary family, and the values of each patient."""

import json
import math
import re

import numpy as np
import pytest
import scipy

from app import commit, libraries
from app.analyses import QUESTIONS, Options, answer, report
from app.analyses.multiplicity import in_one_sentence
from app.analyses.paper_table import NOTHING, days, limits, number, p_value, percent
from app.analyses.primary_family import holm_over
from app.demo import TIMELINES
from app.estimate.results import Interval, Reason, TestResult
from app.http.responses import etag_from
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise


def cohort_of(timelines):
    histories = [normalise(Timeline.model_validate_json(json.dumps(each)), 2**62) for each in timelines]
    return Cohort.of_histories(histories, None)


@pytest.fixture(scope="module")
def reference():
    return cohort_of(json.loads(TIMELINES.read_text()))


def ask(name, cohort, protocol=SEED_2008, **options):
    return answer(name, cohort, protocol, QUESTIONS[name].options_type(**options))


def with_p(p, p_adjusted=None, adjustment=None, method="paired_t"):
    return TestResult(method=method, statistic=1, p=p, p_adjusted=p_adjusted, adjustment=adjustment, n_used=9, n_zero=0)


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0, "<0.001"), (4e-67, "<0.001"), (0.000999, "<0.001"), (0.001, "0.001"), (0.0494, "0.049"), (0.9994, ">0.999"),
     (1.0, "1.000"), (None, NOTHING)],
)  # fmt: skip
def test_no_p_is_printed_as_0_or_as_1(p, text):
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (0.2445, "0.244"), (9.996, "10.0"), (99.96, "100"),
     (1245.3, "1245"), (-0.0714, "-0.0714"),
     (0.0000012345, "1.23e-06"), (None, NOTHING)],
)  # fmt: skip
def test_a_number_has_three_digits(value, text):
    assert number(value) == text


def test_counts_times_and_open_limits_are_written_as_papers_do():
    assert (percent(14, 15), percent(0, 0)) == ("14/15 (93.3 %)", "0/0")
    assert (days(334.5), days(42.0), days(None)) == ("334.5", "42", NOTHING)
    opened = Interval(of="median", method="m", level=0.95, low=77, high=None, reason=Reason.NOT_REACHED)
    none = opened.model_copy(update={"low": None})
    assert (limits(opened, days), limits(none, days)) == (f"77 to {NOTHING}", NOTHING)


def test_table_2_holds_the_numbers_of_the_answers(reference):
    found = report(reference, SEED_2008, Options())
    cells = {(row.analysis, row.label.partition(":")[0]): row.cells[0] for row in found.outcomes.rows[::-1]}
    assert [column.label for column in found.outcomes.columns] == ["All (n = 16)"]
    assert cells["response-rates", "MMT response, primary"].text.estimate == "14/15 (93.3 %)"
    week = cells["weekly-change", "CK, week 1, ratio to baseline"]
    row = found.answers["weekly-change"].results[0]
    assert (week.n, week.estimate, week.test) == (row.n, row.geometric_mean_ratio, row.tests[0])
    assert (week.text.estimate, week.text.interval, week.text.p) == ("0.587", "0.516 to 0.668", "<0.001")
    time = cells["ck-normal-time", "Time with normal CK (d), median"]
    assert (time.text.n, time.text.estimate, time.text.interval) == ("8/13", "334.5", f"77 to {NOTHING}")
    difference = cells["ck-change", "CK, ratio after treatment divided by the ratio before it"]
    assert (difference.text.estimate, difference.text.p) == ("0.245", "<0.001")
    assert cells["adverse-reactions", "Patients with an adverse reaction"].text.estimate == "7/16 (43.8 %)"


def test_each_subgroup_has_a_column_in_both_tables(reference):
    found = report(reference, SEED_2008, Options(by="diagnosis"))
    labels = ["dermatomyositis (n = 7)", "polymyositis (n = 9)"]
    table = found.answers["baseline-table"].table
    assert [each.label for each in table.columns] == [each.label for each in found.outcomes.columns] == labels
    assert all(len(row.cells) == 2 for row in (*table.rows, *found.outcomes.rows))
    female = next(row for row in table.rows if row.label == "Sex: female")
    assert female.cells == ("5/7 (71.4 %)", "6/9 (66.7 %)")
    counts = [row.categories for row in found.answers["baseline-table"].results if row.variable == "sex"]
    assert [each[0].count for each in counts] == [5, 6]


def test_nobody_at_all_has_tables_without_numbers():
    found = report(cohort_of([]), SEED_2008, Options())
    assert [column.n for column in found.outcomes.columns] == [0]
    assert all(row.cells[0].estimate is None and row.cells[0].reason for row in found.outcomes.rows)
    assert {row.cells[0].text.interval for row in found.outcomes.rows} == {NOTHING}
    assert "0.0" not in " ".join(row.cells[0] for row in found.answers["baseline-table"].table.rows)


def test_without_patients_there_are_no_subgroups_and_no_columns():
    found = report(cohort_of([]), SEED_2008, Options(by="sex"))
    table = found.answers["baseline-table"].table
    assert (table.columns, table.rows, found.outcomes.columns, found.outcomes.rows) == ((), (), (), ())


def test_the_groups_have_one_grid_of_times_and_the_curves_of_their_subgroups(reference):
    [time, _] = ask("ck-normal-groups", reference, by="diagnosis").results
    usual = ask("ck-normal-time", reference, by="diagnosis").results
    assert [group.curve for group in time.groups] == [row.curve for row in usual]
    grids = {tuple(each.time for each in group.numbers_at_risk) for group in time.groups}
    assert len(grids) == 1
    assert max(map(len, grids)) == max(len(row.numbers_at_risk) for row in usual)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_answer_says_in_one_sentence_how_its_tests_were_adjusted(name, reference):
    sentence = ask(name, reference, by="diagnosis").multiplicity.text
    assert sentence.endswith(".")
    assert ". " not in sentence
    counts = [int(each) for each in re.findall(r"\d+", sentence)]
    assert not counts or counts[0] > 0


def test_the_sentence_counts_the_tests_of_the_answer(reference):
    found = ask("weekly-change", reference)
    size = sum(test.p is not None for row in found.results for test in row.tests)
    assert found.multiplicity.text.startswith(
        f"{size} tests with a p value (16 wilcoxon_exact, 16 paired_t); {size} adjusted"
    )
    assert "holm over the weeks of one measure and scale" in found.multiplicity.text
    alone = ask("weekly-change", reference, multiplicity="none").multiplicity.text
    assert f"; {size} not adjusted; " in alone
    assert "holm" not in alone


def test_tests_without_a_p_value_are_not_counted():
    assert in_one_sentence([[with_p(None)]], 0, None) == "This answer tests nothing, so that nothing is adjusted."
    assert in_one_sentence([[with_p(0.1), with_p(None)]], 0, None).startswith(
        "1 test with a p value (1 paired_t); 1 not"
    )


def test_the_primary_family_is_adjusted_by_holm_over_all_its_tests():
    """R: p.adjust(c(0.01, 0.04, 0.03), "holm") is 0.03 0.06 0.06."""
    names = ("a", "rate", "b", "c", "none")
    family = holm_over(names, {"a": with_p(0.01), "b": with_p(0.04), "c": with_p(0.03), "none": with_p(None)})
    assert family.tests == 3
    assert [each.p_adjusted for each in family.members] == [pytest.approx(0.03), None, pytest.approx(0.06),
                                                            pytest.approx(0.06), None]  # fmt: skip
    assert family.members[1].reason == Reason.NOT_TESTED


def test_each_answer_with_a_member_of_the_family_holds_the_whole_family(reference):
    names = ("weekly_change:CK:4", "ck_change", "response:MMT")
    declared = SEED_2008.model_copy(update={"primary_family": names})
    found = report(reference, declared, Options(by="diagnosis")).answers
    holding = [name for name, each in found.items() if each.multiplicity.primary_family is not None]
    assert holding == ["response-rates", "weekly-change", "ck-change"]
    assert len({found[name].multiplicity.primary_family for name in holding}) == 1
    family = found["ck-change"].multiplicity.primary_family
    week = next(row for row in ask("weekly-change", reference).results if (row.measure, row.week) == ("CK", 4))
    difference = ask("ck-change", reference).results[0].difference
    assert [each.p for each in family.members] == [week.tests[0].p, difference.tests[0].p, None]
    assert ask("ck-change", reference).multiplicity.primary_family is None
    assert declared.model_copy(update={"primary_family": None}).digest == SEED_2008.digest != declared.digest


def test_patients_are_listed_with_their_values_and_changes(reference):
    for row in ask("weekly-change", reference, patients=True).results:
        for each in row.patients:
            if each.difference is not None and row.scale == "raw":
                assert each.difference == pytest.approx(each.value - each.baseline)
            if each.difference is not None:
                assert abs(each.day - 7 * row.week) <= 14
    for row in ask("response-rates", reference, patients=True).results:
        points = row.definition.parameters.get("points")
        for each in row.patients:
            assert each.change == (None if each.value is None else each.value - each.baseline)
            if points is not None and each.responder is not None:
                assert each.responder == (each.change >= points)
    for each in ask("ck-change", reference, patients=True).results[0].patients:
        if each.difference is not None:
            assert each.start_day < 0 < each.day
            assert each.after == pytest.approx(math.log(each.value / each.baseline))
            assert each.before == pytest.approx(math.log(each.baseline / each.start))


def lab(day, value, **more):
    return {"time": f"2024-01-{day:02}", "code": "CK", "value": value, "unit": "U/L", "upper_limit": 200} | more


def one_patient(*labs):
    infusion = {"time": "2024-01-05", "product": "IVIG", "dose": 0.4, "unit": "g/kg", "course": 1}
    patient = {"id": "P01", "diagnosis": "polymyositis"}
    cohort = cohort_of([{"patient": patient, "infusions": [infusion], "labs": list(labs)}])
    rows = ask("response-rates", cohort, patients=True).results
    return next(row for row in rows if row.measure == "CK").patients[0]


def test_of_several_judged_values_the_first_best_is_listed():
    best = one_patient(lab(4, 1000), lab(10, 300), lab(12, 250), lab(14, 250))
    assert (best.responder, best.baseline, best.value, best.day, best.change) == (True, 1000, 250, 7, -750)


def test_a_value_known_only_as_a_bound_is_listed_with_its_sign_and_without_a_change():
    bound = one_patient(lab(4, 1000), lab(10, 300), lab(12, 250, comparator="<"))
    assert (bound.value, bound.value_comparator, bound.baseline_comparator, bound.change) == (250, "<", None, None)


def test_without_a_value_after_treatment_nothing_is_listed_but_the_baseline():
    found = one_patient(lab(4, 1000))
    assert (found.baseline, found.value, found.day, found.change, found.responder) == (1000, None, None, None, None)


def test_provenance_names_the_packages_that_compute_and_the_commit_of_the_build(tmp_path, monkeypatch):
    for name, module in (("numpy", np), ("scipy", scipy)):
        assert libraries()[name] == module.__version__
    assert set(libraries()) == {"numpy", "scipy", "lifelines"}
    written = tmp_path / "COMMIT"
    monkeypatch.setattr("app.COMMIT_FILE", written)
    read = commit.__wrapped__
    assert read() is None
    for text, known in (("0123abc\n", "0123abc"), ("", None), ("main", None), ("0123abc <script>", None)):
        written.write_text(text)
        assert read() == known


def test_another_version_of_a_package_gives_another_etag(monkeypatch):
    before = etag_from("question")
    monkeypatch.setattr("app.http.responses.libraries", lambda: libraries() | {"scipy": "0"})
    assert etag_from("question") != before
