"""What a place of a document or a parameter accepts, from the JSON schema of its own model.

The schema has what the model declares (the members of a `Literal`, ranges, lengths, patterns), so that nothing is
listed a second time. It is made when the first fault needs it.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from app.errors import Accepts
from app.timeline.document import IDENTIFIER_PATTERN, TEXT_PATTERN
from app.timeline.times import DATE_FORM, DATE_PATTERN, TIME_FORM, TIME_PATTERN

FORMS = {
    TIME_PATTERN: TIME_FORM,
    DATE_PATTERN: DATE_FORM,
    IDENTIFIER_PATTERN: "1 to 64 of the characters A-Z, a-z, 0-9, dot and hyphen",
    TEXT_PATTERN: "text without control characters",
}
"""The patterns of our own documents in words."""

Schema = Mapping[str, Any]
_BOUNDS = {
    "minimum": "at_least",
    "exclusiveMinimum": "more_than",
    "maximum": "at_most",
    "exclusiveMaximum": "less_than",
    "minLength": "at_least_characters",
    "maxLength": "at_most_characters",
    "minItems": "at_least_items",
    "maxItems": "at_most_items",
    "maxProperties": "at_most_items",
    "pattern": "pattern",
}
"""The keywords of a JSON schema, and the fields of `Accepts` that have their values."""


@cache
def schema_of(kind: Any) -> Schema:  # noqa: ANN401 - a model, or any annotated type
    """The JSON schema of a type."""
    return TypeAdapter(kind).json_schema()


def accepted_by(kind: Any, path: Iterable[str | int] = (), document: object = None) -> Accepts | None:  # noqa: ANN401
    """What the place at a path accepts in a document of a type; `None` if the type says nothing about it.

    The document chooses between the members of a union that have a discriminator. If it has an object at the path
    whose keys are the sender's own, the place is any of its values.
    """
    found, value = _walk(schema_of(kind), path, document)
    if isinstance(value, dict) and found and all(_entries(schema) is not None for schema in found):
        found = [inner for schema in found for inner in _alternatives(_entries(schema), schema_of(kind), None)]
    return _merged(found)


def names_in(kind: Any, path: Iterable[str | int], document: object) -> Accepts | None:  # noqa: ANN401
    """The keys that the object at a path accepts."""
    root = schema_of(kind)
    found, _ = _walk(root, path, document)
    if names := dict.fromkeys(name for schema in found for name in schema.get("properties", ())):
        return Accepts(one_of=tuple(names))
    keys = [schema["propertyNames"] for schema in found if "propertyNames" in schema]
    keys += [{"pattern": pattern} for schema in found for pattern in schema.get("patternProperties", ())]
    return _merged([inner for key in keys for inner in _alternatives(key, root, None)])


def _walk(root: Schema, path: Iterable[str | int], document: object) -> tuple[list[Schema], object]:
    """The schemas of a place, and the value there, if the document has the place."""
    found = [*_alternatives(root, root, document)]
    for part in path:
        document = _inside(document, part)
        found = [
            each
            for schema in found
            if (inner := _member(schema, part)) is not None
            for each in _alternatives(inner, root, document)
        ]
    return found, document


def _inside(document: object, part: str | int) -> object:
    if isinstance(document, dict):
        return document.get(part)
    if isinstance(document, list) and isinstance(part, int) and part < len(document):
        return document[part]
    return None


def _member(schema: Schema, part: str | int) -> Schema | None:
    """The schema of a member: a field of an object or an element of a list."""
    if isinstance(part, int):
        first: list[Schema] = schema.get("prefixItems", [])
        return first[part] if part < len(first) else schema.get("items")
    return schema.get("properties", {}).get(part) or _entries(schema)


def _entries(schema: Schema) -> Schema | None:
    """The schema of the values of an object whose keys are not declared."""
    values = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
    return values[0] if isinstance(values[0], dict) else None


def _alternatives(schema: Schema | None, root: Schema, document: object) -> Iterator[Schema]:
    """The schemas of which a value must meet one, without references and without the one of `null`."""
    if schema is None:
        return
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        yield from _alternatives(schema, root, document)
        return
    members = schema.get("anyOf") or schema.get("oneOf")
    if members is None:
        if schema.get("type") != "null":
            yield schema
        return
    chosen = schema.get("discriminator", {})
    tag = document.get(chosen.get("propertyName")) if isinstance(document, dict) else None
    if isinstance(tag, str) and tag in chosen.get("mapping", {}):
        members = [{"$ref": chosen["mapping"][tag]}]
    for member in members:
        yield from _alternatives(member, root, document)


def _merged(found: Iterable[Schema]) -> Accepts | None:
    words: dict[str, None] = {}
    types: dict[str, None] = {}
    bounds: dict[str, Any] = {}
    for schema in found:
        listed = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
        words |= dict.fromkeys(map(str, listed))
        if not listed and "type" in schema:
            types[schema["type"]] = None
        bounds |= {name: schema[keyword] for keyword, name in _BOUNDS.items() if keyword in schema}
    if not (words or types or bounds):
        return None
    if "pattern" in bounds:
        bounds["form"] = FORMS.get(bounds["pattern"])
    return Accepts(one_of=tuple(words) or None, types=tuple(types) or None, **bounds)
