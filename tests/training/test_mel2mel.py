"""Training Mel2Mel, on a data set of sines and at sizes where a run takes a fraction of a second."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training_runs import INSTRUMENTS, MEL2MEL, same_tensors, tiny_mel2mel

from m2m.core.errors import M2MError
from m2m.core.mel2mel import load_mel2mel
from m2m.core.model_folders import CARD, WEIGHTS
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.score import from_rows
from m2m.core.system.run_config import RUN, load_run
from m2m.dataset.shards import ShardReader
from m2m.training import mel2mel
from m2m.training.loop import fit
from m2m.training.mel2mel import Mel2MelRun, Mel2MelTask, measure, train
from m2m.training.state import STATE

pytestmark = pytest.mark.usefixtures("no_tensorboard")


# Batches.


def test_a_batch_is_a_function_of_the_step_alone(data: Path) -> None:
    task, other = Mel2MelTask(tiny_mel2mel(), data), Mel2MelTask(tiny_mel2mel(), data)
    one = task.batch(7)
    task.batch(8)
    np.random.default_rng().random()
    torch.rand(3)
    for again in (task.batch(7), other.batch(7)):
        assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[2], task.batch(8)[2])
    assert not torch.equal(one[2], Mel2MelTask(tiny_mel2mel(loop__seed=1), data).batch(7)[2])


def test_a_batch_is_cut_from_the_data(data: Path) -> None:
    task, shards = Mel2MelTask(tiny_mel2mel(loop__batch_size=8, silence=0.0), data), ShardReader(data, "train")
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
        assert np.array_equal(task.mel2mel.encoder.encode(notes, 125.0, start, 50), roll)


def test_segments_may_begin_in_the_silence_before_a_piece(data: Path) -> None:
    task = Mel2MelTask(tiny_mel2mel(loop__batch_size=32, silence=1.0), data)
    rolls, instruments, mels = task.batch(0)
    assert (mels[:, 0] == task.run.model.mel.silence).all()
    for roll, instrument, mel in zip(rolls, instruments.tolist(), mels, strict=True):
        found = []
        for index, before in itertools.product(range(len(task.train)), range(1, 51)):
            true = task.train.mel(index, task.names[instrument], 0, 50 - before)
            if np.array_equal(mel[before:], true) and (mel[:before] == task.run.model.mel.silence).all():
                found.append((index, before))
        assert found
        notes = [from_rows(task.train.notes(index, task.names[instrument])) for index, _ in found]
        encode = task.mel2mel.encoder.encode
        wanted = [encode(n, 125.0, -before, 50) for n, (_, before) in zip(notes, found, strict=True)]
        assert any(np.array_equal(one, roll) for one in wanted)


def test_a_file_shorter_than_a_segment_ends_in_silence(data: Path) -> None:
    """3 s of data in segments of 4.1 s, and longer validation than there is."""
    run = tiny_mel2mel(sequence=512, validation_seconds=10.0, silence=0.0)
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
    run = tiny_mel2mel(
        loop__schedule=schedule, loop__precision=precision, loop__halve_every=2, model__conditioner="film"
    )
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


def test_batches_prepared_by_another_process_are_the_same(data: Path, tmp_path: Path) -> None:
    train(tiny_mel2mel(), data, tmp_path / "one", False)
    train(tiny_mel2mel(loop__workers=1), data, tmp_path / "two", False)
    same_tensors(tmp_path / "one" / STATE, tmp_path / "two" / STATE)


def test_a_run_remembers_its_config(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny_mel2mel(loss="log-abs")
    train(run, data, tmp_path / "run", False)
    assert load_run(Mel2MelRun, tmp_path / "run" / RUN, {}) == run
    lines = capsys.readouterr().err.splitlines()
    lines = [line for line in lines if line.startswith("step ")]
    assert [line.split(":")[0] for line in lines] == ["step 1", "step 3", "step 6"]
    assert all(name in lines[0] for name in mel2mel.FIGURES)


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
    task = Mel2MelTask(load_run(Mel2MelRun, None, MEL2MEL | options), data)
    bars = task.batch(0)
    task.batch = lambda step: bars  # type: ignore[method-assign]
    with torch.no_grad():
        before = task.loss(task.batch(0)).item()
    fit(task, task.run.loop, tmp_path / "run", {}, False)
    with torch.no_grad():
        after = task.loss(task.batch(0)).item()
    assert after < 0.2 * before


def test_the_best_model_is_a_users_model(data: Path, tmp_path: Path) -> None:
    run = tiny_mel2mel(model__conditioner="concat")
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
    assert "- paper-tanh-log-abs: " in card
    pipeline = Pipeline(model=str(folder))
    score = data.parent / "midi" / "d.mid"
    rendering = pipeline.render(score, timbre="trumpet")
    assert rendering.seconds > 2
    assert np.isfinite(rendering.audio).all()
    assert np.abs(rendering.audio).max() > 0


def test_a_first_guess_however_wild_gives_a_finite_loss(data: Path) -> None:
    task = Mel2MelTask(tiny_mel2mel(loss="abs"), data)
    torch.nn.init.constant_(task.mel2mel.outward.bias, 1_000.0)
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
        train(tiny_mel2mel(), data, tmp_path / "run", False)
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "run" / STATE).values())
    load_mel2mel(tmp_path / "run" / "best")


def test_silence_is_measured_without_a_warning(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShardReader, "mel", lambda self, *_: np.full((125, 80), -11.5, np.float32))
    figures = Mel2MelTask(tiny_mel2mel(), data).validate()
    assert math.isnan(figures["correlation"])
    assert math.isnan(figures["variance"])
    assert figures["mae"] > 0


# A warm start.


def test_a_run_begins_with_the_weights_of_another(data: Path, tmp_path: Path) -> None:
    """It has the other's sizes, which need not be given, and steps from its weights; a resumed run does not need the other."""
    train(tiny_mel2mel(model__hidden=9), data, tmp_path / "first", False)
    start = tmp_path / "first" / "best"
    fine: dict[str, object] = {"start": str(start), "adversarial": 0.1, "loop.learning_rate": 1e-6}
    fine |= {name: value for name, value in MEL2MEL.items() if not name.startswith("model.")}
    run = load_run(Mel2MelRun, None, fine)
    train(run, data, tmp_path / "second", False)
    before, after = (load_mel2mel(folder)[0] for folder in (start, tmp_path / "second" / "best"))
    assert before.config == after.config
    for name, tensor in before.state_dict().items():
        assert torch.allclose(tensor, after.state_dict()[name], atol=1e-3)
    assert not torch.equal(
        before.outward.weight, Mel2MelTask(tiny_mel2mel(model__hidden=9), data).mel2mel.outward.weight
    )
    assert f"Begun from {start}." in (tmp_path / "second" / "best" / CARD).read_text()

    start.rename(tmp_path / "gone")
    longer = load_run(Mel2MelRun, tmp_path / "second" / RUN, {"loop.steps": 8})
    train(longer, data, tmp_path / "second", True)


def test_a_start_that_does_not_fit(data: Path, tmp_path: Path) -> None:
    train(tiny_mel2mel(), data, tmp_path / "first", False)
    start = str(tmp_path / "first" / "best")
    with pytest.raises(M2MError, match="is of another model than this run describes: conditioner, hidden; leave"):
        train(tiny_mel2mel(start=start, model__hidden=9, model__conditioner="concat"), data, tmp_path / "run", False)
    with pytest.raises(M2MError, match="not a model folder"):
        train(tiny_mel2mel(start=str(tmp_path / "none")), data, tmp_path / "run", False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start": "first"}, "began from random weights and goes on from its own checkpoint, not from first;"),
        (
            {"adversarial": 0.1},
            "has no adversary and cannot be resumed with one; begin another .* --start .*best -o FOLDER",
        ),
    ],
)
def test_a_resumed_run_stays_what_it_is(data: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    train(tiny_mel2mel(), data, tmp_path / "run", False)
    before = (tmp_path / "run" / RUN).read_bytes()
    with pytest.raises(M2MError, match=words):
        train(tiny_mel2mel(**changes), data, tmp_path / "run", True)
    assert (tmp_path / "run" / RUN).read_bytes() == before


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
        train(load_run(Mel2MelRun, None, MEL2MEL | changes), data, tmp_path / "run", False)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_model(data: Path, tmp_path: Path) -> None:
    train(tiny_mel2mel(), data, tmp_path / "run", False)
    for changes in ({"model__hidden": 9}, {"model__conditioner": "concat"}):
        with pytest.raises(M2MError, match="is of another model than this run describes; resume with the same options"):
            train(tiny_mel2mel(**changes), data, tmp_path / "run", True)
    assert json.loads((tmp_path / "run" / RUN).read_text())["model"]["hidden"] == 8


# Precision.


@pytest.mark.parametrize("conditioner", ["film", "concat"])
def test_an_lstm_of_another_precision_trains(conditioner: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Mel2MelTask(tiny_mel2mel(model__conditioner=conditioner), data)
    batch, lstm = task.batch(0), nn.LSTM.forward
    with torch.autocast("cpu", torch.bfloat16):
        wanted = task.loss(batch)
        # What cuDNN's makes of bfloat16 autocast, wherever autocast is on.
        monkeypatch.setattr(nn.LSTM, "forward", lambda self, x: (lstm(self, x)[0].half(), None))
        found = task.loss(batch)
    assert found.item() == pytest.approx(wanted.item(), rel=0.01)
    found.backward()
    gradients = [parameter.grad for parameter in task.model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() and gradient.any() for gradient in gradients)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is seen here")
@pytest.mark.parametrize("conditioner", ["film", "concat"])
def test_a_gpu_trains_under_autocast_as_in_float32(conditioner: str, data: Path) -> None:
    def losses(autocast: bool) -> list[float]:
        task = Mel2MelTask(tiny_mel2mel(model__conditioner=conditioner), data)
        optimiser = torch.optim.Adam(task.model.cuda().parameters(), 0.002)
        found = []
        for step in range(50):
            batch = tuple(part.cuda() for part in task.batch(step))
            with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
                loss = task.loss(batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            found.append(loss.item())
        return found

    exact, fast = losses(False), losses(True)
    assert fast[0] == pytest.approx(exact[0], rel=0.01)
    assert np.mean(fast[40:]) == pytest.approx(np.mean(exact[40:]), rel=0.03)
