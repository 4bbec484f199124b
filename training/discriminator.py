"""The adversary of a student: tells its waves from true ones, sample by sample (Parallel WaveGAN, arXiv 1910.11480).

Both sides are trained in one step with one optimiser: the student's loss sees the discriminator's weights as constants, the
discriminator's sees the student's wave as one.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call

SLOPE = 0.2  # of leaky ReLUs


class Discriminator(nn.Module):
    """Dilated convolutions without causality: (batch, samples) -> a score of each sample, (batch, samples).

    >>> import torch
    >>> Discriminator(layers=3, channels=4)(torch.zeros(2, 50)).shape
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


def adversarial_losses(discriminator: nn.Module, wave: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares (Mao et al., arXiv 1611.04076): what the student minimises, and what the discriminator does."""
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    fooled = (functional_call(discriminator, frozen, (wave,)) - 1).square().mean()
    seen = discriminator(true).sub(1).square().mean() + discriminator(wave.detach()).square().mean()
    return fooled, seen
