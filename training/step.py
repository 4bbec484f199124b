"""One training step: forward, backward, clipping, Adam. On a GPU the whole of it is one CUDA graph.

A graph is what a GPU was given to do, recorded once and given to it again at every step, on buffers that stay where they are.
So a step may not ask the GPU for a number, nor depend on one: all that changes from step to step is in the buffers of the batch
and of the learning rate. The first steps run as they are, and warm up what recording needs; then one is recorded.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from m2m.core.errors import M2MError
from m2m.core.system import progress
from m2m.training.distributed import Group
from m2m.training.schedule import LoopConfig
from m2m.training.task import TrainingTask

WARM_UP = 3  # steps
Record = Callable[[Callable[[], None]], Callable[[], None]]  # given what to do, without doing it, what does it again


def record_graph(run: Callable[[], None]) -> Callable[[], None]:
    """Record what `run` has the GPU do on the current stream. Returned: what replays it."""
    graph = torch.cuda.CUDAGraph()
    try:
        # thread_local: another thread may load data meanwhile.
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
            run()
    except Exception:
        # Versions of PyTorch leave the generator of random numbers as if recording went on: every draw would fail.
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        generator.graphsafe_set_state(torch.Generator("cuda").graphsafe_get_state())
        raise
    return graph.replay


def make_adam(model: nn.Module, config: LoopConfig, graph: bool) -> torch.optim.Adam:
    """The optimiser. graph: it is to be recorded, with its learning rate and its number of steps on the device."""
    if not graph:
        return torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    rate = torch.tensor(config.learning_rate, device=next(model.parameters()).device)
    capturable = rate.device.type == "cuda"
    return torch.optim.Adam(model.parameters(), lr=rate, fused=True, capturable=capturable)


class Step:
    """A step of training, called at each one.

    record: records a step; None: every step runs as it is. After a call, loss and norm (of the gradient) are its scalars, on the
    device; finite is False once a gradient was not.
    """

    def __init__(
        self,
        task: TrainingTask,
        optimiser: torch.optim.Adam,
        config: LoopConfig,
        group: Group,
        record: Record | None = None,
    ) -> None:
        self.task, self.optimiser, self.config, self.group = task, optimiser, config, group
        self.device = torch.device(group.device)
        self.loss = self.norm = torch.zeros((), device=self.device)
        self.finite = torch.ones((), dtype=torch.bool, device=self.device)
        self._record, self._calls = record, 0
        self._replay: Callable[[], None] | None = None
        self._batch: tuple[Tensor, ...] = ()
        self._before: torch.cuda.Event | None = None

    @property
    def recorded(self) -> bool:
        """Whether steps are replays of a recorded one."""
        return self._replay is not None

    def __call__(self, batch: tuple[Tensor, ...], rate: float) -> None:
        """Do a step on a batch that is on the device. rate: the learning rate."""
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        if self._record and not self._replay and self._calls >= WARM_UP:
            self._try_to_record(batch)
        self._calls += 1
        if self._replay:
            for buffer, part in zip(self._batch, batch, strict=True):
                buffer.copy_(part)
            self._replay()
        else:
            self._run(batch)
        self._wait_for_the_step_before()

    def _run(self, batch: tuple[Tensor, ...]) -> None:
        model, bfloat16 = self.task.model, self.config.autocasts
        # Weights that autocast has kept in bfloat16 would be recorded as constants.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=self._record is None):
            loss = self.task.loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.group.average(model.parameters())
        norm = nn.utils.clip_grad_norm_(model.parameters(), self.config.clip)
        self.optimiser.step()
        self.finite.logical_and_(norm.isfinite())
        self.loss, self.norm = loss.detach(), norm

    def _try_to_record(self, batch: tuple[Tensor, ...]) -> None:
        assert self._record
        self._batch = tuple(part.clone() for part in batch)
        self.optimiser.zero_grad(set_to_none=True)
        try:
            self._replay = self._record(lambda: self._run(self._batch))
        except (RuntimeError, M2MError) as error:  # a component's is wrapped
            self._record, self._batch = None, ()
            reason = str(error).splitlines()[0]
            progress.say(f"no CUDA graph, steps are launched kernel by kernel: {reason}")

    def _wait_for_the_step_before(self) -> None:
        """Prepare one batch while the GPU works, not many: a clock would be far ahead of what was learned."""
        if self.device.type != "cuda":
            return
        now = torch.cuda.Event()
        now.record()
        if self._before:
            self._before.synchronize()
        self._before = now
