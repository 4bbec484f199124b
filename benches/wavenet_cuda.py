"""WaveNet on a GPU: agreement with the network in float64, and speed in each regime, beside nv-wavenet on the same GPU.

    python benches/wavenet_cuda.py -o out                            # random weights of the reference's size
    python benches/wavenet_cuda.py -o out --model FOLDER --nv-wavenet PROGRAM
    python benches/wavenet_cuda.py -o out --regime latency --regime specialised --regime balanced

PROGRAM is nv-wavenet's own speed test (its `nv_wavenet_perf`), which whoever wants the comparison builds from its public
source for this GPU; it is run in each of its modes, in half precision, with these sizes. It gets its conditioning for nothing,
where ours is computed from the mel within the time. It indexes with 32-bit integers, takes at most 4 streams a block, and its
dual-block mode holds only half as many blocks as there are multiprocessors: `nv_sizes` and `nv_samples` keep within that. Its
figure includes a dump of activations unless its source was built without.

Speed is samples a second, over all streams, by the clock: from mels in the computer's memory to samples there, the better of two
runs that take about `--seconds` together. How long they may be is measured by a short one, which is the measure itself where it
takes as long. All rows take less than 90 s, by the speeds measured on an H200; nv-wavenet's no more than 30 of them. Written
are OUT/wavenet_cuda.json and, as a table, OUT/wavenet_cuda.md.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, get_args

import click
import numpy as np
from shared import best, write_json
from wavenet_agreement import agreement, network

from m2m.core.errors import M2MError
from m2m.evaluation.bench.results import markdown
from m2m.vocoders.wavenet.cuda.device import CudaDevice, available
from m2m.vocoders.wavenet.cuda.engine import FEW, CudaEngine
from m2m.vocoders.wavenet.cuda.plan import Precision, Regime
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig
from m2m.vocoders.wavenet.torch_engine import TorchEngine

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
REGIMES: tuple[Regime, ...] = get_args(Regime)
MEASURED: tuple[Regime, ...] = ("latency", "throughput")  # on a GPU, so far
STREAMS = (
    16,
    63,
    132,
    264,
)  # of the balanced regime, beside as many as run side by side; a piece of 126 s has 63 segments
NV_MODES = {1: "single block", 2: "dual block", 3: "persistent", 4: "manyblock"}
NV_SECONDS, NV_TIMEOUT = 30.0, 10.0  # of all its runs, and of one
PROBE, LONGEST = 8, 1024  # frames of a stream: of the short run, and the most of a counted one
Row = dict[str, Any]


class Generates(Protocol):
    """What is timed: an engine."""

    def generate(self, mels: list[np.ndarray], seed: int) -> list[np.ndarray]: ...


def measure(net: WaveNet, device: str, seconds: float, regimes: Sequence[Regime]) -> tuple[list[Row], list[Row]]:
    """Agreement and speed of the engine in each precision and in these regimes."""
    draw, spec = np.random.default_rng(0), net.config.mel

    def mels(count: int, frames: int) -> list[np.ndarray]:
        return [draw.uniform(spec.silence, 0, (frames, net.n_features)).astype(np.float32) for _ in range(count)]

    (given,) = mels(1, 16)
    samples = TorchEngine(net).generate([given], 0)[0]
    agreements: list[Row] = []
    speeds: list[Row] = []
    for precision, regime in ((precision, regime) for precision in PRECISIONS for regime in regimes):
        began = time.perf_counter()
        try:
            engine = CudaEngine(net, precision, regime, device)
        except M2MError as error:
            click.echo(str(error))
            continue
        ready = time.perf_counter() - began
        if net.config.output == "mulaw":
            figures = agreement(net, given, samples, engine.expected(samples, given))
            same = float((engine.generate([given], 0)[0] == samples).mean())
            row = {"precision": precision, "regime": regime, **figures, "samples drawn alike": same, "ready, s": ready}
            agreements.append(row)
        full = engine.side_by_side
        sizes = {
            "latency": (1, FEW, full),
            "specialised": (1, FEW),
            "balanced": (*STREAMS, full),
            "throughput": (full, 4 * full),
        }
        for streams in dict.fromkeys(sizes[regime]):
            rate = samples_a_second(engine, mels(streams, PROBE), seconds)
            speeds.append(speed_row(net, "m2m", precision, regime, streams, rate))
    return agreements, speeds


def samples_a_second(engine: Generates, mels: list[np.ndarray], seconds: float) -> float:
    """Over all streams, the better of two runs that take about `seconds` together.

    mels: of each stream, (PROBE, features): a short run, and the beginning of the counted ones, which repeat it.
    """
    taken, samples = best(lambda: engine.generate(mels, 0), 2)  # the second is warm
    times = min(LONGEST // PROBE, round(seconds / 2 / taken))
    if times > 1:
        long = [np.tile(mel, (times, 1)) for mel in mels]
        taken, samples = best(lambda: engine.generate(long, 0), 2)
    return sum(map(len, samples)) / taken


def speed_row(net: WaveNet, engine: str, precision: str, regime: str, streams: int, rate: float) -> Row:
    """A figure, printed and as it is kept."""
    real = rate / net.config.mel.sample_rate
    click.echo(f"{engine:12} {precision:6} {regime:14} {streams:6} {rate:14,.0f} {real:10.1f}")
    return {
        **{"engine": engine, "precision": precision, "regime": regime, "streams": streams},
        **{"samples/s": rate, "x real time": real, "x real time a stream": real / streams},
    }


def measure_nv_wavenet(net: WaveNet, program: str, processors: int) -> list[Row]:
    """Speed of nv-wavenet in each of its modes that runs, as far as the time goes."""
    rows, end = [], time.monotonic() + NV_SECONDS
    for mode, name in NV_MODES.items():
        for streams, a_block in nv_sizes(mode, processors):
            left = min(NV_TIMEOUT, end - time.monotonic())
            if left <= 0:
                click.echo(f"nv-wavenet, {name}, {streams} streams: no time is left")
            elif (rate := nv_wavenet(program, net.config, streams, a_block, mode, left)) is not None:
                rows.append(speed_row(net, "nv-wavenet", "fp16", name, streams, rate))
    return rows


def nv_sizes(mode: int, processors: int) -> list[tuple[int, int]]:
    """(streams, streams a block) that a mode of nv-wavenet can do: its dual-block mode wants two processors a block."""
    blocks = processors // 2 if NV_MODES[mode] == "dual block" else processors
    return [(1, 1), (blocks, 1), (4 * blocks, 4)]


def nv_samples(c: WaveNetConfig, streams: int) -> int:
    """Samples a stream that nv-wavenet's conditioning, 2 residual x layers numbers a sample and stream, can be indexed for."""
    return max(1, min(16384, ((1 << 31) - (1 << 17)) // (2 * c.residual * c.layers * streams)))


def nv_wavenet(program: str, c: WaveNetConfig, streams: int, a_block: int, mode: int, seconds: float) -> float | None:
    """Samples a second over all streams, or None where that mode does not run, or not to its end in so many seconds."""
    sizes = {"l": c.layers, "r": c.residual, "s": c.skip, "a": c.classes, "d": max(c.dilations)}
    sizes |= {"b": streams, "c": a_block, "n": nv_samples(c, streams), "m": mode, "p": 16}
    arguments = [part for name, value in sizes.items() for part in (f"-{name}", str(value))]
    try:
        done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    found = re.search(r"Sample rate: ([\d.]+) kHz", done.stdout)
    return float(found[1]) * 1000 * streams or None if found else None


@click.command()
@click.option(
    "-o", "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="folder of the results"
)
@click.option("--model", help="folder of a trained model; random weights without")
@click.option("--device", default="cuda", show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="that a row's counted runs may take")
@click.option(
    "--regime",
    "regimes",
    type=click.Choice(REGIMES),
    multiple=True,
    default=MEASURED,
    show_default=True,
    help="to measure",
)
@click.option(
    "--nv-wavenet", "program", type=click.Path(exists=True, dir_okay=False), help="its nv_wavenet_perf, built"
)
def main(
    out: Path, model: str | None, device: str, seconds: float, regimes: tuple[Regime, ...], program: str | None
) -> None:
    """Measure WaveNet's CUDA engine."""
    if reason := available():
        raise click.ClickException(f"no GPU to measure: {reason}")
    net, gpu = network(model), CudaDevice(int(device.partition(":")[2] or 0))
    click.echo(f"{gpu.name}: {gpu.limits}, {gpu.limits.processors} multiprocessors")
    click.echo(f"{'engine':12} {'prec.':6} {'regime':14} {'streams':>6} {'samples/s':>14} {'x real':>10}")
    agreements, speeds = measure(net, device, seconds, regimes)
    if program:
        speeds += measure_nv_wavenet(net, program, gpu.limits.processors)
    out.mkdir(parents=True, exist_ok=True)
    about = {"gpu": gpu.name, "limits": str(gpu.limits), "multiprocessors": gpu.limits.processors}
    write_json(out / "wavenet_cuda.json", about | {"agreement": agreements, "speed": speeds})
    tables = "\n\n".join(table(rows) for rows in (agreements, speeds) if rows)
    (out / "wavenet_cuda.md").write_text(f"{gpu.name}\n\n{tables}\n", encoding="utf-8")
    click.echo(f"{out / 'wavenet_cuda.md'}")


def table(rows: list[Row]) -> str:
    """Rows as Markdown."""
    return markdown(list(rows[0]), [[f"{x:.4g}" if isinstance(x, float) else x for x in row.values()] for row in rows])


if __name__ == "__main__":
    main()
