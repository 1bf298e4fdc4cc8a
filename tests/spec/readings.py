"""What can be read out of the answers to a case, by the phrase that a reader would use.

A number that does not exist reads as the reason that the answer gives for it, a patient who is left out as the reason
for that.
"""

import re
from collections.abc import Callable
from typing import Any

from tests.spec.rule import Rounded
from tests.spec.scene import Answers

Reading = Callable[..., Any]
READINGS: list[tuple[re.Pattern[str], Reading]] = []
MEASURE = r"(CK|MMT|ADL|\w+)"
QUESTIONS = ("response-rates", "weekly-change", "ck-change", "ck-normal-time", "adverse-reactions", "baseline-table")


def phrase(pattern: str) -> Callable[[Reading], Reading]:
    """Register a reading under its phrase; the groups of the pattern are its arguments."""

    def register(reading: Reading) -> Reading:
        READINGS.append((re.compile(pattern), reading))
        return reading

    return register


def read(answers: Answers, wanted: str) -> Any:
    """The value of a reading."""
    for pattern, reading in READINGS:
        if match := pattern.fullmatch(wanted):
            return reading(answers, *match.groups())
    raise LookupError(f"No reading is called {wanted!r}.")


def agrees(found: Any, expected: Any) -> bool:
    """Whether a reading is what was expected: numbers to nine digits, or to the decimals that were published."""
    if isinstance(expected, tuple):
        return len(found) == len(expected) and all(agrees(f, e) for f, e in zip(found, expected, strict=True))
    if isinstance(expected, Rounded):
        return isinstance(found, float) and round(found, expected.decimals) == expected.value
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, int | float) and isinstance(expected, int | float):
        return abs(found - expected) <= 1e-9 * max(1e-3, abs(expected))
    return found == expected


def _or_why(value: Any, reason: str | None) -> Any:
    return reason if value is None else value


# Populations, baseline and visits


@phrase(r"in the (safety|efficacy) set")
def _in_set(answers: Answers, population: str) -> bool:
    return bool(answers["response-rates"]["populations"][population])


@phrase(r"patients in the (safety|efficacy) set")
def _size_of_set(answers: Answers, population: str) -> int:
    return answers["response-rates"]["populations"][population]


@phrase(rf"{MEASURE} at week (-?\d+)")
def _at_week(answers: Answers, measure: str, week: str) -> float | None:
    rows = answers["baseline-table"]["results"]
    visit = [row for row in rows if (row["section"], row["variable"], row["week"]) == ("visit", measure, int(week))]
    return visit[0]["summary"]["mean"] if visit else None


@phrase(rf"{MEASURE} at baseline")
def _at_baseline(answers: Answers, measure: str) -> float | None:
    return _at_week(answers, measure, "0")


@phrase(r"courses")
def _courses(answers: Answers) -> float:
    rows = answers["baseline-table"]["results"]
    return next(row["summary"]["mean"] for row in rows if (row["section"], row["variable"]) == ("treatment", "courses"))


@phrase(r"flag (\w+)(?: of (\w+))?")
def _flag(answers: Answers, code: str, measure: str | None) -> int | None:
    for question in QUESTIONS:
        for flag in answers[question]["flags"]:
            if flag["code"] == code and measure in (None, flag.get("measure")):
                return flag["count"]
    return None


@phrase(r"caveat (\w+) in (.+)")
def _caveat(answers: Answers, code: str, question: str) -> bool:
    return code in [caveat["code"] for caveat in answers[question]["caveats"]]


@phrase(r"named convention (\w+)")
def _convention(answers: Answers, name: str) -> str:
    named = {answers[question]["conventions"][name] for question in QUESTIONS}
    assert len(named) == 1, named
    return named.pop()


# Response


def _rate(answers: Answers, measure: str, value: str | None) -> dict[str, Any]:
    of_measure = [row for row in answers["response-rates"]["results"] if row["measure"] == measure]
    if value is None:
        return next(row for row in of_measure if row["primary"])
    return next(row for row in of_measure if row["definition"]["parameters"].get("value") == value)


@phrase(rf"{MEASURE} responder(?: by the (last) value)?")
def _responder(answers: Answers, measure: str, value: str | None) -> bool | str:
    (patient,) = _rate(answers, measure, value)["patients"]
    return _or_why(patient["responder"], patient["reason"])


@phrase(rf"{MEASURE} responders(?: by the (last) value)?")
def _responders(answers: Answers, measure: str, value: str | None) -> str:
    rate = _rate(answers, measure, value)
    return f"{rate['responders']} of {rate['evaluable']}"


@phrase(rf"{MEASURE} response rate")
def _response_rate(answers: Answers, measure: str) -> float | str:
    rate = _rate(answers, measure, None)
    return _or_why(rate["rate"], rate["reason"])


@phrase(rf"(first|second) interval of the {MEASURE} rate")
def _interval_of_rate(answers: Answers, place: str, measure: str) -> tuple[str, float | None, float | None]:
    found = _rate(answers, measure, None)["intervals"][["first", "second"].index(place)]
    return found["method"], found["low"], found["high"]


@phrase(rf"(\w+) patients of the {MEASURE} rate left out")
def _left_out_of_rate(answers: Answers, reason: str, measure: str) -> int:
    verdicts = _rate(answers, measure, None)["patients"]
    return sum(1 for verdict in verdicts if verdict["reason"] == reason)


# Weekly change, before and after


@phrase(rf"onset of (CK in U/L|{MEASURE})")
def _onset(answers: Answers, measure: str, _: str) -> int | str:
    name, scale = _scaled(measure)
    rows = answers["weekly-change"]["onset"]
    found = next(row for row in rows if (row["measure"], row["scale"]) == (name, scale))
    return _or_why(found["week"], found["reason"])


@phrase(rf"left out of (CK in U/L|{MEASURE}) week (-?\d+)")
def _left_out_of_week(answers: Answers, measure: str, _: str, week: str) -> str | None:
    name, scale = _scaled(measure)
    for row in answers["weekly-change"]["excluded"]:
        at = (row["measure"], row.get("week"), row.get("estimate", "raw"))
        if at == (name, int(week), scale):
            return row["reason"]
    return None


@phrase(rf"(CK in U/L|{MEASURE}) week (\d+): (.+)")
def _week(answers: Answers, measure: str, _: str, week: str, part: str) -> Any:
    name, scale = _scaled(measure)
    rows = answers["weekly-change"]["results"]
    row = next(r for r in rows if (r["measure"], r["scale"], r["week"]) == (name, scale, int(week)))
    return _part_of_change(row, row["tests"], part)


def _scaled(measure: str) -> tuple[str, str]:
    return ("CK", "raw") if measure == "CK in U/L" else (measure, "ln" if measure == "CK" else "raw")


def _part_of_change(row: dict[str, Any], tests: list[dict[str, Any]], part: str) -> Any:
    t = next(test for test in tests if test["method"] in ("paired_t", "one_sample_t"))
    rank = next(test for test in tests if test is not t)
    intervals = {interval["of"]: interval for interval in row["intervals"]}
    centre = intervals["pseudomedian"]
    return {
        "patients": lambda: row["n"],
        "mean": lambda: _or_why(row["mean"], row["reason"]),
        "ratio": lambda: _or_why(row.get("geometric_mean_ratio"), row["reason"]),
        "signed-rank test": lambda: rank["method"],
        "signed-rank p": lambda: _or_why(rank["p"], rank["reason"]),
        "adjusted p": lambda: _or_why(rank["p_adjusted"], rank["reason"]),
        "adjustment": lambda: rank["adjustment"],
        "pairs used": lambda: rank["n_used"],
        "zeros": lambda: rank["n_zero"],
        "t": lambda: _or_why(t["statistic"], t["reason"]),
        "t test p": lambda: _or_why(t["p"], t["reason"]),
        "interval of the mean": lambda: (intervals["mean"]["low"], intervals["mean"]["high"]),
        "Hodges-Lehmann": lambda: _or_why(centre.get("estimate"), centre["reason"]),
        "Hodges-Lehmann interval": lambda: _or_why(_limits(centre), centre["reason"]),
    }[part]()


def _limits(interval: dict[str, Any]) -> tuple[float, float] | None:
    return None if interval["low"] is None else (interval["low"], interval["high"])


@phrase(r"before/after: (.+)")
def _before_after(answers: Answers, part: str) -> Any:
    (row,) = answers["ck-change"]["results"]
    before, after, difference = row["before"], row["after"], row["difference"]
    special = {
        "patients": lambda: row["n"],
        "left out": lambda: next((each["reason"] for each in answers["ck-change"]["excluded"]), None),
        "ratio before": lambda: _or_why(before["geometric_mean_ratio"], before["reason"]),
        "ratio after": lambda: _or_why(after["geometric_mean_ratio"], after["reason"]),
        "ratio of ratios": lambda: _or_why(difference["ratio_of_ratios"], difference["reason"]),
        "interval of the ratio of ratios": lambda: _limits(difference["intervals"][-1]),
    }
    return special[part]() if part in special else _part_of_change(difference, difference["tests"], part)


# Time with normal CK


def _times(answers: Answers) -> dict[str, Any]:
    (row,) = answers["ck-normal-time"]["results"]
    return row


@phrase(r"first normal CK on day")
def _first_normal(answers: Answers) -> int | str:
    (patient,) = _times(answers)["patients"]
    return _or_why(patient["start"], patient["reason"])


@phrase(r"normal CK")
def _spell(answers: Answers) -> str:
    (patient,) = _times(answers)["patients"]
    if patient["reason"]:
        return patient["reason"]
    end = "then abnormal" if patient["event"] else "censored"
    return f"from day {patient['start']}, {patient['duration']} days, {end}"


@phrase(r"(time normal|time to first normal): (.+)")
def _time(answers: Answers, which: str, part: str) -> Any:
    row = _times(answers) if which == "time normal" else _times(answers)["time_to_first_normal"]
    median = row["median"]
    (limits,) = median["intervals"]
    return {
        "patients": lambda: row["n"],
        "events": lambda: row["events"],
        "never normal": lambda: row["never_normal"],
        "normal at baseline": lambda: row["normal_at_baseline"],
        "second course": lambda: row["second_course"],
        "new immunosuppressant": lambda: row["new_immunosuppressant"],
        "median": lambda: _or_why(median["value"], median["reason"]),
        "interval of the median": lambda: (limits["low"], limits["high"]),
        "method of the interval": lambda: limits["method"],
        "restricted mean": lambda: _or_why(row["rmst"]["value"], row["rmst"]["reason"]),
        "standard error of the restricted mean": lambda: _or_why(row["rmst"]["standard_error"], row["rmst"]["reason"]),
    }[part]()


@phrase(r"share still normal from (\d+) days on")
def _survival(answers: Answers, days: str) -> tuple[float, float | None, float | None]:
    point = next(point for point in _times(answers)["curve"] if point["time"] == int(days))
    return point["survival"], point["low"], point["high"]


@phrase(r"left out of the (time normal|time to first normal)")
def _left_out_of_time(answers: Answers, which: str) -> str | None:
    name = which.replace(" ", "_")
    excluded = answers["ck-normal-time"]["excluded"]
    return next((row["reason"] for row in excluded if row["estimate"] == name), None)


# Adverse reactions


@phrase(r"reactions: (.+)")
def _reactions(answers: Answers, part: str) -> Any:
    (row,) = answers["adverse-reactions"]["results"]
    special: dict[str, Callable[[], Any]] = {
        "rate": lambda: _or_why(row["rate"], row["reason"]),
        "interval": lambda: (row["intervals"][0]["low"], row["intervals"][0]["high"]),
        "by term": lambda: "; ".join(f"{t['term']}: {t['events']} in {t['patients']}" for t in row["by_term"]),
        "per infusion": lambda: row["per_infusion"]["rate"],
        "per course": lambda: row["per_course"]["rate"],
        "days of follow-up": lambda: row["per_patient_year"]["exposure"] * 365.25,
    }
    return special[part]() if part in special else row[part.replace(" ", "_")]
