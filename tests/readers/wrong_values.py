"""Wrong values for every field of a model: what each place accepts is read from the annotations of the model.

The service reads it from the JSON schema, so that the two ways can be compared.
"""

import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, RootModel
from pydantic.fields import FieldInfo

CANARY = "canary-7391"
NUMBER = 7391.25
"""Stand in what is sent; no refusal may repeat them."""
_UNLIKE = ("no such thing?", "\x07", "", "#")


class Wrong(NamedTuple):
    """A wrong value at a path below some place, and what the place accepts: some of the fields of `Accepts`."""

    path: tuple[str | int, ...]
    value: Any
    accepted: dict[str, Any]


def wrong_values(kind: Any, marks: tuple[Any, ...] = ()) -> Iterator[Wrong]:
    """Wrong values for a type: each member of a union, each field of a model, each end of a range."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from wrong_values(arguments[0], (*marks, *_flat(arguments[1:])))
    elif isinstance(kind, TypeVar) or kind is NoneType:
        return
    elif origin in {Union, UnionType}:
        for member in arguments:
            yield from wrong_values(member, marks)
    elif origin is Literal:
        yield Wrong((), CANARY, {"one_of": set(arguments)})
    elif origin is tuple:
        yield from _lists(arguments, marks)
    elif origin is dict:
        yield from _dictionaries(*arguments)
    elif isinstance(kind, type) and issubclass(kind, RootModel):
        yield from wrong_values(kind.model_fields["root"].annotation)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _fields(kind)
    elif kind is str:
        yield from _texts(marks)
    elif kind in {int, float}:
        yield from _numbers(marks)
    elif kind is bool:
        yield Wrong((), NUMBER, {"types": {"boolean"}})


def valid(kind: Any) -> Any:
    """A value of a type that needs no example of a field; `None` where there is none."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return valid(arguments[0])
    if origin in {Union, UnionType}:
        return valid(arguments[0])
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return [] if arguments[1:] == (...,) else [valid(each) for each in arguments]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: _example(field) for name, field in kind.model_fields.items() if field.is_required()}
    return {str: "2000-01-01", int: 1, float: 1.0, bool: True}.get(kind)


def _example(field: FieldInfo) -> Any:
    return field.examples[0] if field.examples else valid(field.annotation)


def _flat(marks: Any) -> Iterator[Any]:
    for mark in marks:
        if isinstance(mark, FieldInfo):
            yield from mark.metadata
        else:
            yield mark


def _stated(marks: tuple[Any, ...], name: str) -> Any:
    """What the marks state under a name, such as `max_length`."""
    return next((found for mark in marks if (found := getattr(mark, name, None)) is not None), None)


def _fields(model: type[BaseModel]) -> Iterator[Wrong]:
    whole = valid(model)
    yield Wrong((), whole | {CANARY: 1}, {"one_of": set(model.model_fields)})
    for name, field in model.model_fields.items():
        for wrong in wrong_values(field.annotation, tuple(_flat(field.metadata))):
            yield Wrong((name, *wrong.path), whole | {name: wrong.value}, wrong.accepted)


def _lists(arguments: tuple[Any, ...], marks: tuple[Any, ...]) -> Iterator[Wrong]:
    if arguments[1:] == (...,):
        least, most = _stated(marks, "min_length"), _stated(marks, "max_length")
        for wrong in wrong_values(arguments[0]):
            yield Wrong((0, *wrong.path), [wrong.value], wrong.accepted)
        if least:
            yield Wrong((), [], {"at_least_items": least})
        if most is not None:
            yield Wrong((), [valid(arguments[0])] * (most + 1), {"at_most_items": most})
        return
    whole = [valid(each) for each in arguments]
    yield Wrong((), [*whole, 1], {"at_most_items": len(whole)})
    for i, each in enumerate(arguments):
        for wrong in wrong_values(each):
            yield Wrong((i, *wrong.path), [*whole[:i], wrong.value, *whole[i + 1 :]], wrong.accepted)


def _dictionaries(keys: Any, values: Any) -> Iterator[Wrong]:
    """A dictionary whose keys are listed, or are the sender's own: these are no part of a path."""
    if get_origin(keys) is Literal:
        yield Wrong((), {CANARY: valid(values)}, {"one_of": set(get_args(keys))})
        for wrong in wrong_values(values):
            yield Wrong((get_args(keys)[0], *wrong.path), {get_args(keys)[0]: wrong.value}, wrong.accepted)
        return
    pattern = _stated(tuple(_flat(get_args(keys)[1:])), "pattern")
    unlike = next(text for text in _UNLIKE if re.search(pattern, text) is None)
    like = next(text for text in (CANARY, "L|CK", "centre") if re.search(pattern, text) is not None)
    yield Wrong((), {unlike: valid(values)}, {"pattern": pattern})
    for wrong in wrong_values(values):
        if not wrong.path:  # no place below the sender's key is named
            yield Wrong((), {like: wrong.value}, wrong.accepted)


def _texts(marks: tuple[Any, ...]) -> Iterator[Wrong]:
    yield Wrong((), NUMBER, {"types": {"string"}})
    if any(isinstance(mark, AfterValidator) for mark in marks):  # only its error says what it accepts
        return
    most, pattern = _stated(marks, "max_length"), _stated(marks, "pattern")
    if most is not None:
        yield Wrong((), "x" * (most + 1), {"at_most_characters": most})
    if pattern is not None:
        unlike = next(text for text in _UNLIKE if re.search(pattern, text) is None)
        yield Wrong((), unlike, {"pattern": pattern})


def _numbers(marks: tuple[Any, ...]) -> Iterator[Wrong]:
    yield Wrong((), CANARY, {"types": {"number", "integer"}})
    for name, field, step in (("ge", "at_least", -1), ("gt", "more_than", 0), ("le", "at_most", 1),
                              ("lt", "less_than", 0)):  # fmt: skip
        bound = _stated(marks, name)
        if bound is not None:
            yield Wrong((), int(bound) + step if field != "less_than" else 1, {field: bound})
