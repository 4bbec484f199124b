"""Processes that work off a queue, and whose death is a result: a plugin may crash its interpreter or hang, not the sweep."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Task = TypeVar("Task")
STOP_SECONDS = 5.0


def work_off(
    tasks: deque[Task],
    function: Callable[[Task], Any],
    jobs: int,
    limit: Callable[[Task], float],
    fresh: bool = False,
    threads: int = 0,
) -> Iterator[tuple[Task, Any, str]]:
    """Call `function` on every task in `jobs` processes; yields (task, what it returned, how its process died or "").

    The caller may append to `tasks` while it reads. limit: seconds that a task may take. fresh: a new process for every task.
    threads: of PyTorch in each process; 0 leaves its choice.
    """
    context = multiprocessing.get_context("spawn")  # a forked torch may hang in its thread pool
    busy: dict[Connection, tuple[Task, Any, float]] = {}  # the last is when its time is up
    idle: list[tuple[Connection, Any]] = []
    try:
        while tasks or busy:
            while tasks and len(busy) < jobs:
                connection, process = idle.pop() if idle else _start(context, function, threads)
                connection.send(tasks[0])
                task = tasks.popleft()
                busy[connection] = (task, process, time.monotonic() + limit(task))
            ready = wait(list(busy), max(0.0, min(end for _, _, end in busy.values()) - time.monotonic()))
            late = [connection for connection, (_, _, end) in busy.items() if end <= time.monotonic()]
            for connection in {*ready, *late}:  # type: ignore[assignment]
                task, process, _ = busy.pop(connection)
                try:
                    if connection.poll():
                        result, death = connection.recv(), ""
                    else:
                        result, death = None, f"it was not done after {limit(task):g} s"
                except (EOFError, ConnectionError):
                    process.join()
                    result, death = None, _cause(process.exitcode)
                if death or fresh:
                    _stop(connection, process)
                else:
                    idle.append((connection, process))
                yield task, result, death
    finally:
        for connection, process in [*idle, *((c, p) for c, (_, p, _) in busy.items())]:
            _stop(connection, process)


def _start(context: Any, function: Callable[[Any], Any], threads: int) -> tuple[Connection, Any]:
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, function, threads), daemon=True)
    process.start()
    there.close()  # or its end would seem open after the process has died
    return here, process


def _stop(connection: Connection, process: Any) -> None:
    connection.close()
    process.terminate()
    process.join(STOP_SECONDS)
    process.kill()  # what does not hear the first
    process.join()


def _serve(connection: Connection, function: Callable[[Any], Any], threads: int) -> None:
    from m2m.core import progress

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent stops this one
    progress.quiet = True
    os.dup2(2, 1)  # what a library prints from C is no result
    if threads:
        import torch

        torch.set_num_threads(threads)
    while True:
        try:
            task = connection.recv()
        except (EOFError, ConnectionError):  # the parent has ended, or was killed
            return
        connection.send(function(task))


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
