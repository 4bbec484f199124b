"""What a run shows in TensorBoard; nothing, where that is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from m2m.core.system import progress


class Curves:
    """The TensorBoard log of a run. step: after which it goes on; what an earlier try logged beyond it is dropped."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = _writer(folder, step)

    @property
    def shown(self) -> bool:
        """Whether anything is logged."""
        return self._writer is not None

    def scalars(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Log `values` as GROUP/NAME."""
        for name, value in values.items() if self._writer else ():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def pictures(self, step: int, images: Mapping[str, NDArray[Any]]) -> None:
        """Log images: name -> (height, width, 3) uint8."""
        for name, image in images.items() if self._writer else ():
            self._writer.add_image(name, image, step, dataformats="HWC")

    def sounds(self, step: int, waves: Mapping[str, tuple[NDArray[Any], int]]) -> None:
        """Log audio: name -> (samples,) float32, and its sample rate in Hz."""
        for name, (wave, rate) in waves.items() if self._writer else ():
            self._writer.add_audio(name, wave[None], step, rate)

    def close(self) -> None:
        """Write what is not yet written."""
        if self._writer:
            self._writer.close()


def _writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        progress.say("no curves: TensorBoard is not installed (pip install 'm2m[train]').")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]
