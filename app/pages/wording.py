"""How figures are written on a page: short enough to be read, never so short that they say something else."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from markupsafe import Markup

NO_FIGURE = "–"


def figure(value: float | str | bool | None, digits: int = 3) -> str:
    """A number with so many significant digits; whole numbers are written out, with thin spaces at the thousands."""
    if value is None:
        return NO_FIGURE
    if isinstance(value, bool | str):
        return value if isinstance(value, str) else ("yes" if value else "no")
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f").replace("-", "−")
    text = f"{value:.{digits}g}"
    if abs(float(text)) >= 10**digits:
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", "−")
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        return f"{mantissa} × 10{_raised(int(exponent))}".replace("-", "−")
    return text.replace("-", "−")


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def percent(share: float | None, digits: int = 1) -> str:
    """A share as percent, with one digit after the point unless it is a whole number. It shows neither 0 nor 100 for
    what is neither.
    """
    if share is None:
        return NO_FIGURE
    least, shown = 10.0**-digits, round(share * 100, digits)
    if share and not shown:
        return f"< {least:g}\u00a0%" if share > 0 else f"> −{least:g}\u00a0%"
    if shown == 100 and share < 1:
        return f"> {100 - least:g}\u00a0%"
    return f"{share * 100:.{digits}f}".removesuffix(".0").replace("-", "−") + "\u00a0%"


def level_text(level: float) -> str:
    """A confidence level with all its digits: `95 %`, `97.5 %`, `99.99 %`."""
    return f"{level * 100:.6g}\u00a0%"


def p_value(p: float | None, below: float | None = None) -> str:
    """A p value with its sign: `= 0.012`, `< 0.001`."""
    if below is not None:
        return f"< {max(below, 0.001):g}"
    if p is None:
        return NO_FIGURE
    if p < 0.001:
        return "< 0.001"
    return f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def day(instant: str | None) -> str:
    """The date of an instant, as `29 November 2026`."""
    if not instant:
        return NO_FIGURE
    read = datetime.fromisoformat(instant)
    return f"{read.day} {read:%B %Y}"


def moment(instant: str | None) -> Markup | str:
    """A date and time (UTC) that a browser can show in its own zone."""
    if not instant:
        return NO_FIGURE
    read = datetime.fromisoformat(instant)
    shown = f"{read.day} {read:%b %Y, %H:%M} UTC" if "T" in instant else f"{read.day} {read:%b %Y}"
    return Markup('<time datetime="{}">{}</time>').format(instant, shown)


def words(name: str) -> str:
    """A name of a field or code as words: `ck-normal-time` is `CK normal time`."""
    text = name.replace("_", " ").replace("-", " ").strip()
    text = " ".join(_WHOLE.get(word, word) for word in text.split(" "))
    return text[:1].upper() + text[1:]


_WHOLE = {
    word.lower(): word
    for word in ("CK", "MMT", "ADL", "LDH", "AST", "ALT", "FHIR", "HL7", "CSV", "JSON", "ID", "RMST", "TIS", "ln", "p")
}


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 patient`, `2 patients`."""
    return f"{figure(number)} {one if number == 1 else many or one + 's'}"


def interval_text(interval: Mapping[str, Any] | None, *, as_percent: bool = False) -> str:
    """`95 % CI 68.1 % to 99.8 %`; a limit that is not reached is named."""
    if not interval or (interval.get("low") is None and interval.get("high") is None):
        return ""
    write = percent if as_percent else figure
    low, high = (NOT_REACHED if interval[end] is None else write(interval[end]) for end in ("low", "high"))
    return f"{level_text(interval['level'])} CI {low} to {high}"


NOT_REACHED = "not reached"
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|])")


def markdown(text: str) -> str:
    """A text in Markdown, where it means itself."""
    return _MARKS.sub(r"\\\1", " ".join(str(text).split()))


FILTERS = {
    "figure": figure, "percent": percent, "p_value": p_value, "day": day, "moment": moment, "words": words,
    "interval": interval_text, "level": level_text, "md": markdown,
}  # fmt: skip
