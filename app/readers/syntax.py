"""Whether bytes are a JSON text that this service reads at all, before anything looks at what it says.

Parsers differ in what they let pass, and what one of them swallows another chokes on later: a key that is given twice,
a number that becomes infinite, a NUL that one database stores and the other refuses. All of that ends here, for every
JSON body alike.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import jiter

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument, TooLarge, pointer
from app.timeline.normalize import MOST_FAULTS

DEEPEST = 32
"""No document of ours is nested deeper than ten levels."""
MOST_CONTAINERS = 500_000
"""Objects and arrays of one body. A body that is nothing but empty ones would take twenty times its size in memory."""

_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_TO_ZEROS = bytes.maketrans(b"123456789E", b"000000000e")
_GREAT_EXPONENT = re.compile(rb"0e[-+]?000+(?:[\s,\]}]|\Z)")
_MANY_DIGITS = b"0" * 200
_ESCAPED_NUL = b"\\u0000"
_PLACE = re.compile(r"line \d+ column \d+$")


def first_pass(body: bytes, names: frozenset[str] = frozenset()) -> None:
    """Refuse what is not JSON as RFC 8259 defines it, and the few things it allows that nobody can keep.

    Raises `MalformedDocument` with the place at most, `TooLarge`, or `InvalidDocument` where single values are at
    fault. Pointers pass through keys in `names` only: any other key is the sender's own text and is never repeated.
    """
    check_syntax(body)
    faults = list(value_faults(body, names))
    if faults:
        raise InvalidDocument(faults=faults)


def check_syntax(body: bytes) -> Any:  # noqa: ANN401
    """What the bytes say, if they are one JSON text in UTF-8 with unique keys, of tolerable depth and size."""
    brackets = body.translate(_TO_SQUARE, _NOT_BRACKETS)
    if len(brackets) > 2 * MOST_CONTAINERS:
        raise TooLarge(f"A body may hold {MOST_CONTAINERS} objects and arrays.")
    try:
        tree = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        raise _malformed(str(error)) from None
    for _ in range(DEEPEST):
        # Each round takes away the innermost level. Brackets inside of text can spoil this, hence the second look.
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return tree
    if _depth(tree) > DEEPEST:
        raise _malformed("", f"It is nested deeper than {DEEPEST} levels.")
    return tree


def value_faults(body: bytes, names: frozenset[str]) -> Iterator[Fault]:
    """What is wrong with single values whatever they mean: numbers that no float can hold, text with a NUL.

    The bytes are searched for what could be one, which is cheap and finds a few that are none; then the document is
    read once more with every number as it is written.
    """
    digits = body.translate(_TO_ZEROS)
    if _MANY_DIGITS in digits or _GREAT_EXPONENT.search(digits) or _ESCAPED_NUL in body:
        tree = jiter.from_json(body, float_mode="lossless-float")
        yield from islice(_value_faults(tree, (), names), MOST_FAULTS)


def _value_faults(value: Any, at: tuple[str | int, ...], names: frozenset[str] | None) -> Iterator[Fault]:  # noqa: ANN401
    """Walk the document; `names` is `None` below a key that must not be repeated, where `at` stands still."""
    match value:
        case dict():
            for key, inner in value.items():
                if "\0" in key:
                    yield Fault(pointer(*at), FaultCode.BAD_TEXT)
                known = names is not None and key in names
                yield from _value_faults(inner, (*at, key) if known else at, names if known else None)
        case list():
            for i, inner in enumerate(value):
                yield from _value_faults(inner, at if names is None else (*at, i), names)
        case str() if "\0" in value:
            yield Fault(pointer(*at), FaultCode.BAD_TEXT)
        case jiter.LosslessFloat() | int() if _lost(value):
            yield Fault(pointer(*at), FaultCode.NOT_FINITE)


def _lost(number: jiter.LosslessFloat | int) -> bool:
    """Whether the number overflows, or is not zero and becomes zero."""
    try:
        nearest = abs(float(number))
    except OverflowError:
        return True
    return nearest == float("inf") or (nearest == 0 and re.search(r"^[^eE]*[1-9]", str(number)) is not None)


def _depth(tree: Any) -> int:  # noqa: ANN401
    level, depth = [tree], 0
    while level := [part for part in level if isinstance(part, dict | list)]:
        depth += 1
        level = [inner for part in level for inner in (part.values() if isinstance(part, dict) else part)]
    return depth


def _malformed(parser_says: str, why: str | None = None) -> MalformedDocument:
    """The refusal. What the parser says may quote a key, so only the place at its end is taken over."""
    place = _PLACE.search(parser_says)
    code = FaultCode.DUPLICATE_KEY if parser_says.startswith("Detected duplicate key") else FaultCode.MALFORMED
    detail = why or (f"The fault is at {place[0].replace(' column', ', byte')}." if place else None)
    return MalformedDocument(detail, [Fault("", code)])
