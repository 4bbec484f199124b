"""Concatenation: timbre is appended to the features of every frame and projected back by one linear layer.

The usual way to condition a network, here to compare FiLM with. A linear layer over the concatenation [F, x] is
W F + V x + b with two blocks of one matrix, so x is projected once and broadcast, where [F, x] itself would repeat it
for every frame: the same function, less memory and less work.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2m.core.conditioner import ConditionerOptions, TimbreConditioner


class Concat(TimbreConditioner):
    """Linear([features, timbre]).

    >>> import torch
    >>> concat, features, timbre = Concat(n_features=4, timbre_dim=2), torch.randn(1, 5, 4), torch.randn(1, 1, 2)
    >>> whole = nn.functional.linear(torch.cat([features, timbre.expand(1, 5, 2)], -1), concat.weight, concat.bias)
    >>> torch.allclose(concat(features, timbre), whole, atol=1e-6)
    True
    """

    API_VERSION = 1

    def __init__(self, n_features: int, timbre_dim: int, options: ConditionerOptions | None = None) -> None:
        super().__init__(n_features, timbre_dim, options)
        layer = nn.Linear(n_features + timbre_dim, n_features)
        self.weight, self.bias = layer.weight, layer.bias  # (n_features, n_features + timbre_dim), (n_features,)
        with torch.no_grad():  # near the identity on the features, as FiLM begins
            self.weight[:, :n_features] *= 0.1
            self.weight[:, :n_features] += torch.eye(n_features)
            self.bias.zero_()

    def forward(self, features: Tensor, timbre: Tensor) -> Tensor:
        on_features, on_timbre = self.weight.split([self.n_features, self.timbre_dim], dim=1)
        return nn.functional.linear(features, on_features) + nn.functional.linear(timbre, on_timbre, self.bias)
