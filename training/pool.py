"""Training data in the memory of a device: whole pieces, from which batches are cut there.

A batch that a CPU prepares is copied to the GPU at each step: 138 MB of rolls for 128 segments of Mel2Mel. Here every piece is
prepared once, as one long segment, and stays; a step copies only where its segments begin. Memory is taken for the whole data
set at once, for files that are still to be built as well, so that nothing ever moves.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m2m.core.errors import M2MError
from m2m.core.system import progress
from m2m.training.distributed import to_device
from m2m.training.pieces import PieceTask, TrainingSegment

SHARE = 0.6  # of a GPU's free memory that data may take where nobody has asked for it
POLL = 1.0  # seconds between two looks for new files


class Stored:
    """One array of all pieces, row after row. A segment of n frames has n * rate + extra rows.

    short, long: this array of a segment and of one that is a frame longer. frames, pieces: that there is to be room for.
    """

    def __init__(
        self, short: NDArray[np.generic], long: NDArray[np.generic], cut: int, frames: int, pieces: int
    ) -> None:
        self.rate = len(long) - len(short)
        self.extra = len(short) - cut * self.rate
        self.shape = (frames * self.rate + pieces * self.extra, *short.shape[1:])
        self.dtype = torch.from_numpy(short).dtype
        self.kept = torch.int32 if self.dtype == torch.int64 else self.dtype  # µ-law codes; half the memory
        self.used, self.rows, self.values = 0, torch.empty(0), torch.empty(0)

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape)) * self.kept.itemsize

    def allocate(self, cut: int, device: torch.device) -> None:
        """Take the memory. cut: frames of a segment of a batch."""
        self.values = torch.empty(self.shape, dtype=self.kept, device=device)
        self.rows = torch.arange(cut * self.rate + self.extra, device=device)

    def append(self, array: NDArray[np.generic]) -> int:
        """Take in a piece. Returned: its first row."""
        first, self.used = self.used, self.used + len(array)
        self.values[first : self.used].copy_(torch.from_numpy(array).to(self.kept))
        return first

    def cut(self, first: Tensor) -> Tensor:
        """Segments. first: (batch,) int64, their first rows. Returned: (batch, rows, ...)."""
        return self.values[first[:, None] + self.rows].to(self.dtype)


class Pool:
    """The pieces of a task's training files, those that are loaded; it sets the task's `files` to their number."""

    def __init__(self, task: PieceTask, device: str) -> None:
        self.task, self.device = task, torch.device(device)
        self.frames, self._at = 0, dict[tuple[object, ...], tuple[int, list[int]]]()
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._cut = task.cuts(0)[0].frames
        short = next(task.pieces(0))
        short = replace(short, frames=self._cut)
        arrays = task.segment(short), task.segment(replace(short, frames=self._cut + 1))
        room = _room(task)
        self.parts = [Stored(*pair, self._cut, *room) for pair in zip(*arrays, strict=True)]
        self.loaded = 0

    @property
    def size(self) -> int:
        """Bytes that the whole data set takes, files that are still missing included."""
        return sum(part.size for part in self.parts)

    @property
    def hours(self) -> float:
        """Of audio that batches are cut from, all instruments and kinds."""
        return self.frames / self.task.frame_rate / 3600

    @property
    def pieces(self) -> int:
        """That batches are cut from."""
        return len(self._at)

    def allocate(self) -> None:
        """Take the memory. Raises M2MError if there is not so much."""
        try:
            for part in self.parts:
                part.allocate(self._cut, self.device)
        except RuntimeError as error:  # torch's OutOfMemoryError is one
            raise M2MError(
                f"the data set takes {self.size / 1e9:.1f} GB on {self.device}, which has not so much free; "
                "set loop.data=disk."
            ) from error
        self.task.files = 0

    def load(self) -> bool:
        """Take in the next training file. Returned: False if there is none."""
        index = self.loaded
        if index == len(self.task.train):
            return False
        pieces = list(self.task.pieces(index))
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            prepared = list(threads.map(self.task.segment, pieces))
        with torch.no_grad(), torch.cuda.stream(self._stream) if self._stream else nullcontext():
            for piece, arrays in zip(pieces, prepared, strict=True):
                firsts = [part.append(array) for part, array in zip(self.parts, arrays, strict=True)]
                self._at[_key(piece)] = piece.start, firsts
        if self._stream:
            self._stream.synchronize()
        self.frames += sum(piece.frames for piece in pieces)
        self.loaded = self.task.files = index + 1  # from now on batches are cut from it
        return True

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """The task's batch of a step; its segments are cut on the device."""
        cuts = self.task.cuts(step)
        firsts = []
        for at in cuts:
            start, rows = self._at[_key(at)]
            firsts.append([row + (at.start - start) * part.rate for row, part in zip(rows, self.parts, strict=True)])
        table = to_device(torch.tensor(firsts).T.contiguous(), self.device)  # (parts, batch)
        return self.task.assemble(
            step, cuts, tuple(part.cut(first) for part, first in zip(self.parts, table, strict=True))
        )


def make_pool(task: PieceTask, device: str, wanted: bool) -> Pool | None:
    """The pool of a task, with nothing loaded; None where it does not fit, which is said.

    wanted: it was asked for. Else it is to leave a GPU room for training, and a CPU has none. Raises M2MError if it is wanted
    and does not fit.
    """
    gpu = torch.device(device).type == "cuda"
    if not wanted and not gpu:
        return None
    pool = Pool(task, device)
    if not wanted:
        free = torch.cuda.mem_get_info(device)[0]
        if pool.size > SHARE * free:
            progress.say(
                f"the data takes {pool.size / 1e9:.1f} GB, {device} has {free / 1e9:.1f} GB free: the CPU prepares batches."
            )
            return None
    pool.allocate()
    return pool


@contextmanager
def growing(task: PieceTask, pool: Pool | None) -> Iterator[None]:
    """A block in which a thread takes in training files: those that are not loaded yet, and those that a build goes on adding."""
    stop = threading.Event()

    def go_on() -> None:
        try:
            while not stop.is_set():
                if pool and pool.load():
                    continue
                if not task.train.missing:
                    return
                task.train.refresh()
                if pool is None:
                    task.files = len(task.train)
                if pool is None or pool.loaded == len(task.train):
                    stop.wait(POLL)
        except Exception as error:  # training goes on with what it has
            progress.say(f"no more training files are taken in: {error}")

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _key(at: TrainingSegment) -> tuple[object, ...]:
    return at.index, at.name, at.predicted, at.notes


def _room(task: PieceTask) -> tuple[int, int]:
    """(frames, pieces) of all training files, of the missing ones at most."""
    pieces = list(chain.from_iterable(task.pieces(index) for index in range(len(task.train))))
    frames = sum(piece.frames for piece in pieces)
    each = list(task.pieces(0))
    cut = task.cuts(0)[0].frames
    longest = sum(max(task.longest, cut) - piece.start for piece in each)
    return frames + task.train.missing * longest, len(pieces) + task.train.missing * len(each)
