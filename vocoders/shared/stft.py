"""Spectrograms: from a wave and back, and of a mel.

A mel's bands do not say where inside them the energy lies. We look for a non-negative spectrogram W whose mel is the given one,
M = W F^T, by the multiplicative updates of Lee and Seung (NIPS 2001) for the Kullback-Leibler divergence,

    W <- W * ((M / (W F^T)) F) / (1 F).

They only ever scale: what is zero stays zero, the fine structure that W starts with survives, and every band ends up with its
energy. (A pseudo-inverse would give negative magnitudes, and clipping them changes the mel.) Each frame is by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m2m.core.mel import MelSpec, filter_bank, magnitude_scale, window

Array = NDArray[np.float32]
LENGTHS = 16  # of waves, whose weights are kept
TINY = 1e-12  # keeps divisions finite; far below the smallest mel value


class STFT:
    """Wave <-> spectrogram of one block: frame `t` is centred on sample `n_fft / 2 + t * hop`.

    Frames are rows, so that every step walks through memory in order; torch.stft would lay out frequencies as rows and
    costs four times as much here.
    """

    def __init__(self, spec: MelSpec, device: str) -> None:
        self.spec, self.n_fft, self.hop, self.device = spec, spec.n_fft, spec.hop_length, device
        self.scale = magnitude_scale(spec)
        self.window = window(spec).to(device)
        self.overlap = -(-spec.n_fft // spec.hop_length)  # windows over a sample
        self.weights: dict[int, Tensor] = {}

    def samples(self, frames: int) -> int:
        """Length in samples of the wave under so many frames."""
        return (frames - 1) * self.hop + self.n_fft

    def forward(self, wave: Tensor) -> Tensor:
        """(samples,) -> (frames, n_fft // 2 + 1) complex, in the mel recipe's unit of magnitude."""
        return torch.fft.rfft(wave.unfold(0, self.n_fft, self.hop) * (self.window * self.scale))

    def inverse(self, spectrum: Tensor) -> Tensor:
        """The wave whose spectrogram is nearest: (frames, n_fft // 2 + 1) complex -> (samples,)."""
        frames = len(spectrum)
        if frames not in self.weights:
            while len(self.weights) >= LENGTHS:
                self.weights.pop(next(iter(self.weights)), None)
            norm = self.add((self.window**2).expand(frames, -1)).clamp_min(1e-3)  # no division by a window's very end
            self.weights[frames] = weights = 1 / (norm * self.scale)
        else:
            weights = self.weights[frames]
        return self.add(torch.fft.irfft(spectrum, n=self.n_fft) * self.window) * weights

    def add(self, frames: Tensor) -> Tensor:
        """Overlap-add: (frames, n_fft) -> (samples,)."""
        count = len(frames)
        if pad := self.overlap * self.hop - self.n_fft:
            frames = torch.nn.functional.pad(frames, (0, pad))
        parts = frames.reshape(count, self.overlap, self.hop)
        out = frames.new_zeros(count + self.overlap - 1, self.hop)
        for k in range(self.overlap):
            out[k : k + count] += parts[:, k]
        return out.reshape(-1)[: self.samples(count)]

    def noise(self, frames: int, seed: int, block: int) -> Tensor:
        """White noise's phase, (frames, n_fft // 2 + 1) complex of modulus 1; seed and block decide it alone."""
        key = int(np.random.SeedSequence([abs(seed), block]).generate_state(1, np.uint64)[0] >> 1)
        wave = torch.randn(self.samples(frames), generator=torch.Generator().manual_seed(key))
        return self.forward(wave.to(self.device)).sgn()


@lru_cache(maxsize=8)
def _filters(spec: MelSpec, device: str) -> tuple[Tensor, Tensor]:
    """The filter bank transposed, (n_bins, n_mels), and with bins that sum to one, (n_mels, n_bins)."""
    filters = filter_bank(spec).to(device)
    return filters.T.contiguous(), filters / filters.sum(0).clamp_min(TINY)


def bands_to_bins(target: Tensor, spec: MelSpec) -> Tensor:
    """Each band's level drawn over its bins as magnitude: (frames, n_mels) -> (frames, n_bins)."""
    _, shares = _filters(spec, str(target.device))
    width = filter_bank(spec).sum(1).to(target.device).clamp_min(TINY)
    return ((target / width) @ shares).pow_(1 / spec.power)


def mel_to_magnitude(target: Tensor, start: Tensor, updates: int, spec: MelSpec) -> Tensor:
    """Non-negative magnitudes whose mel is `target`: (frames, n_mels) -> (frames, n_bins).

    start: (frames, n_bins) magnitudes that lend their detail.

    The Kullback-Leibler divergence between target and mel never grows from one update to the next.
    """
    to_mel, shares = _filters(spec, str(target.device))
    estimate = start.pow(spec.power)
    for _ in range(updates):
        estimate *= (target / (estimate @ to_mel).add_(TINY)) @ shares
    return estimate.pow_(1 / spec.power)


def griffin_lim(
    target: Tensor,
    magnitude: Tensor,
    start: Tensor,
    iterations: int,
    transform: STFT,
    refit: float = 0.5,
    momentum: float = 0.99,
    pin: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Fast Griffin-Lim with the mel in the loop -> wave (samples,): vocoders/griffin_lim/vocoder.py says how it works.

    target:    linear mel (frames, n_mels), which only a refit looks at.
    magnitude: what `mel_to_magnitude` made of it (frames, n_bins); overwritten.
    start:     (frames, n_bins) complex, lends its phase.
    refit:     how far an iteration moves the magnitudes to its wave's.
    pin:       puts what is known of the wave into it.
    """
    spectrum, before = torch.view_as_real(start), None  # as reals: a complex times a real array is five times slower
    for iteration in range(iterations + 1):
        factor = _square(spectrum).add_(1e-30).rsqrt_().mul_(magnitude)
        wave = transform.inverse(torch.view_as_complex(spectrum * factor[..., None]))
        if pin:
            wave = pin(wave)
        if iteration == iterations:
            break
        now = torch.view_as_real(transform.forward(wave))
        if refit:
            magnitude.lerp_(_square(now).sqrt_(), refit)
            magnitude = mel_to_magnitude(target, magnitude, 1, transform.spec)
        spectrum = now if before is None else torch.lerp(before, now, 1 + momentum)
        before = now
    return wave


def _square(spectrum: Tensor) -> Tensor:
    """Squared modulus of (..., 2) real and imaginary parts; `sum(-1)` is far slower."""
    square = spectrum.square()
    return square[..., 0] + square[..., 1]


def window_reach(spec: MelSpec) -> int:
    """Frames on either side of a stretch whose windows overlap with it."""
    return -(-(spec.n_fft // 2) // spec.hop_length)


def transfer_phase_margin(spec: MelSpec, iterations: int = 0) -> int:
    """Frames on either side that `transfer_phase` takes and does not give back."""
    return 2 * window_reach(spec) * (1 + iterations)


def transfer_phase(wave: Array, leader: Array, spec: MelSpec, iterations: int = 0) -> Array:
    """A wave's magnitudes with the phases of `leader`, which sounds like it: (frames * hop_length,), the middle of both.

    iterations: of fast Griffin-Lim that reconcile the frames: the magnitudes get truer, the phases go their own way.
    wave, leader: (margin + frames + margin) * hop_length samples of the same time, with `transfer_phase_margin`.
    """
    transform, margin = shared_stft(spec), transfer_phase_margin(spec, iterations) * spec.hop_length
    start, magnitude = transform.forward(torch.from_numpy(leader)), transform.forward(torch.from_numpy(wave)).abs()
    found = griffin_lim(magnitude, magnitude, start, iterations, transform, refit=0)  # which looks at no mel
    return found[margin : len(wave) - margin].numpy()


@lru_cache(maxsize=8)
def shared_stft(spec: MelSpec) -> STFT:
    """A `STFT` on the CPU, for waves of few lengths."""
    return STFT(spec, "cpu")
