"""From a case to the answers, by the same steps as a document: JSON, timeline, facts, cohort, question."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from app.analyses import QUESTIONS, Options, answer
from app.demo import TIMELINES
from app.errors import InvalidDocument
from app.protocol.model import Protocol
from app.protocol.presets import PRESETS
from app.readers.json_timelines import read_model, read_timeline
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from app.timeline.times import latest_acceptable
from app.timeline.vocabulary import LAB_CODE_OF
from tests.spec.rule import OFFSET, Case, Day, Infusion, Patient, Recorded, Value

NOW = latest_acceptable(datetime(2020, 1, 1, tzinfo=UTC))


class Answers:
    """The answers to one case as JSON, each computed when it is first read."""

    def __init__(self, case: Case) -> None:
        self.protocol = protocol(case)
        self.options = Options(patients=True, **(case.query or {}))
        self.cohort = cohort(case)
        self._computed: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> dict[str, Any]:
        if name not in self._computed:
            options = QUESTIONS[name].options_type(**dict(self.options))
            document = answer(name, self.cohort, self.protocol, options).model_dump_json()
            self._computed[name] = json.loads(document)
        return self._computed[name]


def refusals(case: Case) -> set[str]:
    """The codes of the faults with which the service refuses the documents or the protocol of a case."""
    try:
        read_model(_declared(case).encode(), Protocol)
        for record in documents(case):
            read_timeline(json.dumps(record).encode(), NOW)
    except InvalidDocument as refusal:
        return {fault.code.value for fault in refusal.faults}
    return set()


def protocol(case: Case) -> Protocol:
    """The preset with the changes of the case."""
    return Protocol.model_validate_json(_declared(case))


def _declared(case: Case) -> str:
    return json.dumps(_merged(PRESETS[case.preset].model_dump(mode="json"), case.changes or {}))


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, part in changes.items():
        merged[name] = _merged(base[name], part) if isinstance(part, dict) and name in base else part
    return merged


def cohort(case: Case) -> Cohort:
    """The cohort of the documents of a case."""
    timelines = [Timeline.model_validate_json(json.dumps(each)) for each in documents(case)]
    return Cohort.of_histories([normalise(timeline, NOW) for timeline in timelines], case.time_zone)


def documents(case: Case) -> list[dict[str, Any]]:
    """The documents of all patients of a case."""
    if case.reference:
        return json.loads(TIMELINES.read_text(encoding="utf-8"))
    return [document(patient, f"P{i:02}") for i, patient in enumerate(case.patients, 1)]


def document(patient: Patient, identifier: str) -> dict[str, Any]:
    """The patient's timeline in our native JSON, with the recorded fields only."""
    named = {"CK": patient.ck, "MMT": patient.mmt, "ADL": patient.adl} | dict(patient.others or {})
    recorded = [(code, _value(each)) for code, values in named.items() for each in values]
    labs = [_lab(patient, code, value) for code, value in recorded if code in LAB_CODE_OF or code[0].isdigit()]
    scores = [
        _score(patient, code, value) for code, value in recorded if code not in LAB_CODE_OF and not code[0].isdigit()
    ]
    infusions = [each if isinstance(each, Infusion) else Infusion(day=each) for each in patient.infusions]
    timeline: dict[str, Any] = {
        "patient": _without_none(id=identifier, weight_kg=patient.weight),
        "labs": labs,
        "assessments": scores,
        "infusions": [
            _without_none(
                time=_time(patient, i.day, i.at),
                product=i.product,
                course=i.course,
                status=i.status,
                dose=i.dose,
                unit=i.unit,
                id=None if i.source is None else f"i-{number}",
                source=i.source,
            )
            for number, i in enumerate(infusions, 1)
        ],
        "adverse_events": [
            _without_none(
                id=f"ae-{number}",
                onset=None if e.day is None else _time(patient, e.day, e.at),
                term=e.term,
                related=e.related,
                serious=e.serious,
                severity=e.severity,
                status=e.status,
                source=e.source,
            )
            for number, e in enumerate(patient.events, 1)
        ],
    }
    if patient.immunosuppressant_from is not None:
        start = _time(patient, patient.immunosuppressant_from, None)
        timeline["medications"] = [{"drug": "azathioprine", "start": start, "dose": 100, "unit": "mg/d"}]
    steroids = [("prednisolone", first, last, dose, "mg/d") for first, last, dose in patient.prednisolone]
    taken = [(each, None) for each in (*steroids, *patient.drugs)]
    for (drug, first, last, dose, unit), ordered in (*taken, *((each, True) for each in patient.orders)):
        start, end = _time(patient, first, None), None if last is None else _time(patient, last, None)
        period = _without_none(drug=drug, start=start, end=end, dose=dose, unit=unit, ordered=ordered)
        timeline["medications"] = [*timeline.get("medications", []), period]
    if patient.ended is not None:
        timeline["ended"] = {"date": _time(patient, patient.ended[0], None), "reason": patient.ended[1]}
    if patient.decided is not None:
        timeline["decisions"] = [_decision(timeline, patient.decided)]
    return timeline


def _decision(timeline: dict[str, Any], decided: str) -> dict[str, Any]:
    """A decision about the first two infusions, or about the first two events if there is one infusion."""
    facts = normalise(Timeline.model_validate_json(json.dumps(timeline)), NOW)
    kind, two = ("infusion", facts.infusions) if len(facts.infusions) > 1 else ("adverse_event", facts.events)
    made = {"kind": kind, "facts": [fact.identity for fact in two[:2]], "decision": decided}
    return made if decided == "proven" else made | {"at": "2006-01-01T00:00:00Z"}


def _lab(patient: Patient, code: str, value: Value) -> dict[str, Any]:
    return _without_none(
        code=code,
        time=_time(patient, value.day, value.at),
        value=value.value,
        unit=value.unit,
        comparator=value.sign,
        upper_limit=patient.limit if value.limit is ... else value.limit,
        lab=value.lab,
        **_version(value),
    )


def _score(patient: Patient, code: str, value: Value) -> dict[str, Any]:
    time = _time(patient, value.day, value.at)
    return _without_none(
        code=code, time=time, score=value.value, scale_max=value.scale_max, source=value.lab, **_version(value)
    )


def _version(value: Value) -> dict[str, Any]:
    return {"id": value.id, "issued": value.issued, "status": value.status}


def _without_none(**parts: Any) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if part is not None}


def _value(recorded: Recorded) -> Value:
    return recorded if isinstance(recorded, Value) else Value(day=recorded[0], value=recorded[1])


def _time(patient: Patient, day: Day, at: str | None) -> str:
    """A date, or a date and time: `at` is a clock time in Japan unless it has its own offset."""
    if isinstance(day, int):
        day = (date.fromisoformat(patient.first_infusion) + timedelta(days=day)).isoformat()
    if at is None:
        return day
    clock, offset = at[:5], at[5:] or OFFSET
    return f"{day}T{clock}:00{'' if offset == ' without offset' else offset}"
