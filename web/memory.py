"""Memory that is free in this process goes back to the system: glibc keeps it, for each thread, until it is asked."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """glibc's, or None where the C library has none."""
    try:
        return ctypes.CDLL(None).malloc_trim  # of the process itself
    except (AttributeError, OSError, TypeError):  # another C library; Windows takes no None
        return None


def give_back() -> None:
    """Return free memory to the system. Takes some milliseconds, without the interpreter's lock."""
    if trim := _malloc_trim():
        trim(0)
