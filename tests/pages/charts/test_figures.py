"""The figures in a chart are those of the answer that it is drawn from, and so are those in its words."""

from itertools import pairwise

import pytest

from app import analyses
from app.pages.charts import CHARTS
from app.pages.charts.scales import decade_part, log_ticks, whole_ticks, within
from app.protocol.presets import SEED_2008
from tests.pages.charts.documents import cohort, data_of, document


def spec_and_answer(name, question, study="demo", width="wide", **options):
    given = document(name, study, **options)
    return CHARTS[name].draw(given, width), given["analyses"][question]


def rows_with(spec, *fields):
    return [row for rows in data_of(spec) for row in rows if all(field in row for field in fields)]


def test_the_curve_has_every_step_with_its_limits_from_time_0_to_the_last_censoring():
    spec, answer = spec_and_answer("ck-normal-time", "ck-normal-time")
    (row,) = answer["results"]
    band = [
        (point["time"], point["survival"], point["low"], point["high"])
        for point in rows_with(spec, "low", "high", "survival")
    ]
    curve = [(step["time"], step["survival"], step["low"], step["high"]) for step in row["curve"]]
    assert band[: len(curve)] == curve
    assert band[0][0] == 0
    censored = [each["time"] for step in row["curve"] for each in step["censorings"]]
    assert band[-1][0] == max(censored)
    assert [tick["time"] for tick in rows_with(spec, "patients", "survival")] == censored
    line = [point for point in rows_with(spec, "place") if point["series"].startswith("Seen")]
    for before, after in pairwise(line):
        assert before["time"] == after["time"] or before["survival"] == after["survival"], "no slope in a step curve"
    at_risk = [(point["time"], point["at_risk"]) for point in rows_with(spec, "at_risk")]
    assert at_risk == [(point["time"], point["at_risk"]) for point in row["numbers_at_risk"]]
    assert {"time": 334.5, "survival": 0.5, "to": 0} in [row for rows in data_of(spec) for row in rows]
    assert "Median 334.5 d (95 % interval 77 to not reached)" in spec["title"]["subtitle"]


def test_numbers_at_risk_stand_below_their_marks_on_the_axis():
    for width in ("narrow", "wide"):
        spec, _ = spec_and_answer("ck-normal-time", "ck-normal-time", "many", width)
        above, below = spec["vconcat"]
        axis = above["layer"][1]["encoding"]["x"]
        assert axis["axis"]["values"] == [row["time"] for row in below["data"]["values"]]
        assert axis["scale"] == below["encoding"]["x"]["scale"]
        assert above["width"] == below["width"]
        assert len(axis["axis"]["values"]) <= (6 if width == "narrow" else 11)


def test_the_interval_censored_curve_falls_by_its_masses():
    spec, answer = spec_and_answer("ck-normal-time", "ck-normal-interval")
    masses = answer["results"][0]["estimate"]["masses"]
    line = [(point["time"], point["survival"]) for point in rows_with(spec, "place") if "Between" in point["series"]]
    assert line[0] == (0, 1)
    assert line[1::2] == [(mass["left"], mass["survival"]) for mass in masses]
    assert [time for time, _ in line[2::2]] == [mass["right"] for mass in masses if mass["right"] is not None]


def test_the_interval_censored_curve_is_that_of_the_question_without_its_resamples():
    _, drawn = spec_and_answer("ck-normal-time", "ck-normal-interval")
    asked = analyses.answer("ck-normal-interval", cohort("demo"), SEED_2008, analyses.Options()).model_dump(mode="json")
    shown, told = drawn["results"][0]["estimate"], asked["results"][0]["estimate"]
    assert told["median"].pop("intervals")
    assert shown["median"].pop("intervals") == []
    assert shown == told


def test_a_curve_for_each_subgroup_is_told_apart_without_colour():
    spec, answer = spec_and_answer("ck-normal-time", "ck-normal-time", "many", by="sex")
    assert [row["group"]["sex"] for row in answer["results"]] == ["female", "male"]
    encoding = spec["vconcat"][0]["layer"][1]["encoding"]
    assert encoding["strokeDash"]["scale"]["domain"] == encoding["color"]["scale"]["domain"] == ["female", "male"]
    assert len({row["series"] for row in rows_with(spec, "at_risk")}) == 2


def test_weeks_have_their_mean_interval_and_n_and_an_onset_only_as_claimed():
    spec, answer = spec_and_answer("weekly-change", "weekly-change")
    by_panel = dict(zip(("CK", "MMT", "ADL"), spec["concat"], strict=True))
    for measure, panel in by_panel.items():
        scale = "ln" if measure == "CK" else "raw"
        rows = [row for row in answer["results"] if (row["measure"], row["scale"]) == (measure, scale)]
        of, value = ("geometric_mean_ratio",) * 2 if measure == "CK" else ("mean", "mean")
        shown = [(each["week"], each["n"], each["change"], each["low"], each["high"]) for each in data_of(panel)[1]]
        expected = []
        for row in rows:
            (interval,) = (each for each in row["intervals"] if (each["of"], each["method"]) == (of, "t"))
            expected.append((row["week"], row["n"], row[value], interval["low"], interval["high"]))
        assert shown == expected
        claimed = [claim for claim in answer["claims"] if claim["code"] == "onset" and claim["measure"] == measure]
        assert panel["title"]["text"] == f"{measure}: improved from week {claimed[0]['week']} on"


def test_an_onset_that_is_not_claimed_is_not_drawn():
    given = document("weekly-change")
    answer = given["analyses"]["weekly-change"]
    denied = [claim | {"supported": False} if claim["code"] == "onset" else claim for claim in answer["claims"]]
    changed = given | {"analyses": {"weekly-change": answer | {"claims": denied}}}
    spec = CHARTS["weekly-change"].draw(changed, "wide")
    assert [panel["title"]["text"] for panel in spec["concat"]] == ["CK", "MMT", "ADL"]
    assert "improved" not in spec["description"]
    assert "Dashed" not in str(spec["title"])


def test_where_bounds_change_the_method_of_an_interval_it_is_drawn_all_the_same():
    spec, answer = spec_and_answer("weekly-change", "weekly-change", "bounded")
    rows = [row for row in answer["results"] if (row["measure"], row["scale"]) == ("CK", "ln")]
    known = [row for row in rows if row["mean"] is not None]
    assert {each["method"] for row in known for each in row["intervals"] if each["of"] == "mean"} - {"t"}
    for point, row in zip(data_of(spec["concat"][0])[1], known, strict=True):
        (interval,) = (each for each in row["intervals"] if each["of"] == "geometric_mean_ratio")
        assert None not in (point["low"], point["high"])
        assert (point["low"], point["high"]) == (interval["low"], interval["high"])
    assert len(known) < len(rows)
    assert "CK at week 1 and 2 has no mean: " in " ".join(spec["title"]["subtitle"])
    spec, _ = spec_and_answer("ck-change", "ck-change", "bounded", patients=True)
    assert "n = 6, 5 of them drawn" in " ".join(spec["title"]["subtitle"])
    spec, _ = spec_and_answer("ck-trajectories", "trajectories", "bounded")
    assert "1 result without an upper limit or of 0 not drawn" in spec["title"]["subtitle"]


def test_an_interval_that_is_wider_than_the_axis_is_said_to_go_on():
    spec, _ = spec_and_answer("weekly-change", "weekly-change", "two")
    assert "A line that leaves the picture goes on" in " ".join(spec["title"]["subtitle"])
    assert spec["concat"][0]["layer"][1]["mark"]["clip"] is True
    spec, _ = spec_and_answer("weekly-change", "weekly-change")
    assert "leaves the picture" not in " ".join(spec["title"]["subtitle"])


def test_slopes_are_those_of_the_patients_and_the_means_those_of_the_answer():
    spec, answer = spec_and_answer("ck-change", "ck-change", patients=True)
    (row,) = answer["results"]
    slopes = {}
    for each in rows_with(spec, "patient"):
        slopes.setdefault(each["patient"], []).append(each["change"])
    assert slopes == {
        each["patient"]: [each["before"], each["after"]] for each in row["patients"] if each["before"] is not None
    }
    means = [(each["change"], each["low"], each["high"]) for each in rows_with(spec, "part", "low")]
    for side, (mean, low, high) in zip(("before", "after"), means[:2], strict=True):
        (interval,) = (each for each in row[side]["intervals"] if (each["of"], each["method"]) == ("mean", "t"))
        assert (mean, low, high) == (row[side]["mean"], interval["low"], interval["high"])
    assert "Difference of the means −1.41 (95 % interval −1.71 to −1.11)" in " ".join(spec["title"]["subtitle"])


def test_without_its_patients_a_slope_is_that_of_the_means():
    spec, answer = spec_and_answer("ck-change", "ck-change")
    assert rows_with(spec, "patient") == []
    assert "patients" not in answer["results"][0]
    assert [row["change"] for row in rows_with(spec, "part", "low")][:2] == [
        answer["results"][0][side]["mean"] for side in ("before", "after")
    ]
    assert "n = 15; dark: means with 95 % intervals" in spec["title"]["subtitle"]


def test_a_waterfall_has_one_bar_a_patient_with_the_verdict_of_the_answer():
    spec, answer = spec_and_answer("response-waterfall", "response-rates")
    primary = [row for row in answer["results"] if row["primary"]]
    for panel, row in zip(spec["vconcat"], primary, strict=True):
        bars = {each["patient"]: each for each in panel["data"]["values"]}
        judged = {each["patient"]: each for each in row["patients"] if each["responder"] is not None}
        assert bars.keys() == judged.keys()
        assert len(bars) == row["evaluable"]
        for name, each in judged.items():
            change = each["change"] / each["baseline"] if row["measure"] == "CK" else each["change"]
            assert bars[name]["change"] == change
            assert (bars[name]["verdict"] == "Responder") == each["responder"]
        order = [each["change"] for each in panel["data"]["values"]]
        assert order == sorted(order, reverse=row["measure"] == "CK"), "the least favourable change first"


@pytest.mark.parametrize("options", [{}, {"by": "sex"}])
def test_a_forest_has_the_counts_rates_and_limits_of_every_subgroup(options):
    spec, answer = spec_and_answer("response-forest", "response-rates", **options)
    shown = [
        (row["responders"], row["evaluable"], row["rate"], row["low"], row["high"]) for row in rows_with(spec, "rate")
    ]
    primary = [row for row in answer["results"] if row["primary"]]
    expected = [
        (row["responders"], row["evaluable"], row["rate"], row["intervals"][0]["low"], row["intervals"][0]["high"])
        for row in primary
    ]
    assert sorted(shown) == sorted(expected)
    assert len(shown) == (6 if options else 3)


def test_events_and_scores_and_the_flow_are_those_of_the_answers():
    spec, answer = spec_and_answer("adverse-events", "safety")
    terms = answer["results"][0]["by_term"]
    assert [(row["name"].replace("\n", " "), row["patients"]) for row in rows_with(spec, "figures")] == [
        (term["term"], term["patients"]) for term in terms
    ]
    spec, answer = spec_and_answer("improvement-score", "improvement-score", "scores")
    scored = [row for row in answer["results"] if row["score"]["median"] is not None]
    points = [(row["week"], row["score"], row["low"], row["high"]) for row in rows_with(spec, "n", "score")]
    assert points[: len(points) // 2] == points[len(points) // 2 :], "the bars and the line"
    assert points[: len(scored)] == [
        (row["week"], row["score"]["median"], row["score"]["q1"], row["score"]["q3"]) for row in scored
    ]
    given = document("flow")
    spec = CHARTS["flow"].draw(given, "narrow")
    texts = [row["text"] for row in rows_with(spec, "text")]
    assert [text for text in texts if text.startswith("n = ")] == [f"n = {step['n']}" for step in given["flow"]]
    assert "2: CK was never" in texts


def test_the_time_to_a_low_dose_has_every_step_and_says_the_sums():
    spec, answer = spec_and_answer("steroid-sparing", "steroid-sparing")
    (row,) = answer["results"]
    band = [(point["time"], point["survival"], point["low"]) for point in rows_with(spec, "low", "survival")]
    assert band[: len(row["curve"])] == [(step["time"], step["survival"], step["low"]) for step in row["curve"]]
    marks = [(each["time"], each["patients"]) for each in rows_with(spec, "patients", "survival")]
    assert marks == [(each["time"], each["patients"]) for step in row["curve"] for each in step["censorings"]]
    said = " ".join(spec["title"]["subtitle"])
    assert "n = 16 with more than 7.5 mg/d of prednisolone equivalents on day 0; 0 came to 7.5 mg/d or less" in said
    assert "Sum over 364 days: median 20\u202f020 mg" in said
    assert answer["claims"][0]["text"] in spec["description"]


def test_a_specification_curve_has_every_definition_once_and_the_declared_one():
    spec, answer = spec_and_answer("specification-curve", "specification-curve")
    for panel, row in zip(spec["concat"], answer["curves"], strict=True):
        levels = data_of(panel)[0]
        assert sum(each["specifications"] for each in levels) == row["specifications"]
        assert [each["rate"] for each in levels] == row["picture"]["rate"]
        assert (levels[0]["from"], levels[-1]["to"]) == (0, 1)
        marks = [each for layer in panel["layer"] if layer["mark"]["type"] == "point" for each in data_of(layer)[0]]
        assert [each["rate"] for each in marks] == (
            [] if row["declared"]["rate"] is None else [row["declared"]["rate"]]
        )


def test_what_nothing_gives_stands_beside_what_was_seen():
    given = document("without-effect")
    spec = CHARTS["without-effect"].draw(given, "wide")
    shown = {(row["observed"], row["mean"], row["low"], row["high"]) for row in rows_with(spec, "observed")}
    simulated = {
        (each["observed"], each["mean"], each["low"], each["high"])
        for answer in given["analyses"].values()
        for entry in answer["nothing"]
        for each in entry["results"]
        if each["mean"] is not None and each["observed"] is not None
    }
    assert shown == simulated
    assert len(shown) > 4


def test_a_patient_alone_is_drawn_against_the_limit_of_each_result():
    spec, answer = spec_and_answer("ck-trajectories", "trajectories", patient="P03")
    (one,) = answer["patients"]
    lines, points = data_of(spec)[1:3]
    assert lines == points
    assert [(row["day"], row["ck"], row["limit"]) for row in points] == [
        (each["day"], each["value"], each["upper_limit"]) for each in one["results"]
    ]
    assert "patient P03" in " ".join(spec["title"]["subtitle"])
    assert spec["layer"][1]["encoding"]["y"]["scale"]["type"] == "log"


def test_everybody_is_drawn_as_multiples_of_the_own_limit_with_the_medians():
    spec, answer = spec_and_answer("ck-trajectories", "trajectories")
    lines = rows_with(spec, "patient", "ratio")
    assert len({row["patient"] for row in lines}) == answer["with_ck"] == 16
    first = answer["patients"][0]["results"][0]
    assert lines[0]["ratio"] == first["value"] / first["upper_limit"]
    medians = [row["ratio"] for row in rows_with(spec, "n", "ratio")]
    assert medians == [each["ratio"]["median"] for each in answer["weeks"]]


def test_of_a_large_study_some_are_drawn_and_the_chart_says_how_many():
    spec, answer = spec_and_answer("ck-trajectories", "trajectories", "many")
    drawn = {row["patient"] for row in rows_with(spec, "patient", "ratio")}
    assert (len(drawn), answer["with_ck"]) == (40, 120)
    assert "n = 120 treated with a CK result, 40 of them drawn" in " ".join(spec["title"]["subtitle"])


def test_spells_last_from_the_first_normal_ck_as_long_as_the_answer_says():
    spec, answer = spec_and_answer("spells", "ck-normal-time")
    known = {each["patient"]: each for each in answer["results"][0]["patients"] if each["duration"] is not None}
    spells = {row["patient"]: row for row in rows_with(spec, "part") if row["part"] == "spell"}
    assert {name: (row["day"], row["to"] - row["day"]) for name, row in spells.items()} == {
        name: (each["start"], each["duration"]) for name, each in known.items()
    }
    assert (
        "13 had a spell of normal CK; the first of each is drawn. 8 of these spells ended and 5 still lasted"
        in (spec["description"])
    )


def test_the_picture_says_that_only_the_first_spell_of_a_patient_is_drawn():
    spec, _ = spec_and_answer("spells", "ck-normal-time")
    assert spec["title"]["text"] == ["First spell of normal CK, courses and adverse events"]
    assert "A later spell of the same patient is not drawn" in spec["title"]["subtitle"]


@pytest.mark.parametrize(
    ("values", "ends", "marks"),
    [
        ([0.12, 1], [0.1, 1], [0.1, 0.2, 0.5, 1]),
        ([1, 1], [1, 2], [1, 2]),
        ([0.3, 21], [0.2, 50], [0.2, 0.5, 1, 2, 5, 10, 20, 50]),
        ([1e-5, 3e4], [1e-5, 5e4], [1e-5, 1e-3, 1e-1, 10, 1000]),
    ],
)
def test_the_ends_of_a_scale_hold_all_values_and_its_marks_are_few(values, ends, marks):
    assert decade_part(values) == ends
    assert log_ticks(values, 8) == marks


def test_marks_of_counts_are_whole_and_far_ends_of_intervals_are_cut():
    assert whole_ticks(2) == [0, 1, 2]
    assert whole_ticks(17) == [0, 5, 10, 15]
    assert whole_ticks(0) == [0]
    assert within([1.0, 2.0], [1e-9, 1.5, 1e9]) == [1.0, 2.0, 0.02, 1.5, 100.0]


def test_terms_and_groups_that_are_shortened_to_the_same_name_have_a_row_each():
    given = document("adverse-events", "demo")
    row = given["analyses"]["safety"]["results"][0]
    term = row["by_term"][0]
    row["by_term"] = [{**term, "term": "Very long term of an adverse event " * 5 + end} for end in ("a", "b")]
    names = [each["name"] for each in rows_with(CHARTS["adverse-events"].draw(given, "narrow"), "figures")]
    assert len(names) == len(set(names)) == 2
    given = document("response-forest", "demo", by="diagnosis")
    rows = given["analyses"]["response-rates"]["results"]
    for number, each in enumerate(rows):
        each["group"] = {"diagnosis": f"a diagnosis with a long name {number % 2}"}
    drawn = rows_with(CHARTS["response-forest"].draw(given, "narrow"), "figures", "rate")
    panels = [[each["name"] for each in drawn[place : place + 2]] for place in range(0, len(drawn), 2)]
    assert panels
    assert all(len(set(names)) == 2 for names in panels)


@pytest.mark.parametrize("level", [0.975, 0.999])
def test_the_level_of_intervals_has_all_its_digits(level):
    for name in ("weekly-change", "ck-change", "response-forest", "ck-normal-time"):
        shown = " ".join(CHARTS[name].draw(document(name, "demo", level=level), "wide")["title"]["subtitle"])
        assert f"{level * 100:g} %" in shown
        assert "95 %" not in shown
