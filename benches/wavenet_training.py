"""How fast WaveNet trains on a CPU: steps through the kernel of vocoders/shared/cpu/stack.h beside steps in plain PyTorch.

    python benches/wavenet_training.py
    python benches/wavenet_training.py --threads 1 --batch 2

A step is forward, backward and Adam under bfloat16 autocast, on noise: the reference's sizes, or a student's flows
(`--residual 32 --skip 32 --layers 10`). Both take turns, round by round; the figures are medians, in samples a second.
"""

from __future__ import annotations

import statistics
import time
from unittest.mock import patch

import click
import torch

from m2m.training import memory
from m2m.training.losses.nll import nll
from m2m.vocoders.shared.cpu import training_stack
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig


@click.command()
@click.option("--threads", default=2, show_default=True)
@click.option("--batch", default=4, show_default=True, help="Windows a step.")
@click.option("--frames", default=64, show_default=True, help="Of 128 samples, in a window.")
@click.option("--layers", default=20, show_default=True)
@click.option("--residual", default=64, show_default=True)
@click.option("--skip", default=256, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(threads: int, batch: int, frames: int, layers: int, residual: int, skip: int, rounds: int) -> None:
    """Compare the kernel with PyTorch, step by step."""
    memory.keep()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = WaveNet(WaveNetConfig(layers=layers, residual=residual, skip=skip))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    samples = torch.randint(0, 256, (batch, 2 + frames * 128))
    features = -11 * torch.rand(batch, frames + 2, 80)

    def step() -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = nll(model(samples, features), samples[:, 2:], "mulaw").mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return time.perf_counter() - began

    def plainly() -> float:
        with patch.object(training_stack, "does", lambda *_: False):
            return step()

    ways = {"PyTorch": plainly}
    if libraries := training_stack.available():
        ways[f"kernel ({libraries[0]})"] = step
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):  # the first one warms up
        for name, way in ways.items():
            seconds = way()
            if number:
                taken[name].append(seconds)
    made = batch * frames * 128
    plain = statistics.median(taken["PyTorch"])
    for name, times in taken.items():
        median = statistics.median(times)
        click.echo(f"{name}: {made / median:,.0f} samples/s, {median:.3f} s a step, {plain / median:.2f} x PyTorch")


if __name__ == "__main__":
    main()
