"""Distances of two waves by their spectrograms, (batch, samples) each: what a likelihood does not hear.

A student that minimises KL alone whispers: noise of the right scale is nearly right (Parallel WaveNet, section 4).
"""

from __future__ import annotations

import torch
from torch import Tensor

RESOLUTIONS = (512, 1024, 2048)  # windows, samples
FRAME = 1024  # the window of the two losses that have one
TINY = 1e-5  # of the magnitude of a full-scale sine: -100 dB


def magnitude(wave: Tensor, window: int) -> Tensor:
    """(batch, samples) -> (batch, window // 2 + 1, frames), where a full-scale sine reads 1; a Hann window, hop a quarter."""
    window = min(window, wave.shape[-1])
    hann = torch.hann_window(window, device=wave.device)
    spectrum = torch.stft(wave.float(), window, max(1, window // 4), window=hann, center=False, return_complex=True)
    squared = torch.view_as_real(spectrum * (2 / hann.sum())).square().sum(-1)
    return (squared + TINY**2).sqrt()  # a gradient at silence, too


def multi_resolution_stft_loss(wave: Tensor, true: Tensor) -> Tensor:
    """Spectral convergence and mean absolute difference of log magnitudes, mean of three resolutions: a scalar.

    Yamamoto et al., Parallel WaveGAN, arXiv 1910.11480, section 2.2; but convergence is relative to both waves, window by
    window: 0 if they are alike, near 1 where either is much louder. Relative to the true one alone, one whisper in a batch of
    music would be all that counts.
    """
    parts = []
    for window in RESOLUTIONS:
        a, b = magnitude(wave, window), magnitude(true, window)
        convergence = (_energy(a - b) / (_energy(a) + _energy(b))).sqrt()
        parts.append(convergence.mean() + (a.log() - b.log()).abs().mean())
    return torch.stack(parts).mean()


def frame_loss(wave: Tensor, true: Tensor) -> Tensor:
    """Squared difference of magnitudes, frame by frame, relative to both: 0 to 1.

    ClariNet, arXiv 1807.07281, section 3.3, there without the division.
    """
    a, b = magnitude(wave, FRAME), magnitude(true, FRAME)
    return (_energy(a - b) / (_energy(a) + _energy(b))).mean()


def power_loss(wave: Tensor, true: Tensor) -> Tensor:
    """Squared difference of the power at each frequency, averaged over time first; relative to both: 0 to 1.

    Parallel WaveNet, arXiv 1711.10433, section 4.1, there without the division.
    """
    a, b = (magnitude(x, FRAME).square().mean(-1, keepdim=True) for x in (wave, true))
    return (_energy(a - b) / (_energy(a) + _energy(b))).mean()


def _energy(spectrum: Tensor) -> Tensor:
    """(batch, bins, frames) -> (batch,); never zero, not even its root's slope."""
    return spectrum.square().mean((1, 2)) + TINY**4


DISTANCES = {"stft": multi_resolution_stft_loss, "frames": frame_loss, "power": power_loss}
