"""How every chart looks: its two widths, colours and fonts, and the configuration of Vega-Lite.

The colours are those of Okabe and Ito (jfly.uni-koeln.de/color), which differ for people who see few colours. Wherever
a colour means something, a dash, a shape or a label beside it says the same, so that a chart is readable in grey. A
page may give `INK`, `MUTED`, `GRID` and `PAPER` other colours by CSS: they are attributes of the SVG.
"""

import textwrap
from typing import Any, Literal

Spec = dict[str, Any]
"""A specification of Vega-Lite, or a part of one."""
Width = Literal["narrow", "wide"]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
PIXELS: dict[Width, int] = {"narrow": 360, "wide": 760}
"""The width of a whole chart, with its labels."""
INK, MUTED, GRID, PAPER = "#1f2328", "#57606a", "#e1e4e8", "#ffffff"
BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 6])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
FONT = '"DejaVu Sans", sans-serif'
PADDING = 8
PERCENT = "format(datum.value * 100, 'd') + ' %'"
"""How an axis writes a share."""
_WIDEST = 0.62
"""The mean width of a letter of DejaVu Sans as a part of its size; a little too large, so that no line is too long."""

CONFIG: Spec = {
    "aria": False,
    "font": FONT,
    "background": PAPER,
    "view": {"stroke": None},
    "title": {
        "anchor": "start",
        "frame": "bounds",
        "color": INK,
        "fontSize": 14,
        "fontWeight": "bold",
        "subtitleColor": MUTED,
        "subtitleFontSize": 11,
        "subtitleLineHeight": 15,
        "subtitlePadding": 5,
        "lineHeight": 18,
        "offset": 12,
    },
    "axis": {
        "labelColor": INK,
        "labelFontSize": 11,
        "titleColor": INK,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelPadding": 4,
        "gridColor": GRID,
        "domainColor": MUTED,
        "tickColor": MUTED,
        "labelLimit": 220,
        "titleLimit": 0,
    },
    # No title and no label of these axes is long, and the engine would measure each of them to see that.
    "axisX": {"grid": False, "labelLimit": 0},
    "axisQuantitative": {"labelLimit": 0},
    "axisY": {
        "domain": False,
        "ticks": False,
        "titleAngle": 0,
        "titleAlign": "left",
        "titleBaseline": "bottom",
        "titleX": 0,
        "titleY": -9,
    },
    "header": {"labelColor": INK, "labelFontSize": 12, "labelFontWeight": "bold", "titleColor": INK},
    "legend": {
        "labelColor": INK,
        "labelFontSize": 11,
        "titleColor": INK,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 300,
        "orient": "top",
        "symbolStrokeWidth": 2,
        "symbolOpacity": 1,
        "offset": 24,
    },
    "text": {"color": INK, "fontSize": 11},
    "rule": {"color": MUTED},
    "line": {"strokeWidth": 2},
    "point": {"filled": True, "size": 50},
}


def lines_of(text: str, width: Width, size: int = 11) -> list[str]:
    """A text in lines that a chart of this width has room for."""
    return wrapped(text, letters_in(PIXELS[width] - 2 * PADDING, size))


def letters_in(pixels: int, size: int = 11) -> int:
    """How many letters there is room for."""
    return int(pixels / (size * _WIDEST))


def wrapped(text: str, letters: int) -> list[str]:
    """A text in lines of at most so many letters."""
    return textwrap.wrap(text, letters, break_on_hyphens=False)


def pixels_of(text: str, size: int = 11) -> int:
    """The room that a text needs, rather too much than too little."""
    return round(len(text) * size * _WIDEST)


def shortened(text: str, letters: int) -> str:
    """A text with at most so many letters."""
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def plot_width(width: Width, left: int, right: int = 12) -> int:
    """The width of the plot itself, with so much room for labels on either side of it."""
    return PIXELS[width] - 2 * PADDING - left - right


def quantity(field: str, title: str | None = None, **more: Any) -> Spec:  # noqa: ANN401 - any part of a specification
    """A channel for numbers."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def colour_of(names: list[str], **more: Any) -> Spec:  # noqa: ANN401 - any part of a specification
    """A channel that gives each name its colour, in the order of the names."""
    return {
        "field": "series",
        "type": "nominal",
        "title": None,
        "sort": names,
        "scale": {"domain": names, "range": [SERIES[place % len(SERIES)] for place in range(len(names))]},
        **more,
    }


def dash_of(names: list[str], **more: Any) -> Spec:  # noqa: ANN401 - any part of a specification
    """A channel that gives each name its dash."""
    return {
        "field": "series",
        "type": "nominal",
        "title": None,
        "sort": names,
        "scale": {"domain": names, "range": [DASHES[place % len(DASHES)] for place in range(len(names))]},
        **more,
    }


def numbers_axis(values: list[float] | None = None, **more: Any) -> Spec:  # noqa: ANN401 - any part of a specification
    """An axis that has a mark at these values."""
    return {**({} if values is None else {"values": values}), **more}
