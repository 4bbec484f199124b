"""A stranger's folder runs no code: no command imports a module that lies in the working directory, in any of its processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from command_line import HANGS, IN_TURN, in_turn
from datasets import SOUNDFONT, needs_fluidsynth, write_midi

NAMES = sorted(
    {*sys.stdlib_module_names, *packages_distributions(), "m2m", "sitecustomize", "usercustomize", "core", "cli"}
)
BENCH = ["bench", "--vocoders", "griffin-lim", "--stages", "true-mel", "--files", "1", "--instruments", "trumpet"]
TINY = [
    *("--set", "model.hidden=8", "--set", "model.timbre_dim=2", "--set", "sequence=40", "--set", "loop.batch_size=2"),
    *("--set", "validation_seconds=1", "--steps", "1"),
]


class Folder:
    """A folder with a module of every name that m2m could import, each of which leaves a line in `traces` if it is run."""

    def __init__(self, root: Path) -> None:
        self.path, self.traces, self.command = root / "folder", root / "traces", root / "bin" / "m2m"
        self.command.parent.mkdir()
        # As it is installed. `python -m m2m` is no replacement: Python itself puts the working directory first there.
        self.command.write_text(IN_TURN)
        write_midi(self.path / "a.mid", (60, 64))
        write_midi(self.path / "b.mid", (62, 65))
        for name in NAMES:
            (self.path / f"{name}.py").write_text(
                f"with open({str(self.traces)!r}, 'a') as file: file.write({name!r} + '\\n')\nraise SystemExit(7)\n"
            )
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.variables = kept | {"OMP_NUM_THREADS": "1"}

    def run(self, *commands: Sequence[str]) -> list[subprocess.CompletedProcess[bytes]]:
        """Run commands in turn as they are installed; their own folder is searched and not the working directory."""
        done = in_turn([sys.executable, self.command], commands, self.path, self.variables)
        traces = self.traces.read_text().split() if self.traces.is_file() else []
        assert traces == [], done
        return done

    def works(self, *commands: Sequence[str]) -> None:
        for done in self.run(*commands):
            assert done.returncode == 0, done


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_modules_would_be_found(folder: Folder) -> None:
    """The test tests something: a Python that searches the working directory runs what lies there."""
    subprocess.run([sys.executable, "-c", "import random"], cwd=folder.path, env=folder.variables, capture_output=True)
    assert folder.traces.read_text().split() != []


def test_scores_are_rendered(folder: Folder) -> None:
    folder.works(
        ("render", "a.mid", "b.mid", "-j", "2", "--stems", "--conditioner", "film"),
        ("rerender", "a.wav"),
        ("timbres", "--conditioner", "film"),
    )


def test_plugins_are_listed_tried_and_made(folder: Folder) -> None:
    folder.works(
        ("plugins", "list"),
        ("plugins", "info", "film"),
        ("plugins", "new", "mine", "--kind", "conditioner"),
        ("plugins", "check", "film"),
    )
    (doctor,) = folder.run(["doctor"])
    assert b"griffin-lim" in doctor.stdout


@needs_fluidsynth
def test_data_sets_are_built(folder: Folder) -> None:
    folder.works(("dataset", "build", ".", "--soundfont", str(SOUNDFONT), "-o", "data", "-j", "2", "--programs", "0",
                  "--set", "seconds=3"))  # fmt: skip


def test_models_are_trained(folder: Folder, data: Path) -> None:
    folder.works(("train", "mel2mel", str(data), "-o", "run", *TINY))


def test_benches_and_listening_tests_are_made(folder: Folder) -> None:
    pytest.importorskip("mir_eval", reason="m2m[eval] is not installed")
    folder.works(
        (*BENCH, "-o", "b", "-j", "2", "--seconds", "1", "--repeats", "1", "--set", "speed_seconds=1"),
        ("bench", "compare", "b", "b"),
        ("mos", "make", "b", "--recordings", "1", "--seconds", "1"),
    )
    folder.run(("mos", "report", "listening/key.json", "none.json"))


def test_the_explorer_is_served(folder: Folder) -> None:
    pytest.importorskip("fastapi", reason="m2m[web] is not installed")
    command = [sys.executable, str(folder.command), "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=folder.path, env=folder.variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        assert server.stdout.readline().startswith("http://")
        server.terminate()
        server.communicate(timeout=HANGS)
    assert not folder.traces.exists()
