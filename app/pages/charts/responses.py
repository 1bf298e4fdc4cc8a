"""Who responded: the rates with their intervals, by subgroup, and the change of each patient."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.pages.charts.chart import Chart, Document, Drawing, Nothing, answer_in
from app.pages.charts.figures import (
    distinct,
    evenly,
    group_of,
    in_words,
    interval_of,
    level_of,
    limits,
    n_of,
    number,
    percent,
    rule_of,
    why,
)
from app.pages.charts.theme import BLUE, INK, ORANGE, PERCENT, Spec, Width, pixels_of, plot_width, quantity, shortened

RESPONSE_RATES = "response-rates"
MOST_BARS = 380
"""So many bars have at least two pixels in a wide chart."""
MANY_BARS = 100
_ROW = 24
_VERDICTS = ["Responder", "No responder"]
Row = dict[str, Any]


def _forest(document: Document, width: Width) -> Drawing | Nothing:
    answer = answer_in(document, RESPONSE_RATES)
    rows = [row for row in answer.get("results", ()) if row["primary"]] or list(answer.get("results", ()))
    if not any(row["evaluable"] for row in rows):
        return Nothing(
            "Nobody in this study can be judged for a response yet.",
            "Send values of treated patients before and after their first infusion.",
        )
    panels: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        panels.setdefault((row["measure"], rule_of(row["definition"])), []).append(row)
    letters = 16 if width == "narrow" else 26
    names = [shortened(group_of(row), letters) for row in rows]
    figures = [_figures(row, width) for row in rows]
    size = plot_width(width, 12 + max(map(pixels_of, names)), 12 + max(map(pixels_of, figures)))
    views = {
        "vconcat": [
            {"width": size, **_forest_panel(measure, found, width, letters, last=place == len(panels) - 1)}
            for place, ((measure, _), found) in enumerate(panels.items())
        ],
        "spacing": 18,
        "resolve": {"scale": {"y": "independent"}},
    }
    by = "" if answer["by"] is None else f" by {in_words(answer['by'])}"
    below = [
        f"{n_of(sum(row['evaluable'] for row in found) for found in panels.values())} who could be judged{by}; "
        f"responders/judged, rates with {level_of(answer)} {_method(rows)} intervals",
        *(f"{measure}: {rule}" for measure, rule in panels),
    ]
    words = " ".join(f"{row['measure']} {group_of(row)}: {_in_words(row)}." for row in rows)
    return Drawing(views, below, words)


def _method(rows: Sequence[Mapping[str, Any]]) -> str:
    return next((each["method"].title() for row in rows for each in row["intervals"]), "")


def _in_words(row: Mapping[str, Any]) -> str:
    if row["rate"] is None:
        return f"no rate, because: {why(row['reason'])}"
    return (
        f"{row['responders']} of {row['evaluable']} responded, {percent(row['rate'])} "
        f"({limits(interval_of(row, 'rate'), percent)})"
    )


def _forest_panel(measure: str, rows: Sequence[Mapping[str, Any]], width: Width, letters: int, *, last: bool) -> Spec:
    names = distinct(shortened(group_of(row), letters) for row in rows)
    points = [_forest_row(row, name, width) for row, name in zip(rows, names, strict=True)]
    axis = quantity(
        "rate", "Share who responded" if last else None, scale={"domain": [0, 1]},
        axis={"values": [0, 0.25, 0.5, 0.75, 1] if width == "wide" else [0, 0.5, 1], "labelExpr": PERCENT,
              "grid": True, "domain": False, "ticks": False, "labels": last},
    )  # fmt: skip
    place = {
        "field": "name",
        "type": "nominal",
        "sort": names,
        "title": None,
        "axis": {"labelPadding": 10, "labelLimit": max(map(pixels_of, names))},
    }
    return {
        "title": {"text": measure, "fontSize": 12, "frame": "group", "anchor": "start", "offset": 4},
        "height": _ROW * len(points),
        "data": {"values": points},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2, "color": BLUE},
                "encoding": {"x": {**axis, "field": "low"}, "x2": {"field": "high"}, "y": place},
            },
            {
                "mark": {"type": "point", "shape": "square", "color": BLUE, "opacity": 1},
                "encoding": {
                    "x": axis,
                    "y": place,
                    "size": quantity("evaluable", scale={"range": [30, 110]}, legend=None),
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 10, "color": INK},
                "encoding": {"x": {"value": "width"}, "y": place, "text": {"field": "figures", "type": "nominal"}},
            },
        ],
    }


def _forest_row(row: Mapping[str, Any], name: str, width: Width) -> Row:
    interval = interval_of(row, "rate") or {"low": None, "high": None}
    ends = (interval["low"], interval["high"])
    return {
        "name": name,
        "rate": row["rate"],
        "low": ends[0],
        "high": ends[1],
        "responders": row["responders"],
        "evaluable": row["evaluable"],
        "figures": _figures(row, width),
    }


def _figures(row: Mapping[str, Any], width: Width) -> str:
    """What stands beside a row; a narrow chart leaves the limits to the line."""
    if row["rate"] is None:
        return "no rate"
    figures = f"{row['responders']}/{row['evaluable']}  {percent(row['rate'])}"
    interval = interval_of(row, "rate")
    if width == "narrow" or interval is None or None in (interval["low"], interval["high"]):
        return figures
    return f"{figures}  ({percent(interval['low']).removesuffix(' %')} to {percent(interval['high'])})"


def _waterfall(document: Document, width: Width) -> Drawing | Nothing:
    answer = answer_in(document, RESPONSE_RATES)
    rows = [row for row in answer.get("results", ()) if row.get("patients") and _judged(row)]
    rows = [row for row in rows if row["primary"]] or rows
    if not rows:
        return Nothing(
            "Nobody in this study can be judged for a response yet.",
            "Send values of treated patients before and after their first infusion.",
        )
    size = plot_width(width, 52, 4)
    views = {
        "vconcat": [_bars(row, size, _lower_is_better(answer, row)) for row in rows],
        "spacing": 22,
        "resolve": {"scale": {"x": "independent", "y": "independent", "color": "shared"}},
    }
    most = max(len(_judged(row)) for row in rows)
    below = [
        f"{n_of(len(_judged(row)) for row in rows)} with a verdict and a known change, one bar each, "
        "the least favourable first; "
        "dark: responder, light: no responder",
        *(f"{row['measure']}: n = {len(_judged(row))}, {rule_of(row['definition'])}" for row in rows),
        *([f"Of more than {MOST_BARS} patients {MOST_BARS} are drawn, at equal steps"] if most > MOST_BARS else ()),
    ]
    return Drawing(views, below, " ".join(f"{row['measure']}: {_in_words(row)}. {_extremes(row)}" for row in rows))


def _judged(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in row["patients"] if each["responder"] is not None and each["change"] is not None]


def _is_relative(row: Mapping[str, Any]) -> bool:
    """Whether changes are shown as a share of baseline: those of CK, which differ between patients by powers of ten."""
    return row["measure"] == "CK" and all(each["baseline"] for each in _judged(row))


def _shown(each: Mapping[str, Any], *, relative: bool) -> float:
    change: float = each["change"] / each["baseline"] if relative else each["change"]
    return change


def _extremes(row: Mapping[str, Any]) -> str:
    relative = _is_relative(row)
    values = sorted(_shown(each, relative=relative) for each in _judged(row))
    write = percent if relative else number
    return f"Changes from {write(values[0])} to {write(values[-1])}{'' if relative else ' points'}."


def _lower_is_better(answer: Document, row: Mapping[str, Any]) -> bool:
    scales: Mapping[str, Any] = next(
        (each["parameters"] for each in answer["definitions"] if each["id"] == "scales"), {}
    )
    found = scales.get(row["measure"], {}).get("better", "lower" if row["measure"] == "CK" else "higher")
    return bool(found == "lower")


def _bars(row: Mapping[str, Any], size: int, lower_is_better: bool) -> Spec:
    relative = _is_relative(row)
    points = [
        {
            "patient": each["patient"],
            "change": _shown(each, relative=relative),
            "verdict": _VERDICTS[0] if each["responder"] else _VERDICTS[1],
        }
        for each in _judged(row)
    ]
    points.sort(key=lambda point: (-point["change"] if lower_is_better else point["change"], point["patient"]))
    points = evenly(points, MOST_BARS)
    of = f"Change of {row['measure']}"
    change = quantity(
        "change", f"{of} from baseline" if relative else f"{of} (points)", scale={"zero": True, "nice": True},
        axis={"tickCount": 5, **({"labelExpr": PERCENT} if relative else {})},
    )  # fmt: skip
    place = {
        "field": "place", "type": "ordinal", "title": None, "axis": None,
        "scale": {"paddingInner": 0.15 if len(points) < MANY_BARS else 0, "paddingOuter": 0.1},
    }  # fmt: skip
    verdict = {
        "field": "verdict", "type": "nominal", "title": None,
        "scale": {"domain": _VERDICTS, "range": [BLUE, ORANGE]},
        "legend": {"columns": 2, "symbolType": "square", "symbolSize": 90, "symbolStrokeWidth": 0},
    }  # fmt: skip
    return {
        "width": size,
        "height": 130,
        "data": {"values": [{"place": place, **point} for place, point in enumerate(points)]},
        "layer": [
            {"mark": {"type": "bar"}, "encoding": {"x": place, "y": change, "color": verdict}},
            {
                "data": {"values": [{"change": 0}]},
                "mark": {"type": "rule", "color": INK, "strokeWidth": 1},
                "encoding": {"y": change},
            },
        ],
    }


CHARTS = (
    Chart("response-waterfall", "Change of each patient", (RESPONSE_RATES,), _waterfall, shows_patients=True),
    Chart("response-forest", "Who responded", (RESPONSE_RATES,), _forest, takes=frozenset({"by"})),
)
