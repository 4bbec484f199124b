"""An exponential moving average of a model's weights: what is validated and exported, while training goes on with the others."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import torch
from torch import Tensor, nn


class Average:
    """The average; within `with average:` the model has it for its weights.

    decay: how much of the average a step keeps; 0 leaves the model alone. Early on less is kept, (1 + step) / (10 + step), as in
    TensorFlow's ExponentialMovingAverage, so that the average does not drag the random start along.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.ones_(model.weight)
    >>> average = Average(model, 0.5)
    >>> _ = nn.init.zeros_(model.weight)
    >>> average.update(1000)
    >>> with average:
    ...     model.weight.item()
    0.5
    >>> model.weight.item()
    0.0
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = dict(model.named_parameters()) if decay else {}
        self.tensors = {name: p.detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self.parameters.items():
            self.tensors[name].lerp_(parameter, 1 - keep)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from an earlier `tensors`; from the model's weights, where that run had no average."""
        for name, parameter in self.parameters.items():
            self.tensors[name].copy_(tensors.get(name, parameter))

    @torch.no_grad()
    def __enter__(self) -> Average:
        self._swap()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._swap()

    def _swap(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.data, self.tensors[name] = self.tensors[name], parameter.data
