"""The analysis results as rows: each number of the report once, told apart from every other."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings

from app.analyses import Options, report
from app.analyses.answer_document import report_document
from app.datasets import as_csv
from app.datasets.results import DESCRIPTION, ard
from app.demo import TIMELINES
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from tests.datasets.tables import HEADER, made, of_csv, types_of
from tests.repetition import repeats
from tests.twin.cohorts import cohorts, protocols

TYPES = types_of(DESCRIPTION.variables)
NOT_STATISTICS = {
    "week", "weeks", "time", "until", "alpha", "level", "parameters", "conventions", "definitions", "claims",
    "multiplicity", "table", "censorings",
}  # fmt: skip


def rows(cohort, protocol=SEED_2008):
    return of_csv("".join(as_csv(made("ard", cohort, protocol))), TYPES)


def numbers(part, name=""):
    """The numbers of a JSON document that are statistics, wherever they stand."""
    if isinstance(part, dict):
        onset = "alpha" in part and "test" in part
        for key, value in part.items():
            if key not in NOT_STATISTICS or (onset and key == "week"):
                yield from numbers(value, key)
    elif isinstance(part, list):
        drawn_from = 1 if name == "curve" and part and "survival" in part[0] else 0  # the row at time 0
        for each in part[drawn_from:]:
            yield from numbers(each, name)
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield name, part


def document(cohort, protocol):
    return json.loads(report_document(HEADER, report(cohort, protocol, Options())))


@pytest.mark.slow
@settings(max_examples=repeats(8, thorough=20))
@given(cohorts(5), protocols())
def test_every_number_of_the_report_is_a_row_and_no_other_is(cohort, protocol):
    told = document(cohort, protocol)
    found = rows(cohort, protocol)
    for name, part in (*told["analyses"].items(), ("populations", told["populations"]), ("flow", told["flow"])):
        mine = Counter(
            (row["stat_name"].rpartition(".")[2], row["stat"])
            for row in found
            if row["analysis"] == name and row["stat"] is not None
        )
        assert mine == Counter(numbers(part)), name
    keys = [tuple(row[name] for name in DESCRIPTION.key) for row in found]
    assert len(set(keys)) == len(keys)
    assert [row["row"] for row in found] == list(range(1, len(found) + 1))


def demo():
    """The reference cohort."""
    documents = [Timeline.model_validate_json(json.dumps(each)) for each in json.loads(TIMELINES.read_bytes())]
    return Cohort.of_histories([normalise(each, 4 * 10**15) for each in documents])


@pytest.fixture(scope="module")
def reference():
    return rows(demo())


def one(found, **fields):
    chosen = [
        row
        for row in found
        if all((json.loads(row["context"] or "{}").get(name[2:].replace("__", ".")) if name.startswith("c_")
                else row[name]) == value for name, value in fields.items())
    ]  # fmt: skip
    assert len(chosen) == 1, (fields, len(chosen))
    return chosen[0]


def test_a_rate_has_its_rule_its_interval_and_its_method(reference):
    best = '{"points":5.0,"days":[1,59],"value":"best"}'
    about = {"analysis": "response-rates", "part": "results", "variable": "MMT", "parameters": best}
    assert one(reference, **about, stat_name="responders")["stat"] == 14
    rate = one(reference, **about, stat_name="rate")
    assert rate["stat"] == 0.933333333333
    assert rate["stat_label"] == "responders / evaluable, a fraction"
    assert rate["definition"].split()[0] == "points_above_baseline"
    low = one(reference, **about, stat_name="intervals.low", method="clopper-pearson")
    assert (low["stat"], low["level"]) == (0.680515433422, 0.95)
    assert {row["study"] for row in reference} == {HEADER.study}
    assert {row["data"] for row in reference} == {"sha256:d"}


def test_a_test_at_a_week_and_the_week_of_onset_are_told_apart(reference):
    about = {"analysis": "weekly-change", "variable": "CK", "c_scale": "ln"}
    p = one(reference, **about, part="results", c_week=1, method="wilcoxon_exact", stat_name="tests.p")
    assert p["stat"] == 6.103515625e-05
    assert one(reference, **about, part="onset", stat_name="week")["stat"] == 1


def test_the_steps_of_a_curve_and_the_flow_are_rows(reference):
    about = {"analysis": "ck-normal-time", "part": "results"}
    assert one(reference, **about, stat_name="median.value")["stat"] == 334.5
    assert one(reference, **about, stat_name="curve.at_risk", c_curve__time=41)["stat"] == 12
    assert one(reference, analysis="flow", c_step="efficacy", stat_name="n")["stat"] == 15
    left_out = one(reference, analysis="flow", c_step="efficacy", stat_name="reasons.count")
    assert json.loads(left_out["context"])["reasons.reason"] == "no_value_after_baseline"


def test_a_number_that_is_not_defined_is_a_row_with_its_reason(reference):
    high = [
        row for row in reference
        if row["analysis"] == "ck-normal-time" and row["stat_name"] == "median.intervals.high"
    ]  # fmt: skip
    assert [(row["stat"], row["reason"]) for row in high] == [(None, "not_reached")]
    empty = rows(Cohort.assemble([], [], [], [], [], []))
    rates = [row for row in empty if row["analysis"] == "response-rates" and row["stat_name"] == "rate"]
    assert [(row["stat"], row["reason"]) for row in rates] == [(None, "no_patients")] * 6
    assert all(row["reason"] is None for row in reference if row["stat"] is not None)


def test_subgroups_are_groups():
    found = ard(HEADER, report(demo(), SEED_2008, Options(by="diagnosis")))
    told = of_csv("".join(as_csv([found])), TYPES)
    mine = [row for row in told if row["analysis"] == "adverse-reactions" and row["stat_name"] == "safety"]
    patients = Counter(row.diagnosis for row in demo().patients)
    assert [(row["group1"], row["group1_level"], row["stat"]) for row in mine] == [
        ("diagnosis", name, patients[name]) for name in ("dermatomyositis", "polymyositis")
    ]
