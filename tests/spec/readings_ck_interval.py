"""Readings of the answer about the interval in which CK becomes abnormal."""

from typing import Any

from tests.spec.readings import phrase
from tests.spec.scene import Answers

MEDIAN = "interval-censored: median"


def _intervals(answers: Answers) -> dict[str, Any]:
    (row,) = answers["ck-normal-interval"]["results"]
    return row


@phrase(r"CK became (normal|abnormal again)")
def _change_of_normality(answers: Answers, which: str) -> tuple[int, int | None] | str:
    (patient,) = _intervals(answers)["patients"]
    if which == "normal":
        return patient["normal_reason"] or (patient["normal_after"], patient["normal_by"])
    return patient["reason"] or (patient["left"], patient["right"])


@phrase(r"interval-censored time to first normal: patients")
def _first_normal_patients(answers: Answers) -> int:
    return _intervals(answers)["time_to_first_normal"]["estimate"]["n"]


@phrase(r"compared time to first normal: patients")
def _compared(answers: Answers) -> int:
    rows = answers["ck-normal-groups"]["results"]
    (comparison,) = (row for row in rows if row["estimate"] == "time_to_first_normal")
    return sum(group["n"] for group in comparison["groups"])


@phrase(r"CK stayed normal for less than")
def _longest(answers: Answers) -> int | None:
    (patient,) = _intervals(answers)["patients"]
    return patient["longest"]


@phrase(r"draws: (median )?(within normal times|of relapses|before normal times)")
def _draws(answers: Answers, median: str | None, which: str) -> Any:
    gaps = _intervals(answers)["visit_gaps"][which.replace("normal times", "spells").replace(" ", "_")]
    return gaps["median"] if median else (gaps["smallest"], gaps["largest"])


@phrase(r"interval-censored: mass from (\d+) (?:to (\d+)|on)")
def _mass(answers: Answers, left: str, right: str | None) -> float:
    rows = _intervals(answers)["estimate"]["masses"]
    interval = (int(left), None if right is None else int(right))
    return next(row["mass"] for row in rows if (row["left"], row["right"]) == interval)


@phrase(r"interval-censored: (median|limits of the median)")
def _interval_median(answers: Answers, part: str) -> tuple[float, float | None] | str:
    median = _intervals(answers)["estimate"]["median"]
    if part == "median":
        return median["reason"] if median["left"] is None else (median["left"], median["right"])
    (limits,) = median["intervals"]
    return limits["reason"] if limits["low"] is None else (limits["low"], limits["high"])


@phrase(r"Kaplan-Meier by the day of the abnormal CK(, lower)?")
def _right_endpoint(answers: Answers, lower: str | None) -> float:
    return _intervals(answers)["right_endpoint"]["lower" if lower else "midpoint"]["value"]


@phrase(r"(shortest|longest) possible median")
def _bound(answers: Answers, which: str) -> float:
    return _intervals(answers)["bounds"][which]["value"]
