"""A model on disk: a folder with `config.json`, `model.safetensors` and `README.md`, its card.

config.json is {"format": 1, "kind": "mel2mel", "config": {...}}, where "config" is the model's own pydantic config with the
full mel recipe in it; a "notice" beside it is what a user is told who renders with these weights. Weights are safetensors and
nothing else: a checkpoint from a stranger is data, it cannot run code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from m2m.core.errors import M2MError
from m2m.core.files import atomic_path, make_folder

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
MAX_CONFIG_BYTES = 1 << 20
MAX_WEIGHT_BYTES = 2 << 30

ConfigT = TypeVar("ConfigT", bound=BaseModel)


def shipped() -> Path:
    """The folder of the models that come with m2m."""
    return Path(__file__).parent.parent / "models"


def find_model(kind: str, model: str | Path | None, wanted: Mapping[str, str | None]) -> Path:
    """The folder of a model: the one named by `model` (a folder, or the name of one that ships), else the first that ships.

    wanted: entries that its config must have, such as {"conditioner": "film"}; None is no wish.
    Raises M2MError that says which models there are.
    """
    wishes = {key: value for key, value in wanted.items() if value is not None}
    if model is not None:
        folder = Path(model)
        if not folder.exists() and folder == Path(folder.name):
            folder = shipped() / folder
        candidates = [folder]
    else:
        candidates = sorted(path.parent for path in shipped().glob(f"*/{CONFIG}"))
    for folder in candidates:
        about = _read_json(folder / CONFIG)
        config = about.get("config")
        if about.get("kind") == kind and isinstance(config, dict) and wishes.items() <= config.items():
            return folder
        if model is not None and about.get("kind") == kind:
            has = ", ".join(f"{key} {config.get(key)!r}" for key in wishes) if isinstance(config, dict) else "no config"
            raise M2MError(f"{folder} was trained with {has}, asked for was {_phrase(wishes)}; leave that option out.")
    if model is not None:
        raise M2MError(f"{candidates[0]} is not a {kind} model.")
    names = ", ".join(folder.name for folder in candidates)
    raise M2MError(
        f"no {kind} model with {_phrase(wishes)} ships with m2m (there are {names or 'none'}); "
        f"train one with 'm2m train {kind}' and give its folder with --model."
    )


def _phrase(wishes: Mapping[str, str]) -> str:
    return " and ".join(f"{key} {value!r}" for key, value in wishes.items())


def read_config(folder: Path, kind: str, config_type: type[ConfigT]) -> ConfigT:
    """The config of the model in `folder`. Raises M2MError if it is not a model of this kind that this version can read."""
    about = _read_json(folder / CONFIG)
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


def load_weights(model: nn.Module, folder: Path) -> str:
    """Fill a model from `folder` and return the hash of its weights file. Raises M2MError if anything does not fit."""
    path = folder / WEIGHTS
    try:
        if path.stat().st_size > MAX_WEIGHT_BYTES:
            raise M2MError(f"{path} is larger than {MAX_WEIGHT_BYTES >> 30} GB, which no m2m model is.")
        tensors = load_file(path)
        digest = weights_hash(folder)
    except (OSError, SafetensorError) as error:
        raise M2MError(f"cannot read the weights {path}: {error}; only safetensors files are loaded.") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise M2MError(
            f"{path} does not fit its config.json: {len(wrong)} tensors differ, the first is {name} "
            f"(found {found.get(name)}, wanted {wanted.get(name)}); it may be another model's."
        )
    broken = [
        name for name, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
    if broken:
        raise M2MError(
            f"{path} holds NaN or infinite numbers in {broken[0]}; the file is damaged, or its training diverged."
        )
    model.load_state_dict(tensors)
    model.eval().requires_grad_(False)
    return digest


def weights_hash(folder: Path) -> str:
    """Twelve hexadecimal digits that name the weights in `folder`."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()[:12]


def read_notice(folder: Path) -> str:
    """What a user of the model in `folder` should know before trusting its sound: config.json's "notice", if it has one."""
    return str(_read_json(folder / CONFIG).get("notice", ""))


def save_model(
    folder: Path, kind: str, config: BaseModel, model: nn.Module, card: str, dtype: torch.dtype = torch.float16
) -> None:
    """Write a model folder, each file whole or not at all; the config last, since it makes the folder a model."""
    make_folder(folder)
    save_tensors(folder / WEIGHTS, {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}, {})
    mel = getattr(config, "mel", None)
    about = {
        "format": FORMAT,
        "kind": kind,
        "mel_hash": mel.hash if mel else None,
        "config": config.model_dump(mode="json"),
    }
    for name, text in ((CARD, card), (CONFIG, json.dumps(about, indent=2) + "\n")):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors atomically as safetensors."""
    with atomic_path(path) as temporary:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary, metadata=metadata)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise M2MError(f"{path} is larger than 1 MB, which no model's config is.")
        about = json.loads(path.read_text())
    except OSError as error:
        raise M2MError(
            f"{path.parent} is not a model folder: {path.name} cannot be read ({error.strerror or error})."
        ) from error
    except ValueError as error:
        raise M2MError(f"{path} is not JSON ({error}); the folder is damaged.") from error
    if not isinstance(about, dict):
        raise M2MError(f"{path} is not a JSON object; the folder is damaged.")
    return about
