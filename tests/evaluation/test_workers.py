"""Processes that do work, die of it, or are killed. The work is `eval`, which a new process knows without this file."""

from collections import deque

from m2m.evaluation.workers import work_off

DIE, KILLED, WHO = (
    "__import__('os')._exit(7)",
    "__import__('os').kill(__import__('os').getpid(), 9)",
    "__import__('os').getpid()",
)


def test_work_is_done_death_is_told_and_more_may_come() -> None:
    tasks, found, more = deque(["1 + 1", DIE, "2 + 2", KILLED]), {}, ["3 + 3"]
    for task, result, death in work_off(tasks, eval, jobs=2):
        found[task] = death or result
        if death and more:
            tasks.append(more.pop())
    died, killed = "its process ended with exit code 7", "its process was ended by SIGKILL"
    assert found == {"1 + 1": 2, "2 + 2": 4, "3 + 3": 6, DIE: died, KILLED: killed}


def test_a_fresh_process_for_each_or_one_for_all() -> None:
    def processes(fresh: bool) -> int:
        return len({result for _, result, _ in work_off(deque([WHO] * 3), eval, jobs=1, fresh=fresh)})

    assert (processes(True), processes(False)) == (3, 1)
