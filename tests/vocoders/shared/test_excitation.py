"""The harmonic excitation: its pitch, its mel, and that any segment equals that part of the whole."""

import numpy as np
import pytest

from m2m.core.mel import MelSpec, log_mel
from m2m.core.score import note_array
from m2m.vocoders.shared.excitation import excitation_margin, harmonic_excitation, mel_matched_excitation


def test_any_segment_of_a_harmonic_excitation_is_that_part_of_the_whole() -> None:
    notes = note_array([(0.1, 0.3, 69, 127), (0.25, 0.6, 40, 60), (0.5, 0.55, 100, 90)])
    spec = MelSpec()
    whole = harmonic_excitation(notes, 0, 16_000, 0.1, spec)
    assert not whole[:1600].any()
    for first, count in ((-200, 1000), (1600, 1), (3000, 5000), (9999, 6001)):
        wanted = np.concatenate([np.zeros(max(0, -first), np.float32), whole[max(0, first) : first + count]])
        assert np.allclose(harmonic_excitation(notes, first, count, 0.1, spec), wanted, atol=1e-6)


def test_any_segment_of_a_mel_matched_excitation_is_that_part_of_the_whole() -> None:
    notes, spec = note_array([(0.1, 0.3, 69, 127), (0.25, 0.6, 40, 60)]), MelSpec()
    values = np.random.default_rng(0).uniform(-9, -2, (100, 80)).astype(np.float32)
    assert excitation_margin(spec) == 20
    whole = mel_matched_excitation(notes, values, 0, spec)
    assert whole.shape == (60 * 128,)
    for first, frames in ((0, 10), (37, 1), (28, 32)):
        part = mel_matched_excitation(notes, values[first : first + frames + 2 * 20], first, spec)
        assert np.allclose(part, whole[first * 128 : (first + frames) * 128], atol=1e-5)


@pytest.mark.parametrize("notes", [[(0.0, 2.0, 69, 90)], []])
def test_a_mel_matched_excitation_has_the_mel_and_its_notes_pitch(notes: list[tuple[float, float, int, int]]) -> None:
    """Of a sine; of its mel alone comes a noise in its band."""
    spec, time = MelSpec(), np.arange(32_000) / 16_000
    values = log_mel(0.3 * np.sin(2 * np.pi * 440 * time), spec)
    wave = mel_matched_excitation(note_array(notes), values, 20, spec)
    found = log_mel(wave, spec)[20:-20]
    loud = values[40:-40] > -5
    assert np.abs(found - values[40:-40])[loud].mean() < (0.1 if notes else 0.8)
    spectrum = np.abs(np.fft.rfft(wave[6000:22_000] * np.hanning(16_000)))
    assert abs(int(spectrum.argmax()) - 440) <= (1 if notes else 40)


def test_a_mel_matched_excitation_of_silence_is_silent() -> None:
    values = np.full((50, 80), MelSpec().silence, np.float32)
    assert np.abs(mel_matched_excitation(note_array([(0.0, 2.0, 69, 90)]), values, 0, MelSpec())).max() < 1e-6


def test_a_harmonic_excitation_has_its_keys_pitch_and_dies_away() -> None:
    spec = MelSpec()
    wave = harmonic_excitation(note_array([(0.0, 1.0, 69, 127)]), 0, 32_000, 0.1, spec)
    spectrum = np.abs(np.fft.rfft(wave[:16_000] * np.hanning(16_000))) * 4 / 16_000  # a bin a Hz
    for harmonic in (1, 2, 3, 7):
        assert spectrum[440 * harmonic] == pytest.approx(1 / harmonic, rel=0.02)
    assert spectrum[int(0.99 * spec.fmax) :].max() < 0.01
    assert np.abs(wave[17_600:17_700]).max() < np.abs(wave[15_900:16_000]).max() / 2  # 0.1 s later, e times quieter
    assert not wave[16_000 + 8_001 :].any()
