"""The C++ kernels: libraries beside their sources in cpu/, each if it was built at installation (setup.py)."""

from __future__ import annotations

import ctypes
import sysconfig
from pathlib import Path

from m2m.core.system import processor


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
