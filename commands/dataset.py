"""Training data: `dataset build`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from m2m.commands.terminal import output_options, pairs, print_error, print_line, print_note

IDIOMATIC_OF_ALL = 0.5  # test files are played as written, so that a model has to know both


@click.group()
def dataset() -> None:
    """Make training data."""


@dataset.command("build")
@click.argument("midi_dir", type=click.Path(path_type=Path))
@click.option("--soundfont", required=True, type=click.Path(path_type=Path), help="A .sf2 or .sf3 file.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder of the data set; an unfinished one is continued.",
)
@click.option(
    "--split",
    type=click.Path(path_type=Path),
    help="JSON lists 'train', 'validation', 'test'.  [default: by a hash of each file's name]",
)
@click.option(
    "--programs",
    help="General MIDI programs, '0,4,11' or '0-15,128': 128 and more are drum kits. 'all': the 128 and the kits that the "
    "SoundFont has, of which half the training parts are idiomatic.  [default: the reference's ten]",
)
@pairs("--set", "values", "A field of the config, such as seconds=60.")
@click.option("-j", "--jobs", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
@output_options
def build_dataset(
    midi_dir: Path,
    soundfont: Path,
    output: Path,
    split: Path | None,
    programs: str | None,
    values: dict[str, str],
    jobs: int,
) -> None:
    """Render a directory of MIDI files through a SoundFont: notes, audio and mels of every instrument."""
    from m2m.core.system.run_config import load_run
    from m2m.dataset.build import all_instruments, build, summary
    from m2m.dataset.shards import DatasetConfig

    chosen: dict[str, object] = dict(values)
    if programs == "all":
        chosen["programs"] = list(all_instruments(soundfont))
        chosen.setdefault("idiomatic", IDIOMATIC_OF_ALL)
    elif programs:
        chosen["programs"] = [number for word in programs.split(",") for number in _numbers(word)]
    failed = build(midi_dir, soundfont, output, load_run(DatasetConfig, None, chosen), split, jobs)
    for message in failed:
        print_error(message)
    for line in summary(output):
        print_note(line)
    print_line(str(output))
    if failed:
        raise SystemExit(1)


def _numbers(word: str) -> list[str]:
    """A number, or those of a range such as 0-127, for the config to check."""
    found = re.fullmatch(r"(\d{1,3})-(\d{1,3})", word.strip())
    return [str(number) for number in range(int(found[1]), int(found[2]) + 1)] if found else [word]
