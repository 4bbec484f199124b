"""A piano roll: 88 keys, each as loud as it was struck while it sounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from m2m.core.encoder import EncoderOptions, ScoreEncoder
from m2m.core.score import LOWEST_KEY, N_KEYS, NoteArray


class ExampleEncoderOptions(EncoderOptions):
    """What a user may set with --encoder-opt NAME=VALUE."""

    curve: float = Field(1.0, gt=0, le=4, description="exponent of the velocity; above 1, soft notes count less")


class ExampleEncoder(ScoreEncoder):
    """One number a key: (velocity / 127) ** curve while it sounds, else 0."""

    API_VERSION = 1  # of m2m.core.encoder, which this class was written for
    Options = ExampleEncoderOptions
    options: ExampleEncoderOptions
    n_features = N_KEYS

    def encode(self, notes: NoteArray, frame_rate: float, start: int, frames: int) -> NDArray[np.float32]:
        """Frames start <= t < start + frames: (frames, 88) float32."""
        roll = np.zeros((frames, N_KEYS), np.float32)
        on = np.floor(notes["start"] * frame_rate).astype(np.int64) - start
        off = np.maximum(np.ceil(notes["end"] * frame_rate).astype(np.int64) - start, on + 1)  # no note is too short
        loud = (notes["velocity"] / 127) ** self.options.curve
        for note in np.flatnonzero((on < frames) & (off > 0)):  # those that reach into the window
            key, span = notes["pitch"][note] - LOWEST_KEY, slice(max(on[note], 0), off[note])
            roll[span, key] = np.maximum(roll[span, key], loud[note])
        return roll
