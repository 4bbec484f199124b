"""Training Mel2Mel, on a data set of sines and at sizes where a run takes a fraction of a second."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec
from m2m.core.mel2mel import Mel2Mel, load_mel2mel
from m2m.core.model_folders import CARD, WEIGHTS
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.score import from_rows
from m2m.core.system.run_config import RUN, load_run
from m2m.dataset.shards import ShardReader
from m2m.training import mel2mel
from m2m.training.loop import STATE, learning_rate
from m2m.training.losses.adversarial import MelDiscriminator, adversarial_losses
from m2m.training.losses.mel import LOSSES
from m2m.training.mel2mel import Mel2MelRun, Mel2MelTask, discriminator_input, measure, train

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
    task, shards = Mel2MelTask(tiny(loop__batch_size=8, silence=0.0), data), ShardReader(data, "train")
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


def test_windows_may_begin_in_the_silence_before_a_piece(data: Path) -> None:
    task = Mel2MelTask(tiny(loop__batch_size=32, silence=1.0), data)
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
        windows = [
            task.model.encoder.encode(n, 125.0, -before, 50) for n, (_, before) in zip(notes, found, strict=True)
        ]
        assert any(np.array_equal(window, roll) for window in windows)


def test_a_file_shorter_than_a_window_ends_in_silence(data: Path) -> None:
    """3 s of data in windows of 4.1 s, and longer validation than there is."""
    run = tiny(sequence=512, validation_seconds=10.0, silence=0.0)
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
    assert all(name in lines[1] for name in mel2mel.FIGURES)


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
    assert "- paper-tanh-log-abs: " in card
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
    assert math.isnan(figures["variance"])
    assert figures["mae"] > 0


# Blur.


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.5])
def test_variance_tells_blur(data: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Of a prediction that moves `share` as far about its mean as it should, the square of that share."""
    shards = ShardReader(data, "validation")

    def flattened(model: Mel2Mel, shards: ShardReader, index: int, name: str, frames: int) -> tuple[Any, Any]:
        true = shards.mel(index, name, 0, frames)
        return true, true.mean(axis=0) + share * (true - true.mean(axis=0))

    monkeypatch.setattr(mel2mel, "predict", flattened)
    figures = measure(Mel2MelTask(tiny(), data).mel2mel, shards, 1.0)
    assert figures["variance"] == pytest.approx(np.full((1, 2), share**2), rel=1e-3)


def test_the_adversary_hears_silence_as_minus_one_and_full_scale_as_one() -> None:
    for spec in (MelSpec(), MelSpec(log="log10")):
        mel = torch.tensor([2 * spec.silence, spec.silence, spec.silence / 2, 0.0])
        assert discriminator_input(mel, spec).tolist() == pytest.approx([-1.0, -1.0, 0.0, 1.0])


@pytest.mark.parametrize("frames", [1, 7, 50])
def test_a_mels_discriminator_takes_any_length(frames: int) -> None:
    scores = MelDiscriminator(80, 2, layers=3, channels=2)(torch.zeros(2, frames, 80), torch.tensor([0, 1]))
    assert scores.shape == (2, {1: 1, 7: 2, 50: 8}[frames], 11)


def test_a_patch_is_as_large_as_the_docstring_says() -> None:
    mel = torch.zeros(1, 160, 160, requires_grad=True)
    MelDiscriminator(160, 1, layers=3, channels=2)(mel, torch.tensor([0]))[0, 10, 10].backward()
    assert mel.grad is not None
    assert [int(mel.grad[0].any(dim=axis).sum()) for axis in (1, 0)] == [38, 38]


def test_each_side_learns_its_own_weights(data: Path) -> None:
    task = Mel2MelTask(tiny(adversarial=1.0), data)
    assert task.discriminator is not None
    roll, instrument, true, switch = task.batch(0)
    assert switch.tolist() == [1.0, 1.0]
    made = discriminator_input(task.mel2mel(roll, task.mel2mel.timbre(instrument)[:, None]), task.run.model.mel)
    generator_loss, discriminator_loss = adversarial_losses(
        task.discriminator, made, discriminator_input(true, task.run.model.mel), instrument
    )
    generator_loss.backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in task.discriminator.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in task.mel2mel.parameters())
    task.mel2mel.zero_grad()
    discriminator_loss.backward()
    assert all(parameter.grad is None for parameter in task.mel2mel.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in task.discriminator.parameters())


def test_what_is_minimised_is_the_sum_of_its_parts(data: Path) -> None:
    task = Mel2MelTask(tiny(adversarial=0.3, loss="log-abs"), data)
    loss, parts = task.loss(task.batch(0)), task.details()
    assert parts.keys() == {"log-abs", "adversarial", "discriminator"}
    assert loss.item() == pytest.approx(parts["log-abs"] + 0.3 * parts["adversarial"] + parts["discriminator"])


def test_a_discriminator_learns_to_tell_a_blurred_mel(data: Path) -> None:
    """1 and 0 are right, and 0.5 for everything costs 0.5."""
    task = Mel2MelTask(tiny(adversarial=1.0, adversary_channels=8), data)
    assert task.discriminator is not None
    _, instrument, mel, _ = task.batch(0)
    true = discriminator_input(mel, task.run.model.mel)
    blurred = true.mean(dim=1, keepdim=True).expand_as(true)
    optimiser = torch.optim.Adam(task.discriminator.parameters(), lr=0.003)
    for _ in range(100):
        _, discriminator_loss = adversarial_losses(task.discriminator, blurred, true, instrument)
        optimiser.zero_grad()
        discriminator_loss.backward()
        optimiser.step()
    assert discriminator_loss.item() < 0.25


@pytest.mark.parametrize(("weight", "least", "most"), [(0.0, 0.0, 0.4), (3.0, 0.6, 2.5)])
def test_an_adversary_ends_blur(data: Path, weight: float, least: float, most: float) -> None:
    """A tremolo of 1.5 nepers that begins upwards or downwards, which the roll does not tell: the mean of both is still."""
    sizes: dict[str, Any] = {"model__hidden": 16, "sequence": 32, "adversary_layers": 2, "adversary_channels": 8}
    task = Mel2MelTask(tiny(adversarial=weight, loss="log-abs", **sizes), data)
    tremolo = 1.0 - 2 * (torch.arange(32) // 8 % 2)[:, None].expand(4, 32, 80)
    roll, instrument, switch = (
        tremolo[..., :1].clamp_min(0).expand(4, 32, 176) / 2,
        torch.tensor([0, 1] * 2),
        torch.ones(4),
    )
    optimiser = torch.optim.Adam(task.model.parameters(), lr=0.005)
    draw, moves = torch.Generator().manual_seed(0), []
    for step in range(180):
        sign = torch.randint(0, 2, (4, 1, 1), generator=draw) * 2 - 1
        optimiser.zero_grad()
        task.loss((roll, instrument, -6 + 1.5 * sign * tremolo, *([switch] if weight else []))).backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimiser.step()
        if step >= 120:
            with torch.no_grad():
                moves.append(task.mel2mel(roll, task.mel2mel.timbre(instrument)[:, None]).std(dim=1).mean().item())
    assert least <= np.mean(moves) < most


def test_a_run_without_an_adversary_is_plain_adam(data: Path, tmp_path: Path) -> None:
    """To the bit, and its checkpoint names what it always did."""
    run = tiny(loop__threads=1)
    train(run, data, tmp_path / "run", False)
    state = load_file(tmp_path / "run" / STATE)
    torch.manual_seed(run.loop.seed)
    model = Mel2Mel(run.model)
    optimiser, task = torch.optim.Adam(model.parameters()), Mel2MelTask(run, data)
    for step in range(run.loop.steps):
        roll, instrument, true = task.batch(step)
        optimiser.param_groups[0]["lr"] = learning_rate(step, run.loop)
        optimiser.zero_grad()
        LOSSES[run.loss](model(roll, model.timbre(instrument)[:, None]), true).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), run.loop.clip)
        optimiser.step()
    weights = {name: tensor for name, tensor in state.items() if name.startswith("model/")}
    assert weights.keys() == {f"model/{name}" for name in model.state_dict()}
    assert all(torch.equal(tensor, weights[f"model/{name}"]) for name, tensor in model.state_dict().items())


def test_an_adversary_that_has_not_joined_in_changes_nothing(data: Path, tmp_path: Path) -> None:
    train(tiny(), data, tmp_path / "without", False)
    train(tiny(adversarial=1.0, adversary_after=6), data, tmp_path / "later", False)
    train(tiny(adversarial=1.0, adversary_after=5), data, tmp_path / "last", False)
    without, later, last = (load_file(tmp_path / name / STATE) for name in ("without", "later", "last"))
    same = {
        name: [torch.equal(tensor, state[name.replace("/", "/mel2mel.", 1)]) for state in (later, last)]
        for name, tensor in without.items()
        if name.startswith("model/")
    }
    assert all(pair[0] for pair in same.values())
    assert not all(pair[1] for pair in same.values())


def test_a_run_with_an_adversary_is_resumed_exactly(data: Path, tmp_path: Path) -> None:
    run = tiny(adversarial=0.5, adversary_after=2, adversary_channels=4, loop__decay=0)
    train(run, data, tmp_path / "whole", False)
    train(
        tiny(adversarial=0.5, adversary_after=2, adversary_channels=4, loop__decay=0, loop__steps=4),
        data,
        tmp_path / "parts",
        False,
    )
    train(run, data, tmp_path / "parts", True)
    same_tensors(tmp_path / "whole" / STATE, tmp_path / "parts" / STATE)
    same_tensors(tmp_path / "whole" / "best" / WEIGHTS, tmp_path / "parts" / "best" / WEIGHTS)
    assert any("discriminator" in name for name in load_file(tmp_path / "whole" / STATE))


def test_with_an_adversary_the_newest_model_is_exported(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights alone, though each validation is worse than the one before; without an adversary the first is kept."""
    for adversarial, step in ((0.5, 6), (0.0, 1)):
        errors = iter([1.0, 2.0, 3.0])
        with monkeypatch.context() as patch:
            patch.setattr(Mel2MelTask, "validate", lambda task, errors=errors: {"paper-tanh-log-abs": next(errors)})
            train(tiny(adversarial=adversarial), data, tmp_path / str(step), False)
        card = (tmp_path / str(step) / "best" / CARD).read_text()
        assert f"after {step} steps" in card.splitlines()[0]
        assert ("With an adversary of weight 0.5" in card) == bool(adversarial)
        load_mel2mel(tmp_path / str(step) / "best")


# Going on from another model's weights.


def test_a_run_begins_with_the_weights_of_another(data: Path, tmp_path: Path) -> None:
    """It is of the other's sizes without being told, and steps from its weights; a resumed run needs it no more."""
    train(tiny(model__hidden=9), data, tmp_path / "first", False)
    start = tmp_path / "first" / "best"
    fine: dict[str, object] = {"start": str(start), "adversarial": 0.1, "loop.learning_rate": 1e-6}
    fine |= {name: value for name, value in TINY.items() if not name.startswith("model.")}
    run = load_run(Mel2MelRun, None, fine)
    train(run, data, tmp_path / "second", False)
    before, after = (load_mel2mel(folder)[0] for folder in (start, tmp_path / "second" / "best"))
    assert before.config == after.config
    for name, tensor in before.state_dict().items():
        assert torch.allclose(tensor, after.state_dict()[name], atol=1e-3)
    assert not torch.equal(before.outward.weight, Mel2MelTask(tiny(model__hidden=9), data).mel2mel.outward.weight)
    assert f"Begun from {start}." in (tmp_path / "second" / "best" / CARD).read_text()

    start.rename(tmp_path / "gone")
    longer = load_run(Mel2MelRun, tmp_path / "second" / RUN, {"loop.steps": 8})
    train(longer, data, tmp_path / "second", True)


def test_a_start_that_does_not_fit(data: Path, tmp_path: Path) -> None:
    train(tiny(), data, tmp_path / "first", False)
    start = str(tmp_path / "first" / "best")
    with pytest.raises(M2MError, match="is of another model than this run describes: conditioner, hidden; leave"):
        train(tiny(start=start, model__hidden=9, model__conditioner="concat"), data, tmp_path / "run", False)
    with pytest.raises(M2MError, match="not a model folder"):
        train(tiny(start=str(tmp_path / "none")), data, tmp_path / "run", False)
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
    train(tiny(), data, tmp_path / "run", False)
    before = (tmp_path / "run" / RUN).read_bytes()
    with pytest.raises(M2MError, match=words):
        train(tiny(**changes), data, tmp_path / "run", True)
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
        *(f"validation/{name}" for name in mel2mel.FIGURES),
    }
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4, 6]
    assert [event.step for event in events.Scalars("validation/mae")] == [1, 3, 6]
    assert set(events.Tags()["images"]) == set(INSTRUMENTS)
    image = events.Images("trumpet")[0]
    assert (image.width, image.height) == (375, 160)


def test_pictures_need_matplotlib_and_a_run_does_not(data: Path, without: Without) -> None:
    without("matplotlib")
    assert Mel2MelTask(tiny(), data).pictures() == {}
