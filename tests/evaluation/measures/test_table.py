"""The table of measures, each on an original of two tones beside renderings whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from m2m.core.mel import MelSpec
from m2m.core.score import note_array
from m2m.evaluation.measures.frechet import features
from m2m.evaluation.measures.table import (
    MEASURES,
    OF_AUDIO,
    OF_MEL,
    OF_SET,
    Reference,
    measure_audio,
    measure_mel,
)
from m2m.evaluation.measures.waves import Wave

pytest.importorskip("soxr", reason="soxr is not installed")
pytest.importorskip("mir_eval", reason="mir_eval is not installed")
pytest.importorskip("pyloudnorm", reason="pyloudnorm is not installed")
RATE = 16_000
NOTES = note_array([(0.3, 1.0, 69, 90), (1.3, 2.0, 81, 90)])  # 440 Hz, 880 Hz
PERFECT = {"higher": 1.0, "lower": 0.0, "zero": 0.0}


def original() -> Wave:
    """The notes as decaying sines: two seconds, (32000,) float32."""
    t = np.arange(2 * RATE) / RATE
    wave = np.zeros(len(t))
    for start, hz in ((0.3, 440.0), (1.3, 880.0)):
        since = np.maximum(t - start, 0)
        wave += 0.3 * (t >= start) * np.minimum(1, since / 0.005) * np.exp(-4 * since) * np.sin(2 * np.pi * hz * since)
    return wave.astype(np.float32)


def noisy(wave: Wave) -> Wave:
    draw = np.random.default_rng(0)
    return (wave + 0.05 * draw.standard_normal(len(wave))).astype(np.float32)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(original(), NOTES, MelSpec())


@pytest.fixture(scope="module")
def same(reference: Reference) -> dict[str, float]:
    return measure_audio(reference, reference.wave, lambda wave, rate: NOTES)[0]


@pytest.mark.parametrize("name", OF_AUDIO)
def test_the_original_itself_is_perfect(same: dict[str, float], name: str) -> None:
    if name == "onset_error":  # onsets are found on a grid of frames
        assert 0 <= same[name] < 50
    else:
        assert same[name] == pytest.approx(PERFECT[MEASURES[name].better], abs=1e-4)


def test_noise_is_worse_in_the_direction_of_each_measure(reference: Reference, same: dict[str, float]) -> None:
    worse, _ = measure_audio(reference, noisy(reference.wave))
    assert all(math.isfinite(value) for value in worse.values())
    compared = [n for n in worse if MEASURES[n].better != "zero" and n not in ("clipped", "dropped", "onset_error")]
    for name in compared:
        sign = 1 if MEASURES[name].better == "higher" else -1
        assert sign * worse[name] <= sign * same[name] + 1e-6, name
    strictly = ("constant_q", "log_mel", "tanh_log", "mel_correlation", "stft_convergence", "stft_log", "centroid")
    for name in strictly:
        assert abs(worse[name] - same[name]) > MEASURES[name].least, name


def test_half_the_level_ten_milliseconds_late(reference: Reference) -> None:
    late = np.concatenate([np.zeros(RATE // 100), 0.5 * reference.wave])[: len(reference.wave)].astype(np.float32)
    found, _ = measure_audio(reference, late)
    half = 20 * math.log10(0.5)
    assert found["lag"] == pytest.approx(10, abs=0.1)
    assert found["level"] == pytest.approx(half, abs=0.05)
    assert found["loudness"] == pytest.approx(half, abs=0.1)
    assert found["stft_convergence"] < 0.02  # both are undone before the comparison


def test_samples_at_full_scale_are_counted(reference: Reference) -> None:
    clipped = reference.wave.copy()
    clipped[:320] = 1.0
    assert measure_audio(reference, clipped)[0]["clipped"] == pytest.approx(0.01)


def test_silence_has_dropped_every_sounding_frame(reference: Reference) -> None:
    found, semitones = measure_audio(reference, np.zeros_like(reference.wave))
    assert found["dropped"] == pytest.approx(1)
    assert found["notes_heard"] == 0
    assert semitones.shape == (84,)


def test_notes_are_scored_by_a_transcriber_alone(reference: Reference, same: dict[str, float]) -> None:
    assert "note_f1" in same
    assert "note_f1" not in measure_audio(reference, reference.wave)[0]
    half, _ = measure_audio(reference, reference.wave, lambda wave, rate: NOTES[:1])
    assert half["note_f1"] == pytest.approx(2 / 3)  # precision 1, recall a half
    longer = NOTES.copy()
    longer["end"] += 1.0
    found, _ = measure_audio(reference, reference.wave, lambda wave, rate: longer)
    assert [found[name] for name in ("note_f1", "note_offset_f1", "note_velocity_f1")] == [1, 0, 0]


def test_a_mel_that_is_a_neper_too_loud(reference: Reference) -> None:
    assert tuple(measure_mel(reference, reference.mel)) == OF_MEL
    found = measure_mel(reference, reference.mel + np.float32(1))
    assert found["log_mel"] == pytest.approx(1, abs=1e-5)
    assert found["mel_correlation"] == pytest.approx(1, abs=1e-4)
    assert found["tanh_log"] > 0


@pytest.mark.parametrize("name", OF_SET)
def test_a_set_beside_itself_and_beside_noise(name: str) -> None:
    pytest.importorskip("scipy", reason="SciPy is not installed")
    a, b = features(original(), RATE), features(noisy(original()), RATE)
    assert MEASURES[name].of(a, a) == pytest.approx(0, abs=1e-6)
    assert MEASURES[name].of(a, b) > MEASURES[name].least
