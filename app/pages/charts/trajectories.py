"""CK over time on a scale of logarithms, and the times with normal CK of each patient beside courses and events."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.pages.charts.chart import TRAJECTORIES, Chart, Document, Drawing, Nothing, answer_in
from app.pages.charts.figures import counted, number, patients
from app.pages.charts.scales import decade_part, log_ticks
from app.pages.charts.theme import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    SKY,
    VERMILLION,
    Spec,
    Width,
    pixels_of,
    plot_width,
    quantity,
)

CK_NORMAL_TIME, COURSES = "ck-normal-time", "courses"
_NEEDS = Nothing("No treated patient of this study has a CK result yet.", "Send CK results and infusions.")
_HEIGHT = {"narrow": 240, "wide": 320}
_KINDS = ["Normal", "Above its limit", "Not known or a bound"]
_MARKS = {"domain": _KINDS, "range": ["circle", "triangle-up", "diamond"]}
_COLOURS = {"domain": _KINDS, "range": [BLUE, VERMILLION, MUTED]}
Row = dict[str, Any]


def _trajectories(document: Document, width: Width) -> Drawing | Nothing:
    shown = answer_in(document, TRAJECTORIES)
    if shown.get("patient") is not None:
        return _of_one(shown, width)
    lines = [
        {"patient": each["patient"], "day": seen["day"], "ratio": seen["value"] / seen["upper_limit"]}
        for each in shown.get("patients", ())
        for seen in each["results"]
        if seen["upper_limit"] and seen["value"] > 0
    ]
    if not lines:
        return _NEEDS
    weeks = [
        {"day": 7 * each["week"], "ratio": each["ratio"]["median"], "n": each["ratio"]["n"]}
        for each in shown["weeks"]
        if each["ratio"]["median"]
    ]
    ends = [1.0, *(line["ratio"] for line in lines), *(each["ratio"] for each in weeks)]
    ratio = quantity(
        "ratio", "CK as a multiple of its own upper limit",
        scale={"type": "log", "domain": decade_part(ends), "nice": False},
        axis={"values": log_ticks(ends), "format": "~g"},
    )  # fmt: skip
    views = {
        "width": plot_width(width, 44, 12),
        "height": _HEIGHT[width],
        "layer": [
            {
                "data": {"values": lines},
                "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.45, "color": SKY},
                "encoding": {"x": _days(lines), "y": ratio, "detail": {"field": "patient", "type": "nominal"}},
            },
            *_limit(ratio),
            {
                "data": {"values": _infusions(shown["patients"])},
                "mark": {"type": "tick", "orient": "vertical", "size": 9, "color": ORANGE, "thickness": 1.5},
                "encoding": {"x": _days(lines), "y": {"value": _HEIGHT[width] - 6}},
            },
            {
                "data": {"values": weeks},
                "mark": {"type": "line", "strokeWidth": 2.5, "color": INK, "point": {"size": 50, "color": INK}},
                "encoding": {"x": _days(lines), "y": ratio},
            },
        ],
    }
    return Drawing(views, [*_about(shown)], " ".join(_in_words(shown)))


def _about(shown: Document) -> Iterator[str]:
    listed, known = len(shown["patients"]), shown["with_ck"]
    lines = "each a line" if listed == known else f"{listed} of them drawn as lines, at equal steps by identifier"
    yield f"n = {known} treated with a CK result, {lines}; dark: the median at the visits of the protocol"
    yield "Orange marks: infusions. Dashed: the upper limit of normal"
    seen = [each for one in shown["patients"] for each in one["results"]]
    absent = sum(not each["upper_limit"] or each["value"] <= 0 for each in seen)
    if absent:
        yield f"{counted(absent, 'result')} without an upper limit or of 0 not drawn"
    bounds = sum(each["comparator"] is not None for each in seen)
    if bounds:
        yield f"{counted(bounds, 'result')} known as a bound drawn at the bound"


def _in_words(shown: Document) -> Iterator[str]:
    yield f"{patients(shown['with_ck'])} with a CK result."
    medians = [
        f"week {each['week']} {number(each['ratio']['median'])} (n = {each['ratio']['n']})"
        for each in shown["weeks"]
        if each["ratio"]["median"] is not None
    ]
    yield f"Median CK as a multiple of its own upper limit: {', '.join(medians) or 'not known'}."


def _infusions(listed: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [{"day": day} for day in sorted({day for each in listed for day in each["infusions"]})]


def _days(rows: Sequence[Mapping[str, Any]]) -> Spec:
    days = [row["day"] for row in rows]
    first, last = min([0, *days]), max([1, *days])
    return quantity(
        "day", "Days after the first infusion", scale={"domain": [first, last], "nice": False, "padding": 6},
        axis={"tickCount": 6, "grid": False},
    )  # fmt: skip


def _limit(values: Spec) -> Iterator[Spec]:
    """The upper limit, and day 0."""
    yield {
        "data": {"values": [{values["field"]: 1}]},
        "mark": {"type": "rule", "strokeDash": [5, 3], "color": INK},
        "encoding": {"y": values},
    }


def _of_one(shown: Document, width: Width) -> Drawing | Nothing:
    """One patient: each result in U/L against its own limit."""
    found = shown["patients"]
    seen = [each for one in found for each in one["results"] if each["value"] > 0]
    if not seen:
        return Nothing("This patient has no CK result, or no infusion of the protocol.", _NEEDS.next_step)
    points = [
        {"day": each["day"], "ck": each["value"], "limit": each["upper_limit"], "kind": _kind(each)} for each in seen
    ]
    limits = [{"day": each["day"], "limit": each["limit"]} for each in points if each["limit"]]
    ends = [*(each["ck"] for each in points), *(each["limit"] for each in limits)]
    values = quantity(
        "ck", "CK (U/L)", scale={"type": "log", "domain": decade_part(ends), "nice": False},
        axis={"values": log_ticks(ends), "format": "~g"},
    )  # fmt: skip
    infusions = _infusions(found)
    kinds = {"field": "kind", "type": "nominal", "title": None, "sort": _KINDS}
    key = {"columns": 1 if width == "narrow" else 3, "symbolSize": 60}
    days = _days([*points, *infusions])
    views = {
        "width": plot_width(width, 52, 12),
        "height": _HEIGHT[width],
        "layer": [
            {
                "data": {"values": limits},
                "mark": {"type": "line", "interpolate": "step", "strokeDash": [5, 3], "color": INK, "strokeWidth": 1},
                "encoding": {"x": days, "y": {**values, "field": "limit"}},
            },
            {
                "data": {"values": points},
                "mark": {"type": "line", "strokeWidth": 1, "color": MUTED},
                "encoding": {"x": days, "y": values},
            },
            {
                "data": {"values": points},
                "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
                "encoding": {
                    "x": days,
                    "y": values,
                    "color": {**kinds, "scale": _COLOURS, "legend": key},
                    "shape": {**kinds, "scale": _MARKS, "legend": key},
                },
            },
            {
                "data": {"values": infusions},
                "mark": {"type": "tick", "orient": "vertical", "size": 11, "color": ORANGE, "thickness": 2},
                "encoding": {"x": days, "y": {"value": _HEIGHT[width] - 7}},
            },
        ],
    }
    name, normal = shown["patient"], sum(each["normal"] is True for each in seen)
    below = f"n = 1, patient {name}: {counted(len(seen), 'result')}. Dashed: the upper limit of each result"
    words = (
        f"Patient {name}: {counted(len(seen), 'result')} from day {points[0]['day']} to day {points[-1]['day']}, "
        f"{normal} of them normal; the first {number(points[0]['ck'], 4)} U/L, the last "
        f"{number(points[-1]['ck'], 4)} U/L; infusions on {counted(len(infusions), 'day')}."
    )
    return Drawing(views, [below, "Orange marks: infusions"], words)


def _kind(seen: Mapping[str, Any]) -> str:
    if seen["normal"] is None or seen["comparator"] is not None:
        return _KINDS[2]
    return _KINDS[0] if seen["normal"] else _KINDS[1]


def _spells(document: Document, width: Width) -> Drawing | Nothing:
    listed = answer_in(document, TRAJECTORIES).get("patients", ())
    rows = [row for row in answer_in(document, CK_NORMAL_TIME).get("results", ()) if row.get("patients")]
    if not listed or not rows:
        return _NEEDS
    spells = {each["patient"]: each for each in rows[0]["patients"]}
    order = sorted((each["patient"] for each in listed), key=lambda name: (-(spells[name]["duration"] or 0), name))
    bars = [*_followed(listed), *_first_spells(spells, order)]
    courses = [*_courses(answer_in(document, COURSES), order)]
    events = [*_events(listed)]
    ends = [bar["to"] for bar in (*bars, *courses)] + [event["day"] for event in events]
    scale = {"domain": [min([0, *(bar["day"] for bar in (*bars, *courses))]), max([1, *ends])], "nice": False}
    days = quantity("day", "Days after the first infusion", scale=scale, axis={"tickCount": 6, "grid": True})
    place = {
        "field": "patient", "type": "nominal", "sort": order, "title": None,
        "axis": {"labelPadding": 6, "labelLimit": 90}, "scale": {"paddingInner": 0.3},
    }  # fmt: skip
    left = min(96, 10 + max(map(pixels_of, order)))
    views = {
        "width": plot_width(width, left, 12),
        "height": 16 * len(order),
        "layer": [
            *_swimmer(bars, courses, days, place),
            *_ends(spells, order, days, place),
            *_marks(events, days, place),
        ],
    }
    known = [spells[name] for name in order if spells[name]["duration"] is not None]
    ended = sum(bool(each["event"]) for each in known)
    all_treated = answer_in(document, TRAJECTORIES)["with_ck"]
    below = [
        f"n = {len(order)} of {all_treated} treated with a CK result"
        + ("" if len(order) == all_treated else ", at equal steps by identifier"),
        "Light: time under observation. Blue: first spell of normal CK (arrow: still normal at the last CK)",
        "A later spell of the same patient is not drawn",
        "Orange: infusions. Diamonds: adverse events (red: serious)",
    ]
    words = (
        f"{patients(len(order))}, one row each. {len(known)} had a spell of normal CK; the first of each is "
        f"drawn. {ended} of these spells ended and {len(known) - ended} still lasted at the last CK. "
        f"The longest lasted {number(max((each['duration'] for each in known), default=0))} days. "
        f"{counted(len(events), 'adverse event')} with a known onset."
    )
    return Drawing(views, below, words)


def _followed(listed: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    for each in listed:
        days = [seen["day"] for seen in each["results"]]
        yield {"patient": each["patient"], "day": min([0, *days]), "to": max([0, *days]), "part": "followed"}


def _first_spells(spells: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> Iterator[Row]:
    for name in order:
        spell = spells[name]
        if spell["duration"] is not None:
            end = spell["start"] + spell["duration"]
            yield {"patient": name, "day": spell["start"], "to": end, "part": "spell"}


def _courses(answer: Document, order: Sequence[str]) -> Iterator[Row]:
    for row in answer.get("results", ()):
        for course in row.get("courses_listed") or ():
            if course["patient"] in order:
                yield {"patient": course["patient"], "day": course["first_day"], "to": course["last_day"] + 1}


def _events(listed: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    for each in listed:
        for event in each["events"]:
            if event["day"] is not None:
                yield {
                    "patient": each["patient"],
                    "day": event["day"],
                    "term": event["term"],
                    "colour": VERMILLION if event["serious"] else PAPER,
                }


def _swimmer(bars: list[Row], courses: list[Row], days: Spec, place: Spec) -> Iterator[Spec]:
    for part, colour, height in (("followed", "#d8dde3", 5), ("spell", BLUE, 9)):
        yield {
            "data": {"values": [bar for bar in bars if bar["part"] == part]},
            "mark": {"type": "bar", "color": colour, "height": height},
            "encoding": {"x": days, "x2": {"field": "to"}, "y": place},
        }
    yield {
        "data": {"values": courses},
        "mark": {"type": "bar", "color": ORANGE, "height": 11, "stroke": ORANGE, "strokeWidth": 2},
        "encoding": {"x": days, "x2": {"field": "to"}, "y": place},
    }


def _ends(spells: Mapping[str, Mapping[str, Any]], order: Sequence[str], days: Spec, place: Spec) -> Iterator[Spec]:
    """An arrow where CK was still normal when it was last seen."""
    lasting = [
        {"patient": name, "day": spells[name]["start"] + spells[name]["duration"]}
        for name in order
        if spells[name]["duration"] is not None and not spells[name]["event"]
    ]
    yield {
        "data": {"values": lasting},
        "mark": {"type": "point", "shape": "triangle-right", "size": 70, "color": BLUE, "opacity": 1},
        "encoding": {"x": days, "y": place},
    }


def _marks(events: list[Row], days: Spec, place: Spec) -> Iterator[Spec]:
    yield {
        "data": {"values": events},
        "mark": {"type": "point", "shape": "diamond", "size": 45, "filled": True, "stroke": INK, "strokeWidth": 1,
                 "opacity": 1},
        "encoding": {"x": days, "y": place, "fill": {"field": "colour", "type": "nominal", "scale": None}},
    }  # fmt: skip


CHARTS = (
    Chart(
        "ck-trajectories",
        "CK over time",
        (TRAJECTORIES,),
        _trajectories,
        shows_patients=True,
        takes=frozenset({"patient"}),
    ),
    Chart(
        "spells",
        "First spell of normal CK, courses and adverse events",
        (TRAJECTORIES, CK_NORMAL_TIME, COURSES),
        _spells,
        shows_patients=True,
    ),
)
