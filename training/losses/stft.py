"""Losses between the spectrograms of two waves, (batch, samples) each.

Divergence alone makes a student whisper: noise of the right scale has a low divergence (Parallel WaveNet, section 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

RESOLUTIONS = (512, 1024, 2048)  # window lengths, samples
FRAME = 1024  # window length of the two losses that have one, samples
TINY = 1e-5  # of the magnitude of a full-scale sine: -100 dB


def magnitude(wave: Tensor, window: int) -> Tensor:
    """The magnitudes of a short-time Fourier transform with a Hann window, a quarter of it from frame to frame.

    wave: (batch, samples), -1..1. window: its length in samples; that of the wave at most.
    Returned: (batch, window // 2 + 1, frames) float32; a full-scale sine has 1.
    """
    import torch  # here, since the names of the losses are read without it

    window = min(window, wave.shape[-1])
    hann = torch.hann_window(window, device=wave.device)
    spectrum = torch.stft(wave.float(), window, max(1, window // 4), window=hann, center=False, return_complex=True)
    squared = torch.view_as_real(spectrum * (2 / hann.sum())).square().sum(-1)
    return (squared + TINY**2).sqrt()  # a gradient at silence, too


def multi_resolution_stft_loss(wave: Tensor, true: Tensor) -> Tensor:
    """Spectral convergence and mean absolute difference of log magnitudes, mean of three resolutions.

    Yamamoto et al., Parallel WaveGAN, arXiv 1910.11480, section 2.2. Differs from it: the convergence is relative to both waves,
    segment by segment, 0 if they are alike and near 1 where either is much louder. Relative to the true wave alone, one quiet
    segment in a batch would outweigh all others.

    wave, true: (batch, samples), -1..1. Returned: a scalar without unit.
    """
    import torch

    parts = []
    for window in RESOLUTIONS:
        a, b = magnitude(wave, window), magnitude(true, window)
        convergence = (_energy(a - b) / (_energy(a) + _energy(b))).sqrt()
        parts.append(convergence.mean() + (a.log() - b.log()).abs().mean())
    return torch.stack(parts).mean()


def frame_loss(wave: Tensor, true: Tensor) -> Tensor:
    """Squared difference of magnitudes, frame by frame, relative to both waves.

    ClariNet, arXiv 1807.07281, section 3.3, there without the division.

    wave, true: (batch, samples), -1..1. Returned: a scalar, 0..1.
    """
    a, b = magnitude(wave, FRAME), magnitude(true, FRAME)
    return (_energy(a - b) / (_energy(a) + _energy(b))).mean()


def power_loss(wave: Tensor, true: Tensor) -> Tensor:
    """Squared difference of the power at each frequency, averaged over time first, relative to both waves.

    Parallel WaveNet, arXiv 1711.10433, section 4.1, there without the division.

    wave, true: (batch, samples), -1..1. Returned: a scalar, 0..1.
    """
    a, b = (magnitude(x, FRAME).square().mean(-1, keepdim=True) for x in (wave, true))
    return (_energy(a - b) / (_energy(a) + _energy(b))).mean()


def _energy(spectrum: Tensor) -> Tensor:
    """(batch, bins, frames) -> (batch,); above zero, so that its root has a slope."""
    return spectrum.square().mean((1, 2)) + TINY**4
