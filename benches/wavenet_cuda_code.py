"""What is known of WaveNet's CUDA kernels without a GPU: registers, spills, and instructions between two stages.

    pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm       # beside m2m[cuda]
    python benches/wavenet_cuda_code.py --cuobjdump PROGRAM      # PROGRAM: where pip put cuobjdump

Kernels are compiled for the reference's sizes and compute capability 9.0. Counted are the instructions of a layer as they stand
in the code: in the latency regime from a wait at the cluster's barrier to the next arrival there, in the specialised one
from the chain's wait at a layer's mbarrier to its store.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import get_args

import click

from m2m.evaluation.bench.results import markdown
from m2m.vocoders.wavenet.cuda.device import compiled
from m2m.vocoders.wavenet.cuda.plan import DeviceLimits, Precision, Regime, make_plan
from m2m.vocoders.wavenet.network import WaveNetConfig

HOPPER = DeviceLimits((9, 0), 227 << 10, 16, 132)
STAGES: dict[Regime, tuple[str, str]] = {  # the instructions with which a stage begins and ends
    "latency": ("UCGABAR_WAIT", "UCGABAR_ARV"),
    "specialised": ("SYNCS.PHASECHK", "STAS"),
}
ROW = tuple[str, str, int, int, int]


def inspect(cuobjdump: str, precision: Precision, regime: Regime, folder: Path) -> ROW:
    """Precision, regime, registers a thread, bytes a thread that are spilled, instructions of a layer's stage."""
    plan = make_plan(WaveNetConfig(), precision, regime, HOPPER)
    code = folder / "kernel.cubin"
    code.write_bytes(bytes(compiled(plan.constants, HOPPER.capability).code))

    def told(what: str) -> str:
        return subprocess.run([cuobjdump, what, code], check=True, capture_output=True, text=True).stdout

    usage = re.search(r"Function wavenet:\s+REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)", told("-res-usage"))
    assert usage
    registers, stack, local = map(int, usage.groups())
    sass = next(part for part in told("-sass").split("Function : ") if part.startswith("wavenet\n"))
    instructions = re.findall(r"/\*[0-9a-f]{4,5}\*/ +(?:@!?U?P\d+ +)?([A-Z][\w.]*)", sass)
    return precision, regime, registers, stack + local, stage(instructions, *STAGES[regime])


def stage(instructions: list[str], begin: str, end: str) -> int:
    """Instructions of the first layer loop: from the first `begin` after which an `end` comes, to that one.

    >>> stage(["WAIT", "FFMA", "FFMA", "STORE", "WAIT"], "WAIT", "STORE")
    2
    """
    first = next(i for i, name in enumerate(instructions) if name.startswith(begin))
    return next(i for i, name in enumerate(instructions[first:]) if name.startswith(end)) - 1


@click.command()
@click.option("--cuobjdump", default="cuobjdump", show_default=True, help="the program; it finds nvdisasm beside it")
def main(cuobjdump: str) -> None:
    """Print the table for sm_90."""
    if folder := os.path.dirname(cuobjdump):
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            inspect(cuobjdump, precision, regime, Path(folder))
            for precision in get_args(Precision)
            for regime in STAGES
        ]
    click.echo(markdown(["precision", "regime", "registers", "bytes spilled", "instructions of a stage"], rows))


if __name__ == "__main__":
    main()
