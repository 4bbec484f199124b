"""The training loop that every model shares: data, steps, checkpoints, curves.

A run lives in a folder:

    run.json              the whole config, as it was when the run began or was last resumed
    training.safetensors  weights, their average and Adam's moments after the newest checkpoint, with the step in its metadata
    best/                 the model with the best validation so far (or the newest, see `TrainingTask`), as a user loads it
    logs/                 TensorBoard

A batch depends on the seed and the step alone, never on what was drawn before, and so does what a model itself draws
(dropout, noise): a run that is stopped anywhere and resumed from its checkpoint gives the same weights as one that never
stopped. The exceptions are a run with a time limit, and one on a data set that is still being built: they go on from their
checkpoint.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from m2m.core.errors import M2MError
from m2m.core.system import progress
from m2m.core.system.files import make_folder, write_text
from m2m.core.system.run_config import RUN
from m2m.training import memory
from m2m.training.curves import Curves
from m2m.training.distributed import Group, join
from m2m.training.ema import EMA
from m2m.training.interruption import Interruption, waiting
from m2m.training.pieces import PieceTask
from m2m.training.pool import growing, make_pool
from m2m.training.schedule import LoopConfig, Schedule, duration, learning_rate
from m2m.training.state import STATE, Reached, restore_state, save_state
from m2m.training.step import Step, make_adam, record_graph
from m2m.training.task import TrainingTask, model_card

__all__ = ["LoopConfig", "TrainingTask", "fit", "learning_rate", "model_card"]


class _Steps(Dataset[tuple[Tensor, ...]]):
    def __init__(self, task: TrainingTask) -> None:
        self.task = task

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        return self.task.batch(step)


def fit(
    task: TrainingTask,
    config: LoopConfig,
    out: Path,
    about: dict[str, Any],
    resume: bool,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, float]:
    """Train until `config.steps`, or for `config.time_limit`, and return the last validation's figures.

    about: the run's whole config as JSON data, saved as run.json. clock: gives seconds, for a time limit.
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
        return _Run(task, config, out, about, resume, group, clock).go_on()


class _Run:
    """A run in one process: what a step changes. reached: how far it was when it goes on."""

    def __init__(
        self,
        task: TrainingTask,
        config: LoopConfig,
        out: Path,
        about: dict[str, Any],
        resume: bool,
        group: Group,
        clock: Callable[[], float],
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
        if config.time_limit and group.count > 1:
            raise M2MError("loop.time_limit is for a run in one process, whose clock decides; give --steps.")
        self.gpu = torch.device(group.device).type == "cuda"
        graph = config.graph and self.gpu and group.count == 1 and not config.compile
        self.optimiser = make_adam(task.model, config, graph)
        self.ema = EMA(task.model, config.average)
        self.reached = Reached()
        if resume:
            self.reached = restore_state(out / STATE, task.model, self.optimiser, self.ema)
        if self.reached.step > config.steps and not config.time_limit:
            raise M2MError(
                f"the run in {out} is at step {self.reached.step} already, beyond loop.steps {config.steps}; give more --steps."
            )
        if group.leads:
            write_text(out / RUN, json.dumps(about, indent=2) + "\n")
        if config.compile:
            task.model.compile()
        self.best = self.reached.best
        self.step = Step(task, self.optimiser, config, group, record_graph if graph else None)
        self.schedule = Schedule(config, self.reached.seconds, clock)
        self.pool = None
        if isinstance(task, PieceTask) and config.data != "disk" and not self.schedule.over(self.reached.step):
            self.pool = make_pool(task, group.device, config.data == "device")

    def go_on(self) -> dict[str, float]:
        """Train to the end and return the last validation's figures; only the process that leads has them."""
        figures = dict[str, float]()
        # The curves of a run that fails are wanted most. Of several processes, one that stopped would leave the others waiting.
        with ExitStack() as stack:
            curves = None
            if self.group.leads:
                curves = stack.enter_context(closing(Curves(self.out / "logs", self.reached.step)))
                self._say_what_begins()
            if self.gpu:  # a graph is recorded on a stream of its own, and all that is before and after is on the same
                torch.cuda.synchronize(self.group.device)
                stack.enter_context(torch.cuda.stream(torch.cuda.Stream(self.group.device)))
            self._load(stack)
            stop = stack.enter_context(waiting()) if self.group.count == 1 else Interruption()
            figures = self._train(curves, stop)
        if self.group.leads and not figures:  # a run that was resumed at its end
            self.task.model.eval()
            with self.ema:
                figures = self.task.validate()
        return figures

    def _say_what_begins(self) -> None:
        config, first = self.config, self.reached.step
        size = sum(p.numel() for p in self.task.model.parameters())
        end = f"for {duration(config.time_limit)}" if config.time_limit else f"to {config.steps}"
        numbers = "bfloat16" if config.autocasts else "float32"
        progress.say(
            f"{size:,} weights, steps {first + 1} {end} of {config.batch_size} sequences on {self.group.device} in {numbers}"
        )

    def _load(self, stack: ExitStack) -> None:
        """Load the pool: all that is there, or with a time limit a batch's worth. The rest comes while training goes on."""
        task, pool, limited = self.task, self.pool, self.config.time_limit > 0
        if not isinstance(task, PieceTask):
            return
        if pool:
            began, enough = time.monotonic(), self.config.batch_size if limited else sys.maxsize
            with progress.advance("loading", len(task.train)) as advance:
                while pool.pieces < enough and pool.load():
                    advance(1)
            took = duration(time.monotonic() - began)
            progress.say(f"{pool.hours:.2g} h of training data on {pool.device}, loaded in {took}")
        if task.train.missing or (pool and limited):
            stack.enter_context(growing(task, pool))

    def _train(self, curves: Curves | None, stop: Interruption) -> dict[str, float]:
        """Do the steps that are left, with what belongs between them, and return the last validation's figures."""
        config, schedule, figures = self.config, self.schedule, dict[str, float]()
        first = done = self.reached.step
        batches, began = self._batches(), time.monotonic()
        schedule.begin()
        over = schedule.over(done)
        with progress.advance("training", schedule.total(done)) as advance:
            while not over:
                second = time.monotonic()
                rate = self._step(done, batches)
                done, over = done + 1, schedule.over(done + 1)
                logs, saves = done % config.log_every == 0, done % config.checkpoint_every == 0 or over or stop.number
                validates = done % config.validate_every == 0 or done == 1 or over
                if not self.gpu or logs or saves or validates:  # to ask a GPU is to wait for it
                    self._check(done)
                if curves and logs:
                    self._log(done, rate, curves)
                if curves and validates:
                    figures = self._validate(done, curves)
                    self._say_figures(done, figures, (time.monotonic() - began) / (done - first))
                if self.group.leads and done == first + 2:  # the first step alone is no measure
                    pace = time.monotonic() - second
                    progress.say(f"a step takes {pace:.2g} s: {duration(schedule.left(done, pace))} to go")
                if self.group.leads and saves:
                    reached = Reached(done, self.best, schedule.seconds)
                    save_state(self.out / STATE, self.task.model, self.optimiser, self.ema, reached)
                if stop.number:
                    progress.say(f"stopped after step {done}, which is saved; --resume continues.")
                    break
                advance(time.monotonic() - second if config.time_limit else 1)
        return figures

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        """Batches from the next step on, without end where only time ends the run."""
        first, pool = self.reached.step, self.pool
        steps = itertools.count(first) if self.config.time_limit else range(first, self.config.steps)
        if pool:
            return (pool.batch(step) for step in steps)
        loader: DataLoader[tuple[Tensor, ...]] = DataLoader(
            _Steps(self.task), batch_size=None, sampler=steps, num_workers=self.config.workers
        )
        return iter(loader)

    def _step(self, step: int, batches: Iterator[tuple[Tensor, ...]]) -> float:
        """One step, counted from 0. Returned: its learning rate."""
        rate = self.schedule.rate(step)
        self.task.model.train()
        torch.manual_seed((self.config.seed << 32) + step + (self.group.rank << 24))
        self.step(self.group.share(next(batches)), rate)
        self.ema.update(step + 1)
        return rate

    def _check(self, done: int) -> None:
        """Raise M2MError if training has diverged: weights that are not finite stay so."""
        if not self.step.finite:
            again = f"resume {self.out}" if (self.out / STATE).exists() else "start again"
            raise M2MError(
                f"training diverged {'by' if self.gpu else 'at'} step {done - 1}: its gradient is not finite; "
                f"{again} at a lower loop.learning_rate."
            )

    def _log(self, done: int, rate: float, curves: Curves) -> None:
        scalars = {"loss": float(self.step.loss), "rate": rate, "gradient": float(self.step.norm)}
        curves.scalars(done, "train", scalars)
        curves.scalars(done, "train", self.task.details())
        if self.pool:
            curves.scalars(done, "pool", {"hours": self.pool.hours})

    def _say_figures(self, done: int, figures: dict[str, float], pace: float) -> None:
        said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        speed = f"{pace:.2f} s a step" if pace >= 0.1 else f"{1 / pace:.1f} steps/s"
        pool = f"; pool {self.pool.hours:.2g} h" if self.pool else ""
        progress.say(f"step {done}: {said} ({speed}{pool})")

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
