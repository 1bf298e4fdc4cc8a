"""The command `simulate`: invented patients whose truth is known."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.demo.simulation import (
    UPPER_LIMIT,
    Design,
    chance_of_normal,
    chances_of_first_normal,
    gain,
    lines,
    median_as_seen,
    values,
)
from tests.trust.coverage import read, with_values

MANY = Design(60_000, seed=5)


def simulate(*options):
    return CliRunner().invoke(cli, ["simulate", *options])


def test_the_same_options_give_the_same_bytes_and_another_seed_gives_others(tmp_path):
    first, again, other = (simulate("--n", "3", "--seed", seed).stdout for seed in ("7", "7", "8"))
    assert first == again != other
    assert simulate("--n", "3", "--seed", "7", "-o", str(tmp_path / "x")).stdout == ""
    assert (tmp_path / "x").read_text() == first
    assert [json.loads(line)["patient"]["id"] for line in first.splitlines()] == ["S1", "S2", "S3"]


def test_the_visits_are_those_that_were_asked_for_and_the_truth_is_written_beside(tmp_path):
    told = tmp_path / "truth.json"
    answer = simulate("--n", "1", "--visits", "-4,0,2", "--truth", str(told))
    assert [each["time"] for each in json.loads(answer.stdout)["labs"]] == ["2019-12-09", "2020-01-06", "2020-01-20"]
    assert json.loads(told.read_text())["mean_change"].keys() == {"ln(CK)", "MMT", "ADL"}


@pytest.mark.parametrize("visits", ["1,2", "0,0", "4,0", "a", ""])
def test_visits_without_a_baseline_or_out_of_order_are_refused(visits):
    answer = simulate("--visits", visits)
    assert (answer.exit_code, answer.stdout) == (2, "")


def test_the_lines_are_timelines_that_the_service_reads():
    cohort = read(Design(3, weeks=(-4, 0, 4)))
    assert (len(cohort), len(cohort.labs), len(cohort.assessments), len(cohort.infusions)) == (3, 9, 18, 3)
    assert with_values(cohort, Design(3, seed=1, weeks=(-4, 0, 4))).digest == cohort.digest


def test_without_effect_nothing_changes():
    ck = values(Design(500, effect=0))["CK"]
    assert (ck > UPPER_LIMIT).all()
    assert np.abs(np.log(ck / ck[:, :1])).max() < 0.302
    assert gain(Design(effect=0), "MMT", 8) == 0
    assert median_as_seen(Design(effect=0)) is None
    assert all('"S' in line for line in lines(Design(2, effect=0)))


def test_the_truth_is_what_many_patients_show():
    """Four standard errors of 60,000 patients."""
    drawn, weeks = values(MANY), list(MANY.weeks)
    normal = drawn["CK"] <= UPPER_LIMIT
    for week in (1, 8, 52):
        share = normal[:, weeks.index(week)].mean()
        assert share == pytest.approx(chance_of_normal(MANY, week), abs=4 * 0.5 / 60_000**0.5)
    change = np.log(drawn["CK"][:, weeks.index(8)] / drawn["CK"][:, weeks.index(0)])
    assert change.mean() == pytest.approx(-2.3 * chance_of_normal(MANY, 8), abs=4 * change.std() / 60_000**0.5)
    for code, deviation in (("MMT", 3.0), ("ADL", 1.5)):
        change = drawn[code][:, weeks.index(8)] - drawn[code][:, weeks.index(0)]
        assert change.mean() == pytest.approx(gain(MANY, code, 8), abs=4 * 1.5 * deviation / 60_000**0.5)
    after = normal[:, weeks.index(1) :]
    first = np.bincount(after.argmax(axis=1)[after.any(axis=1)], minlength=after.shape[1]) / 60_000
    assert first == pytest.approx(chances_of_first_normal(MANY), abs=4 * 0.5 / 60_000**0.5)


def test_the_median_as_seen_is_that_of_patients_who_are_seen_for_long():
    design = Design(20_000, seed=2, weeks=(0, 1, 2, 4, 8, *range(12, 1000, 4)))
    normal, days = values(design)["CK"] <= UPPER_LIMIT, 7 * np.array(design.weeks)
    seen = normal.any(axis=1)
    first = normal[seen].argmax(axis=1)
    later = ~normal[seen] & (np.arange(len(days)) > first[:, None])
    assert np.median(days[later.argmax(axis=1)] - days[first]) == median_as_seen(design) == 224
