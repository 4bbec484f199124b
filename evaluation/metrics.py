"""Measures of how near a result is to the truth, each with its unit and its source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError


def log_mel_error(predicted: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    """Mean absolute error of two log-mels (frames, n_mels) in nepers (natural-log units; 1 neper is 8.7 dB)."""
    return float(np.abs(predicted - true).mean())


def tanh_log_error(predicted: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    """The paper's tanh-log-abs MSE (arXiv 1811.00223, section 3.2) of two log-mels (frames, n_mels); no unit."""
    return float(np.square(np.tanh(predicted / 4) - np.tanh(true / 4)).mean())


def pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson's correlation over time of each band: two (frames, bands) -> (bands,).

    NaN where the first does not vary: such a band has nothing to follow. 0 where only the second does not.

    >>> import numpy as np
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]])
    >>> pearson(x, np.stack([2 * x[:, 0] + 1, -x[:, 1]], axis=1)).round(6).tolist()
    [1.0, -1.0]
    """
    a, b = (x.astype(np.float64) for x in (a, b))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    spread_a, spread_b = np.sqrt((a * a).sum(axis=0)), np.sqrt((b * b).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (a * b).sum(axis=0) / (spread_a * spread_b)
    correlation = np.where(spread_b < 1e-9, 0.0, correlation)
    return np.where(spread_a < 1e-9, np.nan, correlation)


def constant_q_correlation(original: NDArray[np.float32], other: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """The paper's measure of a rendering: Pearson's correlation of constant-Q magnitudes over time, (84,) semitones from C1.

    original, other: (samples,) of one length at `rate` Hz. Needs librosa. NaN for a bin in which the original is silent.
    """
    try:
        import librosa
    except ImportError as error:
        raise M2MError("the constant-Q correlation needs librosa: pip install 'm2m[eval]'.") from error
    first, second = (
        np.abs(librosa.cqt(wave, sr=rate, hop_length=256, fmin=librosa.note_to_hz("C1"), n_bins=84)).T
        for wave in (original, other)
    )
    return pearson(first, second)
