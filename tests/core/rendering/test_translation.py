"""A recording on another instrument: its notes, its level and its length are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2m.core.audio import read_tags
from m2m.core.errors import M2MError
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.rendering.translation import translate
from m2m.core.testing.transcriber import SCALE, scale
from m2m.core.transcription import Scribe


@pytest.fixture(scope="module")
def scribe() -> Scribe:
    return Scribe()


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(vocoder="griffin-lim", vocoder_options={"iterations": 2})


def test_notes_level_and_length_are_kept(tmp_path: Path, scribe: Scribe, pipeline: Pipeline) -> None:
    source = 0.4 * np.concatenate([scale(44_100), np.zeros(5 * 44_100, np.float32)])
    soundfile.write(tmp_path / "scale.wav", source, 44_100, subtype="FLOAT")
    made = translate(tmp_path / "scale.wav", scribe, pipeline, timbre="vibraphone")
    assert made.heard is None
    audio, rate = made.rendering.audio, made.rendering.sample_rate
    assert len(audio) / rate == pytest.approx(len(source) / 44_100, abs=1e-3)
    energy = np.sum(source.astype(np.float64) ** 2) / 44_100
    assert np.sum(audio.astype(np.float64) ** 2) / rate == pytest.approx(energy, rel=0.01)
    again = scribe.transcriber.transcribe(audio, rate)
    kept = [key for key in SCALE if key in again["pitch"]]
    assert len(kept) >= len(SCALE) - 1
    first = again["start"][again["pitch"] == SCALE[0]]
    assert np.abs(first - 0.25).min() < 0.05  # not later than it was
    made.rendering.save(tmp_path / "out.flac")
    tags = read_tags(tmp_path / "out.flac")
    assert tags["transcriber"]["name"] == "onsets-frames"
    assert tags["recording"]["name"] == "scale.wav"


def test_without_a_timbre_the_instrument_is_heard(tmp_path: Path, scribe: Scribe, pipeline: Pipeline) -> None:
    soundfile.write(tmp_path / "scale.wav", scale(16_000), 16_000)
    made = translate(tmp_path / "scale.wav", scribe, pipeline)
    assert made.heard is not None
    assert made.heard.program in range(8)


def test_silence_is_told(tmp_path: Path, scribe: Scribe, pipeline: Pipeline) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    with pytest.raises(M2MError, match="no note was heard"):
        translate(tmp_path / "silence.wav", scribe, pipeline)
