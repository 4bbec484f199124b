"""A GPU without a GPU: the CUDA engine's own kernel source on the CPU.

Between the engine and the driver stands `Device`; here it is a library that g++ makes of the kernel and of emulator.h, which
says how threads, barriers, clusters and tensor cores are emulated.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from m2m.core.mel import MelSpec
from m2m.vocoders.wavenet.cuda.device import PLAIN, SOURCES, Memory
from m2m.vocoders.wavenet.cuda.plan import DeviceLimits, Plan

HERE = Path(__file__).parent
HEADERS = HERE / "emulator_headers.h"
COMPILED = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC")
KERNELS = ("wavenet", "upsample", "upsample_last")
SMALL: dict[
    str, Any
] = {  # two rounds of dilations, hops that nothing divides, bands and classes that are no multiple of 16
    "layers": 5,
    "dilation_cycle": 3,
    "residual": 16,
    "skip": 32,
    "classes": 24,
    "upsample": ((5, 3), (4, 2)),
    "mel": MelSpec(hop_length=6, n_mels=10),
}
HOPPER, AMPERE, VOLTA = (
    DeviceLimits((9, 0), 227 << 10, 16),
    DeviceLimits((8, 0), 163 << 10),
    DeviceLimits((7, 0), 96 << 10),
)


def compile_headers(libraries: Path) -> None:
    """Compile once what every library begins with, a third of its time."""
    shutil.copy(HEADERS, libraries)
    out = libraries / f"{HEADERS.name}.gch"
    subprocess.run(["g++", *COMPILED, "-x", "c++-header", HEADERS, "-o", out], check=True)


class Emulated:
    """A GPU on the CPU, and what it has compiled.

    order: in which threads get their turns, 0 forward, 1 backward, else shuffled.
    """

    library: ctypes.CDLL
    plan: Plan
    clusters: int

    def __init__(
        self,
        libraries: Path,
        limits: DeviceLimits,
        order: int = 0,
        threads: int = 32,
        lanes: int = 2,
        sources: Path = SOURCES,
    ) -> None:
        self.libraries, self.limits, self.order = libraries, limits, order
        self.threads, self.lanes, self.sources = threads, lanes, sources
        self.launches: list[tuple[str, int]] = []

    def memory(self, size: int) -> Buffer:
        return Buffer(np.zeros(size + 128, np.uint8))

    def write(self, memory: Memory, array: NDArray[Any]) -> None:
        ctypes.memmove(memory.handle, array.ctypes.data, array.nbytes)

    def read(self, memory: Memory, array: NDArray[Any]) -> None:
        ctypes.memmove(array.ctypes.data, memory.handle, array.nbytes)

    def compile(self, plan: Plan) -> Emulated | None:
        fewer = {"THREADS": self.threads, "LANES": self.lanes}
        if plan.roles:
            warps = plan.roles[0], 2, min(2, plan.roles[2])
            plan = replace(plan, roles=warps, threads=32 * sum(warps))
            fewer = {"LANES": self.lanes}
        constants = plan.constants | fewer
        flags = ["-shared", f"-I{HERE}", f"-I{self.sources}"]
        flags += [f"-D{name}={value}" for name, value in constants.items()]
        name = hashlib.sha256(repr((flags, self.sources)).encode()).hexdigest()
        target, new = self.libraries / f"{name}.so", self.libraries / f"{name}.{os.getpid()}"
        if not target.exists():
            command = ["g++", *COMPILED, "-include", str(self.libraries / HEADERS.name), *flags]
            subprocess.run([*command, HERE / "emulate.cpp", "-o", new], check=True)
            new.rename(target)
        made = copy(self)
        made.library, made.plan, made.clusters = ctypes.CDLL(str(target)), plan, self.limits.processors // plan.blocks
        return made

    def launch(self, name: str, grid: int, *arguments: Any) -> None:
        self.launches.append((name, grid))
        values = [np.array(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        plain = name != "wavenet"
        threads, shared = (
            (PLAIN, 0) if plain else (self.plan.threads if self.plan.roles else self.threads, self.plan.shared)
        )
        assert self.library.emulate(KERNELS.index(name), grid, threads, shared, self.order, pointers), "deadlock"


Emulator: TypeAlias = Callable[..., Emulated]  # limits and options -> a GPU whose libraries are kept for the next


class Buffer:
    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.handle = -(-array.ctypes.data // 128) * 128


def cluster(blocks: int) -> DeviceLimits:
    return replace(HOPPER, cluster=blocks)
