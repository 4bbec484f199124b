"""Training Mel2Mel with an adversary, against blur."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_runs import same_tensors, tiny_mel2mel

from m2m.core.mel import MelSpec
from m2m.core.mel2mel import Mel2Mel, load_mel2mel
from m2m.core.model_folders import CARD, WEIGHTS
from m2m.dataset.shards import ShardReader
from m2m.training import mel2mel
from m2m.training.loop import learning_rate
from m2m.training.losses.adversarial import adversarial_losses
from m2m.training.losses.mel import LOSSES
from m2m.training.mel2mel import Mel2MelTask, discriminator_input, measure, train
from m2m.training.state import STATE

pytestmark = pytest.mark.usefixtures("no_tensorboard")


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.5])
def test_variance_tells_blur(data: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Of a prediction that moves `share` as far about its mean as it should, the square of that share."""
    shards = ShardReader(data, "validation")

    def flattened(model: Mel2Mel, shards: ShardReader, index: int, name: str, frames: int) -> tuple[Any, Any]:
        true = shards.mel(index, name, 0, frames)
        return true, true.mean(axis=0) + share * (true - true.mean(axis=0))

    monkeypatch.setattr(mel2mel, "predict", flattened)
    figures = measure(Mel2MelTask(tiny_mel2mel(), data).mel2mel, shards, 1.0)
    assert figures["variance"] == pytest.approx(np.full((1, 2), share**2), rel=1e-3)


def test_a_discriminator_is_given_silence_as_minus_one_and_full_scale_as_one() -> None:
    for spec in (MelSpec(), MelSpec(log="log10")):
        mel = torch.tensor([2 * spec.silence, spec.silence, spec.silence / 2, 0.0])
        assert discriminator_input(mel, spec).tolist() == pytest.approx([-1.0, -1.0, 0.0, 1.0])


def test_each_side_learns_its_own_weights(data: Path) -> None:
    task = Mel2MelTask(tiny_mel2mel(adversarial=1.0), data)
    assert task.discriminator is not None
    roll, instrument, true, switch = task.batch(0)
    assert switch.tolist() == [1.0, 1.0]
    made = discriminator_input(task.mel2mel(roll, task.mel2mel.timbre(instrument)[:, None]), task.run.model.mel)
    generator_loss, discriminator_loss = adversarial_losses(
        task.discriminator, made, discriminator_input(true, task.run.model.mel), instrument
    )
    generator_loss.backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in task.discriminator.parameters())
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in task.mel2mel.parameters())
    task.mel2mel.zero_grad()
    discriminator_loss.backward()
    assert all(parameter.grad is None for parameter in task.mel2mel.parameters())
    assert all(
        parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in task.discriminator.parameters()
    )


def test_what_is_minimised_is_the_sum_of_its_parts(data: Path) -> None:
    task = Mel2MelTask(tiny_mel2mel(adversarial=0.3, loss="log-abs"), data)
    loss, parts = task.loss(task.batch(0)), task.details()
    assert parts.keys() == {"log-abs", "adversarial", "discriminator"}
    assert loss.item() == pytest.approx(parts["log-abs"] + 0.3 * parts["adversarial"] + parts["discriminator"])


def test_a_discriminator_learns_to_tell_a_blurred_mel(data: Path) -> None:
    """1 and 0 are right, and 0.5 for everything costs 0.5."""
    task = Mel2MelTask(tiny_mel2mel(adversarial=1.0, adversary_channels=8), data)
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
    """A tremolo of 1.5 nepers that begins upwards or downwards, which is not in the roll: the mean of both does not move."""
    sizes: dict[str, Any] = {"model__hidden": 16, "sequence": 32, "adversary_layers": 2, "adversary_channels": 8}
    task = Mel2MelTask(tiny_mel2mel(adversarial=weight, loss="log-abs", **sizes), data)
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
    run = tiny_mel2mel(loop__threads=1)
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
    train(tiny_mel2mel(), data, tmp_path / "without", False)
    train(tiny_mel2mel(adversarial=1.0, adversary_after=6), data, tmp_path / "later", False)
    train(tiny_mel2mel(adversarial=1.0, adversary_after=5), data, tmp_path / "last", False)
    without, later, last = (load_file(tmp_path / name / STATE) for name in ("without", "later", "last"))
    same = {
        name: [torch.equal(tensor, state[name.replace("/", "/mel2mel.", 1)]) for state in (later, last)]
        for name, tensor in without.items()
        if name.startswith("model/")
    }
    assert all(pair[0] for pair in same.values())
    assert not all(pair[1] for pair in same.values())


def test_a_run_with_an_adversary_is_resumed_exactly(data: Path, tmp_path: Path) -> None:
    run = tiny_mel2mel(adversarial=0.5, adversary_after=2, adversary_channels=4, loop__decay=0)
    train(run, data, tmp_path / "whole", False)
    train(
        tiny_mel2mel(adversarial=0.5, adversary_after=2, adversary_channels=4, loop__decay=0, loop__steps=4),
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
            train(tiny_mel2mel(adversarial=adversarial), data, tmp_path / str(step), False)
        card = (tmp_path / str(step) / "best" / CARD).read_text()
        assert f"after {step} steps" in card.splitlines()[0]
        assert ("With an adversary of weight 0.5" in card) == bool(adversarial)
        load_mel2mel(tmp_path / str(step) / "best")
