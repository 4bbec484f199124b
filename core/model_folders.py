"""A model on disk: a folder with `config.json`, `model.safetensors` and `README.md`, its card.

config.json is {"format": 1, "kind": "mel2mel", "config": {...}}, where "config" is the model's own pydantic config with the
full mel recipe in it. A "notice" beside it is shown when these weights are loaded. Nothing here imports torch.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from m2m.core.errors import M2MError
from m2m.core.system.files import read_bytes

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
MAX_CONFIG_BYTES = 1 << 20
ConfigT = TypeVar("ConfigT", bound=BaseModel)


def shipped() -> Path:
    """The folder of the models that come with m2m."""
    return Path(__file__).parent.parent / "models"


def model_folder(model: str | Path) -> Path:
    """The folder that a model is named by: where the one that ships under this name is, else itself.

    What ships goes first: a folder of the same name in the working directory must not replace it unasked. ./NAME names that.
    """
    folder = Path(model)
    ours = folder == Path(folder.name) and not str(model).startswith(".") and (shipped() / folder).is_dir()
    return shipped() / folder if ours else folder


def find_model(kind: str, model: str | Path | None, wanted: Mapping[str, str | None]) -> Path:
    """The folder of a model: the one named by `model` (a folder, or the name of one that ships), else the first that ships.

    wanted: entries that its config must have, such as {"conditioner": "film"}; None leaves it open.
    Raises M2MError that says which models there are.
    """
    criteria = {key: value for key, value in wanted.items() if value is not None}
    ships = sorted(path.parent for path in shipped().glob(f"*/{CONFIG}"))
    candidates = ships if model is None else [model_folder(model)]
    if model is not None and not (candidates[0] / CONFIG).is_file():
        hint = _hint(candidates[0], _of_kind(kind, ships))
        raise M2MError(f"there is no model {str(model)!r}: no such folder with a {CONFIG} in it{hint}.")
    for folder in candidates:
        about = read_json(folder / CONFIG)
        config = about.get("config")
        if about.get("kind") == kind and isinstance(config, dict) and criteria.items() <= config.items():
            return folder
        if model is not None and about.get("kind") == kind:
            if not isinstance(config, dict):
                raise M2MError(f"{folder / CONFIG} holds no config; the folder is damaged.")
            has = ", ".join(f"{key} {config.get(key)!r}" for key in criteria)
            raise M2MError(
                f"{folder} was trained with {has}, asked for was {_phrase(criteria)}; leave that option out."
            )
    if model is not None:
        raise M2MError(f"{candidates[0]} is not a {kind} model.")
    names = ", ".join(_of_kind(kind, ships)) or "none"
    raise M2MError(
        f"no {kind} model with {_phrase(criteria)} ships with m2m (there are {names}); "
        f"train one with 'm2m train {kind}' and give its folder with --model."
    )


def _of_kind(kind: str, folders: list[Path]) -> list[str]:
    return [folder.name for folder in folders if read_json(folder / CONFIG).get("kind") == kind]


def _hint(folder: Path, names: list[str]) -> str:
    if (folder / "best" / CONFIG).is_file():
        return f"; it is a run, whose model is {folder / 'best'}"
    near = difflib.get_close_matches(folder.name, names, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}" if near else f"; those that ship are {', '.join(names)}"


def _phrase(criteria: Mapping[str, str]) -> str:
    return " and ".join(f"{key} {value!r}" for key, value in criteria.items())


def read_config(folder: Path, kind: str, config_type: type[ConfigT]) -> ConfigT:
    """The config of the model in `folder`. Raises M2MError if it is not a model of this kind that this version can read."""
    about = read_json(folder / CONFIG)
    if about.get("kind") != kind:
        raise M2MError(f"{folder} holds a {about.get('kind')!r} model, a {kind!r} model was wanted.")
    if about.get("format") != FORMAT:
        raise M2MError(
            f"{folder} has checkpoint format {about.get('format')!r}, this m2m reads {FORMAT}; use a matching version."
        )
    try:
        return config_type.model_validate(about.get("config"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "config"
        raise M2MError(f"{folder / CONFIG} does not describe a {kind} model: {where}: {first['msg']}.") from error


def read_notice(folder: Path) -> str:
    """What a user of the model in `folder` should know before trusting its sound: config.json's "notice", if it has one."""
    return str(read_json(folder / CONFIG).get("notice", ""))


def read_json(path: Path) -> dict[str, Any]:
    """A model's config.json. Raises M2MError where it is missing, too long, or no JSON object."""
    try:
        about = json.loads(read_bytes(path, MAX_CONFIG_BYTES, "a model's config"))
    except M2MError as error:
        raise M2MError(f"{path.parent} is not a model folder: {error}") from error
    except (ValueError, RecursionError) as error:  # RecursionError: JSON may be nested a million deep
        raise M2MError(f"{path} is not JSON ({error}); the folder is damaged.") from error
    if not isinstance(about, dict):
        raise M2MError(f"{path} is not a JSON object; the folder is damaged.")
    return about
