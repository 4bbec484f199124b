"""Where parts are between left and right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
from numpy.typing import NDArray
from renderings import score_of

from m2m.core.errors import M2MError
from m2m.core.mel import Mel
from m2m.core.rendering.panning import channels_of, placement, side_gains
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.score import from_pretty_midi
from m2m.core.tracks import Track

BALANCE, PAN = 8, 10
SOUNDFONT = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
ORGAN = 16  # its samples loop: the level is the same from second to second
RATE = 16_000


def scored(*moves: tuple[int, float, int], program: int = 0, key: int = 60) -> pretty_midi.PrettyMIDI:
    """A score of a note of 0.4 s, with controllers (number, second, value)."""
    midi = score_of((program, [key]))
    midi.instruments[0].control_changes = [pretty_midi.ControlChange(n, value, at) for n, at, value in moves]
    return midi


def track(*moves: tuple[int, float, int]) -> Track:
    return from_pretty_midi(scored(*moves)).tracks[0]


def decibels(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    return 20 * np.log10(np.maximum(gains, 1e-6))


@pytest.fixture(scope="module")
def fluidsynth_levels() -> dict[int, NDArray[np.float64]]:
    """Left and right of an organ's note as FluidSynth plays it, in decibels of the centre, for each value of each controller."""
    fluidsynth = pytest.importorskip("fluidsynth", reason="FluidSynth is not installed", exc_type=ImportError)
    effects = {"synth.reverb.active": 0, "synth.chorus.active": 0}
    synth = fluidsynth.Synth(gain=0.4, samplerate=float(RATE), **effects)
    synth.program_select(0, synth.sfload(str(SOUNDFONT)), 0, ORGAN)
    synth.noteon(0, 60, 100)

    def level(controller: int, value: int) -> NDArray[np.float64]:
        synth.cc(0, controller, value)
        synth.get_samples(RATE // 4)  # it ramps from one level to the next
        heard = synth.get_samples(RATE).reshape(-1, 2).astype(np.float64)
        return np.asarray(np.sqrt((heard**2).mean(axis=0)))

    centre = level(PAN, 64)
    found = {}
    for controller in (PAN, BALANCE):
        found[controller] = decibels(np.stack([level(controller, value) for value in range(128)]) / centre)
        level(controller, 64)
    synth.delete()
    return found


@pytest.mark.parametrize("controller", [PAN, BALANCE])
def test_levels_are_fluidsynths(fluidsynth_levels: dict[int, NDArray[np.float64]], controller: int) -> None:
    theirs = fluidsynth_levels[controller]
    moved = [track((controller, 0.0, value)) for value in range(128)]
    ours = decibels(np.concatenate([side_gains(each, 0, 1, RATE) for each in moved]).astype(np.float64))
    audible = theirs > -50  # beneath is its dither
    assert np.abs(ours - theirs)[audible].max() < 0.5
    assert ours[~audible].max() < -48
    assert audible.sum() > 240
    both = audible.all(axis=1)
    assert np.abs((ours - theirs)[both] @ [1, -1]).max() < 0.5


def test_a_jump_is_a_ramp_of_constant_power() -> None:
    gains = side_gains(track((PAN, 0.0, 0), (PAN, 1.0, 127)), 0, 2 * RATE, RATE).astype(np.float64)
    assert np.allclose((gains**2).sum(axis=1), 2.0, atol=1e-5)
    assert np.allclose(gains[: RATE - 1], [np.sqrt(2), 0], atol=1e-6)
    assert np.allclose(gains[RATE + 160 :], gains[-1])
    assert gains[-1, 1] > 1.41
    assert 0 < np.abs(np.diff(gains, axis=0)).max() < 1.1 * np.sqrt(2) * (np.pi / 2) / 160  # 10 ms are 160 samples


@pytest.mark.parametrize("size", [1, 7, 160, 5000])
def test_blocks_of_any_size_have_the_same_gains(size: int) -> None:
    moved = track((PAN, 0.0, 20), (PAN, 0.1, 100), (PAN, 0.105, 64), (BALANCE, 0.2, 10), (BALANCE, 0.3, 90))
    whole = side_gains(moved, 0, RATE // 2, RATE)
    blocks = [side_gains(moved, at, min(at + size, len(whole)), RATE) for at in range(0, len(whole), size)]
    assert np.allclose(np.concatenate(blocks), whole, atol=1e-6)


@pytest.mark.parametrize("moves", [(), ((PAN, 0.0, 64),), ((BALANCE, 0.5, 64), (PAN, 1.0, 64))])
def test_a_part_at_the_centre_is_mono(moves: tuple[tuple[int, float, int], ...]) -> None:
    assert placement(track(*moves)) is None
    assert channels_of([track(*moves)]) == 1
    assert channels_of([track(*moves)], 2) == 2
    assert np.array_equal(side_gains(track(*moves), 0, 99, RATE), np.ones((99, 2)))


@pytest.mark.parametrize("move", [(PAN, 0.3, 63), (BALANCE, 0.3, 65)])
def test_a_part_that_ever_leaves_the_centre_is_stereo(move: tuple[int, float, int]) -> None:
    assert channels_of([track(), track(move)]) == 2
    assert channels_of([track(move)], 1) == 1
    with pytest.raises(M2MError, match="3 channels came, 1 or 2 were wanted"):
        channels_of([track(move)], 3)


def test_a_mix_is_as_its_parts_are_panned(pipeline: Pipeline) -> None:
    centre = pipeline.render(from_pretty_midi(scored()), gain=0.0)
    assert centre.audio.ndim == 1
    stereo = pipeline.render(from_pretty_midi(scored()), gain=0.0, channels=2)
    assert np.array_equal(stereo.audio, np.stack([centre.audio] * 2, axis=1))

    score = from_pretty_midi(scored((PAN, 0.0, 20)))
    panned = pipeline.render(score, gain=0.0)
    assert panned.audio.dtype == np.float32
    assert np.allclose(panned.audio, centre.audio[:, None] * side_gains(score.tracks[0], 0, 1, RATE), atol=1e-6)
    assert np.array_equal(pipeline.render(score, gain=0.0, channels=1).audio, centre.audio)
    assert (panned.provenance["channels"], centre.provenance["channels"]) == (2, 1)
    assert not panned.omissions


def test_parts_at_two_places_are_kept_apart(pipeline: Pipeline) -> None:
    left, right = scored((PAN, 0.0, 0), key=48), scored((PAN, 0.0, 127), key=79)
    left.instruments += right.instruments
    score = from_pretty_midi(left)
    assert len(pipeline.parts(score, None, {})) == 1  # in mono they are one
    assert len(pipeline.parts(score, None, {}, channels=2)) == 2
    made = pipeline.render(score, gain=0.0, stems=True)
    first, second = made.stems.values()
    assert first.shape == made.audio.shape
    assert not first[:, 1].any()
    assert np.abs(first).max() > 0.01
    assert np.abs(second[:, 0]).max() < 0.02 * np.abs(second[:, 1]).max()
    assert np.allclose(first + second, made.audio, atol=1e-6)


def test_a_stereo_mix_is_the_same_block_by_block(pipeline: Pipeline) -> None:
    midi = score_of((0, list(range(60, 76))), (56, [67, 69]))
    for instrument, values in zip(midi.instruments, ([0, 127, 30], [100]), strict=True):
        moves = [pretty_midi.ControlChange(PAN, value, 2.5 * at) for at, value in enumerate(values)]
        instrument.control_changes = moves
    score = from_pretty_midi(midi)
    played = pipeline.play(score, gain=30.0)
    blocks = [block.copy() for block in played]
    assert len(blocks) > 1
    whole = pipeline.render(score, gain=30.0)
    loudest = float(np.abs(np.concatenate(blocks)).max())
    assert loudest > 1
    assert np.array_equal(np.concatenate(blocks) / np.float32(loudest), whole.audio)  # one gain for both channels
    assert "softer" in whole.notice


@pytest.mark.parametrize("size", [1000, 4099])
def test_a_mix_is_the_same_whatever_the_vocoders_blocks(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    midi = scored((PAN, 0.0, 20), (PAN, 0.2, 90), (BALANCE, 0.3, 100))
    midi.instruments += scored((PAN, 0.1, 127), program=56, key=67).instruments
    score = from_pretty_midi(midi)
    whole = pipeline.render(score, gain=0.0, effects=True).audio
    stream = pipeline.stream

    def in_pieces(mel: Mel, seed: int) -> Iterator[NDArray[np.float32]]:
        for block in stream(mel, seed):
            yield from np.split(block, range(size, len(block), size))

    monkeypatch.setattr(pipeline, "stream", in_pieces)
    assert np.allclose(pipeline.render(score, gain=0.0, effects=True).audio, whole, atol=1e-5)
