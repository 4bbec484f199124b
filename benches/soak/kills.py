"""Signals at random moments of render, dataset build and train: what is left is whole, and the next run goes on from it."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from soak.commands import M2M, build, digest, finish, tune

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
BUILD = ("--split", "split.json", "--programs", "0,56", "--set", "seconds=3", "--set", "tail=0.5")
TRAIN = (
    *("--set", "model.hidden=16", "--set", "sequence=64", "--set", "loop.checkpoint_every=5", "--steps", "40"),
    *("--set", "loop.validate_every=20", "--set", "loop.batch_size=4", "--set", "loop.threads=1"),
)


@dataclass
class Task:
    """A command, what it makes, and what it makes where nothing disturbs it."""

    command: list[str]  # without its output
    output: Path
    pattern: str  # of the files that count, in a folder
    partly: bool  # whether each file is complete as soon as it stands under its final name
    seconds: float = 0.0
    wanted: dict[str, str] | None = None

    def run_undisturbed(self) -> None:
        """Run once, keep the time and the hashes, and remove what was made."""
        self.seconds = finish(self.whole_command(), self.output.parent)
        self.wanted = self.hashes()

    def whole_command(self) -> list[str]:
        """The command with its output, and with --resume where a training has a state."""
        resume = ["--resume"] if (self.output / "training.safetensors").exists() else []
        return [*self.command, "-o", self.output.name, *resume]

    def hashes(self) -> dict[str, str]:
        """What stands under a final name."""
        root, pattern = (self.output, self.pattern) if self.pattern else (self.output.parent, self.output.name)
        return digest(root, pattern)

    def finished(self) -> bool:
        """Whether all is there, as undisturbed."""
        return self.hashes() == self.wanted

    def damaged(self) -> bool:
        """Whether a file under a final name is not what it should be."""
        assert self.wanted is not None
        return self.partly and not self.hashes().items() <= self.wanted.items()

    def remove(self) -> None:
        """Remove what was made, so that the next run begins anew."""
        if self.output.is_dir():
            shutil.rmtree(self.output)
        else:
            self.output.unlink(missing_ok=True)


def kills(folder: Path, draw: random.Random, count: int, soundfont: Path, **_: Any) -> dict[str, Any]:
    """Every kind of signal at every moment; what is left must be whole, and the last run's result that of one undisturbed."""
    tasks = make_tasks(folder, soundfont)
    by = {f"{name} {kind.name}": 0 for name in tasks for kind in SIGNALS}
    figures: dict[str, Any] = {"kills": 0, "finished": 0, "left_over": 0, "wrong": [], "by": by}
    while figures["kills"] < count:
        name, kind = draw.choice(list(tasks)), draw.choice(SIGNALS)
        task = tasks[name]
        click.echo(f"{figures['kills']} kills, {len(figures['wrong'])} wrong; {name} and {kind.name} next", err=True)
        killed, code, said = disturb(task, kind, draw.uniform(0.2, 1.0) * task.seconds)
        figures["kills"] += killed
        by[f"{name} {kind.name}"] += killed
        # -SIGINT: an interruption that passes through a library's C code makes Python end itself so, whatever we return
        if "Traceback" in said or code not in (0, -kind, 128 + kind, -signal.SIGINT):
            figures["wrong"].append([name, kind.name, code, said[-300:]])
        if task.damaged():
            figures["wrong"].append(f"{name}: what stands there is not whole")
            task.remove()
        elif task.finished():
            figures["finished"] += 1
            task.remove()
    figures["left_over"] = sum(1 for path in folder.rglob(".*") if path.is_file())
    for task in tasks.values():
        finish(task.whole_command(), folder)
    figures["last_runs_equal_undisturbed"] = all(task.finished() for task in tasks.values())
    return figures


def make_tasks(folder: Path, soundfont: Path) -> dict[str, Task]:
    """The three commands with small inputs, each run once undisturbed."""
    scores = [tune(folder / "midi", key=key) for key in (50, 55, 60, 65)]
    split = {"train": [s.name for s in scores[:3]], "validation": [scores[3].name], "test": []}
    (folder / "split.json").write_text(json.dumps(split))
    render = ["render", str(scores[0]), "--vocoder-opt", "blind_iterations=100", "--vocoder-opt", "iterations=100"]
    finish([*build(soundfont, *BUILD), "-o", "reference-set"], folder)
    tasks = {
        "render": Task(render, folder / "out.wav", "", partly=True),
        "dataset": Task(build(soundfont, *BUILD), folder / "set", "*.safetensors", partly=True),
        "train": Task(
            ["train", "mel2mel", "reference-set", *TRAIN], folder / "run", "training.safetensors", partly=False
        ),
    }
    for task in tasks.values():
        task.run_undisturbed()
        task.remove()
    return tasks


def disturb(task: Task, kind: signal.Signals, after: float) -> tuple[bool, int, str]:
    """Run a task and send it a signal after so many seconds: whether it came in time, the exit code, standard error."""
    process = subprocess.Popen(
        [*M2M, *task.whole_command()],
        cwd=task.output.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    killed = False
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        killed = True
        process.send_signal(kind)
    assert process.stderr
    said = process.stderr.read()
    return killed, process.wait(60), said
