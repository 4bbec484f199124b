"""What several benches do alike: say what they ran on, take times, read a data set, print tables, keep figures."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import torch

from m2m.core.mel import Mel
from m2m.core.score import from_rows
from m2m.dataset.shards import ShardReader
from m2m.evaluation.bench.machine import machine

Result = TypeVar("Result")
Clock = Callable[[], float]

json_option = click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there as well."
)
cpu_time_option = click.option("--cpu-time", is_flag=True, help="Count processor time instead of the clock's.")


def write_json(path: Path | None, figures: object) -> None:
    """Keep figures where --json says."""
    if path:
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def conditions() -> dict[str, object]:
    """What the figures are measured on, and what else the machine is doing."""
    return {"machine": machine("cpu"), "load before": round(os.getloadavg()[0], 2)}


def headline(cpu_time: bool, *more: str) -> str:
    """The conditions of a table in one line."""
    found = conditions()
    clock = "processor time" if cpu_time else "clock"
    return ", ".join([f"{found['machine']}, load {found['load before']}", clock, *more])


def best(run: Callable[[], Result], times: int, clock: Clock = time.perf_counter) -> tuple[float, Result]:
    """The least seconds of so many runs, and what the last one gave."""
    least = float("inf")
    for _ in range(times):
        began = clock()
        result = run()
        least = min(least, clock() - began)
    return least, result


def product_rate(clock: Clock) -> float:
    """Multiply-adds a second of PyTorch's product of two float32 matrices on one thread: near the limit of a core."""
    threads, matrix = torch.get_num_threads(), torch.ones(1024, 1024)
    torch.set_num_threads(1)
    least, _ = best(lambda: matrix @ matrix, 10, clock)
    torch.set_num_threads(threads)
    return len(matrix) ** 3 / least


def multiply_adds(network: torch.nn.Module) -> int:
    """Multiply-adds that the layers of a network do for a sample."""
    return sum(
        weight.numel() for name, weight in network.named_parameters() if weight.dim() == 2 and "embed" not in name
    )


def open_split(data: Path, split: str, files: int | None) -> ShardReader:
    """The first files of a data set's split; all without a number."""
    shards = ShardReader(data, split)
    shards.files = shards.files[:files]
    return shards


def true_mel(shards: ShardReader, index: int, instrument: str, frames: int) -> Mel:
    """The first frames of a recording's mel, with its notes."""
    notes = from_rows(shards.notes(index, instrument))
    return Mel(shards.mel(index, instrument, 0, frames), shards.config.mel, notes)
