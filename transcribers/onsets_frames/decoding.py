"""Probabilities of onsets and frames -> notes, frame by frame, so that a stream needs no more than what sounds now.

A note begins where a key's onset probability has a peak of at least `onset_threshold`, and counts if its frame probability then
reaches `frame_threshold`. It ends where that falls below the threshold again, or where its key is struck again.

An onset lies between frames: at the top of the parabola through the log-odds of the peak and of the frames beside it. On
validation files its deviation from the score has a spread of 6 ms instead of 10.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2m.core.notes import LOWEST_KEY, N_KEYS
from m2m.core.transcriber import transcribed_notes

Array = NDArray[np.float32]
Row = tuple[Array, Array, Array]  # of one frame: onsets, frames, velocities, each (88,)
NOTHING: Row = (np.zeros(N_KEYS, np.float32),) * 3
LEAST = np.float32(1e-4)  # probability: less, and all but 1, is not told apart
SUPPORT = 4  # frames from an onset on, by the last of which its note must be seen to sound


class NoteDecoder:
    """The notes of one recording, decoded as its probabilities arrive.

    hop: seconds a frame. onset_threshold, frame_threshold: probabilities.
    """

    def __init__(self, hop: float, onset_threshold: float, frame_threshold: float) -> None:
        self.hop, self.onset_threshold, self.frame_threshold = hop, onset_threshold, frame_threshold
        self._frame = 0  # the next to be decoded
        self._rows: list[Row] = [NOTHING]  # the one before, and that one
        self._start = np.full(N_KEYS, -1.0)  # where the sounding note began, in frames; -1 where none sounds
        self._held = np.zeros(N_KEYS, bool)  # whether it has been seen to sound
        self._velocity = np.zeros(N_KEYS, np.int64)
        self._confidence = np.zeros(N_KEYS)

    def feed(self, onset: Array, frame: Array, velocity: Array) -> NDArray[np.void]:
        """The notes that have ended within further frames: (notes,) of `TRANSCRIBED_NOTE`.

        onset, frame: (frames, 88) float32 probabilities.
        velocity: (frames, 88) float32, 1 is MIDI's 127.
        """
        found: list[tuple[float, float, int, int, float]] = []
        for row in zip(onset, frame, velocity, strict=True):
            self._rows.append(row)
            if len(self._rows) == 3:
                found += self._decode(*self._rows)
                del self._rows[0]
        return transcribed_notes(found)

    def finish(self, seconds: float) -> NDArray[np.void]:
        """The notes that still sound where the audio ends, after `seconds`: (notes,) of `TRANSCRIBED_NOTE`."""
        found: list[tuple[float, float, int, int, float]] = []
        if len(self._rows) == 2:  # the last frame has no next one
            found += self._decode(self._rows[0], self._rows[1], NOTHING)
        found += self._end(np.flatnonzero(self._start >= 0))
        return transcribed_notes(
            (start, min(end, seconds), key, velocity, sure)
            for start, end, key, velocity, sure in found
            if start < seconds
        )

    def _decode(self, before: Row, now: Row, after: Row) -> list[tuple[float, float, int, int, float]]:
        onset, frame, velocity = now
        struck = (onset >= self.onset_threshold) & (onset >= before[0]) & (onset > after[0])
        sounds = frame >= self.frame_threshold
        late = self._held | (self._frame - self._start >= SUPPORT)
        found = self._end(np.flatnonzero((self._start >= 0) & (struck | (late & ~sounds))))
        self._held |= sounds
        self._start[struck] = np.maximum(0, self._frame + _top(before[0][struck], onset[struck], after[0][struck]))
        self._held[struck] = sounds[struck]
        self._velocity[struck] = np.clip(np.rint(127 * velocity[struck]), 1, 127)
        self._confidence[struck] = onset[struck]
        self._frame += 1
        return found

    def _end(self, keys: NDArray[np.intp]) -> list[tuple[float, float, int, int, float]]:
        """The notes of some keys, which end in this frame; those that were not seen to sound are none."""
        ended = [
            (self._start[k] * self.hop, self._frame * self.hop, k + LOWEST_KEY, self._velocity[k], self._confidence[k])
            for k in keys
            if self._held[k]
        ]
        self._start[keys], self._held[keys] = -1, False
        return ended


def _top(before: Array, peak: Array, after: Array) -> Array:
    """Where between the frames a peak is highest, -0.5..0.5, 0 for the middle one: each (keys,) float32.

    before, peak, after: probabilities in three frames, of which the middle one is the largest.
    """
    low, top, high = (np.log(p / (1 - p)) for p in (np.clip(x, LEAST, 1 - LEAST) for x in (before, peak, after)))
    curved = np.maximum(2 * top - low - high, 1e-6)
    return np.clip((high - low) / (2 * curved), -0.5, 0.5)
