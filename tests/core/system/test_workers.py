"""Processes that do work, die of it, or are killed. The work is `eval`, which a new process knows without this file."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from command_line import HANGS

from m2m.core.system import workers
from m2m.core.system.workers import in_order, work_off

DIE, KILLED, WHO = (
    "__import__('os')._exit(7)",
    "__import__('os').kill(__import__('os').getpid(), 9)",
    "__import__('os').getpid()",
)


def long(_: str) -> float:
    return HANGS


def test_work_is_done_death_is_told_and_more_may_come() -> None:
    tasks, found, more = deque(["1 + 1", DIE, "2 + 2", KILLED]), {}, ["3 + 3"]
    for task, result, death in work_off(tasks, eval, jobs=2, limit=long):
        found[task] = death or result
        if death and more:
            tasks.append(more.pop())
    died, killed = "its process ended with exit code 7", "its process was ended by SIGKILL"
    assert found == {"1 + 1": 2, "2 + 2": 4, "3 + 3": 6, DIE: died, KILLED: killed}


def test_what_hangs_is_ended_and_the_rest_is_done() -> None:
    hangs = "__import__('time').sleep(600)"
    limits = {hangs: 0.5}
    found = {}
    for task, result, death in work_off(deque([hangs, "1 + 1"]), eval, jobs=1, limit=lambda t: limits.get(t, HANGS)):
        found[task] = death or result
    assert found == {hangs: "it was not done after 0.5 s", "1 + 1": 2}


def test_a_fresh_process_for_each_or_one_for_all() -> None:
    def processes(fresh: bool) -> int:
        return len({result for _, result, _ in work_off(deque([WHO] * 3), eval, jobs=1, limit=long, fresh=fresh)})

    assert (processes(True), processes(False)) == (3, 1)


def gone(pid: int) -> bool:
    """Whether a process has ended; nobody may have asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


def until(condition: Callable[[], bool], seconds: float = HANGS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_dies_between_two_tasks_is_replaced() -> None:
    leaves_a_thread = f"__import__('threading').Timer(0.2, __import__('os')._exit, [7]).start() or {WHO}"
    with closing(work_off(deque([leaves_a_thread, WHO]), eval, jobs=1)) as worked:
        _, first, _ = next(worked)
        until(lambda: gone(first))
        _, second, death = next(worked)
        assert (death, list(worked)) == ("", [])
        assert second != first


def test_results_come_in_the_order_of_the_tasks() -> None:
    tasks = ["__import__('time').sleep(0.5) or 'slow'", DIE, "'quick'"]
    told = [(result, bool(death)) for _, result, death in in_order(tasks, eval, 2)]
    assert told == [("slow", False), (None, True), ("quick", False)]
    assert [result for _, result, _ in in_order([WHO, WHO], eval, 1)] == [os.getpid()] * 2


WRITES = """
import os, pathlib, time
from m2m.core.system.files import atomic_path
with atomic_path(pathlib.Path("out.bin")) as temporary:
    temporary.write_text(str(os.getpid()))
    time.sleep(600)
"""
LOOKS = """
import pathlib, time
while not any(path.read_text() for path in pathlib.Path().iterdir()):
    time.sleep(0.02)
"""


def test_whoever_stops_reading_ends_the_processes_and_no_temporary_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers, "STOP_SECONDS", HANGS)  # for the process to tidy up, however busy the machine is
    with closing(work_off(deque([f"exec({WRITES!r})", f"exec({LOOKS!r})"]), eval, jobs=2)) as worked:
        next(worked)
        (temporary,) = tmp_path.iterdir()
        pid = int(temporary.read_text())
    assert gone(pid)
    assert list(tmp_path.iterdir()) == []


FORKS = """
import os, pathlib, time
child = os.fork()
if not child:
    time.sleep(600)
pathlib.Path("child").write_text(str(child))
os._exit(3)
"""


def test_a_death_is_seen_though_a_child_holds_the_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        ((_, _, death),) = work_off(deque([f"exec({FORKS!r})"]), eval, jobs=1)
        assert death == "its process ended with exit code 3"
    finally:
        os.kill(int((tmp_path / "child").read_text()), 9)
