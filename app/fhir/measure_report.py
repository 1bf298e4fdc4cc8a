"""The rates of a study as a MeasureReport of FHIR R4: the counts, rates and claims of the native answer."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import to_json

from app.analyses import Options
from app.analyses import answer as ask
from app.analyses.answer import Answer
from app.analyses.answer_document import Header
from app.analyses.improvement.definition_of_improvement import DefinitionOfImprovementAnswer
from app.analyses.improvement.improvement_score import ImprovementScoreAnswer
from app.analyses.response_rates import ResponseRates
from app.analyses.safety.adverse_reactions import AdverseReactionRates
from app.fhir.write_resources import concept
from app.protocol.model import Protocol
from app.timeline.cohort import NO_TIME, Cohort
from app.timeline.times import day_text
from app.timeline.vocabulary import OWN_SYSTEM, UCUM

MEASURE = "urn:myoresponse:measure:"
EXTENSION = "urn:myoresponse:extension:"
DATA_SYSTEM = "urn:myoresponse:data"
PROTOCOL_SYSTEM = "urn:myoresponse:protocol"


def measured(analysis: str, header: Header, cohort: Cohort, protocol: Protocol) -> bytes:
    """The report of one analysis with rates as JSON. Worker processes call this."""
    days = _days(cohort, otherwise=str(header.as_of)[: len("2005-03-16")])
    return to_json(measure_report(header, ask(analysis, cohort, protocol, Options()), days), indent=2) + b"\n"


def _days(cohort: Cohort, *, otherwise: str) -> tuple[str, str]:
    """The first and the last day of the data; `otherwise` for both if there are no data."""
    tables = (cohort.labs, cohort.assessments, cohort.infusions, cohort.events)
    known = [table.day[table.day != NO_TIME] for table in tables]
    ends = [int(end) for days in known if len(days) for end in (days.min(), days.max())]
    return (day_text(min(ends)), day_text(max(ends))) if ends else (otherwise, otherwise)


def measure_report(header: Header, answer: Answer, days: tuple[str, str]) -> dict[str, Any]:
    """The report of an answer with rates; `days` are the first and the last day of its data.

    Raises `TypeError` for an answer without rates.
    """
    body = answer.model_dump(mode="json")
    match answer:
        case ResponseRates():
            groups, notation = [_response(rate, body["populations"]) for rate in body["results"]], "increase"
        case AdverseReactionRates():
            groups, notation = [each for count in body["results"] for each in _reactions(count, body)], "decrease"
        case ImprovementScoreAnswer():
            groups, notation = [each for visit in body["results"] for each in _levels(visit, body)], "increase"
        case DefinitionOfImprovementAnswer():
            groups, notation = [_improved(visit, body) for visit in body["results"]], "increase"
        case _:
            raise TypeError(f"{answer.analysis} is not an answer with rates")
    first, last = days
    report: dict[str, Any] = {
        "resourceType": "MeasureReport",
        "id": answer.analysis,
        "meta": {"versionId": str(header.revision), "lastUpdated": header.as_of},
        "extension": [
            {"url": EXTENSION + "software", "valueString": header.provenance.software},
            *([{"url": EXTENSION + "reason", "valueCode": body["reason"]}] if body.get("reason") else []),
            *(_claim(claim) for claim in body["claims"]),
        ],
        "identifier": [
            {"system": DATA_SYSTEM, "value": header.provenance.data},
            {"system": PROTOCOL_SYSTEM, "value": header.provenance.protocol},
        ],
        "status": "complete",
        "type": "summary",
        "measure": MEASURE + answer.analysis,
        "date": header.as_of,
        "period": {"start": first, "end": last},
        "improvementNotation": concept("measure-improvement-notation", notation),
    }
    return report | ({"group": groups} if groups else {})


def _claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    """What may be concluded, or may not."""
    return {
        "url": EXTENSION + "claim",
        "extension": [
            {"url": "code", "valueCode": claim["code"]},
            {"url": "supported", "valueBoolean": claim["supported"]},
            {"url": "text", "valueString": claim["text"]},
        ],
    }


def _all_treated(rate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same count over everybody who was treated: who could not be judged counts as without it, then as with it."""
    count = rate["all_treated"]
    numbers = {"treated": "of", "treated-numerator": "counted", "treated-numerator-at-most": "at_most"}
    return [{"url": EXTENSION + name, "valueInteger": count[field]} for name, field in numbers.items()]


def _response(rate: Mapping[str, Any], populations: Mapping[str, int]) -> dict[str, Any]:
    definition = rate["definition"]
    extensions = [
        {"url": EXTENSION + "definition", "valueString": json.dumps(definition, sort_keys=True)},
        {"url": EXTENSION + "primary", "valueBoolean": rate["primary"]},
        *_all_treated(rate),
        *_intervals(rate),
    ]
    counts = {
        "initial-population": populations["all"],
        "denominator": rate["evaluable"],
        "numerator": rate["responders"],
    }
    name = f"{rate['measure']} {definition['id']}"
    return _group(extensions, rate["measure"], name, counts, rate["rate"])


def _reactions(count: Mapping[str, Any], body: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Patients with a reaction, any event, a serious event. Only the first has a rate in the native answer."""
    base = {"initial-population": body["populations"]["all"], "denominator": count["safety"]}
    numerators = {
        "patients_with_reaction": "patients with an adverse reaction",
        "patients_with_event": "patients with an adverse event",
        "patients_with_serious_event": "patients with a serious adverse event",
    }
    for name, text in numerators.items():
        first = name == "patients_with_reaction"
        extensions = [*_all_treated(count), *_intervals(count)] if first else []
        yield _group(extensions, name, text, base | {"numerator": count[name]}, count["rate"] if first else None)


def _levels(visit: Mapping[str, Any], body: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The patients who reach each level of the improvement score at one visit."""
    for level in visit["levels"]:
        text = f"week {visit['week']}: a score of at least {level['threshold']} ({level['level']})"
        bounds = level["responders_at_least"], level["responders_at_most"]
        yield _of_visit(visit, body, level["level"], text, level, level["responders"], bounds)


def _improved(visit: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The patients who improved by the IMACS definition at one visit."""
    text = f"week {visit['week']}: improved"
    bounds = visit["improved_at_least"], visit["improved_at_most"]
    return _of_visit(visit, body, "improved", text, visit, visit["improved"], bounds)


def _of_visit(
    visit: Mapping[str, Any],
    body: Mapping[str, Any],
    code: str,
    text: str,
    estimate: Mapping[str, Any],
    numerator: int,
    bounds: tuple[int, int],
) -> dict[str, Any]:
    """A rate among the patients without a missing measure; `bounds` count the other patients, too."""
    numbers = {"week": visit["week"], "numerator-at-least": bounds[0], "numerator-at-most": bounds[1]}
    extensions = [{"url": EXTENSION + name, "valueInteger": number} for name, number in numbers.items()]
    counts = {
        "initial-population": body["populations"]["all"],
        "denominator": visit["evaluable"],
        "numerator": numerator,
    }
    return _group([*extensions, *_all_treated(estimate), *_intervals(estimate)], code, text, counts, estimate["rate"])


def _group(
    extensions: list[dict[str, Any]], code: str, text: str, counts: Mapping[str, int], rate: float | None
) -> dict[str, Any]:
    group: dict[str, Any] = {"extension": extensions} if extensions else {}
    group["code"] = {"coding": [{"system": OWN_SYSTEM, "code": code}], "text": text}
    group["population"] = [
        {"code": concept("measure-population", name), "count": count} for name, count in counts.items()
    ]
    if rate is not None:
        group["measureScore"] = {"value": rate, "system": UCUM, "code": "1"}
    return group


def _intervals(estimate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The confidence intervals of a rate, or the reason why the rate is null."""
    if estimate["reason"] is not None:
        return [{"url": EXTENSION + "reason", "valueCode": estimate["reason"]}]
    return [
        {
            "url": EXTENSION + "interval",
            "extension": [
                {"url": "method", "valueCode": interval["method"]},
                *[{"url": name, "valueDecimal": interval[name]} for name in ("level", "low", "high")],
            ],
        }
        for interval in estimate["intervals"]
    ]
