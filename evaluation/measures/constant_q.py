"""The constant-Q transform of seven octaves from C1 (Schörkhuber and Klapuri, 2010), as librosa computes it.

An octave is filtered by the same twelve wavelets as the one above it, on a wave of half its rate. Not librosa's own functions:
they are compiled by numba, which takes half a minute of a first bench, and whose cache on disk two processes can
damage so that a later one crashes. tests/evaluation/measures/test_constant_q.py compares the two.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.mel_measures import pearson
from m2m.evaluation.measures.waves import Wave, need

HOP = 256  # samples
OCTAVE, OCTAVES = 12, 7  # semitones
LOWEST = 440 * 2 ** ((24 - 69) / 12)  # C1, Hz
TOP_OCTAVE = LOWEST * 2.0 ** (np.arange(OCTAVE) / OCTAVE + OCTAVES - 1)  # (12,) Hz
BANDWIDTH = (2 ** (2 / OCTAVE) - 1) / (2 ** (2 / OCTAVE) + 1)  # of a wavelet, relative to its frequency
HIGHEST = TOP_OCTAVE[-1] * (
    1 + 0.75 * BANDWIDTH
)  # Hz: where the highest wavelet's main lobe ends; 1.5 bins are a Hann window's
QUANTILE = 0.01  # of a wavelet's magnitudes, the smallest, which are left out


def constant_q(wave: Wave, rate: int) -> NDArray[np.float32]:
    """Constant-Q magnitudes of a wave.

    wave: (samples,) float32, -1..1. rate: Hz. Returned: (1 + samples // 256, 84) float32, semitones from C1, 32.7 Hz.
    Raises M2MError where the rate is too low for the highest of them, 3951 Hz.
    """
    soxr = need("soxr", "the constant-Q transform")
    if rate / 2 < HIGHEST:
        raise M2MError(
            f"the constant-Q transform reaches {HIGHEST:.0f} Hz, a rate of {rate} Hz carries {rate / 2:g} Hz."
        )

    def decimate(wave: Wave, factor: int) -> Wave:
        length = -(-len(wave) // factor)
        decimated = soxr.resample(wave, factor, 1, quality="HQ")
        return np.pad(decimated, (0, max(0, length - len(decimated))))[:length] * np.float32(np.sqrt(factor))

    factor = 1
    while rate / factor / 8 > HIGHEST and HOP // factor > 2 ** (
        OCTAVES - 1
    ):  # frequencies above the top cost time only
        factor *= 2
    hop = HOP // factor
    wave = decimate(wave, factor) if factor > 1 else wave
    filters = _wavelets(rate / factor)
    octaves = []
    for _ in range(OCTAVES):
        octaves.append(np.abs(_spectra(wave, filters.shape[1] * 2 - 2, hop) @ filters.T))
        wave, hop = decimate(wave, 2), hop // 2
    frames = min(map(len, octaves))
    return np.concatenate([octave[:frames] for octave in octaves[::-1]], axis=1).astype(np.float32)


@lru_cache(maxsize=8)
def _wavelets(rate: float) -> NDArray[np.complex64]:
    """The spectra of the top octave's wavelets at a rate: (12, n_fft // 2 + 1) of n_fft a power of two."""
    lengths = rate / (BANDWIDTH * TOP_OCTAVE)  # samples
    n_fft = 2 ** int(np.ceil(np.log2(lengths.max())))
    wavelets = np.zeros((OCTAVE, n_fft), np.complex64)
    for wavelet, length, hz in zip(wavelets, lengths, TOP_OCTAVE, strict=True):
        tone = np.exp(2j * np.pi * hz / rate * np.arange(-length // 2, length // 2))
        tone *= 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(tone)) / len(tone))
        first = (n_fft - len(tone)) // 2
        wavelet[first : first + len(tone)] = tone / np.abs(tone).sum() * np.sqrt(length) / n_fft
    spectra = np.fft.fft(wavelets)[:, : n_fft // 2 + 1].astype(np.complex64)
    magnitudes = np.abs(spectra)
    ascending = np.sort(magnitudes)
    left_out = np.cumsum(ascending, axis=1) < QUANTILE * magnitudes.sum(axis=1, keepdims=True)
    least = np.take_along_axis(ascending, left_out.sum(axis=1, keepdims=True), axis=1)
    return np.where(magnitudes >= least, spectra, 0)


def _spectra(wave: Wave, n_fft: int, hop: int) -> NDArray[np.complexfloating]:
    """Spectra of frames centred every `hop` samples, unwindowed: (1 + samples // hop, n_fft // 2 + 1)."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, n_fft // 2), n_fft)[::hop]
    return np.fft.rfft(frames)


def constant_q_correlation(original: Wave, other: Wave, rate: int) -> NDArray[np.float64]:
    """The paper's measure of a rendering: Pearson's correlation of constant-Q magnitudes over time.

    original, other: (samples,) float32, -1..1, at `rate` Hz, aligned. Returned is one correlation a semitone from C1: (84,)
    float64, NaN where the original is silent. Raises M2MError without soxr, or where the rate is too low.
    """
    return pearson(constant_q(original, rate), constant_q(other, rate))
