"""What is wrong with the structure of a document, in our words: Pydantic's errors as faults.

An error of Pydantic holds the value, sometimes a part of it in its message, and in its location names of its own making
(members of a union). A fault has a pointer that leads through the document as it was sent, a code, and nothing else.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import jiter
from pydantic import BaseModel, ConfigDict, FailFast, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument, TooLarge, pointer
from app.timeline.document import IDENTIFIER_PATTERN
from app.timeline.normalize import MOST_FAULTS

STRICT = ConfigDict(strict=True, allow_inf_nan=False)

_OURS = frozenset(FaultCode)
"""Types of errors that have the name of a code: some of Pydantic's, and those that our own validators raise."""

_CODES: dict[str, FaultCode] = {
    "extra_forbidden": FaultCode.UNKNOWN_FIELD,
    "finite_number": FaultCode.NOT_FINITE,
    "greater_than": FaultCode.OUT_OF_RANGE,
    "greater_than_equal": FaultCode.OUT_OF_RANGE,
    "less_than": FaultCode.OUT_OF_RANGE,
    "less_than_equal": FaultCode.OUT_OF_RANGE,
    "int_parsing_size": FaultCode.OUT_OF_RANGE,
    "string_too_long": FaultCode.TOO_LONG,
    "string_too_short": FaultCode.TOO_SHORT,
    "literal_error": FaultCode.UNKNOWN_VALUE,
    "union_tag_invalid": FaultCode.UNKNOWN_VALUE,
    "union_tag_not_found": FaultCode.MISSING,
    "value_error": FaultCode.UNKNOWN_VALUE,
    "assertion_error": FaultCode.UNKNOWN_VALUE,
}
_LITERALS = {"code": FaultCode.UNKNOWN_CODE, "unit": FaultCode.UNKNOWN_UNIT}
"""What an unlisted word is called in fields of these names."""

Path = tuple[str | int, ...]


class FoundFault(NamedTuple):
    """One fault with its place as a path; for an unknown field that is the object that has it."""

    path: Path
    code: FaultCode
    detail: str | None = None

    def fault(self) -> Fault:
        """The fault with its place as a pointer."""
        return Fault(pointer(*self.path), self.code, self.detail)


@cache
def known_names(model: type[BaseModel]) -> frozenset[str]:
    """The keys that documents of this model may have, at any depth: a pointer passes through these only."""
    return frozenset(_names(model.model_json_schema()))


def _names(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        key = schema.get("propertyNames")
        if isinstance(key, dict):
            yield from key.get("enum", ())
        for inner in schema.values():
            yield from _names(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _names(inner)


def structure(document: Any, model: type[BaseModel], at: Path = ()) -> Iterator[FoundFault]:  # noqa: ANN401
    """What is wrong with the structure of a document, the JSON of `model` read as plain Python.

    The lists of a document are looked into element by element, because their own check ends at the first bad one.
    """
    names = known_names(model)
    lists = _lists(model) if isinstance(document, dict) else {}
    yield from _check(_without_elements(document, lists, names), model, names, at)
    for name, kind in lists.items():
        elements = document.get(name)
        for i, element in enumerate(elements if isinstance(elements, list) else ()):
            inside = (*at, name, i)
            if _is_model(kind):
                yield from structure(element, kind, inside)
            else:
                yield from _check(element, kind, names, inside)


def _without_elements(document: Any, lists: Iterable[str], names: frozenset[str]) -> Any:  # noqa: ANN401
    """The document with its lists emptied, and with one at most of the fields that it should not have."""
    if not lists:
        return document
    unknown = islice((name for name in document if name not in names), 1)
    return {
        name: [] if name in lists and isinstance(document[name], list) else document[name]
        for name in (*names.intersection(document), *unknown)
    }


@cache
def _lists(model: type[BaseModel]) -> dict[str, Any]:
    """The fields of a model that are lists whose check ends early, here or further inside, and what each lists."""
    kinds = {name: _element(field.annotation, field.metadata) for name, field in model.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _element(annotation: Any, marks: Iterable[Any]) -> Any:  # noqa: ANN401
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _element(arguments[0], [mark for given in arguments[1:] for mark in getattr(given, "metadata", ())])
    if get_origin(annotation) is tuple:
        ends_early = FailFast(fail_fast=True) in marks or (_is_model(arguments[0]) and _lists(arguments[0]))
        return arguments[0] if ends_early and arguments[1:] == (...,) else None
    if get_origin(annotation) in {Union, UnionType}:
        return next(filter(None, (_element(member, ()) for member in arguments)), None)
    return None


@cache
def _checker(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401
    return TypeAdapter(kind, config=None if _is_model(kind) else STRICT)


def _is_model(kind: Any) -> bool:  # noqa: ANN401
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _check(document: Any, kind: Any, names: frozenset[str], at: Path) -> Iterator[FoundFault]:  # noqa: ANN401
    """What Pydantic finds in one part, which stands at `at`."""
    try:
        _checker(kind).validate_json(json.dumps(document))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        for each in _without_echoes({_found(detail, document, names) for detail in details}):
            yield each._replace(path=at + each.path)


def _found(error: ErrorDetails, document: Any, names: frozenset[str]) -> FoundFault:  # noqa: ANN401
    kind, location = error["type"], error["loc"]
    context = error.get("ctx", {})
    if location[-1:] == ("[key]",):
        kind, location = "extra_forbidden", location[:-1]
    missing = kind == "missing"
    path, value = _walk(document, location[:-1] if missing or kind == "extra_forbidden" else location, names)
    if missing and isinstance(location[-1], int):
        return FoundFault(path, FaultCode.TOO_SHORT)
    if missing:
        return FoundFault((*path, location[-1]), FaultCode.MISSING)
    if kind in _OURS:
        return FoundFault(path, FaultCode(kind), context.get("sentence"))
    if kind == "string_pattern_mismatch":
        return FoundFault(
            path, FaultCode.BAD_IDENTIFIER if context["pattern"] == IDENTIFIER_PATTERN else FaultCode.BAD_TEXT
        )
    if kind == "literal_error":
        listed = _LITERALS.get(str(path[-1]), FaultCode.UNKNOWN_VALUE) if path else FaultCode.UNKNOWN_VALUE
        return FoundFault(path, listed if isinstance(value, str) else FaultCode.WRONG_TYPE)
    if kind in {"union_tag_invalid", "union_tag_not_found"} and isinstance(value, dict):
        tag = context["discriminator"].strip("'")
        path = (*path, tag) if tag in names else path
    return FoundFault(path, _CODES.get(kind, FaultCode.WRONG_TYPE))


def _walk(document: Any, location: Path, names: frozenset[str]) -> tuple[Path, Any]:  # noqa: ANN401
    """The part of a location that leads through the document, and the value there.

    Names of union members, which Pydantic puts in between, lead nowhere and are left out. At a key that is not one of
    `names` the way ends, for it is the sender's own text.
    """
    path: Path = ()
    for part in location:
        if isinstance(document, dict) and part in document:
            if part not in names:
                break
        elif not (isinstance(document, list) and isinstance(part, int) and part < len(document)):
            continue
        path, document = (*path, part), document[part]
    return path, document


def _without_echoes(found: Iterable[FoundFault]) -> Iterator[FoundFault]:
    """Leave out the members of a union that a value was not meant for: one says no more than that its type is another,
    while at the same place or below it another member says what is wrong. A list is not too short either that only
    lacks its faulty elements.
    """
    found = list(found)
    told = {each.path[:n] for each in found for n in range(len(each.path))}
    told |= {each.path for each in found if each.code is not FaultCode.WRONG_TYPE}
    inside = {each.path[:n] for each in found for n in range(len(each.path))}
    return (
        each
        for each in found
        if (each.code is not FaultCode.WRONG_TYPE or each.path not in told)
        and (each.code is not FaultCode.TOO_SHORT or each.path not in inside)
    )


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
