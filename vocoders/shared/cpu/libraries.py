"""The C++ kernels: libraries beside their sources in cpu/, each if it was built at installation (setup.py)."""

from __future__ import annotations

import ctypes
import sysconfig
from pathlib import Path


def kernel(folder: Path, name: str) -> Path:
    """The library of that name in the folder of its sources; it may not be there."""
    return folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"


def load(folder: Path, name: str, supported: str) -> ctypes.CDLL | None:
    """That library, or None where it was not built or its function `supported` says that this processor cannot run it."""
    try:
        lib = ctypes.CDLL(str(kernel(folder, name)))
    except OSError:
        return None
    return lib if lib[supported]() else None
