"""The last step before the mix: a vocoder's audio of a mel, held to its contract."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.mel import Mel
from m2m.core.plugins import registry
from m2m.core.plugins.discovery import Component
from m2m.core.vocoder import Vocoder, require_spec


def synthesis(vocoder: Vocoder, component: Component, mel: Mel, seed: int) -> Iterator[NDArray[np.float32]]:
    """A vocoder's audio of a mel in blocks, each (samples,) float32, held to the contract of core/vocoder.py.

    component: whose code the vocoder is.
    Raises M2MError that names its package if it fails, or yields what is not finite mono float audio of the mel's length.
    """
    require_spec(mel.spec, vocoder.mel_spec, str(component))
    samples = 0
    with registry.attribute_errors(component):
        for block in vocoder.stream(mel, seed) if mel.frames else ():
            if not isinstance(block, np.ndarray) or block.ndim != 1 or block.dtype != np.float32:
                raise M2MError(
                    f"{component} broke its contract: it yielded {_shape(block)}, (samples,) float32 was wanted."
                )
            if not np.isfinite(block).all():
                raise M2MError(f"{component} broke its contract: its audio holds NaN or infinite samples.")
            samples += len(block)
            if samples > mel.samples:
                break
            yield block
    if samples != mel.samples:
        raise M2MError(f"{component} broke its contract: it made {samples:,} samples of a mel of {mel.samples:,}.")


def _shape(block: object) -> str:
    return f"{block.shape} {block.dtype}" if isinstance(block, np.ndarray) else type(block).__name__
