"""The description of the API: what each operation reads, answers and refuses, and the document made from that.

Bodies are read and answered as bytes, so FastAPI sees no models. Operations name their models here; the document then
holds each schema once, under the name of its class.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app import errors
from app.errors import ServiceError
from app.http.problems import KINDS, MEDIA_TYPE, Problem, examples
from app.http.rooms import every_route

JSON = "application/json"
NDJSON = "application/x-ndjson"
_PLACE = "#/components/schemas/"
_RESPONSES = "#/components/responses/"
_PARAMETERS = "#/components/parameters/"
_HEADERS = "#/components/headers/"
_BEARER = (
    "An API key (`python -m app keys create`) or a JSON Web Token of the identity provider that the operator trusts. "
    "Its scopes say what it allows: `read`, `ingest`, `analyse`, `read-patients`, `admin`. A program on the same "
    "machine needs none."
)
_LINE_BREAK = re.compile(r"(?<!\n)\n(?![\n-])")
"""A line break inside a paragraph: neither a paragraph nor an item of a list begins after it."""
_named: dict[str, type[BaseModel]] = {}
_shared: dict[str, dict[str, Any]] = {}

Responses = dict[int | str, dict[str, Any]]

ALWAYS: tuple[type[ServiceError], ...] = (
    errors.MalformedDocument,
    errors.Unauthorized,
    errors.ForeignOrigin,
    errors.TooLarge,
    errors.AddressTooLong,
    errors.InvalidDocument,
    errors.TooManyRequests,
    errors.HeadersTooLarge,
    ServiceError,
    errors.Busy,
)
"""The refusals that any operation may answer."""
READING: tuple[type[ServiceError], ...] = (errors.BodyTimeout, errors.UnsupportedMediaType)
"""Further refusals of an operation that reads a body."""

HEADERS: dict[str, dict[str, Any]] = {
    name: {"description": description, "schema": {"type": "string", "examples": [value]}}
    for name, description, value in (
        ("ETag", "Strong validator of this representation, for If-None-Match and If-Match.", '"0b5a9c1e7f"'),
        (
            "Link",
            'The next page, as `<address>; rel="next"`, where there is one. Of a refusal: its kind.',
            '</v1/studies?cursor=WyJkZW1vIl0>; rel="next"',
        ),
        ("Location", "Address of what was created.", "/v1/studies/demo/patients/P01"),
        ("Retry-After", "Seconds after which the same request may be sent again.", "1"),
        (
            "RateLimit",
            "What is left of the client's rate (IETF draft); any answer may have it.",
            '"client";r=599;t=60',
        ),
        ("WWW-Authenticate", "How to say who one is (RFC 6750).", 'Bearer realm="myoresponse"'),
        ("Accept-Post", "The media types that this address reads.", JSON),
    )
}


def reference(model: type[BaseModel]) -> dict[str, Any]:
    """A reference to the schema of a model; the document holds the schema."""
    if _named.setdefault(model.__name__, model) is not model:
        raise ValueError(f"two models are named {model.__name__}")
    return {"$ref": _PLACE + model.__name__}


def specimen(model: type[BaseModel]) -> dict[str, Any]:
    """An example of a model, made from the examples of its fields."""
    return {name: field.examples[0] for name, field in model.model_fields.items() if field.examples}


def reads(schemas: Mapping[str, dict[str, Any]], description: str) -> dict[str, Any]:
    """What an operation reads, by media type, as `openapi_extra`."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def text(media_type: str, holds: dict[str, Any]) -> dict[str, Any]:
    """The schema of a body that is lines of text and not one JSON document; `holds` is the schema of its content.

    The format `binary` makes generated clients send and receive the body unchanged.
    """
    return {"type": "string", "format": "binary", "contentMediaType": media_type, "contentSchema": holds}


def answers(description: str, schema: dict[str, Any] | None, *headers: str, media_type: str = JSON) -> dict[str, Any]:
    """One documented response."""
    documented: dict[str, Any] = {"description": description}
    if schema is not None:
        documented["content"] = {media_type: {"schema": schema}}
    if headers:
        documented["headers"] = {name: {"$ref": _HEADERS + name} for name in headers}
    return documented


def refuses(*kinds: type[ServiceError], reading: bool = False) -> Responses:
    """The documented refusals of an operation: those named and those that any operation may give."""
    chosen = sorted({*kinds, *ALWAYS, *(READING if reading else ())}, key=lambda kind: kind.status)
    return {kind.status: {"$ref": _RESPONSES + kind.__name__} for kind in chosen}


def shared(name: str, documented: dict[str, Any]) -> dict[str, Any]:
    """A reference to a response of several operations; the document holds the response once."""
    _shared[name] = documented
    return {"$ref": _RESPONSES + name}


NOT_MODIFIED = shared(
    "NotModified", answers("The representation is still the one that If-None-Match names.", None, "ETag")
)


def headers_of(kind: type[ServiceError]) -> tuple[str, ...]:
    """The headers of a refusal, without those that any answer or any refusal may have."""
    return _HEADERS_OF.get(kind, ())


_HEADERS_OF: dict[type[ServiceError], tuple[str, ...]] = {
    errors.Busy: ("Retry-After",),
    errors.Conflict: ("Retry-After",),
    errors.TooManyRequests: ("Retry-After", "RateLimit"),
    errors.Unauthorized: ("WWW-Authenticate",),
    errors.ForeignOrigin: ("WWW-Authenticate",),
    errors.UnsupportedMediaType: ("Accept-Post",),
}


def refused_with(model: type[Problem], kind: type[ServiceError]) -> dict[str, Any]:
    """A refusal of this kind, and of all that have its status, as a problem document of this model."""
    kinds = together(kind)
    documented = answers(
        " ".join(f"{each.title()}." for each in kinds), reference(model), *headers_of(kind), media_type=MEDIA_TYPE
    )
    documented["content"][MEDIA_TYPE]["examples"] = examples(kinds)
    return documented


def together(kind: type[ServiceError]) -> list[type[ServiceError]]:
    """The kinds of refusals that one response describes, because they have one status."""
    return [kind, *_SAME_STATUS.get(kind, ())]


_SAME_STATUS: dict[type[ServiceError], tuple[type[ServiceError], ...]] = {
    errors.Busy: (errors.Unavailable,),
    errors.ForeignOrigin: (errors.Forbidden,),
    errors.MalformedDocument: (errors.AmbiguousAddress,),
    errors.BodyTimeout: (errors.HeadTimeout,),
}


def openapi(app: FastAPI) -> dict[str, Any]:
    """The whole document; it is built once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=list(every_route(app)),
            tags=app.openapi_tags,
            servers=app.servers,
            license_info=app.license_info,
            separate_input_output_schemas=False,
        )
        schemas = document.get("components", {}).get("schemas", {}) | _schemas()
        document["components"] = {
            "schemas": {name: schemas[name] for name in sorted(schemas)},
            "responses": _shared_responses(document["paths"]),
            "parameters": _shared_parameters(document["paths"]),
            "headers": HEADERS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": _BEARER}},
        }
        document["security"] = [{"bearer": []}, {}]
        app.openapi_schema = _tidy(document)
    return app.openapi_schema


def _schemas() -> dict[str, Any]:
    models = sorted(_named.values(), key=lambda model: model.__name__)
    names, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_PLACE + "{model}")
    misnamed = [model.__name__ for (model, _), place in names.items() if place["$ref"] != _PLACE + model.__name__]
    if misnamed:
        raise ValueError(f"two schemas are named alike: {misnamed}")
    return dict(schemas["$defs"])


def _operations(paths: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in paths.values():
        yield from path.values()


def _shared_responses(paths: dict[str, Any]) -> dict[str, Any]:
    """The responses that operations refer to; FastAPI adds a description to each reference, which is removed.

    A response that several operations write out is shared too, under the name of the first of them and its status.
    """
    kinds = {kind.__name__: kind for kind in KINDS.values()}
    used: set[str] = set()
    for operation in _operations(paths):
        for status, response in operation["responses"].items():
            if "$ref" in response:
                operation["responses"][status] = {"$ref": response["$ref"]}
                used.add(response["$ref"].removeprefix(_RESPONSES))
    shared = {name: _shared.get(name) or refused_with(Problem, kinds[name]) for name in sorted(used)}
    return shared | _repeated_responses(paths)


def _repeated_responses(paths: dict[str, Any]) -> dict[str, Any]:
    places: dict[str, list[tuple[dict[str, Any], str, str]]] = {}
    for operation in _operations(paths):
        for status, response in operation["responses"].items():
            if "$ref" not in response:
                written = json.dumps(response, sort_keys=True)
                places.setdefault(written, []).append((operation["responses"], status, operation["operationId"]))
    repeated = {}
    for found in places.values():
        responses, status, first = found[0]
        if len(found) > 1:
            name = f"{first}.{status}"
            repeated[name] = responses[status]
            for each, code, _ in found:
                each[code] = {"$ref": _RESPONSES + name}
    return repeated


def _shared_parameters(paths: dict[str, Any]) -> dict[str, Any]:
    """Each parameter once, under its name; operations refer to it.

    If several parameters have one name, the one that most operations take keeps it. The name of each of the others is
    followed by the first operation that takes it.
    """
    uses: Counter[str] = Counter()
    first: dict[str, str] = {}
    for operation in _operations(paths):
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _as_sent(parameter["schema"])
            uses[json.dumps(parameter)] += 1
            first.setdefault(json.dumps(parameter), operation["operationId"])
    names: dict[str, str] = {}
    for written, _ in uses.most_common():
        name = json.loads(written)["name"].replace(":", ".")
        names[written] = f"{name}.{first[written]}" if name in names.values() else name
    for operation in _operations(paths):
        for place, parameter in enumerate(operation.get("parameters", [])):
            operation["parameters"][place] = {"$ref": _PARAMETERS + names[json.dumps(parameter)]}
    return {name: json.loads(written) for name, written in sorted((name, written) for written, name in names.items())}


def _as_sent(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter: it is never null, and its description is not repeated, because the parameter has it.
    A constant is written as an enumeration: generators of clients accept no constant in a header.
    """
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema = {**choices[0], **{name: value for name, value in schema.items() if name not in {"anyOf", "default"}}}
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    return {name: value for name, value in schema.items() if name != "description"}


_DATA = frozenset({"example", "examples", "default", "enum", "const", "required"})


def _tidy(part: Any, *, data: bool = False) -> Any:  # noqa: ANN401 - a JSON document
    """The document without titles that repeat names, without defaults of null, and with each paragraph of a description
    on one line.
    """
    if isinstance(part, list):
        return [_tidy(item, data=data) for item in part]
    if not isinstance(part, dict) or data:
        return part
    tidied = {}
    for name, value in part.items():
        if name == "title" and isinstance(value, str) and "version" not in part:
            continue
        if name == "default" and value is None:
            continue
        if name == "description" and isinstance(value, str):
            tidied[name] = _LINE_BREAK.sub(" ", value)
        else:
            tidied[name] = _tidy(value, data=name in _DATA)
    return tidied


class _Plain(yaml.SafeDumper):
    """YAML for people: without anchors, which few tools for API descriptions read, with long texts as blocks, and with
    short lists and objects on one line.
    """

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401 - as the base class has it
        """Write every value in full."""
        return True

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:  # noqa: ANN401
        """A list."""
        return super().represent_sequence(tag, sequence, _is_short(sequence) or flow_style)

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:  # noqa: ANN401
        """An object."""
        return super().represent_mapping(tag, mapping, _is_short(mapping.values()) or flow_style)


def _is_short(values: Iterable[Any]) -> bool:
    """Whether values fit together on one line."""
    text = json.dumps(list(values), ensure_ascii=False)
    return len(text) <= 110 and "\\n" not in text


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def openapi_yaml(app: FastAPI) -> str:
    """The document as YAML, the same bytes every time."""
    return yaml.dump(openapi(app), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
