"""Training Mel2Mel, on a data set of sines and at sizes where a run takes a fraction of a second."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from m2m.core.checkpoint import CARD, WEIGHTS
from m2m.core.errors import M2MError
from m2m.core.mel2mel import load_mel2mel
from m2m.core.pipeline import Pipeline
from m2m.core.score import from_rows
from m2m.training import mel2mel
from m2m.training.config import load_run
from m2m.training.dataset import ShardReader
from m2m.training.loop import RUN, STATE
from m2m.training.mel2mel import Mel2MelRun, Mel2MelTask, measure, train

Without = Callable[[str], None]
INSTRUMENTS = {"grand-piano": 0, "trumpet": 56}
TINY: dict[str, object] = {
    "model.hidden": 8,
    "model.timbre_dim": 2,
    "model.encoder": "onsets-frames",
    "model.instruments": INSTRUMENTS,
    "sequence": 50,
    "validation_seconds": 1.0,
    "loop.steps": 6,
    "loop.batch_size": 2,
    "loop.warmup": 2,
    "loop.checkpoint_every": 3,
    "loop.validate_every": 3,
    "loop.precision": "float32",
}


@pytest.fixture(autouse=True)
def no_tensorboard(without: Without, request: pytest.FixtureRequest) -> None:
    if request.function is not test_curves_and_pictures:
        without("torch.utils.tensorboard")


def tiny(**changes: object) -> Mel2MelRun:
    return load_run(Mel2MelRun, None, TINY | {name.replace("__", "."): value for name, value in changes.items()})


# Batches.


def test_a_batch_is_a_function_of_the_step_alone(data: Path) -> None:
    task, other = Mel2MelTask(tiny(), data), Mel2MelTask(tiny(), data)
    one = task.batch(7)
    task.batch(8)
    np.random.default_rng().random()
    torch.rand(3)
    for again in (task.batch(7), other.batch(7)):
        assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[2], task.batch(8)[2])
    assert not torch.equal(one[2], Mel2MelTask(tiny(loop__seed=1), data).batch(7)[2])


def test_a_batch_is_cut_from_the_data(data: Path) -> None:
    task, shards = Mel2MelTask(tiny(loop__batch_size=8), data), ShardReader(data, "train")
    rolls, instruments, mels = task.batch(0)
    assert rolls.shape == (8, 50, 176)
    assert mels.shape == (8, 50, 80)
    assert (rolls.dtype, instruments.dtype, mels.dtype) == (torch.float32, torch.int64, torch.float32)
    assert set(instruments.tolist()) == {0, 1}
    for roll, instrument, mel in zip(rolls.numpy(), instruments.tolist(), mels.numpy(), strict=True):
        name = list(INSTRUMENTS)[instrument]
        found = [
            (index, start)
            for index in range(len(shards))
            for start in range(shards.frames(index, name) - 49)
            if np.array_equal(shards.mel(index, name, start, start + 50), mel)
        ]
        assert len(found) == 1
        index, start = found[0]
        notes = from_rows(shards.notes(index, name))
        assert np.array_equal(task.model.encoder.encode(notes, 125.0, start, 50), roll)


def test_a_file_shorter_than_a_window_ends_in_silence(data: Path) -> None:
    """3 s of data in windows of 4.1 s, and longer validation than there is."""
    run = tiny(sequence=512, validation_seconds=10.0)
    task = Mel2MelTask(run, data)
    rolls, instruments, mels = task.batch(0)
    name = list(INSTRUMENTS)[int(instruments[0])]
    frames = task.train.frames(0, name)
    assert mels.shape == (2, 512, 80)
    assert (mels[0, frames:] == run.model.mel.silence).all()
    assert (mels[0, :frames] > run.model.mel.silence).any()
    assert not rolls[0, frames:].any()
    assert all(math.isfinite(value) for value in task.validate().values())


# Runs.


@pytest.mark.parametrize("schedule", ["trapezoid", "halving"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_that_died_and_was_resumed_is_the_run_that_did_not(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str, precision: str
) -> None:
    run = tiny(loop__schedule=schedule, loop__precision=precision, loop__halve_every=2, model__conditioner="film")
    train(run, data, tmp_path / "whole", False)
    batch = Mel2MelTask.batch

    def dies(task: Mel2MelTask, step: int) -> tuple[torch.Tensor, ...]:
        if step == 5:
            raise KeyboardInterrupt
        return batch(task, step)

    with monkeypatch.context() as patch:
        patch.setattr(Mel2MelTask, "batch", dies)
        with pytest.raises(KeyboardInterrupt):
            train(run, data, tmp_path / "two", False)
    train(run, data, tmp_path / "two", True)
    same_tensors(tmp_path / "whole" / STATE, tmp_path / "two" / STATE)
    same_tensors(tmp_path / "whole" / "best" / WEIGHTS, tmp_path / "two" / "best" / WEIGHTS)


def same_tensors(one: Path, two: Path) -> None:
    first, second = load_file(one), load_file(two)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_batches_prepared_by_another_process_are_the_same(data: Path, tmp_path: Path) -> None:
    train(tiny(), data, tmp_path / "one", False)
    train(tiny(loop__workers=1), data, tmp_path / "two", False)
    same_tensors(tmp_path / "one" / STATE, tmp_path / "two" / STATE)


def test_a_run_remembers_its_config(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny(loss="log-abs")
    train(run, data, tmp_path / "run", False)
    assert load_run(Mel2MelRun, tmp_path / "run" / RUN, {}) == run
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["step 1", "step 3", "step 6"]
    assert all(name in lines[1] for name in ("tanh-log-abs", "mae", "correlation"))


@pytest.mark.parametrize("conditioner", ["film", "concat"])
@pytest.mark.parametrize("loss", ["log-abs", "tanh-log-abs"])  # "abs" takes far longer
def test_a_few_bars_can_be_learned_by_heart(data: Path, tmp_path: Path, conditioner: str, loss: str) -> None:
    """The loss of one batch falls to a fraction when it is all that is shown."""
    options = {
        "model.conditioner": conditioner,
        "model.hidden": 32,
        "loss": loss,
        "sequence": 60,
        "loop.steps": 60,
        "loop.learning_rate": 0.01,
        "loop.validate_every": 100,
        "loop.checkpoint_every": 100,
    }
    task = Mel2MelTask(load_run(Mel2MelRun, None, TINY | options), data)
    bars = task.batch(0)
    task.batch = lambda step: bars  # type: ignore[method-assign]
    with torch.no_grad():
        before = task.loss(task.batch(0)).item()
    mel2mel.fit(task, task.run.loop, tmp_path / "run", {}, False)
    with torch.no_grad():
        after = task.loss(task.batch(0)).item()
    assert after < 0.2 * before


def test_the_best_model_is_a_users_model(data: Path, tmp_path: Path) -> None:
    run = tiny(model__conditioner="concat")
    figures = train(run, data, tmp_path / "run", False)
    folder = tmp_path / "run" / "best"
    model, _ = load_mel2mel(folder)
    assert model.config == run.model
    again = measure(model, ShardReader(data, "validation"), 1.0)
    assert {name: values.shape for name, values in again.items()} == dict.fromkeys(figures, (1, 2))
    for name, values in again.items():
        assert np.nanmean(values) == pytest.approx(figures[name], abs=0.02)  # weights are stored as float16
    card = (folder / CARD).read_text()
    assert card.startswith("# Mel2Mel, concat, after ")
    assert "- tanh-log-abs: " in card
    pipeline = Pipeline(model=str(folder))
    score = data.parent / "midi" / "d.mid"
    rendering = pipeline.render(score, timbre="trumpet")
    assert rendering.seconds > 2
    assert np.isfinite(rendering.audio).all()
    assert np.abs(rendering.audio).max() > 0


def test_a_first_guess_however_wild_gives_a_finite_loss(data: Path) -> None:
    task = Mel2MelTask(tiny(loss="abs"), data)
    torch.nn.init.constant_(task.model.outward.bias, 1_000.0)
    assert task.loss(task.batch(0)).isfinite()


def test_divergence_is_one_line_and_keeps_the_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Mel2MelTask.batch

    def spoiled(task: Mel2MelTask, step: int) -> tuple[torch.Tensor, ...]:
        roll, instrument, mel = batch(task, step)
        return roll, instrument, mel * (math.nan if step == 4 else 1.0)

    monkeypatch.setattr(Mel2MelTask, "batch", spoiled)
    with pytest.raises(M2MError, match="training diverged at step 4"):
        train(tiny(), data, tmp_path / "run", False)
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "run" / STATE).values())
    load_mel2mel(tmp_path / "run" / "best")


def test_silence_is_measured_without_a_warning(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShardReader, "mel", lambda self, *_: np.full((125, 80), -11.5, np.float32))
    figures = Mel2MelTask(tiny(), data).validate()
    assert math.isnan(figures["correlation"])
    assert figures["mae"] > 0


# What cannot be.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.instruments": {"violin": 40}}, r"the data set has no violin \(40\); it has grand-piano \(0\)"),
        ({"model.mel.fmax": 7_000.0}, "different mels: fmax"),
        ({"model.mel.log": "log10"}, "natural-log"),
        ({"model.encoder": "onsets-frams"}, "onsets-frames"),
        ({"model.conditioner": "fil"}, "film"),
    ],
)
def test_a_run_that_does_not_fit_its_data(data: Path, changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(M2MError, match=words):
        train(load_run(Mel2MelRun, None, TINY | changes), data, tmp_path / "run", False)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_model(data: Path, tmp_path: Path) -> None:
    train(tiny(), data, tmp_path / "run", False)
    for changes in ({"model__hidden": 9}, {"model__conditioner": "concat"}):
        with pytest.raises(M2MError, match="is of another model than this run describes; resume with the same options"):
            train(tiny(**changes), data, tmp_path / "run", True)
    assert json.loads((tmp_path / "run" / RUN).read_text())["model"]["hidden"] == 8


# Curves.


def test_curves_and_pictures(data: Path, tmp_path: Path) -> None:
    for name in ("tensorboard", "matplotlib"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tiny(loop__log_every=2), data, tmp_path / "run", False)
    events = EventAccumulator(str(tmp_path / "run" / "logs"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        *("train/loss", "train/rate", "train/gradient"),
        *("validation/tanh-log-abs", "validation/mae", "validation/correlation"),
    }
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4, 6]
    assert [event.step for event in events.Scalars("validation/mae")] == [1, 3, 6]
    assert set(events.Tags()["images"]) == set(INSTRUMENTS)
    image = events.Images("trumpet")[0]
    assert (image.width, image.height) == (375, 160)


def test_pictures_need_matplotlib_and_a_run_does_not(data: Path, without: Without) -> None:
    without("matplotlib")
    assert Mel2MelTask(tiny(), data).pictures() == {}
