"""Comparisons of groups and of endpoints, and the mixed model, checked with the answers to other questions."""

import json
import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import demo
from app.analyses import Options, answer
from app.analyses.comparison.comparisons import ComparisonOptions
from app.analyses.weekly_change import differences
from app.derive.study import DerivedStudy
from app.estimate.changes.two_samples import two_samples
from app.estimate.rates.mantel_haenszel import mantel_haenszel
from app.estimate.results import Reason
from app.protocol.presets import SEED_2008
from app.timeline.cohort import AssessmentRow, Cohort, InfusionRow, LabRow, PatientRow
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from tests.repetition import repeats
from tests.twin.cohorts import cohorts, protocols

DAY0 = 20_000
UNKNOWN = {None, "unknown"}


@pytest.fixture(scope="module")
def demonstration():
    documents = json.loads(demo.TIMELINES.read_text(encoding="utf-8"))
    documents = documents if isinstance(documents, list) else documents["timelines"]
    return Cohort.of_histories(
        [normalise(Timeline.model_validate_json(json.dumps(each)), 2**62) for each in documents], None
    )


def cohort(*patients):
    """Patients as (diagnosis, sex, MMT gained by day 28)."""
    names = [f"P{i:02}" for i in range(len(patients))]
    people = [
        PatientRow(name, sex=sex, diagnosis=diagnosis)
        for name, (diagnosis, sex, _) in zip(names, patients, strict=True)
    ]
    infusions = [InfusionRow(name, "IVIG", DAY0, None, False, 0.4, "g/kg", None) for name in names]
    scores = [
        AssessmentRow(name, "MMT", DAY0 + day, None, False, score, None, None)
        for name, (_, _, gained) in zip(names, patients, strict=True)
        for day, score in ((-1, 50.0), (28, 50.0 + gained))
    ]
    return Cohort.assemble(people, [], scores, infusions, [], [])


def compared(patients, **options):
    return answer("comparisons", cohort(*patients), SEED_2008, ComparisonOptions(**options))


def pairs(found):
    return [(row.group, row.against, row.first.k, row.first.n, row.second.k, row.second.n)
            for row in found.results if row.measure == "MMT"]  # fmt: skip


PM, DM, IBM = "polymyositis", "dermatomyositis", "inclusion_body_myositis"
THREE = [(PM, "male", 6), (PM, "female", 0), (DM, "male", 7), (DM, "male", 8), (IBM, "female", 0), (None, "male", 9)]


def test_two_groups_are_compared_in_code_point_order():
    found = compared(THREE[:4], by="diagnosis")
    assert (found.groups, found.unassigned, found.reason) == ((DM, PM), 0, None)
    assert pairs(found) == [(DM, PM, 2, 2, 1, 2)]


def test_more_than_two_groups_are_each_compared_with_all_others():
    found = compared(THREE, by="diagnosis")
    assert (found.groups, found.unassigned) == ((DM, IBM, PM), 1)
    assert pairs(found) == [(DM, None, 2, 2, 1, 3), (IBM, None, 0, 1, 3, 4), (PM, None, 1, 2, 2, 3)]


def test_every_other_group_is_compared_with_the_reference():
    assert pairs(compared(THREE, by="diagnosis", reference=PM)) == [(DM, PM, 2, 2, 1, 2), (IBM, PM, 0, 1, 1, 2)]
    assert pairs(compared(THREE[:4], by="diagnosis", reference=DM)) == [(PM, DM, 1, 2, 2, 2)]
    assert compared(THREE, by="diagnosis", reference="gout").reason is Reason.NO_SUCH_GROUP


def test_patients_of_unknown_sex_are_not_compared():
    found = compared([(PM, "male", 6), (PM, "female", 6), (PM, "unknown", 6), (PM, None, 6)], by="sex")
    assert (found.groups, found.unassigned) == (("female", "male"), 2)
    assert pairs(found) == [("female", "male", 1, 1, 1, 1)]


def test_a_single_group_is_not_compared():
    found = compared(THREE[:2], by="diagnosis")
    assert (found.reason, found.results, found.changes, found.forest) == (Reason.ONE_GROUP, (), (), ())
    assert compared(THREE).reason is Reason.NO_GROUPS
    assert compared([], by="sex").reason is Reason.ONE_GROUP


def test_strata_are_combined_and_counted():
    people = [(PM, "male", 6), (DM, "male", 0), (PM, "female", 6), (DM, "female", 7), (PM, None, 0)]
    [row, *_] = compared(people, by="diagnosis", stratify="sex").results
    assert (row.stratified.strata, row.stratified.uninformative_strata) == (2, 1)
    assert row.stratified == mantel_haenszel([(0, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 1)])


def test_the_attribute_of_the_groups_cannot_form_strata():
    with pytest.raises(ValueError, match="stratify"):
        ComparisonOptions(by="sex", stratify="sex")


@pytest.mark.parametrize(("size", "small"), [(19, True), (20, False)])
def test_fewer_than_twenty_patients_have_a_caveat(size, small):
    people = [(diagnosis, "male", gained % 9) for diagnosis in (PM, DM) for gained in range(size)]
    found = answer(
        "comparisons",
        cohort(*people),
        SEED_2008.model_copy(
            update={
                "responses": SEED_2008.responses[:1],
                "weekly_change": SEED_2008.weekly_change.model_copy(update={"measures": ("MMT",), "weeks": (4,)}),
            }
        ),
        ComparisonOptions(by="diagnosis"),
    )
    codes = [caveat.code for caveat in found.caveats]
    assert ("small_counts" in codes) is small
    assert {"not_randomised", "many_comparisons"} <= {*codes}


def test_the_demonstration_compares_as_r_does(demonstration):
    """MMT 7/7 against 7/8: the table `fisher_MMT_PM_DM` of reference_r.json with its rows exchanged, p 1."""
    found = answer("comparisons", demonstration, SEED_2008, ComparisonOptions(by="diagnosis"))
    assert pairs(found) == [(DM, PM, 7, 7, 7, 8)]
    assert found.results[0].test.p == 1
    assert found.results[0].odds_ratio.estimate is None
    tables = {(pair.first.measure, pair.second.measure): pair for pair in found.paired_endpoints}
    table = tables["MMT", "ADL"]
    assert (table.both, table.first_only, table.second_only, table.neither) == (12, 2, 0, 1)
    assert table.test.p == 0.5
    assert [each.code for each in found.caveats][-1] == "small_counts"


def test_the_forest_plot_has_the_comparisons(demonstration):
    found = answer("comparisons", demonstration, SEED_2008, ComparisonOptions(by="diagnosis", stratify="sex"))
    assert len(found.forest) == 5 * len(found.results) + len(found.changes)
    first = found.results[0]
    drawn = {line.kind: line for line in found.forest if line.label == "MMT response"}
    assert (drawn["difference"].estimate, drawn["difference"].low) == (
        first.difference.estimate,
        first.difference.intervals[0].low,
    )
    assert (drawn["odds_ratio"].high, drawn["odds_ratio"].reason) == (None, Reason.ZERO_DENOMINATOR)
    assert drawn["mantel_haenszel_difference"].estimate == first.stratified.difference.estimate
    [ck] = [line for line in found.forest if line.label == "CK week 4 (ratio)"]
    [change] = [row for row in found.changes if (row.measure, row.scale, row.week) == ("CK", "ln", 4)]
    assert (ck.estimate, ck.no_effect, ck.n) == (pytest.approx(math.exp(change.shift.estimate)), 1, change.n)
    assert {line.no_effect for line in found.forest if line.kind in {"difference", "shift"}} == {0}


@given(st.tuples(cohorts(), protocols()), st.sampled_from(["sex", "diagnosis"]), st.booleans())
@settings(max_examples=repeats(25))
def test_groups_are_those_of_the_other_answers(case, by, stratified):
    """Counts, changes and pairs are computed again from the contributions of patients to the other questions."""
    people, protocol = case
    stratify = ("diagnosis" if by == "sex" else "sex") if stratified else None
    found = answer("comparisons", people, protocol, ComparisonOptions(by=by, stratify=stratify))
    attributes = {row.id: row for row in people.patients}
    judged, changes = _contributions(people, protocol)
    groups = sorted({getattr(row, by) for row in people.patients} - UNKNOWN)
    assert found.groups == tuple(groups)
    for row in found.results:
        verdicts = judged[row.measure]
        sides = [
            {who: v for who, v in verdicts.items() if _belongs(getattr(attributes[who], by), row, first)}
            for first in (True, False)
        ]
        assert [(row.first.k, row.first.n), (row.second.k, row.second.n)] == [
            (sum(side.values()), len(side)) for side in sides
        ]
        if stratify:
            strata = {getattr(each, stratify) for each in people.patients}
            tables = [
                tuple(n for side in sides for n in _count(side, attributes, stratify, stratum)) for stratum in strata
            ]
            assert row.stratified == mantel_haenszel(tables)
    for row in found.changes:
        known = changes[row.measure, row.scale, row.week]
        sides = [
            [d for who, d in known.items() if _belongs(getattr(attributes[who], by), row, first)]
            for first in (True, False)
        ]
        expected = two_samples(*sides)
        assert (row.shift, row.test.p, row.n, row.against_n) == (
            expected.shift,
            expected.test.p,
            len(sides[0]),
            len(sides[1]),
        )


def _contributions(people, protocol):
    rates = answer("response-rates", people, protocol, Options(patients=True)).results
    judged = {
        row.measure: {each.patient: each.responder for each in row.patients if each.reason is None}
        for row in rates
        if row.primary
    }
    weeks = answer("weekly-change", people, protocol, Options(patients=True)).results
    study = DerivedStudy(people, protocol)
    changes = {}
    for row in weeks:  # a bound, which has no difference of its own, is compared as its substitute
        substitutes = differences(study, row.measure, row.scale, row.week).tolist()
        changes[row.measure, row.scale, row.week] = {
            each.patient: substitute if each.reason else each.difference
            for each, substitute in zip(row.patients, substitutes, strict=True)
            if each.reason in (None, "bound_only")
        }
    return judged, changes


def _belongs(value, row, first):
    if first:
        return value == row.group
    return value == row.against if row.against is not None else value not in UNKNOWN and value != row.group


def _count(side, attributes, stratify, stratum):
    inside = [verdict for who, verdict in side.items() if getattr(attributes[who], stratify) == stratum]
    return sum(inside), len(inside)


@given(st.tuples(cohorts(), protocols()))
@settings(max_examples=repeats(25))
def test_paired_endpoints_are_counted_over_the_patients_of_both(case):
    judged, _ = _contributions(*case)
    found = answer("comparisons", *case, ComparisonOptions()).paired_endpoints
    primary = [each.rule.measure for each in case[1].responses if each.primary]
    assert [(each.first.measure, each.second.measure) for each in found] == [*combinations(primary, 2)]
    for each in found:
        first, second = judged[each.first.measure], judged[each.second.measure]
        both = [(first[who], second[who]) for who in first.keys() & second.keys()]
        assert [each.both, each.first_only, each.second_only, each.neither] == [
            both.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
        ]


@given(cohorts())
@settings(max_examples=repeats(20))
def test_compared_and_left_out_patients_are_the_whole_group(people):
    found = answer("comparisons", people, SEED_2008, ComparisonOptions(by="sex"))
    sizes = {value: sum(row.sex == value for row in people.patients) for value in found.groups}
    for row in found.results:
        out = [
            sum(e.count for e in found.excluded
                if e.group == {"sex": group} and e.measure == row.measure and e.week is None)
            for group in (row.group, row.against)
            if group
        ]  # fmt: skip
        assert row.first.n + out[0] == sizes[row.group]
        if row.against:
            assert row.second.n + out[1] == sizes[row.against]


def test_the_mixed_model_is_not_offered_to_the_demonstration(demonstration):
    """15 patients are too few for five visits: all is null, and `weekly-change` is named instead."""
    found = answer("repeated-measures", demonstration, SEED_2008, Options())
    [ck] = [row for row in found.results if row.measure == "CK"]
    assert (ck.scale, ck.model.patients, ck.model.values, ck.model.reason) == ("ln", 15, 75, Reason.TOO_FEW)
    assert {(e.estimate, e.standard_error, e.interval.low, e.test.p) for e in ck.model.effects} == {(None,) * 4}
    assert {(each.ratio.estimate, each.ratio.reason) for each in ck.ratios} == {(None, Reason.TOO_FEW)}
    assert {row.instead for row in found.results} == {"weekly-change"}
    assert found.interactions == ()


def repeated(people, **options):
    return answer("repeated-measures", people, SEED_2008, Options(**options))


def test_the_mixed_model_of_complete_values_is_the_weekly_change():
    """Five visits of 30 patients: the changes and their t intervals are those of `weekly-change`."""
    people = measured(30)
    found = repeated(people)
    changes = answer("weekly-change", people, SEED_2008, Options()).results
    assert [(row.measure, row.instead, row.model.reason) for row in found.results] == [
        ("CK", None, None),
        ("MMT", None, None),
        ("ADL", None, "no_patients"),
    ]
    for row in found.results[:2]:
        for effect in (each for each in row.model.effects if each.term == "week"):
            [weekly] = [each for each in changes
                        if (each.measure, each.scale, each.week) == (row.measure, row.scale, effect.week)]  # fmt: skip
            assert effect.estimate == pytest.approx(weekly.mean, abs=1e-9)
            assert effect.interval.low == pytest.approx(weekly.intervals[0].low, abs=1e-9)
            assert effect.test.p == pytest.approx(weekly.tests[1].p, rel=1e-6)
            assert effect.test.df == pytest.approx(29)
    ck = found.results[0]
    assert [each.term for each in ck.ratios] == ["week"] * 4
    for effect, ratio in zip(ck.model.effects[1:5], ck.ratios, strict=True):
        assert ratio.ratio.estimate == pytest.approx(math.exp(effect.estimate))
        assert ratio.ratio.low == pytest.approx(math.exp(effect.interval.low))
    assert found.results[1].ratios == ()


def test_two_groups_have_one_model_each_and_one_together():
    found = repeated(measured(60), by="diagnosis")
    assert [(row.group, row.measure) for row in found.results] == [
        ({"diagnosis": each}, measure) for each in (DM, PM) for measure in ("CK", "MMT", "ADL")
    ]
    [interaction] = [row for row in found.interactions if row.measure == "CK"]
    first, second = (
        {(e.term, e.week): e.estimate for e in row.model.effects} for row in found.results if row.measure == "CK"
    )
    assert (interaction.first, interaction.second, interaction.instead) == (DM, PM, None)
    for effect in interaction.model.effects:
        own = ("intercept" if effect.week is None else "week", effect.week)
        expected = first[own] - second[own] if effect.term.startswith("group") else second[own]
        assert effect.estimate == pytest.approx(expected, abs=1e-6)


def test_the_groups_are_claimed_to_change_differently_by_holm_over_all_interactions():
    found = repeated(measured(60), by="diagnosis")
    claims = [claim for claim in found.claims if claim.code == "difference"]
    p = [effect.test.p for row in found.interactions for effect in row.model.effects if effect.term == "group_by_week"]
    assert (len(p), len(claims), {claim.group is None for claim in claims}) == (8, 12, {True})
    assert [claim.measure for claim in claims] == ["CK"] * 4 + ["MMT"] * 4 + ["ADL"] * 4
    assert [claim.because[0] for claim in claims[8:]] == ["no_p"] * 4
    assert not any(claim.supported for claim in claims)
    assert "over the 8 tests of the interactions of this answer" in claims[0].text

    people = measured(60)
    fallen = np.where((people.labs.patient % 2 == 0) & (people.labs.day > DAY0), 0.3, 1.0)
    apart = repeated(replace(people, labs=replace(people.labs, value=people.labs.value * fallen)), by="diagnosis")
    claims = [claim for claim in apart.claims if claim.code == "difference"]
    assert [claim.supported for claim in claims] == [True] * 4 + [False] * 8
    assert claims[0].n == 60


@pytest.mark.parametrize("by", ["sex", "laboratory"])
def test_where_there_are_not_two_groups_nothing_is_claimed_of_an_interaction(by):
    found = repeated(measured(10), by=by)
    assert [claim.because for claim in found.claims if claim.code == "difference"] == [("nothing_compared",)]
    assert not [claim for claim in repeated(measured(10)).claims if claim.code == "difference"]


def measured(number):
    """Patients with CK and MMT at week 0 and at weeks 1, 2, 4 and 8, every second with the other diagnosis."""
    source = np.random.default_rng(number)
    names = [f"P{i:02}" for i in range(number)]
    people = [PatientRow(name, sex="male", diagnosis=(PM, DM)[i % 2]) for i, name in enumerate(names)]
    infusions = [InfusionRow(name, "IVIG", DAY0, None, False, 0.4, "g/kg", None) for name in names]
    labs, scores = [], []
    for name in names:
        own = source.normal()
        for day in (-1, 7, 14, 28, 56):
            value = round(1000 * math.exp(own + 0.3 * source.normal() - day / 60), 1)
            labs.append(LabRow(name, "CK", DAY0 + day, None, False, value, 170.0, None, None, None))
            score = round(50 + 5 * own + 3 * source.normal() + day / 10)
            scores.append(AssessmentRow(name, "MMT", DAY0 + day, None, False, float(score), None, None))
    return Cohort.assemble(people, labs, scores, infusions, [], [])


def test_a_patient_without_any_value_is_left_out_of_the_model_and_counted():
    people = cohort(*[(PM, "male", gained) for gained in (6, 7, 0, 3)])
    found = answer("repeated-measures", people, SEED_2008, Options())
    [mmt] = [row for row in found.results if row.measure == "MMT"]
    assert (mmt.model.patients, mmt.model.values) == (4, 8)
    assert [(each.reason, each.measure, each.count) for each in found.excluded] == [
        ("no_value_in_window", "CK", 4),
        ("no_value_in_window", "ADL", 4),
    ]
