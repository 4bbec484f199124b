"""The contract of WaveNet's engines: a network's weights, ready to draw samples one after another."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.vocoders.wavenet.network import WaveNetConfig

Array = NDArray[np.float32]


class WaveNetEngine(ABC):
    """Mels -> samples, in whole or block by block. Arguments are checked here; an engine writes `blocks` and `teacher_forced`.

    n_features: numbers a frame: of the mel, and of roll and excitation where the network reads them.
    side_by_side: streams at once beyond which more gain nothing.
    about: what of the engine may change its samples, for core/vocoder.py's `provenance`.
    """

    config: WaveNetConfig
    n_features: int
    side_by_side: int = 16
    about: Mapping[str, str]

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
        """Draw the samples of each mel.

        mels: (frames, n_features) float32 each, of any lengths: log-mel, then what the network reads of the score.
        seed: of 64 bits. Mel i draws from random stream first_stream + i, or first_stream[i], and gives the same samples
            whatever is rendered beside it.
        temperature: zero or more; see `draw` in sampling.py.
        threads: of the CPU; 0 leaves the engine's choice.

        Returns one array a mel: (frames * hop_length,) int16 µ-law codes, or float32 in -1..1. With an excitation they are what
        it lacks, in units of the frame gain.
        Raises M2MError for a mel of another shape and a temperature below zero.
        """
        blocks = list(self.stream(mels, seed, first_stream, temperature=temperature, threads=threads))
        empty = np.zeros(0, self.kind)
        return [np.concatenate([empty, *(block[i] for block in blocks)]) for i in range(len(mels))]

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
        """`generate` in blocks of so many frames.

        A block reads its mel up to `ConditioningConfig.margin` frames beyond its own. What comes after may be filled in while the
        stream goes on, if the mel is contiguous float32, which is not copied.

        mels: (frames, n_features) float32 each, as for `generate`.

        Yields for each block one array a mel: (frames * hop_length,) int16 µ-law codes, or float32 in -1..1; empty where that mel
        is at its end.
        Raises M2MError as `generate` does, before the first block.
        """
        if not (math.isfinite(temperature) and temperature >= 0):
            raise M2MError(f"temperature {temperature} came, zero or more was wanted.")
        self._check_mels(mels)
        if isinstance(first_stream, int):
            first_stream = range(first_stream, first_stream + len(mels))
        return self.blocks(mels, seed, first_stream, temperature, threads, frames)

    def expected(self, samples: NDArray[Any], mel: Array) -> NDArray[np.floating[Any]]:
        """The distribution of each of the given samples, predicted from the true ones before it: teacher forcing.

        samples: (frames * hop_length,) int µ-law codes, or float in -1..1.
        mel: (frames, n_features) float32, as for `generate`.

        Returns (samples, outputs) float: logits, or the parameters that sampling.py lists.
        Raises M2MError for a mel of another shape, another number of samples, and codes that the network has not.
        """
        self._check_mels([mel])
        if len(samples) != len(mel) * self.config.mel.hop_length:
            raise M2MError(
                f"{len(samples)} samples came with {len(mel)} frames, hop_length samples a frame were wanted."
            )
        if self.config.output == "mulaw" and not ((samples >= 0) & (samples < self.config.classes)).all():
            raise M2MError(
                f"samples {samples.min():g} to {samples.max():g} came, codes below {self.config.classes} were wanted."
            )
        return self.teacher_forced(samples, mel)

    def for_segments(self, count: int) -> WaveNetEngine:
        """The engine for a piece of so many segments: this one, unless it has several ways to do it."""
        return self

    def _check_mels(self, mels: Sequence[Array]) -> None:
        for mel in mels:
            if mel.ndim != 2 or mel.shape[1] != self.n_features:
                raise M2MError(f"a mel of shape {mel.shape} came, (frames, {self.n_features}) was wanted.")

    @abstractmethod
    def blocks(
        self, mels: Sequence[Array], seed: int, streams: Sequence[int], temperature: float, threads: int, frames: int
    ) -> Iterator[list[NDArray[Any]]]:
        """Draw all streams, block by block: `stream`, with its arguments checked.

        mels: (frames, n_features) float32 each, of any lengths; log-mel, then what the network reads of the score.
        seed: of 64 bits.
        streams: the number of each mel's random stream, of 32 bits.
        temperature: zero or more; see `draw` in sampling.py.
        threads: of the CPU; 0 leaves the engine's choice.
        frames: of a block.

        Yields for each block one array a mel: (frames * hop_length,) int16 µ-law codes, or float32 in -1..1; empty where that mel
        is at its end.
        """

    @abstractmethod
    def teacher_forced(self, samples: NDArray[Any], mel: Array) -> NDArray[np.floating[Any]]:
        """`expected`, with its arguments checked.

        samples: (frames * hop_length,) int µ-law codes, or float in -1..1.
        mel: (frames, n_features) float32.

        Returns (samples, outputs) float: logits, or the parameters that sampling.py lists.
        """
