"""Onsets in audio, found as librosa's `onset_detect` finds them: spectral flux (Böck and Widmer, 2013) and its peaks.

Not librosa's own functions, for the reason that constant_q.py gives; tests/evaluation/measures/test_onsets.py compares the two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2m.evaluation.measures.waves import Wave, magnitudes

HOP, N_FFT, BANDS = 128, 2048, 128
RANGE = 80.0  # dB: what is farther below the loudest counts as that far
DELTA = 0.07  # of the strongest onset: how far a peak stands above the mean around it
NEAR, AROUND = 0.03, 0.1  # seconds: of what a peak is the highest, and on both sides of it where the mean is taken


def onset_strength(wave: Wave, rate: int) -> NDArray[np.float32]:
    """How much a wave's mel bands grow from frame to frame, a mean in dB: (1 + samples // 128,) float32, 0 or more."""
    from m2m.core.mel import MelSpec, filter_bank

    spec = MelSpec(
        sample_rate=rate,
        hop_length=HOP,
        n_fft=N_FFT,
        n_mels=BANDS,
        fmax=rate / 2,
        mel_scale="slaney",
        filter_norm="area",
    )
    power = filter_bank(spec).numpy() @ np.square(magnitudes(wave, N_FFT, HOP))  # (bands, frames)
    level = 10 * np.log10(np.maximum(power, 1e-10))
    level = np.maximum(level, level.max() - RANGE)
    growth = np.maximum(np.diff(level), 0).mean(axis=0)
    late = 1 + N_FFT // (2 * HOP)  # frames: of the difference, and half a window, which hears an onset before it is
    return np.pad(growth, (late, 0))[: level.shape[1]].astype(np.float32)


def find_onsets(wave: Wave, rate: int) -> NDArray[np.float64]:
    """Seconds at which something is struck in a wave: (onsets,) float64, ascending, within a frame of 128 samples."""
    strength = onset_strength(wave, rate)
    strength = strength - strength.min()
    if not strength.any():
        return np.zeros(0)
    strength /= strength.max()
    near, around = int(np.ceil(NEAR * rate // HOP)), int(np.ceil(AROUND * rate // HOP))  # frames
    found: list[int] = []
    for frame, value in enumerate(strength):
        if found and frame - found[-1] <= near:
            continue
        highest = strength[max(0, frame - near) : frame + 1].max()
        mean = strength[max(0, frame - around) : frame + around + 1].mean()
        if value == highest and value >= mean + DELTA:
            found.append(frame)
    return np.array(found) * HOP / rate
