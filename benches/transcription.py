"""How well and how fast a transcriber hears the recordings of a data set: note F1 by mir_eval, instrument by instrument.

    python benches/transcription.py DATA --transcriber onsets-frames --transcriber basic-pitch

DATA is a data set of `m2m dataset build`. Onsets are matched within 50 ms, offsets within 20 % of a note's length and at least
50 ms, velocities within 0.1 after mir_eval's regression. Notes of the reference end where
the pedal lets them go.
Figures are means over files, of the first 30 s each; seconds are of processor time, with the audio's resampling.

With --translate MODEL the notes that were found are rendered by that model on the recording's own instrument, and transcribed
again: "translated" is the onset F1 of those. "named" is the share of recordings whose instrument the classifier names.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
from shared import headline, json_option, write_json

from m2m.core.instrument_classifier import InstrumentClassifier
from m2m.core.instruments import program_name
from m2m.core.notes import NoteArray
from m2m.core.recordings import resampled
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.transcriber import plain_notes, transcribed_notes
from m2m.core.transcription import Scribe, Transcription
from m2m.evaluation.bench.recordings import open_recordings
from m2m.evaluation.bench.results import markdown
from m2m.evaluation.measures.against_score import note_f1
from m2m.evaluation.measures.waves import Wave

FIGURES = ("onset", "onset and offset", "with velocity", "seconds a second")
TRANSLATED = ("translated", "named")


def hear(
    scribe: Scribe, data: Path, split: str, seconds: float, files: int | None, pipeline: Pipeline | None
) -> dict[str, list[list[float]]]:
    """Instrument -> of each file `FIGURES`, with a pipeline `TRANSLATED` too; NaN where there is nothing to compare."""
    recordings = open_recordings(data, split)
    listed = recordings.list()
    chosen = list(dict.fromkeys(r.file for r in listed))[:files]
    figures: dict[str, list[list[float]]] = defaultdict(list)
    for recording in (r for r in listed if r.file in chosen):
        wave, rate, notes = recordings.read(recording, seconds)
        began = time.process_time()
        found = plain_notes(np.concatenate([transcribed_notes([]), *scribe.stream([wave], rate)]))
        took = (time.process_time() - began) / (len(wave) / rate)
        scores = [note_f1(notes, found), note_f1(notes, found, offsets=True), note_f1(notes, found, velocities=True)]
        more = translated(scribe, pipeline, found, wave, rate, notes, recording.instrument) if pipeline else []
        figures[recording.instrument].append([*scores, took, *more])
    return dict(figures)


def translated(
    scribe: Scribe, pipeline: Pipeline, found: NoteArray, wave: Wave, rate: int, notes: NoteArray, instrument: str
) -> list[float]:
    """Onset F1 of what is heard in a rendering of what was found, and whether the instrument is named: 1 or 0."""
    classifier = InstrumentClassifier()
    heard = classifier.classify(resampled([wave], rate, classifier.config.mel.sample_rate))
    named = float(program_name(heard.program) == instrument)
    if not len(found):
        return [0.0, named]
    score = Transcription(found, np.ones(len(found), np.float32), len(wave) / rate).score()
    made = pipeline.render(score, timbre=instrument, gain=0.0)
    return [note_f1(notes, scribe.transcriber.transcribe(made.audio, made.sample_rate)), named]


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--transcriber", "names", multiple=True, default=["onsets-frames"], show_default=True)
@click.option("--split", default="test", show_default=True, type=click.Choice(["test", "validation"]))
@click.option("--seconds", default=30.0, show_default=True, help="Of each file and instrument.")
@click.option("--files", type=click.IntRange(1), help="Only the first so many files.")
@click.option("--translate", metavar="MODEL", help="Render what was found by this model, and transcribe that.")
@json_option
def main(
    data: Path,
    names: tuple[str, ...],
    split: str,
    seconds: float,
    files: int | None,
    translate: str | None,
    json_path: Path | None,
) -> None:
    """Measure transcribers on a data set."""
    click.echo(headline(True, f"first {seconds:g} s of each file"))
    pipeline = Pipeline(model=translate) if translate else None
    heads, results = ["instrument", *FIGURES, *(TRANSLATED if translate else ())], {}
    for name in names:
        results[name] = hear(Scribe(name), data, split, seconds, files, pipeline)
        means = {instrument: np.nanmean(rows, axis=0) for instrument, rows in results[name].items()}
        rows = [[instrument, *(f"{figure:.3f}" for figure in of)] for instrument, of in means.items()]
        rows.append(["**mean**", *(f"{figure:.3f}" for figure in np.mean(list(means.values()), axis=0))])
        click.echo(f"\n{name}\n\n{markdown(heads, rows)}")
        write_json(json_path, results)


if __name__ == "__main__":
    main()
