"""Adverse events by term."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.pages.charts.chart import Chart, Document, Drawing, Nothing, answer_in
from app.pages.charts.figures import counted, distinct, listed, patients
from app.pages.charts.scales import whole_ticks
from app.pages.charts.theme import (
    BLUE,
    INK,
    VERMILLION,
    Spec,
    Width,
    pixels_of,
    plot_width,
    quantity,
    shortened,
    wrapped,
)

SAFETY = "safety"
MOST_TERMS = 20
_ROW, _TALL_ROW = 22, 34
_SPARE = 14
"""Room beside a name: one of a few wide letters needs more than is estimated."""


def _adverse_events(document: Document, width: Width) -> Drawing | Nothing:
    rows = answer_in(document, SAFETY).get("results", ())
    if not rows or not rows[0]["safety"]:
        return Nothing(
            "Nobody in this study has been treated yet.", "Send infusions, and adverse events as they occur."
        )
    row = rows[0]
    terms = row["by_term"]
    if not terms:
        return Nothing(
            f"No adverse event has been reported in {patients(row['safety'])} who were treated.",
            "That none was sent is no sign that there was none: send adverse events as they occur.",
        )
    shown, left_out = terms[:MOST_TERMS], terms[MOST_TERMS:]
    names = distinct("\n".join(_lines(term["term"], width)) for term in shown)
    points = [_term(term, name) for term, name in zip(shown, names, strict=True)]
    left = max(pixels_of(line) for name in names for line in name.split("\n"))
    views = _bars(points, left, plot_width(width, _SPARE + left, 14 + _room(points)))
    serious = row["patients_with_serious_event"]
    below = [
        f"n = {row['safety']} treated: {row['patients_with_event']} with an event, {serious} with a serious one",
        f"Bars: patients with the event{' (red: with a serious one)' if serious else ''}; beside them the events",
        *([f"{counted(len(left_out), 'further term')} with fewer patients not drawn"] if left_out else ()),
    ]
    words = (
        f"Of {patients(row['safety'])} who were treated, {row['patients_with_event']} had an adverse event, {serious} "
        f"a serious one. By term: {listed(_spoken(term) for term in shown)}."
    )
    return Drawing(views, below, words)


def _term(term: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        "name": name,
        "patients": term["patients"],
        "serious": term["patients_with_serious_event"],
        "figures": f"{term['patients']} ({counted(term['events'], 'event')})",
    }


def _lines(term: str, width: Width) -> list[str]:
    """A term in at most two lines."""
    letters = 18 if width == "narrow" else 36
    first, *rest = wrapped(term, letters)
    return [first, shortened(" ".join(rest), letters)] if rest else [first]


def _spoken(term: Mapping[str, Any]) -> str:
    serious = term["patients_with_serious_event"]
    more = f", {serious} with a serious event" if serious else ""
    return f"{term['term']} {patients(term['patients'])}{more}"


def _room(points: Sequence[Mapping[str, Any]]) -> int:
    return max(pixels_of(point["figures"]) for point in points)


def _bars(points: list[dict[str, Any]], left: int, size: int) -> Spec:
    names = [point["name"] for point in points]
    most = max(point["patients"] for point in points)
    place = {
        "field": "name",
        "type": "nominal",
        "sort": names,
        "title": None,
        "axis": {"labelLimit": left + _SPARE, "labelExpr": "split(datum.label, '\\n')"},
    }
    count = quantity(
        "patients", "Patients", scale={"domain": [0, most], "nice": False},
        axis={"format": "d", "values": whole_ticks(most)},
    )  # fmt: skip
    return {
        "width": size,
        "height": (_TALL_ROW if any("\n" in name for name in names) else _ROW) * len(points),
        "data": {"values": points},
        "layer": [
            {"mark": {"type": "bar", "color": BLUE, "height": 14}, "encoding": {"x": count, "y": place}},
            {
                "mark": {"type": "bar", "color": VERMILLION, "height": 14},
                "encoding": {"x": {**count, "field": "serious"}, "y": place},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 6, "color": INK},
                "encoding": {"x": count, "y": place, "text": {"field": "figures", "type": "nominal"}},
            },
        ],
    }


CHARTS = (Chart("adverse-events", "Adverse events by term", (SAFETY,), _adverse_events),)
