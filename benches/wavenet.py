"""WaveNet on the CPU: the kernel against plain PyTorch, on the same weights in the same run.

    python benches/wavenet.py                          # two minutes; random weights of the reference's size
    python benches/wavenet.py --model models/wavenet-mulaw-16k --data DATA --json out.json

Speed in samples a second, summed over the streams, and how many times real time that is; the mel is brought to the rate of
samples inside. One core runs one stream and then a group of eight; then all cores, eight streams each. `x PyTorch` is against
the same number of streams in a loop over samples in eager float32 on one thread. Each figure is the best of `--repeats`, by the
clock or, on a machine that others use, by the processor time of this process (`--cpu-time`; of all cores, a core's share). `of a
product`: the share of the rate at which a core multiplies two matrices in PyTorch, float32, that a core gets to.

Agreement is with the network in float64: mean divergence and loss of likelihood, nats a sample. Without DATA (a folder of
`m2m dataset build`) on samples that it drew itself from a random mel; with it on half a second of each instrument from the
middle of the first test files, which is what decides the default precision.
"""

from __future__ import annotations

import m2m  # noqa: F401 - before torch, which M2M_CPU limits

# isort: split
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from shared import best, cpu_time_option, headline, json_option, multiply_adds, product_rate, write_json
from wavenet_agreement import agreement, network

from m2m.core.cpu.libraries import processors
from m2m.dataset.shards import ShardReader
from m2m.vocoders.wavenet.cpu.engine import BITS, GROUP, CpuEngine, available
from m2m.vocoders.wavenet.network import WaveNet
from m2m.vocoders.wavenet.torch_engine import TorchEngine


@dataclass
class SpeedTable:
    """Samples a second of engines of one network, printed as they are measured."""

    net: WaveNet
    cpu_time: bool
    pytorch: dict[int, float] = field(default_factory=dict)  # streams -> samples a second
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = np.random.default_rng(0)
        self.limit = product_rate(self.clock) / multiply_adds(self.net)  # samples a second
        plain = TorchEngine(self.net, dtype=torch.float32)
        self.pytorch = {n: self.rate(plain.generate, n, 1, 2, 2) for n in (1, GROUP)}
        click.echo(headline(self.cpu_time))
        heads = f"{'samples/s':>10} {'x real time':>11} {'x PyTorch':>9} {'of a product':>12}"
        click.echo(f"{'engine':24} {'cores':>5} {'streams':>7} {heads}")
        for n, rate in self.pytorch.items():
            self.add("PyTorch fp32", 1, n, rate)

    @property
    def clock(self) -> Callable[[], float]:
        return time.process_time if self.cpu_time else time.perf_counter

    def rate(self, generate: Callable[..., Any], streams: int, threads: int, frames: int, times: int) -> float:
        """Samples a second over all streams, the best of so many times."""
        spec, shape = self.net.config.mel, (frames, self.net.n_features)
        mels = [self.draw.uniform(spec.silence, 0, shape).astype(np.float32) for _ in range(streams)]
        least, _ = best(lambda: generate(mels, 0, threads=threads), times, self.clock)
        return streams * frames * spec.hop_length / (least / threads if self.cpu_time else least)

    def add(self, engine: str, threads: int, streams: int, rate: float) -> None:
        """Print and keep a row."""
        ratio, share = rate / self.pytorch[min(streams, GROUP)], rate / threads / self.limit
        self.rows.append(
            {"engine": engine, "cores": threads, "streams": streams, "samples/s": rate, "x PyTorch": ratio}
            | {"of a product": share}
        )
        real = rate / self.net.config.mel.sample_rate
        click.echo(f"{engine:24} {threads:5} {streams:7} {rate:10,.0f} {real:11.2f} {ratio:9.1f} {share:12.2f}")


def compare_speed(
    net: WaveNet, seconds: float, repeats: int, instructions: tuple[str, ...], cpu_time: bool
) -> list[dict[str, Any]]:
    """A table of PyTorch and of the kernel in each instruction set and precision."""
    table, cores = SpeedTable(net, cpu_time), processors()
    frames = max(1, round(seconds * net.config.mel.frame_rate))
    for name in instructions:
        for precision in BITS:
            engine = CpuEngine(net, precision, name)
            for threads, streams in dict.fromkeys([(1, 1), (1, GROUP), (cores, cores * GROUP)]):
                rate = table.rate(engine.generate, streams, threads, max(8, frames // streams), repeats)
                table.add(f"{name} {precision}", threads, streams, rate)
    return table.rows


def compare_agreement(net: WaveNet, data: Path | None) -> list[dict[str, Any]]:
    """A table of how near each precision comes to the network in float64."""
    measured = list(excerpts(net, data, round(0.5 * net.config.mel.frame_rate)))
    click.echo(f"\n{'agreement':24} {'logits':>9} {'KL':>9} {'likelihood':>10}")
    rows: list[dict[str, Any]] = []
    for precision in BITS:
        engine = CpuEngine(net, precision)
        found = [agreement(net, mel, samples, engine.expected(samples, mel)) for mel, samples in measured]
        figures = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
        figures["largest difference of logits"] = max(each["largest difference of logits"] for each in found)
        rows.append({"precision": precision, **figures})
        click.echo("{:24} {:9.1e} {:9.1e} {:10.5f}".format(precision, *figures.values()))
    return rows


def excerpts(net: WaveNet, data: Path | None, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Mels (frames, features) and samples to measure agreement on."""
    spec = net.config.mel
    if data is None:
        mel = np.random.default_rng(0).uniform(spec.silence, 0, (16, net.n_features)).astype(np.float32)
        yield mel, CpuEngine(net).generate([mel], 0)[0]
        return
    from m2m.training.pieces import TrainingSegment
    from m2m.training.wavenet import WaveNetRun, WaveNetTask

    task = WaveNetTask(WaveNetRun(model=net.config), data)
    task.validation = ShardReader(data, "test")
    for column, name in enumerate(task.names):
        number = column % len(task.validation)
        middle = task.validation.frames(number, name) // 2
        samples, mel = task.segment(TrainingSegment(task.validation, number, name, middle, frames))
        margin = net.config.margin
        yield mel[margin:-margin], samples[2:]


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="a data set, for agreement")
@click.option("--model", help="folder of a trained model; random weights without")
@click.option("--seconds", default=1.0, show_default=True, help="of audio in a run of the kernel, at least")
@click.option("--repeats", default=5, show_default=True)
@click.option(
    "--instructions", multiple=True, type=click.Choice(available()), help="the best if not given; may be repeated"
)
@cpu_time_option
@json_option
def main(
    data: Path | None,
    model: str | None,
    seconds: float,
    repeats: int,
    instructions: tuple[str, ...],
    cpu_time: bool,
    json_path: Path | None,
) -> None:
    """Compare the speed of WaveNet's CPU engines, and their agreement with the network in float64."""
    net = network(model)
    rows = compare_speed(net, seconds, repeats, instructions or tuple(available()[:1]), cpu_time)
    if net.config.output == "mulaw":
        rows += compare_agreement(net, data)
    write_json(json_path, rows)


if __name__ == "__main__":
    main()
