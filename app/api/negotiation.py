"""Which media type an answer is given in, where one address has several (RFC 9110 section 12.5.1)."""

import re
from collections.abc import Sequence

_RANGE = re.compile(r"([!#$%&'*+.^_`|~\w-]+)/([!#$%&'*+.^_`|~\w-]+)", re.ASCII)
_WEIGHT = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)", re.ASCII | re.IGNORECASE)


def preferred(accept: Sequence[str], offered: Sequence[str]) -> str | None:
    """The media type that a client likes best of those offered, of equals the first; `None` where it takes none.

    `accept` are the lines of the header Accept. Without any the first type offered is given. Parts that cannot be read
    are ignored, and so are parameters other than the weight.
    """
    ranges = [found for part in ",".join(accept).split(",") if (found := _read(part)) is not None]
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda each: _weight(each, ranges))
    return best if _weight(best, ranges) > 0 else None


def _read(part: str) -> tuple[str, float] | None:
    """A media range and its weight."""
    name, *parameters = (each.strip() for each in part.split(";"))
    if _RANGE.fullmatch(name) is None:
        return None
    weights = [found for each in parameters if (found := _WEIGHT.fullmatch(each)) is not None]
    return name.lower(), float(weights[0].group(1)) if weights else 1.0


def _weight(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The weight of the most specific range that a media type lies in."""
    kind = media_type.partition("/")[0]
    for wanted in (media_type, f"{kind}/*", "*/*"):
        weights = [weight for name, weight in ranges if name == wanted]
        if weights:
            return max(weights)
    return 0.0
