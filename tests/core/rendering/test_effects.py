"""Reverb and chorus by a track's sends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
from numpy.typing import NDArray
from renderings import score_of

from m2m.core.rendering.effects import Effects, impulses, sends
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.rendering.rerender import rerender
from m2m.core.score import from_pretty_midi
from m2m.core.tracks import Track

REVERB, CHORUS, PAN = 91, 93, 10
RATE = 16_000


def scored(*moves: tuple[int, float, int]) -> pretty_midi.PrettyMIDI:
    """A score of a note of 0.4 s, with controllers (number, second, value)."""
    midi = score_of((0, [60]))
    midi.instruments[0].control_changes = [pretty_midi.ControlChange(n, value, at) for n, at, value in moves]
    return midi


def track(*moves: tuple[int, float, int]) -> Track:
    return from_pretty_midi(scored(*moves)).tracks[0]


def in_blocks(effects: Effects, wave: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    blocks = [effects(wave[at : at + size], at) for at in range(0, len(wave), size)]
    return np.concatenate([*blocks, effects.rest])


NOISE = np.random.default_rng(0).uniform(-1, 1, 6000).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2])
def test_it_is_a_convolution_whatever_the_blocks(channels: int) -> None:
    sent = track((REVERB, 0.0, 100), (CHORUS, 0.0, 60))
    reverb, chorus = impulses(RATE)
    expected = np.zeros((len(NOISE) + len(reverb) - 1, channels))
    for side in range(channels):
        expected[:, side] = np.convolve(NOISE * 100 / 127, reverb[:, side])
        expected[: len(NOISE) + len(chorus) - 1, side] += np.convolve(NOISE * 60 / 127, chorus[:, side])
    for size in (6000, 1000, 777, 300):
        assert np.allclose(in_blocks(Effects(sent, RATE, channels), NOISE, size), expected, atol=1e-5)


def test_a_send_is_followed_and_without_one_nothing_is_added() -> None:
    assert [curve[0, 1] for curve in sends(track()).values()] == [40, 0]
    silent = Effects(track((REVERB, 0.0, 0)), RATE, 2)
    assert not in_blocks(silent, NOISE, 500).any()
    late = in_blocks(Effects(track((REVERB, 0.0, 0), (CHORUS, 0.2, 127)), RATE, 2), NOISE, 500)
    assert np.abs(late[: RATE // 5]).max() < 1e-9
    assert np.abs(late[RATE // 5 :]).max() > 0.1


def test_the_reverb_dies_away_and_fills_both_sides() -> None:
    reverb, _ = impulses(RATE)
    energy = (reverb[:, 0] ** 2)[::-1].cumsum()[::-1]
    decay = 10 * np.log10(energy / energy[0])
    assert -20 < decay[int(0.3 * RATE)] < -10
    assert -70 < decay[int(1.5 * RATE)] < -50
    assert not reverb[: int(0.014 * RATE)].any()
    left, right = reverb.T
    assert abs(left @ right) < 0.05 * (left @ left)


@pytest.mark.parametrize("stems", [False, True])
def test_a_wet_mix_is_the_dry_one_and_its_effects(pipeline: Pipeline, stems: bool) -> None:
    score = from_pretty_midi(scored((PAN, 0.0, 20), (REVERB, 0.0, 127), (CHORUS, 0.0, 30)))
    mono = pipeline.render(score, gain=0.0, channels=1).audio
    dry = pipeline.render(score, gain=0.0, clip_mode="none")
    wet = pipeline.render(score, gain=0.0, clip_mode="none", effects=True, stems=stems)
    added = Effects(score.tracks[0], RATE, 2)(mono, 0)
    assert np.allclose(wet.audio, dry.audio + added, atol=1e-5)
    assert np.abs(added).max() > 0.01
    if stems:
        assert np.allclose(sum(wet.stems.values()), wet.audio, atol=1e-6)


def test_a_part_that_has_ended_rings_on_in_every_block_that_is_heard(pipeline: Pipeline) -> None:
    midi = scored((REVERB, 0.0, 127))
    midi.instruments += score_of((56, [60] * 24)).instruments  # twelve seconds, in more blocks than one
    midi.instruments[1].control_changes = [pretty_midi.ControlChange(REVERB, 0, 0.0)]
    score = from_pretty_midi(midi)
    played = pipeline.play(score, gain=0.0, effects=True, stems=True)
    blocks = [block.copy() for block in played]
    assert len(blocks) > 1
    assert np.array_equal(np.concatenate(blocks), played.mix)
    first, second = played.stems.values()
    assert np.abs(first[int(2.5 * RATE) : 3 * RATE]).max() > 0  # its notes end at 0.4 s, its mel at 2.4 s
    assert np.allclose(first + second, played.mix, atol=1e-6)
    assert np.array_equal(played.finish().audio, pipeline.render(score, gain=0.0, effects=True, stems=True).audio)


def test_a_wet_file_is_rendered_again_from_its_tags(pipeline: Pipeline, tmp_path: Path) -> None:
    scored().write(str(tmp_path / "a.mid"))
    made = pipeline.render(tmp_path / "a.mid", effects=True)
    assert made.audio.ndim == 1  # effects alone make no stereo
    made.save(tmp_path / "a.wav")
    assert soundfile.info(tmp_path / "a.wav").channels == 1
    assert rerender(tmp_path / "a.wav").same
    assert not np.array_equal(made.audio, pipeline.render(tmp_path / "a.mid").audio)
