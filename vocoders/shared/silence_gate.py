"""Silence where the mel is silent: a network that makes samples leaves a faint noise there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from m2m.core.mel import Mel

Array = NDArray[np.float32]

THRESHOLD = 1e-3  # nepers over the floor, from which on a band sounds: rounding is no sound
UNREAD, SILENT, SOUNDING = -1, 0, 1


class GatedMel(Mel):
    """A mel that notes, as it is read, which of its frames sound.

    The wave comes long after the mel was read for it, and one in the making is made again where it is read again.
    """

    _mel: Mel
    _noted: NDArray[np.int8]  # (frames,)

    def __init__(self, mel: Mel) -> None:
        fields = {"_mel": mel, "_noted": np.full(mel.frames, UNREAD, np.int8)}
        self.__dict__ |= fields | {"spec": mel.spec, "notes": mel.notes, "timbre": mel.timbre}  # frozen to all others

    @property
    def frames(self) -> int:
        """Length in frames."""
        return self._mel.frames

    @property
    def values(self) -> Array:  # type: ignore[override]
        """The whole of it, (frames, n_mels)."""
        return self.window(0, self.frames)

    def window(self, first: int, last: int) -> Array:
        """Frames first..last: (last - first, n_mels)."""
        values = self._mel.window(first, last)
        self._noted[first:last] = np.where(values.max(axis=1) > self.spec.silence + THRESHOLD, SOUNDING, SILENT)
        return values

    def without_notes(self) -> Mel:
        """The same mel with nothing but the spectrogram to go by."""
        return self._mel.without_notes()

    def sounding(self, first: int, last: int) -> NDArray[np.bool_]:
        """Which of frames first..last sound: (last - first,). Of them only what was never read is read for it."""
        unread = first + np.flatnonzero(self._noted[first:last] == UNREAD)
        if len(unread):
            self.window(int(unread[0]), int(unread[-1]) + 1)
        return self._noted[first:last] == SOUNDING


def gate_silence(mel: GatedMel, blocks: Iterable[Array]) -> Iterator[Array]:
    """The blocks of a wave, from its beginning; zero between frames of which every band is at the mel's floor.

    A frame's window reaches far over the hop between it and the next, so what is silenced was silent in what the mel is of. A
    hop with a silent frame on one side is faded, 8 ms in the reference's mel.
    """
    hop, at = mel.spec.hop_length, 0
    for block in blocks:
        first, last = at // hop, -(-(at + len(block)) // hop) + 1
        sounding = mel.sounding(first, last)
        if sounding.all():
            yield block
        else:
            places = np.arange(at, at + len(block)) / hop
            yield block * np.interp(places, np.arange(first, first + len(sounding)), sounding).astype(np.float32)
        at += len(block)
