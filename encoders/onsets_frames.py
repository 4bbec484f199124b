"""Score encoders: onsets and frames, and the same with exponential decays.

`onsets-frames` is the reference's (two matrices over the 88 keys). `onsets-frames-decay` adds what the network otherwise has
to count out by itself: how long ago a key was struck and let go, as numbers that fade the way struck and plucked strings do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2m.core.encoder import ScoreEncoder
from m2m.core.score import LOWEST_KEY, N_KEYS, NoteArray

ONSET_DECAYS = (0.06, 0.3, 1.2)  # seconds: a hammer's knock, a plucked string, a held piano tone
RELEASE_DECAY = 0.15  # seconds
TAIL = 8 * RELEASE_DECAY  # seconds after the release until a decay counts as nothing: exp(-8) = 0.0003


class OnsetsFrames(ScoreEncoder):
    """88 onsets (nonzero in the one frame where a note starts) and 88 frames (nonzero while it sounds), both velocity / 127.

    >>> from m2m.core.score import note_array
    >>> roll = OnsetsFrames().encode(note_array([(0.008, 0.024, 60, 127)]), frame_rate=125, start=0, frames=4)
    >>> roll[:, 60 - 21].tolist(), roll[:, 88 + 60 - 21].tolist()
    ([0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0])
    """

    API_VERSION = 1
    n_features = 2 * N_KEYS

    def encode(self, notes: NoteArray, frame_rate: float, start: int, frames: int) -> NDArray[np.float32]:
        roll = np.zeros((2, N_KEYS, frames), np.float32)
        for key, on, off, _, velocity in _spans(notes, frame_rate, start, frames, tail=0):
            if on >= 0:
                roll[0, key, on] = velocity
            roll[1, key, max(on, 0) : off] = velocity
        return roll.reshape(2 * N_KEYS, frames).T.copy()


class OnsetsFramesDecay(OnsetsFrames):
    """Onsets and frames, then per key three decays since the onset (0.06, 0.3, 1.2 s), which fall with a further 0.15 s
    once the note is let go, and one decay of 0.15 s since the release; all begin at velocity / 127. 528 numbers a frame.
    """

    n_features = (2 + len(ONSET_DECAYS) + 1) * N_KEYS

    def encode(self, notes: NoteArray, frame_rate: float, start: int, frames: int) -> NDArray[np.float32]:
        decays = np.zeros((len(ONSET_DECAYS) + 1, N_KEYS, frames), np.float32)
        rates = 1.0 / (np.array(ONSET_DECAYS) * frame_rate)[:, None]  # (3, 1) nepers a frame
        release = 1.0 / (RELEASE_DECAY * frame_rate)
        for key, on, off, again, velocity in _spans(notes, frame_rate, start, frames, tail=round(TAIL * frame_rate)):
            first = max(on, 0)
            since = np.arange(first - on, again - on)  # frames since the onset, for this key until it is struck again
            let_go = np.maximum(since - (off - on), 0)  # frames since the release
            decays[:-1, key, first:again] = velocity * np.exp(-rates * since - release * let_go)
            decays[-1, key, first:again] = np.where(since < off - on, 0.0, velocity * np.exp(-release * let_go))
        roll = super().encode(notes, frame_rate, start, frames)
        return np.concatenate([roll, decays.reshape(len(decays) * N_KEYS, frames).T], axis=1)


def _spans(
    notes: NoteArray, frame_rate: float, start: int, frames: int, tail: int
) -> list[tuple[int, int, int, int, float]]:
    """The notes that reach into a window, as (key, on, off, again, velocity).

    on: frame of the onset relative to the window, negative if before it. off: first frame after the sound is let go.
    again: first frame that no longer belongs to this note: the next onset of its key, or `tail` frames after `off`.
    off and again end at the window's edge.
    """
    on = np.floor(notes["start"] * frame_rate + 1e-6).astype(np.int64) - start
    off = np.maximum(np.round(notes["end"] * frame_rate).astype(np.int64) - start, on + 1)
    order = np.lexsort((on, notes["pitch"]))
    same_key = notes["pitch"][order][1:] == notes["pitch"][order][:-1]
    struck = np.full(len(notes), np.iinfo(np.int64).max)
    struck[order[:-1]] = np.where(same_key, on[order][1:], struck[order[:-1]])
    again = np.minimum(struck, off + tail)
    inside = (on < frames) & (again > 0)
    columns = (
        notes["pitch"][inside] - LOWEST_KEY,
        on[inside],
        np.minimum(np.minimum(off, again)[inside], frames),
        np.minimum(again[inside], frames),
        notes["velocity"][inside] / 127.0,
    )
    return list(zip(*(column.tolist() for column in columns), strict=True))
