"""Processes that do work, die of it, or are killed. The work is `eval`, which a new process knows without this file."""

from collections import deque

from m2m.evaluation.workers import work_off

DIE, KILLED, WHO = (
    "__import__('os')._exit(7)",
    "__import__('os').kill(__import__('os').getpid(), 9)",
    "__import__('os').getpid()",
)


def long(_: str) -> float:
    return 60.0


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
    for task, result, death in work_off(deque([hangs, "1 + 1"]), eval, jobs=1, limit=lambda t: limits.get(t, 60.0)):
        found[task] = death or result
    assert found == {hangs: "it was not done after 0.5 s", "1 + 1": 2}


def test_a_fresh_process_for_each_or_one_for_all() -> None:
    def processes(fresh: bool) -> int:
        return len({result for _, result, _ in work_off(deque([WHO] * 3), eval, jobs=1, limit=long, fresh=fresh)})

    assert (processes(True), processes(False)) == (3, 1)
