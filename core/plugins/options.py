"""Options of a component: what there are, and turning what a user gave into the component's own pydantic model."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from m2m.core.errors import M2MError

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Option:
    """One option as a user sees it; `default` is None for a required one as well as for a default of None."""

    name: str
    type: str
    default: Any
    required: bool
    description: str

    def __str__(self) -> str:
        default = "" if self.required else f" = {self.default}"
        return f"{self.name}: {self.type}{default}"


def describe(model: type[BaseModel]) -> list[Option]:
    """The options of a component, in the order of their declaration.

    >>> from pydantic import Field
    >>> class Options(BaseModel):
    ...     passes: int = Field(32, gt=0, description="rounds of the iteration")
    >>> print(*describe(Options))
    passes: int = 32
    """
    options = []
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        required = default is PydanticUndefined
        default = None if required else default
        options.append(Option(name, spell(field.annotation), default, required, field.description or ""))
    return options


def validate(model: type[Model], values: Mapping[str, object], who: str) -> Model:
    """Options from what a user gave; strings, as a command line has them, are turned into the option's type.

    A string that does not fit as it stands is tried as JSON, so that `null`, `[512, 1024]` and the like can be given.
    Raises M2MError, which names `who`, the option at fault and what options there are.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error
    at_fault = {str(found["loc"][0]) for found in first.errors() if found["loc"]}
    try:
        return model.model_validate({name: _json(v) if name in at_fault else v for name, v in values.items()})
    except ValidationError:
        raise M2MError(f"{who}: {_complaint(model, first)}") from first


def _complaint(model: type[BaseModel], error: ValidationError) -> str:
    said = []
    for found in error.errors():
        name = ".".join(map(str, found["loc"]))
        if found["type"] == "extra_forbidden":
            said.append(f"there is no option {name!r}")
        elif found["type"] == "missing":
            said.append(f"option {name!r} must be given")
        else:
            message = found["msg"][:1].lower() + found["msg"][1:]
            said.append(f"option {name!r}: {message}, not {found['input']!r}" if name else message)
    known = ", ".join(map(str, describe(model)))
    return f"{'; '.join(said)} ({f'options are {known}' if known else 'it has no options'})."


def _json(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def spell(annotation: Any) -> str:
    """A type as a user would write it: `int`, `'fast' | 'exact'`, `float | None`, `tuple[int, ...]`."""
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " | ".join(map(repr, typing.get_args(annotation)))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(spell, typing.get_args(annotation)))
    if annotation is type(None):
        return "None"
    if origin is typing.Annotated:
        return spell(typing.get_args(annotation)[0])
    if origin is None:
        return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
    inner = ", ".join("..." if argument is Ellipsis else spell(argument) for argument in typing.get_args(annotation))
    return f"{origin.__name__}[{inner}]"
