"""The C++ kernels: libraries beside their sources in cpu/, each if it was built at installation (setup.py)."""

from __future__ import annotations

import ctypes
import sysconfig
from pathlib import Path


def kernel(name: str) -> Path:
    """The library of that name, which need not be there."""
    return Path(__file__).with_name("cpu") / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"


def load(name: str, supported: str) -> ctypes.CDLL | None:
    """That library, or None where it was not built or its function `supported` says that this processor cannot run it."""
    try:
        lib = ctypes.CDLL(str(kernel(name)))
    except OSError:
        return None
    return lib if lib[supported]() else None
