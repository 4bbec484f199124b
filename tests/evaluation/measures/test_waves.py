"""Measures of waves, with inputs built so that the answer is known."""

from typing import Any

import numpy as np
import pytest

from m2m.evaluation.measures.waves import (
    RESOLUTIONS,
    Wave,
    align,
    centroid_error,
    clicks,
    clipped,
    dropped,
    loudness,
    multi_resolution_stft_error,
)


def tones(*events: tuple[float, float]) -> Wave:
    """(Hz, seconds) tones of half a second, in 3 s at 16 kHz."""
    wave, t = np.zeros(48_000), np.arange(8_000) / 16_000
    for hz, start in events:
        at = round(start * 16_000)
        wave[at : at + 8_000] += 0.3 * np.hanning(8_000) * np.sin(2 * np.pi * hz * t)
    return wave.astype(np.float32)


# Two waves.


def noise(seconds: float, seed: int = 0) -> Wave:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))).astype(np.float32)


@pytest.mark.parametrize("late", [-1_600, -137, 0, 5, 800, 3_000])
def test_a_delay_and_a_gain_are_found_and_undone(late: int) -> None:
    a = tones((440.0, 0.3), (660.0, 0.9), (220.0, 1.6), (330.0, 1.7))
    moved = np.roll(a, late) * np.float32(0.25)  # the ends are silent
    found = align(a, moved, 16_000)
    assert found.lag == pytest.approx(late / 16_000)
    assert found.level == pytest.approx(20 * np.log10(0.25), abs=0.01)
    assert np.abs(found.wave - a).max() < 1e-3


def test_a_delay_is_found_where_the_phases_are_others() -> None:
    """As a vocoder's are: the same spectrogram in noise of its own."""
    gate = np.repeat(np.random.default_rng(3).random(24) > 0.5, 2_000)
    a, b = (noise(3.0, seed) * gate for seed in (1, 2))
    for late in (0, 640):
        found = align(a, np.roll(b, late), 16_000)
        assert found.lag == pytest.approx(late / 16_000, abs=0.004)


def test_silence_and_other_lengths_can_be_aligned() -> None:
    a = noise(1.0)
    assert align(a, np.zeros_like(a), 16_000).level == -np.inf
    assert align(np.zeros_like(a), a, 16_000).level == np.inf
    assert align(a, a[:9_000], 16_000).wave.shape == align(a, np.append(a, a), 16_000).wave.shape == a.shape


def test_the_multi_resolution_stft_error_is_its_formula(librosa: Any) -> None:
    a, b = noise(0.5), noise(0.5, 1)
    convergence, logarithm = [], []
    for n_fft, hop, width in RESOLUTIONS:
        x, y = (
            np.abs(librosa.stft(w.astype(np.float64), n_fft=n_fft, hop_length=hop, win_length=width)) for w in (a, b)
        )
        convergence.append(np.linalg.norm(x - y) / np.linalg.norm(x))
        logarithm.append(np.abs(np.log(np.maximum(x, 3.16e-4)) - np.log(np.maximum(y, 3.16e-4))).mean())
    assert multi_resolution_stft_error(a, b) == pytest.approx((np.mean(convergence), np.mean(logarithm)), rel=1e-5)
    assert multi_resolution_stft_error(a, a) == (0, 0)
    assert multi_resolution_stft_error(a, 2 * a) == pytest.approx((1, np.log(2)), rel=1e-4)


def test_loudness_is_pyloudnorms_and_a_gain_is_its_difference() -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    a = tones((440.0, 0.2), (880.0, 1.2), (220.0, 2.2))
    assert loudness(a, 16_000) == pytest.approx(pyloudnorm.Meter(16_000).integrated_loudness(a.astype(float)), abs=1e-6)
    assert loudness(np.float32(0.5) * a, 16_000) - loudness(a, 16_000) == pytest.approx(-6.02, abs=0.01)
    assert np.isnan(loudness(a[:100], 16_000))
    assert loudness(np.zeros(16_000, np.float32), 16_000) == -np.inf


def test_the_centroid_of_a_tone_is_its_frequency() -> None:
    t = np.arange(16_000) / 16_000
    low, high = (0.3 * np.sin(2 * np.pi * hz * t).astype(np.float32) for hz in (1_000, 3_000))
    assert centroid_error(low, low, 16_000) == 0
    assert centroid_error(low, high, 16_000) == pytest.approx(2_000, rel=0.02)
    assert np.isnan(centroid_error(np.zeros_like(low), high, 16_000))


def test_the_centroid_is_librosas(librosa: Any) -> None:
    a, b = noise(1.0), tones((440.0, 0.2), (880.0, 0.4))[:16_000] + 0.01 * noise(1.0, 1)
    spectra = [np.abs(librosa.stft(wave, n_fft=1024, hop_length=256)) + 1e-5 for wave in (a, b)]
    first, second = (librosa.feature.spectral_centroid(S=spectrum, sr=16_000)[0] for spectrum in spectra)
    assert centroid_error(a, b, 16_000) == pytest.approx(np.abs(first - second).mean(), rel=1e-5)


def test_clicks_are_counted_and_music_has_none() -> None:
    t = np.arange(32_000) / 16_000
    saw = (0.3 * (2 * (110 * t % 1) - 1)).astype(np.float32)  # a jump each period, as a reed's
    quiet = (0.1 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)
    for clean in (saw, quiet, noise(2.0), np.zeros(32_000, np.float32), tones((440.0, 0.2), (660.0, 0.21))):
        assert clicks(clean, 16_000) == 0
    quiet[[4_000, 12_000, 28_100]] += 0.3
    assert clicks(quiet, 16_000) == 1.5  # three in two seconds
    assert clicks(np.zeros(3, np.float32), 16_000) == 0


def test_clipping_and_silence_are_shares() -> None:
    wave = np.full(1_000, 0.5, np.float32)
    wave[:10], wave[10:20] = 1.0, -1.5
    assert clipped(wave) == pytest.approx(0.02)
    a = noise(1.0)
    gone = a.copy()
    gone[4_000:8_000] = 0
    assert dropped(a, gone, 16_000) == pytest.approx(12 / 50, abs=0.021)  # frames of 20 ms: 320 samples
    assert dropped(a, a, 16_000) == 0
    assert np.isnan(dropped(np.zeros_like(a), a, 16_000))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constants_break_nothing(value: float) -> None:
    wave = np.full(16_000, value, np.float32)
    assert align(wave, wave, 16_000).level == 0
    assert clicks(wave, 16_000) <= 1
    assert multi_resolution_stft_error(wave, wave) == (0, 0)
