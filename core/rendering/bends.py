"""Bends: a part that sounds off its keys is rendered on them, in a time of its own, and read out at another speed.

A sampler bends a note by reading its recording faster or slower. So is a part bent here: where it sounds a semitone above its
keys, its own time passes 6 % faster. It is rendered by that clock, its notes as far apart as they have to be, and then resampled
to the seconds of the score. Every partial goes along, whatever the vocoder. (A mel moved along log-frequency, with oscillators at
the true pitch, is worse: docs/midi.md.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m.core.notes import NoteArray

Array = NDArray[np.float32]
CROSSINGS = 16  # zero crossings of the resampling filter on either side
PASSED = 0.97  # of the lower Nyquist frequency, what the filter lets through
CHUNK = 4096  # samples


class BentTime:
    """The time of a part that is bent.

    cents: (frames,) float, by which it sounds above its keys at the centre of each frame; between two the speed changes evenly.
    frame_rate: frames a second.

    >>> BentTime(np.full(100, 1200.0), 125).at(np.array([0.0, 0.5, 3.0])).tolist()
    [0.0, 1.0, 6.0]
    """

    def __init__(self, cents: NDArray[np.floating[Any]], frame_rate: float) -> None:
        speed = 2.0 ** (np.asarray(cents, np.float64) / 1200)
        self.frame_rate, self.speed = frame_rate, np.append(speed, speed[-1:])  # (frames + 1,)
        passed = np.cumsum((self.speed[:-1] + self.speed[1:]) / 2) / frame_rate
        self._passed = np.append(0.0, passed)  # (frames + 1,), seconds

    def at(self, seconds: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Seconds of the score as seconds of the part.

        seconds: (n,) float, from 0 up. Returned is the same shape, float64.
        """
        frames = np.asarray(seconds, np.float64) * self.frame_rate
        frame = frames.astype(np.int64).clip(0, len(self.speed) - 2)
        since = frames - frame
        inside = np.minimum(since, 1.0)  # beyond the last frame its speed holds
        gained = inside * (self.speed[frame] + inside * (self.speed[frame + 1] - self.speed[frame]) / 2)
        return np.asarray(self._passed[frame] + (gained + (since - inside) * self.speed[-1]) / self.frame_rate)

    def frames(self, count: int) -> NDArray[np.int64]:
        """The frames of the score at which the part's first `count` frames stand: (count,)."""
        at = np.interp(np.arange(count) / self.frame_rate, self._passed, np.arange(len(self._passed)))
        return np.round(at).astype(np.int64)

    def notes(self, notes: NoteArray) -> NoteArray:
        """Notes in seconds of the score -> the same in seconds of the part."""
        moved = notes.copy()
        moved["start"], moved["end"] = self.at(notes["start"]), self.at(notes["end"])
        moved.flags.writeable = False
        return moved


def read_out(blocks: Iterable[Array], time: BentTime, samples: int, sample_rate: int) -> Iterator[Array]:
    """A part's audio in its own time -> its audio in the score's, block by block.

    blocks: (n,) float32 each. samples: of the score, that are wanted.

    Yields (n,) float32 blocks, `samples` together; each as soon as what it is made of has come. Where time passes faster, what
    would rise above the Nyquist frequency is filtered out.
    """
    reach = int(np.ceil(CROSSINGS / PASSED * max(1.0, float(time.speed.max())))) + 1
    held, first = np.zeros(reach, np.float32), -reach  # samples of the part, and the place of the first
    coming, done = iter(blocks), 0
    while done < samples:
        ask = np.arange(done, min(done + CHUNK, samples)) / sample_rate
        at = time.at(ask) * sample_rate
        needed = int(at[-1]) + reach + 1
        pieces = [held]
        have = first + len(held)
        while have < needed:
            block = next(coming, None)
            if block is None:
                block = np.zeros(needed - have, np.float32)
            pieces.append(block)
            have += len(block)
        held = np.concatenate(pieces)
        yield _interpolated(
            held, at - first, np.interp(ask * time.frame_rate, np.arange(len(time.speed)), time.speed), reach
        )
        done += len(ask)
        used = int(at[-1]) - reach - first
        held, first = held[max(used, 0) :], first + max(used, 0)


def _interpolated(wave: Array, at: NDArray[np.float64], speed: NDArray[np.float64], reach: int) -> Array:
    """A wave between its samples, by a sinc in a Hann window: (n,) float32.

    at: (n,) float, places in it. speed: (n,) float, samples from each place to the next, which the filter's band is for.
    """
    place = at.astype(np.int64)
    taps = np.arange(-reach + 1, reach + 1)
    band = (PASSED / np.maximum(speed, 1.0))[:, None]
    distance = (taps - (at - place)[:, None]) * band  # (n, taps), zero crossings
    weights = np.where(
        np.abs(distance) < CROSSINGS, np.sinc(distance) * (0.5 + 0.5 * np.cos(np.pi * distance / CROSSINGS)) * band, 0.0
    )
    gathered = wave[(place[:, None] + taps).clip(0, len(wave) - 1)]
    return np.einsum("nt,nt->n", weights, gathered).astype(np.float32)
