"""Every figure of the reference cohort, computed in R, is a field of an answer over HTTP.

The figures: `tests/data/saito_like.expected.json` (R 4.2.2, survival 3.5-3, exactRankTests 0.8-35; the definitions that
they were computed by stand in the file itself).
"""

import json
import math
from functools import cache
from pathlib import Path

import pytest

EXPECTED = json.loads((Path(__file__).parents[1] / "data" / "saito_like.expected.json").read_text())
DIAGNOSES = {"PM": "polymyositis", "DM": "dermatomyositis"}
WEEKS = ("week_1", "week_2", "week_4", "week_8")


def near(value):
    return pytest.approx(value, rel=1e-9, abs=0)


@pytest.fixture(scope="module")
def ask(demo):
    @cache
    def answer(name, **parameters):
        response = demo.get(f"/v1/studies/demo/analyses/{name}", params=parameters)
        assert response.status_code == 200, response.text
        return response.json()

    return answer


def only(rows, **fields):
    found = [row for row in rows if all(row.get(name) == value for name, value in fields.items())]
    assert len(found) == 1, (fields, len(found))
    return found[0]


def rate(ask, measure, value, **parameters):
    return [
        row
        for row in ask("response-rates", **parameters)["results"]
        if row["measure"] == measure and row["definition"]["parameters"]["value"] == value
    ]


@pytest.mark.parametrize("measure", ["MMT", "ADL", "CK"])
@pytest.mark.parametrize("value", ["best", "last"])
def test_responders_and_evaluable_patients_are_those_of_the_reference(ask, measure, value):
    [row] = rate(ask, measure, value, patients="true")
    expected = EXPECTED["response"][value][measure]

    assert (row["responders"], row["evaluable"]) == (expected["responders"], expected["evaluable"])
    assert [one["patient"] for one in row["patients"] if one["responder"] is False] == expected["non_responders"]
    assert row["primary"] is (value == "best")


@pytest.mark.parametrize("measure", ["MMT", "ADL", "CK"])
def test_rates_and_both_intervals_are_those_of_binom_test_and_prop_test(ask, measure):
    [row] = rate(ask, measure, "best")
    expected = EXPECTED["response_ci"][measure]
    intervals = {interval["method"]: interval for interval in row["intervals"]}

    assert row["rate"] == near(expected["percent"] / 100)
    for method, field in (("clopper-pearson", "clopper_pearson_95"), ("wilson", "wilson_95")):
        assert [intervals[method]["low"], intervals[method]["high"]] == near(expected[field])


@pytest.mark.parametrize("measure", ["MMT", "ADL", "CK"])
@pytest.mark.parametrize("diagnosis", ["PM", "DM"])
def test_response_by_diagnosis_is_that_of_the_reference(ask, measure, diagnosis):
    row = only(rate(ask, measure, "best", by="diagnosis"), group={"diagnosis": DIAGNOSES[diagnosis]})
    expected = EXPECTED["response_by_diagnosis"][diagnosis][measure]

    assert (row["responders"], row["evaluable"]) == (expected["responders"], expected["n"])


@pytest.mark.parametrize("week", WEEKS)
@pytest.mark.parametrize("measure", ["CK", "lnCK", "MMT", "ADL"])
def test_weekly_change_and_its_tests_are_those_of_r(ask, measure, week):
    answer = ask("weekly-change")
    name, scale = ("CK", "ln") if measure == "lnCK" else (measure, "raw")
    row = only(answer["results"], measure=name, scale=scale, week=int(week.removeprefix("week_")))
    expected = EXPECTED["paired"][measure][week]
    rank, t = row["tests"]
    mean = only(row["intervals"], of="mean")

    assert row["n"] == expected["n"]
    assert row["mean"] == near(expected["mean"])
    assert row["median"] == near(expected["median"])
    assert (rank["method"], t["method"]) == ("wilcoxon_exact", "paired_t")
    assert rank["statistic"] == expected["V"]
    assert rank["p"] == near(expected["p_wilcoxon_exact"])
    assert rank["p_adjusted"] == near(expected["holm_wilcoxon"])
    assert t["statistic"] == near(expected["t"])
    assert t["p"] == near(expected["p_t"])
    assert t["p_adjusted"] == near(expected["holm_t"])
    assert [mean["low"], mean["high"]] == near(expected["t_ci95"])
    assert (rank["p_adjusted"] <= 0.05) is expected["significant_at_0.05"]


@pytest.mark.parametrize(
    ("measure", "scale", "week"), [("CK", "ln", 1), ("CK", "raw", 1), ("MMT", "raw", 2), ("ADL", "raw", 2)]
)
def test_the_onset_is_the_week_that_the_trial_reported(ask, measure, scale, week):
    onset = only(ask("weekly-change")["onset"], measure=measure, scale=scale)

    assert (onset["week"], onset["direction"], onset["reason"]) == (week, "improvement", None)


def test_the_before_after_comparison_is_that_of_r(ask):
    [row] = ask("ck-change")["results"]
    expected = EXPECTED["ck_slope"]
    t, rank = row["difference"]["tests"]
    mean = only(row["difference"]["intervals"], of="mean")

    assert row["n"] == expected["n"]
    assert row["before"]["mean"] == near(expected["mean_ln_change_before"])
    assert row["after"]["mean"] == near(expected["mean_ln_change_after"])
    assert row["before"]["geometric_mean_ratio"] == near(expected["geometric_ratio_before"])
    assert row["after"]["geometric_mean_ratio"] == near(expected["geometric_ratio_after"])
    assert row["difference"]["mean"] == near(expected["mean"])
    assert row["difference"]["median"] == near(expected["median"])
    assert row["difference"]["ratio_of_ratios"] == near(math.exp(expected["mean"]))
    assert (t["method"], t["df"]) == ("one_sample_t", 14)
    assert t["statistic"] == near(expected["t"])
    assert t["p"] == near(expected["p_t"])
    assert rank["statistic"] == expected["V"]
    assert rank["p"] == near(expected["p_wilcoxon_exact"])
    assert [mean["low"], mean["high"]] == near(expected["t_ci95"])


def test_every_spell_of_normal_ck_starts_lasts_and_ends_as_in_the_reference(ask):
    [row] = ask("ck-normal-time", patients="true")["results"]
    found = [
        {"id": one["patient"], "start": one["start"], "duration": one["duration"], "event": int(one["event"])}
        for one in row["patients"]
        if one["reason"] is None
    ]

    assert found == sorted(EXPECTED["ck_normal_spells"], key=lambda spell: spell["id"])
    assert [one["patient"] for one in row["patients"] if one["reason"] == "never_normal"] == EXPECTED["km"][
        "never_normal"
    ]


def test_the_curve_and_the_restricted_mean_are_those_of_survfit(ask):
    [row] = ask("ck-normal-time")["results"]
    expected = EXPECTED["km"]

    assert (row["n"], row["events"], row["never_normal"]) == (expected["n"], expected["events"], 2)
    assert [(point["time"], point["at_risk"]) for point in row["curve"][1:]] == [
        (point["time"], point["at_risk"]) for point in expected["curve"]
    ]
    assert [point["survival"] for point in row["curve"][1:]] == near([point["S"] for point in expected["curve"]])
    assert row["rmst"]["value"] == near(expected["rmst_365"])


@pytest.mark.parametrize("interval", ["plain", "log", "log-log"])
def test_the_median_and_its_limits_are_those_of_survfit_on_every_scale(ask, interval):
    [row] = ask("ck-normal-time", interval=interval)["results"]
    expected = EXPECTED["km"]["by_conf_type"][interval]
    [limits] = row["median"]["intervals"]

    assert row["median"]["value"] == expected["median"]
    assert (limits["low"], limits["high"]) == (expected["lower"], expected["upper"])
    assert limits["method"] == f"brookmeyer-crowley/{interval}"


def test_the_smallest_time_convention_gives_the_other_median(ask):
    [row] = ask("ck-normal-time", median="lower")["results"]

    assert (row["median"]["value"], row["median"]["convention"]) == (
        EXPECTED["km"]["smallest_time_convention"],
        "lower",
    )


def test_the_time_to_the_first_normal_ck_is_that_of_survfit(ask):
    [row] = ask("ck-normal-time")["results"]
    expected = EXPECTED["time_to_first_normal"]
    first = row["time_to_first_normal"]
    [limits] = first["median"]["intervals"]

    assert (first["n"], first["events"]) == (expected["n"], expected["events"])
    assert first["median"]["value"] == expected["median"]
    assert (limits["low"], limits["high"]) == (expected["lower_loglog"], expected["upper_loglog"])


def test_adverse_reactions_are_those_of_the_reference(ask):
    [row] = ask("adverse-reactions", patients="true")["results"]
    expected = EXPECTED["safety"]
    intervals = {interval["method"]: [interval["low"], interval["high"]] for interval in row["intervals"]}

    assert row["safety"] == expected["treated"]
    assert row["patients_with_reaction"] == expected["patients_with_adverse_reaction"]
    assert row["rate"] == near(expected["ci"]["percent"] / 100)
    assert intervals["clopper-pearson"] == near(expected["ci"]["clopper_pearson_95"])
    assert intervals["wilson"] == near(expected["ci"]["wilson_95"])
    assert row["patients_with_event"] == expected["patients_with_any_event"]
    assert (row["events"], row["related_events"]) == (expected["events"], expected["related_events"])
    assert row["serious_events"] == expected["serious"]
    assert [one["patient"] for one in row["patients"] if one["reactions"]] == expected["who"]


def test_the_populations_and_records_are_those_of_the_reference(ask, demo):
    expected = EXPECTED["counts"]
    table = ask("baseline-table")
    verdicts = rate(ask, "CK", "best", patients="true")[0]["patients"]
    records = {row["measure"]: row["count"] for row in table["records"]}

    assert table["populations"] == {"all": 16, "safety": expected["treated"], "efficacy": expected["efficacy"]}
    assert [one["patient"] for one in verdicts if one["reason"]] == expected["not_in_efficacy"]
    assert records["CK"] == expected["ck_results"]
    assert sum(records[code] for code in ("CK", "LDH", "AST", "ALT", "ALDOLASE")) == expected["all_lab_results"]
    assert records["MMT"] + records["ADL"] == expected["score_records"]
    for diagnosis, count in expected["efficacy_by_diagnosis"].items():
        row = only(rate(ask, "MMT", "best", by="diagnosis"), group={"diagnosis": DIAGNOSES[diagnosis]})
        assert row["evaluable"] == count


def test_the_whole_report_holds_the_same_answers(ask, demo):
    report = demo.get("/v1/studies/demo/analyses").json()

    assert report["revision"] == 16
    for name, part in report["analyses"].items():
        assert part["results"] == ask(name)["results"]
