"""The answers about the core set measures: counts, bounds, intervals, time to response, and refusals."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.analyses import QUESTIONS, Options, answer
from app.estimate.rates.proportion import METHODS, proportion
from app.estimate.times.interval_censored import interval_censored
from app.estimate.times.survival import kaplan_meier
from app.protocol.improvement import CoreSet, DefinitionOfImprovement, EnzymeRange, ImprovementScore, judged_weeks
from app.protocol.model import Protocol
from app.protocol.parts import Scale
from app.protocol.presets import ACR_EULAR_2016_ADULT, IMACS_2004, SEED_2008
from app.timeline.cohort import AssessmentRow, Cohort, InfusionRow, LabRow, PatientRow
from tests.derive.core_sets import cohort, visit
from tests.repetition import repeats
from tests.twin import derivations as twin
from tests.twin import improvement_score as slow
from tests.twin import turnbull as slow_turnbull
from tests.twin.cohorts import changed
from tests.twin.core_set_cohorts import CASES, WEEKS

ILL, WELL = visit(5, 5, 100, 1, 1000, 5), visit(0, 0, 150, 0, 100, 0)
BETTER = {**ILL, "PHYSICIAN_GLOBAL": 0.9}
ONLY_PHYSICIAN = {"PHYSICIAN_GLOBAL": 0}
"""Scores 20 and leaves 80 open: certainly a minimal improvement, possibly a major one."""
HALF = {code: value for code, value in WELL.items() if code not in {"CK", "EXTRAMUSCULAR"}}


def ask(data, protocol=ACR_EULAR_2016_ADULT, name="improvement-score", **options):
    return answer(name, data, protocol, Options(**options))


def at(found, week):
    return next(row for row in found.results if row.week == week)


def test_a_score_that_is_not_declared_has_a_reason_and_is_no_error():
    for name in ("improvement-score", "definition-of-improvement"):
        found = ask(cohort({0: ILL, 4: WELL}), SEED_2008, name)
        assert (found.reason, found.results) == ("not_declared", ())
        assert found.populations.all == 1


def test_every_patient_is_scored_bounded_or_left_out_for_a_reason():
    nobody_treated = cohort({0: ILL, 4: WELL}, {0: ILL, 4: HALF}, {0: ILL, 8: WELL}, {4: WELL})
    found = ask(nobody_treated)
    visit_4 = at(found, 4)
    assert (visit_4.evaluable, visit_4.bounded) == (1, 1)
    assert {row.reason: row.count for row in found.excluded if row.week == 4} == {
        "no_baseline": 1, "no_value_in_window": 1,
    }  # fmt: skip


def test_a_rate_is_of_the_scored_and_its_intervals_are_those_of_a_proportion():
    found = at(ask(cohort({0: ILL, 4: WELL}, {0: ILL, 4: BETTER}, {0: ILL, 4: ILL}, {0: ILL, 4: HALF})), 4)
    minimal, moderate, major = found.levels
    assert [(each.responders, found.evaluable) for each in found.levels] == [(2, 3), (1, 3), (1, 3)]
    assert minimal.intervals == proportion(2, 3).intervals
    assert [(each.responders_at_least, each.responders_at_most) for each in found.levels] == [(3, 3), (2, 2), (2, 2)]
    assert (found.score.n, found.score.median) == (3, 20)
    assert (moderate.threshold, major.threshold) == (40, 60)


def test_a_bounded_visit_counts_on_both_sides_where_its_bounds_disagree():
    found = at(ask(cohort({0: ILL, 4: ONLY_PHYSICIAN})), 4)
    assert [(each.responders_at_least, each.responders_at_most) for each in found.levels] == [(1, 1), (0, 1), (0, 1)]
    assert [each.rate for each in found.levels] == [None] * 3
    assert {each.reason for each in found.levels} == {"no_patients"}


def test_a_share_that_missing_measures_leave_open_has_bounds_and_no_rate():
    """One patient improved, one did not; for the third it is not known whether the improvement is minimal or more."""
    [course] = ask(cohort({0: ILL, 4: WELL}, {0: ILL, 4: ILL}, {0: ILL, 4: ONLY_PHYSICIAN})).courses
    minimal, moderate, _ = (level.best for level in course.levels)
    assert (minimal.rate, minimal.reason, minimal.intervals) == (2 / 3, None, proportion(2, 3).intervals)
    assert (minimal.rate_at_least, minimal.rate_at_most) == (2 / 3, 2 / 3)
    exact = proportion(2, 3).intervals[0]
    assert minimal.interval_of_bounds == exact.model_copy(update={"method": "clopper-pearson/bounds"})

    assert (moderate.patients, moderate.possible, moderate.of) == (1, 2, 3)
    assert (moderate.rate, moderate.reason) == (None, "undecided")
    assert {(each.low, each.high, each.reason) for each in moderate.intervals} == {(None, None, "undecided")}
    assert [each.method for each in moderate.intervals] == ["clopper-pearson", "wilson"]
    assert (moderate.rate_at_least, moderate.rate_at_most) == (1 / 3, 2 / 3)
    low, high = proportion(1, 3).intervals[0].low, proportion(2, 3).intervals[0].high
    assert moderate.interval_of_bounds.model_dump() == {
        "of": "rate", "method": "clopper-pearson/bounds", "level": 0.95, "low": low, "high": high, "reason": None,
    }  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_limits_rise_with_the_count_so_that_the_interval_of_the_bounds_holds_those_of_every_count_between(method):
    for n in (1, 2, 7, 30):
        found = [proportion(k, n, methods=(method,)).intervals[0] for k in range(n + 1)]
        for limits in ([each.low for each in found], [each.high for each in found]):
            assert limits == sorted(limits)


def test_a_share_of_no_patients_has_neither_rate_nor_bounds():
    [course] = ask(cohort()).courses
    share = course.confirmed_worsening
    assert (share.of, share.rate, share.rate_at_least, share.rate_at_most) == (0, None, None, None)
    assert (share.reason, share.interval_of_bounds.reason) == ("no_patients", "no_patients")
    assert (share.interval_of_bounds.low, share.interval_of_bounds.high) == (None, None)


def test_a_first_response_that_may_have_been_earlier_has_two_curves():
    """The first patient possibly had a moderate improvement at week 4 and certainly at week 8; the second possibly had
    it at week 8.
    """
    found = ask(
        cohort({0: ILL, 4: ONLY_PHYSICIAN, 8: WELL}, {0: ILL, 4: ILL, 8: ONLY_PHYSICIAN}, {0: ILL, 4: ILL, 8: ILL}),
        patients=True,
    )
    [course] = found.courses
    first = course.levels[1].time_to_first
    assert [(each.time, each.at_risk, each.events) for each in first.at_latest.curve[1:]] == [(56, 3, 1)]
    assert [(each.time, each.at_risk, each.events) for each in first.at_earliest.curve[1:]] == [(28, 3, 1), (56, 2, 1)]
    assert (first.at_latest.median.value, first.at_latest.median.reason) == (None, "not_reached")
    assert first.at_earliest.median.value == 56
    assert first.undecided == 2
    assert [each.first_day["moderate"] for each in course.patients] == [56, None, None]
    assert [each.first_day_at_earliest["moderate"] for each in course.patients] == [28, 56, None]


def test_the_best_category_is_named_only_where_the_bounds_agree():
    course = ask(
        cohort({0: ILL, 4: ONLY_PHYSICIAN}, {0: ILL, 4: WELL, 8: ONLY_PHYSICIAN}, {0: ILL, 4: ILL}, {0: ILL}),
        patients=True,
    ).courses[0]
    assert [each.best_category for each in course.patients] == [None, "major", "none", None]
    assert [each.first_day["minimal"] for each in course.patients] == [28, 28, None, None]


def test_the_first_response_is_dated_and_those_without_one_are_censored_at_their_last_visit():
    found = ask(cohort({0: ILL, 4: ILL, 8: WELL}, {0: ILL, 4: WELL, 8: WELL}, {0: ILL, 4: ILL, 16: ILL}), patients=True)
    [course] = found.courses
    minimal = course.levels[0]
    first = minimal.time_to_first.at_latest
    assert [(point.time, point.at_risk, point.events) for point in first.curve[1:]] == [(28, 3, 1), (56, 2, 1)]
    assert first.median.value == 56
    assert minimal.time_to_first.at_earliest == first
    assert minimal.time_to_first.undecided == 0
    assert [each.first_day["minimal"] for each in course.patients] == [56, 28, None]
    assert [each.best_category for each in course.patients] == ["major", "major", "none"]
    assert (minimal.best.patients, minimal.sustained.patients, minimal.at_last_visit.patients) == (2, 1, 2)


def test_the_day_of_a_visit_is_the_last_of_its_measures():
    """The score is known only when the last of the six measures is known."""
    scores = {code: value for code, value in WELL.items() if code != "CK"}
    day0 = 20_000
    rows = [AssessmentRow("P", code, day0, None, False, float(value), None, None) for code, value in ILL.items()
            if code != "CK"]  # fmt: skip
    rows += [AssessmentRow("P", code, day0 + 25, None, False, float(v), None, None) for code, v in scores.items()]
    labs = [LabRow("P", "CK", day0 + day, None, False, value, 200.0, None, None, "A") for day, value in
            ((0, 1000.0), (31, 100.0))]  # fmt: skip
    infusions = [InfusionRow("P", "IVIG", day0, None, False, 0.4, "g/kg", None)]
    found = ask(Cohort.assemble([PatientRow("P")], labs, rows, infusions, [], []))
    assert [point.time for point in found.courses[0].levels[2].time_to_first.at_latest.curve[1:]] == [31]


def test_a_protocol_with_a_published_range_raises_no_caveat():
    declared = ACR_EULAR_2016_ADULT.improvement_score
    known = tuple(EnzymeRange(enzyme=each.enzyme, upper_limits=each.upper_limits, source="a table")
                  for each in declared.enzyme_ranges)  # fmt: skip
    protocol = changed(
        ACR_EULAR_2016_ADULT, improvement_score=ImprovementScore(core_set=declared.core_set, enzyme_ranges=known)
    )
    codes = [[each.code for each in ask(cohort({0: ILL}), used).caveats] for used in (ACR_EULAR_2016_ADULT, protocol)]
    assert ["enzyme_ranges_unverified" in each for each in codes] == [True, False]


def test_the_answer_has_the_table_and_the_parameters():
    [definition] = [each for each in ask(cohort({0: ILL})).definitions if each.id == "total_improvement_score"]
    assert definition.parameters["table"]["muscle_strength"] == {
        "cuts": (2, 10, 20, 30), "scores": (0, 10, 20, 27.5, 32.5),
    }  # fmt: skip
    assert definition.parameters["thresholds"] == {"minimal": 20, "moderate": 40, "major": 60}
    assert definition.parameters["weeks"] == [4, 8, 12, 16, 24, 40, 52]
    assert "10.1093/rheumatology/kex226" in definition.parameters["table_source"]


def test_every_null_of_a_patient_has_a_reason():
    found = ask(cohort({0: ILL, 4: HALF}), patients=True).results[0].patients[0]
    assert (found.score, found.reason) == (None, "undecided")
    assert {each.reason for each in found.measures if each.score is None} == {"no_value_in_window"}


def test_only_the_declared_weeks_are_judged():
    declared = ACR_EULAR_2016_ADULT.improvement_score
    protocol = changed(
        ACR_EULAR_2016_ADULT, improvement_score=ImprovementScore(core_set=declared.core_set, weeks=(4, 16))
    )
    assert [row.week for row in ask(cohort({0: ILL}), protocol).results] == [4, 16]


@settings(max_examples=repeats(6, thorough=15))
@given(CASES, st.randoms(use_true_random=False))
def test_the_counts_are_those_of_the_twin_in_any_order(case, shuffled):
    data, protocol = case
    found = ask(data, protocol, patients=True)
    improved = ask(data, protocol, "definition-of-improvement")
    declared, definition = protocol.improvement_score, protocol.definition_of_improvement
    patients = twin.patients_of(data)
    least = slow.LEVELS[declared.core_set.population]
    for row, other in zip(found.results, improved.results, strict=True):
        seen = [slow.seen_at(patient, protocol, declared, definition, row.week) for patient in patients]
        attended = [each for each in seen if each.lower is not None]
        scored = [each for each in attended if each.lower == each.upper]
        assert (row.evaluable, row.bounded) == (len(scored), len(attended) - len(scored))
        for level in row.levels:
            assert level.responders == sum(each.lower >= least[level.level] for each in scored)
            assert level.responders_at_least == sum(each.lower >= least[level.level] for each in attended)
            assert level.responders_at_most == sum(each.upper >= least[level.level] for each in attended)
        assert other.improved_at_least == sum(each.improved == {True} for each in attended)
        assert other.improved_at_most == sum(True in each.improved for each in attended)
        assert row.worse.patients == sum(each.worse == {True} for each in attended)
        assert row.worse.possible == sum(True in each.worse for each in attended)
        left_out = sum(each.count for each in found.excluded if each.week == row.week)
        assert row.evaluable + row.bounded + left_out == len(patients)
    _the_course_is_that_of_the_twin(found.courses[0], patients, protocol)
    order = list(range(len(data)))
    shuffled.shuffle(order)
    renamed = _renamed(data, order)
    for name in ("improvement-score", "definition-of-improvement"):
        before, after = (json.loads(ask(each, protocol, name).model_dump_json()) for each in (data, renamed))
        assert before == after


def _the_course_is_that_of_the_twin(course, patients, protocol):
    declared, definition = protocol.improvement_score, protocol.definition_of_improvement
    visits = [
        [slow.seen_at(patient, protocol, declared, definition, week) for week in judged_weeks(declared, WEEKS)]
        for patient in patients
    ]
    levels = slow.LEVELS[declared.core_set.population]
    assert [each.best_category for each in course.patients] == [slow.best_category(each, levels) for each in visits]
    for level in course.levels:
        expected = [found for each in visits if (found := slow.response(each, levels[level.level])) is not None]
        for name in ("best", "sustained", "at_last_visit"):
            share, verdicts = getattr(level, name), [getattr(each, name) for each in expected]
            counts = sum(each == {True} for each in verdicts), sum(True in each for each in verdicts), len(verdicts)
            assert (share.patients, share.possible, share.of) == counts
            assert (share.rate is None) == (share.reason is not None) == (counts[0] < counts[1] or not verdicts)
        first = level.time_to_first
        for found, days in ((first.at_latest, [each.latest for each in expected]),
                            (first.at_earliest, [each.earliest for each in expected])):  # fmt: skip
            assert found == kaplan_meier([day for day, _ in days], [event for _, event in days])
        assert first.undecided == sum(each.latest != each.earliest for each in expected)


def _renamed(data: Cohort, order: list[int]) -> Cohort:
    """The same patients with names that have another order."""
    rows = []
    for i in range(len(data)):
        chosen = data.select(np.arange(len(data)) == i)
        rows.append((f"Q{order[i]}", chosen))
    labs, scores, infusions = [], [], []
    for who, one in rows:
        labs += [
            LabRow(who, twin.LAB_CODES[int(x.code[k])], int(x.day[k]), None, False, float(x.value[k]),
                   twin._number(x.upper_limit[k]),
                   {number: sign for sign, number in twin.COMPARATORS.items()}[int(x.comparator[k])], None, x.lab[k])
            for x in [one.labs] for k in range(len(x))
        ]  # fmt: skip
        scores += [
            AssessmentRow(who, twin.ASSESSMENT_CODES[int(x.code[k])], int(x.day[k]), None, False, float(x.score[k]),
                          None, None)
            for x in [one.assessments] for k in range(len(x))
        ]  # fmt: skip
        infusions.append(InfusionRow(who, "IVIG", int(one.infusions.day[0]), None, False, 0.4, "g/kg", None))
    return Cohort.assemble([PatientRow(who) for who, _ in rows], labs, scores, infusions, [], [])


ADULT = CoreSet(population="adult", muscle_strength="MMT8", function="HAQ")
BAD = {
    "an instrument for children": ({"function": "CHAQ"}, {}, "improvement_score.core_set: CMAS and CHAQ"),
    "a scale for children": ({"muscle_strength": "CMAS"}, {}, "improvement_score.core_set: CMAS and CHAQ"),
    "HAQ for children": ({"population": "juvenile"}, {}, "improvement_score.core_set: HAQ"),
    "MMT without a scale": ({"muscle_strength": "MMT"}, {}, "improvement_score.core_set.muscle_strength"),
    "an enzyme twice": ({"enzymes": ("CK", "CK")}, {}, "improvement_score.core_set.enzymes"),
    "a range twice": (
        {}, {"enzyme_ranges": tuple(EnzymeRange(enzyme=each, upper_limits=3) for each in
                                    ("CK", "CK", "ALDOLASE", "LDH", "AST", "ALT"))},
        "improvement_score.enzyme_ranges: declare",
    ),
    "an enzyme without a range": (
        {}, {"enzyme_ranges": (EnzymeRange(enzyme="CK", upper_limits=15),)},
        "improvement_score.enzyme_ranges: an enzyme",
    ),
    "a week that is not planned": ({}, {"weeks": (6,)}, "improvement_score.weeks: this week"),
    "a week before treatment": ({}, {"weeks": (-4, 4)}, "improvement_score.weeks: declare"),
    "no week": ({}, {"weeks": ()}, "improvement_score.weeks"),
    "weeks in no order": ({}, {"weeks": (8, 4)}, "improvement_score.weeks: declare"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_contradiction_is_refused_and_named(case):
    core_set, parts, sentence = BAD[case]
    declared = ImprovementScore(core_set=CoreSet(**ADULT.model_dump() | core_set), **parts)
    with pytest.raises(ValidationError, match=sentence.replace(".", r"\.")):
        changed(ACR_EULAR_2016_ADULT, improvement_score=declared)


def test_a_definition_of_improvement_has_the_same_checks():
    declared = DefinitionOfImprovement(core_set=CoreSet(**ADULT.model_dump() | {"function": "CHAQ"}))
    with pytest.raises(ValidationError, match=r"definition_of_improvement\.core_set"):
        changed(IMACS_2004, definition_of_improvement=declared)


def test_mmt_with_its_scale_is_accepted():
    core_set = CoreSet(**ADULT.model_dump() | {"muscle_strength": "MMT"})
    scales = {"MMT": Scale(maximum=80, better="higher")}
    protocol = changed(ACR_EULAR_2016_ADULT, scales=scales, improvement_score=ImprovementScore(core_set=core_set))
    before, after = ({**values, "MMT": strength} for values, strength in ((ILL, 60), (ILL, 62)))
    found = at(ask(cohort({0: before, 4: after}), protocol, patients=True), 4)
    muscle = next(each for each in found.patients[0].measures if each.measure == "muscle_strength")
    assert (muscle.instrument, muscle.percent, muscle.score) == ("MMT", 2.5, 10)


def test_a_protocol_without_these_parts_keeps_its_digest_and_its_document():
    """The digest is that of the version before these parts existed."""
    assert SEED_2008.digest == "sha256:8d0e1e2f83fff5a4ec2f7c1fa67ebc094878d3a312af70b288d9f0b3d5540f75"
    assert {"improvement_score", "definition_of_improvement"}.isdisjoint(SEED_2008.model_dump(mode="json"))
    assert SEED_2008.measures == ("CK", "ADL", "MMT")
    again = Protocol.model_validate_json(ACR_EULAR_2016_ADULT.model_dump_json())
    assert again == ACR_EULAR_2016_ADULT
    assert again.digest == ACR_EULAR_2016_ADULT.digest


class TestTimesBetweenVisits:
    """Time to a level and how long it is kept, as interval-censored times; what each measure adds."""

    DATA = cohort(
        {0: ILL, 4: ILL, 8: WELL, 12: WELL, 16: ILL},
        {0: ILL, 4: WELL, 8: WELL, 12: WELL, 16: WELL},
        {0: ILL, 4: ILL, 8: ILL, 12: ILL, 16: ILL},
        {0: ILL, 4: ILL, 12: WELL, 16: ILL},
    )

    def test_a_level_is_reached_after_the_last_visit_without_and_by_the_first_with_it(self):
        [course] = ask(self.DATA).courses
        major = course.levels[-1]
        expected = interval_censored([28, 0, 112, 28], [56, 28, np.inf, 84])
        assert major.time_between_visits == expected
        assert (major.time_between_visits.n, major.time_between_visits.events) == (4, 3)
        assert major.kept == interval_censored([28, 84, 0], [56, np.inf, 28])

    def test_the_estimate_is_that_of_the_slow_twin(self):
        [course] = ask(self.DATA).courses
        found = {(each.left, each.right): each.mass for each in course.levels[0].time_between_visits.masses}
        slow_masses = slow_turnbull.self_consistent([(28, 56), (0, 28), (112, None), (28, 84)], 2000)
        assert found == pytest.approx({(left, right): mass for left, right, mass in slow_masses if mass > 1e-6})

    def test_the_order_of_the_patients_has_no_effect(self):
        turned = cohort(
            {0: ILL, 4: ILL, 12: WELL, 16: ILL},
            {0: ILL, 4: ILL, 8: ILL, 12: ILL, 16: ILL},
            {0: ILL, 4: WELL, 8: WELL, 12: WELL, 16: WELL},
            {0: ILL, 4: ILL, 8: WELL, 12: WELL, 16: ILL},
        )
        assert ask(turned).courses == ask(self.DATA).courses

    @pytest.mark.parametrize(
        ("data", "reached", "kept"),
        [
            (cohort(), "no_patients", "no_patients"),
            (cohort({0: ILL, 4: ILL}), "no_events", "no_patients"),
            (cohort({0: ILL, 4: WELL}), None, "no_events"),
            (cohort(*[{0: ILL, 4: WELL, 8: ILL}] * 3), None, None),
        ],
    )
    def test_nobody_nobody_with_an_end_one_and_all_alike(self, data, reached, kept):
        [course] = ask(data).courses
        for level in course.levels:
            assert (level.time_between_visits.median.reason, level.kept.median.reason) == (reached, kept)

    def test_the_seed_and_the_number_of_resamples_are_options(self):
        options = QUESTIONS["improvement-score"].options_type(resamples=0)
        [course] = answer("improvement-score", self.DATA, ACR_EULAR_2016_ADULT, options).courses
        assert course.levels[0].kept.median.intervals == ()

    def test_the_parts_of_the_measures_add_up_to_the_mean_score(self):
        found = at(ask(cohort({0: ILL, 4: WELL}, {0: ILL, 4: BETTER}, {0: ILL, 4: HALF})), 4)
        assert sum(each.mean for each in found.measures) == found.score.mean == 58.75
        parts = {each.measure: (each.mean, each.most) for each in found.measures}
        assert parts["physician_global"] == (20, 20)
        assert parts["muscle_strength"] == (16.25, 32.5)
        assert sum(each.share for each in found.measures) == pytest.approx(1)

    def test_without_scores_or_with_none_above_zero_a_share_has_a_reason(self):
        nobody = at(ask(cohort({0: ILL, 4: HALF})), 4)
        assert {(each.mean, each.share, each.reason) for each in nobody.measures} == {(None, None, "no_patients")}
        unchanged = at(ask(cohort({0: ILL, 4: ILL})), 4)
        assert {(each.mean, each.share, each.reason) for each in unchanged.measures} == {(0, None, "zero_denominator")}
