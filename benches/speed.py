"""How fast m2m is and how much memory it takes, on this machine, now.

    python benches/speed.py              # a minute; close other programs first
    python benches/speed.py --hour       # also an hour-long score's peak memory

Start-up is the best of five runs of the command. Mel2Mel alone is the median of five predictions after one to warm up, in this
process with PyTorch's own number of threads. The render is the whole command, start-up included, on a three-minute piano piece.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import numpy as np
import pretty_midi
from shared import conditions


def piece(seconds: float, path: Path) -> Path:
    """A made-up piano piece: eight notes a second in chords and runs over the whole keyboard, pedalled by the bar."""
    draw, midi = np.random.default_rng(0), pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(0)
    for start in np.arange(0.0, seconds - 2.5, 0.25):
        for key in draw.choice(np.arange(36, 96), 2, replace=False):
            piano.notes.append(pretty_midi.Note(int(draw.integers(40, 110)), int(key), start, start + 0.4))
    for bar in np.arange(0.0, seconds - 2.5, 2.0):
        piano.control_changes += [
            pretty_midi.ControlChange(64, 127, bar + 0.1),
            pretty_midi.ControlChange(64, 0, bar + 1.9),
        ]
    midi.instruments.append(piano)
    midi.write(str(path))
    return path


def m2m(*arguments: str) -> float:
    """Seconds that the command takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "m2m", *arguments], check=True, capture_output=True)
    return time.perf_counter() - began


@click.command()
@click.option("--hour", is_flag=True, help="Also render an hour.")
@click.option("--minutes", default=3.0, show_default=True, help="Length of the piece.")
@click.option("--json", "as_json", is_flag=True)
def main(hour: bool, minutes: float, as_json: bool) -> None:
    """Measure start-up, the acoustic model, a whole render, and memory."""
    figures = conditions()
    with tempfile.TemporaryDirectory() as folder:
        for arguments in (["--help"], ["plugins", "list"]):
            figures[f"m2m {' '.join(arguments)}, s"] = round(min(m2m(*arguments) for _ in range(5)), 3)
        score = piece(60 * minutes, Path(folder) / "piece.mid")
        out = str(Path(folder) / "piece.wav")
        whole = median(m2m("render", str(score), "-o", out, "-y") for _ in range(3))
        figures[f"m2m render of {minutes:g} minutes, s"] = round(whole, 2)
        figures["m2m render, x real time"] = round(60 * minutes / whole, 1)
        figures |= model_alone(score, 60 * minutes)
        if hour:
            long = piece(3600.0, Path(folder) / "hour.mid")
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            seconds = m2m("render", str(long), "-o", str(Path(folder) / "hour.wav"))
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest child so far, kB
            figures["an hour, s"] = round(seconds, 1)
            figures["an hour, peak memory MB"] = round(peak / 1024)
            figures["three minutes, peak memory MB"] = round(before / 1024)
    click.echo(json.dumps(figures, indent=2) if as_json else "\n".join(f"{k:36s} {v}" for k, v in figures.items()))


def model_alone(score: Path, seconds: float) -> dict[str, object]:
    """Mel2Mel's and the vocoder's own rates, model loaded and warm."""
    import torch

    from m2m.core.rendering.pipeline import Pipeline
    from m2m.core.score import read_score

    pipeline = Pipeline()
    part = pipeline.parts(read_score(score), None, {})[0]
    mel = pipeline.mel(part, seconds)
    # Predicted here and now: a mel is made when it is asked for, and must not be part of Griffin-Lim's time.
    _ = mel.values

    def rate(work: Callable[[], object], runs: int) -> float:
        times = []
        for _ in range(runs):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        return round(seconds / median(times), 1)

    return {
        "torch threads": torch.get_num_threads(),
        "Mel2Mel alone, x real time": rate(lambda: pipeline.mel(part, seconds).values, 5),
        "Griffin-Lim alone, x real time": rate(lambda: pipeline.vocoder.synthesize(mel, 0), 3),
    }


if __name__ == "__main__":
    main()
