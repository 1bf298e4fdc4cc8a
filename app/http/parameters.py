"""The declared parameters of an operation: in its path, its query and its headers, with those of its dependencies."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.errors import Accepts
from app.timeline.accepts import accepted_by

Place = tuple[str, str]
"""Where a parameter is (`path`, `query` or `header`), and its name."""


def declared_parameters(part: Dependant) -> Iterator[tuple[Place, FieldInfo]]:
    """The parameters of a function and of all its dependencies; a model stands for its fields."""
    for where, parameters in (
        ("path", part.path_params), ("query", part.query_params), ("header", part.header_params),
    ):  # fmt: skip
        for parameter in parameters:
            declared = parameter.field_info.annotation
            if isinstance(declared, type) and issubclass(declared, BaseModel):
                yield from fields_of(declared, where)
            else:
                yield (where, parameter.alias), parameter.field_info
    for dependency in part.dependencies:
        yield from declared_parameters(dependency)


def fields_of(model: type[BaseModel], where: str = "query") -> Iterator[tuple[Place, FieldInfo]]:
    """The fields of a model of parameters."""
    for name, field in model.model_fields.items():
        yield (where, field.alias or name), field


def accepted_value(field: FieldInfo) -> Accepts | None:
    """What a parameter accepts."""
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return accepted_by(kind)
