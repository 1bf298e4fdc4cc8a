"""Answers and the report as JSON documents: first the header that identifies the data, then the answer."""

import json
from functools import cache, lru_cache
from typing import Any

from pydantic import BaseModel, Field, create_model

from app import commit, libraries
from app.analyses import REPORTED, Answer, Report
from app.analyses.answer import Populations
from app.analyses.outcome_table import OutcomeTable
from app.analyses.report import FlowStep
from app.estimate.results import Result

_SHARED = {"populations"}
"""What the report says once, so that its answers leave it out."""
_LAST = ("multiplicity", "excluded", "flags", "claims", "caveats")
"""The fields that follow the results."""


class Provenance(Result):
    """What an answer was computed from, so that it can be computed again."""

    protocol: str = Field(description="Digest of the protocol.", examples=["sha256:6f29e5f4..."])
    protocol_id: str = Field(description="Name of the protocol.", examples=["seed-2008"])
    differs_from_preset: bool = Field(
        default=False,
        exclude_if=lambda differs: not differs,
        description="True where a preset of this version of the service has this name and other definitions.",
        examples=[False],
    )
    protocol_changed_after_first_outcome: bool | None = Field(
        description="Whether the protocol in force was declared after the first outcome was stored; null for data "
        "that are not stored.",
        examples=[False],
    )
    data: str = Field(
        description="Digest of the facts that were read; it does not depend on their order of arrival.",
        examples=["sha256:7f50196a..."],
    )
    software: str = Field(description="Name and version of the service.", examples=["myoresponse 0.1.0"])
    libraries: dict[str, str] = Field(
        default_factory=libraries,
        description="Versions of the packages that compute.",
        examples=[{"numpy": "2.4.6", "scipy": "1.17.1", "lifelines": "0.30.3"}],
    )
    commit: str | None = Field(
        default_factory=commit, description="Commit of the build; null where it is not known.", examples=[None]
    )


class Header(Result):
    """Which study was read, at which revision, and from what the answer was computed."""

    study: str | None = Field(description="The study; null if not stored.", examples=["demo"])
    revision: int | None = Field(description="The revision that was read.", examples=[16])
    as_of: str | None = Field(description="When it was received.", examples=["2026-11-22T10:00:00Z"])
    provenance: Provenance = Field(description="Protocol, data and software.")


@cache
def answer_model(answer_type: type[Answer]) -> type[BaseModel]:
    """The model of one answer as it is sent, for the description of the API."""
    name = f"{answer_type.__name__.removesuffix('Answer')}Answer"
    return create_model(name, __base__=(answer_type, Header), __doc__=answer_type.__doc__)


@cache
def _part_model(answer_type: type[Answer]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in answer_type.model_fields.items() if name not in _SHARED
    }
    return create_model(f"{answer_type.__name__}Part", __base__=Result, __doc__=answer_type.__doc__, **fields)


@cache
def report_model() -> type[BaseModel]:
    """The model of the report as it is sent, for the description of the API."""
    parts: dict[str, Any] = {
        question.name: (_part_model(question.answer_type), Field(description=question.title)) for question in REPORTED
    }
    analyses = create_model(
        "Analyses", __base__=Result, __doc__="The answers to the questions of the report, each under its name.", **parts
    )
    return create_model(
        "ReportDocument",
        __base__=Header,
        __doc__="The report: the answers about one study at one revision.",
        populations=(Populations, Field(description="The populations.")),
        flow=(tuple[FlowStep, ...], Field(description="From all patients to each estimate.", examples=[[]])),
        outcomes=(OutcomeTable, Field(description="Table 2 of a paper: the outcomes of the answers.")),
        analyses=(analyses, Field(description="The answers by name.")),
    )


def answer_json(header: Header, answer: Answer, **more: Result) -> bytes:
    """One answer as JSON; `more` are further parts between the header and the answer."""
    return _json(answer_values(header, answer, **more))


def answer_values(header: Header, answer: Answer, **more: Result) -> dict[str, Any]:
    """The same as JSON values."""
    body = _ordered(answer)
    parts = {name: part.model_dump(mode="json") for name, part in more.items()}
    return {"analysis": body.pop("analysis"), **header.model_dump(mode="json"), **parts, **body}


def report_document(header: Header, report: Report) -> bytes:
    """The report as JSON."""
    return _json(
        {
            **header.model_dump(mode="json"),
            "populations": report.populations.model_dump(mode="json"),
            "flow": [step.model_dump(mode="json") for step in report.flow],
            "outcomes": report.outcomes.model_dump(mode="json"),
            "analyses": {name: _ordered(answer, _SHARED) for name, answer in report.answers.items()},
        }
    )


def _ordered(answer: Answer, without: set[str] | None = None) -> dict[str, Any]:
    """The answer as JSON values, the results before `excluded`, `flags`, `claims` and `caveats`."""
    body = answer.model_dump(mode="json", exclude=without)
    return body | {name: body.pop(name) for name in _LAST}


def _json(document: dict[str, Any]) -> bytes:
    return (_indented(document, "\n") + "\n").encode()


def _indented(value: object, line: str) -> str:
    """The JSON value as `json.dumps` writes it with `indent=2`, in half of the time: its C code, which does not indent,
    writes every part that has no parts of its own. `line` is the end of a line and the indent of the value.
    """
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not parts:
        return _on_one_line(value)
    inner = f"{line}  "
    if _NESTING.isdisjoint(map(type, filter(None, parts))):
        rows = _encoder(inner).encode(value)[1:-1]
    else:
        written = [_indented(part, inner) for part in parts]
        if isinstance(value, dict):
            written = [f"{_on_one_line(name)}: {part}" for name, part in zip(value, written, strict=True)]
        rows = f",{inner}".join(written)
    return f"{{{inner}{rows}{line}}}" if isinstance(value, dict) else f"[{inner}{rows}{line}]"


_NESTING = {dict, list}


@lru_cache(64)
def _encoder(line: str) -> json.JSONEncoder:
    """Puts the end of a line after every comma."""
    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(f",{line}", ": "))


_on_one_line = _encoder("").encode
