"""Adversarial losses, and the discriminators that they need: networks that learn to tell what a model makes from what is true.

Generator and discriminator are trained in one step with one optimiser: in the generator's loss the discriminator's weights are
constants, in the discriminator's loss what the generator made is one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

SLOPE = 0.2  # of leaky ReLUs


class WaveDiscriminator(nn.Module):
    """Parallel WaveGAN's (Yamamoto et al., arXiv 1910.11480): dilated convolutions without causality.

    wave: (batch, samples) float32, -1..1. Returned: (batch, samples) float32 scores, 1 for true and 0 for made.

    >>> WaveDiscriminator(layers=3, channels=4)(torch.zeros(2, 50)).shape
    torch.Size([2, 50])
    """

    def __init__(self, layers: int = 10, channels: int = 64) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        for layer in range(layers):
            dilation = max(1, layer)
            stack += [
                nn.Conv1d(channels if layer else 1, channels, 3, padding=dilation, dilation=dilation),
                nn.LeakyReLU(SLOPE),
            ]
        self.stack = nn.Sequential(*stack, nn.Conv1d(channels, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> Tensor:
        scores: Tensor = self.stack(wave[:, None])[:, 0]
        return scores.float()


class MelDiscriminator(nn.Module):
    """Scores of a mel's patches, as in PatchGAN (Isola et al., arXiv 1611.07004): of 38 frames x 38 bands by three layers.

    Convolutions know neither the instrument nor which band they are in. A learned spectrum of the instrument, as a second
    channel beside the mel, gives them both.

    mel: (batch, frames, n_mels) float32 log-mel, scaled to about -1..1. instrument: (batch,) int64, its number.
    Returned: (batch, about frames / 2^layers, about n_mels / 2^layers) float32, 1 for true and 0 for made.

    >>> MelDiscriminator(80, instruments=10)(torch.zeros(2, 512, 80), torch.tensor([0, 9])).shape
    torch.Size([2, 65, 11])
    """

    def __init__(self, n_mels: int, instruments: int, layers: int = 3, channels: int = 32) -> None:
        super().__init__()
        self.spectra = nn.Embedding(instruments, n_mels)
        nn.init.zeros_(self.spectra.weight)  # or at first they would be louder than the mel
        stack: list[nn.Module] = []
        for layer in range(layers):
            inputs, outputs = (channels << layer - 1 if layer else 2), channels << layer
            # Kernels of a multiple of the stride weigh every frame alike; the padding lets a mel of one frame through.
            stack += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=2), nn.LeakyReLU(SLOPE)]
        self.stack = nn.Sequential(*stack, nn.Conv2d(channels << layers - 1, 1, 3, padding=1))

    def forward(self, mel: Tensor, instrument: Tensor) -> Tensor:
        spectrum = self.spectra(instrument)[:, None].expand_as(mel)
        scores: Tensor = self.stack(torch.stack([mel, spectrum], dim=1))[:, 0]  # (batch, frames', n_mels')
        return scores.float()


class GAN(nn.Module):
    """What one optimiser moves: a generator, under the name that it has in checkpoints, and its discriminator if there is one."""

    def __init__(self, name: str, model: nn.Module, discriminator: nn.Module | None) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, model)
        self.discriminator = discriminator

    def forward(self, *inputs: Tensor) -> Any:
        return getattr(self, self.name)(*inputs)


def active(step: int, after: int, rows: int) -> Tensor:
    """Whether the adversary is active at a step: (rows,) float32, all 1 or all 0, a part of the step's batch.

    after: the first step at which it is. The adversarial losses are multiplied by it, not left out, so that Adam has seen all
    weights at every step and a resumed run is exact.
    """
    return torch.full((rows,), float(step >= after))


def adversarial_losses(discriminator: nn.Module, made: Tensor, true: Tensor, *about: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares (LSGAN; Mao et al., arXiv 1611.04076): what the generator minimises, and what the discriminator does.

    made, true: (batch, ...) what the generator made and what it should have, as the discriminator takes them. about: what else
    the discriminator takes. Returned: (generator loss, discriminator loss), scalars; the second is 0.5 if it guesses.
    """
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    generator_loss = (functional_call(discriminator, frozen, (made, *about)) - 1).square().mean()
    on_true, on_made = discriminator(true, *about), discriminator(made.detach(), *about)
    return generator_loss, on_true.sub(1).square().mean() + on_made.square().mean()
