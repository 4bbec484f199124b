"""The state of a run on disk, from which it is resumed: weights, their average and Adam's moments."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from m2m.core.checkpoint import save_tensors
from m2m.core.errors import M2MError
from m2m.training.ema import EMA

STATE = "training.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam


def save_state(path: Path, model: nn.Module, optimiser: torch.optim.Adam, ema: EMA, step: int, best: float) -> None:
    """Write the state after `step` steps. best: the smallest validation figure so far, by which a model is exported."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in ema.tensors.items()}
    for name, parameter in model.named_parameters():
        moments = optimiser.state.get(parameter, {})  # a parameter that the loss does not reach has none
        tensors |= {f"{key}/{name}": moments[key] for key in MOMENTS if key in moments}
    save_tensors(path, tensors, {"step": str(step), "best": repr(best)})


def restore_state(path: Path, model: nn.Module, optimiser: torch.optim.Adam, ema: EMA) -> tuple[int, float]:
    """Read what `save_state` wrote into model, optimiser and average. Returned: (step, best).

    Raises M2MError if the file is damaged, or of another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
        step, best = int(about["step"]), float(about["best"])
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
            optimiser.state[parameter] = {"step": torch.tensor(float(step)), **moments}
    ema.restore(_group("average", tensors))
    return step, best


def _group(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a group, such as "model/", by their names in it."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
