"""Contract: a score encoder turns notes into the piano roll that the acoustic model reads.

An encoder is pure and random-access: any window of frames can be encoded by itself, and windows laid side by side equal the
whole. That is what lets an hour-long score be rendered in bounded memory and a training step read four seconds of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from m2m.core.score import NoteArray


class EncoderOptions(BaseModel):
    """Options of an encoder; a subclass adds its own. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScoreEncoder(ABC):
    """Notes -> roll. Deterministic, stateless, safe to call from several threads."""

    API_VERSION: ClassVar[int] = 1  # of this contract; a subclass states the one that it was written for
    API_OLDEST: ClassVar[int] = 1  # that this m2m still loads
    Options: ClassVar[type[EncoderOptions]] = EncoderOptions

    def __init__(self, options: EncoderOptions | None = None) -> None:
        self.options = options if options is not None else self.Options()

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Numbers a frame."""

    @abstractmethod
    def encode(self, notes: NoteArray, frame_rate: float, start: int, frames: int) -> NDArray[np.float32]:
        """Encode frames start <= t < start + frames of a part.

        notes: `NOTE` array in order of start (core/score.py), seconds from frame 0, keys 21..108.
        frame_rate: frames a second (125 for the default mel).
        start: may be negative: before the first note and after the last there is silence.

        Returns (frames, n_features) float32, finite, in 0..1; all zeros where nothing sounds.
        """
