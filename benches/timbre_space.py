"""Whether the timbre space holds its instruments: are they recognised, and what lies between two of them?

    python benches/timbre_space.py DATA models/mel2mel-film models/mel2mel-concat

DATA is a folder of `m2m dataset build`. A model plays the test pieces on each instrument; its mels are judged as they are,
without a vocoder.

Recognised: a mel's features are each band's mean and standard deviation over the frames that sound (some band above -60 dB). An
instrument is the mean of its features over the true mels of the validation split; a test mel is given the name of the nearest.
Features are standardised in two ways. Each by its own spread: then a piece's register and density, which every band tells of,
outweigh its instrument, and even true mels are mistaken for others. Whitened: by how an instrument's pieces differ among each
other, so that what all instruments' pieces have in common counts little; the tables are of this one. The true test mels say how
well each can do at all; `--known train` has more pieces to go by, and they are varied.

Between: of every two instruments, the midpoint of their points plays the pieces, too. Its spectral centroid (Hz; frames weighted
by their magnitude; mean over the pieces) should lie between those of the two, or beyond the nearer one by `--tolerance` of it.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import click
import numpy as np
from shared import json_option, open_split, write_json

from m2m.core.mel import MelSpec, linear_mel
from m2m.core.mel2mel import Mel2Mel, load_mel2mel
from m2m.core.model_folders import find_model
from m2m.core.plugins import registry
from m2m.core.rendering.pipeline import timbre_space
from m2m.core.score import from_rows
from m2m.core.system.progress import track
from m2m.dataset.shards import ShardReader
from m2m.evaluation.bench.results import markdown
from m2m.evaluation.measures.waves import SOUNDING
from m2m.training.mel2mel import predict
from m2m.web.timbre_map import measure

SHRINKAGE = 0.1  # of a covariance towards a sphere; from 0.003 to 0.1 the true test mels do equally well


def features(mel: np.ndarray, spec: MelSpec) -> np.ndarray:
    """Each band's mean and standard deviation over the frames that sound, over all if none does: (2 n_mels,) of a log-mel."""
    sounds = linear_mel(mel, spec).max(axis=1) ** (1 / spec.power) > SOUNDING
    counted = mel[sounds] if sounds.any() else mel
    return np.concatenate([counted.mean(axis=0), counted.std(axis=0)])


def own_spread(known: np.ndarray) -> np.ndarray:
    """What features (files, instruments, features) are multiplied with to have a spread of 1 each: (features, features)."""
    return np.diag(1 / known.std(axis=(0, 1)).clip(1e-6))


def whitening(known: np.ndarray) -> np.ndarray:
    """The same, but it is an instrument's pieces that get a spread of 1, in every direction: (features, features)."""
    within = (known - known.mean(axis=0)).reshape(-1, known.shape[-1])
    covariance = within.T @ within / len(within)
    level = np.trace(covariance) / len(covariance)  # fewer pieces than features leave directions without any spread
    covariance = (1 - SHRINKAGE) * covariance + (SHRINKAGE * level + 1e-9) * np.eye(len(covariance))
    return np.linalg.cholesky(np.linalg.inv(covariance))


STANDARDS = {"each by its own spread": own_spread, "whitened": whitening}


def confusion(known: np.ndarray, found: np.ndarray, standard: np.ndarray) -> np.ndarray:
    """How many pieces of an instrument (row) were taken for each (column), of features (files, instruments, features)."""
    apart = (found[:, :, None] - known.mean(axis=0)) @ standard  # (files, true, named, features)
    return np.eye(known.shape[1], dtype=int)[np.square(apart).sum(axis=-1).argmin(axis=-1)].sum(axis=0)


def brightness(mel: np.ndarray, spec: MelSpec) -> float:
    """The spectral centroid of a log-mel in Hz."""
    return float(measure(mel[None], spec)[0, 0])


def between(ends: tuple[float, float], middle: float, tolerance: float) -> bool:
    """Whether the middle lies between two ends, or beyond the nearer one by that share of it at most."""
    return min(ends) * (1 - tolerance) <= middle <= max(ends) * (1 + tolerance)


def examine(model: Mel2Mel, known: ShardReader, test: ShardReader, frames: int, tolerance: float) -> dict[str, Any]:
    """Both questions of a model: confusion tables of its mels and of the true ones, and the pairs with their brightness in Hz."""
    spec, names = model.config.mel, list(model.config.instruments)
    for shards in (known, test):
        shards.require(spec, model.config.instruments)
    space = timbre_space(model)
    references = np.array(
        [
            [features(known.mel(index, name, 0, frames), spec) for name in names]
            for index in track(range(len(known)), "known")
        ]
    )
    pairs = list(combinations(names, 2))
    true = np.empty((len(test), *references.shape[1:]))
    predicted = np.empty_like(true)
    bright = {key: np.empty(len(test)) for key in [*names, *pairs]}
    for index in track(range(len(test)), "test"):
        for row, name in enumerate(names):
            mels = predict(model, test, index, name, frames)
            true[index, row], predicted[index, row] = (features(mel, spec) for mel in mels)
            bright[name][index] = brightness(mels[1], spec)
        for first, second in pairs:
            middle = space.parse(f"{first}:1,{second}:1").points[0]
            mel = model.predict(from_rows(test.notes(index, first)), middle, min(frames, test.frames(index, first)))
            bright[first, second][index] = brightness(mel, spec)
    hertz = {key: float(values.mean()) for key, values in bright.items()}
    rows = []
    for first, second in pairs:
        ends, middle = (hertz[first], hertz[second]), hertz[first, second]
        inside = {"between": between(ends, middle, tolerance), "strictly": between(ends, middle, 0.0)}
        rows.append({"pair": (first, second), "ends": ends, "middle": middle, **inside})
    tables = {
        how: {
            which: confusion(references, mels, standard(references)).tolist()
            for which, mels in (("predicted", predicted), ("true", true))
        }
        for how, standard in STANDARDS.items()
    }
    return {"instruments": names, "confusion": tables, "pairs": rows}


def show(title: str, found: dict[str, Any], tolerance: float) -> None:
    """Markdown: the shares, the confusion of the predicted mels, the pairs whose midpoint lies elsewhere."""
    names, pairs = found["instruments"], found["pairs"]
    click.echo(f"\n## {title}\n")
    for how, tables in found["confusion"].items():
        shares = (f"{which} {100 * np.trace(table) / np.sum(table):.1f} %" for which, table in tables.items())
        click.echo(f"- mels named rightly, features {how}: {', '.join(shares)} of {np.sum(tables['true'])}")
    for words, key in ((f"within {100 * tolerance:g} %", "between"), ("strictly", "strictly")):
        inside = sum(pair[key] for pair in pairs)
        share = f", {100 * inside / len(pairs):.1f} %" if pairs else ""
        click.echo(f"- midpoints between their instruments, {words}: {inside} of {len(pairs)}{share}")
    for which, table in tables.items():  # of the last way, whitened
        rows = [[name, *(count or "" for count in row)] for name, row in zip(names, table, strict=True)]
        click.echo(f"\n{markdown([f'{which} mel, named', *names], rows)}")
    if elsewhere := [pair for pair in pairs if not pair["between"]]:
        rows = [
            [" and ".join(pair["pair"]), " and ".join(f"{end:.0f}" for end in pair["ends"]), f"{pair['middle']:.0f}"]
            for pair in elsewhere
        ]
        click.echo(f"\n{markdown(['midpoint elsewhere', 'the two, Hz', 'midpoint, Hz'], rows)}")


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("models", nargs=-1)
@click.option("--split", default="test", show_default=True, type=click.Choice(["test", "validation"]))
@click.option(
    "--known", "known_split", default="validation", show_default=True, type=click.Choice(["validation", "train"])
)
@click.option("--seconds", default=30.0, show_default=True, help="Of each file and instrument.")
@click.option("--files", type=click.IntRange(1), help="Only the first so many files of the split.")
@click.option("--tolerance", default=0.05, show_default=True, help="Of the nearer end, for a midpoint beyond it.")
@json_option
def main(
    data: Path,
    models: tuple[str, ...],
    split: str,
    known_split: str,
    seconds: float,
    files: int | None,
    tolerance: float,
    json_path: Path | None,
) -> None:
    """Examine the timbre spaces of MODELS (folders, or names of those that ship; the default model without any)."""
    known, test = open_split(data, known_split, None), open_split(data, split, files)
    frames = int(seconds * test.config.mel.frame_rate)
    results: dict[str, dict[str, Any]] = {}
    for name in models or (None,):
        wanted = {} if name else {"conditioner": registry.default("conditioner")}
        folder = find_model("mel2mel", name, wanted)
        results[str(name or folder.name)] = found = examine(load_mel2mel(folder)[0], known, test, frames, tolerance)
        show(str(name or folder.name), found, tolerance)
    write_json(json_path, results)


if __name__ == "__main__":
    main()
