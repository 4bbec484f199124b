"""Onsets in audio: where librosa's detector finds them, and where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import soundfile

from m2m.evaluation.measures.onsets import find_onsets, onset_strength

STRUCK = (0.3, 0.55, 1.0, 1.02, 1.8)  # seconds


def struck(rate: int) -> np.ndarray:
    """Decaying tones, of which the second last begins within the one before."""
    t, wave = np.arange(int(2.5 * rate)) / rate, np.zeros(int(2.5 * rate))
    for number, start in enumerate(STRUCK):
        since = np.maximum(t - start, 0)
        wave += 0.2 * (t >= start) * np.exp(-6 * since) * np.sin(2 * np.pi * (220 + 110 * number) * since)
    return wave.astype(np.float32)


def test_what_is_struck_is_found() -> None:
    found = find_onsets(struck(16_000), 16_000)
    assert found == pytest.approx([0.3, 0.55, 1.0, 1.8], abs=0.03)
    assert len(find_onsets(np.zeros(16_000, np.float32), 16_000)) == 0


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_the_onsets_are_librosas(librosa: Any, rate: int) -> None:
    noise = np.random.default_rng(0).standard_normal(len(struck(rate))).astype(np.float32)
    for wave in (struck(rate), struck(rate) + 0.01 * noise, 0.1 * noise, struck(rate)[: rate // 2]):
        strength = librosa.onset.onset_strength(y=wave, sr=rate, hop_length=128)
        assert onset_strength(wave, rate) == pytest.approx(strength, abs=1e-3)
        theirs = librosa.onset.onset_detect(y=wave, sr=rate, hop_length=128, units="time")
        assert find_onsets(wave, rate).tolist() == pytest.approx(theirs.tolist())


def test_the_onsets_of_music_are_librosas(librosa: Any) -> None:
    from m2m.evaluation.bench.recordings import QUICK

    for path in sorted(QUICK.glob("*.flac")):
        wave, rate = soundfile.read(path, dtype="float32")
        theirs = librosa.onset.onset_detect(y=wave, sr=rate, hop_length=128, units="time")
        assert find_onsets(wave, rate).tolist() == pytest.approx(theirs.tolist())
