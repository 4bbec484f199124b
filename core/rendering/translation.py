"""A recording played on another instrument: its notes are transcribed, and rendered at its level and length."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from m2m.core.audio import tame
from m2m.core.choices import CLIP_MODE, ClipMode
from m2m.core.errors import M2MError
from m2m.core.instrument_classifier import Heard, InstrumentClassifier
from m2m.core.recordings import Recording
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.rendering.result import Rendering
from m2m.core.transcription import Scribe, Transcription


@dataclass(frozen=True, eq=False)
class Translation:
    """What came of a recording. heard: the instrument that was taken from it, None where a timbre was given."""

    rendering: Rendering
    transcription: Transcription
    heard: Heard | None


def translate(
    path: str | Path,
    scribe: Scribe,
    pipeline: Pipeline,
    *,
    timbre: str | None = None,
    seed: int = 0,
    clip_mode: ClipMode = CLIP_MODE,
) -> Translation:
    """Transcribe a recording and render its notes.

    timbre: as core/timbre.py reads it; None is the General MIDI program that the classifier hears, or the nearest to it that
    the pipeline's model has. Notes keep their times, and the whole its level (RMS) and at least its length.
    Raises M2MError where the recording cannot be read, holds no note that is heard, or a component fails.
    """
    found = scribe.transcribe(path)
    if not len(found.notes):
        raise M2MError(f"{path}: no note was heard in it.")
    recording = Recording(Path(path))
    heard = None
    if timbre is None:
        classifier = InstrumentClassifier(device=pipeline.device)
        heard = classifier.classify(recording.blocks(classifier.config.mel.sample_rate))
    score = found.score(heard.program if heard else 0)
    made = pipeline.render(score, timbre=timbre, seed=seed, gain=0.0, clip_mode="none")
    audio, rate = made.audio, made.sample_rate
    audio = np.pad(audio, (0, max(0, round(found.seconds * rate) - len(audio))))
    energy = float(np.sum(audio.astype(np.float64) ** 2)) / rate
    factor = np.sqrt(_energy(recording) / energy) if energy else 1.0
    audio, notice = tame(audio * np.float32(factor), clip_mode)
    about = {
        "recording": {"name": found.name, "seconds": found.seconds},
        "transcriber": {
            "name": scribe.name,
            "package": f"{scribe.component.distribution} {scribe.component.version}",
            "options": scribe.transcriber.options.model_dump(mode="json"),
            "provenance": dict(scribe.transcriber.provenance),
        },
        "gain": round(float(20 * np.log10(factor)), 3),
        "clip_mode": clip_mode,
        "samples": hashlib.sha256(np.ascontiguousarray(audio).data).hexdigest()[:16],
    }
    rendering = replace(made, audio=audio, provenance=made.provenance | about, notice=notice)
    return Translation(rendering, found, heard)


def _energy(recording: Recording) -> float:
    """The integral of a recording's square over seconds."""
    total = sum(float(np.sum(block.astype(np.float64) ** 2)) for block in recording.blocks())
    return total / recording.sample_rate
