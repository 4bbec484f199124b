"""The config of a training run: a YAML or TOML file, then single values from the command line on top."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError

from m2m.core.errors import M2MError
from m2m.core.system.files import read_bytes

RUN = "run.json"  # the config of a training run, in the run's folder
MAX_BYTES = 1 << 20

Run = TypeVar("Run", bound=BaseModel)


def load_run(
    run_type: type[Run], path: Path | None, values: Mapping[str, object], base: Mapping[str, object] | None = None
) -> Run:
    """Read a run's config.

    path: a .yaml, .toml or .json file, such as a run's own run.json; None for the defaults.
    values: dotted names to values, such as {"loop.steps": 500}; strings are turned into the field's type, tables
        and lists may be JSON.
    base: fields that the file goes over.
    Raises M2MError that names the field at fault.
    """
    tree = _with_current_names(run_type, {**(base or {}), **(_read(path) if path else {})})
    tree.pop("kind", None)
    for name, value in values.items():
        *parents, last = _current_path(run_type, name)
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise M2MError(f"--set {name}: {parent!r} is a value, not a group of fields.")
        branch[last] = _from_json(value)
    try:
        return run_type.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        where = f"config: {where}" if where else "config"
        came = "" if isinstance(first["input"], dict) else f", {first['input']!r} came"
        known = _fields(run_type, [str(part) for part in first["loc"][:-1]])
        unknown = first["type"] in ("extra_forbidden", "unexpected_keyword_argument")
        hint = f"; there are {', '.join(known)}" if unknown and known else ""
        said = first["msg"].removeprefix("Value error, ")
        raise M2MError(f"{where}: {said[:1].lower()}{said[1:]}{came}{hint}.") from error


def read_run(folder: Path) -> dict[str, Any]:
    """The config that lies in a run's folder, as it was written; empty where there is none.

    Raises M2MError if it cannot be read.
    """
    path = folder / RUN
    return _read(path) if path.is_file() else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        text = read_bytes(path, MAX_BYTES, "a config").decode()
        if path.suffix == ".toml":
            tree: Any = tomllib.loads(text)
        elif path.suffix == ".json":
            tree = json.loads(text)
        else:
            tree = _yaml(text, path)
    except (ValueError, RecursionError) as error:
        raise M2MError(f"cannot read the config {path}: {' '.join(str(error).split())}.") from error
    if not isinstance(tree, dict):
        raise M2MError(f"{path} is not a table of names and values.")
    return tree


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise M2MError(f"{path} is YAML, which needs PyYAML: pip install 'm2m[train]', or write TOML.") from error
    try:
        tree = yaml.safe_load(text)
        return {} if tree is None else tree  # nothing but comments
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _from_json(value: object) -> object:
    """A value given as text: a table or a list may be JSON; other text stays as it is."""
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise M2MError(f"--set: {value!r} is not valid JSON: {error}.") from error


def _with_current_names(model: object, tree: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the names of today in the place of earlier ones, so that what goes over it finds them."""
    found = {}
    for name, value in tree.items():
        current, inner = _current_name(model, name)
        found[current] = _with_current_names(inner, value) if isinstance(value, dict) else value
    return found


def _current_path(model: object, name: str) -> list[str]:
    """The parts of a dotted name, as they are called today."""
    parts = []
    for part in name.split("."):
        current, model = _current_name(model, part)
        parts.append(current)
    return parts


def _current_name(model: object, name: str) -> tuple[str, object]:
    """What a field is called today, and its type; an earlier name is an alias of the field's."""
    fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
    for current, field in fields.items():
        alias = field.validation_alias
        if name == current or (isinstance(alias, AliasChoices) and name in alias.choices):
            return current, field.annotation
    return name, None


def _fields(run_type: type[BaseModel], path: list[str]) -> list[str]:
    """The names of the fields in a group of a config; empty where they are free."""
    group: object = run_type
    for name in path:
        _, group = _current_name(group, name)
    if dataclasses.is_dataclass(group):
        return [field.name for field in dataclasses.fields(group)]
    return list(group.model_fields) if isinstance(group, type) and issubclass(group, BaseModel) else []
