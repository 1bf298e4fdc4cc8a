"""The faults in the syntax, the single values and the structure of a JSON document.

The faults of the structure are made from the errors of Pydantic. Such an error contains the value, and its location
contains names that are not in the document (members of a union). A fault has only a pointer into the document as it was
sent, and a code.
"""

import json
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from gc import get_referents
from itertools import islice, repeat
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import jiter
from pydantic import BaseModel, ConfigDict, FailFast, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, MalformedDocument, TooLarge, pointer
from app.readers.budget import MOST_MEMBERS, MOST_TEXTS, MOST_VALUES, VALUES, check_texts, check_time, check_width
from app.timeline.accepts import accepted_by, names_in, schema_of
from app.timeline.document import IDENTIFIER_PATTERN
from app.timeline.normalize import MOST_FAULTS

STRICT = ConfigDict(strict=True, allow_inf_nan=False)

_OURS = frozenset(FaultCode)
"""Types of errors whose name is a fault code: some of Pydantic, and those of our own validators."""

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
"""The fault code of an unknown word in fields with these names."""

Path = tuple[str | int, ...]


class FoundFault(NamedTuple):
    """One fault with its place as a path. For an unknown field the place is the object that has it."""

    path: Path
    code: FaultCode
    detail: str | None = None
    accepts: Accepts | None = None

    def fault(self) -> Fault:
        """The fault with its place as a pointer."""
        return Fault(pointer(*self.path), self.code, self.detail, self.accepts)


@cache
def known_names(model: type[BaseModel]) -> frozenset[str]:
    """The keys that documents of this model may have, at any depth. Pointers contain only these keys."""
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
    """The faults in the structure of a document, which is JSON of `model` read as plain Python.

    Lists are checked element by element, because the check of Pydantic ends at the first bad element.
    """
    names = known_names(model)
    lists = _lists(model) if isinstance(document, dict) else {}
    yield from _check(_without_elements(document, lists, names), model, names, at)
    for name, kind in lists.items():
        elements = document.get(name)
        if not isinstance(elements, list):
            continue
        most = next(
            (mark.max_length for mark in model.model_fields[name].metadata if hasattr(mark, "max_length")), None
        )
        if most is not None and len(elements) > most:
            yield FoundFault((*at, name), FaultCode.TOO_LONG, accepts=accepted_by(model, (name,), document))
        for i, element in enumerate(elements):
            check_time()
            inside = (*at, name, i)
            if _is_model(kind):
                yield from structure(element, kind, inside)
            else:
                yield from _check(element, kind, names, inside)


def _without_elements(document: Any, lists: Iterable[str], names: frozenset[str]) -> Any:  # noqa: ANN401
    """The document with empty lists, and with at most one of its unknown fields."""
    if not lists:
        return document
    unknown = islice((name for name in document if name not in names), 1)
    return dict.fromkeys(unknown) | {
        name: [] if name in lists and isinstance(document[name], list) else document[name]
        for name in names.intersection(document)
    }


@cache
def _lists(model: type[BaseModel]) -> dict[str, Any]:
    """The lists of a model whose check ends early, here or further inside, with the type of their elements."""
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
    """The faults that Pydantic finds in one part, whose path is `at`."""
    try:
        _checker(kind).validate_json(json.dumps(document, ensure_ascii=False))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        tags = _tags(kind)
        faulty = {detail["loc"] for detail in details}
        inside = {place[:n] for place in faulty for n in range(len(place))}
        details = [each for each in details if each["type"] != "too_short" or each["loc"] not in inside]
        for fault in _without_echoes({_fault_of(detail, document, names, tags) for detail in details}):
            accepts = fault.accepts or _accepted(fault, kind, document)
            yield fault._replace(path=at + fault.path, accepts=accepts)


def _accepted(fault: FoundFault, kind: Any, document: Any) -> Accepts | None:  # noqa: ANN401
    """What the model accepts at the place of a fault. A contradiction is between places and not at one."""
    if fault.code is FaultCode.CONTRADICTION:
        return None
    if fault.code is FaultCode.UNKNOWN_FIELD:
        return names_in(kind, fault.path, document)
    return accepted_by(kind, fault.path, document)


@cache
def _tags(kind: Any) -> frozenset[tuple[str, str]]:  # noqa: ANN401
    """The discriminators of the unions of a type: the name of the field, and a word in it that selects a member."""
    return frozenset(_discriminators(schema_of(kind)))


def _discriminators(schema: object) -> Iterator[tuple[str, str]]:
    if isinstance(schema, dict):
        chosen = schema.get("discriminator", {})
        if "mapping" in chosen:
            yield from ((chosen["propertyName"], tag) for tag in chosen["mapping"])
        schema = list(schema.values())
    for inner in schema if isinstance(schema, list) else ():
        yield from _discriminators(inner)


def _fault_of(
    error: ErrorDetails,
    document: Any,  # noqa: ANN401
    names: frozenset[str],
    tags: frozenset[tuple[str, str]],
) -> FoundFault:
    kind, location = error["type"], error["loc"]
    context = error.get("ctx", {})
    if location[-1:] == ("[key]",):
        kind, location = "extra_forbidden", location[:-1]
    missing = kind == "missing"
    path, value = _walk(document, location[:-1] if missing or kind == "extra_forbidden" else location, names, tags)
    if missing and isinstance(location[-1], int):
        return FoundFault(path, FaultCode.TOO_SHORT)
    if missing:
        return FoundFault((*path, location[-1]), FaultCode.MISSING)
    if kind in _OURS:
        return FoundFault(path, FaultCode(kind), context.get("sentence"), context.get("accepts"))
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


def _walk(
    document: Any,  # noqa: ANN401
    location: Path,
    names: frozenset[str],
    tags: frozenset[tuple[str, str]],
) -> tuple[Path, Any]:
    """The path of a location in the document, and the value at this path.

    Names of union members, which Pydantic adds, are left out; a member may have a field of its own name. The path ends
    before a key that is not one of `names`, because such a key is the sender's own text.
    """
    path: Path = ()
    chosen: object = None
    for part in location:
        if document is not chosen and _is_tag(part, document, tags):
            chosen = document
            continue
        if isinstance(document, dict) and part in document:
            if part not in names:
                break
        elif not (isinstance(document, list) and isinstance(part, int) and part < len(document)):
            continue
        path, document = (*path, part), document[part]
    return path, document


def _is_tag(part: str | int, document: object, tags: frozenset[tuple[str, str]]) -> bool:
    """Whether a part of a location is the word by which an object selects a member of a union."""
    return isinstance(document, dict) and any(document.get(name) == part for name, tag in tags if tag == part)


def _without_echoes(found: Iterable[FoundFault]) -> Iterator[FoundFault]:
    """Leave out faults that only repeat another fault.

    Each member of a union that does not fit reports a wrong type, even if another member reports a more exact fault at
    the same place or below it. A list is reported as too short if it lacks only its faulty elements.
    """
    found = list(found)
    above = {fault.path[:n] for fault in found for n in range(len(fault.path))}
    exact = above | {fault.path for fault in found if fault.code is not FaultCode.WRONG_TYPE}
    return (
        fault
        for fault in found
        if (fault.code is not FaultCode.WRONG_TYPE or fault.path not in exact)
        and (fault.code is not FaultCode.TOO_SHORT or fault.path not in above)
    )


_LARGE = 1_000_000
"""Bodies with more bytes than this are read one after the other (`_turn`)."""
_ONE_LARGE = threading.Lock()
DEEPEST = 32
"""Greatest depth of a body. Valid documents have at most ten levels."""

_TO_ZEROS = bytes.maketrans(b"123456789E", b"000000000e")
_EXTREME = re.compile(rb"(?<![0-9.])(?:[0-9.]++[eE][-+]?[0-9]{3,}+|[0-9.]{200,}+)")
"""What may be a number that is lost; its sign does not matter."""
_GREAT_EXPONENT = re.compile(rb"0e[-+]?000+(?:[\s,\]}]|\Z)")
_MANY_DIGITS = b"0" * 200
_ESCAPED_NUL = b"\\u0000"
_WIDE = re.compile(rb"\xff\xfe|\xfe\xff|.?\x00", re.DOTALL)
"""How JSON in UTF-16 or UTF-32 begins, with or without a byte order mark."""
_PLACE = re.compile(r"line \d+ column \d+$")


class _Shape(NamedTuple):
    """How deep a document is nested, the members of its largest object, and its texts and names of members."""

    depth: int
    members: int
    texts: int


def first_pass(body: bytes, names: frozenset[str] = frozenset()) -> Any:  # noqa: ANN401 - parsed JSON
    """The parsed body, if it is JSON (RFC 8259) and has no values which cannot be stored.

    Raises `MalformedDocument` (with the place, if known), `TooLarge`, or `InvalidDocument` if single values have
    faults. Pointers contain only keys in `names`: any other key is the sender's own text and is never repeated.
    """
    tree = check_syntax(body)
    with _turn(body):
        doubtful = in_doubt(body)
    if not doubtful:
        return tree
    del tree  # the faults are found in a tree of their own
    faults = list(value_faults(body, names))
    if faults:
        raise InvalidDocument(faults=faults)
    return jiter.from_json(body)


def check_syntax(body: bytes) -> Any:  # noqa: ANN401
    """The parsed body, if it is one JSON text in UTF-8 with unique keys, and not too deep or too large.

    Raises `MalformedDocument` or `TooLarge`.
    """
    with _turn(body):
        return _checked(body)


def _turn(body: bytes) -> AbstractContextManager[object]:
    """Large bodies are read one after the other. No other thread runs during a search or a parse of all their bytes,
    so several at once would be no faster, and all others would wait for each of them.
    """
    return _ONE_LARGE if len(body) > _LARGE else nullcontext()


def _checked(body: bytes) -> Any:  # noqa: ANN401
    if _WIDE.match(body):
        why = "JSON is read as UTF-8, with or without a byte order mark; this looks like UTF-16 or UTF-32."
        raise MalformedDocument(why, [Fault("", FaultCode.UNKNOWN_ENCODING, None, Accepts(one_of=("UTF-8",)))])
    objects = body.count(b"{")
    _check_counts(body, objects)
    check_width(body)
    try:
        if objects <= DEEPEST and objects + body.count(b"[") <= DEEPEST and body.count(b",") < MOST_MEMBERS:
            return jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
        tree, shape = _parsed(body)
    except ValueError as error:
        raise _malformed(str(error)) from None
    if shape.members > MOST_MEMBERS:
        raise _too_many_members()
    if shape.depth > DEEPEST:
        raise _malformed("", f"It is nested deeper than {DEEPEST} levels.")
    return tree


def _check_counts(body: bytes, objects: int) -> None:
    """Raise `TooLarge` if the bytes show it; `objects` are at most so many. What they cannot show is not counted."""
    if len(body) > MOST_VALUES // 3:
        VALUES.check(VALUES.count(body))
    most = MOST_MEMBERS * objects
    if len(body) > 2 * most and VALUES.count(body) > MOST_MEMBERS and body.count(b'":') > most:
        raise _too_many_members()
    if len(body) > 2 * MOST_TEXTS:
        check_texts(body)


def _parsed(body: bytes) -> tuple[Any, _Shape]:
    """The parsed body and its shape. Raises `ValueError` if it is not JSON or has a key twice.

    A parser that looks for equal keys needs nearly twice the time. Without it, the last of equal keys stays, and the
    tree has fewer texts than the body has pairs of quotes. The parser looks for them to say where they are, and in a
    body with escaped quotes.
    """
    if b"\\" not in body or b'\\"' not in body:  # looking for one byte first is a hundred times faster
        with suppress(ValueError):
            tree = jiter.from_json(body, allow_inf_nan=False)
            shape = _shape(tree)
            if body.count(b'"') == 2 * shape.texts:
                return tree, shape
            del tree  # one tree at a time
    tree = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
    return tree, _shape(tree)


def value_faults(body: bytes, names: frozenset[str]) -> Iterator[Fault]:
    """The faults of single values of any field: numbers that a float cannot have, and text with a NUL.

    Only if there may be any, the document is read again, with every number as it is written.
    """
    if in_doubt(body):
        tree = jiter.from_json(body, float_mode="lossless-float")
        yield from islice(_value_faults(tree, (), names), MOST_FAULTS)


def in_doubt(body: bytes) -> bool:
    """Whether single values may have faults, by a fast search of the bytes."""
    extreme = any(map(_may_be_extreme, range(0, len(body), _LARGE), repeat(body)))
    return _ESCAPED_NUL in body or (extreme and any(map(_may_be_lost, _EXTREME.finditer(body))))


def _may_be_extreme(at: int, body: bytes) -> bool:
    """Whether a piece of a body, or what begins in it, may be a number that is lost. All of a large body at once would
    need as much memory again.
    """
    digits = body[at : at + _LARGE + 2 * len(_MANY_DIGITS)].translate(_TO_ZEROS)
    return _MANY_DIGITS in digits or _GREAT_EXPONENT.search(digits) is not None


def _may_be_lost(found: re.Match[bytes]) -> bool:
    """Whether a float cannot have what was found; in a text, it may be no number."""
    written = found[0].decode()
    return written.count(".") > 1 or _lost(written)


def _value_faults(value: Any, at: tuple[str | int, ...], names: frozenset[str] | None) -> Iterator[Fault]:  # noqa: ANN401
    """The faults below a value. `names` is `None` below a key that must not be repeated; `at` is the path above it."""
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


def _lost(number: jiter.LosslessFloat | int | str) -> bool:
    """Whether a float cannot have the number: it overflows, or it is not zero and becomes zero."""
    try:
        nearest = abs(float(number))
    except OverflowError:
        return True
    return nearest == float("inf") or (nearest == 0 and re.search(r"^[^eE]*[1-9]", str(number)) is not None)


def _too_many_members() -> TooLarge:
    return TooLarge(None, [Fault("", FaultCode.TOO_MANY, f"An object may have {MOST_MEMBERS} members.")])


def _shape(tree: Any) -> _Shape:  # noqa: ANN401
    """The shape of a document, measured level by level. What a level refers to are the values of its objects and the
    elements of its arrays.
    """
    depth = most = texts = 0
    level = [tree]
    while True:
        inner = [each for each in level if type(each) is not str]
        members = [len(each) for each in inner if type(each) is dict]
        texts += len(level) - len(inner) + sum(members)
        if not members and list not in map(type, inner):
            return _Shape(depth, most, texts)
        depth, most = depth + 1, max(most, *members, 0)
        level = get_referents(*inner)


def _malformed(message: str, reason: str | None = None) -> MalformedDocument:
    """The refusal. The message of the parser may contain a key, so only the place at its end is used."""
    place = _PLACE.search(message)
    code = FaultCode.DUPLICATE_KEY if message.startswith("Detected duplicate key") else FaultCode.MALFORMED
    detail = reason or (f"The fault is at {place[0].replace(' column', ', byte')}." if place else None)
    return MalformedDocument(detail, [Fault("", code)])
