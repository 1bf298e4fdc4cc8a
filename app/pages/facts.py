"""The facts of one patient as lines of a page: what, when, and each result against its own limit."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from app.pages.definitions import MEANINGS
from app.pages.wording import figure, words
from app.timeline.receipts import NOTES, NoteCode

Version = Mapping[str, Any]
"""One version of a fact, as the history of a patient gives it."""
WHEN = {"medication": "start", "adverse_event": "onset"}
"""The field with the time of a fact, for kinds where it is not `time`."""
_NAME = {"lab_result": "code", "assessment": "code", "infusion": "product", "medication": "drug",
         "adverse_event": "term", "attribute": "name"}  # fmt: skip
WHY = {
    "superseded": "a newer version replaced it", "withdrawn": "it was taken back",
    "withdrawal": "it says that the fact is taken back", "left_out": "a later timeline left it out",
    "late": "a newer version was stored before it arrived", "set_aside": "it waits in the worklist",
}  # fmt: skip
"""Why a version does not stand."""


@dataclass(frozen=True, slots=True)
class FactLine:
    """One version of one fact. `key` names it on a form. `day` counts from the first infusion of the treatment."""

    key: str
    kind: str
    when: str
    day: int | None
    what: str
    meaning: str
    result: str
    limit: str
    times: float | None
    state: str
    source: str
    version: Version
    notes: tuple[str, ...]
    others: tuple["FactLine", ...] = field(default=())
    """The versions of the same fact that do not stand."""


def key_of(version: Version) -> str:
    """The name of a version on a form: a digest, because a form needs no content of a fact."""
    text = json.dumps([version["kind"], version["fact"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def time_of(version: Version) -> str:
    """When it was, as it was written; empty if that is not known."""
    return str(version["fact"].get(WHEN.get(version["kind"], "time"), ""))


def treatment_began(versions: Iterable[Version], products: Collection[str], zone: str | None) -> date | None:
    """The day of the first infusion of the treatment."""
    days = (
        _calendar_day(time_of(each), zone)
        for each in versions
        if each["kind"] == "infusion" and each["standing"] and each["fact"].get("product") in products
    )
    return min((day for day in days if day is not None), default=None)


def lines_of(versions: Sequence[Version], began: date | None, zone: str | None) -> list[FactLine]:
    """Every version as a line, in the order of the history."""
    return [_line(each, began, zone) for each in versions]


def timeline_of(versions: Sequence[Version], began: date | None, zone: str | None) -> list[FactLine]:
    """The facts that stand, in order of time, each with its other versions."""
    others: dict[tuple[Any, ...], list[FactLine]] = {}
    for each in versions:
        if not each["standing"]:
            others.setdefault(_identity(each), []).append(_line(each, began, zone))
    standing = [each for each in versions if each["standing"] and each["kind"] != "attribute"]
    made = [_line(each, began, zone, tuple(others.get(_identity(each), ()))) for each in standing]
    return sorted(made, key=lambda line: (line.when == "", line.when[:10], line.kind != "infusion", line.what))


def _identity(version: Version) -> tuple[Any, ...]:
    fact, kind = version["fact"], version["kind"]
    if fact.get("id"):
        return kind, fact["id"], fact.get("source"), fact.get("code")
    return kind, fact.get(_NAME[kind]), time_of(version)[:16], fact.get("source")


def _line(version: Version, began: date | None, zone: str | None, others: tuple[FactLine, ...] = ()) -> FactLine:
    fact, kind = version["fact"], version["kind"]
    when = time_of(version)
    on = _calendar_day(when, zone)
    what = str(fact.get(_NAME[kind], ""))
    limit, times, state = _against_limit(fact) if kind == "lab_result" else ("", None, "")
    return FactLine(
        key=key_of(version),
        kind=kind,
        when=when,
        day=None if began is None or on is None else (on - began).days,
        what=words(what) if kind == "attribute" else what,
        meaning=MEANINGS.get(what, ""),
        result=_result(kind, fact),
        limit=limit,
        times=times,
        state=state,
        source=", ".join(dict.fromkeys(str(fact[name]) for name in ("lab", "source", "id") if name in fact)),
        version=version,
        notes=tuple(note_in_words(note) for note in version.get("notes", ())),
        others=others,
    )


def note_in_words(note: Mapping[str, Any]) -> str:
    """The sentence of a note of a receipt."""
    about = f" ({words(note['about']).lower()})" if note.get("about") else ""
    return NOTES[NoteCode(note["code"])].removesuffix(".") + about + "."


def _result(kind: str, fact: Mapping[str, Any]) -> str:
    if kind in {"lab_result", "assessment"}:
        value = fact.get("value", fact.get("score"))
        most = f" of {figure(fact['scale_max'])}" if fact.get("scale_max") is not None else ""
        parts = [fact.get("comparator", ""), "" if value is None else figure(value, 6), fact.get("unit", "")]
        return " ".join(str(part) for part in parts if part) + most
    if kind == "infusion":
        course = f"course {fact['course']}" if "course" in fact else ""
        return ", ".join(part for part in (_dose(fact), course) if part)
    if kind == "medication":
        until = f"until {fact['end']}" if fact.get("end") else "no last day" if fact.get("ordered") else "still taken"
        return ", ".join(part for part in (_dose(fact), until, "ordered" if fact.get("ordered") else "") if part)
    if kind == "adverse_event":
        related = fact.get("related", "unknown")
        relation = {True: "related", False: "not related"}.get(related) or f"relation {words(str(related)).lower()}"
        serious = "" if "serious" not in fact else "serious" if fact["serious"] else "not serious"
        severity = words(str(fact["severity"])).lower() if "severity" in fact else ""
        return ", ".join(part for part in (severity, serious, relation) if part)
    return attribute_in_words(fact.get("value"))


def attribute_in_words(value: Any) -> str:  # noqa: ANN401 - any JSON
    """The value of an attribute of a patient."""
    if isinstance(value, Mapping):
        return ", ".join(f"{words(str(name))}: {attribute_in_words(part)}" for name, part in value.items())
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, int | float):
        return f"{value:g}"
    return words(value) if isinstance(value, str) and value.islower() else str(value)


def _dose(fact: Mapping[str, Any]) -> str:
    return f"{figure(fact['dose'])} {fact.get('unit', '')}".strip() if "dose" in fact else ""


def _against_limit(fact: Mapping[str, Any]) -> tuple[str, float | None, str]:
    """The upper limit of a result, how many times the limit it is, and on which side of it: `above`, `normal`."""
    limit, value, comparator = fact.get("upper_limit"), fact.get("value"), fact.get("comparator")
    if limit is None or value is None:
        return "", None, ""
    shown = figure(limit, 6)
    if comparator is None:
        return shown, value / limit, "above" if value > limit else "normal"
    if comparator in {"<", "<="}:
        return shown, None, "normal" if value <= limit else ""
    above = value > limit or (comparator == ">" and value >= limit)
    return shown, None, "above" if above else ""


def _calendar_day(written: str, zone: str | None) -> date | None:
    """The day on the calendar: as written or, if the study declares a time zone, in that zone."""
    if len(written) < 10:
        return None
    if "T" in written and zone:
        return datetime.fromisoformat(written).astimezone(ZoneInfo(zone)).date()
    return date.fromisoformat(written[:10])
