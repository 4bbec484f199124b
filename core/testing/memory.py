"""The peak of memory while something is computed, for suites that bound it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def peak_memory(work: Callable[[], object]) -> int | None:
    """Bytes of memory of this process at the highest while working; None where the system does not tell.

    Not the difference to before: memory that the allocator gave back in between would count as growth.
    """
    status = Path("/proc/self/status")
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: begin the high-water mark anew
    except OSError:
        work()
        return None
    work()
    return _status(status, "VmHWM")


def _status(path: Path, field: str) -> int:
    line = next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(field))
    return int(line.split()[1]) << 10
