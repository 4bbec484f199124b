"""What the student of Parallel WaveNet minimises: the one table of its losses.

`m2m train parallel-wavenet --losses`, the run's config (`losses.NAME`), training and the table in docs/parallel-wavenet.md follow
from the fields of `Losses`. A loss that compares two waves is one more field; it is read without torch, as the command's help is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from m2m.core.errors import M2MError
from m2m.training.losses.stft import frame_loss, multi_resolution_stft_loss, power_loss

if TYPE_CHECKING:
    from torch import Tensor

    Distance = Callable[[Tensor, Tensor], Tensor]  # of two waves, (batch, samples) each


def _loss(weight: float | None, description: str, distance: Distance | None = None) -> Any:
    return field(default=weight, metadata={"description": description, "distance": distance})


@dataclass(frozen=True)
class Losses:
    """The weight of each loss, 0 for none.

    >>> Losses(power=2.0)
    Losses(kl=0.1, stft=1.0, frames=1.0, power=2.0, adversarial=None)
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kl: float = _loss(0.1, "divergence from the teacher, nats a sample")
    stft: float = _loss(
        1.0,
        "spectral convergence and log magnitude at three resolutions, Parallel WaveGAN's",
        multi_resolution_stft_loss,
    )
    frames: float = _loss(1.0, "magnitudes frame by frame, ClariNet's", frame_loss)
    power: float = _loss(0.0, "power over the whole segment, Parallel WaveNet's", power_loss)
    adversarial: float | None = _loss(None, "least squares, with Parallel WaveGAN's discriminator")

    def __post_init__(self) -> None:
        if negative := [f.name for f in fields(self) if (getattr(self, f.name) or 0.0) < 0]:
            raise ValueError(f"{negative[0]} {getattr(self, negative[0]):g} is below 0")


NAMES = tuple(f.name for f in fields(Losses))
DISTANCES: dict[str, Distance] = {f.name: f.metadata["distance"] for f in fields(Losses) if f.metadata["distance"]}


def only(names: str) -> dict[str, object]:
    """The config values that switch on the losses of a list "kl,stft" and all others off.

    Raises M2MError if there is no such loss.

    >>> only("stft,adversarial")
    {'losses.kl': 0.0, 'losses.stft': 1.0, 'losses.frames': 0.0, 'losses.power': 0.0, 'losses.adversarial': 1.0}
    """
    wanted = [name.strip() for name in names.split(",")]
    if unknown := sorted(set(wanted) - set(NAMES)):
        raise M2MError(f"there is no loss {unknown[0]!r}; there are {', '.join(NAMES)}.")
    return {f"losses.{f.name}": (f.default or 1.0) if f.name in wanted else 0.0 for f in fields(Losses)}
