"""Where the C++ kernels are: libraries beside their sources in cpu/, each if it was built at installation (setup.py)."""

from __future__ import annotations

import sysconfig
from pathlib import Path


def kernel(name: str) -> Path:
    """The library of that name, which need not be there."""
    return Path(__file__).with_name("cpu") / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
