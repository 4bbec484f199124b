"""The command `m2m`, in a process of its own or in this one."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forks import Forks

M2M = Callable[..., "subprocess.CompletedProcess[str]"]
HANGS = 300.0  # seconds after which a command or an import is given up: it ends a hang, and judges no speed


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
