"""How the text of a chart writes figures: few digits, units beside them, and why one is missing."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from app.derive.reasons import ExclusionReason
from app.estimate.results import Reason
from app.pages.wording import level_text
from app.pages.wording import percent as written_percent

_REASONS: dict[str, str] = {str(each): each.description for kind in (ExclusionReason, Reason) for each in kind}


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, never in the notation with a power of ten."""
    if value is None:
        return "not known"
    if float(value).is_integer() or abs(value) >= 10**digits:
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", "−")
    if abs(value) < 0.001:
        return f"{'−' if value < 0 else ''}less than 0.001"
    shown = f"{value:.{digits}g}"
    return (f"{value:.{digits}f}" if "e" in shown else shown).replace("-", "−")


def percent(share: float | None) -> str:
    """A share as percent without digits after the point, unless it would show 0 or 100 for what is neither."""
    if share is None:
        return "not known"
    near_an_end = 0 < share < 0.005 or 0.995 <= share < 1
    return written_percent(share, 1 if near_an_end else 0).replace("\u00a0", " ")


def patients(count: int) -> str:
    """So many patients."""
    return f"{count} patient" if count == 1 else f"{count} patients"


def n_of(counts: Iterable[int]) -> str:
    """How many patients there are, from the fewest to the most."""
    known = sorted(counts)
    return f"n = {known[0]}" if known[0] == known[-1] else f"n = {known[0]} to {known[-1]}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """So many of something."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def limits(interval: Mapping[str, Any] | None, write: Callable[[float], str] = number) -> str:
    """The limits of an interval with its level; an end that is not reached is named."""
    if interval is None or (interval["low"] is None and interval["high"] is None):
        return "no interval"
    low, high = (
        ("not reached" if interval.get("reason") == "not_reached" else "open") if end is None else write(end)
        for end in (interval["low"], interval["high"])
    )
    return f"{level_of(interval)} interval {low} to {high}"


def level_of(found: Mapping[str, Any]) -> str:
    """The confidence level of an interval or of an answer."""
    return level_text(found["level"]).replace("\u00a0", " ")


def interval_of(row: Mapping[str, Any], of: str, method: str | None = None) -> Mapping[str, Any] | None:
    """The first interval of an estimate."""
    found = (each for each in row["intervals"] if each["of"] == of and method in (None, each["method"]))
    return next(found, None)


def why(reason: str | None) -> str:
    """Why a number is missing, in words."""
    return _REASONS.get(reason or "", "It is not defined here.")


def in_words(name: str) -> str:
    """A code or a name of a field as words."""
    return " ".join("CK" if word == "ck" else word for word in name.replace("_", " ").replace("-", " ").split(" "))


def listed(texts: Iterable[str]) -> str:
    """Some texts as one: `a, b and c`."""
    *first, last = [*texts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def rule_of(definition: Mapping[str, Any]) -> str:
    """A definition in a few words: its name and its parameters."""
    parts = [f"{in_words(name)} {_parameter(value)}" for name, value in definition["parameters"].items()]
    return f"{in_words(definition['id'])} ({', '.join(parts)})" if parts else in_words(definition["id"])


def _parameter(value: Any) -> str:  # noqa: ANN401 - any JSON
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " to ".join(map(_parameter, value))
    return number(value) if isinstance(value, (int, float)) else in_words(str(value))


def group_of(row: Mapping[str, Any]) -> str:
    """The subgroup of a row; `All` where there are no subgroups."""
    group = row.get("group")
    if not group:
        return "All"
    return ", ".join("not stated" if value is None else value for value in group.values())


def distinct(names: Iterable[str]) -> list[str]:
    """The names of the rows of a chart: of equal ones the later get an invisible mark, because rows of one name would
    be drawn on each other.
    """
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(name + _INVISIBLE * seen[name])
        seen[name] += 1
    return found


_INVISIBLE = "\u200b"


def evenly(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Not more than so many of some rows, at equal steps, the first and the last among them."""
    if len(rows) <= most:
        return rows
    return [rows[round(place * (len(rows) - 1) / (most - 1))] for place in range(most)]
