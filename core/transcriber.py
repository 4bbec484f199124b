"""Contract: a transcriber turns audio into notes. m2m ships none; where one is installed, `m2m bench` scores notes with it.

Subclass `Transcriber`, write `transcribe`, and name the class in the entry-point group `m2m.transcribers` of your package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from m2m.core.score import NoteArray


class TranscriberOptions(BaseModel):
    """Options of a transcriber; a subclass adds its own. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Transcriber(ABC):
    """Audio -> notes.

    API_VERSION: the version of this contract that the class was written for; state it in your class.
    API_OLDEST:  the oldest version that this m2m still loads.
    Options:     the pydantic model of its options.
    """

    API_VERSION: ClassVar[int] = 1
    API_OLDEST: ClassVar[int] = 1
    Options: ClassVar[type[TranscriberOptions]] = TranscriberOptions

    def __init__(self, options: TranscriberOptions | None = None, device: str = "cpu") -> None:
        """Load what is needed here, not in `transcribe`. `device` is a torch device string."""
        self.options = options if options is not None else self.Options()
        self.device = device

    @abstractmethod
    def transcribe(self, wave: NDArray[np.float32], sample_rate: int) -> NoteArray:
        """The notes of a recording, in seconds from its beginning, as core/score.py's `note_array` makes them: (notes,).

        wave: (samples,) float32, mono, -1..1.
        sample_rate: Hz.

        The same audio, options and device give the same notes. Raises M2MError for what the user can mend.
        """
