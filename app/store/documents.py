"""Facts as the timeline document that a client reads: values, units, limits and times as they were sent.

What is written here is read by `timeline.facts.normalise` to the very facts that it came from, so that a client may
send back what it got. A field without a value is left out.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from app.timeline.history import (
    AnyFact,
    AssessmentFact,
    AttributeFact,
    EventFact,
    InfusionFact,
    LabFact,
    MedicationFact,
)
from app.timeline.moments import day_text, instant_text
from app.timeline.vocabulary import UNITS

_BEFORE, _AFTER = -(2**63), 2**63


def timeline_document(patient: str, facts: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The document of one patient from facts by kind, each section in order of time."""
    attributes = stated(facts.get("attributes", ()))
    ended = attributes.pop("ended", None)
    document: dict[str, Any] = {"patient": {"id": patient, **attributes}}
    for section, kind, write in _SECTIONS:
        document[section] = [write(fact) for fact in sorted(facts.get(kind, ()), key=_when)]
    if ended is not None:
        document["ended"] = ended
    return document


def timeline_etag(document: Mapping[str, Any]) -> str:
    """The strong ETag of a timeline document, with its quotes."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f'"{hashlib.sha256(text.encode("ascii")).hexdigest()}"'


def stated(attributes: Iterable[AttributeFact]) -> dict[str, Any]:
    """Attributes of a patient by name, in a fixed order."""
    values = {fact.identity: json.loads(fact.value) for fact in attributes}
    return {name: _number(values[name]) for name in _ATTRIBUTES if name in values}


def fact_document(kind: str, fact: Any) -> dict[str, Any]:  # noqa: ANN401 - a fact of that kind
    """One fact of a kind of `History.kinds()` as a timeline shows it; an attribute by its name and value."""
    return _WRITERS[kind](fact)


_ATTRIBUTES = ("sex", "birth_year", "diagnosis", "weight_kg", "steroid_resistant", "merged_into", "ended")


def _attribute(fact: AttributeFact) -> dict[str, Any]:
    return _given(name=fact.identity, value=_number(json.loads(fact.value)), **_sourced(fact))


def _lab(fact: LabFact) -> dict[str, Any]:
    values: tuple[float | None, ...] = (fact.value, fact.upper_limit, fact.lower_limit)
    if fact.unit is not None and UNITS[fact.unit].factor != 1:
        values = (fact.given_value, fact.given_upper_limit, fact.given_lower_limit)
    value, upper, lower = map(_number, values)
    return _given(
        code=fact.code, time=fact.time, value=value, unit=fact.unit, comparator=fact.comparator, upper_limit=upper,
        lower_limit=lower, lab=fact.lab, **_sourced(fact),
    )  # fmt: skip


def _assessment(fact: AssessmentFact) -> dict[str, Any]:
    return _given(
        code=fact.code, time=fact.time, score=_number(fact.score), scale_max=_number(fact.scale_max), **_sourced(fact)
    )


def _infusion(fact: InfusionFact) -> dict[str, Any]:
    return _given(
        time=fact.time,
        product=fact.product,
        dose=_number(fact.dose),
        unit=fact.unit,
        course=fact.course,
        **_sourced(fact),
    )


def _medication(fact: MedicationFact) -> dict[str, Any]:
    end = None if fact.end_day is None else day_text(fact.end_day)
    return _given(
        drug=fact.drug,
        start=day_text(fact.start_day),
        end=end,
        dose=_number(fact.dose),
        unit=fact.unit,
        **_sourced(fact),
    )


def _event(fact: EventFact) -> dict[str, Any]:
    related = {"true": True, "false": False}.get(fact.related or "", fact.related)
    return _given(
        onset=fact.onset,
        term=fact.term,
        severity=fact.severity,
        serious=fact.serious,
        related=related,
        **_sourced(fact),
    )


def _sourced(fact: AnyFact) -> dict[str, Any]:
    issued = None if fact.issued is None else instant_text(fact.issued)
    return {"source": fact.source, "id": fact.id, "version": fact.version, "issued": issued, "status": fact.status}


def _given(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    return {name: value for name, value in fields.items() if value is not None}


def _number(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """A whole number is written without the `.0` that it was not sent with."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _when(fact: Any) -> tuple[int, int, str]:  # noqa: ANN401 - any fact with a day
    day = fact.start_day if isinstance(fact, MedicationFact) else fact.day
    instant = getattr(fact, "instant", None)
    return (_AFTER if day is None else day, _BEFORE if instant is None else instant, fact.identity)


_SECTIONS: tuple[tuple[str, str, Callable[[Any], dict[str, Any]]], ...] = (
    ("labs", "labs", _lab),
    ("assessments", "assessments", _assessment),
    ("infusions", "infusions", _infusion),
    ("medications", "medications", _medication),
    ("adverse_events", "events", _event),
)
_WRITERS = {"attributes": _attribute} | {kind: write for _, kind, write in _SECTIONS}
