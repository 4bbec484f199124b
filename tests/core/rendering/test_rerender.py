"""A file is rendered again from its tags, and what has changed is named."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pretty_midi
import pytest
import soundfile
import torch
from renderings import score_of

from m2m.core.checkpoint import save_model, weights_hash
from m2m.core.choices import SampleFormat
from m2m.core.errors import M2MError
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.rendering.rerender import rerender
from m2m.vocoders.parallel_wavenet.network import Student, StudentConfig
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig


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


def test_a_file_has_as_many_channels_again_and_an_older_one_is_mono(pipeline: Pipeline, tmp_path: Path) -> None:
    midi = score_of((0, [60]))
    midi.instruments[0].control_changes = [pretty_midi.ControlChange(10, 20, 0.0)]
    midi.write(str(tmp_path / "a.mid"))
    for name, channels in (("stereo.flac", None), ("mono.wav", 1)):
        made = pipeline.render(tmp_path / "a.mid", channels=channels)
        made.save(tmp_path / name)
        assert soundfile.info(tmp_path / name).channels == made.provenance["channels"]
        again = rerender(tmp_path / name)
        assert again.same
        assert again.rendering.audio.shape == made.audio.shape
    older = {name: told for name, told in made.provenance.items() if name != "channels"}
    replace(made, provenance=older).save(tmp_path / "older.wav")
    assert rerender(tmp_path / "older.wav").same
