"""Says quickly whether a value satisfies a schema of the API description, and not why it does not.

Each schema becomes a function once. `jsonschema` reads the schema again for each value, which was half of the time of a
test of the API; it is still asked for the reasons. A keyword that is not known here raises `KeyError`.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

from jsonschema import FormatChecker

Check = Callable[[Any], bool]
_IGNORED = frozenset({"default", "deprecated", "description", "discriminator", "examples", "title"})
_FORMATS = FormatChecker()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Check] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "null": lambda value: value is None,
    "number": _is_number,
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


def _equal(value: Any, each: str | float | bool | None) -> bool:
    return value == each and isinstance(value, bool) == isinstance(each, bool)


def _among(allowed: Collection[Any]) -> Check:
    texts = frozenset(each for each in allowed if isinstance(each, str))
    others = [each for each in allowed if not isinstance(each, str)]
    assert not any(isinstance(each, dict | list) for each in others)
    return lambda value: value in texts if isinstance(value, str) else any(_equal(value, each) for each in others)


_KEYWORDS: dict[str, tuple[str, Callable[[Any], Check]]] = {
    "minimum": ("number", lambda least: lambda value: value >= least),
    "maximum": ("number", lambda most: lambda value: value <= most),
    "exclusiveMinimum": ("number", lambda least: lambda value: value > least),
    "exclusiveMaximum": ("number", lambda most: lambda value: value < most),
    "minLength": ("string", lambda least: lambda value: len(value) >= least),
    "maxLength": ("string", lambda most: lambda value: len(value) <= most),
    "pattern": ("string", lambda text: lambda value, found=re.compile(text).search: found(value) is not None),
    "format": ("string", lambda name: lambda value: _FORMATS.conforms(value, name)),
    "minItems": ("array", lambda least: lambda value: len(value) >= least),
    "maxItems": ("array", lambda most: lambda value: len(value) <= most),
    "minProperties": ("object", lambda least: lambda value: len(value) >= least),
    "maxProperties": ("object", lambda most: lambda value: len(value) <= most),
    "required": ("object", lambda names: lambda value: all(name in value for name in names)),
}
"""What is asked of values of one type, by keyword."""
_TOGETHER = frozenset({"properties", "patternProperties", "additionalProperties", "items", "prefixItems"})


class Schemas:
    """The schemas of a description by name, each made into a function when it is first needed."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas
        self._known: dict[str, Check] = {}

    def check(self, schema: Any) -> Check:
        """What tells whether a value satisfies this schema."""
        if isinstance(schema, bool):
            return lambda _: schema
        checks = [self._of(word, schema[word]) for word in schema if word not in _IGNORED | _TOGETHER]
        if schema.keys() & {"properties", "patternProperties", "additionalProperties"}:
            checks.append(self._object(schema))
        if schema.keys() & {"items", "prefixItems"}:
            checks.append(self._array(schema))
        return checks[0] if len(checks) == 1 else lambda value: all(check(value) for check in checks)

    def _of(self, word: str, given: Any) -> Check:
        match word:
            case "type":
                kinds = [_TYPES[name] for name in ([given] if isinstance(given, str) else given)]
                return kinds[0] if len(kinds) == 1 else lambda value: any(kind(value) for kind in kinds)
            case "$ref":
                return self._named(given.removeprefix("#/components/schemas/"))
            case "const":
                return _among([given])
            case "enum":
                return _among(given)
            case "allOf" | "anyOf" | "oneOf":
                parts = [self.check(each) for each in given]
                if word == "oneOf":
                    return lambda value: sum(part(value) for part in parts) == 1
                joined = all if word == "allOf" else any
                return lambda value: joined(part(value) for part in parts)
            case "propertyNames":
                names = self.check(given)
                return lambda value: not isinstance(value, dict) or all(map(names, value))
        kind, make = _KEYWORDS[word]
        of_kind, asked = _TYPES[kind], make(given)
        return lambda value: not of_kind(value) or asked(value)

    def _named(self, name: str) -> Check:
        """A schema may name itself, so that it is made when a value is there."""

        def check(value: Any) -> bool:
            if name not in self._known:
                self._known[name] = self.check(self._schemas[name])
            return self._known[name](value)

        return check

    def _object(self, schema: dict[str, Any]) -> Check:
        declared = {name: self.check(part) for name, part in schema.get("properties", {}).items()}
        patterns = [
            (re.compile(text).search, self.check(part)) for text, part in schema.get("patternProperties", {}).items()
        ]
        other = self.check(schema.get("additionalProperties", True))

        def check(value: Any) -> bool:
            if not isinstance(value, dict):
                return True
            for name, each in value.items():
                asked = [declared[name]] if name in declared else []
                asked += [part for found, part in patterns if found(name)]
                if not all(part(each) for part in asked or [other]):
                    return False
            return True

        return check

    def _array(self, schema: dict[str, Any]) -> Check:
        first = [self.check(part) for part in schema.get("prefixItems", [])]
        rest = self.check(schema.get("items", True))

        def check(value: Any) -> bool:
            if not isinstance(value, list):
                return True
            return all(part(each) for part, each in zip(first, value, strict=False)) and all(
                map(rest, value[len(first) :])
            )

        return check
