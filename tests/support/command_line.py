"""The command `m2m`, in a process of its own or in this one."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from forks import Forks

M2M = Callable[..., "subprocess.CompletedProcess[str]"]
HANGS = 300.0  # seconds after which a command or an import is given up: it ends a hang, and judges no speed
# Commands stand between separators, not in a file: of names that are no UTF-8, only arguments are what a user gives.
SEPARATOR = "\x1e"
IN_TURN = """
import sys
from itertools import groupby
from m2m.cli import main

if __name__ == "__main__":  # not in a worker process
    for between, words in groupby(sys.argv[1:], "\x1e".__eq__):
        if not between:
            sys.argv[1:] = words
            try:
                main()
            except SystemExit as stop:
                print(end=f"\x1e{stop.code}\x1e", flush=True)
                print(end="\x1e", file=sys.stderr, flush=True)
"""


def in_turn(
    python: Sequence[str | Path], commands: Sequence[Sequence[str | Path]], cwd: Path, env: Mapping[str, str]
) -> list[subprocess.CompletedProcess[bytes]]:
    """Run commands one after another in one new Python, which takes two seconds to start. python: it and IN_TURN, or its file."""
    words = [word for command in commands for word in (*command, SEPARATOR)]
    done = subprocess.run([*python, *words], cwd=cwd, env=env, capture_output=True, timeout=len(commands) * HANGS)
    told, said = done.stdout.split(SEPARATOR.encode()), done.stderr.split(SEPARATOR.encode())
    assert len(told) == 2 * len(commands) + 1, done.stderr
    results = zip(commands, told[1::2], told[::2], said, strict=False)
    return [subprocess.CompletedProcess(command, int(code), out, error) for command, code, out, error in results]


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Runs this Python in a process of its own, without its start."""
    forks = Forks(sys.executable, dict(os.environ))
    yield forks
    forks.close()


@pytest.fixture
def m2m(tmp_path: Path, forks: Forks) -> M2M:
    """Run the command in a process of its own, in an empty folder."""
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return forks.run("-m", "m2m", *arguments, cwd=work, env=os.environ | environment, timeout=HANGS)

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> M2M:
    """Run the command in this process, in an empty folder: a tenth of the time, for what needs no process of its own."""
    from m2m import cli

    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    monkeypatch.chdir(work)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["m2m", *arguments])
        signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        shown = warnings.showwarning
        with pytest.raises(SystemExit) as stop:
            cli.main()
        gc.unfreeze()
        for number, before in signals.items():
            signal.signal(number, before)
        warnings.showwarning = shown
        said = capsys.readouterr()
        code = stop.value.code
        return subprocess.CompletedProcess(list(arguments), code if isinstance(code, int) else 1, said.out, said.err)

    return run
