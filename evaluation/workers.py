"""Processes that work off a queue, and whose death is a result: a plugin may crash its interpreter, not the sweep."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Task = TypeVar("Task")


def work_off(
    tasks: deque[Task], function: Callable[[Task], Any], jobs: int, fresh: bool = False, threads: int = 0
) -> Iterator[tuple[Task, Any, str]]:
    """Call `function` on every task in `jobs` processes; yields (task, what it returned, how its process died or "").

    The caller may append to `tasks` while it reads. fresh: a new process for every task. threads: of PyTorch in each process;
    0 leaves its choice.
    """
    context = multiprocessing.get_context("spawn")  # a forked torch may hang in its thread pool
    busy: dict[Connection, tuple[Task, Any]] = {}
    idle: list[tuple[Connection, Any]] = []
    try:
        while tasks or busy:
            while tasks and len(busy) < jobs:
                connection, process = idle.pop() if idle else _start(context, function, threads)
                connection.send(tasks[0])
                busy[connection] = (tasks.popleft(), process)
            for ready in wait(list(busy)):
                connection = ready  # type: ignore[assignment]
                task, process = busy.pop(connection)
                try:
                    result, death = connection.recv(), ""
                except (EOFError, ConnectionError):
                    process.join()
                    result, death = None, _cause(process.exitcode)
                if death or fresh:
                    _stop(connection, process)
                else:
                    idle.append((connection, process))
                yield task, result, death
    finally:
        for connection, process in [*idle, *((c, p) for c, (_, p) in busy.items())]:
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
