"""The quick test of a value against a schema of the API description agrees with `jsonschema`."""

import json

import pytest

from app.demo import STUDY
from tests.documented import operation_of, satisfied, strict, validator
from tests.journeys.conftest import demo

__all__ = ["demo"]
ODD = [
    None, True, False, 0, 1, 1.0, 2.5, -1, 1e9, "", "x", "CK", "2005-03-16", "2005-13-16", "a b", [], [1], ["x", 2], {},
    {"x": 1}, {"a b": 1}, [{}] * 60, "x" * 5_000,
]  # fmt: skip


def parts(schema):
    """A schema and all schemas within it."""
    if isinstance(schema, dict):
        yield schema
        for word in ("items", "additionalProperties", "propertyNames"):
            yield from parts(schema.get(word))
        for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
            for each in schema.get(word, []):
                yield from parts(each)
        for word in ("properties", "patternProperties"):
            for each in schema.get(word, {}).values():
                yield from parts(each)


def bounds(schema):
    """The values at and beside what a schema names."""
    for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if name in schema:
            yield from (schema[name] - 1, schema[name], schema[name] + 1)
    for name, one in (("Length", "x"), ("Items", 1)):
        for most in (schema[edge + name] for edge in ("min", "max") if edge + name in schema):
            for count in range(max(most - 1, 0), most + 2):
                yield one * count if name == "Length" else [one] * count
    for name in ("minProperties", "maxProperties"):
        if name in schema:
            yield from ({f"k{n}": n for n in range(schema[name] + more)} for more in (-1, 0, 1))
    for each in [*schema.get("enum", []), *([schema["const"]] if "const" in schema else [])]:
        yield from (each, [each], bool(each), float(each) if isinstance(each, int) else f"{each} ")


def damaged(value):
    """A value with one thing changed, in each place."""
    if isinstance(value, dict):
        yield value | {"unknown": 1}
        for name, each in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            yield from ({**value, name: changed} for changed in damaged(each))
    elif isinstance(value, list):
        yield [*value, None]
        for place, each in enumerate(value):
            yield from ([*value[:place], changed, *value[place + 1 :]] for changed in damaged(each))
    else:
        yield from (each for each in (None, 0, 1.5, True, "x", [], {}) if each is not value)


def test_what_is_satisfied_is_what_jsonschema_accepts():
    every = {}
    for part in (part for schema in strict().values() for part in parts(schema)):
        schema = {name: each for name, each in part.items() if name not in {"description", "examples", "title"}}
        values = every.setdefault(json.dumps(schema), [*ODD, *bounds(part)])
        values += [each for example in part.get("examples", [])[:1] for each in (example, *damaged(example))]
    assert len(every) > 500
    differ = [
        (text, value)
        for text, values in every.items()
        for value in values
        if satisfied(text)(value) != validator(text).is_valid(value)
    ]
    assert differ == []


@pytest.mark.parametrize("name", ["response-rates", "ck-normal-time", "sensitivity"])
def test_a_damaged_answer_is_satisfied_where_jsonschema_accepts_it(demo, name):
    address = f"/v1/studies/{STUDY}/analyses/{name}"
    _, operation = operation_of("GET", address)
    text = json.dumps(operation["responses"]["200"]["content"]["application/json"]["schema"])
    answer = demo.get(address).json()
    assert satisfied(text)(answer)
    changed = list(damaged(answer))
    some = changed[:: len(changed) // 40 + 1]
    found = [satisfied(text)(each) for each in some]
    assert found == [validator(text).is_valid(each) for each in some]
    assert False in found


def test_an_unknown_keyword_is_not_passed_over():
    with pytest.raises(KeyError, match="multipleOf"):
        satisfied('{"multipleOf": 2}')


@pytest.mark.parametrize(
    "schema", [{"oneOf": [{"type": "integer"}, {"type": "number"}]}, {"enum": [1, None, "1"]}, {"const": False}]
)
def test_what_the_description_does_not_need_yet_agrees_too(schema):
    text = json.dumps(schema)
    assert [satisfied(text)(each) for each in ODD] == [validator(text).is_valid(each) for each in ODD]
