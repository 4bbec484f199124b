"""Activations of onsets and frames -> notes, frame by frame; the rules are Basic Pitch's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Note = tuple[float, float, int, int, float]  # seconds, seconds, key, velocity, confidence
KEYS, LOWEST_KEY = 88, 21
PATIENCE = 11  # frames below the threshold after which a note has ended


class Decoder:
    """The notes of one recording.

    hop: seconds a frame. onset, frame: thresholds of activations. shortest: frames; a note is longer than that.
    """

    def __init__(self, hop: float, onset: float, frame: float, shortest: int) -> None:
        self.hop, self.onset, self.frame, self.shortest = hop, onset, frame, shortest
        self._now = 0  # the frame that is decoded next
        self._onsets = [np.zeros(KEYS, np.float32)]  # of the frame before, and of that frame
        self._start = np.full(KEYS, -1)  # -1 where no note sounds
        self._last = np.zeros(KEYS, np.int64)  # the last frame that was above the threshold
        self._loud = np.zeros(KEYS)  # sum of the frames' activations until then
        self._since = np.zeros(KEYS)  # and since then
        self._sure = np.zeros(KEYS)
        self._held: Array | None = None

    def feed(self, onsets: Array, frames: Array) -> Iterator[Note]:
        """Notes that have ended within further frames, each (frames, 88)."""
        for onset, frame in zip(onsets, frames, strict=True):
            if self._held is not None:
                yield from self._decode(self._onsets[0], self._onsets[1], onset, self._held)
                del self._onsets[0]
            self._onsets.append(onset)
            self._held = frame

    def finish(self) -> Iterator[Note]:
        """Notes that still sound at the end."""
        if self._held is not None:
            yield from self._decode(*self._onsets, np.zeros(KEYS, np.float32), self._held)
        yield from self._end(np.flatnonzero(self._start >= 0))

    def _decode(self, before: Array, onset: Array, after: Array, frame: Array) -> list[Note]:
        struck = (onset >= self.onset) & (onset > before) & (onset > after)
        sounding = self._start >= 0
        found = self._end(np.flatnonzero(sounding & (struck | (self._now - self._last >= PATIENCE))))
        self._start[struck] = self._last[struck] = self._now
        self._sure[struck], self._loud[struck], self._since[struck] = onset[struck], frame[struck], 0
        goes_on = (self._start >= 0) & ~struck
        self._since[goes_on] += frame[goes_on]
        above = goes_on & (frame >= self.frame)
        self._last[above] = self._now
        self._loud[above] += self._since[above]
        self._since[above] = 0
        self._now += 1
        return found

    def _end(self, keys: NDArray[np.intp]) -> list[Note]:
        found = []
        for key in keys:
            length = self._last[key] + 1 - self._start[key]
            if length > self.shortest:
                times = self._start[key] * self.hop, (self._last[key] + 1) * self.hop
                velocity = int(np.clip(round(127 * self._loud[key] / length), 1, 127))
                found.append((*times, int(key) + LOWEST_KEY, velocity, float(min(self._sure[key], 1))))
        self._start[keys] = -1
        return found
