"""A specification as SVG, PNG or PDF, by vl-convert, which needs no browser; only this module uses it.

Nothing is fetched: data stand in the specification. The SVG has no style, so that it may stand in a page under a strict
Content-Security-Policy, and its identifiers are its own, so that a page may hold several.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any
from xml.etree import ElementTree

from pydantic_core import from_json, to_json

from app.errors import NotInstalled
from app.pages.charts.theme import Spec

VEGA_LITE, SVG, PNG, PDF = "application/vnd.vegalite.v6+json", "image/svg+xml", "image/png", "application/pdf"
MEDIA_TYPES = {"json": VEGA_LITE, "svg": SVG, "png": PNG, "pdf": PDF}
"""The media types of a chart by the suffix of its address."""
SCALE = 2
"""The pixels of a PNG for each pixel of the chart."""
_VERSION = "6.4"
_SVG = "http://www.w3.org/2000/svg"
_ANY_LETTER = "n"
_INVISIBLE = re.compile(r"M0,0h0v0h0Z|")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def check_renderer() -> None:
    """Raise `NotInstalled` if vl-convert is missing, before anything is computed."""
    if find_spec("vl_convert") is None:
        raise NotInstalled(
            "SVG, PNG and PDF need vl-convert, which is not installed: pip install 'myoresponse[charts]'"
        )


def rendered(spec: Spec, media_type: str, drawn: str | None = None) -> bytes:
    """The specification in one of `MEDIA_TYPES`; `drawn` as in `svg_of`."""
    if media_type == VEGA_LITE:
        return to_json(spec, indent=2) + b"\n"
    svg = svg_of(spec, drawn)
    if media_type == SVG:
        return svg.encode()
    convert = _engine().svg_to_pdf if media_type == PDF else _engine().svg_to_png
    return bytes(convert(svg, scale=1 if media_type == PDF else SCALE))


def svg_of(spec: Spec, drawn: str | None = None) -> str:
    """The chart as an element `svg` for a file or for a page: the alternative text is its title. `drawn` is what the
    engine made of `to_draw(spec)`.
    """
    name = hashlib.sha256(to_json(spec)).hexdigest()[:10]
    return _tidied(drawn or drawing_of(to_draw(spec)), spec, f"c{name}-")


def to_draw(spec: Spec) -> bytes:
    """The specification in JSON without its words: the alternative text, the title and what stands below it. They are
    written into the drawing, so that it serves all charts that differ in nothing else. The engine would also measure
    each of their letters again and again, which takes most of its time.
    """
    title = {name: [_ANY_LETTER for _ in spec["title"][name]] for name in ("text", "subtitle")}
    return to_json({**spec, "description": "", "title": title})


def drawing_of(spec: bytes) -> str:
    """What the engine makes of a specification in JSON."""
    return str(_engine().vegalite_to_svg(from_json(spec), vl_version=_VERSION, allowed_base_urls=[]))


@cache
def _engine() -> Any:  # noqa: ANN401 - a module
    import vl_convert  # noqa: PLC0415 - its first drawing takes a second, and only workers draw

    return vl_convert


def _tidied(written: str, spec: Spec, prefix: str) -> str:
    """The SVG with its alternative text and identifiers of its own, without what nobody sees."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(written)  # noqa: S314 - it was written here, a line ago
    _write_title(root, spec["title"])
    names = _Names(prefix)
    for parent in [*root.iter()]:
        for child in [*parent]:
            if _is_invisible(child):
                parent.remove(child)
        for name in ("class", "role", "aria-hidden", "aria-roledescription", "aria-label", "pointer-events", "cursor"):
            parent.attrib.pop(name, None)
        names.rename(parent)
        _round(parent)
        _without_style(parent)
    _widen(root, spec["usermeta"]["width"])
    title = ElementTree.Element(f"{{{_SVG}}}title", {"id": f"{prefix}title"})
    title.text = spec["description"]
    root.insert(0, title)
    root.attrib |= {"role": "img", "aria-labelledby": f"{prefix}title", "class": "chart"}
    return ElementTree.tostring(root, encoding="unicode")


def _write_title(root: ElementTree.Element, title: Mapping[str, Sequence[str]]) -> None:
    """The title of the whole chart, and the words below it. It is the last title that the engine writes."""
    for role, lines in title.items():
        groups = [each for each in root.iter(f"{{{_SVG}}}g") if f"role-title-{role}" in each.get("class", "")]
        text = groups[-1][0]
        for element, line in zip(text if len(text) else [text], lines, strict=True):
            element.text = line


def _widen(root: ElementTree.Element, width: int) -> None:
    """A chart that needs less than its width has white at its right side."""
    height = root.get("height", "0")
    full = str(max(width, math.ceil(float(root.get("width", 0)))))
    root.attrib |= {"width": full, "viewBox": f"0 0 {full} {height}"}
    background = root.find(f"{{{_SVG}}}rect")
    if background is not None:
        background.set("width", full)


def _is_invisible(element: ElementTree.Element) -> bool:
    if not element.tag.endswith("}path") or len(element):
        return False
    return element.get("display") == "none" or _INVISIBLE.fullmatch(element.get("d", "")) is not None


class _Names:
    """New identifiers for the elements of a chart. The engine goes on counting from chart to chart, so that its own
    ones differ from one drawing to the next.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The new identifier in place of the engine's."""
        return self._known.setdefault(name, f"{self._prefix}{len(self._known) + 1}")

    def rename(self, element: ElementTree.Element) -> None:
        """Give an element and its references the new identifiers."""
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, self.of(value))
            elif name.endswith("href") and value.startswith("#"):
                element.set(name, f"#{self.of(value[1:])}")
            elif "url(#" in value:
                element.set(name, _REFERENCE.sub(lambda found: f"url(#{self.of(found.group(1))})", value))


def _round(element: ElementTree.Element) -> None:
    """A hundredth of a pixel is enough."""
    for name in ("d", "transform", "x", "y", "x2", "y2", "width", "height"):
        if "." in (value := element.get(name, "")):
            element.set(name, _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value))


def _without_style(element: ElementTree.Element) -> None:
    """Declarations of a style become attributes, which a Content-Security-Policy allows."""
    for declaration in element.attrib.pop("style", "").split(";"):
        name, _, value = declaration.partition(":")
        if value and name.strip() != "mix-blend-mode":
            element.set(name.strip(), value.strip())
