"""The common part of every answer, and the contributions of single patients."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import QUESTIONS, Options, answer
from app.analyses.answer import Context, Definition, Findings
from app.analyses.answer_document import _json
from app.analyses.response_rates import rule_in_words
from app.analyses.sensitivity.caveat_findings import caveats_of
from app.derive.reasons import ExclusionReason, FlagCode
from app.derive.study import DerivedStudy
from app.protocol.endpoints import PointsAboveBaseline, Response
from app.protocol.model import Protocol, WeeklyChange
from app.protocol.presets import MYOSITIS_2026, PRESETS, RELATIVE_20, SEED_2008
from app.timeline.cohort import AssessmentRow, Cohort, EventRow, InfusionRow, PatientRow
from tests.repetition import repeats
from tests.twin import derivations as twin
from tests.twin.cohorts import cohorts, protocols

DAY0 = 20_000
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(), parts, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4))
def test_the_bytes_of_an_answer_are_those_of_the_json_of_python(document):
    assert _json(document) == (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode("utf-8")


def test_an_answer_with_a_number_that_json_does_not_have_is_not_written():
    for number in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            _json({"results": [{"value": number}]})


def treated(scores=(), events=()):
    infusions = [InfusionRow("A", "IVIG", DAY0, None, False, 0.4, "g/kg", None)]
    return Cohort.assemble([PatientRow("A")], [], list(scores), infusions, [], list(events))


@pytest.mark.parametrize("protocol", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_answer_names_the_treatment_baseline_visits_scales_and_limits(name, protocol):
    definitions = {
        definition.id: definition.parameters
        for definition in answer(name, treated(), protocol, QUESTIONS[name].options_type()).definitions
    }

    assert definitions["courses_by_gap"] == {"products": ["IVIG"], "course_gap_days": 14}
    assert definitions["last_on_or_before_day_0"] == {"flag_older_than_days": protocol.baseline.flag_older_than_days}
    assert f"visits_{protocol.visits.rule}" in definitions
    assert set(definitions["scales"]) == set(protocol.scales)
    assert "upper_limit_own" in definitions


@pytest.mark.parametrize(("protocol", "warned"), [(SEED_2008, True), (RELATIVE_20, False)])
def test_only_a_best_value_has_the_caveat(protocol, warned):
    codes = [caveat.code for caveat in answer("response-rates", treated(), protocol, Options()).caveats]

    assert ("best_of_many" in codes) is warned


def test_a_protocol_about_another_instrument_finds_its_patients():
    rule = PointsAboveBaseline(id="points_above_baseline", measure="MMT8", points=10, days=(1, 59), value="best")
    protocol = Protocol(id="eight", responses=(Response(rule=rule),), weekly_change=WeeklyChange(measures=("MMT8",)))
    scores = [
        AssessmentRow("A", "MMT8", DAY0 + day, None, False, score, None, None)
        for day, score in ((-1, 100.0), (28, 120.0))
    ]
    found = answer("response-rates", treated(scores), protocol, Options())

    assert found.populations.efficacy == 1
    assert [(row.responders, row.evaluable) for row in found.results] == [(1, 1)]


def test_spellings_that_differ_only_in_case_and_blanks_are_one_term():
    events = [
        EventRow("A", DAY0 + 1, None, False, term, None, None, None) for term in (" headache", "Headache", "HEADACHE ")
    ]
    [row] = answer("adverse-reactions", treated(events=events), SEED_2008, Options()).results

    assert [(each.term, each.patients, each.events) for each in row.by_term] == [("HEADACHE", 1, 3)]


@settings(max_examples=repeats(30, thorough=100))
@given(st.tuples(cohorts(), protocols()))
def test_the_patients_listed_are_those_of_the_twin(case):
    slow, listed = twin.tally(*case), Options(patients=True)
    for row in answer("weekly-change", *case, listed).results:
        found = [each for each in row.patients if each.reason in (None, "bound_only")]
        expected = slow.changes[row.measure, row.scale, row.week]
        assert [each.patient for each in found] == [patient for patient, _ in expected]
        for each, (_, x) in zip(found, expected, strict=True):
            assert_known_or_within(each, x)
        assert [each.patient for each in row.patients] == slow.all
    [change] = answer("ck-change", *case, listed).results
    found = [each for each in change.patients if each.reason in (None, "bound_only")]
    assert [each.patient for each in found] == [row[0] for row in slow.ck_change]
    for each, (_, before, after, difference) in zip(found, slow.ck_change, strict=True):
        assert_known_or_within(each, difference)
        for part, expected in ((each.before, before), (each.after, after)):
            assert part == pytest.approx(expected, abs=1e-9) or (part is None and each.reason == "bound_only")
        if each.reason is None:
            assert math.isclose(each.difference, each.after - each.before, abs_tol=1e-9)


def assert_known_or_within(patient, expected):
    """A known difference is the expected one; a bound is null with limits, between which the substitute lies."""
    if patient.reason is None:
        assert patient.difference == pytest.approx(expected, abs=1e-9)
        assert (patient.low, patient.high) == (None, None)
    else:
        assert patient.difference is None
        assert patient.low is None or patient.low <= expected + 1e-9
        assert patient.high is None or patient.high >= expected - 1e-9


def test_an_unknown_reason_or_flag_raises_an_error():
    context = Context.of(DerivedStudy(treated(), SEED_2008), Options())

    assert [(row.reason, row.count) for row in context.excluded([None, ExclusionReason.ZERO_VALUE], "CK")] == [
        ("zero_value", 1)
    ]
    with pytest.raises(ValueError, match="zero_values"):
        context.excluded([None, "zero_values"], "CK")
    with pytest.raises(ValueError, match="duplicate_draws"):
        context.flags({FlagCode.COMPARATOR: 1, "duplicate_draws": 2}, "CK")


def test_rows_of_a_list_that_the_answer_lacks_raise_an_error():
    strange = replace(QUESTIONS["ck-change"], find=lambda _: Findings({"rows": []}))

    with pytest.raises(KeyError, match="rows"):
        strange.ask(DerivedStudy(treated(), SEED_2008), Options(), caveats_of)


def test_a_rule_is_named_with_its_parameters_in_words():
    named = [rule_in_words(Definition.of_rule(protocol.responses[0].rule)) for protocol in (SEED_2008, MYOSITIS_2026)]

    assert named == [
        "points_above_baseline (points 5, days 1 to 59, value best)",
        "criterion_in_window (criterion percent_better (percent 20), window visit (week 4, confirmed next_visit), "
        "missing non_responder)",
    ]
