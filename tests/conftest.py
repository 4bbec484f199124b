"""What every test needs: no setting of the developer's own, and distributions made up on the spot."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile(
    "m2m", deadline=None, derandomize=True
)  # a busy machine is no failure, and every run is the same
settings.load_profile("m2m")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch is imported: threads of many small processes only disturb each other
os.environ.pop("CI", None)  # under which pyfluidsynth prints where it found its library, and others more

pytest_plugins = ["datasets"]  # tests/support: fixtures that several rooms share

Install = Callable[..., Path]
M2M = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from m2m.core.system import progress

    for name in ("M2M_PLUGINS", "M2M_LOAD_PLUGINS", "M2M_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(progress, "quiet", False)


ENCODER = """
import numpy as np
from pydantic import Field
from m2m.core.encoder import EncoderOptions, ScoreEncoder

class Options(EncoderOptions):
    width: int = Field(3, gt=0, description="numbers a frame")
    mode: str | None = None

class Encoder(ScoreEncoder):
    Options = Options
    n_features = 3

    def encode(self, notes, frame_rate, start, frames):
        return np.zeros((frames, self.options.width), np.float32)
"""


@pytest.fixture
def encoder_code() -> str:
    """A whole, working encoder, which a test may spoil."""
    return ENCODER


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution of one module on sys.path, of this process and those it starts: files as pip leaves them."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(site))

    def make(
        name: str,
        code: str = ENCODER,
        *,
        version: str = "1.0",
        entries: str = "",
        summary: str = "A made-up plugin",
        group: str = "m2m.encoders",
    ) -> Path:
        module = name.replace("-", "_")
        monkeypatch.delitem(sys.modules, module, raising=False)
        (site / f"{module}.py").write_text(code)
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {summary}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entries or f'{name} = {module}:Encoder'}\n")
        return info

    return make


@pytest.fixture
def m2m(tmp_path: Path) -> M2M:
    """Run the command in a process of its own, in an empty folder."""
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "m2m", *arguments],
            cwd=work,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> M2M:
    """Run the command in this process, in an empty folder: a tenth of the time, for what needs no process of its own."""
    import signal

    from m2m import cli

    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    monkeypatch.chdir(work)

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "argv", ["m2m", *arguments])
        signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        shown = warnings.showwarning
        with pytest.raises(SystemExit) as stop:
            cli.main()
        for number, before in signals.items():
            signal.signal(number, before)
        warnings.showwarning = shown
        said = capsys.readouterr()
        return subprocess.CompletedProcess(list(arguments), stop.value.code, said.out, said.err)

    return run
