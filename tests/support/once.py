"""Folders that are made once for all of pytest-xdist's processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder of a name, new and empty where it is given to `make`. Not to be written to by others."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    whole = folder.with_suffix(".made")
    with FileLock(folder.with_suffix(".lock")):
        if not whole.exists():
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder
