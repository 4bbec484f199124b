"""The adversaries: networks that learn to tell what a model makes from what is true, and so tell the model where it is not.

Both sides are trained in one step with one optimiser: the model's loss sees the discriminator's weights as constants, the
discriminator's sees what the model made as one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

SLOPE = 0.2  # of leaky ReLUs


class WaveDiscriminator(nn.Module):
    """Dilated convolutions without causality: (batch, samples) -> a score of each sample, (batch, samples).

    Parallel WaveGAN's (Yamamoto et al., arXiv 1910.11480).

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
        return scores


class MelDiscriminator(nn.Module):
    """Patches of a mel, as in PatchGAN (Isola et al., arXiv 1611.07004): three layers judge 38 frames x 38 bands at a time.

    Log-mels (batch, frames, n_mels), scaled to about -1..1, and their instruments (batch,) -> scores of the patches, (batch,
    about frames / 2^layers, about n_mels / 2^layers). Convolutions know neither the instrument nor which band they are in; a
    learned spectrum of the instrument, laid beside the mel as a second channel, says both.

    >>> MelDiscriminator(80, instruments=10)(torch.zeros(2, 512, 80), torch.tensor([0, 9])).shape
    torch.Size([2, 65, 11])
    """

    def __init__(self, n_mels: int, instruments: int, layers: int = 3, channels: int = 32) -> None:
        super().__init__()
        self.spectra = nn.Embedding(instruments, n_mels)
        nn.init.zeros_(self.spectra.weight)  # at first they say nothing, and do not drown the mel
        stack: list[nn.Module] = []
        for layer in range(layers):
            inputs, outputs = (channels << layer - 1 if layer else 2), channels << layer
            # Kernels that are a multiple of the stride hear every frame equally often; the padding keeps a single one alive.
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
    """Whether the adversary is in, 1 or 0, as a column of a step's batch: (rows,). A loss knows of no step but by its batch.

    A weight of 0 rather than no loss at all: Adam counts the steps of every weight alike, so that a resumed run is exact.
    """
    return torch.full((rows,), float(step >= after))


def adversarial_losses(discriminator: nn.Module, made: Tensor, true: Tensor, *about: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares (Mao et al., arXiv 1611.04076): what the model minimises, and what the discriminator does.

    made, true: what the model made and what it should have, as the discriminator takes them; `about`: what else it takes.
    """
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    generator_loss = (functional_call(discriminator, frozen, (made, *about)) - 1).square().mean()
    on_true, on_made = discriminator(true, *about), discriminator(made.detach(), *about)
    return generator_loss, on_true.sub(1).square().mean() + on_made.square().mean()
