"""A model on disk: a folder with `config.json`, `model.safetensors` and `README.md`, its card.

config.json is {"format": 1, "kind": "mel2mel", "config": {...}}, where "config" is the model's own pydantic config with the
full mel recipe in it; a "notice" beside it is what a user is told who renders with these weights. Weights are safetensors and
nothing else: a checkpoint from a stranger is data, it cannot run code.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open

from m2m.core.errors import M2MError
from m2m.core.files import atomic_path, make_folder, read_bytes, require_file

if TYPE_CHECKING:  # which models there are can be told without torch and its two seconds
    import torch
    from torch import Tensor, nn

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
DTYPES = ("F16", "BF16", "F32")  # of weights, as safetensors names them; no model holds another kind of numbers
MAX_CONFIG_BYTES = 1 << 20
MAX_WEIGHT_BYTES = 2 << 30

ConfigT = TypeVar("ConfigT", bound=BaseModel)
Module = TypeVar("Module", bound="nn.Module")


def shipped() -> Path:
    """The folder of the models that come with m2m."""
    return Path(__file__).parent.parent / "models"


def model_folder(model: str | Path) -> Path:
    """The folder that a model is named by: where the one that ships under this name is, else itself.

    What ships goes first: a folder that a stranger left in the working directory must not take its place. Say ./NAME for it.
    """
    folder = Path(model)
    ours = folder == Path(folder.name) and not str(model).startswith(".") and (shipped() / folder).is_dir()
    return shipped() / folder if ours else folder


def find_model(kind: str, model: str | Path | None, wanted: Mapping[str, str | None]) -> Path:
    """The folder of a model: the one named by `model` (a folder, or the name of one that ships), else the first that ships.

    wanted: entries that its config must have, such as {"conditioner": "film"}; None is no wish.
    Raises M2MError that says which models there are.
    """
    wishes = {key: value for key, value in wanted.items() if value is not None}
    ships = sorted(path.parent for path in shipped().glob(f"*/{CONFIG}"))
    candidates = ships if model is None else [model_folder(model)]
    if model is not None and not (candidates[0] / CONFIG).is_file():
        hint = _hint(candidates[0], _of_kind(kind, ships))
        raise M2MError(f"there is no model {str(model)!r}: no such folder with a {CONFIG} in it{hint}.")
    for folder in candidates:
        about = _read_json(folder / CONFIG)
        config = about.get("config")
        if about.get("kind") == kind and isinstance(config, dict) and wishes.items() <= config.items():
            return folder
        if model is not None and about.get("kind") == kind:
            if not isinstance(config, dict):
                raise M2MError(f"{folder / CONFIG} holds no config; the folder is damaged.")
            has = ", ".join(f"{key} {config.get(key)!r}" for key in wishes)
            raise M2MError(f"{folder} was trained with {has}, asked for was {_phrase(wishes)}; leave that option out.")
    if model is not None:
        raise M2MError(f"{candidates[0]} is not a {kind} model.")
    names = ", ".join(_of_kind(kind, ships)) or "none"
    raise M2MError(
        f"no {kind} model with {_phrase(wishes)} ships with m2m (there are {names}); "
        f"train one with 'm2m train {kind}' and give its folder with --model."
    )


def _of_kind(kind: str, folders: list[Path]) -> list[str]:
    return [folder.name for folder in folders if _read_json(folder / CONFIG).get("kind") == kind]


def _hint(folder: Path, names: list[str]) -> str:
    if (folder / "best" / CONFIG).is_file():
        return f"; it is a run, whose model is {folder / 'best'}"
    near = difflib.get_close_matches(folder.name, names, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}" if near else f"; those that ship are {', '.join(names)}"


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
    import torch
    from safetensors.torch import load_file

    _refuse_misfit(_shapes(folder), model, folder)
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
        digest = weights_hash(folder)
    except (OSError, SafetensorError) as error:
        raise M2MError(f"cannot read the weights {path}: {error}; only safetensors files are loaded.") from error
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise M2MError(
            f"{path} holds NaN or infinite numbers in {broken[0]}; the file is damaged, or its training diverged."
        )
    model.load_state_dict(tensors)
    model.eval().requires_grad_(False)
    return digest


def load_model(make: Callable[[], Module], folder: Path) -> tuple[Module, str]:
    """Make a model and fill it from `folder`; returns it and the hash of its weights. Raises M2MError if it does not fit.

    It is first made without memory (on PyTorch's meta device): a config may ask for more than there is, and what the weights
    file does not hold is not worth asking for.
    """
    import torch

    found = _shapes(folder)
    try:
        with torch.device("meta"):
            outline = make()
    except M2MError:
        raise
    except Exception:  # a component that needs its numbers at once: then the check comes after
        outline = None
    if outline is not None:
        _refuse_misfit(found, outline, folder)
    model = make()
    return model, load_weights(model, folder)


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor in a folder's weights, from the file's header alone."""
    path = folder / WEIGHTS
    try:
        require_file(path, MAX_WEIGHT_BYTES, "the weights of an m2m model")
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            shapes = {name: tuple(tensor.get_shape()) for name, tensor in tensors.items()}
            types = {name: str(tensor.get_dtype()) for name, tensor in tensors.items()}
    except (OSError, SafetensorError, M2MError) as error:
        raise M2MError(f"cannot read the weights {path}: {error}; only safetensors files are loaded.") from error
    if strange := next((name for name in sorted(types) if types[name] not in DTYPES), None):
        raise M2MError(
            f"{path} holds {types[strange]} numbers in {strange}, {', '.join(DTYPES)} were wanted: convert it."
        )
    return shapes


def _refuse_misfit(found: dict[str, tuple[int, ...]], model: nn.Module, folder: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise M2MError(
            f"{folder / WEIGHTS} does not fit its config.json: {len(wrong)} tensors differ, the first is {name} "
            f"(found {found.get(name)}, wanted {wanted.get(name)}); it may be another model's."
        )


def weights_hash(folder: Path) -> str:
    """Twelve hexadecimal digits that name the weights in `folder`."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()[:12]


def read_notice(folder: Path) -> str:
    """What a user of the model in `folder` should know before trusting its sound: config.json's "notice", if it has one."""
    return str(_read_json(folder / CONFIG).get("notice", ""))


def save_model(
    folder: Path,
    kind: str,
    config: BaseModel,
    model: nn.Module,
    card: str,
    dtype: torch.dtype | None = None,
    trained: Mapping[str, object] | None = None,
) -> None:
    """Write a model folder, each file whole or not at all; the config last, since it makes the folder a model.

    dtype: of the weights; half precision by default. trained: what to remember of the training, such as its loss.
    """
    import torch

    make_folder(folder)
    save_tensors(
        folder / WEIGHTS, {name: tensor.to(dtype or torch.float16) for name, tensor in model.state_dict().items()}, {}
    )
    mel = getattr(config, "mel", None)
    about = {
        "format": FORMAT,
        "kind": kind,
        "mel_hash": mel.hash if mel else None,
        "config": config.model_dump(mode="json"),
        **({"trained": dict(trained)} if trained else {}),
    }
    for name, text in ((CARD, card), (CONFIG, json.dumps(about, indent=2) + "\n")):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors atomically as safetensors."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary, metadata=metadata)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(read_bytes(path, MAX_CONFIG_BYTES, "a model's config"))
    except M2MError as error:
        raise M2MError(f"{path.parent} is not a model folder: {error}") from error
    except (ValueError, RecursionError) as error:  # a stranger's JSON may be nested a million deep
        raise M2MError(f"{path} is not JSON ({error}); the folder is damaged.") from error
    if not isinstance(about, dict):
        raise M2MError(f"{path} is not a JSON object; the folder is damaged.")
    return about
