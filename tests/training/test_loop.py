"""The training loop, with a model small enough to be seen through. What it does for Mel2Mel is in test_mel2mel.py."""

import json
import math
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from m2m.core.errors import M2MError
from m2m.core.system.run_config import RUN
from m2m.training import curves
from m2m.training.distributed import Group
from m2m.training.loop import LoopConfig, TrainingTask, _Run, fit, learning_rate
from m2m.training.state import STATE
from m2m.training.step import Step

SHORT: dict[str, Any] = {"steps": 6, "batch_size": 4, "warmup": 2, "checkpoint_every": 3, "validate_every": 2}


pytestmark = pytest.mark.usefixtures("no_tensorboard")


class Killed(BaseException):
    """The end by a signal, which nothing catches."""


class Line(TrainingTask):
    """y = w x + b with dropout, learned from batches that depend on the step alone."""

    best = "error"

    def __init__(
        self, config: LoopConfig, features: int = 3, dies_at: int | None = None, signals: Sequence[signal.Signals] = ()
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.dies_at, self.signals = config, dies_at, signals
        self.model = nn.Sequential(nn.Linear(features, 1), nn.Dropout(0.2))
        self.model.register_parameter("unused", nn.Parameter(torch.ones(2)))
        self.validated: list[bool] = []
        self.exported: list[int] = []
        self.steps = 0

    def batch(self, step: int) -> tuple[Tensor, ...]:
        x = torch.randn(self.config.batch_size, 3, generator=torch.Generator().manual_seed(step))
        return x, x.sum(dim=1, keepdim=True)

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        assert self.model.training
        if self.steps == self.dies_at:
            for number in self.signals:
                signal.raise_signal(number)
            if not self.signals:
                raise Killed
        self.steps += 1
        return (self.model(batch[0]) - batch[1]).float().square().mean()

    def validate(self) -> dict[str, float]:
        assert not self.model.training
        self.validated.append(True)
        with torch.no_grad():
            x, y = self.batch(10**6)
            return {"error": float((self.model(x) - y).square().mean()), "other": 1.0}

    def export(self, folder: Path, figures: dict[str, float], step: int) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "step").write_text(str(step))
        self.exported.append(step)


def run(
    out: Path, resume: bool = False, dies_at: int | None = None, signals: Sequence[signal.Signals] = (), **changes: Any
) -> Line:
    config = LoopConfig(**SHORT | changes)
    task = Line(config, dies_at=dies_at, signals=signals)
    fit(task, config, out, {"kind": "line", "loop": config.model_dump()}, resume)
    return task


# The learning rate.


def test_the_trapezoid() -> None:
    config = LoopConfig(steps=10, warmup=4, decay=0.4, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(10)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    assert learning_rate(0, LoopConfig(warmup=0, learning_rate=0.5)) == 0.5
    flat = LoopConfig(steps=10, warmup=0, decay=0, learning_rate=1.0)
    assert {learning_rate(step, flat) for step in range(10)} == {1.0}
    saw = LoopConfig(steps=4, warmup=0, decay=1, learning_rate=1.0)
    assert [learning_rate(step, saw) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_the_papers_halving() -> None:
    config = LoopConfig(schedule="halving", warmup=0, learning_rate=0.002, halve_every=40_000, steps=200_000)
    for step, rate in ((0, 0.002), (39_999, 0.002), (40_000, 0.001), (80_000, 0.0005), (199_999, 0.000125)):
        assert learning_rate(step, config) == rate
    risen = LoopConfig(schedule="halving", warmup=10, halve_every=5, learning_rate=1.0)
    assert learning_rate(4, risen) == pytest.approx(0.5)
    assert learning_rate(5, risen) == pytest.approx(0.3)


# A run.


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, however pytest was started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_for_the_step_and_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", dies_at=4, signals=[signal.SIGINT])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    said = capsys.readouterr().err
    assert "stopping after this step; once more stops at once." in said
    assert "stopped after step 5, which is saved; --resume continues." in said
    assert run(tmp_path / "run", resume=True).steps == 1
    run(tmp_path / "whole")
    stopped, whole = (load_file(tmp_path / name / STATE) for name in ("run", "whole"))
    assert all(torch.equal(stopped[name], whole[name]) for name in whole)


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", dies_at=4, signals=[signal.SIGINT, signal.SIGINT])
    assert run(tmp_path / "run", resume=True).steps == 3  # from the checkpoint of step 3


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert run(tmp_path / "run", dies_at=4, signals=[signal.SIGINT]).steps == 6


def test_what_a_run_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = run(tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["best", RUN, STATE]
    assert json.loads((tmp_path / "run" / RUN).read_text())["loop"]["steps"] == 6
    assert len(task.validated) == 4  # after steps 1, 2, 4 and 6
    state = load_file(tmp_path / "run" / STATE)
    assert sorted(state) == [
        *(f"exp_avg/0.{name}" for name in ("bias", "weight")),
        *(f"exp_avg_sq/0.{name}" for name in ("bias", "weight")),
        *(f"model/{name}" for name in ("0.bias", "0.weight", "unused")),
    ]
    out, err = capsys.readouterr()
    assert out == ""
    first, *lines = err.splitlines()
    assert first.startswith("no curves: TensorBoard is not installed (pip install")
    assert [line.split(":")[0] for line in lines[1:] if line.startswith("step")] == [
        "step 1",
        "step 2",
        "step 4",
        "step 6",
    ]
    assert lines[0].startswith("6 weights, steps 1 to 6 of 4 sequences on cpu in ")
    assert lines[3].startswith("a step takes ")
    assert lines[3].endswith(" to go")
    assert "error " in lines[1]
    assert "other 1" in lines[1]


def test_it_learns(tmp_path: Path) -> None:
    before = Line(LoopConfig())
    before.model.eval()
    config = LoopConfig(steps=300, batch_size=32, learning_rate=0.05, precision="float32", validate_every=100, warmup=0)
    task = Line(config)
    figures = fit(task, config, tmp_path / "run", {}, False)
    assert figures["error"] < 0.05 * before.validate()["error"]
    assert (tmp_path / "run" / "best" / "step").read_text() == str(task.exported[-1])


@pytest.mark.parametrize("schedule", ["trapezoid", "halving"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("dies_at", "average"), [(3, 0.0), (5, 0.0), (5, 0.5)])
def test_a_run_that_died_and_was_resumed_is_the_run_that_did_not(
    tmp_path: Path, schedule: str, precision: str, dies_at: int, average: float
) -> None:
    """Bit for bit: weights, moments, step, best. The model has dropout: what it draws depends on the step, too."""
    options: dict[str, Any] = {"schedule": schedule, "precision": precision, "halve_every": 2, "average": average}
    run(tmp_path / "whole", **options)
    with pytest.raises(Killed):
        run(tmp_path / "two", dies_at=dies_at, **options)
    torch.rand(7)  # chance goes on between the two
    run(tmp_path / "two", resume=True, **options)
    same_state(tmp_path / "whole", tmp_path / "two")


def same_state(one: Path, two: Path) -> None:
    first, second = (load_file(folder / STATE) for folder in (one, two))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    assert metadata(one) == metadata(two)


def metadata(folder: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(folder / STATE, framework="pt") as file:
        about: dict[str, str] = file.metadata()
    return about


def test_a_run_can_be_prolonged(tmp_path: Path) -> None:
    options: dict[str, Any] = {"schedule": "halving", "halve_every": 2}
    run(tmp_path / "whole", **options)
    run(tmp_path / "longer", steps=3, **options)
    assert metadata(tmp_path / "longer")["step"] == "3"
    run(tmp_path / "longer", resume=True, **options)
    same_state(tmp_path / "whole", tmp_path / "longer")
    assert json.loads((tmp_path / "longer" / RUN).read_text())["loop"]["steps"] == 6


def test_a_finished_run_resumed_says_how_good_it_is(tmp_path: Path) -> None:
    config = LoopConfig(**SHORT)
    figures = fit(Line(config), config, tmp_path / "run", {}, False)
    assert fit(Line(config), config, tmp_path / "run", {}, True) == figures
    shorter = LoopConfig(**SHORT | {"steps": 4})
    with pytest.raises(M2MError, match="is at step 6 already, beyond loop.steps 4"):
        fit(Line(shorter), shorter, tmp_path / "run", {}, True)
    assert metadata(tmp_path / "run")["step"] == "6"


def test_seeds_differ(tmp_path: Path) -> None:
    one, two = (run(tmp_path / str(seed), seed=seed).model.state_dict()["0.weight"] for seed in (0, 1))
    assert not torch.equal(one, two)


def test_the_best_is_kept_across_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([5.0, 3.0, 4.0, math.nan, 3.5, 2.0])
    monkeypatch.setattr(Line, "validate", lambda self: {"error": next(errors)})
    assert run(tmp_path / "run").exported == [1, 2]  # of steps 1, 2, 4, 6
    assert run(tmp_path / "run", resume=True, steps=10).exported == [10]  # of 8 and 10
    assert (tmp_path / "run" / "best" / "step").read_text() == "10"


def test_batches_prepared_by_another_process_are_the_same(tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two", workers=1)
    same_state(tmp_path / "one", tmp_path / "two")


# What cannot be.


def test_runs_are_not_mixed_up(tmp_path: Path) -> None:
    with pytest.raises(M2MError, match=r"holds no run to resume: there is no training\.safetensors"):
        run(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()
    run(tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}
    with pytest.raises(M2MError, match="already holds a run; continue it with --resume"):
        run(tmp_path / "run")
    config = LoopConfig(**SHORT)
    with pytest.raises(M2MError, match="is of another model than this run describes"):
        fit(Line(config, features=4), config, tmp_path / "run", {}, True)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")} == before


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    run(tmp_path / "run")
    state, good = tmp_path / "run" / STATE, (tmp_path / "run" / STATE).read_bytes()

    def complaint() -> str:
        with pytest.raises(M2MError, match="cannot resume from .*damaged") as caught:
            run(tmp_path / "run", resume=True)
        return str(caught.value)

    for text in (good[: len(good) // 2], good[:4], b"", b"not safetensors at all"):
        state.write_bytes(text)
        assert "\n" not in complaint()
    save_file(load_file_bytes(good), state)  # somebody else's: without a step
    complaint()
    save_file(load_file_bytes(good), state, metadata={"step": "three", "best": "1"})
    complaint()


def load_file_bytes(data: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    return load(data)


def test_divergence_is_one_line_and_keeps_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = Line.loss

    def spoiled(task: Line, batch: tuple[Tensor, ...]) -> Tensor:
        value = loss(task, batch)
        return value * math.nan if task.steps == 5 else value

    with monkeypatch.context() as patch:
        patch.setattr(Line, "loss", spoiled)
        with pytest.raises(M2MError, match=r"training diverged at step 4: .*resume .* at a lower loop\.learning_rate"):
            run(tmp_path / "run")
        assert metadata(tmp_path / "run")["step"] == "3"
        with pytest.raises(M2MError, match="start again at a lower"):
            run(tmp_path / "other", checkpoint_every=100)
    run(tmp_path / "run", resume=True)
    run(tmp_path / "whole")
    same_state(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there(tmp_path: Path, device: str) -> None:
    with pytest.raises(M2MError, match=f"loop.device '{device}' cannot be used: ") as caught:
        run(tmp_path / "run", device=device)
    assert "\n" not in str(caught.value)
    run(tmp_path / "run")  # nothing is in the way of another try


# Curves.


def test_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are complete even where the run failed."""
    written: list[tuple[str, int]] = []
    closed: list[bool] = []

    class Writer:
        def add_scalar(self, name: str, value: float, step: int) -> None:
            assert isinstance(value, float)
            written.append((name, step))

        def add_image(self, name: str, image: object, step: int, dataformats: str) -> None:
            written.append((name, step))

        def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr(curves, "_writer", lambda folder, step: Writer())
    monkeypatch.setattr(Line, "pictures", lambda self: {"picture": None})
    with pytest.raises(Killed):
        run(tmp_path / "run", dies_at=4, log_every=2)
    assert closed == [True]
    assert [s for name, s in written if name == "train/loss"] == [2, 4]
    assert [s for name, s in written if name == "picture"] == [1, 2, 4]
    assert {name for name, _ in written} == {
        *("train/loss", "train/rate", "train/gradient", "validation/error", "validation/other", "picture")
    }


# A time limit.


class Clock:
    """Goes on by a second a step."""

    def __init__(self, task: Line) -> None:
        self.task = task

    def __call__(self) -> float:
        return 100.0 + self.task.steps


def timed(out: Path, resume: bool = False, signals: Sequence[signal.Signals] = (), **changes: Any) -> Line:
    config = LoopConfig(**SHORT | {"steps": 100, "time_limit": 8} | changes)
    task = Line(config, dies_at=3 if signals else None, signals=signals)
    fit(task, config, out, {}, resume, Clock(task))
    return task


def test_a_time_limit_ends_a_run_however_many_steps_were_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for steps in (2, 100):
        task = timed(tmp_path / str(steps), steps=steps, validate_every=5, checkpoint_every=100)
        assert task.steps == 8
        assert len(task.validated) == 3  # after steps 1, 5 and the last
        assert metadata(tmp_path / str(steps)) | {"best": ""} == {"step": "8", "best": "", "seconds": "8.0"}
    said = capsys.readouterr().err
    assert "weights, steps 1 for 8 s of 4 sequences on cpu" in said
    assert said.count("step 8: error ") == 2


@pytest.mark.usefixtures("interruptible")
def test_a_resumed_run_has_the_seconds_that_are_left(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        timed(tmp_path / "run", signals=[signal.SIGINT])
    assert metadata(tmp_path / "run")["seconds"] == "4.0"
    assert timed(tmp_path / "run", resume=True).steps == 4
    assert metadata(tmp_path / "run")["step"] == "8"
    assert timed(tmp_path / "run", resume=True).steps == 0  # and says how good it is
    assert timed(tmp_path / "run", resume=True, time_limit=11).steps == 3


def test_the_schedule_is_stretched_over_the_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = Step.__call__

    def noted(self: Step, batch: tuple[Tensor, ...], rate: float) -> None:
        rates.append(rate)
        step(self, batch, rate)

    monkeypatch.setattr(Step, "__call__", noted)
    timed(tmp_path / "run", warmup=50, decay=0.5, learning_rate=1.0)
    assert rates == pytest.approx([0.02, 0.27, 0.52, 0.77, 1.0, 0.75, 0.5, 0.25])


def test_several_processes_have_no_time_limit(tmp_path: Path) -> None:
    config = LoopConfig(**SHORT | {"time_limit": 5})
    with pytest.raises(M2MError, match=r"loop\.time_limit is for a run in one process"):
        _Run(Line(config), config, tmp_path / "run", {}, False, Group(1, 2, "cpu"), time.monotonic)
