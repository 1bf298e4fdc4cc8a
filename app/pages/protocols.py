"""The pages of the protocols: the protocol of a study in words, one preset, and the presets side by side."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.access.callers import Scope
from app.pages.definitions import Part, parts_of
from app.pages.page import Names, Page, PageReading
from app.protocol.presets import PRESETS

Path = tuple[str | int, ...]
_NUMBERS = {
    "points": "least improvement in points", "percent": "least improvement in per cent of the baseline",
    "percent_of_baseline": "greatest CK in per cent of the baseline", "week": "week that is judged",
}  # fmt: skip
"""The numbers of a response rule that can be tried."""
_STRATEGIES = ("treatment_policy", "composite", "hypothetical", "competing")
_WORDS = {
    "treatment_policy": "is ignored and reported", "composite": "ends the time",
    "hypothetical": "ends the observation", "competing": "is a competing event",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Control:
    """A definition that can be tried with another value. `name` is its place in the document."""

    name: str
    label: str
    value: str
    choices: tuple[tuple[str, str], ...] = ()


async def _of_study(reading: PageReading, names: Names) -> dict[str, Any]:
    base = f"/v1/studies/{names['study']}"
    protocol = await reading.json(f"{base}/protocol", reading.asked.query)
    can_try = Scope.ANALYSE in reading.asked.caller.scopes and not reading.pinned
    return {
        "protocol": protocol,
        "parts": parts_of(protocol),
        "can_try": can_try,
        "controls": controls_of(protocol) if can_try else [],
        "presets": list(PRESETS),
        "text": as_text(protocol),
    }


def as_text(protocol: Mapping[str, Any]) -> str:
    """A protocol as JSON that somebody can edit."""
    return json.dumps(protocol, indent=2, ensure_ascii=False)


def controls_of(protocol: Mapping[str, Any]) -> list[Control]:
    """The main definitions that can be tried with another value."""
    places: list[tuple[Path, str]] = [(("treatment", "course_gap_days"), "Most days between infusions of one course")]
    if protocol["visits"]["rule"] == "nearest_within":
        places.append((("visits", "tolerance_days"), "Days by which a visit may be early or late"))
    for number, each in enumerate(protocol["responses"]):
        rule, at = each["rule"], ("responses", number, "rule")
        which = f"{rule['measure']}{'' if each['primary'] else ' (secondary)'}"
        for part in ((), ("criterion",), ("window",)):
            given = rule if not part else rule.get(part[0], {})
            places += [((*at, *part, name), f"{which}: {label}") for name, label in _NUMBERS.items() if name in given]
            if "days" in given:
                places.append(((*at, *part, "days", 0), f"{which}: first day that is judged"))
                places.append(((*at, *part, "days", 1), f"{which}: last day that is judged"))
    shown = [Control(_name(path), label, _plain(_at(protocol, path))) for path, label in places]
    rescue = protocol["ck_normal_time"]["rescue"]
    choices = tuple((each, _WORDS[each]) for each in _STRATEGIES)
    return [*shown, Control("ck_normal_time.rescue", "Time with normal CK: a rescue treatment", rescue, choices)]


def with_controls(protocol: dict[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The protocol with the values of a form. A text that is no number stays a text, which the service refuses."""
    changed: dict[str, Any] = json.loads(json.dumps(protocol))
    for control in controls_of(protocol):
        path = tuple(int(part) if part.isdigit() else part for part in control.name.split("."))
        written = given.get(control.name, control.value).strip()
        if written != control.value:
            place = _at(changed, path[:-1])
            place[path[-1]] = written if control.choices else _number(written)
    return changed


def _number(written: str) -> int | float | str:
    try:
        value = float(written)
    except ValueError:
        return written
    return int(value) if value.is_integer() else value


def _at(document: Any, path: Path) -> Any:  # noqa: ANN401 - any JSON
    for part in path:
        document = document[part]
    return document


def _name(path: Path) -> str:
    return ".".join(str(part) for part in path)


def _plain(value: Any) -> str:  # noqa: ANN401 - a number
    return f"{value:g}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, list[str], list[str]]]:
    """The sentences that only one of two protocols has, by heading."""
    old, new = dict(parts_of(before)), dict(parts_of(after))
    found = []
    for title in dict.fromkeys((*old, *new)):
        first, second = old.get(title, ()), new.get(title, ())
        gone = [each for each in first if each not in second]
        come = [each for each in second if each not in first]
        if gone or come:
            found.append((title, gone, come))
    return found


async def _presets(reading: PageReading, names: Names) -> dict[str, Any]:
    listed = await reading.json("/v1/protocols", reading.asked.query)
    presets = listed["items"]
    parts: list[dict[str, tuple[str, ...]]] = [dict(parts_of(each)) for each in presets]
    titles = list(dict.fromkeys(title for each in parts for title in each))
    rows = [(title, [each.get(title, ()) for each in parts]) for title in titles]
    return {"presets": presets, "rows": [(title, cells, len(set(cells)) == 1) for title, cells in rows]}


async def _preset(reading: PageReading, names: Names) -> dict[str, Any]:
    protocol = await reading.json(f"/v1/protocols/{names['protocol']}", reading.asked.query)
    parts: list[Part] = parts_of(protocol)
    return {"protocol": protocol, "parts": parts, "text": as_text(protocol)}


PAGES = (
    Page("/v1/studies/{study}/protocol", "protocol.html", _of_study),
    Page("/v1/protocols", "protocols.html", _presets),
    Page("/v1/protocols/{protocol}", "preset.html", _preset),
)
