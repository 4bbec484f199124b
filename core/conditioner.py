"""Contract: a timbre conditioner modulates the features of a network by a point in timbre space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn


class ConditionerOptions(BaseModel):
    """Options of a conditioner; a subclass adds its own. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TimbreConditioner(nn.Module, ABC):
    """(features, timbre) -> features. A trained part of Mel2Mel, which owns two of them, before and after its LSTM.

    A subclass creates its parameters in `__init__` after calling `super().__init__(...)`. Parameters are saved and loaded
    with the acoustic model (safetensors), so every one must be an `nn.Parameter` or a buffer of fixed shape.
    """

    API_VERSION: ClassVar[int] = 1  # of this contract; a subclass states the one that it was written for
    API_OLDEST: ClassVar[int] = 1  # that this m2m still loads
    Options: ClassVar[type[ConditionerOptions]] = ConditionerOptions

    def __init__(self, n_features: int, timbre_dim: int, options: ConditionerOptions | None = None) -> None:
        super().__init__()
        self.n_features = n_features
        self.timbre_dim = timbre_dim
        self.options = options if options is not None else self.Options()

    @abstractmethod
    def forward(self, features: Tensor, timbre: Tensor) -> Tensor:
        """Condition every frame.

        features: (batch, frames, n_features), any float dtype, any device.
        timbre:   (batch, frames or 1, timbre_dim): 1 where the timbre holds still, `frames` where it moves along a path.

        Returns (batch, frames, n_features), of the dtype of `features`. Must act on each frame by itself (no look at neighbours),
        be differentiable in both arguments, and deterministic in eval mode.
        """
