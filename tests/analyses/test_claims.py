"""Claims and counts over everybody who was treated, in every answer."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import QUESTIONS, Options, answer
from app.analyses.answer_document import Header, Provenance, answer_json
from app.analyses.claims import (
    BECAUSE,
    ChangeTest,
    Comparison,
    OnsetWeek,
    change,
    change_test,
    comparison,
    differences_of,
    median_time,
    onset,
    onset_week,
)
from app.analyses.comparison.study_comparison import BetweenStudies, NamedCohort, study_comparison
from app.analyses.sensitivity.caveat_findings import SENTENCES
from app.analyses.sensitivity.key_results import last_day
from app.demo import TIMELINES
from app.derive.study import DerivedStudy
from app.estimate.results import TestResult
from app.http import responses
from app.http.responses import etag_from
from app.protocol.endpoints import CriterionInWindow
from app.protocol.presets import MYOSITIS_2026, PRESETS, SEED_2008
from app.timeline.cohort import Cohort, InfusionRow, LabRow, PatientRow
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from tests.repetition import repeats
from tests.twin import derivations as twin
from tests.twin import sensitivity as slow
from tests.twin import steroids
from tests.twin.cohorts import cohorts, protocols

HEADER = Header(
    study=None,
    revision=None,
    as_of=None,
    provenance=Provenance(protocol="", protocol_id="", protocol_changed_after_first_outcome=None, data="", software=""),
)


@pytest.fixture(scope="module")
def reference():
    timelines = [Timeline.model_validate_json(json.dumps(each)) for each in json.loads(TIMELINES.read_text())]
    return Cohort.of_histories([normalise(each, 2**62) for each in timelines], None)


def ask(name, cohort, protocol=SEED_2008, **options):
    return answer(name, cohort, protocol, QUESTIONS[name].options_type(**options))


@pytest.mark.parametrize("protocol", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_claims_something_whose_reasons_are_in_the_rule_book(name, protocol, reference):
    found = ask(name, reference, protocol).claims

    assert found
    assert {code for claim in found for code in claim.because} <= {*BECAUSE}
    assert [claim for claim in found if not claim.because or not claim.text.endswith(".")] == []


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_claim_is_of_a_change_and_never_of_an_effect(name, reference):
    texts = [claim.text for claim in ask(name, reference).claims]

    assert [text for text in texts if "effect" in text.lower() or "cause" in text.lower()] == []


@pytest.mark.parametrize("name", QUESTIONS)
def test_claims_stand_between_the_results_and_the_caveats(name, reference):
    fields = list(json.loads(answer_json(HEADER, ask(name, reference))))

    assert fields[-4:] == ["excluded", "flags", "claims", "caveats"]


def test_with_subgroups_each_claim_names_its_own(reference):
    found = ask("response-rates", reference, by="diagnosis").claims

    assert [claim.group["diagnosis"] for claim in found] == ["dermatomyositis"] * 6 + ["polymyositis"] * 6 + [None] * (
        len(found) - 12
    )
    assert sum(claim.n for claim in found) == 6 * 16


def test_two_studies_are_compared_by_one_family_of_tests(reference):
    sides = NamedCohort("one", reference), NamedCohort("two", reference)
    found = study_comparison(*sides, SEED_2008, BetweenStudies(), same_protocol=True)

    assert {(claim.code, claim.supported) for claim in found.claims} == {("difference", False)}
    assert all("over the 19 tests of this answer" in claim.text for claim in found.claims)


@given(st.tuples(cohorts(), protocols()))
@settings(max_examples=repeats(40))
def test_everybody_who_was_treated_is_counted_as_by_the_twin(case):
    cohort, protocol = case
    tally, patients = twin.tally(cohort, protocol), twin.patients_of(cohort)
    found = answer("response-rates", cohort, protocol, Options()).results
    for declared, row, verdicts in zip(protocol.responses, found, tally.responses, strict=True):
        until = last_day(DerivedStudy(cohort, protocol), declared.rule)
        responders = [who for who in tally.safety if verdicts[who] == "responder"]
        rule = declared.rule
        if isinstance(rule, CriterionInWindow):  # who has no value was not judged, also where that is no response
            rule = rule.model_copy(update={"missing": "left_out"})
        verdict_of = {patient.id: twin.response(patient, protocol, rule) for patient in patients}
        judged = [who for who in tally.safety if verdict_of[who] in ("responder", "non_responder")]
        died, rescued = [], []
        for place, patient in enumerate(patients):
            course = twin.course(patient, protocol)
            if not course.treated:
                continue
            taken = steroids.periods(cohort, place, course.date)
            names = {twin.one_name(each) for each in protocol.ck_normal_time.immunosuppressants}
            begun = [(drug, date - course.date) for drug, date in patient.drugs]
            earlier = {drug for drug, day in begun if day <= 0}
            new = [day for drug, day in begun if drug in names - earlier and day > 0]
            days = [course.second, slow.steroid_change(taken, 1), min(new, default=None)]
            rescued += [patient.id] * any(day is not None and 0 <= day <= until for day in days)
            end = None if patient.ended_date is None else patient.ended_date - course.date
            died += [patient.id] * (patient.ended_reason == "died" and end is not None and 0 <= end <= until)
        count = row.all_treated
        assert (count.of, count.counted) == (len(tally.safety), len(responders))
        assert count.not_judged == len(tally.safety) - len(judged)
        assert count.at_most == len(tally.safety) - len(judged) + len(responders)
        assert count.died == len(died)
        assert count.rescued == len(rescued)
        assert (count.rate is None) == (count.reason is not None) == (not tally.safety)


@given(st.tuples(cohorts(), protocols()))
@settings(max_examples=repeats(15))
def test_the_caveats_of_every_answer_are_those_of_the_question_about_them(case):
    cohort, protocol = case
    counted = {
        (row.code, row.measure): (row.applies, row.text)
        for row in answer("caveats", cohort, protocol, Options()).results
    }
    for name in QUESTIONS:
        for caveat in ask(name, cohort, protocol).caveats:
            if caveat.code in SENTENCES:
                applies, text = counted[caveat.code, caveat.measure]
                assert caveat.applies is applies, (name, caveat.code)
                assert caveat.text.endswith(text), (name, caveat.code)
            else:
                assert caveat.applies is True


def test_an_answer_of_an_older_form_is_not_kept_under_its_tag(monkeypatch):
    tag = etag_from("response-rates", 1)
    monkeypatch.setattr(responses, "ANSWERS", responses.ANSWERS - 1)

    assert etag_from("response-rates", 1) != tag


# --- the rules as functions -------------------------------------------------------------------------------------------


def changed(p, centre, better):
    test = ChangeTest(9, p, centre)
    return change("change", "X at week 1", "baseline", test, better=better, alpha=0.05, family="t", measure="X")


@pytest.mark.parametrize(
    ("centre", "better", "direction"),
    [
        (1, "higher", "improvement"), (-1, "higher", "worsening"), (1, "lower", "worsening"),
        (-1, "lower", "improvement"), (1, None, "increase"), (-1, None, "decrease"), (0, "higher", None),
        (None, "higher", None),
    ],
)  # fmt: skip
def test_a_significant_change_names_its_direction_or_is_not_supported(centre, better, direction):
    found = changed(0.01, centre, better)

    assert (found.direction, found.supported) == (direction, direction is not None)
    assert ("no_direction" in found.because) is (direction is None)
    assert ("no_beneficial_direction" in found.because) is (better is None)


@pytest.mark.parametrize(
    ("p", "supported"), [(None, False), (0.0, True), (0.05, True), (0.0500001, False), (1.0, False)]
)
def test_a_change_needs_a_p_of_at_most_alpha(p, supported):
    assert changed(p, 1, "higher").supported is supported


def test_without_a_better_end_a_run_is_an_onset_of_change():
    weeks = {1: ChangeTest(9, 0.5, 1), 2: ChangeTest(9, 0.01, 1), 4: ChangeTest(8, 0.01, 2)}
    found = onset_week(weeks, better=None, alpha=0.05)
    claims = onset("X", found, weeks, family="t", measure="X")

    assert found == OnsetWeek(2, None, "no_beneficial_direction", True)
    assert [(claim.code, claim.supported, claim.direction, claim.n) for claim in claims] == [
        ("onset", False, None, 8),
        ("onset_of_change", True, "increase", 8),
    ]


def test_a_last_week_without_a_direction_gives_no_onset():
    weeks = {1: ChangeTest(9, 0.01, 1), 2: ChangeTest(9, 0.01, 0)}
    found = onset_week(weeks, better="higher", alpha=0.05)

    assert found == OnsetWeek(None, None, "no_direction")
    assert [(claim.code, claim.because) for claim in onset("X", found, weeks, family="t", measure="X")] == [
        ("onset", ("no_direction",))
    ]


WEEKS = st.lists(
    st.tuples(st.sampled_from([None, 0.01, 0.05, 0.06, 1.0]), st.sampled_from([None, -1, 0, 1])), min_size=1, max_size=5
)


@given(WEEKS, st.sampled_from(["higher", "lower", None]))
@settings(max_examples=repeats(300))
def test_the_onset_is_the_first_week_whose_whole_rest_is_significant_in_one_direction(weeks, better):
    found = onset_week({i: ChangeTest(5, p, centre) for i, (p, centre) in enumerate(weeks)}, better=better, alpha=0.05)

    signs = [centre if p is not None and p <= 0.05 else None for p, centre in weeks]
    runs = [i for i in range(len(weeks)) if set(signs[i:]) in ({1}, {-1})]
    assert found.week == (runs[0] if runs else None)
    beneficial = {"higher": 1, "lower": -1}.get(better)
    side = None if not runs or beneficial is None else "improvement" if signs[-1] == beneficial else "worsening"
    assert found.direction == side
    assert (found.reason is None) is (found.week is not None and found.direction is not None)


@pytest.mark.parametrize(
    ("value", "at_risk", "because"), [(None, 0, "no_median"), (20.0, 0, "nobody_at_risk"), (20.0, 1, "at_risk")]
)
def test_a_median_needs_somebody_under_observation_after_it(value, at_risk, because):
    found = median_time("median_time_normal", "Time", value, 3, at_risk, {"had a second course": 2}, measure="CK")

    assert (found.supported, found.because) == (because == "at_risk", (because, "treated_again_before"))
    assert "2 had a second course" in found.text


def test_a_family_has_the_tests_with_a_p_and_is_named():
    tests = [Comparison("A", 10, 0.02), Comparison("B", 10, 0.03), Comparison("C", 0, None)]
    found = differences_of("difference", tests, family="this answer", alpha=0.05)

    assert [(claim.supported, claim.because[0]) for claim in found] == [
        (True, "significant"), (True, "significant"), (False, "no_p"),
    ]  # fmt: skip
    assert "p 0.04, adjusted by Holm over the 2 tests of this answer" in found[0].text
    assert not any(claim.supported for claim in differences_of("difference", [*tests, *tests], family="", alpha=0.05))


def tiny(**given):
    return TestResult(method="t", statistic=99.0, n_used=9, n_zero=0, **given)


@pytest.mark.parametrize(
    ("test", "p"),
    [
        (tiny(p=1e-300), "p 1e-300"), (tiny(p=9e-301), "p < 1e-300"), (tiny(p=0.0), "p < 1e-300"),
        (tiny(p=1e-301, p_adjusted=4e-300, adjustment="holm"), "p < 4e-300"),
        (tiny(p=2e-300, p_adjusted=4e-300, adjustment="holm"), "p 4e-300"),
    ],
)  # fmt: skip
def test_a_p_too_small_to_be_written_is_significant_and_shown_as_a_bound(test, p):
    tested = change_test(9, test, 1.0)
    changed = change("change", "X", "Y", tested, better="higher", alpha=0.05, family="t", measure="X")
    weeks = {1: tested, 2: tested}

    assert (changed.supported, changed.because) == (True, ("significant",))
    assert f"({p}, t)" in changed.text
    assert onset_week(weeks, better="higher", alpha=0.05) == OnsetWeek(1, "improvement", None, True)


def test_a_difference_with_a_p_too_small_to_be_written_is_significant_and_shown_as_a_bound():
    tests = [comparison("A", 9, tiny(p=0.0)), comparison("B", 9, tiny(p=0.04)), comparison("C", 9, tiny(p=None))]
    found = differences_of("difference", tests, family="this answer", alpha=0.05)

    assert [claim.because[0] for claim in found] == ["significant", "significant", "no_p"]
    assert "(p < 2e-300, adjusted by Holm over the 2 tests of this answer)" in found[0].text
    assert "(p 0.04, adjusted" in found[1].text


@pytest.mark.parametrize("protocol", [SEED_2008, MYOSITIS_2026], ids=["seed-2008", "myositis-2026"])
def test_every_question_with_a_rate_counts_everybody_who_was_treated(reference, protocol):
    rates = {row.measure: row for row in ask("response-rates", reference, protocol).results if row.primary}
    planned = {row.measure: row.all_treated for row in ask("planning", reference, protocol).results}
    rows = ask("sensitivity", reference, protocol).results

    assert planned == {measure: row.all_treated for measure, row in rates.items()}
    for row in rows:
        assert (row.all_treated is not None) == (row.of == "rate")
        if row.of == "rate" and row.variant.id == "main":
            assert row.all_treated == rates[row.measure].all_treated.model_copy(
                update={"intervals": row.all_treated.intervals}
            )
        if row.of == "rate" and row.variant.id == "without_further_treatment":
            main, count = rates[row.measure].all_treated, row.all_treated
            assert count.counted == round(row.estimate * row.n)
            assert (count.of, main.of) == (16, 16)
            assert count.not_judged >= max(main.not_judged, 16 - row.n)
            assert protocol is MYOSITIS_2026 or count.not_judged == 16 - row.n


def test_who_has_no_value_and_counts_as_a_non_responder_is_not_said_to_be_judged():
    labs = [
        LabRow("P", "CK", 18262 + day, None, False, value, 170.0, None, None, "A")
        for day, value in ((-1, 500.0), (30, 400.0))
    ]
    infusions = [InfusionRow("P", "IVIG", 18262, None, False, 0.4, "g/kg", None)]
    found = answer(
        "response-rates", Cohort.assemble([PatientRow("P")], labs, [], infusions, [], []), MYOSITIS_2026, Options()
    )
    [mmt] = [row for row in found.results if row.measure == "MMT"]
    [claim] = [claim for claim in found.claims if claim.measure == "MMT"]

    assert (mmt.responders, mmt.evaluable) == (0, 1)
    assert (mmt.all_treated.counted, mmt.all_treated.not_judged, mmt.all_treated.at_most) == (0, 1, 1)
    assert claim.because == ("missing_counted_as_none",)
