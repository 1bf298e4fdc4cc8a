"""The documents that charts are drawn from, for a few cohorts, without a database."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import altair
from jsonschema import Draft7Validator

from app.analyses.answer_document import Header, Provenance
from app.demo import TIMELINES
from app.demo.simulation import Design, lines
from app.pages.charts import CHARTS
from app.pages.charts.files import ChartOptions, chart_document
from app.protocol.presets import PRESETS
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from tests.api.examples import timeline

LATEST = 4 * 10**15
WIDTHS = {"narrow": 360, "wide": 760}
HOSTILE = (
    "</title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}} ${7*7} datum.value|'\"\\",
    "javascript:alert(1)//&lt;svg onload=alert(1)&gt;",
    "A term that is longer than any chart has room for, " * 3 + "in full",
    "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW",
    "מונח 用語 термин",
)
"""Texts that a sender may choose."""


def cohort_of(documents: list[dict[str, Any]]) -> Cohort:
    return Cohort.of_histories(
        [normalise(Timeline.model_validate_json(json.dumps(each)), LATEST) for each in documents]
    )


def hostile() -> list[dict[str, Any]]:
    """Every text of a patient that a chart may show is hostile."""
    people = [timeline(f"W{'W' * 50}{number}", ck=900 + 90 * number) for number in range(len(HOSTILE))]
    for person, text in zip(people, HOSTILE, strict=True):
        person["patient"]["diagnosis"] = "dermatomyositis" if text is HOSTILE[0] else "polymyositis"
        person["adverse_events"] = [{"onset": "2005-04-12", "term": text, "serious": text is HOSTILE[1]}]
    return people


def bounded(patient: str) -> dict[str, Any]:
    """A patient of whose CK only bounds are known, and a result of 0."""
    person = timeline(patient)
    for each, sign in zip(person["labs"], (">", None, "<", "<", "<", None, "<"), strict=True):
        each["comparator"] = sign
    person["labs"][5]["value"] = 0
    return person


@cache
def cohort(name: str) -> Cohort:
    if name == "empty":
        return cohort_of([])
    if name == "hostile":
        return cohort_of(hostile())
    if name == "bounded":
        return cohort_of([*(timeline(f"B{number}", ck=700 + 100 * number) for number in range(5)), bounded("B9")])
    if name == "untreated":
        return cohort_of([{"patient": {"id": "P1"}, "labs": timeline("P1")["labs"]}])
    if name in ("two", "many"):
        return cohort_of([json.loads(line) for line in lines(Design(patients=2 if name == "two" else 120))])
    return cohort_of(json.loads(TIMELINES.read_bytes()))


def scores() -> Cohort:
    """Core set measures at the visits of an improvement score."""
    codes = ("PHYSICIAN_GLOBAL", "PATIENT_GLOBAL", "MMT8", "HAQ", "EXTRAMUSCULAR")
    first = {"PHYSICIAN_GLOBAL": 7, "PATIENT_GLOBAL": 6, "HAQ": 2, "EXTRAMUSCULAR": 5, "MMT8": 100}
    days = ("2005-04-11", "2005-05-09", "2005-06-06", "2005-07-04")
    people = []
    for number in range(5):
        person = timeline(f"S{number}", ck=1000 + number)
        person["assessments"] = [
            {
                "code": code,
                "time": day,
                "score": round(first[code] + (8 if code == "MMT8" else -0.3) * (visit + number % 3), 2),
            }
            for visit, day in enumerate(days)
            for code in codes
        ]
        people.append(person)
    return cohort_of(people)


def header(name: str, preset: str) -> Header:
    protocol = PRESETS[preset]
    provenance = Provenance(
        protocol=protocol.digest,
        protocol_id=protocol.id,
        protocol_changed_after_first_outcome=False,
        data="sha256:0",
        software="s",
    )
    return Header(study=name, revision=16, as_of="2026-11-22T10:00:00Z", provenance=provenance)


@cache
def document(chart: str, name: str = "demo", **options: Any) -> Any:
    """What a chart is drawn from: the answers about a cohort, as JSON."""
    preset = "acr-eular-2016-adult" if name == "scores" else "seed-2008"
    people = scores() if name == "scores" else cohort(name)
    made = chart_document(CHARTS[chart], ChartOptions(**options), header(name, preset), people, PRESETS[preset])
    return json.loads(json.dumps(made))


@cache
def validator() -> Draft7Validator:
    """The schema of Vega-Lite that altair carries."""
    path = Path(altair.__file__).parent / "vegalite" / "v6" / "schema" / "vega-lite-schema.json"
    return Draft7Validator(json.loads(path.read_text(encoding="utf-8")))


def data_of(spec: Any) -> list[list[dict[str, Any]]]:
    """The rows of each data set of a specification, in order."""
    if isinstance(spec, list):
        return [rows for part in spec for rows in data_of(part)]
    if not isinstance(spec, dict):
        return []
    own = [spec["data"]["values"]] if "data" in spec else []
    return own + [rows for name, part in spec.items() if name != "data" for rows in data_of(part)]
