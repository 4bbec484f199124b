"""How MIDI files are read: how fast, whether rightly, and what damaged ones do. Its figures are in docs/midi.md.

python benches/midi_reading.py speed --notes 100000         # beside mido and pretty_midi
python benches/midi_reading.py agree --generated 5000       # with a second machine on mido, written from the specification
python benches/midi_reading.py agree FOLDER                 # on every .mid below it
python benches/midi_reading.py damaged --count 100000       # mutants of the tests' files, read in one process
"""

from __future__ import annotations

import io
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click
import mido
import pretty_midi
from soak.files import midi_file, mutate

from m2m.core.errors import M2MError
from m2m.core.score import parse_score
from m2m.core.score_limits import Limits

ROOT = Path(__file__).parents[1]
ANY = Limits(notes=10_000_000, seconds=1e9, polyphony=100_000, tracks=100_000)
HANG_SECONDS = 5


@click.group()
def main() -> None:
    """How MIDI files are read."""


@main.command()
@click.option("--notes", default=100_000, show_default=True)
@click.option("--repeats", default=3, show_default=True)
def speed(notes: int, repeats: int) -> None:
    """Processor seconds of each reader, the least of the repeats."""
    data = made_up(notes)
    readers = {
        "m2m": lambda: parse_score(data, "made up", ANY),
        "mido": lambda: mido.MidiFile(file=io.BytesIO(data)),
        "pretty_midi": lambda: pretty_midi.PrettyMIDI(io.BytesIO(data)),
    }
    for name, read in readers.items():
        seconds = []
        for _ in range(repeats):
            began = time.process_time()
            read()
            seconds.append(time.process_time() - began)
        click.echo(f"{name}: {min(seconds):.2f} s, {notes / min(seconds):,.0f} notes a second")


def made_up(notes: int, channels: int = 8) -> bytes:
    """A file of so many notes, a track a channel."""
    draw, file = random.Random(0), mido.MidiFile(ticks_per_beat=480)
    for channel in range(channels):
        track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=channel)])
        for _ in range(notes // channels):
            key = draw.randint(30, 90)
            track.append(mido.Message("note_on", channel=channel, note=key, velocity=64, time=60))
            track.append(mido.Message("note_off", channel=channel, note=key, time=60))
        file.tracks.append(track)
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


@main.command()
@click.argument("folder", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--generated", "count", default=0, help="So many generated files as well.")
def agree(folder: Path | None, count: int) -> None:
    """Each difference beyond 0.1 microseconds, and how many files and notes were compared; exit code 1 where one differs."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import mido_machine
    from two_readings import differences

    different = refused = notes = number = 0
    for name, data in _inputs(folder, count):
        number += 1
        shown = name if folder and Path(name).exists() else f"{name} ({data.hex()})"
        try:
            score = parse_score(data, name, ANY)
        except M2MError as error:
            refused += 1
            click.echo(f"refused: {shown}: {error}")
            continue
        notes += sum(len(track.notes) for track in score.tracks)
        found = list(differences(score, mido_machine.read(data)))
        different += bool(found)
        for line in found[:3]:
            click.echo(f"{shown}: {line[:300]}")
    click.echo(f"{number:,} files, {notes:,} notes: {different} differ, {refused} refused")
    raise SystemExit(bool(different))


def _inputs(folder: Path | None, count: int) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*.mid*")) if folder else ():
        yield str(path), path.read_bytes()
    for number, data in enumerate(generated(count) if count else ()):
        yield f"generated {number}", data


def generated(count: int) -> list[bytes]:
    """So many files of tests/support/generated_midi.py, the same ones each time."""
    from generated_midi import files
    from hypothesis import HealthCheck, given, settings

    made: list[bytes] = []

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(files())
    def keep(data: bytes) -> None:
        made.append(data)

    keep()
    return made


@main.command()
@click.option("--count", default=100_000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def damaged(count: int, seed: int) -> None:
    """What becomes of mutants of the tests' files and of made-up ones; exit code 1 for a fault."""
    draw, outcomes, slowest = random.Random(seed), Counter[str](), 0.0
    files = [path.read_bytes() for path in sorted((ROOT / "tests" / "fixtures" / "midi").iterdir())]
    signal.signal(signal.SIGALRM, _hangs)
    for number in range(count):
        data = mutate(midi_file(draw) if number % 4 == 0 else draw.choice(files), draw)
        began = time.perf_counter()
        signal.alarm(HANG_SECONDS)
        try:
            outcomes["read" if parse_score(data, "mutant") else ""] += 1
        except M2MError:
            outcomes["refused"] += 1
        except Exception as error:
            outcomes["faults"] += 1
            click.echo(f"{type(error).__name__}: {error}: {data.hex()}")
        finally:
            signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(f"{dict(outcomes)}; the slowest took {slowest:.3f} s; at most {peak:.0f} MB of memory")
    raise SystemExit(bool(outcomes["faults"]))


def _hangs(_: int, __: FrameType | None) -> None:
    raise TimeoutError(f"no answer within {HANG_SECONDS} s")


if __name__ == "__main__":
    main()
