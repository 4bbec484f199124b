"""The training loop that every model shares: optimiser, schedule, precision, checkpoints, curves.

A run lives in a folder:

    run.json              the whole config, as it was when the run began
    training.safetensors  weights and Adam's moments after the newest checkpoint, with the step in its metadata
    best/                 the model with the best validation so far, as a user loads it
    logs/                 TensorBoard

A batch depends on the seed and the step alone, never on what was drawn before, and nothing else is random: a run that is
stopped anywhere and resumed from its checkpoint gives the same weights as one that never stopped.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from m2m.core import progress
from m2m.core.checkpoint import save_tensors
from m2m.core.errors import M2MError
from m2m.core.files import atomic_path

STATE, RUN = "training.safetensors", "run.json"


class LoopConfig(BaseModel):
    """How long, how fast and on what to train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(10_000, ge=1)
    batch_size: int = Field(16, ge=1, description="sequences a step")
    seed: int = 0
    learning_rate: float = Field(0.002, gt=0, description="Adam's, at its highest")
    schedule: Literal["trapezoid", "halving"] = Field(
        "trapezoid",
        description="flat, then linear to zero, so that a run can be prolonged; or halved now and then, as in the paper",
    )
    warmup: int = Field(200, ge=0, description="steps of linear rise to the learning rate")
    decay: float = Field(0.4, ge=0, le=1, description="trapezoid: the last fraction of the steps falls to zero")
    halve_every: int = Field(40_000, ge=1, description="halving: steps")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    precision: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="of the forward pass; weights stay float32"
    )
    device: str = "cpu"
    threads: int = Field(0, ge=0, description="CPU threads; 0 leaves PyTorch's choice")
    workers: int = Field(0, ge=0, description="processes that prepare batches; 0 prepares them between steps")
    compile: bool = Field(False, description="torch.compile the model")
    log_every: int = Field(20, ge=1, description="steps")
    validate_every: int = Field(
        500, ge=1, description="steps; the first validation comes after step 1, so that a fault shows early"
    )
    checkpoint_every: int = Field(250, ge=1, description="steps")


class Task(ABC):
    """What a model brings to the loop. `best` names the validation figure that decides; smaller is better."""

    model: nn.Module
    best: str = "loss"

    @abstractmethod
    def batch(self, step: int) -> tuple[Tensor, ...]:
        """The batch of a step, a function of the config's seed and `step` alone. May run in a worker process."""

    @abstractmethod
    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """The scalar to minimise; runs under autocast."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Figures on the validation split."""

    def pictures(self) -> dict[str, NDArray[Any]]:
        """Images for TensorBoard: name -> (height, width, 3) uint8."""
        return {}

    @abstractmethod
    def export(self, folder: Path, figures: dict[str, float], step: int) -> None:
        """Save the model as its users load it."""


class _Steps(Dataset[tuple[Tensor, ...]]):
    def __init__(self, task: Task) -> None:
        self.task = task

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        return self.task.batch(step)


def learning_rate(step: int, config: LoopConfig) -> float:
    """The rate of a step, counted from 0.

    >>> config = LoopConfig(steps=100, warmup=10, decay=0.5, learning_rate=1.0)
    >>> [round(learning_rate(step, config), 2) for step in (0, 9, 49, 75, 99)]
    [0.1, 1.0, 1.0, 0.5, 0.02]
    """
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.schedule == "halving":
        return config.learning_rate * rise * 0.5 ** (step // config.halve_every)
    falling = config.decay * config.steps
    fall = min(1.0, (config.steps - step) / falling) if falling else 1.0
    return config.learning_rate * min(rise, fall)


def fit(task: Task, config: LoopConfig, out: Path, about: dict[str, Any], resume: bool) -> dict[str, float]:
    """Train until `config.steps` and return the last validation's figures.

    about: the run's whole config as JSON data, saved as run.json. Raises M2MError if the folder already holds a run and
    `resume` is False, or holds none and it is True, or if the loss stops being a number.
    """
    state_path = out / STATE
    if state_path.exists() and not resume:
        raise M2MError(f"{out} already holds a run; continue it with --resume, or choose another folder.")
    if resume and not state_path.exists():
        raise M2MError(f"{out} holds no run to resume: there is no {STATE}; start one without --resume.")
    if config.threads:
        torch.set_num_threads(config.threads)
    out.mkdir(parents=True, exist_ok=True)
    task.model.to(config.device)
    optimiser = torch.optim.Adam(task.model.parameters(), lr=config.learning_rate)
    first, best = _restore(state_path, task.model, optimiser) if resume else (0, math.inf)
    with atomic_path(out / RUN) as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n")
    if config.compile:
        task.model.compile()
    writer = _writer(out / "logs", first)
    batches = _batches(task, config, first)
    figures: dict[str, float] = {}
    began = time.monotonic()
    for step in progress.track(range(first, config.steps), "training", total=config.steps - first):
        rate = learning_rate(step, config)
        for group in optimiser.param_groups:
            group["lr"] = rate
        task.model.train()
        batch = tuple(tensor.to(config.device, non_blocking=True) for tensor in next(batches))
        with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            loss = task.loss(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(task.model.parameters(), config.clip)
        if not torch.isfinite(norm):
            raise M2MError(
                f"training diverged at step {step}: its gradient is not finite; resume {out} at a lower loop.learning_rate."
            )
        optimiser.step()
        done = step + 1
        if done % config.log_every == 0:
            _log(writer, done, {"train/loss": loss.item(), "train/rate": rate, "train/gradient": norm.item()})
        if done % config.validate_every == 0 or done in (1, config.steps):
            task.model.eval()
            figures = task.validate()
            _log(writer, done, {f"validation/{name}": value for name, value in figures.items()})
            for name, image in task.pictures().items() if writer else ():
                writer.add_image(name, image, done, dataformats="HWC")
            pace = (time.monotonic() - began) / (done - first)
            progress.say(
                f"step {done}: " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items()) + f" ({pace:.2f} s a step)"
            )
            if figures[task.best] < best and done > 1:
                best = figures[task.best]
                task.export(out / "best", figures, done)
        if done % config.checkpoint_every == 0 or done == config.steps:
            _checkpoint(state_path, task.model, optimiser, done, best)
    if writer:
        writer.close()
    return figures


def _batches(task: Task, config: LoopConfig, first: int) -> Iterator[tuple[Tensor, ...]]:
    loader: DataLoader[tuple[Tensor, ...]] = DataLoader(
        _Steps(task), batch_size=None, sampler=range(first, config.steps), num_workers=config.workers
    )
    return iter(loader)


def _checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Adam, step: int, best: float) -> None:
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        moments = optimiser.state[parameter]
        tensors |= {f"{key}/{name}": moments[key] for key in ("exp_avg", "exp_avg_sq")}
    save_tensors(path, tensors, {"step": str(step), "best": repr(best)})


def _restore(path: Path, model: nn.Module, optimiser: torch.optim.Adam) -> tuple[int, float]:
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    step = int(about["step"])
    try:
        model.load_state_dict(
            {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
        )
    except RuntimeError as error:
        raise M2MError(f"{path} is of another model than this run describes; resume with the same options.") from error
    for name, parameter in model.named_parameters():
        optimiser.state[parameter] = {
            "step": torch.tensor(float(step)),
            **{key: tensors[f"{key}/{name}"].to(parameter.device) for key in ("exp_avg", "exp_avg_sq")},
        }
    return step, float(about["best"])


def _writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        progress.say("no curves: TensorBoard is not installed (pip install 'm2m[train]').")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]


def _log(writer: Any, step: int, values: dict[str, float]) -> None:
    for name, value in values.items() if writer else ():
        writer.add_scalar(name, value, step)
