"""The C++ kernels: libraries beside their sources in cpu/, each if it was built at installation (setup.py)."""

from __future__ import annotations

import ctypes
import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from m2m.core.system import processor
from m2m.core.vocoder import EngineReport

INSTRUCTION_SETS = ("avx512_bf16", "avx512", "avx2", "generic")  # of the kernels that make sound, best first


def kernel(folder: Path, name: str) -> Path:
    """The library of that name in the folder of its sources; it may not be there."""
    return folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"


def load(folder: Path, name: str, supported: str) -> ctypes.CDLL | None:
    """That library, or None where it was not built, or this processor, or the one that M2M_CPU names, cannot run it.

    name: the instruction set, perhaps after a prefix ("stack_amx"). supported: the library's function that says so.
    """
    if not processor.allows(name.removeprefix("stack_")):
        return None
    try:
        lib = ctypes.CDLL(str(kernel(folder, name)))
    except OSError:
        return None
    return lib if lib[supported]() else None


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def report(folder: Path, runs: Sequence[str], otherwise: str, beyond: str) -> EngineReport:
    """What `m2m doctor` says of a vocoder's kernels, and how to get better ones that were not built.

    runs: the instruction sets whose kernel runs here, best first. otherwise: what computes where none does.
    beyond: why nothing faster than a kernel is used.
    """
    name = f"the C++ kernel for {runs[0]}" if runs else otherwise
    better = INSTRUCTION_SETS[: INSTRUCTION_SETS.index(runs[0])] if runs else INSTRUCTION_SETS
    if unbuilt := [instructions for instructions in better if not kernel(folder, instructions).exists()]:
        cure = "apt-get install g++ && pip install --force-reinstall --no-deps m2m"
        return EngineReport(name, f"its kernel was not built for {', '.join(unbuilt)}", cure)
    return EngineReport(name, beyond)
