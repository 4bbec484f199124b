"""A bank of oscillators, one for each band of the mel, as loud as its band: a whole vocoder, and a simple one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from m2m.core.mel import Mel, MelSpec, filter_bank, linear_mel
from m2m.core.vocoder import Vocoder, VocoderOptions

BLOCK = 64  # frames worked on at once: memory does not grow with the length of the music


class ExampleVocoderOptions(VocoderOptions):
    """What a user may set with --vocoder-opt NAME=VALUE."""

    level: float = Field(0.5, gt=0, le=1, description="what a band's magnitude is multiplied with")


class ExampleVocoder(Vocoder):
    """A bank of oscillators at the centres of the mel bands."""

    API_VERSION = 1  # of m2m.core.vocoder, which this class was written for
    Options = ExampleVocoderOptions
    options: ExampleVocoderOptions
    mel_spec = MelSpec()  # the one recipe that it takes; m2m refuses a mel of another before `stream` is called

    def __init__(self, options: ExampleVocoderOptions | None = None, device: str = "cpu") -> None:
        super().__init__(options, device)
        filters = filter_bank(self.mel_spec).numpy()  # (n_mels, n_bins)
        bins = np.linspace(0, self.mel_spec.sample_rate / 2, filters.shape[1])  # Hz
        self.hz = (filters @ bins) / filters.sum(axis=1)  # (n_mels,) centres of the bands

    def stream(self, mel: Mel, seed: int) -> Iterator[NDArray[np.float32]]:
        """Yield the audio block by block: (samples,) float32 each, `mel.samples` together."""
        spec = mel.spec
        phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, spec.n_mels)  # of this rendering alone
        for first in range(0, mel.frames, BLOCK):
            frames = min(BLOCK, mel.frames - first)
            values = mel.window(first, first + frames + 1)  # one more, to move towards
            loud = self.options.level * (linear_mel(values, spec) - np.float32(spec.floor))  # (frames + 1, n_mels)
            loud = np.concatenate([loud, loud[-1:]])
            sample = np.arange(frames * spec.hop_length)
            frame, way = sample // spec.hop_length, (sample % spec.hop_length / spec.hop_length)[:, None]
            louder = loud[frame] * (1 - way) + loud[frame + 1] * way  # (samples, n_mels)
            seconds = (first * spec.hop_length + sample) / spec.sample_rate
            wave = louder * np.sin(2 * np.pi * seconds[:, None] * self.hz + phases)
            yield wave.sum(axis=1).astype(np.float32)
