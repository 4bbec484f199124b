"""Likelihoods against sums and integrals."""

import numpy as np
import pytest
import torch

from m2m.training.losses.nll import gaussian_nll, logistics_nll, nll


def test_probabilities_of_classes_sum_to_one() -> None:
    outputs = torch.randn(1, 256, dtype=torch.float64).expand(256, -1)
    assert torch.exp(-nll(outputs, torch.arange(256), "mulaw")).sum().item() == pytest.approx(1)


def test_probabilities_of_levels_sum_to_one() -> None:
    torch.manual_seed(0)
    for levels in (16, 256, 65536):
        outputs = torch.randn(1, 9, dtype=torch.float64).expand(levels, -1)
        at = torch.linspace(-1, 1, levels, dtype=torch.float64)
        assert torch.exp(-logistics_nll(outputs, at, levels)).sum().item() == pytest.approx(1)


def test_a_gaussian_integrates_to_one_and_to_its_mean() -> None:
    at = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
    density = torch.exp(-gaussian_nll(torch.tensor([0.1, np.log(0.05)], dtype=torch.float64).expand(20_001, -1), at))
    assert torch.trapezoid(density, at).item() == pytest.approx(1)
    assert torch.trapezoid(density * at, at).item() == pytest.approx(0.1)


@pytest.mark.parametrize(("output", "outputs"), [("mulaw", 256), ("gaussian", 2), ("mol", 30)])
def test_likelihoods_have_finite_gradients_however_bad_the_guess(output: str, outputs: int) -> None:
    values = (50 * torch.randn(3, 4, outputs)).requires_grad_()
    samples = torch.randint(0, 256, (3, 4)) if output == "mulaw" else torch.tensor([-1.0, 1.0, 0.0, 0.3]).expand(3, -1)
    each = nll(values.bfloat16(), samples, output)
    assert each.shape == (3, 4)
    each.mean().backward()
    assert torch.isfinite(each).all()
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()
