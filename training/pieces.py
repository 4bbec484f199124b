"""Tasks whose batches are cut from the pieces of a data set: by a CPU, or on the device (training/pool.py)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m2m.dataset.shards import ShardReader
from m2m.training.task import TrainingTask


@dataclass(frozen=True)
class TrainingSegment:
    """Frames `start` to `start + frames` of a piece, on an instrument; silence lies beyond both ends of the piece.

    index: of the piece among the shards. name: of the instrument. predicted: with Mel2Mel's mel in the place of the true one.
    notes: with the score's notes, where a network reads them.
    """

    shards: ShardReader
    index: int
    name: str
    start: int
    frames: int
    predicted: bool = False
    notes: bool = True


class PieceTask(TrainingTask):
    """A task that says which segments a batch has, what a segment is, and what else a batch has.

    train: the training files. files: so many of them, the first ones, are drawn from; more, as a data set grows.
    """

    train: ShardReader
    files: int

    @property
    def frame_rate(self) -> float:
        """Frames a second, as segments count them: the data set's, unless a task has its own."""
        return self.train.config.mel.frame_rate

    @property
    def longest(self) -> int:
        """Frames of the longest training file, of those that are still to be built as well."""
        return self.train.longest

    @abstractmethod
    def cuts(self, step: int) -> list[TrainingSegment]:
        """The segments of a step's batch, all of the same number of frames; a function of seed, `step` and `files`."""

    @abstractmethod
    def pieces(self, index: int) -> Iterator[TrainingSegment]:
        """Training file `index` on every instrument and in every kind, each so long that any cut is a part of one."""

    @abstractmethod
    def segment(self, at: TrainingSegment) -> tuple[NDArray[Any], ...]:
        """The arrays of a segment. The first dimension of each is time.

        A segment within another one is that part of it, up to rounding; a predicted mel's differs a little by its context.
        """

    @abstractmethod
    def assemble(self, step: int, cuts: Sequence[TrainingSegment], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The batch of a step. parts: the arrays of its segments, each stacked: (batch, ...)."""

    def batch(self, step: int) -> tuple[Tensor, ...]:
        cuts = self.cuts(step)
        arrays = zip(*map(self.segment, cuts), strict=True)
        return self.assemble(step, cuts, tuple(torch.from_numpy(np.stack(part)) for part in arrays))
