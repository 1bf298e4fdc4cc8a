"""What stands in one cell of a table: a number, an estimate with its limits, a test as its p value, or a small result
that is read as one. A number that is missing has the sentence that says why.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.pages.labels import definition, method, sentence
from app.pages.wording import NO_FIGURE, figure, p_value, percent

Given = Mapping[str, Any]
"""A part of an answer."""
SHARES = frozenset(
    {"rate", "rate_at_most", "survival", "share", "mass", "pooled", "assumed", "expected_low", "expected_high",
     "expected_half_width", "half_width"}
)  # fmt: skip
"""Fractions that are written as percent."""
_AS_IT_IS = frozenset(
    {"which", "patient", "measure", "term", "text", "unit", "variable", "label", "endpoint", "own", "other"}
)
"""Texts that are no codes."""


@dataclass(frozen=True, slots=True)
class ShownCell:
    """One cell. `why` explains a number that is missing."""

    text: str
    why: str | None = None
    number: bool = False


def written_p(p: float | None, below: float | None = None) -> str:
    """A p value in a table, where its heading says that it is one."""
    return p_value(p, below).removeprefix("= ")


def written_limits(interval: Given, *, share: bool) -> str:
    """`68.1 % to 99.8 %`. A limit that does not exist is named."""
    low, high = interval["low"], interval["high"]
    if low is None and high is None:
        return NO_FIGURE
    none = "not reached" if interval.get("reason") == "not_reached" else "no limit"
    write = days if interval.get("of") in {"median", "restricted_mean"} else partial(_written, share=share)
    return " to ".join(none if end is None else write(end) for end in (low, high))


def days(value: float) -> str:
    """A time in days, with one decimal where it is not whole."""
    return figure(value) if float(value).is_integer() else f"{value:.1f}".removesuffix(".0")


def number_cell(row: Given, name: str, interval: Given | None = None) -> ShownCell:
    """A field of a row, with the limits of its interval."""
    value, share = row[name], _is_share(row, name)
    limits = NO_FIGURE if interval is None else written_limits(interval, share=share)
    between = "" if limits == NO_FIGURE else f" ({limits})"
    if value is None:
        return _none(row, between)
    if isinstance(value, bool):
        return ShownCell("yes" if value else "no")
    if isinstance(value, str):
        return ShownCell(_word(name, value))
    if name in {"p", "p_adjusted"}:
        return ShownCell(written_p(value), number=True)
    written = days(value) if _is_time(row, name) else _written(value, share=share)
    return ShownCell(written + _unit(row, name) + between, number=True)


def interval_cell(row: Given, interval: Given) -> ShownCell:
    """The limits of an interval, behind its own estimate if it has one."""
    share = _is_share(row, interval["of"]) or (interval["of"] == "rate" and not _has_exposure(row))
    limits = written_limits(interval, share=share)
    if interval.get("estimate") is not None:
        return ShownCell(f"{_written(interval['estimate'], share=share)} ({limits})", number=True)
    return _none(interval) if limits == NO_FIGURE else ShownCell(limits, number=True)


def p_cell(test: Given) -> ShownCell:
    """The p value that decides: the adjusted one, if it was adjusted."""
    adjusted = test.get("adjustment") is not None
    p, below = (test.get("p_adjusted"), None) if adjusted else (test.get("p"), test.get("p_below"))
    return _none(test) if p is None and below is None else ShownCell(written_p(p, below), number=True)


def small_result(name: str, value: object) -> ShownCell | None:
    """A small result that is read as one; `None` for every other value."""
    if not isinstance(value, Mapping):
        return None
    if name in {"definition", "criterion", "window", "variant"}:
        return ShownCell(definition(value))
    for fields, write in _SMALL:
        if fields <= value.keys():
            return write(value)
    return (
        ShownCell(figure(value["n"]), number=True)
        if value.keys() == {"n", "reason"} and value["n"] is not None
        else None
    )


def listed(value: Sequence[Any]) -> ShownCell:
    """A list of single values."""
    if not value:
        return ShownCell("none")
    if len(value) == 2 and all(isinstance(each, int) for each in value):
        return ShownCell(f"{figure(value[0])} to {figure(value[1])}")
    if len(value) > 12 or isinstance(value[0], list | dict):
        return ShownCell(f"{len(value)} values")
    return ShownCell(", ".join(each if isinstance(each, str) else figure(each) for each in value))


def _none(found: Given, limits: str = "") -> ShownCell:
    why = found.get("reason")
    return ShownCell(NO_FIGURE + limits, sentence(why) if isinstance(why, str) else None, number=True)


def _word(name: str, value: str) -> str:
    if name in _AS_IT_IS or not value or value[0].isdigit() or value[0].isupper():
        return value
    return method(value)


def _unit(row: Given, name: str) -> str:
    return f" {row['unit']}" if name == "value" and row.get("unit") in {"d", "week"} else ""


def _is_time(row: Given, name: str) -> bool:
    return name == "time" or (name == "value" and (row.get("unit") == "d" or _is_mean_time(row)))


def _is_mean_time(row: Given) -> bool:
    return any(interval["of"] == "restricted_mean" for interval in row.get("intervals") or ())


def _is_share(row: Given, name: str) -> bool:
    if _has_exposure(row):
        return False
    if name in {"low", "high"}:
        return "survival" in row
    if name == "value" and "cause" in row:
        return True  # a cumulative incidence
    return name in SHARES or (name in {"estimate", "difference", "value"} and row.get("of") == "rate")


def _has_exposure(row: Given) -> bool:
    return "exposure" in row or isinstance(row.get("per"), Mapping)


def _written(value: float, *, share: bool) -> str:
    return percent(value) if share else figure(value)


def _behind(found: Given, *, share: bool = False) -> str:
    """The limits of the first interval of a result, in brackets."""
    limits = written_limits(found["intervals"][0], share=share) if found.get("intervals") else NO_FIGURE
    return "" if limits == NO_FIGURE else f" ({limits})"


def _definition(value: Given) -> ShownCell:
    return ShownCell(definition(value))


def _of_all_treated(value: Given) -> ShownCell:
    if value["rate"] is None:
        return _none(value)
    text = f"{figure(value['counted'])}/{figure(value['of'])}, {percent(value['rate'])}{_behind(value, share=True)}"
    return ShownCell(text + (f"; at most {figure(value['at_most'])}" if value["not_judged"] else ""), number=True)


def _per_exposure(value: Given) -> ShownCell:
    if value["rate"] is None:
        return _none(value)
    counted = f"; {figure(value['events'])} in {figure(value['exposure'])}"
    return ShownCell(f"{figure(value['rate'])} per {value['unit']}{_behind(value)}{counted}", number=True)


def _between(value: Given) -> ShownCell:
    if value["left"] is None:
        return _none(value)
    right = "" if value["right"] is None else f" and at most {days(value['right'])}"
    return ShownCell(f"later than {days(value['left'])}{right} {value['unit']}{_behind(value)}", number=True)


def _summary(value: Given) -> ShownCell:
    if value["mean"] is None:
        return _none(value)
    spread = "" if value["sd"] is None else f" (SD {figure(value['sd'])})"
    quartiles = f"median {figure(value['median'])} [{figure(value['q1'])}, {figure(value['q3'])}]"
    return ShownCell(f"mean {figure(value['mean'])}{spread}, {quartiles}, n {figure(value['n'])}", number=True)


def _spread(value: Given) -> ShownCell:
    if value["median"] is None:
        return _none(value)
    span = f"{figure(value['smallest'])} to {figure(value['largest'])}"
    return ShownCell(f"median {figure(value['median'])} ({span}), n {figure(value['n'])}", number=True)


def _range(value: Given) -> ShownCell:
    if value["value"] is None:
        return _none(value)
    share = value["of"] == "rate"
    span = f"{_written(value['low'], share=share)} to {_written(value['high'], share=share)}"
    return ShownCell(f"{_written(value['value'], share=share)} ({span})", number=True)


_SMALL: tuple[tuple[frozenset[str], Callable[[Given], ShownCell]], ...] = (
    (frozenset({"id", "parameters"}), _definition),
    (frozenset({"counted", "of", "not_judged", "at_most", "rate", "intervals"}), _of_all_treated),
    (frozenset({"events", "exposure", "rate", "unit"}), _per_exposure),
    (frozenset({"left", "right", "at_risk", "unit"}), _between),
    (frozenset({"n", "mean", "sd", "median", "q1", "q3"}), _summary),
    (frozenset({"n", "median", "smallest", "largest"}), _spread),
    (frozenset({"of", "value", "low", "high", "undefined"}), _range),
)
"""Small results by the fields that they have."""
