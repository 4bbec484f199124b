"""Worker processes for a queue of tasks. A worker that crashes or hangs is a result of its task and does not end the command.

Workers ignore Ctrl-C. Their parent handles it and ends them by SIGTERM, which they handle as an interrupt, so that temporary
files are deleted. Where the parent is killed, they notice and end in the same way. Windows has no SIGTERM that a process could
handle: a worker ends at once there.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, NoReturn, TypeVar

from m2m.core.system import progress

Task = TypeVar("Task")
STOP_SECONDS = 5.0  # for a process to tidy up, after which it is killed
LOOK_SECONDS = 1.0
STOPS = (signal.SIGINT, signal.SIGTERM)


def work_off(
    tasks: deque[Task],
    function: Callable[[Task], Any],
    jobs: int,
    limit: Callable[[Task], float] = lambda _: math.inf,
    fresh: bool = False,
    threads: int = 0,
    quiet: bool = True,
) -> Generator[tuple[Task, Any, str]]:
    """Call `function` on every task in `jobs` processes; yields (task, what it returned, how its process died or "").

    The caller may append to `tasks` while it reads, and closes what it reads (contextlib.closing), which ends the processes.
    limit: seconds that a task may take. fresh: a new process for every task. threads: of PyTorch in each; 0 leaves its choice.
    quiet: whether the processes say nothing of their own.
    """
    workers: list[_Worker[Task]] = []
    try:
        while True:
            idle = [worker for worker in workers if not worker.busy]
            while tasks and len(workers) - len(idle) < jobs:
                with _uninterrupted():  # or a process could be started and not be in the list
                    worker = idle.pop() if idle else _Worker.start(function, threads, quiet)
                    workers += [worker] if worker not in workers else []
                if worker.give(tasks[0], limit):
                    tasks.popleft()
                else:  # it has died since its last task, of what that has left running
                    _stop([worker])
                    workers.remove(worker)
            busy = {worker.connection: worker for worker in workers if worker.busy}
            if not busy:
                return
            # Not without an end, since what a dead process has forked may hold its pipe open.
            soonest = min(worker.until for worker in busy.values()) - time.monotonic()
            ready = wait(list(busy), min(LOOK_SECONDS, max(0.0, soonest)))
            for connection, worker in busy.items():
                if connection not in ready and worker.process.is_alive() and worker.until > time.monotonic():
                    continue
                task, result, death = worker.take(limit)
                if death or fresh:
                    _stop([worker])
                    workers.remove(worker)
                yield task, result, death
    finally:
        _stop(workers)


def in_order(
    tasks: Sequence[Task], function: Callable[[Task], Any], jobs: int, quiet: bool = True
) -> Generator[tuple[Task, Any, str]]:
    """What `work_off` yields, in the order of the tasks; a single job is done in this process, and its death is no result."""
    if jobs <= 1 or len(tasks) == 1:
        yield from ((task, function(task), "") for task in tasks)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    done: dict[int, tuple[Task, Any, str]] = {}
    with closing(work_off(deque(tasks), function, jobs, threads=threads, quiet=quiet)) as worked:
        for task in tasks:
            while id(task) not in done:
                found = next(worked)
                done[id(found[0])] = found
            yield done[id(task)]


@dataclass(eq=False)
class _Worker(Generic[Task]):
    """A process, as its parent sees it. until: when the time of its task is up."""

    process: Any
    connection: Connection
    task: Task | None = None
    busy: bool = False
    until: float = math.inf

    @classmethod
    def start(cls, function: Callable[[Task], Any], threads: int, quiet: bool) -> _Worker[Task]:
        context = multiprocessing.get_context("spawn")  # a forked torch may hang in its thread pool
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, function, threads, quiet))
        with _safe_path():
            process.start()
        there.close()  # or its end would seem open after the process has died
        return cls(process, here)

    def give(self, task: Task, limit: Callable[[Task], float]) -> bool:
        """Hand it a task; False if it has died."""
        try:
            self.connection.send(task)
        except ConnectionError:
            return False
        self.task, self.busy, self.until = task, True, time.monotonic() + limit(task)
        return True

    def take(self, limit: Callable[[Task], float]) -> tuple[Task, Any, str]:
        """Its task with the result, or with how the process has died, or is to."""
        task: Any = self.task
        self.task, self.busy = None, False
        try:
            if self.connection.poll():
                return task, self.connection.recv(), ""
        except (EOFError, OSError):  # it has died, perhaps in the middle of its answer
            self.process.join()
        if self.process.is_alive():
            return task, None, f"it was not done after {limit(task):g} s"
        code = self.process.exitcode
        if code < 0:
            return task, None, f"its process was ended by {signal.Signals(-code).name}"
        return task, None, f"its process ended with exit code {code}"


def _stop(workers: list[_Worker[Task]]) -> None:
    """End processes: all are asked, then waited for, then killed, which a second Ctrl-C does at once."""
    try:
        for worker in workers:
            worker.connection.close()
            worker.process.terminate()
        end = time.monotonic() + STOP_SECONDS
        for worker in workers:
            worker.process.join(max(0.0, end - time.monotonic()))
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


@contextmanager
def _safe_path() -> Iterator[None]:
    """An interpreter that is started within does not search the working directory for modules, as `python -c` would."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM waiting; a process that is started within keeps them so until it knows what to do about them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    with _safe_path():
        resource_tracker.ensure_running()  # the first process would start it, and that lets signals in
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, function: Callable[[Any], Any], threads: int, quiet: bool) -> NoReturn:
    """What a process does: answer tasks until the parent closes the pipe."""
    code = 0
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent stops this one
        signal.signal(signal.SIGTERM, _interrupt)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        progress.open_streams()
        os.dup2(2, 1)  # what a library prints is no result
        sys.stdout = sys.stderr
        progress.quiet, progress.bars = quiet, False
        if threads:
            import torch

            torch.set_num_threads(threads)
        while True:
            try:
                task = connection.recv()
            except (EOFError, OSError):  # the parent has ended, or was killed
                break
            connection.send(function(task))
    except BaseException:
        if signal.getsignal(signal.SIGTERM) is _interrupt:
            traceback.print_exc()
            code = 1
        else:  # it was told to stop, of which a library may have made another exception
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)  # so that its exit code says what has ended it
    os._exit(code)  # not waiting for threads that a plugin has left


def _interrupt(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it comes twice where the whole group is sent it: tidying up goes on
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """End this process after its parent: a parent that was killed could not do so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        os._exit(1)
