"""Bent parts: their own time, and what is read out of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from m2m.core.notes import note_array
from m2m.core.rendering.bends import BentTime, read_out
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.score import Score
from m2m.core.tracks import Track, constant

RATE, FRAMES = 16_000, 125.0


def moving(frames: int, most: float, seed: int = 0) -> BentTime:
    draw = np.random.default_rng(seed).normal(size=frames).cumsum()
    return BentTime(most * draw / np.abs(draw).max(), FRAMES)


def sine(hz: float, seconds: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * hz * seconds).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 2400), st.integers(0, 99))
def test_time_passes_at_the_speed_of_the_bend(most: float, seed: int) -> None:
    time = moving(200, most, seed)
    at = np.linspace(0, 2.5, 40_001)
    passed = time.at(at)
    assert (np.diff(passed) > 0).all()
    between = np.interp((at[1:] + at[:-1]) / 2 * FRAMES, np.arange(201), time.speed)
    np.testing.assert_allclose(np.diff(passed) / np.diff(at), between, rtol=0.02)
    assert np.abs(time.frames(round(passed[-1] * FRAMES))[-1] - 2.5 * FRAMES) <= 120  # it ends where the cents do


def test_a_sine_in_its_own_time_is_a_sine_bent() -> None:
    time = moving(260, 200)
    own = sine(440, np.arange(RATE * 3) / RATE)
    blocks = [own[first:last] for first, last in pairwise([0, 7, 5000, 5001, 20_000, len(own)])]
    found = np.concatenate([*read_out(blocks, time, 2 * RATE, RATE)])
    wanted = sine(440, time.at(np.arange(2 * RATE) / RATE))
    assert np.abs(found - wanted)[200:].max() < 2e-3  # before the wave there is silence


def test_straight_time_changes_nothing_below_the_filters_band() -> None:
    wave = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    spectrum = np.fft.rfft(wave)
    spectrum[7000:] = 0  # of 8,000
    wave = np.fft.irfft(spectrum).astype(np.float32)
    (found,) = [np.concatenate([*read_out([wave], BentTime(np.zeros(125), FRAMES), RATE, RATE)])]
    assert np.abs(found - wave)[200:-200].max() < 0.01


def test_what_would_rise_above_the_band_is_filtered_out() -> None:
    time = BentTime(np.full(125, 700.0), FRAMES)
    own = sine(6000, np.arange(2 * RATE) / RATE)  # to 8,990 Hz
    found = np.concatenate([*read_out([own], time, RATE, RATE)])
    assert np.abs(found[200:]).max() < 0.01


def test_any_blocks_give_the_same() -> None:
    time, own = moving(200, 1200), np.random.default_rng(1).normal(size=RATE * 3).astype(np.float32)
    whole = np.concatenate([*read_out([own], time, RATE, RATE)])
    cut = np.concatenate([*read_out(np.array_split(own, 97), time, RATE, RATE)])
    assert np.array_equal(whole, cut)
    assert len(whole) == RATE


def test_nothing_is_asked_for_before_it_is_needed() -> None:
    asked: list[int] = []

    def blocks() -> object:
        for n in range(100):
            asked.append(n)
            yield np.zeros(1000, np.float32)

    stream = read_out(blocks(), BentTime(np.full(500, -100.0), FRAMES), 64_000, RATE)  # type: ignore[arg-type]
    next(stream)
    assert len(asked) <= 5


def strongest(wave: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 17))
    return float(spectrum.argmax() * RATE / (1 << 17))


@pytest.mark.parametrize(("key", "cents"), [(69, 150.0), (69, -250.0), (69, 1200.0)])
def test_a_bent_note_is_heard_at_its_pitch(pipeline: Pipeline, key: int, cents: float) -> None:
    notes = note_array([(0.0, 1.0, key, 100)])
    bend = np.array([[0.0, 0.0], [0.3, cents]])
    heard = pipeline.render(Score((Track("", 73, False, notes, constant(1.0), bend=bend),)), timbre="trumpet").audio
    for start, wanted in ((0.1, 440.0), (0.4, 440 * 2 ** (cents / 1200))):
        found = strongest(heard[int(start * RATE) : int((start + 0.18) * RATE)])
        harmonic = max(1, round(found / wanted))
        assert 1200 * np.log2(found / harmonic / wanted) == pytest.approx(0, abs=10)


def test_a_key_above_the_piano_is_heard_an_octave_above_its_own(pipeline: Pipeline) -> None:
    outside = note_array([(0.0, 1.0, 110, 100)])
    track = Track("", 80, False, note_array([]), constant(1.0), outside=outside)
    rendering = pipeline.render(Score((track,)), timbre="synth-lead")
    assert rendering.omissions == ()
    wanted = 440 * 2 ** ((110 - 69) / 12)
    assert strongest(rendering.audio[2000:12_000]) == pytest.approx(wanted, rel=0.006)


def test_straight_tracks_of_one_timbre_still_share_a_part(pipeline: Pipeline) -> None:
    rows = [note_array([(0.0, 0.5, key, 90)]) for key in (60, 64, 67)]
    bent = np.array([[0.0, 0.0], [0.2, 80.0]])
    tracks = tuple(
        Track("", 0, False, n, constant(1.0), bend=b)
        for n, b in zip(rows, (constant(0.0), bent, constant(0.0)), strict=True)
    )
    parts = pipeline.parts(Score(tracks), None, {})
    assert [[v.track for v in part.voices] for part in parts] == [[tracks[0], tracks[2]], [tracks[1]]]
    assert [len(part.voices) for part in pipeline.parts(Score(tracks), None, {}, apart=True)] == [1, 1, 1]
