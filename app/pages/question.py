"""The page of one question: its claims, its conventions as controls, its chart, its results as tables, who was left
out, and how to cite it.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel

from app.analyses import QUESTIONS, SCRIPTED
from app.analyses.answer_document import answer_model
from app.analyses.comparison.study_comparison import BetweenStudies, StudyComparison
from app.http.representations import Asked, origin_of
from app.pages.controls import PAGE_ONLY, FormControl, controls, elsewhere, given
from app.pages.definitions import in_words
from app.pages.page import PINNED, Names, Page, PageReading, Refused
from app.pages.pictures import OF_QUESTION, pictures
from app.pages.questions import ABOUT
from app.pages.tables import tables_of

_PASSED_ON = frozenset({*PINNED, "other_revision", "code"})
"""Parameters that are no controls."""


async def _question(reading: PageReading, names: Names) -> dict[str, Any]:
    name = names["name"]
    if name not in QUESTIONS:
        raise Refused(await reading.document(reading.asked.path, given(reading.asked.query)))
    asked = QUESTIONS[name]
    shown = await _answered(reading, asked.options_type, answer_model(asked.answer_type))
    if shown.get("answer"):
        options = [pair for pair in given(reading.asked.query) if pair[0] not in _PASSED_ON]
        shown["pictures"] = await pictures(
            reading, names["study"], OF_QUESTION.get(name, ()), shown["answer"]["revision"], options
        )
    judged = bool((shown.get("answer") or {}).get("results"))  # the protocol may not declare what is asked for
    others = {option for option, _ in given(reading.asked.query)} - _PASSED_ON
    scripted = judged and name in SCRIPTED and others <= SCRIPTED[name] <= others | {"level"}
    return {"title": asked.title, "about": ABOUT[name], "scripted": scripted} | shown


async def _comparison(reading: PageReading, names: Names) -> dict[str, Any]:
    shown = await _answered(reading, BetweenStudies, answer_model(StudyComparison))
    about = f"The study {names['study']} with the study {names['other']}. The protocol of the first is used for both."
    return {"title": "Do two studies respond differently?", "about": about, "scripted": False} | shown


async def _answered(reading: PageReading, options: type[BaseModel], model: type[BaseModel]) -> dict[str, Any]:
    """The answer to what the controls say; where one of them is refused, only the controls, with what is wrong."""
    asked = reading.asked
    query = given(asked.query)
    found = await reading.document(asked.path, query)
    if not found.is_json:
        return {"file": found}
    problem = found.json() if found.status == 422 else None
    if found.status >= 400 and problem is None:
        raise Refused(found)
    made = controls(options, query, problem)
    names = [each.name for each in made]
    shown: dict[str, Any] = {
        "controls": made,
        "options": [pair for pair in query if pair[0] in names],
        "kept": [pair for pair in query if pair[0] in _PASSED_ON and pair[0] != "code"],
        "refused": elsewhere(problem, names),
        "changed": _changed(made),
        "pictures": [],
        "answer": None,
        "tables": [],
    }
    if problem is not None:
        return shown | {"status": 422}
    answer = in_words(found.json())
    whole = ("show", "all") in asked.query
    return shown | {
        "answer": answer,
        "tables": tables_of(answer, model, whole=whole),
        "whole": whole,
        "needs_groups": _needs_groups(answer),
        "address": address(asked, query, answer["revision"]),
    }


def _needs_groups(answer: Mapping[str, Any]) -> bool:
    """Whether the question compares groups, and none were asked for."""
    return "no_groups" in {answer.get("reason"), *(row.get("reason") for row in answer["results"])}


def _changed(made: Sequence[FormControl]) -> bool:
    return any(each.changed or each.refused for each in made)


def address(asked: Asked, query: Sequence[tuple[str, str]], revision: int | None) -> str:
    """The address that shows this page again, whatever is stored later."""
    kept = [pair for pair in query if pair[0] not in {*PINNED, *PAGE_ONLY}]
    pinned = [] if revision is None else [("revision", str(revision))]
    return f"{origin_of(asked.scope)}{asked.path}.html?{urlencode([*kept, *pinned])}"


PAGES = (
    Page("/v1/studies/{study}/analyses/{name}", "question.html", _question),
    Page("/v1/studies/{study}/comparisons/{other}", "question.html", _comparison),
)
