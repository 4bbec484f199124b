"""How often the classifier hears the instrument that was asked for, in audio rendered by a model and in the data set's own.

    python benches/instrument_recognition.py DATA models/mel2mel-gm --files 2

DATA is a folder of `m2m dataset build` with audio, such as benches/mel_accuracy.py has for all of General MIDI. Each file is
rendered on every program that model and data set have, as long as the data set has it. Drum kits are left out: the classifier
that ships tells programs only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from shared import json_option, open_split, write_json

from m2m.core.instrument_classifier import InstrumentClassifier
from m2m.core.instruments import FIRST_KIT
from m2m.core.mel import Mel
from m2m.core.mel2mel import Mel2Mel, load_mel2mel
from m2m.core.plugins import registry
from m2m.core.score import from_rows
from m2m.core.vocoder import Vocoder
from m2m.dataset.shards import ShardReader
from m2m.training.mel2mel import shared_instruments

SHOWN = 12  # instruments that are missed most

Recording = tuple[str, str, NDArray[np.float32]]  # where it is from, its instrument, audio (samples,)


def recordings(model: Mel2Mel, vocoder: Vocoder, test: ShardReader, index: int, name: str) -> Iterator[Recording]:
    """A file on an instrument, from the data set and rendered."""
    yield "data set", name, test.audio(index, name)
    notes, frames = from_rows(test.notes(index, name)), test.frames(index, name)
    predicted = Mel(model.predict(notes, model.point(name), frames), model.config.mel, notes)
    yield "rendered", name, vocoder.synthesize(predicted)


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("model_folder", metavar="MODEL", type=click.Path(path_type=Path))
@click.option("--files", type=int, help="The first so many files of the test split.")
@click.option("--vocoder", "vocoder_name", default="griffin-lim", show_default=True)
@json_option
def main(data: Path, model_folder: Path, files: int | None, vocoder_name: str, json_path: Path | None) -> None:
    """Print how many recordings are recognised, by source, and the instruments that are missed most."""
    test, classifier = open_split(data, "test", files), InstrumentClassifier()
    model, vocoder = load_mel2mel(model_folder)[0], registry.create("vocoder", vocoder_name, options=None, device="cpu")
    names = [name for name in shared_instruments(model, test) if model.config.instruments[name] < FIRST_KIT]
    right: Counter[tuple[str, str]] = Counter()
    for index in range(len(test)):
        for name in names:
            for source, _, audio in recordings(model, vocoder, test, index, name):
                right[source, name] += classifier.classify([audio]).program == model.config.instruments[name]
    shares = {source: {name: right[source, name] / len(test) for name in names} for source in ("data set", "rendered")}
    for source, found in shares.items():
        worst = sorted(names, key=lambda name: found[name])[:SHOWN]
        print(f"{source}: {np.mean(list(found.values())):.1%} of {len(test)} x {len(names)} are recognised")
        print(f"    missed most: {', '.join(f'{name} {found[name]:.0%}' for name in worst)}")
    write_json(json_path, shares)


if __name__ == "__main__":
    main()
