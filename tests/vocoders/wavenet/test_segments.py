"""Segments of one piece: where it is cut, and whether a join can be seen in its wave."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from m2m.core.checkpoint import save_model
from m2m.core.mel import LazyMel, Mel, MelSpec, log_mel
from m2m.core.score import note_array
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig
from m2m.vocoders.wavenet.segments import FADE, SEARCH, Segment, crossfade, cut, join, normalised_correlation
from m2m.vocoders.wavenet.vocoder import WaveNetOptions, WaveNetVocoder

SPEC = MelSpec()
HOP, RATE = SPEC.hop_length, SPEC.sample_rate
TAIL = 3
LEAD = 20


def flat(frames: int) -> Mel:
    return Mel(np.zeros((frames, 80), np.float32), SPEC)


def rendered(segments: list[Segment], wave: Any) -> list[tuple[Segment, np.ndarray]]:
    """What a renderer would make of each segment: `wave` is a function of its number and the samples' places."""
    return [(s, wave(s.number, np.arange(s.start * HOP, s.stop * HOP)).astype(np.float32)) for s in segments]


@given(
    frames=st.integers(1, 2000),
    seconds=st.one_of(st.just(0.0), st.floats(0.25, 20)),
    lead=st.integers(0, 30),
    tail=st.integers(0, 5),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_the_parts_are_the_piece(frames: int, seconds: float, lead: int, tail: int, seed: int) -> None:
    mel = np.random.default_rng(seed).uniform(-11, 0, (frames, 80)).astype(np.float32)
    segments = list(cut(Mel(mel, SPEC), seconds, lead, tail))
    assert [s.number for s in segments] == list(range(len(segments)))
    assert [s.first for s in segments] == [0, *(s.last for s in segments[:-1])]
    assert segments[-1].last == frames
    for s in segments:
        assert (s.start, s.stop) == (max(0, s.first - lead), min(frames, s.last + tail))
        if len(segments) > 1:
            assert 0.4 * seconds * SPEC.frame_rate - 2 <= s.last - s.first <= 2.3 * seconds * SPEC.frame_rate + 2


def test_a_piece_is_cut_in_its_rests_and_before_its_onsets() -> None:
    mel = np.full((1000, 80), -3.0, np.float32)
    mel[230:250] = SPEC.silence  # a rest, a little before two seconds
    mel[500:] = -1.0  # louder from four seconds on
    mel[760:] = np.linspace(-1, -6, 240)[:, None]  # dying away from six
    first, second, third = (s.first for s in list(cut(Mel(mel, SPEC), 2.0, LEAD, TAIL))[1:])
    assert 232 <= first < 248
    assert 498 - 2 <= second <= 498
    assert third > 750


def test_of_one_wave_the_join_is_that_wave() -> None:
    noise = np.random.default_rng(0).standard_normal(1000 * HOP)
    segments = list(cut(flat(1000), 2.0, LEAD, TAIL))
    joined = np.concatenate(list(join(rendered(segments, lambda _, at: noise[at]), SPEC, 1000)))
    assert joined.shape == (1000 * HOP,)
    assert np.abs(joined - noise.astype(np.float32)).max() < 1e-6


@pytest.mark.parametrize("pitch", [55.0, 61.7, 220.0, 1000.0, 3520.0])
def test_a_tone_of_another_phase_goes_on_as_one(pitch: float) -> None:
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, 9)
    segments = list(cut(flat(1000), 1.0, LEAD, TAIL))
    waves = rendered(segments, lambda number, at: np.sin(2 * np.pi * pitch / RATE * at + phases[number]))
    joined = np.concatenate(list(join(waves, SPEC, 1000)))
    period = round(RATE / pitch)
    level = np.sqrt(np.convolve(joined**2, np.ones(4 * period) / (4 * period), "valid")) * 2**0.5
    assert 20 * np.log10(level.min()) > -0.7  # a sample is 3,520 Hz moved by half its period at most
    assert 20 * np.log10(level.max()) < 0.7
    assert np.abs(np.diff(joined, 2)).max() < 1.5 * (2 * np.pi * pitch / RATE) ** 2 + 0.02  # no click


def test_noise_keeps_its_level() -> None:
    segments = list(cut(flat(1000), 0.5, LEAD, TAIL))
    draw = np.random.default_rng(2)
    waves = [(s, draw.standard_normal((s.stop - s.start) * HOP).astype(np.float32)) for s in segments]
    joined = np.concatenate(list(join(waves, SPEC, 1000)))
    fade = int(FADE * RATE)
    at_joins = np.mean([np.square(joined[s.first * HOP - fade // 2 :][:fade]).mean() for s in segments[1:]])
    assert abs(10 * np.log10(at_joins)) < 1.0


def test_likeness_and_crossfade() -> None:
    draw = np.random.default_rng(3)
    long, other = draw.standard_normal((2, 600)).astype(np.float32)
    alike = normalised_correlation(long[200:300], long)
    assert alike.shape == (501,)
    assert alike.argmax() == 200
    assert alike[200] == pytest.approx(1)
    assert np.abs(normalised_correlation(long[:100], np.zeros(150, np.float32))).max() == 0
    faded = crossfade(long, other, 0.0)
    assert faded[0] == pytest.approx(long[0], abs=0.01)
    assert faded[-1] == pytest.approx(other[-1], abs=0.01)


def test_a_segment_moves_within_what_was_rendered_for_it() -> None:
    """Even with no lead and no tail to spare, and at the end of a piece, where nothing comes after."""
    segments = list(cut(flat(500), 2.0, 2, 1))
    waves = rendered(segments, lambda number, at: np.sin(0.05 * at + number))
    joined = np.concatenate(list(join(waves, SPEC, 500)))
    assert joined.shape == (500 * HOP,)
    assert int(SEARCH * RATE) > 1 * HOP


# --- the vocoder ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = WaveNetConfig(layers=3, residual=16, skip=16, classes=16, upsample=((128, 128),), condition_on_notes=True)
    folder = tmp_path_factory.mktemp("wavenet") / "model"
    save_model(folder, "wavenet", config, WaveNet(config), "")
    return folder


def make(folder: Path, **options: Any) -> WaveNetVocoder:
    return WaveNetVocoder(WaveNetOptions(model=str(folder), **options))


def random_mel(frames: int, seed: int = 0) -> Mel:
    return Mel(log_mel(np.random.default_rng(seed).standard_normal(frames * HOP).astype(np.float32) * 0.1, SPEC), SPEC)


def test_the_number_of_streams_changes_no_sample(folder: Path) -> None:
    mel = random_mel(260)
    one, five = (make(folder, segment=0.3, streams=streams).synthesize(mel, seed=4) for streams in (1, 5))
    assert one.shape == (mel.samples,)
    assert np.array_equal(one, five)
    assert len(list(make(folder, segment=0.3, streams=2).stream(mel, 4))) == 7  # as it is made, not at the end
    assert not np.array_equal(one, make(folder, segment=0.4).synthesize(mel, seed=4))


def test_music_begins_before_the_end_of_the_mel_is_known(folder: Path) -> None:
    whole, made = random_mel(1000), []

    def make_span(first: int, last: int) -> np.ndarray:
        made.append(last)
        return whole.values[first:last]

    spans = [(first, first + 50) for first in range(0, 1000, 50)]
    stream = make(folder, segment=0.4, streams=2).stream(LazyMel(make_span, spans, SPEC), 4)
    blocks = [next(stream)]
    assert max(made) <= 200  # two segments of 50 frames, and where the next may be cut
    wave = np.concatenate([*blocks, *stream])
    assert np.array_equal(wave, make(folder, segment=0.4).synthesize(whole, seed=4))


def test_several_mels_share_the_streams(folder: Path) -> None:
    made = make(folder, segment=0.3, streams=4)
    mels = [random_mel(frames, seed=frames) for frames in (100, 1, 230)]
    waves = made.batch([*mels, Mel(np.zeros((0, 80), np.float32), SPEC)], seed=3)
    assert waves.pop().shape == (0,)
    for mel, wave in zip(mels, waves, strict=True):
        assert np.array_equal(wave, made.synthesize(mel, seed=3))


def test_a_comb_joins_without_being_moved(tmp_path: Path) -> None:
    config = WaveNetConfig(
        layers=3, residual=16, skip=16, classes=16, upsample=((128, 128),), excitation=EXCITATION_VERSION
    )
    model = WaveNet(config)
    torch.nn.init.zeros_(model.end.weight)  # the same is always added, so that what sounds is the excitation
    save_model(tmp_path / "model", "wavenet", config, model, "")
    mel = Mel(random_mel(260).values, SPEC, note_array([(0.0, 2.0, 40, 100), (0.1, 2.0, 69, 100)]))
    one, many = (make(tmp_path / "model", segment=s, temperature=0).synthesize(mel) for s in (0, 0.3))
    assert np.abs(one).max() > 0.01
    assert np.allclose(one, many, atol=1e-5)


def test_in_one_stream_nothing_is_joined(folder: Path) -> None:
    made, mel = make(folder, segment=0), random_mel(300)
    features = made.model.features_of(mel)
    (codes,) = made.engine.generate([features], 1)
    assert np.array_equal(made.synthesize(mel, seed=1), made._wave(codes, features))


def test_segments_that_are_all_join_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"shorter than 0\.25 s; 0 renders a piece in one"):
        WaveNetOptions(segment=0.1)
