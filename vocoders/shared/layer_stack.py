"""WaveNet's layers in a row: by the CPU's training kernel where it can, else one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from m2m.vocoders.shared.cpu import training_stack
from m2m.vocoders.shared.layer import Layer, exact_product


def skip_sum(layers: Sequence[Layer], x: Tensor, u: Tensor, exact: bool = False) -> Tensor:
    """All layers in a row.

    x: (batch, samples, residual) float, the lowest layer's input.
    u: (batch, samples, width) float, the conditioning.
    exact: the sum in the precision of the weights, under autocast too; the CPU's kernel rounds it to bfloat16 nevertheless.

    Returns (batch, samples, skip), the sum of the layers' skip outputs.
    """
    if training_stack.does(layers, x, u):
        return training_stack.skip_sum(layers, x, u)
    gated = []
    for layer in layers:
        x, z = layer(x, u)
        gated.append(z)
    # The sum as one product over all layers' outputs: faster, and under autocast it stays exact.
    weight = torch.cat([layer.skip.weight for layer in layers], dim=1)  # (skip, layers * residual)
    bias = torch.stack([layer.skip.bias for layer in layers]).sum(0)
    product = exact_product if exact else F.linear
    return product(torch.cat(gated, dim=-1), weight, bias)
