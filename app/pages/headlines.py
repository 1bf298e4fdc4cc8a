"""The headline figures of a report as sentences. A sentence says what was counted or measured, and concludes nothing:
conclusions are the claims of the answer, which stand beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.pages.cells import days, written_limits
from app.pages.definitions import in_words
from app.pages.labels import definition, method, sentence
from app.pages.wording import NO_FIGURE, count, figure, level_text, p_value, percent

Claims = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class HeadlineFigure:
    """One figure: what it is of, the number, the sentence, the rule, and the claims that its answer makes of it."""

    question: str
    topic: str
    number: str
    sentence: str
    rule: str
    claims: Claims


def headlines(answers: Mapping[str, Mapping[str, Any]]) -> list[HeadlineFigure]:
    """The headline figures of the answers of a report."""
    found: list[HeadlineFigure] = []
    for question, write in _WRITE.items():
        if (answer := answers.get(question)) and answer["results"]:
            found += write(question, in_words(answer))
    return found


def _responses(question: str, answer: Mapping[str, Any]) -> Iterator[HeadlineFigure]:
    claimed = list(zip(answer["results"], answer["claims"], strict=True))  # the answer claims one thing of each rate
    for row, claim in [pair for pair in claimed if pair[0]["primary"]] or claimed:
        rule = definition(row["definition"])
        if row["rate"] is None:
            text = f"No patient can be judged by the rule of {row['measure']}. {_why(row)}"
        else:
            text = (
                f"{figure(row['responders'])} of {count(row['evaluable'], 'patient')} responded in {row['measure']}: "
                f"{percent(row['rate'])} ({_ci(row['intervals'][0], share=True)})."
            )
        yield HeadlineFigure(question, f"{row['measure']} response", percent(row["rate"]), text, rule, [claim])


def _weeks(question: str, answer: Mapping[str, Any]) -> Iterator[HeadlineFigure]:
    last: dict[str, Mapping[str, Any]] = {}
    first_scale: dict[str, str] = {}
    for row in answer["results"]:
        if first_scale.setdefault(row["measure"], row["scale"]) == row["scale"]:
            last[row["measure"]] = row
    for measure, row in last.items():
        ratio = row["scale"] == "ln"
        value = row["geometric_mean_ratio"] if ratio else row["mean"]
        of = "geometric_mean_ratio" if ratio else "mean"
        interval = next((each for each in row["intervals"] if each["of"] == of), None)
        number, text = figure(value), f"{measure} has no change to compare at week {row['week']}. {_why(row)}"
        if value is not None:
            number = f"× {figure(value)}" if ratio else _signed(value)
            changed = (
                f"{measure} was {figure(value)} times its value at baseline"
                if ratio
                else f"{measure} had changed by {_signed(value)} points on average"
            )
            of_n = f"in {count(row['n'], 'patient')}{_p(row['tests'])}"
            text = f"At week {row['week']}, {changed} ({_ci(interval)}), {of_n}."
        claims = [
            claim
            for claim in answer["claims"]
            if claim["code"].startswith("onset") and (claim["measure"], claim["scale"]) == (measure, row["scale"])
        ]
        yield HeadlineFigure(question, f"{measure} at week {row['week']}", number, text, "", claims)


def _changes(question: str, answer: Mapping[str, Any]) -> Iterator[HeadlineFigure]:
    for row in answer["results"]:
        found = row["difference"]
        value = found["ratio_of_ratios"]
        interval = next((each for each in found["intervals"] if each["of"] == "ratio_of_ratios"), None)
        text = f"The change of CK after treatment cannot be compared with the one before it. {_why(found)}"
        if value is not None:
            text = (
                f"CK changed to {figure(row['after']['geometric_mean_ratio'])} times its value after treatment, and to "
                f"{figure(row['before']['geometric_mean_ratio'])} times before it, over {_weeks_of(row['before'])} and "
                f"{_weeks_of(row['after'])}. The one divided by the other is {figure(value)} ({_ci(interval)}), in "
                f"{count(row['n'], 'patient')}{_p(found['tests'])}."
            )
        number = NO_FIGURE if value is None else f"× {figure(value)}"
        yield HeadlineFigure(question, "CK after against before", number, text, "", answer["claims"][:1])


def _weeks_of(part: Mapping[str, Any]) -> str:
    return f"weeks {figure(part['weeks'][0])} to {figure(part['weeks'][1])}"


def _times(question: str, answer: Mapping[str, Any]) -> Iterator[HeadlineFigure]:
    by_code = {claim["code"]: claim for claim in answer["claims"]}
    for row in answer["results"]:
        first = row["time_to_first_normal"]
        ends = f"{count(row['n'], 'patient')} whose CK became normal; it ended in {figure(row['events'])} of them"
        yield _time(question, "Time with normal CK", row["median"], ends, by_code.get("median_time_normal"))
        normal = f"it became normal in {figure(first['events'])} of them"
        reached = f"{count(first['n'], 'patient')} whose CK was abnormal; {normal}"
        yield _time(
            question,
            "Time to the first normal CK",
            first["median"],
            reached,
            by_code.get("median_time_to_first_normal"),
        )


def _time(
    question: str, topic: str, median: Mapping[str, Any], of: str, claim: Mapping[str, Any] | None
) -> HeadlineFigure:  # fmt: skip
    value = median["value"]
    if value is None:
        number = "not reached" if median["reason"] == "not_reached" else "–"
        text = f"The median is not known: {_lowered(sentence(median['reason']))} From {of}."
    else:
        number = f"{days(value)} {median['unit']}"
        text = f"The median is {days(value)} days ({_ci(median['intervals'][0])}), from {of}."
    return HeadlineFigure(question, topic, number, text, "", [] if claim is None else [claim])


def _reactions(question: str, answer: Mapping[str, Any]) -> Iterator[HeadlineFigure]:
    for row in answer["results"]:
        text = f"Nobody was treated. {_why(row)}"
        if row["rate"] is not None:
            text = (
                f"{figure(row['patients_with_reaction'])} of {count(row['safety'], 'treated patient')} had an adverse "
                f"reaction: {percent(row['rate'])} ({_ci(row['intervals'][0], share=True)}). "
                f"{figure(row['patients_with_serious_event'])} had a serious event."
            )
        yield HeadlineFigure(question, "Adverse reactions", percent(row["rate"]), text, "", answer["claims"][:1])


def _ci(interval: Mapping[str, Any] | None, *, share: bool = False) -> str:
    if interval is None:
        return "no interval"
    limits = written_limits(interval, share=share)
    name = f"{level_text(interval['level'])} CI"
    return f"{name} {limits}" if limits != "–" else "no confidence interval"


def _p(tests: Sequence[Mapping[str, Any]]) -> str:
    test = tests[0] if tests else None
    if test is None or (test["p"] is None and not test.get("p_below")):
        return ""
    adjusted = test["adjustment"] is not None
    p = p_value(test["p_adjusted"] if adjusted else test["p"], None if adjusted else test.get("p_below"))
    how = method(test["method"]) + (f", adjusted by {method(test['adjustment'])}" if adjusted else "")
    return f"; p {p} ({how})"


def _why(row: Mapping[str, Any]) -> str:
    return sentence(row["reason"]) if row.get("reason") else ""


def _lowered(text: str) -> str:
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _signed(value: float) -> str:
    return figure(value) if value <= 0 else f"+{figure(value)}"


_WRITE = {
    "response-rates": _responses, "weekly-change": _weeks, "ck-change": _changes, "ck-normal-time": _times,
    "adverse-reactions": _reactions,
}  # fmt: skip
