"""The contract of the student's engines, and inference in blocks: memory does not grow with length, and blocks meet exactly.

A layer that looks back d samples keeps its last d inputs, and a flow its last two. A block that begins with these equals that
part of the whole. All blocks have one length, the last one is padded: so every step is the same computation, as `torch.compile`
and CUDA graphs require, and gives the same bits whatever the length of the music.

The noise is a function of seed and sample alone (Philox, vocoders/shared/philox.py), not of blocks, and so are the samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m2m.core.mel import Mel
from m2m.vocoders.parallel_wavenet.network import Student
from m2m.vocoders.shared.philox import logistic, normal, philox

Array = NDArray[np.float32]
Step = Callable[
    [Tensor, Tensor], Tensor
]  # noise (streams, T), conditioning (streams, T, width) -> samples (streams, T)

AHEAD = 64  # frames, half a second: features are computed at least so many at a time
WORDS = 4  # random words that one call of Philox gives


def white_noise(seed: int, first: int, count: int, kind: str) -> Array:
    """Samples first..first + count of the noise of a seed: (count,) float32, gaussian or logistic of scale 1.

    One call of Philox makes four uniform numbers, and those two Gaussian or four logistic ones.
    """
    each = WORDS // 2 if kind == "gaussian" else WORDS
    begin, end = first // each, -(-(first + count) // each)
    counter = np.zeros((end - begin, WORDS), np.uint32)
    numbers = np.arange(begin, end, dtype=np.uint64)
    counter[:, 0], counter[:, 1] = numbers & np.uint64(0xFFFFFFFF), numbers >> np.uint64(32)
    words = philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))
    # 23 bits and a half, so that neither 0 nor 1 comes of it in float32, where a logistic would be infinite.
    u = ((words >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2**-23)
    drawn = normal(u.reshape(-1, 2)) if kind == "gaussian" else logistic(u.reshape(-1))
    return drawn[first - begin * each :][:count]


class BlockEngine(ABC):
    """A student's weights, ready to turn noise into samples block by block: mels to audio, several side by side.

    An engine writes `start`. about: what of it shows in its samples, for core/vocoder.py's `provenance`.
    """

    about: Mapping[str, str]

    def __init__(self, student: Student) -> None:
        self.student, self.config = student, student.config

    @abstractmethod
    def start(self, streams: int) -> Step:
        """What makes the blocks of so many streams, one after another; before the first, layers begin at zero."""

    @torch.inference_mode()
    def stream(self, mels: Sequence[Mel], seed: int, frames: int, temperature: float = 1.0) -> Iterator[list[Array]]:
        """Audio of each mel in blocks of so many frames: (samples,) float32 each, empty where that mel is at its end.

        All mels get the same noise, so that each result equals that of the mel alone.

        temperature: the scale of the noise, zero or more.
        """
        hop, lengths = self.config.mel.hop_length, [mel.frames for mel in mels]
        samples, step = frames * hop, self.start(len(mels))
        readers = [_FeatureReader(self.student, mel) for mel in mels]
        for first in range(0, max(lengths, default=0), frames):
            noise = torch.from_numpy(white_noise(seed, first * hop, samples, self.config.noise))
            inputs = [reader.between(first, first + frames) for reader in readers]
            u = torch.stack([conditioning for conditioning, _ in inputs])
            drawn = step((noise * temperature).expand(len(mels), -1), u)
            yield [
                self.student.to_sound(y[: len(features) * hop], features).numpy().copy()
                for y, (_, features) in zip(drawn, inputs, strict=True)
            ]


class _FeatureReader:
    """Reads a mel's features from its beginning on, at least `AHEAD` frames at a time.

    The excitation of a few frames depends on as many frames around them, which cost as much again.
    """

    def __init__(self, student: Student, mel: Mel) -> None:
        self.student, self.mel, self.first = student, mel, 0
        self.features = student.features_of(mel, 0, 0)

    def between(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Of frames first..last: (samples, width), zero beyond the mel's end; and the features of those that there are.

        What lies before `first` is not asked for again.
        """
        margin, frames = self.student.config.margin, self.mel.frames
        begin, known = max(0, first - margin), self.first + len(self.features)
        if known < min(frames, last + margin):
            more = self.student.features_of(self.mel, known, min(frames, max(last + margin, known + AHEAD)))
            self.features = np.concatenate([self.features, more])
        skipped = min(begin - self.first, len(self.features))
        self.features, self.first = self.features[skipped:], self.first + skipped
        here = first - self.first
        u = self.student.conditioning_between(self.features[: here + last - first + margin], here, here + last - first)
        return u, torch.from_numpy(self.features[here : here + last - first])
