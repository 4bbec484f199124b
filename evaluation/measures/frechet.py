"""A Fréchet distance between sets of audio, over a feature that needs no download.

The Fréchet Audio Distance (Kilgour et al., arXiv 1812.08466) compares the means and covariances of a feature over two sets of
audio. Its feature is usually a network's; ours are mel cepstra: coefficients 1 to 13 of the log-mel's cosine transform, their
mean and standard deviation over half-second windows, 26 numbers a window, each scaled by its spread in the originals.

The feature is not learned, so no system can have been trained towards it. It describes the shape of the spectrum and how that
moves, not phase or exact time, and leaves coefficient 0, the level, out. The distance is not comparable with those of other
features. It is biased where windows are few, so it compares only systems measured on the same recordings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2m.evaluation.measures.waves import Wave, need

COEFFICIENTS = slice(1, 14)
WINDOW = 0.5  # seconds


def features(wave: Wave, rate: int) -> NDArray[np.float32]:
    """Means and standard deviations of mel cepstra over half-second windows: (windows, 26) float32.

    wave: (samples,) float32, -1..1, at `rate` Hz. Raises M2MError without SciPy.
    """
    from m2m.core.mel import MelSpec, log_mel

    fft = need("scipy.fft", "the Fréchet distance")
    spec = MelSpec(sample_rate=rate, fmax=rate / 2)
    cepstra = fft.dct(np.maximum(log_mel(wave, spec), -8.0), norm="ortho", axis=1)[:, COEFFICIENTS]  # -8: about -70 dB
    size = round(WINDOW * spec.frame_rate)
    windows = cepstra[: len(cepstra) // size * size].reshape(-1, size, cepstra.shape[1])
    return np.concatenate([windows.mean(axis=1), windows.std(axis=1)], axis=1).astype(np.float32)


def frechet_distance(original: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2) of two sets of features, each scaled by the originals' deviation; no unit.

    original, other: (windows, features) float. Returned is NaN where either has fewer than two windows.
    """
    if min(len(original), len(other)) < 2:
        return float("nan")
    a, b = (x.astype(np.float64) for x in (original, other))
    scale = np.maximum(a.std(axis=0), 1e-6)
    a, b = a / scale, b / scale
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the product's root is that of its eigenvalues' roots; symmetric, since C1 C2 is like C1^1/2 C2 C1^1/2.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    distance = np.square(a.mean(axis=0) - b.mean(axis=0)).sum() + np.trace(first) + np.trace(second) - 2 * cross
    return float(max(0.0, distance))
