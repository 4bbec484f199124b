"""WaveNet's dilated, gated, residual layers, all samples at once: WaveNet and its student are made of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Layer(nn.Module):
    """One dilated, gated, residual layer."""

    def __init__(self, channels: int, skip: int, bands: int, dilation: int, last: bool) -> None:
        super().__init__()
        self.dilation, twice = dilation, 2 * channels
        self.prev = nn.Linear(channels, twice, bias=False)
        self.cur = nn.Linear(channels, twice, bias=False)
        self.bias = nn.Parameter(torch.zeros(twice))
        self.cond = nn.Linear(bands, twice, bias=False)
        self.skip = nn.Linear(channels, skip)
        self.res = None if last else nn.Linear(channels, channels)

    def forward(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """One layer over whole sequences.

        x: (batch, samples, channels) float, what the layer below gave.
        u: (batch, samples, bands) float, the conditioning.

        Returns the next layer's x, and z for the skip sum, both (batch, samples, channels).
        """
        now = x.to(u.dtype)  # under autocast: the residual sum alone stays float32
        past = F.pad(now, (0, 0, self.dilation, 0))[:, : x.shape[1]]  # zero before the first
        inputs = torch.cat([past, now, u], dim=-1)
        weight = torch.cat([self.prev.weight, self.cur.weight, self.cond.weight], dim=1)
        a, b = F.linear(inputs, weight, self.bias).chunk(2, dim=-1)
        z = torch.tanh(a) * torch.sigmoid(b)
        return x if self.res is None else x + self.res(z), z


def exactly(linear: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer in the precision of its weights, under autocast too: bfloat16 rounds a mean by more than a quiet sample.

    x: (..., in_features) of any float type.

    Returns (..., out_features) in the type of the weights.
    """
    return exact_product(x, linear.weight, linear.bias)


def exact_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.linear in the precision of the weight, under autocast too.

    x: (..., in_features) of any float type. weight: (out_features, in_features). bias: (out_features,) or None.

    Returns (..., out_features) in the type of the weight.
    """
    with torch.autocast(x.device.type, enabled=False):
        return F.linear(x.to(weight.dtype), weight, bias)
