"""Estimates that are kept by what they were made from: equal values are not estimated again.

After a new result most estimates of a study are those of before, because most of them do not read it. An estimate is
a function of its values and conventions alone, so the one that is kept equals the one that would be made. The same is
true of a drawing, which is kept by the bytes of its specification.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterable
from typing import Any, ParamSpec, TypeVar

import numpy as np
from pydantic import BaseModel

Given = ParamSpec("Given")
Estimate = TypeVar("Estimate")
Kept = dict[Hashable, tuple[Any, int]]
"""Estimates with their sizes in bytes, by their makers, values and conventions; the one asked for last is the last."""
BYTES_OF_A_MODEL = 700
"""An average of the models of estimates, with their numbers."""


def known_or_made(
    kept: Kept, estimate: Callable[Given, Estimate], *values: Given.args, **conventions: Given.kwargs
) -> Estimate:
    """What `estimate` makes of these values. Raises `TypeError` if one is no array of numbers and cannot be hashed."""
    key = (estimate, *map(_content, values), *((name, _content(value)) for name, value in conventions.items()))
    found = kept.pop(key, None)
    if found is None:
        made = estimate(*values, **conventions)
        found = made, len(made) if isinstance(made, str) else BYTES_OF_A_MODEL * _models_in(made)
    kept[key] = found
    known: Estimate = found[0]
    return known


def _content(value: object) -> Hashable:
    """The value, or of an array what nobody finds twice for different ones."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).digest()
    if isinstance(value, bytes):
        return bytes, hashlib.sha256(value).digest()
    if isinstance(value, Hashable):
        return value
    raise TypeError("neither an array of numbers nor a value that can be hashed")


def _models_in(made: object) -> int:
    """The number of models in an estimate, at least 1."""
    parts: Iterable[object] = (
        made if isinstance(made, tuple) else vars(made).values() if isinstance(made, BaseModel) else ()
    )
    return 1 + sum(_models_in(part) for part in parts if isinstance(part, tuple | BaseModel))


def keep_within(kept: Kept, most: int) -> None:
    """Drop the estimates that were asked for the longest time ago, until the others have at most so many bytes."""
    sizes = [(key, size) for key, (_, size) in tuple(kept.items())]
    total = sum(size for _, size in sizes)
    for key, size in sizes:
        if total <= most:
            return
        kept.pop(key, None)
        total -= size
