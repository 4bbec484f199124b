"""What strangers' files, kills, a full disk and crowds do to m2m. Its figures are in docs/reliability.md.

    python benches/reliability.py midi checkpoints special kills crowd disk list --json out.json

midi, checkpoints   mutated files, read and (where short) rendered, in a process that is ended after ten seconds without an answer
special             the odd files that every MIDI reader meets, through the command, with peak memory
kills               SIGINT, SIGTERM and SIGKILL at random moments of render, dataset build and train, then again until it is done
crowd               twenty renders at once, and two builds of one data set
disk                a tmpfs that is too small (needs root)
list                `m2m plugins list` with 50 packages, 10 of them broken

kills and crowd need FluidSynth and a SoundFont (--soundfont; pretty_midi's own will do). All numbers are drawn from --seed.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from shared import json_option, write_json
from soak.damaged import checkpoints, midi
from soak.kills import kills
from soak.machine import crowd, disk, listing
from soak.special import special

SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    **{"midi": midi, "checkpoints": checkpoints, "special": special},
    **{"kills": kills, "crowd": crowd, "disk": disk, "list": listing},
}


@click.command()
@click.argument("sections", nargs=-1, type=click.Choice(list(SECTIONS)))
@click.option("--count", type=int, help="Files, or kills.  [default: 2000 files, 100 kills]")
@click.option("--seed", default=0, show_default=True)
@click.option("--soundfont", type=click.Path(path_type=Path), help="[default: the one that pretty_midi brings]")
@json_option
def main(sections: list[str], count: int | None, seed: int, soundfont: Path | None, json_path: Path | None) -> None:
    """Run sections and print their figures."""
    import pretty_midi

    font = soundfont or Path(pretty_midi.__file__).with_name("TimGM6mb.sf2")
    figures = {}
    for name in sections or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            many = count or (100 if name == "kills" else 2000)
            figures[name] = SECTIONS[name](
                folder=Path(folder), draw=random.Random(seed), count=many, soundfont=font.resolve()
            )
        click.echo(json.dumps({name: figures[name]}, indent=1, ensure_ascii=True))
        write_json(json_path, figures)


if __name__ == "__main__":
    main()
