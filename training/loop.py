"""The training loop that every model shares: optimiser, schedule, precision, checkpoints, curves.

A run lives in a folder:

    run.json              the whole config, as it was when the run began or was last resumed
    training.safetensors  weights, their average and Adam's moments after the newest checkpoint, with the step in its metadata
    best/                 the model with the best validation so far (or the newest, see `TrainingTask`), as a user loads it
    logs/                 TensorBoard

A batch depends on the seed and the step alone, never on what was drawn before, and so does what a model itself draws
(dropout, noise): a run that is stopped anywhere and resumed from its checkpoint gives the same weights as one that never
stopped.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from m2m.core.checkpoint import save_tensors
from m2m.core.errors import M2MError
from m2m.core.system import progress
from m2m.core.system.files import atomic_path, make_folder
from m2m.core.system.run_config import RUN
from m2m.training import memory
from m2m.training.distributed import Group, join
from m2m.training.ema import EMA
from m2m.training.interruption import Interruption, waiting

STATE = "training.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam


class LoopConfig(BaseModel):
    """How long, how fast and on what to train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(10_000, ge=1)
    batch_size: int = Field(16, ge=1, description="sequences a step")
    seed: int = Field(0, ge=0, lt=1 << 31)
    learning_rate: float = Field(0.002, gt=0, description="Adam's, at its highest")
    schedule: Literal["trapezoid", "halving"] = Field(
        "trapezoid",
        description="flat, then linear to zero, so that a run can be prolonged; or halved now and then, as in the paper",
    )
    warmup: int = Field(200, ge=0, description="steps of linear rise to the learning rate")
    decay: float = Field(0.4, ge=0, le=1, description="trapezoid: the last fraction of the steps falls to zero")
    halve_every: int = Field(40_000, ge=1, description="halving: steps")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of the moving average of weights that is validated and exported; 0: none"
    )
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


class TrainingTask(ABC):
    """What a model brings to the loop.

    `best` names the validation figure that decides which model is exported; smaller is better. None: the newest is the best,
    where what is learned is not what a figure says.
    """

    model: nn.Module
    best: str | None = "loss"

    @abstractmethod
    def batch(self, step: int) -> tuple[Tensor, ...]:
        """The batch of a step, a function of the config's seed and `step` alone. May run in a worker process."""

    @abstractmethod
    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """The scalar to minimise; runs under autocast."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Figures on the validation split."""

    def details(self) -> dict[str, float]:
        """What the last loss was the sum of, for the curves."""
        return {}

    def pictures(self) -> dict[str, NDArray[Any]]:
        """Images for TensorBoard: name -> (height, width, 3) uint8."""
        return {}

    def sounds(self) -> dict[str, tuple[NDArray[Any], int]]:
        """Audio for TensorBoard: name -> (samples,) float32, and its sample rate in Hz."""
        return {}

    @abstractmethod
    def export(self, folder: Path, figures: dict[str, float], step: int) -> None:
        """Save the model as its users load it."""


class _Steps(Dataset[tuple[Tensor, ...]]):
    def __init__(self, task: TrainingTask) -> None:
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


def fit(task: TrainingTask, config: LoopConfig, out: Path, about: dict[str, Any], resume: bool) -> dict[str, float]:
    """Train until `config.steps` and return the last validation's figures.

    about: the run's whole config as JSON data, saved as run.json. Raises M2MError if the folder already holds a run and
    `resume` is False, or holds none and it is True, or if the loss stops being a number.
    """
    state_path = out / STATE
    if state_path.exists() and not resume:
        raise M2MError(f"{out} already holds a run; continue it with --resume, or choose another folder.")
    if resume and not state_path.exists():
        raise M2MError(f"{out} holds no run to resume: there is no {STATE}; start one without --resume.")
    if config.device == "cpu":
        memory.keep()
    if config.threads:
        torch.set_num_threads(config.threads)
    with join(config.device, config.batch_size) as group:
        return _fit(task, config, out, about, resume, group)


def _fit(
    task: TrainingTask, config: LoopConfig, out: Path, about: dict[str, Any], resume: bool, group: Group
) -> dict[str, float]:
    state_path = out / STATE
    if group.leads:
        make_folder(out)
    else:
        progress.quiet = True
    try:
        task.model.to(group.device)
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
        reason = str(error).splitlines()[0]
        raise M2MError(f"loop.device {config.device!r} cannot be used: {reason}; give 'cpu' or 'cuda'.") from error
    optimiser = torch.optim.Adam(task.model.parameters(), lr=config.learning_rate)
    ema = EMA(task.model, config.average)
    first, best = _restore(state_path, task.model, optimiser, ema) if resume else (0, math.inf)
    if first > config.steps:
        raise M2MError(
            f"the run in {out} is at step {first} already, beyond loop.steps {config.steps}; give more --steps."
        )
    if group.leads:
        with atomic_path(out / RUN) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n")
    if config.compile:
        task.model.compile()
    writer = _writer(out / "logs", first) if group.leads else None
    batches = _batches(task, config, first)
    figures: dict[str, float] = {}
    began = time.monotonic()
    # The curves of a run that fails are wanted most. Of several processes, one that stopped would leave the others waiting.
    with (
        closing(writer) if writer else nullcontext(),
        waiting() if group.count == 1 else nullcontext(Interruption()) as stop,
    ):
        for step in progress.track(range(first, config.steps), "training", total=config.steps - first):
            rate = learning_rate(step, config)
            for parameters in optimiser.param_groups:
                parameters["lr"] = rate
            task.model.train()
            torch.manual_seed((config.seed << 32) + step + (group.rank << 24))
            batch = group.share(next(batches))
            with torch.autocast(
                torch.device(config.device).type, torch.bfloat16, enabled=config.precision == "bfloat16"
            ):
                loss = task.loss(batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            group.average(task.model.parameters())
            norm = nn.utils.clip_grad_norm_(task.model.parameters(), config.clip)
            if not torch.isfinite(norm):
                again = f"resume {out}" if state_path.exists() else "start again"
                raise M2MError(
                    f"training diverged at step {step}: its gradient is not finite; {again} at a lower loop.learning_rate."
                )
            optimiser.step()
            done = step + 1
            ema.update(done)
            if done % config.log_every == 0:
                parts = {f"train/{name}": value for name, value in task.details().items()}
                known = {"train/loss": loss.item(), "train/rate": rate, "train/gradient": norm.item()}
                _log(writer, done, known | parts)
            if group.leads and (done % config.validate_every == 0 or done in (1, config.steps)):
                task.model.eval()
                with ema:
                    figures = task.validate()
                    if writer:
                        _show(writer, task, done, figures)
                    if task.best is None or figures[task.best] < best:
                        best = figures[task.best] if task.best else best
                        task.export(out / "best", figures, done)
                pace = (time.monotonic() - began) / (done - first)
                said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
                progress.say(f"step {done}: {said} ({pace:.2f} s a step)")
            if group.leads and (done % config.checkpoint_every == 0 or done == config.steps or stop.number):
                _checkpoint(state_path, task.model, optimiser, ema, done, best)
            if stop.number:
                progress.say(f"stopped after step {done}, which is saved; --resume continues.")
                break
    if group.leads and not figures:  # a run that was resumed at its end
        task.model.eval()
        with ema:
            figures = task.validate()
    return figures


def _batches(task: TrainingTask, config: LoopConfig, first: int) -> Iterator[tuple[Tensor, ...]]:
    loader: DataLoader[tuple[Tensor, ...]] = DataLoader(
        _Steps(task), batch_size=None, sampler=range(first, config.steps), num_workers=config.workers
    )
    return iter(loader)


def _checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Adam, ema: EMA, step: int, best: float) -> None:
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in ema.tensors.items()}
    for name, parameter in model.named_parameters():
        moments = optimiser.state.get(parameter, {})  # a parameter that the loss does not reach has none
        tensors |= {f"{key}/{name}": moments[key] for key in MOMENTS if key in moments}
    save_tensors(path, tensors, {"step": str(step), "best": repr(best)})


def _restore(path: Path, model: nn.Module, optimiser: torch.optim.Adam, ema: EMA) -> tuple[int, float]:
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
        model.load_state_dict(
            {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
        )
    except RuntimeError as error:
        raise M2MError(f"{path} is of another model than this run describes; resume with the same options.") from error
    for name, parameter in model.named_parameters():
        moments = {key: tensors[f"{key}/{name}"].to(parameter.device) for key in MOMENTS if f"{key}/{name}" in tensors}
        if moments:
            optimiser.state[parameter] = {"step": torch.tensor(float(step)), **moments}
    ema.restore({name.removeprefix("average/"): t for name, t in tensors.items() if name.startswith("average/")})
    return step, best


def _writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        progress.say("no curves: TensorBoard is not installed (pip install 'm2m[train]').")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]


def _show(writer: Any, task: TrainingTask, step: int, figures: dict[str, float]) -> None:
    _log(writer, step, {f"validation/{name}": value for name, value in figures.items()})
    for name, image in task.pictures().items():
        writer.add_image(name, image, step, dataformats="HWC")
    for name, (wave, rate) in task.sounds().items():
        writer.add_audio(name, wave[None], step, rate)


def _log(writer: Any, step: int, values: dict[str, float]) -> None:
    for name, value in values.items() if writer else ():
        writer.add_scalar(name, value, step)
