"""Threads for the work of handlers, with a bound on how many requests wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from m2m.web.limits import RefusedError

T = TypeVar("T")
THREADS = 2  # unless told otherwise


class Executor:
    """Runs what a handler cannot answer at once. most: requests that wait or run at a time. threads: that run them."""

    def __init__(self, most: int, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="m2m-executor")
        self._most, self._waiting = most, 0

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """The result of `work(*args)`, and what that raises. Raises RefusedError where too many requests wait."""
        if self._waiting >= self._most:
            raise RefusedError(503, "busy", f"{self._waiting} requests wait already; try again in a moment.", 1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Take no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)
