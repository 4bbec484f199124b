"""How near Mel2Mel's mels are to the true ones, on a data set's test split, instrument by instrument.

    python benches/mel_accuracy.py DATA models/mel2mel-film models/mel2mel-concat

DATA is a folder of `m2m dataset build`. The baseline is the mean mel of each instrument over the training split: what a model
would say that knows the instrument and not the score; without a training split there is none. Figures are means over files, of
the first 30 s each:

    paper-tanh-log-abs   the loss as the paper prints it, 0 dB at full scale (times 1000)
    MAE                  of natural-log mels, nepers
    correlation          Pearson's over time, mean of the 80 bands
    variance             over time, as a share of the true one's, mean of the 80 bands: less than 1 is blur

Instruments are those that model and data set both have; in means over them each counts once. All of General MIDI is measured on
`m2m dataset build midi --programs all --set begin=note --set seconds=11.5 ..` with `--seconds 10`.

What a vocoder makes of the mels, `m2m bench` measures.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from shared import json_option, open_split, write_json

from m2m.core.errors import M2MError
from m2m.core.mel2mel import load_mel2mel
from m2m.dataset.shards import ShardReader
from m2m.evaluation.bench.results import markdown
from m2m.training.mel2mel import BEST, FIGURES, compare, measure, shared_instruments

POOR = 0.6  # nepers: an instrument over this is counted
WORST = 10


def baseline(data: Path, test: ShardReader, names: list[str], frames: int) -> dict[str, np.ndarray]:
    """The mean mel of each instrument, measured as a model's prediction is: figure -> (files, instruments).

    Raises M2MError if there is no training split.
    """
    train = ShardReader(data, "train")
    figures = {name: np.full((len(test), len(names)), np.nan) for name in FIGURES}
    for column, name in enumerate(names):
        mean = np.mean([train.mel(index, name).mean(axis=0) for index in range(0, len(train), 4)], axis=0)
        for row in range(len(test)):
            true = test.mel(row, name, 0, frames)
            for figure, value in compare(np.broadcast_to(mean, true.shape), true).items():
                figures[figure][row, column] = value
    return figures


def means(figures: dict[str, np.ndarray]) -> dict[str, NDArray[np.float64]]:
    """Figure -> (instruments,), over files."""
    return {name: np.nanmean(of, axis=0) for name, of in figures.items()}


def summary(figures: dict[str, np.ndarray], names: list[str]) -> dict[str, object]:
    """Every instrument counted once: the mean of each figure, how many are over POOR in MAE, and the worst."""
    each = means(figures)
    worst = np.argsort(-each["mae"])[:WORST]
    return {
        "instruments": names,
        "means": {name: float(of.mean()) for name, of in each.items()},
        "poor": int((each["mae"] > POOR).sum()),
        "worst": {names[column]: float(each["mae"][column]) for column in worst},
    }


def show(title: str, figures: dict[str, np.ndarray], names: list[str]) -> None:
    """A Markdown table, one row an instrument, and what is to be known of many instruments."""
    each = means(figures)
    rows = [[name, *(f"{of[column]:.3f}" for of in each.values())] for column, name in enumerate(names)]
    rows.append(["**mean**", *(f"{of.mean():.3f}" for of in each.values())])
    click.echo(f"\n{title}\n\n{markdown(['instrument', *figures], rows)}")
    if len(names) > WORST:
        worst = ", ".join(f"{names[column]} {each['mae'][column]:.2f}" for column in np.argsort(-each["mae"])[:WORST])
        poor = int((each["mae"] > POOR).sum())
        click.echo(f"\n{poor} of {len(names)} are over {POOR:.2f} nepers. The worst: {worst}.")


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--split", default="test", show_default=True, type=click.Choice(["test", "validation"]))
@click.option("--seconds", default=30.0, show_default=True, help="Of each file and instrument.")
@click.option("--files", type=click.IntRange(1), help="Only the first so many files.")
@json_option
def main(
    data: Path,
    models: tuple[Path, ...],
    split: str,
    seconds: float,
    files: int | None,
    json_path: Path | None,
) -> None:
    """Measure models on a data set."""
    test = open_split(data, split, files)
    loaded = {str(folder): load_mel2mel(folder)[0] for folder in models}
    names = {name: shared_instruments(model, test) for name, model in loaded.items()}
    results: dict[str, dict[str, np.ndarray]] = {}
    try:
        names["baseline"] = next(iter(names.values()))
        results["baseline"] = baseline(data, test, names["baseline"], int(seconds * test.config.mel.frame_rate))
    except M2MError as error:
        click.echo(f"no baseline: {error}", err=True)
    for name, model in loaded.items():
        results[name] = measure(model, test, seconds)
    kept = {}
    for name, figures in results.items():
        figures[BEST] = figures[BEST] * 1000
        show(name, figures, names[name])
        kept[name] = {figure: values.tolist() for figure, values in figures.items()} | summary(figures, names[name])
    write_json(json_path, kept)


if __name__ == "__main__":
    main()
