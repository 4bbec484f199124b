"""Measures between two log-mels, (frames, n_mels) natural-log magnitudes each: what training validates by and benches report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STILL = 1e-4  # variance of a log-mel's band below which it holds still: 0.01 nepers, what storing it as float16 rounds


def log_mel_error(predicted: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    """Mean absolute error of a log-mel in nepers (natural-log units; 1 neper is 8.7 dB).

    predicted, true: (frames, n_mels) float32, natural-log magnitudes.
    """
    return float(np.abs(predicted - true).mean())


def paper_tanh_log_abs(predicted: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    """The paper's tanh-log-abs MSE as it is printed (arXiv 1811.00223, section 3.2): 0 dB is a full-scale sine.

    predicted, true: (frames, n_mels) float32, natural-log magnitudes. Returned is the mean squared error of tanh(mel / 4), no
    unit, 0..4. The loss `tanh-log-abs` that m2m trains with takes -20 dB of full scale as 0 dB (training/losses/mel.py).
    """
    return float(np.square(np.tanh(predicted / 4) - np.tanh(true / 4)).mean())


def pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson's correlation over time of each band: (bands,) float64, -1..1.

    a, b: (frames, bands) of any float dtype.

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


def variance_ratio(predicted: NDArray[np.floating], true: NDArray[np.floating]) -> NDArray[np.float64]:
    """The variance of each band over time, as a share of the true one: (bands,) float64, from 0 up.

    predicted, true: (frames, bands) of any float dtype.

    Below 1 what is predicted is blurred, above 1 it is rougher than the truth. NaN where the true one does not vary.

    >>> import numpy as np
    >>> true = np.array([[0.0, 3.0], [2.0, 3.0]])
    >>> variance_ratio(true / 2, true).tolist()
    [0.25, nan]
    """
    ours, theirs = (x.var(axis=0, dtype=np.float64) for x in (predicted, true))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(theirs < STILL, np.nan, ours / theirs)
