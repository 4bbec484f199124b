"""The short-time Fourier transform, and what inverts a mel: the magnitudes of its bins, and their phases.

A mel's bands do not say where inside them the energy lies. We look for a non-negative spectrogram W whose mel is the given one,
M = W F^T with filters F, by the multiplicative updates of Lee and Seung (NIPS 2001) for the Kullback-Leibler divergence,

    W <- W * ((M / (W F^T)) F) / (1 F).

An update only scales: zeros stay zero, the fine structure of the first W survives, and every band gets its energy. (A
pseudo-inverse would give negative magnitudes, and clipping them changes the mel.) Frames are independent.
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
MAX_LENGTHS = 16  # of waves whose overlap-add weights are kept
TINY = 1e-12  # keeps divisions finite; far below the smallest mel value


class STFT:
    """Wave <-> spectrogram: frame t is centred on sample n_fft / 2 + t * hop_length.

    Frames are rows, so that every step walks through memory in order; torch.stft has frequencies as rows and costs four times as
    much here.
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
        """The spectrogram of a wave.

        wave: (samples,) float32.

        Returns (frames, n_fft // 2 + 1) complex64, in the mel recipe's unit of magnitude.
        """
        return torch.fft.rfft(wave.unfold(0, self.n_fft, self.hop) * (self.window * self.scale))

    def inverse(self, spectrum: Tensor) -> Tensor:
        """The wave whose spectrogram is nearest.

        spectrum: (frames, n_fft // 2 + 1) complex64, in the mel recipe's unit of magnitude.

        Returns (samples,) float32.
        """
        frames = len(spectrum)
        if frames not in self.weights:
            while len(self.weights) >= MAX_LENGTHS:
                self.weights.pop(next(iter(self.weights)), None)
            norm = self.overlap_add((self.window**2).expand(frames, -1)).clamp_min(
                1e-3
            )  # a window's very end is near 0
            self.weights[frames] = weights = 1 / (norm * self.scale)
        else:
            weights = self.weights[frames]
        return self.overlap_add(torch.fft.irfft(spectrum, n=self.n_fft) * self.window) * weights

    def overlap_add(self, frames: Tensor) -> Tensor:
        """The sum of overlapping frames.

        frames: (frames, n_fft) float32.

        Returns (samples,) float32.
        """
        count = len(frames)
        if pad := self.overlap * self.hop - self.n_fft:
            frames = torch.nn.functional.pad(frames, (0, pad))
        parts = frames.reshape(count, self.overlap, self.hop)
        out = frames.new_zeros(count + self.overlap - 1, self.hop)
        for k in range(self.overlap):
            out[k : k + count] += parts[:, k]
        return out.reshape(-1)[: self.samples(count)]

    def random_phase(self, frames: int, seed: int, block: int) -> Tensor:
        """The phase of white noise, a function of seed and block.

        Returns (frames, n_fft // 2 + 1) complex64 of modulus 1.
        """
        key = int(np.random.SeedSequence([abs(seed), block]).generate_state(1, np.uint64)[0] >> 1)
        wave = torch.randn(self.samples(frames), generator=torch.Generator().manual_seed(key))
        return self.forward(wave.to(self.device)).sgn()


@lru_cache(maxsize=8)
def _filters(spec: MelSpec, device: str) -> tuple[Tensor, Tensor]:
    """The filter bank transposed, (n_bins, n_mels), and with bins that sum to one, (n_mels, n_bins)."""
    filters = filter_bank(spec).to(device)
    return filters.T.contiguous(), filters / filters.sum(0).clamp_min(TINY)


def bands_to_bins(target: Tensor, spec: MelSpec) -> Tensor:
    """A flat spectrum within each band.

    target: (frames, n_mels) float32 linear mel.

    Returns (frames, n_fft // 2 + 1) float32 magnitudes.
    """
    _, shares = _filters(spec, str(target.device))
    width = filter_bank(spec).sum(1).to(target.device).clamp_min(TINY)
    return ((target / width) @ shares).pow_(1 / spec.power)


def mel_to_magnitude(target: Tensor, start: Tensor, updates: int, spec: MelSpec) -> Tensor:
    """Non-negative magnitudes whose mel is the given one. No update increases the divergence from it.

    target:  (frames, n_mels) float32 linear mel.
    start:   (frames, n_fft // 2 + 1) float32 magnitudes, whose fine structure the result has.
    updates: how many.

    Returns (frames, n_fft // 2 + 1) float32 magnitudes.
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
    stft: STFT,
    refit: float = 0.5,
    momentum: float = 0.99,
    pin: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Fast Griffin-Lim with the mel in the loop; griffin_lim/vocoder.py explains it.

    target:    (frames, n_mels) float32 linear mel, which only a refit reads.
    magnitude: (frames, n_fft // 2 + 1) float32, from `mel_to_magnitude`; overwritten.
    start:     (frames, n_fft // 2 + 1) complex64, of which the phase is used.
    refit:     how far an iteration moves the magnitudes towards those of its wave, 0..1.
    momentum:  of fast Griffin-Lim, 0 is plain Griffin-Lim.
    pin:       overwrites the known samples of a wave, (samples,) -> (samples,).

    Returns (samples,) float32 audio, full scale is 1.
    """
    spectrum, before = torch.view_as_real(start), None  # as reals: a complex times a real array is five times slower
    for iteration in range(iterations + 1):
        factor = _square(spectrum).add_(1e-30).rsqrt_().mul_(magnitude)
        wave = stft.inverse(torch.view_as_complex(spectrum * factor[..., None]))
        if pin:
            wave = pin(wave)
        if iteration == iterations:
            break
        now = torch.view_as_real(stft.forward(wave))
        if refit:
            magnitude.lerp_(_square(now).sqrt_(), refit)
            magnitude = mel_to_magnitude(target, magnitude, 1, stft.spec)
        spectrum = now if before is None else torch.lerp(before, now, 1 + momentum)
        before = now
    return wave


def _square(spectrum: Tensor) -> Tensor:
    """Squared modulus of (..., 2) real and imaginary parts; `sum(-1)` is far slower."""
    square = spectrum.square()
    return square[..., 0] + square[..., 1]


def window_reach(spec: MelSpec) -> int:
    """Frames on either side of a sample whose windows overlap with it: half a window, rounded up."""
    return -(-(spec.n_fft // 2) // spec.hop_length)


def transfer_phase_margin(spec: MelSpec, iterations: int = 0) -> int:
    """Frames on either side that `transfer_phase` needs and does not return.

    An STFT and its inverse reach over one window's half each, and every iteration of Griffin-Lim is another pair.
    """
    return 2 * window_reach(spec) * (1 + iterations)


def transfer_phase(wave: Array, leader: Array, spec: MelSpec, iterations: int = 0) -> Array:
    """The magnitudes of one wave with the phases of another.

    wave:       (samples,) float32 audio, margin + frames + margin frames long, with `transfer_phase_margin`.
    leader:     same shape; a wave of similar sound, whose phases are taken.
    iterations: of fast Griffin-Lim, which make the frames consistent: the magnitudes come nearer to those of `wave`, the phases
                depart from those of `leader`.

    Returns (frames * hop_length,) float32 audio, without the margins.
    """
    stft, margin = shared_stft(spec), transfer_phase_margin(spec, iterations) * spec.hop_length
    start, magnitude = stft.forward(torch.from_numpy(leader)), stft.forward(torch.from_numpy(wave)).abs()
    found = griffin_lim(magnitude, magnitude, start, iterations, stft, refit=0)  # which reads no mel
    return found[margin : len(wave) - margin].numpy()


@lru_cache(maxsize=8)
def shared_stft(spec: MelSpec) -> STFT:
    """One `STFT` for each recipe, on the CPU, for waves of few lengths."""
    return STFT(spec, "cpu")
