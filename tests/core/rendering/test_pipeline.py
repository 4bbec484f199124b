"""The stages in a row, with the models that ship."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
from numpy.typing import NDArray
from renderings import score_of

from m2m.core.errors import M2MError
from m2m.core.mel import Mel, MelSpec
from m2m.core.model_folders import WEIGHTS, shipped
from m2m.core.plugins import registry
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.rendering.presence import audible, presence
from m2m.core.score import Score, Track, constant, from_pretty_midi, note_array
from m2m.core.vocoder import Vocoder

Array = NDArray[np.float32]


def pitch_of(wave: np.ndarray, rate: int, near: float) -> float:
    """The strongest frequency within a semitone of `near`, Hz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 16))
    bins = np.fft.rfftfreq(1 << 16, 1 / rate)
    window = np.abs(np.log2(bins.clip(1) / near)) < 1 / 12
    return float(bins[window][spectrum[window].argmax()])


def test_what_is_played_is_what_is_written(pipeline: Pipeline) -> None:
    rendering = pipeline.render(from_pretty_midi(score_of((0, [69, 72]))))
    assert rendering.sample_rate == 16_000
    assert rendering.seconds == pytest.approx(0.9 + 2.0, abs=0.01)
    assert np.isfinite(rendering.audio).all()
    for at, frequency in ((0.05, 440.0), (0.55, 523.25)):
        heard = rendering.audio[int(at * 16_000) : int((at + 0.35) * 16_000)]
        assert pitch_of(heard, 16_000, frequency) == pytest.approx(frequency, rel=0.01)
        assert np.sqrt((heard**2).mean()) > 0.01
    assert np.abs(rendering.audio[-3200:]).max() < 0.05 * np.abs(rendering.audio).max()  # the release has faded


def test_same_seed_same_samples(pipeline: Pipeline) -> None:
    score = from_pretty_midi(score_of((56, [60])))
    first, again, other = (pipeline.render(score, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.audio, again.audio)
    assert first.provenance == again.provenance
    assert not np.array_equal(first.audio, other.audio)


def test_each_track_takes_the_timbre_of_its_program(pipeline: Pipeline) -> None:
    score = from_pretty_midi(score_of((0, [60]), (40, [64]), (0, [67])))
    assert [(part.name, len(part.tracks)) for part in pipeline.parts(score, None, {})] == [
        ("grand-piano", 2),
        ("string-ensemble", 1),
    ]
    assert [part.name for part in pipeline.parts(score, None, {40: "trumpet"})] == ["grand-piano", "trumpet"]
    assert [(part.name, len(part.tracks)) for part in pipeline.parts(score, "vibraphone", {})] == [("vibraphone", 3)]
    assert len(pipeline.parts(score, "vibraphone", {}, apart=True)) == 3


def test_volume_is_mixed_in(pipeline: Pipeline) -> None:
    loud, soft = (
        pipeline.render(from_pretty_midi(score_of((19, [60, 60]), volume=volume)), gain=0.0) for volume in (100, 50)
    )
    ratio = np.sqrt((soft.audio**2).mean() / (loud.audio**2).mean())
    assert ratio == pytest.approx(0.25, rel=0.01)


def test_a_timbre_path_moves_the_spectrum(pipeline: Pipeline) -> None:
    midi = pretty_midi.PrettyMIDI()
    instrument = pretty_midi.Instrument(0)
    instrument.notes = [pretty_midi.Note(90, 60, 0.5 * i, 0.5 * i + 0.45) for i in range(8)]
    midi.instruments.append(instrument)
    part = pipeline.parts(from_pretty_midi(midi), "0:vibraphone,4:trumpet", {})[0]
    mel = pipeline.mel(part, 4.0).values
    still = pipeline.mel(pipeline.parts(from_pretty_midi(midi), "vibraphone", {})[0], 4.0).values
    assert np.abs(mel[:50] - still[:50]).mean() < np.abs(mel[-100:-50] - still[-100:-50]).mean()


def test_a_score_without_a_playable_note_says_what_was_left_out(pipeline: Pipeline) -> None:
    midi = pretty_midi.PrettyMIDI()
    drums = pretty_midi.Instrument(0, is_drum=True)
    drums.notes = [pretty_midi.Note(90, 38, 0.0, 0.1)]
    midi.instruments.append(drums)
    with pytest.raises(M2MError, match="no note that can sound: drum notes left out"):
        pipeline.render(from_pretty_midi(midi))


@pytest.fixture(scope="module")
def band() -> Pipeline:
    """A pipeline whose model has a drum kit."""
    return Pipeline(model="mel2mel-gm")


def song() -> Score:
    """A violin and drums."""
    midi = score_of((40, [64]))
    drums = pretty_midi.Instrument(0, is_drum=True)
    drums.notes = [pretty_midi.Note(110, 38, 0.25 * i, 0.25 * i + 0.1) for i in range(8)]
    midi.instruments.append(drums)
    return from_pretty_midi(midi)


def test_a_model_with_a_drum_kit_plays_drums(band: Pipeline) -> None:
    assert [part.name for part in band.parts(song(), None, {})] == ["violin", "standard-kit"]
    assert [part.name for part in band.parts(song(), "flute", {})] == ["flute", "standard-kit"]  # drums are left alone
    whole = band.render(song(), stems=True, gain=0.0)
    assert whole.omissions == ()
    violin, drums = whole.stems.values()
    assert np.allclose(violin + drums, whole.audio, atol=1e-6)
    rate = whole.sample_rate
    loud = [np.sqrt((drums[round(s * rate) :][: rate // 20] ** 2).mean()) for s in (0.51, 0.7)]
    assert loud[0] > 2 * loud[1]  # a stroke, and the time before the next


def test_drums_are_given_no_oscillators(band: Pipeline) -> None:
    violin, drums = band.parts(song(), None, {})
    assert band.mel(violin, 1.0).notes is not None
    assert band.mel(drums, 1.0).notes is None


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"track:1": "standard-kit"}, "timbre 'standard-kit' came for track 1, which is no drums; an instrument's was"),
        ({"track:2": "violin"}, "timbre 'violin' came for track 2, which is drums; a drum kit's was wanted"),
        ({"track:1": "violin,standard-kit:2"}, "standard-kit is a drum kit and violin is none; they cannot be mixed"),
    ],
)
def test_kits_play_drums_only(band: Pipeline, chosen: dict[int | str, str], words: str) -> None:
    with pytest.raises(M2MError, match=words):
        band.parts(song(), None, chosen)


def test_a_vocoder_made_for_another_mel_is_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    griffin_lim = registry.load("vocoder", "griffin-lim")
    monkeypatch.setattr(griffin_lim, "mel_spec", MelSpec(fmax=7600.0, log="log10"))
    with pytest.raises(M2MError, match=r"fmax is 8000.0, wanted 7600.0; log is 'natural', wanted 'log10'"):
        Pipeline()


BROKEN = {
    "NaN": (lambda mel: np.full(mel.samples, np.nan, np.float32), "NaN"),
    "short": (lambda mel: np.zeros(mel.samples - 1, np.float32), "of a mel of"),
    "long": (lambda mel: np.zeros(mel.samples + 1, np.float32), "of a mel of"),
    "float64": (lambda mel: np.zeros(mel.samples), "float64"),
    "list": (lambda mel: [0.0], "list"),
    "raises": (lambda mel: 1 / 0, "ZeroDivisionError"),
    "exits": (lambda mel: exit(3), "SystemExit"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_vocoder_that_breaks_its_contract_is_named(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    answer, words = BROKEN[fault]

    def stream(self: Vocoder, mel: Mel, seed: int):  # type: ignore[no-untyped-def]
        yield answer(mel)

    monkeypatch.setattr(type(pipeline.vocoder), "stream", stream)
    with pytest.raises(M2MError, match=f"vocoder 'griffin-lim' of m2m .*{words}"):
        pipeline.render(from_pretty_midi(score_of((0, [60]))))


def test_a_conditioner_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline()
    score = from_pretty_midi(score_of((0, [60])))
    monkeypatch.setattr(type(pipeline.model.before), "forward", lambda self, features, timbre: features[..., :3])
    with pytest.raises(M2MError, match=r"conditioner 'film' of m2m .* broke its contract: it made \("):
        pipeline.render(score)
    monkeypatch.setattr(type(pipeline.model.before), "forward", lambda self, features, timbre: 1 / 0)
    with pytest.raises(M2MError, match=r"conditioner 'film' of m2m .*ZeroDivisionError"):
        pipeline.render(score)
    monkeypatch.setattr(type(pipeline.model.encoder), "encode", lambda self, *_: np.zeros((1, 2), np.float32))
    with pytest.raises(M2MError, match=r"encoder 'onsets-frames-decay' of m2m .* its roll has shape \(1, 2\)"):
        pipeline.render(score)


def test_a_rest_is_silent(pipeline: Pipeline) -> None:
    midi = pretty_midi.PrettyMIDI()
    strings = pretty_midi.Instrument(48)
    strings.notes = [pretty_midi.Note(90, 60, 3.0, 3.5), pretty_midi.Note(90, 60, 12.0, 12.5)]
    midi.instruments.append(strings)
    wave = pipeline.render(from_pretty_midi(midi)).audio
    level = [
        np.abs(wave[int(a * 16_000) : int(b * 16_000)]).max() for a, b in ((0, 2.8), (3, 3.5), (6, 11.8), (12, 12.5))
    ]
    assert min(level[1], level[3]) > 0.01
    assert max(level[0], level[2]) < 1e-4


def test_presence_falls_after_the_last_release_and_is_back_before_the_next_onset() -> None:
    notes = note_array([(1.0, 9.0, 60, 90), (2.0, 3.0, 64, 90), (20.0, 21.0, 60, 90)])
    curve = presence(notes, 0, 24 * 125, MelSpec())
    assert [float(curve[int(s * 125)]) for s in (0.9, 0.98, 5.0, 9.9, 10.5, 11.1, 19.9, 19.98, 20.5)] == pytest.approx(
        [0, 1, 1, 1, 0.5, 0, 0, 1, 1], abs=0.01
    )
    assert not presence(note_array([]), 0, 10, MelSpec()).any()


@pytest.mark.parametrize(("wrong", "words"), [({"gain": float("nan")}, "gain nan"), ({"seed": -1}, "seed -1")])
def test_numbers_that_make_no_sense(pipeline: Pipeline, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(M2MError, match=words):
        pipeline.render(from_pretty_midi(score_of((0, [60]))), **wrong)


def test_a_vocoders_options_are_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    shutil.copytree(shipped() / "mel2mel-film", tmp_path / "model")
    (tmp_path / "model" / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(M2MError, match="there is no option 'passes'"):
        Pipeline(model=tmp_path / "model", vocoder_options={"passes": 3})
    with pytest.raises(M2MError, match="cannot read the weights"):
        Pipeline(model=tmp_path / "model")


def test_an_unknown_device_is_one_line() -> None:
    with pytest.raises(M2MError, match="there is no device 'warp'; give 'cpu'"):
        Pipeline(device="warp")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"clip_mode": "foo"}, "no clip mode 'foo'; there are rescale, clamp, none"),
        (
            {"programs": {"Bass": "trumpet"}},
            "'Bass' selects no track: a General MIDI program, 0 to 127, 'track:NUMBER'",
        ),
        ({"programs": {400: "trumpet"}}, "400 selects no track: a General MIDI program"),
        ({"seed": "x"}, "seed 'x' came, a whole number"),
        ({"score": b"MThd"}, "a bytes came as the score"),
    ],
)
def test_a_script_is_told_as_well(pipeline: Pipeline, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(M2MError, match=words):
        pipeline.render(**{"score": from_pretty_midi(score_of((0, [60])))} | wrong)


def test_a_programs_timbre_that_no_track_takes_is_told(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.play(from_pretty_midi(score_of((0, [60])), "one.mid"), programs={0: "trumpet", 5: "trumpet"})
    assert capsys.readouterr().err == "one.mid: no track that plays is program 5, whose timbre was given\n"


def test_an_empty_part_has_an_empty_mel(pipeline: Pipeline) -> None:
    mel = Mel(np.zeros((0, 80), np.float32), pipeline.spec, note_array([]))
    assert list(pipeline.stream(mel, 0)) == []


def test_a_preview_adds_up_what_sounds_together(pipeline: Pipeline) -> None:
    score = from_pretty_midi(score_of((0, [60, 64, 67, 72])))
    (part,) = pipeline.parts(score, "grand-piano", {})
    alone = pipeline.preview([(part.notes, part.timbre)], 0.5, 1.5)
    assert alone.values.shape == (125 + 1, 80)
    whole = pipeline.mel(part, score.duration + 2.0).values[62:188]
    apart = np.abs(alone.values - whole)  # a preview sees less of the notes around it: the weights say how much that is
    assert apart.mean() < 0.1
    assert apart.max() < 1.0
    twice = pipeline.preview([(part.notes, part.timbre)] * 2, 0.5, 1.5)
    assert np.allclose(twice.values, alone.values + np.log(2), atol=1e-4)


def test_rests_are_not_predicted(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    predicted: list[tuple[int, int]] = []
    predict = pipeline.model.predict_span

    def noted(notes: Any, curve: Any, first: int, last: int) -> Any:
        predicted.append((first, last))
        return predict(notes, curve, first, last)

    monkeypatch.setattr(pipeline.model, "predict_span", noted)
    (part,) = pipeline.parts(score_at(0.5, 60.5), "trumpet", {})
    mel = pipeline.mel(part, 62.0).values
    assert sum(last - first for first, last in predicted) <= 2 * 1024
    assert (mel[: 2 * 125].max(axis=1) > -6).any()
    assert (mel[60 * 125 :].max(axis=1) > -6).any()
    assert (mel[10 * 125 : 50 * 125] == np.float32(pipeline.spec.silence)).all()


def test_audible_runs() -> None:
    there = np.zeros(1000, np.float32)
    there[[250, 320, 999]] = 1
    assert list(audible(there, 100)) == [(200, 400), (900, 1000)]
    assert list(audible(there[:190], 100)) == []


def score_at(*seconds: float) -> Score:
    """A note of half a second at each of some seconds."""
    notes = note_array((second, second + 0.5, 60, 90) for second in seconds)
    return Score((Track("", 56, False, notes, constant(1.0)),))
