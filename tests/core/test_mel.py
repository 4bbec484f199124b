from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from m2m.core.errors import M2MError
from m2m.core.mel import LazyMel, Mel, MelSpec, filter_bank, hz_to_mel, linear_mel, log_mel, mel_to_hz

SPEC = MelSpec()


def tone(frequency: float, seconds: float = 1.0, amplitude: float = 1.0) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * 16_000)) / 16_000)


def test_the_reference_recipe() -> None:
    assert (SPEC.sample_rate, SPEC.hop_length, SPEC.n_mels, SPEC.fmin, SPEC.fmax) == (16_000, 128, 80, 0.0, 8_000.0)
    assert math.isclose(SPEC.silence, math.log(1e-5))
    assert SPEC.frame_rate == 125.0


@pytest.mark.parametrize("samples", [0, 1, 127, 128, 129, 16_000])
def test_a_frame_a_hop(samples: int) -> None:
    assert log_mel(np.zeros(samples), SPEC).shape == (-(-samples // 128), 80)


def test_silence_is_the_floor() -> None:
    assert np.allclose(log_mel(np.zeros(4096), SPEC), SPEC.silence)


@pytest.mark.parametrize("frequency", [110.0, 440.0, 1000.0, 3000.0])
def test_a_full_scale_sine_reads_zero_decibels_in_its_band(frequency: float) -> None:
    mel = linear_mel(log_mel(tone(frequency), SPEC)[60], SPEC)
    low, high = hz_to_mel(np.array([0.0, 8000.0]), "htk")
    centres = mel_to_hz(np.linspace(low, high, 82), "htk")[1:-1]
    assert abs(int(mel.argmax()) - int(np.abs(centres - frequency).argmin())) <= 1
    assert 0.5 < mel.max() < 2.1  # the main lobe spreads over the band's bins


def test_twice_the_amplitude_is_0_69_nepers_more() -> None:
    quiet, loud = (log_mel(tone(440, amplitude=a), SPEC)[60].max() for a in (0.1, 0.2))
    assert loud - quiet == pytest.approx(math.log(2), abs=1e-4)


def test_a_click_lies_in_the_middle_of_its_frame() -> None:
    wave = np.zeros(12_800)
    wave[50 * 128] = 1.0
    level = log_mel(wave, SPEC).sum(axis=1)
    assert level.argmax() == 50


def test_a_long_wave_is_worked_through_in_blocks_without_a_seam() -> None:
    wave = np.random.default_rng(0).standard_normal(16_000 * 61)
    whole, part = log_mel(wave, SPEC), log_mel(wave[59 * 16_000 :], SPEC)
    assert np.abs(whole[59 * 125 + 10 :] - part[10:]).max() < 1e-3


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@given(hz=st.floats(0, 20_000))
def test_mel_scales_have_inverses(scale: str, hz: float) -> None:
    assert mel_to_hz(hz_to_mel(np.array([hz]), scale), scale)[0] == pytest.approx(hz, abs=1e-6)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", ["peak", "area"])
def test_filters_agree_with_librosa(librosa: Any, scale: str, norm: str) -> None:
    ours = filter_bank(MelSpec(mel_scale=scale, filter_norm=norm)).numpy()
    theirs = librosa.filters.mel(
        sr=16_000, n_fft=1024, n_mels=80, htk=scale == "htk", norm="slaney" if norm == "area" else None
    )
    assert np.abs(ours - theirs).max() < 1e-6


def test_every_band_hears_something() -> None:
    assert (filter_bank(SPEC).sum(dim=1) > 0.1).all()


def test_a_recipe_has_a_hash_and_tells_its_differences() -> None:
    other = MelSpec(fmax=7600.0, log="log10")
    assert SPEC.hash == MelSpec().hash != other.hash
    assert SPEC.differences(other) == {"fmax": (8000.0, 7600.0), "log": ("natural", "log10")}


def test_recipes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="fmin"):
        MelSpec(fmin=9000.0)
    with pytest.raises(ValidationError, match="extra"):
        MelSpec(n_mel=3)  # type: ignore[call-arg]


def test_a_mel_is_checked_at_the_door() -> None:
    with pytest.raises(M2MError, match=r"\(80, 10\).*\(frames, 80\) was wanted"):
        Mel(np.zeros((80, 10), np.float32), SPEC)
    with pytest.raises(M2MError, match="NaN"):
        Mel(np.full((3, 80), np.nan, np.float32), SPEC)
    assert Mel(np.zeros((10, 80), np.float32), SPEC).samples == 1280


def in_the_making(frames: int, span: int) -> tuple[LazyMel, np.ndarray, list[tuple[int, int]]]:
    """A mel made in spans, what it will be, and the record of what has been made."""
    values = np.random.default_rng(0).standard_normal((frames, 80)).astype(np.float32)
    edges = [*range(0, frames, span), frames]
    made: list[tuple[int, int]] = []

    def make(first: int, last: int) -> np.ndarray:
        made.append((first, last))
        return values[first:last].copy()

    return LazyMel(make, list(pairwise(edges)), SPEC), values, made


@given(st.integers(1, 60), st.integers(1, 20), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), max_size=6))
def test_a_mel_in_the_making_is_the_mel_wherever_it_is_read(
    frames: int, span: int, reads: list[tuple[int, int]]
) -> None:
    mel, values, _ = in_the_making(frames, span)
    assert (mel.frames, mel.samples) == (frames, frames * 128)
    for first, last in reads:
        assert np.array_equal(mel.window(first, last), values[first:last])
    assert np.array_equal(mel.values, values)


def test_it_is_made_no_further_than_it_is_read_and_not_twice() -> None:
    mel, _, made = in_the_making(100, 10)
    for first in range(0, 40, 5):
        assert not mel.window(first, first + 8).flags.writeable
    assert made == [(0, 10), (10, 20), (20, 30), (30, 40), (40, 50)]
    mel.window(0, 5)
    assert made[-1] == (0, 10)  # long forgotten, and made again
    assert mel.without_notes().notes is None
    empty, _, _ = in_the_making(0, 10)
    assert empty.values.shape == (0, 80)


def test_what_is_made_is_checked_as_any_mel() -> None:
    bad = LazyMel(lambda first, last: np.full((last - first, 80), np.nan, np.float32), [(0, 5)], SPEC)
    with pytest.raises(M2MError, match="NaN"):
        bad.window(0, 1)
