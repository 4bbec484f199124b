"""The key whose harmonics are strongest, frame by frame: a whole transcriber, of one voice at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from m2m.core.score import LOWEST_KEY, N_KEYS
from m2m.core.transcriber import Transcriber, TranscriberOptions, transcribed_notes

RATE, HOP, SIZE = 16_000, 256, 2048  # Hz, samples: 16 ms a frame of 128 ms
HARMONICS = 6
SHORTEST = 5  # frames; what is shorter is a key on the way to the next


class ExampleTranscriberOptions(TranscriberOptions):
    """What a user may set with --transcriber-opt NAME=VALUE."""

    quietest: float = Field(1e-3, gt=0, lt=1, description="level (RMS) below which there is silence")


class ExampleTranscriber(Transcriber):
    """Runs of frames with the same strongest key are notes; the same key struck twice in a row is one."""

    API_VERSION = 1  # of m2m.core.transcriber, which this class was written for
    Options = ExampleTranscriberOptions
    options: ExampleTranscriberOptions
    sample_rate = RATE  # m2m resamples what is at another

    def __init__(self, options: ExampleTranscriberOptions | None = None, device: str = "cpu") -> None:
        super().__init__(options, device)
        hz = 440 * 2 ** ((np.arange(N_KEYS) + LOWEST_KEY - 69) / 12)
        bins = np.rint(hz[:, None] * np.arange(1, HARMONICS + 1) * 4 * SIZE / RATE).astype(int)  # (88, harmonics)
        self.bins = np.minimum(bins, 2 * SIZE)  # the last bin, at 8 kHz, is nearly empty
        self.weights = 0.8 ** np.arange(HARMONICS)

    def stream(self, blocks: Iterable[NDArray[np.float32]], sample_rate: int) -> Iterator[NDArray[np.void]]:
        """Yield notes as they end: (notes,) of `TRANSCRIBED_NOTE` each."""
        key, since, loudest, sure = -1, 0, 0.0, 0.0
        for frame, (now, level, lead) in enumerate(itertools.chain(self._frames(blocks), [(-1, 0.0, 0.0)])):
            if now != key:
                if key >= 0 and frame - since >= SHORTEST:
                    velocity = int(np.clip(round(127 * loudest**0.4), 1, 127))
                    times = since * HOP / RATE, frame * HOP / RATE
                    yield transcribed_notes([(*times, key + LOWEST_KEY, velocity, sure / (frame - since))])
                key, since, loudest, sure = now, frame, 0.0, 0.0
            loudest, sure = max(loudest, level), sure + lead

    def _frames(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[tuple[int, float, float]]:
        """Of each frame what `_strongest` finds; frame t is centred on sample t * HOP."""
        audio = np.zeros(SIZE // 2, np.float32)
        for block in itertools.chain(blocks, [np.zeros(SIZE // 2 - HOP, np.float32)]):
            audio = np.concatenate([audio, block])
            while len(audio) >= SIZE:
                yield self._strongest(audio[:SIZE])
                audio = audio[HOP:]

    def _strongest(self, frame: NDArray[np.float32]) -> tuple[int, float, float]:
        """The strongest key of a frame from 0 on (-1: silence), the frame's level, and the key's lead over the next, 0..1."""
        frame = frame - frame.mean()
        level = float(np.sqrt(np.mean(frame**2)))
        if level < self.options.quietest:
            return -1, 0.0, 0.0
        spectrum = np.abs(np.fft.rfft(frame * np.hanning(SIZE), 4 * SIZE))
        strength = np.sqrt(spectrum[self.bins]) @ self.weights  # (88,)
        second, first = np.sort(strength)[-2:]
        return int(np.argmax(strength)), level, float(1 - second / first)
