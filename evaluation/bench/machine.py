"""The machine that figures are measured on: its name, its memory. Imports torch only where a GPU is asked for."""

from __future__ import annotations

import os
import platform
import resource
import sys
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=2)
def machine(device: str) -> str:
    """The device by name, and how many of this machine's processors there are to use."""
    cores = f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} processors"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    if device.startswith("cuda"):
        import torch

        if torch.cuda.is_available():
            return f"{torch.cuda.get_device_name(device)}; {processor}, {cores}"
    return f"{processor}, {cores}"


def peak_mb() -> float:
    """Peak resident memory of this process so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def gpu_peak_mb(device: str) -> float | None:
    """Peak memory that PyTorch has taken of a GPU in this process, MB; None where there is none."""
    if not device.startswith("cuda"):
        return None
    import torch

    return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)


def synchronise(device: str) -> None:
    """Wait until a GPU has finished all queued work."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
