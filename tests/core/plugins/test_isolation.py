"""Code that hangs, dies or prints in a process of its own. The items are this file's functions, found by PYTHONPATH."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import HANGS

from m2m.core.plugins.isolation import Lost, each

CODE = """
import os, sys, threading, time

def act(item):
    if item == "hang":
        time.sleep(600)
    if item == "exit":
        os._exit(3)
    if item == "crash":
        os.kill(os.getpid(), 11)
    if item == "raise":
        raise ValueError("two\\nlines")
    if item == "print":
        print('{"answer": "forged"}')
        os.write(1, b'{"answer": "forged"}\\n')
        os.system("echo forged")
    if item == "read":
        return sys.stdin.read()
    if item == "thread":
        threading.Thread(target=time.sleep, args=(600,)).start()
    return [item, os.getpid()]
"""


@pytest.fixture(autouse=True)
def actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "actor.py").write_text(CODE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def until_gone(pid: int) -> None:
    """Wait for the end of a process that nobody may have asked for its exit code."""
    state, deadline = Path(f"/proc/{pid}/stat"), time.monotonic() + HANGS
    while state.exists() and state.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.05)


def test_items_share_a_process_until_one_is_lost() -> None:
    one, two, hung, three, four = each("actor:act", ["a", "b", "hang", "c", "d"], 3.0)
    assert one[1] == two[1] != three[1] == four[1]
    assert isinstance(hung, Lost)
    assert hung.text == "did not finish within 3 s"
    with pytest.raises(ProcessLookupError):
        os.kill(one[1], 0)


def test_what_ends_the_process_is_named() -> None:
    exited, crashed, raised, fine = each("actor:act", ["exit", "crash", "raise", "x"], HANGS)
    assert exited.text == "ended the whole process (exit code 3)"
    assert crashed.text == "ended the whole process (SIGSEGV)"
    assert raised.text.startswith("failed: ValueError: two lines")
    assert fine[0] == "x"


def test_prints_are_no_answers_and_nothing_is_read() -> None:
    assert [answer if item == "read" else answer[0] for item, answer in zip(
        ["print", "read", "thread"], each("actor:act", ["print", "read", "thread"], HANGS), strict=True
    )] == ["print", "", "thread"]  # fmt: skip


PARENT = """
import subprocess, sys, time

with open("child", "w") as file:  # at its import, which an item's limit does not count
    file.write(str(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid))

def act(item):
    time.sleep(600)
"""


def test_what_a_hanging_process_started_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    assert [lost.text for lost in each("parent:act", ["hang"], 0.5)] == ["did not finish within 0.5 s"]
    child = int((tmp_path / "child").read_text())
    until_gone(child)


def test_reading_may_stop_early() -> None:
    answers = each("actor:act", ["a", "b"], HANGS)
    _, pid = next(answers)
    answers.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("stop", [signal.SIGKILL])
def test_it_ends_with_its_parent(tmp_path: Path, stop: signal.Signals) -> None:
    code = (
        "from m2m.core.plugins.isolation import each\n"
        "for _, pid in each('actor:act', ['a', 'b'], 300.0): print(pid, flush=True); input()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.send_signal(stop)
    parent.communicate()
    until_gone(pid)
