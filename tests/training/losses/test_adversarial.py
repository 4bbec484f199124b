"""Discriminators and adversarial losses: each side learns its own weights, and what it should."""

import pytest
import torch
from training_runs import tone

from m2m.training.losses.adversarial import MelDiscriminator, WaveDiscriminator, adversarial_losses


def test_each_side_of_the_adversary_learns_its_own_weights() -> None:
    torch.manual_seed(0)
    discriminator = WaveDiscriminator(3, 4)
    wave, true = torch.randn(2, 64, requires_grad=True), torch.randn(2, 64)
    generator_loss, discriminator_loss = adversarial_losses(discriminator, wave, true)
    generator_loss.backward(retain_graph=True)
    assert wave.grad is not None
    assert wave.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    wave.grad = None
    discriminator_loss.backward()
    assert wave.grad is None
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_an_adversary_learns_to_tell_noise_from_a_tone() -> None:
    torch.manual_seed(0)
    discriminator = WaveDiscriminator(4, 8)
    optimiser = torch.optim.Adam(discriminator.parameters(), lr=0.01)
    for _ in range(40):
        _, discriminator_loss = adversarial_losses(discriminator, 0.3 * torch.randn(2, 512), tone(440.0)[:, :512])
        optimiser.zero_grad()
        discriminator_loss.backward()
        optimiser.step()
    assert discriminator_loss.item() < 0.2  # 0.5 is guessing


@pytest.mark.parametrize("frames", [1, 7, 50])
def test_a_mels_discriminator_takes_any_length(frames: int) -> None:
    scores = MelDiscriminator(80, 2, layers=3, channels=2)(torch.zeros(2, frames, 80), torch.tensor([0, 1]))
    assert scores.shape == (2, {1: 1, 7: 2, 50: 8}[frames], 11)


def test_a_patch_is_as_large_as_the_docstring_says() -> None:
    mel = torch.zeros(1, 160, 160, requires_grad=True)
    MelDiscriminator(160, 1, layers=3, channels=2)(mel, torch.tensor([0]))[0, 10, 10].backward()
    assert mel.grad is not None
    assert [int(mel.grad[0].any(dim=axis).sum()) for axis in (1, 0)] == [38, 38]
