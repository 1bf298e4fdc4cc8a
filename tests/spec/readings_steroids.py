"""Readings of the answer about glucocorticoids, of one patient or of the whole study."""

from typing import Any

from tests.spec.readings import phrase
from tests.spec.scene import Answers

QUESTION = "steroid-sparing"


def _of_patient(row: dict[str, Any], name: str) -> Any:
    (patient,) = row["patients"]
    return patient["reason"] if patient[name] is None else patient[name]


def _window(answers: Answers, days: str) -> dict[str, Any]:
    return next(row for row in answers[QUESTION]["cumulative"] if row["days"] == int(days))


@phrase(r"(sum|mean|days with a known dose) of (\d+) days")
def _sum(answers: Answers, part: str, days: str) -> Any:
    name = {"sum": "milligrams", "mean": "daily_milligrams"}.get(part, "days_known")
    return _of_patient(_window(answers, days), name)


@phrase(r"(median|quartiles) of the sums of (\d+) days")
def _summary(answers: Answers, part: str, days: str) -> Any:
    summary = _window(answers, days)["milligrams"]
    if part == "quartiles":
        return summary["q1"], summary["q3"]
    return summary["reason"] if summary["median"] is None else summary["median"]


@phrase(r"(days to|reached) a low dose")
def _low(answers: Answers, part: str) -> Any:
    (row,) = answers[QUESTION]["results"]
    return _of_patient(row, "reached" if part == "reached" else "days")


@phrase(r"low dose: (median|n|events|low_at_start|died)")
def _low_of_all(answers: Answers, part: str) -> Any:
    (row,) = answers[QUESTION]["results"]
    if part == "median":
        return row["median"]["reason"] if row["median"]["value"] is None else row["median"]["value"]
    return row[part]


@phrase(r"(\w+): (steroid-free response|dose on the judged day|judged day)")
def _free(answers: Answers, measure: str, part: str) -> Any:
    row = next(each for each in answers[QUESTION]["responses"] if each["measure"] == measure)
    names = {"dose on the judged day": "daily_milligrams", "judged day": "day"}
    return _of_patient(row, names.get(part, "steroid_free"))


@phrase(r"(\w+): steroid-free responses( of all treated, at most)?")
def _responses(answers: Answers, measure: str, at_most: str | None) -> str:
    row = next(each for each in answers[QUESTION]["responses"] if each["measure"] == measure)
    if at_most is not None:
        return f"{row['all_treated']['at_most']} of {row['all_treated']['of']}"
    return f"{row['steroid_free']} of {row['evaluable']}"
