"""Readings: single values of the answers to a case, each with a phrase as its name.

The reading of a number that is null is its reason; the reading of a patient who is left out is the reason for that.
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


def read(answers: Answers, name: str) -> Any:
    """The value of a reading."""
    for pattern, reading in READINGS:
        if match := pattern.fullmatch(name):
            return reading(answers, *match.groups())
    raise LookupError(f"No reading is called {name!r}.")


def agrees(value: Any, expected: Any) -> bool:
    """Whether a reading equals the expected value: numbers to nine digits, or to the published decimals."""
    if isinstance(expected, tuple):
        return len(value) == len(expected) and all(agrees(f, e) for f, e in zip(value, expected, strict=True))
    if isinstance(expected, Rounded):
        return isinstance(value, float) and round(value, expected.decimals) == expected.value
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return abs(value - expected) <= 1e-9 * max(1e-3, abs(expected))
    return value == expected


def _or_reason(value: Any, reason: str | None) -> Any:
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
    for question in (*QUESTIONS, "steroid-sparing"):
        for flag in answers[question]["flags"]:
            if flag["code"] == code and measure in (None, flag.get("measure")):
                return flag["count"]
    return None


@phrase(r"caveat (\w+) in (.+)")
def _caveat(answers: Answers, code: str, question: str) -> bool:
    return code in [caveat["code"] for caveat in answers[question]["caveats"]]


CLAIMED_IN = {
    "change": "weekly-change",
    "onset": "weekly-change",
    "onset_of_worsening": "weekly-change",
    "change_of_change": "ck-change",
    "rate_of_all_treated": "response-rates",
    "median_time_normal": "ck-normal-time",
    "median_time_to_score": "improvement-score",
    "median_time_with_score": "improvement-score",
    "difference": "comparisons",
    "description": "baseline-table",
    "change_by_model": "repeated-measures",
    "median_time_to_low_dose": "steroid-sparing",
}
"""The question whose answer has the claim."""


@phrase(rf"claim (\w+)(?: of {MEASURE})?(?: at week (\d+))?: (supported|direction|because)")
def _claim(answers: Answers, code: str, measure: str | None, week: str | None, part: str) -> Any:
    """A part of the first such claim; None where there is none."""
    for claim in answers[CLAIMED_IN[code]]["claims"]:
        about = measure in (None, claim.get("measure")), week is None or int(week) == claim.get("week")
        if claim["code"] == code and all(about):
            return ", ".join(claim["because"]) if part == "because" else claim[part]
    return None


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
    return _or_reason(patient["responder"], patient["reason"])


@phrase(rf"{MEASURE} responders(?: by the (last) value)?")
def _responders(answers: Answers, measure: str, value: str | None) -> str:
    rate = _rate(answers, measure, value)
    return f"{rate['responders']} of {rate['evaluable']}"


@phrase(rf"{MEASURE} responders of all treated(, at most)?")
def _of_all_treated(answers: Answers, measure: str, most: str | None) -> str:
    count = _rate(answers, measure, None)["all_treated"]
    return f"{count['at_most'] if most else count['counted']} of {count['of']}"


@phrase(rf"{MEASURE} response: (died|rescued)")
def _before_judged(answers: Answers, measure: str, event: str) -> int:
    return _rate(answers, measure, None)["all_treated"][event]


@phrase(rf"{MEASURE} response rate")
def _response_rate(answers: Answers, measure: str) -> float | str:
    rate = _rate(answers, measure, None)
    return _or_reason(rate["rate"], rate["reason"])


@phrase(rf"(first|second) interval of the {MEASURE} rate")
def _interval_of_rate(answers: Answers, place: str, measure: str) -> tuple[str, float | None, float | None]:
    interval = _rate(answers, measure, None)["intervals"][["first", "second"].index(place)]
    return interval["method"], interval["low"], interval["high"]


@phrase(rf"(\w+) patients of the {MEASURE} rate left out")
def _left_out_of_rate(answers: Answers, reason: str, measure: str) -> int:
    verdicts = _rate(answers, measure, None)["patients"]
    return sum(1 for verdict in verdicts if verdict["reason"] == reason)


# Every definition


def _defined(answers: Answers, measure: str, kind: str = "response") -> list[dict[str, Any]]:
    rows = answers["specification-curve"]["results"]
    return [row for row in rows if (row["measure"], row["kind"]) == (measure, kind)]


def _of(row: dict[str, Any]) -> str:
    return f"{row['responders']} of {row['evaluable']}"


@phrase(r"the grid was declared")
def _grid_declared(answers: Answers) -> bool:
    return answers["specification-curve"]["grid_declared"]


@phrase(rf"declared {MEASURE} definition")
def _declared_definition(answers: Answers, measure: str) -> str:
    (row,) = [row for row in _defined(answers, measure) if row["declared"]]
    return _of(row)


@phrase(rf"{MEASURE} response (definitions|rows)")
def _definitions(answers: Answers, measure: str, counted: str) -> int:
    rows = _defined(answers, measure)
    return len(rows) if counted == "rows" else sum(row["specifications"] for row in rows)


@phrase(rf"{MEASURE} by definition: (.+)")
def _by_definition(answers: Answers, measure: str, names: str) -> str:
    """The first row of a definition with choices of these names, or of an equal definition."""
    curves = (curve for curve in answers["specification-curve"]["curves"] if curve["measure"] == measure)
    choices = list(next(curves)["choices"].values())
    for row in _defined(answers, measure):
        own = [row["criterion"]["id"], row["window"]["id"], row["baseline"], row["analysis_set"], row["missing"]]
        others = [[own[i] for own, i in zip(choices, same, strict=True)] for same in row["same_as"]]
        named = [[each["id"] if isinstance(each, dict) else each for each in other] for other in (own, *others)]
        if names.split(", ") in named:
            return _of(row)
    raise LookupError(names)


@phrase(rf"{MEASURE} remission(, sustained)?")
def _remission(answers: Answers, measure: str, sustained: str | None) -> str:
    """By the first criterion of remission, or by the sustained one; missing values are left out."""
    (curve,) = [
        each
        for each in answers["specification-curve"]["curves"]
        if (each["measure"], each["kind"]) == (measure, "remission")
    ]
    criterion = 1 if sustained else 0
    for row in _defined(answers, measure, "remission"):
        first = curve["choices"]["criterion"].index(row["criterion"]), row["missing"]
        others = [(same[0], curve["choices"]["missing"][same[4]]) for same in row["same_as"]]
        if (criterion, "left_out") in (first, *others):
            return _of(row)
    raise LookupError(measure)


# Weekly change, before and after


@phrase(rf"onset of (CK in U/L|{MEASURE})")
def _onset(answers: Answers, measure: str, _: str) -> int | str:
    name, scale = _scaled(measure)
    rows = answers["weekly-change"]["onset"]
    onset = next(row for row in rows if (row["measure"], row["scale"]) == (name, scale))
    return _or_reason(onset["week"], onset["reason"])


@phrase(rf"direction of the onset of {MEASURE}")
def _direction_of_onset(answers: Answers, measure: str) -> str | None:
    name, scale = _scaled(measure)
    rows = answers["weekly-change"]["onset"]
    return next(row["direction"] for row in rows if (row["measure"], row["scale"]) == (name, scale))


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
    t = next(test for test in tests if test["method"] in ("paired_t", "one_sample_t", "censored_normal_t"))
    rank = next(test for test in tests if test is not t)
    intervals = {interval["of"]: interval for interval in row["intervals"]}
    centre = intervals["pseudomedian"]
    return {
        "patients": lambda: row["n"],
        "mean": lambda: _or_reason(row["mean"], row["reason"]),
        "median": lambda: _or_reason(row["median"], row["reason"]),
        "standard error of the mean": lambda: row["bounds"]["standard_error"],
        "mean with substitutes": lambda: row["bounds"]["substituted_mean"],
        "bounds from above, from below": lambda: (row["bounds"]["below"], row["bounds"]["above"]),
        "ratio": lambda: _or_reason(row.get("geometric_mean_ratio"), row["reason"]),
        "signed-rank test": lambda: rank["method"],
        "signed-rank p": lambda: _or_reason(rank["p"], rank["reason"]),
        "adjusted p": lambda: _or_reason(rank["p_adjusted"], rank["reason"]),
        "adjustment": lambda: rank["adjustment"],
        "pairs used": lambda: rank["n_used"],
        "zeros": lambda: rank["n_zero"],
        "t": lambda: _or_reason(t["statistic"], t["reason"]),
        "t test p": lambda: _or_reason(t["p"], t["reason"]),
        "interval of the mean": lambda: (intervals["mean"]["low"], intervals["mean"]["high"]),
        "Hodges-Lehmann": lambda: _or_reason(centre.get("estimate"), centre["reason"]),
        "Hodges-Lehmann interval": lambda: _or_reason(_limits(centre), centre["reason"]),
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
        "ratio before": lambda: _or_reason(before["geometric_mean_ratio"], before["reason"]),
        "ratio after": lambda: _or_reason(after["geometric_mean_ratio"], after["reason"]),
        "ratio of ratios": lambda: _or_reason(difference["ratio_of_ratios"], difference["reason"]),
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
    return _or_reason(patient["start"], patient["reason"])


@phrase(r"normal CK")
def _normal_time(answers: Answers) -> str:
    (patient,) = _times(answers)["patients"]
    if patient["reason"]:
        return patient["reason"]
    ends = {"abnormal": "then abnormal", "rescue": "then rescued", "death": "then died"}
    end = ends.get(patient["ended_by"], "censored")
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
        "rescue before normal": lambda: row["rescue_before_normal"],
        "median": lambda: _or_reason(median["value"], median["reason"]),
        "interval of the median": lambda: (limits["low"], limits["high"]),
        "method of the interval": lambda: limits["method"],
        "restricted mean": lambda: _or_reason(row["rmst"]["value"], row["rmst"]["reason"]),
        "standard error of the restricted mean": lambda: _or_reason(
            row["rmst"]["standard_error"], row["rmst"]["reason"]
        ),
    }[part]()


@phrase(r"time normal under (\w+): (.+)")
def _under(answers: Answers, strategy: str, part: str) -> Any:
    row = next(each for each in _times(answers)["strategies"] if each["strategy"] == strategy)
    if part.startswith("incidence of "):
        cause = part.removeprefix("incidence of ")
        incidence = next(each for each in row["incidence"] if each["cause"] == cause)
        return _or_reason(incidence["value"], incidence["reason"])
    midpoint, lower = row["medians"]
    return {
        "events": lambda: row["events"],
        "by rescue": lambda: row["by_rescue"],
        "by death": lambda: row["by_death"],
        "rescue after the last CK": lambda: row["rescue_after_last_ck"],
        "death after the last CK": lambda: row["death_after_last_ck"],
        "median": lambda: _or_reason(midpoint["value"], midpoint["reason"]),
        "lower median": lambda: _or_reason(lower["value"], lower["reason"]),
        "restricted mean": lambda: _or_reason(row["rmst"]["value"], row["rmst"]["reason"]),
    }[part]()


@phrase(r"sustained normality from day")
def _sustained_from(answers: Answers) -> int | None:
    (patient,) = _times(answers)["patients"]
    return patient["sustained_from"]


@phrase(r"(sustained|confirmed relapse|follow-up): (patients|events|censored|median)")
def _confirmed(answers: Answers, which: str, part: str) -> Any:
    sustained = _times(answers)["sustained"]
    row = {
        "sustained": sustained["time_to_sustained"] | {"n": sustained["patients"]},
        "confirmed relapse": sustained["time_to_confirmed_relapse"],
        "follow-up": _times(answers)["follow_up"],
    }[which]
    if part == "median":
        return _or_reason(row["median"]["value"], row["median"]["reason"])
    return row["n" if part == "patients" else part]


@phrase(r"days normal (carried forward|by midpoint)")
def _days_normal(answers: Answers, rule: str) -> str:
    (patient,) = _times(answers)["patients"]
    normal = patient["days_normal" if rule == "carried forward" else "days_normal_midpoint"]
    return "none" if normal is None else f"{normal:g} of {patient['days_followed']:g}"


@phrase(r"proportion(?: (carried forward|by midpoint))?: (pooled|mean|too few draws)")
def _proportion(answers: Answers, rule: str | None, part: str) -> Any:
    whole = _times(answers)["proportion_of_time_normal"]
    if part == "too few draws":
        return whole["too_few_draws"]
    row = whole["by_rule"][["carried forward", "by midpoint"].index(rule or "")]
    return row["pooled"] if part == "pooled" else row["per_patient"]["mean"]


@phrase(r"share still normal from (\d+) days on")
def _survival(answers: Answers, days: str) -> tuple[float, float | None, float | None]:
    point = next(point for point in _times(answers)["curve"] if point["time"] == int(days))
    return point["survival"], point["low"], point["high"]


@phrase(r"left out of the (time normal|time to first normal)")
def _left_out_of_time(answers: Answers, which: str) -> str | None:
    name = which.replace(" ", "_")
    excluded = answers["ck-normal-time"]["excluded"]
    return next((row["reason"] for row in excluded if row["estimate"] == name), None)


# Caveats and sensitivity


@phrase(r"caveat (\w+)(?: of (\w+))?: (applies|count|unknown|(?:icc|share|pairs))")
def _counted_caveat(answers: Answers, code: str, measure: str | None, part: str) -> Any:
    rows = answers["caveats"]["results"]
    row = next(row for row in rows if row["code"] == code and measure in (None, row.get("measure")))
    evidence = {each["name"]: each["value"] for each in row["evidence"]}
    return {
        "applies": lambda: _or_reason(row["applies"], row["reason"]),
        "count": lambda: f"{row['count']} of {row['of']}",
        "unknown": lambda: row["unknown"],
    }.get(part, lambda: evidence[part])()


@phrase(r"(\w+) in (response|week 8|before/after)(?: of (\w+))?: (patients|estimate|difference)")
def _variant(answers: Answers, variant: str, which: str, measure: str | None, part: str) -> Any:
    names = {"response": "response-rates", "week 8": "weekly-change", "before/after": "ck-change"}
    rows = answers["sensitivity"]["results"]
    key = (names[which], measure or "CK", variant)
    row = next(row for row in rows if (row["analysis"], row["measure"], row["variant"]["id"]) == key)
    reason = {"estimate": "reason", "difference": "difference_reason"}
    return row["n"] if part == "patients" else _or_reason(row[part], row[reason[part]])


@phrase(r"without one patient, (response|week 8)(?: of (\w+))?: (estimate|signed-rank p|depends on one patient)")
def _without_one(answers: Answers, which: str, measure: str | None, part: str) -> Any:
    name = {"response": "response-rates", "week 8": "weekly-change"}[which]
    rows = answers["sensitivity"]["leave_one_out"]
    row = next(row for row in rows if (row["analysis"], row["measure"]) == (name, measure or "CK"))
    if part == "depends on one patient":
        return row["tests"][0]["significance_depends_on_one_patient"]
    limits = row["estimate"] if part == "estimate" else row["tests"][0]
    return _or_reason(_limits(limits), limits["reason"])


# Adverse reactions


@phrase(r"reactions: (.+)")
def _reactions(answers: Answers, part: str) -> Any:
    (row,) = answers["adverse-reactions"]["results"]
    special: dict[str, Callable[[], Any]] = {
        "rate": lambda: _or_reason(row["rate"], row["reason"]),
        "interval": lambda: (row["intervals"][0]["low"], row["intervals"][0]["high"]),
        "by term": lambda: "; ".join(f"{t['term']}: {t['events']} in {t['patients']}" for t in row["by_term"]),
        "per infusion": lambda: row["per_infusion"]["rate"],
        "per course": lambda: row["per_course"]["rate"],
        "days of follow-up": lambda: row["per_patient_year"]["exposure"] * 365.25,
    }
    return special[part]() if part in special else row[part.replace(" ", "_")]


# Repeated courses and safety


def _courses_answer(answers: Answers) -> dict[str, Any]:
    (row,) = answers["courses"]["results"]
    return row


@phrase(r"courses given")
def _courses_given(answers: Answers) -> int:
    return _courses_answer(answers)["courses"]


@phrase(r"course (\d+): (.+)")
def _course(answers: Answers, number: str, part: str) -> Any:
    row = next(each for each in _courses_answer(answers)["courses_listed"] if each["course"] == int(number))
    verdict = next(each for each in row["verdicts"] if each["measure"] == "CK")
    special = {
        "CK responder": lambda: _or_reason(verdict["responder"], verdict["reason"]),
        "CK baseline": lambda: verdict["baseline"],
        "day of the CK baseline": lambda: verdict["baseline_day"],
        "baseline after the previous course": lambda: verdict["baseline_after_previous_course"],
    }
    return special[part]() if part in special else row[part.replace(" ", "_")]


@phrase(r"values of day 0 of a course after its infusion began")
def _post_dose_of_courses(answers: Answers) -> int:
    flags = answers["courses"]["flags"]
    return next(row["count"] for row in flags if (row["code"], row["measure"]) == ("day_0_post_dose", "CK"))


def _course_rate(answers: Answers, course: int | None) -> dict[str, Any]:
    rates = answers["courses"]["rates"]
    return next(row for row in rates if (row["measure"], row["course"]) == ("CK", course))


@phrase(r"CK responses (?:over all courses|in course (\d+))")
def _course_responses(answers: Answers, course: str | None) -> str:
    row = _course_rate(answers, None if course is None else int(course))
    return f"{row['responders']} of {row['evaluable']}"


@phrase(r"effective number of courses")
def _effective_courses(answers: Answers) -> float | str:
    clustered = _course_rate(answers, None)["clustered"]
    return _or_reason(clustered["effective_n"], clustered["reason"])


@phrase(r"safety: (grams|events per (\w+)|.+)")
def _safety(answers: Answers, part: str, unit: str | None) -> Any:
    per = {row["per"]["unit"]: row["per"] for row in answers["safety"]["rates"] if row["of"] == "events"}
    if part == "grams":
        return per["gram"]["exposure"]
    if unit is not None:
        return _or_reason(per[unit]["rate"], per[unit]["reason"])
    (row,) = answers["safety"]["results"]
    return row[part.replace(" ", "_")]


@phrase(r"left out per gram")
def _left_out_per_gram(answers: Answers) -> str | None:
    excluded = answers["safety"]["excluded"]
    return next((row["reason"] for row in excluded if row.get("estimate") == "per_gram"), None)


@phrase(r"risk window of the event")
def _risk_window(answers: Answers) -> str | None:
    rows = [row for row in answers["safety"]["risk_windows"] if row["per"]["events"]]
    names = ["outside" if row["first_day"] is None else f"{row['first_day']}-{row['last_day']}" for row in rows]
    return names[0] if names else None


@phrase(r"days in risk windows")
def _days_in_windows(answers: Answers) -> str:
    return ", ".join(f"{row['per']['exposure']:g}" for row in answers["safety"]["risk_windows"])


@phrase(r"severity of the patient")
def _worst_severity(answers: Answers) -> str | None:
    (row,) = answers["safety"]["results"]
    return next(each["severity"] for each in row["by_severity"] if each["patients"])
