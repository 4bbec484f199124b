"""The paper's losses, by hand at tiny sizes."""

import math

import pytest
import torch

from m2m.core.mel_measures import paper_tanh_log_abs
from m2m.training.losses.mel import LOSSES, REFERENCE, abs_mse, log_abs_mse, tanh_log_abs_mse
from m2m.training.mel2mel import BEST

LEVEL = math.log(REFERENCE)


def logs(*magnitudes: float) -> torch.Tensor:
    return torch.tensor([magnitudes], dtype=torch.float64).log()


def test_abs() -> None:
    assert abs_mse(logs(0.5, 0.1), logs(0.3, 0.2)).item() == pytest.approx((0.2**2 + 0.1**2) / 2)


def test_log_abs() -> None:
    e = math.e
    assert log_abs_mse(logs(e, 1.0), logs(1.0, e**3)).item() == pytest.approx((1 + 9) / 2)


def test_tanh_log_abs() -> None:
    true, predicted = torch.tensor([[LEVEL, LEVEL + 4]]), torch.tensor([[LEVEL, LEVEL]])
    assert tanh_log_abs_mse(predicted, true).item() == pytest.approx(math.tanh(1) ** 2 / 2)


def test_tanh_log_abs_weighs_what_is_near_its_reference_more_than_what_is_nearly_silent() -> None:
    near = tanh_log_abs_mse(logs(REFERENCE), logs(REFERENCE * 1.5))
    quiet = tanh_log_abs_mse(logs(1e-5), logs(1.5e-5))
    assert near > 50 * quiet


def test_the_papers_formula_as_printed_is_another_measure() -> None:
    """Its 0 dB is full scale, ours -20 dB: at 20 dB less, the printed one is what ours is."""
    predicted, true = torch.randn(2, 3, 4) - 3, torch.randn(2, 3, 4) - 3
    printed = paper_tanh_log_abs((predicted - LEVEL).numpy(), (true - LEVEL).numpy())
    assert tanh_log_abs_mse(predicted, true).item() == pytest.approx(printed)
    assert BEST not in LOSSES


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_described(name: str) -> None:
    """In the first line of its docstring, which docs/mel2mel.md shows."""
    assert (LOSSES[name].__doc__ or "").splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name: str) -> None:
    """0 at equality and nowhere else, the same both ways, and its gradient leads to the truth."""
    loss = LOSSES[name]
    torch.manual_seed(0)
    true, predicted = torch.randn(2, 3, 4) - 3, torch.randn(2, 3, 4) - 3
    assert loss(true, true).item() == 0
    assert loss(predicted, true).shape == ()
    assert loss(predicted, true).item() == pytest.approx(loss(true, predicted).item())
    for index in range(true.numel()):
        other = true.clone()
        other.view(-1)[index] += 0.1
        assert loss(other, true) > 0
    moving = predicted.clone().requires_grad_()
    loss(moving, true).backward()
    assert torch.equal(moving.grad.sign(), (predicted - true).sign())  # type: ignore[union-attr]
