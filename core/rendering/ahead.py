"""Lanes' next blocks, computed side by side: each lane by one thread, in which PyTorch has no others.

Its operations on a block are too small to share out: two threads take more time for a part than one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

Block = NDArray[np.float32]


class Ahead:
    """As many threads as PyTorch has, and at most `lanes`. Use it in a `with` statement. Once `stopped`, lanes are at their end.

    A lane stays with its thread, since PyTorch's modes are a thread's.
    """

    def __init__(self, lanes: int, stopped: Callable[[], bool] = lambda: False) -> None:
        self._stopped, self._usual = stopped, torch.get_num_threads()
        workers = [
            ThreadPoolExecutor(1, "m2m-part", torch.set_num_threads, (1,)) for _ in range(min(lanes, self._usual))
        ]
        self._workers, self._turns = workers, cycle(workers)
        self._of: dict[Iterator[Block], ThreadPoolExecutor] = {}
        self._coming: dict[Iterator[Block], Future[Block | None]] = {}

    def begin(self, blocks: Iterator[Block]) -> None:
        """Have a lane's next block computed, unless it is already."""
        if blocks not in self._coming:
            worker = self._of.setdefault(blocks, next(self._turns))
            self._coming[blocks] = worker.submit(lambda: None if self._stopped() else next(blocks, None))

    def take(self, blocks: Iterator[Block]) -> Block | None:
        """That block, (samples,) float32; None at the lane's end. Raises what the lane raises."""
        return self._coming.pop(blocks).result()

    def end(self, blocks: Iterator[Block]) -> None:
        """Nothing more is wanted of a lane, of which no block is begun."""
        self._of.pop(blocks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:  # who interrupts does not wait for blocks
            worker.shutdown(wait=kind is not KeyboardInterrupt, cancel_futures=True)
        torch.set_num_threads(self._usual)
