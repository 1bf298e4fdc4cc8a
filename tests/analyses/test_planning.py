"""The question `planning` gives what the estimators give for the figures of the report."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.analyses import QUESTIONS, Options, answer
from app.analyses.planning.planning import PlanningOptions
from app.estimate.sample_size import detectable_change, proportion_precision, size_for_half_width
from app.protocol.model import WeeklyChange
from app.protocol.presets import SEED_2008
from tests.analyses.reference import reference_cohort
from tests.repetition import repeats
from tests.twin.cohorts import changed, cohorts, protocols


def asked(name, **options):
    return answer(name, reference_cohort(), SEED_2008, QUESTIONS[name].options_type(**options))


def test_the_rates_planned_are_those_of_the_response_rates():
    planned, observed = asked("planning"), asked("response-rates")

    rows = {row.measure: row for row in observed.results if row.primary}
    assert {row.measure: (row.responders, row.evaluable, row.assumed) for row in planned.results} == {
        measure: (row.responders, row.evaluable, row.rate) for measure, row in rows.items()
    }
    mmt = next(row for row in planned.results if row.measure == "MMT")
    assert [each.n for each in mmt.forecast] == [15, 30, 60]
    assert mmt.forecast[0] == proportion_precision(15, 14 / 15)
    assert mmt.for_half_width == size_for_half_width(0.1, 14 / 15)


def test_the_changes_planned_are_those_of_the_weekly_change_and_of_the_before_after_comparison():
    planned, weekly = asked("planning", power=0.9), asked("weekly-change")
    [before_after] = asked("ck-change").results

    rows = {(row.measure, row.scale, row.week): row for row in weekly.results}
    for row in planned.changes[:-1]:
        observed = rows[row.measure, row.scale, row.week]
        assert (row.n, row.mean, row.sd) == (observed.n, observed.mean, observed.sd)
        assert row.detectable[0] == detectable_change(row.n, row.sd, power=0.9)
        assert row.detectable[0].difference > row.detectable[1].difference > row.detectable[2].difference
    last = planned.changes[-1]
    assert (last.week, last.n, last.mean) == (None, before_after.n, before_after.difference.mean)


def test_the_events_planned_are_the_relapses():
    [median], [normal] = asked("planning", ratio=3.0).medians, asked("ck-normal-time").results

    assert median.events == normal.events == 8
    assert [each.events for each in median.forecast] == [8, 16, 32]
    assert median.for_ratio.n == 14


@pytest.mark.parametrize("power", [0.5001, 0.999])
@pytest.mark.parametrize("alpha", [1e-6, 0.499999])
def test_the_least_and_the_greatest_alpha_of_a_protocol_are_accepted(alpha, power):
    protocol = changed(SEED_2008, weekly_change=WeeklyChange(alpha=alpha))
    found = answer("planning", reference_cohort(), protocol, PlanningOptions(power=power))
    assert all(each.difference > 0 for row in found.changes for each in row.detectable)


@pytest.mark.parametrize("alpha", [0.0, 9e-7, 0.5, 0.9, 1.0])
def test_an_alpha_outside_the_limits_is_refused(alpha):
    with pytest.raises(ValidationError):
        WeeklyChange(alpha=alpha)


@settings(max_examples=repeats(25, thorough=100))
@given(st.tuples(cohorts(), protocols()))
def test_every_cohort_has_a_plan_or_a_reason(case):
    found = answer("planning", *case, PlanningOptions())

    for row in found.results:
        assert (row.assumed is None) == (row.reason is not None) == (row.for_half_width.n is None)
    for row in found.changes:
        assert (row.reason is None) == bool(row.detectable)
        assert (row.for_observed.n is None) == (row.for_observed.reason is not None)
    for row in found.medians:
        assert (row.events == 0) == (row.reason is not None)


@pytest.mark.parametrize("wrong", [{"power": 0.5}, {"power": 1.0}, {"half_width": 0.0}, {"ratio": 1.0}])
def test_a_plan_without_a_goal_is_refused(wrong):
    with pytest.raises(ValueError, match="Input should be"):
        PlanningOptions(**wrong)


def test_planning_is_not_part_of_the_report():
    assert not QUESTIONS["planning"].in_report
    assert isinstance(PlanningOptions(), Options)
