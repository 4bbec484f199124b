"""WaveNet on the CPU: the kernel against plain PyTorch, on the same weights in the same run.

    python benches/wavenet.py                          # two minutes; random weights of the reference's size
    python benches/wavenet.py --model models/wavenet-mulaw-16k --data DATA --json out.json

Speed in samples a second, summed over the streams, and how many times real time that is; the mel is brought to the rate of
samples inside. One core runs one stream and then a group of eight; then all cores, eight streams each. `x PyTorch` is against
the same number of streams in a loop over samples in eager float32 on one thread. Each figure is the best of `--repeats`, by the
clock or, on a machine that others use, by the processor time of this process (`--cpu-time`; of all cores, a core's share).

Agreement is with the network in float64: mean divergence and loss of likelihood, nats a sample. Without DATA (a folder of
`m2m dataset build`) on samples that it drew itself from a random mel; with it on half a second of each instrument from the
middle of the first test files, which is what decides the default precision.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from m2m.dataset.shards import ShardReader
from m2m.vocoders.wavenet.cpu.engine import BITS, GROUP, CpuEngine, available, processors
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig, load_wavenet
from m2m.vocoders.wavenet.torch_engine import TorchEngine


def network(model: str | None) -> WaveNet:
    if model:
        return load_wavenet(Path(model))[0]
    torch.manual_seed(0)
    network = WaveNet(WaveNetConfig())
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, (weight[0].numel() if weight.dim() > 1 else 100) ** -0.5)
        network.end.weight *= 3  # neither flat nor certain
    return network


def agreement(model: WaveNet, mel: np.ndarray, samples: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    twin = WaveNet(model.config).double()
    twin.load_state_dict(model.state_dict())
    with torch.inference_mode():
        given = torch.cat([twin.silence(2), torch.from_numpy(samples).long()])[None]
        truth = twin(given, torch.from_numpy(mel).double()[None])[0]
    p, q = truth.log_softmax(-1), torch.from_numpy(expected).double().log_softmax(-1)
    at = torch.arange(len(samples)), torch.from_numpy(samples).long()
    return {
        "largest difference of logits": float((torch.from_numpy(expected) - truth).abs().max()),
        "KL": float((p.exp() * (p - q)).sum(-1).mean()),
        "loss of likelihood": float((p[at] - q[at]).mean()),
    }


def windows(net: WaveNet, data: Path | None, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Mels (frames, features) and samples to measure agreement on."""
    spec = net.config.mel
    if data is None:
        mel = np.random.default_rng(0).uniform(spec.silence, 0, (16, net.n_features)).astype(np.float32)
        yield mel, CpuEngine(net).generate([mel], 0)[0]
        return
    from m2m.training.segments import TrainingSegment
    from m2m.training.wavenet import WaveNetRun, WaveNetTask

    task = WaveNetTask(WaveNetRun(model=net.config), data)
    task.validation = ShardReader(data, "test")
    for number, name in enumerate(task.names):
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
@click.option("--cpu-time", is_flag=True, help="count processor time instead of the clock's")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), help="write the figures there as well")
def main(
    data: Path | None,
    model: str | None,
    seconds: float,
    repeats: int,
    instructions: tuple[str, ...],
    cpu_time: bool,
    json_path: str | None,
) -> None:
    """Compare the speed of WaveNet's CPU engines."""
    net = network(model)
    spec, cores = net.config.mel, processors()
    draw = np.random.default_rng(0)

    def best(generate: Callable[..., Any], streams: int, threads: int, frames: int, times: int) -> float:
        """Samples a second."""
        mels = [draw.uniform(spec.silence, 0, (frames, net.n_features)).astype(np.float32) for _ in range(streams)]
        clock = time.process_time if cpu_time else time.perf_counter
        least = np.inf
        for _ in range(times):
            began = clock()
            generate(mels, 0, threads=threads)
            least = min(least, (clock() - began) / (threads if cpu_time else 1))
        return streams * frames * spec.hop_length / least

    plain = TorchEngine(net, dtype=torch.float32)
    pytorch = {n: best(plain.generate, n, 1, 2, 2) for n in (1, GROUP)}
    rows: list[dict[str, Any]] = []
    click.echo(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {'processor time' if cpu_time else 'clock'}"
    )
    click.echo(f"{'engine':24} {'cores':>5} {'streams':>7} {'samples/s':>10} {'x real time':>11} {'x PyTorch':>9}")

    def report(engine: str, threads: int, streams: int, rate: float) -> None:
        ratio = rate / pytorch[min(streams, GROUP)]
        rows.append({"engine": engine, "cores": threads, "streams": streams, "samples/s": rate, "x PyTorch": ratio})
        real = rate / spec.sample_rate
        click.echo(f"{engine:24} {threads:5} {streams:7} {rate:10,.0f} {real:11.2f} {ratio:9.1f}")

    for n, rate in pytorch.items():
        report("PyTorch fp32", 1, n, rate)
    frames = max(1, round(seconds * spec.frame_rate))
    for name in instructions or available()[:1]:
        for precision in BITS:
            engine = CpuEngine(net, precision, name)
            for threads, streams in dict.fromkeys([(1, 1), (1, GROUP), (cores, cores * GROUP)]):
                length = max(8, frames // streams)
                report(
                    f"{name} {precision}", threads, streams, best(engine.generate, streams, threads, length, repeats)
                )

    if net.config.output == "mulaw":
        measured = list(windows(net, data, round(0.5 * spec.frame_rate)))
        click.echo(f"\n{'agreement':24} {'logits':>9} {'KL':>9} {'likelihood':>10}")
        for precision in BITS:
            engine = CpuEngine(net, precision)
            found = [agreement(net, mel, samples, engine.expected(samples, mel)) for mel, samples in measured]
            figures = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
            figures["largest difference of logits"] = max(each["largest difference of logits"] for each in found)
            rows.append({"precision": precision, **figures})
            click.echo("{:24} {:9.1e} {:9.1e} {:10.5f}".format(precision, *figures.values()))
    if json_path:
        Path(json_path).write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
