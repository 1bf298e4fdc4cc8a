"""How the rates hang on the definition, and what the same rules give if nothing happens."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.pages.charts.chart import Chart, Document, Drawing, Nothing, answer_in
from app.pages.charts.figures import counted, number, percent
from app.pages.charts.theme import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    PERCENT,
    VERMILLION,
    Spec,
    Width,
    pixels_of,
    plot_width,
    quantity,
    shortened,
)

SPECIFICATION_CURVE = "specification-curve"
WITH_NOTHING = ("response-rates", "weekly-change", "ck-change", "ck-normal-time")
_GAP = 22
_RATES = {"response": "Share who responded", "remission": "Share in remission"}
Row = dict[str, Any]


def _specifications(document: Document, width: Width) -> Drawing | Nothing:
    curves = [row for row in answer_in(document, SPECIFICATION_CURVE).get("curves", ()) if row["picture"]["rate"]]
    if not curves:
        return Nothing(
            "No definition of a response can be judged in this study yet.",
            "Send values of treated patients before and after their first infusion.",
        )
    columns = 1 if width == "narrow" else min(2, len(curves))
    size = plot_width(width, 48 * columns, 8) // columns - (_GAP if columns > 1 else 0)
    views = {
        "concat": [_curve(row, size, place + columns >= len(curves)) for place, row in enumerate(curves)],
        "columns": columns,
        "spacing": {"row": 24, "column": _GAP},
    }
    below = [
        f"n = {counted(sum(row['specifications'] for row in curves), 'definition')} tried on the same patients",
        "Lines: the rates in order of size, with their intervals; diamond: the declared definition",
    ]
    return Drawing(views, below, " ".join(_spoken(row) for row in curves))


def _heading(row: Mapping[str, Any]) -> str:
    group = row.get("group")
    of = f", {', '.join(str(value) for value in group.values())}" if group else ""
    return f"{row['measure']}, {row['kind']}{of}"


def _spoken(row: Mapping[str, Any]) -> str:
    rate = row["declared"]["rate"]
    declared = f"; the declared definition gives {percent(rate)}" if rate is not None else ""
    return (
        f"{_heading(row)}: {counted(row['specifications'], 'definition')} give rates from {percent(row['minimum'])} to "
        f"{percent(row['maximum'])}, median {percent(row['median'])}{declared}."
    )


def _curve(row: Mapping[str, Any], size: int, last: bool) -> Spec:
    points = [*_levels(row)]
    share = quantity(
        "from", "Share of the definitions" if last else None, scale={"domain": [0, 1]},
        axis={"labelExpr": PERCENT, "values": [0, 0.5, 1]},
    )  # fmt: skip
    rate = quantity(
        "rate", _RATES[row["kind"]], scale={"domain": [0, 1]},
        axis={"labelExpr": PERCENT, "values": [0, 0.5, 1]},
    )  # fmt: skip
    declared = row["declared"]
    chosen = [point for point in points if point["rank"] == row["picture"]["declared"]]
    layers: list[Spec] = [
        {
            "data": {"values": points},
            "mark": {"type": "rect", "color": BLUE, "opacity": 0.16},
            "encoding": {"x": share, "x2": {"field": "to"}, "y": {**rate, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "data": {"values": points},
            "mark": {"type": "rule", "color": BLUE, "strokeWidth": 2.5},
            "encoding": {"x": share, "x2": {"field": "to"}, "y": rate},
        },
    ]
    if chosen and declared["rate"] is not None:
        point = chosen[0]
        layers.append({
            "data": {"values": [{"from": (point["from"] + point["to"]) / 2, "rate": point["rate"]}]},
            "mark": {"type": "point", "shape": "diamond", "size": 110, "color": VERMILLION, "stroke": INK,
                     "strokeWidth": 1, "opacity": 1},
            "encoding": {"x": share, "y": rate},
        })  # fmt: skip
    heading = f"{_heading(row)} ({counted(row['specifications'], 'definition')})"
    return {
        "title": {"text": heading, "fontSize": 12, "frame": "group", "anchor": "start", "offset": 4},
        "width": size,
        "height": 110,
        "layer": layers,
    }


def _levels(row: Mapping[str, Any]) -> Iterator[Row]:
    """Each distinct rate, as wide as the share of the definitions that give it."""
    picture, before = row["picture"], 0
    for place, size in enumerate(picture["specifications"]):
        yield {
            "rank": place + 1,
            "rate": picture["rate"][place],
            "low": picture["low"][place],
            "high": picture["high"][place],
            "from": before / row["specifications"],
            "to": (before + size) / row["specifications"],
            "specifications": size,
        }
        before += size


_FIGURES: dict[str, tuple[str, str]] = {
    "response_rate": ("rate", "{measure} response"),
    "onset": ("rate", "{measure}: onset of improvement shown"),
    "ever_normal": ("rate", "CK ever normal"),
    "change_of_change": ("ln", "Change of ln(CK), after minus before"),
    "median_time_normal": ("days", "Median time with normal CK"),
    "rmst_time_normal": ("days", "Mean time with normal CK"),
}
_UNITS = {"rate": "Share", "ln": "Difference of ln(CK)", "days": "Days"}


def _without_effect(document: Document, width: Width) -> Drawing | Nothing:
    rows = [row for question in WITH_NOTHING for row in _figures(answer_in(document, question))]
    if not rows:
        return Nothing(
            "What the rules give if nothing happens cannot be simulated in this study.",
            "It needs values of treated patients before their first infusion, at least two in some patients.",
        )
    letters = 44
    for row in rows:
        row["name"] = shortened(row["name"], letters)
    _tell_apart(rows)
    left = 14 + max(pixels_of(row["name"]) for row in rows)
    size = plot_width(width, left if width == "wide" else 8, 20)
    panels = [(unit, [row for row in rows if row["unit"] == unit]) for unit in _UNITS]
    views = {
        "vconcat": [_against_nothing(unit, found, size, width) for unit, found in panels if found],
        "spacing": 20,
        "resolve": {"scale": {"x": "independent", "y": "independent"}},
    }
    simulations = max(row["simulations"] for row in rows)
    below = [
        f"n = {rows[0]['patients']} treated; {simulations} simulated cohorts with the same patients, visits and draws",
        "Blue: seen. Orange: mean and central 95 % of the cohorts in which nothing happens",
    ]
    return Drawing(views, below, " ".join(_compared(row) for row in rows))


def _figures(answer: Document) -> Iterator[Row]:
    for entry in answer.get("nothing", ()):
        if entry.get("group") is not None:
            continue
        for figure in entry["results"]:
            if figure["observed"] is None or figure["mean"] is None or figure["what"] not in _FIGURES:
                continue
            unit, name = _FIGURES[figure["what"]]
            value = (figure.get("definition") or {}).get("parameters", {}).get("value")
            scale = f" ({figure['scale']})" if figure.get("scale") in ("ln",) else ""
            yield {
                "unit": unit,
                "name": name.format(measure=figure["measure"]) + (f", {value}" if value else "") + scale,
                "patients": entry["patients"],
                **{key: figure[key] for key in ("observed", "mean", "low", "high", "simulations")},
                "share": figure["share_at_least_as_good"],
            }


def _tell_apart(rows: list[Row]) -> None:
    """Two rules of a measure never share a row."""
    seen: dict[str, int] = {}
    for row in rows:
        seen[row["name"]] = seen.get(row["name"], 0) + 1
        if seen[row["name"]] > 1:
            row["name"] += f" ({seen[row['name']]})"


def _compared(row: Mapping[str, Any]) -> str:
    write = percent if row["unit"] == "rate" else number
    return (
        f"{row['name']}: seen {write(row['observed'])}; if nothing happens {write(row['mean'])} on average, "
        f"central 95 % {write(row['low'])} to {write(row['high'])}; at least as good as seen "
        f"in {percent(row['share'])} of the cohorts."
    )


def _against_nothing(unit: str, rows: list[Row], size: int, width: Width) -> Spec:
    names = [row["name"] for row in rows]
    above = {"orient": "left", "labelPadding": 10, "labelLimit": 330}
    if width == "narrow":  # the names stand above their lines
        above = {"orient": "left", "labelAlign": "left", "labelPadding": -2, "labelOffset": -13, "labelLimit": 330}
    place = {"field": "name", "type": "nominal", "sort": names, "title": None, "axis": above}
    ends = [value for row in rows for value in (row["observed"], row["low"], row["high"]) if value is not None]
    domain = [0, 1] if unit == "rate" else [min(0, *ends), max(0, *ends)]
    axis: Spec = {"grid": True, "tickCount": 5}
    if unit == "rate":
        axis |= {"labelExpr": PERCENT, "values": [0, 0.25, 0.5, 0.75, 1] if width == "wide" else [0, 0.5, 1]}
    across = quantity("observed", _UNITS[unit], scale={"domain": domain, "nice": unit != "rate"}, axis=axis)
    return {
        "width": size,
        "height": (36 if width == "narrow" else 24) * len(rows),
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "bar", "color": ORANGE, "height": 9, "opacity": 0.55},
                "encoding": {"x": {**across, "field": "low"}, "x2": {"field": "high"}, "y": place},
            },
            {
                "mark": {"type": "tick", "orient": "vertical", "color": ORANGE, "thickness": 3, "size": 13},
                "encoding": {"x": {**across, "field": "mean"}, "y": place},
            },
            {
                "mark": {"type": "point", "shape": "circle", "size": 70, "color": BLUE, "opacity": 1, "stroke": MUTED},
                "encoding": {"x": across, "y": place},
            },
        ],
    }


CHARTS = (
    Chart(SPECIFICATION_CURVE, "How much hangs on the definition", (SPECIFICATION_CURVE,), _specifications),
    Chart(
        "without-effect",
        "What was seen beside what nothing would look like",
        WITH_NOTHING,
        _without_effect,
        without_effect=True,
    ),
)
