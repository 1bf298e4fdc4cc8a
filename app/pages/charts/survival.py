"""Times to an event: the curve of Kaplan and Meier with its band, censorings, median and numbers at risk. That of the
time with normal CK has the interval-censored curve over it; the other one is the time to a low dose of glucocorticoids.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.pages.charts.chart import Chart, Document, Drawing, Nothing, answer_in
from app.pages.charts.figures import group_of, limits, number, why
from app.pages.charts.theme import (
    INK,
    MUTED,
    PERCENT,
    SERIES,
    Spec,
    Width,
    colour_of,
    dash_of,
    pixels_of,
    plot_width,
    quantity,
)

CK_NORMAL_TIME, CK_NORMAL_INTERVAL = "ck-normal-time", "ck-normal-interval"
STEROID_SPARING = "steroid-sparing"
MOST_GROUPS = len(SERIES)
_STEPS = {"narrow": 6, "wide": 11}
_LEFT, _WIDEST_NAME = 48, 104
_CURVE, _INTERVAL = "Seen at visits (Kaplan-Meier)", "Between visits (interval-censored)"
Row = dict[str, Any]


def _share(title: str) -> Spec:
    return quantity(
        "survival",
        title,
        scale={"domain": [0, 1]},
        axis={"labelExpr": PERCENT, "values": [0, 0.25, 0.5, 0.75, 1]},
    )


def _time_with_normal_ck(document: Document, width: Width) -> Drawing | Nothing:
    answer = answer_in(document, CK_NORMAL_TIME)
    every = [row for row in answer.get("results", ()) if row["n"]]
    rows = every[:MOST_GROUPS]
    if not rows:
        return Nothing(
            "No patient of this study has had a normal CK after treatment yet.",
            "Send the CK results of treated patients with their upper limits.",
        )
    grouped = rows[0].get("group") is not None
    names = [group_of(row) for row in rows] if grouped else [_CURVE]
    between = [] if grouped else _between_visits(answer_in(document, CK_NORMAL_INTERVAL))
    views = _views(rows, names, between, ("Days with normal CK", "Share whose CK is still normal"), width)
    return Drawing(
        views, [_of(rows), *_medians_in_words(rows, names if grouped else [""])], _words(answer, rows, names)
    )


def _time_to_low_dose(document: Document, width: Width) -> Drawing | Nothing:
    answer = answer_in(document, STEROID_SPARING)
    rows = [row for row in answer.get("results", ()) if row["n"]][:MOST_GROUPS]
    if not rows:
        return Nothing(
            "No patient of this study has a known dose of a glucocorticoid on day 0 that is not low already.",
            "Send the glucocorticoids of treated patients as periods with their daily doses.",
        )
    declared = next(each["parameters"] for each in answer["definitions"] if each["id"] == "glucocorticoid_doses")
    low = f"{number(declared['low_dose'])} mg/d"
    grouped = rows[0].get("group") is not None
    names = [group_of(row) for row in rows] if grouped else ["All"]
    views = _views(rows, names, [], ("Days from the first infusion", f"Share with more than {low}"), width)
    medians = list(_medians_in_words(rows, names if grouped else [""]))
    n, events = sum(row["n"] for row in rows), sum(row["events"] for row in rows)
    of = f"n = {n} with more than {low} of prednisolone equivalents on day 0; {events} came to {low} or less"
    return Drawing(
        views,
        [of, *medians, *_sums(answer, names)],
        _in_sentences(of, answer, rows, names, "median_time_to_low_dose"),
    )


def _sums(answer: Document, names: Sequence[str]) -> Iterator[str]:
    """The sums of doses over the longest window that anybody is known for, where there are no subgroups."""
    known = [row for row in answer["cumulative"] if row["n"]]
    if known and len(names) == 1:
        row = known[-1]
        sums = row["milligrams"]
        yield (
            f"Sum over {row['days']} days: median {number(sums['median'], 4)} mg, quartiles {number(sums['q1'], 4)} to "
            f"{number(sums['q3'], 4)} mg (n = {row['n']})"
        )


def _views(
    rows: Sequence[Mapping[str, Any]], names: list[str], between: list[Row], titles: tuple[str, str], width: Width
) -> Spec:
    """The curves with the numbers at risk below them. `titles` are those of the time and of the share."""
    share = _share(titles[1])
    times = _some([point["time"] for row in rows for point in row["numbers_at_risk"]], _STEPS[width])
    end = max(*times, *(_end_of(row) for row in rows), *(point["time"] for point in between), 1.0)
    axis = quantity(
        "time", titles[0], scale={"domain": [0, end], "nice": False},
        axis={"values": times, "format": "d", "labelFlush": False},
    )  # fmt: skip
    left = max(_LEFT, 16 + min(_WIDEST_NAME, max(map(pixels_of, names)))) if len(names) > 1 else _LEFT
    shape = {"width": plot_width(width, left, 16), "height": 220 if width == "narrow" else 300}
    layers = [
        *_curves(rows, names, between, (axis, share), columns=1 if width == "narrow" else 3),
        *_medians(rows, axis, share),
    ]
    at_risk = _at_risk(rows, names, times, {**axis, "axis": None}, shape["width"])
    return {
        "vconcat": [{**shape, "layer": layers}, at_risk],
        "spacing": 14,
        "resolve": {"scale": {"color": "independent", "strokeDash": "independent"}},
    }


def _of(rows: Sequence[Mapping[str, Any]]) -> str:
    n, events = sum(row["n"] for row in rows), sum(row["events"] for row in rows)
    return f"n = {n} with a normal CK after treatment; {events} of these spells ended"


def _medians_in_words(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[str]:
    for row, name in zip(rows, names, strict=True):
        median = row["median"]
        shown = f"not given: {why(median['reason'])}" if median["value"] is None else f"{number(median['value'], 4)} d"
        interval = next(iter(median["intervals"]), None)
        more = "" if median["value"] is None and interval is None else f" ({limits(interval)})"
        yield f"Median{' of ' + name if name else ''} {shown}{more}"


def _words(answer: Document, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    return _in_sentences(_of(rows), answer, rows, names, "median_time_normal")


def _in_sentences(
    whose: str, answer: Document, rows: Sequence[Mapping[str, Any]], names: Sequence[str], claimed: str
) -> str:
    """The curve in words: whose it is, its medians, and what the answer concludes of them."""
    said = [f"{whose}.", *(f"{each}." for each in _medians_in_words(rows, [""] if len(names) == 1 else names))]
    for row, name in zip(rows, names, strict=True):
        of = "" if len(names) == 1 else f" of {name}"
        said.append(f"At risk{of}: " + ", ".join(
            f"{point['at_risk']} at {number(point['time'])} d" for point in row["numbers_at_risk"][:8]
        ) + ".")  # fmt: skip
    claims = [claim["text"] for claim in answer.get("claims", ()) if claim["code"] == claimed]
    return " ".join([*said, *claims[: len(rows)]])


def _curves(
    rows: Sequence[Mapping[str, Any]], names: list[str], between: list[Row], axes: tuple[Spec, Spec], columns: int
) -> Iterator[Spec]:
    """The bands, the lines, and a mark for each time at which somebody was last seen without the event."""
    axis, share = axes
    points = [point for row, name in zip(rows, names, strict=True) for point in _steps(row, name)]
    colours = {name: SERIES[place] for place, name in enumerate(names)}
    shown = [*names, _INTERVAL] if between else names
    key = {"columns": columns, "symbolType": "stroke", "symbolSize": 500, "labelLimit": 230} if len(shown) > 1 else None
    plain = {"field": "colour", "type": "nominal", "scale": None}
    band = [
        {**point, "colour": colours[point["series"]]}
        for point in points
        if point["low"] is not None and point["high"] is not None
    ]
    yield {
        "data": {"values": band},
        "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.16 if len(rows) == 1 else 0.09},
        "encoding": {
            "x": axis,
            "y": {**share, "field": "low"},
            "y2": {"field": "high"},
            "color": plain,
            "detail": {"field": "series", "type": "nominal"},
        },
    }
    yield {
        "data": {"values": [*_corners(points), *between]},
        "mark": {"type": "line"},
        "encoding": {
            "x": axis,
            "y": share,
            "color": colour_of(shown, legend=key),
            "strokeDash": dash_of(shown, legend=key),
            "order": quantity("place"),
        },
    }
    yield {
        "data": {
            "values": [
                {**tick, "colour": colours[name]}
                for row, name in zip(rows, names, strict=True)
                for tick in _censorings(row, name)
            ]
        },
        "mark": {"type": "tick", "orient": "vertical", "size": 10, "thickness": 1.5},
        "encoding": {"x": axis, "y": share, "color": plain},
    }


def _steps(row: Mapping[str, Any], name: str) -> Iterator[Row]:
    """The points of a curve, and the end of the time under observation."""
    point: Row = {}
    for step in row["curve"]:
        point = {
            "series": name,
            "time": step["time"],
            "survival": step["survival"],
            "low": step["low"],
            "high": step["high"],
        }
        yield point
    if point and _end_of(row) > point["time"]:
        yield {**point, "time": _end_of(row)}


def _corners(points: Sequence[Row]) -> Iterator[Row]:
    """The points of a line that is level from each point to the next and falls there."""
    before: Row = {}
    for place, point in enumerate(points):
        if before.get("series") == point["series"] and before["survival"] != point["survival"]:
            yield {"series": point["series"], "time": point["time"], "survival": before["survival"], "place": 2 * place}
        yield {"series": point["series"], "time": point["time"], "survival": point["survival"], "place": 2 * place + 1}
        before = point


def _end_of(row: Mapping[str, Any]) -> float:
    """Up to where anybody was followed."""
    censored = [each["time"] for step in row["curve"] for each in step["censorings"]]
    return max([step["time"] for step in row["curve"]] + censored, default=0.0)


def _censorings(row: Mapping[str, Any], name: str) -> Iterator[Row]:
    for step in row["curve"]:
        for censoring in step["censorings"]:
            yield {
                "series": name,
                "time": censoring["time"],
                "survival": step["survival"],
                "patients": censoring["patients"],
            }


def _medians(rows: Sequence[Mapping[str, Any]], axis: Spec, share: Spec) -> Iterator[Spec]:
    """A line from one half to each median and down."""
    known = [row["median"]["value"] for row in rows if row["median"]["value"] is not None]
    if not known:
        return
    dotted = {"type": "rule", "strokeDash": [2, 3], "color": INK}
    yield {
        "data": {"values": [{"time": 0, "to": max(known), "survival": 0.5}]},
        "mark": dotted,
        "encoding": {"x": axis, "x2": {"field": "to"}, "y": share},
    }
    yield {
        "data": {"values": [{"time": value, "survival": 0.5, "to": 0} for value in known]},
        "mark": dotted,
        "encoding": {"x": axis, "y": share, "y2": {"field": "to"}},
    }


def _between_visits(answer: Document) -> list[Row]:
    """The interval-censored curve: level where it is known, a slope where it falls at a time that is not known."""
    rows = answer.get("results", ())
    masses = rows[0]["estimate"]["masses"] if rows else []
    points: list[Row] = [{"time": 0.0, "survival": 1.0}] if masses else []
    for mass in masses:
        points.append({"time": mass["left"], "survival": mass["survival"]})
        if mass["right"] is not None:
            points.append({"time": mass["right"], "survival": mass["survival"] - mass["mass"]})
    return [{"series": _INTERVAL, **point, "place": place} for place, point in enumerate(points)]


def _at_risk(
    rows: Sequence[Mapping[str, Any]], names: list[str], times: Sequence[float], axis: Spec, width: int
) -> Spec:
    points = [
        {"series": name, **point}
        for row, name in zip(rows, names, strict=True)
        for point in row["numbers_at_risk"]
        if point["time"] in times
    ]
    many = len(names) > 1
    colours = colour_of(names, legend=None) if many else {"value": INK}
    return {
        "title": {"text": "Patients at risk", "fontSize": 11, "fontWeight": "normal", "color": MUTED, "offset": 2,
                  "frame": "group"},
        "width": width,
        "height": 18 * len(names),
        "data": {"values": points},
        "mark": {"type": "text"},
        "encoding": {
            "x": axis,
            "y": {
                "field": "series", "type": "nominal", "sort": names, "title": None,
                "axis": {"labelPadding": 14, "labelLimit": _WIDEST_NAME} if many else None,
            },
            "text": quantity("at_risk"),
            "color": colours,
        },
    }  # fmt: skip


def _some(times: Sequence[float], most: int) -> list[float]:
    """Not more than so many of the times, at equal steps from the first."""
    known = sorted(set(times)) or [0.0]
    step = -(-len(known) // most)
    return known[::step]


CHARTS = (
    Chart(
        CK_NORMAL_TIME,
        "How long CK stays normal",
        (CK_NORMAL_TIME, CK_NORMAL_INTERVAL),
        _time_with_normal_ck,
        takes=frozenset({"by"}),
    ),
    Chart(
        STEROID_SPARING,
        "How soon the dose of glucocorticoids is low",
        (STEROID_SPARING,),
        _time_to_low_dose,
        takes=frozenset({"by"}),
    ),
)
