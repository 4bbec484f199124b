"""Give a Mel2Mel points for instruments that it was not trained on: the network stays as it is, their timbres alone are fitted.

    m2m dataset build midi --soundfont FILE.sf3 -o KITS --programs 128,136,144,152,153,160,168,176 --set seconds=11.5
    python benches/fit_timbres.py models/mel2mel-gm KITS -o with-kits

Each instrument of the data set that the model lacks begins where the one that stands in for it is (for a drum kit the standard
kit), and is fitted to the training split. With --refit the model's own are fitted as well. A point is taken where that lowers the
error on the test split by at least --gain nepers.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from shared import json_option, write_json
from torch import Tensor

from m2m.core.checkpoint import save_model
from m2m.core.instruments import nearest_instrument
from m2m.core.mel2mel import Mel2Mel, load_mel2mel
from m2m.core.model_folders import CARD
from m2m.core.score import from_rows
from m2m.dataset.shards import ShardReader
from m2m.evaluation.bench.results import markdown
from m2m.training.losses.mel import LOSSES
from m2m.training.mel2mel import compare

FRAMES = 512  # of a training segment, as in training


def segments(model: Mel2Mel, shards: ShardReader, instrument: str) -> tuple[Tensor, Tensor]:
    """All whole segments of an instrument: rolls (segments, FRAMES, features), mels (segments, FRAMES, n_mels), float32."""
    rolls, mels = [], []
    for index in range(len(shards)):
        notes = from_rows(shards.notes(index, instrument))
        for start in range(0, shards.frames(index, instrument) - FRAMES + 1, FRAMES):
            rolls.append(model.encode(notes, start, FRAMES))
            mels.append(shards.mel(index, instrument, start, start + FRAMES))
    return torch.from_numpy(np.stack(rolls)), torch.from_numpy(np.stack(mels))


def fit(
    model: Mel2Mel, rolls: Tensor, mels: Tensor, start: NDArray[np.float32], steps: int, batch: int, rate: float
) -> NDArray[np.float32]:
    """The point with the least training loss, by Adam with a rate that falls to zero: (timbre_dim,) float32."""
    point = torch.from_numpy(start.copy()).requires_grad_()
    optimizer = torch.optim.Adam([point], lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    draw = np.random.default_rng(0)
    for _ in range(steps):
        chosen = torch.from_numpy(draw.choice(len(rolls), min(batch, len(rolls)), replace=False))
        optimizer.zero_grad()
        predicted = model(rolls[chosen], point.expand(len(chosen), 1, -1))
        LOSSES["tanh-log-abs"](predicted, mels[chosen]).backward()
        optimizer.step()
        schedule.step()
    return point.detach().numpy()


def error(model: Mel2Mel, shards: ShardReader, instrument: str, point: NDArray[np.float32]) -> float:
    """Mean MAE of predicted mels over the files, nepers."""
    errors = []
    for index in range(len(shards)):
        true = shards.mel(index, instrument)
        predicted = model.predict(from_rows(shards.notes(index, instrument)), point, len(true))
        errors.append(compare(predicted, true)["mae"])
    return float(np.mean(errors))


def extended(model: Mel2Mel, programs: dict[str, int], points: dict[str, NDArray[np.float32]]) -> Mel2Mel:
    """The model with these points: of its own instruments in their places, of others behind them, by their numbers."""
    added = sorted(points.keys() - model.config.instruments.keys(), key=lambda name: programs[name])
    instruments = {**model.config.instruments, **{name: programs[name] for name in added}}
    rows = np.stack([points[name] if name in points else model.point(name) for name in instruments])
    larger = Mel2Mel(model.config.model_copy(update={"instruments": instruments}))
    larger.load_state_dict({**model.state_dict(), "timbre.weight": torch.from_numpy(rows)})
    return larger.eval()


@click.command()
@click.argument("folder", metavar="MODEL", type=click.Path(exists=True, path_type=Path))
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The folder of the larger model.")
@click.option("--steps", default=60, show_default=True)
@click.option("--batch", default=6, show_default=True, help="Segments of a step.")
@click.option("--rate", default=0.05, show_default=True, help="Learning rate at the first step.")
@click.option("--gain", default=0.01, show_default=True, help="Nepers that a point of its own has to bring.")
@click.option("--refit", is_flag=True, help="Fit the instruments that the model has, too.")
@json_option
def main(
    folder: Path,
    data: Path,
    output: Path,
    steps: int,
    batch: int,
    rate: float,
    gain: float,
    refit: bool,
    json_path: Path | None,
) -> None:
    """Fit the timbres of a data set's instruments that a model lacks."""
    model = load_mel2mel(folder)[0].eval().requires_grad_(False)
    train, test = ShardReader(data, "train"), ShardReader(data, "test")
    points: dict[str, NDArray[np.float32]] = {}
    results: dict[str, dict[str, str | float]] = {}
    for name, number in train.instruments.items():
        nearest = nearest_instrument(number, model.config.instruments)
        if nearest is None:
            raise click.ClickException(f"no instrument of the model can stand in for {name}, where a fit would begin.")
        start = model.point(nearest)
        before = error(model, test, name, start)
        point, after = start, before
        if refit or nearest != name:
            point = fit(model, *segments(model, train, name), start, steps, batch, rate)
            after = error(model, test, name, point)
        if before - after >= gain:
            points[name] = point
        results[name] = {"as": nearest, "before": before, "fitted": after}
        click.echo(f"{name}: {results[name]}", err=True)
    rows = [
        [name, *(format(value, "" if isinstance(value, str) else ".3f") for value in of.values())]
        for name, of in results.items()
    ]
    click.echo(markdown(["instrument", "as", "MAE as that", "fitted"], rows))
    click.echo(f"\npoints taken: {', '.join(points) or 'none'}")
    card = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).is_file() else f"From {folder.name}.\n"
    larger = extended(model, train.instruments, points)
    save_model(output, "mel2mel", larger.config, larger, card)
    write_json(json_path, results)


if __name__ == "__main__":
    main()
