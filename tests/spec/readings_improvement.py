"""Readings of the answers about the core set measures."""

from typing import Any

from tests.spec.readings import phrase
from tests.spec.scene import Answers

UNKNOWN = "not known"


def _visit(answers: Answers, question: str, week: str) -> dict[str, Any]:
    return next(row for row in answers[question]["results"] if row["week"] == int(week))


def _patient(answers: Answers, week: str) -> dict[str, Any]:
    (patient,) = _visit(answers, "improvement-score", week)["patients"]
    return patient


def _or_unknown(value: Any) -> Any:
    return UNKNOWN if value is None else value


def _bounded(row: dict[str, Any]) -> Any:
    """A score, or its bounds, or the reason why it has neither."""
    if row["score"] is not None:
        return row["score"]
    return row["reason"] if row["lower_bound"] is None else (row["lower_bound"], row["upper_bound"])


@phrase(r"improvement score, week (\d+)")
def _score(answers: Answers, week: str) -> Any:
    return _bounded(_patient(answers, week))


@phrase(r"(level|worse), week (\d+)")
def _level(answers: Answers, part: str, week: str) -> Any:
    return _or_unknown(_patient(answers, week)["category" if part == "level" else part])


@phrase(r"worsening confirmed by week (\d+)")
def _confirmed(answers: Answers, week: str) -> Any:
    return _or_unknown(_patient(answers, week)["confirmed_worsening"])


@phrase(r"(\w+) (scores|changes by per cent|followed as|is missing), week (\d+)")
def _measure(answers: Answers, name: str, part: str, week: str) -> Any:
    row = next(each for each in _patient(answers, week)["measures"] if each["measure"] == name)
    return {
        "scores": lambda: (row["lower_bound"], row["upper_bound"]) if row["score"] is None else row["score"],
        "changes by per cent": lambda: row["percent"],
        "followed as": lambda: row["instrument"],
        "is missing": lambda: row["reason"],
    }[part]()


@phrase(r"(minimal|moderate|major) responders, week (\d+)")
def _responders(answers: Answers, level: str, week: str) -> str:
    visit = _visit(answers, "improvement-score", week)
    row = next(each for each in visit["levels"] if each["level"] == level)
    open_ = "" if not visit["bounded"] else f"; {row['responders_at_least']} to {row['responders_at_most']} of all seen"
    return f"{row['responders']} of {visit['evaluable']}{open_}"


@phrase(r"(minimal|moderate|major) responders without confirmed worsening, week (\d+)")
def _not_worsened(answers: Answers, level: str, week: str) -> str:
    visit = _visit(answers, "improvement-score", week)
    row = next(each for each in visit["levels"] if each["level"] == level)
    return _share(row["not_worsened"])


@phrase(r"(minimal|moderate|major) response: (best|sustained|at last visit|median days)")
def _course(answers: Answers, level: str, part: str) -> Any:
    (course,) = answers["improvement-score"]["courses"]
    row = next(each for each in course["levels"] if each["level"] == level)
    if part == "median days":
        medians = [row["time_to_first"][end]["median"] for end in ("at_earliest", "at_latest")]
        days = tuple(each["reason"] if each["value"] is None else each["value"] for each in medians)
        return days[0] if days[0] == days[1] else days
    return _share(row[part.replace(" ", "_")])


@phrase(r"days in which a (minimal|moderate|major) response was (reached|lost)")
def _between(answers: Answers, level: str, which: str) -> Any:
    """The interval of the only patient; "open" has no end, None is nobody."""
    (course,) = answers["improvement-score"]["courses"]
    row = next(each for each in course["levels"] if each["level"] == level)
    estimate = row["time_between_visits" if which == "reached" else "kept"]
    if not estimate["n"]:
        return "no_patients"
    median = estimate["median"]
    return f"after {median['left']:g}, " + ("open" if median["right"] is None else f"by {median['right']:g}")


def _share(share: dict[str, Any]) -> str:
    """A count, or its bounds if the answer has no rate for it."""
    to = f" to {share['possible']}" if share["reason"] == "undecided" else ""
    return f"{share['patients']}{to} of {share['of']}"


@phrase(r"best level by the last visit")
def _best_category(answers: Answers) -> Any:
    (course,) = answers["improvement-score"]["courses"]
    (patient,) = course["patients"]
    return _or_unknown(patient["best_category"])


@phrase(r"(improvement-score|definition-of-improvement) is answered")
def _answered(answers: Answers, question: str) -> Any:
    return answers[question]["reason"] or True


@phrase(r"improved by the IMACS definition, week (\d+)")
def _improved(answers: Answers, week: str) -> Any:
    (patient,) = _visit(answers, "definition-of-improvement", week)["patients"]
    return UNKNOWN if patient["reason"] == "undecided" else patient["reason"] or patient["improved"]


@phrase(r"patients improved by the IMACS definition, week (\d+)")
def _patients_improved(answers: Answers, week: str) -> str:
    visit = _visit(answers, "definition-of-improvement", week)
    return f"{visit['improved']} of {visit['evaluable']}"


@phrase(r"(\w+) (improved|worse) by the IMACS definition, week (\d+)")
def _measure_improved(answers: Answers, name: str, part: str, week: str) -> Any:
    (patient,) = _visit(answers, "definition-of-improvement", week)["patients"]
    return _or_unknown(next(each for each in patient["measures"] if each["measure"] == name)[part])


@phrase(r"(improvement-score|definition-of-improvement): flag (\w+) of (\w+)")
def _flag(answers: Answers, question: str, code: str, measure: str) -> int:
    flags = answers[question]["flags"]
    return next(each["count"] for each in flags if (each["code"], each["measure"]) == (code, measure))
