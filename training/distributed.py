"""One run on several processes: `torchrun --nproc-per-node 4 -m m2m train wavenet DATA --device cuda`.

Each process computes its share of every batch, and all take the mean of their gradients. So a run does not depend on how many
processes there are, up to the order of sums. The exception is what a model itself draws (WaveNet's `noise`, a divergence by Monte
Carlo): each process draws for its own rows, the same in distribution, not in numbers. Without torchrun there is one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from m2m.core.errors import M2MError


@dataclass(frozen=True)
class Group:
    """The processes of a run, from one of them: its rank among `count`, and its device."""

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this is the process that validates, reports and writes."""
        return self.rank == 0

    def share(self, batch: Iterable[Tensor]) -> tuple[Tensor, ...]:
        """The process's rows of a batch, every `count`-th of each tensor's first dimension, on its device."""
        return tuple(to_device(tensor[self.rank :: self.count], self.device) for tensor in batch)

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their mean over all processes, in one exchange."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        together = torch.cat([gradient.ravel() for gradient in gradients])
        distributed.all_reduce(together)
        together /= self.count
        for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device. The host does not wait for the copy to a GPU, as it would from memory that is not pinned."""
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


@contextmanager
def join(device: str, batch_size: int) -> Iterator[Group]:
    """The group that torchrun has started this process in.

    Raises M2MError if its members cannot share a batch evenly.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Group(device=device)
        return
    if batch_size % count:
        raise M2MError(
            f"loop.batch_size {batch_size} cannot be shared by {count} processes; give a multiple of {count}."
        )
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Group(distributed.get_rank(), count, device)
    finally:
        distributed.destroy_process_group()
