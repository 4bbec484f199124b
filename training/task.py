"""What a model brings to the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn


class TrainingTask(ABC):
    """What a model brings to the loop.

    `best` names the validation figure that decides which model is exported; smaller is better. None: the newest is exported,
    where no figure measures what is learned.
    """

    model: nn.Module
    best: str | None = "loss"

    @abstractmethod
    def batch(self, step: int) -> tuple[Tensor, ...]:
        """The batch of a step, a function of the config's seed and `step` alone. May run in a worker process."""

    @abstractmethod
    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """The scalar to minimise; runs under autocast."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Figures on the validation split."""

    def details(self) -> dict[str, float]:
        """The terms of the last loss, for the curves."""
        return {}

    def pictures(self) -> dict[str, NDArray[Any]]:
        """Images for TensorBoard: name -> (height, width, 3) uint8."""
        return {}

    def sounds(self) -> dict[str, tuple[NDArray[Any], int]]:
        """Audio for TensorBoard: name -> (samples,) float32, and its sample rate in Hz."""
        return {}

    @abstractmethod
    def export(self, folder: Path, figures: dict[str, float], step: int) -> None:
        """Save the model as its users load it."""


def model_card(title: str, figures: Mapping[str, float], *remarks: str, measured: str = "Validation:") -> str:
    """The README.md of a model that a run exports: a title, remarks, and the figures of a validation."""
    parts = [f"# {title}", *remarks, measured, "\n".join(f"- {name}: {value:.4g}" for name, value in figures.items())]
    return "\n\n".join(parts) + "\n"
