"""A chart: what it is called, the questions whose answers it is drawn from, and the drawing.

A chart is drawn from the JSON document of an answer alone: from one answer, or from a report whose `analyses` holds the
answers by name. It shows what stands there and computes nothing. So one function serves the API, a page and the printed
report.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.pages.charts.figures import patients
from app.pages.charts.theme import CONFIG, INK, MUTED, PADDING, PIXELS, SCHEMA, Spec, Width, lines_of

Document = Mapping[str, Any]
"""The parsed JSON of an answer, or of a report."""
FLOW, TRAJECTORIES = "flow", "trajectories"
"""The parts of a document that no question of its own answers: who remains at each step, and the values of patients."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a chart shows: the views of a specification, what stands below the title, and the same in words."""

    views: Spec
    below_title: Sequence[str]
    words: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """Why there is nothing to draw, and what to do next."""

    why: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart. `shows_patients`: it always shows single patients, for whom its answers are asked too. `takes` are
    its own parameters beside those of all charts. `without_effect`: its answers also say what nothing would give.
    """

    name: str
    title: str
    questions: tuple[str, ...]
    picture: Callable[[Document, Width], Drawing | Nothing]
    shows_patients: bool = False
    without_effect: bool = False
    takes: frozenset[str] = frozenset()

    def draw(self, document: Document, width: Width) -> Spec:
        """The specification of Vega-Lite. `description` is the alternative text."""
        shown = self.picture(document, width)
        if isinstance(shown, Nothing):
            shown = _in_words(shown, width)
        below = [line for text in (source(document), *shown.below_title) for line in lines_of(text, width)]
        return {
            "$schema": SCHEMA,
            "description": self._sentence(document, shown.words),
            "title": {"text": lines_of(self.title, width, 14), "subtitle": below},
            "usermeta": {"chart": self.name, "width": PIXELS[width]},
            "padding": PADDING,
            "config": CONFIG,
            **shown.views,
        }

    def alternative(self, document: Document) -> str:
        """What the chart says, for those who do not see it."""
        shown = self.picture(document, "wide")
        return self._sentence(document, f"{shown.why} {shown.next_step}" if isinstance(shown, Nothing) else shown.words)

    def _sentence(self, document: Document, words: str) -> str:
        return f"{self.title}. {source(document)}. {words}"


def answer_in(document: Document, question: str) -> Document:
    """The answer to a question: the document itself, or a part of a report. An answer that is absent is empty."""
    if document.get("analysis") == question:
        return document
    found: Document = document.get("analyses", {}).get(question, {})
    return found


def source(document: Document) -> str:
    """The study, how many patients it has, and the revision."""
    of = "Data that are not stored" if document.get("study") is None else f"Study {document['study']}"
    revision = "" if document.get("revision") is None else f", revision {document['revision']}"
    return f"{of}, {patients(document['populations']['all'])}{revision}"


def _in_words(nothing: Nothing, width: Width) -> Drawing:
    """A chart that has nothing to draw says so."""
    rows = [
        *({"text": line, "colour": INK} for line in lines_of(nothing.why, width, 13)),
        *({"text": line, "colour": MUTED} for line in lines_of(nothing.next_step, width, 13)),
    ]
    views = {
        "width": PIXELS[width] - 2 * PADDING,
        "height": 19 * len(rows),
        "data": {"values": [{"line": place, **row} for place, row in enumerate(rows)]},
        "mark": {"type": "text", "align": "left", "x": 0, "fontSize": 12},
        "encoding": {
            "y": {"field": "line", "type": "ordinal", "axis": None},
            "text": {"field": "text", "type": "nominal"},
            "color": {"field": "colour", "type": "nominal", "scale": None},
        },
    }
    return Drawing(views, (), f"{nothing.why} {nothing.next_step}")
