"""librosa, which is compared with and is no part of m2m."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def librosa() -> Any:
    """librosa, imported by one process at a time.

    Its import compiles functions into a cache on disk. numba numbers the cache's files by an index that it reads, extends and
    writes without a lock: of two processes that do so at once, one overwrites the other's code with that of another signature,
    and whoever calls it later crashes.
    """
    with (Path(tempfile.gettempdir()) / "m2m-librosa.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = pytest.importorskip("librosa", reason="librosa is not installed")
        pytest.importorskip("librosa.onset")  # its parts are imported at their first use
        pytest.importorskip("librosa.core.constantq")
    return found
