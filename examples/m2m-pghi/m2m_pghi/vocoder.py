"""Mel to audio without iteration and without training: each frame is done once, and final when it is done.

A mel lacks two things. *Where in a band the energy lies*: the notes say it, if there are any. Each sounding note draws its
harmonics as narrow as the window lets them be, and this comb is scaled, band by band, to what the mel holds (the multiplicative
updates of Lee and Seung for the Kullback-Leibler divergence, a fixed few). *Phase*: heap.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from m2m.core.mel import Mel, MelSpec, filter_bank, linear_mel, magnitude_scale, window
from m2m.core.score import HIGHEST_KEY, LOWEST_KEY
from m2m.core.vocoder import Vocoder, VocoderOptions
from m2m_pghi.heap import HeapIntegrator

Array = NDArray[np.float32]
BLOCK = 32  # frames that are inverted at once; they are integrated one by one
TINY = 1e-12


class PGHIOptions(VocoderOptions):
    """Options of `PGHI`."""

    score_informed: bool = Field(True, description="let the notes, if any, say where in a band the energy lies")
    updates: int = Field(4, ge=1, le=100, description="updates of the mel inversion")
    noise: float = Field(
        0.02, gt=0, le=1, description="level between the harmonics of the notes, 1 is the harmonics' own"
    )
    release: float = Field(0.3, ge=0, le=5, description="seconds that a note's harmonics are drawn beyond its end")
    tolerance: float = Field(1e-4, gt=0, lt=1, description="bins below the loudest times this get a random phase")


class PGHI(Vocoder):
    """Phase gradient heap integration over a score-informed mel inversion.

    >>> from m2m.core.mel import Mel, MelSpec
    >>> spec = MelSpec()
    >>> silence = Mel(np.full((10, spec.n_mels), spec.silence, np.float32), spec)
    >>> float(abs(PGHI().synthesize(silence)).max())
    0.0
    """

    API_VERSION = 1
    Options = PGHIOptions
    options: PGHIOptions
    uses_notes = True

    def stream(self, mel: Mel, seed: int) -> Iterator[Array]:
        """Yield the audio 32 frames at a time: (samples,) float32 each, `mel.samples` together."""
        spec, n, hop = mel.spec, mel.spec.n_fft, mel.spec.hop_length
        integrator = HeapIntegrator(n, hop, self.options.tolerance, seed)
        win = window(spec).numpy().astype(np.float64)
        sign = 1 - 2 * (
            np.arange(n // 2 + 1) % 2
        )  # phases count from the centre, the FFT from the window's first sample
        # Sums of windowed frames, and of the windows' squares; they begin half a window before the block's first sample.
        held = np.zeros((2, max(n, hop) + (BLOCK - 1) * hop))
        skip = n // 2  # what lies before sample 0
        for block, after in self._magnitudes(mel):
            spectrum = np.empty(block.shape, np.complex128)
            for t, magnitude in enumerate(block):
                phase = integrator.frame(magnitude, block[t + 1] if t + 1 < len(block) else after)
                spectrum[t] = magnitude * sign * np.exp(1j * phase)
            for t, frame in enumerate(np.fft.irfft(spectrum, n) * (win / magnitude_scale(spec))):
                held[:, t * hop : t * hop + n] += frame, win**2
            done = len(block) * hop
            yield from self._cut(held[:, :done], skip)
            skip = max(0, skip - done)
            held = np.concatenate([held[:, done:], np.zeros((2, done))], axis=1)
        yield from self._cut(held[:, : n // 2], skip)  # the last half window, of which no frame is left to finish it

    @staticmethod
    def _cut(held: NDArray[np.float64], skip: int) -> Iterator[Array]:
        """Sums divided by the windows that are there: at both ends of the mel they are fewer, and it is no quieter."""
        wave = held[0] / np.maximum(held[1], 1e-3)  # no division by a window's very end
        if skip < len(wave):
            yield wave[skip:].astype(np.float32)

    def _magnitudes(self, mel: Mel) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64] | None]]:
        """Spectrogram blocks (frames, n_bins), each with the frame that follows it, None at the end."""
        waiting = None
        for first in range(0, mel.frames, BLOCK):
            block = self._invert(mel, first, min(first + BLOCK, mel.frames))
            if waiting is not None:
                yield waiting, block[0]
            waiting = block
        if waiting is not None:
            yield waiting, None

    def _invert(self, mel: Mel, first: int, last: int) -> NDArray[np.float64]:
        """Non-negative magnitudes of frames first..last whose mel is nearly the given one: (frames, n_bins)."""
        spec = mel.spec
        target = np.maximum(linear_mel(mel.window(first, last), spec).astype(np.float64) - spec.floor, 0.0)
        start = np.ones((last - first, spec.n_fft // 2 + 1))
        if self.options.score_informed and mel.notes is not None and len(mel.notes):
            begun = mel.notes["start"] * spec.frame_rate
            ended = (mel.notes["end"] + self.options.release) * spec.frame_rate
            reach = spec.n_fft / 2 / spec.hop_length  # frames by which a window hears an onset early
            near = (begun - reach < last) & (ended + reach > first)
            frames = np.arange(first, last)[:, None]
            on = (begun[near] - reach <= frames) & (frames <= ended[near] + reach)  # (frames, notes)
            combs = _combs(spec)[mel.notes["pitch"][near] - LOWEST_KEY]  # (notes, n_bins)
            comb = on @ combs
            start = np.where(on.any(axis=1)[:, None], comb + self.options.noise, start)
        filters = filter_bank(spec).double()  # (n_mels, n_bins)
        shares = filters / filters.sum(0).clamp_min(TINY)
        given, estimate = torch.from_numpy(target), torch.from_numpy(start).pow_(spec.power)
        for _ in range(self.options.updates):
            estimate *= (given / (estimate @ filters.T).clamp_min_(TINY)) @ shares
        return estimate.pow_(1 / spec.power).numpy()


@lru_cache(maxsize=2)
def _combs(spec: MelSpec) -> NDArray[np.float64]:
    """Every key's harmonics as the window draws them: (88, n_bins), 1 at a harmonic."""
    keys = np.arange(LOWEST_KEY, HIGHEST_KEY + 1)[:, None]
    first = 440 * 2 ** ((keys - 69) / 12) * spec.n_fft / spec.sample_rate  # harmonic, in bins
    bins = np.arange(spec.n_fft // 2 + 1)
    apart = np.abs(bins - first * np.maximum(np.round(bins / first), 1))  # from the nearest harmonic
    beside = np.abs(apart - 1) < 1e-9  # where the formula below is 0 / 0
    lobe = np.where(beside, 0.5, np.sinc(apart) / np.where(beside, 1.0, 1 - apart**2))  # the transform of Hann's window
    return np.where(apart < 2, lobe, 0.0)  # between its first zeros
