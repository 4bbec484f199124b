"""The weights of a model folder, read and written: safetensors only, since a pickled checkpoint from elsewhere can run code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel
from safetensors import SafetensorError, safe_open

from m2m.core.errors import M2MError
from m2m.core.system.files import atomic_path, make_folder, require_file, write_text

if TYPE_CHECKING:  # listing models needs no torch, which takes two seconds to import
    import torch
    from torch import Tensor, nn
from m2m.core.model_folders import CARD, CONFIG, FORMAT, WEIGHTS

DTYPES = ("F16", "BF16", "F32")  # of weights, as safetensors names them; no model holds another kind of numbers
MAX_WEIGHT_BYTES = 2 << 30
Module = TypeVar("Module", bound="nn.Module")


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

    It is first made without memory, on PyTorch's meta device, and compared with the weights file: a damaged config may ask
    for more memory than the machine has.
    """
    found = _shapes(folder)
    try:
        outline = _outline(make)
    except M2MError:
        raise
    except Exception:  # a component that needs its numbers at once: then the check comes after
        outline = None
    if outline is not None:
        _refuse_misfit(found, outline, folder)
    model = make()
    return model, load_weights(model, folder)


def _outline(make: Callable[[], Module]) -> Module:
    """What `make` makes, on the meta device: without memory and without numbers."""
    import torch
    from torch.overrides import TorchFunctionMode

    class WithoutNormalDraws(TorchFunctionMode):
        """There PyTorch computes these in Python, for which it imports its compiler and sympy: two seconds."""

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            drawn, named = function in (torch.Tensor.normal_, torch.nn.init.normal_), kwargs or {}
            return (args[0] if args else named["tensor"]) if drawn else function(*args, **named)

    with torch.device("meta"), WithoutNormalDraws():
        return make()


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
        write_text(folder / name, text)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors by name as safetensors, whole or not at all.

    tensors: each of any shape, dtype and device.
    """
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary, metadata=metadata)
