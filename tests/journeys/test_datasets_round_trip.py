"""What is computed from the exported files alone is what the service answers."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import Options, answer
from app.protocol.presets import SEED_2008
from tests.datasets.tables import exported, of_csv, of_parquet, of_transport, types_of
from tests.journeys import recompute
from tests.repetition import repeats
from tests.twin.cohorts import cohorts, protocols

NAMES = ("adsl", "adeff", "adtte", "adae")
PARAMETER = {
    ("CK", "ln"): "LNCK",
    ("CK", "raw"): "CK",
    ("MMT", "raw"): "MMT",
    ("ADL", "raw"): "ADL",
    ("HAQ", "raw"): "HAQ",
}
STRATEGIES = {
    "treatment_policy": "CKNORM",
    "composite": "CKNORMC",
    "hypothetical": "CKNORMH",
    "competing": "CKNORMK",
}
RULES = {1: ("MMT", "best"), 2: ("ADL", "best"), 3: ("CK", "best"), 4: ("MMT", "last"), 5: ("ADL", "last"),
         6: ("CK", "last")}  # fmt: skip
"""The rules of seed-2008 by their number."""


def near(value):
    return None if value is None else pytest.approx(value, rel=1e-9, abs=1e-11)


def check_response_rates(tables, rates):
    """Counts from the flags of `adsl`, and Clopper-Pearson intervals from the counts."""
    counts = recompute.response_counts(tables["adsl"])
    if not tables["adsl"]:
        counts = dict.fromkeys(range(1, len(rates) + 1), (0, 0))
    assert list(counts.values()) == [(row["responders"], row["evaluable"]) for row in rates]
    for row in rates:
        first = row["intervals"][0] if row["intervals"] else None
        if row["evaluable"] and first is not None:
            assert first["method"] == "clopper-pearson"
            low, high = recompute.clopper_pearson(row["responders"], row["evaluable"])
            assert (first["low"], first["high"]) == (near(low), near(high))


def check_verdicts(tables):
    """The flags of `adsl` under seed-2008 from the values in `adeff` alone."""
    scores = {"MMT": (5, 100), "ADL": (3, 50)}
    for number, (measure, value) in RULES.items():
        rows = recompute.of_patients(tables["adeff"], measure)
        for subject in tables["adsl"]:
            mine = rows.get(subject["USUBJID"], [])
            verdict = (
                recompute.ck_verdict(mine, value)
                if measure == "CK"
                else recompute.score_verdict(mine, *scores[measure], value)
            )
            expected = None if verdict is None else "Y" if verdict else "N"
            assert subject[f"RESP{number:02}FL"] == expected, (subject["USUBJID"], number)


def check_weekly_change(tables, rows):
    """Means, t tests and, where enumeration or SciPy can give it, the exact Wilcoxon p."""
    compared = 0
    for row in rows:
        values = recompute.changes(tables["adeff"], PARAMETER[row["measure"], row["scale"]], row["week"])
        assert row["n"] == len(values)
        if not values:
            continue
        if "bounds" in row:  # the files have the substitutes of bounds
            assert row["bounds"]["substituted_mean"] == near(math.fsum(values) / len(values))
            continue
        assert row["mean"] == near(math.fsum(values) / len(values))
        rank, t = row["tests"]
        if t["p"] is not None:
            statistic, p, low, high = recompute.t_test(values)
            assert (t["statistic"], t["p"]) == (near(statistic), near(p))
            assert (row["intervals"][0]["low"], row["intervals"][0]["high"]) == (near(low), near(high))
        expected = recompute.wilcoxon_p(values)
        if expected is not None and rank["p"] is not None:
            assert rank["p"] == near(expected)
            compared += 1
    return compared


def check_ck_change(tables, row, before=-4, after=4):
    values = recompute.change_of_change(tables["adeff"], before, after)
    assert row["n"] == len(values)
    if values and "bounds" in row["difference"]:
        assert row["difference"]["bounds"]["substituted_mean"] == near(math.fsum(values) / len(values))
    elif values:
        assert row["difference"]["mean"] == near(math.fsum(values) / len(values))
        t = row["difference"]["tests"][0]
        if t["p"] is not None:
            assert (t["statistic"], t["p"]) == tuple(map(near, recompute.t_test(values)[:2]))


def check_times(tables, row):
    """Both times: n, events, the curve and the median; the restricted mean of the first; each strategy for rescue."""
    stays, becomes = (recompute.times(tables["adtte"], name) for name in ("CKNORM", "TTNORM"))
    for strategy in row["strategies"]:
        observed = recompute.times(tables["adtte"], STRATEGIES[strategy["strategy"]])
        assert (strategy["n"], strategy["events"]) == (len(observed), sum(event for _, event in observed))
        if strategy["strategy"] != "competing":
            assert strategy["medians"][0]["value"] == near(recompute.median(observed))
    competing = recompute.competing(tables["adtte"], "CKNORMK")
    incidence = next(each for each in row["strategies"] if each["strategy"] == "competing").get("incidence", [])
    for each, code in zip(incidence, (0, 2, 3), strict=bool(incidence)):
        assert each["events"] == sum(cause == code for _, cause in competing)
        curve = recompute.cumulative_incidence(competing, code)
        assert [(point["time"], point["incidence"]) for point in each["curve"]] == [(t, near(f)) for t, f in curve]
    marked = [each for each in tables["adsl"] if each["TTNRREAS"] == "normal_at_baseline"]
    assert row["time_to_first_normal"]["normal_at_baseline"] == len(marked)
    for times, observed in ((row, stays), (row["time_to_first_normal"], becomes)):
        assert (times["n"], times["events"]) == (len(observed), sum(event for _, event in observed))
        assert times["median"]["value"] == near(recompute.median(observed))
        curve = [(step["time"], step["survival"]) for step in times["curve"][1:]]
        assert [time for time, _ in curve] == [time for time, _ in recompute.kaplan_meier(observed)]
        assert [each for _, each in curve] == [near(each) for _, each in recompute.kaplan_meier(observed)]
    assert row["rmst"]["value"] == near(recompute.restricted_mean(stays, row["rmst"]["until"]))


def check_adverse_reactions(tables, row):
    k, n = recompute.reactions(tables["adsl"], tables["adae"])
    assert (row["patients_with_reaction"], row["safety"]) == (k, n)
    if n:
        low, high = recompute.clopper_pearson(k, n)
        assert (row["intervals"][0]["low"], row["intervals"][0]["high"]) == (near(low), near(high))
    counts = recompute.event_counts(tables["adae"])
    assert {name: row[name] for name in counts} == counts
    for unit, amount in recompute.exposure(tables["adsl"]):
        assert row["per_" + unit.replace("-", "_")]["exposure"] == near(amount)


def check(tables, answers, protocol):
    """Every figure of the answers that the files can give."""
    rule = protocol.ck_change
    check_response_rates(tables, answers["response-rates"]["results"])
    compared = check_weekly_change(tables, answers["weekly-change"]["results"])
    check_ck_change(tables, answers["ck-change"]["results"][0], rule.before_week, rule.after_week)
    check_times(tables, answers["ck-normal-time"]["results"][0])
    check_adverse_reactions(tables, answers["adverse-reactions"]["results"][0])
    return compared


FEWER = settings(max_examples=repeats(12, thorough=33))
QUESTIONS = ("response-rates", "weekly-change", "ck-change", "ck-normal-time", "adverse-reactions")


@pytest.mark.parametrize("reader", ["csv", "parquet", "xpt"])
def test_the_reference_cohort_is_recomputed_from_its_files(demo, reader):
    listing = demo.get("/v1/studies/demo/datasets").json()["items"]
    tables = {}
    for each in listing:
        body = demo.get(each[reader])
        types = types_of(each["variables"])
        read = {
            "csv": lambda body, types=types: of_csv(body.text, types),
            "parquet": lambda body: of_parquet(body.content),
            "xpt": lambda body, each=each: of_transport(body.content, each["variables"]),
        }
        tables[each["name"]] = read[reader](body)
    answers = {name: demo.get(f"/v1/studies/demo/analyses/{name}").json() for name in QUESTIONS}
    assert [row["responders"] for row in answers["response-rates"]["results"][:3]] == [14, 12, 15]
    assert answers["ck-normal-time"]["results"][0]["median"]["value"] == 334.5
    assert check(tables, answers, SEED_2008) >= 4, "no Wilcoxon test was compared"
    check_verdicts(tables)


@FEWER
@given(cohorts(6), protocols(), st.sampled_from(["csv", "parquet", "xpt"]))
def test_nasty_cohorts_are_recomputed_from_their_files(cohort, protocol, reader):
    tables = exported(cohort, protocol, reader)
    answers = {name: json.loads(answer(name, cohort, protocol, Options()).model_dump_json()) for name in QUESTIONS}
    check(tables, answers, protocol)


@FEWER
@given(cohorts(6))
def test_verdicts_under_seed_2008_follow_from_the_values_alone(cohort):
    check_verdicts(exported(cohort, SEED_2008, "csv"))
