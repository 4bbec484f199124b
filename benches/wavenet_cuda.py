"""WaveNet on a GPU: agreement with the network in float64, and speed in both regimes, beside nv-wavenet on the same GPU.

    python benches/wavenet_cuda.py -o out                            # some minutes; random weights of the reference's size
    python benches/wavenet_cuda.py -o out --model FOLDER --nv-wavenet PROGRAM

PROGRAM is nv-wavenet's own speed test (its `nv_wavenet_perf`), which whoever wants the comparison builds from its public
source for this GPU; it is run in each of its modes, in half precision, with these sizes. It gets its conditioning for nothing,
where ours is computed from the mel within the time.

Speed is samples a second, over all streams, by the clock: from mels in the computer's memory to samples there, the best of
`--repeats` after one run that is not counted. Written are OUT/wavenet_cuda.json and, as a table, OUT/wavenet_cuda.md.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from wavenet import network

from m2m.core.errors import M2MError
from m2m.vocoders.wavenet.cuda.device import CudaDevice, available
from m2m.vocoders.wavenet.cuda.engine import FEW, CudaEngine
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig
from m2m.vocoders.wavenet.torch_engine import TorchEngine

PRECISIONS = ("fp32", "fp16", "bf16")
REGIMES = ("latency", "throughput")
NV_MODES = {1: "single block", 2: "dual block", 3: "persistent", 4: "manyblock"}


def truth(model: WaveNet, mel: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """What the network expects in float64, teacher-forced: (samples, classes)."""
    twin = WaveNet(model.config).double()
    twin.load_state_dict(model.state_dict())
    with torch.inference_mode():
        given = torch.cat([twin.silence(2), torch.from_numpy(samples).long()])[None]
        return twin(given, torch.from_numpy(mel).double()[None])[0].numpy()


def agreement(expected: np.ndarray, wanted: np.ndarray, samples: np.ndarray) -> dict[str, float]:
    p, q = (torch.from_numpy(x).double().log_softmax(-1) for x in (wanted, expected))
    at = torch.arange(len(samples)), torch.from_numpy(samples).long()
    return {
        "largest difference of logits": float(np.abs(expected - wanted).max()),
        "KL": float((p.exp() * (p - q)).sum(-1).mean()),
        "loss of likelihood": float((p[at] - q[at]).mean()),
    }


def samples_a_second(engine: CudaEngine, mels: list[np.ndarray], repeats: int) -> float:
    least = np.inf
    for turn in range(repeats + 1):
        began = time.perf_counter()
        drawn = engine.generate(mels, 0)
        took = time.perf_counter() - began
        least = min(least, took) if turn else least
    return sum(map(len, drawn)) / least


def nv_wavenet(program: str, c: WaveNetConfig, streams: int, a_block: int, mode: int) -> float | None:
    """Samples a second over all streams, or None where that mode does not run."""
    sizes = {"l": c.layers, "r": c.residual, "s": c.skip, "a": c.classes, "d": max(c.dilations)}
    sizes |= {"b": streams, "c": a_block, "n": 16384, "m": mode, "p": 16}
    arguments = [part for name, value in sizes.items() for part in (f"-{name}", str(value))]
    try:
        done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True, timeout=300)
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
@click.option("--seconds", default=4.0, show_default=True, help="of audio a stream")
@click.option("--repeats", default=3, show_default=True)
@click.option(
    "--nv-wavenet", "program", type=click.Path(exists=True, dir_okay=False), help="its nv_wavenet_perf, built"
)
def main(out: Path, model: str | None, device: str, seconds: float, repeats: int, program: str | None) -> None:
    """Measure WaveNet's CUDA engine."""
    if reason := available():
        raise click.ClickException(f"no GPU to measure: {reason}")
    net, draw = network(model), np.random.default_rng(0)
    spec, config, gpu = net.config.mel, net.config, CudaDevice(int(device.partition(":")[2] or 0))

    def mels(count: int, frames: int) -> list[np.ndarray]:
        return [draw.uniform(spec.silence, 0, (frames, net.n_features)).astype(np.float32) for _ in range(count)]

    def row(engine: str, precision: str, regime: str, streams: int, rate: float) -> dict[str, Any]:
        real = rate / spec.sample_rate
        click.echo(f"{engine:12} {precision:6} {regime:14} {streams:6} {rate:14,.0f} {real:10.1f}")
        return {
            **{"engine": engine, "precision": precision, "regime": regime, "streams": streams},
            **{"samples/s": rate, "x real time": real, "x real time a stream": real / streams},
        }

    (given,) = mels(1, 16)
    samples = TorchEngine(net).generate([given], 0)[0]
    wanted = truth(net, given, samples) if config.output == "mulaw" else None
    agreements, speeds = [], []
    click.echo(f"{gpu.name}: {gpu.limits}, {gpu.limits.processors} multiprocessors")
    click.echo(f"{'engine':12} {'prec.':6} {'regime':14} {'streams':>6} {'samples/s':>14} {'x real':>10}")
    for precision in PRECISIONS:
        for regime in REGIMES:
            try:
                began = time.perf_counter()
                engine = CudaEngine(net, precision, regime, device)
                ready = time.perf_counter() - began
            except M2MError as error:
                click.echo(str(error))
                continue
            if wanted is not None:
                figures = agreement(engine.expected(samples, given), wanted, samples)
                same = float((engine.generate([given], 0)[0] == samples).mean())
                agreements.append(
                    {
                        "precision": precision,
                        "regime": regime,
                        **figures,
                        "samples drawn alike": same,
                        "ready, s": ready,
                    }
                )
            full = engine.side_by_side
            frames = round(seconds * spec.frame_rate)
            for streams in dict.fromkeys((1, FEW, full) if regime == "latency" else (full, 4 * full)):
                rate = samples_a_second(engine, mels(streams, frames), repeats)
                speeds.append(row("m2m", precision, regime, streams, rate))
    if program:
        for mode, name in NV_MODES.items():
            for streams, a_block in (
                (1, 1),
                (gpu.limits.processors, 1),
                (4 * gpu.limits.processors, 4),
                (16 * gpu.limits.processors, 16),
            ):
                rate = nv_wavenet(program, config, streams, max(1, a_block), mode)
                if rate is not None:
                    speeds.append(row("nv-wavenet", "fp16", name, streams, rate))

    out.mkdir(parents=True, exist_ok=True)
    found = {
        "gpu": gpu.name,
        "limits": str(gpu.limits),
        "multiprocessors": gpu.limits.processors,
        "agreement": agreements,
        "speed": speeds,
    }
    (out / "wavenet_cuda.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (out / "wavenet_cuda.md").write_text(f"{gpu.name}\n\n{table(agreements)}\n{table(speeds)}", encoding="utf-8")
    click.echo(f"{out / 'wavenet_cuda.md'}")


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{x:.4g}" if isinstance(x, float) else str(x) for x in row.values()] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
