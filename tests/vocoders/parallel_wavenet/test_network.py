"""The student's flows against their inverse and against autograd."""

import pytest
import torch
from pydantic import ValidationError
from tiny_student import features, student

from m2m.vocoders.parallel_wavenet.network import Student, StudentConfig
from m2m.vocoders.shared.cpu import training_stack


def test_the_inverse_of_the_flows_gives_the_noise_back() -> None:
    """Sample by sample, from the last flow to the first: what autoregression would do."""
    model, inputs = student(), features(6)
    noise = torch.randn(1, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z = model(noise, inputs).samples
    u = model.conditioning(inputs)
    assert (z - noise).abs().max() > 0.1
    for flow in reversed(model.stack):
        before = torch.zeros_like(z)
        for t in range(z.shape[1]):
            mean, log_scale = flow(before, u)
            before[:, t] = (z[:, t] - mean[:, t]) * torch.exp(-log_scale[:, t])
        z = before
    assert (z - noise).abs().max() < 1e-10


@torch.no_grad()
def test_a_flows_output_is_exact_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """With gates that are shut, what is left is the sum of the layers and the two after it; bfloat16 has three digits."""
    monkeypatch.setattr(training_stack, "does", lambda *_: False)  # a GPU's layers
    flow = student().float().stack[0]
    for layer in flow.stack:
        for weight in (layer.prev.weight, layer.cur.weight, layer.cond.weight, layer.bias):
            weight.zero_()
        layer.skip.bias.uniform_(1, 2)
    flow.end.weight.uniform_(1, 2)
    z, u = torch.randn(1, 8), torch.randn(1, 8, flow.stack[0].cond.in_features)
    wanted, _ = flow(z, u)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = flow(z, u)
    assert wanted.abs().min() > 0.1
    assert torch.allclose(found, wanted, rtol=1e-6)


def test_the_log_scales_are_the_jacobians_log_determinant() -> None:
    model, inputs = student(), features(4)
    noise = torch.randn(32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    jacobian = torch.autograd.functional.jacobian(lambda z: model(z[None], inputs).samples[0], noise)
    assert jacobian.triu(1).abs().max() == 0  # no sample depends on noise after its own
    assert jacobian.tril(-1).abs().max() > 1e-3  # but noise before it
    drawn = model(noise[None], inputs)
    sign, log_determinant = torch.linalg.slogdet(jacobian)
    assert sign == 1
    assert log_determinant.item() == pytest.approx(drawn.log_scale.sum().item(), abs=1e-9)
    assert torch.allclose(jacobian.diagonal(), drawn.log_scale[0].exp())


def test_the_flows_fold_into_one_distribution_a_sample() -> None:
    """Other noise at t and after it leaves mean and scale of t; the sample is that noise, scaled and moved."""
    model, inputs = student(), features(4)
    noise = torch.randn(1, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    drawn = model(noise, inputs)
    assert torch.allclose(drawn.samples, noise * drawn.log_scale.exp() + drawn.mean, atol=1e-12)
    other = noise.clone()
    other[:, 20:] = 3.0
    again = model(other, inputs)
    for name in ("mean", "log_scale"):
        assert torch.equal(getattr(again, name)[:, :21], getattr(drawn, name)[:, :21])
    assert not torch.allclose(again.mean[:, 21:], drawn.mean[:, 21:])


def test_an_untrained_student_is_noise_of_the_level() -> None:
    torch.manual_seed(0)
    model = Student(StudentConfig(level=0.02, flows=(4, 4, 4), residual=16, skip=16)).eval()
    with torch.inference_mode():
        wave = model(torch.randn(1, 128 * 50), torch.full((1, 50, 80), -6.0)).samples
    assert 0.01 < wave.std().item() < 0.04


def test_the_receptive_field_is_what_is_heard() -> None:
    assert StudentConfig().receptive_field == 4 * (1023 + 2)
    model = student()
    assert model.config.receptive_field == (1 + 2 + 4 + 2) + (1 + 2 + 4 + 1 + 2)
    inputs = features(8)
    noise = torch.randn(1, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    at, reach = 40, model.config.receptive_field
    touched = []
    for t in range(at + 1):
        other = noise.clone()
        other[0, t] += 1
        touched.append(bool((model(other, inputs).samples[0, at] != model(noise, inputs).samples[0, at]).item()))
    assert touched.index(True) == at - reach


def test_flows_are_read_from_a_command_line() -> None:
    assert StudentConfig.model_validate({"flows": "10,10,30"}).flows == (10, 10, 30)
    for bad in ("", "10,x", "0", "3.5"):
        with pytest.raises(ValidationError):
            StudentConfig.model_validate({"flows": bad})
