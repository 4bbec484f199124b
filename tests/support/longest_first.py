"""The order of tests in several processes: the files that take longest first, so that no process works alone at the end.

pytest-xdist (--dist worksteal) gives every process a stretch of the tests as they are ordered, and moves what comes last in a
stretch to a process that has done its own.
"""

from __future__ import annotations

import os
from itertools import islice

import pytest

# Ten seconds of processor and more, most first.
LONGEST = (
    "test_machines.py",
    "bench/test_sweep.py",
    "cuda/test_engine.py",
    "commands/test_render.py",
    "commands/test_strange_folder.py",
    "web/test_page.py",
    "web/test_page_state.py",
    "test_compatibility.py",
    "test_examples.py",
    "test_packaging.py",
    "training/test_distributed.py",
    "training/test_parallel_wavenet.py",
    "web/test_limits.py",
    "web/test_api.py",
    "test_hostile.py",
    "test_avx2.py",
    "cuda/test_emulator.py",
    "commands/test_plugins.py",
    "commands/test_serve.py",
    "training/test_step.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin every process's stretch with its share of the longest files."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes == 1:
        return
    long = [[item for item in items if item.path.as_posix().endswith(f"/{name}")] for name in LONGEST]
    stretches = [[item for file in long[first::processes] for item in file] for first in range(processes)]
    placed = {id(item) for stretch in stretches for item in stretch}
    rest = iter([item for item in items if id(item) not in placed])
    for stretch in stretches:
        stretch += islice(rest, max(0, len(items) // processes - len(stretch)))
    items[:] = [item for stretch in (*stretches, rest) for item in stretch]
