"""AdverseEvents that happened (`actual`); those that did not (`potential`) are skipped.

The term is the text of the event or the display of its code; descriptions and notes are not stored. An AdverseEvent of
R4 has no status: it is withdrawn by DELETE.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar, get_args

from app.errors import Accepts, FaultCode
from app.fhir.elements import TERMINOLOGY, Element, ReadResult, Resource
from app.readers.statements import Place, Statement
from app.timeline.vocabulary import OWN_SYSTEM, Relation, Severity

Word = TypeVar("Word", bound=Hashable)
_SYSTEM = TERMINOLOGY + "adverse-event-"
SERIOUSNESS: dict[str, bool] = {
    "Non-serious": False,
    "Serious": True,
    "SeriousResultsInDeath": True,
    "SeriousIsLifeThreatening": True,
    "SeriousResultsInHospitalization": True,
    "SeriousResultsInDisability": True,
    "SeriousIsBirthDefect": True,
    "SeriousRequiresPreventImpairment": True,
}
SEVERITY: dict[str, Severity] = {"mild": "mild", "moderate": "moderate", "severe": "severe"}
FATAL: dict[str, bool] = {
    "resolved": False,
    "recovering": False,
    "ongoing": False,
    "resolvedWithSequelae": False,
    "fatal": True,
    "unknown": False,
}
CAUSALITY: dict[str, Relation | bool] = {
    "Certain": "definite",
    "Probably-Likely": "probable",
    "Possible": "possible",
    "Unlikely": "unlikely",
    "Conditional-Classified": "unknown",
    "Unassessable-Unclassifiable": "unknown",
}
"""Our values for the codes of R4. Codes of other systems are ignored; an unknown code of these systems is a fault."""
OWN_SEVERITY: dict[str, Severity] = {word: word for word in get_args(Severity)}
OWN_CAUSALITY: dict[str, Relation | bool] = {word: word for word in get_args(Relation)} | {"true": True, "false": False}
"""The words of our own system, which we show where R4 has no code."""
ACTUALITY = Accepts(one_of=("actual", "potential"))

_PLACES = {
    "term": ".event",
    "severity": ".severity",
    "serious": ".seriousness",
    "related": ".suspectEntity",
}


def adverse_event(resource: Resource) -> ReadResult:
    """The adverse event that a resource states."""
    content = resource.content
    actuality = resource.text(content, "actuality")
    if actuality == "potential":
        return ReadResult(skipped="resource")
    if content.get("actuality") is None:
        resource.fault(".actuality", FaultCode.MISSING, ACTUALITY)
    elif actuality is not None and actuality != "actual":
        resource.fault(".actuality", FaultCode.UNKNOWN_VALUE, ACTUALITY)
    resource.check_modifiers(content, "")
    onset_at = "date" if content.get("date") is not None else "detected"
    onset = resource.time(content, onset_at)
    identifier = resource.element(content, "identifier")
    named = resource.named(iter(() if identifier is None else ((".identifier", identifier),)))
    severity = _coded(resource, "severity", SEVERITY, OWN_SEVERITY)
    fatal = _coded(resource, "outcome", FATAL)
    fields = {
        "id": named.id,
        "source": named.source,
        "status": "final",
        "onset": onset,
        "term": _term(resource),
        "severity": "fatal" if fatal else severity,
        "serious": _coded(resource, "seriousness", SERIOUSNESS),
        "related": _related(resource),
    }
    places = {**_PLACES, "id": named.at, "source": named.at, "onset": "." + onset_at}
    return ReadResult((Statement("adverse_events", fields, Place(resource.place, places)),))


def _term(resource: Resource) -> str | None:
    event = resource.element(resource.content, "event")
    if event is None:
        if resource.content.get("event") is None:
            resource.fault(".event", FaultCode.MISSING)
        return None
    text = resource.text(event, "text", ".event")
    displays = [coding.text for coding in resource.codings(event, ".event")]
    term = next(filter(None, (text, *displays)), None)
    if term is None:
        resource.fault(".event.text", FaultCode.MISSING)
    return term


def _coded(
    resource: Resource, name: str, codes: Mapping[str, Word], own: Mapping[str, Word] | None = None
) -> Word | None:
    """Our value for an element, by its code in the code system of R4, or in our own one."""
    at = "." + name
    return _word(resource, resource.element(resource.content, name), at, (_SYSTEM + name, codes), own or {})


def _word(
    resource: Resource, concept: Element | None, at: str, known: tuple[str, Mapping[str, Word]], own: Mapping[str, Word]
) -> Word | None:
    system, codes = known
    words = set()
    for coding in () if concept is None else resource.codings(concept, at):
        if coding.system == OWN_SYSTEM and coding.code is not None and coding.code in own:
            words.add(own[coding.code])
        if coding.system == system and coding.code is not None:
            if coding.code in codes:
                words.add(codes[coding.code])
            else:
                resource.fault(at + ".coding", FaultCode.UNKNOWN_CODE, Accepts(one_of=tuple(codes)))
    if len(words) > 1:
        resource.fault(at, FaultCode.CODE_CONFLICT)
    return next(iter(words), None)


def _related(resource: Resource) -> Relation | bool | None:
    """The relation to the suspected entities. If several differ, it is `unknown`, which counts as related."""
    relations: set[Relation | bool | None] = set()
    known = (_SYSTEM + "causality-assess", CAUSALITY)
    for at, suspect in resource.elements(resource.content, "suspectEntity"):
        for where, causality in resource.elements(suspect, "causality", at):
            place = where + ".assessment"
            concept = resource.element(causality, "assessment", where)
            relations.add(_word(resource, concept, place, known, OWN_CAUSALITY))
    relations.discard(None)
    return next(iter(relations), None) if len(relations) < 2 else "unknown"
