"""The state of a run on disk, from which it is resumed: weights, their average and Adam's moments."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from m2m.core.checkpoint import save_tensors
from m2m.core.errors import M2MError
from m2m.training.ema import EMA

STATE = "training.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam


@dataclass(frozen=True)
class Reached:
    """How far a run is. best: the smallest validation figure so far, by which a model is exported. seconds: of its time limit."""

    step: int = 0
    best: float = math.inf
    seconds: float = 0.0


def save_state(path: Path, model: nn.Module, optimiser: torch.optim.Adam, ema: EMA, reached: Reached) -> None:
    """Write the state of a run."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in ema.tensors.items()}
    for name, parameter in model.named_parameters():
        moments = optimiser.state.get(parameter, {})  # a parameter that the loss does not reach has none
        tensors |= {f"{key}/{name}": moments[key] for key in MOMENTS if key in moments}
    save_tensors(path, tensors, {name: repr(value) for name, value in asdict(reached).items()})


def restore_state(path: Path, model: nn.Module, optimiser: torch.optim.Adam, ema: EMA) -> Reached:
    """Read what `save_state` wrote into model, optimiser and average.

    Raises M2MError if the file is damaged, or of another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
        reached = Reached(int(about["step"]), float(about["best"]), float(about.get("seconds", 0.0)))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise M2MError(
            f"cannot resume from {path}: it is damaged ({error}); delete it to begin the run anew."
        ) from error
    try:
        model.load_state_dict(_group("model", tensors))
    except RuntimeError as error:
        raise M2MError(f"{path} is of another model than this run describes; resume with the same options.") from error
    for name, parameter in model.named_parameters():
        moments = {key: tensors[f"{key}/{name}"].to(parameter.device) for key in MOMENTS if f"{key}/{name}" in tensors}
        if moments:
            place = parameter.device if optimiser.defaults["fused"] else None  # else Adam counts on the CPU
            optimiser.state[parameter] = {"step": torch.tensor(float(reached.step), device=place), **moments}
    ema.restore(_group("average", tensors))
    return reached


def _group(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a group, such as "model/", by their names in it."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
