"""What every engine of WaveNet is: a network's weights, ready to draw samples one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m.vocoders.wavenet.network import WaveNetConfig

Array = NDArray[np.float32]


class Engine(ABC):
    """Mels -> samples, in whole or block by block.

    side_by_side: so many streams at once that more gain nothing.
    """

    config: WaveNetConfig
    side_by_side: int = 16

    @property
    def kind(self) -> type[np.generic]:
        """The type of a sample: int16 for µ-law codes, float32 for audio in -1..1."""
        return np.int16 if self.config.output == "mulaw" else np.float32

    def generate(
        self,
        mels: Sequence[Array],
        seed: int,
        first_stream: int | Sequence[int] = 0,
        *,
        temperature: float = 1.0,
        threads: int = 0,
    ) -> list[NDArray[Any]]:
        """Audio of each mel: (frames * hop_length,) µ-law codes int16, or float32 in -1..1.

        mels: (frames, features) float32 log-mels, with the roll after them where the network reads one.
        seed: of 64 bits. Mel i draws from random stream first_stream + i, or first_stream[i], and gives the same samples
            whatever is rendered beside it.
        threads: of the CPU; 0 leaves the engine's choice.
        """
        blocks = list(self.stream(mels, seed, first_stream, temperature=temperature, threads=threads))
        empty = np.zeros(0, self.kind)
        return [np.concatenate([empty, *(block[i] for block in blocks)]) for i in range(len(mels))]

    @abstractmethod
    def stream(
        self,
        mels: Sequence[Array],
        seed: int,
        first_stream: int | Sequence[int] = 0,
        *,
        temperature: float = 1.0,
        threads: int = 0,
        frames: int = 64,
    ) -> Iterator[list[NDArray[Any]]]:
        """The same in blocks of so many frames: one array a mel, empty where that mel is at its end."""
