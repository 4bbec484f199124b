"""The config of a training run: a YAML or TOML file, then single values from the command line on top."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

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
    values: dotted names to values, such as {"loop.steps": 500}; strings are turned into the field's type.
    base: fields that the file goes over.
    Raises M2MError that names the field at fault.
    """
    tree = {**(base or {}), **(_read(path) if path else {})}
    tree.pop("kind", None)
    for name, value in values.items():
        *parents, last = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise M2MError(f"--set {name}: {parent!r} is a value, not a group of fields.")
        branch[last] = value
    try:
        return run_type.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        where = f"config: {where}" if where else "config"
        came = "" if isinstance(first["input"], dict) else f", {first['input']!r} came"
        known = _fields(run_type, [str(part) for part in first["loc"][:-1]])
        hint = f"; there are {', '.join(known)}" if first["type"] == "extra_forbidden" and known else ""
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


def _fields(model: type[BaseModel], path: list[str]) -> list[str]:
    for name in path:
        annotation = model.model_fields[name].annotation if name in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
