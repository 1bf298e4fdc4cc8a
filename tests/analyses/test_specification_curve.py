"""The specification curve: equal definitions share one row of the table, and the declared rule is marked."""

import json
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.analyses import Options, answer
from app.analyses.specification_curve import CurveOptions
from app.demo import TIMELINES
from app.protocol.model import Protocol, Visits, WeeklyChange
from app.protocol.parts import Scale
from app.protocol.presets import PRESETS, RELATIVE_20, SEED_2008
from app.protocol.specification import MOST_SPECIFICATIONS, specification_of
from app.protocol.specification_default import default_grid, primary_rule
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from app.timeline.times import latest_acceptable
from tests.repetition import repeats
from tests.twin import specifications as twin
from tests.twin.cohorts import changed, cohorts, protocols

NAME = "specification-curve"
MMT = {
    "measure": "MMT",
    "thresholds": [{"id": "points_better", "points": 5}, {"id": "points_better", "points": 10}],
    "remissions": [{"id": "best_end_of_scale"}],
    "windows": [{"id": "days", "days": [1, 59], "value": "best"}, {"id": "visit", "week": 8}],
    "baselines": ["last_on_or_before_day_0", "arithmetic_mean_before_dose"],
}


def declaring(*measures, preset=SEED_2008, **more):
    """The preset with another grid, read from a document."""
    document = preset.model_dump(mode="json") | {"specification_grid": {"measures": list(measures), **more}}
    return Protocol.model_validate_json(json.dumps(document))


def with_mmt(**parts):
    return declaring(MMT | parts)


def demonstration(*, backwards=False):
    now = latest_acceptable(datetime(2020, 1, 1, tzinfo=UTC))
    read = [Timeline.model_validate_json(json.dumps(each)) for each in json.loads(TIMELINES.read_text("utf-8"))]
    return Cohort.of_histories([normalise(each, now) for each in (read[::-1] if backwards else read)], None)


@cache
def reference():
    return demonstration()


def shown_in(row):
    """The choices of a definition as a row shows them, without the rule for missing values."""
    criterion, window = (each.model_dump(mode="json") for each in (row.criterion, row.window))
    flat = [{"id": each["id"], **each.get("parameters", {k: v for k, v in each.items() if k != "id"})}
            for each in (criterion, window)]  # fmt: skip
    return str(flat), row.baseline, row.analysis_set


def marked(found):
    return [row for row in found.results if row.declared]


# --- the declared rule ------------------------------------------------------------------------------------------------


def test_the_declared_rules_of_the_reference_cohort_have_their_published_counts():
    found = answer(NAME, reference(), SEED_2008, CurveOptions())
    counts = {row.measure: (row.responders, row.evaluable) for row in marked(found)}

    assert counts == {"MMT": (14, 15), "ADL": (12, 15), "CK": (15, 15)}
    assert found.grid_declared is False
    assert [curve.declared.in_grid for curve in found.curves if curve.kind == "response"] == [True, True, True]


@settings(max_examples=repeats(20))
@given(cohorts(), protocols(), st.booleans())
def test_the_declared_row_is_the_row_of_the_response_rates(cohort, protocol, declares_a_grid):
    if declares_a_grid:
        grid = declaring({**MMT, "windows": MMT["windows"][:1]}).specification_grid
        protocol = changed(protocol, specification_grid=grid)
    found = answer(NAME, cohort, protocol, CurveOptions())
    rates = [row for row in answer("response-rates", cohort, protocol, Options()).results if row.primary]
    asked = {own.measure for own in found.grid.measures}

    assert {row.measure for row in marked(found)} == {row.measure for row in rates} & asked
    assert len(marked(found)) == len({row.measure for row in marked(found)})
    for row in marked(found):
        [rate] = [each for each in rates if each.measure == row.measure]
        assert (row.responders, row.evaluable, row.rate) == (rate.responders, rate.evaluable, rate.rate)
        assert row.interval == rate.intervals[0]
        assert row.all_treated == rate.all_treated
        shown = specification_of(primary_rule(protocol, row.measure))
        assert (row.criterion.id, row.window.id) == (shown.criterion.id, shown.window.id)
        assert (row.baseline, row.analysis_set, row.missing) == ("last_on_or_before_day_0", "efficacy", "left_out")


def test_a_declared_rule_that_the_grid_lacks_is_added_and_marked():
    protocol = declaring({**MMT, "thresholds": MMT["thresholds"][1:], "missing": ["non_responder"]})
    found = answer(NAME, reference(), protocol, CurveOptions())
    [row] = marked(found)
    curve = found.curves[0]

    assert (row.responders, row.evaluable, row.criterion.parameters) == (14, 15, {"points": 5.0})
    assert (curve.declared.in_grid, curve.specifications) == (False, 1 * 2 * 2 * 1 * 1 + 1)
    assert [each.parameters for each in curve.choices.criterion] == [{"points": 10.0}, {"points": 5.0}]
    assert curve.choices.missing == ("non_responder", "left_out")


def test_without_a_primary_rule_no_row_is_marked_and_a_reason_is_given():
    protocol = changed(SEED_2008, responses=())
    found = answer(NAME, reference(), protocol, CurveOptions())

    assert marked(found) == []
    assert {curve.declared.reason for curve in found.curves} == {"not_declared"}


def test_the_place_of_the_declared_rule_counts_every_definition():
    found = answer(NAME, reference(), SEED_2008, CurveOptions(measure="ADL"))
    curve = found.curves[0]
    rates = [row.rate for row in found.results if row.kind == "response" for _ in range(row.specifications)]
    place = curve.declared

    assert place.below == sum(rate < 0.8 for rate in rates)
    assert place.equal == rates.count(0.8)
    assert place.below + place.equal + place.above == curve.specifications == len(rates)
    assert place.percentile == (place.below + place.equal / 2) / len(rates)
    assert found.results[place.rank - 1].declared


# --- one table --------------------------------------------------------------------------------------------------------


@settings(max_examples=repeats(15))
@given(cohorts(4), st.sampled_from([SEED_2008, RELATIVE_20]))
def test_rows_are_those_of_the_twin_and_stand_for_every_definition_once(cohort, protocol):
    found = answer(NAME, cohort, protocol, CurveOptions(measure="MMT"))
    [own] = [each for each in found.grid.measures if each.measure == "MMT"]
    patients = twin.patients_known(cohort, protocol, "MMT")
    for kind in ("response", "remission"):
        expected, judged = {}, {}
        for each in own.specifications(kind):
            verdicts = twin.counted(patients, own, each, None)
            if each.missing == "left_out":
                judged[shown_in(each)] = len(verdicts)
            expected.setdefault(tuple(verdicts.items()), []).append(each)
        rows = [row for row in found.results if row.kind == kind]
        counts = sorted((len(alike), sum(dict(key).values()), len(key)) for key, alike in expected.items())
        assert sorted((row.specifications, row.responders, row.evaluable) for row in rows) == counts
        treated = sum(of.treated for of in patients.values())
        for row in rows:
            assert (row.all_treated.of, row.all_treated.counted) == (treated, row.responders)
            assert row.all_treated.not_judged == treated - judged[shown_in(row)]
        assert [len(row.same_as) + 1 for row in rows] == [row.specifications for row in rows]


@settings(max_examples=repeats(15))
@given(cohorts(), protocols())
def test_collapsed_definitions_add_up_to_the_grid(cohort, protocol):
    found = answer(NAME, cohort, protocol, CurveOptions())
    for own in found.grid.measures:
        curves = [curve for curve in found.curves if curve.measure == own.measure]
        added = sum(curve.declared.in_grid is False for curve in curves)
        assert sum(curve.specifications for curve in curves) == own.size + added
        for curve in curves:
            rows = [row for row in found.results if (row.measure, row.kind) == (curve.measure, curve.kind)]
            assert (len(rows), sum(row.specifications for row in rows)) == (curve.distinct, curve.specifications)
            others = [each for row in rows for each in row.same_as]
            assert len(set(others)) == len(others) == curve.specifications - curve.distinct
            rates = [row.rate for row in rows if row.rate is not None]
            assert rates == sorted(rates)
            assert [row.rate for row in rows[len(rates) :]] == [None] * (len(rows) - len(rates))
            assert (curve.minimum, curve.maximum) == ((rates[0], rates[-1]) if rates else (None, None))


@settings(max_examples=repeats(8))
@given(cohorts())
def test_the_picture_is_the_table(cohort):
    found = answer(NAME, cohort, SEED_2008, CurveOptions())
    for curve in found.curves:
        picture, choices = curve.picture, curve.choices.model_dump()
        rows = [row for row in found.results if (row.measure, row.kind) == (curve.measure, curve.kind)]
        drawn = [row for row in rows if row.rate is not None]
        assert picture.rate == tuple(row.rate for row in drawn)
        assert picture.low == tuple(row.interval.low for row in drawn)
        assert picture.high == tuple(row.interval.high for row in drawn)
        assert picture.specifications == tuple(row.specifications for row in drawn)
        marks = {(each.dimension, each.choice): each.ranks for each in picture.choices}
        assert set(marks) <= {(name, i) for name, own in choices.items() for i in range(len(own))}
        for rank, row in enumerate(drawn, 1):
            for dimension in choices:
                shown = row.model_dump()[dimension]
                assert rank in marks[dimension, choices[dimension].index(shown)]
            for same in row.same_as:
                assert all(rank in marks[pair] for pair in zip(choices, same, strict=True))


def test_the_order_of_the_patients_changes_nothing():
    turned = demonstration(backwards=True)
    options = CurveOptions(patients=True)
    assert answer(NAME, turned, SEED_2008, options) == answer(NAME, reference(), SEED_2008, options)


def test_the_definitions_that_count_a_patient_and_by_which_the_patient_responds_are_counted():
    found = answer(NAME, reference(), with_mmt(analysis_sets=["efficacy"]), CurveOptions(patients=True))
    response, remission = found.curves
    assert (response.specifications, remission.specifications) == (16, 8)
    for curve in found.curves:
        rows = [row for row in found.results if row.kind == curve.kind]
        assert sum(each.evaluable_in for each in curve.patients) == sum(r.evaluable * r.specifications for r in rows)
        assert sum(each.responded_in for each in curve.patients) == sum(r.responders * r.specifications for r in rows)
        assert all(0 <= each.responded_in <= each.evaluable_in <= curve.specifications for each in curve.patients)
    assert max(each.responded_in for each in response.patients) == 16
    assert answer(NAME, reference(), SEED_2008, CurveOptions()).curves[0].patients is None


def test_one_measure_can_be_asked_for_and_subgroups_partition_the_declared_counts():
    whole = answer(NAME, reference(), SEED_2008, CurveOptions(measure="MMT"))
    parts = answer(NAME, reference(), SEED_2008, CurveOptions(measure="MMT", by="diagnosis"))

    assert {row.measure for row in whole.results} == {"MMT"}
    assert {row.group["diagnosis"] for row in parts.results} == {"polymyositis", "dermatomyositis"}
    assert sum(row.responders for row in marked(parts)) == marked(whole)[0].responders
    assert sum(row.evaluable for row in marked(parts)) == marked(whole)[0].evaluable
    assert answer(NAME, reference(), SEED_2008, CurveOptions(measure="HAQ")).results == ()


def test_without_patients_every_rate_is_null_with_its_reason():
    found = answer(NAME, Cohort.assemble([], [], [], [], [], []), SEED_2008, CurveOptions(patients=True))

    assert {(row.rate, row.reason, row.interval.reason) for row in found.results} == {(None, *["no_patients"] * 2)}
    assert {(curve.distinct, curve.minimum, curve.reason) for curve in found.curves} == {(1, None, "no_patients")}
    assert {(curve.picture.rate, curve.picture.declared) for curve in found.curves} == {((), None)}


# --- the grid ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PRESETS.values(), ids=PRESETS)
def test_the_default_grid_has_four_thresholds_three_windows_three_baselines_and_two_rules(protocol):
    for own in default_grid(protocol).measures:
        assert len(own.thresholds) >= 4
        assert len(own.windows) >= 3
        assert len(own.baselines) >= 3
        assert len(own.missing) >= 2
        assert own.remissions
        rule = primary_rule(protocol, own.measure)
        assert rule is None or specification_of(rule) in set(own.specifications("response"))
    assert default_grid(protocol).size <= MOST_SPECIFICATIONS


@settings(max_examples=repeats(20))
@given(protocols())
def test_the_default_grid_could_be_declared(protocol):
    declared = changed(protocol, specification_grid=default_grid(protocol))
    assert default_grid(declared) == declared.specification_grid


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(
            id="plain",
            visits=Visits(weeks=(-4, 4)),
            weekly_change=WeeklyChange(measures=("CK",), weeks=(4,)),
        ),
        Protocol(
            id="late",
            visits=Visits(weeks=(-4, 4, 520), tolerance_days=13),
            weekly_change=WeeklyChange(measures=("CK", "HAQ"), weeks=(4,)),
        ),
        changed(SEED_2008, scales=SEED_2008.scales | {"MMT": Scale(minimum=-50, maximum=50, better="higher")}),
    ],
    ids=lambda protocol: protocol.id,
)
def test_the_default_grid_of_an_odd_protocol_could_be_declared(protocol):
    declared = changed(protocol, specification_grid=default_grid(protocol)).specification_grid
    assert all(len(own.windows) >= 3 for own in declared.measures)


def test_a_protocol_without_a_grid_keeps_its_stored_digest():
    stored = "sha256:8d0e1e2f83fff5a4ec2f7c1fa67ebc094878d3a312af70b288d9f0b3d5540f75"
    assert SEED_2008.digest == stored
    assert "specification_grid" not in SEED_2008.model_dump()
    assert with_mmt().digest != stored
    assert Protocol.model_validate_json(with_mmt().model_dump_json()) == with_mmt()


def refusal(*measures, preset=SEED_2008, **more):
    with pytest.raises(ValidationError) as refused:
        declaring(*measures, preset=preset, **more)
    return refused.value.errors()[0]["msg"]


CK = {
    "measure": "CK",
    "thresholds": [{"id": "percent_of_baseline", "percent_of_baseline": 70}],
    "windows": [{"id": "visit", "week": 4}],
    "baselines": ["last_on_or_before_day_0"],
}


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        (MMT | {"thresholds": [{"id": "points_better", "points": 100.1}]}, "thresholds.0: points exceed the range"),
        (MMT | {"thresholds": [MMT["thresholds"][0]] * 2}, "thresholds.1: this is declared twice"),
        (MMT | {"remissions": MMT["remissions"] * 2}, "remissions.1: this is declared twice"),
        (MMT | {"windows": MMT["windows"] * 2}, "windows.2: this is declared twice"),
        (MMT | {"baselines": MMT["baselines"][:1] * 2}, "baselines.1: this is declared twice"),
        (MMT | {"missing": ["left_out"] * 2}, "missing.1: this is declared twice"),
        (MMT | {"analysis_sets": ["safety"] * 2}, "analysis_sets.1: this is declared twice"),
        (MMT | {"windows": [{"id": "days", "days": [0, 59], "value": "best"}]}, "windows.0: days must be an ascending"),
        (MMT | {"windows": [{"id": "days", "days": [9, 8], "value": "last"}]}, "windows.0: days must be an ascending"),
        (MMT | {"windows": [{"id": "visit", "week": 3}]}, "windows.0: this week is not among visits.weeks"),
        (MMT | {"windows": [{"id": "visit", "week": -4}]}, "windows.0: a response is judged at a week after"),
        (MMT | {"thresholds": CK["thresholds"]}, "thresholds.0: this criterion is for CK"),
        (MMT | {"remissions": [{"id": "ck_normal"}]}, "remissions.0: this criterion is for CK"),
        (CK | {"thresholds": MMT["thresholds"]}, "thresholds.0: this criterion is for scores"),
        (MMT | {"baselines": ["geometric_mean_before_dose"]}, "baselines: a geometric mean is for CK"),
        (
            MMT | {"remissions": [{"id": "best_end_of_scale", "within_points": 100}]},
            "remissions.0: within_points reaches over the whole scale",
        ),
        (
            {**MMT, "measure": "HAQ", "thresholds": [{"id": "percent_better", "percent": 101}]},
            "thresholds.0: no score falls by more than 100 per cent",
        ),
    ],
)
def test_a_grid_that_contradicts_itself_is_refused_by_the_name_of_the_definition(grid, sentence):
    assert f"specification_grid.measures.0.{sentence}" in refusal(grid)


@pytest.mark.parametrize(
    "grid",
    [
        MMT | {"measure": "GRIP"},
        MMT | {"thresholds": []},
        MMT | {"windows": []},
        MMT | {"baselines": []},
        MMT | {"missing": []},
        MMT | {"baselines": ["median_before_dose"]},
        MMT | {"thresholds": [{"id": "points_better", "points": 0}]},
        CK | {"thresholds": [{"id": "percent_of_baseline", "percent_of_baseline": 101}]},
    ],
)
def test_a_grid_of_unknown_or_no_choices_is_refused(grid):
    assert refusal(grid)


def test_a_measure_has_one_grid_and_needs_its_scale():
    assert "measures.1: this measure has a grid already" in refusal(MMT, MMT)
    bare = Protocol(id="bare", weekly_change=WeeklyChange(measures=("CK",)))
    assert "measures.0: this measure needs its scale and direction" in refusal(MMT, preset=bare)
    shifted = changed(SEED_2008, scales=SEED_2008.scales | {"MMT": Scale(minimum=-9, maximum=9, better="higher")})
    below = MMT | {"thresholds": [{"id": "percent_better", "percent": 20}]}
    assert "a baseline that may be negative" in refusal(below, preset=shifted)


def test_more_definitions_than_the_limit_are_refused():
    steps = [{"id": "points_better", "points": each} for each in range(1, 101)]
    windows = [{"id": "days", "days": [1, last], "value": "last"} for last in range(1, 15)]
    fits = MMT | {"thresholds": steps[:99], "windows": windows[:12]}  # (99 + 1) x 12 x 2 x 1 x 2
    assert declaring(fits).specification_grid.size == 4_800
    assert f"more than {MOST_SPECIFICATIONS} definitions" in refusal(fits | {"windows": windows[:13]})


def test_a_measure_of_the_grid_is_a_measure_of_the_protocol():
    haq = MMT | {"measure": "HAQ", "thresholds": [{"id": "points_better", "points": 0.22}]}
    assert "HAQ" in declaring(haq).measures
    assert "HAQ" not in SEED_2008.measures
