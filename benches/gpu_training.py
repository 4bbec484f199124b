"""Training on a GPU: bfloat16 against float32, the loop against the bare graph, film against an earlier curve.

    python benches/gpu_training.py agreement DATA -o out
    python benches/gpu_training.py pace DATA -o out
    python benches/gpu_training.py curve DATA -o out --seconds 120

The runs are those of `m2m train`, watched step by step. Each command writes OUT/COMMAND.json and fails where a bar is missed: the
loss of step 1 within 1 % of float32's and the mean of steps 41 to 50 within 3 %; a step of the loop at most 1.2 times one
that is replayed on a batch that lies ready. The curve (film_curve.csv) is that of a film of the same size on an H200, by a loop
written for it, with other excerpts of the same files and two other models beside it on the GPU: it is read beside ours and is no
bar. `--toy` makes everything small, for a rehearsal on a CPU.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import torch
from shared import write_json
from torch import Tensor

from m2m.core.model_folders import model_folder
from m2m.core.system.run_config import load_run
from m2m.training import mel2mel, parallel_wavenet, transcriber, wavenet
from m2m.training.distributed import Group
from m2m.training.step import WARM_UP, Step, make_adam, record_graph
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION

CURVE = Path(__file__).with_name("film_curve.csv")
STEPS = 50
SHARE = 0.05  # of its number, around a step of the curve, over which our loss is averaged
Values = dict[str, object]

LOOP: Values = {"loop.validate_every": 1 << 30, "loop.checkpoint_every": 1 << 30}
FILM: Values = {"model.hidden": 384, "loop.batch_size": 128, "validation_seconds": 1.0} | LOOP
SEGMENTS: Values = {
    "loop.batch_size": 8,
    "sequence": 64,
    "validation_segments": 1,
    "validation_seconds": 0.1,
    "sound_seconds": 0,
} | LOOP
TRANSCRIBER: Values = {"loop.batch_size": 16, "validation_seconds": 1.0} | LOOP
TEACHER = "wavenet-gaussian-16k"  # it ships
SMALL: Values = {"loop.batch_size": 2}
SMALL_FILM: Values = {"model.hidden": 16, "sequence": 64}
SMALL_TRANSCRIBER: Values = {"model.channels": 4, "model.features": 16, "model.hidden": 8, "sequence": 62}
SMALL_NETWORK: Values = {"model.residual": 8, "model.skip": 8, "model.dilation_cycle": 4, "sequence": 16}


@dataclass
class Watched:
    """The steps of a run: when each was launched, and every so many losses, on the device."""

    every: int
    seconds: list[float] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)

    @property
    def curve(self) -> dict[int, float]:
        """Step, counted from 1 -> loss."""
        return {self.every * (i + 1): float(loss) for i, loss in enumerate(self.losses)}


@contextmanager
def watched(every: int = 1) -> Iterator[Watched]:
    """Watch the steps of the run within."""
    seen, call = Watched(every), Step.__call__

    def noted(step: Step, batch: tuple[Tensor, ...], rate: float) -> None:
        call(step, batch, rate)
        seen.seconds.append(time.perf_counter())
        if len(seen.seconds) % every == 0:
            seen.losses.append(step.loss.clone())

    with patch.object(Step, "__call__", noted):
        yield seen


def runs(toy: bool) -> dict[str, tuple[Any, Any, Values]]:
    """Model -> (its kind of run, what trains it, values)."""
    film = FILM | SMALL | SMALL_FILM if toy else FILM
    segments = SEGMENTS | SMALL | SMALL_NETWORK if toy else SEGMENTS
    heard = TRANSCRIBER | SMALL | SMALL_TRANSCRIBER if toy else TRANSCRIBER
    sizes: Values = {"model.layers": 4} if toy else {}
    taught: Values = (
        {"model.flows": "4,4", "adversary_layers": 2}
        if toy
        else {
            "teacher": str(model_folder(TEACHER)),
            "model.excitation": EXCITATION_VERSION,  # as the teacher has it
        }
    )
    return {
        "mel2mel": (mel2mel.Mel2MelRun, mel2mel.train, film),
        "transcriber": (transcriber.TranscriberRun, transcriber.train, heard),
        "wavenet": (wavenet.WaveNetRun, wavenet.train, segments | sizes),
        "parallel-wavenet": (parallel_wavenet.StudentRun, parallel_wavenet.train, segments | taught),
    }


Command = Callable[..., None]


def options(command: Command) -> Command:
    """What every command takes."""
    for option in (
        click.option("--toy", is_flag=True, help="Small networks and batches."),
        click.option("--device", default="cuda", show_default=True),
        click.option("-o", "--out", required=True, type=click.Path(file_okay=False, path_type=Path)),
        click.argument("data", type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """Measure training on a GPU."""


@main.command()
@options
def agreement(data: Path, out: Path, device: str, toy: bool) -> None:
    """50 steps of each model in bfloat16 and in float32, on the same batches."""
    found: dict[str, Any] = {}
    for model, (kind, train, values) in runs(toy).items():
        losses = {}
        for precision in ("float32", "bfloat16"):
            given = values | {"loop.steps": STEPS, "loop.device": device, "loop.precision": precision}
            with watched() as seen:
                train(load_run(kind, None, given), data, out / "runs" / f"{model}-{precision}", False)
            losses[precision] = list(seen.curve.values())
        single, half = losses["float32"], losses["bfloat16"]
        first, last = half[0] / single[0] - 1, statistics.mean(half[40:]) / statistics.mean(single[40:]) - 1
        good = abs(first) <= 0.01 and abs(last) <= 0.03
        click.echo(f"{model}: step 1 {first:+.2%}, steps 41 to 50 {last:+.2%}: {'good' if good else 'MISSED'}")
        found[model] = {"step 1": first, "steps 41 to 50": last, "good": good, "losses": losses}
    write_json(out / "agreement.json", found)
    if not all(row["good"] for row in found.values()):
        raise click.ClickException("bfloat16 is too far from float32.")


@main.command()
@options
def pace(data: Path, out: Path, device: str, toy: bool) -> None:
    """A step of `m2m train mel2mel` with film and 128 segments, against the same step on a batch that lies ready."""
    kind, train, values = runs(toy)["mel2mel"]
    run = load_run(kind, None, values | {"loop.steps": 2 * STEPS, "loop.device": device, "loop.data": "device"})
    with watched() as seen:
        train(run, data, out / "runs" / "pace", False)
    between = [b - a for a, b in zip(seen.seconds[STEPS:], seen.seconds[STEPS + 1 :], strict=False)]
    loop, bare = statistics.mean(between), bare_step(mel2mel.Mel2MelTask(run, data), device)
    click.echo(f"a step of the loop {1e3 * loop:.2f} ms, bare {1e3 * bare:.2f} ms: {loop / bare:.2f} times")
    write_json(out / "pace.json", {"loop, s": loop, "bare, s": bare, "times": loop / bare})
    if loop > 1.2 * bare and not toy:  # a toy's step is no longer than the drawing of its batch
        raise click.ClickException("the loop starves.")


def bare_step(task: mel2mel.Mel2MelTask, device: str) -> float:
    """Seconds of a step on one batch, recorded where there is a GPU."""
    gpu, config = torch.device(device).type == "cuda", task.run.loop
    task.model.to(device).train()
    batch = tuple(part.to(device) for part in task.batch(0))
    with torch.cuda.stream(torch.cuda.Stream(device)) if gpu else nullcontext():
        optimiser = make_adam(task.model, config, gpu)
        step = Step(task, optimiser, config, Group(device=device), record_graph if gpu else None)
        for _ in range(WARM_UP + 2):
            step(batch, 0.001)
        assert step.recorded == gpu
        float(step.loss)
        began = time.perf_counter()
        for _ in range(STEPS):
            step(batch, 0.001)
        float(step.loss)
        return (time.perf_counter() - began) / STEPS


@main.command()
@options
@click.option("--seconds", default=120.0, show_default=True)
def curve(data: Path, out: Path, device: str, toy: bool, seconds: float) -> None:
    """Film alone for a given time, its loss beside the earlier one's at the same steps."""
    kind, train, values = runs(toy)["mel2mel"]
    shape: Values = {"loop.steps": 8264, "loop.warmup": 200, "loop.decay": 0.6, "loop.time_limit": seconds}
    with watched(5) as seen:
        figures = train(
            load_run(kind, None, values | shape | {"loop.device": device}), data, out / "runs" / "film", False
        )
    ours, rows = seen.curve, []
    with CURVE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            step, theirs = int(row["step"]), float(row["loss x 1000"])
            near = [1000 * loss for at, loss in ours.items() if abs(at - step) <= SHARE * step]
            if near:
                rows.append({"step": step, "film-h200": theirs, "here": statistics.mean(near)})
                click.echo(f"step {step}: loss x 1000 {theirs:.3f} then, {rows[-1]['here']:.3f} here")
    done = len(seen.seconds)
    click.echo(f"{done} steps, {done / seconds:.1f} a second; validation {figures}")
    write_json(out / "curve.json", {"steps": done, "validation": figures, "beside": rows, "losses": ours})


if __name__ == "__main__":
    main()
