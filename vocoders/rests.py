"""Silence where the mel is silent: a network that makes samples leaves a faint noise there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from m2m.core.mel import Mel

Array = NDArray[np.float32]

ABOVE = 1e-3  # nepers over the floor, from which on a band sounds: rounding is no sound


def keep_rests(mel: Mel, blocks: Iterable[Array]) -> Iterator[Array]:
    """The blocks of a wave, from its beginning; zero between frames of which every band is at the mel's floor.

    A frame's window reaches far over the hop between it and the next, so what is silenced was silent in what the mel is of. A
    hop with a silent frame on one side is faded, 8 ms in the reference's mel.
    """
    hop, at = mel.spec.hop_length, 0
    for block in blocks:
        first, last = at // hop, -(-(at + len(block)) // hop) + 1
        sounding = mel.window(first, last).max(axis=1) > mel.spec.silence + ABOVE
        if sounding.all():
            yield block
        else:
            places = np.arange(at, at + len(block)) / hop
            yield block * np.interp(places, np.arange(first, first + len(sounding)), sounding).astype(np.float32)
        at += len(block)
