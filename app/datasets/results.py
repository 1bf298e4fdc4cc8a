"""`ard`: the answers of the whole report as rows, one row for each statistic.

The form is that of the analysis results datasets (ARD) of the CDISC Analysis Results Standard and of the R package
`cards`: what the statistic is about, how it was computed, its name and its value. This module reads the models of the
answers field by field, so that a new question gets its rows without a change here. In a model a number is a statistic
and a text says what it is about; the exceptions are below.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic.fields import FieldInfo

from app.analyses import Answer, Report
from app.analyses.answer import Contribution, Definition
from app.analyses.answer_document import Header
from app.analyses.weekly_change import Onset
from app.datasets.variables import Column, Dataset, DatasetDescription, ours
from app.estimate.results import CurvePoint, Omitting, Result, twelve_digits

_ABOUT = frozenset({"week", "time", "until", "alpha"})
"""Numbers that say what a statistic is about."""
_FOR_DRAWING = frozenset({"censorings"})
"""Fields that a curve is drawn with; what they say is in its counts."""
_RESULTS = frozenset({(Onset, "week")})
"""Fields with a name of `_ABOUT` that are statistics."""
_SHARED = frozenset(
    {"analysis", "populations", "by", "level", "conventions", "definitions", "multiplicity", "claims",
     "caveats", "table"}
)  # fmt: skip
"""Fields of an answer that hold no statistic."""

DESCRIPTION = DatasetDescription(
    name="ard",
    label="Analysis Results Dataset",
    structure="One row for each statistic of the whole report.",
    standard="Analysis results data (ARD) as in the CDISC Analysis Results Standard; names as in the R package cards",
    key=(
        "analysis", "part", "group1", "group1_level", "variable", "definition", "parameters", "context", "method",
        "level", "stat_name",
    ),
    variables=(
        ours("row", "Number of the Row", "integer", "Place of the row.", "1, 2, 3, ... in the order of the report."),
        ours("analysis", "Analysis", "text", "The question of the report.",
             "Name of the analysis as in its address; `populations` and `flow` for what the report says once."),
        ours("part", "Part of the Answer", "text", "Which list of the answer.",
             "`results` for estimates, `excluded` and `flags` for counts of what was left out and noticed."),
        ours("group1", "Grouping Variable", "text", "What subgroups were formed by.", "Empty for the whole study."),
        ours("group1_level", "Level of the Grouping Variable", "text", "The subgroup.",
             "Empty for the whole study, and for those who have no value.", transport="GROUP1LV"),
        ours("variable", "Variable", "text", "The measure or other variable that is described.",
             "`measure` or `variable` of the answer."),
        ours("definition", "Definitions", "text", "The definitions that the row rests on.",
             "Their identifiers separated by spaces, a rule of its own first.", transport="DEFINITN"),
        ours("parameters", "Parameters of the Rule", "text", "The parameters of a rule of its own, as JSON.",
             "Empty where the row has none; those of shared definitions are in the protocol.", transport="PARAMS"),
        ours("context", "Context", "text", "What else tells the row from others, as a JSON object.",
             "Fields of the answer that say what a statistic is about: week, scale, time, term and others."),
        ours("method", "Method", "text", "How the statistic was computed.", "`method` of the test or interval."),
        ours("level", "Confidence Level", "number", "Two-sided confidence level.", "Of the interval, else empty."),
        ours("stat_name", "Name of the Statistic", "text", "Which number of the answer this is.",
             "The fields that lead to it, joined by dots.", transport="STATNAME"),
        ours("stat_label", "Label of the Statistic", "text", "What it means.", "The description of the field.",
             transport="STATLABL"),
        ours("stat", "Value", "number", "The number.", "Twelve significant digits, as in the JSON answer."),
        ours("stat_text", "Value as Text", "text", "The value where it is yes or no.", "`true` or `false`.",
             transport="STATTEXT"),
        ours("reason", "Reason", "text", "Why the value is missing.", "A reason of the answer; empty where none is."),
        ours("study", "Study", "text", "The study.", "As in the answer."),
        ours("revision", "Revision", "integer", "The revision that was read.", "As in the answer."),
        ours("as_of", "Received at", "text", "When that revision was received.", "As in the answer."),
        ours("protocol_id", "Protocol", "text", "Name of the protocol.", "As in the answer.", transport="PROTID"),
        ours("protocol", "Digest of the Protocol", "text", "The protocol.", "As in the answer."),
        ours("data", "Digest of the Data", "text", "The facts that were read.", "As in the answer."),
        ours("software", "Software", "text", "Name and version of the service.", "As in the answer."),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Place:
    """What a statistic is about, collected from the models that contain it."""

    analysis: str
    part: str
    definitions: tuple[str, ...] = ()
    group: tuple[str, str | None] | None = None
    variable: str | None = None
    parameters: str | None = None
    context: tuple[tuple[str, Any], ...] = ()
    method: str | None = None
    level: float | None = None
    reason: str | None = None
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Statistic:
    place: _Place
    name: str
    label: str
    value: float | bool | None


def ard(header: Header, report: Report) -> Dataset:
    """The dataset of a whole report, in the order of the report."""
    rows = list(_report_statistics(report))
    size = len(rows)
    provenance = header.provenance
    columns: dict[str, Column] = {
        "row": list(range(1, size + 1)),
        "analysis": [row.place.analysis for row in rows],
        "part": [row.place.part for row in rows],
        "group1": [row.place.group[0] if row.place.group else None for row in rows],
        "group1_level": [row.place.group[1] if row.place.group else None for row in rows],
        "variable": [row.place.variable for row in rows],
        "definition": [" ".join(row.place.definitions) or None for row in rows],
        "parameters": [row.place.parameters for row in rows],
        "context": [_json(dict(row.place.context)) if row.place.context else None for row in rows],
        "method": [row.place.method for row in rows],
        "level": [row.place.level for row in rows],
        "stat_name": [row.name for row in rows],
        "stat_label": [row.label for row in rows],
        "stat": [None if isinstance(row.value, bool | None) else twelve_digits(row.value) for row in rows],
        "stat_text": [str(row.value).lower() if isinstance(row.value, bool) else None for row in rows],
        "reason": [row.place.reason if row.value is None else None for row in rows],
        "study": [header.study] * size,
        "revision": [header.revision] * size,
        "as_of": [header.as_of] * size,
        "protocol_id": [provenance.protocol_id] * size,
        "protocol": [provenance.protocol] * size,
        "data": [provenance.data] * size,
        "software": [provenance.software] * size,
    }
    return Dataset.of(DESCRIPTION, columns)


def _report_statistics(report: Report) -> Iterator[_Statistic]:
    yield from _model_statistics(report.populations, _Place("populations", "populations"))
    for step in report.flow:
        yield from _model_statistics(step, _Place("flow", "flow"))
    for answer in report.answers.values():
        yield from _answer_statistics(answer)


def _answer_statistics(answer: Answer) -> Iterator[_Statistic]:
    definitions = tuple(definition.id for definition in answer.definitions)
    for name in type(answer).model_fields:
        if name not in _SHARED:
            for item in _results(getattr(answer, name)):
                yield from _model_statistics(item, _Place(answer.analysis, name, definitions))


def _model_statistics(item: Result, place: _Place) -> Iterator[_Statistic]:
    """The statistics of a model and of the models inside it, in the order of their fields.

    The row with which a curve begins holds none: an event at time 0 has a row of its own.
    """
    if isinstance(item, CurvePoint) and not item.events:
        return
    fields = type(item).model_fields
    for name, field in fields.items():
        place = _about(place, item, name, field)
    for name, field in fields.items():
        value = getattr(item, name)
        if field.exclude_if is not None and field.exclude_if(value):
            continue
        if value is None and isinstance(item, Omitting) and item.omits(name):
            continue
        if _is_statistic(item, name, field):
            if value is not None or place.reason is not None:
                label = (field.description or name).rstrip(".")
                yield _Statistic(place, ".".join((*place.path, name)), label, value)
        elif not isinstance(value, Definition) and name not in _FOR_DRAWING:
            for inner in _results(value):
                yield from _model_statistics(inner, replace(place, path=(*place.path, name)))


def _about(place: _Place, item: Result, name: str, field: FieldInfo) -> _Place:
    """The place with what one field says about it."""
    value = getattr(item, name)
    changes: dict[str, Any] = {}
    if isinstance(value, Definition):
        changes = {"definitions": (value.id, *place.definitions), "parameters": _json(value.parameters)}
    elif value is None or value == () or _results(value) or _is_statistic(item, name, field):
        pass
    elif name == "group":
        changes = {"group": next(iter(value.items()))}
    elif name in {"measure", "variable"} and place.variable is None:
        changes = {"variable": value}
    elif name in {"method", "level"} or (name == "reason" and type(None) in get_args(field.annotation)):
        changes = {name: value}
    else:
        changes = {"context": (*place.context, (".".join((*place.path, name)), value))}
    return replace(place, **changes)


def _results(value: object) -> tuple[Result, ...]:
    """The models that a field holds, but not the lists of patients."""
    if isinstance(value, Contribution):
        return ()
    if isinstance(value, Result):
        return (value,)
    return tuple(model for item in value for model in _results(item)) if isinstance(value, tuple) else ()


def _is_statistic(item: Result, name: str, field: FieldInfo) -> bool:
    if name in {"level", "primary"} or (name in _ABOUT and (type(item), name) not in _RESULTS):
        return False
    return bool({int, float, bool} & set(_types(field.annotation)))


def _types(annotation: Any) -> Iterator[Any]:  # noqa: ANN401 - an annotation
    """The types of a field; of a list or a mapping without the types of its items."""
    origin = getattr(annotation, "__origin__", None)
    if origin in {tuple, dict, list}:
        yield origin
    elif parts := get_args(annotation):
        for part in parts:
            yield from _types(part)
    else:
        yield annotation


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
