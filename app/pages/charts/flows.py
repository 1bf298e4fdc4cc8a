"""From all patients to the patients of each estimate, with those left out at each step and why."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.pages.charts.chart import FLOW, Chart, Document, Drawing, Nothing
from app.pages.charts.figures import in_words, why
from app.pages.charts.theme import BLUE, INK, MUTED, PADDING, PIXELS, Spec, Width, letters_in, wrapped

_NAMES = {
    "all": "All patients of the study",
    "safety": "Treated: at least one infusion",
    "efficacy": "At least one value after day 0",
    "ck_change": "Change of CK before and after",
    "ck_normal_time": "Time with normal CK",
    "time_to_first_normal": "Time to the first normal CK",
}
_LINE, _INSIDE, _BETWEEN = 15, 8, 14
Row = dict[str, Any]


def _flow(document: Document, width: Width) -> Drawing | Nothing:
    steps = [step for step in document.get(FLOW, ()) if step.get("group") is None]
    if not steps or not steps[0]["n"]:
        return Nothing(
            "This study has no patients yet.", "Send the first timeline; every patient is counted from then on."
        )
    boxes = _boxes(steps, width)
    height = max(box["bottom"] for box in boxes)
    across = {"scale": {"domain": [0, _room(width)]}, "axis": None}
    down = {"scale": {"domain": [height, 0]}, "axis": None}
    views = {
        "width": _room(width),
        "height": height,
        "layer": [*_drawn(boxes, across, down)],
    }
    return Drawing(
        views,
        [f"n = {steps[0]['n']}. Boxes: who remains. Beside them: who was left out, and why"],
        " ".join(map(_spoken, steps)),
    )


def _room(width: Width) -> int:
    return PIXELS[width] - 2 * PADDING - 2


def _spoken(step: Mapping[str, Any]) -> str:
    if step["of"] is None:
        return f"{_name(step)}: {step['n']}."
    left = [f"{each['count']} left out: {_because(each)}" for each in step["reasons"]]
    return f"{_name(step)}: {step['n']}{'; ' + '; '.join(left) if left else ', nobody left out'}."


def _because(reason: Mapping[str, Any]) -> str:
    return why(reason["reason"]).rstrip(".")


def _name(step: Mapping[str, Any]) -> str:
    kind, _, measure = step["step"].partition(":")
    return f"Response: {measure}" if measure else _NAMES.get(kind, in_words(kind))


def _boxes(steps: Sequence[Mapping[str, Any]], width: Width) -> list[Row]:
    """Where each step is drawn: steps below each other, those of an estimate a little to the right."""
    total = _room(width)
    room = 176 if width == "narrow" else 300
    boxes, top = [], 0
    for step in steps:
        left = 0 if step["of"] is None or step["step"] in ("safety", "efficacy") else (12 if width == "narrow" else 28)
        reasons = [f"{each['count']}: {_because(each)}" for each in step["reasons"]]
        beside = [line for text in reasons for line in wrapped(text, letters_in(total - left - room - 26))]
        inside = [*wrapped(_name(step), letters_in(room - 2 * _INSIDE)), f"n = {step['n']}"]
        needed = _LINE * max(len(inside), len(beside)) + 2 * _INSIDE
        boxes.append(
            {
                "left": left,
                "right": left + room,
                "top": top,
                "bottom": top + needed,
                "inside": inside,
                "beside": beside,
                "of": step["of"],
                "step": step["step"],
            }
        )
        top += needed + _BETWEEN
    return boxes


def _drawn(boxes: list[Row], across: Spec, down: Spec) -> Iterator[Spec]:
    def at(x: str, y: str, **more: Any) -> Spec:  # noqa: ANN401 - any part of a specification
        return {
            "x": {"field": x, "type": "quantitative", **across},
            "y": {"field": y, "type": "quantitative", **down},
            **more,
        }

    yield {
        "data": {"values": [*_connections(boxes)]},
        "mark": {"type": "rule", "color": MUTED},
        "encoding": at("left", "top", x2={"field": "right"}, y2={"field": "bottom"}),
    }
    edges = [{name: box[name] for name in ("left", "right", "top", "bottom", "step")} for box in boxes]
    yield {
        "data": {"values": edges},
        "mark": {"type": "rect", "fill": "#ffffff", "stroke": BLUE, "strokeWidth": 1, "cornerRadius": 3},
        "encoding": at("left", "top", x2={"field": "right"}, y2={"field": "bottom"}),
    }
    for part, colour, shift in (("inside", INK, _INSIDE), ("beside", MUTED, 0)):
        texts = [
            {"left": (box["left"] + shift) if part == "inside" else box["right"] + 18,
             "top": box["top"] + _INSIDE + _LINE * (place + 0.5), "text": line}
            for box in boxes
            for place, line in enumerate(box[part])
        ]  # fmt: skip
        yield {
            "data": {"values": texts},
            "mark": {"type": "text", "align": "left", "baseline": "middle", "color": colour},
            "encoding": at("left", "top", text={"field": "text", "type": "nominal"}),
        }


def _connections(boxes: Sequence[Row]) -> Iterator[Row]:
    """A line from each step to the one it is taken from, and to those who were left out."""
    by_step = {box["step"]: box for box in boxes}
    for box in boxes:
        middle = (box["top"] + box["bottom"]) / 2
        if box["beside"]:
            yield {"left": box["right"], "right": box["right"] + 12, "top": middle, "bottom": middle}
        above = by_step.get(box["of"])
        if above is None:
            continue
        x = above["left"] + (16 if box["left"] == above["left"] else 6)
        yield {"left": x, "right": x, "top": above["bottom"], "bottom": middle}
        if box["left"] > x:
            yield {"left": x, "right": box["left"], "top": middle, "bottom": middle}


CHARTS = (Chart(FLOW, "Who is in each estimate", (), _flow),)
