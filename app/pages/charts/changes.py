"""How values changed: from week to week with intervals, and of each patient before and after treatment."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.pages.charts.chart import Chart, Document, Drawing, Nothing, answer_in
from app.pages.charts.figures import evenly, interval_of, level_of, limits, listed, n_of, number, why
from app.pages.charts.scales import decade_part, log_ticks, within
from app.pages.charts.theme import BLUE, INK, MUTED, SKY, VERMILLION, Spec, Width, plot_width, quantity

WEEKLY_CHANGE, CK_CHANGE = "weekly-change", "ck-change"
_ONSETS = frozenset({"onset", "onset_of_worsening", "onset_of_change"})
_LEFT, _GAP = 44, 26
MOST_LINES = 60
_SIDES = ("before", "after")
_MORE_VALUES = "Send values of treated patients before and after their first infusion."
Row = dict[str, Any]


def _weekly_change(document: Document, width: Width) -> Drawing | Nothing:
    answer = answer_in(document, WEEKLY_CHANGE)
    panels = _panels(answer.get("results", ()))
    if not panels:
        return Nothing("No measure of this study has a change from baseline to a week of the protocol.", _MORE_VALUES)
    claims = [claim for claim in answer["claims"] if claim["code"] in _ONSETS and claim["supported"]]
    columns = 1 if width == "narrow" else min(3 if len(panels) != 4 else 2, len(panels))
    size = {"width": (plot_width(width, columns * _LEFT, 4) - (columns - 1) * _GAP) // columns, "height": 170}
    weeks = sorted({row["week"] for rows in panels.values() for row in rows})
    level = level_of(answer)
    views = {
        "concat": [
            {**size, **_panel(measure, rows, weeks, _onset(answer, claims, rows[0]))}
            for measure, rows in panels.items()
        ],
        "columns": columns,
        "spacing": {"row": 26, "column": _GAP},
    }
    n = n_of(row["n"] for rows in panels.values() for row in rows)
    below = [f"{n} with both values; means with {level} intervals", *_about_onsets(claims), *_about_far_ends(panels)]
    below += _about_absent(answer["results"], panels)
    return Drawing(views, below, " ".join(_weekly_words(panels, claims)))


def _about_onsets(claims: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return ("Dashed line: the week from which on every week differs significantly from baseline",) if claims else ()


def _about_far_ends(panels: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[str, ...]:
    """Said where an interval of CK is so wide that the means would be lost in the whole of it."""
    for rows in panels.values():
        if rows[0]["scale"] == "ln":
            points = [_point(row, is_ratio=True) for row in rows]
            ends = [point[name] for point in points for name in ("low", "high") if point[name] is not None]
            if within(_around(points), ends) != [*_around(points), *ends]:
                return ("A line that leaves the picture goes on: its interval is wider than the axis",)
    return ()


def _around(points: Sequence[Row]) -> list[float]:
    """The means, and 1, where nothing has changed."""
    return [1.0, *(point["change"] for point in points)]


def _about_absent(
    results: Sequence[Mapping[str, Any]], panels: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[str]:
    """The weeks of a measure that have no mean, and why."""
    for measure, rows in panels.items():
        absent = [
            row
            for row in results
            if (row["measure"], row["scale"]) == (measure, rows[0]["scale"]) and row["mean"] is None
        ]
        if absent:
            weeks = listed(str(row["week"]) for row in absent)
            yield f"{measure} at week {weeks} has no mean: {why(absent[0]['reason'])}"


def _panels(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each measure that have a mean; of CK those on the scale of logarithms."""
    panels: dict[str, list[Mapping[str, Any]]] = {}
    logarithmic = {row["measure"] for row in results if row["scale"] == "ln"}
    for row in results:
        if row["mean"] is not None and row["scale"] == ("ln" if row["measure"] in logarithmic else "raw"):
            panels.setdefault(row["measure"], []).append(row)
    return panels


def _onset(answer: Document, claims: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The claim of an onset for the measure and scale of a row, where its rule allows it."""
    weeks = {
        each["week"]
        for each in answer["onset"]
        if (each["measure"], each["scale"]) == (row["measure"], row["scale"]) and each["week"] is not None
    }
    found = (each for each in claims if each["measure"] == row["measure"] and each["week"] in weeks)
    return next(found, None)


def _panel(
    measure: str, rows: Sequence[Mapping[str, Any]], weeks: Sequence[int], onset: Mapping[str, Any] | None
) -> Spec:
    is_ratio = rows[0]["scale"] == "ln"
    same = 1.0 if is_ratio else 0.0
    points = [_point(row, is_ratio=is_ratio) for row in rows]
    below = {"0": ""} | {str(point["week"]): f"n {point['n']}" for point in points}
    axis = {
        "field": "week", "type": "ordinal", "title": "Weeks after the first infusion",
        "scale": {"domain": [0, *weeks]},
        "axis": {"labelAngle": 0, "grid": False, "labelExpr": f"[datum.label, {json.dumps(below)}[datum.label] || '']"},
    }  # fmt: skip
    ends = [point[name] for point in points for name in ("low", "high") if point[name] is not None]
    shown = within(_around(points), ends) if is_ratio else [same, *ends]
    title = f"{measure} as a multiple of baseline" if is_ratio else f"Change of {measure} (points)"
    values = quantity(
        "change", title,
        scale={"type": "log", "domain": decade_part(shown), "nice": False} if is_ratio else {"nice": True},
        axis={"format": "~g", "values": log_ticks(shown)} if is_ratio else {"tickCount": 5},
    )  # fmt: skip
    layers: list[Spec] = [
        _line_at(same, values),
        {
            "data": {"values": points},
            "mark": {"type": "rule", "strokeWidth": 2, "color": BLUE, "clip": True},
            "encoding": {"x": axis, "y": {**values, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "data": {"values": [{"week": 0, "change": same}, *points]},
            "mark": {"type": "line", "point": {"size": 55, "color": BLUE}, "color": BLUE, "strokeWidth": 1},
            "encoding": {"x": axis, "y": values},
        },
    ]
    if onset is not None:
        layers.append({
            "data": {"values": [{"week": onset["week"]}]},
            "mark": {"type": "rule", "strokeDash": [4, 3], "color": VERMILLION},
            "encoding": {"x": axis},
        })  # fmt: skip
    heading = measure if onset is None else f"{measure}: {_ONSET_IN_WORDS[onset['code']]} from week {onset['week']} on"
    return {
        "title": {"text": heading, "fontSize": 12, "frame": "group", "anchor": "start", "offset": 4},
        "layer": layers,
    }


_ONSET_IN_WORDS = {"onset": "improved", "onset_of_worsening": "worsened", "onset_of_change": "changed"}


def _line_at(value: float, values: Spec) -> Spec:
    """Where nothing has changed."""
    return {
        "data": {"values": [{"change": value}]},
        "mark": {"type": "rule", "color": MUTED, "strokeWidth": 1},
        "encoding": {"y": values},
    }


def _point(row: Mapping[str, Any], *, is_ratio: bool) -> Row:
    interval = interval_of(row, "geometric_mean_ratio" if is_ratio else "mean") or {}
    return {
        "week": row["week"],
        "n": row["n"],
        "change": row["geometric_mean_ratio"] if is_ratio else row["mean"],
        "low": interval.get("low"),
        "high": interval.get("high"),
    }


def _weekly_words(
    panels: Mapping[str, Sequence[Mapping[str, Any]]], claims: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    for measure, rows in panels.items():
        is_ratio = rows[0]["scale"] == "ln"
        parts = []
        for row in rows:
            point = _point(row, is_ratio=is_ratio)
            interval = interval_of(row, "geometric_mean_ratio" if is_ratio else "mean")
            parts.append(f"week {row['week']} {number(point['change'])} ({limits(interval)}, n = {row['n']})")
        of = f"{measure} as a multiple of baseline" if is_ratio else f"Mean change of {measure} in points"
        yield f"{of}: {', '.join(parts)}."
    shown = {(claim["measure"], claim["week"]): claim["text"] for claim in reversed(claims)}
    yield from (text for (measure, _), text in reversed(shown.items()) if measure in panels)


def _ck_change(document: Document, width: Width) -> Drawing | Nothing:
    answer = answer_in(document, CK_CHANGE)
    rows = [row for row in answer.get("results", ()) if row["n"]]
    if not rows:
        return Nothing(
            "Nobody in this study has a CK before, at and after the first infusion yet.",
            "Send CK results from the weeks before the first infusion and after it.",
        )
    row = rows[0]
    labels = [_span(row[side]["weeks"]) for side in _SIDES]
    lines = [each for each in row.get("patients", ()) if each["before"] is not None and each["after"] is not None]
    shown = evenly(sorted(lines, key=lambda each: (each["after"] - each["before"], each["patient"])), MOST_LINES)
    slopes = [
        {"patient": each["patient"], "part": label, "change": each[side]}
        for each in shown
        for side, label in zip(_SIDES, labels, strict=True)
    ]
    means = [
        {"part": label, "change": row[side]["mean"], **_limits_of(row[side])}
        for side, label in zip(_SIDES, labels, strict=True)
    ]
    views = {
        "width": plot_width(width, 44, 8) if width == "narrow" else 440,
        "height": 300,
        "layer": [*_slopes(slopes, means, labels)],
    }
    of_all = ", each a line" if len(shown) == row["n"] else f", {len(shown)} of them drawn"
    below = [
        f"n = {row['n']}{of_all if lines else ''}; dark: means with {level_of(answer)} intervals",
        _difference(row),
    ]
    claims = [claim["text"] for claim in answer["claims"] if claim["code"] == "change_of_change"]
    words = [
        f"{label}: mean change of ln(CK) {number(row[side]['mean'])} ({limits(interval_of(row[side], 'mean', 't'))})."
        for side, label in zip(_SIDES, labels, strict=True)
    ]
    return Drawing(views, below, " ".join([f"n = {row['n']}.", *words, f"{_difference(row)}.", *claims[:1]]))


def _slopes(slopes: list[Row], means: list[Row], labels: list[str]) -> Iterator[Spec]:
    part = {
        "field": "part", "type": "ordinal", "sort": labels, "title": None, "axis": {"labelAngle": 0, "domain": False},
    }  # fmt: skip
    change = quantity("change", "Change of ln(CK)", scale={"zero": True, "nice": True}, axis={"tickCount": 6})
    yield _line_at(0, change)
    yield {
        "data": {"values": slopes},
        "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.7, "color": SKY, "point": {"size": 16, "color": SKY}},
        "encoding": {"x": part, "y": change, "detail": {"field": "patient", "type": "nominal"}},
    }
    yield {
        "data": {"values": means},
        "mark": {"type": "rule", "strokeWidth": 3, "color": INK},
        "encoding": {"x": part, "y": {**change, "field": "low"}, "y2": {"field": "high"}},
    }
    yield {
        "data": {"values": means},
        "mark": {"type": "line", "strokeWidth": 3, "color": INK, "point": {"size": 80, "color": INK}},
        "encoding": {"x": part, "y": change},
    }


def _span(weeks: Sequence[int]) -> str:
    first, last = (str(week).replace("-", "−") for week in weeks)
    return f"Week {first} to {last}"


def _limits_of(row: Mapping[str, Any]) -> Row:
    interval = interval_of(row, "mean") or {}
    return {"low": interval.get("low"), "high": interval.get("high")}


def _difference(row: Mapping[str, Any]) -> str:
    difference = row["difference"]
    return f"Difference of the means {number(difference['mean'])} ({limits(interval_of(difference, 'mean', 't'))})"


CHARTS = (
    Chart(WEEKLY_CHANGE, "Change from baseline, week by week", (WEEKLY_CHANGE,), _weekly_change),
    Chart(
        CK_CHANGE,
        "Change of ln(CK) before and after treatment",
        (CK_CHANGE,),
        _ck_change,
        takes=frozenset({"patients"}),
    ),
)
