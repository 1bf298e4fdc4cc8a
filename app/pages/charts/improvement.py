"""The improvement score by visit: its median, its quartiles, and the levels of the protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.pages.charts.chart import Chart, Document, Drawing, Nothing, answer_in
from app.pages.charts.figures import number, percent
from app.pages.charts.theme import BLUE, MUTED, Spec, Width, pixels_of, plot_width, quantity

IMPROVEMENT_SCORE = "improvement-score"


def _improvement(document: Document, width: Width) -> Drawing | Nothing:
    answer = answer_in(document, IMPROVEMENT_SCORE)
    rows = [row for row in answer.get("results", ()) if row["score"]["median"] is not None]
    if not rows:
        if answer.get("reason") == "not_declared":
            return Nothing(
                "The protocol of this study declares no improvement score.",
                "Choose a protocol that declares one, such as the preset acr-eular-2016-adult.",
            )
        return Nothing(
            "No patient of this study has a complete improvement score yet.",
            "Send the six core set measures at baseline and at the visits of the protocol.",
        )
    levels = [{"level": each["level"], "score": each["threshold"]} for each in rows[0]["levels"]]
    right = 10 + max((pixels_of(each["level"]) for each in levels), default=0)
    views = {"width": plot_width(width, 40, right), "height": 260, "layer": _layers(rows, levels)}
    below = [
        f"n = {max(row['evaluable'] for row in rows)} with a complete visit, at most (n below each week)",
        "Points: median; bars: quartiles; dashed: the levels of the protocol",
    ]
    return Drawing(views, below, " ".join(map(_spoken, rows)))


def _spoken(row: Mapping[str, Any]) -> str:
    score = row["score"]
    quartiles = f"quartiles {number(score['q1'])} to {number(score['q3'])}"
    shares = [f"{percent(each['rate'])} at least {each['level']}" for each in row["levels"] if each["rate"] is not None]
    return f"Week {row['week']}, n = {score['n']}: median {number(score['median'])}, {quartiles}; {', '.join(shares)}."


def _layers(rows: Sequence[Mapping[str, Any]], levels: list[dict[str, Any]]) -> list[Spec]:
    points = [
        {
            "week": row["week"],
            "n": row["score"]["n"],
            "score": row["score"]["median"],
            "low": row["score"]["q1"],
            "high": row["score"]["q3"],
            "label": f"{row['week']}|n {row['score']['n']}",
        }
        for row in rows
    ]
    week = {
        "field": "label", "type": "ordinal", "title": "Weeks after the first infusion",
        "sort": [point["label"] for point in points],
        "axis": {"labelAngle": 0, "labelExpr": "split(datum.label, '|')"},
    }  # fmt: skip
    score = quantity("score", "Total improvement score (0 to 100)", scale={"domain": [0, 100]}, axis={"tickCount": 5})
    dashed = {"type": "rule", "strokeDash": [4, 3], "color": MUTED}
    return [
        {"data": {"values": levels}, "mark": dashed, "encoding": {"y": score}},
        {
            "data": {"values": levels},
            "mark": {"type": "text", "align": "left", "dx": 5, "color": MUTED},
            "encoding": {"x": {"value": "width"}, "y": score, "text": {"field": "level", "type": "nominal"}},
        },
        {
            "data": {"values": points},
            "mark": {"type": "rule", "strokeWidth": 2, "color": BLUE},
            "encoding": {"x": week, "y": {**score, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "data": {"values": points},
            "mark": {"type": "line", "color": BLUE, "strokeWidth": 1, "point": {"size": 70, "color": BLUE}},
            "encoding": {"x": week, "y": score},
        },
    ]


CHARTS = (Chart(IMPROVEMENT_SCORE, "Improvement score by visit", (IMPROVEMENT_SCORE,), _improvement),)
