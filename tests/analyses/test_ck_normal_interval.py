"""The question `ck-normal-interval`: how long CK stays normal, as interval-censored times."""

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.analyses import Options, answer
from app.analyses.ck_normal.ck_normal_interval import IntervalOptions
from app.analyses.ck_normal.intercurrent_strategies import spell_intervals
from app.demo import TIMELINES
from app.derive.study import DerivedStudy
from app.estimate.times.interval_censored import SEED
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from tests.repetition import repeats
from tests.spec.scene import NOW
from tests.twin import ck_intervals as twin
from tests.twin.cohorts import cohorts, protocols, rows

NAME = "ck-normal-interval"


@pytest.fixture(scope="module")
def demo():
    timelines = json.loads(TIMELINES.read_text(encoding="utf-8"))
    return Cohort.of_histories([normalise(Timeline.model_validate(each, strict=False), NOW) for each in timelines])


def ask(cohort, protocol=SEED_2008, **options):
    return answer(NAME, cohort, protocol, IntervalOptions(**options))


def test_the_reference_cohort_relapses_by_the_median_of_the_report_at_the_latest(demo):
    """The Kaplan-Meier median of 334.5 days is the right end of an interval of 21.5 days."""
    [row] = ask(demo).results
    assert (row.estimate.n, row.estimate.events) == (13, 8)
    assert (row.estimate.median.left, row.estimate.median.right) == (313, 334.5)
    assert (row.right_endpoint.midpoint.value, row.right_endpoint.lower.value) == (334.5, 310)
    assert (row.bounds.shortest.value, row.bounds.longest.value) == (313, 344)
    assert (row.visit_gaps.of_relapses.n, row.visit_gaps.of_relapses.median) == (8, 15.5)
    [spells] = answer("ck-normal-time", demo, SEED_2008, Options()).results
    assert row.right_endpoint.midpoint == spells.median
    first = row.time_to_first_normal
    assert (first.estimate.n, first.estimate.events) == (15, 13)
    assert first.right_endpoint.midpoint == spells.time_to_first_normal.median
    assert first.estimate.median.right == first.right_endpoint.midpoint.value == 42


def test_the_resampling_is_in_the_answer_and_can_be_chosen(demo):
    found = ask(demo, resamples=60, seed=7)
    [limits] = found.results[0].estimate.median.intervals
    assert (limits.resamples, limits.seed) == (60, 7)
    assert found.definitions[-1].parameters == {"rescue": "treatment_policy", "resamples": 60, "seed": 7}
    [usual] = answer(NAME, demo, SEED_2008, Options()).results[0].estimate.median.intervals
    assert (usual.resamples, usual.seed) == (200, SEED)
    assert ask(demo, resamples=0).results[0].estimate.median.intervals == ()


@pytest.mark.parametrize("wrong", [{"resamples": 2001}, {"resamples": -1}, {"seed": -1}, {"seed": 2**32}])
def test_too_many_resamples_and_invalid_seeds_are_refused(wrong):
    with pytest.raises(ValidationError):
        IntervalOptions(**wrong)


def test_a_subgroup_is_estimated_alone(demo):
    parts = ask(demo, by="diagnosis").results
    assert len(parts) == 2
    assert sum(part.estimate.n for part in parts) == 13
    assert [part.group["diagnosis"] for part in parts] == sorted(part.group["diagnosis"] for part in parts)


def test_the_conventions_of_the_options_are_used(demo):
    lower = ask(demo, median="lower").results[0]
    assert (lower.estimate.median.left, lower.estimate.median.right) == (293, 310)
    assert (lower.bounds.longest.convention, lower.right_endpoint.midpoint.convention) == ("lower", "midpoint")


def test_an_empty_study_is_answered_with_reasons():
    [row] = ask(Cohort.assemble([], [], [], [], [], [])).results
    assert row.estimate.reason == row.estimate.median.reason == row.visit_gaps.within_spells.reason == "no_patients"
    assert row.right_endpoint.midpoint.reason == row.bounds.longest.reason == "no_patients"


@given(st.tuples(cohorts(), protocols()))
@settings(max_examples=repeats(25))
def test_the_patients_listed_are_those_of_the_twin_and_everybody_is_accounted_for(case):
    found = ask(*case, resamples=0, patients=True)
    [row] = found.results
    spells, first = twin.spells(*case), twin.first_normals(*case)
    assert [(p.left, p.right, p.longest) for p in row.patients] == [
        (None, None, None) if each is None else (each.left, each.right, each.longest) for each in spells
    ]
    assert [(p.normal_after, p.normal_by) for p in row.patients] == [each or (None, None) for each in first]
    assert [p.reason is None for p in row.patients] == [each is not None for each in spells]
    assert [p.normal_reason is None for p in row.patients] == [each is not None for each in first]
    counts = {"time_normal": row.estimate.n, "time_to_first_normal": row.time_to_first_normal.estimate.n}
    for each in found.excluded:
        counts[each.estimate] += each.count
    assert set(counts.values()) == {len(DerivedStudy(*case).cohort)}


@pytest.mark.parametrize(("strategy", "warned"), [("treatment_policy", False), ("composite", True)])
def test_a_strategy_that_the_estimate_does_not_follow_is_warned_of(demo, strategy, warned):
    rule = SEED_2008.ck_normal_time.model_copy(update={"rescue": strategy})
    found = ask(demo, SEED_2008.model_copy(update={"ck_normal_time": rule}), resamples=0)
    assert ("rescue_ignored" in [caveat.code for caveat in found.caveats]) is warned


@given(rows())
@settings(max_examples=repeats(10, thorough=20))
def test_the_order_of_the_patients_does_not_change_a_byte(given_rows):
    """Other names put the patients in another order."""
    other = {row.id: f"Q{99 - int(row.id[1:]):02d}" for row in given_rows.patients}
    turned = replace(
        given_rows,
        patients=[row._replace(id=other[row.id]) for row in given_rows.patients],
        **{
            table: [row._replace(patient=other[row.patient]) for row in getattr(given_rows, table)]
            for table in ("labs", "assessments", "infusions", "medications", "events")
        },
    )
    one, again = (ask(each.cohort(), resamples=40).model_dump_json() for each in (given_rows, turned))
    assert one == again


SECOND_COURSES = {"P02": 150, "P05": 60, "P08": 200, "P11": 100}
R_COMPOSITE = (
    (25, 26, 0.923076923077), (36, 41, 0.839160839161), (52, 53, 0.755244755245), (60, 77, 0.671328671329),
    (104, 118, 0.587412587413), (144, 162, 0.503496503497), (170, 171, 0.419580419580), (293, 310, 0.335664335664),
    (333, 359, 0.251748251748),
)  # fmt: skip
"""The interval of each mass, and S(t) after it as R gives it at its middle; the last mass, after day 502, is open."""


def test_the_composite_interval_censored_time_is_that_of_survfit():
    """Four patients of the demonstration have a second course on a day of the spell, which then ends on that day.

    R 4.2.2, survival 3.5.3: left <- c(36, 60, 104, 144, 25, 293, 333, 170, 384, 441, 52, 502, 29); right <- c(41, 77,
    118, 162, 26, 310, 359, 171, NA, NA, 53, NA, NA); fit <- survfit(Surv(left, right, type = "interval2") ~ 1,
    timefix = FALSE); format(fit$surv, digits = 12); quantile(fit, 0.5)$quantile (170.5).
    """
    documents = json.loads(TIMELINES.read_text(encoding="utf-8"))
    for each in documents:
        if (day := SECOND_COURSES.get(each["patient"]["id"])) is not None:
            day0 = date.fromisoformat(min(given["time"] for given in each["infusions"])[:10])
            each["infusions"].append({"time": str(day0 + timedelta(days=day)), "product": "IVIG"})
    people = Cohort.of_histories([normalise(Timeline.model_validate(each, strict=False), NOW) for each in documents])
    study = DerivedStudy(people, SEED_2008)
    found = spell_intervals(study, "composite", SEED_2008.conventions, level=0.95, resamples=0)

    left = 1.0
    for mass, (start, end, expected) in zip(found.masses, R_COMPOSITE, strict=False):
        assert (mass.left, mass.right) == (start, end)
        assert mass.survival == pytest.approx(left, abs=1e-11)
        left -= mass.mass
        assert left == pytest.approx(expected, abs=1e-11)
    assert len(found.masses) == len(R_COMPOSITE) + 1
    assert (found.masses[-1].left, found.masses[-1].right) == (502, None)
    assert (found.median.left + found.median.right) / 2 == 170.5
    policy = spell_intervals(study, "treatment_policy", SEED_2008.conventions, level=0.95, resamples=0)
    assert (policy.median.left, policy.median.right) == (313, 334.5)
