"""The script for a GPU's quarter of an hour: its commands are ones that exist, and a curve that it compares with is there."""

import csv
import os
import shlex
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner
from command_line import HANGS
from gpu_training import CURVE, watched
from training_runs import tiny_mel2mel

from m2m.cli import cli as main
from m2m.core.system.run_config import load_run
from m2m.training.mel2mel import train

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benches" / "gpu.sh"

bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS, env=os.environ | (environment or {}))


@bash
def test_its_commands_are_accepted() -> None:
    """Each of them, with --help behind: an option or a command that is not there ends before help is given."""
    done = run("--commands", "/nowhere/kit")
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line) for line in done.stdout.splitlines()]
    assert len(commands) == 10
    for python, first, *rest in commands:
        assert python == "python3"
        if [first, rest[0]] == ["-m", "pytest"]:
            assert all((ROOT / word).is_file() for word in rest if word.startswith("tests/"))
            continue
        command = main if [first, rest[0]] == ["-m", "m2m"] else import_module(Path(first).stem).main
        helped = CliRunner().invoke(command, [*(rest[1:] if command is main else rest), "--help"])
        assert helped.exit_code == 0, helped.output
        wrong = CliRunner().invoke(command, [*(rest[1:] if command is main else rest), "--no-such-option", "--help"])
        assert wrong.exit_code == 2


@bash
def test_a_step_that_fails_does_not_end_the_rest(tmp_path: Path) -> None:
    """Every one does, with a Python that knows nothing."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho nothing works; exit 3\n")
    python.chmod(0o755)
    (tmp_path / "kit" / "wheels").mkdir(parents=True)
    places = {"PATH": f"{python.parent}:{os.environ['PATH']}", "OUT": str(tmp_path / "out"), "TMPDIR": str(tmp_path)}
    done = run(str(tmp_path / "kit"), environment=places)
    assert done.returncode == 1
    summary = (tmp_path / "out" / "summary.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in summary] == [
        *("install", "gpu-tests", "small-data", "wavenet-bench", "wavenet-regimes"),
        *("render", "render-segments", "agreement", "pace", "curve"),
    ]
    assert all("FAILED (3)" in line for line in summary)
    assert (tmp_path / "out" / "curve.log").read_text() == "nothing works\n"
    assert not list(tmp_path.glob("m2m-gpu.*"))  # its own folder is gone


@bash
def test_it_says_what_it_needs() -> None:
    done = run()
    assert done.returncode == 2
    for name in ("wheels/", "lib/", "midi/", "split.json", "soundfont.sf3"):
        assert name in done.stdout


@pytest.mark.parametrize("toy", [False, True])
def test_its_runs_are_runs(toy: bool) -> None:
    from gpu_training import runs

    for kind, _, values in runs(toy).values():
        load_run(kind, None, values)


def test_the_curve_falls() -> None:
    with CURVE.open(newline="", encoding="utf-8") as file:
        rows = [(int(row["step"]), float(row["loss x 1000"])) for row in csv.DictReader(file)]
    assert rows == sorted(rows)
    assert rows[-1][1] < 0.5 * rows[0][1]


@pytest.mark.usefixtures("no_tensorboard")
def test_steps_are_watched(data: Path, tmp_path: Path) -> None:
    with watched(2) as seen:
        train(tiny_mel2mel(), data, tmp_path / "run", False)
    assert len(seen.seconds) == 6
    assert list(seen.curve) == [2, 4, 6]
    assert all(loss > 0 for loss in seen.curve.values())
    train(tiny_mel2mel(), data, tmp_path / "other", False)
    assert len(seen.seconds) == 6
