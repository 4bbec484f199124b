"""Divergences against PyTorch's, against sums over a grid, and against each other."""

import math

import pytest
import torch

from m2m.training.losses.kl import gaussian_kl, monte_carlo_kl, noise_like, scale_penalty


def tensors(*values: float) -> list[torch.Tensor]:
    return [torch.tensor([value], dtype=torch.float64) for value in values]


@pytest.mark.parametrize(
    ("m", "s", "tm", "ts"), [(0.1, -2.0, 0.3, -1.0), (0.0, 0.5, 0.0, 0.5), (-0.2, -1.0, 0.4, -3.0)]
)
def test_the_gaussian_divergence_is_pytorchs(m: float, s: float, tm: float, ts: float) -> None:
    mean, log_scale = tensors(m, s)
    found = gaussian_kl(mean, log_scale, torch.tensor([[tm, ts]], dtype=torch.float64))
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(normal(m, math.exp(s)), normal(tm, math.exp(ts)))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5, abs=1e-6)


def test_the_teachers_scale_counts_as_no_less_than_it_learned() -> None:
    mean, log_scale = tensors(0.0, -7.0)
    tiny = torch.tensor([[0.0, -20.0]])
    assert gaussian_kl(mean, log_scale, tiny).item() == pytest.approx(0)
    assert scale_penalty(log_scale, tiny).item() == pytest.approx(0)
    assert scale_penalty(log_scale + 0.5, tiny).item() == pytest.approx(0.25)


def logistic_density(x: torch.Tensor, mean: float, log_scale: float) -> torch.Tensor:
    z = (x - mean) / math.exp(log_scale)
    return torch.exp(-z - 2 * torch.nn.functional.softplus(-z)) / math.exp(log_scale)


def test_drawing_finds_the_divergence_of_logistics() -> None:
    """Against a sum over a fine grid; the teacher is a mixture of two."""
    torch.manual_seed(0)
    parts = [(0.7, 0.1, -3.0), (0.3, -0.2, -2.0)]  # weight, mean, log scale
    outputs = torch.tensor([[[math.log(w) for w, _, _ in parts], [m for _, m, _ in parts], [s for _, _, s in parts]]])
    mean, log_scale = torch.tensor([0.05]), torch.tensor([-2.5])
    found = monte_carlo_kl(mean, log_scale, outputs.flatten(1), "logistic", "mol", 100_000).item()
    x = torch.linspace(-4, 4, 800_001, dtype=torch.float64)
    q = logistic_density(x, 0.05, -2.5)
    p = torch.stack([w * logistic_density(x, m, s) for w, m, s in parts]).sum(0)
    wanted = (q * (q.clamp_min(1e-300).log() - p.clamp_min(1e-300).log())).sum().item() * 1e-5
    assert found == pytest.approx(wanted, abs=0.02)


def test_drawing_agrees_with_the_closed_form() -> None:
    torch.manual_seed(0)
    mean, log_scale, outputs = torch.tensor([0.1]), torch.tensor([-1.5]), torch.tensor([[0.2, -1.0]])
    drawn = monte_carlo_kl(mean, log_scale, outputs, "gaussian", "gaussian", 200_000)
    assert drawn.item() == pytest.approx(gaussian_kl(mean, log_scale, outputs).item(), abs=0.01)


@pytest.mark.parametrize(("noise", "output"), [("gaussian", "gaussian"), ("logistic", "mol"), ("gaussian", "mol")])
def test_the_divergence_has_its_least_where_both_are_alike(noise: str, output: str) -> None:
    """A gradient step towards the teacher makes it less: both parameters learn."""
    torch.manual_seed(0)
    mean, log_scale = torch.tensor([0.3], requires_grad=True), torch.tensor([-1.0], requires_grad=True)
    outputs = torch.tensor([[0.1, -3.0]]) if output == "gaussian" else torch.tensor([[0.0, 0.1, -3.0]])
    optimiser = torch.optim.Adam([mean, log_scale], lr=0.02)
    for _ in range(500):
        optimiser.zero_grad()
        monte_carlo_kl(mean, log_scale, outputs, noise, output, 32).sum().backward()
        optimiser.step()
    assert mean.item() == pytest.approx(0.1, abs=0.02)
    assert log_scale.item() == pytest.approx(-3.0 + (0.5 if noise == "gaussian" and output == "mol" else 0), abs=0.25)


def test_noise_of_both_kinds() -> None:
    torch.manual_seed(0)
    like = torch.zeros(1)
    assert noise_like(like, "gaussian", 100_000).std().item() == pytest.approx(1, rel=0.02)
    assert noise_like(like, "logistic", 100_000).std().item() == pytest.approx(math.pi / math.sqrt(3), rel=0.02)
