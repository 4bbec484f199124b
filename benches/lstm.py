"""How fast Mel2Mel's LSTM runs on one core: the kernel of core/lstm beside PyTorch's LSTM, of the same weights.

    python benches/lstm.py

Figures are seconds of mel that are kept per second of processor: windows of WINDOW frames with CONTEXT on both sides, as
`Mel2Mel.predict` has them, one window (the first sound of a stream) and eight. PyTorch is measured on the processor as it is, or
as M2M_CPU has it. "error": the greatest of the int8 states, float32's are within 1e-5.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import click
import torch
from torch import Tensor, nn

from m2m.core.lstm.engine import CpuLstm, available
from m2m.core.mel2mel import CONTEXT, WINDOW
from m2m.evaluation.bench.results import markdown

FRAME_RATE = 125.0
RUNS = 5


def speed(run: Callable[[Tensor], Tensor], features: Tensor) -> tuple[float, Tensor]:
    """Kept seconds per second of processor, the best of some runs, and the states."""
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        states = run(features)
        seconds.append(time.process_time() - start)
    return len(features) * WINDOW / FRAME_RATE / min(seconds), states


@click.command()
@click.option("--hidden", default=[512, 256], multiple=True, help="units of each direction: gm has 512, film 256")
@click.option("--windows", default=[1, 8], multiple=True)
def main(hidden: tuple[int, ...], windows: tuple[int, ...]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    rows: list[list[str]] = []
    for size in hidden:
        torch.manual_seed(0)
        lstm = nn.LSTM(size, size, batch_first=True, bidirectional=True).eval().requires_grad_(False)
        kernels = {f"{name}, int8": CpuLstm(lstm, "int8", name) for name in available()}
        for count in windows:
            features = torch.randn(count, WINDOW + 2 * CONTEXT, size)
            base, wanted = speed(lambda x, lstm=lstm: lstm(x)[0][:, CONTEXT:-CONTEXT], features)  # type: ignore[misc]
            rows.append([str(size), str(count), "PyTorch, float32", f"{base:.0f} x", "1", "0"])
            for name, kernel in kernels.items():
                fast, states = speed(lambda x, kernel=kernel: kernel(x, CONTEXT), features)  # type: ignore[misc]
                error = f"{(states - wanted).abs().max():.3f}"
                rows.append([str(size), str(count), name, f"{fast:.0f} x", f"{fast / base:.1f}", error])
    print(markdown(["hidden", "windows", "LSTM", "real time", "of PyTorch's", "error"], rows))


if __name__ == "__main__":
    main()
