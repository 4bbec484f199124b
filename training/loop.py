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
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from m2m.core.errors import M2MError
from m2m.core.system import progress
from m2m.core.system.files import make_folder, write_text
from m2m.core.system.processor import has_bf16
from m2m.core.system.run_config import RUN
from m2m.training import memory
from m2m.training.curves import Curves
from m2m.training.distributed import Group, join
from m2m.training.ema import EMA
from m2m.training.interruption import Interruption, waiting
from m2m.training.state import STATE, restore_state, save_state


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
    precision: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="of the forward pass; weights stay float32. auto: bfloat16 where the device multiplies it itself",
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

    @property
    def autocasts(self) -> bool:
        """Whether the forward pass is to run in bfloat16."""
        return self.precision == "bfloat16" or (self.precision == "auto" and has_bf16(self.device))


class TrainingTask(ABC):
    """What a model brings to the loop.

    `best` names the validation figure that decides which model is exported; smaller is better. None: the newest is exported,
    where no figure measures what is learned.
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
        """The terms of the last loss, for the curves."""
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


def model_card(title: str, figures: Mapping[str, float], *remarks: str, measured: str = "Validation:") -> str:
    """The README.md of a model that a run exports: a title, remarks, and the figures of a validation."""
    parts = [f"# {title}", *remarks, measured, "\n".join(f"- {name}: {value:.4g}" for name, value in figures.items())]
    return "\n\n".join(parts) + "\n"


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


def _duration(seconds: float) -> str:
    """Seconds as a reader would say them.

    >>> _duration(50), _duration(5400), _duration(9e5)
    ('50 s', '1.5 h', '10.4 days')
    """
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def fit(task: TrainingTask, config: LoopConfig, out: Path, about: dict[str, Any], resume: bool) -> dict[str, float]:
    """Train until `config.steps` and return the last validation's figures.

    about: the run's whole config as JSON data, saved as run.json.
    Raises M2MError if the folder holds a run already and `resume` is False, if it holds none and `resume` is True, if its state
    is damaged or of another model, if the device cannot be used, or if training diverges.
    """
    state = out / STATE
    if state.exists() and not resume:
        raise M2MError(f"{out} already holds a run; continue it with --resume, or choose another folder.")
    if resume and not state.exists():
        raise M2MError(f"{out} holds no run to resume: there is no {STATE}; start one without --resume.")
    if config.device == "cpu":
        memory.keep()
    if config.threads:
        torch.set_num_threads(config.threads)
    with join(config.device, config.batch_size) as group:
        return _Run(task, config, out, about, resume, group).go_on()


class _Run:
    """A run in one process: what a step changes. first: steps that it has behind it when it goes on."""

    def __init__(
        self, task: TrainingTask, config: LoopConfig, out: Path, about: dict[str, Any], resume: bool, group: Group
    ) -> None:
        self.task, self.config, self.out, self.group = task, config, out, group
        if group.leads:
            make_folder(out)
        else:
            progress.quiet = True
        try:
            task.model.to(group.device)
        except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
            reason = str(error).splitlines()[0]
            raise M2MError(f"loop.device {config.device!r} cannot be used: {reason}; give 'cpu' or 'cuda'.") from error
        self.optimiser = torch.optim.Adam(task.model.parameters(), lr=config.learning_rate)
        self.ema = EMA(task.model, config.average)
        self.first, self.best = 0, math.inf
        if resume:
            self.first, self.best = restore_state(out / STATE, task.model, self.optimiser, self.ema)
        if self.first > config.steps:
            raise M2MError(
                f"the run in {out} is at step {self.first} already, beyond loop.steps {config.steps}; give more --steps."
            )
        if group.leads:
            write_text(out / RUN, json.dumps(about, indent=2) + "\n")
        if config.compile:
            task.model.compile()

    def go_on(self) -> dict[str, float]:
        """Train until `config.steps` and return the last validation's figures; only the process that leads has them."""
        config, group, figures = self.config, self.group, dict[str, float]()
        curves = Curves(self.out / "logs", self.first) if group.leads else None
        batches, began = self._batches(), time.monotonic()
        if group.leads:
            numbers = "bfloat16" if config.autocasts else "float32"
            size = sum(p.numel() for p in self.task.model.parameters())
            progress.say(
                f"{size:,} weights, steps {self.first + 1} to {config.steps} of {config.batch_size} sequences on {group.device} "
                f"in {numbers}"
            )
        # The curves of a run that fails are wanted most. Of several processes, one that stopped would leave the others waiting.
        with (
            closing(curves) if curves else nullcontext(),
            waiting() if group.count == 1 else nullcontext(Interruption()) as stop,
        ):
            for step in progress.track(range(self.first, config.steps), "training", total=config.steps - self.first):
                second = time.monotonic()
                logged, done = self._step(step, batches), step + 1
                if curves and done % config.log_every == 0:
                    curves.scalars(done, "train", {name: float(value) for name, value in logged.items()})
                    curves.scalars(done, "train", self.task.details())
                if curves and (done % config.validate_every == 0 or done in (1, config.steps)):
                    figures = self._validate(done, curves)
                    said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
                    pace = (time.monotonic() - began) / (done - self.first)
                    progress.say(f"step {done}: {said} ({pace:.2f} s a step)")
                if group.leads and step == self.first + 1:  # the first step alone is no measure
                    pace = time.monotonic() - second
                    progress.say(f"a step takes {pace:.2g} s: {_duration(pace * (config.steps - done))} to go")
                if group.leads and (done % config.checkpoint_every == 0 or done == config.steps or stop.number):
                    save_state(self.out / STATE, self.task.model, self.optimiser, self.ema, done, self.best)
                if stop.number:
                    progress.say(f"stopped after step {done}, which is saved; --resume continues.")
                    break
        if group.leads and not figures:  # a run that was resumed at its end
            self.task.model.eval()
            with self.ema:
                figures = self.task.validate()
        return figures

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        loader: DataLoader[tuple[Tensor, ...]] = DataLoader(
            _Steps(self.task),
            batch_size=None,
            sampler=range(self.first, self.config.steps),
            num_workers=self.config.workers,
        )
        return iter(loader)

    def _step(self, step: int, batches: Iterator[tuple[Tensor, ...]]) -> dict[str, Tensor | float]:
        """One step of Adam, counted from 0. Returned are scalars for the curves. Raises M2MError if it diverges."""
        task, config, group = self.task, self.config, self.group
        rate = learning_rate(step, config)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate
        task.model.train()
        torch.manual_seed((config.seed << 32) + step + (group.rank << 24))
        batch = group.share(next(batches))
        device = torch.device(config.device).type
        with torch.autocast(device, torch.bfloat16, enabled=config.autocasts):
            loss = task.loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        group.average(task.model.parameters())
        norm = nn.utils.clip_grad_norm_(task.model.parameters(), config.clip)
        if not torch.isfinite(norm):
            again = f"resume {self.out}" if (self.out / STATE).exists() else "start again"
            raise M2MError(
                f"training diverged at step {step}: its gradient is not finite; {again} at a lower loop.learning_rate."
            )
        self.optimiser.step()
        self.ema.update(step + 1)
        return {"loss": loss.detach(), "rate": rate, "gradient": norm}

    def _validate(self, done: int, curves: Curves) -> dict[str, float]:
        """The figures of the average after `done` steps, which is exported if it is the best; pictures and sounds of it."""
        task = self.task
        task.model.eval()
        with self.ema:
            figures = task.validate()
            if curves.shown:
                curves.scalars(done, "validation", figures)
                curves.pictures(done, task.pictures())
                curves.sounds(done, task.sounds())
            if task.best is None or figures[task.best] < self.best:
                self.best = figures[task.best] if task.best else self.best
                task.export(self.out / "best", figures, done)
        return figures
