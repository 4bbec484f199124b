"""The stages in a row, with the models that ship."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import torch
from numpy.typing import NDArray

from m2m.core.checkpoint import save_model, weights_hash
from m2m.core.choices import SampleFormat
from m2m.core.errors import M2MError
from m2m.core.mel import Mel, MelSpec
from m2m.core.plugins import registry
from m2m.core.rendering.pipeline import Pipeline, presence
from m2m.core.rendering.rerender import rerender
from m2m.core.score import NoteArray, from_pretty_midi, note_array
from m2m.core.vocoder import Vocoder
from m2m.vocoders.parallel_wavenet.network import Student, StudentConfig
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig

Array = NDArray[np.float32]


def score_of(*parts: tuple[int, list[int]], volume: int | None = None) -> pretty_midi.PrettyMIDI:
    """One instrument a part (program, keys), its keys struck one after the other, half a second each."""
    midi = pretty_midi.PrettyMIDI()
    for program, keys in parts:
        instrument = pretty_midi.Instrument(program, name=f"Part {program}")
        instrument.notes = [pretty_midi.Note(90, key, 0.5 * i, 0.5 * i + 0.4) for i, key in enumerate(keys)]
        if volume is not None:
            instrument.control_changes = [pretty_midi.ControlChange(7, volume, 0.0)]
        midi.instruments.append(instrument)
    return midi


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline()


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


def test_stems_add_up_to_the_mix(pipeline: Pipeline) -> None:
    score = from_pretty_midi(score_of((0, [60]), (56, [67])))
    rendering = pipeline.render(score, stems=True, gain=40.0)  # so loud that it must be rescaled
    assert "softer" in rendering.notice
    assert list(rendering.stems) == ["1-part-0", "2-part-56"]
    assert np.allclose(sum(rendering.stems.values()), rendering.audio, atol=1e-5)
    assert np.abs(rendering.audio).max() <= 1.0


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


def test_a_rendering_is_made_again_from_its_file(pipeline: Pipeline, tmp_path: Path) -> None:
    score_of((11, [60, 64])).write(str(tmp_path / "a.mid"))
    rendering = pipeline.render(tmp_path / "a.mid", timbre="vibraphone:2,trumpet:1", seed=7, programs={5: "trumpet"})
    rendering.save(tmp_path / "a.ogg")
    result = rerender(tmp_path / "a.ogg")
    assert result.same
    assert not result.changes
    score_of((11, [60, 65])).write(str(tmp_path / "a.mid"))
    changed = rerender(tmp_path / "a.ogg")
    assert not changed.same
    assert len(changed.changes) == 1
    assert changed.changes[0].startswith("score.sha256 was")
    (tmp_path / "a.mid").rename(tmp_path / "b.mid")
    with pytest.raises(M2MError, match="give it with --score"):
        rerender(tmp_path / "a.ogg")


@pytest.mark.parametrize("name", ["wavenet", "parallel-wavenet"])
def test_it_says_that_the_vocoders_weights_or_engine_are_others(name: str, tmp_path: Path) -> None:
    def train(seed: int) -> None:
        torch.manual_seed(seed)
        sizes = {"residual": 16, "skip": 16}
        made: Any = (
            Student(StudentConfig(flows=(2,), **sizes))
            if name == "parallel-wavenet"
            else WaveNet(WaveNetConfig(layers=2, classes=16, **sizes))
        )
        save_model(tmp_path / "vocoder", name, made.config, made, "")

    train(0)
    score_of((0, [60])).write(str(tmp_path / "a.mid"))
    options = {"model": str(tmp_path / "vocoder")}
    rendering = Pipeline(vocoder=name, vocoder_options=options).render(tmp_path / "a.mid")
    rendering.save(tmp_path / "a.wav")
    told = rendering.provenance["vocoder"]["provenance"]
    assert told["weights"] == weights_hash(tmp_path / "vocoder")
    assert {"engine", "precision"} < told.keys()
    again = rerender(tmp_path / "a.wav")
    assert again.same
    assert not again.changes
    train(1)
    other = rerender(tmp_path / "a.wav")
    assert not other.same
    (line,) = other.changes
    assert line.startswith(f"vocoder.provenance.weights was {told['weights']}, is ")
    # a file of an m2m before this told nothing of it: it is rendered all the same, and nothing is made up
    older = copy.deepcopy(rendering.provenance)
    del older["vocoder"]["provenance"]
    replace(rendering, provenance=older).save(tmp_path / "older.wav")
    assert rerender(tmp_path / "older.wav").changes == ()
    moved = copy.deepcopy(rendering.provenance)
    moved["vocoder"]["provenance"] = other.rendering.provenance["vocoder"]["provenance"] | {"engine": "an abacus"}
    replace(rendering, provenance=moved).save(tmp_path / "moved.wav")
    assert rerender(tmp_path / "moved.wav").changes == (
        f"vocoder.provenance.engine was an abacus, is {told['engine']}",
    )


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


def test_an_unknown_device_is_one_line() -> None:
    with pytest.raises(M2MError, match="there is no device 'warp'; give 'cpu'"):
        Pipeline(device="warp")


def test_the_python_api(tmp_path: Path) -> None:
    import m2m

    score_of((0, [60])).write(str(tmp_path / "a.mid"))
    rendering = m2m.render(tmp_path / "a.mid", timbre="vibraphone")
    assert repr(rendering) == "Rendering('a.mid', 2.4 s, film, griffin-lim)"
    assert "<audio controls src='data:audio/wav;base64,UklGR" in rendering._repr_html_()
    assert "&#x27;a.mid&#x27;, 2.4 s" in rendering._repr_html_()
    assert rendering.save(tmp_path / "a.flac").stat().st_size > 1000
    score = m2m.read_score(tmp_path / "a.mid")
    assert repr(score).startswith("Score('a.mid', 1 tracks, 1 notes")
    assert score._repr_html_().count("<rect") == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"clip_mode": "foo"}, "no clip mode 'foo'; there are rescale, clamp, none"),
        ({"programs": {"0": "trumpet"}}, "'0' is no General MIDI program"),
        ({"programs": {400: "trumpet"}}, "400 is no General MIDI program"),
        ({"seed": "x"}, "seed 'x' came, a whole number"),
        ({"score": b"MThd"}, "a bytes came as the score"),
    ],
)
def test_a_script_is_told_as_well(pipeline: Pipeline, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(M2MError, match=words):
        pipeline.render(**{"score": from_pretty_midi(score_of((0, [60])))} | wrong)


def test_a_programs_timbre_that_no_track_takes_is_told(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.play(from_pretty_midi(score_of((0, [60])), "one.mid"), programs={0: "trumpet", 5: "trumpet"})
    assert capsys.readouterr().err == "one.mid: no track has program 5, whose timbre was given\n"


@pytest.mark.parametrize(("name", "sample_format"), [("a.wav", None), ("a.wav", "float"), ("a.flac", "pcm24")])
def test_a_file_that_somebody_has_edited_is_not_the_same(
    pipeline: Pipeline, tmp_path: Path, name: str, sample_format: SampleFormat | None
) -> None:
    score_of((0, [60])).write(str(tmp_path / "a.mid"))
    made = pipeline.render(tmp_path / "a.mid")
    made.save(tmp_path / name, sample_format=sample_format)
    assert rerender(tmp_path / name).same
    made.audio[5000:6000] = 0
    made.save(tmp_path / name, sample_format=sample_format, overwrite=True)
    edited = rerender(tmp_path / name)
    assert not edited.same
    assert "it was cut or edited" in edited.changes[0]


def test_an_empty_part_has_an_empty_mel(pipeline: Pipeline) -> None:
    mel = Mel(np.zeros((0, 80), np.float32), pipeline.spec, note_array([]))
    assert list(pipeline.stream(mel, 0)) == []


@pytest.mark.parametrize("stems", [False, True])
def test_what_is_heard_while_it_is_rendered_is_what_is_rendered(pipeline: Pipeline, stems: bool) -> None:
    score = from_pretty_midi(score_of((0, list(range(60, 76))), (56, [67, 69]), volume=90))  # the second ends early
    played = pipeline.play(score, seed=2, gain=0.0, stems=stems)
    blocks = [block.copy() for block in played]
    whole = pipeline.render(score, seed=2, gain=0.0, stems=stems)
    assert len(blocks) > 1
    assert len(whole.audio) == pipeline.length(score) == sum(map(len, blocks))
    assert np.array_equal(np.concatenate(blocks), whole.audio)
    assert played.finish().provenance == whole.provenance


def test_the_first_block_does_not_wait_for_the_end_of_the_score(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = []
    predict = pipeline.model.predict_span

    def counted(notes: NoteArray, timbre: Array, first: int, last: int) -> Array:
        predicted.append((first, last))
        return predict(notes, timbre, first, last)

    monkeypatch.setattr(pipeline.model, "predict_span", counted)
    played = iter(pipeline.play(from_pretty_midi(score_of((0, [60] * 240)))))  # two minutes
    assert not predicted
    assert len(next(played)) == 8 * 16_000
    assert predicted == [(0, 1024)]
    played.close()  # type: ignore[attr-defined]


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
