"""What a command takes before it sounds, or refuses, in processor time beside that of importing PyTorch.

    M2M_CPU=avx2 python benches/start_up.py

Each command runs in a process of its own, by turns with `import torch`; the least of so many runs counts, since another program
can only add to it. Processor time is of the process and its children, all threads together.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pretty_midi
from shared import headline, json_option, write_json

from m2m.evaluation.bench.results import markdown

ROOT = Path(__file__).parents[1]
IMPORT = "import torch"
SHORT = "a score of 2 s"
REFUSED = {
    "a wrong MIDI file": "wrong.mid",
    "an unknown timbre": "two.mid --timbre kazoo",
    "an unknown vocoder": "two.mid --vocoder kazoo",
    "an unknown conditioner": "two.mid --conditioner kazoo",
    "an unknown model": "two.mid --model kazoo",
    "an output that cannot be written": "two.mid -o wrong.mid/a.wav",
}


def processor_seconds(command: list[str], folder: Path, code: int) -> float:
    """Processor time of a command, which must end with this exit code: seconds."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}, {code} was wanted.")
    return used.ru_utime + used.ru_stime


def prepare(folder: Path) -> None:
    """The scores that the commands read."""
    midi, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(90, 60 + 4 * i, 0.5 * i, 0.5 * i + 0.5) for i in range(4)]
    midi.instruments.append(piano)
    midi.write(str(folder / "two.mid"))
    (folder / "wrong.mid").write_bytes((folder / "two.mid").read_bytes()[:60])


@click.command()
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Of each command.")
@json_option
def main(runs: int, json_path: Path | None) -> None:
    """Measure refusals, a short score and the README's first command."""
    render = [sys.executable, "-m", "m2m", "render"]
    commands = {
        IMPORT: ([sys.executable, "-c", IMPORT], 0),
        "m2m --version": ([sys.executable, "-m", "m2m", "--version"], 0),
        **{f"refused: {what}": ([*render, *words.split()], 1) for what, words in REFUSED.items()},
        SHORT: ([*render, "two.mid", "-y", "-o", "two.wav"], 0),
        "the README's first command": ([*render, str(ROOT / "examples" / "prelude.mid"), "-y", "-o", "a.wav"], 0),
    }
    found: dict[str, float] = dict.fromkeys(commands, float("inf"))
    with tempfile.TemporaryDirectory() as work:
        prepare(Path(work))
        for _ in range(runs):
            for name, (command, code) in commands.items():
                found[name] = min(found[name], processor_seconds(command, Path(work), code))
    torch_alone = found[IMPORT]
    rows = [[name, f"{seconds:.2f}", f"{seconds / torch_alone:.2f}"] for name, seconds in found.items()]
    beyond = found[SHORT] - torch_alone
    rows.append([f"{SHORT}, beyond `{IMPORT}`", f"{beyond:.2f}", f"{beyond / torch_alone:.2f}"])
    click.echo(headline(True, f"the least of {runs} runs") + "\n")
    click.echo(markdown(["", "processor, s", f"x `{IMPORT}`"], rows))
    write_json(json_path, found)


if __name__ == "__main__":
    main()
