"""A gate for each feature, which the timbre opens and closes."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from m2m.core.conditioner import ConditionerOptions, TimbreConditioner


class ExampleConditionerOptions(ConditionerOptions):
    """What a user may set with --conditioner-opt NAME=VALUE."""

    reach: float = Field(0.9, gt=0, lt=10, description="how far a feature's scale may move from 1")


class ExampleConditioner(TimbreConditioner):
    """features * (1 + reach * tanh(W timbre + b))."""

    API_VERSION = 1  # of m2m.core.conditioner, which this class was written for
    Options = ExampleConditionerOptions
    options: ExampleConditionerOptions

    def __init__(self, n_features: int, timbre_dim: int, options: ExampleConditionerOptions | None = None) -> None:
        super().__init__(n_features, timbre_dim, options)
        self.gate = nn.Linear(timbre_dim, n_features)
        nn.init.zeros_(self.gate.bias)

    def forward(self, features: Tensor, timbre: Tensor) -> Tensor:
        """Condition every frame: (batch, frames, n_features).

        features: (batch, frames, n_features).
        timbre: (batch, frames or 1, timbre_dim).
        """
        return features * (1 + self.options.reach * torch.tanh(self.gate(timbre)))
