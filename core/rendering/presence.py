"""When a part sounds: from its first onset until its last release has rung out, and not in long rests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from m2m.core.mel import MelSpec
from m2m.core.notes import NoteArray

TAIL = 2.0  # seconds rendered after the last note is let go: the releases that the model learned have faded by then
RING = 1.0  # seconds after the last release until the mel is faded to silence, which it reaches after TAIL


def presence(notes: NoteArray, first: int, last: int, spec: MelSpec) -> NDArray[np.float32]:
    """1 where a note sounds or rings out, falling to 0 over the second after RING, 0 in a rest: (last - first,) float32.

    The model has seen little of long rests, and where nothing can sound it leaves a faint noise.
    """
    if not len(notes):
        return np.zeros(last - first, np.float32)
    reach = spec.n_fft / 2 / spec.sample_rate  # seconds: a frame's window reaches an onset so early
    at = np.arange(first, last) / spec.frame_rate
    begun = np.searchsorted(notes["start"] - reach, at, side="right")  # how many notes have begun
    ends = np.maximum.accumulate(np.append(-np.inf, notes["end"]))
    return (1 - np.clip((at - ends[begun] - RING) / (TAIL - RING), 0, 1)).astype(np.float32)


def audible(there: NDArray[np.float32], window: int) -> Iterator[tuple[int, int]]:
    """Runs of windows in which something sounds, (first, last) frames; the others need not be predicted.

    there: (frames,) float32, as `presence` has it. window: frames.
    """
    edges = range(0, len(there), window)
    for sounds, run in groupby(edges, lambda first: bool(there[first : first + window].any())):
        firsts = list(run)
        if sounds:
            yield firsts[0], min(firsts[-1] + window, len(there))
