"""An exponential moving average (EMA) of a model's weights: what is validated and exported while training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class EMA:
    """The average; within `with ema:` the model has it for its weights.

    decay: how much of the average a step keeps; 0: no average is kept. Early on less is kept, (1 + step) / (10 + step), as in
    TensorFlow's ExponentialMovingAverage, so that the random start is soon forgotten.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.ones_(model.weight)
    >>> ema = EMA(model, 0.5)
    >>> _ = nn.init.zeros_(model.weight)
    >>> ema.update(1000)
    >>> with ema:
    ...     model.weight.item()
    0.5
    >>> model.weight.item()
    0.0
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._parameters = dict(model.named_parameters()) if decay else {}
        # Of the parameters alone: a plugin's objects in the model need not be copied.
        self._source = nn.ParameterList(self._parameters.values())
        self._average = AveragedModel(self._source)
        self._average.n_averaged += 1  # the initial weights count, so that the first update does not overwrite them

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The averages by their parameters' names; empty where none are kept."""
        return {
            name: average.detach() for name, average in zip(self._parameters, self._average.parameters(), strict=True)
        }

    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        if self._parameters:
            self._average.multi_avg_fn = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
            self._average.update_parameters(self._source)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue an earlier average, given as `tensors`; one that is not among them begins at the model's weights."""
        for name, average in self.tensors.items():
            average.copy_(tensors.get(name, self._parameters[name]))

    def __enter__(self) -> EMA:
        self._swap()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._swap()

    def _swap(self) -> None:
        for parameter, average in zip(self._source, self._average.parameters(), strict=True):
            parameter.data, average.data = average.data, parameter.data
