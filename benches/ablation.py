"""What FiLM is good for: short Mel2Mel trainings of one length that differ in one thing each.

    python benches/ablation.py DATA -o runs/ablation                     # an hour or so of one core
    python benches/ablation.py DATA -o runs/ablation --show              # the table of what is there

Each variant is trained for `--steps` steps on the same batches (same seed) and measured on the test split. Stopped anywhere, it
goes on where it was. `--json` keeps the figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from shared import json_option, write_json

from m2m.core.mel2mel import load_mel2mel
from m2m.core.system.run_config import load_run
from m2m.dataset.shards import ShardReader
from m2m.evaluation.bench.results import markdown
from m2m.training.mel2mel import Mel2MelRun, measure, train
from m2m.training.state import STATE

VARIANTS: dict[str, dict[str, object]] = {
    "FiLM at both places (the paper's)": {},
    "FiLM before the LSTM only": {"model.conditioned": "before"},
    "FiLM after the LSTM only": {"model.conditioned": "after"},
    "no timbre at all": {"model.conditioned": "none"},
    "concatenation at both places": {"model.conditioner": "concat"},
    "FiLM, two LSTM layers": {"model.layers": 2},
}
FIGURES = ("paper-tanh-log-abs", "mae", "correlation")


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Runs, one folder a variant.")
@click.option("--steps", default=500, show_default=True, type=click.IntRange(1))
@click.option("--batch", default=8, show_default=True, type=click.IntRange(1), help="Windows of 256 frames a step.")
@click.option("--seconds", default=10.0, show_default=True, help="Of each test file and instrument.")
@click.option("--show", is_flag=True, help="Train nothing.")
@json_option
def main(data: Path, output: Path, steps: int, batch: int, seconds: float, show: bool, json_path: Path | None) -> None:
    """Train the variants and print a Markdown table."""
    test = ShardReader(data, "test")
    common: dict[str, object] = {"sequence": 256, "loop.batch_size": batch, "loop.threads": 1, "loop.warmup": 50}
    common |= {"loop.steps": steps, "loop.validate_every": steps, "validation_seconds": 4.0}
    results: dict[str, dict[str, Any]] = {}
    for name, changes in VARIANTS.items():
        folder = output / name.replace(" ", "-").replace("'", "").replace(",", "").strip("()").lower()
        if not show:
            run = load_run(Mel2MelRun, None, common | changes)
            train(run, data, folder, resume=(folder / STATE).exists())
        if not (folder / "best").is_dir():
            continue
        model, _ = load_mel2mel(folder / "best")
        figures = measure(model, test, seconds)
        weights = sum(parameter.numel() for parameter in model.parameters())
        results[name] = {"weights": weights} | {key: float(np.nanmean(figures[key])) for key in FIGURES}
    heads = ["weights", "paper-tanh-log-abs (x 1000)", "log-mel MAE, nepers", "correlation"]
    rows = [
        [
            name,
            f"{row['weights']:,}",
            f"{1000 * row['paper-tanh-log-abs']:.3f}",
            *(f"{row[key]:.3f}" for key in FIGURES[1:]),
        ]
        for name, row in results.items()
    ]
    click.echo(markdown([f"variant, {steps} steps", *heads], rows))
    write_json(json_path, {"steps": steps, "batch": batch, "variants": results})


if __name__ == "__main__":
    main()
