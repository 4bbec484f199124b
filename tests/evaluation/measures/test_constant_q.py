"""The constant-Q transform: a tone stands in its semitone, and the magnitudes are librosa's."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from m2m.core.errors import M2MError
from m2m.evaluation.measures.constant_q import constant_q, constant_q_correlation
from m2m.evaluation.measures.waves import Wave

A4, A5 = 45, 57  # semitones above C1


def tones(*events: tuple[float, float], rate: int = 16_000) -> Wave:
    """(Hz, seconds) tones of half a second, in 3 s."""
    wave, t = np.zeros(3 * rate), np.arange(rate // 2) / rate
    for hz, start in events:
        at = round(start * rate)
        wave[at : at + len(t)] += 0.3 * np.hanning(len(t)) * np.sin(2 * np.pi * hz * t)
    return wave.astype(np.float32)


@pytest.mark.filterwarnings("ignore:n_fft=256 is too large")
@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 96_000])
def test_the_constant_q_is_librosas(librosa: Any, rate: int) -> None:
    noise = np.random.default_rng(0).standard_normal(3 * rate + 77).astype(np.float32)
    music = tones((440.0, 0.2), (65.4, 1.0), (3_900.0, 1.1), rate=rate)
    for wave in (music, 0.1 * noise, music[: rate // 3]):
        theirs = np.abs(librosa.cqt(wave, sr=rate, hop_length=256, fmin=librosa.note_to_hz("C1"), n_bins=84)).T
        ours = constant_q(wave, rate)
        assert ours.shape == theirs.shape
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() < 3e-5 * theirs.max()


def test_a_tone_stands_in_its_semitone() -> None:
    found = constant_q(tones((440.0, 0.2), (880.0, 1.2)), 16_000)
    frames = (np.array([0.45, 1.45]) * 16_000 / 256).round().astype(int)
    assert found[frames].argmax(axis=1).tolist() == [A4, A5]
    assert found.shape == (1 + 48_000 // 256, 84)


def test_the_papers_measure_of_a_rendering() -> None:
    a = tones((440.0, 0.2), (880.0, 1.2), (220.0, 2.2))
    same = constant_q_correlation(a, np.float32(-0.5) * a, 16_000)
    assert same.shape == (84,)
    assert np.nanmin(same) == pytest.approx(1.0)
    other = constant_q_correlation(a, tones((440.0, 0.2), (880.0, 0.2), (220.0, 2.2)), 16_000)
    assert other[A4] > 0.95
    assert other[A5] < 0.2


def test_it_needs_soxr_and_a_rate_that_carries_the_octaves(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(M2MError, match="reaches 4122 Hz, a rate of 8000 Hz carries 4000 Hz"):
        constant_q(np.zeros(100, np.float32), 8_000)
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(M2MError, match=r"needs soxr: pip install 'm2m\[eval\]'"):
        constant_q_correlation(np.zeros(100, np.float32), np.zeros(100, np.float32), 16_000)
