"""The schedule of a run: how long it goes on, and how fast it learns where. By steps, or stretched over seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from m2m.core.system.processor import has_bf16


class LoopConfig(BaseModel):
    """How long, how fast and on what to train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(10_000, ge=1)
    batch_size: int = Field(16, ge=1, description="sequences a step")
    seed: int = Field(0, ge=0, lt=1 << 31)
    time_limit: float = Field(
        0.0,
        ge=0,
        description="seconds of training, over which the schedule of `steps` is stretched, however many steps they hold; "
        "0: none. Reading data before and the last validation are not counted",
    )
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
    data: Literal["auto", "device", "disk"] = Field(
        "auto",
        description="device: pieces are held in its memory and batches are cut there; disk: a CPU prepares each batch. "
        "auto: device on a GPU where they fit",
    )
    graph: bool = Field(
        True, description="on a GPU, the whole step as one CUDA graph; where that cannot be, it is said"
    )
    workers: int = Field(0, ge=0, description="processes that prepare batches from disk; 0 prepares them between steps")
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


def learning_rate(step: float, config: LoopConfig) -> float:
    """The rate of a step, counted from 0; of a place between steps, where the schedule is stretched over seconds.

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


class Schedule:
    """Where a run is in its schedule. With a `time_limit` each second counts as `steps / time_limit` steps.

    spent: seconds of the limit that earlier tries have used. clock: gives seconds.

    >>> now = iter((50.0, 50.0, 53.0, 54.0))
    >>> schedule = Schedule(LoopConfig(steps=100, time_limit=4, warmup=0, decay=0.5), clock=lambda: next(now))
    >>> schedule.begin()
    >>> schedule.rate(0), schedule.rate(7), schedule.over(8)
    (0.002, 0.001, True)
    """

    def __init__(self, config: LoopConfig, spent: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.config, self._spent, self._clock = config, spent, clock
        self._began: float | None = None

    def begin(self) -> None:
        """Start the clock."""
        self._began = self._clock()

    @property
    def seconds(self) -> float:
        """Seconds of the limit that have gone by, those of earlier tries included; 0 where there is no limit."""
        if not self.config.time_limit:
            return 0.0
        return self._spent + (0.0 if self._began is None else self._clock() - self._began)

    def over(self, done: int) -> bool:
        """Whether the run ends after `done` steps."""
        return self.seconds >= self.config.time_limit if self.config.time_limit else done >= self.config.steps

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if not self.config.time_limit:
            return learning_rate(step, self.config)
        share = min(1.0, self.seconds / self.config.time_limit)
        return learning_rate(share * self.config.steps, self.config)

    def total(self, done: int) -> float:
        """What is left after `done` steps: seconds where there is a limit, else steps."""
        limit = self.config.time_limit
        return max(0.0, limit - self.seconds) if limit else self.config.steps - done

    def left(self, done: int, pace: float) -> float:
        """Seconds to go after `done` steps. pace: seconds that a step takes."""
        return self.total(done) * (1 if self.config.time_limit else pace)


def duration(seconds: float) -> str:
    """Seconds as a reader would say them.

    >>> duration(50), duration(5400), duration(9e5)
    ('50 s', '1.5 h', '10.4 days')
    """
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
