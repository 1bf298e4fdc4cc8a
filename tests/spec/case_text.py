"""A case as text for readers: the given record and the expected answers."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.derive.reasons import ExclusionReason
from app.errors import SENTENCES, FaultCode
from app.estimate.results import Reason
from tests.spec.rule import FIRST_INFUSION, Case, Day, Event, Infusion, Patient, Recorded, Rounded, Value, listed

CODE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+")
FLAG = re.compile(r"(?<=flag )\w+|[a-z0-9]+(?:_[a-z0-9]+)+")
NOTHING = {*ExclusionReason, *Reason, "last_week_not_significant", "last_week_without_p"}


def given(case: Case) -> str:
    """The record, the protocol and the query of a case."""
    if case.reference:
        return "the reference cohort"
    parts = [group.words for group in case.groups] if case.groups else list(_recorded(case))
    if case.time_zone:
        parts.append(f"study in the time zone {case.time_zone}")
    parts += [f"protocol: {name} = {_plain(value)}" for name, value in _leaves(case.changes or {})]
    parts += [f"query: {name} = {_plain(value)}" for name, value in (case.query or {}).items()]
    return "; ".join(parts) or "one infusion"


def then(case: Case) -> str:
    """The expected answers."""
    if case.refused:
        code = FaultCode(case.refused)
        return f"refused, `{code.value}`: {SENTENCES[code]}"
    return "; ".join(
        f"{_coded(reading)}: **{_answer(reading, value)}**" for reading, value in (case.expect or {}).items()
    )


def _answer(reading: str, value: Any) -> str:
    if value in NOTHING and not reading.startswith("left out"):
        return f"{'not evaluable' if 'responder' in reading else 'none'} (`{value}`)"
    return _text(value)


def _recorded(patient: Patient) -> Iterable[str]:
    if patient.first_infusion != FIRST_INFUSION:
        yield f"first infusion in the calendar on {patient.first_infusion}"
    if tuple(patient.infusions) != (0,):
        yield "; ".join(_infusions(patient.infusions))
    values_of = {"CK": patient.ck, "MMT": patient.mmt, "ADL": patient.adl} | dict(patient.others or {})
    for code, values in values_of.items():
        if values:
            limit = "" if code != "CK" or patient.limit == Patient.limit else f" (upper limit {patient.limit:g})"
            yield f"{code} {', '.join(_value(value) for value in values)}{limit}"
    for event in patient.events:
        yield _event(event)
    if patient.immunosuppressant_from is not None:
        yield f"azathioprine from {_day(patient.immunosuppressant_from)}"
    steroids = [("prednisolone", first, last, dose, "mg/d") for first, last, dose in patient.prednisolone]
    taken = [(each, "") for each in (*steroids, *patient.drugs)]
    for (drug, first, last, dose, unit), how in (*taken, *((each, "ordered: ") for each in patient.orders)):
        yield f"{how}{drug} {dose:g} {unit} from {_day(first)}{'' if last is None else f' to {_day(last)}'}"
    if patient.decided is not None:
        yield f"decision: {patient.decided}"
    if patient.weight is not None:
        yield f"body weight {patient.weight:g} kg"
    if patient.ended is not None:
        day, reason = patient.ended
        yield f"{ {'died': 'died', 'withdrawn': 'withdrew', 'completed': 'completed'}[reason] } on {_day(day)}"


def _infusions(infusions: Sequence[Infusion | Day]) -> Iterable[str]:
    if not infusions:
        yield "no infusion"
    elif not any(isinstance(each, Infusion) for each in infusions):
        yield f"IVIG on {'day' if len(infusions) == 1 else 'days'} {listed(infusions)}"
    else:
        yield from map(_infusion, infusions)


def _infusion(recorded: Infusion | Day) -> str:
    infusion = recorded if isinstance(recorded, Infusion) else Infusion(day=recorded)
    course = f", sent as course {infusion.course}" if infusion.course else ""
    details = [each for each in (f"source {infusion.source}" if infusion.source else "", infusion.status) if each]
    status = f" ({', '.join(details)})" if details else ""
    dose = "" if infusion.dose is None else f"{infusion.dose:g} {infusion.unit} of "
    return f"{dose}{infusion.product} on {_day(infusion.day, infusion.at)}{course}{status}"


def _value(recorded: Recorded) -> str:
    value = recorded if isinstance(recorded, Value) else Value(day=recorded[0], value=recorded[1])
    unit = {"U/L": "", None: " without a unit"}.get(value.unit, f" {value.unit}")
    number = f"{_html(value.sign or '')}{value.value:g}{unit}" if value.value is not None else "without a value"
    details = {
        "no upper limit": value.limit is None and value.value is not None,
        f"upper limit {value.limit}{unit}": isinstance(value.limit, float | int),
        f"source {value.lab}": value.lab,
        f"issued {(value.issued or '')[11:16]}": value.issued,
        f"on a scale to {value.scale_max}": value.scale_max,
        f"number {value.id}": value.id,
        f"{value.status}": value.status,
    }
    details_text = ", ".join(detail for detail, present in details.items() if present)
    return f"{number} on {_day(value.day, value.at)}{f' ({details_text})' if details_text else ''}"


def _event(event: Event) -> str:
    when = "of unknown onset" if event.day is None else f"on {_day(event.day, event.at)}"
    relations = {True: "related: yes", False: "related: no", None: "relation not given"}
    related = relations.get(event.related, f"relation {event.related}")
    serious = {True: ", serious", False: "", None: ", seriousness not given"}[event.serious]
    severity = "" if event.severity is None else f", {event.severity}"
    source = "" if event.source is None else f", source {event.source}"
    return f"{event.term} {when} ({related}{serious}{severity}{source}{f', {event.status}' if event.status else ''})"


def _day(day: Day, at: str | None = None) -> str:
    named = f"day {day}" if isinstance(day, int) else day
    if at is None:
        return named
    offset = "UTC" if at[5:] == "Z" else at[5:].strip()
    return f"{named} at {at[:5]} {offset}".rstrip()


def _leaves(changes: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in changes.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"`{above}{name}`", value


def _plain(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return f"`{json.dumps(value)}`"
    text = str(value) if not isinstance(value, list) else listed(value) if value else "none"
    return f"`{text}`" if CODE.fullmatch(text) else text


def _coded(phrase: str) -> str:
    return FLAG.sub(lambda found: f"`{found.group()}`", _html(phrase))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, Rounded):
        return f"{value.value:.{value.decimals}f}"
    if isinstance(value, tuple):
        *words, low, high = value
        if low is None and high is None:
            return ", ".join([*(_text(word) for word in words), "none"])
        limits = f"{'open' if low is None else _text(low)} to {'open' if high is None else _text(high)}"
        return ", ".join([*(_text(word) for word in words), limits])
    if isinstance(value, float):
        return f"{value:.7g}"
    return f"`{value}`" if CODE.fullmatch(str(value)) else str(value)


def _html(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")
